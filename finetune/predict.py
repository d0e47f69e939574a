"""New images with a bundle of fine-tuned networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..data import ImageRecord
from ..errors import ImageError
from ..jobs import Ticker
from .batches import Source
from .bundle import CnnBundle
from .images import Image, ImageBank, make_reader
from .model import resolved
from .units import predict_samples

__all__ = ["predict_images"]


def predict_images(
    bundle: CnnBundle, records: Sequence[ImageRecord], *, ticker: Ticker, skip_errors: bool
) -> Iterator[tuple[ImageRecord, npt.NDArray[np.float64] | str]]:
    """Predict images: the mean probability over the patches of each, then over the fold models.

    Parameters
    ----------
    bundle : CnnBundle
    records : sequence of ImageRecord
        As many as shall be in memory at once.
    ticker : Ticker
        Ticks once per image and model.
    skip_errors : bool

    Yields
    ------
    (record, probabilities or message)
        float64 of shape (classes,); a message instead for an image that cannot be used.

    Raises
    ------
    ImageError
        Such an image, without `skip_errors`.
    """
    settings = bundle.settings
    chosen = resolved(settings)
    read = make_reader(stain=settings.stain, rule=settings.rule, size=chosen["size"])
    images: dict[str, Image] = {}
    failures: dict[str, str] = {}
    for record in records:
        try:
            images[record.image_id] = read(record)
        except ImageError as error:
            if not skip_errors:
                raise
            failures[record.image_id] = str(error)
            ticker.tick(len(bundle.models))
    mean: dict[str, npt.NDArray[np.float64]] = {}
    if images:
        bank = ImageBank.of(list(images.values()), list(images))
        nothing = np.zeros(len(bank), dtype=np.int64)
        source = Source(bank, nothing, settings.rule, chosen["size"], settings.seed, chosen["batch_size"])
        positions = np.arange(len(bank))
        ends = np.cumsum(bank.counts(positions, settings.rule))[:-1]
        total = np.zeros((len(bank), len(bundle.classes)))
        for model in bundle.models.values():
            found = predict_samples(model, source, positions, classes=len(bundle.classes))
            total += [part.mean(axis=0) for part in np.split(found, ends)]
            ticker.tick(len(bank))
        mean = dict(zip(images, total / len(bundle.models), strict=True))
    for record in records:
        yield record, failures.get(record.image_id) or mean[record.image_id]
