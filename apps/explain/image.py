"""Explain one image, by a network or a boosted ensemble."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...core import Entries, ImageError, InputError, Message, message_of
from ...core.jobs import Ticker
from ...data import ImageRecord
from ...finetune import CnnModel, ImageBank, PatchRule, StainTreatment
from ...predict import Model, ModelFile, load_alike
from .boosted import explain_boosted
from .explanation import Explanation, Tiles
from .gradient_maps import mean_colour
from .graph import Floats, Graph
from .methods import METHODS, Asked, ExplainSettings, PicturesOf, answered, ask, default_method

_AT_ONCE = 16
"""Number of patches in memory at once."""

_OF_PATCHES = (
    "Each position shows what the networks predict for the patches that cover it; in training a patch had the label of "
    "its whole image, so this is not a segmentation or a probability of a lesion."
)
"""Limitations of ``map`` for networks; for those of boosted ensembles see `METHODS`."""

Box = tuple[float, float, float, float]
"""Top, left, bottom and right of a patch, as fractions of the image."""

Boxes = list[Box]

_TILE = 176
"""Longest side of a small picture, in pixels."""


@dataclass
class NetworkExplainer:
    """Explains images with the networks of a model file.

    Parameters
    ----------
    model : CnnModel
    asked : Asked

    Raises
    ------
    InputError
        There is no such layer, the method is ``map`` and the networks see whole images, or see `Method.check`.
    """

    model: CnnModel
    asked: Asked

    def __post_init__(self) -> None:
        """Find the layer, and refuse what the method cannot explain."""
        self.graphs = _graphs(self.model)
        first = self.graphs[0]
        self._size = int(first.shapes[first.entry][1])
        method = self.asked.method
        settings = self.asked.settings
        if method.name == "map" and self.model.bundle.settings.rule.kind == "resize":
            raise InputError(
                Message(
                    "{method} map: needs a network of patches, this one sees the image as a whole; use occlusion"
                )
            )
        self._tensor: int | None = None
        if settings.layer or (method.layered and method.of_model is None):
            self._tensor = first.tensor_of(settings.layer, method=method.name)
        if method.check is not None:
            method.check(first, self._tensor)

    def __call__(self, record: ImageRecord | None) -> Explanation:
        """Explain one image or, given None, the first network.

        Raises
        ------
        ImageError
            The image cannot be used.
        """
        if record is None:
            return self._of_model()
        method = self.asked.method
        blank, _, _ = answered(self.asked, self.model, record, [record])
        index = self.model.bundle.classes.index(blank.target)
        patches, boxes = self._patches(record)
        if method.name == "map":
            return self._map(blank, patches, boxes)
        if method.of_patch is not None:
            return self._of_patch(method.of_patch, blank, patches, boxes, index)
        map_of = method.values
        assert map_of is not None  # every other method that looks at images has it
        maps = self._over_models(
            patches, lambda graph, batch: map_of(graph, batch, index, self._tensor)
        )
        values = _together(maps, boxes, blank.shape)
        if method.shares:
            # keep the sum: each pixel of the network covers several displayed pixels
            top, left, bottom, right = boxes[0]
            values *= maps[0].size / ((bottom - top) * (right - left) * values.size)
        return replace(blank, values=values)

    def _of_model(self) -> Explanation:
        """Explain the first network itself."""
        method, settings, target, _ = self.asked
        assert method.of_model is not None
        bundle = self.model.bundle
        pictures = method.of_model(self.graphs[0], bundle.classes, target, self._tensor, settings)
        name = f"{bundle.settings.network}, first model"
        return method.explanation(name, "", tiles=pictures.tiles, arrays=pictures.arrays)

    def _over_models(self, patches: Floats, function: Callable[[Graph, Floats], Floats]) -> Floats:
        """Apply a function to all patches in batches, and return the mean over the models."""
        parts = np.split(patches, range(_AT_ONCE, len(patches), _AT_ONCE))
        return np.concatenate(
            [np.mean([function(graph, batch) for graph in self.graphs], axis=0) for batch in parts]
        )

    def _map(self, blank: Explanation, patches: Floats, boxes: Boxes) -> Explanation:
        """Map the probability of a class in each patch. The base is the probability of a patch of the mean colour."""
        classes = self.model.bundle.classes

        def shares(graph: Graph, batch: Floats) -> Floats:
            return np.asarray(graph.model.predict_on_batch(batch))

        probabilities = self._over_models(patches, shares)
        empty = np.broadcast_to(mean_colour(patches).mean(axis=0), patches[:1].shape)
        base = self._over_models(np.asarray(empty, np.float32), shares)[0]
        maps = [
            _together(probabilities[:, [[index]]], boxes, blank.shape)
            for index in range(len(classes))
        ]
        return replace(blank, caution=_OF_PATCHES).about_decision(
            np.stack(maps),
            base,
            classes=classes,
            base_is="what the networks answer to only the mean colour of the image",
        )

    def _of_patch(
        self,
        pictures_of: PicturesOf,
        blank: Explanation,
        patches: Floats,
        boxes: Boxes,
        target: int,
    ) -> Explanation:
        """Explain with the units of one layer of the first network, for the middle patch if there are several."""
        middle = len(boxes) // 2
        shape = blank.shape
        box = boxes[middle]
        if len(boxes) > 1:
            top, left, bottom, right = box
            note = (
                f"the first model, patch {middle + 1} of {len(boxes)}: {100 * left:.0f} to {100 * right:.0f} % "
                f"from the left, {100 * top:.0f} to {100 * bottom:.0f} % from the top"
            )
            blank = replace(blank, notes=(note, *blank.notes))
        pictures = pictures_of(self.graphs[0], patches[[middle]], target, self._tensor)
        blank = replace(blank, tiles=_as_in(pictures.tiles, box, shape), arrays=pictures.arrays)
        if pictures.values is None:
            return replace(blank, target="")
        return replace(
            blank, values=_together(pictures.values[np.newaxis], [box], shape), limits=(0.0, 1.0)
        )

    def _patches(self, record: ImageRecord) -> tuple[Floats, Boxes]:
        """Return the patches of an image, shape (n, size, size, 3), and their boxes. A grid replaces random patches."""
        bundle = self.model.bundle
        rule = bundle.settings.rule
        image = StainTreatment(bundle.settings.stain, rule, self._size).read(record)
        height, width = image.shape[:2]
        if rule.kind == "random":
            rule = PatchRule("sliding", rule.side)
        bank = ImageBank.of([image], [record.image_id])
        corners = rule.corners(height, width, entropy=(0,))
        patches = [bank.patch(0, corner, rule=rule, size=self._size) for corner in corners]
        rows = rule.side or height
        columns = rule.side or width
        boxes = [
            (top / height, left / width, (top + rows) / height, (left + columns) / width)
            for top, left in corners
        ]
        return np.stack(patches).astype(np.float32), boxes


@functools.lru_cache(maxsize=1)
def _graphs(model: CnnModel) -> list[Graph]:
    """Return the networks of a model as graphs, which several methods share."""
    return [Graph(network) for network in model.bundle.models.values()]


def _as_in(tiles: Tiles, box: Box, shape: tuple[int, ...]) -> Tiles:
    """Resize small pictures, which are squares for the network, to the proportions of the region that they show."""
    import cv2

    top, left, bottom, right = box
    height = (bottom - top) * shape[0]
    width = (right - left) * shape[1]
    scale = _TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = []
    for caption, tile in tiles:
        interpolation = cv2.INTER_AREA
        if max(tile.shape) < _TILE / 4:  # tiny ones, such as filters, are not smoothed
            interpolation = cv2.INTER_NEAREST
        picture = cv2.resize(tile, size, interpolation=interpolation)
        resized.append((caption, np.asarray(picture, np.uint8)))
    return tuple(resized)


def _together(values: Floats, boxes: Boxes, shape: tuple[int, ...]) -> Floats:
    """Combine the maps of patches into a map of the whole image. Overlapping patches are averaged."""
    import cv2

    height, width = shape[:2]
    total = np.zeros((height, width))
    times = np.zeros_like(total)
    for patch, (top, left, bottom, right) in zip(values, boxes, strict=True):
        rows = _pixels(top, bottom, height)
        columns = _pixels(left, right, width)
        size = (columns.stop - columns.start, rows.stop - rows.start)
        interpolation = cv2.INTER_AREA if size[0] < patch.shape[1] else cv2.INTER_LINEAR
        total[rows, columns] += cv2.resize(
            np.asarray(patch, np.float64), size, interpolation=interpolation
        )
        times[rows, columns] += 1
    return np.asarray(total / np.maximum(times, 1), np.float32)


def _pixels(start: float, end: float, length: int) -> slice:
    """Return the pixels between two fractions of a length, at least one."""
    first = round(start * length)
    return slice(first, max(first + 1, round(end * length)))


Explainer = Callable[["ImageRecord | None"], Explanation]
"""A function that explains an image or, given None, the model itself."""


def make_explainer(model: Model, file: Path, asked: Asked) -> Explainer:
    """Return a function that explains one image. A layer or network that the method cannot explain is refused here."""
    if isinstance(model, CnnModel):
        return NetworkExplainer(model, asked)
    return functools.partial(explain_boosted, model, asked=asked, file=file)


def explain_image(model: Model, record: ImageRecord, *, file: Path, target: str) -> Explanation:
    """Explain one image by the method that fits its model, see `default_method`.

    Parameters
    ----------
    model : Model
    record : ImageRecord
        An image that `bchisto.predict.check_sizes` accepted.
    file : Path
        The model file; a file next to it lists the names of its training images.
    target : str
        The class; if empty, as in `ExplainSettings`.

    Raises
    ------
    InputError
        The model has no such class.
    ImageError
        The image cannot be used.
    """
    method = default_method(file)
    settings = ExplainSettings(method, target=target)
    bundle = model.bundle
    asked = ask(METHODS[method], settings, bundle.classes, bundle.two_class, bundle.shares)
    return make_explainer(model, file, asked)(record)


@dataclass(frozen=True)
class ExplainUnit:
    """An image to explain, or None for the model itself, the file for its arrays, and the key of its explanation."""

    record: ImageRecord | None
    arrays: Path
    key: str

    @property
    def picture(self) -> str:
        """The file of its picture in the folder of the method."""
        return f"pictures/{self.arrays.stem}.png"


@dataclass(frozen=True)
class ExplainUnits:
    """Explains images in any process, and saves the explanations.

    Attributes
    ----------
    file : ModelFile
    computed_by : mapping
        Backend, precision and weights in the process that sends the images, see `Model.computed_by`.
    asked : Asked
    skip_errors : bool
        Whether images that cannot be used may be left out.
    """

    file: ModelFile
    computed_by: Entries
    asked: Asked
    skip_errors: bool

    def explainer(self) -> Explainer:
        """Return the function that explains one image, see `make_explainer`."""
        model = load_alike(self.file, self.computed_by)
        return make_explainer(model, self.file.path, self.asked)

    def __call__(self, units: tuple[ExplainUnit, ...], ticker: Ticker) -> dict[str, str]:
        """Explain a block of images; return the id of each image that cannot be used, and the reason."""
        explain = self.explainer()
        failures = {}
        for unit in units:
            try:
                explain(unit.record).save(unit.arrays, work=unit.key)
            except ImageError as error:
                if unit.record is None:
                    raise
                if not self.skip_errors:
                    raise error.skippable() from error
                failures[unit.record.image_id] = message_of(error)
            ticker.tick()
        return failures
