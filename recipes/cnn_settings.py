"""The settings of a variant of a CNN recipe: the recipe's, what the variant changes, what a quick run makes smaller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ..encoders import weights_of
from ..errors import InputError
from ..finetune import FinetuneSettings, list_networks
from .recipe import Recipe

__all__ = ["network_settings", "variant_values"]

_RENAMED = {"rate_multiplier": "multipliers", "augment": "augmentations", "class_weights": "weighted"}

_OF_DATA = ("folds", "group_by", "lesion", "context", "tensorboard")
"""Settings of a recipe that are not of the network."""


def variant_values(recipe: Recipe, variant: str, *, quick: bool) -> dict[str, Any]:
    """Return the settings of a variant; a quick run makes them smaller, but keeps folds that are its point."""
    change = recipe.variants[variant].get("finetune", {})
    values = {**recipe.values("finetune"), **change}
    if quick:
        fixed = {"folds"} if "folds" in change and not all(map(str.isdecimal, change["folds"])) else set()
        values |= {key: value for key, value in recipe.quick["finetune"].items() if key not in fixed}
        kind, *rest = values["patches"].split(":")
        if kind == "sliding" and "overlap" in recipe.quick:
            values["patches"] = ":".join((kind, rest[0], str(recipe.quick["overlap"])))
    return values


def network_settings(
    values: Mapping[str, Any], variant: str, *, weights: Sequence[str]
) -> tuple[FinetuneSettings, list[str]]:
    """Return the settings of the network, and what must be said of them.

    Parameters
    ----------
    values : mapping
        Of `variant_values`.
    variant : str
        Becomes a part of the folder's name.
    weights : sequence of str
        Values of ``--weights``.

    Raises
    ------
    InputError
        A setting that there is not, or that is out of range.
    """
    plain = {_RENAMED.get(key, key): value for key, value in values.items() if key not in _OF_DATA}
    unknown = sorted(plain.keys() - {field.name for field in fields(FinetuneSettings)})
    if unknown:
        raise InputError(f"recipe: finetune.{unknown[0]}: no such setting")
    network = str(plain["network"])
    default = plain.get("weights") or ("random" if network in list_networks() else "imagenet")
    chosen = weights_of((default, *weights), network)
    said = []
    multipliers = [str(text).rpartition("=") for text in plain.pop("multipliers", ())]
    if multipliers and chosen == "random":
        said.append(f"{network} began untrained, so all its layers have one learning rate")
        multipliers = []
    settings = FinetuneSettings(
        **{
            **plain,
            "name": variant,
            "weights": chosen,
            "multipliers": tuple((prefix, float(factor)) for prefix, _, factor in multipliers),
            "augmentations": tuple(plain.get("augmentations", ())),
            "fresh": tuple(plain.get("fresh", ())),
        }
    )
    return settings, said
