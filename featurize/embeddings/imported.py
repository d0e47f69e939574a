"""Import embeddings of other programs as feature files, with their labels."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ... import __version__
from ...core import InputError, MissingInputError, SettingsConflictError, counted, few
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
from .files import files_of, is_foreign, read_embeddings
from .table import Embeddings, row_sha256, same_images

_EXPECTED = "image_id,label[,group]; slide_id will do for image_id, diagnosis for label, and patient for group"


class LabelRow(NamedTuple):
    """A row of a table of labels: label and group, empty if unknown, and the other cells that are not empty."""

    label: str
    group: str
    cells: dict[str, str]


def read_labels(path: Path) -> dict[str, LabelRow]:
    """Read a table of labels, see `read_csv`; return the row of each image.

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
    names, joined = join_groups((row.get(group) or None for _, row in table.rows), where=str(path))
    report_findings(joined)
    rows: dict[str, LabelRow] = {}
    lines: dict[str, int] = {}
    for number, row in table.rows:
        image = row[ids]
        if not image or image in lines:
            why = (
                f"{image} is already in line {lines[image]}"
                if image
                else f"an empty {table.columns[ids]}"
            )
            raise InputError(f"{path}: line {number}: {why}; remove the row")
        lines[image] = number
        cells = {name: cell for name, cell in row.items() if cell and name not in (ids, label)}
        rows[image] = LabelRow(row[label], names.get(row.get(group, "")) or "", cells)
    if not rows:
        raise InputError(f"{path}: the table has no rows ({few(table.columns.values())})")
    return rows


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
        A table of labels, see `read_labels`. Without it, the files must contain the labels.
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
    foreign = [path for path in sources if is_foreign(path)]
    if not foreign:
        if labels is not None and all(path.exists() for path in sources):
            raise InputError(
                "{labels} {}: goes with embeddings of other programs; leave it out, features have their own",
                labels,
            )
        refuse_deadly(files_of(sources))
        return list(sources)
    if stores := [path for path in sources if path not in foreign]:
        raise InputError(
            f"{foreign[0]} and {stores[0]}: do not mix embeddings of other programs and features of bchisto in one "
            "model; bchisto features export turns a feature file into embeddings"
        )
    rows = {} if labels is None else read_labels(labels)
    labelled = []
    for path in foreign:
        embeddings = read_embeddings(path)
        if (
            labels is not None
        ):  # embeddings of TRIDENT, CLAM and STAMP are named after the slide file without suffix
            known, findings = match_names(rows, embeddings.image_ids, where=str(labels))
            report_findings(findings)
            rows = {known.get(name, name): row for name, row in rows.items()}
            embeddings = _labelled(embeddings, rows, labels)
        elif not any(embeddings.labels):
            raise InputError(
                "{}: has no labels; give a table of them with {labels}, or call them label, class, diagnosis, target "
                "or y",
                path,
            )
        names, joined = join_classes(filter(None, embeddings.labels), classes)
        report_findings(joined)
        spelled = tuple(names.get(label, "") for label in embeddings.labels)
        if missing := missing_labels(spelled, classes):
            text = "{}: the label {} means unknown; leave it empty, or name {} in {classes}"
            raise InputError(text, labels or path, missing[0], missing[0])
        labelled.append(dataclasses.replace(embeddings, labels=spelled))
    labelled = same_images(labelled)
    ensure_folder(folder)
    stored = [_keep(each, folder / f"{each.name}.h5", overwrite=overwrite) for each in labelled]
    first, columns = labelled[0], dict[str, dict[str, str]]()
    for image in first.image_ids if rows else ():
        for name, cell in rows[image].cells.items():
            columns.setdefault(name, {})[image] = cell
    groups = {
        image: group for image, group in zip(first.image_ids, first.groups, strict=True) if group
    }
    facts = DatasetFacts({"found": len(first.image_ids)}, columns, groups)
    write_dataset_facts(folder / FACTS_FILE, facts, images_sha256=_identity(first))
    return stored


def _labelled(embeddings: Embeddings, rows: Mapping[str, LabelRow], table: Path) -> Embeddings:
    """Return embeddings with the labels and groups of a table."""
    absent = [image for image in embeddings.image_ids if image not in rows]
    if absent:
        count, example = len(embeddings.image_ids), next(iter(rows))
        how = (
            f"its rows are named as {example}"
            if len(absent) == count
            else "add them, an empty label is unknown"
        )
        raise InputError(
            f"{table}: has no row for {len(absent)} of {count} images of {embeddings.path}: {few(absent)}; {how}"
        )
    chosen = [rows[image] for image in embeddings.image_ids]
    for image, own, row in zip(embeddings.image_ids, embeddings.groups, chosen, strict=True):
        if own and row.group and row.group.casefold() != own.casefold():
            raise InputError(
                f"{table}: {image} is of {row.group}, and of {own} in {embeddings.path}; an image has one patient"
            )
    triples = zip(embeddings.image_ids, embeddings.labels, chosen, strict=True)
    if differ := [image for image, own, row in triples if own and row.label and own != row.label]:
        message = f"{counted(len(differ), 'label')} other than in {embeddings.path}: {few(differ)}"
        report_findings([Finding("warning", str(table), message)])
    groups = tuple(row.group or own for row, own in zip(chosen, embeddings.groups, strict=True))
    return dataclasses.replace(embeddings, labels=tuple(row.label for row in chosen), groups=groups)


def _identity(embeddings: Embeddings) -> str:
    """Return a checksum that identifies the images: of their names, since embeddings contain nothing else of them."""
    return hashlib.sha256("\0".join(embeddings.image_ids).encode()).hexdigest()


def _keep(embeddings: Embeddings, path: Path, *, overwrite: bool) -> Path:
    """Write embeddings as a feature file, unless it exists already; refuse to replace other content."""
    settings, origin = _settings(embeddings), _origin(embeddings)
    if path.exists():
        with open_store(path) as store:
            old = store.settings
            same = (old, store.header["images_sha256"]) == (settings, origin["images_sha256"])
            if same and (tuple(store.labels), tuple(store.groups)) == (
                embeddings.labels,
                embeddings.groups,
            ):
                return path
        if old["mode"] != IMPORTED or not (same or overwrite):
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
    unknown = StainInfo(None, float("nan"), float("nan"), skipped=False)
    write_store(
        path,
        embeddings.records(),
        [(0, (embeddings.features, stain_columns([unknown] * len(contents))))],
        keys={
            image: key_of("imported rows 1", image_id=image, sha256=sha)
            for image, sha in contents.items()
        },
        contents=contents,
        settings=settings,
        origin=origin,
        dim=embeddings.features.shape[2],
    )
    return path


def _settings(embeddings: Embeddings) -> dict[str, Any]:
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


def _origin(embeddings: Embeddings) -> dict[str, Any]:
    labels = sorted(set(filter(None, embeddings.labels)))
    known = [str(name) for name in embeddings.facts.get("classes", ())]
    return {
        "augmentations": embeddings.features.shape[1],
        "weights": embeddings.facts.get("weights", UNKNOWN),
        "weights_file_sha256": "",
        "dataset": embeddings.facts.get("dataset", ""),
        "synthetic": embeddings.facts.get("synthetic", False),
        "classes": known if known and set(labels) <= set(known) else list(order_classes(labels)),
        "images_sha256": _identity(embeddings),
        "selection": "{}",
        **{
            name: embeddings.facts[name]
            for name in ("runner", "card", "network")
            if name in embeddings.facts
        },
        "bchisto_version": __version__,
    }
