"""New images with a bundle of fine-tuned networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..core import ImageError
from ..data import ImageRecord, LeastSize, crop_key, decode_record, pixels_sha256
from ..jobs import Ticker, map_ahead_in_threads, prepare_backend, visible_gpus
from .augment import Image
from .batches import Source
from .bundle import CnnBundle
from .images import ImageBank, StainTreatment, make_treatment
from .model import resolved
from .units import predict_samples

_MOST_PATCHES = 100_000
"""Bound on the patches of an image: past it, its prediction takes days."""


@dataclass(frozen=True)
class CnnModel:
    """Networks that are ready to predict, see `bchisto.predict.Model`.

    Attributes
    ----------
    bundle : CnnBundle
    """

    bundle: CnnBundle

    images_per_block = 16  # and in memory at once
    on_keras = True
    step_name = "predictions"
    precisions: ClassVar[dict[str, str]] = {}

    @property
    def computed_by(self) -> dict[str, Any]:
        """What computes the predictions."""
        return {"backend": prepare_backend()}

    @property
    def steps(self) -> int:
        """Progress steps per image: models."""
        return len(self.bundle.models)

    @property
    def needs(self) -> tuple[LeastSize, ...]:
        """What an image must be large enough for."""
        return (self.bundle.settings.rule,)

    def predict(
        self, records: Sequence[ImageRecord], *, ticker: Ticker, skip_errors: bool, helpers: int = 1
    ) -> Iterator[tuple[ImageRecord, npt.NDArray[np.float64] | str, str, npt.NDArray[np.float64]]]:
        """Predict images: the mean probability over the patches of each, then over the fold models.

        Parameters
        ----------
        records : sequence of ImageRecord
            As many as shall be in memory at once.
        ticker : Ticker
            Ticks once per image and model.
        skip_errors : bool
        helpers : int
            Threads that decode images and prepare batches ahead of the networks.

        Yields
        ------
        (record, probabilities or message, pixels, compared)
            float64 of shape (classes,), or why the image cannot be used; the hash of its decoded pixels; no numbers.

        Raises
        ------
        ImageError
            Such an image, without `skip_errors`.
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
            # its training images are not compared: nothing is known of how far a network's inner numbers carry that
            yield record, failures.get(image_id) or mean[image_id], pixels.get(image_id, ""), np.empty(0)


def _check_number(record: ImageRecord, patches: int) -> None:
    if patches > _MOST_PATCHES:
        raise ImageError(f"{record.path}: {patches:,} patches, more than {_MOST_PATCHES:,}; give smaller images")


def _predict(model: Any, source: Source, *, classes: int) -> npt.NDArray[np.float64]:
    """Return the mean over the patches of each image, float64 of shape (images, classes).

    A batch holds the patches of one image alone: in a batch with others the last bits of its probabilities would depend
    on these. On a GPU, where a batch of one costs many times its share and the last bits depend on the card, images go
    together.
    """
    positions = np.arange(len(source.bank))
    batches = [positions] if visible_gpus() else np.split(positions, len(positions))
    patches = np.concatenate([predict_samples(model, source, batch, classes=classes) for batch in batches])
    ends = np.cumsum(source.bank.counts(positions, source.rule))[:-1]
    return np.array([part.mean(axis=0) for part in np.split(patches, ends)])
