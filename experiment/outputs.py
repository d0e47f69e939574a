"""What a cross-validation leaves in its folder: metrics, the bundle, the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..data import FoldPlan
from ..evaluate import (
    Panel,
    PaperTable,
    PredictionTable,
    Sample,
    TwoClassView,
    fit_temperature,
    measure,
    reporting,
    write_report,
)
from ..jobs import write_json
from .training import Tested

__all__ = ["Outputs", "temperature_of"]

_REPLICATES = 2000
"""Bootstrap replicates of intervals (ours)."""


@dataclass(frozen=True)
class Outputs:
    """What the outputs of a cross-validation are made of.

    Attributes
    ----------
    title : str
        Of the report.
    plan : FoldPlan
    images : Tested
    protocol : str
    banners : tuple of str
    view : TwoClassView
    tables : sequence of PredictionTable
        The first is that of the whole.
    shown : int or None
        How many tables get a section in the report, from the first; None for all.
    facts : dict
        What the road adds to ``run`` of ``metrics.json``.
    settings : callable
        Returns what the report says of the settings.
    paper : PaperTable or None
        Accuracy per fold and member; written as ``table.csv`` too.
    samples : callable or None
        Returns images that are shown in the report: right ones and wrong ones.
    most_resampled : int or None
        Rows of a table up to which intervals are computed; None for any.
    """

    title: str
    plan: FoldPlan
    images: Tested
    protocol: str
    banners: tuple[str, ...]
    view: TwoClassView
    tables: Sequence[PredictionTable]
    settings: Callable[[], Mapping[str, str]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    paper: PaperTable | None = None
    shown: int | None = None
    samples: Callable[[], tuple[Sequence[Sample], Sequence[Sample]]] | None = None
    most_resampled: int | None = None

    def write(self, folder: Path, *, bundle: Callable[[], None], failed: list[str]) -> Panel | None:
        """Write everything; return predictions and metrics of the whole, None where no image was tested.

        What others need comes first: ``metrics.json``, then the bundle. Then ``table.csv`` and ``report.html``, whose
        failure costs nothing and is put into `failed`.

        Parameters
        ----------
        folder : Path
        bundle : callable
            Writes the bundle.
        failed : list of str
        """
        metrics = {table.name: self._measured(table) for table in self.tables}
        write_json(folder / "metrics.json", {"tables": metrics, "run": self._facts()})
        bundle()
        if self.paper is not None:
            with reporting(folder / "table.csv", failed):
                self.paper.write(folder / "table.csv")
        panels = [Panel(table, metrics[table.name]) for table in self.tables[: self.shown]]
        if panels:
            panels[0] = replace(panels[0], paper=self.paper)
        with reporting(folder / "report.html", failed):
            shown = list(panels)
            if shown and self.samples is not None:
                right, wrong = self.samples()
                shown[0] = replace(shown[0], right=right, wrong=wrong)
            write_report(
                folder / "report.html",
                title=self.title,
                panels=shown,
                banners=self.banners,
                settings=self.settings(),
            )
        return panels[0] if panels else None

    def _measured(self, table: PredictionTable) -> dict[str, Any]:
        few = self.most_resampled is None or table.patches is None or len(table) <= self.most_resampled
        return measure(
            table,
            positive=self.view.positive,
            two_class=self.view.rule,
            thresholds=self.view.thresholds,
            bootstrap=_REPLICATES if few else 0,
        )

    def _facts(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "classes": list(self.images.classes),
            "banners": list(self.banners),
            "folds": self.plan.name,
            "fold_warnings": list(self.plan.warnings),
            "images_sha256": self.images.digest,
            "two_class": self.view.recorded(self.images.classes),
            **self.facts,
        }


def temperature_of(table: PredictionTable) -> float | None:
    """Fit the temperature of new images on every out-of-fold prediction; None with one fold, which cannot check it."""
    if table.probabilities is None or len(table.fold_numbers) < 2:
        return None
    return fit_temperature(table.probabilities, table.labels)
