"""Run ``bchisto slides map``: predict the tiles of slides, and write maps, and a table of slides for `evaluate`."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...core import (
    ImageError,
    InputError,
    Many,
    OutputError,
    PathInput,
    TextInput,
    converted,
    message_of,
    plain_options,
)
from ...core.formats import LABEL
from ...core.jobs import Share, Work, ask_workers, cpu_resources, do_missing, network_resources, write_rows
from ...core.models import bundle_view
from ...core.runs import FolderSettings, record_run, remove_listing, write_listing
from ...data import ImageFiles, ImageRecord, spell_labels
from ...predict import Model, PredictBlock, Predicted, advised, choose_point, find_bundle, packages_of, ready_model
from .cut import CutSettings
from .files import SlideFile, groups_of, list_slides, values_of
from .overlay import TileMap, write_map, write_table
from .tile_size import MapSettings, tile_settings
from .tiles import Results, TileBlock, TileGrid, blocks_of, predict_tiles

FILES = ("index.html", "map.png", "tiles.csv", "tiles.geojson", "regions.geojson")
"""The files of a slide."""


@dataclass(frozen=True)
class MapResult:
    """The result of `map_slides`.

    Attributes
    ----------
    maps : tuple of TileMap
        Of each slide; none of a shard.
    failures : mapping of str to str
        Slides and tiles that were left out, and why; also in ``failures.csv``.
    share : Share or None
        For a shard, its share of the work.
    unchanged : bool
        With `Work.checks`, whether there is nothing to do.
    """

    maps: tuple[TileMap, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    share: Share | None = None
    unchanged: bool = False


def map_slides(
    model: PathInput,
    sources: Many[PathInput],
    *,
    out: PathInput,
    settings: MapSettings | None = None,
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
    settings : MapSettings, optional
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
        model or size; the model takes embeddings, or larger tiles; a label is not a class of the model.
    ImageError
        A part of a slide is damaged, or a tile cannot be used. Finished blocks stay saved.
    """
    settings, work = settings or MapSettings(), work or Work()
    bundle, folder = find_bundle(converted(model, "model", Path)), converted(out, "out", Path)
    table = folder / "slides.csv"
    given, options = converted(sources, "sources", tuple[Path, ...]), converted(weights, "weights", tuple[str, ...])
    slides = list_slides(given)
    groups = groups_of(slides, table=settings.patients, rule=settings.group_from)
    labels = values_of(slides, settings.labels, LABEL) if settings.labels else {}
    named = {"model": str(bundle), "sources": [str(path) for path in given], "out": str(folder)}
    config = {**named, "weights": list(options), **plain_options(settings, work)}
    with record_run(folder, command="map", config=config, work=work) as record, advised(*plain_options(settings)):
        file, ready = ready_model(bundle, options)
        spelled = spell_labels(filter(None, labels.values()), ready.bundle.classes)
        if strange := [label for label, name in spelled.items() if name is None]:
            raise InputError("{labels} {}: {} is not a class of the model", settings.labels, strange[0])
        size = tile_settings(ready, settings)
        grids, failures = _look(slides, size, skip=work.skip_errors)
        own = {"model_sha256": file.sha256, "field": size.field, "scale": size.scale, "tissue": size.tissue}
        into = FolderSettings(folder=folder / "blocks", settings=own, work=("*.npz",))
        into.begin(overwrite=work.overwrite and not work.checks)
        files = [ImageRecord(grid.name, grid.path, None) for grid in grids]
        contents = zip(grids, ImageFiles(into.folder / "files.csv").hashes(files), strict=True)
        decides = {"model": file.sha256, "computed_by": ready.computed_by}
        blocks = [block for grid, sha in contents for block in blocks_of(grid, into.folder, **decides, slide=sha)]
        record.note(model_sha256=file.sha256, slides=len(grids), blocks=len(blocks))
        saved = {block.file: block.load(skip_errors=work.skip_errors) for block in blocks}
        if None in saved.values():
            write_listing(into.folder, "blocks", [[block.file.name] for block in blocks])
        _predict(blocks, saved, PredictBlock(file, ready.computed_by, into.folder, work.skip_errors), ready, work)
        if work.checks:
            return MapResult(unchanged=None not in saved.values() and table.is_file())
        if work.shard is not None:
            done = sum(block.file.is_file() for block in blocks)
            return MapResult(share=Share(work.shard, len(work.shard.select(blocks)), done, len(blocks), "blocks"))
        into.hold()
        results = Results()
        for block in blocks:
            if (predicted := block.load(skip_errors=work.skip_errors)) is None:
                raise OutputError(f"{block.file}: was changed meanwhile; run the same command again")
            results |= predicted
        point = choose_point(*bundle_view(bundle), threshold=None, sensitivity=None, bundle=bundle)
        of = Predicted((), {}, ready.bundle, file.path, file.sha256)
        maps = tuple(write_map(folder / "maps" / grid.name, grid, results, of, point) for grid in grids)
        known = {name: spelled.get(label) or "" for name, label in labels.items()}
        write_table(table, maps, point, (known, groups))
        failures |= {tile: why for each in maps for tile, why in each.shown.failures.items()}
        (folder / "failures.csv").unlink(missing_ok=True)
        if failures:
            write_rows(folder / "failures.csv", ["image_id", "error"], failures.items())
        remove_listing(into.folder)
        record.note(failures=len(failures))
    return MapResult(maps, failures)


def _look(slides: Sequence[SlideFile], size: CutSettings, *, skip: bool) -> tuple[list[TileGrid], dict[str, str]]:
    """Find the tiles of each slide; also return the slides that cannot be used, and why."""
    grids, failures = [], dict[str, str]()
    for slide in slides:
        try:
            grids.append(TileGrid.of(slide, size))
        except (InputError, ImageError) as error:
            if not skip:
                raise
            failures[slide.name] = str(message_of(error))
    if not grids:
        raise ImageError(f"none of the slides can be used; first: {next(iter(failures.values()))}")
    return grids, failures


def _predict(
    blocks: Sequence[TileBlock], saved: Mapping[Path, Results | None], by: PredictBlock, model: Model, work: Work
) -> None:
    """Predict the blocks that are not saved."""
    resources = network_resources(work.jobs) if model.on_keras else cpu_resources(work.jobs)
    by = replace(by, helpers=resources.helpers(len(blocks)) if resources.gpus else 1)
    do_missing(
        functools.partial(predict_tiles, by),
        blocks,
        read=lambda block: saved[block.file],
        steps=lambda block: len(block.grid.corners) * model.steps,
        label="map",
        finished="blocks are predicted",
        step_name=model.step_name,
        work=work,
        resources=resources,
        begin=lambda: work.dask and ask_workers(work.dask, folder=by.folder.parent, packages=packages_of(model)),
    )
