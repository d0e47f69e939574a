"""Parse untrusted YAML and JSON into plain values, with limits on size, repetition by aliases, and depth."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .. import DAMAGE, InputError
from . import limits
from .bounds import parse_json

_DECIMAL = re.compile(r"[+-]?(\d+|(\d+\.\d*|\.\d+)([eE][+-]?\d+)?|\d+[eE][+-]?\d+)", re.ASCII)
_MOST_DIGITS = 300


def parse_yaml(text: str) -> Any:
    """Parse a JSON or YAML text into mappings, lists and values.

    YAML values stay text as written (such as ``010``, ``1:48`` and ``no``), except null. Callers that need a number
    convert them. JSON values keep their types.

    Parameters
    ----------
    text : str

    Raises
    ------
    InputError
        The text is neither JSON nor YAML, too large or nested too deeply, or its aliases repeat themselves or too much.
        The message does not name the file.
    """
    try:
        value = (
            parse_json(text, most=limits.RECORD_VALUES)
            if text.lstrip()[:1] == "{" and len(text) <= limits.OPTIONS_JSON
            else None
        )
    except RecursionError as error:
        raise InputError("nested too deeply") from error
    except ValueError:  # YAML may begin with a brace, too
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
    """Return the number of values of a node with all repetitions; a node that contains itself exceeds the limit."""
    if id(node) not in known:
        known[id(node)] = limits.YAML_VALUES + 1
        inside = node.value if isinstance(node.value, list) else []
        children = [child for pair in inside for child in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_nodes(child, known) for child in children)
    return known[id(node)]


def number_of(value: Any) -> Any:
    """Convert a text in decimal notation to a number; anything else is returned unchanged.

    Examples
    --------
    >>> number_of("010"), number_of("0.50"), number_of("1e-3"), number_of("1:48"), number_of("nan")
    (10, 0.5, 0.001, '1:48', 'nan')
    """
    if not isinstance(value, str) or len(value) > _MOST_DIGITS or not (match := _DECIMAL.fullmatch(value)):
        return value
    return int(value) if match[1].isdecimal() else float(value)


def _holds_huge(value: Any) -> bool:
    """Whether a value contains a whole number that is too large to be valid, and that Python may refuse to print."""
    if isinstance(value, Mapping):
        return any(_holds_huge(item) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple | set):
        return any(map(_holds_huge, value))
    return isinstance(value, int) and value.bit_length() > limits.WHOLE_NUMBER_BITS
