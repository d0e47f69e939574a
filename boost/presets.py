"""LightGBM settings by name, and the seed rules of the published code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core import InputError
from .parameters import check_params, parse_rounds, plain_value, try_params

_ROUND_NAMES = frozenset({"num_iterations", "num_boost_round", "n_estimators", "num_trees", "num_rounds", "num_round"})

_RESERVED = frozenset(
    {
        "objective",
        "num_class",
        "num_threads",
        "n_jobs",
        "nthread",
        "deterministic",
        "feature_fraction_seed",
        "bagging_seed",
        "force_row_wise",
        "force_col_wise",
    }
)
"""Set by the protocol: classes, one thread a process, and the published seed rule."""


@dataclass(frozen=True)
class Preset:
    """LightGBM parameters and number of rounds.

    Attributes
    ----------
    name : str
    rounds : int
    params : mapping
    layout : {"row", "col"}
        How LightGBM walks its histograms: the trees are the same, the time is not. By column, which is measured in
        ``docs/performance.md``; row-wise touches every column, of which a tree is given a part.
    """

    name: str
    rounds: int
    params: Mapping[str, Any] = field(default_factory=dict)
    layout: str = "col"

    def with_params(self, changes: Mapping[str, Any]) -> Preset:
        """Return the preset with some parameters changed; any of LightGBM's names for rounds sets them.

        Raises
        ------
        InputError
            A parameter that the protocol sets, that LightGBM does not know or take, or that means nothing here.
        """
        if not changes:
            return self
        params, rounds, changed = dict(self.params), self.rounds, {}
        for name, given in changes.items():
            value = plain_value(name, given)
            if name in _RESERVED:
                raise InputError("{params} {}: is set by the protocol and cannot be changed", name)
            if name in _ROUND_NAMES:
                rounds = parse_rounds(name, value)
            else:
                params[name] = changed[name] = value
        check_params(list(changed))
        if changed:
            try_params(model_params(self, classes=3, seed=0, fold_position=0), changed)
        return Preset(self.name, rounds, params, self.layout)


PRESETS = {
    "rakhlin2018": Preset(
        "rakhlin2018",
        rounds=70,
        params={
            "learning_rate": 0.1,
            "num_leaves": 191,
            "max_depth": 7,
            "feature_fraction": 0.46,
            "bagging_fraction": 0.69,
            "bagging_freq": 0,  # as published, which leaves bagging_fraction without effect
        },
    ),
    "fast": Preset(
        "fast",
        rounds=70,
        params={
            "learning_rate": 0.1,
            "num_leaves": 31,
            "max_depth": 7,
            "max_bin": 63,
            "feature_fraction": 0.1,
            "bagging_fraction": 0.5,
            "bagging_freq": 1,
        },
    ),
}
"""``rakhlin2018``: published code of Rakhlin et al. 2018. ``fast``: a tree sees a tenth of the features, which
are redundant, and half of the rows, which are augmentations of few images; quarter bins, fewer leaves. Measured in
``docs/performance.md``."""


def model_params(preset: Preset, *, classes: int, seed: int, fold_position: int) -> dict[str, Any]:
    """Return the parameters of one model.

    Parameters
    ----------
    preset : Preset
    classes : int
        Number of classes; the objective is multiclass for two as well.
    seed : int
        Seed of the ensemble member, from 0.
    fold_position : int
        0-based position of the fold.

    Returns
    -------
    dict
        For `lightgbm.train`; with the published rule feature_fraction_seed = 1 + 10 seed + fold, bagging_seed one
        more.

    References
    ----------
    Rakhlin et al. 2018, published code.
    """
    first = 1 + 10 * seed + fold_position
    return {
        "objective": "multiclass",
        "num_class": classes,
        **preset.params,
        "feature_fraction_seed": first,
        "bagging_seed": first + 1,
        # The same text whatever the machine's load: one thread, a fixed histogram layout.
        "num_threads": 1,
        "deterministic": True,
        f"force_{preset.layout}_wise": True,
        "verbosity": -1,
    }
