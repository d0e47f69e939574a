"""Reads JSON, YAML and zips that others wrote within limits, and checks the numbers, texts and forms in them.

The limits are checked before objects are made, since a small file could take much memory.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import unicodedata
import zipfile
from pathlib import Path
from typing import IO, Any

from .. import DAMAGE, InputError, first_line
from . import limits

_SIGNS = ",:[{"
"""One of these characters precedes every JSON value except the first."""


def parse_json(text: str | bytes, *, most: int = limits.JSON_VALUES) -> Any:
    """Parse a JSON text with at most `most` values.

    Raises
    ------
    ValueError
        Not JSON, or too many values.
    RecursionError
        Nested too deeply.
    """
    if isinstance(text, str):
        values = sum(map(text.count, _SIGNS))
    else:
        values = sum(map(text.count, _SIGNS.encode()))
    if values > most:
        raise ValueError(f"more than {most:,} values")
    return json.loads(text)


def read_json(path: Path, *, record: bool = False) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : Path
    record : bool
        Whether it is a record of a run, for which smaller limits apply.

    Raises
    ------
    InputError
        The file is not JSON, or too large; the message names the file and the position.
    """
    size = limits.JSON_BYTES
    values = limits.JSON_VALUES
    if record:
        size = limits.RECORD_BYTES
        values = limits.RECORD_VALUES
    try:
        if path.stat().st_size > size:
            raise ValueError(f"more than {size // 1024**2} MiB")  # noqa: TRY301
        return parse_json(path.read_text(encoding="utf-8-sig"), most=values)
    except (ValueError, OSError, RecursionError) as error:
        raise InputError("{}: not a readable JSON file ({})", path, error) from error


def open_zip(source: Path | IO[bytes], *, members: int, size: float = math.inf) -> zipfile.ZipFile:
    """Open a zip for reading; one with too many members is refused without reading its whole directory.

    Parameters
    ----------
    source : Path or binary file
    members : int
        Largest acceptable number of members.
    size : float
        Largest acceptable number of unpacked bytes, as the directory states them.

    Raises
    ------
    zipfile.BadZipFile
        Not a zip, or too many members or bytes.
    """
    if isinstance(source, Path):
        with source.open("rb") as handle:
            record = zipfile._EndRecData(handle)  # type: ignore[attr-defined]
    else:
        record = zipfile._EndRecData(source)  # type: ignore[attr-defined]
    if record is not None and record[zipfile._ECD_SIZE] > members * limits.ZIP_MEMBER_BYTES:  # type: ignore[attr-defined]
        raise zipfile.BadZipFile(f"more than {members:,} members")
    archive = zipfile.ZipFile(source)
    if sum(info.file_size for info in archive.infolist()) > size:
        archive.close()
        raise zipfile.BadZipFile(f"unpacks to more than the {size:,} bytes that it may have")
    return archive


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
    import yaml

    broken = (yaml.YAMLError, *DAMAGE)
    if text.lstrip()[:1] == "{" and len(text) <= limits.OPTIONS_JSON:
        with contextlib.suppress(ValueError, RecursionError):  # YAML may begin with a brace, too
            return parse_json(text, most=limits.RECORD_VALUES)
    if len(text) > limits.YAML_CHARACTERS:
        raise InputError(f"more than {limits.YAML_CHARACTERS // 1024} KiB of YAML")
    try:
        loader = yaml.SafeLoader(text)
        loader.yaml_implicit_resolvers = {
            first: [kind for kind in kinds if kind[0].endswith(":null")]
            for first, kinds in loader.yaml_implicit_resolvers.items()
        }
        node = loader.get_single_node()
        if node is None:
            return None
        if _count_values(node, {}) <= limits.YAML_VALUES:
            return loader.construct_document(node)
    except broken as error:
        raise InputError(
            f"neither YAML nor JSON, or nested too deeply ({first_line(error)})"
        ) from error
    raise InputError(f"more than {limits.YAML_VALUES:,} values, with what its aliases repeat")


def _count_values(node: Any, counts: dict[int, int]) -> int:
    """Return the number of values of a node with all repetitions; a node that contains itself exceeds the limit."""
    if id(node) not in counts:
        counts[id(node)] = limits.YAML_VALUES + 1  # while the nodes inside are counted
        total = 1
        if isinstance(node.value, list):
            for child in node.value:
                # of a mapping, each child is a key and a value
                pair = child if isinstance(child, tuple) else (child,)
                total += sum(_count_values(part, counts) for part in pair)
        counts[id(node)] = total
    return counts[id(node)]


def number_of(value: Any) -> Any:
    """Convert a text in decimal notation to a number; anything else is returned unchanged.

    Examples
    --------
    >>> number_of("010"), number_of("0.50"), number_of("1e-3"), number_of("1:48"), number_of("nan")
    (10, 0.5, 0.001, '1:48', 'nan')
    """
    if not isinstance(value, str) or len(value) > _MOST_DIGITS:
        return value
    match = _DECIMAL.fullmatch(value)
    if match is None:
        return value
    if match[1].isdecimal():
        return int(value)
    return float(value)


def decimal_of(text: str) -> float:
    """Return a number with a decimal point or comma; ``1_0``, and digits of other scripts, are refused.

    Raises
    ------
    ValueError
        The text is not a number, or separates thousands as well.
    """
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    return float(text.replace(",", ".", 1))


def visible(text: str) -> str:
    r"""Return a text without invisible characters; blanks become spaces, and those around the text are removed.

    Examples
    --------
    >>> visible("in\u00a0situ\u200b")
    'in situ'
    """
    if text.isascii() and text.isprintable():
        return text.strip()
    signs = []
    for sign in text:
        if sign.isspace():
            signs.append(" ")
        elif unicodedata.category(sign) != "Cf":
            signs.append(sign)
    return "".join(signs).strip()


def fits(value: Any, form: Any) -> bool:
    """Return whether a value has a form: a type, function, tuple of choices, list of one form, or dict of forms."""
    if isinstance(form, dict):
        return isinstance(value, dict) and all(
            fits(value.get(name), inner) for name, inner in form.items()
        )
    if isinstance(form, list):
        return isinstance(value, list) and all(fits(item, form[0]) for item in value)
    if isinstance(form, type):
        return isinstance(value, form)
    if callable(form):
        return bool(form(value))
    return value in form


def is_text(value: Any, longest: int = limits.ID_LETTERS) -> bool:
    """Return whether a value is text of at most so many letters."""
    return isinstance(value, str) and len(value) <= longest
