"""Recognise the columns of a table, or the arrays of a file, by the many names that people give them.

Manifests, labels, lists, predictions and embeddings all use this module. Case, blanks, ``_``, ``-`` and a plural s do
not matter: ``PatientID``, ``patient-id`` and ``Patient IDs`` are the same name.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import InputError, letters_of
from .tables import BOOKS

_PERSONS = ("patient", "subject", "participant", "case")
_UNITS = (*_PERSONS, "slide", "animal", "mouse", "rat", "donor", "specimen", "block")
"""Words for a group; the one with which the name of its column begins is used."""
_NUMBERS = ("", "id", "no", "nr", "num", "number", "code", "key", "uid", "barcode")

_MAY_BE_PATIENTS = re.compile(
    r"\w*(patient|subject|participant|person|donor|proband|case|^pat|^mrn|animal|mouse|mice|maus|^rat|ratte|"
    r"^fall|individual|paciente|sujet|患者)(s|en|in|innen)?"
    r"(id|no|nr|num|number|nummer|code|key|uid|barcode|name)?"
)
"""Names that may mean the patient, although `GROUP` does not contain them."""

_MISSING = frozenset(
    {
        "",
        "na",
        "n/a",
        "nan",
        "null",
        "none",
        "unknown",
        "<na>",
        "#n/a",
        "#nv",
        "#n/d",
        "n.a.",
        "missing",
        "?",
    }
)
"""What programs and people write for a missing value."""


_REMARK = re.compile(r"(?<=\w)[\s_]*[\[(][^\[\]()]*[\])]$")
"""Matches a remark in brackets at the end of a name, such as a unit."""


class Role(NamedTuple):
    """A meaning that a column may have, with the names by which such a column is recognised.

    Attributes
    ----------
    name : str
        Standard name of the column.
    means : str
        Description of its content, for messages.
    tiers : tuple of (tuple of str)
        Accepted names in lower case, without characters between words. Names of an earlier tier have priority. Names of
        one tier mean the same.
    """

    name: str
    means: str
    tiers: tuple[tuple[str, ...], ...]

    def matching(self, names: Iterable[str]) -> list[list[str]]:
        """Return the column names with this meaning: a list for each tier, in the order of the names in the tier.

        Remarks in brackets, such as units, are ignored if otherwise no name matches.
        """
        names = [*dict.fromkeys(names)]
        tiers = self._tiers(names, names)
        if any(tiers):
            return tiers
        return self._tiers(names, [_REMARK.sub("", name) for name in names])

    def _tiers(self, names: Iterable[str], texts: Iterable[str]) -> list[list[str]]:
        """Return the names of each tier, which are recognised by `texts`, one for each name."""
        accepted = {key for tier in self.tiers for key in tier}
        names_by_key: dict[str, list[str]] = {}
        for name, text in zip(names, texts, strict=True):
            key = letters_of(text).replace("μ", "u")  # in units of micrometres
            if key not in accepted:
                key = key.removesuffix("s")
            names_by_key.setdefault(key, []).append(name)
        return [[name for key in tier for name in names_by_key.get(key, ())] for tier in self.tiers]

    def values_of(self, cells: Iterable[tuple[str, str]]) -> list[str]:
        """Return the values with this meaning from the cells (column, value) of a row."""
        row = dict(cells)
        return [row[name] for tier in self.matching(row) for name in tier]

    def is_plain(self, name: str) -> bool:
        """Whether a column has the standard name, so that no note is needed."""
        return same_name(name, self.name)


PATH = Role(
    "path",
    "path",
    (
        ("path",),
        ("file", "filename", "filepath", "imagepath", "imagefile"),
        ("image",),
        ("imageid", "imagename", "id"),
    ),
)
IMAGE = Role(
    "image_id",
    "name of the image",
    (
        ("imageid",),
        ("image", "imagename"),
        ("filename", "file"),
        ("slideid", "slide"),
        ("id",),
        ("path", "imagepath"),
    ),
)
LABEL = Role(
    "label",
    "label",
    (
        ("label",),
        (
            "class",
            "diagnosis",
            "target",
            "truth",
            "groundtruth",
            "truelabel",
            "trueclass",
            "ytrue",
            "y",
            "gt",
            "classlabel",
            "category",
        ),
    ),
)
GROUP = Role(
    "group",
    "patient or slide",
    (
        ("group", "groupid", *map("".join, itertools.product(_PERSONS, _NUMBERS))),
        ("slide", "slideid"),
    ),
)
PATIENT = Role("patient", "patient", GROUP.tiers[:1])
"""The patient in a table that must name the patient of each slide; the names are those of `GROUP` without slides."""

MPP = Role(
    "mpp",
    "number of micrometres per pixel",
    (("mpp",), ("umperpixel", "umperpx", "umpixel", "umpx", "mppumpx", "micronsperpixel")),
)
PREDICTED = Role(
    "predicted", "predicted class", (("predicted",), ("prediction", "pred", "ypred", "yhat"))
)
FOLD = Role("fold", "fold", (("fold",), ("foldid", "foldno", "foldnumber")))
PART = Role("part", "part of a split", (("part",), ("split", "subset", "partition")))
ROLES = (PATH, IMAGE, LABEL, GROUP, MPP, PREDICTED, FOLD, PART)
"""What the columns of a table of images mean."""

FEATURES = Role("features", "features", (("feature",), ("embedding",), ("x",)))


def unit_named(column: str) -> str:
    """Return the word for a group with which the name of a column begins; ``patient`` if there is none.

    Examples
    --------
    >>> [unit_named(name) for name in ("PatientID", "case_no", "Slides", "Mouse nr.", "group", "")]
    ['patient', 'case', 'slide', 'mouse', 'patient', 'patient']
    """
    letters = letters_of(column)
    return next((word for word in _UNITS if letters.startswith(word)), "patient")


def same_name(first: str, second: str) -> bool:
    """Whether two names are equal apart from case and characters between words.

    Examples
    --------
    >>> same_name("PatientID", "patient-id")
    True
    """
    return letters_of(first) == letters_of(second) != ""


def has_column(names: Sequence[str], column: Role | str) -> bool:
    """Whether the names include a column: one with a given role, or one that the user names."""
    if isinstance(column, Role):
        return any(column.matching(names))
    return any(same_name(name, column) for name in names)


def choose_column(
    names: Sequence[str],
    role: Role,
    *,
    where: Path,
    values: Callable[[str], Sequence[Any]],
    cure: str = "remove or rename one",
) -> str | None:
    """Return the column with a given role; None if there is none.

    A column of patients without values is skipped if another one has values.

    Parameters
    ----------
    names : sequence of str
        Columns of a table, or arrays of a file.
    role : Role
    where : Path
        The file, for messages.
    values : callable
        Returns the cells of a column.
    cure : str
        What the user can do if two columns may have this role, for messages.

    Raises
    ------
    InputError
        Two columns of one tier that group the rows differently.
    """
    if role is LABEL and "x" in map(letters_of, names):
        # with a column x, y is the position of a tile, not a label
        names = [name for name in names if letters_of(name) != "y"]
    tiers = [tier for tier in role.matching(names) if tier]
    for tier in tiers:
        filled = tier
        if role in (GROUP, PATIENT):
            filled = [name for name in tier if not all(map(is_missing, values(name)))]
        for other in filled[1:]:
            if not _divide_alike(values(filled[0]), values(other)):
                text = "{}: the columns {} and {} may both hold the {}, and differ; {}"
                raise InputError(text, where, filled[0], other, role.means, cure)
        if filled:
            return filled[0]
    if not tiers:
        return None
    return tiers[0][0]


def _divide_alike(left: Sequence[Any], right: Sequence[Any]) -> bool:
    """Whether two columns divide the rows into the same groups, whatever they call them."""
    pairs = set(zip(_plain(left), _plain(right), strict=True))
    return len({first for first, _ in pairs}) == len(pairs) == len({second for _, second in pairs})


def _plain(cells: Sequence[Any]) -> list[Any]:
    """Return the cells of a column; a missing value becomes an empty text."""
    return ["" if is_missing(cell) else cell for cell in cells]


def may_hold_patients(names: Iterable[str]) -> list[str]:
    """Return the names that may mean the patient, although `GROUP` does not contain them.

    Examples
    --------
    >>> may_hold_patients(["Patienten-Nr", "patient_age", "site"])
    ['Patienten-Nr']
    """
    return [name for name in names if _MAY_BE_PATIENTS.fullmatch(letters_of(name))]


def is_missing(value: Any) -> bool:
    """Whether a cell contains no value, or a word for an unknown value.

    Examples
    --------
    >>> is_missing("NA"), is_missing("n/a "), is_missing(None), is_missing("0")
    (True, True, True, False)
    """
    if isinstance(value, str):
        return value.strip().casefold() in _MISSING
    return value is None or bool(value != value)  # NaN


_AS_TEXT = (
    "format the column as text in the spreadsheet, enter the names again, and export it again"
)
_ROUNDED = (
    f"a number that the spreadsheet rounded, so different names may have become one; {_AS_TEXT}"
)
_EXPONENT = re.compile(r"[+-]?(\d+[.,]\d+e[+-]?|\d+e\+)\d{1,3}", re.IGNORECASE)
_ERROR = re.compile(r"#[^\W_][\w/ ]*[!?]|#{3,}|Err:\d+")
_MONTH = "(jan|feb|mar|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)"
_DATE = re.compile(rf"\d{{1,2}}-{_MONTH}|{_MONTH}-\d\d", re.IGNORECASE)
_DATE_OF_BOOK = re.compile(r"\d{4}-\d\d-\d\d( [\d:.]+)?|\d\d:\d\d:[\d.]+")


def spoiled_cell(cells: Iterable[str], *, names: bool, table: Path) -> tuple[int, str] | None:
    """Return the position of the first cell of a column that a spreadsheet spoiled, and the reason; None without one.

    Parameters
    ----------
    cells : iterable of str
    names : bool
        Whether they name images or patients, which rounding would join.
    table : Path
        The file; only workbooks hold dates as such.
    """
    date = _DATE_OF_BOOK if table.suffix.casefold() in BOOKS else _DATE
    kinds = {
        _ERROR: "an error of the spreadsheet; correct its formula, or empty the cell",
        date: f"a date, which a spreadsheet makes of names such as 1-2; {_AS_TEXT} as CSV",
    }
    if names:
        kinds[_EXPONENT] = _ROUNDED
    for position, cell in enumerate(cells):
        for kind, reason in kinds.items():
            if kind.fullmatch(cell):
                return position, reason
    return None
