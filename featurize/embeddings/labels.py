"""Labels of embeddings, from a table beside them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...core import InputError, MissingInputError, counted, few
from ...core.formats import GROUP, IMAGE, LABEL, read_csv
from ...data import Finding, join_groups, match_names, report_findings
from .table import Embeddings

_EXPECTED = "image_id,label[,group]; slide_id will do for image_id, diagnosis for label, and patient for group"


class LabelRow(NamedTuple):
    """A row of a table of labels: label and group, empty if unknown, and the other cells that are not empty."""

    label: str
    group: str
    cells: dict[str, str]


@dataclass(frozen=True)
class LabelTable:
    """A table of labels.

    Attributes
    ----------
    path : Path
    rows : mapping of str to LabelRow
        The row of each image.
    """

    path: Path
    rows: Mapping[str, LabelRow]

    @classmethod
    def read(cls, path: Path) -> LabelTable:
        """Read a table of labels, see `read_csv`.

        Parameters
        ----------
        path : Path
            A CSV file with columns for the image id (``image_id``, or ``slide_id`` as in CLAM), the label and, if any,
            the group; see `bchisto.core.formats.columns`.

        Raises
        ------
        InputError
            There is no such file or column, an id is empty or repeated, or there are no rows.
        """
        if not path.is_file():
            raise MissingInputError(
                "{labels} {}: no such table; it has the columns {}", path, _EXPECTED
            )
        table = read_csv(path, needed=(LABEL, IMAGE), expected=_EXPECTED)
        ids = table.choose(IMAGE)
        label = table.choose(LABEL, without=[ids])
        group = table.choose(GROUP, without=[ids, label])
        table.log_columns({IMAGE: ids, LABEL: label, GROUP: group})
        if table.overlong:
            raise InputError(
                f"{path}: line {table.overlong[0]} has more cells than the header; put a cell that holds a "
                "comma in quotes"
            )
        names, findings = join_groups(
            (row.get(group) or None for _, row in table.rows), where=str(path)
        )
        report_findings(findings)
        rows = {}
        lines: dict[str, int] = {}
        for number, row in table.rows:
            image = row[ids]
            if not image:
                raise _refused(path, number, f"an empty {table.columns[ids]}")
            if image in lines:
                raise _refused(path, number, f"{image} is already in line {lines[image]}")
            lines[image] = number
            cells = {name: cell for name, cell in row.items() if cell and name not in (ids, label)}
            rows[image] = LabelRow(row[label], names.get(row.get(group, "")) or "", cells)
        if not rows:
            raise InputError(f"{path}: the table has no rows ({few(table.columns.values())})")
        return cls(path, rows)

    def renamed(self, images: Sequence[str]) -> LabelTable:
        """Return the table with the ids that images have, as far as its names mean one of them."""
        names, findings = match_names(self.rows, images, where=str(self.path))
        report_findings(findings)
        rows = {names.get(name, name): row for name, row in self.rows.items()}
        return LabelTable(self.path, rows)

    def label(self, embeddings: Embeddings) -> Embeddings:
        """Return embeddings with the labels of this table, and with its groups where it has them.

        Raises
        ------
        InputError
            An image has no row, or another group than in its file.
        """
        self._refuse_absent(embeddings)
        self._report_left_over(embeddings)
        rows = [self.rows[image] for image in embeddings.image_ids]
        groups = []
        for image, group, row in zip(embeddings.image_ids, embeddings.groups, rows, strict=True):
            if group and row.group and row.group.casefold() != group.casefold():
                raise InputError(
                    f"{self.path}: {image} is of {row.group}, and of {group} in {embeddings.path}; an image has one "
                    "patient"
                )
            groups.append(row.group or group)
        labels = tuple(row.label for row in rows)
        self._report_other_labels(embeddings, labels)
        return dataclasses.replace(embeddings, labels=labels, groups=tuple(groups))

    def _refuse_absent(self, embeddings: Embeddings) -> None:
        absent = [image for image in embeddings.image_ids if image not in self.rows]
        if not absent:
            return
        count = len(embeddings.image_ids)
        remedy = "add them, an empty label is unknown"
        if len(absent) == count:
            remedy = f"its rows are named as {next(iter(self.rows))}"
        raise InputError(
            f"{self.path}: has no row for {len(absent)} of {count} images of {embeddings.path}: {few(absent)}; {remedy}"
        )

    def _report_left_over(self, embeddings: Embeddings) -> None:
        """Report rows with a label that are of none of the embeddings, such as a slide without a field."""
        present = set(embeddings.image_ids)
        labelled = [name for name, row in self.rows.items() if row.label]
        left_over = [name for name in labelled if name not in present]
        if left_over:
            message = (
                f"{len(left_over)} of {counted(len(labelled), 'labelled row')} have no features in {embeddings.path}, "
                f"and take no part: {few(left_over)}"
            )
            report_findings([Finding("warning", str(self.path), message)])

    def _report_other_labels(self, embeddings: Embeddings, labels: Sequence[str]) -> None:
        """Report images that have another label here than in their file; that of the table counts."""
        triples = zip(embeddings.image_ids, embeddings.labels, labels, strict=True)
        differing = [
            image for image, before, label in triples if before and label not in ("", before)
        ]
        if differing:
            count = counted(len(differing), "label")
            message = f"{count} other than in {embeddings.path}: {few(differing)}"
            report_findings([Finding("warning", str(self.path), message)])

    def columns(self, images: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the cells of the other columns, by image; without empty ones."""
        columns: dict[str, dict[str, str]] = {}
        for image in images:
            for name, cell in self.rows[image].cells.items():
                columns.setdefault(name, {})[image] = cell
        return columns


def _refused(path: Path, line: int, reason: str) -> InputError:
    return InputError(f"{path}: line {line}: {reason}; remove the row")
