"""The images of a recipe: all, or separately by magnification; for a quick run, only a few of each class."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ...core import InputError, from_options
from ...core.jobs import ensure_folder, write_rows
from ...data import (
    Dataset,
    DatasetFacts,
    FoldChoice,
    FoldPlan,
    ImageSelection,
    further_columns,
    published_folds,
)
from .recipe import Recipe, ReproduceRequest

_log = logging.getLogger(__name__)

READING = frozenset({"lesions", "context"})
"""Settings of a step that determine how images are read."""


@dataclass(frozen=True)
class Part:
    """A set of images of a recipe, with its own run folder.

    Attributes
    ----------
    images : Path
        The dataset.
    layout : str or None
        Layout of the dataset; None to recognise it.
    run : Path
        The run folder.
    magnification : int or None
        Magnification of these images; None for all.
    only : Path, optional
        List of the images of a quick run.
    lists : mapping of str to str
        Published fold list to the list that replaces it in a quick run.
    notes : tuple of str
        Notes on a quick run for readers of the results.
    known : dict
        Datasets that were read before, by how, so that each is indexed only once.
    """

    images: Path
    layout: str | None
    run: Path
    magnification: int | None = None
    only: Path | None = None
    lists: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    known: dict[Any, Dataset] = field(default_factory=dict, repr=False, compare=False)

    @property
    def where(self) -> str:
        """The magnification as the end of a sentence; empty for all images."""
        return "" if self.magnification is None else f" at {self.magnification}x"

    def selection(self, reading: Mapping[str, Any]) -> ImageSelection:
        """Return the selection of these images, with the settings of a step for reading them."""
        magnifications = () if self.magnification is None else (self.magnification,)
        return from_options(
            ImageSelection,
            reading,
            images=self.images,
            dataset=self.layout,
            magnifications=magnifications,
            only=self.only,
        )

    def read(self, reading: Mapping[str, Any]) -> Dataset:
        """Return the dataset, read only once.

        Raises
        ------
        InputError
            There are no images.
        """
        key = self.magnification, self.only, repr(sorted(reading.items()))
        if key not in self.known:
            self.known[key] = self.selection(reading).read()
        dataset = self.known[key]
        if not dataset.records:
            raise InputError(f"{self.images}: no image{self.where} is present")
        return dataset

    def folds(self, choice: FoldChoice) -> FoldChoice:
        """Return the folds, with published lists replaced by those of a quick run."""
        return replace(choice, folds=tuple(self.lists.get(name, name) for name in choice.folds))

    def plans(self, choice: FoldChoice, *, reading: Mapping[str, Any], seed: int) -> list[FoldPlan]:
        """Return the folds of each cross-validation scheme.

        Raises
        ------
        InputError
            The images do not fit a scheme.
        """
        dataset = self.read(reading)
        known = DatasetFacts(columns=further_columns(dataset))
        return self.folds(choice).plans_of(dataset.records, seed=seed, known=known)


def reading_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a step that determine how images are read."""
    return {name: values[name] for name in READING & values.keys()}


def make_parts(recipe: Recipe, request: ReproduceRequest, notes: list[str]) -> list[Part]:
    """Return the images of each magnification, or all images; for a quick run, also write its lists.

    Parameters
    ----------
    recipe : Recipe
    request : ReproduceRequest
    notes : list of str
        A line is appended for each magnification that a quick run leaves out.

    Raises
    ------
    InputError
        There are no images, or none of a magnification, or too few for a quick run, or their layout is not one of the
        recipe.
    """
    _log.info("reading the names of the images in %s", request.images)
    whole = Part(
        request.images, recipe.datasets[0] if len(recipe.datasets) == 1 else None, request.run
    )
    reading = reading_of(recipe.steps_of(recipe.first)[0][1])
    layout = whole.read(reading).name
    if layout not in recipe.datasets:
        raise InputError(
            f"{request.images}: {recipe.name} takes the layout {' or '.join(recipe.datasets)}"
        )
    whole, parts = replace(whole, layout=layout), []
    for magnification in recipe.magnifications or (None,):
        run = request.run if magnification is None else request.run / f"{magnification}x"
        part = replace(whole, run=run, magnification=magnification)
        try:
            dataset = part.read(reading)
            parts.append(_few(recipe, request, part, dataset) if request.quick else part)
        except InputError as error:
            if not request.quick or magnification is None:
                raise
            notes.append(f"{magnification}x was left out: {error}")
    return parts


def _few(recipe: Recipe, request: ReproduceRequest, part: Part, dataset: Dataset) -> Part:
    """Return a part with only the images of a quick run."""
    folder = (
        request.run / "quick" / part.run.relative_to(request.run)
    )  # so a part that is left out has no run folder
    if (count := recipe.quick.get("images_per_class_and_fold")) is not None:
        every = [
            recipe.steps_of(variant, quick=True) for variant in recipe.chosen(request.variants)
        ]
        folds = (
            str(name) for steps in every for _, values in steps for name in values.get("folds", ())
        )
        names = list(dict.fromkeys(folds))
        paths, chosen = write_quick(dataset, names, count=count, folder=folder)
        part = replace(part, lists=dict(zip(names, paths, strict=True)))
    else:
        chosen = choose_few(dataset, count=recipe.quick["images_per_class"])
    only = write_list(folder / "images.csv", sorted(chosen))
    banner = (
        f"QUICK: {len(chosen)} of {recipe.images} images{part.where}: the same workflow on a fraction, to see that it "
        "works; numbers that cannot be compared with the published ones."
    )
    return replace(part, only=only, notes=(banner,))


def write_list(path: Path, images: Iterable[str]) -> Path:
    """Write a list of images, for the parameter `only` of `ImageSelection`."""
    ensure_folder(path.parent)
    write_rows(path, ["image_id"], [[image] for image in images])
    return path


def write_quick(
    dataset: Dataset, protocols: Sequence[str], *, count: int, folder: Path
) -> tuple[list[str], Collection[str]]:
    """Reduce published fold lists to a few images of each class, and write them.

    Parameters
    ----------
    dataset : Dataset
    protocols : sequence of str
        Published fold lists.
    count : int
        Images of each class in each test part; five times as many in a listed training part.
    folder : Path
        Folder for ``<protocol>-quick.csv``.

    Returns
    -------
    list of str, collection of str
        The fold lists, and their images.

    Raises
    ------
    InputError
        Fewer than two folds would remain, or a class or part would have no image.
    """
    labels = {record.image_id: record.label or "" for record in dataset.records}
    listed = {
        name: [row for row in published_folds(name) if row[0] in labels] for name in protocols
    }
    chosen = {image for rows in listed.values() for image in _first(rows, labels, count)}
    paths = []
    for name, rows in listed.items():
        remaining = [row for row in rows if row[0] in chosen]
        partition = all(part == "" for _, _, part in remaining)
        folds, parts = {fold for _, fold, _ in remaining}, {part for _, _, part in remaining}
        classes = {labels[image] for image, _, _ in remaining}
        if classes != set(labels.values()) or (
            len(folds) < 2 if partition else not {"train", "test"} <= parts
        ):
            raise InputError(
                "{}: too few images of the list {} are present for {quick} ({}); give more of the published images "
                "(bchisto data make --images-per-class 100 writes enough synthetic ones)",
                dataset.root,
                name,
                len(rows),
            )
        path = ensure_folder(folder) / f"{name}-quick.csv"
        header = ["image_id", "fold", "part"][: 2 if partition else 3]
        write_rows(path, header, [row[: len(header)] for row in remaining])
        paths.append(str(path))
    return paths, chosen


def _first(
    rows: Sequence[tuple[str, int, str]], labels: Mapping[str, str], count: int
) -> list[str]:
    """Return the first images of each class in each fold and part."""
    taken: Counter[tuple[str, int, str]] = Counter()
    images = []
    for image, fold, part in sorted(rows, key=lambda row: (row[1], row[0])):
        key = (labels[image], fold, part)
        if taken[key] < count * (1 if part in ("", "test") else 5):
            taken[key] += 1
            images.append(image)
    return images


def choose_few(dataset: Dataset, *, count: int) -> list[str]:
    """Choose a few images of each class, from as many patients or slides as possible.

    Parameters
    ----------
    dataset : Dataset
    count : int
        Images of each class; fewer if a class does not have so many.

    Raises
    ------
    InputError
        A class has no image.
    """
    chosen: list[str] = []
    for label in dataset.classes:
        by_group: dict[str, list[str]] = {}
        for record in dataset.records:
            if record.label == label:
                by_group.setdefault(record.group or record.image_id, []).append(record.image_id)
        if not by_group:
            raise InputError(f"{dataset.root}: no image of class {label} is present")
        # one image of each group, then a second of each, and so on
        ranked = zip_longest(*(by_group[group] for group in sorted(by_group)))
        chosen += [image for turn in ranked for image in turn if image is not None][:count]
    return chosen
