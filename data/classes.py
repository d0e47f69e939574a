"""Class names: join spellings of one class, and match loosely written names."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal

from ..core import InputError, by_key
from ..core.formats import is_missing, visible
from .findings import Finding, Findings, Level

_NUMBER = re.compile(r"[+-]?[0-9]{1,40}([.,][0-9]{0,40})?(e[+-]?[0-9]{1,2})?", re.IGNORECASE)


def _spelling(name: str, *, cased: bool = False) -> str:
    """Return what all spellings of a class share; numbers that are equal are one class, as ``0`` and ``0.0``.

    If `cased`, only blanks and characters that nobody sees are removed.
    """
    text = visible(unicodedata.normalize("NFC", name))
    if cased:
        return text
    text = visible(unicodedata.normalize("NFC", text.casefold()))
    if _NUMBER.fullmatch(text):
        text = f"{Decimal(text.replace(',', '.')):f}"
        if "." in text:
            text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def loosely(name: str) -> str:
    """Remove spaces, ``_`` and ``-``, except a minus sign and separators of digits: -1 is not 1, 1-0 is not 10."""
    text = re.sub(r"(?<=\d)[\s_-]+(?=\d)", "\0", _spelling(name).strip())
    return re.sub(r"(?!^-\s*\d)[\s_-]+", "", text)


def match_class(name: str, classes: Sequence[str]) -> str | None:
    """Return the class that ``name`` means, ignoring case, spaces, ``_`` and ``-`` unless a class matches exactly.

    Unicode is compared in its composed form (NFC). A minus sign before a digit and separators between digits matter.

    Parameters
    ----------
    name : str
    classes : sequence of str

    Returns
    -------
    str or None
        None if no class matches.

    Raises
    ------
    InputError
        No class matches exactly, and several match loosely.

    Examples
    --------
    >>> match_class("in_situ", ["Normal", "InSitu"])
    'InSitu'
    >>> match_class("-1", ["0", "1"])
    """
    if name in classes:
        return name
    for simplified in (functools.partial(_spelling, cased=True), _spelling, loosely):
        key = simplified(name)
        fitting = [candidate for candidate in classes if key and simplified(candidate) == key]
        if len(fitting) > 1:
            raise InputError(
                f"{name!r} fits two classes, {fitting[0]} and {fitting[1]}; write one of them exactly"
            )
        if fitting:
            return fitting[0]
    return None


def spell_labels(labels: Iterable[str], classes: Sequence[str]) -> dict[str, str | None]:
    """Return a dict from each label to its class, spelled as in `classes`; None if it is not one of them.

    Raises
    ------
    InputError
        Two labels fit one class, or a label fits two.
    """
    spelled = {}
    first: dict[str, str] = {}
    for label in sorted(set(labels)):
        name = match_class(label, classes)
        spelled[label] = name
        if name is not None and _spelling(first.setdefault(name, label)) != _spelling(label):
            raise InputError(
                f"the labels {first[name]!r} and {label!r} both fit the class {name}; rename one, or name both where "
                "classes are given"
            )
    return spelled


def missing_labels(labels: Iterable[str], classes: Sequence[str]) -> list[str]:
    """Return the labels that mean an unknown class, such as ``NA``, unless they are names of classes."""
    return [
        label
        for label in sorted(set(labels))
        if label and is_missing(label) and match_class(label, classes) is None
    ]


def check_order(classes: Sequence[str]) -> None:
    """Refuse a class order that names a class twice.

    Raises
    ------
    InputError
        Two names differ only in case or Unicode form.
    """
    counts = Counter(map(_spelling, classes))
    twice = [name for name in classes if counts[_spelling(name)] > 1]
    if twice:
        raise InputError(
            "{classes} {}: names {} twice; name each class once", ",".join(classes), twice[0]
        )


def join_labels(
    labels: Iterable[str], *, classes: Sequence[str] = ()
) -> tuple[dict[str, str], list[Finding]]:
    """Join labels that are equal as numbers, or differ only in case, Unicode form or characters that nobody sees.

    The most frequent spelling becomes the class name; whole numbers lose their decimals.

    Parameters
    ----------
    labels : iterable of str
        One per image.
    classes : sequence of str
        Spellings that the user or a known dataset prescribes.

    Returns
    -------
    dict of str to str
        Each spelling to its class name in Unicode's composed form (NFC). Ties are resolved alphabetically.
    list of Finding
        Spellings that were joined, and similar names that stay separate classes.
    """
    counts = Counter(labels)
    spellings: dict[str, Counter[str]] = {}
    for label, count in counts.items():
        spellings.setdefault(_spelling(label), Counter())[_spelling(label, cased=True)] += count
    best = {
        key: min(forms_of, key=lambda name: (-forms_of[name], name))
        for key, forms_of in spellings.items()
    }
    # whole numbers lose the decimals that programs add to them
    names = {key: re.sub(r"^([+-]?[0-9]+)[.,]0*$", r"\1", name) for key, name in best.items()}
    prescribed = {_spelling(name): name for name in classes}
    names |= {key: prescribed[key] for key in names.keys() & prescribed.keys()}
    findings = Findings()
    for key, forms_of in sorted(spellings.items()):
        name = names[key]
        if len(forms_of) > 1:
            if key in prescribed:
                why = "as in the order of classes"
            elif name == best[key]:
                why = "the most frequent spelling"
            else:
                why = "the whole number"
            texts = (f"{form} ({count} images)" for form, count in sorted(forms_of.items()))
            message = f"one class in several spellings: {', '.join(texts)}; named {name}, {why}"
            findings.warning(name, message)
        elif name not in forms_of and _NUMBER.fullmatch(key):
            level: Level = "warning" if prescribed else "note"
            findings.append(Finding(level, name, f"the class of {min(forms_of)}"))
    findings += _similar(names.values())
    return {label: names[_spelling(label)] for label in counts}, findings


def _similar(names: Iterable[str]) -> list[Finding]:
    """Return a warning of classes whose names are nearly equal."""
    alike = by_key(sorted(names), loosely)
    message = "differ only in spaces, _ or -; they stay separate classes"
    return [
        Finding("warning", ", ".join(same), message) for same in alike.values() if len(same) > 1
    ]
