"""The report of a run, which compares its finished folders, and that of an evaluation."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ...core import BchistoError, ReportError
from ...core.jobs import is_set_aside, refuse_overwriting
from .. import Evaluation, Panel, PaperTable, compare_pairs, read_facts, read_predictions, selection_notes, unlike_pairs
from .report import reporting, write_report
from .tables import TABLES, write_tables

_log = logging.getLogger(__name__)


_ROADS = ("boost", "finetune")
"""Folders of a run that hold a folder per finished table."""


def write_run_report(run: Path, *, images: str) -> None:
    """Compare all finished folders of a run about the same images, in ``RUN/report.html``.

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
    compared = [panel.table for panel in panels]
    banners = dict.fromkeys(banner for panel in panels for banner in panel.run.get("banners", ()))
    write_report(
        run / "report.html",
        title=f"Results of {compared[0].name}" if len(compared) == 1 else "All results of this run",
        panels=panels,
        banners=[*banners, *selection_notes(compared), *others, *unlike_pairs(compared, rows=False)],
        pairs=compare_pairs(compared, views=[panel.view for panel in panels]),
    )


def _read(path: Path) -> tuple[Panel | None, str]:
    """Read a folder and the identity of its images; None without metrics: it is not finished, or not ours."""
    facts = read_facts(path)
    if not facts.metrics:
        return None, ""
    (table,) = read_predictions(path, classes=facts.run["classes"], name=path.parent.name)
    paper = PaperTable.read(facts.run["paper"]) if "paper" in facts.run else None
    panel = Panel(facts.described(table), facts.metrics, paper, run=facts.run, view=facts.view)
    return panel, str(facts.run["images_sha256"])


def write_evaluation(evaluation: Evaluation) -> dict[str, Any]:
    """Write ``report.html`` beside the ``metrics.json`` of an evaluation, and every table of it as CSV.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    dict
        What is in ``metrics.json``.

    Raises
    ------
    InputError
        A file would replace one of the tables that were read.
    ReportError
        The report or a table of it could not be written; ``results`` holds what is in ``metrics.json``.
    """
    folder, result, failed = evaluation.folder, evaluation.result, list[str]()
    report = folder / "report.html"
    refuse_overwriting([report, *(folder / f"{name}.csv" for name in TABLES)], evaluation.sources)
    with reporting(folder / "tables.csv", failed):
        write_tables(folder, tables=result["tables"], pairs=result["comparisons"])
    with reporting(report, failed):
        write_report(
            report,
            title="bchisto evaluation",
            panels=evaluation.panels,
            banners=result["notes"],
            pairs=result["comparisons"],
            external=result.get("external", ()),
        )
    if failed:
        raise ReportError(f"{'; '.join(failed)}; {folder / 'metrics.json'} is written", result)
    return result
