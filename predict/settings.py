"""What is written of predictions, and at which operating point new images are called positive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError, Message, Settings, option
from ..evaluate import default_positive, positive_mask, two_class_scores
from ..formats import limits

FORMATS = ("bchisto", "iciar2018")
"""Output formats: the prediction table, or the challenge's ``test0.tif,Benign`` without a header."""


def new_images_mpp() -> Any:
    """Return the option ``mpp`` of commands on new images."""
    return option(
        None,
        group="Input",
        least=limits.LEAST_MPP,
        most=limits.MOST_MPP,
        help="Micrometres per pixel of all images; default: those of their dataset, of a manifest, or of each TIFF or "
        "DICOM.",
    )


@dataclass(frozen=True)
class PredictSettings(Settings):
    """What is written of predictions: the form of the table, what is called positive in it, and a sheet beside it."""

    html: Path | None = option(
        None,
        group="Output",
        decides=False,
        file="output",
        help="Also write a prediction report: image, class and confidence on an HTML page, the least confident first.",
    )
    format: str = option(
        "bchisto",
        choices=FORMATS,
        help="A table with probabilities, or the challenge's rows test0.tif,Benign without a header.",
    )
    calibrated: bool = option(False, help="Calibrate the probabilities with the temperature of the model.")
    threshold: float | None = option(
        None,
        group="Evaluation",
        least=0,
        most=1,
        help="Score from which an image is predicted positive; default: that of the target sensitivity, else of the "
        "model file, else 0.5.",
    )
    sensitivity: float | None = option(
        None,
        group="Evaluation",
        help="Use the threshold that the model file has for this target sensitivity; default: its first.",
    )
    mpp: float | None = new_images_mpp()

    def validate(self) -> None:
        """Refuse both thresholds at once."""
        if self.threshold is not None and self.sensitivity is not None:
            raise InputError(Message("{threshold} and {sensitivity}: give one of them"))


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold of a two-class score.

    Attributes
    ----------
    classes, positive : tuple of str
        All classes, and those of the positive side.
    rule : {"sum", "max"}
    threshold : float
        Positive if the score is at least this.
    sensitivity : float or None
        That for which the threshold was fitted, on predictions as they are: those are scored, whether or not the table
        gets calibrated ones.
    """

    classes: tuple[str, ...]
    positive: tuple[str, ...]
    rule: str
    threshold: float
    sensitivity: float | None = None

    def is_positive(self, probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return which rows are positive, bool of shape (n,)."""
        mask = positive_mask(self.classes, self.positive)
        return np.asarray(two_class_scores(probabilities, mask, rule=self.rule) >= self.threshold)

    def __str__(self) -> str:
        fitted = "" if self.sensitivity is None else f", fitted for a sensitivity of {100 * self.sensitivity:g} %"
        return f"{' + '.join(self.positive)} at {self.threshold:.4g} (rule {self.rule}{fitted})"


def choose_point(
    classes: tuple[str, ...],
    view: dict[str, Any] | None,
    *,
    threshold: float | None,
    sensitivity: float | None,
    bundle: object,
) -> OperatingPoint | None:
    """Return the operating point at which a model calls images positive.

    By default that of its first wanted sensitivity, else 0.5 or the first of those it was measured at; None where it
    knows no positive classes.

    Parameters
    ----------
    classes : tuple of str
        Of the model.
    view : dict or None
        Its ``two_class``.
    threshold, sensitivity : float or None
        What is asked for, one of them at most.
    bundle : any
        Its name, for a message.

    Raises
    ------
    InputError
        The model knows no positive classes, or no threshold for this sensitivity.
    """
    view = view or {"positive": default_positive(classes), "rule": "sum", "thresholds": [], "wanted": []}
    positive = tuple(view["positive"])
    fitted = {point["sensitivity"]: point["threshold"] for point in view["wanted"]}
    if not positive and (threshold, sensitivity) != (None, None):
        raise InputError(f"{bundle}: has no positive classes, so no threshold applies; train with positive classes")
    if sensitivity is not None and sensitivity not in fitted:
        known = ", ".join(map(str, fitted)) or "none"
        raise InputError(
            "{}: holds no threshold for the {sensitivity} {} (it holds: {}); train with it, or give a {threshold}",
            bundle, sensitivity, known,
        )  # fmt: skip
    measured = view["thresholds"]
    if threshold is None and sensitivity is None:
        if not measured and not fitted:
            return None
        sensitivity = next(iter(fitted), None)
    if sensitivity is not None:
        threshold = fitted[sensitivity]
    elif threshold is None:
        threshold = 0.5 if 0.5 in measured else measured[0]
    return OperatingPoint(classes, positive, view["rule"], threshold, sensitivity)
