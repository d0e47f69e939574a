"""Draws the pictures of a source: explanations of a recipe's networks, for a few images of each class."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

from ...core import InputError, Settings, Texts, from_options, one_of, option
from ...core.jobs import Work
from ...crossval import CrossValidation
from ...data import ImageSelection
from ...evaluate import PredictionTable
from ...evaluate.report import reporting, surest
from ..explain import METHODS, ExplainSettings, Method, explain, settings_of
from .image_sets import write_list
from .recipe import Recipe, check_names
from .tables import Obtained
from .taylor import TAYLOR
from .unit_pictures import DECONVNET, MASKING, MAXIMISATION, SALIENCY

RECIPE_METHODS: dict[str, Method] = METHODS | {
    method.name: method for method in (DECONVNET, MASKING, TAYLOR, MAXIMISATION, SALIENCY)
}
"""All explanation methods by name: those of `explain`, and those that only published systems use."""


@dataclass(frozen=True)
class Pictures(Settings):
    """Settings of the pictures of a recipe."""

    variants: Texts = option(help="Variants whose networks are explained.")
    methods: Texts = option(help="Methods that explain them.")
    images_per_class: int = option(least=1, help="Number of images of each class.")
    part: str = option(
        "test", choices=("test", "validation"), help="Part of the images that is explained."
    )
    layer: str = option("", help="Layer of methods that look at one.")
    target: str = option("", help="Class to explain.")

    @property
    def asked(self) -> list[ExplainSettings]:
        """Settings of each method."""
        asked = ExplainSettings(self.methods[0], layer=self.layer, target=self.target)
        return settings_of(self.methods, asked, methods=RECIPE_METHODS)


class Trained(NamedTuple):
    """A trained network of a variant.

    Attributes
    ----------
    variant : str
    run : Path
        Run folder of its images.
    images : ImageSelection
    result : CrossValidation
    """

    variant: str
    run: Path
    images: ImageSelection
    result: CrossValidation


def pictures_of(recipe: Recipe, *, quick: bool = False) -> Pictures | None:
    """Return the settings of a recipe's pictures; None if it has none.

    Raises
    ------
    InputError
        A setting, variant or method does not exist, or a variant trains no network.
    """
    values = recipe.values("explain")
    if not values:
        return None
    if quick:
        values |= recipe.quick.get("explain", {})
    part = f"recipe {recipe.name}: explain"
    names = [field.name for field in fields(Pictures)]
    check_names(values, names, part)
    for name in names[:3]:
        if not values.get(name):
            raise InputError(f"{part} has no {name}")
    try:
        pictures = from_options(Pictures, values)
        _ = pictures.asked  # refuses unknown methods
    except InputError as error:
        raise InputError("{}: {}", part, error) from error
    for name in pictures.variants:
        if name not in recipe.variants:
            raise InputError(f"{part}.variants: {name}: {one_of(name, recipe.variants)}")
        if "finetune" not in recipe.variants[name].get("steps", recipe.steps):
            raise InputError(f"{part}.variants: {name}: trains no network")
    return pictures


def make_pictures(
    pictures: Pictures | None, trained: Sequence[Trained], *, work: Work, failed: list[str]
) -> Iterator[Path]:
    """Draw the missing pictures, and yield the page of each method.

    Pictures are written to ``explain/<variant>/<method>/`` in the run folder; ``explain/<variant>/images.csv`` lists
    the images.

    Parameters
    ----------
    pictures : Pictures or None
    trained : sequence of Trained
    work : Work
        Only its `overwrite` and `skip_errors` are used.
    failed : list of str
        A line is appended for each method that failed; the others go on.

    Yields
    ------
    Path
    """
    if pictures is None:
        return
    for network in trained:
        panel = network.result.panel
        if network.variant not in pictures.variants or panel is None:
            continue
        table: PredictionTable | None = panel.table
        if pictures.part == "validation":
            table = Obtained(network.result.folder, panel).validated
        if table is None:
            continue
        folder = network.run / "explain" / network.variant
        list_file = folder / "images.csv"
        with reporting(list_file, failed):
            write_list(list_file, _surest(table, pictures.images_per_class))
        for settings in pictures.asked:
            with reporting(folder / settings.method, failed):
                (result,) = explain(
                    network.result.model,
                    replace(network.images, only=list_file),
                    out=folder,
                    settings=settings,
                    methods=RECIPE_METHODS,
                    work=Work(overwrite=work.overwrite, skip_errors=work.skip_errors),
                )
                yield result.page


def _surest(table: PredictionTable, count: int) -> list[str]:
    """Return the images of each class with the most confident predictions, right and wrong ones in turn."""
    right = table.hits
    images: list[str] = []
    for label in range(len(table.classes)):
        sides = (surest(table, (table.labels == label) & (right == hit)) for hit in (True, False))
        rows = [row for pair in itertools.zip_longest(*sides) for row in pair if row is not None]
        # repeated folds test an image several times
        images += list(dict.fromkeys(table.image_ids[row] for row in rows))[:count]
    return images
