"""What people read of an evaluation: its tables as CSV, and its report."""

from __future__ import annotations

from typing import Any

from ...core import ReportError
from ...core.jobs import refuse_overwriting
from .. import Evaluation
from .report import reporting, write_report
from .tables import TABLES, write_tables


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
