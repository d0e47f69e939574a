"""``bchisto slides``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..core import Message, counted, from_options
from ..core.jobs import Work
from .ending import done, echo, end_check, quoted
from .options import PATH, Group, argument, flag, options_of, out_flag, weights_flag


@click.group(cls=Group)
def slides() -> None:
    """Cut fields out of whole slides, and move a model over them."""


def _cut_options() -> Iterator[click.Parameter]:
    from ..apps.slides import CutSettings

    yield argument("sources", nargs=-1, required=True, type=PATH, metavar="SLIDE|DIR...")
    yield out_flag("Folder for fields and their manifest.")
    yield flag(
        "--dry-run", group="Output", is_flag=True, help="Only count the fields, and write nothing."
    )
    yield from options_of(CutSettings)
    yield from options_of(Work, "skip_errors", "jobs", "overwrite")


@slides.command(
    options=_cut_options, first=("out", "annotations", "field", "group_from", "dry_run")
)
def cut(sources: tuple[Path, ...], out: Path, dry_run: bool, **options: Any) -> None:
    """Cut fields out of slides, into images and a manifest that every other command takes.

    Slides without annotations give fields without a label.

    \b
    Example: bchisto slides cut slides --annotations geojson \\
        --group-from '^[^-]+' --out fields
    """
    from ..apps import slides as app

    result = from_options(app.cut, options, sources=sources, out=out, dry_run=dry_run)
    echo(str(result))
    manifest = out / "manifest.csv"
    outputs = [] if dry_run else [manifest, out / "overview.html"]
    then: list[str] = []
    if result.classes and dry_run:
        then.append(Message("the same command without {dry_run}"))
    elif len({*result.classes} - {""}) > 1:
        then.append(f"bchisto trial --images {quoted(manifest)} --out RUN")
    elif result.classes:
        then.append(f"bchisto predict MODEL --images {quoted(manifest)} --out TABLE")
        then.append(f"bchisto featurize --images {quoted(manifest)} --out RUN")
    done(outputs, then=then, failures=len(result.failures), listed=out / "failures.csv")


def _map_options() -> Iterator[click.Parameter]:
    from ..apps.slides import MapSettings

    yield argument("model", type=PATH, metavar="MODEL|RUN")
    yield argument("sources", nargs=-1, required=True, type=PATH, metavar="SLIDE|DIR...")
    yield out_flag("Folder for the maps.")
    yield weights_flag()
    yield from options_of(MapSettings)
    yield from options_of(Work, "skip_errors", "jobs", "shard", "dask", "overwrite", "checks")


@slides.command("map", options=_map_options, first=("out", "field", "scale", "labels", "jobs"))
def map_(out: Path, **options: Any) -> None:
    """Move a model over slides, tile by tile: a map of each slide, regions for QuPath, and a table for evaluate.

    It shows what the model says of each tile, and is not a diagnosis.

    \b
    Example: bchisto slides map run/boost/10-lightgbm slides --field 768 \\
        --out maps
    """
    from ..apps.slides import map_slides

    result = from_options(map_slides, options, out=out)
    end_check(unchanged=result.unchanged)
    if result.share is not None:
        echo(str(result.share))
    else:
        maps = result.maps
        tiles = sum(len(slide.tiles) for slide in maps)
        banners = dict.fromkeys(banner for slide in maps for banner in slide.shown.banners)
        echo(*banners)
        colouring = maps[0].colouring  # that of all
        echo(f"warm colours: {', '.join(colouring.warm)}; heat.png: {colouring.title}")
        echo(f"{counted(tiles, 'tile')} of {counted(len(maps), 'slide')}")
        pages = [out / "maps" / slide.grid.name / "index.html" for slide in maps]
        table = out / "slides.csv"
        then = []
        if options["labels"]:
            then.append(f"bchisto evaluate {quoted(table)} --out {quoted(out / 'evaluation')}")
        done([*pages, table], then=then, failures=len(result.failures), listed=out / "failures.csv")
