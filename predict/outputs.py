"""The outputs of a prediction: the table, the failures and the report."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..core import InputError, OutputError, Parameter, counted, html_lines, html_table
from ..core.formats import file_sha256, read_cells
from ..core.jobs import Work, ensure_folder, refuse_among, refuse_overwriting, write_or_remove
from ..core.runs import RunRecord, record_of_table, record_table
from ..data import Finding, walk_files
from .blocks import Predicted
from .sheet import write_html
from .table import Tabulated

_SHOWN = ("image_id", "label", "predicted", "trained", "outlier")
"""Columns of the table that a notebook shows, in addition to probabilities."""


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
    failures : tuple of (image_id, message)
        Images that could not be used; also in ``<out>.failures.csv``.
    banners : tuple of str
        Warnings that every reader must see.
    trained : int or None
        Number of images that trained a model; None if the model file does not record its training images.
    called : str
        Number of images predicted positive, with the operating point; empty without an operating point.
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
    unchanged : bool
        Whether nothing was written, since `PredictSettings.update` found nothing new. Counts are then left out.
    """

    path: Path
    images: int
    counts: dict[str, int]
    failures: tuple[tuple[str, str], ...]
    banners: tuple[str, ...]
    trained: int | None = None
    called: str = ""
    sheet: Path | None = None
    unsure: int | None = None
    sureness: str = ""
    labelled: int = 0
    outliers: str = ""
    unchanged: bool = False

    def _repr_html_(self) -> str:
        lines = [*self.banners, *filter(None, (self.called, self.outliers)), f"table: {self.path}"]
        with self.path.open(newline="", encoding="utf-8") as handle:
            rows = list(read_cells(handle))
        header = ["image_id", "predicted"]  # rows for the challenge have none
        if rows and rows[0][:1] == ["image_id"]:
            header = rows.pop(0)
        shown = [name for name in header if name in _SHOWN or name.startswith("p_")]
        cells = []
        for row in rows:
            cell_of = dict(zip(header, row, strict=True))
            for name in shown:
                if name.startswith("p_"):
                    cell_of[name] = f"{float(cell_of[name]):.3f}"
            cells.append([cell_of[name] for name in shown])
        return html_lines(lines) + html_table(f"{self.images} images", shown, cells)


def failures_of(path: Path) -> Path:
    """Return the list of the images that a table lacks, since they could not be used."""
    return path.with_name(f"{path.name}.failures.csv")


def write_outputs(
    path: Path,
    shown: Tabulated,
    predicted: Predicted,
    *,
    html: Path | None,
    overwrite: bool,
    known: Collection[str],
) -> PredictResult:
    """Write the table, its failures, and a report at `html`.

    Parameters
    ----------
    path : Path
        The table.
    shown : Tabulated
    predicted : Predicted
    html : Path or None
    overwrite, known
        As of `Table.finish`.

    Raises
    ------
    OutputError
        An output cannot be written, or another process has written a different table.
    """
    bundle = predicted.bundle
    table = shown.table
    answers = table.answers
    table.finish(path, overwrite=overwrite, known=known)
    write_or_remove(failures_of(path), ["image_id", "error"], shown.failures.items())
    if html is not None:
        write_html(html, shown, predicted, title=path.name)
    unsure = None
    if answers.unsure is not None:
        unsure = int(answers.unsure.sum())
    return PredictResult(
        path,
        images=len(shown.trained),
        counts={name: answers.predicted.count(name) for name in bundle.classes},
        failures=tuple(shown.failures.items()),
        banners=shown.banners,
        trained=None if bundle.training is None else sum(shown.trained),
        called=shown.called,
        sheet=html,
        unsure=unsure,
        sureness="; ".join(filter(None, (", ".join(_marked(shown, unsure, html)), shown.mixed))),
        outliers="" if shown.outliers is None else shown.outliers.summary,
        labelled=sum(record.label in bundle.classes for record in table.records),
    )


def _marked(shown: Tabulated, unsure: int | None, html: Path | None) -> Iterator[str]:
    """Yield how many images are uncertain, and where they are marked."""
    if unsure is not None:
        yield f"uncertain: {unsure} of {counted(len(shown.trained), 'image')}"
        if shown.table.format == "bchisto":
            yield "column uncertain"
        if html is not None:
            yield f"see {html}"


class Earlier(NamedTuple):
    """What earlier calls left at the outputs.

    Attributes
    ----------
    written : dict of str to list of str
        Of each output the keys of its content, of which it has several until it is complete.
    empty : list of str
        Folders that were empty.
    goes_on : bool
        Whether the last call had the same options and did not end.
    overwrote : bool
        Whether that call was to replace what was there, as this one then is.
    """

    written: dict[str, list[str]]
    empty: list[str]
    goes_on: bool
    overwrote: bool

    @classmethod
    def of(cls, table: Path, config: Mapping[str, object]) -> Earlier:
        """Read the record beside a table."""
        record = record_of_table(table)
        notes = record["notes"]
        goes_on = record.get("config") == config and record.get("status") != "ok"
        overwrote = goes_on and record.get("overwrite") is True
        return cls(notes["written"], notes["empty"], goes_on, overwrote)


@dataclass(frozen=True)
class OutputFiles:
    """The outputs of a prediction.

    Attributes
    ----------
    paths : dict of str to Path
        The table as ``out``, and the report as ``html`` if it is asked for.
    earlier : Earlier
    replaces : bool
        Whether outputs that this command did not write are replaced.
    ours : mapping
        Name of an output to the keys of content that this command may have written there.
    """

    paths: Mapping[str, Path]
    earlier: Earlier
    replaces: bool
    ours: Mapping[str, Sequence[str]]

    @classmethod
    def of(
        cls,
        paths: Mapping[str, Path],
        config: Mapping[str, object],
        *,
        updates: bool,
        replaces: bool,
    ) -> OutputFiles:
        """Read what earlier calls left at the outputs.

        Parameters
        ----------
        paths : mapping
        config : mapping
            All options.
        updates : bool
            Whether a table of earlier calls is brought up to date.
        replaces : bool
            Whether this call is to replace what is there. One that goes on with such a call does the same.
        """
        earlier = Earlier.of(paths["out"], config)
        replaces = replaces or earlier.overwrote
        ours: Mapping[str, Sequence[str]] = {}
        if (earlier.goes_on or updates) and not replaces:
            ours = earlier.written
        return cls(paths, earlier, replaces, ours)

    @property
    def table(self) -> Path:
        """The table of predictions."""
        return self.paths["out"]

    @property
    def parts(self) -> Path:
        """The folder of predictions that are kept until the table is complete."""
        return self.table.with_name(f"{self.table.name}.parts")

    def name(self, path: Path) -> str:
        """Return the name of an output, which is its path from the folder of the table."""
        return os.path.relpath(path, self.table.parent)

    def check(self, inputs: Iterable[Path], images: Sequence[Path]) -> None:
        """Refuse to overwrite inputs, and outputs of others.

        Parameters
        ----------
        inputs : iterable of Path
            All files and folders that are read.
        images : sequence of Path
            Those that are images.

        Raises
        ------
        InputError, OutputError
        """
        self._refuse_others()
        inputs = list(inputs)
        record = self.table.with_name(f"{self.table.name}.run.json")
        for name, path in self.paths.items():
            outputs = [path]
            if name == "out":
                outputs += [record, failures_of(self.table)]
            refuse_overwriting(outputs, inputs, name=name)
            if not record.exists():
                # otherwise an earlier call of this command wrote them
                refuse_among(path, images, name=name)

    def create_folders(self) -> None:
        """Create the folders of the outputs."""
        for path in self.paths.values():
            ensure_folder(path.parent)

    def empty_folders(self, images: Sequence[Path]) -> list[Path]:
        """Return the folders that are empty.

        Raises
        ------
        InputError
            One has become empty, as the folder of a disk that is not mounted.
        """
        empty = [path for path in images if _is_empty(path)]
        if len(empty) == len(images):
            # nothing is there, which changes nothing
            return empty
        for path in empty:
            if self.table.exists() and str(path.absolute()) not in self.earlier.empty:
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
            "written": self.earlier.written,
            "empty": [str(path.absolute()) for path in empty],
        }
        return record_table(
            self.table,
            command="predict",
            config=config,
            work=work,
            overwrite=self.replaces,
            notes=notes,
        )

    def _refuse_others(self) -> None:
        """Refuse outputs that exist and that this command did not write, or that were changed since."""
        table = self.table
        if (
            table.name in self.ours
            and table.is_file()
            and file_sha256(table) not in self.ours[table.name]
        ):
            raise OutputError(
                "{}: was changed since bchisto wrote it; move it away, or use {overwrite} once",
                table,
            )
        for name, path in self.paths.items():
            if name != "out" and path.absolute() == table.absolute():
                raise InputError(
                    "{} {}: is the table of {out}; give the report another name",
                    Parameter(name),
                    path,
                )
            if path.exists() and not self.replaces and self.name(path) not in self.ours:
                raise OutputError(
                    "{}: exists already; use {overwrite} or another {}", path, Parameter(name)
                )


def _is_empty(path: Path) -> bool:
    """Return whether a folder and those in it hold no file, apart from hidden ones and those of systems."""
    findings: list[Finding] = []
    return path.is_dir() and not any(walk_files(path, findings)) and not findings
