"""On a GPU: colours, crops, turns, encoding and pooling in one compiled function, from one uint8 image.

Only the image at each scale, the stain matrices and the corners of the crops go to the device; only pooled
descriptors come back. The formulas are those of the CPU road; a pixel differs from it by one grey level at most,
where the two exponentials round to different sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..stains import TRANSMITTED_LIGHT, augmentation_matrix
from .crops import Augmentation, Crop, crop_boxes
from .encoder import Encoder
from .engines import compile_function
from .settings import FeaturizeSettings, View

__all__ = ["DeviceDescriber", "crop_map"]


def crop_map(box: Crop, *, crop: int) -> npt.NDArray[np.int32]:
    """Return where a pixel of a turned crop comes from, as two affine maps.

    Parameters
    ----------
    box : Crop
    crop : int
        Pixels.

    Returns
    -------
    ndarray of int32, shape (2, 3)
        Row and column in the image of pixel (i, j): offset + by i * i + by j * j.
    """

    def source(i: int, j: int) -> tuple[int, int]:
        last = crop - 1
        i, j = (last - i if box.flip_rows else i), (last - j if box.flip_columns else j)
        r, c = [(i, j), (j, last - i), (last - i, last - j), (last - j, i)][box.turns % 4]
        return box.top + r, box.left + c

    (r0, c0), (ri, ci), (rj, cj) = source(0, 0), source(1, 0), source(0, 1)
    return np.array([[r0, ri - r0, rj - r0], [c0, ci - c0, cj - c0]], dtype=np.int32)


class DeviceDescriber:
    """Describes images on the device of Keras's backend.

    Parameters
    ----------
    targets : mapping
        Store name to encoder and view. Encoders that share a view are fed from the same crops.
    settings : FeaturizeSettings
        `batch_size` sets how many augmentations go at once: as many as their crops fit, at least one.
    """

    def __init__(self, targets: Mapping[str, tuple[Encoder, View]], settings: FeaturizeSettings) -> None:
        self._settings = settings
        self._views: dict[View, tuple[list[str], Callable[..., Any]]] = {}
        by_view: dict[View, dict[str, Encoder]] = {}
        for name, (encoder, view) in targets.items():
            by_view.setdefault(view, {})[name] = encoder
        colours = settings.color_range != (1.0, 1.0)
        for view, encoders in by_view.items():
            function = _describe(
                [encoder.graph for encoder in encoders.values()], crop=view.crop, power=settings.pool, colours=colours
            )
            self._views[view] = (list(encoders), compile_function(function))

    def describe(
        self, images: Mapping[float, npt.NDArray[np.uint8]], drawn: Sequence[Augmentation]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Describe all augmentations of one image.

        Parameters
        ----------
        images : mapping
            Scale to the normalised image, uint8 of shape (height, width, 3).
        drawn : sequence of Augmentation

        Returns
        -------
        dict of str to ndarray of float32, shape (augmentations, d)
        """
        settings = self._settings
        at_once = max(1, settings.batch_size // settings.crops)
        found: dict[str, list[npt.NDArray[np.float32]]] = {}
        for view, (names, function) in self._views.items():
            image = images[view.scale]
            height, width = image.shape[:2]
            for start in range(0, len(drawn), at_once):
                some = drawn[start : start + at_once]
                matrices = [augmentation_matrix(hematoxylin=a.hematoxylin, eosin=a.eosin) for a in some]
                maps = [
                    [
                        crop_map(box, crop=view.crop)
                        for box in crop_boxes(a, height=height, width=width, crop=view.crop, count=settings.crops)
                    ]
                    for a in some
                ]
                pooled = function(image, np.array(matrices, dtype=np.float32), np.array(maps, dtype=np.int32))
                for name, values in zip(names, pooled, strict=True):
                    found.setdefault(name, []).append(np.asarray(values, dtype=np.float32))
        return {name: np.concatenate(parts) for name, parts in found.items()}


def _describe(
    encoders: Sequence[Callable[[Any], Any]], *, crop: int, power: float, colours: bool
) -> Callable[[Any, Any, Any], list[Any]]:
    """Return the function from an image, matrices (a, 3, 3) and crop maps (a, n, 2, 3) to descriptors (a, d) each."""
    from keras import ops

    def function(image: Any, matrices: Any, maps: Any) -> list[Any]:
        width = ops.shape(image)[1]
        augmentations, count = ops.shape(maps)[0], ops.shape(maps)[1]
        pixels = ops.cast(ops.reshape(image, (-1, 3)), "float32")
        steps = ops.arange(crop, dtype="int32")
        i, j = steps[None, None, :, None], steps[None, None, None, :]
        place = [maps[:, :, k, 0, None, None] + maps[:, :, k, 1, None, None] * i + maps[:, :, k, 2, None, None] * j
                 for k in (0, 1)]  # fmt: skip
        flat = ops.reshape(place[0] * width + place[1], (augmentations, -1))
        if colours:
            # only the pixels that a crop shows are coloured: (a, n crop^2, 3)
            density = ops.take(ops.log((pixels + 1.0) / TRANSMITTED_LIGHT), flat, axis=0)
            bright = ops.exp(ops.matmul(density, matrices)) * TRANSMITTED_LIGHT
            shown = ops.floor(ops.clip(bright - 1.0, 0.0, 255.0))
        else:
            shown = ops.take(pixels, flat, axis=0)
        crops = ops.reshape(shown, (-1, crop, crop, 3))
        found = []
        for encode in encoders:
            descriptors = encode(crops)
            grouped = ops.reshape(descriptors, (augmentations, count, ops.shape(descriptors)[-1]))
            found.append(_norm_pool(grouped, power))
        return found

    return function


def _norm_pool(descriptors: Any, power: float) -> Any:
    """Pool (a, n, d) over n by the signed p-norm of `pooling.norm_pool`."""
    from keras import ops

    largest = ops.max(ops.abs(descriptors), axis=1, keepdims=True)
    scale = ops.where(largest > 0, largest, ops.ones_like(largest))
    ratio = descriptors / scale
    mean = ops.mean(ops.sign(ratio) * ops.power(ops.abs(ratio), power), axis=1)
    return ops.sign(mean) * ops.power(ops.abs(mean), 1.0 / power) * scale[:, 0]
