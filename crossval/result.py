"""The result of a cross-validation, and its summary for a terminal or a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from ..core import html_lines
from ..core.jobs import Share
from ..evaluate import Panel, rankings
from ..evaluate.report import headline, overview, warnings


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

    def _repr_html_(self) -> str:
        lines = self.summary()
        if self.assembled:
            lines.append(f"model: {self.model}")
            if self.panel is not None:
                lines.append(f"report: {self.report}")
        return html_lines(lines)

    def summary(self, name: str = "") -> list[str]:
        """Return the result as lines for a terminal; by default its name is that of its folder."""
        name = name or self.folder.name
        if not self.assembled:
            return [f"{name}: {self.share}"]
        if self.panel is None:
            return [
                *self.banners,
                f"{name}: trained on all images, none tested. Protocol: {self.protocol}",
            ]
        return headline(name, self.panel.metrics, banners=self.banners)


def in_order(results: Sequence[CrossValidation]) -> tuple[CrossValidation, ...]:
    """Return results as `rankings` puts them, those of the first one's protocol before the others."""
    panels = [result.panel for result in results if result.panel is not None]
    ordered = chain.from_iterable(ranking.panels for ranking in rankings(panels))
    place = {id(panel): number for number, panel in enumerate(ordered)}
    return tuple(sorted(results, key=lambda result: place.get(id(result.panel), len(place))))


def offered(results: Sequence[CrossValidation]) -> CrossValidation | None:
    """Return the result to go on with: the first in order that is better than chance, or that nothing was tested of.

    Returns
    -------
    CrossValidation or None
        None if nothing is shown to be better than chance.
    """
    panels = [result.panel for result in results if result.panel is not None]
    if not panels:
        return results[0]
    leaders = {id(ranking.panels[0]) for ranking in rankings(panels) if ranking.leaders}
    for result in results:
        if id(result.panel) in leaders:
            return result
    return None


def summary_of(results: Sequence[CrossValidation], above: Path | None = None) -> list[str]:
    """Return results as lines for a terminal; of several that were tested, a table and each sentence once.

    Parameters
    ----------
    results : sequence of CrossValidation
    above : Path, optional
        The folder whose names of results tell them apart; by default the one that they are in.
    """
    tested = [result for result in results if result.panel is not None]
    lines: list[str] = []
    panels: list[Panel] = []
    for result in results:
        name = str(result.folder.relative_to(above or result.folder.parent))
        if len(tested) > 1 and result.panel is not None:
            panels.append(replace(result.panel, table=replace(result.panel.table, name=name)))
        else:
            lines += result.summary(name)
    if panels:
        lines += overview(panels, warnings(panels))
    return lines
