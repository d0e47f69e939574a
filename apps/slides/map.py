"""Run ``bchisto slides map``: predict the tiles of slides, and write maps, and a table of slides for `evaluate`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...core import ImageError, InputError, Many, PathInput, TextInput, converted, plain_options
from ...core.formats import LABEL, read_rows
from ...core.jobs import Share, Work, ask_workers, do_missing, network_resources
from ...core.models import bundle_view
from ...core.runs import FolderSettings, record_run, remove_listing, write_listing
from ...data import ImageFiles, ImageRecord, spell_labels
from ...predict import (
    PredictBlock,
    Predicted,
    advised,
    choose_point,
    find_bundle,
    packages_of,
    ready_model,
)
from .files import Failures, groups_of, leaving_out, list_slides, values_of, write_failures
from .overlay import TileMap, write_map, write_table
from .tiles import MapSettings, TileGrid, blocks_of, predict_tiles, tile_settings

FILES = ("index.html", "map.png", "tiles.csv", "tiles.geojson", "regions.geojson")
"""The files of a slide."""


class MapResult(NamedTuple):
    """The result of `map_slides`.

    Attributes
    ----------
    maps : tuple of TileMap
        Of each slide; none of a shard.
    failures : sequence of (str, str)
        Slides and tiles that were left out, and why; also in ``failures.csv``.
    share : Share or None
        For a shard, its share of the work.
    unchanged : bool
        With `Work.checks`, whether there is nothing to do.
    """

    maps: tuple[TileMap, ...] = ()
    failures: Sequence[tuple[str, str]] = ()
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
    given, options = (
        converted(sources, "sources", tuple[Path, ...]),
        converted(weights, "weights", tuple[str, ...]),
    )
    slides = list_slides(given)
    groups, failures, grids = groups_of(slides, settings), Failures(), list[TileGrid]()
    labels = values_of(slides, settings.labels, LABEL) if settings.labels else {}
    named = {"model": str(bundle), "sources": [str(path) for path in given], "out": str(folder)}
    config = {**named, "weights": list(options), **plain_options(settings, work)}
    with (
        record_run(folder, command="map", config=config, work=work) as record,
        advised(*plain_options(settings)),
    ):
        file, ready = ready_model(bundle, options)
        spelled = spell_labels(filter(None, labels.values()), ready.bundle.classes)
        if strange := [label for label, name in spelled.items() if name is None]:
            raise InputError(
                "{labels} {}: {} is not a class of the model", settings.labels, strange[0]
            )
        known = {name: spelled.get(label) or "" for name, label in labels.items()}
        size = tile_settings(ready, settings)
        for slide in slides:
            with leaving_out(slide.name, failures, skip=work.skip_errors):
                grids.append(TileGrid.of(slide, size))
        if not grids:
            raise ImageError(f"none of the slides can be used; first: {failures[0][1]}")
        own = {
            "model_sha256": file.sha256,
            "field": size.field,
            "scale": size.scale,
            "tissue": size.tissue,
        }
        into = FolderSettings(folder=folder / "blocks", settings=own, work=("*.npz",))
        into.begin(overwrite=work.overwrite and not work.checks)
        files = [ImageRecord(grid.name, grid.path, None) for grid in grids]
        contents = zip(grids, ImageFiles(into.folder / "files.csv").hashes(files), strict=True)
        decides = {"model": file.sha256, "computed_by": ready.computed_by}
        blocks = [
            block
            for grid, sha in contents
            for block in blocks_of(grid, into.folder, **decides, slide=sha)
        ]
        record.note(model_sha256=file.sha256, slides=len(grids), blocks=len(blocks))

        def begin() -> None:
            write_listing(into.folder, "blocks", [[block.file.name] for block in blocks])
            if work.dask:
                ask_workers(work.dask, folder=folder, packages=packages_of(ready))

        resources = network_resources(work.jobs, on_keras=ready.on_keras)
        helpers = resources.helpers(len(blocks)) if resources.gpus else 1
        by = PredictBlock(file, ready.computed_by, into.folder, work.skip_errors, helpers)
        before, made = do_missing(
            functools.partial(predict_tiles, by),
            blocks,
            read=lambda block: block.load(skip_errors=work.skip_errors),
            steps=lambda block: len(block.corners) * ready.steps,
            label="map",
            finished="blocks are predicted",
            step_name=ready.step_name,
            work=work,
            resources=resources,
            begin=begin,
        )
        if work.checks:
            written = {
                (row["image_id"], row["label"], row["group"])
                for row in read_rows(folder / "slides.csv")
            }
            now = {
                (of.name, known.get(of.name, "") if of.corners else "", groups[of.name])
                for of in grids
            }
            whole = all(
                (folder / "maps" / grid.name / name).is_file() for grid in grids for name in FILES
            )
            return MapResult(unchanged=None not in before and written == now and whole)
        if work.shard is not None:
            done = sum(block.file.is_file() for block in blocks)
            return MapResult(
                share=Share(work.shard, len(work.shard.select(blocks)), done, len(blocks), "blocks")
            )
        into.hold()
        results = dict(
            item for predicted in (*filter(None, before), *made) for item in predicted.items()
        )
        point = choose_point(*bundle_view(bundle), threshold=None, sensitivity=None, bundle=bundle)
        of = Predicted((), {}, ready.bundle, file.path, file.sha256)
        maps = tuple(
            write_map(folder / "maps" / grid.name, grid, results, of, point) for grid in grids
        )
        write_table(folder / "slides.csv", maps, point, (known, groups))
        failures += [failure for each in maps for failure in each.shown.failures.items()]
        write_failures(folder, failures)
        remove_listing(into.folder)
        record.note(failures=len(failures))
    return MapResult(maps, failures)
