"""A pool: images that a run does not have. Its folder ``pool`` holds their features, computed once as those of the run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core import InputError, from_options
from ...core.formats import read_rows
from ...core.jobs import Work, atomic_output, write_rows
from ...data import ImageSelection, unique_images
from ...featurize import FeaturizeSettings, featurize
from .images import read_images

_COLUMNS = ("image_id", "path", "group", "mpp", "sha256")


def join_pool(
    store: Path, folder: Path, images: Path | None, options: Mapping[str, Any]
) -> tuple[Path, set[str]]:
    """Return a feature file of the images of a run and of its pool, and which only the pool has.

    The folder of the pool is a run of all these images. Its feature files begin as copies of those of the run, and
    grow, so that near-duplicates are found among all.

    Parameters
    ----------
    store : Path
        A feature file of the run, which is returned if there is no pool.
    folder : Path
        Of the pool.
    images : Path or None
        A folder or a table of images, which join the pool without their labels.
    options : mapping
        Those that made the features of the run.

    Raises
    ------
    InputError, ImageError
        The run has features of other programs; or images cannot be used, see `featurize`.
    """
    listed = {row["sha256"]: row for row in read_rows(folder / "added.csv")}
    if images is not None:
        if not options:
            raise InputError(
                "{}: its features are not by bchisto featurize, so that {} gets none", store, images
            )
        listed = _read(images, options) | listed
    in_run = {row["sha256"] for row in read_rows(store.parent / "images.csv")}
    added = [
        row
        for sha256, row in listed.items()
        if sha256 not in in_run and Path(row["path"]).is_file()
    ]
    if not added:
        return store, set()
    table = read_images(store, Path())
    for row in added:
        for column in _COLUMNS[:-1]:
            table.cells[column][row["image_id"]] = row[column]
    names = [row["image_id"] for row in added]
    for file in store.parent.glob("*.h5"):
        copy = folder / "features" / file.name
        if not copy.exists():
            with atomic_output(copy) as temporary:
                shutil.copyfile(file, temporary)
    table.write(folder / "images.csv", [*table.names, *names])
    featurize(
        folder / "images.csv",
        out=folder,
        settings=from_options(FeaturizeSettings, options),
        work=Work(skip_errors=options.get("skip_errors", False)),
    )
    write_rows(folder / "added.csv", _COLUMNS, [[*row.values()] for row in added])
    return folder / "features" / store.name, set(names)


def _read(images: Path, options: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return images by the SHA-256 of their files, read with the patients and the scale of the run."""
    of_run = {name: options.get(name) for name in ("group_from", "mpp")}
    dataset = ImageSelection(images, **of_run).read(labels=False)
    records = tuple(replace(record, label=None) for record in dataset.records)
    unique = unique_images(replace(dataset, records=records))
    return {
        unique.sha256[record.image_id]: {
            "image_id": f"{images.absolute().stem}/{record.image_id}",
            "path": str(record.path.absolute()),
            "group": record.group_text,
            "mpp": str(record.mpp or ""),
            "sha256": unique.sha256[record.image_id],
        }
        for record in unique.dataset.records
    }
