"""At how many micrometres per pixel encoders see images, whether they were made for that, and the view that suits."""

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
"""Factor between scales from which it is told: accuracy differs by up to four points between the scales at which slides
are usually seen (arXiv 2601.02198), and 0.42 of BACH for 0.5 is no reason to worry."""


@dataclass(frozen=True)
class SeenScale:
    """How an encoder sees images at a view.

    Attributes
    ----------
    encoder : str
    view : View
    bounds : (float, float) or None
        Least and most micrometres per pixel of what the network takes; None where those of images are not known.
    trained : tuple of float
        Those that it was trained at; empty where that is not known.
    suited : View or None
        A view that shows what it was trained on.
    """

    encoder: str
    view: View
    bounds: tuple[float, float] | None
    trained: tuple[float, ...] = ()
    suited: View | None = None

    @property
    def seen(self) -> str:
        """The bounds for people."""
        if self.bounds is None:
            return "not known"
        return " to ".join(dict.fromkeys(f"{bound:.2g}" for bound in self.bounds))

    @property
    def warning(self) -> str:
        """What to do where it was trained at another scale; empty where it was not."""
        far = self.bounds is not None and any(
            min(max(bound / mpp, mpp / bound) for mpp in self.trained) > FAR for bound in self.bounds if self.trained
        )
        if not far:
            return ""
        trained = ", ".join(f"{mpp:g}" for mpp in self.trained)
        return Message("{} was trained at {} micrometres per pixel, and sees {} at {views:{}}; use {views:{}}",
                       self.encoder, trained, self.seen, self.view, self.suited)  # fmt: skip


def suited_view(card: EncoderCard) -> View | None:
    """Return the view that shows an encoder crops of the size and scale that it was trained on."""
    side = card.resize or card.size
    return View(card.mpp[0], side, "um") if card.mpp and side else None


def seen_scales(records: Iterable[ImageRecord], settings: FeaturizeSettings) -> list[SeenScale]:
    """Return how each encoder sees images at each view."""
    known = {record.mpp for record in records}
    scales = []
    for choice, view in product(settings.encoders, settings.views):
        card = stated_card(choice, settings.weights_of(choice.label)) or EncoderCard()
        side = card.resize or card.size
        factor = view.crop / side if side else 1.0
        if view.unit:
            bounds = (view.scale * factor, view.scale * factor)
        elif None in known or not known:
            bounds = None
        else:
            values = sorted(mpp / view.scale * factor for mpp in known if mpp is not None)
            bounds = (values[0], values[-1])
        scales.append(SeenScale(choice.label, view, bounds, card.mpp, suited_view(card)))
    return scales


def encoder_defaults(options: Mapping[str, Any], *, keep: Collection[str] = ()) -> dict[str, Any]:
    """Return the options that encoders bring which state micrometres per pixel: pathology encoders of vectors.

    Their views, one augmentation, stains and colours as they are, and exact mode; nothing if any encoder states none.

    Parameters
    ----------
    options : mapping
        As for `resolve_settings`.
    keep : collection of str
        Options that the user gave, which stay.
    """
    chosen = from_options(
        FeaturizeSettings, {name: options[name] for name in ("encoders", "weights") if name in options}
    )
    cards = [stated_card(choice, chosen.weights_of(choice.label)) for choice in chosen.encoders]
    views = [None if card is None else suited_view(card) for card in cards]
    if None in views:
        return {}
    brought = {
        "views": tuple(dict.fromkeys(views)), "augmentations": 1, "stain": "none", "color_range": (1.0, 1.0),
        "mode": "exact",
    }  # fmt: skip
    automatic = str(next(iter(options.get("views", ())), "")) in AUTO
    return {name: value for name, value in brought.items() if name not in keep or (name == "views" and automatic)}


def defaults_text(brought: Mapping[str, Any], settings: FeaturizeSettings) -> str:
    """Say in one line what encoders brought, as options."""
    named = (choice.name for choice in settings.encoders if choice.name in CATALOGUE and not choice.layers)
    published = {name: CATALOGUE[name].outputs for name in named}
    outputs = [f"{name}:{'+'.join(of)}" for name, of in published.items()]
    words = {"encoders": outputs, **brought} if outputs else brought
    words = {name: value for name, value in words.items() if name != "mode"}  # that of all but networks of maps
    values = (value if isinstance(value, list | tuple) else [value] for value in words.values())
    texts = [" ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in items) for items in values]
    template = ", ".join(f"{{{name}:{{}}}}" for name in words)
    names = ", ".join(choice.label for choice in settings.encoders)
    return Message(f"{{}} brings {template}; what you give wins", names, *texts)
