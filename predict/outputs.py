"""The outputs of a prediction: the table, the failures and the report."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from ..core import (
    Banner,
    InputError,
    OutputError,
    Parameter,
    counted,
    html_lines,
    html_table,
    limited,
    written,
)
from ..core.formats import as_frame, file_sha256, read_cells
from ..core.jobs import (
    Work,
    default_jobs,
    in_threads,
    refuse_among,
    refuse_overwriting,
    write_or_remove,
)
from ..core.runs import RunRecord, record_of_table, record_table
from ..data import Finding, decode_record, walk_files
from ..evaluate import CALLED_FROM, Metrics, with_figures
from ..evaluate.report import known_of, render_page, thumbnail
from .settings import OperatingPoint
from .table import MARKS, TRUTHS, Tabulated, confidence_from

_SHOWN = (
    "image_id",
    "label",
    "p_",
    "predicted",
    "confidence",
    "uncertain",
    CALLED_FROM,
    "trained",
    "outlier",
)
"""Beginnings of the columns of the table that a notebook shows."""


@dataclass(frozen=True)
class PredictResult:
    """The result of a prediction.

    Attributes
    ----------
    path : Path
        The table.
    images : int
        Number of predicted images.
    counts : dict of str to int
        Number of images per predicted class.
    failures : dict of str to str
        Images that could not be used, with the reason; also in ``<out>.failures.csv``.
    banners : tuple of Banner
        Warnings that every reader must see.
    trained : int or None
        Number of images that trained a model; None if the model file does not record its training images.
    called : str
        Number of images predicted positive, with the operating point; without one from which shares classes are called.
    sheet : Path or None
        The prediction report, if one was written.
    unsure : int or None
        Number of images that are marked as uncertain; None if the model has no rule for it.
    sureness : str
        Number of uncertain images, where they are marked, and what the confidence is worth if patients were mixed.
    labelled : int
        Number of images whose label is a class of the model.
    outliers : str
        Number of outliers and what the mark means; empty if the model file has no reference for it.
    model : Path or None
        The model file, if something was written.
    unchanged : bool
        Whether nothing was written, since `PredictSettings.update` found nothing new; images that could not be used
        may have failed again. Counts, verdict and duplicates are then left out.
    duplicates : dict of str to str
        Paths of files that were left out, since they are copies of an image of the same id, with this id.
    """

    path: Path
    images: int
    counts: dict[str, int]
    failures: dict[str, str]
    banners: tuple[Banner, ...]
    trained: int | None = None
    called: str = ""
    sheet: Path | None = None
    unsure: int | None = None
    sureness: str = ""
    labelled: int = 0
    outliers: str = ""
    model: Path | None = None
    unchanged: bool = False
    duplicates: dict[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Whether the model is better than chance, as of `Predictor`."""
        return "" if self.model is None else verdict_of(self.model)

    def summary(self) -> list[str]:
        """Return the result as lines for a terminal."""
        if self.unchanged:
            lines = [f"nothing new for {self.path}"]
            if self.failures:
                lines.append(f"{counted(len(self.failures), 'image')} cannot be used, as before")
            return lines
        counts = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        first = f"{counted(self.images, 'image')} predicted: {counts}"
        if not counts:  # only checked
            first = f"{counted(self.images, 'image')} to predict"
        copies = ""
        if self.duplicates:
            copies = f"left out as copies: {counted(len(self.duplicates), 'file')}"
        lines = [first, copies, self.called, self.outliers, self.sureness, *self.banners]
        return list(filter(None, lines))

    def to_pandas(self) -> Any:
        """Return the table as a `pandas.DataFrame`: probabilities and the like as numbers, all else as texts.

        Marks, ``yes`` or ``no`` in the table, are True or False, as of `Predictions`; None if the model has no rule.

        Raises
        ------
        DependencyError
            pandas is not installed.
        """
        columns = self._columns()
        for name in MARKS & columns.keys():
            columns[name] = [TRUTHS[cell] for cell in columns[name]]
        return as_frame(columns)

    def _columns(self) -> dict[str, list[Any]]:
        """Return the cells of the table by column; none if there has been nothing to predict."""
        rows = []
        if self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as handle:
                rows = list(read_cells(handle))
        header = ["image_id", "predicted"]  # rows for the challenge have none
        if rows and rows[0][:1] == ["image_id"]:
            header = rows.pop(0)
        columns: dict[str, list[Any]] = {}
        for index, name in enumerate(header):
            columns[name] = [row[index] for row in rows]
            if name.startswith(("p_", "confidence", CALLED_FROM, "outlier_percentile")):
                columns[name] = list(map(float, columns[name]))
        return columns

    def _repr_html_(self) -> str:
        columns = {}
        for name, cells in self._columns().items():
            if name.startswith(_SHOWN):
                columns[name] = [
                    f"{cell:.3f}" if isinstance(cell, float) else cell for cell in cells
                ]
        lines = html_lines([*self.summary(), f"table: {self.path}"])
        return lines + html_table(
            counted(self.images, "image"), list(columns), zip(*columns.values(), strict=True)
        )


def verdict_of(model: Path) -> str:
    """Return whether a model is better than chance, as its report says, or that this is not known."""
    facts = known_of(model)
    if facts["lines"]:
        return str(facts["verdict"])
    return "How good the model is on new patients is not known: there is no metrics.json beside the model file."


def parts_of(table: Path) -> Path:
    """Return the folder of predictions that are kept until a table is complete; a link is refused."""
    folder = table.with_name(f"{table.name}.parts")
    if folder.is_symlink():
        raise OutputError("{}: is a link, which is not followed; remove it", folder)
    return folder


def failures_of(path: Path) -> Path:
    """Return the list of the images that a table lacks, since they could not be used."""
    return path.with_name(f"{path.name}.failures.csv")


def write_outputs(
    path: Path,
    shown: Tabulated,
    *,
    html: Path | None,
    overwrite: bool,
) -> PredictResult:
    """Write the table, its failures, and a report at `html`.

    Parameters
    ----------
    path : Path
        The table.
    shown : Tabulated
    html : Path or None
    overwrite
        As for `Table.finish`.

    Raises
    ------
    OutputError
        An output cannot be written, or another process has written a different table.
    """
    predicted = shown.predicted
    bundle = predicted.bundle
    table = shown.table
    answers = table.answers
    table.finish(path, overwrite=overwrite)
    write_or_remove(failures_of(path), ["image_id", "error"], shown.failures.items())
    if html is not None:
        write_html(html, shown, title=path.name)
    unsure = None
    sureness = ""
    if answers.unsure is not None:
        unsure = int(answers.unsure.sum())
        sureness = f"uncertain: {unsure} of {counted(len(shown.trained), 'image')}"
        if table.format == "bchisto":
            sureness += ", column uncertain"
    return PredictResult(
        path,
        images=len(shown.trained),
        counts={name: answers.predicted.count(name) for name in bundle.classes},
        failures=shown.failures,
        banners=shown.banners,
        trained=None if bundle.training is None else sum(shown.trained),
        called=shown.called or bundle.calls,
        sheet=html,
        unsure=unsure,
        sureness="; ".join(filter(None, (sureness, shown.mixed))),
        outliers="" if shown.outliers is None else shown.outliers.summary,
        model=predicted.model,
        labelled=sum(record.label in bundle.classes for record in table.records),
        duplicates=predicted.duplicates or {},
    )


_PICTURE = 160
"""Longest side of a picture in pixels; about 6 kB."""

_MOST_ROWS = 2000
"""Largest number of rows, each with its picture; about 15 MB."""


class SheetRow(NamedTuple):
    """A row of the prediction report: one image.

    Attributes
    ----------
    place : int
        Position of the image in the table.
    predicted : str
    confidence : float
        Probability of the predicted class.
    called_from : float or None
        The confidence from which this class is called; None if the most probable class is.
    next_class : str
        The most probable other class with its probability.
    reasons : list of str
        Why to look at the image: it is an outlier, uncertain, shows nothing, is of doubtful stains, or the like.
    """

    place: int
    predicted: str
    confidence: float
    called_from: float | None
    next_class: str
    reasons: list[str]

    @property
    def uncertain(self) -> bool:
        """Whether that is a reason."""
        return "uncertain" in self.reasons


def sheet_rows(shown: Tabulated) -> list[SheetRow]:
    """Return a row for each predicted image: first those with most reasons to check, then the least confident."""
    answers = shown.table.answers
    classes = shown.table.classes
    marks: dict[str, Sequence[bool]] = {}
    if shown.outliers is not None:
        marks["outlier"] = shown.outliers.marked.tolist()
    if answers.unsure is not None:
        marks["uncertain"] = answers.unsure.tolist()
    marks["seen in training"] = shown.trained
    called_from = confidence_from(shown.predicted.bundle, answers.numbers)
    limits = [None] * len(answers.numbers) if called_from is None else called_from.tolist()
    rows = []
    warned = zip(answers.numbers, shown.predicted.warnings, strict=True)
    for position, (number, warnings) in enumerate(warned):
        shares = shown.calibrated[position]
        order = (-shares).argsort(kind="stable")
        second = order[order != number][0]
        confidence = float(answers.confidence[position])
        next_class = f"{classes[second]} {100 * shares[second]:.1f}\N{NO-BREAK SPACE}%"
        reasons = [mark for mark, flags in marks.items() if flags[position]]
        reasons += [limited(text, ()) for text in warnings]
        rows.append(
            SheetRow(position, classes[number], confidence, limits[position], next_class, reasons)
        )
    return sorted(rows, key=lambda row: (-len(row.reasons), row.confidence))


def measured_at(table: Metrics | None, point: OperatingPoint | None) -> Metrics | None:
    """Return the figures of a model's cross-validation at an operating point; None if it did not measure there.

    It did not if other classes are positive than in the cross-validation.

    Parameters
    ----------
    table : mapping or None
        Metrics of the model, if any are known.
    point : OperatingPoint or None
    """
    view = (table or {}).get("two_class")
    if point is None or not point.measured or not view:
        return None
    points: Sequence[Metrics] = (*view["thresholds"], *view["wanted"])
    for entry in points:
        if (entry["threshold"], entry.get("wanted")) == (point.threshold, point.sensitivity):
            return entry
    return None


def write_html(path: Path, shown: Tabulated, *, title: str) -> None:
    """Write the prediction report.

    Parameters
    ----------
    path : Path
    shown : Tabulated
    title : str
        Name of the table.
    """
    rows = sheet_rows(shown)
    predicted = shown.predicted
    training = with_figures(known_of(predicted.model))
    records = shown.table.records
    columns = [*shown.table.further, ("label", [record.label_text for record in records])]

    def picture(row: SheetRow) -> str:
        return thumbnail(decode_record(records[row.place]), side=_PICTURE)

    render_page(
        path,
        "sheet.html",
        package=__package__,
        style="sheet.css",
        script="sheet.js",
        table=title,
        rows=rows,
        shown=shown,
        predicted=predicted,
        known=training,
        # in the words for options that readers of a page know
        banners=[
            *shown.banners,
            *(written(text, lambda name, _: f"the option {name}") for text in predicted.warned),
        ],
        reached=measured_at(training["table"], shown.point),
        columns=[column for column in columns if {*column[1]} - {"", "no"}],
        pictures=list(in_threads(picture, rows[:_MOST_ROWS], threads=default_jobs())),
        day=datetime.now(UTC).date(),
    )


@dataclass(frozen=True)
class OutputFiles:
    """The outputs of a prediction. A call replaces only outputs of earlier calls that it continues.

    It knows them by the entry ``written`` of the record beside the table: name of an output to the keys of what may
    stand there. The key of a table is its SHA-256, that of a report is of all that the report shows.

    - Before it writes, a call keeps the entry as it is.
    - While it writes, each output has its earlier keys and the new one: ``{"p.csv": ["3f0c...", "91ab..."]}``. That is
      saved before the first output is written.
    - After it has written, each output has only the new key. An output with several keys is thus not complete.
    - After a kill, the same command finds old or new content at each output, and goes on with both. A call with other
      options, or after one that ended, refuses what is there: ``exists already``.
    - With ``--update``, a call goes on with any earlier one. It writes nothing if all outputs are there and the only
      key of each is that of what it would write.

    A call that goes on refuses a table whose SHA-256 is none of its keys, since somebody has changed it. One with
    ``--overwrite`` compares nothing.

    Attributes
    ----------
    paths : dict of str to Path
        The table as ``out``, and the report as ``html`` if it is asked for.
    written : dict of str to list of str
        The keys of the content of each output, as earlier calls left them.
    empty : list of str
        Folders that were empty in the last call.
    engine : str
        Engine of the predictions with which this call goes on, as in `ModelFile`; empty if there are none.
    overwriting : bool
        Whether any output is replaced, whoever wrote it.
    replaceable : mapping
        Name to keys as in ``written``, if this call goes on with earlier ones; otherwise empty.
    """

    paths: Mapping[str, Path]
    written: dict[str, list[str]]
    empty: list[str]
    engine: str
    overwriting: bool
    replaceable: Mapping[str, Sequence[str]]

    @classmethod
    def of(
        cls,
        paths: Mapping[str, Path],
        config: Mapping[str, object],
        *,
        updates: bool,
        overwriting: bool,
    ) -> OutputFiles:
        """Read the record of what earlier calls wrote to the outputs.

        Parameters
        ----------
        paths : mapping
        config : mapping
            All options.
        updates : bool
            Whether a table of earlier calls is brought up to date.
        overwriting : bool
            Whether this call is to replace what is there. One that goes on with such a call does the same.
        """
        record = record_of_table(paths["out"])
        written = record["notes"]["written"]
        # the last call had the same options and did not end
        is_resumed = record.get("config") == config and record.get("status") != "ok"
        overwriting |= is_resumed and record.get("overwrite") is True
        replaceable = {}
        engine = ""
        if (is_resumed or updates) and not overwriting:
            replaceable = written
        if is_resumed or (updates and not overwriting):
            engine = record["notes"]["engine"]
        return cls(paths, written, record["notes"]["empty"], engine, overwriting, replaceable)

    @property
    def table(self) -> Path:
        """The table of predictions."""
        return self.paths["out"]

    @property
    def parts(self) -> Path:
        """The folder of predictions that are kept until the table is complete."""
        return parts_of(self.table)

    def name(self, path: Path) -> str:
        """Return the name of an output, which is its path from the folder of the table."""
        return os.path.relpath(path, self.table.parent)

    def may_replace(self, path: Path) -> bool:
        """Return whether an output that exists may be replaced."""
        if self.overwriting:
            return True
        name = self.name(path)
        if name in self.replaceable and path == self.table and path.is_file():
            return file_sha256(path) in self.replaceable[name]
        # the key of a report is not of its file, so only its name tells whether it is one of earlier calls
        return name in self.replaceable

    def check(self, inputs: Sequence[Path], images: Sequence[Path]) -> None:
        """Refuse to overwrite inputs, and outputs of others.

        Parameters
        ----------
        inputs : iterable of Path
            All files and folders that are read.
        images : sequence of Path
            Files and folders of images.

        Raises
        ------
        InputError, OutputError
        """
        self._refuse_others()
        record = self.table.with_name(f"{self.table.name}.run.json")
        for name, path in self.paths.items():
            outputs = [path]
            if name == "out":
                outputs += [record, failures_of(self.table)]
            refuse_overwriting(outputs, inputs, name=name)
            if not record.exists():
                # otherwise an earlier call of this command wrote them
                refuse_among(path, images, name=name)

    def empty_folders(self, images: Sequence[Path]) -> list[Path]:
        """Return the folders that are empty.

        Raises
        ------
        InputError
            One has become empty, as the folder of a disk that is not mounted.
        """
        empty = [path for path in images if _is_empty(path)]
        for path in empty:
            if self.table.exists() and str(path.absolute()) not in self.empty:
                raise InputError(
                    "{images} {}: is empty, so its rows would go; mount its disk or leave it out",
                    path,
                )
        return empty

    def record(
        self, config: Mapping[str, object], work: Work, *, empty: Sequence[Path]
    ) -> contextlib.AbstractContextManager[RunRecord]:
        """Record the command beside the table, with what later ones need: what was written, and empty folders."""
        notes = {
            "written": self.written,
            "empty": [str(path.absolute()) for path in empty],
            "engine": self.engine,
        }
        return record_table(
            self.table,
            command="predict",
            config=config,
            work=work,
            overwrite=self.overwriting,
            notes=notes,
        )

    def _refuse_others(self) -> None:
        """Refuse outputs that exist and that this command did not write, or that were changed since."""
        for name, path in self.paths.items():
            if name != "out" and path.absolute() == self.table.absolute():
                raise InputError(
                    "{} {}: is the table of {out}; give the report another name",
                    Parameter(name),
                    path,
                )
            if not path.exists() or self.may_replace(path):
                continue
            if self.name(path) in self.replaceable:
                raise OutputError(
                    "{}: was changed since bchisto wrote it; move it away, or use {overwrite} once",
                    path,
                )
            raise OutputError(
                "{}: exists already; use {overwrite} or another {}", path, Parameter(name)
            )


def _is_empty(path: Path) -> bool:
    """Return whether a folder and its subfolders hold no file, apart from hidden files and those of systems."""
    findings: list[Finding] = []
    return path.is_dir() and not any(walk_files(path, findings)) and not findings
