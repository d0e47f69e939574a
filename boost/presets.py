"""Presets of LightGBM, parameters that users set in addition, and the seed rule of the published code.

Parameters that cannot work are refused before any training.
"""

from __future__ import annotations

import contextlib
import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core import Content, Entries, InputError, first_line
from ..core.formats import parse_yaml
from ..core.jobs import hushed_start
from .trees import Params, fit_text, import_lightgbm, pack_text, parse_model

_ROUND_NAMES = {
    "num_iterations",
    "num_boost_round",
    "n_estimators",
    "num_trees",
    "num_rounds",
    "num_round",
}

_BY_PROTOCOL = {
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
"""Parameters that bchisto sets: classes, one thread per process, and the published seed rule."""

_BY_VALIDATION = {"early_stopping_round", "early_stopping_min_delta", "first_metric_only"}

_UNSUPPORTED = {
    "monotone_constraints",
    "interaction_constraints",
    "feature_contri",
    "max_bin_by_feature",
    "cegb_penalty_feature_lazy",
    "cegb_penalty_feature_coupled",
    "categorical_feature",
    "forcedbins_filename",
    "forcedsplits_filename",
    "config",
    "task",
    "data",
    "valid",
    "input_model",
    "output_model",
    "output_result",
    "save_binary",
    "snapshot_freq",
    "machines",
    "num_machines",
    "machine_list_filename",
    "local_listen_port",
    "time_out",
    "header",
    "label_column",
    "weight_column",
    "group_column",
    "ignore_column",
    "two_round",
    "convert_model",
    "convert_model_language",
}

_REFUSED = (
    (_BY_PROTOCOL, "is set by bchisto and cannot be changed"),
    (
        _BY_VALIDATION,
        "needs a validation set, which boost has not; set the rounds with {params:num_iterations=N}",
    ),
    (
        _UNSUPPORTED,
        "is not supported: it refers to individual features, or belongs to LightGBM's own program",
    ),
)

_TRIAL = (60, 8, 3)
"""Rows, features and classes of the trial of parameters; enough rows to split leaves of the default size."""


@dataclass(frozen=True)
class Preset:
    """LightGBM parameters and number of rounds.

    Attributes
    ----------
    name : str
    rounds : int
    params : mapping
    of_version_2 : float or None
        Learning rate as LightGBM 2 took it, see `for_classes`; None if the learning rate is that of today.
    """

    name: str
    rounds: int
    params: Params
    of_version_2: float | None = None

    @property
    def shown(self) -> str:
        """The parameters as text; a learning rate of LightGBM 2 is followed by the one that today's LightGBM gets."""
        texts = {key: str(value) for key, value in self.params.items()}
        if self.of_version_2 not in (None, self.params["learning_rate"]):
            texts["learning_rate"] = (
                f"{self.of_version_2} as of LightGBM 2, {self.params['learning_rate']:.3g} here"
            )
        return ", ".join(f"{key}={text}" for key, text in texts.items())

    def for_classes(self, classes: int) -> Preset:
        """Return the preset with the learning rate by which today's LightGBM steps as LightGBM 2 did.

        A leaf is the learning rate times the sum of gradients over that of hessians. For K classes the hessian was
        2 p (1 - p) until version 2, and is K / (K - 1) p (1 - p) since version 3. So the factor is K / (2 (K - 1)): 1
        for two classes, 2 / 3 for four.

        References
        ----------
        LightGBM, issue 1154 (the hessian of version 2) and pull request 3256 (that of version 3).
        """
        if self.of_version_2 is None or classes < 2:
            return self
        rate = self.of_version_2 * classes / (2 * (classes - 1))
        return replace(self, params={**self.params, "learning_rate": rate})

    def with_params(self, changes: Params) -> Preset:
        """Return the preset with some parameters changed. Any of LightGBM's names for the number of rounds is accepted.

        Raises
        ------
        InputError
            A parameter is set by bchisto, has no meaning here, or is unknown to or refused by LightGBM.
        """
        values = {name: _plain(name, value) for name, value in changes.items()}
        rounds = self.rounds
        for name in changes:
            if name in _ROUND_NAMES:
                rounds = _rounds(name, values.pop(name))
        if not values:
            return replace(self, rounds=rounds)
        _check_names(values)
        base = model_params(self, classes=_TRIAL[2], seed=0, fold_position=0)
        reason = _refusal({**base, **values})
        if reason is not None:
            text = " ".join(f"{name}={value}" for name, value in values.items())
            raise InputError("{params} {}: cannot be used ({})", text, reason)
        of_version_2 = self.of_version_2
        if "learning_rate" in values:
            of_version_2 = None  # the caller's is that of today's LightGBM
        params = {**self.params, **values}
        return replace(self, params=params, rounds=rounds, of_version_2=of_version_2)


def _rounds(name: str, value: Any) -> int:
    """Return a value as a number of rounds; refuse any that is not a whole number of at least 1."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or value != int(value) or value < 1:
        raise InputError("{params} {}={}: give at least 1 round, as a whole number", name, value)
    return int(value)


def _check_names(names: Iterable[str]) -> None:
    """Refuse parameters that bchisto sets, that have no meaning here, or that LightGBM does not have."""
    # the names of LightGBM's parameters stand in the text of a model, apart from these two
    plain = {"verbosity": -1, "num_threads": 1}
    text = fit_text(np.zeros((2, 1, 1), np.float32), np.arange(2), params=plain, rounds=1)
    known_names = {"bagging_freq", "max_depth", *re.findall(r"^\[(\w+): ", text, re.MULTILINE)}
    for name in names:
        for refused, reason in _REFUSED:
            if name in refused:
                raise InputError("{params} {}: " + reason, name)
        if name not in known_names:
            raise InputError(
                "{params} {}: LightGBM has no parameter of this name; use its main name, no alias",
                name,
            )


_FEW = {
    "learning_rate": 0.1,
    "num_leaves": 31,
    "max_depth": 7,
    "max_bin": 63,
    "feature_fraction": 0.1,
    "bagging_fraction": 0.5,
    "bagging_freq": 1,
}

PRESETS = {
    "published": Preset(
        "published",
        rounds=70,
        params={
            "learning_rate": 0.1,
            "num_leaves": 191,
            "max_depth": 7,
            "feature_fraction": 0.46,
            "bagging_fraction": 0.69,
            "bagging_freq": 0,  # as published, which leaves bagging_fraction without effect
        },
        of_version_2=0.1,  # LightGBM was at version 2.1 when the code was published
    ),
    "standard": Preset("standard", rounds=70, params=_FEW),
    "quick": Preset("quick", rounds=70, params=_FEW),
}
"""``published`` is the published code of Rakhlin et al. 2018.

In the others a tree gets a tenth of the features, which are redundant, and half of the rows, which are augmentations of
few images. There are also a quarter of the bins and fewer leaves. ``docs/performance.md`` has the measurements.
"""

PRESET_OPTIONS: Mapping[str, Entries] = {
    "published": {"call": "plain"},
    "standard": {"heads": ("svm", "lightgbm"), "seeds": 2},
    "quick": {"heads": ("svm", "lightgbm"), "seeds": 1},
}
"""Options that a preset, if it is named, sets in addition to the parameters of LightGBM. The support vector machine
comes first because it was better on real BACH, see ``docs/results.md``."""


def model_params(preset: Preset, *, classes: int, seed: int, fold_position: int) -> Content:
    """Return the parameters of one model.

    Parameters
    ----------
    preset : Preset
    classes : int
        Number of classes. The objective is multiclass even for two classes.
    seed : int
        Seed of the ensemble member, from 0.
    fold_position : int
        Position of the fold, from 0.

    Returns
    -------
    dict
        Parameters for `lightgbm.train`. By the published rule, feature_fraction_seed = 1 + 10 seed + fold, and
        bagging_seed is one more.

    References
    ----------
    Rakhlin et al. 2018, published code.
    """
    first = 1 + 10 * seed + fold_position
    return {
        "objective": "multiclass",
        "num_class": classes,
        **preset.for_classes(classes).params,
        "feature_fraction_seed": first,
        "bagging_seed": first + 1,
        # one thread and a fixed histogram layout give the same text at any load of the machine; by row, which takes
        # longer, LightGBM reads all columns, although a tree uses only a part of them (docs/performance.md)
        "num_threads": 1,
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }


def parse_params(options: Sequence[str]) -> Content:
    """Parse ``key=value`` options. A value is a decimal number, true, false, a word, or a list of these in brackets.

    Raises
    ------
    InputError
        An option cannot be parsed, or a key has two different values.

    Examples
    --------
    >>> parse_params(["num_leaves=31", "extra_trees=true"])
    {'num_leaves': 31, 'extra_trees': True}
    """
    parsed: Content = {}
    for option in options:
        name, separator, text = option.partition("=")
        name = name.strip()
        if not separator or not name:
            raise InputError("{params} {}: write it as key=value", option)
        try:
            value = _value_of(parse_yaml(text))
        except InputError as error:
            raise InputError(
                "{params} {}: its value cannot be read; write it as key=value", option
            ) from error
        if parsed.setdefault(name, value) != value:
            raise InputError("{params} {}: given twice, as {} and {}", name, parsed[name], value)
    return parsed


def _value_of(value: Any) -> Any:
    """Return the value of a text. Unlike in YAML, 010 is ten, and only true and false are booleans."""
    if isinstance(value, list):
        return [_value_of(item) for item in value]
    if not isinstance(value, str) or "_" in value:
        return value
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    return {"true": True, "false": False}.get(value.lower(), value)


def _plain(name: str, value: Any) -> Any:
    """Return a value as a Python boolean, finite number, text without spaces, or list of these; refuse others."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return [_plain(name, item) for item in value]
    if isinstance(value, str):
        # LightGBM gets all parameters as one text, in which a space would start another parameter
        fits = bool(value) and not re.search(r"\s", value)
    elif isinstance(value, int):
        fits = abs(value) < 2**31  # LightGBM's integers have 32 bits; larger ones would overflow
    else:
        fits = isinstance(value, float) and math.isfinite(value)
    if not fits:
        raise InputError(
            "{params} {}: cannot be {}; give a word, true, false, a finite number (a whole one below 2**31), or a list "
            "of these",
            name,
            "nothing" if value is None else repr(value),
        )
    return value


def _refusal(params: Params) -> str | None:
    """Return why parameters are refused; None if LightGBM trains two rounds with them, and its trees can be kept."""
    lightgbm = import_lightgbm()
    rows, features, classes = _TRIAL
    values = np.random.default_rng(0).normal(size=(rows, 1, features)).astype(np.float32)
    # LightGBM prints to stderr before it raises an exception
    with warnings.catch_warnings(), hushed_start():
        warnings.simplefilter("ignore")
        try:
            text = fit_text(values, np.arange(rows) % classes, params=params, rounds=2)
            parse_model(pack_text(text)).predict_proba(values)
        except (
            lightgbm.basic.LightGBMError,
            ValueError,
            TypeError,
            LookupError,
            OverflowError,
            MemoryError,
        ) as error:
            # without its own path and line
            return re.sub(r" at /\S+, line.*", "", first_line(error))
    return None
