"""Predict in Python with a model file that is loaded once, for arrays or files."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from ..core import (
    Banner,
    Content,
    InputError,
    Many,
    PathInput,
    RefusedImageError,
    TextInput,
    counted,
    html_lines,
    html_table,
)
from ..core.formats import Array, Flags, as_frame
from ..core.jobs import Ticker
from ..data import Image, ImageRecord, image_records, warn_left_out
from ..encoders import weight_options
from .blocks import Predicted, Results, predict_records
from .boosted import Floats, Notes
from .images import advised, check_sizes, new_images
from .model_file import find_bundle, ready_model
from .outputs import verdict_of
from .settings import PredictSettings
from .table import MARKS, TRUTHS, tabulate

Marks: TypeAlias = Flags | None
"""A mark for each image, bool of shape (n,), if the model has any."""


_BY_IMAGE = (
    "predicted",
    "confidence",
    "called_from",
    "uncertain",
    "called",
    "outlier",
    "outlier_percentile",
    "blank",
    "trained",
)
"""Arrays of `Predictions` with a value for each image."""


@dataclass(frozen=True, eq=False)  # arrays have no single answer
class Predictions:
    """Predictions of images.

    Attributes
    ----------
    image_ids : tuple of str
        The names that were given; else those of the files, and ``array0`` and so on for arrays, by their position.
    classes : tuple of str
        Order of the probabilities.
    probabilities : ndarray of float64, shape (n, classes)
    predicted : ndarray of str, shape (n,)
        The class that each image is called, see the attribute ``shares`` of `bchisto.evaluate.PredictionTable`.
    confidence : ndarray of float64, shape (n,)
        The calibrated probability of the predicted class.
    called_from : ndarray of float64, shape (n,), or None
        The share in training from which that class is called; None if the most probable class is.
    uncertain : ndarray of bool, shape (n,), or None
        Whether each image is marked as uncertain; None if the model has no rule for it.
    called : ndarray of bool, shape (n,), or None
        Whether each image is positive at the operating point; None if the model has none.
    outlier : ndarray of bool, shape (n,), or None
        Whether each image is marked as unlike the training images; None if the model file has no reference for it.
    outlier_percentile : ndarray of float64, shape (n,), or None
        For each image, the percentage of left-out training images that were nearer to the other training images.
    trained : ndarray of bool, shape (n,), or None
        Whether each image trained the models; None if the model file does not record its training images.
    blank : ndarray of bool, shape (n,)
        Whether each image is of a single colour: its answer then means nothing.
    warnings : tuple of tuple of str
        Warnings of each image: that its size, bits or scale are not those of training, or its scale is not known, that
        its stains were not normalised or are in doubt, or that it shows nothing. They do not depend on the level of the
        logger, nor on other images.
    columns : dict of str to list of str
        Further columns of the table of ``bchisto predict``, as texts. With ``yes`` or ``no``: ``trained``, ``outlier``,
        ``blank``, ``group_trained``. Also ``called`` (``positive`` or ``negative``), ``outlier_percentile``,
        ``nearest_training_images``, ``warnings`` (joined), and ``note`` if models learnt nothing. Those that do not
        apply are left out.
    banners : tuple of Banner
        Warnings that every reader must see. Those about patients need images with patients, which arrays have not.
    mixed : str
        What the confidence is worth if patients of the model's folds were mixed; else empty.
    failures : dict of str to str
        Images that were left out, with the reason, in the order of the images.
    """

    image_ids: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: Floats
    predicted: Array
    confidence: Floats
    called_from: Floats | None
    uncertain: Marks
    called: Marks
    outlier: Marks
    outlier_percentile: Floats | None
    trained: Marks
    blank: Flags
    warnings: tuple[tuple[str, ...], ...]
    columns: dict[str, list[str]]
    banners: tuple[Banner, ...]
    mixed: str
    failures: dict[str, str]

    def __len__(self) -> int:
        return len(self.image_ids)

    def __repr__(self) -> str:
        return (
            f"Predictions({counted(len(self), 'image')}, {dict(Counter(self.predicted.tolist()))})"
        )

    def __iter__(self) -> Iterator[Content]:
        """Yield each image as a dict that `json.dumps` takes.

        Its keys are ``image_id``, ``predicted``, ``confidence``, ``called_from``, ``uncertain``, ``called``,
        ``outlier``, ``outlier_percentile``, ``blank``, ``trained``, ``probabilities`` (a dict by class) and
        ``warnings``. As in the attributes, None is what the model cannot tell.
        """
        columns: Content = {"image_id": self.image_ids}
        for name in _BY_IMAGE:
            values = getattr(self, name)
            columns[name] = [None] * len(self) if values is None else values.tolist()
        columns["probabilities"] = [
            dict(zip(self.classes, row, strict=True)) for row in self.probabilities.tolist()
        ]
        columns["warnings"] = self.warnings
        for cells in zip(*columns.values(), strict=True):
            yield dict(zip(columns, cells, strict=True))

    def __array__(self, *kind: Any, **copy: Any) -> Array:
        """Return the predicted classes as an array of texts, so that the metrics of scikit-learn take predictions."""
        return self.predicted

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame`: image_id, p_CLASS, predicted, confidence, uncertain, `columns`, blank, warnings.

        Marks, ``yes`` or ``no`` in the table of ``bchisto predict``, are True or False here, and
        `bchisto.evaluate.evaluate` reads both. Label, group and fold are not there.

        Raises
        ------
        DependencyError
            pandas is not installed.
        """
        columns: Content = {"image_id": list(self.image_ids)}
        for index, name in enumerate(self.classes):
            columns[f"p_{name}"] = self.probabilities[:, index]
        columns["predicted"] = self.predicted
        columns["confidence"] = self.confidence
        columns["uncertain"] = self.uncertain
        if self.called_from is not None:
            columns["called_from"] = self.called_from
        columns |= self.columns
        for name in MARKS & self.columns.keys():
            columns[name] = [TRUTHS[cell] for cell in self.columns[name]]
        if self.outlier_percentile is not None:
            columns["outlier_percentile"] = self.outlier_percentile
        columns["blank"] = self.blank
        columns["warnings"] = list(map("; ".join, self.warnings))
        return as_frame(columns)

    def _repr_html_(self) -> str:
        confidence = (f"{100 * share:.1f} %" for share in self.confidence)
        rows = zip(self.image_ids, self.predicted, confidence, strict=True)
        lines = html_lines(filter(None, [*self.banners, self.mixed]))
        return lines + html_table(
            counted(len(self), "image"), ["image", "class", "confidence"], rows
        )


class Predictor:
    """A model file that is loaded once and predicts arrays or files.

    A pickled one, as for processes of joblib, is its path and its settings: whoever reads it loads the file again.
    Threads may share one. The first prediction takes longer than later ones, since the networks are prepared then: a
    service predicts any image before it answers. A warning of sizes, bits or scales is logged only the first time;
    `Predictions.warnings` has it every time.

    Parameters
    ----------
    model : str or Path
        A ``model.bchisto``, which services should name; or the folder of a run, of which its model, the highest of
        several, is taken if it is shown to be better than chance, or if nothing is known of its only one.
    weights : sequence of str, or mapping
        As in `predict`.
    calibrated : bool
        Calibrate the probabilities with the temperature of the model.
    positive : str or sequence of str
        Positive classes, in place of those of the model.
    threshold, sensitivity : float, optional
        Operating point, as of `PredictSettings`; at most one of them.

    Attributes
    ----------
    path : Path
        The model file.
    sha256 : str
        Its checksum.
    verdict : str
        Whether the model is better than chance, as its report says, or that this is not known, since no
        ``metrics.json`` is beside its file; empty if the report has no verdict.
    temperature : float or None
        Temperature that calibrates the probabilities, whether or not that is asked for; None if the model has none.
    positive : tuple of str
        The positive classes of `Predictions.called`; empty without an operating point.
    threshold : float or None
        Score from which an image is positive; None without an operating point. One that was fitted for a target
        sensitivity is one of uncalibrated probabilities.
    classes_ : ndarray of str, shape (classes,)
        Order of the probabilities, by the name that it has in scikit-learn.

    Raises
    ------
    BundleError, WeightsError
        As in `predict`. Also if `calibrated` is True and the model file has no temperature.
    InputError
        A positive class that the model does not have; or no class is positive, or there is no threshold for this
        sensitivity; or ``metrics.json`` beside it is damaged.
    """

    def __init__(
        self,
        model: PathInput,
        *,
        weights: Many[TextInput] = (),
        calibrated: bool = False,
        positive: Many[TextInput] = (),
        threshold: float | None = None,
        sensitivity: float | None = None,
    ) -> None:
        self.path = find_bundle(model)
        with advised():
            weights_given = weight_options(weights)
            file, self._model = ready_model(self.path, weights_given)
        bundle = self._model.bundle
        options: Content = {
            "calibrated": calibrated,
            "positive": positive,
            "threshold": threshold,
            "sensitivity": sensitivity,
        }
        self._settings = PredictSettings(**options)
        self._again = functools.partial(type(self), self.path, weights=weights_given, **options)
        self._settings.check(self.path, bundle)
        self._point = self._settings.point(self.path)
        self._warned: dict[str, str] = {}
        self.classes_ = np.array(bundle.classes)
        self.sha256 = file.sha256
        self.verdict = verdict_of(self.path)
        self.temperature = bundle.temperature
        self.positive = self._point.positive if self._point else ()
        self.threshold = self._point.threshold if self._point else None

    def __repr__(self) -> str:
        return f"Predictor({str(self.path)!r}, classes={self._model.bundle.classes})"

    def __reduce__(self) -> tuple[Any, ...]:
        return self._again, ()

    def predict(
        self,
        images: Many[Image],
        *,
        names: Many[TextInput] | None = None,
        mpp: float | None = None,
        skip_errors: bool = False,
    ) -> Predictions:
        """Predict images. The order is kept, also of the rows of a data frame or manifest; a folder is sorted.

        The probabilities equal those of ``bchisto predict``, since random crops are seeded by the pixels of an image.

        Parameters
        ----------
        images : sequence of path, ndarray, PIL.Image.Image or pandas.DataFrame
            Files, folders, manifests, also as data frames, RGB arrays of uint8 with shape (height, width, 3), and
            pictures of Pillow, which are converted as files are; but Pillow itself cuts colours of 16 bits to 8. A
            single one is accepted, and an array of shape (n, height, width, 3) is n images. A path that is given twice
            has two rows; of copies with one id in a folder or manifest, only one has.
        names : sequence of str, optional
            What to call the images, in `Predictions`, messages and log lines: a different text for each, if none is a
            folder.
        mpp : float, optional
            Micrometres per pixel of all images, if their files do not contain it.
        skip_errors : bool
            Leave out images that cannot be used, as `Predictions.failures` names them, unless none can be used.

        Returns
        -------
        Predictions

        Raises
        ------
        MissingInputError
            A path is not there, without `skip_errors`.
        InputError
            There are no images, two that are not alike have one path, a manifest does not fit, or names do not.
        ImageError
            A file is damaged or not an image, an array or picture is not RGB, an image is too small for the model, or
            none can be used. Most are an InputError too, so catch an ImageError first.
        """
        model = self._model
        bundle = model.bundle
        settings = replace(self._settings, mpp=mpp)
        notes: Notes = {}
        reader = functools.partial(new_images, reading=bundle.reading, classes=bundle.classes)
        with advised("names"):
            given, failures = image_records(images, reader, names=names, skip_errors=skip_errors)
            rows = _distinct(given)
            records, refused = check_sizes(
                list(dict.fromkeys(rows)),
                model=model,
                mpp=settings.mpp,
                skip_errors=skip_errors,
                warned=self._warned,
                notes=notes,
            )
            results: Results = dict(refused)
            for start in range(0, len(records), model.images_per_block):
                block = records[start : start + model.images_per_block]
                results |= predict_records(
                    model, block, ticker=Ticker(None), skip_errors=skip_errors, warns=True
                )
            predicted = Predicted(rows, results, bundle, self.path, self.sha256, notes=notes)
            failures |= predicted.failures
        failures = {image: reason for image, reason in failures.items() if reason}
        warn_left_out(failures, dict(refused))
        for text in failures.values():
            if not predicted.usable:
                raise RefusedImageError("none of the images can be used; first: {}", text)
        result = tabulate(predicted, settings=settings, point=self._point)
        table = result.table
        outlier = percentiles = None
        if result.outliers is not None:
            outlier = result.outliers.marked
            percentiles = result.outliers.percentiles
        return Predictions(
            image_ids=tuple(record.image_id for record in table.records),
            classes=bundle.classes,
            probabilities=table.probabilities,
            predicted=np.array(table.answers.predicted),
            confidence=table.answers.confidence,
            called_from=table.answers.called_from,
            uncertain=table.answers.unsure,
            called=result.positive,
            outlier=outlier,
            outlier_percentile=percentiles,
            trained=None if bundle.training is None else np.array(result.trained),
            blank=np.array(result.blank),
            warnings=predicted.warnings,
            columns=dict(table.further),
            banners=result.banners,
            mixed=result.mixed,
            failures=failures,
        )

    def predict_proba(self, images: Many[Image], *, mpp: float | None = None) -> Floats:
        """Return only the probabilities of `predict`, float64 of shape (n, classes); `classes_` has their order."""
        return self.predict(images, mpp=mpp).probabilities


def _distinct(images: Sequence[ImageRecord]) -> list[ImageRecord]:
    """Return records in which each image has an id of its own: files with the same name get their paths as ids."""
    times = Counter(image.image_id for image in set(images))
    distinct: dict[str, ImageRecord] = {}
    rows = []
    for image in images:
        if times[image.image_id] > 1:
            image = replace(image, image_id=str(image.path))
        rows.append(image)
        if distinct.setdefault(image.image_id, image) != image:
            raise InputError(
                "{images} {}: is given twice, and not alike; give it once", image.image_id
            )
    return rows
