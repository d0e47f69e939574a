"""Images in a folder whose labels, patients and further facts are in a table beside it."""

from __future__ import annotations

from pathlib import Path

from ...core import InputError, as_path, few
from ...formats import is_missing
from ..dataset import ImageRecord
from ..findings import Finding
from ..from_path import PathRule
from ..labels import read_labels
from ..walk import list_images
from .paths import spacing_of
from .spec import LayoutSpec


def images_beside(
    root: Path,
    *,
    labels: Path | str,
    group_from: str | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
) -> tuple[list[ImageRecord], list[Finding]]:
    """Read a folder of images whose labels are in a table; names of folders mean nothing.

    Parameters
    ----------
    root : Path
    labels : path
        The table, see `read_labels`. A row names an image by its path below `root`, its file name, or either without
        suffix. The cells of ``mpp`` and of further columns are used as those of a manifest.
    group_from : str, optional
        Rule that finds the group in the path below `root`, instead of in the table.
    path_column, label_column, group_column : str, optional
        Names of columns in the table; that of paths names the images.

    Returns
    -------
    list of ImageRecord, list of Finding
        Warnings count images without a row, which have no label, and rows without an image.

    Raises
    ------
    InputError
        There is no image, the table is refused, or its rows name none of the images.
    """
    findings: list[Finding] = []
    files = list_images(root, findings)
    given = read_labels(as_path(labels, "labels"), image=path_column, label=label_column, group=group_column)
    table = given.named_as(files.keys())
    findings.extend(table.findings)
    without = [name for name in files if name not in table.labels]
    strange = [name for name in table.labels if name not in files]
    if files and len(without) == len(files):
        raise InputError(
            f"{table.path}: its rows, such as {strange[0]}, name none of the {len(files)} images of {root}, such as "
            f"{without[0]}; name them by file, with or without suffix, each once"
        )
    if without:
        message = f"{len(without)} of {len(files)} images have no row of their own in {table.path.name}, so no label"
        findings.append(Finding("warning", few(without), message))
    if strange:
        message = f"{len(strange)} of {len(table.labels)} rows name no image, or not only one: {few(strange)}"
        findings.append(Finding("warning", str(table.path), message))
    groups = {**table.groups}
    if group_from is not None:
        rule = PathRule.of(group_from, name="group_from")
        found = rule.find(files)
        findings.extend(rule.findings(root, found, "group"))
        groups = {name: group or "" for name, group in found.items()}
    records = []
    for name, path in files.items():
        cells = {column: values[name] for column, values in table.columns.items() if name in values}
        mpp, problem = spacing_of(cells.pop(table.mpp, ""))
        line = table.lines.get(name, 0)
        if problem:
            findings.append(Finding("error", f"{table.path.name}:{line}", problem))
        label, group = table.labels.get(name) or None, groups.get(name) or None
        records.append(ImageRecord(name, path, label, group, mpp=mpp, columns=tuple(cells.items()), line=line))
    unknown = sum(is_missing(record.group) for record in records)
    if 0 < unknown < len(records) and group_from is None:
        message = f"{unknown} of {len(records)} images name no group, so folds cannot keep patients whole"
        findings.append(Finding("warning", str(table.path), message))
    return records, findings


BESIDE = LayoutSpec(
    name="folder",
    read=images_beside,
    options=frozenset({"labels", "group_from", "path_column", "label_column", "group_column"}),
    fallback=True,
)
"""The layout ``folder`` with a table of labels."""
