"""Feature extraction on a GPU: colours, crops, encoding and pooling in one compiled function, from one uint8 image.

Only the image at each scale, the stain matrices and the positions of crops go to the device. Only pooled features come
back. The formulas are the same as on the CPU. A pixel differs by at most one grey level, when the exponentials round
differently.

Inputs have only a few shapes, so that the function is not compiled for every image. Pixels are a flat list, padded to
one of a few lengths. A crop is three numbers that locate its pixels in this list, and so is a turned frame of dense
mode. An incomplete batch of augmentations is padded. A function of frames is compiled for each of their sizes, so only
for the first few.
"""

from __future__ import annotations

import functools
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core import by_key
from ..core.formats import Array, Pixels
from ..encoders import Encoder, Network, compile_tensors
from ..stains import TRANSMITTED_LIGHT, augmentation_matrix
from .crops import GRID, Augmentation, Crop, corners_of, crop_boxes, tile_starts
from .pooling import Features
from .settings import FeaturizeSettings, View

_log = logging.getLogger(__name__)

_MOST_SHAPES = 4
"""Most sizes of frames, at each scale, for which functions are compiled: two sizes of images, each also turned."""

_MOST_FRAMES = 8
"""Frames in one pass, at most: more are hardly faster, and leave more of the last pass empty."""

Targets = Mapping[str, tuple[Encoder, View]]
"""Name of a feature file to encoder and view."""


def pixel_map(box: Crop, *, sides: tuple[int, int], width: int) -> tuple[int, int, int]:
    """Return the position of the pixels of a turned crop or frame in the flat list of an image's pixels.

    Parameters
    ----------
    box : Crop
    sides : tuple of int
        Height and width in the image, in pixels, before the turn.
    width : int
        Width of the image, in pixels.

    Returns
    -------
    tuple of int
        Offset, row step and column step: pixel (i, j) is at offset + i * row step + j * column step.
    """
    steps = [width, 1]
    lengths = [*sides]
    if box.is_transposed:
        steps.reverse()
        lengths.reverse()
    offset = box.top * width + box.left
    for axis, is_reversed in enumerate(box.reversals):
        if is_reversed:  # counted from the other end
            offset += (lengths[axis] - 1) * steps[axis]
            steps[axis] = -steps[axis]
    return offset, steps[0], steps[1]


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


class _Pass(NamedTuple):
    """A pass of a compiled function: names of feature files, their tensors, and the numbers of the augmentations."""

    names: Sequence[str]
    pooled: Sequence[Any]
    numbers: Array


class DeviceDescriber(ABC):
    """Computes features of images on the device of Keras's backend.

    Parameters
    ----------
    targets : mapping
        Name of a feature file to encoder and view. Encoders with the same view get the same crops.
    settings : FeaturizeSettings
        `batch_size` limits the crops in one pass, and so its augmentations; there is always at least one. In dense mode
        it limits the pixels in one pass to those of as many crops.
    """

    def __init__(self, targets: Targets, settings: FeaturizeSettings) -> None:
        import keras

        self._settings = settings
        # JAX has 32-bit integers only; TensorFlow computes with 32-bit integers on the CPU, even if there is a GPU
        self._index = np.dtype(np.int32 if keras.backend.backend() == "jax" else np.int64)

    def takes(self, images: Mapping[str, Pixels]) -> bool:
        """Return whether `start` takes images of these sizes; the first refusal is logged."""
        return True

    @abstractmethod
    def _passes(
        self, images: Mapping[str, Pixels], drawn: Sequence[Augmentation]
    ) -> Iterator[_Pass]:
        """Start the passes of an image, each a batch of its augmentations."""

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

        passes = list(self._passes(images, drawn))

        def fetch() -> dict[str, Features]:
            features: dict[str, Features] = {}
            for names, pooled, numbers in passes:
                for name, values in zip(names, pooled, strict=True):
                    rows = ops.convert_to_numpy(values)
                    if name not in features:
                        features[name] = np.empty((len(drawn), rows.shape[1]), np.float32)
                    # rows after the last augmentation only padded the batch
                    features[name][numbers] = rows[: len(numbers)]
            return features

        return fetch


class _CropPasses(DeviceDescriber):
    """Passes of exact mode: the crops of a view of some augmentations through all its encoders."""

    def __init__(self, targets: Targets, settings: FeaturizeSettings) -> None:
        super().__init__(targets, settings)
        most = max(1, settings.crops_at_once // settings.crops)
        batches = math.ceil(settings.augmentations / most)
        # an even split, since the last batch is padded to the size of the others
        self._at_once = math.ceil(settings.augmentations / batches)
        self._views: dict[View, tuple[list[str], Callable[..., Any]]] = {}
        for view, names in by_key(targets, lambda name: targets[name][1]).items():
            networks = [targets[name][0].on_device for name in names]
            function = _describe(
                [network.crops for network in networks],
                windows=[[settings.crops]] * len(networks),
                sides=(view.crop, view.crop),
                settings=settings,
            )
            shapes = [
                ("uint8", (None, 3)),
                ("float32", (self._at_once, 3, 3)),
                (self._index.name, (self._at_once, settings.crops, 3)),
            ]
            compiled = compile_tensors(function, shapes, _variables(networks))
            self._views[view] = (names, compiled)

    def _passes(
        self, images: Mapping[str, Pixels], drawn: Sequence[Augmentation]
    ) -> Iterator[_Pass]:
        """Start a pass for each view and batch of augmentations."""
        from keras import ops

        matrices = _matrices(drawn)
        description = self._settings.description
        frames = {
            view: description.frame(images[view.level], crop=view.crop) for view in self._views
        }
        # views of a scale share its pixels, which go to the device once, unless they are padded
        pixels = {id(frame): ops.convert_to_tensor(_flat(frame)) for frame in frames.values()}
        for view, (names, function) in self._views.items():
            height, width = frames[view].shape[:2]
            crop = view.crop
            positions = []
            for augmentation in drawn:
                boxes = crop_boxes(
                    augmentation, height=height, width=width, crop=crop, count=self._settings.crops
                )
                positions.append([pixel_map(box, sides=(crop, crop), width=width) for box in boxes])
            maps = np.array(positions, dtype=self._index)
            for numbers, padded in _batches(np.arange(len(drawn)), self._at_once):
                pooled = function(pixels[id(frames[view])], matrices[padded], maps[padded])
                yield _Pass(names, pooled, numbers)


class _FramePasses(DeviceDescriber):
    """Passes of dense mode: turned frames of one size through all encoders of a scale, pooled over windows."""

    def __init__(self, targets: Targets, settings: FeaturizeSettings) -> None:
        super().__init__(targets, settings)
        self._levels: dict[str, list[tuple[Encoder, dict[View, str]]]] = {}
        for level, names in by_key(targets, lambda name: targets[name][1].level).items():
            by_encoder = by_key(names, lambda name: id(targets[name][0]))
            self._levels[level] = [
                (targets[same[0]][0], {targets[name][1]: name for name in same})
                for same in by_encoder.values()
            ]
        self._functions: dict[tuple[str, int, int], tuple[int, Callable[..., Any]]] = {}
        self._refused = False

    def takes(self, images: Mapping[str, Pixels]) -> bool:
        """Return whether there are functions for these sizes; compile missing ones unless there would be too many."""
        shapes = {
            (level, *sides)
            for level in self._levels
            for sides in (images[level].shape[:2], images[level].shape[1::-1])
        }
        missing = shapes - self._functions.keys()
        shapes_by_level = by_key([*self._functions, *missing], lambda shape: shape[0])
        if max(map(len, shapes_by_level.values())) > _MOST_SHAPES:
            if not self._refused:
                text = (
                    "frames of more than %d shapes: images of others take the slower way of the CPU"
                )
                _log.info(text, _MOST_SHAPES)
            self._refused = True
            return False
        for shape in missing:
            self._functions[shape] = self._compiled(*shape)
        return True

    def _compiled(self, level: str, height: int, width: int) -> tuple[int, Callable[..., Any]]:
        """Return the number of frames of one pass, and the function that describes them."""
        settings = self._settings
        largest = max(view.crop for _, names in self._levels[level] for view in names)
        fitting = settings.crops_at_once * largest**2 // (height * width)
        # half of the augmentations turn a frame upright
        at_once = min(max(1, fitting), _MOST_FRAMES, math.ceil(settings.augmentations / 2))
        networks = [encoder.on_device for encoder, _ in self._levels[level]]
        function = _describe(
            [network.frames for network in networks],
            windows=[
                [_count_crops(view, (height, width), settings.crops) for view in names]
                for _, names in self._levels[level]
            ],
            sides=(height, width),
            settings=settings,
        )
        shapes = [
            ("uint8", (None, 3)),
            ("float32", (at_once, 3, 3)),
            (self._index.name, (at_once, 1, 3)),
            *[("float32", (None, at_once, None, 4))] * len(networks),
        ]
        return at_once, compile_tensors(function, shapes, _variables(networks))

    def _passes(
        self, images: Mapping[str, Pixels], drawn: Sequence[Augmentation]
    ) -> Iterator[_Pass]:
        """Start a pass for each scale, orientation and batch of augmentations."""
        from keras import ops

        matrices = _matrices(drawn)
        for level, encoders in self._levels.items():
            height, width = images[level].shape[:2]
            pixels = ops.convert_to_tensor(_flat(images[level]))
            orientations = [augmentation.orientation for augmentation in drawn]
            maps = np.array(
                [[pixel_map(turn, sides=(height, width), width=width)] for turn in orientations],
                dtype=self._index,
            )
            is_odd = np.array([turn.turns % 2 for turn in orientations], dtype=bool)
            names = [name for _, by_view in encoders for name in by_view.values()]
            for sides, mask in (((height, width), ~is_odd), ((width, height), is_odd)):
                members = np.flatnonzero(mask)
                places = self._places(level, [drawn[number] for number in members.tolist()], sides)
                at_once, function = self._functions[level, *sides]
                for numbers, padded in _batches(np.arange(len(members)), at_once):
                    frames = members[padded]
                    windows = [item[:, padded] for item in places]
                    pooled = function(pixels, matrices[frames], maps[frames], *windows)
                    yield _Pass(names, pooled, members[numbers])

    def _places(
        self, level: str, drawn: Sequence[Augmentation], sides: tuple[int, int]
    ) -> list[Array]:
        """Return the windows of each encoder's views in frames of one size, in cells, (maps, frames, windows, 4)."""
        if not drawn:
            return []
        height, width = sides
        corners = {}
        for view in dict.fromkeys(view for _, names in self._levels[level] for view in names):
            boxes = [
                crop_boxes(
                    augmentation,
                    height=height,
                    width=width,
                    crop=view.crop,
                    count=self._settings.crops,
                )
                for augmentation in drawn
            ]
            corners[view] = np.stack([corners_of(frame, crop=view.crop) for frame in boxes])
        places = []
        for encoder, names in self._levels[level]:
            windows = np.concatenate([corners[view] for view in names], axis=1)
            cells = encoder.geometry.places(windows.reshape(-1, 4), height=height, width=width)
            places.append(cells.reshape(-1, *windows.shape))
        return places


def _count_crops(view: View, sides: tuple[int, int], count: int) -> int:
    """Return how many crops or windows of a view a frame has."""
    if count != GRID:
        return count
    return math.prod(len(tile_starts(side, crop=view.crop)) for side in sides)


@functools.lru_cache(maxsize=8)
def cached_describer(
    targets: tuple[tuple[str, tuple[Encoder, View]], ...], settings: FeaturizeSettings
) -> DeviceDescriber:
    """Return the describer for these encoders and views, compiled once per process and shared by its units."""
    kind = _FramePasses if settings.mode == "dense" else _CropPasses
    return kind(dict(targets), settings)


def _variables(networks: Sequence[Network]) -> list[Any]:
    """Return the weights of networks."""
    return [variable for network in networks for variable in network.model.variables]


def _matrices(drawn: Sequence[Augmentation]) -> Array:
    """Return the changes of colours of augmentations, float32 of shape (augmentations, 3, 3)."""
    return np.array(
        [augmentation_matrix(hematoxylin=a.hematoxylin, eosin=a.eosin) for a in drawn],
        np.float32,
    )


def _batches(numbers: Array, size: int) -> Iterator[tuple[Array, Array]]:
    """Yield batches of numbers, each as it is, and padded to `size` by repeating its last number."""
    for start in range(0, len(numbers), size):
        batch = numbers[start : start + size]
        yield batch, np.pad(batch, (0, size - len(batch)), mode="edge")


def _flat(image: Pixels) -> Pixels:
    """Return the pixels of an image as a flat list, padded to one of a few lengths."""
    pixels = image.reshape(-1, 3)
    filled = np.zeros((padded_length(len(pixels)), 3), dtype=np.uint8)
    filled[: len(pixels)] = pixels
    return filled


def _describe(
    encoders: Sequence[Callable[..., Any]],
    *,
    windows: Sequence[Sequence[int]],
    sides: tuple[int, int],
    settings: FeaturizeSettings,
) -> Callable[..., list[Any]]:
    """Return the function from pixels (p, 3), colour matrices (a, 3, 3) and pixel maps (a, n, 3) to features (a, d).

    Pixel maps locate crops, or frames; with frames the function also takes the windows (maps, a, n, 4) of each encoder.
    `windows` has the number of crops or windows of each view of each encoder. There are features for each of these.
    """
    from keras import ops

    def function(pixels: Any, matrices: Any, maps: Any, *places: Any) -> list[Any]:
        pieces = _pieces(pixels, matrices, maps, sides=sides, colours=settings.changes_colours)
        pooled = []
        for number, (encode, counts) in enumerate(zip(encoders, windows, strict=True)):
            # a copy, since Keras's preprocessing changes a tensor of PyTorch in place
            descriptors = encode(ops.copy(pieces), *places[number : number + 1])
            if not places:
                descriptors = ops.reshape(descriptors, (*maps.shape[:2], descriptors.shape[-1]))
            ends = np.cumsum(counts).tolist()
            for count, end in zip(counts, ends, strict=True):
                pooled.append(settings.description.pool_tensors(descriptors[:, end - count : end]))
        return pooled

    return function


def _pieces(pixels: Any, matrices: Any, maps: Any, *, sides: tuple[int, int], colours: bool) -> Any:
    """Return crops or frames in the colours of each augmentation, float32 of shape (a n, height, width, 3)."""
    from keras import ops

    augmentations, count, _ = maps.shape
    height, width = sides
    rows = ops.arange(height, dtype=maps.dtype)[None, None, :, None]
    columns = ops.arange(width, dtype=maps.dtype)[None, None, None, :]
    offset, by_row, by_column = (maps[:, :, k, None, None] for k in range(3))
    flat = ops.reshape(offset + by_row * rows + by_column * columns, (augmentations, -1))
    values = ops.cast(pixels, "float32")
    if colours:
        # colour only the pixels of crops: (a, n height width, 3)
        density = ops.take(ops.log((values + 1.0) / TRANSMITTED_LIGHT), flat, axis=0)
        # a sum and not a matrix product, which GPUs by default round to ten bits
        mixture = sum(density[:, :, k, None] * matrices[:, None, k, :] for k in range(3))
        brightness = ops.exp(mixture) * TRANSMITTED_LIGHT
        levels = ops.floor(ops.clip(brightness - 1.0, 0.0, 255.0))
    else:
        levels = ops.take(values, flat, axis=0)
    return ops.reshape(levels, (augmentations * count, height, width, 3))
