"""Run ``bchisto slides map``: predict the tiles of slides, and write for each slide a map, a table and a page."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from ...core.formats import IMAGE, LABEL, read_csv
from ...core.jobs import (
    Share,
    Work,
    ask_workers,
    cpu_resources,
    do_missing,
    network_resources,
    remove_output,
    write_rows,
)
from ...core.runs import FolderSettings, record_run, remove_listing, write_listing
from ...data import BACH_MPP, ImageRecord, match_names, report_findings, spell_labels
from ...data.images import ImageFiles
from ...data.layouts.bach import BACH_SIZE
from ...data.layouts.breakhis import BREAKHIS_SIZE
from ...predict import BoostedModel, Model, ModelFile, Prediction, advised, find_bundle, packages_of, ready_model
from .cut import CutSettings
from .files import SlideFile, groups_of, list_slides
from .grid import positions, tissue_shares
from .outputs import SlideOutputs, write_slide, write_table
from .slide import Slide
from .tiles import PredictTiles, TileBlock, TileGrid, blocks_of, read_block
from .tissue import find_tissue

_log = logging.getLogger(__name__)

MAPS, TABLE = "maps", "slides.csv"
"""The folder of the maps, and the table of all slides."""

_SIDES = {"bach": min(BACH_SIZE), "breakhis": min(BREAKHIS_SIZE)}
"""Shorter sides of the images of published data sets, in pixels."""


@dataclass(frozen=True)
class MapResult:
    """The result of `map_slides`.

    Attributes
    ----------
    table : Path
        A row for each slide and rule, see `slide_scores`.
    maps : tuple of SlideOutputs
    failures : mapping of str to str
        Slides and tiles that were left out, and why; also in ``failures.csv``.
    banners : tuple of str
        Warnings that every reader must see.
    share : Share or None
        For a shard, its share of the work.
    unchanged : bool
        With `Work.checks`, whether there is nothing to do.
    """

    table: Path
    maps: tuple[SlideOutputs, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
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
    tissue: float = 0.5,
    mpp: float | None = None,
    labels: PathInput | None = None,
    patients: PathInput | None = None,
    group_from: str | None = None,
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
    tissue : float
        Share of tissue that a tile needs, 0 to 1.
    mpp : float, optional
        Micrometres per pixel of slides that do not state them.
    labels : path, optional
        A table with columns of slides and labels, for the table of slides.
    patients, group_from : optional
        See `groups_of`.
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
    settings, work = CutSettings(tissue=tissue, mpp=mpp), work or Work()
    bundle, folder = find_bundle(converted(model, "model", Path)), converted(out, "out", Path)
    given, options = converted(sources, "sources", tuple[Path, ...]), converted(weights, "weights", tuple[str, ...])
    tables = [converted(path, "labels", Path | None) for path in (labels, patients)]
    slides = list_slides(given)
    groups = groups_of(slides, table=tables[1], rule=group_from)
    config = {
        "model": str(bundle), "sources": [str(path) for path in given], "out": str(folder), "weights": list(options),
        "field": field, "scale": scale, "tissue": tissue, "mpp": mpp,
        "labels": labels and str(labels), "patients": patients and str(patients), "group_from": group_from,
        **plain_options(work),
    }  # fmt: skip
    with record_run(folder, command="map", config=config, work=work) as record, advised("field", "scale", "tissue"):
        file, ready = ready_model(bundle, options)
        known = labels_of(slides, tables[0], classes=ready.bundle.classes)
        settings = tile_settings(ready, settings, field=field, scale=scale)
        grids, failures = _look(slides, settings, skip_errors=work.skip_errors)
        own = {"model_sha256": file.sha256, **{name: getattr(settings, name) for name in ("field", "scale", "tissue")}}
        into = FolderSettings(folder=folder / "blocks", settings=own, work=("*.npz",))
        into.begin(overwrite=work.overwrite and not work.checks)
        files = ImageFiles(into.folder / "files.csv").hashes(
            [ImageRecord(grid.name, grid.path, None) for grid in grids]
        )
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
                raise OutputError(f"{into.folder / block.file}: was changed meanwhile; run the same command again")
            results[block.grid.name] |= saved
        maps = [
            write_slide(folder / MAPS / grid.name, grid, results[grid.name], file=file, model=ready) for grid in grids
        ]
        write_table(table, maps, labels=known, groups=groups)
        failures |= {tile: why for each in maps for tile, why in each.failures.items()}
        if failures:
            write_rows(folder / "failures.csv", ["image_id", "error"], failures.items())
        else:
            remove_output(folder / "failures.csv")
        remove_listing(into.folder)
        record.note(failures=len(failures))
    banners = tuple(dict.fromkeys(banner for each in maps for banner in each.banners))
    return MapResult(table, tuple(maps), failures, banners)


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


def labels_of(slides: Sequence[SlideFile], table: Path | None, *, classes: Sequence[str]) -> dict[str, str]:
    """Return the label of each slide that has one in a table, in the spelling of the classes of a model.

    Raises
    ------
    InputError
        A label is not one of the classes.
    """
    if table is None:
        return {}
    read = read_csv(table, needed=(IMAGE, LABEL), expected="slide,label")
    image, label = read.choose(IMAGE), read.choose(LABEL)
    labels = {row[image]: row[label] for _, row in read.rows if row[label]}
    names, findings = match_names(labels, {slide.name: None for slide in slides}, where=table.name)
    report_findings(findings)
    spelled = spell_labels((labels[row] for row in names), classes)
    if strange := [text for text, name in spelled.items() if name is None]:
        raise InputError(
            "{labels} {}: {} is not a class of the model; it knows {}", table, strange[0], ", ".join(classes)
        )
    return {name: str(spelled[labels[row]]) for row, name in names.items()}


def _look(
    slides: Sequence[SlideFile], settings: CutSettings, *, skip_errors: bool
) -> tuple[list[TileGrid], dict[str, str]]:
    """Find the tiles of each slide; also return the slides that cannot be used, and why."""
    grids, failures = [], dict[str, str]()
    for slide in slides:
        try:
            grids.append(_grid_of(slide, settings))
        except (InputError, ImageError) as error:
            if not skip_errors:
                raise
            failures[slide.name] = str(message_of(error))
    if not grids:
        raise ImageError(f"none of the slides can be used; first: {next(iter(failures.values()))}")
    return grids, failures


def _grid_of(slide: SlideFile, settings: CutSettings) -> TileGrid:
    with Slide(slide.path, mpp=settings.mpp) as opened:
        scale, width = opened.nearest(settings.scale), f"{opened.mpp:.3g}"
        if scale < opened.mpp:
            text = "{}: its pixels are {} micrometres wide, more than those of {scale:{}}; give {scale:{}}"
            raise InputError(text, slide.path, width, settings.scale, width)
        side = settings.pixels * scale / opened.mpp
        corners = positions(opened.width, opened.height, side, edges=True)
        enough = tissue_shares(find_tissue(opened), corners, side) >= max(settings.tissue, 1e-9)
        places = tuple((x, y) for x, y in corners[enough].tolist())
        if not places:
            _log.warning(Message("{}: no tile has enough tissue ({tissue:{}})", slide.path, settings.tissue))
        return TileGrid(slide.name, slide.path, opened.digest, settings.mpp, scale, settings.pixels, places)


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
