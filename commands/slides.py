"""``bchisto slides``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..core import from_options
from .ending import done, echo, quoted
from .options import OUT_FOLDER, PATH, Group, argument, flag, options_of


@click.group(cls=Group)
def slides() -> None:
    """Cut fields out of whole slides."""


def _cut_options() -> Iterator[click.Parameter]:
    from ..apps.slides import CutSettings
    from ..core.jobs import Work

    yield argument("sources", nargs=-1, required=True, type=PATH, metavar="SLIDE|DIR...")
    yield flag("--out", group="Output", type=OUT_FOLDER, required=True, help="Folder for fields and their manifest.")
    yield flag("--dry-run", group="Output", is_flag=True, help="Only count the fields, and write nothing.")
    yield from options_of(CutSettings)
    yield from options_of(Work, "skip_errors", "jobs", "overwrite")


@slides.command(options=_cut_options, first=("out", "annotations", "field", "group_from", "dry_run"))
def cut(sources: tuple[Path, ...], out: Path, dry_run: bool, **options: Any) -> None:
    """Cut fields out of slides, into images and a manifest that every other command takes.

    Slides without annotations give fields without a label.

    \b
    Example: bchisto slides cut slides --annotations geojson --group-from '^[^-]+' --out fields
    """
    from ..apps.slides import CutSettings
    from ..apps.slides import cut as run
    from ..core.jobs import Work

    settings, work = from_options(CutSettings, options), from_options(Work, options)
    result = run(sources, out=out, settings=settings, dry_run=dry_run, work=work)
    echo(str(result))
    manifest = out / "manifest.csv"
    wrote, then = [manifest, out / "overview.html"], f"bchisto trial --images {quoted(manifest)} --out RUN"
    if len({*result.classes} - {""}) < 2:
        then = f"bchisto predict MODEL --images {quoted(manifest)} --out TABLE"
    if dry_run:
        wrote, then = [], "the same command without --dry-run"
    done(wrote, then=then, failures=len(result.failures), listed=out / "failures.csv")
