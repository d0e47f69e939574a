"""One image explained, in this process or by a worker."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import ImageError
from ..data import ImageRecord
from ..finetune import CnnModel
from ..jobs import Ticker
from ..predict import Model, ModelFile, load_alike, load_model
from .boosted import explain_boosted
from .explanation import Explanation, shown_picture
from .graph import Graph
from .methods import METHODS, ExplainSettings, Method, class_of
from .networks import NetworkExplainer, graphs_of

Explainer = Callable[["ImageRecord | None"], Explanation]
"""Explains an image, or a model without one."""


def make_explainer(
    model: Model,
    file: Path,
    method: Method,
    settings: ExplainSettings,
    target: int | None,
    graphs: Sequence[Graph] | None,
) -> Explainer:
    """Return what explains one image; a layer that is not there, and a head that cannot, are refused here."""
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
    """Explain one image by the method that fits its model: ``map``, or ``gradcam`` of networks that see it as a whole.

    Parameters
    ----------
    model : Model
    record : ImageRecord
        After `bchisto.predict.check_sizes`.
    file : Path
        The model file: the names of its training images lie beside it.
    target : str
        The class; by default as `ExplainSettings` has it.

    Raises
    ------
    InputError
        No such class.
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
    """An image, the file of its arrays, and the key of what explains it."""

    record: ImageRecord
    arrays: Path
    key: str


@dataclass(frozen=True)
class ExplainUnits:
    """Explains images and keeps what explains them, in any process; who puts all together explains those that failed.

    Attributes
    ----------
    file : ModelFile
    computed_by : mapping
        See `Model.computed_by`: of the process that sends the images.
    method : Method
    settings : ExplainSettings
    target : int or None
    """

    file: ModelFile
    computed_by: Mapping[str, Any]
    method: Method
    settings: ExplainSettings
    target: int | None

    def __call__(self, units: tuple[ExplainUnit, ...], ticker: Ticker) -> None:
        """Explain some images."""
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
