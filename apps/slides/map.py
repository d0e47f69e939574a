"""Run ``bchisto slides map``: predict the tiles of slides, and write for each slide a map, a table and a page."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core import (
    ImageError,
    InputError,
    Many,
    Message,
    OutputError,
    PathInput,
    TextInput,
    converted,
    limited,
    message_of,
    plain_options,
)
from ...core.jobs import (
    Share,
    Work,
    ask_workers,
    atomic_output,
    cpu_resources,
    do_missing,
    network_resources,
    remove_output,
    write_rows,
)
from ...core.models import bundle_lines, bundle_view
from ...core.runs import FolderSettings, record_run, remove_listing, write_listing
from ...data import BACH_MPP, ImageRecord
from ...data.images import ImageFiles
from ...data.layouts.bach import BACH_SIZE
from ...data.layouts.breakhis import BREAKHIS_SIZE
from ...evaluate.report import render_page, thumbnail
from ...predict import (
    BoostedModel,
    Model,
    ModelFile,
    Predicted,
    Prediction,
    PredictSettings,
    advised,
    choose_point,
    find_bundle,
    packages_of,
    ready_model,
    sheet_rows,
    tabulate,
)
from .cut import CutSettings
from .files import SlideFile, list_slides
from .grid import positions, tissue_shares
from .overlay import TileMap, write_features
from .slide import Slide
from .tiles import PredictTiles, TileBlock, TileGrid, blocks_of, read_block
from .tissue import find_tissue

_log = logging.getLogger(__name__)

MAPS, TABLE = "maps", "slides.csv"
"""The folder of the maps, and the table of all slides."""

_SIDES = {"bach": min(BACH_SIZE), "breakhis": min(BREAKHIS_SIZE)}
"""Shorter sides of the images of published data sets, in pixels."""

_PICTURE, _SHOWN, _TILE = 1600, 6, 200
"""Longest side of the map on the page; number of the most and of the least certain tiles there, and their side."""


@dataclass(frozen=True)
class MapResult:
    """The result of `map_slides`.

    Attributes
    ----------
    table : Path
        A row for each slide.
    pages : tuple of Path
        The page of each slide.
    tiles : int
        Number of predicted tiles.
    failures : tuple of (str, str)
        Slides and tiles that were left out, and why; also in ``failures.csv``.
    banners : tuple of str
        Warnings that every reader must see.
    share : Share or None
        For a shard, its share of the work.
    unchanged : bool
        With `Work.checks`, whether there is nothing to do.
    """

    table: Path
    pages: tuple[Path, ...] = ()
    tiles: int = 0
    failures: tuple[tuple[str, str], ...] = ()
    banners: tuple[str, ...] = ()
    share: Share | None = None
    unchanged: bool = False


def map_slides(
    model: PathInput,
    sources: Many[PathInput],
    *,
    out: PathInput,
    field: float | None = None,
    scale: float | None = None,
    settings: CutSettings | None = None,
    weights: Many[TextInput] = (),
    work: Work | None = None,
) -> MapResult:
    """Move a model of images over slides, tile by tile. Tiles that are predicted already are not predicted again.

    Parameters
    ----------
    model : str or Path
        A ``model.bchisto``, or the folder of a run that contains one.
    sources : sequence of path
        Slides, or folders of them.
    out : str or Path
        A folder, for ``slides.csv``, ``maps/<slide>/`` and, if something was left out, ``failures.csv``.
    field, scale : float, optional
        Side of a tile in micrometres, and micrometres per pixel; by default those of the training images, as far as the
        model file tells.
    settings : CutSettings, optional
        Only `tissue` and `mpp` are used.
    weights : sequence of str
        As in `bchisto.predict.predict`.
    work : Work, optional
        How the work is distributed; a unit is a block of tiles.

    Raises
    ------
    BundleError, WeightsError
        As in `bchisto.predict.predict`.
    InputError
        A slide cannot be read, states no micrometres, or is coarser than the tiles; the folder holds tiles of another
        model or size; the model takes embeddings, or larger tiles.
    ImageError
        A part of a slide is damaged, or a tile cannot be used. Finished blocks stay saved.
    """
    settings, work = settings or CutSettings(), work or Work()
    bundle, folder = find_bundle(converted(model, "model", Path)), converted(out, "out", Path)
    given, options = converted(sources, "sources", tuple[Path, ...]), converted(weights, "weights", tuple[str, ...])
    slides = list_slides(given)
    config = {
        "model": str(bundle), "sources": [str(path) for path in given], "out": str(folder), "weights": list(options),
        "field": field, "scale": scale, "tissue": settings.tissue, "mpp": settings.mpp, **plain_options(work),
    }  # fmt: skip
    with record_run(folder, command="map", config=config, work=work) as record, advised("field", "scale", "tissue"):
        file, ready = ready_model(bundle, options)
        settings = tile_settings(ready, settings, field=field, scale=scale)
        grids, failures = _look(slides, settings, skip_errors=work.skip_errors)
        own = {"model_sha256": file.sha256, **{name: getattr(settings, name) for name in ("field", "scale", "tissue")}}
        into = FolderSettings(folder=folder / "blocks", settings=own, work=("*.npz",))
        into.begin(overwrite=work.overwrite and not work.checks)
        files = ImageFiles(into.folder / "files.csv").hashes([ImageRecord(grid.name, grid.path, None) for grid in grids])
        blocks = [
            block
            for grid, sha256 in zip(grids, files, strict=True)
            for block in blocks_of(grid, model=file.sha256, computed_by=ready.computed_by, slide=sha256)
        ]
        record.note(model_sha256=file.sha256, slides=len(grids), tiles=sum(len(grid.corners) for grid in grids))
        left = _predict(blocks, into.folder, file, ready, work)
        table = folder / TABLE
        if work.checks:
            return MapResult(table, unchanged=None not in left and table.is_file())
        if work.shard is not None:
            done = sum((into.folder / block.file).is_file() for block in blocks)
            share = Share(work.shard, len(work.shard.select(blocks)), done, len(blocks), "blocks")
            return MapResult(table, share=share)
        into.hold()
        results: dict[str, dict[str, Prediction | str]] = {grid.name: {} for grid in grids}
        for block in blocks:
            if (saved := read_block(into.folder, block, skip_errors=work.skip_errors)) is None:
                raise OutputError(f"{into.folder / block.file}: was removed or changed meanwhile; run the command again")
            results[block.grid.name] |= saved
        rows, banners = [], dict[str, None]()
        for grid in grids:
            row, unused, own_banners = _write_slide(folder / MAPS / grid.name, grid, results[grid.name], file, ready)
            rows.append(row)
            failures |= unused
            banners |= dict.fromkeys(own_banners)
        write_rows(table, list(rows[0]), [list(row.values()) for row in rows])
        if failures:
            write_rows(folder / "failures.csv", ["image_id", "error"], failures.items())
        else:
            remove_output(folder / "failures.csv")
        remove_listing(into.folder)
        pages = tuple(folder / MAPS / grid.name / "index.html" for grid in grids)
        tiles = sum(row["tiles"] for row in rows)
        record.note(predicted=tiles, failures=len(failures))
    return MapResult(table, pages, tiles, tuple(failures.items()), tuple(banners))


def tile_settings(model: Model, settings: CutSettings, *, field: float | None, scale: float | None) -> CutSettings:
    """Return the size and scale of tiles for a model. What its file does not tell is warned of.

    Raises
    ------
    InputError
        Tiles are too small for the model, or of too many pixels.
    """
    views, bundle = [], model.bundle
    if isinstance(model, BoostedModel):
        views = [view for own in model.settings.values() for view in own.views]
        header = next(iter(model.bundle.stores.values()))
        dataset, known = header["dataset"], [header[name] for name in ("mpp_least", "mpp_most") if name in header]
    else:
        dataset, known = model.bundle.dataset, [BACH_MPP] if model.bundle.dataset == "bach" else []
    unknown = []
    if scale is None:
        known = known or [view.scale for view in views if view.unit]
        scale = float(f"{math.sqrt(min(known) * max(known)):.3g}") if known else settings.scale
        if len({*known}) != 1:
            unknown.append(Message("{scale:{}}", scale))
    if field is None:
        side = _SIDES.get(str(dataset)) or max((view.crop / view.factor(scale) for view in views), default=0)
        field = math.ceil(side) * scale or settings.field
        if dataset not in _SIDES:
            unknown.append(Message("{field:{}}", f"{field:.4g}"))
    if unknown:
        text = "the model file does not tell size and scale of its training images exactly; tiles have {}"
        _log.warning(Message(f"{text}{' and {}' * (len(unknown) - 1)}", *unknown))
    settings = replace(settings, field=field, scale=scale)
    for need in model.needs:
        tile = ImageRecord("", Path("a tile"), None, mpp=scale)
        if (misfit := need.misfit(tile, width=settings.pixels, height=settings.pixels)) is not None:
            raise InputError("{field:{}}: {}; give a larger {field}", f"{field:.4g}", limited(misfit, {"field"}))
    return settings


def _look(
    slides: Sequence[SlideFile], settings: CutSettings, *, skip_errors: bool
) -> tuple[list[TileGrid], dict[str, str]]:
    """Find the tiles of each slide; also return the slides that cannot be used, and why."""
    grids, failures = [], dict[str, str]()
    for name, path, _ in slides:
        try:
            with Slide(path, mpp=settings.mpp) as slide:
                scale = slide.scale_for(settings.scale)
                side = settings.pixels * scale / slide.mpp
                corners = positions(slide.width, slide.height, side, edges=True)
                enough = tissue_shares(find_tissue(slide), corners, side) >= max(settings.tissue, 1e-9)
                places = tuple((x, y) for x, y in corners[enough].tolist())
                grids.append(TileGrid(name, path, slide.digest, settings.mpp, scale, settings.pixels, places))
        except (InputError, ImageError) as error:
            if not skip_errors:
                raise
            failures[name] = str(message_of(error))
            continue
        if not places:
            _log.warning(Message("{}: no tile has enough tissue ({tissue:{}})", path, settings.tissue))
    if not grids:
        raise ImageError(f"none of the slides can be used; first: {next(iter(failures.values()))}")
    return grids, failures


def _predict(blocks: Sequence[TileBlock], folder: Path, file: ModelFile, model: Model, work: Work) -> list[Any]:
    """Predict the blocks that are not saved; return for each what was saved before."""
    resources = network_resources(work.jobs) if model.on_keras else cpu_resources(work.jobs)
    helpers = resources.helpers(len(blocks)) if resources.gpus else 1

    def begin() -> None:
        write_listing(folder, "blocks", [[block.file] for block in blocks])
        if work.dask:
            ask_workers(work.dask, folder=folder.parent, packages=packages_of(model))

    left, _ = do_missing(
        PredictTiles(file, model.computed_by, folder, work.skip_errors, helpers),
        blocks,
        read=lambda block: read_block(folder, block, skip_errors=work.skip_errors),
        steps=lambda block: len(block.grid.corners) * model.steps,
        label="map",
        finished="blocks are predicted",
        step_name=model.step_name,
        work=work,
        resources=resources,
        begin=begin,
    )
    return left


def _write_slide(
    folder: Path, grid: TileGrid, results: Mapping[str, Prediction | str], file: ModelFile, model: Model
) -> tuple[dict[str, Any], dict[str, str], tuple[str, ...]]:
    """Write the outputs of a slide; return its row of the table, tiles that were left out, and banners."""
    point = choose_point(*bundle_view(file.path), threshold=None, sensitivity=None, bundle=file.path)
    predicted = Predicted(grid.records, results, model.bundle, file.path, file.sha256)
    shown = tabulate(predicted, settings=PredictSettings(), point=point)
    rows, classes = sheet_rows(shown, predicted), tuple(model.bundle.classes)
    tiles = sorted(rows, key=lambda row: row.place)
    corners = zip(grid.corners, results.values(), strict=True)
    grid = replace(grid, corners=tuple(corner for corner, result in corners if isinstance(result, Prediction)))
    marks = {} if model.bundle.unsure is None else {"uncertain": [bool(row.unsure) for row in tiles]}
    if shown.outliers is not None:
        marks["unlike training"] = shown.outliers.marked.tolist()
    with Slide(grid.path, mpp=grid.mpp) as slide:
        tissue, confidence = find_tissue(slide), [row.confidence for row in tiles]
        overlay = TileMap(slide, grid, classes, shown.raw, confidence, marks)
        own = [
            ("uncertain", ["" if row.unsure is None else "yes" if row.unsure else "no" for row in tiles]),
            *((name, [str(corner[axis]) for corner in grid.corners]) for axis, name in enumerate("xy")),
            ("size", [f"{overlay.side:.6g}"] * len(tiles)),
        ]
        replace(shown.table, further=[*shown.table.further, *own]).finish(folder / "tiles.csv", overwrite=True)
        write_features(folder / "tiles.geojson", overlay.tile_features())
        write_features(folder / "regions.geojson", overlay.region_features())
        picture = overlay.draw(tissue)
        with atomic_output(folder / "map.png") as temporary, temporary.open("wb") as handle:
            picture.save(handle, format="PNG")
        pictures = {row.place: thumbnail(grid.read(slide, row.place), side=_TILE) for row in rows[:_SHOWN] + rows[-_SHOWN:]}
        row = {"slide": grid.name, "tissue_mm2": f"{tissue.area:.4g}", "tiles": len(tiles)}
        row |= {f"share_{name}": f"{share:.4f}" for name, share in zip(classes, overlay.shares, strict=True)}
        row |= {name.replace(" ", "_"): sum(marked) for name, marked in marks.items()}
        render_page(
            folder / "index.html",
            "map.html",
            package=__package__,
            style="cut.css",
            script="",
            goal="map",
            title=f"Map of {grid.name}",
            banners=shown.banners,
            overlay=overlay,
            tissue=tissue,
            picture=thumbnail(picture, side=_PICTURE),
            tiles=[(rows[: -_SHOWN - 1 : -1], "The most certain tiles"), (rows[:-_SHOWN][:_SHOWN], "The least certain tiles")],
            pictures=pictures,
            facts=bundle_lines(model.bundle, file.sha256),
            failures=shown.failures,
        )
    return row, shown.failures, shown.banners
