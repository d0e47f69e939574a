"""Settings of a prediction, and the operating point from which an image is predicted positive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import BundleError, InputError, Message, OptionalPath, Settings, option
from ..core.formats import Flags, Floats, Integers, limits
from ..core.models import BundleFacts, bundle_view
from ..evaluate import asks_for_class, default_positive, positive_mask, two_class_scores


def new_images_mpp() -> Any:
    """Return the option ``mpp`` of all commands that read new images."""
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
    """Settings of a prediction: format and calibration of the table, threshold, and an optional HTML report."""

    html: OptionalPath = option(
        None,
        group="Output",
        decides=False,
        file="output",
        help="Also write a prediction report: image, class and confidence on an HTML page, the least confident first.",
    )
    format: str = option(
        "bchisto",
        choices=("bchisto", "iciar2018"),
        help="A table with probabilities, or the challenge's rows test0.tif,Benign without a header.",
    )
    calibrated: bool = option(
        False, help="Calibrate the probabilities with the temperature of the model."
    )
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
        least=0,
        most=1,
        help="Use the threshold that the model file has for this target sensitivity; default: its first.",
    )
    mpp: float | None = new_images_mpp()
    update: bool = option(
        False,
        group="Output",
        decides=False,
        help="Bring the table of an earlier call up to date: only new and changed images are predicted, and rows of "
        "removed ones left out.",
    )

    def __post_init__(self) -> None:
        """Refuse a threshold together with a target sensitivity."""
        super().__post_init__()
        if self.threshold is not None and self.sensitivity is not None:
            raise InputError(Message("{threshold} and {sensitivity}: give one of them"))

    def check(self, path: Path, bundle: BundleFacts) -> None:
        """Refuse to calibrate with a model file that has no temperature.

        Raises
        ------
        BundleError
        """
        if self.calibrated and bundle.temperature is None:
            raise BundleError(
                "{}: has no temperature, since it was trained in a single fold; leave out {calibrated}",
                path,
            )

    def point(self, path: Path) -> OperatingPoint | None:
        """Return the operating point of a model file, see `choose_point`."""
        return choose_point(
            *bundle_view(path),
            threshold=self.threshold,
            sensitivity=self.sensitivity,
            bundle=path,
        )


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on a two-class score.

    Attributes
    ----------
    classes, positive : tuple of str
        All classes, and the positive ones.
    rule : {"sum", "max"}
        How the score follows from the probabilities, see `bchisto.evaluate.two_class_scores`.
    threshold : float
        An image is predicted positive if its score is at least the threshold, or at 0.5 by its class if
        `bchisto.evaluate.asks_for_class`.
    sensitivity : float or None
        Target sensitivity for which the threshold was fitted. Such a threshold applies to uncalibrated probabilities,
        even if the table shows calibrated ones, and is no tie.
    enough : bool
        Whether it was fitted on enough positive patients (or images) for that.
    """

    classes: tuple[str, ...]
    positive: tuple[str, ...]
    rule: str
    threshold: float
    sensitivity: float | None = None
    enough: bool = True

    @property
    def by_class(self) -> bool:
        """Whether an image is predicted positive by its class."""
        mask = positive_mask(self.classes, self.positive)
        return (
            self.sensitivity is None and self.threshold == 0.5 and asks_for_class(mask, self.rule)
        )

    def is_positive(self, probabilities: Floats, predicted: Integers) -> Flags:
        """Return which rows are positive, bool of shape (n,); `predicted` are the positions of their classes."""
        mask = positive_mask(self.classes, self.positive)
        if self.by_class:
            return mask[predicted]
        return two_class_scores(probabilities, mask, rule=self.rule) >= self.threshold

    def __str__(self) -> str:
        text = f"{' + '.join(self.positive)} at {self.threshold:.4g}"
        if len(self.classes) > 2:  # for two classes both rules are the same
            text += f" (rule {self.rule})"
        if self.sensitivity is not None:
            text += f", fitted for a sensitivity of {100 * self.sensitivity:g} %"
            if not self.enough:
                text += " on too few positives to guarantee it"
        return text


def choose_point(
    classes: tuple[str, ...],
    view: dict[str, Any] | None,
    *,
    threshold: float | None = None,
    sensitivity: float | None = None,
    bundle: object,
) -> OperatingPoint | None:
    """Return the operating point from which a model predicts images positive.

    The default is that of the first target sensitivity of the model. Without one it is 0.5, if the model was measured
    there, or else the first threshold at which it was measured. None if the model has no thresholds.

    Parameters
    ----------
    classes : tuple of str
        Classes of the model.
    view : dict or None
        Entry ``two_class`` of the model file.
    threshold, sensitivity : float or None
        Choice of the caller, at most one of them.
    bundle : any
        Name of the model file, for a message.

    Raises
    ------
    InputError
        The model has no positive classes, or no threshold for this sensitivity.
    """
    view = view or {
        "positive": default_positive(classes),
        "rule": "sum",
        "thresholds": [],
        "wanted": [],
    }
    positive = tuple(view["positive"])
    fitted = {point["sensitivity"]: point for point in view["wanted"]}
    if not positive and (threshold, sensitivity) != (None, None):
        raise InputError(
            f"{bundle}: has no positive classes, so no threshold applies; bchisto boost takes them"
        )
    if sensitivity is not None and sensitivity not in fitted:
        sensitivities = ", ".join(map(str, fitted)) or "none"
        raise InputError(
            "{}: has no threshold for the {sensitivity} {} (it holds: {}); train with it, or give a {threshold}",
            bundle,
            sensitivity,
            sensitivities,
        )
    if threshold is None and sensitivity is None:
        sensitivity = next(iter(fitted), None)
    if sensitivity is not None:
        threshold = fitted[sensitivity]["threshold"]
    elif threshold is None:
        thresholds = view["thresholds"]
        if not thresholds:
            return None
        threshold = 0.5 if 0.5 in thresholds else thresholds[0]
    enough = fitted.get(sensitivity, {}).get("enough", True)
    return OperatingPoint(classes, positive, view["rule"], threshold, sensitivity, enough)
