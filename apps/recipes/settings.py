"""Builds steps from the settings of a recipe, whose names and meanings are those of the command's options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...boost import BoostSettings
from ...core import DAMAGE, InputError, Settings, declared_options, from_options, option
from ...data import FoldChoice
from ...encoders import weights_of
from ...evaluate import TwoClassView
from ...featurize import FeaturizeSettings, encoder_defaults
from ...finetune import FinetuneSettings, list_networks
from .parts import READING, reading_of
from .recipe import Recipe, ReproduceRequest
from .steps import BoostStep, FeaturizeStep, FinetuneStep, FixedTest, Step


@dataclass(frozen=True)
class NetworkExtras(Settings):
    """Settings of ``finetune`` that only recipes have."""

    tensorboard: bool = option(False, help="Whether curves of training are written for TensorBoard.")
    test_fold: int | None = option(None, help="The part of a split that tests every network.")
    pretrained: bool = option(False, help="Whether the source starts from pretrained weights.")


_KNOWN: Mapping[str, Sequence[Any]] = {
    "featurize": (FeaturizeSettings,),
    "boost": (BoostSettings, FoldChoice, TwoClassView),
    "finetune": (FinetuneSettings, FoldChoice, TwoClassView, NetworkExtras),
}
"""Classes whose fields are the settings of a step, in addition to those that determine how images are read."""


def build_steps(recipe: Recipe, request: ReproduceRequest, variant: str) -> list[Step]:
    """Return the steps of a variant.

    Raises
    ------
    InputError
        A setting does not exist, or is out of range.
    """
    steps: list[Step] = []
    try:
        for kind, values in recipe.steps_of(variant, quick=request.quick, full_scale=request.full_scale):
            _check_names(recipe, kind, values)
            if kind == "featurize":
                steps.append(_featurize_step(recipe, values, request))
            elif kind == "boost":
                steps.append(_boost_step(recipe, variant, values, steps))
            else:
                steps.append(_finetune_step(recipe, request, variant, values))
    except InputError:
        raise
    except DAMAGE as error:  # such as a list instead of a number
        raise InputError(
            "recipe {}: variant {}: a setting of another kind ({})", recipe.name, variant, error
        ) from error
    return steps


def _check_names(recipe: Recipe, kind: str, values: Mapping[str, Any]) -> None:
    known = {*READING, *(field.name for value in _KNOWN[kind] for field, _, _ in declared_options(value))}
    if strange := sorted(values.keys() - known):
        raise InputError(f"recipe {recipe.name}: {kind}.{strange[0]}: no such setting")


def _featurize_step(recipe: Recipe, values: Mapping[str, Any], request: ReproduceRequest) -> FeaturizeStep:
    options = {**values, "weights": (*values.get("weights", ()), *request.weights)}
    brought: dict[str, Any] = {}
    if recipe.measures_encoder:
        options["encoders"] = request.encoders
        brought = encoder_defaults(options, keep=recipe.quick.get("featurize", ()) if request.quick else ())
    settings = from_options(FeaturizeSettings, {**options, **brought})
    return FeaturizeStep(reading_of(values), settings, fresh=request.fresh_draws, brought=brought)


def _boost_step(recipe: Recipe, variant: str, values: Mapping[str, Any], before: Sequence[Step]) -> BoostStep:
    described = next((step for step in before if isinstance(step, FeaturizeStep)), None)
    if described is None:
        raise InputError(f"recipe {recipe.name}: variant {variant}: boost needs the step featurize before it")
    return BoostStep(
        described.reading,
        from_options(BoostSettings, values),
        described.settings,
        from_options(FoldChoice, values),
        from_options(TwoClassView, values),
    )


def _finetune_step(recipe: Recipe, request: ReproduceRequest, variant: str, values: Mapping[str, Any]) -> FinetuneStep:
    extras = from_options(NetworkExtras, values)
    settings, remarks = _network_settings(values, variant, weights=request.weights, pretrained=extras.pretrained)
    test = None
    if extras.test_fold is not None:
        seed = settings.seed - recipe.raised
        test = FixedTest(extras.test_fold, _split_of(recipe, request, values), Path("reproduce") / recipe.name, seed)
    return FinetuneStep(
        reading_of(values),
        settings,
        from_options(FoldChoice, values),
        from_options(TwoClassView, values),
        tensorboard=extras.tensorboard,
        remarks=remarks,
        test=test,
    )


def _split_of(recipe: Recipe, request: ReproduceRequest, values: Mapping[str, Any]) -> FoldChoice:
    """Return the split with a fixed test part: it has one part more than the variant (or the first) has folds."""
    own = from_options(FoldChoice, values)
    if own.folds == ("none",):
        own = from_options(FoldChoice, dict(recipe.steps_of(recipe.first, quick=request.quick))["finetune"])
    if len(own.folds) != 1 or not own.folds[0].isdecimal() or own.repeats > 1:
        raise InputError(f"recipe {recipe.name}: finetune.test_fold goes with one number of folds, or none")
    return replace(own, folds=(str(int(own.folds[0]) + 1),))


def _network_settings(
    values: Mapping[str, Any], variant: str, *, weights: Sequence[str], pretrained: bool
) -> tuple[FinetuneSettings, tuple[str, ...]]:
    """Return the settings of the network, and remarks on them; the variant becomes a part of the folder's name."""
    network = str(values["network"])
    default = values.get("weights") or ("random" if network in list_networks() else "imagenet")
    chosen = weights_of((default, *weights), network)
    options = {"augmentations": (), **values}
    remarks: tuple[str, ...] = ()
    if pretrained and chosen == "random":
        remarks = (f"RANDOM START: {network} began untrained; its source starts from ImageNet weights.",)
    if options.get("rate_multipliers") and chosen == "random":
        remarks += (f"{network} began untrained, so all its layers have one learning rate",)
        del options["rate_multipliers"]
    return from_options(FinetuneSettings, options, name=variant, weights=chosen), remarks
