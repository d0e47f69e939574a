"""Embeddings of other programs as feature files, with their labels, which may be in a table beside them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ... import __version__
from ...core import Content, InputError, MissingInputError, SettingsConflictError, counted, few
from ...core.formats import GROUP, IMAGE, LABEL, read_csv, refuse_deadly
from ...core.jobs import ensure_folder, key_of
from ...data import (
    FACTS_FILE,
    DatasetFacts,
    Finding,
    join_classes,
    join_groups,
    match_names,
    missing_labels,
    order_classes,
    report_findings,
    write_dataset_facts,
)
from ..prepare import StainInfo
from ..store import open_store, stain_columns, write_store
from .facts import IMPORTED, UNKNOWN
from .files import files_of, is_foreign, read_probed
from .table import Embeddings, row_sha256, same_images


def import_features(
    sources: Sequence[Path],
    *,
    folder: Path,
    labels: Path | None = None,
    classes: Sequence[str] = (),
    overwrite: bool = False,
) -> list[Path]:
    """Convert embeddings of other programs to feature files, and return the feature files of all sources.

    Sources that are feature files, or folders of them, are returned unchanged.

    Parameters
    ----------
    sources : sequence of Path
    folder : Path
        Folder for the new feature files.
    labels : Path, optional
        A table of labels, see `LabelTable.read`. Without it, the files must contain the labels.
    classes : sequence of str
        Classes that the user chose. A label such as ``NA`` is refused unless it is one of them.
    overwrite : bool
        Replace feature files that were made from other embeddings.

    Raises
    ------
    InputError
        See `read_embeddings`; or embeddings have no labels, are of different images, or are mixed with feature files;
        or a table of labels is given without embeddings.
    SettingsConflictError
        The folder contains a feature file of this name, made from other embeddings or from images.
    """
    refuse_deadly(files_of(sources))
    foreign = [path for path in sources if is_foreign(path)]
    if not foreign:
        if labels is not None and all(path.exists() for path in sources):
            raise InputError(
                "{labels} {}: goes with embeddings of other programs; leave it out, features have their own",
                labels,
            )
        return list(sources)
    feature_files = [path for path in sources if path not in foreign]
    if feature_files:
        raise InputError(
            f"{foreign[0]} and {feature_files[0]}: do not mix embeddings of other programs and features of bchisto in "
            "one model; bchisto features turns a feature file into embeddings"
        )
    table = LabelTable.read(labels) if labels is not None else None
    labelled = []
    for path in foreign:
        embeddings = read_probed(path)
        if table is not None:
            # programs name embeddings after the file of the slide without its suffix, and people write tables
            table = table.renamed(embeddings.image_ids)
            embeddings = table.label(embeddings)
        elif not any(embeddings.labels):
            raise InputError(
                "{}: has no labels; give a table of them with {labels}, or call them label, class, diagnosis, target "
                "or y",
                path,
            )
        labelled.append(_with_classes(embeddings, classes, labels or path))
    labelled = same_images(labelled)
    ensure_folder(folder)
    stored = [_keep(each, folder / f"{each.name}.h5", overwrite=overwrite) for each in labelled]
    _write_facts(folder, labelled[0], table)
    return stored


def _with_classes(embeddings: Embeddings, classes: Sequence[str], where: Path) -> Embeddings:
    """Return embeddings with one spelling for each class; refuse a label that means an unknown one."""
    names, findings = join_classes(filter(None, embeddings.labels), classes)
    report_findings(findings)
    labels = tuple(names.get(label, "") for label in embeddings.labels)
    missing = missing_labels(labels, classes)
    if missing:
        text = "{}: the label {} means unknown; leave it empty, or name {} in {classes}"
        raise InputError(text, where, missing[0], missing[0])
    return dataclasses.replace(embeddings, labels=labels)


def _write_facts(folder: Path, embeddings: Embeddings, table: LabelTable | None) -> None:
    """Write what is known about the images: their groups, and the other columns of their table."""
    columns = {}
    if table is not None:
        columns = table.columns(embeddings.image_ids)
    groups = {
        image: group
        for image, group in zip(embeddings.image_ids, embeddings.groups, strict=True)
        if group
    }
    facts = DatasetFacts({"found": len(embeddings.image_ids)}, columns, groups)
    write_dataset_facts(folder / FACTS_FILE, facts, images_sha256=_identity(embeddings))


def _identity(embeddings: Embeddings) -> str:
    """Return a checksum that identifies the images: of their names, since embeddings contain nothing else of them."""
    return hashlib.sha256("\0".join(embeddings.image_ids).encode()).hexdigest()


def _keep(embeddings: Embeddings, path: Path, *, overwrite: bool) -> Path:
    """Write embeddings as a feature file, unless it exists already; refuse to replace other content."""
    settings = _settings(embeddings)
    origin = _origin(embeddings)
    if path.exists():
        with open_store(path) as store:
            mode = store.settings["mode"]
            stored = (store.settings, store.header["images_sha256"])
            same_rows = stored == (settings, origin["images_sha256"])
            same_labels = tuple(store.labels) == embeddings.labels
            same_groups = tuple(store.groups) == embeddings.groups
        if same_rows and same_labels and same_groups:
            return path
        if mode != IMPORTED or not (same_rows or overwrite):
            raise SettingsConflictError(
                "{}: was made of images, or of other embeddings than {} holds now; another {out} keeps both, and "
                "{overwrite} replaces embeddings",
                path,
                embeddings.path,
            )
    contents = {
        image: row_sha256(rows)
        for image, rows in zip(embeddings.image_ids, embeddings.features, strict=True)
    }
    keys = {
        image: key_of("imported rows 1", image_id=image, sha256=sha256)
        for image, sha256 in contents.items()
    }
    stains = stain_columns([StainInfo()] * len(contents))
    write_store(
        path,
        embeddings.records(),
        [(0, (embeddings.features, stains))],
        keys=keys,
        contents=contents,
        settings=settings,
        origin=origin,
        dim=embeddings.features.shape[2],
    )
    return path


def _settings(embeddings: Embeddings) -> Content:
    """Return the settings of a feature file: known facts on how the embeddings were made."""
    facts = {name: value for name, value in embeddings.facts.items() if name != "pooled"}
    return {
        "mode": IMPORTED,
        "encoder": embeddings.encoder,
        "layers": list(embeddings.facts.get("layers", [UNKNOWN])),
        "weights_sha256": embeddings.facts.get("weights_sha256", ""),
        "dim": embeddings.features.shape[2],
        "features_sha256": hashlib.sha256(
            np.ascontiguousarray(embeddings.features, "<f4").tobytes()
        ).hexdigest(),
        IMPORTED: {"source": embeddings.path.name, "facts": facts, "pooled": embeddings.pooled},
    }


def _origin(embeddings: Embeddings) -> Content:
    labels = sorted(set(filter(None, embeddings.labels)))
    classes = [str(name) for name in embeddings.facts.get("classes", ())]
    if not classes or not set(labels) <= set(classes):
        classes = list(order_classes(labels))
    further = {
        name: embeddings.facts[name]
        for name in ("runner", "card", "network")
        if name in embeddings.facts
    }
    return {
        "augmentations": embeddings.features.shape[1],
        "weights": embeddings.facts.get("weights", UNKNOWN),
        "weights_file_sha256": "",
        "dataset": embeddings.facts.get("dataset", ""),
        "synthetic": embeddings.facts.get("synthetic", False),
        "classes": classes,
        "images_sha256": _identity(embeddings),
        "selection": {},
        **further,
        "bchisto_version": __version__,
    }


_EXPECTED = "image_id,label[,group]; slide_id will do for image_id, diagnosis for label, and patient for group"


class LabelRow(NamedTuple):
    """A row of a table of labels: its label and group, each empty if it is unknown, and its other cells with a text."""

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
            raise InputError(
                f"{path}: the table has no rows; add one for each image ({few(table.columns.values())})"
            )
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
        """Report images whose label here is not that of their file, except for case; the label of the table counts."""
        triples = zip(embeddings.image_ids, embeddings.labels, labels, strict=True)
        differing = [
            image
            for image, before, label in triples
            if before and label.casefold() not in ("", before.casefold())
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
