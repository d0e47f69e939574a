"""The images of a session: stored in a folder, predicted one after the other, and reviewed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import filecmp
import logging
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from ...core import BchistoError, Content, InputError, counted, reworded, system_reason
from ...core.formats import limits
from .engine import Engine, R
from .worker import (
    STATES,
    Item,
    PageModel,
    draw,
    in_page,
    open_model,
    predict_image,
    readable,
    write_tables,
)

_log = logging.getLogger(__name__)

_MOST_FOLDERS = 50
"""Largest number of folders in an image's name, since folders are removed one inside the other."""

_KEEP_SECONDS = 60.0
"""Time after which kept tables and reports are written even if images wait."""

_TIMES_ITS_COST = 9
"""Least time between two writings, as a multiple of how long one takes: writing takes a tenth of the time at most."""


class Session:
    """The images of the page, and the queue of their predictions.

    Parameters
    ----------
    engine : Engine
    models : sequence of PageModel
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
        self, engine: Engine, models: Sequence[PageModel], folder: Path, *, keep: Path | None
    ) -> None:
        self.engine = engine
        self.models = models
        self.folder = folder
        self.version = 0
        self.is_kept = True
        self._keeps = keep is not None
        self._top = keep or folder
        # each gets a folder of images, and tables if they are kept
        self._folders = [self._top / f"model-{number + 1}" for number in range(len(models))]
        if len(models) == 1:
            self._folders = [self._top]
        self._due = time.monotonic() + _KEEP_SECONDS
        self._written = 0  # the version that was kept
        self._items: dict[int, Item] = {}
        self._work: dict[int, set[asyncio.Task[Any]]] = {}  # what is done for each image
        self._last_number = 0
        self._changed = asyncio.Event()
        self._held = 0  # bytes

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

    async def add(
        self, name: str, content: AsyncIterator[bytes], *, model: int, given: float | None
    ) -> Item:
        """Receive an image, and add it to the queue. An image that is there already is not added again.

        Parameters
        ----------
        name : str
        content : async iterator of bytes
        model, given
            As in `Item`.

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
        item = Item(
            self._last_number,
            name,
            model,
            mpp=given,
            given=given,
            path=self._images(model) / name,
            folder=self.folder / str(self._last_number),
        )
        part = item.path.with_name(f".{item.number}.part")
        try:
            async with asyncio.timeout(limits.SERVED_UPLOAD_SECONDS):
                await self._receive(content, item, part)
            twin = self._twin(item, part)
            if twin is not None:
                return twin
            if item.path.exists():
                raise FileExistsError(errno.EEXIST, "a folder, or a like name, has its place")
            item.folder.mkdir()
            part.replace(item.path)
            self._items[item.number] = item
        except TimeoutError as error:
            raise HTTPException(408, f"{name}: did not arrive in time; try again") from error
        except OSError as error:
            raise HTTPException(
                507, f"{name}: cannot be stored ({system_reason(error)})"
            ) from error
        finally:
            # also if the upload is cancelled, as at the end of the server
            if item.number not in self._items:
                self._held -= item.size
                with contextlib.suppress(OSError):
                    part.unlink()
        self._change()
        return item

    def _images(self, model: int) -> Path:
        return self._folders[model] / "images"

    def _twin(self, item: Item, part: Path) -> Item | None:
        """Return the image that was added before with an equal file; refuse a different image of the same name."""
        twins = [other for other in self.items(item.model) if other.name == item.name]
        if not twins:
            return None
        twin = twins[0]
        if twin.state == "failed":
            self.remove(twin.number)
            return None
        if twin.given != item.given or not filecmp.cmp(twin.path, part, shallow=False):
            raise HTTPException(
                409,
                f"{item.name}: another image, or the same with other micrometres, has this name; drop folders, whose "
                "names are kept, or remove the other image first",
            )
        return twin

    async def _receive(self, content: AsyncIterator[bytes], item: Item, part: Path) -> None:
        """Write an upload to a file; refuse it if it is too slow or too large."""
        if shutil.disk_usage(self._top).free < limits.SERVED_BYTES:
            raise HTTPException(507, f"{item.name}: the disk of the page's images is nearly full")
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as handle:
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

    def _change(self) -> None:
        self.version += 1
        self._changed.set()

    def remove(self, number: int) -> None:
        """Remove an image and its pictures; end its prediction."""
        item = self._items.pop(number)
        for task in self._work.pop(number, ()):
            task.cancel()
        self._held -= item.size
        shutil.rmtree(item.folder, ignore_errors=True)
        try:
            item.path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s: cannot be removed (%s)", item.path, system_reason(error))
        with contextlib.suppress(OSError):  # a folder has other images
            for folder in item.path.parents[: item.name.count("/")]:
                folder.rmdir()
        self._change()

    def remove_all(self, model: int | None, seen: int | None) -> None:
        """Remove all images of a model, or all images; refuse it if `reviews` is no longer `seen`; None for any."""
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

    def check_seen(self, item: Item, seen: int | None) -> None:
        """Refuse to change a label that somebody gave after the review number `seen`; None to change any label."""
        if item.reviewed and seen not in (None, item.reviews):
            raise HTTPException(
                409,
                f"{item.name}: has the label {item.label or 'none of these'} since this page was opened",
                {"x-seen": str(item.reviews)},
            )

    def review(self, number: int, label: str | None, seen: int | None) -> Item:
        """Mark an image as reviewed, with the label that a person gives; None: not reviewed. See `check_seen`."""
        item = self.item(number)
        if item.state != "done":
            raise HTTPException(409, f"{item.name}: is not predicted")
        if label and label not in self.models[item.model].classes:
            raise HTTPException(404, f"{label}: is not a class of this model")
        if label != item.label:
            self.check_seen(item, seen)
        item.reviewed = label is not None
        item.label = label or ""
        item.reviews += 1
        self._change()
        return item

    async def run(self) -> None:
        """Predict images, until cancelled; write what is kept whenever nothing waits, and every minute."""
        while True:
            self._changed.clear()
            queue = self.items(states=["waiting"])
            if queue and not (self._keeps and time.monotonic() > self._due):
                await self._predict(queue[0])
            else:
                await self.keep()
            if not queue:
                await self._changed.wait()

    async def _predict(self, item: Item) -> None:
        """Predict an image; whatever goes wrong, the queue goes on."""
        item.state = "working"
        self.version += 1
        try:
            result = await self._ask(item, "predicting this image", predict_image)
            vars(item).update(result._asdict())
        except BchistoError as error:
            item.error = str(error)
            item.state = "failed"
        self.version += 1

    async def _ask(self, item: Item, doing: str, work: Callable[..., R], *values: Any) -> R:
        """Do something for an image in the other process.

        Raises
        ------
        BchistoError
            It failed, or the image was removed meanwhile.
        """
        model = self.models[item.model]
        task = asyncio.create_task(self.engine.ask(doing, work, model, item, *values))
        tasks = self._work.setdefault(item.number, set())
        tasks.add(task)
        try:
            with reworded(lambda text: in_page(text).replace(str(item.path), item.name)):
                return await task
        except asyncio.CancelledError:
            if item.number in self._items:
                raise
            raise BchistoError(f"{item.name}: was removed") from None
        finally:
            tasks.discard(task)

    async def keep(self) -> None:
        """Write the tables and reports to the folder of what is kept, if there is one and they have changed."""
        version = self.version
        if version == self._written or not self._keeps:
            return
        start = time.monotonic()
        self.is_kept = True
        for number, folder in enumerate(self._folders):
            try:
                await self.write(number, folder, prefix="images/")
            except BchistoError as error:
                _log.warning("%s", error)
                self.is_kept = False
        # only now, since the end of the page may interrupt the writing
        self._written = version if self.is_kept else -1
        now = time.monotonic()
        self._due = now + max(_KEEP_SECONDS, _TIMES_ITS_COST * (now - start))

    async def finish(self) -> None:
        """Write what is kept for the last time, and name the images that were not predicted."""
        await self.keep()
        rest = self.items(states=["waiting", "working"])
        if self._keeps and rest:
            count_text = counted(len(rest), "image")
            _log.warning("%s: %s not predicted; give them to predict", self._top, count_text)

    async def show(self, item: Item, kind: str, target: str) -> tuple[Path, Content]:
        """Return a picture of an image and the facts shown next to it; draw it if it does not exist.

        Raises
        ------
        HTTPException
            There is no such class, or the image is not predicted.
        BchistoError
            It cannot be drawn.
        """
        # without a class, that of `explain`
        classes = ("", *self.models[item.model].classes)
        if item.state != "done":
            raise HTTPException(409, f"{item.name}: is not predicted")
        if target not in classes:
            raise HTTPException(404, f"{target}: is not a class of this model")
        path = item.folder / f"{kind}-{classes.index(target)}.jpg"
        if path.name not in item.shown:
            facts = await self._ask(item, "drawing this picture", draw, kind, target, path)
            item.shown[path.name] = facts
        return path, item.shown[path.name]

    async def write(self, model: int, folder: Path, *, prefix: str = "", html: bool = True) -> None:
        """Write the table of a model's images, that of failures, and the report, see `write_tables`.

        Raises
        ------
        BchistoError
            They cannot be written.
        """
        items = self.items(model)
        work = partial(write_tables, prefix=prefix, html=html)
        try:
            await self.engine.ask(
                "writing the table", work, self.models[model], self._images(model), items, folder
            )
        except BchistoError:
            if all(item.number in self._items for item in items):
                raise
            # an image was removed meanwhile, so its picture could not be read
            await self.write(model, folder, prefix=prefix, html=html)


async def load_models(
    engine: Engine, paths: Sequence[Path], weights: Sequence[str], folder: Path
) -> list[PageModel]:
    """Load models in the other process, from copies of their files.

    Raises
    ------
    InputError, BchistoError
        A model cannot be used.
    """
    if not paths:
        return []
    _log.info("loading %s", counted(len(paths), "model"))
    models = []
    for number, path in enumerate(paths):
        copy = folder / f"model-{number}.bchisto"
        models.append(await engine.ask("loading the model", open_model, path, weights, copy))
    if weights and not any(model.file.weights for model in models):
        raise InputError(
            "{weights} {}: each model holds the weights of its networks; leave it out", weights[0]
        )
    folders = [model.path.absolute().parent for model in models]
    common = Path(os.path.commonpath(folders))
    return [
        replace(model, name=str(folder.relative_to(common)) if folder != common else folder.name)
        for model, folder in zip(models, folders, strict=True)
    ]
