"""`read_dataset`: recognise the layout, read it, settle ids and classes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import InputError, MissingInputError
from .bach import BACH_CLASSES, find_photos, read_bach
from .breakhis import BREAKHIS_NAME, BREAKHIS_TYPES, read_breakhis
from .cbis_ddsm import CBIS_TABLE, read_cbis_ddsm
from .content import same_content
from .context import CONTEXTS, show_context
from .dataset import DATASET_NAMES, Dataset, Finding, ImageRecord, order_classes
from .ddsm import PATHOLOGY_CLASSES, read_ddsm
from .idc import IDC_CLASSES, IDC_NAME, read_idc
from .inbreast import BIRADS_CLASSES, INBREAST_NAME, read_inbreast
from .plain import read_folder, read_manifest

__all__ = ["SYNTHETIC_MARK", "read_dataset"]

_log = logging.getLogger(__name__)

SYNTHETIC_MARK = "bchisto-synthetic.json"
"""File that `make_bach` leaves beside generated images, so that no report takes them for real ones."""


def read_dataset(
    images: str | Path,
    *,
    dataset: str | None = None,
    classes: Sequence[str] = (),
    label_level: str = "class",
    magnifications: Iterable[int] = (),
    lesions: Iterable[str] = (),
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
    root = Path(images)
    if not root.exists():
        raise MissingInputError(f"{root}: no such folder or manifest; check --images")
    if root.is_dir() and not any(root.iterdir()):
        raise MissingInputError(f"{root}: this folder is empty; check --images")
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
    records, repeated = _settle_ids(records)
    labels = [record.label for record in records if record.label is not None]
    order = tuple(classes) or tuple(c for c in default if c in labels) or order_classes(labels)
    result = Dataset(
        name=name,
        root=root,
        records=tuple(sorted(records, key=lambda record: record.image_id)),
        classes=(),
        findings=(*findings, *repeated),
        synthetic=_is_synthetic(root),
    )
    return result.with_classes(order)


def _recognise(root: Path) -> str:
    if root.is_file():
        return "csv"
    if find_photos(root) is not None:
        return "bach"
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            if (found := _layout_of(name)) is not None:
                _log.debug("%s/%s: a file of %s", folder, name, found)
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
