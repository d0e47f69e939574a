"""A pool: images that a run does not have. Its folder holds their features, computed once as those of the run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core import InputError, from_options
from ...core.formats import read_rows
from ...core.jobs import atomic_output
from ...data import ImageFiles, ImageSelection
from ...featurize import FeaturizeSettings, featurize
from .images import read_images


def join_pool(
    store: Path, folder: Path, images: Path | None, options: Mapping[str, Any]
) -> tuple[Path, set[str]]:
    """Return a feature file of the images of a run and of its pool, and which only the pool has.

    The folder of the pool is a run of all these images, and lists its own in ``added.csv``. Its feature files begin as
    copies of those of the run, and grow, so that near-duplicates are found among all.

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
    listed = folder / "added.csv"
    sources = {}
    if listed.is_file():
        sources[""] = ImageSelection(listed)
    if images is not None:
        sources[f"{images.absolute().stem}/"] = ImageSelection(
            images, group_from=options.get("group_from"), mpp=options.get("mpp")
        )
    present = {row["sha256"] for row in read_rows(store.parent / "images.csv")}
    table = read_images(store, Path())
    added = []
    for prefix, selection in sources.items():
        records = selection.read(labels=False).records
        for record, sha256 in zip(records, ImageFiles().hashes(records), strict=True):
            if sha256 in present:
                continue
            present.add(sha256)
            name = prefix + record.image_id
            added.append(name)
            table.cells["image_id"][name] = name
            table.cells["path"][name] = str(record.path.absolute())
            table.cells["group"][name] = record.group_text
            table.cells["mpp"][name] = str(record.mpp or "")
    if not added:
        return store, set()
    if not options:
        raise InputError("{}: not by bchisto featurize, so that a pool gets no features", store)
    for file in store.parent.glob("*.h5"):
        copy = folder / "features" / file.name
        if not copy.exists():
            with atomic_output(copy) as temporary:
                shutil.copyfile(file, temporary)
    table.write(folder / "images.csv", [*table.names, *added])
    featurize(
        folder / "images.csv",
        out=folder,
        settings=from_options(FeaturizeSettings, options),
    )
    table.write(listed, added)
    return folder / "features" / store.name, set(added)
