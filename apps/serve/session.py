"""The images of a session: stored in a folder, predicted one after the other, and reviewed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import shutil
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from ...core import counted
from ...core.formats import limits
from ...core.jobs import ensure_folder
from .engine import Engine, free_memory
from .item import Item, readable

_log = logging.getLogger(__name__)

_MOST_FOLDERS = 50
"""Largest number of folders in an image's name, since folders are removed one inside the other."""

_KEEP_SECONDS, _TIMES_ITS_COST = 60.0, 9
"""Time after which what is kept is written although images wait; and the least such time as a multiple of the time that
writing takes, so that this is a tenth at most."""


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
        Folder for images, tables and reports that are kept; with a folder in it for each of several models.

    Attributes
    ----------
    is_kept : bool
        Whether what is kept could be written the last time.
    version : int
        Number that changes when anything on the page changes.
    """

    def __init__(
        self,
        engine: Engine,
        models: Sequence[dict[str, Any]],
        folder: Path,
        *,
        keep: Path | None = None,
    ) -> None:
        self.engine, self.models, self.version, self.folder = engine, models, 0, folder
        self.is_kept, self._due = True, time.monotonic() + _KEEP_SECONDS
        self._keep, self._removed = (
            list[Path](),
            set[Path](),
        )  # folders of what is kept; images to be removed there
        if keep is not None:
            self._keep = (
                [keep]
                if len(models) == 1
                else [keep / f"model-{n + 1}" for n in range(len(models))]
            )
        self._items, self._changed = dict[int, Item](), asyncio.Event()
        self._next = self._held = self._written = self._pixels = 0
        self._seconds = 0.0

    def items(self, model: int | None = None) -> list[Item]:
        """Return the images of a model, or all images, in the order in which they were added."""
        return [item for item in self._items.values() if model in (None, item.model)]

    def done(self, model: int) -> list[Item]:
        """Return the predicted images of a model, the least confident first."""
        done = [item for item in self.items(model) if item.state == "done"]
        return sorted(done, key=lambda item: item.confidence or 0.0)

    def item(self, number: int) -> Item:
        """Return an image by its number; refuse one that does not exist."""
        if number not in self._items:
            raise HTTPException(404, "there is no such image; it may have been removed")
        return self._items[number]

    def check_model(self, model: int) -> None:
        """Refuse a number without a model."""
        if not 0 <= model < len(self.models):
            raise HTTPException(404, "there is no such model")

    def counts(self, model: int | None = None) -> dict[str, int]:
        """Return the number of images in each state."""
        states = [item.state for item in self.items(model)]
        return {state: states.count(state) for state in ("waiting", "working", "done", "failed")}

    def seconds(self) -> float | None:
        """Return how long all images that wait will take, at the speed of the others; None if nothing is known."""
        pixels = sum(
            item.width * item.height
            for item in self._items.values()
            if item.state in ("waiting", "working")
        )
        return round(self._seconds / self._pixels * pixels, 1) if self._pixels else None

    async def add(self, name: str, content: AsyncIterator[bytes], **facts: Any) -> Item:
        """Receive an image, and add it to the queue. An image that is there already is not added again.

        Parameters
        ----------
        name : str
        content : async iterator of bytes
        **facts
            ``model``, ``given`` and ``beside`` of `Item`.

        Raises
        ------
        HTTPException
            There is no room, the image is too large, it arrives too slowly, or another has its name.
        """
        name = readable(name) or "image"
        if name.count("/") > _MOST_FOLDERS:
            raise HTTPException(
                400, f"{name}: is in more than {_MOST_FOLDERS} folders; drop the inner ones"
            )
        if len(self._items) >= limits.SERVED_IMAGES:
            raise HTTPException(
                507, f"the page holds {limits.SERVED_IMAGES:,} images; remove some first"
            )
        self._next = number = self._next + 1
        item = Item(number, name, folder=self.folder / str(number), mpp=facts.get("given"), **facts)
        try:
            async with asyncio.timeout(limits.SERVED_UPLOAD_SECONDS):
                await self._receive(content, item)
            if (twin := self._twin(item)) is not None:
                self._discard(item)
                return twin
            self._items[item.number] = item
            if self._keep:
                self._removed.discard(target := self._kept(item))
                ensure_folder(target.parent)
                await asyncio.to_thread(shutil.copyfile, item.path, target)
        except BaseException as error:
            if self._items.pop(item.number, None) is not None:
                with contextlib.suppress(OSError):
                    self._kept(item).unlink()
            self._discard(item)
            if isinstance(error, TimeoutError):
                raise HTTPException(408, f"{name}: did not arrive in time; try again") from error
            if isinstance(error, OSError):
                raise HTTPException(
                    507, f"{name}: cannot be stored ({error.strerror or error})"
                ) from error
            raise
        self._change()
        return item

    def _twin(self, item: Item) -> Item | None:
        """Return the same image, if it was added before; refuse another one of its name."""
        twin = next((other for other in self.items(item.model) if other.name == item.name), None)
        if twin is not None and twin.state == "failed":
            self.remove(twin.number)
        elif twin is not None and (twin.sha256, twin.given) != (item.sha256, item.given):
            why = "another image, or the same with other micrometres, has this name; drop folders, whose names are kept"
            raise HTTPException(409, f"{item.name}: {why}, or remove the other image first")
        return twin if twin is not None and twin.number in self._items else None

    async def _receive(self, content: AsyncIterator[bytes], item: Item) -> None:
        """Write an upload to a file; refuse it if it is too slow or too large."""
        if shutil.disk_usage(self.folder).free < limits.SERVED_BYTES:
            raise HTTPException(
                507, f"{item.name}: the disk of the page's temporary files is nearly full"
            )
        item.path.parent.mkdir(parents=True)
        digest = hashlib.sha256()
        with item.path.open("xb") as handle:
            while (
                chunk := await asyncio.wait_for(anext(content, None), limits.SERVED_IDLE_SECONDS)
            ) is not None:
                item.size += len(chunk)
                self._held += len(chunk)
                if item.size > limits.SERVED_BYTES:
                    raise HTTPException(
                        413, f"{item.name}: is larger than {limits.SERVED_BYTES >> 20} MB"
                    )
                if self._held > limits.SERVED_HELD_BYTES:
                    raise HTTPException(
                        507, "the images on the page fill the room that it has; remove some first"
                    )
                handle.write(chunk)
                digest.update(chunk)
        item.sha256 = digest.hexdigest()

    def _discard(self, item: Item) -> None:
        self._held -= item.size
        shutil.rmtree(item.folder, ignore_errors=True)

    def _kept(self, item: Item) -> Path:
        return self._keep[item.model] / "images" / item.name

    def _change(self) -> None:
        self.version += 1
        self._changed.set()

    def remove(self, number: int) -> None:
        """Remove an image and its pictures; end its prediction."""
        item = self._items.pop(number)
        for work in item.work:
            work.cancel()
        self._discard(item)
        if self._keep:
            self._removed.add(kept := self._kept(item))
            self._remove_kept(kept)
        self._change()

    def _remove_kept(self, *paths: Path) -> None:
        """Remove what is kept of removed images, as far as it can be removed now."""
        for path in paths:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                self._removed.discard(path)

    def review(self, number: int, label: str | None) -> Item:
        """Mark an image as reviewed, with the class that a person gives; with None, as not reviewed."""
        item = self.item(number)
        if item.state != "done":
            raise HTTPException(409, f"{item.name}: is not predicted")
        if label and label not in self.models[item.model]["classes"]:
            raise HTTPException(404, f"{label}: is not a class of this model")
        item.reviewed, item.label = label is not None, label or ""
        self._change()
        return item

    async def run(self) -> None:
        """Read and predict images, until cancelled; write what is kept whenever nothing waits, and every minute."""
        while True:
            self._changed.clear()
            waiting = [item for item in self._items.values() if item.state == "waiting"]
            item = next(
                (item for item in waiting if not item.width), waiting[0] if waiting else None
            )
            begun = time.monotonic()
            if self._keep and begun > self._due:
                item = None
            try:
                await (self.keep() if item is None else self._advance(item))
            except Exception as error:  # noqa: BLE001 - whatever it is, the queue goes on
                _log.exception("%s", "tables" if item is None else item.name)
                if item is not None:
                    item.state, item.error = "failed", f"unexpected {type(error).__name__}: {error}"
            if item is None:
                self._due = (now := time.monotonic()) + max(
                    _KEEP_SECONDS, _TIMES_ITS_COST * (now - begun)
                )
            if not waiting:
                await self._changed.wait()

    async def _advance(self, item: Item) -> None:
        """Read an image, or predict one that was read."""
        if item.width:
            item.state = "working"
        self.version += 1
        begun = time.monotonic()
        task = {
            "do": "predict" if item.width else "read",
            "thumbnail": str(item.folder / "small.jpg"),
        }
        answer = await self._ask(item, task)
        answer.pop("exit_code", None)
        for name, value in answer.items():
            setattr(item, name, value)
        if item.error:
            item.state = "failed"
        elif item.state == "working":
            item.state = "done"
            self._seconds += time.monotonic() - begun
            self._pixels += item.width * item.height
        elif (need := item.width * item.height * limits.SERVED_PIXEL_BYTES) > (
            free := free_memory()
        ):
            item.state = "failed"
            item.error = f"needs about {need / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; cut it"
        self.version += 1

    async def _ask(self, item: Item, task: Mapping[str, Any]) -> dict[str, Any]:
        """Let the worker do something for an image; an error if the image is removed meanwhile."""
        whole = {**task, "model": self.models[item.model], "image": item.task}
        item.work.add(work := asyncio.create_task(self.engine.ask(whole)))
        try:
            return await work
        except asyncio.CancelledError:
            if item.number in self._items:
                raise
            return {"error": f"{item.name}: was removed"}
        finally:
            item.work.discard(work)

    async def keep(self) -> None:
        """Write the tables and reports to the folder of what is kept, if there is one and they have changed."""
        if (version := self.version) == self._written:
            return
        answers = [
            await self.write(number, folder, prefix="images/")
            for number, folder in enumerate(self._keep)
        ]
        self._remove_kept(*self._removed)
        errors = [answer["error"] for answer in answers if "error" in answer]
        errors += [f"{path}: cannot be removed" for path in self._removed]
        for error in errors:
            _log.warning("%s", error)
        self.is_kept = not errors
        self._written = (
            -1 if errors else version
        )  # only now, since the end of the page may interrupt this

    async def finish(self) -> None:
        """Write what is kept for the last time, and name the images that were not predicted."""
        await self.keep()
        for number, folder in enumerate(self._keep):
            if left := sum(item.state in ("waiting", "working") for item in self.items(number)):
                _log.warning(
                    "%s: %s not predicted; give them to predict",
                    folder / "images",
                    counted(left, "image"),
                )

    async def show(self, item: Item, kind: str, target: str) -> tuple[Path, dict[str, Any]]:
        """Return a picture of an image and the facts shown next to it; draw it if it does not exist."""
        classes = self.models[item.model]["classes"]
        if item.state != "done":
            raise HTTPException(409, f"{item.name}: is not predicted")
        if target and target not in classes:
            raise HTTPException(404, f"{target}: is not a class of this model")
        target = target or str(item.predicted)
        path = item.folder / f"{kind}-{classes.index(target)}.jpg"
        if path.name not in item.shown:
            answer = await self._ask(item, {"do": kind, "target": target, "out": str(path)})
            if "error" in answer:
                return path, answer
            item.shown[path.name] = answer
        return path, item.shown[path.name]

    async def write(
        self, model: int, folder: Path, *, prefix: str = "", html: bool = True
    ) -> dict[str, Any]:
        """Write the table of a model's images, that of failures, and the report; return an ``error`` if it failed.

        If no image is done or failed, writing with the report removes all three.

        Parameters
        ----------
        model : int
        folder : Path
        prefix : str
            The beginning of the paths of images in the table.
        html : bool
            Whether to write the report.
        """
        ended = [item for item in self.items(model) if item.state in ("done", "failed")]
        images = [
            {
                **item.task,
                "kept": item.kept,
                "error": item.error,
                "known_mpp": item.mpp,
                "notes": item.notes,
                "reviewed": item.reviewed,
                "label": item.label,
                "listed": prefix + item.name,
            }
            for item in ended
        ]
        task = {
            "do": "write",
            "model": self.models[model],
            "images": images,
            "folder": str(folder),
            "html": html,
        }
        answer = await self.engine.ask(task)
        again = "error" in answer and any(
            item.number not in self._items for item in ended
        )  # removed meanwhile
        return await self.write(model, folder, prefix=prefix, html=html) if again else answer
