"""Predict new images with fine-tuned networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..core import ImageError
from ..core.jobs import Ticker, map_ahead_in_threads, prepare_backend, visible_gpus
from ..data import ImageRecord, LeastSize, crop_key, decode_record, pixels_sha256
from .augment import Image
from .batches import Source
from .bundle import CnnBundle
from .images import ImageBank, StainTreatment, make_treatment
from .model import resolved
from .units import predict_samples

_MOST_PATCHES = 100_000
"""Largest number of patches of an image; more would take days."""


@dataclass(frozen=True)
class CnnModel:
    """Networks that are ready to predict, see `bchisto.predict.Model`.

    Attributes
    ----------
    bundle : CnnBundle
    """

    bundle: CnnBundle

    images_per_block = 16  # all in memory at once
    on_keras = True
    step_name = "predictions"
    precisions: ClassVar[dict[str, str]] = {}

    @property
    def computed_by(self) -> dict[str, Any]:
        """The backend of Keras that computes the predictions."""
        return {"backend": prepare_backend()}

    @property
    def steps(self) -> int:
        """Progress steps per image: the number of models."""
        return len(self.bundle.models)

    @property
    def needs(self) -> tuple[LeastSize, ...]:
        """Patches for which an image must be large enough."""
        return (self.bundle.settings.rule,)

    def predict(
        self, records: Sequence[ImageRecord], *, ticker: Ticker, skip_errors: bool, helpers: int = 1
    ) -> Iterator[tuple[ImageRecord, npt.NDArray[np.float64] | str, str, npt.NDArray[np.float64]]]:
        """Predict images: the mean probability over the patches of each image, then over the fold models.

        Parameters
        ----------
        records : sequence of ImageRecord
            All of them are in memory at once.
        ticker : Ticker
            Ticks once per image and model.
        skip_errors : bool
        helpers : int
            Number of threads that decode images and prepare batches ahead of the networks.

        Yields
        ------
        (record, probabilities or message, pixels, compared)
            Probabilities are float64 of shape (classes,); a message is the reason why the image cannot be used.
            `pixels` is the checksum of its decoded pixels, and `compared` is empty.

        Raises
        ------
        ImageError
            An image cannot be used and `skip_errors` is False.
        """
        settings = self.bundle.settings
        stain = StainTreatment(settings.stain)
        size = resolved(settings)["size"]
        treat = make_treatment(stain, rule=settings.rule, size=size)
        usable: dict[str, tuple[Image, str]] = {}
        failures: dict[str, str] = {}
        pixels: dict[str, str] = {}

        def read(record: ImageRecord) -> tuple[Image, str] | ImageError:
            try:
                image = decode_record(record)
                _check_number(record, settings.rule.number(*image.shape[:2]))
                pixels[record.image_id] = pixels_sha256(image)
                return treat(record, image), crop_key(record, image, crop_seed="pixels")
            except ImageError as error:
                return error

        images = map_ahead_in_threads(read, records, threads=helpers)
        for record, image in zip(records, images, strict=True):
            if isinstance(image, ImageError):
                if not skip_errors:
                    raise image
                failures[record.image_id] = str(image)
                ticker.tick(len(self.bundle.models))
            else:
                usable[record.image_id] = image
        stain.warn(images=None)
        mean: dict[str, npt.NDArray[np.float64]] = {}
        if usable:
            bank = ImageBank.of([image for image, _ in usable.values()], [key for _, key in usable.values()])
            source = Source.of(settings, bank, np.zeros(len(bank), dtype=np.int64), workers=helpers)
            total = np.zeros((len(bank), len(self.bundle.classes)))
            for model in self.bundle.models.values():
                total += _predict(model, source, classes=len(self.bundle.classes))
                ticker.tick(len(bank))
            mean = dict(zip(usable, total / len(self.bundle.models), strict=True))
        for record in records:
            image_id = record.image_id
            # no comparison with training images: distances between a network's inner features were not validated
            yield record, failures.get(image_id) or mean[image_id], pixels.get(image_id, ""), np.empty(0)


def _check_number(record: ImageRecord, patches: int) -> None:
    if patches > _MOST_PATCHES:
        raise ImageError(f"{record.path}: {patches:,} patches, more than {_MOST_PATCHES:,}; give smaller images")


def _predict(model: Any, source: Source, *, classes: int) -> npt.NDArray[np.float64]:
    """Return the mean over the patches of each image, float64 of shape (images, classes).

    A batch holds the patches of only one image; otherwise the last bits of its probabilities would depend on the other
    images. On a GPU all images share batches, because single images would be many times slower there and the last bits
    depend on the card anyway.
    """
    positions = np.arange(len(source.bank))
    batches = [positions] if visible_gpus() else np.split(positions, len(positions))
    patches = np.concatenate([predict_samples(model, source, batch, classes=classes) for batch in batches])
    ends = np.cumsum(source.bank.counts(positions, source.rule))[:-1]
    return np.array([part.mean(axis=0) for part in np.split(patches, ends)])
