"""The web application: routes for images, results, pictures and tables, as JSON for programs and HTML for people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from ... import __version__
from ...core.formats import limits
from .engine import Busy
from .pages import PARTS, Pages
from .session import Item, Refused, Session

Part = Annotated[int | None, Query(ge=0, lt=len(PARTS))]
Mpp = Annotated[float | None, Query(ge=limits.LEAST_MPP, le=limits.MOST_MPP)]

_KINDS = ("picture", "stains", "map")


@dataclass
class ImageAnswer:
    """An image and its prediction.

    Attributes
    ----------
    number : int
    name : str
    model : int
    state : str
        waiting, working, done or failed.
    error : str
        The reason why it cannot be used; empty if it can.
    notes : list of str
        Warnings.
    predicted : str or None
        The predicted class.
    confidence : float or None
        Calibrated probability of the predicted class.
    uncertain : bool or None
        Whether the prediction is uncertain; None if the model has no rule for this.
    probabilities : dict
        Class to probability, as in the table.
    calibrated : dict
        Class to calibrated probability; the highest is the confidence.
    further : dict
        Other cells of the table: outlier, nearest training images, the result at the threshold.
    """

    number: int
    name: str
    model: int
    state: str
    error: str
    notes: list[str]
    predicted: str | None = None
    confidence: float | None = None
    uncertain: bool | None = None
    probabilities: dict[str, float] | None = None
    calibrated: dict[str, float] | None = None
    further: dict[str, str] | None = None

    @classmethod
    def of(cls, item: Item) -> ImageAnswer:
        """Return the answer for an image; values that are not known yet are None."""
        names = ("predicted", "confidence", "uncertain", "probabilities", "calibrated", "further")
        row = {name: item.row.get(name) for name in names}
        return cls(item.number, item.name, item.model, item.state, item.error, item.notes, **row)


@dataclass
class Queue:
    """The state of the queue.

    Attributes
    ----------
    waiting, working, done, failed : int
        Number of images in each state.
    room : int
        Number of images that can be added now.
    version : int
        Number that changes when anything has changed.
    restarts : int
        How often the process that reads images has crashed and was restarted.
    """

    waiting: int
    working: int
    done: int
    failed: int
    room: int
    version: int
    restarts: int


@dataclass
class ModelAnswer:
    """A model that the page can use."""

    number: int
    name: str
    classes: list[str]
    banners: list[str]


def make_app(session: Session, pages: Pages) -> FastAPI:
    """Return the web application, without access control, see `Guard`."""

    @asynccontextmanager
    async def work(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(session.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await session.keep()

    app = FastAPI(
        title="bchisto",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=work,
    )
    app.exception_handler(Refused)(_refused)
    app.exception_handler(Busy)(_busy)
    _add_images(app, session)
    _add_pictures(app, session)
    _add_tables(app, session)
    pages.add(app, session)
    return app


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    headers = {"retry-after": "5"} if error.status == 429 else None
    return JSONResponse({"detail": error.reason}, error.status, headers)


async def _busy(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": "too many wait for an image; try again"}, 503, {"retry-after": "2"})


def _add_images(app: FastAPI, session: Session) -> None:
    @app.get("/api/models")
    async def models() -> list[ModelAnswer]:
        return [
            ModelAnswer(number, model["name"], model["classes"], model["banners"])
            for number, model in enumerate(session.models)
        ]

    @app.get("/api/queue")
    async def queue() -> Queue:
        counts = session.counts()
        room = max(0, limits.SERVED_WAITING - counts["waiting"])
        return Queue(**counts, room=room, version=session.version, restarts=session.engine.restarts)

    @app.post("/api/images", status_code=202)
    async def add_image(request: Request, name: str, model: int = 0, mpp: Mpp = None) -> ImageAnswer:
        """Add an image; the request body is its file."""
        session.check_model(model)
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limits.SERVED_BYTES:
            raise Refused(413, f"{name}: is larger than {limits.SERVED_BYTES >> 20} MB")
        return ImageAnswer.of(await session.add(name, request.stream(), model=model, mpp=mpp))

    @app.get("/api/images")
    async def images(model: int | None = None) -> list[ImageAnswer]:
        return [ImageAnswer.of(item) for item in session.items(model)]

    @app.get("/api/images/{number}")
    async def image(number: int) -> ImageAnswer:
        return ImageAnswer.of(session.item(number))

    # response_model=None: FastAPI 0.115 takes the annotation `None` for a body, which a 204 cannot have
    @app.delete("/api/images/{number}", status_code=204, response_model=None)
    async def remove_image(number: int) -> None:
        session.remove(session.item(number).number)

    @app.delete("/api/images", status_code=204, response_model=None)
    async def remove_images(model: int | None = None) -> None:
        for item in session.items(model):
            session.remove(item.number)


def _add_pictures(app: FastAPI, session: Session) -> None:
    @app.get("/api/images/{number}/small.jpg")
    async def small(number: int) -> Response:
        return _file(session.item(number).work / "small.jpg")

    @app.get("/api/images/{number}/{kind}.jpg")
    async def picture(number: int, kind: str, part: Part = None, target: str = "") -> Response:
        """Return the image (`picture`), the image with normalised stains (`stains`) or with a heat map (`map`)."""
        if kind not in _KINDS:
            raise HTTPException(404, f"there is no {kind}; ask for {', '.join(_KINDS)}")
        item = session.item(number)
        path, answer = await session.show(item, kind, part=part, target=target)
        return PlainTextResponse(answer["error"] + "\n", 422) if "error" in answer else _file(path)

    @app.get("/api/images/{number}/regions.geojson")
    async def regions(number: int) -> Response:
        item = session.item(number)
        await session.show(item, "map", part=None)
        return _file(item.work / "regions.geojson", f"{item.path.stem}.geojson")


def _add_tables(app: FastAPI, session: Session) -> None:
    async def written(model: int, name: str) -> Response:
        session.check_model(model)
        folder = session.folder / f"table-{model}"
        folder.mkdir(exist_ok=True)
        html = folder / "predictions.html" if name == "predictions.html" else None
        answer = await session.write(model, folder / "predictions.csv", html)
        if "error" in answer:
            return PlainTextResponse(answer["error"] + "\n", 422)
        return _file(folder / name, name)

    @app.get("/api/predictions.csv")
    async def table(model: int = 0) -> Response:
        return await written(model, "predictions.csv")

    @app.get("/api/predictions.html")
    async def sheet(model: int = 0) -> Response:
        return await written(model, "predictions.html")


def _file(path: Path, name: str | None = None) -> Response:
    if not path.is_file():
        raise HTTPException(404, "this was removed")
    return FileResponse(path, filename=name)
