"""Compare the micrometres per pixel at which encoders see images with those of their training images."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from ..core import Message, from_options
from ..data import ImageRecord
from ..encoders import CATALOGUE, EncoderCard, stated_card
from .presets import AUTO
from .settings import FeaturizeSettings, View

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
    bounds : (float, float) or None
        Smallest and largest micrometres per pixel of the network's input; None if those of the images are unknown.
    trained : tuple of float
        Micrometres per pixel of the training images; empty if unknown.
    suited : View or None
        A view that matches the training images.
    """

    encoder: str
    view: View
    bounds: tuple[float, float] | None
    trained: tuple[float, ...] = ()
    suited: View | None = None

    @property
    def seen(self) -> str:
        """The bounds as text."""
        if self.bounds is None:
            return "not known"
        return " to ".join(dict.fromkeys(f"{bound:.2g}" for bound in self.bounds))

    @property
    def warning(self) -> str:
        """A warning if the encoder was trained at another scale; otherwise empty."""
        far = self.bounds is not None and any(
            min(max(bound / mpp, mpp / bound) for mpp in self.trained) > FAR for bound in self.bounds if self.trained
        )
        if not far:
            return ""
        trained = ", ".join(f"{mpp:g}" for mpp in self.trained)
        return Message("{} was trained at {} micrometres per pixel, and sees {} at {views:{}}; use {views:{}}",
                       self.encoder, trained, self.seen, self.view, self.suited)  # fmt: skip


def suited_view(card: EncoderCard) -> View | None:
    """Return the view with the crop size and scale of an encoder's training images; None if these are unknown."""
    side = card.resize or card.size
    return View(card.mpp[0], side, "um") if card.mpp and side else None


def seen_scales(records: Iterable[ImageRecord], settings: FeaturizeSettings) -> list[SeenScale]:
    """Return the micrometres per pixel at which each encoder sees the images with each view."""
    resolutions = {record.mpp for record in records}
    scales = []
    for choice, view in product(settings.encoders, settings.views):
        card = stated_card(choice, settings.weights_of(choice.label)) or EncoderCard()
        side = card.resize or card.size
        factor = view.crop / side if side else 1.0
        if view.unit:
            bounds = (view.scale * factor, view.scale * factor)
        elif None in resolutions or not resolutions:
            bounds = None
        else:
            values = sorted(mpp / view.scale * factor for mpp in resolutions if mpp is not None)
            bounds = (values[0], values[-1])
        scales.append(SeenScale(choice.label, view, bounds, card.mpp, suited_view(card)))
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
        FeaturizeSettings, {name: options[name] for name in ("encoders", "weights") if name in options}
    )
    cards = [stated_card(choice, chosen.weights_of(choice.label)) for choice in chosen.encoders]
    views = [None if card is None else suited_view(card) for card in cards]
    if None in views:
        return {}
    defaults = {
        "views": tuple(dict.fromkeys(views)), "augmentations": 1, "stain": "none", "color_range": (1.0, 1.0),
        "mode": "exact",
    }  # fmt: skip
    automatic = str(next(iter(options.get("views", ())), "")) in AUTO
    return {name: value for name, value in defaults.items() if name not in keep or (name == "views" and automatic)}


def defaults_text(brought: Mapping[str, Any], settings: FeaturizeSettings) -> str:
    """Return one line that lists the default options of encoders."""
    named = (choice.name for choice in settings.encoders if choice.name in CATALOGUE and not choice.layers)
    published = {name: CATALOGUE[name].outputs for name in named}
    outputs = [f"{name}:{'+'.join(of)}" for name, of in published.items()]
    words = {"encoders": outputs, **brought} if outputs else brought
    words = {name: value for name, value in words.items() if name != "mode"}  # exact is the only mode of these encoders
    values = (value if isinstance(value, list | tuple) else [value] for value in words.values())
    texts = [" ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in items) for items in values]
    template = ", ".join(f"{{{name}:{{}}}}" for name in words)
    names = ", ".join(choice.label for choice in settings.encoders)
    return Message(f"{{}} brings {template}; what you give wins", names, *texts)
