"""YAML and JSON of strangers as plain values: bounded in size, in what aliases repeat, and in depth."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..core import DAMAGE, InputError
from . import limits
from .bounds import parse_json

_DECIMAL = re.compile(r"[+-]?(\d+|(\d+\.\d*|\.\d+)([eE][+-]?\d+)?|\d+[eE][+-]?\d+)", re.ASCII)
_MOST_DIGITS = 300


def parse_yaml(text: str) -> Any:
    """Return what a JSON or YAML text holds: mappings, lists and values.

    Values of a YAML text are texts as they are written (``010``, ``1:48`` and ``no``), and null: whoever asks for a
    number knows what it should be. JSON says of each value what it is.

    Parameters
    ----------
    text : str

    Raises
    ------
    InputError
        Neither; too large; nested too deeply; or an alias that repeats itself, or far too much. The message does not
        name the file.
    """
    try:
        value = (
            parse_json(text, most=limits.RECORD_VALUES)
            if text.lstrip()[:1] == "{" and len(text) <= limits.OPTIONS_JSON
            else None
        )
    except RecursionError as error:
        raise InputError("nested too deeply") from error
    except ValueError:  # YAML may begin so too
        value = None
    if value is None:
        value = _parsed(text)
    if _holds_huge(value):
        raise InputError(f"a whole number of more than {limits.WHOLE_NUMBER_BITS} bits")
    return value


def _parsed(text: str) -> Any:
    import yaml

    broken: tuple[type[Exception], ...] = (yaml.YAMLError, *DAMAGE)
    if len(text) > limits.YAML_CHARACTERS:
        raise InputError(f"more than {limits.YAML_CHARACTERS // 1024} KiB of YAML")
    try:
        loader = yaml.SafeLoader(text)
        loader.yaml_implicit_resolvers = {
            first: [kind for kind in kinds if kind[0].endswith(":null")]
            for first, kinds in loader.yaml_implicit_resolvers.items()
        }
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _nodes(node, {}) > limits.YAML_VALUES:
                raise InputError(f"more than {limits.YAML_VALUES:,} values, with what its aliases repeat")
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError as error:
        raise InputError("nested too deeply") from error
    except InputError:
        raise
    except broken as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"neither YAML nor JSON ({reason})") from error


def _nodes(node: Any, known: dict[int, int]) -> int:
    """Return how many values a node stands for; one that holds itself stands for too many."""
    if id(node) not in known:
        known[id(node)] = limits.YAML_VALUES + 1
        inside = node.value if isinstance(node.value, list) else []
        some = [child for pair in inside for child in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_nodes(child, known) for child in some)
    return known[id(node)]


def number_of(value: Any) -> Any:
    """Return the number that a text in decimals stands for; anything else as it is.

    Examples
    --------
    >>> number_of("010"), number_of("0.50"), number_of("1e-3"), number_of("1:48"), number_of("nan")
    (10, 0.5, 0.001, '1:48', 'nan')
    """
    if not isinstance(value, str) or len(value) > _MOST_DIGITS or not (match := _DECIMAL.fullmatch(value)):
        return value
    return int(value) if match[1].isdecimal() else float(value)


def _holds_huge(value: Any) -> bool:
    """Whether a whole number in a value is too large to be one of ours; Python would not even write it."""
    if isinstance(value, Mapping):
        return any(_holds_huge(item) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple | set):
        return any(map(_holds_huge, value))
    return isinstance(value, int) and value.bit_length() > limits.WHOLE_NUMBER_BITS
