"""Rounds of labels: after each one the next images are chosen, and the commands are run that `bchisto next` names."""

from __future__ import annotations

import asyncio
import hashlib
import shlex
import sys
from asyncio import create_subprocess_exec as start_process
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from ...core import InputError, system_reason
from ...core.formats import limits
from ...core.jobs import in_turn
from ...core.runs import load_config
from ...featurize import only_store, open_store
from ..next import ALL_IMAGES, MANIFEST, OPTIONS, NextSettings, choose_next, read_images
from .answers import Answers
from .engine import Engine

_TRAINS = "next: bchisto boost "
"""How `featurize` names the command to run next, if there are enough labels."""


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
    answers : Answers

    Raises
    ------
    InputError
        See `choose_next`; or no class is known.
    """

    def __init__(self, run: Path, engine: Engine, folder: Path) -> None:
        self._store = run
        if run.is_dir():
            self._store = only_store(run)
        top = self._store.parent
        if top.name == "features":
            top = top.parent
        self._record = top / "run.json"
        self._next = top / "next"
        self._engine = engine
        self._folder = folder
        self._doing = ""
        self._figures = ""
        self._trouble = ""
        self._end = ""
        self._due = asyncio.Event()
        manifest = self._next / MANIFEST
        read_images(self._store, manifest)  # which refuses what choose_next would refuse later
        if not manifest.is_file():
            choose_next(self._store)
        with open_store(self._store) as store:
            self.answers = Answers(manifest, store.header["classes"])
        current = self.answers.read()
        if not current.classes:
            raise InputError(
                "{}: no class is known; name them with {featurize.classes}, or label an image of each in {}",
                run,
                manifest,
            )
        if current.number > 1:  # as bchisto next does, which names no command before
            self._due.set()

    def state(self) -> dict[str, Any]:
        """Return the last round, what is done now, what boost printed last, and what stops this."""
        current = asdict(self.answers.read())
        return {
            **current,
            "doing": self._doing,
            "figures": self._figures,
            "trouble": self._trouble,
            "end": self._end,
        }

    async def begin(self, number: int) -> None:
        """Choose the images of the next round, if that one is still the last and complete, and train after that."""
        if await asyncio.to_thread(self._choose, number):
            self._due.set()

    def _choose(self, number: int) -> bool:
        """End a round, and choose as many images as it had; answers wait meanwhile. Return whether it could end."""
        with in_turn(self._next):
            current = self.answers.read()
            if current.number != number or not current.is_complete:
                return False
            try:
                choose_next(self._store, settings=NextSettings(count=len(current.images)))
            except InputError as error:  # nothing is left
                self._end = str(error)
                table = read_images(self._store, self.answers.manifest)
                table.write(self._next / ALL_IMAGES, table.names)
            return True

    async def run(self) -> None:
        """Train whenever a round has ended, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self._train()
            except OSError as error:
                self._trouble = f"the command does not start ({system_reason(error)})"
            self._doing = ""

    async def _train(self) -> None:
        """Take the labels into the run, and train as `boost` did before, or else as `featurize` recommends."""
        options = self._next / OPTIONS
        if not options.is_file():
            self._trouble = (
                "no bchisto featurize made these features, so the labels are only in the manifest"
            )
            return
        self._doing = "the labels are taken into the run"
        printed, messages = await _command(["featurize", "--config", str(options)])
        words = [line for line in messages if line.startswith(_TRAINS)]
        if words:
            self._doing = "the models are trained"
            training = shlex.split(words[0])[2:]
            with suppress(InputError):  # boost has not run yet
                load_config(self._record, command="boost")
                training = ["boost", "--config", str(self._record)]
            printed, messages = await _command(training)
            self._figures = printed or self._figures
        self._trouble = ""
        if not printed or not words:
            self._trouble = messages[-1]

    async def picture(self, image_id: str) -> Path:
        """Draw an image of the last round with all pixels, once.

        Raises
        ------
        HTTPException
            It is not one of that round, its file is gone or too large, or it cannot be drawn.
        """
        file = await asyncio.to_thread(self.answers.path, image_id)
        path = self._folder / f"{hashlib.sha256(bytes(file)).hexdigest()}.jpg"
        if path.is_file():
            return path
        if not file.is_file():
            raise HTTPException(404, f"{image_id}: its file is not there")
        if file.stat().st_size > limits.SERVED_BYTES:
            raise HTTPException(413, f"{image_id}: is larger than {limits.SERVED_BYTES >> 20} MB")
        image = {"name": image_id, "path": str(file)}
        answer = await self._engine.ask({"do": "label", "image": image, "out": str(path)})
        if "error" in answer:
            raise HTTPException(422, answer["error"])
        return path


async def _command(words: Sequence[str]) -> tuple[str, list[str]]:
    """Run a command of bchisto, and return its results, and the lines of its messages."""
    process = await start_process(
        *(sys.executable, "-m", "bchisto", *words), stdin=DEVNULL, stdout=PIPE, stderr=PIPE
    )
    try:
        printed, messages = await process.communicate()
    finally:
        with suppress(ProcessLookupError):  # it has ended, unless the page ends
            process.terminate()
    return printed.decode(), messages.decode().splitlines() or ["it was stopped"]
