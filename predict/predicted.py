"""Predictions of images as things with keys: those that an interrupted command kept are not made again."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import OutputError, limited
from ..crossval import BundleFacts
from ..data import ImageRecord, record_sha256
from ..formats import file_sha256
from ..jobs import Ticker, Work, do_missing, key_of, read_pack, write_pack
from .boosted import BoostedModel
from .model import Model, ModelFile, load_alike, packages_of
from .records import PARAMETERS

_KIND = "prediction 2"
"""What the key of a prediction begins with; another number where predicting changes."""

_GPU_BLOCK = 32
"""Images in a unit of work on a GPU at least."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """What a model file gives for an image.

    Attributes
    ----------
    probabilities : ndarray of float64, shape (classes,)
    trained : bool
        Whether the image is known to have trained a model.
    compared : ndarray of float64, shape (n,)
        With the training images, see `bchisto.boost.Bundle.compare`.
    """

    probabilities: npt.NDArray[np.float64]
    trained: bool
    compared: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Predicted:
    """Images with what was predicted of each.

    Attributes
    ----------
    records : list of ImageRecord
        In the order of the table.
    results : dict of str to Prediction or str
        By image id; why an image cannot be used in the place of its prediction.
    bundle : BundleFacts
        The model file, read.
    model : Path
        The model file, and
    sha256 : str
        its hash.
    """

    records: Sequence[ImageRecord]
    results: Mapping[str, Prediction | str]
    bundle: BundleFacts
    model: Path
    sha256: str


@dataclass(frozen=True)
class ImageUnit:
    """An image, the SHA-256 of its content, and the key of its prediction."""

    record: ImageRecord
    sha256: str
    key: str


@dataclass(frozen=True)
class PredictBlock:
    """Predicts some images and keeps what was predicted, in any process.

    Attributes
    ----------
    file : ModelFile
    computed_by : mapping
        See `Model.computed_by`: of the process that named the keys.
    folder : Path
        ``<out>.parts``.
    skip_errors : bool
    helpers : int
        Processes or threads that prepare images beside the one that predicts.
    """

    file: ModelFile
    computed_by: Mapping[str, Any]
    folder: Path
    skip_errors: bool
    helpers: int = 1

    def __call__(self, units: tuple[ImageUnit, ...], ticker: Ticker) -> dict[str, Prediction | str]:
        """Return the prediction of each image by its id, or why it cannot be used."""
        model = load_alike(self.file, self.computed_by)
        records = [unit.record for unit in units]
        predicted = predict_records(model, records, ticker=ticker, skip_errors=self.skip_errors, helpers=self.helpers)
        keep(self.folder, {unit.key: predicted[unit.record.image_id] for unit in units})
        return predicted


def predict_records(
    model: Model, records: Sequence[ImageRecord], *, ticker: Ticker, skip_errors: bool, helpers: int = 1
) -> dict[str, Prediction | str]:
    """Predict images in this process.

    Parameters
    ----------
    model : Model
    records : sequence of ImageRecord
        After `check_sizes`.
    ticker : Ticker
    skip_errors : bool
    helpers : int
        Processes or threads that prepare images beside this one.

    Returns
    -------
    dict of str to Prediction or str
        By image id; why an image cannot be used in the place of its prediction.

    Raises
    ------
    ImageError
        An image that cannot be used, without `skip_errors`.
    """
    training = model.bundle.training
    predicted: dict[str, Prediction | str] = {}
    for record, result, pixels, compared in model.predict(
        records, ticker=ticker, skip_errors=skip_errors, helpers=helpers
    ):
        if isinstance(result, str):
            predicted[record.image_id] = limited(result, PARAMETERS)
        else:
            trained = training is not None and pixels in training.hashes
            predicted[record.image_id] = Prediction(result, trained, compared)
    return predicted


def keep(folder: Path, predicted: Mapping[str, Prediction | str]) -> None:
    """Write a pack of predictions by their keys; images that cannot be used are looked at again by the next command.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    kept = {key: prediction for key, prediction in predicted.items() if isinstance(prediction, Prediction)}
    if not kept:
        return
    pack = key_of("pack of predictions", keys=list(kept))
    arrays = {
        "keys": np.array([list(bytes.fromhex(key)) for key in kept], np.uint8),
        "probabilities": np.array([prediction.probabilities for prediction in kept.values()]),
        "trained": np.array([prediction.trained for prediction in kept.values()]),
        "compared": np.array([prediction.compared for prediction in kept.values()]),
    }
    try:
        write_pack(folder / f"{pack}.npz", pack, arrays)
    except OutputError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise  # else another process has finished the table, and removed the folder


def read_kept(folder: Path) -> dict[str, Prediction]:
    """Return what an interrupted command kept, by key."""
    kept: dict[str, Prediction] = {}
    shapes = {"keys": (None, 32), "probabilities": (None, None), "trained": (None,), "compared": (None, None)}
    for path in sorted(folder.glob("*.npz")):
        if (arrays := read_pack(path, path.stem, shapes)) is not None:
            keys = [row.tobytes().hex() for row in arrays["keys"]]
            predictions = map(Prediction, arrays["probabilities"], map(bool, arrays["trained"]), arrays["compared"])
            kept.update(zip(keys, predictions, strict=False))
    return kept


def image_units(records: Sequence[ImageRecord], *, file: ModelFile, model: Model) -> list[ImageUnit]:
    """Return images with keys of all that changes their predictions: neither names nor places are in them."""
    decides = {"model": file.sha256, "computed_by": model.computed_by}
    rescales = isinstance(model, BoostedModel) and any(view.unit for view in model.views)
    units = []
    for record in records:
        sha256 = record_sha256(record, file_sha256(record.path))
        content = {
            "sha256": sha256,
            "suffix": record.path.suffix.casefold(),  # by which some formats are read
            "stretch": record.stretch,
            **({"mpp": record.mpp} if rescales else {}),
        }
        units.append(ImageUnit(record, sha256, key_of(_KIND, **decides, image=content)))
    return units


def images_digest(units: Sequence[ImageUnit]) -> str:
    """Return the identity of some images: of their ids and contents, in their order."""
    return hashlib.sha256("".join(f"{unit.record.image_id}\0{unit.sha256}\n" for unit in units).encode()).hexdigest()


def predict_missing(
    units: Sequence[ImageUnit], *, file: ModelFile, model: Model, folder: Path, work: Work
) -> dict[str, Prediction | str]:
    """Predict images that are not kept in a folder, and keep them there until the table is whole.

    Returns
    -------
    dict of str to Prediction or str
        By image id, in the order of the units; why an image cannot be used in the place of its prediction.

    Raises
    ------
    OutputError
        What was predicted cannot be kept.
    ImageError
        An image that cannot be used, without `Work.skip_errors`; finished blocks are kept.
    """
    kept = read_kept(folder)
    resources = work.networks() if model.on_keras else work.cpu()
    # beside a GPU images are prepared ahead, which takes several in a block
    size = max(model.images_per_block, _GPU_BLOCK) if resources.gpus else model.images_per_block
    missing = sum(unit.key not in kept for unit in units)
    helpers = resources.helpers(-(-missing // size)) if resources.gpus else 1
    _, blocks = do_missing(
        PredictBlock(file, model.computed_by, folder, work.skip_errors, helpers),
        units,
        read=lambda unit: kept.get(unit.key),
        steps=lambda unit: model.steps,
        label="predict",
        finished="images are predicted",
        step_name=model.step_name,
        bundled=partial(_blocks, size=size),
        work=work,
        resources=resources,
        begin=lambda: work.environments(folder.parent, packages_of(model)),
    )
    if work.checks:
        return {}
    made = {image: result for block in blocks for image, result in block.items()}
    return {unit.record.image_id: made.get(unit.record.image_id) or kept[unit.key] for unit in units}


def _blocks(units: Sequence[ImageUnit], *, size: int) -> list[tuple[ImageUnit, ...]]:
    return [tuple(units[start : start + size]) for start in range(0, len(units), size)]
