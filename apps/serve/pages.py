"""The HTML pages: images with their predictions, one image in detail, and runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Query
from fastapi.responses import FileResponse, HTMLResponse, Response

from ...core import BchistoError
from ...core.formats import limits
from ...core.runs import list_runs
from ...evaluate.report import page_templates, style_of
from ...predict import NOT_A_DEVICE
from ..submit import read_status
from .session import Item, Refused, Session
from .views import PARTS

_MOST_ROWS = 500
"""Largest number of rows on the page; the sheet and the table have all rows."""

_OF_REPORTS = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Content security policy for reports, which contain their styles and pictures."""

_NAMES = {"trained": "Seen in training", "called": "Result at the threshold"}
"""Columns of the table with another title on the page."""

_STATIC = {"page.css": "text/css", "page.js": "text/javascript"}


class Pages:
    """Renders the HTML pages.

    Parameters
    ----------
    models : sequence of dict
        The return value of `load_models`.
    csrf : str
        See `Guard`.
    runs : Path, optional
        A folder of runs to list.
    """

    def __init__(self, models: Sequence[dict[str, Any]], *, csrf: str, runs: Path | None) -> None:
        self._models, self._csrf, self._runs = models, csrf, runs
        self._templates = page_templates(__package__)
        source = self._templates.loader.get_source(self._templates, "page.js")[0]
        self._static = {"page.css": style_of(__package__, "page.css"), "page.js": source}

    def add(self, app: FastAPI, session: Session) -> None:
        """Add the routes of the pages to an app."""

        @app.get("/", include_in_schema=False)
        async def images(model: int = 0) -> Response:
            session.check_model(model)
            return self._page("images.html", title="Images", goal="images", **self._results(session, model))

        @app.get("/results", include_in_schema=False)
        async def results(model: int = 0) -> Response:
            session.check_model(model)
            return self._page("results.html", **self._results(session, model))

        @app.get("/images/{number}", include_in_schema=False)
        async def image(
            number: int, part: int | None = Query(None, ge=0, lt=len(PARTS)), map: bool = False, target: str = ""
        ) -> Response:
            item = session.item(number)
            drawn = (await session.show(item, "map", part=part, target=target))[1] if map else None
            return self._page(
                "image.html", title=item.name, goal="image", item=item, model=self._models[item.model], part=part,
                parts=PARTS, target=target, map=drawn, columns=_columns(item), models=self._models,
            )  # fmt: skip

        @app.get("/runs", include_in_schema=False)
        async def runs() -> Response:
            listed = await asyncio.to_thread(self._list_runs)
            return self._page("runs.html", title="Runs", goal="runs", listed=listed, models=self._models)

        @app.get("/report", include_in_schema=False)
        async def report(run: str, of: str) -> Response:
            # only reports in the list: a path from the request is never opened
            listed = await asyncio.to_thread(self._list_runs)
            path = next(
                (path for row in listed if row["run"] == run for name, path in row["reports"] if name == of), None
            )
            if path is None:
                raise Refused(404, "there is no such report")
            return FileResponse(path, headers={"content-security-policy": _OF_REPORTS})

        @app.get("/static/{name}", include_in_schema=False)
        async def static(name: str) -> Response:
            if name not in self._static:
                raise Refused(404, "there is no such file")
            return Response(self._static[name], media_type=_STATIC[name])

    def _page(self, template: str, **values: Any) -> Response:
        text = self._templates.get_template(template).render(
            **values, csrf=self._csrf, has_runs=self._runs is not None, note=NOT_A_DEVICE, limits=limits
        )
        return HTMLResponse(text)

    def _results(self, session: Session, model: int) -> dict[str, Any]:
        """Return the template's values for the images of a model, sorted by confidence, lowest first."""
        items = session.items(model)
        done = sorted((item for item in items if item.state == "done"), key=lambda item: item.row["confidence"])
        by_class = Counter(item.row["predicted"] for item in done)
        uncertain = Counter(item.row["predicted"] for item in done if item.row["uncertain"])
        classes = self._models[model]["classes"]
        return {
            "models": self._models,
            "model": self._models[model],
            "number": model,
            "counts": session.counts(model),
            "total": len(items),
            "rows": [(item, _marks(item)) for item in done[:_MOST_ROWS]],
            "left_out": max(0, len(done) - _MOST_ROWS),
            "failed": [item for item in items if item.state == "failed"],
            "by_class": [(name, by_class[name], uncertain[name]) for name in classes],
            "version": session.version,
        }

    def _list_runs(self) -> list[dict[str, Any]]:
        if self._runs is None:
            return []
        rows = []
        for entry in list_runs(self._runs):
            name = entry.run.relative_to(self._runs).as_posix()
            try:
                status = read_status(entry.run)
                state, stages = status.state, list(status.stages)
            except BchistoError as error:
                state, stages = str(error), []
            reports = [
                (path.parent.relative_to(entry.run).as_posix(), path)
                for pattern in ("report.html", "*/*/report.html")
                for path in sorted(entry.run.glob(pattern))
            ]
            rows.append({"run": name, "entry": entry, "state": state, "stages": stages, "reports": reports})
        return rows


def _marks(item: Item) -> list[str]:
    """Return the marks of an image in the list."""
    further = item.row["further"]
    marks = ["uncertain"] if item.row["uncertain"] else []
    marks += ["unlike the training images"] if further.get("outlier") == "yes" else []
    return marks + (["seen in training"] if further.get("trained") == "yes" else [])


def _columns(item: Item) -> list[tuple[str, str]]:
    """Return the further cells of the table, with readable titles."""
    further = item.row.get("further", {}).items()
    return [(_NAMES.get(name, name.replace("_", " ").capitalize()), cell) for name, cell in further if cell]
