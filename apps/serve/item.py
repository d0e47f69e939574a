"""An image of the page: its file, its prediction and its review."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core import limited, printable, written
from ...data import ImageRecord

if TYPE_CHECKING:
    from ...predict import Prediction

STATES = ("waiting", "working", "done", "failed")
"""What becomes of an image, in this order; it fails at any time."""


@dataclass
class ImageAnswer:
    """An image and its prediction.

    Attributes
    ----------
    number : int
    name : str
    model : int
    state : str
        One of `STATES`.
    error : str
        The reason why it cannot be used; empty if it can.
    notes : list of str
        Warnings.
    width, height : int
        Pixels; 0 before the file is read.
    mpp : float or None
        Micrometres per pixel, as given, of a published data set, or of the file; None if they are not known.
    predicted : str or None
        The predicted class.
    confidence : float or None
        Calibrated probability of the predicted class.
    uncertain : bool or None
        Whether the prediction is uncertain; None if the model has no rule for this.
    probabilities : dict
        Class to probability, as in the table.
    calibrated : dict
        Class to calibrated probability; the highest is the confidence.
    further : dict
        Other cells of the table: outlier, nearest training images, the result at the threshold.
    reviewed : bool
        Whether a person has looked at the answer.
    label : str
        The class that this person gives; empty for none of the model's.
    reviews : int
        How often the review was changed.
    """

    number: int
    name: str
    model: int
    state: str = "waiting"
    error: str = ""
    notes: list[str] = field(default_factory=list)
    width: int = 0
    height: int = 0
    mpp: float | None = None
    predicted: str | None = None
    confidence: float | None = None
    uncertain: bool | None = None
    probabilities: dict[str, float] | None = None
    calibrated: dict[str, float] | None = None
    further: dict[str, str] | None = None
    reviewed: bool = False
    label: str = ""
    reviews: int = 0


@dataclass(eq=False)
class Item(ImageAnswer):
    """An image of the session.

    Attributes
    ----------
    path : Path
        The file, under its own name, which tells of some published images how they are read.
    folder : Path
        Folder of its pictures.
    given : float or None
        Micrometres per pixel, as entered by the user.
    size : int
        Bytes of the file.
    prediction : Prediction or None
        What the table needs.
    next_class : str
        The second most probable class.
    shown : dict
        Pictures of it that exist, with the facts shown next to them.
    """

    path: Path = Path()
    folder: Path = Path()
    given: float | None = None
    size: int = 0
    prediction: Prediction | None = None
    next_class: str = ""
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def record(self) -> ImageRecord:
        """The image for a prediction."""
        return ImageRecord(self.name, self.path, None, mpp=self.given)


def readable(name: str) -> str:
    r"""Return a name of an upload as `predict` has it, without parts such as "..", and control characters escaped.

    Examples
    --------
    >>> print(readable("../slide/./a\n.png"))
    slide/a\x0a.png
    """
    return "/".join(part for part in printable(name).split("/") if part not in ("", ".", ".."))


def in_page(text: str) -> str:
    """Return a message in the words of the page, whose only option is a field for micrometres."""
    return written(limited(text, {"mpp"}), lambda name, value: "the field Micrometres per pixel")
