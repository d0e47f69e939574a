"""The classifier ``lightgbm``: gradient-boosted trees, one model per seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .head import FittedModel, HeadSpec, TrainingPart, TrainingTerms
from .lightgbm_model import BinnedRows
from .presets import model_params
from .tree_arrays import pack_text, parse_model


def _fit(part: TrainingPart, params: Sequence[Mapping[str, Any]]) -> Iterator[FittedModel]:
    """Fit one model per set of parameters. The sets differ only in seeds, so the models share bins."""
    binned = BinnedRows(part.features, part.labels, params=params[0])
    for params_of_model in params:
        text = binned.fit_text(params=params_of_model, rounds=part.rounds)
        yield FittedModel(pack_text(text), text=text)


def _params(terms: TrainingTerms, *, classes: int, seed: int, fold_position: int) -> Mapping[str, Any]:
    return model_params(terms.preset, classes=classes, seed=seed, fold_position=fold_position)


def _settings(terms: TrainingTerms) -> Mapping[str, Any]:
    return {"rounds": terms.preset.rounds, **terms.preset.params}


def _shown(terms: TrainingTerms) -> Mapping[str, str]:
    preset = terms.preset
    return {"preset": preset.name, "rounds": str(preset.rounds), "LightGBM parameters": preset.shown}


LIGHTGBM = HeadSpec(
    name="lightgbm",
    suffix=".npz",
    fit=_fit,
    parse=parse_model,
    seeded=True,
    params=_params,
    settings=_settings,
    shown=_shown,
    method="gradient-boosted decision trees (LightGBM [@ke2017])",
    packages=("lightgbm",),
)
"""LightGBM with the parameters of a preset."""
