"""What a file is that was given in the place of another, by its first bytes, and what to do with it."""

from __future__ import annotations

import contextlib
import csv
import re
import zipfile
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path

from .. import DAMAGE
from . import limits
from .bounds import check_zip

_HEAD = 4096
"""Bytes that are looked at: more than any pattern needs, and the header of a table."""


def mistaken(path: Path, wanted: str) -> str | None:
    """Return the refusal of a file that is of another kind than `wanted`; None if its kind is not known.

    Parameters
    ----------
    path : Path
    wanted : str
        What the file should have been, such as "a model file".

    Returns
    -------
    str or None
        One line: the file, what it is, and what to do with it. ``published/kinds.csv`` lists the kinds: a pattern of
        the first bytes, of names inside a zip, a text with which such a member begins, and the endings for which the
        kind is the right one.
    """
    with contextlib.suppress(*DAMAGE):
        with path.open("rb") as handle:
            head = handle.read(_HEAD).decode("latin-1")
        kinds = (resources.files(__package__) / "published" / "kinds.csv").read_text(encoding="utf-8")
        for kind in csv.DictReader(kinds.splitlines()):
            if re.match(kind["begins"], head, re.DOTALL) and _holds(path, kind["inside"], kind["text"]):
                known = path.suffix.casefold() in kind["unless"].split() or kind["what"] == wanted
                return None if known else f"{path}: not {wanted}, but {kind['what']}; {kind['cure']}"
    return None


def _holds(path: Path, inside: str, text: str) -> bool:
    """Return whether a zip has a member of this name that begins with this text, as far as they are given."""
    if not inside:
        return True
    with contextlib.suppress(*DAMAGE):
        check_zip(path, members=limits.ARCHIVE_MEMBERS)
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if fnmatch(name, inside)]
            return bool(members) and (not text or text.encode() in archive.open(members[0]).read(99))
    return False
