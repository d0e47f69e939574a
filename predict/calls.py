"""At which operating point new images are called positive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..evaluate import default_positive, positive_mask, two_class_scores
from ..options import option


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

    def call(self, probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return which rows are positive, bool of shape (n,)."""
        mask = positive_mask(self.classes, self.positive)
        return np.asarray(two_class_scores(probabilities, mask, rule=self.rule) >= self.threshold)

    def __str__(self) -> str:
        fitted = "" if self.sensitivity is None else f", fitted for a sensitivity of {100 * self.sensitivity:g} %"
        return f"{' + '.join(self.positive)} at {self.threshold:.4g} (rule {self.rule}{fitted})"


@dataclass(frozen=True)
class Calls:
    """What is asked for: nothing, a threshold, or one that the bundle holds for a wanted sensitivity.

    Attributes
    ----------
    threshold : float, optional
    sensitivity : float, optional
    """

    threshold: float | None = option(None, sparse=True)
    sensitivity: float | None = option(None, sparse=True)

    def __post_init__(self) -> None:
        if self.threshold is not None and self.sensitivity is not None:
            raise InputError("`threshold` and `sensitivity`: give one of them")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InputError(f"`threshold` {self.threshold}: give a score between 0 and 1")

    def point(self, view: dict[str, Any] | None, *, classes: tuple[str, ...], bundle: object) -> OperatingPoint | None:
        """Return the operating point of a bundle.

        By default that of the first wanted sensitivity, else 0.5 or the first of those it was measured at; none where
        it knows no positive classes.

        Parameters
        ----------
        view : dict or None
            ``two_class`` of the bundle.
        classes : tuple of str
        bundle : any
            Its name, for a message.

        Raises
        ------
        InputError
            The bundle knows no positive classes, or no threshold for this sensitivity.
        """
        view = view or {"positive": default_positive(classes), "rule": "sum", "thresholds": [], "wanted": []}
        positive, held = tuple(view["positive"]), {one["sensitivity"]: one["threshold"] for one in view["wanted"]}
        if not positive and (self.threshold, self.sensitivity) != (None, None):
            raise InputError(f"{bundle}: knows no positive classes, so nothing can be called; train with some")
        if self.sensitivity is not None and self.sensitivity not in held:
            known = ", ".join(map(str, held)) or "none"
            raise InputError(
                f"{bundle}: holds no threshold for the `sensitivity` {self.sensitivity} (it holds: {known}); train "
                "with it, or give a `threshold`"
            )
        wanted = self.sensitivity
        if self.threshold is None and wanted is None:
            if not view["thresholds"] and not held:  # a bundle of 0.1, which nobody asked to call
                return None
            wanted = next(iter(held), None)
        if wanted is not None:
            return OperatingPoint(classes, positive, view["rule"], held[wanted], wanted)
        points = view["thresholds"]
        value = self.threshold if self.threshold is not None else 0.5 if 0.5 in points else points[0]
        return OperatingPoint(classes, positive, view["rule"], value)
