"""Batches for Keras, prepared in threads ahead of the network. The number of threads does not change them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.formats import Array, Integers, Pixels
from .images import ImageBank
from .model import resolved
from .samples import OFFLINE, EpochSamples, PatchRule, make_augmenter, make_turner
from .settings import FinetuneSettings

_QUEUE = 16
"""Number of batches that threads prepare ahead."""


@dataclass(frozen=True)
class Source:
    """Images with labels, and the rules by which they become samples.

    Attributes
    ----------
    bank : ImageBank
    labels : ndarray of int64, shape (n,)
    rule : PatchRule
    size : int
        Side of the network's input, in pixels.
    seed : int
    batch_size : int
    workers : int
        Number of threads that prepare batches.
    """

    bank: ImageBank
    labels: Integers
    rule: PatchRule
    size: int
    seed: int
    batch_size: int
    workers: int = 1

    @classmethod
    def of(
        cls, settings: FinetuneSettings, bank: ImageBank, labels: Integers, *, workers: int = 1
    ) -> Source:
        """Return a source whose samples fit the network of these settings."""
        values = resolved(settings)
        return cls(
            bank,
            labels,
            settings.rule,
            values["size"],
            settings.seed,
            values["batch_size"],
            workers,
        )

    def samples(self, positions: Integers, *, copies: int = 1) -> EpochSamples:
        """Return every patch of these images as samples, each `copies` times."""
        return EpochSamples.of(positions, self.bank.counts(positions, self.rule), copies=copies)

    def corners(
        self, position: int, *, epoch: int | None = None, again: int = 0
    ) -> list[tuple[int, int]]:
        """Return the top-left corners of an image's patches.

        Random corners depend on the epoch and on `again`, the number of earlier uses of the image in the epoch. Without
        an epoch they are fixed.
        """
        entropy = [self.seed, self.bank.key(position)]
        if epoch is not None:
            entropy.append(epoch)
            if again:
                entropy.append(again)
        return self.rule.corners(*self.bank.shape(position), entropy=tuple(entropy))

    def read(
        self, position: int, number: int, *, epoch: int | None = None, again: int = 0
    ) -> Pixels:
        """Return one sample."""
        corner = self.corners(position, epoch=epoch, again=again)[number]
        return self.bank.patch(position, corner, rule=self.rule, size=self.size)


def _stack(
    source: Source,
    samples: EpochSamples,
    order: Integers,
    picture: Callable[[int], Array],
    weights: Mapping[int, float] | None = None,
) -> Any:
    """Return a Keras data set of the samples in a given order. `picture` returns the pixels of a sample."""
    import keras

    labels = source.labels[samples.images]
    shares = None
    if weights is not None:
        shares = np.array([weights[int(label)] for label in labels], dtype=np.float32)

    count = -(-len(order) // source.batch_size)

    def batch(number: int) -> tuple[Any, ...]:
        numbers = order[number * source.batch_size : (number + 1) * source.batch_size]
        # pixels stay bytes: the network converts them to floats on its device
        pictures = np.stack([picture(sample) for sample in numbers.tolist()])
        if shares is None:
            return pictures, labels[numbers]
        return pictures, labels[numbers], shares[numbers]

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __init__(self, read: Any) -> None:
            super().__init__(workers=source.workers, max_queue_size=_QUEUE)
            self.read = read

        def __len__(self) -> int:
            return count

        def __getitem__(self, number: int) -> Any:
            return self.read(number)

        def release(self) -> None:
            """Release the content of the batches, since TensorFlow keeps every data set that it has read."""
            self.read = None

    # nothing else refers to what the function reads, so that `release` frees it
    return Batches(batch)


def still_batches(
    source: Source, samples: EpochSamples, *, weights: Mapping[int, float] | None = None
) -> Any:
    """Return batches of the samples in order and without augmentation, for validation and prediction.

    Parameters
    ----------
    source : Source
    samples : EpochSamples
    weights : mapping of int to float, optional
        Class to its weight in the loss.
    """

    def picture(sample: int) -> Pixels:
        return source.read(int(samples.images[sample]), int(samples.numbers[sample]))

    return _stack(source, samples, np.arange(len(samples)), picture, weights)


def training_batches(
    source: Source, samples: EpochSamples, *, augmentations: tuple[str, ...], crops: int
) -> Callable[[int], Any]:
    """Return a function that returns the augmented and shuffled batches of an epoch.

    Parameters
    ----------
    source : Source
    samples : EpochSamples
    augmentations : tuple of str
        Names from `AUGMENTATIONS`, and ``rotations-crops``, which is applied first, within the regions of the bank.
    crops : int
        Number of crops of each rotation of ``rotations-crops``.
    """
    uses_before = _times_before(samples)
    copies = int(samples.copies.max(initial=0)) + 1
    turner = None
    if OFFLINE in augmentations:
        turner = make_turner(size=source.size, crops=crops, seed=source.seed)
    online = [name for name in augmentations if name != OFFLINE]

    class Pipeline(threading.local):
        """Augmentation in one thread, since pipelines of albumentations have a random state."""

        def __init__(self) -> None:
            self.augment = make_augmenter(online, size=source.size)

    pipeline = Pipeline() if online else None

    def batches(epoch: int) -> Any:
        rng = np.random.default_rng([source.seed, epoch])
        order = rng.permutation(len(samples))

        def picture(sample: int) -> Any:
            position = int(samples.images[sample])
            key = source.bank.key(position)
            earlier = int(uses_before[sample])
            if turner is None:
                number = int(samples.numbers[sample])
                image = source.read(position, number, epoch=epoch, again=earlier)
            else:
                copy = int(samples.copies[sample]) + copies * earlier
                image = turner(source.bank.region(position), key, copy)
            if pipeline is None:
                return image
            return pipeline.augment(
                image, np.random.SeedSequence([source.seed, key, epoch, sample])
            )

        return _stack(source, samples, order, picture)

    return batches


def _times_before(samples: EpochSamples) -> Integers:
    """Return for each sample how often the same sample occurs before it; sampling can draw an image several times."""
    order = np.lexsort((samples.copies, samples.numbers, samples.images))
    ordered = np.stack([samples.images, samples.numbers, samples.copies])[:, order]
    positions = np.arange(len(samples))
    is_repeat = np.zeros(len(samples), dtype=bool)  # whether the sample equals the one before
    is_repeat[1:] = (ordered[:, 1:] == ordered[:, :-1]).all(axis=0)
    times = np.empty(len(samples), dtype=np.int64)
    times[order] = positions - np.maximum.accumulate(np.where(is_repeat, 0, positions))
    return times
