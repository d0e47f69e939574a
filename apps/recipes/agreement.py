"""Predictions of the test images of a challenge, whose labels are not public, beside those that a source published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...core import InputError
from ...core.formats import file_sha256, read_rows
from ...core.jobs import ensure_folder, key_of
from ...predict import predict
from .recipe import Recipe, ReproduceRequest
from .tables.ensembles import published_predictions, stem_of
from .tables.obtained import Obtained


def find_test_images(recipe: Recipe, folder: Path | None) -> dict[str, Path]:
    """Return the files in a folder and below that are images of a recipe's published predictions, by their names.

    Raises
    ------
    InputError
        The recipe has no published predictions of test images, or the folder has none of these images.
    """
    if folder is None:
        return {}
    names = {
        name for table in recipe.published if table["kind"] == "agreement" for name in published_predictions(table)
    }
    if not names:
        raise InputError("{test_images} {}: {} has no published predictions of test images", folder, recipe.name)
    files = {stem_of(path.name): path for path in sorted(folder.rglob("*")) if path.is_file()}
    if not names & files.keys():
        raise InputError("{test_images} {}: no test image is in it; their names are {} and so on", folder, min(names))
    return {name: files[name] for name in sorted(names & files.keys())}


def predict_test_images(
    trained: Obtained | None, images: Mapping[str, Path], *, recipe: Recipe, request: ReproduceRequest
) -> dict[str, str]:
    """Predict test images with the models of the published variant, once; return classes by names of images.

    The table is written to a folder that is named after the content of the model file and the images.
    """
    if trained is None or not images:
        return {}
    model, contents = trained.folder / "model.bchisto", {name: file_sha256(path) for name, path in images.items()}
    key = key_of("test images 1", model=file_sha256(model), images=contents)
    folder = ensure_folder(request.run / "reproduce" / recipe.name / f"test-images-{key[:16]}")
    if not (table := folder / "predictions.csv").is_file():
        predict(model, list(images.values()), out=table, weights=request.weights, work=request.work)
    return {stem_of(row["image_id"]): row["predicted"] for row in read_rows(table)}
