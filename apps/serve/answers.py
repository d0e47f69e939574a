"""What people answer to the images of a round: it is written at once to the manifest of `bchisto next`, its only place.

An answer is a label after ``=``, ``?`` for an image that cannot be told, or empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fastapi import HTTPException

from ...core import InputError
from ...core.formats import CsvTable, is_missing, read_csv
from ...core.jobs import in_turn, write_rows
from ...data import spell_labels

_TURN_SECONDS = 60.0
"""How long an answer waits while another one is written, or images are chosen."""

_NEEDED = ("path", "image_id", "label", "chosen")

Row = dict[str, str]


@dataclass(frozen=True)
class Round:
    """The last round of a manifest.

    Attributes
    ----------
    number : int
    rows : dict of str to (dict of str to str)
        The cells of its images, by their ids.
    labels : int
        How many images of all rounds have a label.
    classes : list of str
        Those of the run, then further ones that are in the manifest.
    table : CsvTable
        The manifest.
    """

    number: int
    rows: dict[str, Row]
    labels: int
    classes: list[str]
    table: CsvTable

    def row(self, image_id: str) -> Row:
        """Return the cells of an image; refuse one of another round."""
        if image_id not in self.rows:
            raise HTTPException(
                404, f"{image_id}: is not an image of round {self.number}, which is the last"
            )
        return self.rows[image_id]


def read_round(manifest: Path, classes: Sequence[str]) -> Round:
    """Read the last round of a manifest.

    Raises
    ------
    InputError
        The manifest cannot be read.
    """
    table = read_csv(manifest, needed=_NEEDED, expected=",".join(_NEEDED))
    rows = [row for _, row in table.rows if row["chosen"]]
    try:
        number = max(int(row["chosen"].split()[-1]) for row in rows)
    except ValueError:
        raise InputError(f"{manifest}: its column chosen is not as bchisto next wrote it") from None
    labels = [row["label"] for row in rows if not is_missing(row["label"])]
    spelled = spell_labels(labels, classes)
    others = [label for label, name in spelled.items() if name is None]
    images = {
        row["image_id"]: row for row in rows if row["chosen"].partition(" ")[2] == str(number)
    }
    return Round(number, images, len(labels), [*classes, *others], table)


def answer_in(row: Row) -> str:
    """Return the answer in a row; a label comes before the mark of an older answer."""
    if row["label"]:
        return f"={row['label']}"
    if row.get("cannot_be_told"):
        return "?"
    return ""


def give_answer(
    manifest: Path,
    classes: Sequence[str],
    image_id: str,
    answer: str,
    *,
    seen: str,
    suggested: bool,
) -> None:
    """Write an answer to an image of the last round.

    Parameters
    ----------
    manifest : Path
        It is read again each time, since others may write to it.
    classes : sequence of str
        Those of the run.
    image_id : str
    answer, seen : str
        The answer, and the one that the image has as far as its giver knows.
    suggested : bool
        Whether a suggestion is shown, which is marked, and stays so, whoever answers.

    Raises
    ------
    HTTPException
        There is no such image or class, or the image has another answer than `seen`.
    InputError, OutputError
        The manifest cannot be read or written.
    """
    with in_turn(manifest.parent, seconds=_TURN_SECONDS) as has_turn:
        if not has_turn:
            raise HTTPException(503, "another program writes labels; try again")
        current = read_round(manifest, classes)
        row = current.row(image_id)
        if answer not in ("", "?", *(f"={name}" for name in current.classes)):
            raise HTTPException(404, f"{answer[1:]}: is not a class of this run")
        present = answer_in(row)
        if present not in (seen, answer):  # it may be sent again, or two people agree
            raise HTTPException(
                409,
                f"{image_id}: has another answer by now, {present or 'none'}",
                {"x-seen": quote(present)},
            )
        row["label"] = answer[1:]
        row["cannot_be_told"] = "yes" * (answer == "?")
        if suggested:  # it stays: who has seen it cannot forget it
            row["suggested"] = "yes"
        columns = current.table.columns
        for name in ("cannot_be_told", "suggested"):
            columns.setdefault(name, name)
        cells = ([row.get(name, "") for name in columns] for _, row in current.table.rows)
        write_rows(manifest, [*columns.values()], cells)
