"""``bchisto slides``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..core import from_options
from .ending import done, echo, quoted
from .options import FILE, OUT_FOLDER, PATH, Group, argument, flag, options_of


@click.group(cls=Group)
def slides() -> None:
    """Cut fields out of whole slides."""


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
