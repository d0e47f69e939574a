"""The effective settings of a variant: those of the recipe and of the variant, and the defaults of all others."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..boost import TrainingTerms, get_head
from ..core import plain_options
from ..data import get_layout
from ..finetune import network_of, resolved
from .recipe import Recipe, ReproduceRequest
from .settings import build_steps
from .steps import BoostStep, FeaturizeStep, FinetuneStep, Step

_OF_NETWORK = ("size", "batch_size", "optimizer", "learning_rate", "dropout", "l2", "weights", "convention")
"""Settings whose default depends on the network."""


@dataclass(frozen=True)
class EffectiveSetting:
    """A setting as it is used.

    Attributes
    ----------
    step, name, value : str
    source : str
        The source that the recipe or its variant names; or what has the default.
    """

    step: str
    name: str
    value: str
    source: str


def effective_settings(recipe: Recipe, request: ReproduceRequest, variant: str) -> list[EffectiveSetting]:
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
    unnamed = recipe.measures_encoder and not request.encoders
    request = replace(request, encoders=("tiny",)) if unnamed else request
    given = recipe.steps_of(variant, quick=request.quick, full_scale=request.full_scale)
    settings = []
    for (kind, values), step in zip(given, build_steps(recipe, request, variant), strict=True):
        used = {**values, **_used(step, recipe)}
        if kind == "featurize" and unnamed:
            used |= {"encoders": "that of --encoder"}
        sources = _sources(recipe, request, variant, step)
        settings += [EffectiveSetting(kind, "note", remark, "") for remark in getattr(step, "remarks", ())]
        settings += [
            EffectiveSetting(kind, name, _text(value), sources.get(name, "default")) for name, value in used.items()
        ]
    return settings


def _used(step: Step, recipe: Recipe) -> dict[str, Any]:
    """Return the settings of a step with every default filled in."""
    if isinstance(step, FeaturizeStep):
        return {**step.reading, **plain_options(step.settings, deciding=True)}
    used = {**step.reading, **plain_options(step.settings, step.folds, step.view, deciding=True)}
    if isinstance(step, BoostStep):
        classes = len(get_layout(recipe.datasets[0]).classes)
        preset = step.settings.lightgbm.for_classes(classes) if classes else step.settings.lightgbm
        shown = [get_head(head).shown(TrainingTerms(preset, step.settings.seed, 0)) for head in step.settings.heads]
        return {name: value for values in (used, *shown) for name, value in values.items()}
    own = {name: default for name in ("dropout", "l2") if (default := _of_network(step, name)) is not None}
    return {**used, **{name: value for name, value in own.items() if used[name] is None}, **resolved(step.settings)}


def _of_network(step: FinetuneStep, name: str) -> Any:
    parameters = inspect.signature(network_of(step.settings.network).build).parameters
    return parameters[name].default if name in parameters else None


def _sources(recipe: Recipe, request: ReproduceRequest, variant: str, step: Step) -> Mapping[str, str]:
    """Return the source of each setting of a step that has one; the last that sets it counts."""
    change, quick = recipe.variants[variant], recipe.quick
    sources = dict.fromkeys(_OF_NETWORK, "default of the network") if step.kind == "finetune" else {}
    sources |= {name: setting.source for name, setting in recipe.sections.get(step.kind, {}).items()}
    sources |= dict.fromkeys(change.get(step.kind, ()), str(change["source"]))
    if isinstance(step, FeaturizeStep):
        sources |= dict.fromkeys(step.brought, "brought by the encoder")
        sources |= (
            {"views": f"{sources['views']}; full scale: {recipe.full_scale['source']}"} if request.full_scale else {}
        )
        sources |= {"encoders": "--encoder"} if request.encoders else {}
    if request.quick:
        smaller, whole = dict(recipe.steps_of(variant, quick=True)), dict(recipe.steps_of(variant))
        changed = [name for name, value in smaller[step.kind].items() if value != whole[step.kind].get(name)]
        sources |= dict.fromkeys(changed, f"--quick: {quick['source']}")
    return sources | ({"weights": "--weights"} if request.weights and step.kind != "boost" else {})


def _text(value: Any) -> str:
    if value in (None, "", [], ()):
        return "not set"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def describe_settings(recipe: Recipe, request: ReproduceRequest) -> Iterator[str]:
    """Yield lines with the settings of each chosen variant: all of the first, and what is other in the others."""
    for variant, settings in differing(recipe, request):
        yield f"\n{variant}: {recipe.variants[variant]['source']}"
        yield from (_line(one) for one in settings)
    for name, setting in recipe.sections.get("explain", {}).items():
        changed = recipe.quick.get("explain", {}) if request.quick else {}
        yield _line(EffectiveSetting("explain", name, _text(changed.get(name, setting.value)), setting.source))


def _line(setting: EffectiveSetting) -> str:
    return f"{setting.step:10}{setting.name:22}{setting.value + '  ':52}{setting.source}".rstrip()


def differing(recipe: Recipe, request: ReproduceRequest) -> Iterator[tuple[str, Sequence[EffectiveSetting]]]:
    """Yield each chosen variant with its settings; of the second and further only those that the first has not."""
    first: Sequence[EffectiveSetting] = ()
    known: set[tuple[str, str, str]] = set()
    for variant in recipe.chosen(request.variants):
        settings = effective_settings(recipe, request, variant)
        yield variant, [one for one in settings if (one.step, one.name, one.value) not in known]
        first = first or settings
        known = {(one.step, one.name, one.value) for one in first}
