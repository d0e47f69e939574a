"""The output files of a prediction, and what earlier calls left there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..core import InputError, OutputError, Parameter
from ..core.formats import file_sha256
from ..core.jobs import Work, ensure_folder, refuse_among, refuse_overwriting
from ..core.runs import RunRecord, record_of_table, record_table
from ..data import Finding, walk_files
from .outputs import failures_of


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
