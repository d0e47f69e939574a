"""``bchisto data``: make, list, check, folds."""

from __future__ import annotations

import csv
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .ending import counted, done, echo, quoted
from .flags import as_flags
from .images import data_options
from .options import common_options
from .then import next_commands

if TYPE_CHECKING:
    from ..experiment import ImageSelection


@click.group()
def data() -> None:
    """Write synthetic tissue, list or check a dataset, write fold lists."""


@data.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write into.")
@click.option("--images-per-class", type=int, default=10, show_default=True, help="1 to 999.")
@click.option("--size", default="2048x1536", show_default=True, help="Pixels; the field of view stays the same.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--jobs", type=int, help="Processes; default: one per core.")
@common_options
@click.pass_context
def make(context: click.Context, out: Path, images_per_class: int, size: str, seed: int, jobs: int | None) -> None:
    """Write synthetic H&E tissue in the official BACH layout.

    \b
    Example: bchisto data make --out tissue --images-per-class 20
    """
    from ..data import make_bach
    from ..errors import InputError
    from ..jobs import default_jobs

    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InputError(f"--size {size}: write WIDTHxHEIGHT, for example 2048x1536")
    if seed < 0:
        raise InputError(f"--seed {seed}: give a number from 0 up")
    root = make_bach(
        out,
        images_per_class=images_per_class,
        seed=seed,
        size=(int(width), int(height)),
        jobs=default_jobs() if jobs is None else jobs,
    )
    done(context, wrote=[root], then=f"bchisto featurize --images {quoted(root)} --out RUN")


def _selection(images: Path, options: dict[str, Any]) -> ImageSelection:
    from ..experiment import ImageSelection
    from ..options import from_options

    return from_options(ImageSelection, options, images=images)


_images = click.option(
    "--images",
    type=click.Path(path_type=Path),
    required=True,
    help="A folder, or a manifest path,label,group[,image_id].",
)


@data.command(name="list")
@_images
@data_options
@common_options
def list_(images: Path, **options: Any) -> None:
    """Print the table of a dataset as CSV.

    \b
    Example: bchisto data list --images BreaKHis_v1 > table.csv
    """
    from ..jobs import neutral

    dataset = _selection(images, options).read()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["image_id", "path", "label", "group", "magnification", "mpp", "source"])
    for record in dataset.records:
        writer.writerow(
            map(neutral, (record.image_id, str(record.path), record.label or "", record.group or "",
                          record.magnification or "", record.mpp or "", record.source))
        )  # fmt: skip
    classes = dataset.class_counts()
    counts = ", ".join(f"{name} {count}" for name, count in classes.items())
    if (unlabelled := len(dataset) - sum(classes.values())) != 0:
        counts += f"{', ' if counts else ''}without a label {unlabelled}"
    echo(f"{len(dataset)} images: {counts}", err=True)


@data.command()
@_images
@click.option("--decode", is_flag=True, help="Also decode every image, which finds truncated files.")
@click.option(
    "--copies/--no-copies",
    default=True,
    show_default=True,
    help="Look for pictures that show the same pixels, for which every image is decoded.",
)
@click.option(
    "--encoder",
    multiple=True,
    default=("resnet50", "inceptionv3", "vgg16"),
    show_default=True,
    help="Planned for featurize: NAME[:LAYER+LAYER]; repeatable.",
)
@click.option(
    "--view",
    multiple=True,
    default=("0.5:400", "0.5:650"),
    show_default=True,
    help="Planned for featurize: SCALE:CROP; repeatable.",
)
@click.option("--augmentations", type=int, default=50, show_default=True, help="Planned for featurize.")
@click.option("--crops", type=int, default=20, show_default=True, help="Planned for featurize.")
@click.option("--stain", default="macenko", show_default=True, help="Planned for featurize; shown on the page.")
@click.option(
    "--mode", type=click.Choice(["exact", "dense"]), default="exact", show_default=True, help="Planned for featurize."
)
@click.option("--folds", multiple=True, help="A protocol to try; repeatable; default: those that may fit the dataset.")
@click.option(
    "--group-by",
    type=click.Choice(["group", "none"]),
    help="Keep groups whole; default: where they are known.",
)
@click.option("--jobs", type=int, help="Processes that the time is reckoned for; default: one per core.")
@click.option("--time", "timed", is_flag=True, help="Load the networks and time them here on one image.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a page with a contact sheet of each class, before and after the stain is normalised.",
)
@click.option("--json", "as_json", is_flag=True, help="All of it as JSON.")
@data_options
@common_options
@click.pass_context
def check(context: click.Context, /, images: Path, **options: Any) -> None:
    """Check a dataset before work: findings, sizes, views, folds, time and disk; exit 1 when something is wrong.

    \b
    Example: bchisto data check --images ICIAR2018_BACH_Challenge --html check.html
    """
    from ..experiment import FoldChoice, Work
    from ..featurize import FeaturizeSettings
    from ..jobs import json_text
    from ..options import from_options
    from ..preflight import preflight, preflight_text, write_preflight

    found = preflight(
        _selection(images, options),
        settings=from_options(FeaturizeSettings, options),
        folds=from_options(FoldChoice, options),
        work=from_options(Work, options),
        decode=options["decode"],
        copies=options["copies"],
        timed=options["timed"],
    )

    def say(text: str) -> str:
        return as_flags(text, context.command)

    then = next_commands(context, found, images=str(images))
    wrote = []
    if (page := options["html"]) is not None:
        shown = next_commands(context, found, images=found.dataset.root.name)
        wrote = write_preflight(page, found, commands=shown, say=say)
    if options["as_json"]:
        echo(json_text({**found.content(say), "next": then}), lines=True)
    else:
        echo(f"{preflight_text(found, say=say)}\n\nFINDINGS", lines=True)
        for finding in found.survey.findings:
            echo(f"{finding.level:8}{say(str(finding))}")
        notes = len(found.survey.findings) - len(found.wrong)
        echo(
            f"{found.dataset.name}: {counted(len(found.dataset), 'image')}, {counted(len(found.wrong), 'finding')}"
            + (f", {counted(notes, 'note')}" if notes else "")
            + (" (synthetic)" if found.dataset.synthetic else "")
        )
        if then:
            echo("\n".join(["", "NEXT", *then]), lines=True)
    done(context, wrote=wrote, then=None)
    context.exit(1 if found.wrong else 0)


@data.command()
@_images
@click.option(
    "--folds",
    default="10",
    show_default=True,
    help="As in boost: a number, shares, folder, site:COLUMN, a published list, or a fold list.",
)
@click.option(
    "--group-by",
    type=click.Choice(["group", "none"]),
    help="Keep groups whole; default: where they are known.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The CSV file to write.")
@data_options
@common_options
@click.pass_context
def folds(
    context: click.Context,
    /,
    images: Path,
    folds: str,
    group_by: str | None,
    seed: int,
    out: Path,
    **options: Any,
) -> None:
    """Write the fold list of a protocol for these images.

    \b
    Example: bchisto data folds --images BreaKHis_v1 --folds 5 --out folds.csv
    """
    from ..arguments import named
    from ..data import Particulars, find_copies, fold_plan, further_columns, unknown_groups, write_fold_list
    from ..jobs import refuse_overwriting

    given = [path for path in (images, Path(folds), options.get("only")) if path is not None]
    dataset = _selection(images, options).read()
    refuse_overwriting([out], [*given, *(record.path for record in dataset.records)])
    ids = [record.image_id for record in dataset.records]
    labels = {record.image_id: record.label or "" for record in dataset.records}
    groups = {record.image_id: record.group for record in dataset.records}
    with named(spec="folds"):
        plan = fold_plan(
            folds,
            image_ids=ids,
            labels=list(labels.values()),
            groups=list(groups.values()),
            group_by=group_by,
            seed=seed,
            known=Particulars(
                columns=further_columns(dataset),
                copies=tuple((copy.first, copy.second) for copy in find_copies(dataset.records) or ()),
            ),
        )
    divided = dict.fromkeys(image for image, _, _ in plan.rows)
    for warning in (*unknown_groups([groups[image] for image in divided]), *plan.warnings):
        logging.getLogger(__name__).warning("%s", warning)
    write_fold_list(out, plan, labels=labels, groups=groups)
    done(context, wrote=[out], then=f"bchisto boost --folds {quoted(out)} --out RUN")
