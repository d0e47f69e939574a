"""Import embeddings of other programs as feature files, and export feature files as embeddings."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..core import InputError, MissingInputError, OutputError, PathInput, SettingsConflictError, converted, few
from ..core.formats import mistaken, refuse_deadly
from ..core.jobs import ensure_folder, key_of, refuse_overwriting
from ..data import (
    FACTS_FILE,
    DatasetFacts,
    join_classes,
    missing_labels,
    order_classes,
    report_findings,
    write_dataset_facts,
)
from .embedding_files import LabelTable, is_store, read_h5, read_labels, read_npz, read_slides, write_h5, write_npz
from .embeddings import IMPORTED, UNKNOWN, Embeddings, row_sha256
from .prepare import StainInfo
from .store import open_store, stain_columns, write_store

_log = logging.getLogger(__name__)

_READ = {".npz": read_npz, ".h5": read_h5, ".hdf5": read_h5}
_WRITE = {".npz": write_npz, ".h5": write_h5}


def read_embeddings(path: PathInput) -> Embeddings:
    """Read embeddings of another program, or a feature file.

    Parameters
    ----------
    path : str or Path
        A ``.npz`` or ``.h5`` file, a feature file of bchisto, or a folder with one ``.h5`` file per slide, as TRIDENT
        and CLAM write them.

    Returns
    -------
    Embeddings

    Raises
    ------
    InputError, StoreError
        The file is missing, damaged or of another format; or see `Embeddings.of`.
    """
    path = Path(converted(path, "path", Path))
    if path.is_dir():
        if not (files := _slide_files(path)):
            how = _PICKLED if any(path.glob("*.pt")) else "give a .npz or .h5 file, or pictures as images"
            raise MissingInputError(f"{path}: no embeddings (*.h5, a file for each slide) in this folder; {how}")
        return read_slides(path, files)
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file or folder of embeddings")
    if (read := _READ.get(path.suffix.casefold())) is None:
        how = "numpy.savez(FILE, features=array, image_id=names) writes one (docs/embeddings.md)"
        no_file = f"{path}: embeddings are read from .npz and .h5 files; {how}"
        raise InputError(mistaken(path, "a file of embeddings (.npz, .h5)") or no_file)
    return read(path)


_PICKLED = ".pt and .pkl run code when they are read; docs/embeddings.md shows how to convert them"


def _slide_files(folder: Path) -> list[Path]:
    """Return the ``.h5`` files of a folder, or of its subfolder ``h5_files``, where CLAM puts them."""
    return sorted(folder.glob("*.h5")) or sorted(folder.glob("h5_files/*.h5"))


def files_of(sources: Sequence[Path]) -> list[Path]:
    """Return all files that `read_embeddings` would read from the sources."""
    return [file for path in sources for file in (_slide_files(path) if path.is_dir() else [path])]


def export_features(source: PathInput, out: PathInput, *, overwrite: bool = False) -> Embeddings:
    """Write the features of a feature file, or embeddings of any format, to an ``.npz`` or ``.h5`` file.

    Parameters
    ----------
    source : str or Path
        See `read_embeddings`.
    out : str or Path
        File to write; the name ends in ``.npz`` or ``.h5``.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Embeddings
        The written embeddings, with ids, labels, groups, and facts about the encoder.

    Raises
    ------
    OutputError
        The file exists already.
    InputError
        The name has another suffix; or see `read_embeddings`.
    """
    path = Path(converted(out, "out", Path))
    if (write := _WRITE.get(path.suffix.casefold())) is None:
        raise InputError("{out} {}: choose a name that ends in {}", path, ", ".join(_WRITE))
    if path.exists() and not overwrite:
        raise OutputError("{}: exists already; use {overwrite} or another {out}", path)
    given = Path(converted(source, "source", Path))
    refuse_overwriting([path], files_of([given]))
    embeddings = read_embeddings(given)
    ensure_folder(path.parent)
    write(path, embeddings)
    return embeddings


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
    foreign = [path for path in sources if _is_foreign(path)]
    if not foreign:
        if labels is not None:
            raise InputError(
                "{labels} {}: goes with embeddings of other programs; leave it out, features have their own", labels
            )
        refuse_deadly(files_of(sources))
        return list(sources)
    if stores := [path for path in sources if path not in foreign]:
        raise InputError(
            f"{foreign[0]} and {stores[0]}: do not mix embeddings of other programs and features of bchisto in one "
            "model; bchisto features export turns a feature file into embeddings"
        )
    table = None if labels is None else read_labels(labels)
    embeddings: dict[Path, Embeddings] = {}
    for path in foreign:
        unlabelled = read_embeddings(path)
        table = table and table.named_as(set(unlabelled.image_ids))
        embeddings[path] = _labelled(unlabelled, table)
        names, joined = join_classes(filter(None, embeddings[path].labels), classes)
        report_findings(joined)
        spelled = tuple(names.get(label, "") for label in embeddings[path].labels)
        embeddings[path] = dataclasses.replace(embeddings[path], labels=spelled)
        if missing := missing_labels(embeddings[path].labels, classes):
            raise InputError(
                "{}: the label {} means unknown; leave it empty, or name {} in {classes}",
                labels or path, missing[0], missing[0],
            )  # fmt: skip
        first = embeddings[foreign[0]]
        if set(embeddings[path].image_ids) != set(first.image_ids):
            strange = sorted(set(embeddings[path].image_ids) ^ set(first.image_ids))
            raise InputError(
                f"{path} and {first.path}: embeddings of different images: {few(strange)} in only one of them"
            )
        embeddings[path] = embeddings[path].ordered(first.image_ids)
    ensure_folder(folder)
    stored = {path: _keep(item, folder / f"{item.name}.h5", overwrite=overwrite) for path, item in embeddings.items()}
    images = set(first.image_ids)
    columns = {
        name: {image: cell for image, cell in cells.items() if image in images}
        for name, cells in (table.columns if table else {}).items()
    }
    groups = {image: group for image, group in zip(first.image_ids, first.groups, strict=True) if group}
    facts = DatasetFacts({"found": len(first.image_ids)}, columns, groups)
    write_dataset_facts(folder / FACTS_FILE, facts, images_sha256=_identity(first))
    return [stored[path] for path in sources]


def _is_foreign(path: Path) -> bool:
    """Return whether a source contains embeddings of another program, and not feature files."""
    if path.is_dir():
        files = _slide_files(path)
        return bool(files) and not any(path.glob("*.parts")) and not any(map(is_store, files))
    return path.is_file() and (path.suffix.casefold() not in (".h5", ".hdf5") or not is_store(path))


def _labelled(embeddings: Embeddings, table: LabelTable | None) -> Embeddings:
    """Return embeddings with the labels and groups of a table, if there is one; refuse them without labels."""
    if table is None:
        if not any(embeddings.labels):
            others = f"; it also has {few(embeddings.unread)}" if embeddings.unread else ""
            raise InputError(
                "{}: has no labels; give a table of them with {labels}, or call them label, class, "
                "diagnosis, target or y{}",
                embeddings.path,
                others,
            )
        return embeddings
    absent = [image for image in embeddings.image_ids if image not in table.labels]
    if len(absent) == len(embeddings.image_ids):
        example = next(iter(table.labels))
        raise InputError(
            f"{table.path}: names none of the images of {embeddings.path}, which are named {absent[0]}; "
            f"here it is {example}"
        )
    if absent:
        raise InputError(
            f"{table.path}: has no row for {len(absent)} of {len(embeddings.image_ids)} images of {embeddings.path}: "
            f"{few(absent)}; add them, with an empty label if it is not known"
        )
    if more := sorted(set(table.labels) - set(embeddings.image_ids)):
        _log.warning("%s: %d of %d rows are of no image of %s: %s", table.path, len(more), len(table.labels),
                     embeddings.path, few(more))  # fmt: skip
    for image, own in zip(embeddings.image_ids, embeddings.groups, strict=True):
        if own and (other := table.groups[image]) and other.casefold() != own.casefold():
            raise InputError(
                f"{table.path}: {image} is of {other}, and of {own} in {embeddings.path}; an image has one patient"
            )
    return dataclasses.replace(
        embeddings,
        labels=tuple(table.labels[image] for image in embeddings.image_ids),
        groups=tuple(
            table.groups[image] or own for image, own in zip(embeddings.image_ids, embeddings.groups, strict=True)
        ),
    )


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
            if same and (tuple(store.labels), tuple(store.groups)) == (embeddings.labels, embeddings.groups):
                return path
        if old["mode"] != IMPORTED:
            raise SettingsConflictError(
                "{}: holds features of images; import {} into another {out}, or rename it", path, embeddings.path
            )
        if not same and not overwrite:
            raise SettingsConflictError(
                "{}: was made of other embeddings than {} holds now; {overwrite} replaces it, another {out} keeps both",
                path,
                embeddings.path,
            )
    contents = {image: row_sha256(rows) for image, rows in zip(embeddings.image_ids, embeddings.features, strict=True)}
    unknown = StainInfo(None, float("nan"), float("nan"), skipped=False)
    write_store(
        path,
        embeddings.records(),
        [(0, (embeddings.features, stain_columns([unknown] * len(contents))))],
        keys={image: key_of("imported rows 1", image_id=image, sha256=sha) for image, sha in contents.items()},
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
        "features_sha256": hashlib.sha256(np.ascontiguousarray(embeddings.features, "<f4").tobytes()).hexdigest(),
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
        **{name: embeddings.facts[name] for name in ("runner", "card", "network") if name in embeddings.facts},
        "bchisto_version": __version__,
    }
