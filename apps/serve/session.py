"""The images of a session: stored in a folder, and predicted one after the other."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import unicodedata
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ...core.formats import limits
from ...core.jobs import ensure_folder
from .engine import Engine

_log = logging.getLogger(__name__)

_IMAGES = "images"
"""Name of the folder for images that are kept."""

_MOST_PARTS = 10
"""Largest number of parts of an image's name: folders and the file name."""


class Refused(Exception):
    """A request that is refused.

    Attributes
    ----------
    status : int
        HTTP status.
    reason : str
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass
class Item:
    """An image of the session.

    Attributes
    ----------
    number : int
    name : str
    model : int
        Number of the model.
    path : Path
        The file.
    mpp : float or None
        Micrometres per pixel, as entered by the user.
    state : {"waiting", "working", "done", "failed"}
    row : dict
        The worker's answer.
    error : str
        The reason why it cannot be used; empty if it can.
    notes : list of str
        Warnings.
    shown : dict
        Pictures of it that exist, with the facts shown next to them.
    """

    number: int
    name: str
    model: int
    path: Path
    mpp: float | None = None
    state: str = "waiting"
    row: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    notes: list[str] = field(default_factory=list)
    shown: dict[tuple[str, int | None, str], dict[str, Any]] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """Folder of the image and of its pictures."""
        return self.path.parent

    @property
    def task(self) -> dict[str, Any]:
        """The image as a part of a task for the worker."""
        return {"name": self.name, "path": str(self.path), "mpp": self.mpp}


class Session:
    """The images of the page, and the queue of their predictions.

    Parameters
    ----------
    engine : Engine
    models : sequence of dict
        The return value of `load_models`.
    folder : Path
        Folder for temporary files.
    keep : Path, optional
        Folder for images, tables and reports that are kept.

    Attributes
    ----------
    version : int
        Number that changes when anything on the page changes.
    """

    def __init__(
        self, engine: Engine, models: Sequence[dict[str, Any]], folder: Path, *, keep: Path | None = None
    ) -> None:
        self.engine, self.models, self.version = engine, models, 0
        self.folder, self._keep = folder, keep
        self._items: dict[int, Item] = {}
        self._queue: asyncio.Queue[Item] = asyncio.Queue()
        self._coming = self._next = self._held = 0

    def items(self, model: int | None = None) -> list[Item]:
        """Return the images of a model, or all images, in the order in which they were added."""
        return [item for item in self._items.values() if model in (None, item.model)]

    def item(self, number: int) -> Item:
        """Return an image by its number.

        Raises
        ------
        Refused
            There is no such image.
        """
        if number not in self._items:
            raise Refused(404, "there is no such image; it may have been removed")
        return self._items[number]

    def check_model(self, model: int) -> None:
        """Refuse a number without a model."""
        if not 0 <= model < len(self.models):
            raise Refused(404, "there is no such model")

    def counts(self, model: int | None = None) -> dict[str, int]:
        """Return the number of images in each state."""
        states = [item.state for item in self.items(model)]
        return {state: states.count(state) for state in ("waiting", "working", "done", "failed")}

    def room(self) -> None:
        """Refuse an image if too many wait, or there is no room for another.

        Raises
        ------
        Refused
        """
        waiting = self.counts()["waiting"] + self._coming
        if waiting >= limits.SERVED_WAITING:
            raise Refused(429, f"{waiting} images wait already; try again when some are done")
        if len(self._items) + self._coming >= limits.SERVED_IMAGES:
            raise Refused(507, f"the page holds {limits.SERVED_IMAGES:,} images; remove some first")
        if self._held >= limits.SERVED_HELD_BYTES:
            raise Refused(507, "the images on the page fill the room that it has; remove some first")

    async def add(self, name: str, content: AsyncIterator[bytes], *, model: int, mpp: float | None = None) -> Item:
        """Receive an image, and add it to the queue.

        Raises
        ------
        Refused
            There is no room, or the image is too large or empty, or arrives too slowly.
        """
        self.room()
        self._coming += 1
        self._next += 1
        number = self._next
        name = self._distinct(_readable(name) or f"image {number}", model)
        folder = self.folder / str(number)
        try:
            folder.mkdir()
            item = Item(number, name, model, folder / _file_name(name), mpp)
            async with asyncio.timeout(limits.SERVED_UPLOAD_SECONDS):
                await _receive(content, item.path)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, TimeoutError):
                raise Refused(408, f"{name}: did not arrive in time; try again") from error
            raise
        finally:
            self._coming -= 1
        if self._keep is not None:
            await asyncio.to_thread(_copy, item.path, self._keep / _IMAGES / item.name)
        self._held += item.path.stat().st_size
        self._items[number] = item
        self._queue.put_nowait(item)
        self.version += 1
        return item

    def _distinct(self, name: str, model: int) -> str:
        """Return a name that no other image of the model has."""
        taken = {item.name for item in self.items(model)}
        if name not in taken:
            return name
        path = PurePosixPath(name)
        numbered = (str(path.with_name(f"{path.stem} ({count}){path.suffix}")) for count in range(2, len(taken) + 3))
        return next(other for other in numbered if other not in taken)

    def remove(self, number: int) -> None:
        """Remove an image and its pictures."""
        item = self._items.pop(number)
        self._held -= item.path.stat().st_size if item.path.is_file() else 0
        shutil.rmtree(item.work, ignore_errors=True)
        if self._keep is not None:
            (self._keep / _IMAGES / item.name).unlink(missing_ok=True)
        self.version += 1

    async def run(self) -> None:
        """Predict images from the queue, until cancelled."""
        while True:
            item = await self._queue.get()
            if item.number not in self._items:
                continue
            item.state = "working"
            self.version += 1
            model = self.models[item.model]
            task = {"do": "predict", "model": model, "image": item.task, "thumbnail": str(item.work / "small.jpg")}
            answer = await self.engine.ask(task)
            item.notes, item.error = answer.pop("notes"), answer.pop("error", "")
            item.row, item.state = answer, "failed" if item.error else "done"
            self.version += 1
            if self._queue.empty():
                await self.keep()

    async def keep(self) -> None:
        """Write the tables and reports to the folder of what is kept, if there is one."""
        for number in range(len(self.models) if self._keep is not None else 0):
            assert self._keep is not None
            name = "predictions" if len(self.models) == 1 else f"predictions-{number + 1}"
            if any(item.state == "done" for item in self.items(number)):
                answer = await self.write(number, self._keep / f"{name}.csv", self._keep / f"{name}.html")
                if "error" in answer:
                    _log.warning("%s", answer["error"])

    async def show(self, item: Item, kind: str, *, part: int | None, target: str = "") -> tuple[Path, dict[str, Any]]:
        """Return a picture of an image and the facts shown next to it; draw it if it does not exist.

        Raises
        ------
        Refused
            The image is not predicted, or the model has no such class.
        Busy
            Too many users wait for pictures.
        """
        classes = self.models[item.model]["classes"]
        if item.state != "done":
            raise Refused(409, f"{item.name}: is not predicted")
        if target and target not in classes:
            raise Refused(404, f"{target}: is not a class of this model")
        key = (kind, part, target)
        path = item.work / f"{kind}-{part}-{classes.index(target) if target else ''}.jpg"
        if key not in item.shown:
            task = {"do": "explain" if kind == "map" else "show", "kind": kind, "model": self.models[item.model],
                    "image": item.task, "part": part, "target": target, "out": str(path)}  # fmt: skip
            answer = await self.engine.ask(task, view=True)
            if "error" in answer:
                return path, answer
            item.shown[key] = answer
        return path, item.shown[key]

    async def write(self, model: int, out: Path, html: Path | None = None) -> dict[str, Any]:
        """Write the table of a model's images, and the sheet; return an ``error`` if that failed."""
        ended = [item for item in self.items(model) if item.state in ("done", "failed")]
        images = [{**item.task, "kept": item.row.get("kept"), "error": item.error} for item in ended]
        task = {"do": "write", "model": self.models[model], "images": images, "out": str(out)}
        return await self.engine.ask({**task, "html": None if html is None else str(html)}, view=True)


def _copy(source: Path, target: Path) -> None:
    ensure_folder(target.parent)
    shutil.copyfile(source, target)


async def _receive(content: AsyncIterator[bytes], path: Path) -> None:
    """Write an upload to a file; refuse it if it is too slow, too large or empty."""
    size = 0
    with path.open("xb") as handle:
        while (chunk := await asyncio.wait_for(anext(content, None), limits.SERVED_IDLE_SECONDS)) is not None:
            size += len(chunk)
            if size > limits.SERVED_BYTES:
                raise Refused(413, f"{path.name}: is larger than {limits.SERVED_BYTES >> 20} MB")
            handle.write(chunk)
    if not size:
        raise Refused(400, f"{path.name}: is empty; download it again")


def _readable(name: str) -> str:
    """Return a name of an upload for display: any alphabet, one line, and without parts such as "..".

    Examples
    --------
    >>> _readable("../slide/./a.png")
    'slide/a.png'
    """
    text = "".join(sign for sign in unicodedata.normalize("NFC", name) if sign.isprintable())
    parts = [part for part in text.replace("\\", "/").split("/") if part.strip(" .")]
    return "/".join(part[-limits.SERVED_NAME :] for part in parts[-_MOST_PARTS:]).strip()


def _file_name(name: str) -> str:
    """Return a file name for an image that is valid on any file system."""
    path = PurePosixPath(name)
    stem, suffix = (re.sub(r"[^\w.-]+", "_", part, flags=re.ASCII) for part in (path.stem, path.suffix))
    return f"{stem.strip('.')[:80] or 'image'}{suffix[:12]}"
