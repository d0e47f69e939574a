"""The result of a cross-validation, and its summary for a terminal or a notebook."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core import html_lines
from ..core.jobs import Share
from ..evaluate import Panel
from ..evaluate.report import headline


@dataclass(frozen=True)
class CrossValidation:
    """The result of one cross-validation scheme with one classifier or network.

    Attributes
    ----------
    folder : Path
        ``RUN/boost/<folds>-<head>`` or ``RUN/finetune/<folds>-<network>[-<name>]``, with the models, predictions,
        metrics, report and model file.
    protocol : str
        The cross-validation scheme in words.
    models : int
        Number of models; for networks one per fold.
    unit : str
        The word for them: ``models``, or ``folds`` if there is one per fold.
    finished : bool
        Whether all models are trained. A shard trains its part; a call without a shard trains the others and writes
        the outputs.
    banners : tuple of str
        Warnings that every reader must see.
    panel : Panel or None
        Predictions of images with their metrics; None until all is finished, or if no images were tested.
    failures : tuple of (image_id, message)
        Images that could not be used.
    assembled : bool
        Whether the outputs are written: model file, metrics and, if images were tested, predictions.
    unreported : tuple of str
        One line for each table or report that could not be written.
    share : Share or None
        For a shard: its part of the models, and how many models are trained so far.
    """

    folder: Path
    protocol: str
    models: int
    unit: str
    finished: bool
    banners: tuple[str, ...]
    panel: Panel | None = field(default=None, repr=False)
    failures: tuple[tuple[str, str], ...] = ()
    assembled: bool = False
    unreported: tuple[str, ...] = ()
    share: Share | None = None

    @property
    def metrics(self) -> dict[str, Any] | None:
        """Metrics of images, or None if there are none."""
        return None if self.panel is None else self.panel.metrics

    @property
    def model(self) -> Path:
        """Path of the model file, which exists once all is finished."""
        return self.folder / "model.bchisto"

    @property
    def report(self) -> Path:
        """Path of the report, which exists once all is finished."""
        return self.folder / "report.html"

    def figures(self, name: str = "", *, brief: bool = False) -> list[str]:
        """Return the main figures as lines for a terminal.

        Parameters
        ----------
        name : str
            Name of the result; by default that of its folder.
        brief : bool
            Leave out the details that the report shows.
        """
        if self.metrics is None:
            return []
        return headline(name or self.folder.name, self.metrics, banners=self.banners, brief=brief)

    def _repr_html_(self) -> str:
        files = [f"model: {self.model}"] if self.assembled else []
        if files and self.panel is not None:
            files.append(f"report: {self.report}")
        return html_lines([*self.summary(), *files])

    def summary(self) -> list[str]:
        """Return the result as lines for a terminal."""
        name = self.folder.name
        if not self.assembled:
            return [f"{name}: {self.share}"]
        if self.panel is None:
            return [*self.banners, f"{name}: trained on all images, none tested. Protocol: {self.protocol}"]
        return self.figures()
