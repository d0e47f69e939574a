"""Presets of feature extraction, options that are ``auto``, and the scale at which an encoder sees images."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from itertools import product
from typing import NamedTuple

from ..core import Content, Entries, InputError, Message, from_options, items_of, one_of
from ..data import ImageRecord
from ..encoders import CATALOGUE, EncoderCard, EncoderChoice, stated_card, weights_of
from .settings import DEFAULT_VIEWS, FeaturizeSettings, View

_log = logging.getLogger(__name__)

AUTO = {"auto": DEFAULT_VIEWS, "auto:1": DEFAULT_VIEWS[:1]}
"""Automatic values of ``--view``: the published views, or others that fit the images; or only the smaller view."""

PRESETS: Mapping[str, Entries] = {
    "quick": {
        "encoders": ("mobilenetv2",),
        "views": ("auto:1",),
        "augmentations": 12,
        "mode": "dense",
    },
    "standard": {
        "encoders": ("inceptionv3:mixed5+mixed7+mixed8", "mobilenetv2"),
        "views": ("auto",),
        "augmentations": 12,
        "mode": "dense",
    },
    "published": {},
}
"""Options that each preset sets. ``published`` is Rakhlin et al. 2018.

``quick`` and ``standard`` are on the upper convex hull of accuracy on real BACH against CPU time, see
``docs/settings.md``.
"""


def preset_options(name: str) -> Content:
    """Return the options that a preset sets, for `choose_settings`.

    Parameters
    ----------
    name : {"quick", "standard", "published"}

    Raises
    ------
    InputError
        There is no such preset.
    """
    if name not in PRESETS:
        raise InputError("{preset} {}: {}", name, one_of(name, PRESETS))
    return dict(PRESETS[name])


FAR = 1.3
"""Ratio of two scales above which there is a warning (bchisto's choice).

Accuracy differs by up to four points between the usual scales of slides (arXiv 2601.02198). The 0.42 of BACH instead of
0.5 should not give a warning.
"""


class SeenScale(NamedTuple):
    """Micrometres per pixel at which an encoder sees images with a view.

    Attributes
    ----------
    encoder : str
    view : View
    seen : str
        Smallest and largest micrometres per pixel of the network's input.
    trained : tuple of float
        Micrometres per pixel of the training images; empty if unknown.
    warning : str
        A warning if the encoder was trained at another scale; otherwise empty.
    """

    encoder: str
    view: View
    seen: str
    trained: tuple[float, ...]
    warning: str


def suited_view(card: EncoderCard) -> View | None:
    """Return the view with the crop size and scale of an encoder's training images; None if these are unknown."""
    side = card.resize or card.size
    return View(card.mpp[0], side, "um") if card.mpp and side else None


def _card_of(choice: EncoderChoice, settings: FeaturizeSettings) -> EncoderCard:
    """Return what is stated about an encoder; an empty card if nothing is."""
    return stated_card(choice, weights_of(settings.weights, choice.label)) or EncoderCard()


def seen_scales(records: Iterable[ImageRecord], settings: FeaturizeSettings) -> list[SeenScale]:
    """Return the micrometres per pixel at which each encoder sees the images with each view."""
    resolutions = {record.mpp for record in records}
    scales = []
    for choice, view in product(settings.encoders, settings.views):
        card = _card_of(choice, settings)
        bounds = _seen_bounds(resolutions, view, card)
        seen = " to ".join(dict.fromkeys(f"{bound:.2g}" for bound in bounds)) or "not known"
        warning = ""
        if any(_is_far(bound, card) for bound in bounds):
            warning = Message(
                "{} was trained at {} micrometres per pixel, and sees {} at {views:{}}",
                choice.label,
                ", ".join(f"{mpp:g}" for mpp in card.mpp),
                seen,
                view,
                remedies=[Message("use {views:{}}", suited_view(card))],
            )
        scales.append(SeenScale(choice.label, view, seen, card.mpp, warning))
    return scales


def _seen_bounds(
    resolutions: Collection[float | None], view: View, card: EncoderCard
) -> tuple[float, ...]:
    """Return the least and the most micrometres per pixel at the input of an encoder; none if they are not known."""
    if view.unit:
        inputs = [view.scale]
    elif None in resolutions:
        return ()
    else:
        inputs = [mpp / view.scale for mpp in resolutions if mpp is not None]
    side = card.resize or card.size
    if side:
        # the encoder resizes each crop to its own side
        inputs = [mpp * (view.crop / side) for mpp in inputs]
    if not inputs:
        return ()
    return min(inputs), max(inputs)


def _is_far(mpp: float, card: EncoderCard) -> bool:
    """Return whether micrometres per pixel are far from all at which an encoder was trained."""
    ratios = [max(mpp / trained_mpp, trained_mpp / mpp) for trained_mpp in card.mpp]
    return bool(ratios) and min(ratios) > FAR


def encoder_defaults(options: Entries, *, keep: Collection[str] = ()) -> Content:
    """Return default options for pathology encoders, which state the micrometres per pixel of their training images.

    These are their views, one augmentation, unchanged stains and colours, and exact mode. If any encoder does not state
    its micrometres per pixel, there are no such defaults.

    Parameters
    ----------
    options : mapping
        As for `choose_settings`.
    keep : collection of str
        Options that the user set, which are left out of the result.
    """
    encoder_options = {name: options[name] for name in ("encoders", "weights") if name in options}
    settings = from_options(FeaturizeSettings, encoder_options)
    views = [suited_view(_card_of(choice, settings)) for choice in settings.encoders]
    if None in views:
        return {}
    defaults = {
        "views": tuple(dict.fromkeys(views)),
        "augmentations": 1,
        "stain": "none",
        "color_range": (1.0, 1.0),
        "mode": "exact",
    }
    user_options = set(keep)
    if str(next(iter(options.get("views", ())), "")) in AUTO:
        user_options.discard("views")  # with auto, the user set no view
    return {name: value for name, value in defaults.items() if name not in user_options}


def defaults_text(brought: Entries, settings: FeaturizeSettings) -> str:
    """Return one line that lists the default options of encoders."""
    words = dict(brought)
    words.pop("mode", None)  # exact is the only mode of these encoders
    catalogued = dict.fromkeys(
        choice.name
        for choice in settings.encoders
        if choice.name in CATALOGUE and not choice.layers
    )
    outputs = [f"{name}:{'+'.join(CATALOGUE[name].outputs)}" for name in catalogued]
    if outputs:
        words = {"encoders": outputs, **words}
    places = {name: " ".join(["{}"] * len(items_of(value))) for name, value in words.items()}
    template = ", ".join(f"{{{name}:{place}}}" for name, place in places.items())
    texts = [
        f"{item:g}" if isinstance(item, float) else str(item)
        for value in words.values()
        for item in items_of(value)
    ]
    names = ", ".join(choice.label for choice in settings.encoders)
    return Message(f"{{}} brings {template}; what you give wins", names, *texts)


class ChosenSettings(NamedTuple):
    """Settings that follow from options.

    Attributes
    ----------
    settings : FeaturizeSettings
    fits_views : bool
        Whether their views must still be fitted to the images.
    has_defaults : bool
        Whether an encoder brings defaults.
    """

    settings: FeaturizeSettings
    fits_views: bool
    has_defaults: bool


def choose_settings(options: Entries, *, keep: Collection[str] = ()) -> ChosenSettings:
    """Return the settings of some options with the defaults that an encoder brings, which are logged.

    Parameters
    ----------
    options : mapping
        Fields of `FeaturizeSettings`; others are ignored. ``views`` may be a name of `AUTO`, for views that fit the
        images; with defaults of an encoder, it means the encoder's view.
    keep : collection of str
        As for `encoder_defaults`.

    Raises
    ------
    InputError
        See `FeaturizeSettings`.
    """
    fields = {**options}
    views = options.get("views", ())
    fits_views = len(views) == 1 and views[0] in AUTO
    if fits_views:
        fields["views"] = AUTO[views[0]]
    defaults = encoder_defaults(options, keep=keep)
    settings = from_options(FeaturizeSettings, fields, **defaults)
    if defaults:
        _log.info("%s", defaults_text(defaults, settings))
    return ChosenSettings(settings, fits_views, bool(defaults))
