"""Settings of a prediction, and the operating point from which an image is predicted positive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

from ..core import BundleError, Content, InputError, Message, OptionalPath, Settings, Texts, option
from ..core.formats import Flags, Floats, Integers, limits
from ..core.models import BundleFacts, bundle_view
from ..evaluate import (
    Shares,
    asks_for_class,
    default_positive,
    limit_of,
    positive_mask,
    two_class_scores,
)


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
        help="Also write a prediction report: image, class and confidence on an HTML page, those to check first.",
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
        "model file, else of its class.",
    )
    sensitivity: float | None = option(
        None,
        group="Evaluation",
        least=0,
        most=1,
        help="Use the threshold that the model file has for this target sensitivity; default: its first.",
    )
    mpp: float | None = new_images_mpp()
    group_from: str | None = option(
        None,
        group="Input",
        metavar="LEVEL|PATTERN",
        help="Patient or slide by the path of an image, as of trial: a level of folders, or a regular expression.",
    )
    update: bool = option(
        False,
        group="Output",
        decides=False,
        help="Bring the table of an earlier call up to date: only new and changed images are predicted, and rows of "
        "removed ones left out.",
    )
    positive: Texts = option(
        (),
        group="Evaluation",
        metavar="CLASS",
        help="Positive class, in place of that of the model; changes no probability.",
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
        """Return the operating point of a model file, see `point_of`."""
        return self.point_of(*bundle_view(path), path)

    def point_of(
        self,
        classes: tuple[str, ...],
        recorded: Content | None,
        shares: Shares,
        bundle: object,
    ) -> OperatingPoint | None:
        """Return the operating point from which a model predicts images positive.

        The default is that of the first target sensitivity of the model. Without one it is that of the class, the share
        of the positive classes in training, if the model was measured there, or else the first threshold at which it
        was measured. None if there is no threshold.

        Parameters
        ----------
        classes : tuple of str
            Classes of the model.
        recorded : dict or None
            Entry ``two_class`` of the model file.
        shares : sequence of float, optional
            Share of each class in training, if classes are called by it.
        bundle : any
            Name of the model file, for a message.

        Raises
        ------
        InputError
            No class is positive, or a name is not a class, or the model has no threshold for this sensitivity.
        """
        threshold = self.threshold
        sensitivity = self.sensitivity
        view = view_of(classes, recorded, self.positive, shares)
        positive = tuple(view["positive"])
        fitted = {point["sensitivity"]: point for point in view["wanted"]}
        if threshold is None and sensitivity is None:
            if not view["thresholds"] and not fitted:
                return None
            sensitivity = next(iter(fitted), None)
        if not positive:
            raise InputError(
                "{}: has no positive class, so no threshold applies; name it with {positive:CLASS}",
                bundle,
            )
        wanted = fitted.get(sensitivity, {})
        if sensitivity is not None and not wanted:
            raise InputError(
                "{}: has no threshold for the {sensitivity} {} (it holds: {}); train with it, or give a {threshold}",
                bundle,
                sensitivity,
                ", ".join(map(str, fitted)) or "none",
            )
        if wanted:
            threshold = wanted["threshold"]
        elif threshold is None:
            # that of the class if it is there, else the first
            threshold = min(view["thresholds"], key=view["limit"].__ne__)
        return OperatingPoint(
            classes,
            positive,
            view["rule"],
            threshold,
            sensitivity,
            wanted.get("enough", True),
            not self.positive or view["positive"] == (recorded or {}).get("positive"),
            shares,
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
        An image is predicted positive if its score is at least the threshold, or at the share of the positive classes
        in training by its class if `bchisto.evaluate.asks_for_class`.
    sensitivity : float or None
        Target sensitivity for which the threshold was fitted. Such a threshold applies to uncalibrated probabilities,
        even if the table shows calibrated ones, and is no tie.
    enough : bool
        Whether it was fitted on enough positive patients (or images) for that.
    measured : bool
        False if others were given as positive than those with which the model was measured.
    shares : sequence of float, optional
        Share of each class in training, if classes are called by it.
    """

    classes: tuple[str, ...]
    positive: tuple[str, ...]
    rule: str
    threshold: float
    sensitivity: float | None = None
    enough: bool = True
    measured: bool = True
    shares: Shares = None

    @property
    def by_class(self) -> bool:
        """Whether an image is predicted positive by its class."""
        mask = positive_mask(self.classes, self.positive)
        return (
            self.sensitivity is None
            and self.threshold == limit_of(mask, self.shares)
            and asks_for_class(self.classes, self.rule, self.shares)
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
        elif self.by_class and self.shares is not None:
            text += ", its share in training"
        if self.sensitivity is not None:
            text += f", fitted for a sensitivity of {100 * self.sensitivity:g} %"
            if not self.enough:
                text += " on too few positives to guarantee it"
        if not self.measured:
            text += ", not measured for this positive class"
        return text


def view_of(
    classes: Sequence[str],
    recorded: Content | None,
    positive: Sequence[str],
    shares: Shares,
) -> Content:
    """Return the two-class view of predictions, as the entry ``two_class`` of a model file, and its ``limit``.

    It is the recorded one, unless other classes are given as positive; then it has only the threshold that is the
    limit, their share in training. If none is recorded, the names of the classes tell which are positive, and
    there is no threshold.

    Parameters
    ----------
    classes : sequence of str
        Classes of the model.
    recorded : dict or None
        Entry ``two_class`` of the model file.
    positive : sequence of str
        Choice of the caller.
    shares : sequence of float, optional
        Share of each class in training, if classes are called by it.

    Raises
    ------
    InputError
        A name that is not a class, or every class positive.
    """
    chosen = [*compress(classes, positive_mask(classes, positive))]
    recorded = recorded or {}
    named = chosen or recorded.get("positive") or [*default_positive(classes)]
    limit = limit_of(positive_mask(classes, named), shares)
    if recorded and named == recorded["positive"]:
        return {**recorded, "limit": limit}
    return {
        "rule": "sum",
        **recorded,
        "positive": named,
        "thresholds": chosen and [limit],
        "wanted": [],
        "limit": limit,
    }
