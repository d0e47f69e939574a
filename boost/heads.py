"""Classifiers by name, of bchisto and of other packages; ``lightgbm``, one model per seed, is the default.

Another package adds a classifier through the entry-point group ``bchisto.heads``, see `HeadSpec`. It cannot replace one
of bchisto, because existing model files refer to that name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..core import BundleError, InputError, extension_names, load_extension, one_of
from .array_heads import KNN, LDA, LOGISTIC, PROTOTYPE
from .head import FittedModel, HeadSpec, TrainingPart
from .kernel_head import SVM
from .presets import model_params
from .trees import Params, fit_texts, pack_text, parse_model


def _fit(part: TrainingPart, params: Sequence[Params]) -> Iterator[FittedModel]:
    """Fit one model per set of parameters. The sets differ only in seeds, so the models share bins."""
    for text in fit_texts(part.features, part.labels, params=params, rounds=part.rounds):
        yield FittedModel(pack_text(text), text=text)


LIGHTGBM = HeadSpec(
    name="lightgbm",
    suffix=".npz",
    fit=_fit,
    parse=parse_model,
    seeded=True,
    params=lambda terms, **numbers: model_params(terms.preset, **numbers),
    settings=lambda terms: {"rounds": terms.preset.rounds, **terms.preset.params},
    shown=lambda terms: {
        "preset": terms.preset.name,
        "rounds": str(terms.preset.rounds),
        "LightGBM parameters": terms.preset.shown,
    },
    method="gradient-boosted decision trees (LightGBM [@ke2017])",
    packages=("lightgbm",),
)
"""LightGBM with the parameters of a preset."""


ENTRY_POINT_GROUP = "bchisto.heads"

_BUILT_IN = {spec.name: spec for spec in (LIGHTGBM, LOGISTIC, SVM, KNN, PROTOTYPE, LDA)}

HEADS = tuple(_BUILT_IN)
"""Names of bchisto's own classifiers."""


def list_heads() -> list[str]:
    """Return the names of all classifiers: those of bchisto, then those of other packages, sorted."""
    return list(dict.fromkeys((*HEADS, *extension_names(ENTRY_POINT_GROUP))))


def _find(name: str) -> HeadSpec | None:
    return _BUILT_IN.get(name) or load_extension(ENTRY_POINT_GROUP, name, HeadSpec, what="head")


def get_head(name: str) -> HeadSpec:
    """Return the classifier of a name.

    Raises
    ------
    InputError
        There is no such classifier, and the message lists all; or that of another package cannot be loaded.
    """
    spec = _find(name)
    if spec is None:
        raise InputError("{heads} {}: {}", name, one_of(name, list_heads()))
    return spec


def fit_head(name: str, part: TrainingPart, *, params: Sequence[Params]) -> Iterator[FittedModel]:
    """Fit a classifier on one thread, once per set of parameters.

    Parameters
    ----------
    name : str
    part : TrainingPart
    params : sequence of mapping
        Parameters of each model, from `HeadSpec.params`. For classifiers without a seed there is one set.

    Yields
    ------
    FittedModel

    Raises
    ------
    InputError
        See `inner_folds`.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield from get_head(name).fit(part, params)


def known_head(name: str) -> HeadSpec:
    """Return the classifier that a model file names.

    Raises
    ------
    BundleError
        There is no classifier of this name.
    """
    spec = _find(name)
    if spec is None:
        raise BundleError(
            f"a model of the classifier {name[:40]!r}, which this version does not know; update bchisto, or install "
            "the package that adds it"
        )
    return spec
