"""Batches for Keras: samples read, augmented and stacked ahead of the network, the same in any number of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .augment import OFFLINE, make_augmenter, make_offline
from .images import Image, ImageBank
from .patches import Indices, PatchRule, Samples
from .regions import make_turner

__all__ = ["Source", "still_batches", "training_batches"]

_QUEUE = 16
"""Batches prepared ahead where threads prepare them (ours)."""


@dataclass(frozen=True)
class Source:
    """Images, their labels, and how they become samples.

    Attributes
    ----------
    bank : ImageBank
    labels : ndarray of int64, shape (n,)
    rule : PatchRule
    size : int
        Side of the network's input, pixels.
    seed : int
    batch_size : int
    workers : int
        Threads that prepare batches; they change nothing but the time.
    """

    bank: ImageBank
    labels: Indices
    rule: PatchRule
    size: int
    seed: int
    batch_size: int
    workers: int = 1

    def samples(self, positions: Indices, *, copies: int = 1) -> Samples:
        """List every patch of these images."""
        return Samples.of(positions, self.bank.counts(positions, self.rule), copies=copies)

    def places(self, position: int, *, epoch: int | None = None) -> list[tuple[int, int]]:
        """Return the corners of an image's patches; random ones are others in each epoch, and fixed without one."""
        key = self.bank.key(position)
        entropy = (self.seed, key) if epoch is None else (self.seed, key, epoch)
        return self.rule.places(*self.bank.shape(position), entropy=entropy)

    def read(self, position: int, number: int, *, epoch: int | None = None) -> Image:
        """Return one sample."""
        place = self.places(position, epoch=epoch)[number]
        return self.bank.patch(position, place, rule=self.rule, size=self.size)


def _stack(source: Source, samples: Samples, order: Indices, picture: Callable[[int], Image]) -> Any:
    """Return a Keras data set over the samples in an order; `picture` makes the image of one."""
    import keras

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return -(-len(order) // source.batch_size)

        def __getitem__(self, number: int) -> tuple[npt.NDArray[np.float32], Indices]:
            chosen = order[number * source.batch_size : (number + 1) * source.batch_size]
            pictures = np.stack([picture(place) for place in chosen.tolist()])
            return pictures.astype(np.float32), source.labels[samples.images[chosen]]

    return Batches(workers=source.workers, max_queue_size=_QUEUE)


def still_batches(source: Source, samples: Samples) -> Any:
    """Return the samples as they are, in their order, for validation and prediction."""

    def picture(place: int) -> Image:
        return source.read(int(samples.images[place]), int(samples.numbers[place]))

    return _stack(source, samples, np.arange(len(samples)), picture)


def training_batches(
    source: Source, samples: Samples, *, augmentations: tuple[str, ...], crops: int
) -> Callable[[int], Any]:
    """Return a function of the epoch to its shuffled, augmented batches.

    Parameters
    ----------
    source : Source
    samples : Samples
    augmentations : tuple of str
        Of `AUGMENTATIONS` and ``rotations-crops``, which comes first; whole images are turned within their regions, if
        the bank holds these.
    crops : int
        Of each rotation of ``rotations-crops``.
    """
    regions = source.bank.regions if source.rule.kind == "resize" and OFFLINE in augmentations else None
    held = threading.local()  # the pipelines of albumentations carry their random state

    def pipelines() -> tuple[Any, Any]:
        if not hasattr(held, "pipelines"):
            online = tuple(name for name in augmentations if name != OFFLINE)
            make: Any = make_offline if regions is None else make_turner
            first = make(size=source.size, crops=crops, seed=source.seed) if OFFLINE in augmentations else None
            held.pipelines = first, make_augmenter(online, size=source.size) if online else None
        found: tuple[Any, Any] = held.pipelines
        return found

    def batches(epoch: int) -> Any:
        order = np.random.default_rng(np.random.SeedSequence([source.seed, epoch])).permutation(len(samples))

        def picture(place: int) -> Any:
            position, number, copy = (int(part[place]) for part in (samples.images, samples.numbers, samples.copies))
            image: Any = source.read(position, number, epoch=epoch) if regions is None else regions[position]
            offline, online = pipelines()
            key = source.bank.key(position)
            if offline is not None:
                image = offline(image, key, copy)
            if online is not None:
                image = online(image, np.random.SeedSequence([source.seed, key, epoch, place]))
            return image

        return _stack(source, samples, order, picture)

    return batches
