"""Rounds of labels: people answer, the next images are chosen, and models are trained as `bchisto next` recommends.

An answer is written at once to the manifest of `bchisto next`, its only place: a label after ``=``, ``?`` for an image
that cannot be told, or empty.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from fastapi import HTTPException

from ...boost import train
from ...core import BchistoError, Content, InputError, from_options, message_of, reworded
from ...core.formats import CsvTable, read_csv
from ...core.jobs import in_turn, write_rows
from ...core.runs import load_config
from ...crossval import summary_of
from ...data import Dataset, FoldChoice, ImageSelection, missing_labels, spell_labels
from ...featurize import featurize, only_store, open_store
from ..check import check_protocols, content_lines, recommended, to_label, training_options
from ..next import (
    ALL_IMAGES,
    DOUBT,
    MANIFEST,
    OPTIONS,
    NextSettings,
    choose_in_turn,
    choose_next,
    last_round,
    read_images,
    run_of,
)
from .engine import Engine
from .worker import draw_to_label, in_page

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
        The manifest cannot be read, its column ``chosen`` is not as `bchisto next` wrote it, or two of its labels fit
        one class.
    """
    table = read_csv(manifest, needed=_NEEDED, expected=",".join(_NEEDED))
    rows = {row["image_id"]: row for _, row in table.rows if row["chosen"]}
    try:
        number, names = last_round({name: row["chosen"] for name, row in rows.items()})
    except ValueError:
        raise InputError(f"{manifest}: its column chosen is not as bchisto next wrote it") from None
    labels = [row["label"] for row in rows.values()]
    spelled = spell_labels({*labels} - {"", *missing_labels(labels, classes)}, classes)
    labelled = sum(label in spelled for label in labels)
    others = [label for label, spelling in spelled.items() if spelling is None]
    images = {name: row for name, row in rows.items() if name in names}
    return Round(number, images, labelled, [*classes, *others], table)


def answer_in(row: Row) -> str:
    """Return the answer in a row; a label comes before the mark of an older answer."""
    if row["label"]:
        return f"={row['label']}"
    if row.get("cannot_be_told"):
        return "?"
    return ""


def suggestion_in(row: Row) -> str:
    """Return the class that the model suggests, which `bchisto next` wrote as the reason of the choice; or empty."""
    return row.get("why", "").partition(DOUBT.reason)[2]


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


class Rounds:
    """The rounds of a run.

    Parameters
    ----------
    run : Path
        As in `bchisto.apps.next.choose_next`, which chooses the first images if there is no manifest.
    engine : Engine
        It draws the images.
    folder : Path
        Folder for temporary files.

    Attributes
    ----------
    give : callable
        Writes an answer, see `give_answer`, of which manifest and classes are given.

    Raises
    ------
    InputError
        See `choose_next`; or fewer than two classes are known.
    """

    def __init__(self, run: Path, engine: Engine, folder: Path) -> None:
        if run.is_dir():
            run = only_store(run)
        self._store = run
        self._top = run_of(run)
        self._next = self._top / "next"
        manifest = self._next / MANIFEST
        self._engine = engine
        self._trainer = Engine(folder, seconds=None)
        self._folder = folder
        self._progress = dict.fromkeys(("doing", "figures", "trouble", "notes"), "")
        # which refuses what choose_next would refuse later
        cells = read_images(run, manifest).cells
        self._before = len(cells["label"].keys() - cells["chosen"].keys())
        if not manifest.is_file():
            self._progress["notes"] = "; ".join(choose_next(run).notes)
        with open_store(run) as store:
            classes = store.header["classes"]
        self._round = partial(read_round, manifest, classes)
        self.give = partial(give_answer, manifest, classes)
        current = self._round()
        if len(current.classes) < 2:
            raise InputError(
                "{}: fewer than two classes are known; name them with {featurize.classes}, or label images in {}",
                run,
                manifest,
            )
        # as bchisto next, which names no command in the first round; models that are trained are only read
        self._is_due = current.number > 1

    def state(self) -> Content:
        """Return the last round and the work on it.

        Returns
        -------
        dict
            ``number`` and ``images`` of the round, the ``classes``, and the number of ``labels`` of all rounds;
            ``doing`` (what is done now), ``figures`` (what training printed last), ``trouble`` (what ended it), and
            ``notes`` on the choice of images.
        """
        current = self._round()
        images = [
            {
                "image_id": name,
                "answer": answer_in(row),
                "suggestion": suggestion_in(row),
            }
            for name, row in current.rows.items()
        ]
        return {
            "number": current.number,
            "images": images,
            "labels": self._before + current.labels,
            "classes": current.classes,
            **self._progress,
        }

    def begin(self, number: int) -> None:
        """End that round if it is the last and complete, and choose as many images as it had; then train."""
        with in_turn(self._next):  # answers wait meanwhile
            current = self._round()
            if current.number != number or not all(map(answer_in, current.rows.values())):
                return
            read_images(self._store, self._next / MANIFEST)  # which refuses one that was spoiled
            try:
                settings = NextSettings(count=len(current.rows))
                following = choose_in_turn(self._store, self._next, settings)
                self._progress["notes"] = "; ".join(following.notes)
            except InputError as error:  # nothing is left
                self._progress["notes"] = str(error)
            self._is_due = True

    async def run(self) -> None:
        """Train whenever a round has ended, until cancelled."""
        while True:
            if self._is_due:
                self._is_due = False
                self._progress["trouble"] = await self._train()
                self._progress["doing"] = ""
            await asyncio.sleep(0.5)

    async def _train(self) -> str:
        """Take the labels into the run, and train; return what stops this, empty if nothing does."""
        # a run that was copied or moved is this one, whatever its files say
        top = self._top
        try:
            doing = self._progress["doing"] = "the labels are taken into the run"
            dataset = await self._trainer.ask(doing, take_labels, top, self._next)
            doing = self._progress["doing"] = "the models are trained"
            figures = await self._trainer.ask(doing, train_models, top, self._store, dataset)
        except BchistoError as error:
            return in_page(message_of(error))
        finally:
            self._trainer.stop()  # which frees its memory
        self._progress["figures"] = figures
        return ""

    async def picture(self, image_id: str) -> Path:
        """Draw an image of the last round with all pixels.

        Raises
        ------
        HTTPException
            It is not one of that round, or its file is gone.
        BchistoError
            It cannot be drawn.
        """
        file = Path(self._round().row(image_id)["path"])
        path = self._folder / f"{hashlib.sha256(bytes(file)).hexdigest()}.jpg"
        if not file.is_file():
            raise HTTPException(404, f"{image_id}: its file is not there")
        with reworded(lambda text: text.replace(str(file), image_id)):
            await self._engine.ask("drawing this picture", draw_to_label, file, path)
        return path


def take_labels(run: Path, folder: Path) -> Dataset:
    """Take the labels that `bchisto.apps.next` wrote to a folder into a run, and return its images.

    Raises
    ------
    InputError
        Nothing can be trained on them.
    """
    options = load_config(folder / OPTIONS, command="featurize")
    selection = from_options(ImageSelection, options, images=folder / ALL_IMAGES)
    from_options(featurize, options, images=selection, out=run)
    dataset = selection.table()
    if dataset.untrainable:
        raise InputError(dataset.untrainable)
    return dataset


def train_models(run: Path, store: Path, dataset: Dataset) -> str:
    """Train as `boost` did before, or else as the labels recommend; return how images are read, and the figures.

    Parameters
    ----------
    run : Path
        The folder of a run.
    store : Path
        The feature file whose images were chosen.
    dataset : Dataset
        The return value of `take_labels`.
    """
    if (run / "boost").is_dir():
        options = load_config(run / "run.json", command="boost")
    else:
        protocol = recommended(check_protocols(dataset, FoldChoice()))
        few = bool(to_label(dataset, str(run), files=1))
        options = {**training_options(dataset, protocol, linear=False, few=few)}
        if len([*store.parent.glob("*.h5")]) > 1:
            options["features"] = [store]
    # the page has no options by which patients are found
    lines = content_lines(dataset, ["group_from"])
    return "\n".join([*lines, *summary_of(from_options(train, options, out=run))])
