"""What finished folders of a run say of their tables, and the report that compares them all."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core import BchistoError
from ..jobs import is_set_aside, read_json
from .compare import compare_pairs, selection_notes, unlike_pairs
from .panel import Panel
from .paper import PaperTable, ProtocolGap, protocol_gap
from .predictions import FoldNote, PredictionTable
from .read_table import read_predictions
from .report import write_report
from .two_class import TwoClassView
from .wording import joined_versions

_log = logging.getLogger(__name__)

_OURS = ("predictions.csv", "predictions-by-patch.csv")
"""Tables of a run, beside which ``metrics.json`` says what a reader must know of them."""

_ROADS = ("boost", "finetune")
"""Folders of a run that hold a folder per finished table."""

_REPLICATES = 2000
"""Bootstrap replicates of paired differences (ours)."""


@dataclass(frozen=True)
class Facts:
    """What a run says of one of its tables; all empty for a table from elsewhere.

    Attributes
    ----------
    run : dict
        ``run`` of ``metrics.json``: ``protocol``, ``classes``, ``banners`` and more; with ``versions``, of the packages
        that worked on the folder by its ``settings.json``.
    metrics : dict
        Those of the table.
    """

    run: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def view(self) -> TwoClassView:
        """The two-class view that the run used."""
        found = self.run.get("two_class")
        return TwoClassView.of_record(found) if found else TwoClassView()

    def described(self, table: PredictionTable) -> PredictionTable:
        """Return the table with its protocol and the folds to be noted."""
        if not self.run:
            return table
        notes = tuple(FoldNote(**note) for note in self.metrics.get("fold_notes", ()))
        protocol = self.metrics.get("protocol") or self.run.get("protocol") or table.protocol
        names = {f"{what}_is": name for what, name in self.run.get("names", {}).items()}
        trained = tuple(self.metrics.get("trained_per_fold") or ())
        return replace(table, protocol=str(protocol), fold_notes=notes, trained=trained, **names)


def read_facts(path: Path) -> Facts:
    """Read what the run says of a predictions file.

    Parameters
    ----------
    path : Path
        ``predictions.csv`` or ``predictions-by-patch.csv``; beside any other file nothing is looked for.

    Raises
    ------
    InputError
        A ``metrics.json`` that is no JSON.
    """
    metrics = path.parent / "metrics.json"
    content = read_json(metrics) if path.name in _OURS and metrics.is_file() else {}
    run, tables = (content.get(key) if isinstance(content, dict) else None for key in ("run", "tables"))
    if not isinstance(run, dict) or not isinstance(tables, dict):
        return Facts({}, {})
    settings = path.with_name("settings.json")
    content = read_json(settings) if settings.is_file() else {}
    if versions := joined_versions(content.get("made_with", ())):
        run = {**run, "versions": versions}
    names = [name for name in tables if name.endswith(" (patch)") == (path.name == _OURS[1])]
    return Facts(run, tables[names[0]] if names else {})


def write_run_report(run: Path, *, images: str) -> None:
    """Compare all finished folders of a run about the same images, in ``RUN/report.html`` and ``RUN/protocols.csv``.

    All is read from the folders' files, so that it does not matter which call made them.

    Parameters
    ----------
    run : Path
        The run folder.
    images : str
        Identity of the images of the call that asks; folders about others are named and left out.
    """
    panels: list[Panel] = []
    others: list[str] = []
    tables = sorted(path for road in _ROADS for path in (run / road).glob("*/predictions.csv"))
    for path in (path for path in tables if not is_set_aside(path)):
        name = path.parent.relative_to(run).as_posix()
        try:
            panel, about = _read(path)
        except (BchistoError, KeyError, TypeError, ValueError) as error:
            _log.warning("%s is left out of %s: %s", name, run / "report.html", error)
            others.append(f"{name} is not shown: its files cannot be read")
            continue
        if panel is None:
            continue
        if about not in ("", images):
            others.append(f"{name} is not shown: it is about other images")
            continue
        panels.append(panel)
    gap = _gap(panels)
    compared = [panel.table for panel in panels]
    said = dict.fromkeys(banner for panel in panels for banner in panel.run.get("banners", ()))
    write_report(
        run / "report.html",
        title="bchisto run",
        panels=panels,
        banners=[*said, *selection_notes(compared), *others, *unlike_pairs(compared, rows=False)],
        pairs=compare_pairs(compared, replicates=_REPLICATES, views=[panel.view for panel in panels]),
        gap=gap,
    )
    if gap is not None:
        gap.write(run / "protocols.csv")


def _read(path: Path) -> tuple[Panel | None, str]:
    """Read a folder and the identity of its images; None without metrics: it is not finished, or not ours."""
    facts = read_facts(path)
    if not facts.metrics:
        return None, ""
    (table,) = read_predictions(path, classes=facts.run["classes"], name=path.parent.name)
    noted = [note["fold"] for note in facts.metrics.get("fold_notes", ())]
    paper = PaperTable.read(facts.run["paper"], noted=noted) if "paper" in facts.run else None
    panel = Panel(facts.described(table), facts.metrics, paper, run=facts.run, view=facts.view)
    return panel, str(facts.run["images_sha256"])


def _gap(panels: Sequence[Panel]) -> ProtocolGap | None:
    """Put the protocols of the boosted folders in neighbouring columns."""
    papers, sentences = [], {}
    for panel in panels:
        if panel.paper is not None:
            run = panel.run
            papers.append((run["folds"], run["head"], panel.paper))
            sentences[run["folds"]] = ". ".join((run["protocol"], *run["fold_warnings"]))
    return protocol_gap(papers, sentences=sentences)
