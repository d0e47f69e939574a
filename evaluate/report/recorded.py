"""An evaluation in a folder of its own: with its record, and whether it is there already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...core import Entries, ReportError
from ...core.formats import file_sha256
from ...core.jobs import key_of
from ...core.runs import read_run, record_run
from .. import (
    Aggregation,
    Evaluation,
    TableChoice,
    TwoClassView,
    evaluate,
    inputs_of,
    read_predictions,
    tables_of,
)
from .report import write_evaluation

_OUTPUTS = ("metrics.json", "tables.csv", "report.html")


@dataclass(frozen=True)
class RecordedEvaluation:
    """An evaluation that ``run.json`` of its folder records.

    Attributes
    ----------
    sources, out, view, tables, aggregation, bootstrap, against
        As in `bchisto.evaluate.evaluate`.
    config : mapping
        The options, as they are recorded.
    """

    sources: tuple[Path, ...]
    out: Path
    view: TwoClassView
    tables: TableChoice
    aggregation: Aggregation
    bootstrap: int
    against: tuple[Path, ...]
    config: Entries

    @property
    def outputs(self) -> list[Path]:
        """The files that a reader opens first."""
        return [self.out / name for name in _OUTPUTS]

    def tables_sha256(self) -> str:
        """Return a checksum of the tables, and of the files of their runs that decide the results."""
        paths = inputs_of((*self.sources, *self.against))
        return key_of("tables 1", tables=[file_sha256(path) for path in paths if path.is_file()])

    def is_done(self) -> bool:
        """Check the tables, and return whether the folder holds this evaluation of exactly these.

        Raises
        ------
        InputError
            A table or its classes do not fit.
        """
        contents = self.tables_sha256()
        for path, _ in tables_of((*self.sources, *self.against)):
            for table in read_predictions(path, classes=self.tables.classes):
                self.view.check(table.classes)
        if not is_evaluated(self.out):
            return False
        last = read_run(self.out)[-1]
        is_same = last.config == self.config and last.notes.get("tables_sha256") == contents
        return is_same and all(path.is_file() for path in self.outputs)

    def run(self) -> Evaluation:
        """Evaluate the tables, and write the metrics, the report and its tables.

        Raises
        ------
        InputError
            See `bchisto.evaluate.evaluate`.
        ReportError
            The report or a table of it could not be written; ``results`` holds the evaluation.
        """
        contents = self.tables_sha256()
        unwritten = None
        with record_run(self.out, command="evaluate", config=self.config) as record:
            record.note(tables_sha256=contents)
            evaluation = evaluate(
                self.sources,
                out=self.out,
                view=self.view,
                bootstrap=self.bootstrap,
                tables=self.tables,
                aggregation=self.aggregation,
                against=self.against,
            )
            try:
                write_evaluation(evaluation)
            except ReportError as error:
                unwritten = ReportError(str(error), evaluation)
                record.note(unwritten=str(error))
            tables = evaluation.result["tables"].items()
            record.note(
                results={
                    name: {"accuracy": figures["accuracy"]["value"]} for name, figures in tables
                }
            )
        if unwritten is not None:
            raise unwritten
        return evaluation


def is_evaluated(out: Path) -> bool:
    """Return whether a folder contains a finished evaluation."""
    if not ((out / "metrics.json").is_file() and (out / "run.json").is_file()):
        return False
    last = read_run(out)[-1]
    return (last.command, last.status) == ("evaluate", "ok")
