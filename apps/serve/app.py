"""The web application: images, results, pictures and tables, as JSON for programs and as HTML pages for people."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from mimetypes import guess_type
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from urllib.parse import quote

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException as Refusal
from starlette.requests import ClientDisconnect

from ... import __version__
from ...core import BchistoError, Content, message_of
from ...core.formats import limits
from ...data import SYSTEM, spacing_of
from ...evaluate.report import page_templates, style_of, template_text
from ..slides import FILES
from .rounds import Rounds
from .session import Session
from .worker import TABLES, THUMBNAIL, ImageAnswer, in_page

_MAP_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; frame-ancestors 'none'"
)
"""Content security policy of the page of a map, which holds its style."""

_PREDICT = "bchisto.predict"
"""The room of the prediction report, whose table of images the page shares."""


def make_app(session: Session, rounds: Rounds | None, *, csrf: str, slides: Path | None) -> FastAPI:
    """Return the web application, without access control.

    Parameters
    ----------
    session : Session
    rounds : Rounds or None
        The rounds of labelling; None if the page predicts images.
    csrf : str
        See `Guard`.
    slides : Path or None
        Output of `bchisto.apps.slides.map_slides`, whose finished maps are shown.
    """
    pages = _Pages(session, csrf, slides)

    @asynccontextmanager
    async def work(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task((rounds or session).run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await session.finish()

    async def refused(request: Request, error: Exception) -> Response:
        status = 422
        reason = ""
        headers = None
        if isinstance(error, Refusal):
            status = error.status_code
            reason = str(error.detail)
            headers = error.headers
        elif isinstance(error, RequestValidationError):
            values = (
                f"{fault['loc'][-1]} {str(fault.get('input'))[:40]}" for fault in error.errors()
            )
            reason = f"not a value that the page takes: {', '.join(values)}"
        elif isinstance(error, BchistoError):  # as of a manifest that cannot be read
            reason = in_page(message_of(error))
        elif not isinstance(error, ClientDisconnect):  # nobody waits for that answer
            status = 500
            reason = f"unexpected {type(error).__name__}: {error}; this is a bug, please report it"
            logging.getLogger(__name__).error("%s", request.url.path, exc_info=error)
        if request.scope["path"].startswith("/api/"):
            return JSONResponse({"detail": reason}, status, headers)
        return pages.refusal(status, reason)

    app = FastAPI(
        title="bchisto",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=work,
        exception_handlers=dict.fromkeys(
            (Refusal, RequestValidationError, BchistoError, ClientDisconnect, Exception), refused
        ),
    )
    if rounds is None:
        _add_images(app, session)
        _add_pictures(app, session)
        for name in TABLES:
            app.get(f"/api/{name}")(_table(session, name))
    else:
        _add_labels(app, rounds)
    pages.add(app)
    return app


def _add_images(app: FastAPI, session: Session) -> None:
    """Add the routes that list, add, review and remove images."""

    @app.get("/api/queue")
    async def queue() -> dict[str, int]:
        """Return the number of images in each state; `version` changes when anything has changed."""
        return session.counts() | {"version": session.version}

    @app.post("/api/images", status_code=202)
    async def add_image(request: Request, name: str, model: int = 0, mpp: str = "") -> ImageAnswer:
        """Add an image; the request body is its file. `mpp` are micrometres per pixel, such as 0.42."""
        session.check_model(model)
        spacing, problem = spacing_of(mpp)
        if problem:
            raise HTTPException(422, problem)
        return await session.add(name, request.stream(), model=model, given=spacing)

    @app.get("/api/images")
    async def images(model: int | None = None) -> Sequence[ImageAnswer]:
        return session.items(model)

    @app.put("/api/images/{number}/review")
    async def review(
        number: int, label: str = "", reviewed: bool = True, seen: int | None = None
    ) -> ImageAnswer:
        """Mark an image as reviewed, or not; `label` is its class, or empty for none of the model's.

        `seen` is the number `reviews` of the image as you know it: status 409 if it has another label since then.
        """
        return session.review(number, label if reviewed else None, seen)

    # response_model=None: FastAPI 0.115 takes the annotation `None` for a body, which a 204 cannot have
    @app.delete("/api/images/{number}", status_code=204, response_model=None)
    async def remove_image(number: int, seen: int | None = None) -> None:
        session.check_seen(session.item(number), seen)
        session.remove(number)

    @app.delete("/api/images", status_code=204, response_model=None)
    async def remove_images(model: int | None = None, seen: int | None = None) -> None:
        session.remove_all(model, seen)


def _add_labels(app: FastAPI, rounds: Rounds) -> None:
    """Add the routes by which people label images in rounds."""

    @app.get("/api/labels")
    def labels() -> Content:
        """Return the images of the last round with their answers, the classes, and the figures so far.

        An answer is a label after `=`, `?` for an image that cannot be told, or empty.
        """
        return rounds.state()

    @app.put("/api/labels")
    def give_label(
        image_id: str, answer: str = "", seen: str = "", suggested: bool = False
    ) -> Content:
        """Answer an image of the last round; `suggested` before you show the suggestion, with the answer that it has.

        `seen` is its answer as you know it: status 409 if it has another one by now.
        """
        rounds.give(image_id, answer, seen=seen, suggested=suggested)
        return labels()

    @app.post("/api/rounds")
    def begin_round(number: int) -> Content:
        """Begin the next round if the last one has that number, and each of its images an answer."""
        rounds.begin(number)
        return labels()

    @app.get("/api/labels/picture.jpg")
    async def picture_to_label(image_id: str) -> Response:
        return await file_response(await rounds.picture(image_id))


def _add_pictures(app: FastAPI, session: Session) -> None:
    """Add the routes of the pictures of an image."""

    async def shown(number: int, kind: str, target: str) -> Path:
        return (await session.show(session.item(number), kind, target))[0]

    @app.get("/api/images/{number}/small.jpg")
    async def small(number: int) -> Response:
        return await file_response(session.item(number).folder / THUMBNAIL)

    @app.get("/api/images/{number}/{kind}.jpg")
    async def picture(
        number: int, kind: Literal["picture", "pixels", "stains", "map"], target: str = ""
    ) -> Response:
        """Return the image (`picture`; `pixels` with all of them), with normalised stains or with a heat map.

        `target` is the class of the map, by default as of `bchisto.apps.explain.ExplainSettings`.
        """
        return await file_response(await shown(number, kind, target))

    @app.get("/api/images/{number}/regions.geojson")
    async def regions(number: int, target: str = "") -> Response:
        path = await shown(number, "map", target)
        name = quote(f"{Path(session.item(number).name).stem}.geojson")
        attached = {"content-disposition": f"attachment; filename*=utf-8''{name}"}
        return await file_response(path.with_suffix(".geojson"), attached)


def _table(session: Session, name: str) -> Callable[..., Awaitable[Any]]:
    """Return the route of one of `TABLES`."""

    async def table(model: int = 0) -> Response:
        session.check_model(model)
        # in a folder of its own, since another answer may write while this one is sent
        with TemporaryDirectory(dir=session.folder) as folder:
            await session.write(model, Path(folder), html=name.endswith(".html"))
            return await file_response(
                Path(folder, name), {"content-disposition": f"attachment; filename={name}"}
            )

    return table


class _Pages:
    """Renders the HTML pages."""

    def __init__(self, session: Session, csrf: str, slides: Path | None) -> None:
        self._session = session
        self._csrf = csrf
        self._slides = slides
        self._templates = page_templates(__package__)
        style = style_of(_PREDICT, "sheet.css") + template_text(__package__, "page.css")
        script = template_text(_PREDICT, "sheet.js") + template_text(__package__, "page.js")
        self._static = {"page.css": (style, "css"), "page.js": (script, "javascript")}

    def add(self, app: FastAPI) -> None:
        """Add the routes of the pages to an app. Links are relative, so all pages are in one folder."""
        route = partial(app.get, include_in_schema=False)
        session = self._session

        @route("/")
        async def images(model: int = 0) -> Response:
            if not session.models:  # images are labelled
                return self._page("label.html", title="Labels", goal="image")
            return self._page("images.html", title="Images", goal="images", **self._results(model))

        @route("/results")
        async def results(model: int = 0) -> Response:
            return self._page("results.html", **self._results(model))

        @route("/image")
        async def image(number: int, map: bool = False, target: str = "") -> Response:
            item = session.item(number)
            facts = None
            trouble = ""
            if map:
                try:
                    _, facts = await session.show(item, "map", target)
                except BchistoError as error:
                    trouble = str(error)
            return self._page(
                "image.html",
                title=item.name,
                goal="image",
                item=item,
                model=session.models[item.model],
                map=facts,
                trouble=trouble,
                target=target,
                done=session.done(item.model),
            )

        if self._slides is not None:
            maps = (self._slides / "maps").resolve()

            @route("/slides")
            async def slides() -> Response:
                names = sorted(path.parent.name for path in maps.glob("*/index.html"))
                return self._page("slides.html", title="Slides", goal="slides", names=names)

            @route("/slides/{name}/{file}")
            async def of_slide(name: str, file: str) -> Response:
                path = maps / name / file
                if file not in FILES or path.resolve() != path:
                    raise HTTPException(404, "there is no such map")
                return await file_response(path, {"content-security-policy": _MAP_POLICY})

        @route("/static/{name}")
        async def static(name: str) -> Response:
            if name not in self._static:
                raise HTTPException(404, "there is no such file")
            text, kind = self._static[name]
            return Response(text, media_type=f"text/{kind}")

    def refusal(self, status: int, reason: str) -> Response:
        """Return a page that tells a person why a request was refused."""
        return self._page("frame.html", status, title="Not shown", goal="reason", reason=reason)

    def _page(self, template: str, status: int = 200, **values: Any) -> Response:
        page = self._templates.get_template(template)
        facts = {"models": self._session.models, "slides": self._slides, "csrf": self._csrf}
        return HTMLResponse(
            page.render(**values, **facts, limits=limits, system=SYSTEM.pattern), status
        )

    def _results(self, model: int) -> Content:
        """Return the template's values for the images of a model."""
        session = self._session
        session.check_model(model)
        return {"model": session.models[model], "number": model, "session": session}


async def file_response(path: Path, headers: Mapping[str, str] | None = None) -> Response:
    """Return a file as an answer. It is read whole, as it may be removed while it is sent."""
    try:
        content = await asyncio.to_thread(path.read_bytes)
    except FileNotFoundError as error:
        raise HTTPException(404, "there is no such file, or it was removed") from error
    return Response(content, headers=headers, media_type=guess_type(path.name)[0] or "text/plain")
