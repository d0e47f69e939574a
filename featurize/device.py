"""Feature extraction on a GPU: colours, crops, encoding and pooling in one compiled function, from one uint8 image.

Only the image at each scale, the stain matrices and the positions of crops go to the device. Only pooled features come
back. The formulas are the same as on the CPU. A pixel differs by at most one grey level, when the exponentials round
differently.

Inputs have only a few shapes, so that the function is not compiled for every image. Pixels are a flat list, padded to
one of a few lengths. A crop is three numbers that locate its pixels in this list. An incomplete batch of augmentations
is padded.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core import by_key
from ..core.formats import Array, Pixels
from ..encoders import Encoder, compile_tensors
from ..stains import TRANSMITTED_LIGHT, augmentation_matrix
from .crops import Augmentation, Crop, crop_boxes
from .pooling import CropDescription, Features
from .settings import FeaturizeSettings, View


def crop_map(box: Crop, *, crop: int, width: int) -> tuple[int, int, int]:
    """Return the position of a turned crop's pixels in the flat list of an image's pixels.

    Parameters
    ----------
    box : Crop
    crop : int
        Side of the crop, in pixels.
    width : int
        Width of the image, in pixels.

    Returns
    -------
    tuple of int
        Offset, row step and column step: pixel (i, j) is at offset + i * row step + j * column step.
    """

    def source(i: int, j: int) -> int:
        last = crop - 1
        if box.flip_rows:
            i = last - i
        if box.flip_columns:
            j = last - j
        turned = [(i, j), (j, last - i), (last - i, last - j), (last - j, i)]
        row, column = turned[box.turns % 4]
        return (box.top + row) * width + box.left + column

    offset = source(0, 0)
    return offset, source(1, 0) - offset, source(0, 1) - offset


def padded_length(pixels: int) -> int:
    """Return the length to which a list of pixels is padded: four lengths per octave, so at most a quarter more.

    Examples
    --------
    >>> padded_length(1024), padded_length(1025), padded_length(786_432)
    (1024, 1280, 786432)
    """
    quarter = int(2 ** max(0, math.ceil(math.log2(pixels)) - 3))
    return math.ceil(pixels / quarter) * quarter


Fetch = Callable[[], dict[str, Features]]
"""Waits for the device and returns: name of a feature file to float32 of shape (augmentations, d)."""


class DeviceDescriber:
    """Computes features of images on the device of Keras's backend.

    Parameters
    ----------
    targets : mapping
        Name of a feature file to encoder and view. Encoders with the same view get the same crops.
    settings : FeaturizeSettings
        `batch_size` limits the crops in one pass, and so its augmentations; there is always at least one.
    """

    def __init__(
        self, targets: Mapping[str, tuple[Encoder, View]], settings: FeaturizeSettings
    ) -> None:
        import keras

        self._settings = settings
        # JAX has 32-bit integers only; TensorFlow computes with 32-bit integers on the CPU, even if there is a GPU
        self._places = np.dtype(np.int32 if keras.backend.backend() == "jax" else np.int64)
        most = max(1, settings.crops_at_once // settings.crops)
        batches = math.ceil(settings.augmentations / most)
        # an even split, since the last batch is padded to the size of the others
        self._at_once = math.ceil(settings.augmentations / batches)
        self._views: dict[View, tuple[list[str], Callable[..., Any]]] = {}
        for view, names in by_key(targets, lambda name: targets[name][1]).items():
            function = _describe(
                [targets[name][0].graph for name in names],
                crop=view.crop,
                description=settings.description,
                colours=settings.color_range != (1.0, 1.0),
            )
            shapes = [
                ("uint8", (None, 3)),
                ("float32", (self._at_once, 3, 3)),
                (self._places.name, (self._at_once, settings.crops, 3)),
            ]
            self._views[view] = (names, compile_tensors(function, shapes))

    def start(self, images: Mapping[str, Pixels], drawn: Sequence[Augmentation]) -> Fetch:
        """Start the computation of all augmentations of one image, without waiting for the device.

        Parameters
        ----------
        images : mapping
            Level of a view to the normalised image, uint8 of shape (height, width, 3).
        drawn : sequence of Augmentation
            The augmentations.

        Returns
        -------
        Fetch
            Waits for the device and returns the features.
        """
        from keras import ops

        matrices = np.array(
            [augmentation_matrix(hematoxylin=a.hematoxylin, eosin=a.eosin) for a in drawn],
            np.float32,
        )
        description = self._settings.description
        frames = {
            view: description.frame(images[view.level], crop=view.crop) for view in self._views
        }
        # views of a scale share its pixels, which go to the device once, unless they are padded
        pixels = {id(frame): ops.convert_to_tensor(_flat(frame)) for frame in frames.values()}
        by_store: dict[str, list[Any]] = {}
        for view, (names, function) in self._views.items():
            maps = self._crop_maps(view, frames[view].shape, drawn)
            for start in range(0, len(drawn), self._at_once):
                numbers = np.arange(start, start + self._at_once)
                # the last augmentation again, since the function is compiled for one size
                padded_batch = np.minimum(numbers, len(drawn) - 1)
                pooled = function(
                    pixels[id(frames[view])], matrices[padded_batch], maps[padded_batch]
                )
                for name, values in zip(names, pooled, strict=True):
                    by_store.setdefault(name, []).append(values)

        def fetch() -> dict[str, Features]:
            features = {}
            for name, parts in by_store.items():
                rows = np.concatenate([ops.convert_to_numpy(part) for part in parts])
                # rows after the last augmentation only padded the last batch
                features[name] = rows[: len(drawn)].astype(np.float32)
            return features

        return fetch

    def _crop_maps(self, view: View, shape: Sequence[int], drawn: Sequence[Augmentation]) -> Array:
        """Return where the crops of each augmentation are in a frame, shape (augmentations, crops, 3)."""
        height, width = shape[:2]
        crop = view.crop
        maps = []
        for augmentation in drawn:
            boxes = crop_boxes(
                augmentation, height=height, width=width, crop=crop, count=self._settings.crops
            )
            maps.append([crop_map(box, crop=crop, width=width) for box in boxes])
        return np.array(maps, dtype=self._places)


@functools.lru_cache(maxsize=8)
def cached_describer(
    targets: tuple[tuple[str, tuple[Encoder, View]], ...], settings: FeaturizeSettings
) -> DeviceDescriber:
    """Return the describer for these encoders and views, compiled once per process and shared by its units."""
    return DeviceDescriber(dict(targets), settings)


def _flat(image: Pixels) -> Pixels:
    """Return the pixels of an image as a flat list, padded to one of a few lengths."""
    pixels = image.reshape(-1, 3)
    filled = np.zeros((padded_length(len(pixels)), 3), dtype=np.uint8)
    filled[: len(pixels)] = pixels
    return filled


def _describe(
    encoders: Sequence[Callable[[Any], Any]],
    *,
    crop: int,
    description: CropDescription,
    colours: bool,
) -> Callable[[Any, Any, Any], list[Any]]:
    """Return the function from pixels (p, 3), matrices (a, 3, 3) and crop maps (a, n, 3) to features (a, d) each."""
    from keras import ops

    def function(pixels: Any, matrices: Any, maps: Any) -> list[Any]:
        augmentations, count, _ = maps.shape
        steps = ops.arange(crop, dtype=maps.dtype)
        rows = steps[None, None, :, None]
        columns = steps[None, None, None, :]
        offset, by_row, by_column = (maps[:, :, k, None, None] for k in range(3))
        flat = ops.reshape(offset + by_row * rows + by_column * columns, (augmentations, -1))
        values = ops.cast(pixels, "float32")
        if colours:
            # colour only the pixels of crops: (a, n crop^2, 3)
            density = ops.take(ops.log((values + 1.0) / TRANSMITTED_LIGHT), flat, axis=0)
            # a sum and not a matrix product, which GPUs by default round to ten bits
            mixed = sum(density[:, :, k, None] * matrices[:, None, k, :] for k in range(3))
            bright = ops.exp(mixed) * TRANSMITTED_LIGHT
            shown = ops.floor(ops.clip(bright - 1.0, 0.0, 255.0))
        else:
            shown = ops.take(values, flat, axis=0)
        crops = ops.reshape(shown, (augmentations * count, crop, crop, 3))
        pooled = []
        for encode in encoders:
            # a copy, since Keras's preprocessing changes a tensor of PyTorch in place
            descriptors = encode(ops.copy(crops))
            grouped = ops.reshape(descriptors, (augmentations, count, descriptors.shape[-1]))
            pooled.append(description.pool_tensors(grouped))
        return pooled

    return function
