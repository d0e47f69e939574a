"""The images of a challenge whose classes are not public: how many get the class that a source predicted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np

from ....core import InputError
from ....core.formats import file_sha256, read_rows
from ....core.jobs import key_of
from ....data import match_class
from ....evaluate import Units
from ....evaluate.report import PublishedFigure
from ....predict import predict
from ..recipe import Recipe, ReproduceRequest
from .obtained import Obtained, Published, Runs, figure_of, value_in


def find_test_images(recipe: Recipe, folder: Path | None) -> dict[str, Path]:
    """Return the files in a folder and below that are images of a recipe's published predictions, by their names.

    Raises
    ------
    InputError
        The recipe has no published predictions of test images, or the folder has none of these images.
    """
    if folder is None:
        return {}
    tables = [table for table in recipe.published if table.get("kind") == "agreement"]
    names = {name for table in tables for name in published_predictions(table)}
    if not names:
        raise InputError(
            "{test_images} {}: {} has no published predictions of test images", folder, recipe.name
        )
    files = {stem_of(path.name): path for path in sorted(folder.rglob("*")) if path.is_file()}
    if not names & files.keys():
        raise InputError(
            "{test_images} {}: no test image is in it; their names are {} and so on",
            folder,
            min(names),
        )
    return {name: files[name] for name in sorted(names & files.keys())}


def predict_test_images(
    trained: Obtained | None,
    images: Mapping[str, Path],
    *,
    folder: Path,
    request: ReproduceRequest,
) -> dict[str, str]:
    """Predict test images with the models of the published variant, once; return classes by names of images.

    The table is written to a folder in `folder` that is named after the content of the model file and the images.
    """
    if trained is None or not images:
        return {}
    model = trained.folder / "model.bchisto"
    contents = {name: file_sha256(path) for name, path in images.items()}
    key = key_of("test images 1", model=file_sha256(model), images=contents)
    table = folder / f"test-images-{key[:16]}" / "predictions.csv"
    if not table.is_file():
        predict(model, list(images.values()), out=table, weights=request.weights, work=request.work)
    return {stem_of(row["image_id"]): row["predicted"] for row in read_rows(table)}


def published_predictions(table: Published) -> dict[str, str]:
    """Return the class of each test image that a source predicted, by the name of its file without the suffix."""
    return {stem_of(name): label for label, names in table["predictions"].items() for name in names}


def stem_of(name: str) -> str:
    """Return the name of a file as test images are compared: without folder, suffix and case."""
    return PurePath(name).stem.casefold()


def agreement(runs: Runs, _: int | None, table: Published) -> Iterator[PublishedFigure]:
    """Show the fraction of test images with the class that the source predicted: of all, and of each such class."""
    label_of = published_predictions(table)
    classes = list(table["predictions"])
    for name, labels in [("all classes", classes), *((label, [label]) for label in classes)]:
        images = [image for image, label in label_of.items() if label in labels]
        hits = [
            match_class(runs.tested[image], classes) == label_of[image]
            for image in images
            if image in runs.tested
        ]
        printed = f"{len(images)} images"
        if runs.tested:
            printed = f"{len(hits)} of {printed}"
        figure = figure_of(name, value_in(Units(np.arange(len(hits))).share(hits)))
        yield replace(figure, cited=True, printed=printed)
