"""Why fine-tuned networks say what they say: maps of patches, averaged over fold models, put together as a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..data import ImageRecord
from ..errors import ImageError, InputError
from ..finetune import CnnModel, ImageBank, PatchRule, make_reader
from ..jobs import Ticker
from .answer import answered
from .explanation import Explanation, Picture
from .gradient_maps import gradcam, gradient, integrated, mean_colour, path_difference, smoothgrad
from .graph import Floats, Graph
from .methods import METHODS, ExplainSettings
from .relevance import check_rules, check_switches, deconvnet, lrp, taylor
from .units import Tiles, excite, feature_tiles, filter_tiles, masks

_AT_ONCE = 16
"""Patches in memory at once (ours)."""

_COVER = 8
"""Covering patches along a side, before they overlap by half (ours)."""

_BY_PIXEL: Mapping[str, Callable[[Graph, Floats, int], Floats]] = {
    "gradient": gradient, "smoothgrad": smoothgrad, "integrated": integrated, "lrp": lrp, "taylor": taylor,
}  # fmt: skip

_BY_LAYER = ("gradcam", "activations", "masking", "deconvnet")

_OF_PATCHES = (
    "Each place shows what the networks say of the patches that cover it; in training a patch had the label of its "
    "whole picture, so this is no segmentation and no probability of a lesion here."
)
"""What ``map`` of networks is not; see `METHODS` for that of boosted ensembles."""

_SHARES = ("lrp", "taylor", "integrated")
"""Methods whose values sum to the score, over the picture or, of patches, over each of them."""

_BY_RULES = ("lrp", "taylor")


Box = tuple[float, float, float, float]
"""Top, left, bottom and right of a patch, as shares of the image."""

Boxes = list[Box]

_TILE = 176
"""Longest side of a small picture, pixels (ours)."""


class NetworkExplainer:
    """Explains images by the networks of a bundle.

    Parameters
    ----------
    model : CnnModel
    settings : ExplainSettings
    graphs : sequence of Graph, optional
        Of `graphs_of`, for several explainers of one model.

    Raises
    ------
    InputError
        A layer that is not there, a layer without a rule, ``map`` of networks that see the image as a whole, or
        ``deconvnet`` without max pooling.
    """

    def __init__(self, model: CnnModel, settings: ExplainSettings, *, graphs: Sequence[Graph] | None = None) -> None:
        self._model, self._settings = model, settings
        self._graphs = graphs_of(model) if graphs is None else graphs
        self._method, first = METHODS[settings.method], self._graphs[0]
        self._size = int(first.shapes[first.entry][1])
        if settings.method == "map" and model.bundle.settings.rule.kind == "resize":
            raise InputError(
                "`method` map: needs a network of patches, this one sees the image as a whole; use occlusion"
            )
        if settings.method in _BY_RULES:
            check_rules(first, method=settings.method)
        own = settings.layer or settings.method in _BY_LAYER
        self._tensor = first.tensor_of(settings.layer, method=settings.method) if own else None
        if settings.method == "deconvnet" and self._tensor is not None:
            check_switches(first, self._tensor)

    def of_model(self, target: int | None) -> Explanation:
        """Explain the first network alone, without an image."""
        graph, classes = self._graphs[0], self._model.bundle.classes
        name = f"{self._model.bundle.settings.network}, first model"
        if self._settings.method == "filters":
            tiles, kernels = filter_tiles(graph, most=self._settings.top)
            return Explanation.by(self._method, name, "", tiles=tiles, arrays={"kernels": kernels})
        if self._tensor is None:
            units = list(range(len(classes))) if target is None else [target]
            found, names = excite(graph, tensor=graph.logits, units=units), [classes[unit] for unit in units]
        else:
            units = list(range(min(self._settings.top, graph.shapes[self._tensor][-1])))
            found = excite(graph, tensor=self._tensor, units=units)
            names = [f"{self._settings.layer} {unit}" for unit in units]
        tiles = tuple((unit, one.round().astype(np.uint8)) for unit, one in zip(names, found, strict=True))
        return Explanation.by(self._method, name, "", tiles=tiles, arrays={"excited": found})

    def of_image(self, record: ImageRecord, picture: Picture, target: int | None) -> Explanation:
        """Explain one image.

        Raises
        ------
        ImageError
            It cannot be used.
        """
        ((_, shares, pixels),) = self._model.predict([record], ticker=Ticker(None), skip_errors=False)
        if isinstance(shares, str):
            raise ImageError(shares)
        blank, place = answered(
            self._method, self._model, record, picture, shares=shares, pixels=pixels, target=target
        )  # fmt: skip
        patches, boxes = self._patches(record)
        if self._settings.method in ("activations", "masking"):
            return self._of_units(blank, patches, boxes, place)
        if self._settings.method == "map":
            return self._map(blank, patches, boxes, place)
        found = self._over_models(patches, lambda graph, some: self._values(graph, some, place))
        values = _together(found, boxes, picture.shape)
        if self._settings.method in _SHARES:  # what a pixel of the network has is divided among those of the picture
            top, left, bottom, right = boxes[0]
            values *= found[0].size / ((bottom - top) * (right - left) * values.size)
        notes = blank.notes
        if self._settings.method == "integrated":
            wanted = self._over_models(patches, lambda graph, some: path_difference(graph, some, place))
            notes = (f"sum {found.sum(axis=(1, 2)).mean():.3f} of {wanted.mean():.3f}", *notes)
        return replace(blank, values=values, notes=notes)

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

        found = self._over_models(patches, shares)
        empty = np.broadcast_to(mean_colour(patches).mean(axis=0), patches[:1].shape)
        base = self._over_models(np.asarray(empty, np.float32), shares)[0, target]
        each = [_together(found[:, [[place]]], boxes, shape) for place in range(len(classes))]
        overall = classes[int(np.argmax([one.mean() for one in each]))]
        return replace(
            blank, values=each[target], limits=(0.0, 1.0), caution=_OF_PATCHES, overall=overall,
            centre=float(base), base="what the networks answer to the mean colour of the picture alone",
        )  # fmt: skip

    def _of_units(self, blank: Explanation, patches: Floats, boxes: Boxes, target: int) -> Explanation:
        """Explain by the units of one layer of the first network; of patches by the one in the middle."""
        graph, tensor, middle = self._graphs[0], self._tensor, len(boxes) // 2
        assert tensor is not None
        assert blank.picture is not None
        patch, box, shape = patches[[middle]], boxes[middle], blank.picture.shape
        if len(boxes) > 1:
            top, left, bottom, right = box
            where = (f"the first model, patch {middle + 1} of {len(boxes)}: {100 * left:.0f} to {100 * right:.0f} % "
                     f"from the left, {100 * top:.0f} to {100 * bottom:.0f} % from the top")  # fmt: skip
            blank = replace(blank, notes=(where, *blank.notes))
        if self._settings.method == "activations":
            tiles, active = feature_tiles(graph, patch, tensor, most=self._settings.top)
            return replace(blank, target="", tiles=_as_in(tiles, box, shape), arrays={"activations": active})
        tiles, kept, units = masks(graph, patch, target, tensor)
        return replace(
            blank, values=_together(kept[np.newaxis], [box], shape), limits=(0.0, 1.0),
            tiles=_as_in(tiles, box, shape), arrays={"units": np.array(units)},
        )  # fmt: skip

    def _values(self, graph: Graph, pixels: Floats, target: int) -> Floats:
        """Return the values of some patches, shape (n, rows, columns)."""
        name = self._settings.method
        if name == "occlusion":
            return occlusion(graph, pixels, target)
        if name in ("gradcam", "deconvnet"):
            assert self._tensor is not None
            return (gradcam if name == "gradcam" else deconvnet)(graph, pixels, target, self._tensor)
        return _BY_PIXEL[name](graph, pixels, target)

    def _patches(self, record: ImageRecord) -> tuple[Floats, Boxes]:
        """Cut an image as the network sees it, (n, size, size, 3); of random patches take a grid that covers it all."""
        bundle = self._model.bundle
        rule = bundle.settings.rule
        image = make_reader(stain=bundle.settings.stain, rule=rule, size=self._size)(record)
        height, width = image.shape[:2]
        if rule.kind == "random":
            rule = PatchRule("sliding", rule.side)
        bank = ImageBank.of([image], [record.image_id])
        places = rule.places(height, width, entropy=(0,))
        cut = [bank.patch(0, place, rule=rule, size=self._size) for place in places]
        side = (rule.side, rule.side) if rule.side else (height, width)
        boxes = [(top / height, left / width, (top + side[0]) / height, (left + side[1]) / width)
                 for top, left in places]  # fmt: skip
        return np.stack(cut).astype(np.float32), boxes


def graphs_of(model: CnnModel) -> list[Graph]:
    """Return the networks of a model as graphs."""
    return [Graph(one) for one in model.bundle.models.values()]


def occlusion(graph: Graph, images: Floats, target: int) -> Floats:
    """Return how far the probability of a class falls when a patch of the mean colour covers a place, (n, size, size).

    Patches are an eighth of the side and overlap by half; a pixel gets the mean over the patches that cover it.

    References
    ----------
    Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks", sec. 4.2.
    """
    count, height, width, _ = images.shape
    total, times = np.zeros((count, height, width)), np.zeros((height, width))
    side = max(2, height // _COVER)
    before = np.asarray(graph.model.predict_on_batch(images))[:, target]
    mean = images.mean(axis=(1, 2), keepdims=True)
    boxes = [(top, left) for top in _starts(height, side) for left in _starts(width, side)]
    for top, left in boxes:
        covered = images.copy()
        covered[:, top : top + side, left : left + side] = mean
        fall = before - np.asarray(graph.model.predict_on_batch(covered))[:, target]
        total[:, top : top + side, left : left + side] += fall[:, np.newaxis, np.newaxis]
        times[top : top + side, left : left + side] += 1
    return np.asarray(total / times, np.float32)


def _starts(length: int, side: int) -> list[int]:
    starts = list(range(0, length - side + 1, max(1, side // 2)))
    return starts if starts[-1] == length - side else [*starts, length - side]


def _as_in(tiles: Tiles, box: Box, shape: tuple[int, ...]) -> Tiles:
    """Return small pictures with the proportions of what they show, as networks see squares."""
    import cv2

    top, left, bottom, right = box
    height, width = (bottom - top) * shape[0], (right - left) * shape[1]
    scale = _TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return tuple((caption, np.asarray(cv2.resize(
        one, size, interpolation=cv2.INTER_NEAREST if max(one.shape) < _TILE / 4 else cv2.INTER_AREA
    ), np.uint8)) for caption, one in tiles)  # fmt: skip


def _together(values: Floats, boxes: Boxes, shape: tuple[int, ...]) -> Floats:
    """Put the values of patches in their places of a picture; where patches overlap, take their mean."""
    import cv2

    total, times = np.zeros(shape[:2]), np.zeros(shape[:2])
    for one, (top, left, bottom, right) in zip(values, boxes, strict=True):
        rows = slice(round(top * shape[0]), max(round(top * shape[0]) + 1, round(bottom * shape[0])))
        columns = slice(round(left * shape[1]), max(round(left * shape[1]) + 1, round(right * shape[1])))
        size = (columns.stop - columns.start, rows.stop - rows.start)
        how = cv2.INTER_AREA if size[0] < one.shape[1] else cv2.INTER_LINEAR
        total[rows, columns] += cv2.resize(np.asarray(one, np.float64), size, interpolation=how)
        times[rows, columns] += 1
    return np.asarray(total / np.maximum(times, 1), np.float32)
