"""Names of patients and slides: join different spellings and slides, and recognise names that mean unknown."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ..core import Message, few
from ..core.formats import GROUP, is_missing, visible
from .dataset import ImageRecord
from .findings import Finding
from .names import PathRule

_BARCODE = re.compile(r"(?<![A-Za-z0-9])TCGA[-_.]([A-Z0-9]{2})[-_.]([A-Z0-9]{4})(?![A-Za-z0-9])", re.IGNORECASE)
_END = r"(?:[-_ .][A-Za-z]{0,6}\d{1,2}|[-_ .][A-Za-z]|(?<=\d)[A-Za-z])"
"""End of a name by which slides of one patient may differ."""

_MOST_SLIDES = 9
"""If more names differ only in their end, they are taken for numbered patients."""


def barcode_of(text: str) -> str | None:
    """Return the patient that the last TCGA barcode in a text names by its first 12 characters; None without one.

    Examples
    --------
    >>> barcode_of("benign/tcga-a1-a0sb-01Z-00-DX1.B34C_7.png")
    'TCGA-A1-A0SB'
    """
    codes = _BARCODE.findall(text)
    return "-".join(("TCGA", *codes[-1])).upper() if codes else None


def settle_groups(
    records: Sequence[ImageRecord], *, root: Path, chosen: Container[str]
) -> tuple[list[ImageRecord], list[Finding]]:
    """Join the groups, see `join_groups`; if no image has one, TCGA barcodes in the paths name the patients.

    Parameters
    ----------
    records : sequence of ImageRecord
    root : Path
        The folder or manifest.
    chosen : container of str
        Names of the options that the user gave.

    Returns
    -------
    list of ImageRecord
    list of Finding
        Also a warning of groups that may be slides of one patient.
    """
    findings = _slides(records, root, ruled="group_from" in chosen)
    if not ("group_from" in chosen or "group_column" in chosen or any(record.group for record in records)):
        records = [replace(record, group=barcode_of(record.path.as_posix())) for record in records]
        named = [record.group for record in records if record.group]
        if named:
            message = (
                f"TCGA barcodes name the patient of {len(named)} of {len(records)} images: {few(dict.fromkeys(named))}"
            )
            findings.append(Finding("note", root.name, message, labels_only=True))
    group_of, joined = join_groups((record.group for record in records), where=root.name)
    return [r if r.group is None else replace(r, group=group_of[r.group]) for r in records], findings + joined


def _slides(records: Iterable[ImageRecord], root: Path, *, ruled: bool) -> list[Finding]:
    """Warn of groups from paths or a column of slides that differ only in their end, with a rule that joins them."""
    folder, column, group_of = root if root.is_dir() else root.parent, "", {}
    for record in records:
        cells = dict(record.columns)
        slide = next((name for name in GROUP.matching(cells)[1] if cells[name] == record.group), "")
        if record.group and not barcode_of(record.group) and (slide or ruled or not record.line):
            inside = record.path.is_relative_to(folder)
            path = (record.path.relative_to(folder) if inside else record.path).as_posix()
            column, group_of[path] = slide, record.group
    stem_of = {name: re.sub(f"(?<=.){_END}$", "", name) for name in group_of.values()}
    counts = Counter(stem_of.values())
    shared = sorted(stem for stem, count in counts.items() if count > 1)
    if not shared or max(counts.values()) > _MOST_SLIDES or (len(shared) == 1 and not re.search(r"\d", shared[0])):
        return []
    path, name = next(iter(group_of.items()))
    folders = path.split("/")[:-1]
    above = "[^/]+/" * folders.index(name) if name in folders else ""
    rule = f"^{above}([^/]+?){_END}?/" if name in folders else f"([^/]+?){_END}[^/]*$"
    if PathRule.of(rule, name="").find(group_of) == {path: stem_of[name] for path, name in group_of.items()}:
        cure: str = Message("{group_from:{}} joins them", rule)
    elif column:
        cure = Message("{group_column:{}} with {group_from:{}} joins them", column, f"^(.+?){_END}?$")
    else:
        cure = "give the patients as the column group of a manifest"
    alike = few(sorted(name for name, stem in stem_of.items() if stem == shared[0]))
    message = Message("these names of groups differ only in their end; if they are slides of one patient, {}", cure)
    return [Finding("warning", alike, message, labels_only=True)]


def join_groups(groups: Iterable[str | None], *, where: str) -> tuple[dict[str, str | None], list[Finding]]:
    """Join names of groups that differ only in case, Unicode form or zeros of a number, under the most frequent name.

    ``001``, ``1`` and ``1.0`` are joined, because spreadsheets convert one into another. In doubt, names are joined:
    one patient counted as two would make folds and intervals wrong, and two counted as one only makes them more
    cautious. TCGA barcodes become their first 12 characters. Names that mean an unknown patient (``NA``, ``nan``,
    ``unknown``) become None.

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
    given = [group for group in groups if group is not None]
    plain = {name: barcode_of(name) or name for name in given}
    counts = Counter(map(plain.__getitem__, given))
    settled: dict[str, str | None] = {name: None for name in counts if is_missing(name)}
    findings = []
    if slides := [name for name, code in plain.items() if name != code]:
        patients, example = len({plain[name] for name in slides}), f"{plain[slides[0]]} of {slides[0]}"
        message = (
            f"TCGA barcodes name the patient by their first 12 characters: {patients} patients of {len(slides)} slides"
        )
        findings.append(Finding("note", where, f"{message}, such as {example}"))
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
    return {name: settled[code] for name, code in plain.items()}, findings


def _key(name: str) -> str:
    name = visible(name)
    number = re.fullmatch(r"0*([0-9]+?)(\.0+)?", name)
    return number[1] if number else unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
