"""Names of patients and slides: join different spellings, and recognise names that mean unknown."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from ..core import few
from ..formats import is_missing
from .findings import Finding


def join_groups(groups: Iterable[str | None], *, where: str) -> tuple[dict[str, str | None], list[Finding]]:
    """Join names of groups that differ only in case, Unicode form or zeros of a number, under the most frequent name.

    ``001``, ``1`` and ``1.0`` are joined, because spreadsheets convert one into another. In doubt, names are joined:
    one patient counted as two would make folds and intervals wrong, and two counted as one only makes them more
    cautious. Names that mean an unknown patient (``NA``, ``nan``, ``unknown``) become None.

    Parameters
    ----------
    groups : iterable of str or None
        One per image.
    where : str
        Name of the table, for the findings.

    Returns
    -------
    dict of str to (str or None)
        Each name to the name that replaces it.
    list of Finding

    Examples
    --------
    >>> join_groups(["P1", "p1", "P1", "NA"], where="m.csv")[0]
    {'P1': 'P1', 'p1': 'P1', 'NA': None}
    """
    counts = Counter(group for group in groups if group is not None)
    settled: dict[str, str | None] = {name: None for name in counts if is_missing(name)}
    findings = []
    if named := [f"{name} ({counts[name]} rows)" for name in settled if name]:
        message = f"not taken for names of patients, but for unknown ones: {few(named)}"
        findings.append(Finding("note", where, message))
    alike: dict[str, list[str]] = {}
    for name in counts:
        if name not in settled:
            alike.setdefault(_key(name), []).append(name)
    joined = []
    for names in alike.values():
        best = min(names, key=lambda name: (-counts[name], name))
        settled |= dict.fromkeys(names, best)
        if len(names) > 1:
            joined.append(" and ".join(sorted(names)))
    if joined:
        message = (
            f"names of patients that differ only in case or in zeros are taken for one patient: {few(joined)}; give "
            "two patients different names"
        )
        findings.append(Finding("warning", where, message))
    return {name: settled[name] for name in counts}, findings


def _key(name: str) -> str:
    number = re.fullmatch(r"0*([0-9]+?)(\.0+)?", name)
    return number[1] if number else unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
