"""Read the images of a folder or a manifest: recognise the layout, read it, and join different spellings."""

from __future__ import annotations

import filecmp
import logging
import os
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..core import (
    NOT_UTF_8,
    Content,
    Entries,
    InputError,
    Message,
    MissingInputError,
    Parameter,
    counted,
    few,
    listed,
    plural,
    readable_name,
    system_reason,
)
from ..core.formats import PART, SLIDE, SLIDE_SUFFIXES, FramePath, limits, mistaken, row_in
from .classes import cell_findings, check_order, missing_labels
from .dataset import IMAGE_SUFFIXES, SYNTHETIC_MARK, Dataset, ImageRecord, part_of
from .findings import Finding, Findings, has_errors
from .layouts import BESIDE, LayoutSpec, join_classes, order_classes, patient_in, recognise_layout
from .mammograms import show_context
from .path_rules import NO_GROUPS
from .patients import settle_groups

_log = logging.getLogger(__name__)

_OF_ALL = ("dataset", "classes", "mpp", "only")
"""Options for images of every layout."""


def read_images(options: Entries, given: Content) -> Dataset:
    """Read the images that options select; problems become findings of the dataset.

    Parameters
    ----------
    options : mapping
        The fields of `ImageSelection`.
    given : dict
        The fields that the user chose; ``group_from`` is removed if it is none.

    Raises
    ------
    MissingInputError, InputError
        See `bchisto.data.read_dataset`.
    """
    root: Path = options["images"]
    classes: Sequence[str] = options["classes"]
    ignored = given.get("group_from") == NO_GROUPS
    if ignored:
        del given["group_from"]
        options = {**options, "group_from": None}
    layout = _choose_layout(root, options["dataset"], given)
    table: Path = given.get("labels", root)  # messages name its lines
    records, findings = _records_of(layout, root, options, given)

    # before IDs are joined, which refuses an image with two labels: two spellings of one are allowed
    records = _settle_labels(records, classes, table, findings)
    if ignored:
        # patients that a table names are kept
        records = [record if record.line else replace(record, group=None) for record in records]
    is_ruled = ignored or not given.keys().isdisjoint(("group_from", "group_column"))
    # judged before names of files give patients, which are not a part of the identity of the images
    in_column = layout.manifest and any(record.group for record in records)
    patients_apart = is_ruled or layout.patients_apart or (layout.fallback and not in_column)
    if "group_from" in layout.options:
        if any(record.group for record in records):
            records, joined = settle_groups(records, root=root, ruled="group_from" in given)
            findings += joined
        if not is_ruled:
            records = _patients_in_names(records, root, given, findings)
    files = len(records)
    records = _join_ids(records, table, findings)

    if "label_from" not in given:
        findings += _unlabelled(records)
    result = Dataset(
        name=layout.name,
        root=root,
        records=tuple(sorted(records, key=lambda record: record.image_id)),
        classes=(),
        synthetic=_is_synthetic(records),
        patients_apart=patients_apart,
        repeated=files - len(records),
    ).with_classes(_class_order(records, layout, options))
    findings += _absent_classes(result, classes)
    return replace(result, findings=tuple(findings))


def _records_of(
    layout: LayoutSpec, root: Path, options: Entries, given: Entries
) -> tuple[list[ImageRecord], Findings]:
    """Read the records of a layout; options that are not for it are errors."""
    # the context is shown after reading
    accepted = {name: options.get(name) for name in layout.options - {"context"}}
    records, further = layout.read(
        root, **{name: value for name, value in accepted.items() if value is not None}
    )
    magnifications = given.get("magnifications", ())
    if not records and layout.expected and not has_errors(further):
        raise _no_image(layout, root, magnifications)
    findings = Findings(further)
    count = len({record.image_id for record in records})
    if layout.images not in (None, count) and not magnifications:
        names = plural(layout.image_is)
        text = f"{count:,} of the {layout.images:,} published {names} are present"
        findings.note(str(root), text, labels_only=True)
    for name in given:
        if name not in {*layout.options, *_OF_ALL}:
            text = "{} is not for images of the layout {}; leave it out"
            message = Message(text, Parameter(name), layout.name)
            findings.error(str(root), message, labels_only=True)
    if "context" in layout.options.intersection(given):
        records, context_findings = show_context(records, given["context"])
        findings += context_findings
    if "mpp" in given:
        records = [replace(record, mpp=given["mpp"]) for record in records]
    return records, findings


def _no_image(layout: LayoutSpec, root: Path, magnifications: Sequence[int]) -> InputError:
    """Return the error of a folder without images of a layout, or without those that were asked for."""
    if magnifications:
        powers = " or ".join(f"{magnification}x" for magnification in magnifications)
        return InputError("{}: no image at {} is present", root, powers)
    text = "{}: no image of the layout {} in it; expected {}"
    return InputError(text, root, layout.name, layout.expected)


def _is_synthetic(records: Iterable[ImageRecord]) -> bool:
    """Return whether an image is one of those that `make_bach` wrote, wherever the table of the images is."""
    folders = {record.path.absolute().parent.parent for record in records}
    return any(
        folder.name == "Photos" and (folder.parent / SYNTHETIC_MARK).is_file() for folder in folders
    )


def _unlabelled(records: Sequence[ImageRecord]) -> list[Finding]:
    """Return a note if some images have a label, and others none."""
    unlabelled = [record.image_id for record in records if record.label is None]
    if not unlabelled or len(unlabelled) == len(records):
        return []
    message = (
        f"{len(unlabelled)} of {len(records)} images have no label: "
        "they get features, but neither train nor test"
    )
    return [Finding("note", few(unlabelled), message)]


def _class_order(
    records: Iterable[ImageRecord], layout: LayoutSpec, options: Entries
) -> tuple[str, ...]:
    """Return the order that the user gave, or else that of the layout or of a known dataset."""
    if options["classes"]:
        return tuple(options["classes"])
    labels = {record.label for record in records if record.label is not None}
    published = layout.classes
    if options["label_level"] != "class" and layout.types:
        published = layout.types
    return tuple(name for name in published if name in labels) or order_classes([*labels])


def _absent_classes(dataset: Dataset, classes: Sequence[str]) -> list[Finding]:
    """Return a warning for each class that the user named and no image has, unless no image has a label."""
    labels = {record.label for record in dataset.records}
    if labels <= {None}:
        return []
    text = "{classes} names {}, which no image has"
    return [
        Finding("warning", str(dataset.root), Message(text, name))
        for name in classes
        if name not in labels
    ]


def _choose_layout(root: Path, dataset: str | None, given: Entries) -> LayoutSpec:
    """Return the layout of images; refuse images and options that cannot be read."""
    _check_root(root)
    check_order(given.get("classes", ()))
    layout = recognise_layout(root, dataset)
    if "labels" in given:
        if root.is_file() or dataset not in (None, BESIDE.name):
            raise InputError(
                "{labels} {}: goes with a folder of images of your own, not with {}",
                given["labels"],
                dataset or root,
            )
        layout = BESIDE
    if layout.manifest != root.is_file():
        kind = "manifest file" if layout.manifest else "folder"
        raise InputError("{}: {dataset:{}} reads a {}", root, layout.name, kind)
    if dataset is None:
        _log.info("%s: detected as dataset %s", root, layout.name)
    return layout


def _check_root(root: Path) -> None:
    """Refuse anything but a data frame, a folder that is not empty, or a file that may be a manifest."""
    if isinstance(root, FramePath):
        return
    try:
        exists = root.exists()
        is_empty = root.is_dir() and not any(root.iterdir())
    except OSError as error:
        raise InputError(
            "{}: cannot be read ({}); check {images}", root, system_reason(error)
        ) from error
    if not exists:
        raise MissingInputError("{}: no such folder or manifest; check {images}", root)
    if not root.is_dir() and not root.is_file():
        raise InputError(
            "{}: neither a folder nor a manifest, but a pipe or a device; check {images}", root
        )
    if is_empty:
        raise MissingInputError("{}: this folder is empty; check {images}", root)
    if root.is_file():
        # neither an image, a whole slide, nor another file that is no table
        suffix = root.suffix.casefold()
        if suffix in SLIDE_SUFFIXES:
            raise InputError(f"{root}: {SLIDE}")
        if suffix in IMAGE_SUFFIXES:
            raise InputError(
                f"{root}: one image, not a folder or a manifest; give the folder of the images"
            )
        trouble = mistaken(root, "a folder or a manifest of images")
        if trouble is not None:
            raise InputError(trouble)
    name = readable_name(str(root.resolve()))
    if name != str(root.resolve()):
        raise InputError(f"{name}: {NOT_UTF_8}")


def _patients_in_names(
    records: list[ImageRecord], root: Path, given: Container[str], findings: Findings
) -> list[ImageRecord]:
    """Set the patients in file names of published data sets, with a note, if no patient is known.

    If some are known, patients in file names may be the same under other names; they are not taken, with a warning.
    """

    def named(record: ImageRecord) -> tuple[str, str | None]:
        # below the folder that was given, so that it does not matter where that is
        return patient_in(os.path.relpath(record.path, root))

    if any(record.group for record in records):
        unused = [record.image_id for record in records if not record.group and named(record)[1]]
        if unused:
            text = (
                "names of images without a patient hold one, which is not taken beside the given ones; fill it in, or "
                "give none, and all are taken from the names"
            )
            findings.warning(few(unused), text, labels_only=True)
        return records
    patients = [named(record) for record in records]
    owners = Counter(patient for _, patient in {*patients})
    owned_records = []
    for record, (source, patient) in zip(records, patients, strict=True):
        if patient and owners[patient] > 1:
            # two data sets number their patients alike
            patient = f"{source} {patient}"
        owned_records.append(replace(record, group=patient))
    sources = Counter(source for source, _ in patients if source)
    if sources:
        findings.note(str(root), _names_used(sources, owned_records, given), labels_only=True)
    return owned_records


def _names_used(
    sources: Mapping[str, int], records: Sequence[ImageRecord], given: Container[str]
) -> Message:
    """Return a note on names that gave patients; `sources` has the number of images of each data set."""
    counts = [
        f"{count} of {len(records)} names are those of {name}" for name, count in sources.items()
    ]
    classes = "classes from the folders, "
    if any(record.line for record in records):
        classes = "classes from the table, "
    if "label_from" in given or not any(record.label for record in records):
        classes = ""
    patients = {record.group for record in records if record.group}
    text = f"{listed(counts)}: {classes}{counted(len(patients), 'patient')} from the names"
    return Message("{}", text, remedies=[Message("{group_from:none} ignores them")])


def _settle_labels(
    records: Sequence[ImageRecord], classes: Sequence[str], table: Path, findings: Findings
) -> list[ImageRecord]:
    """Replace different spellings of a class by one label.

    Labels of a manifest such as ``NA``, which mean unknown, become None with an error, unless they are in `classes`.
    """
    table_labels = [record.label for record in records if record.line and record.label]
    missing = missing_labels(table_labels, classes)
    for label in missing:
        lines = [row_in(table, record.line) for record in records if record.label == label]
        message = Message(
            "{} as a label means unknown; leave the cell empty, or name {} in {classes}",
            label,
            label,
        )
        findings.error(few(lines), message, labels_only=True)
    records = [
        replace(record, label=None) if record.line and record.label in missing else record
        for record in records
    ]
    findings += cell_findings(table_labels, table.name, classes)
    names, joined = join_classes(
        (record.label for record in records if record.label is not None), classes
    )
    findings += joined
    return [replace(record, label=names.get(record.label or "")) for record in records]


def _join_ids(records: Iterable[ImageRecord], table: Path, findings: Findings) -> list[ImageRecord]:
    """Keep one record per ID: further records are left out if their content is equal, otherwise they are errors.

    Rows of a manifest that list a file under two IDs are compared as well.
    """
    by_id = {}
    rows_of_files: dict[Path, ImageRecord] = {}
    for record in records:
        image = record.image_id
        problem = _unwritable(record)
        if problem is None and image not in by_id:
            by_id[image] = record
            row = record
            if record.line:
                row = rows_of_files.setdefault(record.path, record)
            if row is not record:
                problem = _contradiction(row, record, table)
        elif problem is None:
            first = by_id[image]
            if filecmp.cmp(first.path, record.path, shallow=False):
                problem = _contradiction(first, record, table)
            else:
                problem = (
                    f"two different images have this id, {first.path} and {record.path}; rename one"
                )
            if problem is None:
                text = f"twice, also at {record.path}; used once"
                kind = "at two paths with equal content; used once"
                findings.warning(image, text, kind=kind, copy=str(record.path))
                label = first.label or record.label
                group = first.group or record.group
                by_id[image] = replace(first, label=label, group=group)
        if problem is not None:
            findings.error(image, problem)
    return list(by_id.values())


def _contradiction(first: ImageRecord, second: ImageRecord, table: Path) -> str | None:
    """Describe the contradiction between two records of the same image; None if there is none."""
    rows = [f" ({row_in(table, record.line)})" if record.line else "" for record in (first, second)]
    for noun, value, other in (
        ("labels", first.label, second.label),
        ("patients", first.group, second.group),
        ("parts of a split", _part(first), _part(second)),
    ):
        if value is not None and other is not None and value != other:
            texts = f"{value}{rows[0]} and {other}{rows[1]}"
            return f"the same image has two {noun}, {texts}; correct one of them"
    return None


def _part(record: ImageRecord) -> str | None:
    """Return the part of a split that a row of a manifest names."""
    return next(filter(None, map(part_of, PART.values_of(record.columns))), None)


def _unwritable(record: ImageRecord) -> str | None:
    """Return the reason why the ID, label or group of an image cannot be written to a table; None if they can."""
    for text in (record.image_id, record.label_text, record.group_text):
        if "\0" in text:
            return "holds a null character; give it another name"
        if len(text) > limits.ID_LETTERS:
            return f"has {len(text):,} letters, which is too long; give it one of at most {limits.ID_LETTERS:,}"
        if not text.isascii() and readable_name(text) != text:
            return NOT_UTF_8
    return None
