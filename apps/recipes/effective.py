"""The effective settings of a variant: those of the recipe and of the variant, and the defaults of all others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ...boost import TrainingTerms, get_head
from ...core import plain_options
from ...data import get_layout
from ...finetune import resolved
from .recipe import Recipe, ReproduceRequest
from .settings import build_steps
from .steps import FeaturizeStep, FinetuneStep, Step


class EffectiveSetting(NamedTuple):
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
    given = recipe.steps_of(variant, quick=request.quick, full_scale=request.full_scale)
    settings = []
    for (kind, values), step in zip(given, build_steps(recipe, request, variant), strict=True):
        used, sources = {**values, **_used(step, recipe)}, _sources(recipe, request, variant, step, values)
        settings += [EffectiveSetting(kind, "note", remark, "") for remark in getattr(step, "remarks", ())]
        settings += [EffectiveSetting(kind, name, _text(used[name]), sources.get(name, "default")) for name in used]
    smaller = recipe.quick.get("explain", {}) if request.quick else {}
    for name, setting in recipe.sections.get("explain", {}).items():
        settings.append(EffectiveSetting("explain", name, _text(smaller.get(name, setting.value)), setting.source))
    return settings


def _used(step: Step, recipe: Recipe) -> dict[str, Any]:
    """Return the settings of a step with every default filled in."""
    if isinstance(step, FeaturizeStep):
        return {**step.reading, **plain_options(step.settings, deciding=True)}
    used = {**step.reading, **plain_options(step.settings, step.folds, step.view, deciding=True)}
    if isinstance(step, FinetuneStep):
        return {**used, **resolved(step.settings)}
    preset = step.settings.lightgbm.for_classes(len(get_layout(recipe.datasets[0]).classes))
    for head in step.settings.heads:
        used |= get_head(head).shown(TrainingTerms(preset, step.settings.seed, 0))
    return used


def _sources(
    recipe: Recipe, request: ReproduceRequest, variant: str, step: Step, values: Mapping[str, Any]
) -> Mapping[str, str]:
    """Return the source of each setting of a step that has one; the last that sets it counts."""
    change, whole = recipe.variants[variant], dict(recipe.steps_of(variant))[step.kind]
    sources = {name: setting.source for name, setting in recipe.sections.get(step.kind, {}).items()}
    sources |= dict.fromkeys(change.get(step.kind, ()), str(change["source"]))
    sources |= dict.fromkeys(getattr(step, "brought", ()), "brought by the encoder")
    sources |= {"encoders": "the request"} if request.encoders else {}
    sources |= {"weights": "the request"} if request.weights and step.kind != "boost" else {}
    scope = " ".join(["quick"] * request.quick + ["full scale"] * request.full_scale)
    return sources | {name: scope for name, value in values.items() if value != whole.get(name)}


def _text(value: Any) -> str:
    if value in (None, "", [], ()):
        return "not set"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def describe_settings(recipe: Recipe, request: ReproduceRequest) -> Iterator[str]:
    """Yield lines with the settings of each chosen variant: all of the first, and what is other in the others."""
    for variant, settings in differing(recipe, request):
        yield f"\n{variant}: {recipe.variants[variant]['source']}"
        yield from (f"{step:10}{name:22}{value + '  ':52}{source}".rstrip() for step, name, value, source in settings)


def differing(recipe: Recipe, request: ReproduceRequest) -> Iterator[tuple[str, Sequence[EffectiveSetting]]]:
    """Yield each chosen variant with its settings; of the second and further only those that the first has not."""
    known: set[tuple[str, ...]] = set()
    for variant in recipe.chosen(request.variants):
        settings = effective_settings(recipe, request, variant)
        yield variant, [one for one in settings if one[:3] not in known]
        known = known or {one[:3] for one in settings}
