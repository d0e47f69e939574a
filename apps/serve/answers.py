"""What people answer to the images of a round: it is written at once to the manifest of `bchisto next`, its only place."""

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
from ..next import DOUBT

_CANNOT = "cannot_be_told"
_SUGGESTED = "suggested"
"""Columns of the manifest with ``yes``, if an image cannot be told, and if a suggestion was shown beside its label."""

_TURN_SECONDS = 60.0
"""How long an answer waits while another one is written, or images are chosen."""


@dataclass(frozen=True)
class RoundImage:
    """An image of a round.

    Attributes
    ----------
    image_id : str
    answer : str
        Its label after ``=``, ``?`` if it cannot be told, or empty.
    suggestion : str
        What the model thought of it when it was chosen; empty if no model was asked.
    """

    image_id: str
    answer: str
    suggestion: str


@dataclass(frozen=True)
class Round:
    """The last round of a manifest: its number, its images, how many images of all rounds have a label, the classes."""

    number: int
    images: list[RoundImage]
    labels: int
    classes: list[str]

    @property
    def is_complete(self) -> bool:
        """Whether each image has an answer."""
        return all(image.answer for image in self.images)


class Answers:
    """The answers in a manifest, which is read again each time: others may write to it, too.

    Parameters
    ----------
    manifest : Path
        As `bchisto.apps.next.choose_next` writes it.
    classes : sequence of str
        Those of the run; labels of further ones in the manifest add to them.
    """

    def __init__(self, manifest: Path, classes: Sequence[str]) -> None:
        self.manifest = manifest
        self._classes = classes

    def read(self) -> Round:
        """Return the last round.

        Raises
        ------
        InputError
            The manifest cannot be read.
        """
        return self._round(self._table())

    def path(self, image_id: str) -> Path:
        """Return the file of an image of the last round; refuse another image."""
        table = self._table()
        return Path(table.rows[_position(table, self._round(table), image_id)][1]["path"])

    def give(self, image_id: str, answer: str, *, seen: str, suggested: bool) -> None:
        """Write an answer to an image of the last round, or none if it is empty.

        Parameters
        ----------
        image_id : str
        answer, seen : str
            The answer, and the one that the image has as far as its giver knows, see `RoundImage`.
        suggested : bool
            Whether the suggestion was shown.

        Raises
        ------
        HTTPException
            There is no such image or class, or the image has another answer than `seen`.
        InputError, OutputError
            The manifest cannot be read or written.
        """
        with in_turn(self.manifest.parent, seconds=_TURN_SECONDS) as has_turn:
            if not has_turn:
                raise HTTPException(503, "another program writes labels; try again")
            table = self._table()
            current = self._round(table)
            row = table.rows[_position(table, current, image_id)][1]
            if answer not in ("", "?", *(f"={name}" for name in current.classes)):
                raise HTTPException(404, f"{answer.removeprefix('=')}: is not a class of this run")
            present = _answer(row)
            if present == answer:  # sent again, or two people agree
                return
            if present != seen:
                raise HTTPException(
                    409, f"{image_id}: {_in_words(present)} by now", {"x-seen": quote(present)}
                )
            row["label"] = answer.removeprefix("?").removeprefix("=")
            row[_CANNOT] = "yes" if answer == "?" else ""
            if suggested:  # it stays: who has seen it cannot forget it
                row[_SUGGESTED] = "yes"
            columns = dict(table.columns)
            for name in (_CANNOT, _SUGGESTED):
                columns.setdefault(name, name)
            cells = ([row.get(name, "") for name in columns] for _, row in table.rows)
            write_rows(self.manifest, [*columns.values()], cells)

    def _table(self) -> CsvTable:
        needed = ("path", "image_id", "label", "chosen")
        return read_csv(self.manifest, needed=needed, expected=",".join(needed))

    def _round(self, table: CsvTable) -> Round:
        rows = [row for _, row in table.rows if row["chosen"]]
        try:
            number = max(int(row["chosen"].split()[-1]) for row in rows)
        except ValueError:
            raise InputError(
                f"{self.manifest}: its column chosen is not as bchisto next wrote it"
            ) from None
        labels = [row["label"] for row in rows if not is_missing(row["label"])]
        spelled = spell_labels(labels, self._classes)
        others = {label for label in labels if spelled[label] is None}
        images = [
            RoundImage(row["image_id"], _answer(row), _suggestion(row))
            for row in rows
            if row["chosen"].partition(" ")[2] == str(number)
        ]
        return Round(number, images, len(labels), [*self._classes, *sorted(others)])


def _position(table: CsvTable, current: Round, image_id: str) -> int:
    """Return the row of an image of a round; refuse another image."""
    if image_id not in [image.image_id for image in current.images]:
        raise HTTPException(
            404, f"{image_id}: is not an image of round {current.number}, which is the last"
        )
    return [row["image_id"] for _, row in table.rows].index(image_id)


def _answer(row: dict[str, str]) -> str:
    """Return what is answered in a row; a label comes before the mark of an older answer."""
    if row["label"]:
        return f"={row['label']}"
    if row.get(_CANNOT):
        return "?"
    return ""


def _suggestion(row: dict[str, str]) -> str:
    _, _, shares = row.get("why", "").partition(DOUBT.reason)
    return shares


def _in_words(answer: str) -> str:
    if not answer:
        return "has no label"
    if answer == "?":
        return "cannot be told"
    return f"has the label {answer[1:]}"
