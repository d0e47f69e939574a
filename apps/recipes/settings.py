"""Builds steps from the settings of a recipe, and lists the effective settings of a variant, defaults included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ...boost import BoostSettings, TrainingTerms, get_head
from ...core import DAMAGE, Banner, InputError, Kind, declared_options, from_options, plain_options
from ...data import FoldChoice, get_layout
from ...encoders import weights_of
from ...evaluate import TwoClassView
from ...featurize import FeaturizeSettings, encoder_defaults
from ...finetune import FinetuneSettings, list_networks, resolved
from .image_sets import READING, reading_of
from .recipe import Recipe, ReproduceRequest, Values, check_names
from .steps import (
    BALANCED,
    BoostStep,
    FeaturizeStep,
    FinetuneStep,
    FixedTest,
    NetworkExtras,
    RecipeStep,
)

_SETTINGS_OF: Mapping[str, Sequence[Any]] = {
    "featurize": (FeaturizeSettings,),
    "boost": (BoostSettings, FoldChoice, TwoClassView),
    "finetune": (FinetuneSettings, FoldChoice, TwoClassView, NetworkExtras),
}
"""Classes whose fields are the settings of a step, in addition to those that determine how images are read."""


def build_steps(recipe: Recipe, request: ReproduceRequest, variant: str) -> list[RecipeStep]:
    """Return the steps of a variant.

    Raises
    ------
    InputError
        A setting does not exist, or is out of range.
    """
    return [step for step, _ in _steps_with_values(recipe, request, variant)]


def _steps_with_values(
    recipe: Recipe, request: ReproduceRequest, variant: str
) -> list[tuple[RecipeStep, Values]]:
    """Return the steps of a variant, each with the settings that the recipe gives it."""
    steps: list[tuple[RecipeStep, Values]] = []
    try:
        for kind, values in recipe.steps_of(
            variant, quick=request.quick, full_scale=request.full_scale
        ):
            names = sorted(READING)
            for settings_class in _SETTINGS_OF[kind]:
                names += [field.name for field, _, _ in declared_options(settings_class)]
            check_names(values, names, f"recipe {recipe.name}: {kind}")
            if kind != "featurize":
                values = {"call": "plain", **values}  # as their sources call
            if kind == "featurize":
                step: RecipeStep = _featurize_step(recipe, values, request)
            elif kind == "boost":
                step = _boost_step(recipe, variant, values, [before for before, _ in steps])
            else:
                step = _finetune_step(recipe, request, variant, values)
            steps.append((step, values))
    except InputError:
        raise
    except DAMAGE as error:  # such as a list instead of a number
        raise InputError(
            "recipe {}: variant {}: a setting of another kind ({})", recipe.name, variant, error
        ) from error
    return steps


def _featurize_step(recipe: Recipe, values: Values, request: ReproduceRequest) -> FeaturizeStep:
    """Return the extraction of features; a measured encoder brings its own defaults."""
    options = {
        "engine": request.engine,
        **values,
        "weights": (*values.get("weights", ()), *request.weights),
    }
    encoder_settings: Values = {}
    if recipe.measures_encoder:
        options["encoders"] = request.encoders
        set_by_quick = recipe.quick.get("featurize", ()) if request.quick else ()
        encoder_settings = encoder_defaults(options, keep=set_by_quick)
    settings = from_options(FeaturizeSettings, {**options, **encoder_settings})
    return FeaturizeStep(
        reading_of(values), settings, fresh=request.fresh_draws, brought=encoder_settings
    )


def _boost_step(
    recipe: Recipe, variant: str, values: Values, before: Sequence[RecipeStep]
) -> BoostStep:
    """Return the training of classifiers on the features of an earlier step."""
    features = next((step for step in before if isinstance(step, FeaturizeStep)), None)
    if features is None:
        raise InputError(
            f"recipe {recipe.name}: variant {variant}: boost needs the step featurize before it"
        )
    return BoostStep(
        features.reading,
        from_options(BoostSettings, values),
        features.settings,
        from_options(FoldChoice, values),
        from_options(TwoClassView, values),
    )


def _finetune_step(
    recipe: Recipe, request: ReproduceRequest, variant: str, values: Values
) -> FinetuneStep:
    """Return the training of a network; the variant becomes a part of the folder's name."""
    extras = from_options(NetworkExtras, values)
    network = str(values["network"])
    default = values.get("weights")
    if not default:
        default = "random" if network in list_networks() else "imagenet"
    weights = weights_of((default, *request.weights), network)
    options = {"augmentations": (), **values}
    remarks: list[str] = []
    if extras.undersample_first:
        remarks.append(BALANCED)
    if extras.pretrained and weights == "random":
        remarks.append(
            Banner(
                Kind.RANDOM_START,
                f"{network} began untrained; its source starts from ImageNet weights.",
            )
        )
    if options.get("rate_multipliers") and weights == "random":
        remarks.append(f"{network} began untrained, so all its layers have one learning rate")
        del options["rate_multipliers"]
    settings = from_options(FinetuneSettings, options, name=variant, weights=weights)
    test = None
    if extras.test_fold is not None:
        test = FixedTest(
            extras.test_fold,
            _split_of(recipe, request, values),
            folder=Path("reproduce") / recipe.name,
            seed=settings.seed - recipe.raised,
        )
    return FinetuneStep(
        reading_of(values),
        settings,
        from_options(FoldChoice, values),
        from_options(TwoClassView, values),
        extras,
        tuple(remarks),
        test,
    )


def _split_of(recipe: Recipe, request: ReproduceRequest, values: Values) -> FoldChoice:
    """Return the split with a fixed test part: one part more than the variant (or else the first one) has folds."""
    choice = from_options(FoldChoice, values)
    if choice.folds == ("none",):
        steps = dict(recipe.steps_of(recipe.first, quick=request.quick))
        choice = from_options(FoldChoice, steps["finetune"])
    if len(choice.folds) != 1 or not choice.folds[0].isdecimal() or choice.repeats > 1:
        raise InputError(
            f"recipe {recipe.name}: finetune.test_fold goes with one number of folds, or none"
        )
    return replace(choice, folds=(str(int(choice.folds[0]) + 1),))


class EffectiveSetting(NamedTuple):
    """A setting as it is used.

    Attributes
    ----------
    step, name, value : str
    source : str
        The source that the recipe or its variant names, or else what set the value, such as ``default``.
    """

    step: str
    name: str
    value: str
    source: str


def effective_settings(
    recipe: Recipe, request: ReproduceRequest, variant: str
) -> list[EffectiveSetting]:
    """Return all settings of a variant that can change its results.

    Parameters
    ----------
    recipe : Recipe
    request : ReproduceRequest
        Its images are not read.
    variant : str

    Raises
    ------
    InputError
        See `build_steps`.
    """
    settings = []
    for step, values in _steps_with_values(recipe, request, variant):
        for remark in step.remarks:
            settings.append(EffectiveSetting(step.kind, "note", remark, ""))
        sources = _sources(recipe, request, variant, step, values)
        for name, value in {**values, **_used(step, recipe)}.items():
            source = sources.get(name, "default")
            settings.append(EffectiveSetting(step.kind, name, _setting_text(value), source))
    quick_values = recipe.quick.get("explain", {}) if request.quick else {}
    for name, setting in recipe.sections.get("explain", {}).items():
        value = _setting_text(quick_values.get(name, setting.value))
        settings.append(EffectiveSetting("explain", name, value, setting.source))
    return settings


def _used(step: RecipeStep, recipe: Recipe) -> Values:
    """Return the settings of a step with every default filled in."""
    if isinstance(step, FeaturizeStep):
        return {**step.reading, **plain_options(step.settings, deciding=True)}
    values = {**step.reading, **plain_options(step.settings, step.folds, step.view, deciding=True)}
    if isinstance(step, FinetuneStep):
        return {**values, **resolved(step.settings)}
    preset = step.settings.lightgbm.for_classes(len(get_layout(recipe.datasets[0]).classes))
    for head in step.settings.heads:
        values |= get_head(head).shown(TrainingTerms(preset, step.settings.seed, 0))
    return values


def _sources(
    recipe: Recipe, request: ReproduceRequest, variant: str, step: RecipeStep, values: Values
) -> Mapping[str, str]:
    """Return the sources of the settings of a step; if several set one, the last of them is its source."""
    variant_changes = recipe.variants[variant]
    kind = step.kind
    sources = {name: setting.source for name, setting in recipe.sections.get(kind, {}).items()}
    sources |= dict.fromkeys(variant_changes.get(kind, ()), str(variant_changes["source"]))
    sources |= dict.fromkeys(step.brought, "brought by the encoder")
    if request.encoders:
        sources["encoders"] = "the request"
    if request.weights and kind != "boost":
        sources["weights"] = "the request"
    scope = []
    if request.quick:
        scope.append("quick")
    if request.full_scale:
        scope.append("full scale")
    published = dict(recipe.steps_of(variant))[kind]
    for name, value in values.items():
        if value != published.get(name):
            sources[name] = " ".join(scope)
    return sources


def _setting_text(value: Any) -> str:
    """Return the value of a setting for people; "not set" if it is empty."""
    if value in (None, "", [], ()):
        return "not set"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def describe_settings(recipe: Recipe, request: ReproduceRequest) -> Iterator[str]:
    """Yield lines with the settings of each chosen variant: all of the first, those that differ of the others."""
    for variant, settings in differing(recipe, request):
        yield f"\n{variant}: {recipe.variants[variant]['source']}"
        yield from (
            f"{step:10}{name:22}{value + '  ':52}{source}".rstrip()
            for step, name, value, source in settings
        )


def differing(
    recipe: Recipe, request: ReproduceRequest
) -> Iterator[tuple[str, Sequence[EffectiveSetting]]]:
    """Yield each chosen variant with its settings: all of the first, of the others those that differ from the first."""
    first: set[tuple[str, ...]] = set()
    for variant in recipe.chosen(request.scope.variants):
        settings = effective_settings(recipe, request, variant)
        yield variant, [setting for setting in settings if setting[:3] not in first]
        if not first:
            first = {setting[:3] for setting in settings}
