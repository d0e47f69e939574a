"""Explain single images, in this process or in a worker."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core import ImageError
from ...core.jobs import Ticker
from ...data import ImageRecord
from ...finetune import CnnModel
from ...predict import Model, ModelFile, load_alike, load_model
from .boosted import explain_boosted
from .explanation import Explanation, shown_picture
from .graph import Graph
from .methods import METHODS, ExplainSettings, Method, class_of
from .networks import NetworkExplainer, graphs_of

Explainer = Callable[["ImageRecord | None"], Explanation]
"""A function that explains an image or, given None, the model itself."""


def make_explainer(
    model: Model,
    file: Path,
    method: Method,
    settings: ExplainSettings,
    target: int | None,
    graphs: Sequence[Graph] | None,
) -> Explainer:
    """Return a function that explains one image. A layer or network that the method cannot explain is refused here."""
    if isinstance(model, CnnModel):
        networks = NetworkExplainer(model, method, settings, graphs=graphs)
        return lambda record: (
            networks.of_model(target) if record is None else networks.of_image(record, shown_picture(record), target)
        )

    def explain_image(record: ImageRecord | None) -> Explanation:
        assert record is not None
        return explain_boosted(model, record, shown_picture(record), settings=settings, target=target, file=file)

    return explain_image


def explain_image(model: Model, record: ImageRecord, *, file: Path, target: str = "") -> Explanation:
    """Explain one image by the method that fits its model: ``gradcam`` for networks of whole images, else ``map``.

    Parameters
    ----------
    model : Model
    record : ImageRecord
        An image that `bchisto.predict.check_sizes` accepted.
    file : Path
        The model file; a file next to it lists the names of its training images.
    target : str
        The class; by default as in `ExplainSettings`.

    Raises
    ------
    InputError
        The model has no such class.
    ImageError
        The image cannot be used.
    """
    whole = isinstance(model, CnnModel) and model.bundle.settings.rule.kind == "resize"
    settings = ExplainSettings("gradcam" if whole else "map", target=target)
    index = class_of(settings, model.bundle.classes, model.bundle.two_class)
    graphs = graphs_of(model) if isinstance(model, CnnModel) else None
    return make_explainer(model, file, METHODS[settings.method], settings, index, graphs)(record)


@dataclass(frozen=True)
class ExplainUnit:
    """An image to explain, the file for its arrays, and the key of its explanation."""

    record: ImageRecord
    arrays: Path
    key: str


@dataclass(frozen=True)
class ExplainUnits:
    """Explains images in any process, and saves the explanations. Images that fail are left to the calling process.

    Attributes
    ----------
    file : ModelFile
    computed_by : mapping
        Backend, precision and weights in the process that sends the images, see `Model.computed_by`.
    method : Method
    settings : ExplainSettings
    target : int or None
        Index of the class; None for the most probable class of each image.
    """

    file: ModelFile
    computed_by: Mapping[str, Any]
    method: Method
    settings: ExplainSettings
    target: int | None

    def __call__(self, units: tuple[ExplainUnit, ...], ticker: Ticker) -> None:
        """Explain a block of images."""
        model, graphs = load_alike(self.file, self.computed_by), _graphs(self.file)
        explain = make_explainer(model, self.file.path, self.method, self.settings, self.target, graphs)
        for unit in units:
            with contextlib.suppress(ImageError):
                explain(unit.record).save(unit.arrays, work=unit.key)
            ticker.tick()


@functools.lru_cache(maxsize=1)
def _graphs(file: ModelFile) -> Sequence[Graph] | None:
    model = load_model(file)
    return graphs_of(model) if isinstance(model, CnnModel) else None
