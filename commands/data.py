"""``bchisto data``: make, list, check, folds."""

from __future__ import annotations

import csv
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .flags import as_flags
from .options import common_options, data_options, done

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
    done(context, wrote=[root], then=f"bchisto featurize --images {root} --out RUN")


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
    dataset = _selection(images, options).read()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["image_id", "path", "label", "group", "magnification", "mpp", "source"])
    for record in dataset.records:
        writer.writerow(
            [record.image_id, record.path, record.label or "", record.group or "", record.magnification or "",
             record.mpp or "", record.source]
        )  # fmt: skip
    classes = dataset.class_counts()
    counts = ", ".join(f"{name} {count}" for name, count in classes.items())
    if (unlabelled := len(dataset) - sum(classes.values())) != 0:
        counts += f"{', ' if counts else ''}without a label {unlabelled}"
    click.echo(f"{len(dataset)} images: {counts}", err=True)


@data.command()
@_images
@click.option("--decode", is_flag=True, help="Also decode every image, which finds truncated files.")
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
@data_options
@common_options
@click.pass_context
def check(context: click.Context, /, images: Path, decode: bool, as_json: bool, **options: Any) -> None:
    """Check a dataset against its layout; exit 1 when something is wrong.

    \b
    Example: bchisto data check --images ICIAR2018_BACH_Challenge --decode
    """
    from ..data import check_dataset
    from ..jobs import Progress

    dataset = _selection(images, options).table()
    count = 0
    with Progress(total=len(dataset), label="check", unit="images") as progress:

        def step() -> None:
            nonlocal count
            count += 1
            progress.update_to(count)

        findings = check_dataset(dataset, decode=decode, on_image=step)
    wrong = [finding for finding in findings if finding.level != "note"]
    if as_json:
        content = {
            "dataset": dataset.name,
            "images": len(dataset),
            "classes": dataset.class_counts(),
            "synthetic": dataset.synthetic,
            "findings": [
                {"level": f.level, "file": f.file, "message": as_flags(f.message, context.command)} for f in findings
            ],
        }
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        for finding in findings:
            click.echo(f"{finding.level:8}{as_flags(str(finding), context.command)}")
        click.echo(
            f"{dataset.name}: {len(dataset)} images, {len(wrong)} findings"
            + (" (synthetic)" if dataset.synthetic else "")
        )
    context.exit(1 if wrong else 0)


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

    dataset = _selection(images, options).read()
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
    done(context, wrote=[out], then=f"bchisto boost --folds {out} --out RUN")
