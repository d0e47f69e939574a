"""Explanations of fine-tuned networks: maps of patches, averaged over fold models, put together as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..core import ImageError, InputError, Message
from ..data import ImageRecord
from ..finetune import CnnModel, ImageBank, PatchRule, make_reader
from ..jobs import Ticker
from .explanation import Explanation, Picture
from .gradient_maps import mean_colour
from .graph import Floats, Graph
from .methods import ExplainSettings, Method, answered

_AT_ONCE = 16
"""Patches in memory at once."""

_OF_PATCHES = (
    "Each position shows what the networks predict for the patches that cover it; in training a patch had the label of "
    "its whole image, so this is not a segmentation or a probability of a lesion."
)
"""What ``map`` of networks is not; see `METHODS` for that of boosted ensembles."""

Box = tuple[float, float, float, float]
"""Top, left, bottom and right of a patch, as shares of the image."""

Boxes = list[Box]

_TILE = 176
"""Longest side of a small picture, pixels."""


class NetworkExplainer:
    """Explains images by the networks of a bundle.

    Parameters
    ----------
    model : CnnModel
    method : Method
    settings : ExplainSettings
    graphs : sequence of Graph, optional
        Of `graphs_of`, for several explainers of one model.

    Raises
    ------
    InputError
        A layer that is not there, ``map`` of networks that see the image as a whole, or see `Method.check`.
    """

    def __init__(
        self, model: CnnModel, method: Method, settings: ExplainSettings, *, graphs: Sequence[Graph] | None = None
    ) -> None:
        self._model, self._method, self._settings = model, method, settings
        self._graphs = graphs_of(model) if graphs is None else graphs
        first = self._graphs[0]
        self._size = int(first.shapes[first.entry][1])
        if method.name == "map" and model.bundle.settings.rule.kind == "resize":
            raise InputError(
                Message("{method} map: needs a network of patches, this one sees the image as a whole; use occlusion")
            )
        looks = settings.layer or method.default_layer
        self._tensor = first.tensor_of(settings.layer, method=method.name) if looks else None
        if method.check is not None:
            method.check(first, self._tensor)

    def of_model(self, target: int | None) -> Explanation:
        """Explain the first network alone, without an image."""
        assert self._method.of_model is not None
        made = self._method.of_model(
            self._graphs[0], self._model.bundle.classes, target, self._tensor, self._settings
        )  # fmt: skip
        name = f"{self._model.bundle.settings.network}, first model"
        return self._method.explanation(name, "", tiles=made.tiles, arrays=made.arrays)

    def of_image(self, record: ImageRecord, picture: Picture, target: int | None) -> Explanation:
        """Explain one image.

        Raises
        ------
        ImageError
            It cannot be used.
        """
        ((_, shares, pixels, _),) = self._model.predict([record], ticker=Ticker(None), skip_errors=False)
        if isinstance(shares, str):
            raise ImageError(shares)
        blank, index = answered(
            self._method, self._model, record, picture, shares=shares, pixels=pixels, target=target
        )  # fmt: skip
        patches, boxes = self._patches(record)
        if self._method.of_patch is not None:
            return self._of_patch(blank, patches, boxes, index)
        if (map_of := self._method.values) is None:
            return self._map(blank, patches, boxes, index)
        maps = self._over_models(patches, lambda graph, some: map_of(graph, some, index, self._tensor))
        values = _together(maps, boxes, picture.shape)
        if self._method.shares:  # what a pixel of the network has is divided among those of the picture
            top, left, bottom, right = boxes[0]
            values *= maps[0].size / ((bottom - top) * (right - left) * values.size)
        return replace(blank, values=values)

    def _over_models(self, patches: Floats, function: Callable[[Graph, Floats], Floats]) -> Floats:
        """Return the mean over models of what a function gives for patches, some at once."""
        parts = np.split(patches, range(_AT_ONCE, len(patches), _AT_ONCE))
        return np.concatenate([np.mean([function(graph, some) for graph in self._graphs], axis=0) for some in parts])

    def _map(self, blank: Explanation, patches: Floats, boxes: Boxes, target: int) -> Explanation:
        """Draw the probability of a class by patch; the centre is what a patch of the image's mean colour gets."""
        assert blank.picture is not None
        classes, shape = self._model.bundle.classes, blank.picture.shape

        def shares(graph: Graph, some: Floats) -> Floats:
            return np.asarray(graph.model.predict_on_batch(some))

        probabilities = self._over_models(patches, shares)
        empty = np.broadcast_to(mean_colour(patches).mean(axis=0), patches[:1].shape)
        base = self._over_models(np.asarray(empty, np.float32), shares)[0, target]
        maps = [_together(probabilities[:, [[index]]], boxes, shape) for index in range(len(classes))]
        overall = classes[int(np.argmax([values.mean() for values in maps]))]
        return replace(
            blank, values=maps[target], limits=(0.0, 1.0), caution=_OF_PATCHES, overall=overall,
            centre=float(base), base="what the networks answer to only the mean colour of the image",
        )  # fmt: skip

    def _of_patch(self, blank: Explanation, patches: Floats, boxes: Boxes, target: int) -> Explanation:
        """Explain by the units of one layer of the first network; of patches by the one in the middle."""
        assert self._method.of_patch is not None
        assert blank.picture is not None
        middle, shape = len(boxes) // 2, blank.picture.shape
        box = boxes[middle]
        if len(boxes) > 1:
            top, left, bottom, right = box
            where = (f"the first model, patch {middle + 1} of {len(boxes)}: {100 * left:.0f} to {100 * right:.0f} % "
                     f"from the left, {100 * top:.0f} to {100 * bottom:.0f} % from the top")  # fmt: skip
            blank = replace(blank, notes=(where, *blank.notes))
        made = self._method.of_patch(self._graphs[0], patches[[middle]], target, self._tensor)
        blank = replace(blank, tiles=_as_in(made.tiles, box, shape), arrays=made.arrays)
        if made.values is None:
            return replace(blank, target="")
        return replace(blank, values=_together(made.values[np.newaxis], [box], shape), limits=(0.0, 1.0))

    def _patches(self, record: ImageRecord) -> tuple[Floats, Boxes]:
        """Cut an image as the network sees it, (n, size, size, 3); of random patches take a grid that covers it all."""
        bundle = self._model.bundle
        rule = bundle.settings.rule
        image = make_reader(stain=bundle.settings.stain, rule=rule, size=self._size)(record)
        height, width = image.shape[:2]
        if rule.kind == "random":
            rule = PatchRule("sliding", rule.side)
        bank = ImageBank.of([image], [record.image_id])
        corners = rule.corners(height, width, entropy=(0,))
        cut = [bank.patch(0, corner, rule=rule, size=self._size) for corner in corners]
        side = (rule.side, rule.side) if rule.side else (height, width)
        boxes = [(top / height, left / width, (top + side[0]) / height, (left + side[1]) / width)
                 for top, left in corners]  # fmt: skip
        return np.stack(cut).astype(np.float32), boxes


def graphs_of(model: CnnModel) -> list[Graph]:
    """Return the networks of a model as graphs."""
    return [Graph(network) for network in model.bundle.models.values()]


def _as_in(tiles: tuple[tuple[str, Picture], ...], box: Box, shape: tuple[int, ...]) -> tuple[tuple[str, Picture], ...]:
    """Return small pictures with the proportions of what they show, as networks see squares."""
    import cv2

    top, left, bottom, right = box
    height, width = (bottom - top) * shape[0], (right - left) * shape[1]
    scale = _TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return tuple((caption, np.asarray(cv2.resize(
        tile, size, interpolation=cv2.INTER_NEAREST if max(tile.shape) < _TILE / 4 else cv2.INTER_AREA
    ), np.uint8)) for caption, tile in tiles)  # fmt: skip


def _together(values: Floats, boxes: Boxes, shape: tuple[int, ...]) -> Floats:
    """Put the values of patches in their places of a picture; where patches overlap, take their mean."""
    import cv2

    total, times = np.zeros(shape[:2]), np.zeros(shape[:2])
    for patch, (top, left, bottom, right) in zip(values, boxes, strict=True):
        rows = slice(round(top * shape[0]), max(round(top * shape[0]) + 1, round(bottom * shape[0])))
        columns = slice(round(left * shape[1]), max(round(left * shape[1]) + 1, round(right * shape[1])))
        size = (columns.stop - columns.start, rows.stop - rows.start)
        interpolation = cv2.INTER_AREA if size[0] < patch.shape[1] else cv2.INTER_LINEAR
        total[rows, columns] += cv2.resize(np.asarray(patch, np.float64), size, interpolation=interpolation)
        times[rows, columns] += 1
    return np.asarray(total / np.maximum(times, 1), np.float32)
