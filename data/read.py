"""`read_dataset`: recognise the layout, read it, settle ids and classes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import SupportsIndex

from ..arguments import Many, TextInput, as_texts, as_wholes
from ..errors import InputError, MissingInputError, readable_name
from .classes import KNOWN_CLASSES, check_order, order_classes, settle_labels
from .dataset import DATASET_NAMES, Dataset, ImageRecord
from .findings import Finding
from .images import same_content
from .layouts import (
    BACH_CLASSES,
    BIRADS_CLASSES,
    BREAKHIS_NAME,
    BREAKHIS_TYPES,
    CBIS_TABLE,
    CONTEXTS,
    IDC_CLASSES,
    IDC_NAME,
    INBREAST_NAME,
    PATHOLOGY_CLASSES,
    PRIVATE_FOLDERS,
    check_split_folders,
    find_photos,
    read_bach,
    read_breakhis,
    read_cbis_ddsm,
    read_ddsm,
    read_folder,
    read_idc,
    read_inbreast,
    read_manifest,
    show_context,
)
from .walk import walk_files

__all__ = ["SYNTHETIC_MARK", "read_dataset"]

_log = logging.getLogger(__name__)

SYNTHETIC_MARK = "bchisto-synthetic.json"
"""File that `make_bach` leaves beside generated images, so that no report takes them for real ones."""


def read_dataset(
    images: str | Path,
    *,
    dataset: str | None = None,
    classes: Many[TextInput] = (),
    label_level: str = "class",
    magnifications: Many[SupportsIndex] = (),
    lesions: Many[TextInput] = (),
    context: str = "tight",
) -> Dataset:
    """Read images in an official layout, a folder per class, or a CSV manifest.

    Parameters
    ----------
    images : str or Path
        A folder, or a manifest ``path,label,group[,image_id]``.
    dataset : str, optional
        One of `DATASET_NAMES`; by default recognised from the layout, and logged.
    classes : sequence of str
        Class order; by default the dataset's own.
    label_level : {"class", "type"}
        BreakHis: benign against malignant, or tumour types.
    magnifications : iterable of int
        BreakHis: keep these only; empty keeps all.
    lesions : iterable of {"mass", "calcification"}
        CBIS-DDSM, DDSM: keep these only; empty keeps all.
    context : {"tight", "small", "large"}
        CBIS-DDSM, DDSM: how much is shown around an abnormality, see `CONTEXTS`.

    Returns
    -------
    Dataset
        Sorted by image id. Findings are kept in it; call `Dataset.raise_errors` before using the images.

    Raises
    ------
    MissingInputError
        `images` does not exist or is an empty folder.
    InputError
        The layout is not that of `dataset`, or a label is none of `classes`.
    """
    classes = as_texts(classes, "classes")
    magnifications = as_wholes(magnifications, "magnifications")
    lesions = as_texts(lesions, "lesions")
    root = Path(images)
    _check_root(root)
    check_order(classes)
    name = dataset or _recognise(root)
    if context not in CONTEXTS:
        raise InputError(f"--context {context}: choose one of {', '.join(CONTEXTS)}")
    if name not in DATASET_NAMES:
        raise InputError(f"--dataset {name}: no such layout; choose one of {', '.join(DATASET_NAMES)}")
    if (name == "csv") != root.is_file():
        raise InputError(f"{root}: --dataset {name} reads a {'manifest file' if name == 'csv' else 'folder'}")
    if dataset is None:
        _log.info("%s: recognised as --dataset %s", root, name)
    default: tuple[str, ...] = ()
    if name == "bach":
        records, findings = read_bach(root)
        default = BACH_CLASSES
    elif name == "breakhis":
        records, findings = read_breakhis(root, label_level=label_level, magnifications=magnifications)
        types = BREAKHIS_TYPES["B"] + BREAKHIS_TYPES["M"]
        default = ("benign", "malignant") if label_level == "class" else types
    elif name == "idc":
        records, findings = read_idc(root)
        default = IDC_CLASSES
    elif name == "inbreast":
        records, findings = read_inbreast(root)
        default = BIRADS_CLASSES
    elif name == "cbis-ddsm":
        records, findings = read_cbis_ddsm(root, lesions=lesions)
        default = PATHOLOGY_CLASSES
    elif name == "ddsm":
        records, findings = read_ddsm(root, lesions=lesions)
        default = PATHOLOGY_CLASSES
    elif name == "csv":
        records, findings = read_manifest(root)
    else:
        records, findings = read_folder(root)
    if context != "tight" and name in ("cbis-ddsm", "ddsm"):
        records, unseen = show_context(records, context)
        findings = [*findings, *unseen]
    if name == "folder" and not classes:
        findings = [*findings, *check_split_folders(root, records)]
    records, spelled = _settle_classes(records, classes)
    records, repeated = _settle_ids(records)
    labels = [record.label for record in records if record.label is not None]
    order = tuple(classes) or tuple(c for c in default if c in labels) or order_classes(labels)
    result = Dataset(
        name=name,
        root=root,
        records=tuple(sorted(records, key=lambda record: record.image_id)),
        classes=(),
        findings=(*findings, *spelled, *repeated),
        synthetic=_is_synthetic(root),
    ).with_classes(order)
    without = [name for name, count in result.class_counts().items() if not count and labels and name in classes]
    unused = [Finding("warning", str(root), f"--classes names {name}, of which no image is here") for name in without]
    return replace(result, findings=(*result.findings, *unused))


def _check_root(root: Path) -> None:
    try:
        if not root.exists():
            raise MissingInputError(f"{root}: no such folder or manifest; check --images")
        if root.is_dir() and not any(root.iterdir()):
            raise MissingInputError(f"{root}: this folder is empty; check --images")
    except OSError as error:
        if isinstance(error, MissingInputError):
            raise
        raise InputError(f"{root}: cannot be read ({error.strerror or error}); check --images") from error
    if (name := readable_name(str(root.resolve()))) != str(root.resolve()):
        raise InputError(f"{name}: this path is not UTF-8, so nothing can be written of it; rename the folder")


def _settle_classes(records: Iterable[ImageRecord], classes: Sequence[str]) -> tuple[list[ImageRecord], list[Finding]]:
    """Give spellings of one class one label."""
    kept = list(records)
    labels = [record.label for record in kept if record.label is not None]
    known = order_classes(list(settle_labels(labels)[0].values()))  # a known dataset has its own spelling
    names, findings = settle_labels(labels, classes=classes or (known if known in KNOWN_CLASSES else ()))
    if any(label != name for label, name in names.items()):
        kept = [r if r.label is None else replace(r, label=names[r.label]) for r in kept]
    return kept, findings


def _recognise(root: Path) -> str:
    if root.is_file():
        return "csv"
    if find_photos(root) is not None:
        return "bach"
    for path in walk_files(root, [], skip=PRIVATE_FOLDERS, hidden=True):  # what cannot be read is named by the reader
        if (found := _layout_of(path.name)) is not None:
            _log.debug("%s: a file of %s", path, found)
            return found
    return "folder"


def _layout_of(name: str) -> str | None:
    """Return the layout that a file name belongs to."""
    if BREAKHIS_NAME.fullmatch(name):
        return "breakhis"
    if IDC_NAME.fullmatch(name):
        return "idc"
    if INBREAST_NAME.fullmatch(name) or name.casefold() in ("inbreast.csv", "inbreast.xls"):
        return "inbreast"
    if CBIS_TABLE.fullmatch(name):
        return "cbis-ddsm"
    return "ddsm" if name.endswith(".ics") else None


def _is_synthetic(root: Path) -> bool:
    folder = root if root.is_dir() else root.parent
    places = (folder, folder.parent, folder / "ICIAR2018_BACH_Challenge")
    return any((place / SYNTHETIC_MARK).is_file() for place in places)


def _settle_ids(records: Iterable[ImageRecord]) -> tuple[list[ImageRecord], list[Finding]]:
    """Keep one record per id: a second one of equal content is left out, of other content an error."""
    kept: dict[str, ImageRecord] = {}
    findings = []
    for record in records:
        if (problem := _unwritable(record.image_id)) is not None:
            findings.append(Finding("error", record.image_id, problem))
            continue
        first = kept.setdefault(record.image_id, record)
        if first is record:
            continue
        if not same_content(first.path, record.path):
            findings.append(
                Finding(
                    "error",
                    record.image_id,
                    f"two different images have this id, {first.path} and {record.path}; rename one",
                )
            )
        elif first.label != record.label:
            findings.append(
                Finding(
                    "error",
                    record.image_id,
                    f"the same image has two labels, {first.label} and {record.label}",
                )
            )
        else:
            findings.append(Finding("warning", record.image_id, f"twice, also at {record.path}; used once"))
    return list(kept.values()), findings


def _unwritable(image_id: str) -> str | None:
    """Say what is wrong with an id that no table can hold."""
    if "\0" in image_id:
        return "holds a null character; give it another name"
    if (shown := readable_name(image_id)) == image_id:
        return None
    if "\\x" in shown:
        return "this name is not UTF-8; rename the file or its folder"
    return "this name is UTF-8, which the present locale does not read; set LANG=C.UTF-8 or PYTHONUTF8=1"
