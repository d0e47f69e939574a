"""Facts that a reader must know before a result: banners, with a kind that code compares, and words that it prints."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Any, cast

from .messages import Content, Message, limited, public


class Kind(StrEnum):
    """What a banner is about, in the order in which banners are printed: what makes a figure void comes first."""

    SYNTHETIC = "synthetic"
    RANDOM_WEIGHTS = "random-weights"
    QUICK = "quick"
    NO_TISSUE = "no-tissue"
    NOTHING_LEARNT = "nothing-learnt"
    LABELS_EXCHANGED = "labels-exchanged"
    SEEN = "seen"
    PATIENTS_SEEN = "patients-seen"
    PATIENTS_MIXED = "patients-mixed"
    PATIENTS_UNKNOWN = "patients-unknown"
    NOT_KNOWN_NEW = "not-known-new"
    CHOSEN = "chosen"
    NO_VALIDATION = "no-validation"
    BALANCED = "balanced"
    UNKNOWN_ENCODER = "unknown-encoder"
    RANDOM_START = "random-start"
    NON_COMMERCIAL = "non-commercial"
    PATIENTS_PARTLY_UNKNOWN = "patients-partly-unknown"
    OTHER = "other"

    @classmethod
    def _missing_(cls, value: object) -> Kind:
        return cls.OTHER  # a kind of another version


HEADINGS = {
    Kind.SYNTHETIC: "SYNTHETIC IMAGES",
    Kind.RANDOM_WEIGHTS: "RANDOM WEIGHTS",
    Kind.QUICK: "QUICK",
    Kind.NO_TISSUE: "NO TISSUE",
    Kind.NOTHING_LEARNT: "NOTHING LEARNT",
    Kind.SEEN: "SEEN IN TRAINING",
    Kind.PATIENTS_SEEN: "PATIENTS SEEN IN TRAINING",
    Kind.PATIENTS_MIXED: "IMAGE-LEVEL FOLDS",
    Kind.PATIENTS_UNKNOWN: "PATIENTS UNKNOWN",
    Kind.NOT_KNOWN_NEW: "NOT KNOWN TO BE NEW",
    Kind.CHOSEN: "CHOSEN IMAGES",
    Kind.NO_VALIDATION: "NO VALIDATION",
    Kind.BALANCED: "BALANCED BEFORE THE SPLIT",
    Kind.UNKNOWN_ENCODER: "UNKNOWN ENCODER",
    Kind.RANDOM_START: "RANDOM START",
    Kind.NON_COMMERCIAL: "NON-COMMERCIAL WEIGHTS",
}
"""The heading with which banners of a kind begin."""


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

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], Content]:
        return (self.kind, self.text, self.about), dict(self.values)

    @property
    def heading(self) -> str:
        """The heading with which it begins; empty if its kind has none."""
        return HEADINGS.get(self.kind, "")

    @property
    def rank(self) -> int:
        """Its place in the order of kinds."""
        return [*Kind].index(self.kind)

    def of(self, about: str) -> Banner:
        """Return the banner about something else, such as a table; an empty name means all that is shown."""
        return Banner(self.kind, self.text, about, **self.values)

    def limited(self, parameters: Collection[str]) -> Banner:
        """Return the banner for a caller that has only these parameters."""
        return Banner(self.kind, limited(self.text, parameters), self.about, **self.values)

    def public(self) -> Banner:
        """Return the banner without the names of images and patients."""
        return Banner(self.kind, public(self.text), self.about, **self.values)

    def json(self) -> Content:
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
