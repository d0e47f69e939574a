"""``bchisto data`` and ``bchisto stain``."""

from __future__ import annotations

import csv
import functools
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..core import InputError, counted, from_options, neutral, written
from .ending import done, echo, next_commands, quoted, show_commands, typed_names
from .options import (
    OUT_FILE,
    PATH,
    Group,
    argument,
    command,
    flag,
    options_of,
    out_flag,
    preset_option,
)
from .terminal import in_flags
from .train import featurize


def _options() -> Iterator[click.Parameter]:
    from ..core.jobs import Work
    from ..featurize import FeaturizeSettings

    yield argument("sources", nargs=-1, required=True, type=PATH, metavar="IN...")
    yield out_flag("Folder for the images and the contact sheet.")
    yield from options_of(FeaturizeSettings, "stain")
    yield flag("--hematoxylin", type=float, default=1.0, help="Factor of the haematoxylin.")
    yield flag("--eosin", type=float, default=1.0, help="Factor of the eosin.")
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


@click.group(cls=Group)
def data() -> None:
    """Check or list a dataset, write fold lists or synthetic tissue."""


def _make_options() -> Iterator[click.Parameter]:
    from ..core.jobs import Work

    yield out_flag("Folder to write into.")
    yield flag("--images-per-class", group="Input", type=int, default=10, help="1 to 999.")
    yield flag(
        "--size",
        group="Input",
        default="2048x1536",
        help="Pixels; the field of view stays the same.",
    )
    yield flag("--seed", type=click.IntRange(0), default=0, help="Random seed.")
    yield from options_of(Work, "jobs")


@data.command(options=_make_options)
def make(out: Path, images_per_class: int, size: str, seed: int, jobs: int | None) -> None:
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
        seed=seed,
        size=(int(width), int(height)),
        jobs=cpu_resources(jobs).processes,
    )
    done([root], then=f"bchisto trial --images {quoted(root)}")


def _list_options() -> Iterator[click.Parameter]:
    from ..data import ImageSelection

    return options_of(ImageSelection)


@data.command(name="list", options=_list_options)
def list_(**options: Any) -> None:
    """Print the table of a dataset as CSV.

    \b
    Example: bchisto data list --images BreaKHis_v1 > table.csv
    """
    from ..data import ImageSelection

    dataset = from_options(ImageSelection, options).read()
    columns = ("image_id", "path", "label", "group", "magnification", "mpp", "source")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for record in dataset.records:
        writer.writerow([neutral(str(getattr(record, column) or "")) for column in columns])
    classes = dataset.class_counts()
    counts = [f"{name} {count}" for name, count in classes.items()]
    unlabelled = len(dataset) - sum(classes.values())
    if unlabelled != 0:
        counts.append(f"without a label {unlabelled}")
    echo(f"{len(dataset)} images: {', '.join(counts)}", err=True)


_SETTINGS = ("encoders", "views", "augmentations", "crops", "stain", "mode")


def _check_options() -> Iterator[click.Parameter]:
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
    yield from options_of(FeaturizeSettings, *_SETTINGS)
    yield from options_of(FoldChoice, "folds", "group_by")
    yield flag(
        "--html",
        group="Output",
        type=OUT_FILE,
        help="Write a page with a contact sheet of each class, before and after the stain is normalised.",
    )
    yield flag("--json", "as_json", group="Output", is_flag=True, help="Print all of it as JSON.")
    yield from options_of(ImageSelection, but=("images",))


@data.command(options=_check_options, first=("images", "preset", "html", "folds", "group_from"))
@click.pass_context
def check(context: click.Context, /, **options: Any) -> int:
    """Check a dataset before work: findings, sizes, views, folds and disk; exit 1 when something is wrong.

    \b
    Example: bchisto data check --images ICIAR2018_BACH_Challenge \\
        --html check.html
    """
    from ..apps.check import preflight, preflight_json, preflight_text, write_preflight
    from ..data import FoldChoice, ImageSelection
    from ..featurize import choose_settings, preset_options

    typed = typed_names(context)
    # any stain goes with the preset
    deciding = {*_SETTINGS, "preset"} - {"stain"}
    if not typed & deciding:
        of_preset = {"preset": "quick", **preset_options("quick")}
        options |= {name: value for name, value in of_preset.items() if name not in typed}
    settings, automatic, brought = choose_settings(options, keep=typed)
    result = preflight(
        from_options(ImageSelection, options),
        settings=settings,
        folds=from_options(FoldChoice, options),
        decode=options["decode"],
        copies=options["copies"],
        timed=True,
        keep=typed,
    )

    say = functools.partial(written, write=in_flags(context.command))
    then = next_commands(
        context,
        featurize,
        result,
        images=str(options["images"]),
        preset=options["preset"],
        automatic=automatic,
        linear=brought,
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
            show_commands(then)
            for finding in result.findings:
                if finding.perhaps:
                    echo(f"{finding.file}: {say(finding.perhaps)}")
    done(outputs)
    return 1 if result.wrong else 0


def _folds_options() -> Iterator[click.Parameter]:
    from ..data import FoldChoice, ImageSelection

    yield from options_of(ImageSelection, "images")
    yield from options_of(
        FoldChoice, "folds", "group_by", folds={"default": "10", "multiple": False}
    )
    yield flag("--seed", type=int, default=0, help="Random seed of folds that are drawn.")
    yield out_flag("The CSV file to write.", type=OUT_FILE)
    yield from options_of(ImageSelection, but=("images", "only"))


@data.command(options=_folds_options)
def folds(out: Path, **options: Any) -> None:
    """Write the fold list of a cross-validation scheme for these images.

    \b
    Example: bchisto data folds --images BreaKHis_v1 --folds 5 --out folds.csv
    """
    from ..core.jobs import refuse_among, refuse_overwriting
    from ..data import ImageSelection, dataset_plan, find_copies, unknown_groups, write_fold_list

    was_written_before = out.is_file() and out.read_bytes().startswith(b"image_id,")
    if not was_written_before:
        refuse_among(out, [options["images"]])
    dataset = from_options(ImageSelection, options).read()
    records = dataset.records
    images = [record.path for record in records]
    refuse_overwriting([out], [options["images"], Path(options["folds"]), *images])
    labels = {record.image_id: record.label_text for record in records}
    groups = {record.image_id: record.group for record in records}
    plan = dataset_plan(
        dataset,
        options["folds"],
        copies=find_copies(records) or (),
        group_by=options["group_by"],
        seed=options["seed"],
    )
    divided = dict.fromkeys(image for image, _, _ in plan.rows)
    for warning in (*unknown_groups([groups[image] for image in divided]), *plan.warnings):
        logging.getLogger(__name__).warning("%s", warning)
    write_fold_list(out, plan, labels=labels, groups=groups)
    done([out], then=f"bchisto boost --folds {quoted(out)} --out RUN")
