"""Presets of feature extraction, options that are ``auto``, and the scale at which an encoder sees images."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

from ..core import InputError, Message, from_options, one_of
from ..data import ImageRecord
from ..encoders import CATALOGUE, EncoderCard, stated_card, weights_of
from .settings import DEFAULT_VIEWS, FeaturizeSettings, View

_log = logging.getLogger(__name__)

AUTO = {"auto": DEFAULT_VIEWS, "auto:1": DEFAULT_VIEWS[:1]}
"""Automatic values of ``--view``: the published views, or others that fit the images; or only the smaller view."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
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


def preset_options(name: str) -> dict[str, Any]:
    """Return the options that a preset sets, for `resolve_settings`.

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


def resolve_settings(
    options: Mapping[str, Any], *, brought: Mapping[str, Any] = MappingProxyType({})
) -> tuple[FeaturizeSettings, bool]:
    """Return settings, and whether their views must still be fitted to the images.

    Parameters
    ----------
    options : mapping
        Fields of `FeaturizeSettings`; others are ignored. ``views`` may be a name of `AUTO`, which
        `bchisto.apps.check.plan_describing` then replaces with views that fit.
    brought : mapping
        Defaults of encoders, see `bchisto.featurize.encoder_defaults`. With them, ``auto`` means the encoder's view.

    Raises
    ------
    InputError
        See `FeaturizeSettings`.
    """
    views = options.get("views", ())
    automatic = AUTO.get(views[0]) if len(views) == 1 else None
    chosen = {**options, **({"views": automatic} if automatic else {}), **brought}
    return from_options(FeaturizeSettings, chosen), automatic is not None


FAR = 1.3
"""Ratio of two scales above which there is a warning (bchisto's choice).

Accuracy differs by up to four points between the usual scales of slides (arXiv 2601.02198). The 0.42 of BACH instead of
0.5 should not give a warning.
"""


@dataclass(frozen=True)
class SeenScale:
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


def seen_scales(records: Iterable[ImageRecord], settings: FeaturizeSettings) -> list[SeenScale]:
    """Return the micrometres per pixel at which each encoder sees the images with each view."""
    resolutions = {record.mpp for record in records}
    scales = []
    for choice, view in product(settings.encoders, settings.views):
        card = stated_card(choice, weights_of(settings.weights, choice.label)) or EncoderCard()
        side = card.resize or card.size
        factor = view.crop / side if side else 1.0
        if view.unit:
            values = [view.scale * factor]
        else:
            values = [
                mpp / view.scale * factor
                for mpp in resolutions
                if mpp is not None and None not in resolutions
            ]
        bounds = (min(values), max(values)) if values else ()
        seen, warning = (
            " to ".join(dict.fromkeys(f"{bound:.2g}" for bound in bounds)) or "not known",
            "",
        )
        if any(
            min(max(bound / mpp, mpp / bound) for mpp in card.mpp) > FAR
            for bound in bounds
            if card.mpp
        ):
            trained = ", ".join(f"{mpp:g}" for mpp in card.mpp)
            warning = Message(
                "{} was trained at {} micrometres per pixel, and sees {} at {views:{}}; use {views:{}}",
                choice.label,
                trained,
                seen,
                view,
                suited_view(card),
            )
        scales.append(SeenScale(choice.label, view, seen, card.mpp, warning))
    return scales


def encoder_defaults(options: Mapping[str, Any], *, keep: Collection[str] = ()) -> dict[str, Any]:
    """Return default options for pathology encoders, which state the micrometres per pixel of their training images.

    These are their views, one augmentation, unchanged stains and colours, and exact mode. If any encoder does not state
    its micrometres per pixel, there are no such defaults.

    Parameters
    ----------
    options : mapping
        As for `resolve_settings`.
    keep : collection of str
        Options that the user set, which are left out of the result.
    """
    chosen = from_options(
        FeaturizeSettings,
        {name: options[name] for name in ("encoders", "weights") if name in options},
    )
    cards = [
        stated_card(choice, weights_of(chosen.weights, choice.label)) for choice in chosen.encoders
    ]
    views = [None if card is None else suited_view(card) for card in cards]
    if None in views:
        return {}
    defaults = {
        "views": tuple(dict.fromkeys(views)),
        "augmentations": 1,
        "stain": "none",
        "color_range": (1.0, 1.0),
        "mode": "exact",
    }
    automatic = str(next(iter(options.get("views", ())), "")) in AUTO
    return {
        name: value
        for name, value in defaults.items()
        if name not in keep or (name == "views" and automatic)
    }


def defaults_text(brought: Mapping[str, Any], settings: FeaturizeSettings) -> str:
    """Return one line that lists the default options of encoders."""
    named = (
        choice.name
        for choice in settings.encoders
        if choice.name in CATALOGUE and not choice.layers
    )
    published = {name: CATALOGUE[name].outputs for name in named}
    outputs = [f"{name}:{'+'.join(of)}" for name, of in published.items()]
    words = {"encoders": outputs, **brought} if outputs else brought
    words = {
        name: value for name, value in words.items() if name != "mode"
    }  # exact is the only mode of these encoders
    values = (value if isinstance(value, list | tuple) else [value] for value in words.values())
    texts = [
        " ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in items)
        for items in values
    ]
    template = ", ".join(f"{{{name}:{{}}}}" for name in words)
    names = ", ".join(choice.label for choice in settings.encoders)
    return Message(f"{{}} brings {template}; what you give wins", names, *texts)


def choose_settings(
    options: Mapping[str, Any], *, keep: Collection[str]
) -> tuple[FeaturizeSettings, bool, bool]:
    """Return the settings of some options with the defaults that an encoder brings, which are logged.

    Parameters
    ----------
    options : mapping
        As for `resolve_settings`.
    keep : collection of str
        As for `encoder_defaults`.

    Returns
    -------
    FeaturizeSettings
    bool
        Whether views are still to be chosen.
    bool
        Whether an encoder brings defaults.
    """
    brought = encoder_defaults(options, keep=keep)
    settings, automatic = resolve_settings(options, brought=brought)
    if brought:
        _log.info("%s", defaults_text(brought, settings))
    return settings, automatic, bool(brought)
