"""The methods of explanation and their settings: for which models they are, what they show, and their limitations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core import Content, InputError, Kind, Message, Settings, Texts, converted, one_of, option
from ...core.formats import Floats as Shares
from ...core.jobs import Ticker
from ...core.models import open_bundle
from ...data import ImageRecord, match_class
from ...evaluate import Shares as ClassShares
from ...evaluate import apply_temperature, called, limit_of
from ...predict import Model, OperatingPoint, PredictSettings, find_bundle, new_images_mpp, view_of
from .explanation import Explanation, UnitPictures, shown_picture
from .gradient_maps import feature_maps, gradcam, gradient, occlusion
from .graph import Floats, Graph

_KINDS = {"boosted": "boosted ensembles on features", "cnn": "fine-tuned networks"}


PicturesOf = Callable[[Graph, Floats, int, Any], UnitPictures]


@dataclass(frozen=True)
class Method:
    """A method of explanation.

    A method for networks has one of `values`, `of_patch` and `of_model`. These functions get the number of a feature
    map in the graph, or None without a layer. ``map`` has none of them, since it shows the probabilities of patches.

    Attributes
    ----------
    name : str
    unit : str
        What its colour bar shows; ``{target}`` is replaced by the class.
    caution : str
        Its limitations, for readers.
    kinds : tuple of str
        Kinds of model that it can explain: ``boosted``, ``cnn``.
    signed : bool
        Whether values above and below white have opposite meanings.
    layered : bool
        Whether it accepts a layer. If none is given, one that looks at images uses the last feature map.
    shares : bool
        Whether its values sum to the score, over the whole image or over each patch.
    floor : float
        Smallest reach of the colour bar to either side of white, so that negligible values stay pale.
    values : callable, optional
        ``values(graph, patches, target, tensor)`` returns a map of each patch, shape (n, rows, columns), which is
        averaged over the networks.
    of_patch : callable, optional
        ``of_patch(graph, patches, target, tensor)`` returns small pictures of the first patch.
    of_model : callable, optional
        ``of_model(graph, classes, target, tensor, settings)`` returns small pictures without an image.
    check : callable, optional
        ``check(graph, tensor)`` raises `InputError` for a network that the method cannot explain.
    """

    name: str
    unit: str
    caution: str
    kinds: tuple[str, ...] = ("cnn",)
    signed: bool = False
    layered: bool = False
    shares: bool = False
    floor: float = 0.0
    values: Callable[[Graph, Floats, int, Any], Floats] | None = None
    of_patch: PicturesOf | None = None
    of_model: (
        Callable[[Graph, Sequence[str], int | None, int | None, ExplainSettings], UnitPictures]
        | None
    ) = None
    check: Callable[[Graph, int | None], None] | None = None

    def explanation(self, image_id: str, target: str, **more: Any) -> Explanation:
        """Return an explanation of an image or a model by this method. `more` are further fields of `Explanation`."""
        return Explanation(
            image_id,
            self.name,
            target,
            caution=self.caution,
            signed=self.signed,
            floor=self.floor,
            unit=self.unit.format(target=target),
            **more,
        )


_TRAINED = "SEEN IN TRAINING: this image trained or validated models that draw its map"

_ALL = (
    Method(
        "map",
        "probability of {target}",
        "Each position shows what the model would predict if the image held only its surroundings, averaged with what "
        "it predicts of the image unless it is a larger field; it was trained on whole images, so this is not a "
        "segmentation or a probability of a lesion. If the mean of the map is far from the probability of the image, "
        "trust the map less.",
        kinds=("boosted", "cnn"),
        signed=True,
    ),
    Method(
        "gradient",
        "largest gradient of the score of {target}",
        "How much the score would change with a very small change of a pixel; noisy, and blank if the network is "
        "already certain. It does not show that the tissue there supports the class.",
        values=gradient,
    ),
    Method(
        "gradcam",
        "Grad-CAM of {target}",
        "Where the chosen layer is active in channels that raise the score; as coarse as that layer, blind to what "
        "speaks against the class, and not an outline of anything.",
        layered=True,
        values=gradcam,
    ),
    Method(
        "occlusion",
        "fall of the probability of {target} when covered",
        "What covering a position with the mean colour does; the network never saw covered images, and tissue of "
        "which there is more elsewhere can be covered without effect.",
        signed=True,
        floor=0.05,
        values=occlusion,
    ),
    Method(
        "activations",
        "",
        "What one layer of the first model makes of the image, or of its middle patch, the most active channels "
        "first; activity is neither for nor against a class.",
        layered=True,
        of_patch=feature_maps,
    ),
)

METHODS = {method.name: method for method in _ALL}
"""The methods of `explain` by name."""


def choose_method(
    settings: ExplainSettings,
    methods: Mapping[str, Method],
    *,
    kind: str | None = None,
    bundle: object = "",
) -> Method:
    """Return the method that the settings name, and check that it fits the layer and the kind of model.

    Raises
    ------
    InputError
        There is no such method, it is for other models, or it does not accept a layer.
    """
    name = settings.method
    if name not in methods:
        raise InputError("{method} {}: no such method; {}", name, one_of(name, methods))
    method = methods[name]
    if settings.layer and not method.layered:
        raise InputError(
            "{layer} {}: the method {} looks at no layer; leave it out", settings.layer, name
        )
    if kind is not None and kind not in method.kinds:
        fitting = ", ".join(other.name for other in methods.values() if kind in other.kinds)
        text = "{method} {}: is for {}, and {} holds {}; choose one of {}"
        raise InputError(text, name, _KINDS[method.kinds[0]], bundle, _KINDS[kind], fitting)
    return method


_BY_KIND = " ".join(
    f"Of {models}: {', '.join(method.name for method in METHODS.values() if kind in method.kinds)}."
    for kind, models in _KINDS.items()
)


def _as_method(value: Any, name: str) -> str:
    return converted(value, name, tuple[str, ...])[0]


@dataclass(frozen=True)
class ExplainSettings(Settings):
    """Settings of an explanation."""

    method: str = option(
        group="Evaluation",
        form=_as_method,
        help=f"{_BY_KIND} Default: map, or gradcam of networks of whole images.",
    )
    layer: str = option("", help="Layer to look at; default: the last feature map.")
    target: str = option(
        "",
        group="Evaluation",
        metavar="CLASS",
        help="Class to explain, red in a map; default: the most probable, of map and occlusion of the positive ones.",
    )
    threshold: float | None = option(
        None,
        group="Evaluation",
        least=0,
        most=1,
        help="Of two classes, score from which an image is called positive, and which is white in a map; default: as "
        "for predict.",
    )
    mpp: float | None = new_images_mpp()
    window: int | None = option(
        None,
        least=32,
        help="map: side of the window at each position, pixels of the image; default: that of the model's crops, at "
        "most a third of the shorter side.",
    )
    positive: Texts = option(
        (),
        group="Evaluation",
        metavar="CLASS",
        help="Positive one of two classes, in place of that of the model.",
    )

    def point_of(
        self,
        classes: tuple[str, ...],
        two_class: Content | None,
        shares: ClassShares,
    ) -> OperatingPoint | None:
        """Return the operating point of a model of two classes, see `bchisto.predict.PredictSettings`."""
        settings = PredictSettings(threshold=self.threshold, positive=self.positive)
        return settings.point_of(classes, two_class, shares, "the model")


class Asked(NamedTuple):
    """A method with its settings, for the classes of a model.

    Attributes
    ----------
    method : Method
    settings : ExplainSettings
    target : int or None
        Index of the class to explain; None if none is given.
    red : tuple of str
        The classes that red speaks for on every map; empty if it is the class that each image is called. That is the
        class to explain, else the positive ones, else the second of two. Only methods whose colours have two sides have
        a default.
    """

    method: Method
    settings: ExplainSettings
    target: int | None
    red: tuple[str, ...]


def settings_of(
    names: Sequence[str], asked: ExplainSettings, *, methods: Mapping[str, Method] = METHODS
) -> list[ExplainSettings]:
    """Return settings for each of several methods. The layer is passed to the methods that accept one.

    Parameters
    ----------
    names : sequence of str
    asked : ExplainSettings
        All other settings, the same for all methods.
    methods : mapping
        All available methods by name.

    Raises
    ------
    InputError
        There is no such method, or a layer is given and none of the methods accepts one.
    """
    layered = {name for name in names if name in methods and methods[name].layered}
    by_method = []
    for name in dict.fromkeys(names):
        settings = replace(asked, method=name)
        # if no method accepts a layer, `choose_method` refuses it
        if layered and name not in layered:
            settings = replace(settings, layer="")
        choose_method(settings, methods)
        by_method.append(settings)
    return by_method


def default_method(model: Path) -> str:
    """Return the default method for a model file, or for that of a run: ``gradcam`` if networks see whole images."""
    with open_bundle(find_bundle(model)) as archive:
        if archive.manifest.get("settings", {}).get("patches") == "resize":
            return "gradcam"
    return "map"


def ask(
    method: Method,
    settings: ExplainSettings,
    classes: tuple[str, ...],
    two_class: Content | None,
    shares: ClassShares,
) -> Asked:
    """Return what a method is asked of a model.

    Parameters
    ----------
    method : Method
    settings : ExplainSettings
    classes : tuple of str
        Classes of the model.
    two_class : mapping or None
        Entry ``two_class`` of the model file.
    shares : sequence of float, optional
        Share of each class in training, if classes are called by it.

    Raises
    ------
    InputError
        The model has no such class, or no threshold applies to its classes.
    """
    if len(classes) == 2:
        # refuses a name that is no class, and a threshold without a positive class
        settings.point_of(classes, two_class, shares)
    elif settings.positive or settings.threshold is not None:
        raise InputError(
            Message(
                "{positive} and {threshold}: are of two classes; leave them out, maps compare each class"
            )
        )
    target = settings.target
    if target:
        name = match_class(target, classes)
        if name is None:
            raise InputError(
                "{target} {}: no class of this model; {}", target, one_of(target, classes)
            )
        return Asked(method, settings, classes.index(name), (name,))
    red: tuple[str, ...] = ()
    if method.signed:
        red = tuple(view_of(classes, two_class, settings.positive, shares)["positive"])
        if len(classes) == 2 and not red:
            red = classes[1:]
    return Asked(method, settings, None, red)


def blue_of(red: Sequence[str], classes: Sequence[str]) -> str:
    """Return what blue speaks for, given the classes that red does: the other of two classes, else another."""
    if len(classes) > 2:
        return "another"
    return next(name for name in classes if name not in red)


def legend_of(asked: Asked, classes: Sequence[str]) -> str:
    """Return what the colours of all maps of a model with these classes mean; empty if there are no maps."""
    method = asked.method
    if method.of_patch is not None or method.of_model is not None:
        return ""
    if not method.signed:
        return "light is high, dark is low"
    names = " or ".join(asked.red) or "the class that an image is called"
    return f"red speaks for {names}, blue for {blue_of(asked.red, classes)}"


def answered(
    asked: Asked, model: Model, record: ImageRecord, images: Sequence[ImageRecord]
) -> tuple[Explanation, Shares, Sequence[Shares]]:
    """Predict an image.

    Parameters
    ----------
    asked : Asked
    model : Model
    record : ImageRecord
    images : sequence of ImageRecord
        All that is predicted: the image, or windows of it. The prediction is their mean.

    Returns
    -------
    explanation : Explanation
        With the prediction but without a map.
    predictions : ndarray of float64, shape (n, classes)
        Predicted probabilities of each of `images`.
    compared : sequence of ndarray of float64
        Comparison of each with the training images, see `bchisto.boost.Bundle.compare`.

    Raises
    ------
    ImageError
        The image cannot be used.
    """
    predicted_images = model.predict(images, ticker=Ticker(None), skip_errors=False)
    _, probabilities, hashes, compared, _ = zip(*predicted_images, strict=True)
    predictions = np.array(probabilities)
    shares = predictions.mean(axis=0)
    method, settings, _, red = asked
    bundle = model.bundle
    classes = bundle.classes
    predicted = int(called(shares, bundle.shares))
    called_from = math.nan
    if bundle.shares is not None:
        called_from = bundle.shares[predicted]
    index = max(map(classes.index, red), key=shares.__getitem__, default=predicted)
    answer = predicted
    white = 0.0
    if len(classes) == 2:
        white = limit_of(np.arange(2) == index, bundle.shares)
        point = settings.point_of(classes, bundle.two_class, bundle.shares)
        if point is not None:
            positive = classes.index(point.positive[0])
            answer = 1 - positive
            if point.is_positive(shares[np.newaxis], np.array([predicted]))[0]:
                answer = positive
            white = point.threshold
            if index != positive:
                white = 1 - white
    if method.name != "map":
        white = 0.0
    calibrated = math.nan
    if bundle.temperature is not None:
        calibrated = float(apply_temperature(shares[np.newaxis], bundle.temperature)[0, index])
    notes: list[str] = [banner for banner in bundle.banners if banner.kind == Kind.NOTHING_LEARNT]
    if bundle.training is not None and not bundle.training.hashes.isdisjoint(hashes):
        notes.append(_TRAINED)
    red = red or (classes[answer],)
    explanation = method.explanation(
        record.image_id,
        classes[index],
        predicted=classes[predicted],
        score=float(shares[index]),
        calibrated=calibrated,
        called=classes[answer],
        shares=bundle.shares,
        called_from=called_from,
        red=red,
        blue=blue_of(red, classes),
        white=white,
        picture=shown_picture(record),
        notes=tuple(notes),
    )
    return explanation, predictions, compared
