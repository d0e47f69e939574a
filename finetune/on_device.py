"""Augmentation on a GPU, as layers in front of the network: what is drawn is drawn here, by the seeds of the CPU road.

A batch is then the images as they were read, uint8, and sixteen numbers for each. Isometries are those of the CPU road
exactly. Stain and brightness differ by one grey level at most, where the arithmetic rounds to different sides. Noise
has the same strength; its single values are drawn on the device. Rotations and crops stay on the CPU, and whatever is
augmented together with them, since the order counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..jobs import visible_gpus
from ..stains import TRANSMITTED_LIGHT, augmentation_matrix
from .augment import OFFLINE, Image, augmentation_ranges, drawing_pipeline, is_grey, stain_factors
from .model import compile_model, seed_generators

_THERE = {"isometries", "mirror", "brightness", "noise", "stain"}

_DRAWS = 16
"""Numbers of a sample: transposed, rows and columns reversed; the matrix of the stain; contrast and brightness; the
standard deviation of the noise, and whether it is one value per pixel."""

_TURNS = {
    "e": (0, 0, 0), "r90": (1, 1, 0), "r180": (0, 1, 1), "r270": (1, 0, 1),
    "v": (0, 1, 0), "h": (0, 0, 1), "t": (1, 0, 0), "hvt": (1, 1, 1),
}  # fmt: skip
"""The isometries by their names in albumentations: transposed first, then rows and columns reversed."""


def can_run_on_device(augmentations: Sequence[str]) -> bool:
    """Return whether all that is drawn anew in each epoch can be done on a device, and there is such a thing."""
    online = set(augmentation_ranges(augmentations)) - {OFFLINE}
    return bool(online) and online <= _THERE


def belongs_on_device(augmentations: Sequence[str]) -> bool:
    """Return whether the samples of a training are augmented on the device: where Keras's backend sees a GPU."""
    return can_run_on_device(augmentations) and bool(visible_gpus())


def make_drawer(augmentations: Sequence[str]) -> Callable[[Image, np.random.SeedSequence], npt.NDArray[np.float32]]:
    """Return a function of an image and a seed sequence to what `make_augmenter` would do with it, 16 numbers."""
    names = augmentation_ranges([name for name in augmentations if name != OFFLINE])
    pipeline = drawing_pipeline(names)
    probe = np.zeros((2, 2, 3), dtype=np.uint8)

    def draw(image: Image, sequence: np.random.SeedSequence) -> npt.NDArray[np.float32]:
        words = sequence.generate_state(3)
        found = np.zeros(_DRAWS, dtype=np.float32)
        found[3:12], found[12] = np.eye(3).ravel(), 1.0
        if "stain" in names:
            haem, eosin = stain_factors(words)
            found[3:12] = augmentation_matrix(hematoxylin=haem, eosin=eosin).ravel()
        pipeline.set_random_seed(int(words[0]))
        drawn = dict(pipeline(image=probe)["applied_transforms"])
        if "D4" in drawn:
            found[:3] = _TURNS[str(drawn["D4"]["group_element"])]
        if "HorizontalFlip" in drawn:
            found[2] = 1 - found[2]
        if "RandomBrightnessContrast" in drawn:
            found[12:14] = drawn["RandomBrightnessContrast"]["alpha"], drawn["RandomBrightnessContrast"]["beta"]
        if "noise" in names:
            found[14:] = drawn["Noise"]["sigma"], "stain" not in names and is_grey(image)
        return found

    return draw


def augmenting(model: Any, augmentations: Sequence[str]) -> Any:
    """Return a network that augments and then is `model`: compiled, with its variables and its optimiser.

    The noise is drawn from a generator of its own, see `seed_noise`.

    Parameters
    ----------
    model : keras.Model
        Compiled.
    augmentations : sequence of str

    Returns
    -------
    keras.Model
        Of ``image``, uint8 of shape (n, size, size, 3), and ``draws``, float32 of shape (n, 16), see `make_drawer`.
    """
    import keras

    names = set(augmentation_ranges(augmentations))

    class Augment(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="augment", dtype="float32")
            self.noise = keras.random.SeedGenerator(0) if "noise" in names else None

        def call(self, images: Any, draws: Any) -> Any:
            return _augmented(images, draws, names=names, noise=self.noise)

        def compute_output_spec(self, images: Any, draws: Any) -> Any:
            return keras.KerasTensor(images.shape, dtype="float32")

    images = keras.Input(model.input.shape[1:], dtype="uint8", name="image")
    draws = keras.Input((_DRAWS,), name="draws")
    learner = keras.Model({"image": images, "draws": draws}, model(Augment()(images, draws)))
    compile_model(learner, model.optimizer)
    return learner


def seed_noise(learner: Any, entropy: Sequence[int]) -> None:
    """Begin the noise of a network of `augmenting` anew; what it has come to is a part of the training's state."""
    seed_generators(learner.get_layer("augment"), entropy)


def _augmented(images: Any, draws: Any, *, names: set[str], noise: Any) -> Any:
    """Do what was drawn, in the order of `make_augmenter`; whole numbers from 0 to 255 as float32."""
    import keras
    from keras import ops

    def each(place: int) -> Any:
        return draws[:, place, None, None, None]

    def whole(values: Any) -> Any:
        return ops.floor(ops.clip(values, 0.0, 255.0))

    values = ops.cast(images, "float32")
    if "stain" in names:
        density = ops.log((values + 1.0) / TRANSMITTED_LIGHT)
        # not a matrix product, which GPUs round to ten bits unless told otherwise
        rows = [ops.stack([draws[:, 3 + 3 * k + j] for j in range(3)], axis=1)[:, None, None, :] for k in range(3)]
        mixed = sum(density[..., k, None] * rows[k] for k in range(3))
        values = whole(ops.exp(mixed) * TRANSMITTED_LIGHT - 1.0)
    if names & {"isometries", "mirror"}:
        values = ops.where(each(0) > 0.5, ops.transpose(values, (0, 2, 1, 3)), values)
        values = ops.where(each(1) > 0.5, ops.flip(values, axis=1), values)
        values = ops.where(each(2) > 0.5, ops.flip(values, axis=2), values)
    if "brightness" in names:
        values = whole(values * each(12) + each(13))
    if "noise" in names:
        drawn = keras.random.normal(ops.shape(values), seed=noise)
        shared = ops.broadcast_to(drawn[..., :1], ops.shape(values))
        added = 255.0 * each(14) * ops.where(each(15) > 0.5, shared, drawn)
        values = whole(values + ops.sign(added) * ops.floor(ops.abs(added)))  # whole numbers before they are added
    return values
