"""Facts that a reader must know before a result: banners, with a kind that code compares, and words that it prints."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Any, cast

from .messages import Message, limited, public


class Kind(StrEnum):
    """What a banner is about."""

    OTHER = "other"
    BALANCED = "balanced"
    CHOSEN = "chosen"
    NON_COMMERCIAL = "non-commercial"
    NOT_KNOWN_NEW = "not-known-new"
    NOTHING_LEARNT = "nothing-learnt"
    NO_TISSUE = "no-tissue"
    NO_VALIDATION = "no-validation"
    PATIENTS_MIXED = "patients-mixed"
    PATIENTS_PARTLY_UNKNOWN = "patients-partly-unknown"
    PATIENTS_SEEN = "patients-seen"
    PATIENTS_UNKNOWN = "patients-unknown"
    QUICK = "quick"
    RANDOM_START = "random-start"
    RANDOM_WEIGHTS = "random-weights"
    SEEN = "seen"
    SYNTHETIC = "synthetic"
    UNKNOWN_ENCODER = "unknown-encoder"

    @classmethod
    def _missing_(cls, value: object) -> Kind:
        return cls.OTHER  # a kind of another version


HEADINGS = {
    Kind.BALANCED: "BALANCED BEFORE THE SPLIT",
    Kind.CHOSEN: "CHOSEN IMAGES",
    Kind.NON_COMMERCIAL: "NON-COMMERCIAL WEIGHTS",
    Kind.NOT_KNOWN_NEW: "NOT KNOWN TO BE NEW",
    Kind.NOTHING_LEARNT: "NOTHING LEARNT",
    Kind.NO_TISSUE: "NO TISSUE",
    Kind.NO_VALIDATION: "NO VALIDATION",
    Kind.PATIENTS_MIXED: "IMAGE-LEVEL FOLDS",
    Kind.PATIENTS_SEEN: "PATIENTS SEEN IN TRAINING",
    Kind.PATIENTS_UNKNOWN: "PATIENTS UNKNOWN",
    Kind.QUICK: "QUICK",
    Kind.RANDOM_START: "RANDOM START",
    Kind.RANDOM_WEIGHTS: "RANDOM WEIGHTS",
    Kind.SEEN: "SEEN IN TRAINING",
    Kind.SYNTHETIC: "SYNTHETIC IMAGES",
    Kind.UNKNOWN_ENCODER: "UNKNOWN ENCODER",
}
"""The heading with which banners of a kind begin. They are printed before banners without a heading."""


class Banner(Message):
    """A message with a kind.

    Examples
    --------
    >>> banner = Banner(Kind.RANDOM_WEIGHTS, "tiny ran untrained", encoders=["tiny"])
    >>> print(banner)
    RANDOM WEIGHTS: tiny ran untrained
    >>> Banner.read(banner.json()) == banner
    True

    Parameters
    ----------
    kind : Kind
    text : str
        What is printed after the heading of the kind.
    about : str
        What it is about if that is not clear: the name of a table, or "the model's training".
    **values : any
        The facts of the text as JSON-ready values.
    """

    kind: Kind
    text: str
    about: str
    values: Mapping[str, Any]

    def __new__(cls, kind: Kind, text: str, about: str = "", /, **values: Any) -> Banner:
        """Create the banner; values may have any name, so parameters are given by position only."""
        parts = [part for part in (about, HEADINGS.get(kind), text) if part]
        banner = cast(Banner, super().__new__(cls, ": ".join(["{}"] * len(parts)), *parts))
        banner.kind = kind
        banner.text = text
        banner.about = about
        banner.values = values
        return banner

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (self.kind, self.text, self.about), dict(self.values)

    @property
    def heading(self) -> str:
        """The heading with which it begins; empty if its kind has none."""
        return HEADINGS.get(self.kind, "")

    def of(self, about: str) -> Banner:
        """Return the banner about something else, such as a table; an empty name means all that is shown."""
        return Banner(self.kind, self.text, about, **self.values)

    def limited(self, parameters: Collection[str]) -> Banner:
        """Return the banner for a caller that has only these parameters."""
        return Banner(self.kind, limited(self.text, parameters), self.about, **self.values)

    def public(self) -> Banner:
        """Return the banner without the names of images and patients."""
        return Banner(self.kind, public(self.text), self.about, **self.values)

    def json(self) -> dict[str, Any]:
        """Return the banner as an entry of a JSON file."""
        return {
            "kind": str(self.kind),
            "text": str(self.text),
            "about": self.about,
            "values": self.values,
        }

    @classmethod
    def read(cls, entry: Any) -> Banner:
        """Return the banner of an entry of a file; any other entry becomes the text of a banner."""
        match entry:
            case {
                "kind": str(kind),
                "text": str(text),
                "about": str(about),
                "values": dict(values),
            }:
                return cls(Kind(kind), text, about, **values)
        return as_banner(str(entry))


def as_banner(text: str) -> Banner:
    """Return a text as a banner; a banner is returned unchanged."""
    if isinstance(text, Banner):
        return text
    return Banner(Kind.OTHER, text)


def has_kind(banners: Iterable[Banner], *kinds: Kind) -> bool:
    """Return whether a banner is of one of these kinds."""
    return any(banner.kind in kinds for banner in banners)


def banners_of(run: Mapping[str, Any]) -> list[Banner]:
    """Return the banners of the entry ``run`` of ``metrics.json``."""
    return list(map(Banner.read, run.get("banners", ())))
