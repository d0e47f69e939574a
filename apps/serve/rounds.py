"""Rounds of labels: after each one the next images are chosen, and models are trained as `bchisto next` recommends."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from ...core import BchistoError, ImageError, InputError, message_of, reworded
from ...core.formats import file_sha256
from ...core.jobs import atomic_output, in_turn
from ...featurize import only_store, open_store
from ..next import (
    ALL_IMAGES,
    DOUBT,
    MANIFEST,
    NextSettings,
    choose_in_turn,
    choose_next,
    read_images,
    run_of,
)
from .answers import answer_in, give_answer, read_round
from .engine import Engine
from .item import in_page
from .training import take_labels, train_models
from .worker import draw_to_label


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
        self._figures = self._next / "figures.txt"  # after a digest of the labels
        trained = ""
        if self._figures.is_file():
            trained, _, self._progress["figures"] = self._figures.read_text(
                encoding="utf-8", errors="replace"
            ).partition("\n")
        # as bchisto next, which names no command in the first round
        self._is_due = current.number > 1 and trained != self._labels()

    def _labels(self) -> str:
        """Return a digest of the labels that the next training takes; empty without any."""
        with suppress(ImageError):
            return file_sha256(self._next / ALL_IMAGES)
        return ""

    def state(self) -> dict[str, Any]:
        """Return the last round, what is done now, what boost printed last, and what stops this."""
        current = self._round()
        images = [
            {
                "image_id": name,
                "answer": answer_in(row),
                "suggestion": row.get("why", "").partition(DOUBT.reason)[2],
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
        digest = self._labels()
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
        with atomic_output(self._figures) as temporary:
            temporary.write_text(f"{digest}\n{figures}", encoding="utf-8")
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
