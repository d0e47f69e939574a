"""The images of a session: stored in a folder, predicted one after the other, and reviewed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from ...core import counted, system_reason
from ...core.formats import limits
from ...core.jobs import ensure_folder
from .engine import Answer, Engine, Task, free_memory
from .item import STATES, Item, readable

_log = logging.getLogger(__name__)

_MOST_FOLDERS = 50
"""Largest number of folders in an image's name, since folders are removed one inside the other."""

_KEEP_SECONDS = 60.0
"""Time after which what is kept is written although images wait."""

_TIMES_ITS_COST = 9
"""The least such time as a multiple of the time that writing takes, so that this is a tenth at most."""


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
        self, engine: Engine, models: Sequence[Answer], folder: Path, *, keep: Path | None
    ) -> None:
        self.engine = engine
        self.models = models
        self.folder = folder
        self.version = 0
        self.is_kept = True
        self._keep: list[Path] = []  # folders of what is kept
        if keep is not None and len(models) == 1:
            self._keep = [keep]
        elif keep is not None:
            self._keep = [keep / f"model-{number + 1}" for number in range(len(models))]
        self._removed: set[Path] = set()  # images to be removed there
        self._copying = asyncio.Lock()
        self._due = time.monotonic() + _KEEP_SECONDS
        self._written = 0  # the version that was kept
        self._items: dict[int, Item] = {}
        self._last_number = 0
        self._changed = asyncio.Event()
        self._held = 0  # bytes
        self._pixels = 0  # of predicted images
        self._seconds = 0.0  # that they took

    def items(self, model: int | None = None, states: Sequence[str] = STATES) -> list[Item]:
        """Return the images of a model, or of all, in some states, in the order in which they were added."""
        images = self._items.values()
        return [item for item in images if model in (None, item.model) and item.state in states]

    def done(self, model: int) -> list[Item]:
        """Return the predicted images of a model, the least confident first."""
        return sorted(self.items(model, ["done"]), key=lambda item: item.confidence or 0.0)

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
        return {state: len(self.items(model, [state])) for state in STATES}

    def seconds(self) -> float | None:
        """Return how long all images that wait will take, at the speed of the others; None if nothing is known."""
        waiting = self.items(states=["waiting", "working"])
        pixels = sum(item.width * item.height for item in waiting)
        if not self._pixels:
            return None
        return round(self._seconds / self._pixels * pixels, 1)

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
        self._last_number += 1
        number = self._last_number
        item = Item(number, name, folder=self.folder / str(number), mpp=facts.get("given"), **facts)
        try:
            async with asyncio.timeout(limits.SERVED_UPLOAD_SECONDS):
                await self._receive(content, item)
            twin = self._twin(item)
            if twin is not None:
                self._discard(item)
                return twin
            self._items[item.number] = item
            if self._keep:
                await self._copy_to_kept(item)
        except BaseException as error:
            # also if the upload is cancelled, as at the end of the server
            self._items.pop(number, None)
            self._discard(item)
            if isinstance(error, TimeoutError):
                raise HTTPException(408, f"{name}: did not arrive in time; try again") from error
            if isinstance(error, OSError):
                raise HTTPException(
                    507, f"{name}: cannot be stored ({system_reason(error)})"
                ) from error
            raise
        self._change()
        return item

    async def _copy_to_kept(self, item: Item) -> None:
        """Copy an image to what is kept; refuse one that is removed meanwhile.

        Copies are made one after the other: an image that got the name of a removed one waits for that one's end.
        """
        async with self._copying:
            target = self._kept(item)
            self._removed.discard(target)
            try:
                ensure_folder(target.parent)
                await asyncio.to_thread(shutil.copyfile, item.path, target)
                self.item(item.number)
            except BaseException:
                self._remove_kept(target)
                self.item(item.number)  # its file is gone if it was removed
                raise

    def _twin(self, item: Item) -> Item | None:
        """Return the same image, if it was added before; refuse another one of its name."""
        twins = [other for other in self.items(item.model) if other.name == item.name]
        if not twins:
            return None
        twin = twins[0]
        if twin.state == "failed":
            self.remove(twin.number)
            return None
        if (twin.sha256, twin.given) != (item.sha256, item.given):
            raise HTTPException(
                409,
                f"{item.name}: another image, or the same with other micrometres, has this name; drop folders, whose "
                "names are kept, or remove the other image first",
            )
        return twin

    async def _receive(self, content: AsyncIterator[bytes], item: Item) -> None:
        """Write an upload to a file; refuse it if it is too slow or too large."""
        if shutil.disk_usage(self.folder).free < limits.SERVED_BYTES:
            raise HTTPException(
                507, f"{item.name}: the disk of the page's temporary files is nearly full"
            )
        item.path.parent.mkdir(parents=True)
        digest = hashlib.sha256()
        with item.path.open("xb") as handle:
            while True:
                chunk = await asyncio.wait_for(anext(content, None), limits.SERVED_IDLE_SECONDS)
                if chunk is None:
                    break
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
        item.size = 0  # it may be discarded twice
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
            kept = self._kept(item)
            self._removed.add(kept)
            self._remove_kept(kept)
        self._change()

    def remove_all(self, model: int | None, seen: int | None) -> None:
        """Remove all images of a model, or all; refuse it if `reviews` is not `seen` any more; None for any."""
        reviews = self.reviews(model)
        if seen not in (None, reviews):
            raise HTTPException(
                409,
                "labels were given or images removed since this page was opened",
                {"x-seen": str(reviews)},
            )
        for item in self.items(model):
            self.remove(item.number)

    def reviews(self, model: int | None) -> int:
        """Return how often reviews of the images of a model were changed."""
        return sum(item.reviews for item in self.items(model))

    def _remove_kept(self, *paths: Path) -> None:
        """Remove what is kept of removed images, as far as it can be removed now."""
        for path in paths:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                self._removed.discard(path)

    def check_seen(self, item: Item, seen: int | None) -> None:
        """Refuse to change an image whose label somebody has given since its review number `seen`; None for any."""
        label = item.label
        if not label:
            label = "none of these"
        if item.reviewed and seen not in (None, item.reviews):
            raise HTTPException(
                409,
                f"{item.name}: has the label {label} since this page was opened",
                {"x-seen": str(item.reviews)},
            )

    def review(self, number: int, label: str | None, seen: int | None) -> Item:
        """Mark an image as reviewed, with the class that a person gives, or with None as not; see `check_seen`."""
        item = self.item(number)
        if item.state != "done":
            raise HTTPException(409, f"{item.name}: is not predicted")
        if label and label not in self.models[item.model]["classes"]:
            raise HTTPException(404, f"{label}: is not a class of this model")
        if label != item.label:
            self.check_seen(item, seen)
        item.reviewed = label is not None
        item.label = label or ""
        item.reviews += 1
        self._change()
        return item

    async def run(self) -> None:
        """Read and predict images, until cancelled; write what is kept whenever nothing waits, and every minute."""
        while True:
            self._changed.clear()
            waiting = self.items(states=["waiting"])
            is_due = bool(self._keep) and time.monotonic() > self._due
            if waiting and not is_due:
                # all are read, which tells their width, before one is predicted
                unread_first = sorted(waiting, key=lambda item: item.width > 0)
                await self._try(unread_first[0])
            else:
                await self._try_to_keep()
            if not waiting:
                await self._changed.wait()

    async def _try(self, item: Item) -> None:
        """Read or predict an image; whatever goes wrong, the queue goes on."""
        try:
            await self._advance(item)
        except Exception as error:  # noqa: BLE001
            _log.exception("%s", item.name)
            item.state = "failed"
            item.error = f"unexpected {type(error).__name__}: {error}"

    async def _try_to_keep(self) -> None:
        """Write what is kept, and settle when this is due again; whatever goes wrong, the queue goes on."""
        begun = time.monotonic()
        try:
            await self.keep()
        except Exception:  # noqa: BLE001
            _log.exception("tables")
        now = time.monotonic()
        self._due = now + max(_KEEP_SECONDS, _TIMES_ITS_COST * (now - begun))

    async def _advance(self, item: Item) -> None:
        """Read an image, or predict one that was read."""
        task = {"do": "read", "thumbnail": str(item.folder / "small.jpg")}
        if item.width:
            item.state = "working"
            task["do"] = "predict"
        self.version += 1
        begun = time.monotonic()
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
        else:
            self._refuse_too_large(item)
        self.version += 1

    def _refuse_too_large(self, item: Item) -> None:
        """Let an image fail that needs more memory than is free."""
        need = item.width * item.height * limits.SERVED_PIXEL_BYTES
        free = free_memory()
        if need > free:
            item.state = "failed"
            item.error = f"needs about {need / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; cut it"

    async def _ask(self, item: Item, task: Task) -> Answer:
        """Let the worker do something for an image; an error if the image is removed meanwhile."""
        of_item = {**task, "model": self.models[item.model], "image": item.task}
        work = asyncio.create_task(self.engine.ask(of_item))
        item.work.add(work)
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
        version = self.version
        if version == self._written:
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
        # only now, since the end of the page may interrupt this
        self._written = -1 if errors else version

    async def finish(self) -> None:
        """Write what is kept for the last time, and name the images that were not predicted."""
        await self.keep()
        for number, folder in enumerate(self._keep):
            counts = self.counts(number)
            unpredicted = counts["waiting"] + counts["working"]
            if unpredicted:
                _log.warning(
                    "%s: %s not predicted; give them to predict",
                    folder / "images",
                    counted(unpredicted, "image"),
                )

    async def show(self, item: Item, kind: str, target: str) -> tuple[Path, Answer]:
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
    ) -> Answer:
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
        ended = self.items(model, ["done", "failed"])
        images = [
            {
                **item.task,
                "kept": item.kept,
                "error": item.error,
                "known_mpp": item.mpp,
                "notes": item.notes,
                "reviewed": item.reviewed,
                "listed": prefix + item.name,
            }
            for item in ended
        ]
        task = {
            "do": "write",
            "model": self.models[model],
            "images": images,
            "all": [item.task for item in self.items(model)],
            "folder": str(folder),
            "html": html,
        }
        answer = await self.engine.ask(task)
        if "error" in answer and any(item.number not in self._items for item in ended):
            return await self.write(model, folder, prefix=prefix, html=html)
        return answer
