"""LightGBM parameters as users type them: read, and refused in one line where they cannot work, before any training."""

from __future__ import annotations

import contextlib
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core import InputError
from ..formats import parse_yaml
from ..jobs import hushed_start
from .lightgbm_model import fit_text, import_lightgbm, parse_model
from .tree_arrays import pack_text

_BY_VALIDATION = frozenset({"early_stopping_round", "early_stopping_min_delta", "first_metric_only"})
"""What acts on a validation set."""

_BY_FEATURE = frozenset(
    {
        "monotone_constraints", "interaction_constraints", "feature_contri", "max_bin_by_feature",
        "cegb_penalty_feature_lazy", "cegb_penalty_feature_coupled", "categorical_feature", "forcedbins_filename",
        "forcedsplits_filename",
    }
)  # fmt: skip
"""What names single features; those of a descriptor have no meaning, and stores differ in their number."""

_BY_PROGRAM = frozenset(
    {
        "config", "task", "data", "valid", "input_model", "output_model", "output_result", "save_binary",
        "snapshot_freq", "machines", "num_machines", "machine_list_filename", "local_listen_port", "time_out", "header",
        "label_column", "weight_column", "group_column", "ignore_column", "two_round", "convert_model",
        "convert_model_language",
    }
)  # fmt: skip
"""What belongs to LightGBM's own program: its files and its network."""

_BY_FORM = frozenset({"linear_tree", "zero_as_missing"})
"""What makes trees that a model file does not hold."""

_TOY = (60, 8, 3)
"""Rows, features and classes of the trial: leaves of the default size can be split."""


def parse_params(options: Sequence[str]) -> dict[str, Any]:
    """Read ``key=value`` options: numbers in decimals, true, false, words, or a list of these in brackets.

    Raises
    ------
    InputError
        Not written so, or twice with two values.

    Examples
    --------
    >>> parse_params(["num_leaves=31", "extra_trees=true"])
    {'num_leaves': 31, 'extra_trees': True}
    """
    parsed: dict[str, Any] = {}
    for option in options:
        name, separator, text = option.partition("=")
        name = name.strip()
        if not separator or not name:
            raise InputError("{params} {}: write it as key=value", option)
        try:
            value = _plain_number(parse_yaml(text, plain_text=True))
        except InputError as error:
            raise InputError("{params} {}: its value cannot be read; write it as key=value", option) from error
        if name in parsed and parsed[name] != value:
            raise InputError("{params} {}: given twice, as {} and {}", name, parsed[name], value)
        parsed[name] = value
    return parsed


def _plain_number(value: Any) -> Any:
    """Return what a text stands for: 010 is ten, and only true and false are truth values."""
    if isinstance(value, list):
        return [_plain_number(one) for one in value]
    if not isinstance(value, str) or "_" in value:
        return value
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    return {"true": True, "false": False}.get(value.lower(), value)


def plain_value(name: str, value: Any) -> Any:
    """Return a value as plain Python: a truth value, a finite number, a text without spaces, or a list of these.

    Raises
    ------
    InputError
        Anything else; the message names the parameter.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return [plain_value(name, one) for one in value]
    if isinstance(value, str):
        # LightGBM takes all parameters as one text, so that a space would begin another
        fits = bool(value) and not re.search(r"\s", value)
    elif isinstance(value, int):
        fits = abs(value) < 2**31  # LightGBM's whole numbers, which would come out as another
    else:
        fits = isinstance(value, float) and math.isfinite(value)
    if not fits:
        shown = "nothing" if value is None else str(value)
        raise InputError("{params} {}: cannot be {}; give a number, a word, true or false", name, shown)
    return value


def parse_rounds(name: str, value: Any) -> int:
    """Return a number of boosting rounds.

    Raises
    ------
    InputError
        Not a whole number from 1 up.
    """
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and value == int(value)
    if not whole or value < 1:
        raise InputError("{params} {}={}: give at least 1 round, as a whole number", name, value)
    return int(value)


def check_params(names: Sequence[str]) -> None:
    """Refuse parameters that LightGBM does not know, or that mean nothing here.

    Raises
    ------
    InputError
        The message names the first.
    """
    known = _known_params()
    for name in names:
        if name in _BY_VALIDATION:
            raise InputError(
                "{params} {}: needs a validation set, which boost does not have; set the rounds with "
                "{params:num_iterations=N}",
                name,
            )
        if name in _BY_FEATURE:
            raise InputError("{params} {}: names single features, and those of descriptors have no meaning", name)
        if name in _BY_PROGRAM:
            raise InputError("{params} {}: belongs to LightGBM's own program, not to its library", name)
        if name in _BY_FORM:
            raise InputError("{params} {}: makes other trees than models hold, which split by thresholds only", name)
        if name not in known:
            raise InputError("{params} {}: LightGBM has no parameter of this name; use its main name, no alias", name)


def try_params(base: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Train two rounds on a few made-up rows, which is how LightGBM itself says what it does not take.

    Parameters
    ----------
    base : mapping
        Parameters that work.
    changes : mapping
        What is put on top of them.

    Raises
    ------
    InputError
        LightGBM refuses one of the changes, which the message names, or their combination.
    """
    if (reason := _refusal({**base, **changes})) is None:
        return
    for name, value in changes.items():
        if (alone := _refusal({**base, name: value})) is not None:
            raise InputError("{params} {}={}: LightGBM does not take it ({})", name, _shown(value), alone)
    together = " ".join(f"{name}={_shown(value)}" for name, value in changes.items())
    raise InputError("{params} {}: LightGBM does not take these together ({})", together, reason)


def _shown(value: Any) -> str:
    return ",".join(map(_shown, value)) if isinstance(value, list) else str(value)


def _refusal(params: Mapping[str, Any]) -> str | None:
    """Return what LightGBM says against parameters; None if a model is trained, kept and predicts with them."""
    lightgbm = import_lightgbm()
    rows, features, classes = _TOY
    values = np.random.default_rng(0).normal(size=(rows, features)).astype(np.float32)
    labels = np.arange(rows) % classes
    chosen = {**params, "num_class": classes}
    # the library writes to stderr by itself, before it raises
    with warnings.catch_warnings(), hushed_start():
        warnings.simplefilter("ignore")
        try:
            text = fit_text(values[:, np.newaxis], labels, params=chosen, rounds=2)
            parse_model(pack_text(text)).predict_proba(values[:, np.newaxis])
        except (lightgbm.basic.LightGBMError, ValueError, TypeError, LookupError, OverflowError, MemoryError) as error:
            return _reason(str(error))
    return None


def _reason(text: str) -> str:
    """Shorten a message of LightGBM: without places in its source, and checks as what must hold."""
    reason = (text.splitlines() or [""])[0]
    reason = re.sub(r" at /\S+, line \d+ ?\.?$", "", reason).strip()
    if simple := re.fullmatch(r"Check failed: \((\w+)\) (\S+) \((\S+)\)", reason):
        return f"{simple[1]} must be {simple[2]} {simple[3]}"
    if token := re.fullmatch(r"Unknown token (\S+) in data file", reason):
        return f"{token[1]} is no number"
    return reason.replace("Check failed: ", "needed: ")


def _known_params() -> set[str]:
    """Return LightGBM's parameter names, which a model's text lists."""
    rows, params = np.zeros((2, 1, 1), np.float32), {"verbosity": -1, "num_threads": 1}
    text = fit_text(rows, np.arange(2), params=params, rounds=1)
    return set(re.findall(r"^\[(\w+): ", text, flags=re.MULTILINE)) | {"bagging_freq", "max_depth"}
