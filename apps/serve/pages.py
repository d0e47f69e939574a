"""The HTML pages: images with predictions, one image in detail, and refusals for people."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from mimetypes import guess_type
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse, Response

from ...core import BchistoError
from ...core.formats import limits
from ...data import SYSTEM
from ...evaluate.report import page_templates, style_of, template_text
from ..slides import FILES
from .session import Session
from .worker import PageModel

_MAP_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; frame-ancestors 'none'"
)
"""Content security policy of the page of a map, which holds its style."""


_PREDICT = "bchisto.predict"
"""The room of the prediction report, whose table of images the page shares."""


class Pages:
    """Renders the HTML pages.

    Parameters
    ----------
    models : sequence of PageModel
    csrf : str
        See `Guard`.
    slides : Path, optional
        Output of `bchisto.apps.slides.map_slides`, whose finished maps are shown.
    """

    def __init__(self, models: Sequence[PageModel], *, csrf: str, slides: Path | None) -> None:
        self._models = models
        self._csrf = csrf
        self._slides = slides
        self._templates = page_templates(__package__)
        style = style_of(_PREDICT, "sheet.css") + template_text(__package__, "page.css")
        script = template_text(_PREDICT, "sheet.js") + template_text(__package__, "page.js")
        self._static = {"page.css": (style, "css"), "page.js": (script, "javascript")}

    def add(self, app: FastAPI, session: Session) -> None:
        """Add the routes of the pages to an app. Links are relative, so all pages are in one folder."""
        route = partial(app.get, include_in_schema=False)

        @route("/")
        async def images(model: int = 0) -> Response:
            if not self._models:  # images are labelled
                return self._page("label.html", title="Labels", goal="image")
            return self._page(
                "images.html", title="Images", goal="images", **self._results(session, model)
            )

        @route("/results")
        async def results(model: int = 0) -> Response:
            return self._page("results.html", **self._results(session, model))

        @route("/image")
        async def image(number: int, map: bool = False, target: str = "") -> Response:
            item = session.item(number)
            drawn = None
            trouble = ""
            if map:
                try:
                    _, drawn = await session.show(item, "map", target)
                except BchistoError as error:
                    trouble = str(error)
            return self._page(
                "image.html",
                title=item.name,
                goal="image",
                item=item,
                model=self._models[item.model],
                map=drawn,
                trouble=trouble,
                target=target or item.predicted,
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
        facts = {"models": self._models, "slides": self._slides, "csrf": self._csrf}
        return HTMLResponse(
            page.render(**values, **facts, limits=limits, system=SYSTEM.pattern), status
        )

    def _results(self, session: Session, model: int) -> dict[str, Any]:
        """Return the template's values for the images of a model."""
        session.check_model(model)
        return {"model": self._models[model], "number": model, "session": session}


async def file_response(path: Path, headers: Mapping[str, str] | None = None) -> Response:
    """Return a file as an answer. It is read whole, as it may be removed while it is sent."""
    try:
        content = await asyncio.to_thread(path.read_bytes)
    except FileNotFoundError as error:
        raise HTTPException(404, "there is no such file, or it was removed") from error
    return Response(content, headers=headers, media_type=guess_type(path.name)[0] or "text/plain")
