"""Run ``bchisto slides map``: predict the tiles of slides, and write maps, and a table of slides for `evaluate`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...core import (
    Banner,
    ImageError,
    InputError,
    Kind,
    Many,
    PathInput,
    TextInput,
    converted,
    plain_options,
    plain_value,
)
from ...core.formats import LABEL, read_json
from ...core.jobs import (
    Computation,
    Computed,
    Ticker,
    Work,
    compute,
    key_of,
    write_features,
    write_json,
)
from ...core.models import bundle_lines
from ...core.runs import (
    FolderSettings,
    InFolder,
    RunRecord,
    only_run,
    read_listing,
    read_run,
    record_run,
    remove_listing,
    write_listing,
)
from ...data import ImageFiles, ImageRecord, spell_labels
from ...encoders import weight_options
from ...evaluate import write_predictions
from ...evaluate.report import render_page, thumbnail
from ...predict import (
    Model,
    ModelFile,
    PredictBlock,
    Predicted,
    PredictSettings,
    Results,
    WithModel,
    advised,
    find_bundle,
    ready_model,
    settled_model,
    sheet_rows,
    tabulate,
)
from .cut import CutSettings
from .files import (
    Failures,
    SlideFile,
    groups_of,
    leaving_out,
    values_of,
    write_failures,
)
from .overlay import Colouring, Point, TileMap, draw_heat, write_picture
from .slide import Slide
from .tiles import MapSettings, TileGrid, blocks_of, first_tile, predict_tiles, tile_settings
from .tissue import given_slides, overview_of, report_ink

FILES = ("index.html", "map.png", "heat.png", "tiles.csv", "tiles.geojson", "regions.geojson")
"""The files of a slide."""

_UNKNOWN = Banner(
    Kind.NOT_KNOWN_NEW,
    "other fields of this slide may have trained the model; keep slides that trained it apart",
)
"""The banner of a slide of which no tile is a field that trained the model."""

_UNLIKE = Banner(Kind.OTHER, "every tile is unlike the training images; do not rely on the map")


class MapResult(NamedTuple):
    """The result of `map_slides`.

    Attributes
    ----------
    maps : tuple of TileMap
        One for each slide.
    failures : sequence of (str, str)
        Slides and tiles that were left out, and why; also in ``failures.csv``.
    """

    maps: tuple[TileMap, ...]
    failures: Sequence[tuple[str, str]]


def map_slides(
    model: PathInput,
    sources: Many[PathInput],
    *,
    out: PathInput,
    settings: MapSettings,
    weights: Many[TextInput],
    work: Work,
) -> Computed[MapResult]:
    """Move a model of images over slides, tile by tile. Tiles that are predicted already are not predicted again.

    Parameters
    ----------
    model : str or Path
        A ``model.bchisto``, or the folder of a run that contains one.
    sources : sequence of path
        Slides, or folders of them.
    out : str or Path
        A folder, for ``slides.csv``, ``maps/<slide>/`` and, if something was left out, ``failures.csv``.
    settings : MapSettings
    weights : sequence of str, or mapping
        As in `bchisto.predict.predict`.
    work : Work
        How the work is distributed; a unit is a block of tiles.

    Raises
    ------
    BundleError, WeightsError
        As in `bchisto.predict.predict`.
    InputError
        A slide cannot be read, states no micrometres, or is coarser than the tiles; the folder holds tiles of another
        model or size; the model takes embeddings, or larger tiles; a label, or the class of the heat, is not a class
        of the model; the files of colours have none of its classes.
    UnderWayError
        Another command works in the folder.
    ImageError
        A part of a slide is damaged, or a tile cannot be used. Finished blocks stay saved.
    """
    bundle = find_bundle(model)
    folder = converted(out, "out", Path)
    paths = converted(sources, "sources", tuple[Path, ...])
    weights_given = weight_options(weights)
    slides = given_slides(paths, settings)
    groups = groups_of(slides, settings)
    labels = {}
    if settings.labels:
        labels = values_of(slides, settings.labels, LABEL)
    config = {
        "model": str(bundle),
        "sources": plain_value(paths),
        "out": str(folder),
        "weights": list(weights_given),
        **plain_options(settings, work),
    }
    with (
        only_run(folder, work),
        record_run(folder, command="map", config=config, work=work) as record,
        advised(*plain_options(settings)),
    ):
        file, ready = ready_model(bundle, weights_given)
        point = PredictSettings().point(bundle)
        classes = ready.bundle.classes
        spelling = spell_labels(filter(None, labels.values()), classes)
        for label, name in spelling.items():
            if name is None:
                raise InputError(
                    "{labels} {}: {} is not a class of the model", settings.labels, label
                )
        maps = SlideMaps(
            folder,
            file,
            ready,
            tile_settings(ready, settings),
            labels={slide: spelling.get(label) or "" for slide, label in labels.items()},
            patients=groups,
            point=point,
            colouring=Colouring.of(classes, point, settings),
            work=work,
            record=record,
        )
        maps.open(slides)
        outcome = compute(maps)
        if outcome.result is not None:
            record.note(failures=len(outcome.result.failures))
    return outcome


@dataclass
class SlideMaps(InFolder, WithModel, Computation[TileGrid, Results, Results, MapResult]):
    """Maps of slides, from the predictions of blocks of tiles.

    Attributes
    ----------
    into : Path
        The folder of the outputs.
    file : ModelFile
    model : Model
    tiles : CutSettings
        How tiles are cut.
    labels, patients : dict of str to str
        Class, and patient, by the name of the slide.
    point : OperatingPoint or None
    colouring : Colouring
    work : Work
    record : RunRecord
    grids : list of TileGrid
        One for each slide.
    failures : list of (str, str)
        Slides that cannot be used, and why.
    """

    into: Path
    file: ModelFile
    model: Model
    tiles: CutSettings
    labels: Mapping[str, str]
    patients: Mapping[str, str]
    point: Point
    colouring: Colouring
    work: Work
    record: RunRecord
    grids: list[TileGrid] = field(default_factory=list)
    failures: Failures = field(default_factory=Failures)

    label = "map"
    unit = "blocks"
    finished_clause = "blocks are predicted"

    def open(self, slides: Sequence[SlideFile]) -> None:
        """Find the tiles of slides.

        Raises
        ------
        InputError, ImageError
            See `map_slides`.
        """
        for slide in slides:
            with leaving_out(slide.name, self.failures, skip=self.skip_errors):
                self.grids.append(TileGrid.of(slide, self.tiles))
        if not self.grids:
            raise ImageError("none of the slides can be used; first: {}", self.failures[0][1])
        engine = ""
        if not self.work.overwrite:
            for entry in read_run(self.into):
                # a check, which is recorded as submit, does not decide
                if entry.command == self.label:
                    engine = str(entry.notes.get("engine", engine))
        self.file, self.model = settled_model(
            self.file,
            first_tile(self.grids),
            images=sum(len(grid.corners) for grid in self.grids),
            begun=engine,
            work=self.work,
            record=self.record,
        )

    @functools.cached_property
    def folder_settings(self) -> FolderSettings:
        """The folder of blocks of tiles."""
        settings = {
            "model_sha256": self.file.sha256,
            "field": self.tiles.field,
            "scale": self.tiles.scale,
            "tissue": self.tiles.tissue,
        }
        return FolderSettings(folder=self.into / "blocks", settings=settings, work=("*.npz",))

    def units(self, *, merges: bool) -> Sequence[TileGrid]:
        """Return the blocks of tiles."""
        self.record.note(
            model_sha256=self.file.sha256, slides=len(self.grids), blocks=len(self.blocks)
        )
        return self.blocks

    @functools.cached_property
    def blocks(self) -> list[TileGrid]:
        """The tiles of all slides in blocks."""
        folder = self.folder_settings.folder
        files = [ImageRecord(grid.name, grid.path, None) for grid in self.grids]
        hashes = ImageFiles(folder / "files.csv").hashes(files)
        blocks: list[TileGrid] = []
        for grid, sha256 in zip(self.grids, hashes, strict=True):
            blocks += blocks_of(
                grid,
                folder,
                model=self.file.sha256,
                computed_by=self.model.computed_by,
                slide=sha256,
            )
        return blocks

    def read(self, block: TileGrid) -> Results | None:
        """Return the kept predictions of a block."""
        return block.load(skip_errors=self.skip_errors)

    @property
    def do(self) -> Callable[[tuple[TileGrid, ...], Ticker], Results]:
        """Predicts a block, and keeps the predictions."""
        predict_block = PredictBlock(
            self.file,
            self.model.computed_by,
            self.folder_settings.folder,
            self.skip_errors,
        )
        return functools.partial(predict_tiles, predict_block)

    def steps(self, block: TileGrid) -> int:
        """Return the number of steps of all tiles."""
        return len(block.corners) * self.model.steps

    def list_units(self, units: Sequence[TileGrid]) -> None:
        """Write the list of the files of all blocks."""
        write_listing(
            self.folder_settings.folder, self.unit, [[block.file.name] for block in units]
        )

    def is_written(self, kept: Sequence[Results | None]) -> bool:
        """Return whether all files exist, and were written from these tiles, labels, patients and colours."""
        if not self._written.is_file() or read_json(self._written) != self._inputs:
            return False
        folders = [self.into / "maps" / grid.name for grid in self.grids]
        files = [self.into / "slides.csv", *(folder / name for folder in folders for name in FILES)]
        # a listing means that blocks were predicted whose maps were not written
        is_listed = read_listing(self.folder_settings.folder) is not None
        return not is_listed and all(file.is_file() for file in files)

    @property
    def _written(self) -> Path:
        """The file that records the key of the inputs from which the outputs were written."""
        return self.folder_settings.folder / "written.json"

    @property
    def _inputs(self) -> str:
        """The key of all that decides the outputs."""
        slides = [
            (grid.name, self.labels.get(grid.name), self.patients[grid.name]) for grid in self.grids
        ]
        blocks = [block.file.name for block in self.blocks]
        return key_of("maps 2", slides=slides, blocks=blocks, colours=vars(self.colouring))

    def write(self, kept: Sequence[Results | None], made: Sequence[Results]) -> MapResult:
        """Write a map of each slide, the table of slides, and the list of what was left out.

        Raises
        ------
        OverwrittenError
            Another command has overwritten the folder with tiles of other settings meanwhile.
        """
        self.folder_settings.hold()
        self._written.unlink(missing_ok=True)
        results: Results = {}
        for predictions in (*kept, *made):
            results |= predictions or {}
        maps = tuple(self._map_slide(grid, results) for grid in self.grids)
        report_ink({grid.name: grid.areas for grid in self.grids})
        self._write_table(maps)
        failures = [*self.failures]
        for slide_map in maps:
            failures += slide_map.shown.failures.items()
        write_failures(self.into, failures)
        remove_listing(self.folder_settings.folder)
        write_json(self._written, self._inputs)
        return MapResult(maps, failures)

    def _map_slide(self, grid: TileGrid, results: Results) -> TileMap:
        """Write the table, the pictures, the files for QuPath and the page of a slide."""
        folder = self.into / "maps" / grid.name
        bundle = self.model.bundle
        slide_results = {tile.image_id: results[tile.image_id] for tile in grid.records}
        result = tabulate(
            Predicted(grid.records, slide_results, bundle, self.file.path, self.file.sha256),
            settings=PredictSettings(),
            point=self.point,
        )
        banners = [banner if banner.about else banner.of(grid.name) for banner in result.banners]
        if not any(result.trained):
            banners.append(_UNKNOWN)
        if result.outliers is not None and slide_results and result.outliers.marked.all():
            banners.append(_UNLIKE)
        corners = [
            corner
            for corner, name in zip(grid.corners, slide_results, strict=True)
            if name not in result.failures
        ]
        with Slide(grid.path, mpp=grid.mpp) as slide:
            overview = overview_of(slide)
            tile_map = TileMap(
                slide,
                replace(grid, corners=corners),
                replace(result, banners=tuple(banners)),
                sorted(sheet_rows(result), key=lambda tile: tile.place),
                self.colouring,
            )
            tile_map.write_tiles(folder / "tiles.csv")
            write_features(folder / "tiles.geojson", tile_map.tile_features())
            write_features(folder / "regions.geojson", tile_map.region_features())
            heat = draw_heat(overview, tile_map.boxes, tile_map.heat, self.colouring.title)
            render_page(
                folder / "index.html",
                "map.html",
                package=__package__,
                style="cut.css",
                script="",
                tile_map=tile_map,
                picture=write_picture(folder / "map.png", tile_map.draw(overview)),
                heat=write_picture(folder / "heat.png", heat),
                facts=bundle_lines(bundle, self.file.sha256),
                thumbnail=thumbnail,
            )
        return tile_map

    def _write_table(self, maps: Sequence[TileMap]) -> None:
        """Write a row for each slide and rule, with the rule in the column ``model``, which `bchisto.evaluate` reads.

        A row of a slide without tiles has no label: it is not evaluated. ``trained`` is empty if no tile is known,
        since other fields of the slide may have trained the model.
        """
        rows = []
        probabilities = []
        cells = []
        for tile_map in maps:
            name = tile_map.grid.name
            label = self.labels.get(name, "") if tile_map.tiles else ""
            mark = "yes" if any(tile_map.shown.trained) else ""
            area = f"{tile_map.grid.areas.tissue:.4g}"
            for rule, scores in tile_map.scores(self.point).items():
                rows.append((name, label, self.patients[name], ""))
                probabilities.append(scores)
                cells.append((rule, mark, area, len(tile_map.tiles)))
        names = ("model", "trained", "tissue_mm2", "tiles")
        write_predictions(
            self.into / "slides.csv",
            classes=self.model.bundle.classes,
            rows=rows,
            probabilities=np.array(probabilities),
            extra=list(zip(names, zip(*cells, strict=True), strict=True)),
        )
