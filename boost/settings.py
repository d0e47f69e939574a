"""Settings of training, and the choice of its features."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core import (
    Content,
    Converted,
    Entries,
    InputError,
    Many,
    OptionalPath,
    Paths,
    Settings,
    Texts,
    converted,
    option,
)
from ..evaluate import call_option
from .head import HeadSpec
from .heads import HEADS, get_head, list_heads
from .presets import PRESETS, Preset, parse_params


@dataclass(frozen=True)
class FeatureChoice(Settings):
    """The features for training, and the labels and classes of their images."""

    features: Paths = option(
        (),
        group="Input",
        help="Feature files or folders of them; default: those of the run, if one featurize made them. Or "
        "embeddings of other programs: .npz, .h5, or a folder of .h5, one a slide.",
    )
    labels: OptionalPath = option(
        None,
        group="Input",
        help="Labels of embeddings that hold none: a table image_id,label[,group].",
    )
    classes: Texts = option(
        (), commas=True, help="Class order; default: that of the feature files."
    )


def _as_params(value: Any, name: str) -> Content:
    """Return parameters of LightGBM from a mapping, or from texts of the form ``KEY=VALUE``."""
    if isinstance(value, Mapping):
        return dict(value)
    return parse_params(converted(value or (), name, tuple[str, ...]))


_WEIGHING = frozenset({"is_unbalance", "unbalance", "unbalanced_sets", "scale_pos_weight"})
"""LightGBM's parameters that weigh classes, so that its probabilities do not follow their shares."""


@dataclass(frozen=True)
class BoostSettings(Settings):
    """Settings of training and of its outputs."""

    heads: Converted[Many[str], tuple[str, ...]] = option(
        ("lightgbm",),
        group="Training",
        flag="head",
        choices=HEADS,
        more=list_heads,
        distinct=True,
        help="Classifier: LightGBM; scikit-learn's logistic regression or support vectors; or the field's few-shot "
        "classifiers (nearest neighbours, class means, discriminant analysis).",
    )
    seeds: int = option(
        5,
        group="Training",
        least=1,
        help="Ensemble members per fold, of classifiers that have a seed.",
    )
    preset: str = option(
        "published",
        group="Training",
        choices=tuple(PRESETS),
        help="Settings of LightGBM; standard and quick take a tenth to a quarter of the time.",
    )
    params: Entries = option(
        factory=dict,
        flag="param",
        metavar="KEY=VALUE",
        form=_as_params,
        plain=lambda params: [f"{key}={json.dumps(value)}" for key, value in params.items()],
        help="A LightGBM parameter on top of the preset.",
    )
    call: str = call_option()
    name: str = option(
        "",
        decides=False,
        help="Added to the folder's name, so that other features or settings get a folder of their own.",
    )
    seed: int = option(0, help="Random seed of folds that are drawn.")

    def __post_init__(self) -> None:
        """Refuse a name that cannot be part of a folder's name, and unknown classifiers."""
        super().__post_init__()
        if not re.fullmatch(r"[\w.+-]*", self.name):
            raise InputError(
                "{name} {}: give letters, digits, dots, hyphens or underscores: it names a folder",
                self.name,
            )
        for head in self.heads:
            get_head(head)
        if self.params and {*self.heads} <= {*HEADS} - {"lightgbm"}:
            text = "{params} {}: a parameter of LightGBM, which {heads} {} does not take"
            raise InputError(text, next(iter(self.params)), ", ".join(self.heads))

    @functools.cached_property
    def lightgbm(self) -> Preset:
        """The preset of LightGBM with the changes by `params`, which are checked."""
        return PRESETS[self.preset].with_params(self.params)

    def by_share(self, spec: HeadSpec) -> bool:
        """Return whether a classifier calls classes by their shares in training, which its probabilities follow."""
        is_weighed = spec.name == "lightgbm" and not _WEIGHING.isdisjoint(self.params)
        return not (self.call == "plain" or spec.takes_equal or is_weighed)
