"""The images of a recipe: all, or separately by magnification; for a quick run, only a few of each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...core import Banner, Content, Entries, InputError, Kind, from_options
from ...core.jobs import write_rows
from ...data import (
    Dataset,
    FoldChoice,
    FoldPlan,
    ImageSelection,
    facts_of,
    published_folds,
    write_fold_rows,
)
from ..check import one_of_each
from .recipe import Recipe, ReproduceRequest

READING = frozenset({"lesions", "context"})
"""Settings of a step that determine how images are read."""

Reading = Entries
"""How images are read: options of `ImageSelection`."""

FoldRow = tuple[str, int, str]
"""A row of a fold list: image, fold and part, which is empty if the list names only test images."""


@dataclass(frozen=True)
class ImageSet:
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
    datasets : dict
        Datasets that were read before, by their selections, so that each is indexed only once.
    """

    images: Path
    layout: str | None
    run: Path
    magnification: int | None = None
    only: Path | None = None
    lists: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    datasets: dict[ImageSelection, Dataset] = field(default_factory=dict, repr=False, compare=False)

    @property
    def where(self) -> str:
        """The magnification as the end of a sentence; empty for all images."""
        return "" if self.magnification is None else f" at {self.magnification}x"

    def selection(self, reading: Reading) -> ImageSelection:
        """Return the selection of these images, with the settings of a step for reading them."""
        return from_options(
            ImageSelection,
            reading,
            images=self.images,
            dataset=self.layout,
            magnifications=(() if self.magnification is None else (self.magnification,)),
            only=self.only,
        )

    def read(self, reading: Reading) -> Dataset:
        """Return the dataset, read only once.

        Raises
        ------
        InputError
            There are no images.
        """
        selection = self.selection(reading)
        if selection not in self.datasets:
            self.datasets[selection] = selection.read()
        dataset = self.datasets[selection]
        if not dataset.records:
            raise InputError(f"{self.images}: no image{self.where} is present")
        return dataset

    def folds(self, choice: FoldChoice) -> FoldChoice:
        """Return the folds, with published lists replaced by those of a quick run."""
        return replace(choice, folds=tuple(self.lists.get(name, name) for name in choice.folds))

    def plans(self, choice: FoldChoice, *, reading: Reading, seed: int) -> list[FoldPlan]:
        """Return the folds of each cross-validation scheme.

        Raises
        ------
        InputError
            The images do not fit a scheme.
        """
        dataset = self.read(reading)
        folds = self.folds(choice)
        return folds.plans_of(dataset.records, seed=seed, known=facts_of(dataset))


def reading_of(values: Entries) -> Content:
    """Return the settings of a step that determine how images are read."""
    return {name: values[name] for name in READING & values.keys()}


def make_image_sets(recipe: Recipe, request: ReproduceRequest) -> tuple[list[ImageSet], list[str]]:
    """Return the images of each magnification, or all images; for a quick run, also write its lists.

    Parameters
    ----------
    recipe : Recipe
    request : ReproduceRequest

    Returns
    -------
    list of ImageSet, list of str
        The images, and a line for each magnification that a quick run leaves out.

    Raises
    ------
    InputError
        There are no images, or none of a magnification, or too few for a quick run, or their layout is not one of the
        recipe.
    """
    layout = recipe.datasets[0] if len(recipe.datasets) == 1 else None
    all_images = ImageSet(request.images, layout, request.run)
    reading = reading_of(recipe.steps_of(recipe.first)[0][1])
    layout = all_images.read(reading).name
    if layout not in recipe.datasets:
        raise InputError(
            f"{request.images}: {recipe.name} takes the layout {' or '.join(recipe.datasets)}"
        )
    image_sets = []
    notes = []
    for magnification in recipe.magnifications:
        run = request.run if magnification is None else request.run / f"{magnification}x"
        image_set = replace(all_images, layout=layout, run=run, magnification=magnification)
        try:
            dataset = image_set.read(reading)
            if request.quick:
                image_set = _few(recipe, request, image_set, dataset)
        except InputError as error:
            if not request.quick or magnification is None:
                raise
            notes.append(f"{magnification}x was left out: {error}")
        else:
            image_sets.append(image_set)
    return image_sets, notes


def _few(
    recipe: Recipe, request: ReproduceRequest, image_set: ImageSet, dataset: Dataset
) -> ImageSet:
    """Return the set with only the images of a quick run, and write its lists."""
    # not in the run folder of these images, which does not exist if they are left out
    folder = request.run / "quick" / image_set.run.relative_to(request.run)
    count = recipe.quick.get("images_per_class_and_fold")
    if count is not None:
        protocols: dict[str, None] = {}  # the fold lists of the chosen variants, each once
        for variant in recipe.chosen(request.scope.variants):
            for _, values in recipe.steps_of(variant, quick=True):
                protocols.update(dict.fromkeys(map(str, values.get("folds", ()))))
        paths, images = write_quick(dataset, [*protocols], count=count, folder=folder)
        image_set = replace(image_set, lists=dict(zip(protocols, paths, strict=True)))
    else:
        images = choose_few(dataset, count=recipe.quick["images_per_class"])
    list_file = write_list(folder / "images.csv", sorted(images))
    text = (
        f"{len(images)} of {recipe.images} images{image_set.where}: the same workflow on a fraction, to see that it "
        "works; numbers that cannot be compared with the published ones."
    )
    return replace(image_set, only=list_file, notes=(Banner(Kind.QUICK, text, images=len(images)),))


def write_list(path: Path, images: Iterable[str]) -> Path:
    """Write a list of images, for the parameter `only` of `ImageSelection`."""
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
    labels = {record.image_id: record.label_text for record in dataset.records}
    rows_of_lists = {
        name: [row for row in published_folds(name) if row[0] in labels] for name in protocols
    }
    images = {image for rows in rows_of_lists.values() for image in _first(rows, labels, count)}
    paths = []
    for name, rows in rows_of_lists.items():
        quick_rows = [row for row in rows if row[0] in images]
        if not _can_train(quick_rows, labels):
            raise InputError(
                "{}: too few images of the list {} are present for {quick} ({}); give more of the published images "
                "({data make.images-per-class:100} writes enough synthetic ones)",
                dataset.root,
                name,
                len(rows),
            )
        path = folder / f"{name}-quick.csv"
        write_fold_rows(path, quick_rows)
        paths.append(str(path))
    return paths, images


def _can_train(rows: Sequence[FoldRow], labels: Mapping[str, str]) -> bool:
    """Return whether rows have images of every class, and of two folds, or of a training and a test part."""
    if {labels[image] for image, _, _ in rows} != set(labels.values()):
        return False
    parts = {part for _, _, part in rows}
    if parts == {""}:  # each fold trains on all images that it does not test
        return len({fold for _, fold, _ in rows}) > 1
    return {"train", "test"} <= parts


def _first(rows: Sequence[FoldRow], labels: Mapping[str, str], count: int) -> list[str]:
    """Return the first `count` images of each class in each fold and part, five times as many in training parts."""
    counts: Counter[tuple[str, int, str]] = Counter()
    images = []
    for image, fold, part in sorted(rows, key=lambda row: (row[1], row[0])):
        limit = count if part in ("", "test") else 5 * count
        key = (labels[image], fold, part)
        if counts[key] < limit:
            counts[key] += 1
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
    images: list[str] = []
    for label in dataset.classes:
        records = [record for record in dataset.records if record.label == label]
        if not records:
            raise InputError(f"{dataset.root}: no image of class {label} is present")
        records.sort(key=lambda record: record.group or record.image_id)
        images += [record.image_id for record in one_of_each(records)[:count]]
    return images
