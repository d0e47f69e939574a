"""An encoder that is not trained: what it makes of a sample is computed once for a fold, and not in every epoch."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .augment import OFFLINE
from .batches import Source, outputs_of, still_batches, training_batches
from .model import compile_model
from .patches import Samples
from .settings import FinetuneSettings

_log = logging.getLogger(__name__)

_MOST_BYTES = 2**30
"""Of features in memory (ours); where there are more of them, the encoder runs in every epoch."""

Features = npt.NDArray[np.float32]


def keeps_features(settings: FinetuneSettings) -> bool:
    """Return whether an encoder makes the same of each sample in every epoch."""
    fixed = settings.rule.kind != "random" and set(settings.augmentations) <= {OFFLINE}
    return settings.freeze == "all" and fixed


@dataclass(frozen=True)
class Split:
    """A network in two, which share its layers and variables.

    Attributes
    ----------
    encoder : keras.Model
        From images to what the top starts from.
    top : keras.Model
        Compiled, with the optimiser of the whole network.
    """

    encoder: Any
    top: Any

    def fits(self, samples: int) -> bool:
        """Return whether the features of so many samples are held in memory."""
        return 4 * samples * int(np.prod(self.encoder.output.shape[1:])) <= _MOST_BYTES

    def features(
        self, source: Source, samples: Samples, held: Samples, *, augmentations: tuple[str, ...], crops: int
    ) -> tuple[Features, Features] | None:
        """Return the features of samples that train and of those that validate, float32; None if they are too many."""
        if not self.fits(many := len(samples) + len(held)):
            limit = _MOST_BYTES / 2**30
            _log.info("the features of %d samples take more than %.0f GB: the encoder runs in every epoch", many, limit)
            return None
        judged = self._outputs(still_batches(source, held))
        if OFFLINE in augmentations:  # every sample is a picture of its own
            make = training_batches(source, samples, augmentations=augmentations, crops=crops)
            return self._outputs(make(0, shuffled=False)), judged
        pairs = np.stack([samples.images, samples.numbers])
        (images, numbers), places = np.unique(pairs, axis=1, return_inverse=True)
        distinct = Samples(images, numbers, np.zeros_like(images))
        return self._outputs(still_batches(source, distinct))[places.ravel()], judged

    def _outputs(self, batches: Any) -> Features:
        nothing = np.empty((0, *self.encoder.output.shape[1:]), np.float32)
        return np.concatenate([nothing, *outputs_of(self.encoder, batches)])


def split_frozen(model: Any, settings: FinetuneSettings) -> Split:
    """Part a compiled network whose encoder is frozen, where the first layer begins that is trained or drops."""
    import keras

    cut = model.get_layer("average").output if settings.top == "average" else model.get_layer("top_conv").input
    split = Split(keras.Model(model.input, cut), keras.Model(cut, model.output))
    compile_model(split.top, model.optimizer)
    return split
