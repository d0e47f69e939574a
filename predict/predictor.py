"""Predict in Python with a model file that is loaded once, for arrays or files."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core import (
    BundleError,
    InputError,
    Many,
    Message,
    PathInput,
    TextInput,
    converted,
    html_lines,
    html_table,
)
from ..core.formats import Array, Pixels, as_frame
from ..core.jobs import Ticker
from ..data import ImageRecord
from ..encoders import weight_options
from ..evaluate import Answers
from .blocks import Prediction, Results, predict_records
from .boosted import Floats
from .images import advised, check_sizes, new_images, notes_of_training
from .model_file import find_bundle, ready_model
from .table import Outliers, answers_of, mixed_note

Image = PathInput | Pixels


@dataclass(frozen=True)
class Predictions:
    """Predictions of images.

    Attributes
    ----------
    image_ids : tuple of str
        Names of the files. Arrays are named ``array0`` and so on, by their position.
    classes : tuple of str
        Order of the probabilities.
    probabilities : ndarray of float64, shape (n, classes)
    answers : Answers
        What the columns ``predicted``, ``confidence`` and ``uncertain`` of the table of ``bchisto predict`` say.
    trained : tuple of bool or None
        Whether each image trained the models; None if the model file does not record its training images.
    banners : tuple of str
        Warnings that every reader must see.
    outliers : Outliers or None
        Distance of each image from the training images; None if the model file has no reference for it.
    mixed : str
        What the confidence is worth if patients of the model's folds were mixed; else empty.
    """

    image_ids: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: Floats
    answers: Answers
    trained: tuple[bool, ...] | None = None
    banners: tuple[str, ...] = ()
    outliers: Outliers | None = None
    mixed: str = ""

    def __len__(self) -> int:
        return len(self.image_ids)

    def __repr__(self) -> str:
        return f"Predictions({len(self)} images, {dict(Counter(self.predicted))})"

    @property
    def predicted(self) -> tuple[str, ...]:
        """The most probable class of each image."""
        return tuple(self.answers.predicted)

    @property
    def confidence(self) -> Floats:
        """The calibrated probability of the predicted class, float64 of shape (n,)."""
        return self.answers.confidence

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with the same columns as the table of ``bchisto predict``.

        Raises
        ------
        DependencyError
            pandas is not installed.
        """
        columns: dict[str, Any] = {"image_id": list(self.image_ids)}
        for index, name in enumerate(self.classes):
            columns[f"p_{name}"] = self.probabilities[:, index]
        columns |= dict(self.answers.columns)
        columns["confidence"] = self.confidence
        if self.trained is not None:
            columns["trained"] = list(self.trained)
        if self.outliers is not None:
            columns |= dict(self.outliers.columns)
        return as_frame(columns)

    def _repr_html_(self) -> str:
        confidence = (f"{100 * share:.1f} %" for share in self.confidence)
        rows = zip(self.image_ids, self.predicted, confidence, strict=True)
        table = html_table(f"{len(self)} images", ["image", "class", "confidence"], rows)
        return html_lines([*self.banners, *filter(None, [self.mixed])]) + table


class Predictor:
    """A model file that is loaded once and predicts arrays or files.

    Parameters
    ----------
    model : str or Path
        A ``model.bchisto``, or the folder of a run that contains one.
    weights : sequence of str, or mapping
        As in `predict`.
    calibrated : bool
        Calibrate the probabilities with the temperature of the model.

    Attributes
    ----------
    path : Path
        The model file.
    classes : tuple of str
    banners : tuple of str
        Warnings that every reader of predictions must see.

    Raises
    ------
    BundleError, WeightsError
        As in `predict`. Also if `calibrated` is True and the model file has no temperature.
    """

    def __init__(
        self, model: PathInput, *, weights: Many[TextInput] = (), calibrated: bool = False
    ) -> None:
        self.path = find_bundle(converted(model, "model", Path))
        with advised():
            _, self._model = ready_model(self.path, weight_options(weights))
        bundle = self._model.bundle
        if calibrated and bundle.temperature is None:
            raise BundleError("{}: has no temperature; leave out {calibrated}", self.path)
        self._calibrated = calibrated
        self.classes = tuple(bundle.classes)
        self.banners = notes_of_training(bundle.banners)

    def __repr__(self) -> str:
        return f"Predictor({str(self.path)!r}, classes={self.classes})"

    def predict(self, images: Many[Image], *, mpp: float | None = None) -> Predictions:
        """Predict images. The order is kept.

        The probabilities equal those of ``bchisto predict``, since random crops are seeded by the pixels of an image.

        Parameters
        ----------
        images : sequence of path or ndarray
            Files, folders, manifests, and RGB arrays of uint8 with shape (height, width, 3). A single one is accepted,
            and an array of shape (n, height, width, 3) is n images.
        mpp : float, optional
            Micrometres per pixel of all images, if their files do not contain it.

        Returns
        -------
        Predictions

        Raises
        ------
        InputError
            There are no images, or an input is not an image.
        ImageError
            An image cannot be decoded or used.
        """
        model = self._model
        with tempfile.TemporaryDirectory(prefix="bchisto-") as folder, advised():
            distinct = _distinct(self._records(images, Path(folder)))
            records, _ = check_sizes(distinct, model=model, mpp=mpp, skip_errors=False)
            results: Results = {}
            size = model.images_per_block
            for start in range(0, len(records), size):
                block = records[start : start + size]
                results |= predict_records(model, block, ticker=Ticker(None), skip_errors=False)
        predictions = [result for result in results.values() if isinstance(result, Prediction)]
        probabilities = np.array([prediction.probabilities for prediction in predictions])
        calibrated, answers = answers_of(model.bundle, probabilities)
        if self._calibrated:
            probabilities = calibrated
        trained = tuple(prediction.trained for prediction in predictions)
        compared = [prediction.compared for prediction in predictions]
        return Predictions(
            image_ids=tuple(record.image_id for record in records),
            classes=self.classes,
            probabilities=probabilities,
            answers=answers,
            trained=trained if model.bundle.training is not None else None,
            banners=self.banners,
            outliers=Outliers.of(model.bundle, compared, model=self.path),
            mixed=mixed_note(model.bundle),
        )

    def predict_proba(self, images: Many[Image], *, mpp: float | None = None) -> Floats:
        """Return only the probabilities of `predict`, float64 of shape (n, classes); `classes` has their order."""
        return self.predict(images, mpp=mpp).probabilities

    def _records(self, images: Many[Image], folder: Path) -> Iterator[ImageRecord]:
        """Yield the images of files and arrays. Arrays are written as files into a folder, as lossless PNG."""
        sources: Any = images
        is_array = isinstance(images, np.ndarray) and images.ndim < 4
        if is_array or isinstance(images, str) or not isinstance(images, Iterable):
            sources = [images]
        for number, image in enumerate(sources):
            if isinstance(image, np.ndarray):
                yield _save(image, number, folder)
                continue
            path = converted(image, "images", Path)
            yield from new_images([path], reading=self._model.bundle.reading, classes=self.classes)


def _save(image: Array, number: int, folder: Path) -> ImageRecord:
    """Save an array as a file; refuse what is no RGB image."""
    from PIL import Image as Picture

    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(
            "array{}: an array of {} and shape {}; give uint8 of shape (height, width, 3), RGB",
            number,
            image.dtype,
            image.shape,
        )
    path = folder / f"array{number}.png"
    Picture.fromarray(np.ascontiguousarray(image)).save(path, compress_level=1)
    return ImageRecord(image_id=path.stem, path=path, label=None)


def _distinct(records: Iterator[ImageRecord]) -> list[ImageRecord]:
    """Return records with distinct ids: files with the same name get their paths as ids."""
    images = list(records)
    if not images:
        raise InputError(Message("{images}: there is none; give files or arrays"))
    times = Counter(record.image_id for record in images)
    distinct = [
        replace(image, image_id=str(image.path)) if times[image.image_id] > 1 else image
        for image in images
    ]
    for name, count in Counter(record.image_id for record in distinct).items():
        if count > 1:
            raise InputError("{images} {}: is given twice; give each image once", name)
    return distinct
