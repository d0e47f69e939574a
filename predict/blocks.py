"""Predict images in blocks, and keep each prediction under a key until the table is complete."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core import Entries, OutputError, limited
from ..core.formats import file_sha256
from ..core.jobs import Ticker, key_of, network_resources, read_pack, write_pack
from ..core.models import BundleFacts
from ..data import ImageRecord, header_findings, pixel_findings, record_sha256
from .boosted import Floats, Notes
from .images import PARAMETERS
from .model_file import Model, ModelFile, load_alike

_log = logging.getLogger(__name__)


_KIND = "prediction 5"
"""Prefix of the key of a prediction. Its number changes whenever predictions would change."""


class Prediction(NamedTuple):
    """The prediction of one image.

    Attributes
    ----------
    probabilities : ndarray of float64, shape (classes,)
    trained : bool
        Whether the image is known to have trained a model.
    compared : ndarray of float64, shape (n,)
        Comparison with the training images, see `bchisto.boost.Bundle.compare`.
    blank : bool
        Whether the image shows nothing.
    warnings : str
        Warnings of its file and pixels, if they were asked for, as lines.
    """

    probabilities: Floats
    trained: bool
    compared: Floats
    blank: bool = False
    warnings: str = ""


Results = dict[str, Prediction | str]
"""Name of an image to its prediction, or to the reason why it cannot be used."""


class Predicted(NamedTuple):
    """Images with their predictions.

    Attributes
    ----------
    records : list of ImageRecord
        In the order of the table.
    results : dict of str to Prediction or str
        Image id to the prediction, or to the reason why the image cannot be used.
    bundle : BundleFacts
        Content of the model file.
    model : Path
        The model file.
    sha256 : str
        Checksum of the model file.
    warned : tuple of str
        In what the images differ from those of training.
    notes : mapping of str to sequence of str, optional
        Such differences of each image by its id, see `check_sizes`.
    duplicates : dict of str to str, optional
        Paths of files that were left out as copies of an image, with its id.
    """

    records: Sequence[ImageRecord]
    results: Mapping[str, Prediction | str]
    bundle: BundleFacts
    model: Path
    sha256: str
    warned: tuple[str, ...] = ()
    notes: Mapping[str, Sequence[str]] | None = None
    duplicates: dict[str, str] | None = None

    @property
    def failures(self) -> dict[str, str]:
        """The images that cannot be used, with the reason."""
        return {image: result for image, result in self.results.items() if isinstance(result, str)}

    @property
    def usable(self) -> list[tuple[ImageRecord, Prediction]]:
        """The images that can be used, with their predictions."""
        results = ((record, self.results[record.image_id]) for record in self.records)
        return [(record, result) for record, result in results if isinstance(result, Prediction)]

    @property
    def warnings(self) -> tuple[tuple[str, ...], ...]:
        """Warnings of each image that can be used."""
        notes = self.notes or {}
        return tuple(
            (*notes.get(record.image_id, ()), *prediction.warnings.splitlines())
            for record, prediction in self.usable
        )


@dataclass(frozen=True)
class ImageUnit:
    """An image, the SHA-256 of its content, and the key of its prediction."""

    record: ImageRecord
    sha256: str
    key: str


@dataclass(frozen=True)
class PredictBlock:
    """Predicts a block of images in any process, and saves the predictions.

    Attributes
    ----------
    file : ModelFile
    computed_by : mapping
        Backend, precision and weights in the process that computed the keys, see `Model.computed_by`.
    folder : Path
        ``<out>.parts``.
    skip_errors : bool
    """

    file: ModelFile
    computed_by: Entries
    folder: Path
    skip_errors: bool

    def __call__(self, units: tuple[ImageUnit, ...], ticker: Ticker) -> Results:
        """Return the prediction of each image by its id, or the reason why it cannot be used."""
        model = load_alike(self.file, self.computed_by)
        records = [unit.record for unit in units]
        predicted = predict_records(
            model,
            records,
            ticker=ticker,
            skip_errors=self.skip_errors,
            helpers=helpers_of(model),
            warns=True,
        )
        keep(self.folder, {unit.key: predicted[unit.record.image_id] for unit in units})
        return predicted


def helpers_of(model: Model) -> int:
    """Return how many processes or threads of this process prepare images ahead of a GPU; 1 on the CPU."""
    resources = network_resources(on_keras=model.on_keras)
    if resources.gpus:
        return resources.cores
    return 1


def predict_records(
    model: Model,
    records: Sequence[ImageRecord],
    *,
    ticker: Ticker,
    skip_errors: bool,
    helpers: int = 1,
    warns: bool = False,
) -> Results:
    """Predict images in this process.

    Parameters
    ----------
    model : Model
    records : sequence of ImageRecord
        Images that `check_sizes` accepted.
    ticker : Ticker
    skip_errors : bool
    helpers : int
        Number of processes or threads that prepare images, in addition to this one.
    warns : bool
        Whether predictions have warnings.

    Returns
    -------
    dict of str to Prediction or str
        Image id to the prediction, or to the reason why the image cannot be used.

    Raises
    ------
    ImageError
        An image cannot be used and `skip_errors` is False.
    """
    training = model.bundle.training
    predicted: Results = {}
    notes: Notes | None = {} if warns else None
    for record, result, pixels, compared, blank in model.predict(
        records, ticker=ticker, skip_errors=skip_errors, helpers=helpers, notes=notes
    ):
        if isinstance(result, str):
            predicted[record.image_id] = limited(result, PARAMETERS)
        else:
            has_trained = training is not None and pixels in training.hashes
            predicted[record.image_id] = Prediction(result, has_trained, compared, blank)
    if notes is not None:
        for record in records:
            prediction = predicted[record.image_id]
            if isinstance(prediction, Prediction):
                texts = _warnings(record, notes.get(record.image_id, ()), blank=prediction.blank)
                predicted[record.image_id] = prediction._replace(warnings="\n".join(texts))
    return predicted


def _warnings(record: ImageRecord, notes: Sequence[str], *, blank: bool) -> Iterator[str]:
    """Yield warnings of the file of an image, of its pixels and stains, without its name."""
    findings = header_findings([record])
    if blank:
        findings += pixel_findings({}, [record.image_id], {})
    for text in [*(finding.message for finding in findings if finding.level == "warning"), *notes]:
        yield limited(text, PARAMETERS)


def keep(folder: Path, predicted: Mapping[str, Prediction | str]) -> Path | None:
    """Save predictions by their keys in one file, and return it; None if all images failed, which is not saved.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    usable = {
        key: prediction
        for key, prediction in predicted.items()
        if isinstance(prediction, Prediction)
    }
    if not usable:
        return None
    pack = key_of("pack of predictions", keys=list(usable))
    path = folder / f"{pack}.npz"
    arrays = {"keys": np.array([list(bytes.fromhex(key)) for key in usable], np.uint8)}
    for name in Prediction._fields:
        arrays[name] = np.array([getattr(prediction, name) for prediction in usable.values()])
    try:
        write_pack(path, pack, arrays)
    except OutputError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise  # otherwise another process has finished the table and removed the folder
    return path


def read_kept(folder: Path) -> dict[str, Prediction]:
    """Return the predictions that an interrupted command saved, by key."""
    predictions = {}
    shapes = {
        "keys": (None, 32),
        "probabilities": (None, None),
        "trained": (None,),
        "compared": (None, None),
        "blank": (None,),
        "warnings": (None,),
    }
    for path in sorted(folder.glob("*.npz")):
        arrays = read_pack(path, path.stem, shapes)
        if arrays is None:
            continue
        columns = (arrays[name] for name in shapes)
        for key, probabilities, has_trained, compared, blank, texts in zip(*columns, strict=False):
            predictions[key.tobytes().hex()] = Prediction(
                probabilities, bool(has_trained), compared, bool(blank), str(texts)
            )
    return predictions


def image_units(
    records: Sequence[ImageRecord], *, file: ModelFile, model: Model
) -> list[ImageUnit]:
    """Return images with keys. A key covers all that changes a prediction; the name and folder of an image do not."""
    computed = {"model": file.sha256, "computed_by": model.computed_by}
    units = []
    for record in records:
        sha256 = record_sha256(record, file_sha256(record.path))
        content = {
            "sha256": sha256,
            "suffix": record.path.suffix.casefold(),  # some formats are recognised by it
            "stretch": record.stretch,
        }
        if model.rescales:
            content["mpp"] = record.mpp
        units.append(ImageUnit(record, sha256, key_of(_KIND, **computed, image=content)))
    return units
