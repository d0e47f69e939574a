"""What a cross-validation gave, whatever was trained, and how it is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core import html_lines
from ..evaluate import Panel, PaperTable, Sample, html_confusion
from ..jobs import Share
from ..report import headline


@dataclass(frozen=True)
class CrossValidation:
    """One protocol with one classifier.

    Attributes
    ----------
    folder : Path
        ``RUN/boost/<folds>-<head>`` or ``RUN/finetune/<folds>-<network>[-<name>]``: models, predictions, metrics,
        report and bundle.
    protocol : str
        In words.
    models : int
        Models in all; of networks one per fold.
    unit : str
        What they are called: ``models``, or ``folds`` where there is one to a fold.
    finished : bool
        Whether all are there; a shard leaves the rest, and putting them together, to the call without it.
    banners : tuple of str
        What a reader must know first.
    table : str
        What the table of the whole is called in a summary.
    panel : Panel or None
        Predictions of images and their metrics, where finished and images were tested.
    failures : tuple of (image_id, message)
        Images left out.
    assembled : bool
        Whether they were put together: bundle, metrics and, where images were tested, predictions are written.
    unreported : tuple of str
        One line for each table or report that could not be written.
    share : Share or None
        Of a shard: what it has of the models, and how many are there.
    show : callable or None
        Writes `report` anew with other right and wrong images, once they were put together; see
        `bchisto.explain.show_cases`.
    """

    folder: Path
    protocol: str
    models: int
    unit: str
    finished: bool
    banners: tuple[str, ...]
    table: str
    panel: Panel | None = field(default=None, repr=False)
    failures: tuple[tuple[str, str], ...] = ()
    assembled: bool = False
    unreported: tuple[str, ...] = ()
    share: Share | None = None
    show: Callable[[Sequence[Sample], Sequence[Sample]], None] | None = field(default=None, repr=False, compare=False)

    @property
    def metrics(self) -> dict[str, Any] | None:
        """Metrics of images, where there are any."""
        return None if self.panel is None else self.panel.metrics

    @property
    def paper(self) -> PaperTable | None:
        """Accuracy per fold, for classifiers of several members."""
        return None if self.panel is None else self.panel.paper

    @property
    def model(self) -> Path:
        """The bundle, once finished."""
        return self.folder / "model.bchisto"

    @property
    def report(self) -> Path:
        """The report, once finished."""
        return self.folder / "report.html"

    def figures(self, name: str = "", *, brief: bool = False) -> list[str]:
        """Say the figures in lines for a terminal: the answer first, then what qualifies it.

        Parameters
        ----------
        name : str
            What to call the result; by default its folder.
        brief : bool
            Without what the report has.
        """
        if self.metrics is None:
            return []
        return headline(name or self.folder.name, self.metrics, banners=self.banners, brief=brief)

    def _repr_html_(self) -> str:
        files = [f"model: {self.model}"] if self.assembled else []
        if files and self.panel is not None:
            files.append(f"report: {self.report}")
        matrix = "" if self.panel is None else html_confusion(self.folder.name, self.panel.metrics)
        return html_lines([*self.summary(), *files]) + matrix

    def summary(self) -> list[str]:
        """Say the result in lines for a terminal."""
        name = self.folder.name
        if not self.assembled:
            return [f"{name}: {self.share}"]
        if self.panel is None:
            return [*self.banners, f"{name}: trained on all images, none tested. Protocol: {self.protocol}"]
        return self.figures()
