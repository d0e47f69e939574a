"""New images with a bundle of fine-tuned networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import ImageRecord, crop_key, decode_record, pixels_sha256
from ..errors import ImageError
from ..jobs import Ticker, map_ahead_in_threads, visible_gpus
from .augment import Image
from .batches import Source
from .bundle import CnnBundle
from .images import ImageBank, StainOutcome, make_treatment
from .model import resolved
from .units import predict_samples

_MOST_PATCHES = 100_000
"""Bound on the patches of an image (ours): past it, its prediction takes days."""


def predict_images(
    bundle: CnnBundle,
    records: Sequence[ImageRecord],
    *,
    ticker: Ticker,
    skip_errors: bool,
    helpers: int = 1,
    pixels: dict[str, str] | None = None,
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
    helpers : int
        Threads that decode images and prepare batches ahead of the networks.
    pixels : dict of str to str, optional
        Gets the hash of the decoded pixels of each image.

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
    outcome = StainOutcome()
    size = resolved(settings)["size"]
    treat = make_treatment(stain=settings.stain, rule=settings.rule, size=size, outcome=outcome)
    usable: dict[str, tuple[Image, str]] = {}
    failures: dict[str, str] = {}

    def attempt(record: ImageRecord) -> tuple[Image, str] | ImageError:
        try:
            image = decode_record(record)
            _check_number(record, settings.rule.number(*image.shape[:2]))
            if pixels is not None:
                pixels[record.image_id] = pixels_sha256(image)
            return treat(record, image), crop_key(record, image, crop_seed=bundle.crop_seed)
        except ImageError as error:
            return error

    for record, found in zip(records, map_ahead_in_threads(attempt, records, threads=helpers), strict=True):
        if isinstance(found, ImageError):
            if not skip_errors:
                raise found
            failures[record.image_id] = str(found)
            ticker.tick(len(bundle.models))
        else:
            usable[record.image_id] = found
    outcome.warn(images=None, stain=settings.stain)
    mean: dict[str, npt.NDArray[np.float64]] = {}
    if usable:
        bank = ImageBank.of([image for image, _ in usable.values()], [key for _, key in usable.values()])
        source = Source.of(settings, bank, np.zeros(len(bank), dtype=np.int64), workers=helpers)
        total = np.zeros((len(bank), len(bundle.classes)))
        for model in bundle.models.values():
            total += _predict(model, source, classes=len(bundle.classes))
            ticker.tick(len(bank))
        mean = dict(zip(usable, total / len(bundle.models), strict=True))
    for record in records:
        yield record, failures.get(record.image_id) or mean[record.image_id]


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
    together = [positions] if visible_gpus() else np.split(positions, len(positions))
    found = np.concatenate([predict_samples(model, source, some, classes=classes) for some in together])
    ends = np.cumsum(source.bank.counts(positions, source.rule))[:-1]
    return np.array([part.mean(axis=0) for part in np.split(found, ends)])
