"""Read a table of labels for embeddings, whose images are not read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..core import InputError, MissingInputError, few
from ..core.formats import GROUP, IMAGE, LABEL, read_csv
from ..data import join_groups, match_names, report_findings

_EXPECTED = "image_id,label[,group]; slide_id will do for image_id, diagnosis for label, and patient for group"


@dataclass(frozen=True)
class LabelTable:
    """Labels and groups of images.

    Attributes
    ----------
    path : Path
    labels, groups : dict of str to str
        Image id to label or group; empty if unknown.
    columns : dict of str to dict of str to str
        Further columns: name to a mapping from image id to value.
    """

    path: Path
    labels: Mapping[str, str]
    groups: Mapping[str, str]
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def named_as(self, images: Collection[str]) -> LabelTable:
        """Return the table with the names of images in place of slide files, such as ``a`` for ``a.svs``.

        Parameters
        ----------
        images : collection of str
            Names of embeddings. TRIDENT, CLAM and STAMP name them after the slide file without its suffix.
        """
        names, findings = match_names(self.labels, images, where=str(self.path))
        report_findings(findings)

        def renamed(cells: Mapping[str, str]) -> dict[str, str]:
            return {names.get(row, row): cell for row, cell in cells.items()}

        columns = {name: renamed(cells) for name, cells in self.columns.items()}
        return LabelTable(self.path, renamed(self.labels), renamed(self.groups), columns)


def read_labels(path: Path) -> LabelTable:
    """Read a table of labels, see `read_csv`.

    Parameters
    ----------
    path : Path
        A CSV file with columns for the image id (``image_id``, or ``slide_id`` as in CLAM), the label and, if any, the
        group; see `bchisto.core.formats.columns`.

    Raises
    ------
    InputError
        There is no such file or column, an id is empty or repeated, or there are no rows.
    """
    if not path.is_file():
        raise MissingInputError("{labels} {}: no such table; it has the columns {}", path, _EXPECTED)
    table = read_csv(path, needed=(LABEL, IMAGE), expected=_EXPECTED)
    ids = table.choose(IMAGE)
    label = table.choose(LABEL, without=[ids])
    group = table.choose(GROUP, without=[ids, label])
    table.log_columns({IMAGE: ids, LABEL: label, GROUP: group})
    if table.overlong:
        raise InputError(f"{path}: line {table.overlong[0]} has more cells than the header; put a cell that holds a "
                         "comma in quotes")  # fmt: skip
    names, joined = join_groups((row.get(group) or None for _, row in table.rows), where=str(path))
    report_findings(joined)
    lines: dict[str, int] = {}
    labels: dict[str, str] = {}
    groups: dict[str, str] = {}
    columns: dict[str, dict[str, str]] = {}
    for number, row in table.rows:
        image = row[ids]
        if not image or image in lines:
            why = f"{image} is already in line {lines[image]}" if image else f"an empty {table.columns[ids]}"
            raise InputError(f"{path}: line {number}: {why}; remove the row")
        lines[image] = number
        labels[image], groups[image] = row[label], names.get(row.get(group, "")) or ""
        for name, cell in row.items():
            if cell and name not in (ids, label):
                columns.setdefault(name, {})[image] = cell
    if not labels:
        raise InputError(f"{path}: the table has no rows ({few(table.columns.values())})")
    return LabelTable(path, labels, groups, columns)
