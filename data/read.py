"""Read the images of a folder or a manifest: recognise the layout, read it, and join different spellings."""

from __future__ import annotations

import filecmp
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core import NOT_UTF_8, InputError, Message, MissingInputError, Parameter, few, readable_name
from ..core.formats import PART, SLIDE, SLIDE_SUFFIXES, limits, mistaken
from .classes import check_order, missing_labels
from .dataset import IMAGE_SUFFIXES, SYNTHETIC_MARK, Dataset, ImageRecord, part_of
from .findings import Finding
from .layouts import (
    BESIDE,
    LayoutSpec,
    built_in_layouts,
    join_classes,
    order_classes,
    recognise_layout,
    show_context,
)
from .names import BARCODE, settle_groups

_log = logging.getLogger(__name__)


def read_images(
    root: Path,
    *,
    dataset: str | None,
    classes: Sequence[str],
    label_level: str,
    magnifications: Sequence[int],
    lesions: Sequence[str],
    context: str,
    mpp: float | None,
    **own: Any,
) -> Dataset:
    """Read images; the parameters are the fields of `ImageSelection` except ``only``.

    Raises
    ------
    MissingInputError, InputError
        See `bchisto.data.read_dataset`.
    """
    chosen = {name: value for name, value in own.items() if value is not None}
    layout = _choose_layout(root, dataset, classes, chosen)
    table = Path(chosen.get("labels", root))  # whose lines are named
    given = {
        "classes": classes,
        "label_level": label_level,
        "lesions": lesions,
        "magnifications": magnifications,
    }
    given |= chosen
    records, of_layout = layout.read(
        root, **{name: given[name] for name in given if name in layout.options}
    )
    findings = list(of_layout)
    particular = {
        "label_level": label_level != "class",
        "magnifications": magnifications,
        "lesions": lesions,
    }
    for name, is_given in {**particular, "context": context != "tight"}.items():
        if is_given and name not in layout.options:
            refusal = Message(
                "{} is not for images of the layout {}; leave it out", Parameter(name), layout.name
            )
            findings.append(Finding("error", str(root), refusal, labels_only=True))
    if context != "tight" and "context" in layout.options:
        records, unseen = show_context(records, context)
        findings += unseen
    if dataset is None and layout.fallback and not layout.manifest:
        findings += _named_as_published(records, root)
    if mpp is not None:
        records = [replace(record, mpp=mpp) for record in records]
    folder = root if root.is_dir() else root.parent
    places = (folder, folder.parent, folder / "ICIAR2018_BACH_Challenge")
    synthetic = any((place / SYNTHETIC_MARK).is_file() for place in places)
    if layout.patients is not None and not synthetic:
        patient_of = layout.patients()
        records = [
            r if r.group is not None else replace(r, group=patient_of.get(r.path.name))
            for r in records
        ]
    records = _settle_labels(records, classes, table, findings)
    named = layout.manifest and any(record.group for record in records)  # in a column
    grouped = any(
        record.group is not None or BARCODE.search(record.path.as_posix()) for record in records
    )
    if grouped and "group_from" in layout.options:
        records, joined = settle_groups(records, root=root, chosen=chosen)
        findings += joined
    files = len(records)
    records = _join_ids(records, table, findings)
    unlabelled = [record.image_id for record in records if record.label is None]
    if 0 < len(unlabelled) < len(records) and "label_from" not in chosen:
        message = (
            f"{len(unlabelled)} of {len(records)} images have no label: "
            "they get features, but neither train nor test"
        )
        findings.append(Finding("note", few(unlabelled), message))
    labels = [record.label for record in records if record.label is not None]
    default = layout.types if label_level != "class" and layout.types else layout.classes
    order = tuple(classes) or tuple(c for c in default if c in labels) or order_classes(labels)
    result = Dataset(
        name=layout.name,
        root=root,
        records=tuple(sorted(records, key=lambda record: record.image_id)),
        classes=(),
        synthetic=synthetic,
        patients_apart=layout.patients is not None
        or (layout.fallback and not named)
        or not {"group_from", "group_column"}.isdisjoint(chosen),
        repeated=files - len(records),
    ).with_classes(order)
    used = {record.label for record in result.records}
    for name in classes:
        if labels and name not in used:
            findings.append(
                Finding(
                    "warning", str(root), Message("{classes} names {}, which no image has", name)
                )
            )
    return replace(result, findings=tuple(findings))


def _choose_layout(
    root: Path, dataset: str | None, classes: Sequence[str], chosen: Mapping[str, Any]
) -> LayoutSpec:
    """Return the layout of images; refuse what cannot be read, and options that are not for this layout."""
    try:
        there, empty = root.exists(), root.is_dir() and not any(root.iterdir())
    except OSError as error:
        raise InputError(
            "{}: cannot be read ({}); check {images}", root, error.strerror or error
        ) from error
    if not there:
        raise MissingInputError("{}: no such folder or manifest; check {images}", root)
    if not root.is_dir() and not root.is_file():
        raise InputError(
            "{}: neither a folder nor a manifest, but a pipe or a device; check {images}", root
        )
    if empty:
        raise MissingInputError("{}: this folder is empty; check {images}", root)
    if root.is_file():
        if root.suffix.casefold() in SLIDE_SUFFIXES:
            raise InputError(f"{root}: {SLIDE}")
        if root.suffix.casefold() in IMAGE_SUFFIXES:
            raise InputError(
                f"{root}: one image, not a folder or a manifest; give the folder of the images"
            )
        if (trouble := mistaken(root, "a folder or a manifest of images")) is not None:
            raise InputError(trouble)
    if (name := readable_name(str(root.resolve()))) != str(root.resolve()):
        raise InputError(f"{name}: {NOT_UTF_8}")
    if classes:
        check_order(classes)
    layout = recognise_layout(root, dataset)
    if "labels" in chosen:
        if root.is_file() or dataset not in (None, BESIDE.name):
            raise InputError(
                "{labels} {}: goes with a folder of images of your own, not with {}",
                chosen["labels"],
                dataset or root,
            )
        layout = BESIDE
    if layout.manifest != root.is_file():
        kind = "manifest file" if layout.manifest else "folder"
        raise InputError("{}: {dataset:{}} reads a {}", root, layout.name, kind)
    if dataset is None:
        _log.info("%s: detected as dataset %s", root, layout.name)
    if strange := [name for name in chosen if name not in layout.options]:
        whose = (
            "a manifest"
            if strange[0].endswith("_column")
            else Message("a folder ({dataset:folder}) or a manifest")
        )
        message = "{}: {} is for {} of your own, not for the layout {}"
        raise InputError(message, root, Parameter(strange[0]), whose, layout.name)
    return layout


def _named_as_published(records: Sequence[ImageRecord], root: Path) -> list[Finding]:
    """Note the use of file names of a published layout, since its reader could take labels and patients from them."""
    findings = []
    for layout in built_in_layouts():
        matches = layout.recognise_name
        if matches is not None and (count := sum(matches(record.path.name) for record in records)):
            text = "{} files are named as those of {}, but are not in its folders, so your own folders are read"
            remedy = Message("{dataset:{}} takes classes and patients from the names", layout.name)
            findings.append(
                Finding("note", str(root), Message(text, count, layout.name, remedies=[remedy]))
            )
    return findings


def _settle_labels(
    records: Sequence[ImageRecord], classes: Sequence[str], table: Path, findings: list[Finding]
) -> list[ImageRecord]:
    """Replace different spellings of a class by one label.

    Labels of a manifest such as ``NA``, which mean unknown, become None with an error, unless they are in `classes`.
    """
    listed = [record.label for record in records if record.line and record.label]
    missing = missing_labels(listed, classes) if listed else []
    for label in missing:
        lines = [f"{table.name}:{record.line}" for record in records if record.label == label]
        message = Message(
            "{} as a label means unknown; leave the cell empty, or name {} in {classes}",
            label,
            label,
        )
        findings.append(Finding("error", few(lines), message, labels_only=True))
    labels = [
        None if record.line and record.label in missing else record.label for record in records
    ]
    names, joined = join_classes((label for label in labels if label is not None), classes)
    findings += joined
    named = (None if label is None else names[label] for label in labels)
    return [
        r if label == r.label else replace(r, label=label)
        for r, label in zip(records, named, strict=True)
    ]


def _join_ids(
    records: Iterable[ImageRecord], root: Path, findings: list[Finding]
) -> list[ImageRecord]:
    """Keep one record per ID: further records are left out if their content is equal, otherwise they are errors.

    Rows of a manifest that list a file under two IDs are compared as well.
    """
    kept: dict[str, ImageRecord] = {}
    files: dict[Path, ImageRecord] = {}
    for record in records:
        texts = (record.image_id, record.label or "", record.group or "")
        strange = [
            t for t in texts if not (t.isascii() and t.isprintable()) or len(t) > limits.ID_LETTERS
        ]
        problem = next(filter(None, map(_unwritable, strange)), None)
        if problem is None:
            first = kept.setdefault(record.image_id, record)
            if first is record:
                other = files.setdefault(record.path, record) if record.line else record
                if (
                    other is not record
                    and (problem := _contradiction(other, record, root)) is not None
                ):
                    findings.append(Finding("error", record.image_id, problem))
                continue
            problem = _difference(first, record, root)
        if problem is None:
            text = f"twice, also at {record.path}; used once"
            findings.append(
                Finding(
                    "warning",
                    record.image_id,
                    text,
                    kind="at two paths with equal content; used once",
                )
            )
            kept[record.image_id] = replace(
                first, label=first.label or record.label, group=first.group or record.group
            )
        else:
            findings.append(Finding("error", record.image_id, problem))
    return list(kept.values())


def _difference(first: ImageRecord, second: ImageRecord, root: Path) -> str | None:
    """Return the reason why two records with the same ID are not the same image; None if they are."""
    if not filecmp.cmp(first.path, second.path, shallow=False):
        return f"two different images have this id, {first.path} and {second.path}; rename one"
    return _contradiction(first, second, root)


def _contradiction(first: ImageRecord, second: ImageRecord, root: Path) -> str | None:
    """Describe the contradiction between two records of the same image; None if there is none."""
    parts = [
        next(filter(None, map(part_of, PART.values_of(record.columns))), None)
        for record in (first, second)
    ]
    for what, first_value, second_value in (
        ("labels", first.label, second.label),
        ("patients", first.group, second.group),
        ("parts of a split", *parts),
    ):
        if first_value != second_value and None not in (first_value, second_value):
            lines = [
                f" ({root.name}:{record.line})" if record.line else "" for record in (first, second)
            ]
            values = f"{first_value}{lines[0]} and {second_value}{lines[1]}"
            return f"the same image has two {what}, {values}; correct one of them"
    return None


def _unwritable(text: str) -> str | None:
    """Return the reason why an ID, a label or a group cannot be written to a table; None if it can."""
    if "\0" in text:
        return "holds a null character; give it another name"
    if len(text) > limits.ID_LETTERS:
        return f"has {len(text):,} letters, which is too long; give it one of at most {limits.ID_LETTERS:,}"
    return None if readable_name(text) == text else NOT_UTF_8
