"""``bchisto slides``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..core import counted, from_options
from .ending import done, echo, quoted
from .options import FILE, OUT_FOLDER, PATH, Group, argument, flag, options_of, weights_flag


@click.group(cls=Group)
def slides() -> None:
    """Cut fields out of whole slides, and move a model over them."""


def _cut_options() -> Iterator[click.Parameter]:
    from ..apps.slides import CutSettings
    from ..core.jobs import Work
    from ..data import ImageSelection

    yield argument("sources", nargs=-1, required=True, type=PATH, metavar="SLIDE|DIR...")
    yield flag(
        "--out", group="Output", type=OUT_FOLDER, required=True, help="Folder for the fields and their manifest."
    )
    yield flag(
        "--annotations",
        group="Input",
        type=PATH,
        help="GeoJSON of QuPath: the file of one slide, or a folder of files named as their slides.",
    )
    yield from options_of(CutSettings)
    yield flag("--patients", group="Input", type=FILE, help="Table with columns slide and patient.")
    yield from options_of(ImageSelection, "group_from")
    yield flag("--dry-run", group="Output", is_flag=True, help="Only count the fields, and write nothing.")
    yield from options_of(Work, "skip_errors", "jobs", "overwrite")


@slides.command(options=_cut_options, first=("out", "annotations", "field", "group_from", "dry_run"))
def cut(sources: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Cut fields out of slides, into images and a manifest that every other command takes.

    Slides without annotations give fields without a label.

    \b
    Example: bchisto slides cut slides --annotations geojson --group-from '^[^-]+' --out fields
    """
    from ..apps.slides import CutSettings
    from ..apps.slides import cut as run
    from ..core.jobs import Work

    given = {name: options[name] for name in ("annotations", "patients", "group_from", "dry_run")}
    settings, work = from_options(CutSettings, options), from_options(Work, options)
    result = run(sources, out=out, settings=settings, work=work, **given)
    echo(str(result))
    manifest = out / "manifest.csv"
    wrote, then = [manifest, out / "overview.html"], f"bchisto trial --images {quoted(manifest)} --out RUN"
    if len({*result.classes} - {""}) < 2:
        then = f"bchisto predict MODEL --images {quoted(manifest)} --out TABLE"
    if options["dry_run"]:
        wrote, then = [], "the same command without --dry-run"
    done(wrote, then=then, failures=len(result.failures), listed=out / "failures.csv")


_OF_TILES = ("field", "scale", "tissue", "mpp")
_OF_SLIDES = ("labels", "patients", "group_from", "weights")


def _map_options() -> Iterator[click.Parameter]:
    from ..apps.slides import CutSettings
    from ..core.jobs import Work
    from ..data import ImageSelection

    yield argument("model", type=PATH, metavar="MODEL|RUN")
    yield argument("sources", nargs=-1, required=True, type=PATH, metavar="SLIDE|DIR...")
    yield flag("--out", group="Output", type=OUT_FOLDER, required=True, help="Folder for the maps.")
    yield weights_flag()
    known = {"default": None, "show_default": False}
    yield from options_of(
        CutSettings,
        *_OF_TILES,
        field={"help": "Side of a tile in micrometres; default: as in training, else the largest view.", **known},
        scale={"help": "Micrometres per pixel of a tile; default: as in training.", **known},
        tissue={"help": "Share of tissue that a tile needs."},
    )
    yield flag("--labels", group="Evaluation", type=FILE, help="Table with columns slide and label, for slides.csv.")
    yield flag("--patients", group="Evaluation", type=FILE, help="Table with columns slide and patient.")
    yield from options_of(ImageSelection, "group_from")
    yield from options_of(Work, "skip_errors", "jobs", "shard", "dask", "overwrite", "checks")


@slides.command("map", options=_map_options, first=("out", "field", "scale", "jobs"))
def map_(model: Path, sources: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Move a model over slides, tile by tile: a map of each slide, and regions for QuPath.

    It shows what the model says of each tile, and is not a diagnosis.

    \b
    Example: bchisto slides map run/boost/10-lightgbm slides --out maps
    """
    from ..apps.slides import map_slides
    from ..core.jobs import NOTHING_NEW, Work

    given, work = {name: options[name] for name in (*_OF_TILES, *_OF_SLIDES)}, from_options(Work, options)
    result = map_slides(model, sources, out=out, work=work, **given)
    if work.checks:
        click.get_current_context().exit(NOTHING_NEW if result.unchanged else 0)
    if result.share is not None:
        echo(str(result.share))
        return
    tiles = sum(len(slide.overlay.corners) for slide in result.maps)
    echo(*result.banners, f"{counted(tiles, 'tile')} of {counted(len(result.maps), 'slide')}")
    then = f"bchisto evaluate {quoted(result.table)} --out {quoted(out / 'evaluation')}" if options["labels"] else ()
    wrote = [*(slide.page for slide in result.maps), result.table]
    done(wrote, then=then, failures=len(result.failures), listed=out / "failures.csv")
