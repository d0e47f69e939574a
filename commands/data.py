"""``bchisto data``, ``bchisto stain`` and ``bchisto slides``."""

from __future__ import annotations

import csv
import functools
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..core import IN_FILE, Entries, InputError, Message, counted, from_options, neutral, written
from ..core.jobs import Work
from .ending import done, echo, end_check, next_commands, quoted, typed_names
from .help import help_all
from .options import (
    OUT_FILE,
    PATH,
    Group,
    Options,
    argument,
    command,
    flag,
    options_of,
    out_flag,
    preset_option,
    weights_flag,
)
from .terminal import in_flags
from .train import DECIDING

if TYPE_CHECKING:
    from ..data import Dataset

_log = logging.getLogger(__name__)

_PRINTED = Path("-")
"""What ``--table`` names to print the table."""


def _options() -> Options:
    from ..featurize import FeaturizeSettings

    yield argument("sources", nargs=-1, required=True, type=PATH, metavar="IN...")
    yield out_flag("Folder for the images and the contact sheet.")
    yield from options_of(FeaturizeSettings, "stain")
    for name, dye in (("--hematoxylin", "haematoxylin"), ("--eosin", "eosin")):
        factor = f"Factor of the {dye}."
        yield flag(name, group=IN_FILE, type=float, default=1.0, help=factor)
    yield from options_of(Work, "skip_errors")


@command(options=_options)
def stain(sources: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Normalise or augment stains, with a before/after contact sheet.

    \b
    Example: bchisto stain slides/*.png --out normalised
    """
    from ..data import stain_images

    result = stain_images(sources, out=out, **options)
    echo(f"{counted(len(result.written), 'image')} written as PNG")
    done([out, result.sheet], failures=len(result.failures), listed=out / "failures.csv")


@click.group(cls=Group, params=[help_all()])
def data() -> None:
    """Check a dataset, list it, write fold lists or synthetic tissue."""


def _make_options() -> Options:

    yield out_flag("Folder to write into.")
    yield flag("--images-per-class", group="Input", type=int, default=10, help="1 to 999.")
    yield flag(
        "--size",
        group="Input",
        default="2048x1536",
        help="Pixels; the field of view stays the same.",
    )
    yield from options_of(Work, "jobs")


@data.command(options=_make_options)
def make(out: Path, images_per_class: int, size: str, jobs: int | None) -> None:
    """Write synthetic H&E tissue in the official BACH layout.

    \b
    Example: bchisto data make --out tissue --images-per-class 20
    """
    from ..core.jobs import cpu_resources
    from ..data import make_bach

    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InputError("{size} {}: write WIDTHxHEIGHT, for example 2048x1536", size)
    root = make_bach(
        out,
        images_per_class=images_per_class,
        size=(int(width), int(height)),
        jobs=cpu_resources(jobs).processes,
    )
    done([root], then=f"bchisto trial --images {quoted(root)}")


def _check_options() -> Options:
    from ..data import FoldChoice, ImageSelection
    from ..featurize import FeaturizeSettings

    yield from options_of(ImageSelection, "images")
    yield preset_option(". Default without other settings: quick.")
    yield flag(
        "--decode",
        group="Input",
        is_flag=True,
        help="Also decode every image, which finds truncated files.",
    )
    yield flag(
        "--copies/--no-copies",
        group="Speed",
        default=True,
        help="Look for near-duplicates, for which every image is decoded.",
    )
    yield flag("--timing/--no-timing", group="Speed", default=True, help="Time the first image.")
    yield from options_of(FeaturizeSettings, *DECIDING, "stain", "seed", in_file=("seed",))
    yield from options_of(FoldChoice, "folds", "group_by")
    yield flag(
        "--html",
        group="Output",
        type=OUT_FILE,
        help="Write a page with a contact sheet of each class, before and after the stain is normalised.",
    )
    yield flag("--json", "as_json", group="Output", is_flag=True, help="Print all of it as JSON.")
    yield flag(
        "--table",
        group="Output",
        type=OUT_FILE,
        help="Only write the table of the images as CSV; - prints it.",
    )
    yield flag(
        "--write-folds",
        group="Output",
        type=OUT_FILE,
        help="Only write the list of one of --folds, 10 by default, with near-duplicates together.",
    )
    yield from options_of(ImageSelection, but=("images",))


_COLUMNS = ("image_id", "path", "label", "group", "magnification", "mpp", "source")


def _checked_outputs(options: Entries) -> dict[str, Path]:
    """Return the files to write, by their options; refuse one file for both, and tables of others among the images."""
    from ..core.jobs import refuse_among
    from ..data import FOLD_COLUMNS

    headers = [",".join(columns) for columns in (_COLUMNS, FOLD_COLUMNS, FOLD_COLUMNS[:-1])]
    outputs = {name: options[name] for name in ("table", "write_folds") if options[name]}
    if options["table"] == _PRINTED:
        del outputs["table"]
    if len({out.resolve() for out in outputs.values()}) < len(outputs):
        raise InputError("{table} {}: is the list of {write_folds}; give another", outputs["table"])
    for name, out in outputs.items():
        if out.is_file():
            with out.open(encoding="latin-1") as file:
                if file.readline(99).rstrip() not in headers:
                    refuse_among(out, [options["images"]], name=name)
    return outputs


def _write_tables(options: Entries) -> None:
    """Write the table of the images, or a fold list, or both."""
    from ..core.jobs import refuse_overwriting, write_rows
    from ..data import ImageSelection

    table = options["table"]
    fold_list = options["write_folds"]
    outputs = _checked_outputs(options)
    dataset = from_options(ImageSelection, options).read()
    for name, out in outputs.items():
        refuse_overwriting([out], [record.path for record in dataset.records], name=name)
    then: list[str] = []
    if fold_list is not None:
        _write_folds(dataset, options)
        then.append(f"bchisto boost --folds {quoted(fold_list)} --out RUN")
    if table is not None:
        rows = [
            [str(getattr(record, column) or "") for column in _COLUMNS]
            for record in dataset.records
        ]
        if table == _PRINTED:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerows([_COLUMNS, *([neutral(cell) for cell in row] for row in rows)])
        else:
            write_rows(table, _COLUMNS, rows)
        echo(dataset.counts_text, err=True)
    done([*outputs.values()], then=then)


def _write_folds(dataset: Dataset, options: Entries) -> None:
    """Write the fold list of a scheme, with near-duplicates in one part."""
    from ..data import dataset_plan, find_copies, unknown_groups, write_fold_list

    schemes = options["folds"] or ("10",)
    if len(schemes) > 1:
        raise InputError("{write_folds} takes one of {folds}, not {}", len(schemes))
    records = dataset.records
    groups = {record.image_id: record.group for record in records}
    plan = dataset_plan(
        dataset,
        schemes[0],
        copies=find_copies(records) or (),
        group_by=options["group_by"],
        seed=options["seed"],
    )
    divided = plan.image_ids
    for warning in (*unknown_groups([groups[image] for image in divided]), *plan.warnings):
        _log.warning("%s", warning)
    labels = {record.image_id: record.label_text for record in records}
    write_fold_list(options["write_folds"], plan, labels=labels, groups=groups)


@data.command(options=_check_options, first=("images", "preset", "html", "folds", "group_from"))
@click.pass_context
def check(context: click.Context, /, **options: Any) -> int:
    """Check a dataset before work: findings, sizes, views, folds and disk; exit 1 when something is wrong.

    \b
    Example: bchisto data check --images ICIAR2018_BACH_Challenge \\
        --html check.html
    Example: bchisto data check --images BreaKHis_v1 --table table.csv
    Example: bchisto data check --images BreaKHis_v1 --folds 5 \\
        --write-folds folds.csv
    """
    if options["table"] is not None or options["write_folds"] is not None:
        _write_tables(options)
        return 0
    from ..apps.check import preflight, preflight_json, preflight_text, write_preflight
    from ..featurize import choose_settings, preset_options

    typed = typed_names(context)
    if typed.isdisjoint({*DECIDING, "preset"}):
        of_preset = {"preset": "quick", **preset_options("quick")}
        options |= {name: value for name, value in of_preset.items() if name not in typed}
    chosen = choose_settings(options, keep=typed)
    result = from_options(
        preflight, options, settings=chosen.settings, timed=options["timing"], keep=typed
    )

    say = functools.partial(written, write=in_flags(context.command))
    then = next_commands(
        context,
        result,
        preset=options["preset"],
        chosen=chosen,
    )
    outputs = []
    if options["html"] is not None:
        outputs = write_preflight(options["html"], result, say=say)
    if options["as_json"]:
        echo(preflight_json(result, say=say, then=then), lines=True)
    else:
        echo(preflight_text(result, say=say), lines=True)
        if then:
            echo("\nNEXT", lines=True)
            echo(*then, bold=True)
            for finding in result.findings:
                if finding.perhaps:
                    echo(f"{finding.file}: {say(finding.perhaps)}")
    done(outputs)
    return 1 if result.wrong else 0


@click.group(cls=Group, params=[help_all()])
def slides() -> None:
    """Cut fields out of whole slides, and move a model over them."""


def _cut_options() -> Options:
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
def cut(out: Path, **options: Any) -> None:
    """Cut fields out of slides, into images and a manifest that every other command takes.

    Slides without annotations give fields without a label.

    \b
    Example: bchisto slides cut slides --annotations geojson \\
        --group-from '^[^-]+' --out fields
    """
    from ..apps import slides as app

    dry_run = options["dry_run"]
    result = from_options(app.cut, options, out=out)
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


def _map_options() -> Options:
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

    computed = from_options(map_slides, options, out=out)
    end_check(unchanged=computed.unchanged)
    result = computed.result
    if result is None:
        echo(str(computed.share))
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
