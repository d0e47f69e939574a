"""What is asked of a model, and the methods by name: for which models, what they show, and what they are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..arguments import as_texts
from ..data import match_class
from ..errors import InputError, one_of
from ..options import Settings, option

_ROADS = {"boosted": "boosted ensembles on descriptors", "cnn": "fine-tuned networks"}


@dataclass(frozen=True)
class Method:
    """A way to look into a model.

    Attributes
    ----------
    name : str
    unit : str
        What its colour bar says; ``{target}`` is the class.
    caution : str
        What it is not.
    roads : tuple of str
        ``boosted``, ``cnn``: the bundles that it is for.
    signed : bool
    layered : bool
        Whether it takes a layer.
    about_model : bool
        Whether it looks at the model alone, so that no image is needed.
    padded : bool
        Whether padding makes its maps bright along the border.
    floor : float
        Least reach of the colour bar to either side of the centre: values below it are no effect worth a colour.
    """

    name: str
    unit: str
    caution: str
    roads: tuple[str, ...] = ("cnn",)
    signed: bool = False
    layered: bool = False
    about_model: bool = False
    padded: bool = False
    floor: float = 0.0


_BORDERS = " Where a network pads its pictures, the border is bright whatever it shows."

_ALL = (
    Method(
        "map",
        "probability of {target}",
        "Each place shows what the model would say if the picture held nothing but its surroundings; it was trained "
        "on whole pictures, so this is no segmentation and no probability of a lesion here. The mean of the map is not "
        "the probability of the whole picture; where the two are far apart, trust the map less.",
        roads=("boosted", "cnn"),
        signed=True,
    ),
    Method(
        "contributions",
        "added to the score of {target}",
        "How the trees share out their score among channels of the encoder; a channel has no meaning of its own, and "
        "nothing here tells what would happen if the tissue were different. The score is the logarithm of the "
        "probability less its mean over classes (of two classes half the log-odds), averaged over the models.",
        roads=("boosted",),
        signed=True,
    ),
    Method(
        "channels",
        "score of {target}, mean over the picture",
        "Where the channels with the largest contributions are active; the trees saw their average over the picture "
        "and not where they are, so a strong place need not have been needed. The score is the logarithm of the "
        "probability less its mean over classes (of two classes half the log-odds), averaged over the models.",
        roads=("boosted",),
        signed=True,
        floor=0.05,
    ),
    Method(
        "gradient",
        "largest gradient of the score of {target}",
        "How much the score would change with a very small change of a pixel; noisy, and silent where the network is "
        "sure already. It does not say that the tissue there speaks for the class.",
    ),
    Method(
        "gradcam",
        "Grad-CAM of {target}",
        "Where the chosen layer is active in channels that raise the score; as coarse as that layer, blind to what "
        "speaks against the class, and no outline of anything.",
        layered=True,
    ),
    Method(
        "occlusion",
        "fall of the probability of {target} when covered",
        "What covering a place with the mean colour does; the network never saw covered pictures, and tissue of "
        "which there is more elsewhere can be covered without effect.",
        signed=True,
        floor=0.05,
    ),
    Method(
        "filters",
        "",
        "The kernels of the first layer, each stretched to its own contrast; they show what edges and colours the "
        "network takes in and nothing of how it decides.",
        about_model=True,
    ),
    Method(
        "activations",
        "",
        "What one layer of the first model makes of the picture, or of its middle patch, the most active channels "
        "first; activity is neither for nor against a class.",
        layered=True,
    ),
    Method(
        "masking",
        "share of the masks",
        "The picture where single units of the first model that raise the score are at least half as active as they "
        "become; a unit need not stand for one thing, and the probabilities are of pictures that the network never "
        "saw: compare them with that of the mean colour alone.",
        layered=True,
    ),
    Method(
        "deconvnet",
        "size of what the deconvnet draws",
        "What may have excited the one unit that raises the score most; it depends on where max pooling found its "
        "maxima, and so on the edges of the picture, more than on the weights, and the score rests on many units.",
        layered=True,
    ),
    Method(
        "lrp",
        "share of the score of {target}",
        "The score shared out among pixels by fixed rules; other rules give other maps, and none says what would "
        "happen if the tissue were different." + _BORDERS,
        signed=True,
        padded=True,
    ),
    Method(
        "taylor",
        "share of the score of {target}",
        "What speaks for the class shared out among pixels by fixed rules; what speaks against it is not shown, and "
        "a score that is not positive shows nothing." + _BORDERS,
        padded=True,
    ),
    Method(
        "maximisation",
        "",
        "Pictures made to excite a class or a unit of the first model most; they are no tissue, and other settings "
        "give other ones.",
        layered=True,
        about_model=True,
    ),
    Method(
        "smoothgrad",
        "mean gradient of the score of {target}",
        "The gradient averaged over noisy copies; smoother, and no more than the gradient a sign that the tissue "
        "there speaks for the class.",
    ),
    Method(
        "integrated",
        "share of the score of {target}",
        "The score less that of a picture of one colour, shared out along a straight path between the two; another "
        "baseline gives another map.",
        signed=True,
    ),
)

METHODS = {method.name: method for method in _ALL}
"""The methods, by name."""


def choose_method(name: str, *, road: str | None = None, bundle: object = "") -> Method:
    """Return the method of that name, if it is for bundles of this road.

    Raises
    ------
    InputError
        No such method, or one for other models; the message names those that there are.
    """
    if name not in METHODS:
        raise InputError(f"`method` {name}: no such method; {one_of(name, METHODS)}")
    method = METHODS[name]
    if road is not None and road not in method.roads:
        there = ", ".join(one.name for one in METHODS.values() if road in one.roads)
        raise InputError(
            f"`method` {name}: is for {_ROADS[method.roads[0]]}, and {bundle} holds {_ROADS[road]}; choose one of "
            f"{there}"
        )
    return method


_METHODS_HELP = " ".join(
    [f"Of {_ROADS[road]}: {', '.join(one.name for one in METHODS.values() if road in one.roads)}." for road in _ROADS]
    + ["Default: map, or gradcam of networks."]
)


def _as_method(value: Any, name: str) -> str:
    return as_texts(value, name)[0]


@dataclass(frozen=True)
class ExplainSettings(Settings):
    """What is asked of a model."""

    method: str = option(form=_as_method, help=_METHODS_HELP)
    layer: str = option("", help="Layer to look at; default: the last feature map.")
    target: str = option(
        "", metavar="CLASS", help="Class to explain; default: the likeliest; of map, the positive one of two."
    )
    window: int = option(
        0,
        help="map: side of what each place sees, pixels of the image; default: that of the model's crops, at most a "
        "third of the shorter side.",
    )
    top: int = option(20, least=1, help="contributions, channels, filters, activations: how many are shown.")

    def validate(self) -> None:
        """Refuse a method that there is not, and what does not go with it."""
        method = choose_method(self.method)
        if self.layer and not method.layered:
            raise InputError(f"`layer` {self.layer}: the method {self.method} looks at no layer; leave it out")
        if self.window and self.window < 32:
            raise InputError(f"`window` {self.window}: give at least 32 pixels")


def settings_of(methods: Sequence[str], *, layer: str = "", **options: Any) -> list[ExplainSettings]:
    """Return settings for each of several methods; a layer goes to those that look at one.

    Parameters
    ----------
    methods : sequence of str
    layer : str
    **options : any
        The other fields, for all of them.

    Raises
    ------
    InputError
        See `ExplainSettings`; none of the methods looks at a layer.
    """
    layered = {name for name in methods if name in METHODS and METHODS[name].layered}
    return [
        ExplainSettings(name, layer=layer if name in layered or not layered else "", **options)
        for name in dict.fromkeys(methods)
    ]


def class_of(settings: ExplainSettings, classes: Sequence[str], two_class: Mapping[str, Any] | None) -> int | None:
    """Return the place of the class that is asked for; None where the likeliest of each image is.

    A map of two classes is of the positive one, so that red means the same in every picture.

    Parameters
    ----------
    settings : ExplainSettings
    classes : sequence of str
        Of the model.
    two_class : mapping or None
        Of its bundle.

    Raises
    ------
    InputError
        No such class.
    """
    if not settings.target:
        positive = [] if two_class is None or settings.method != "map" else two_class["positive"]
        return list(classes).index(positive[0]) if len(positive) == 1 and len(classes) == 2 else None
    found = match_class(settings.target, classes)
    if found is None:
        raise InputError(f"`target` {settings.target}: no class of this model; {one_of(settings.target, classes)}")
    return list(classes).index(found)
