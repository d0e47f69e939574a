"""The head ``lightgbm``: gradient-boosted trees, one model a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import BundleError
from .arrays import Places, Probabilities
from .head import Fitted, HeadSpec, TrainingPart, TrainingTerms
from .inner import inner_folds, out_of_fold
from .lightgbm_model import BinnedRows, TreeModel, fit_text, parse_model
from .presets import model_params
from .tree_text import is_model_text


def _fit(part: TrainingPart, params: Sequence[Mapping[str, Any]]) -> Fitted:
    """Fit a model per set of parameters, which differ in seeds only and share the bins."""
    binned = BinnedRows(part.features, part.labels, params=params[0])
    for one in params:
        text = binned.fit_text(params=one, rounds=part.rounds).encode("utf-8")
        yield text, _held_out(part, one) if part.inner else None


def _held_out(part: TrainingPart, params: Mapping[str, Any]) -> Probabilities:
    def held_out(train: Places, held: Places) -> Probabilities:
        inner = fit_text(part.features[train], part.labels[train], params=params, rounds=part.rounds)
        return parse_model(inner).predict_proba(part.features[held])

    folds = inner_folds(part.labels, part.groups, seed=part.seed)
    return out_of_fold(folds, len(part.labels), part.classes, held_out)


def _parse(data: bytes) -> TreeModel:
    try:
        return parse_model(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BundleError("not a whole LightGBM text model; train it again") from error


def _is_whole(data: bytes) -> bool:
    """Look at the ends of a text, which costs less than to parse it."""
    return is_model_text(data.decode("utf-8", errors="replace"))


def _params(terms: TrainingTerms, *, classes: int, seed: int, fold_position: int) -> Mapping[str, Any]:
    return model_params(terms.preset, classes=classes, seed=seed, fold_position=fold_position)


def _settings(terms: TrainingTerms) -> Mapping[str, Any]:
    return {"rounds": terms.preset.rounds, **terms.preset.params}


def _shown(terms: TrainingTerms) -> Mapping[str, str]:
    preset = terms.preset
    return {
        "preset": preset.name,
        "rounds": str(preset.rounds),
        "LightGBM parameters": ", ".join(f"{key}={value}" for key, value in preset.params.items()),
    }


LIGHTGBM = HeadSpec(
    name="lightgbm",
    suffix=".txt",
    fit=_fit,
    parse=_parse,
    seeded=True,
    params=_params,
    settings=_settings,
    shown=_shown,
    method="gradient-boosted decision trees (LightGBM [@ke2017])",
    packages=("lightgbm",),
    is_whole=_is_whole,
)
"""LightGBM with the parameters of a preset."""
