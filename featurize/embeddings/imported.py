"""Embeddings of other programs as feature files, with their labels."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ...core import InputError, SettingsConflictError
from ...core.formats import refuse_deadly
from ...core.jobs import ensure_folder, key_of
from ...data import (
    FACTS_FILE,
    DatasetFacts,
    join_classes,
    missing_labels,
    order_classes,
    report_findings,
    write_dataset_facts,
)
from ..prepare import StainInfo
from ..store import open_store, stain_columns, write_store
from .facts import IMPORTED, UNKNOWN
from .files import files_of, is_foreign, read_embeddings
from .labels import LabelTable
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
    foreign = [path for path in sources if is_foreign(path)]
    if not foreign:
        if labels is not None and all(path.exists() for path in sources):
            raise InputError(
                "{labels} {}: goes with embeddings of other programs; leave it out, features have their own",
                labels,
            )
        refuse_deadly(files_of(sources))
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
        embeddings = read_embeddings(path)
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
    unknown = StainInfo(None, float("nan"), float("nan"), skipped=False)
    stains = stain_columns([unknown] * len(contents))
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
