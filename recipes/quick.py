"""The fraction of a published protocol that ``--quick`` runs: the first images of each class in each fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..data import Dataset, published_folds
from ..errors import InputError
from ..jobs import write_rows

Row = tuple[str, int, str]
QuickPlan = tuple[list[str], Path]
"""Fold lists, by path, and the list of images they name."""


def quick_banner(images: int, published: int, settings: Mapping[str, int], *, part: str = "") -> str:
    """Say in one line what a quick run is; `part` says which of the published images it is of."""
    said = ", ".join(f"{name} {value}" for name, value in settings.items())
    return (
        f"QUICK: {images} of {published} images{part}, {said}: the same road on a fraction, to see that it works; "
        "numbers that cannot be compared with the published ones."
    )


def write_quick(dataset: Dataset, protocols: Sequence[str], *, count: int, folder: Path) -> QuickPlan:
    """Cut published fold lists down to a few images of each class, and write them.

    Parameters
    ----------
    dataset : Dataset
    protocols : sequence of str
        Published fold lists.
    count : int
        Images of each class in each test part; five times as many in a training part that is listed.
    folder : Path
        Gets ``<protocol>-quick.csv`` and ``images.csv``.

    Raises
    ------
    InputError
        Fewer than two folds, or a class or part, would be left.
    """
    labels = {record.image_id: record.label or "" for record in dataset.records}
    listed = {name: [row for row in published_folds(name) if row[0] in labels] for name in protocols}
    chosen = {image for rows in listed.values() for image in _few(rows, labels, count)}
    paths = []
    for name, rows in listed.items():
        kept = [row for row in rows if row[0] in chosen]
        partition = all(part == "" for _, _, part in kept)
        folds, parts = {fold for _, fold, _ in kept}, {part for _, _, part in kept}
        classes = {labels[image] for image, _, _ in kept}
        if classes != set(labels.values()) or (len(folds) < 2 if partition else not {"train", "test"} <= parts):
            raise InputError(
                f"{dataset.root}: too few images of the list {name} are here for `quick` ({len(rows)}); give more of "
                "the published images (bchisto data make --images-per-class 100 writes enough synthetic ones)"
            )
        path = folder / f"{name}-quick.csv"
        header = ["image_id", "fold", "part"][: 2 if partition else 3]
        write_rows(path, header, [row[: len(header)] for row in kept])
        paths.append(str(path))
    images = folder / "images.csv"
    write_rows(images, ["image_id"], [[image] for image in sorted(chosen)])
    return paths, images


def _few(rows: Sequence[Row], labels: Mapping[str, str], count: int) -> list[str]:
    """Return the first images of each class in each fold and part."""
    taken: dict[tuple[str, int, str], int] = {}
    images = []
    for image, fold, part in sorted(rows, key=lambda row: (row[1], row[0])):
        key = (labels[image], fold, part)
        if taken.get(key, 0) < count * (1 if part in ("", "test") else 5):
            taken[key] = taken.get(key, 0) + 1
            images.append(image)
    return images


def write_few(dataset: Dataset, *, count: int, folder: Path) -> Path:
    """Choose a few images of each class, from as many patients or slides as there are, and list them.

    Parameters
    ----------
    dataset : Dataset
    count : int
        Images of each class; fewer where there are not so many.
    folder : Path
        Gets ``images.csv``.

    Returns
    -------
    Path
        The list.

    Raises
    ------
    InputError
        A class without an image.
    """
    chosen: list[str] = []
    for label in dataset.classes:
        by_group: dict[str, list[str]] = {}
        for record in dataset.records:
            if record.label == label:
                by_group.setdefault(record.group or record.image_id, []).append(record.image_id)
        if not by_group:
            raise InputError(f"{dataset.root}: no image of class {label} is here")
        # one image of each group, then a second of each, and so on
        ranked = sorted(
            (place, group, image) for group, images in by_group.items() for place, image in enumerate(images)
        )
        chosen += [image for _, _, image in ranked[:count]]
    path = folder / "images.csv"
    write_rows(path, ["image_id"], [[image] for image in sorted(chosen)])
    return path
