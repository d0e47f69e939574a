"""The HTML pages and their pictures: images with predictions, one image in detail, and runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import FastAPI, Query
from fastapi.responses import FileResponse, HTMLResponse, Response

from ...core import BchistoError
from ...core.formats import limits
from ...core.jobs import atomic_output
from ...core.runs import list_runs
from ...data import ImageRecord, decode_record, shrink_image
from ...evaluate.report import page_templates, style_of
from ...predict import NOT_A_DEVICE, BoostedModel, Model
from ...stains import CHECKED, make_normalizer
from ..explain import Explanation, colour_limits, explain_image, lay_over, where_highest, write_regions
from ..submit import read_status
from .session import Item, Refused, Session

Picture = npt.NDArray[np.uint8]

PARTS = ("top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right")
"""Parts of an image; each has half of its width and height."""

_SHOWN, _SMALL = 1024, 160
"""Longest side of a picture, and of a thumbnail, in pixels."""

_STAINED = 2048
"""Longest side of a picture whose stains are normalised, which needs at least 24 bytes per pixel."""


def write_thumbnail(record: ImageRecord, path: Path) -> None:
    """Write a thumbnail of an image."""
    write_picture(shrink_image(decode_record(record), _SMALL), path)


def show_picture(model: Model, record: ImageRecord, *, part: int | None, path: Path) -> dict[str, Any]:
    """Write an image, or a part of it, and return its size."""
    image = decode_record(record)
    write_picture(shrink_image(_cut(image, part), _SHOWN), path)
    return {"height": image.shape[0], "width": image.shape[1]}


def show_stains(model: Model, record: ImageRecord, *, part: int | None, path: Path) -> dict[str, Any]:
    """Write an image with its stains normalised, by the model's method, or by Macenko's if the model has none.

    Raises
    ------
    TissueError
        The image has too little tissue.
    """
    stain = own_stain(model)
    image, _ = make_normalizer(stain or "macenko").normalize_with_estimate(
        shrink_image(decode_record(record), _STAINED)
    )
    write_picture(shrink_image(_cut(image, part), _SHOWN), path)
    return {}


def own_stain(model: Model) -> str:
    """Return the stain normalisation method of a model; empty if it has none."""
    if isinstance(model, BoostedModel):
        stain = next(iter(model.settings.values())).stain
    else:
        stain = model.bundle.settings.stain
    return stain if stain in CHECKED else ""


def draw_map(
    model: Model, record: ImageRecord, *, target: str, part: int | None, path: Path, file: Path
) -> dict[str, Any]:
    """Write a heat map laid over an image, and return the facts shown next to it.

    The values of the map and its regions are saved next to the picture, so that further parts do not compute it again.

    Parameters
    ----------
    model : Model
    record : ImageRecord
    target : str
        The class; empty for the predicted class.
    part : int or None
        Number of a part in `PARTS`; None for the whole image.
    path : Path
        The picture to write.
    file : Path
        The model file.
    """
    work = f"{file} {target}"  # the folder of an image belongs to one model
    arrays = path.with_name(f"{path.stem.partition('-')[0]}-{model.bundle.classes.index(target) if target else ''}.npz")
    explanation = Explanation.load(arrays, work=work)
    if explanation is None:
        explanation = explain_image(model, record, file=file, target=target)
        explanation.save(arrays, work=work)
        if not target:
            write_regions(path.with_name("regions.geojson"), explanation, record)
    assert explanation.values is not None
    limits = colour_limits(explanation)
    shown = replace(explanation, limits=limits)
    if part is not None:
        import cv2

        picture = shrink_image(_cut(decode_record(record), part), _SHOWN)
        size = picture.shape[1], picture.shape[0]
        values = cv2.resize(_cut(explanation.values, part), size, interpolation=cv2.INTER_LINEAR)
        shown = replace(shown, picture=picture, values=np.asarray(values, np.float32))
    write_picture(lay_over(shown), path)
    low, high = limits
    ends = {"low": low, "high": high, "centre": explanation.centre, "signed": explanation.signed}
    return {
        "title": explanation.title,
        "target": explanation.target,
        "margin": explanation.margin,
        "caution": explanation.caution,
        "alt": where_highest(explanation),
        "ends": {name: float(value) for name, value in ends.items()},
    }


def _cut(image: Any, part: int | None) -> Any:
    """Return a part of an image, see `PARTS`."""
    if part is None:
        return image
    height, width = image.shape[:2]
    top, left = part // 3 * height // 4, part % 3 * width // 4
    return image[top : top + -(-height // 2), left : left + -(-width // 2)]


def write_picture(image: Picture, path: Path) -> None:
    """Write a picture as a JPEG file."""
    from PIL import Image

    with atomic_output(path) as temporary, temporary.open("wb") as handle:
        Image.fromarray(image).save(handle, format="JPEG", quality=90)


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
