"""Names of columns: which one of a table, or which array of a file, holds what, however people write it.

The one reader of such names for manifests, labels, lists, predictions and embeddings. Case, blanks, ``_``, ``-`` and
the s of a plural do not count: ``PatientID``, ``patient-id`` and ``Patient IDs`` are one name.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import InputError

_PERSONS = ("patient", "subject", "participant", "case")
_NUMBERS = ("", "id", "no", "nr", "num", "number", "code", "key", "uid", "barcode")

_MAY_BE_PATIENTS = re.compile(
    r"\w*(patient|subject|participant|person|donor|proband|case|^pat|^mrn)(s|en|in|innen)?"
    r"(id|no|nr|num|number|nummer|code|key|uid|barcode|name)?"
)
"""A name that may mean the patient, though no list holds it."""

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "unknown", "<na>", "#n/a", "n.a.", "missing", "?"})
"""What programs and people write in a cell of which they do not know the value."""


@dataclass(frozen=True)
class Role:
    """What a column may hold.

    Attributes
    ----------
    name : str
        What the column is called plainly.
    means : str
        What it holds, for messages.
    tiers : tuple of (tuple of str)
        Names in lower case without signs between words; a column of an earlier tier is taken before one of a later.
        Two columns of one tier mean the same.
    """

    name: str
    means: str
    tiers: tuple[tuple[str, ...], ...]

    def matching(self, names: Iterable[str]) -> list[list[str]]:
        """Return those of some names that may hold it, by tier, in the order of the names of the tier."""
        keys = {name: _loose(name) for name in names}
        known = {key for tier in self.tiers for key in tier}
        keys = {name: key if key in known else key.removesuffix("s") for name, key in keys.items()}
        return [sorted((n for n in keys if keys[n] in tier), key=lambda n: tier.index(keys[n])) for tier in self.tiers]

    def values_of(self, cells: Iterable[tuple[str, str]]) -> list[str]:
        """Return the values of the cells of a row, (column, value), that may hold it."""
        row = dict(cells)
        return [row[name] for tier in self.matching(row) for name in tier]

    def is_plain(self, name: str) -> bool:
        """Whether a column is called so plainly that nothing need be said."""
        return _loose(name) == _loose(self.name)


PATH = Role("path", "path", (("path",), ("file", "filename", "filepath", "imagepath", "imagefile"), ("image",)))
IMAGE = Role(
    "image_id", "name of the image",
    (("imageid",), ("image", "imagename"), ("slideid", "slide"), ("filename", "file"), ("id",), ("path", "imagepath")),
)  # fmt: skip
LABEL = Role(
    "label", "label",
    (("label",), ("class", "diagnosis", "target", "truth", "groundtruth", "truelabel", "trueclass", "ytrue", "y", "gt",
                  "classlabel", "category")),
)  # fmt: skip
GROUP = Role(
    "group", "group",
    (("group", "groupid", *map("".join, itertools.product(_PERSONS, _NUMBERS))), ("slide", "slideid")),
)  # fmt: skip
MPP = Role(
    "mpp", "number of micrometres per pixel",
    (("mpp",), ("umperpixel", "umperpx", "umpx", "micronsperpixel", "micrometresperpixel", "micrometersperpixel",
                "spacingumpx")),
)  # fmt: skip
PREDICTED = Role(
    "predicted", "predicted class", (("predicted",), ("prediction", "pred", "ypred", "yhat", "predictedclass",
                                                      "predictedlabel")),
)  # fmt: skip
FOLD = Role("fold", "fold", (("fold",), ("foldid", "foldno", "foldnumber")))
PART = Role("part", "part of a split", (("part",), ("split", "subset", "partition")))
FEATURES = Role("features", "features", (("feature",), ("embedding",), ("x",)))


def _loose(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def same_name(first: str, second: str) -> bool:
    """Whether two names are equal but for case and signs between words.

    Examples
    --------
    >>> same_name("PatientID", "patient-id")
    True
    """
    return _loose(first) == _loose(second) != ""


def has_column(names: Sequence[str], wanted: Role | str) -> bool:
    """Whether one of some names is that of a column: of a role, or the one that the user names."""
    if isinstance(wanted, Role):
        return any(wanted.matching(names))
    return any(same_name(name, wanted) for name in names)


def choose_column(
    names: Sequence[str],
    role: Role,
    *,
    where: Path,
    values: Callable[[str], Sequence[Any]],
    cure: str = "remove or rename one",
) -> str | None:
    """Return the column that holds something; None if there is none.

    A column of patients that holds nothing is passed over for one that does, and so is one of slides as the name of the
    image if several rows are of a slide.

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
        What to do if two columns may hold it.

    Raises
    ------
    InputError
        Two columns of one tier that do not divide the rows alike.
    """
    if role is LABEL and "x" in map(_loose, names):  # x and y say where a tile was
        names = [name for name in names if _loose(name) != "y"]
    tiers = [tier for tier in role.matching(names) if tier]
    for number, tier in enumerate(tiers):
        filled = tier
        if role is GROUP:
            filled = [name for name in tier if not all(map(is_missing, values(name)))]
        elif role is IMAGE and _loose(tier[0]).startswith("slide") and tiers[number + 1 :]:
            filled = tier if len(set(values(tier[0]))) == len(values(tier[0])) else []
        for other in filled[1:]:
            if not _divide_alike(values(filled[0]), values(other)):
                raise InputError(
                    "{}: the columns {} and {} may both hold the {}, and differ; {}",
                    where, filled[0], other, role.means, cure,
                )  # fmt: skip
        if filled:
            return filled[0]
    return tiers[0][0] if tiers else None


def _divide_alike(left: Sequence[Any], right: Sequence[Any]) -> bool:
    pairs = {tuple("" if is_missing(cell) else cell for cell in pair) for pair in zip(left, right, strict=True)}
    return len({first for first, _ in pairs}) == len(pairs) == len({second for _, second in pairs})


def may_hold_patients(names: Iterable[str]) -> list[str]:
    """Return the names that may mean the patient, though `GROUP` does not hold them.

    Examples
    --------
    >>> may_hold_patients(["Patienten-Nr", "patient_age", "site"])
    ['Patienten-Nr']
    """
    return [name for name in names if _MAY_BE_PATIENTS.fullmatch(_loose(name))]


def is_missing(value: Any) -> bool:
    """Whether a cell says that its value is not known.

    Examples
    --------
    >>> is_missing("NA"), is_missing("n/a "), is_missing(None), is_missing("0")
    (True, True, True, False)
    """
    return value is None or value != value or (isinstance(value, str) and value.strip().casefold() in _MISSING)
