"""New images of a prediction: found, put in order, checked, and compared with those of training."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from pathlib import Path

from ..core import (
    Banner,
    Entries,
    InputError,
    Message,
    MissingInputError,
    Pairs,
    by_key,
    counted,
    few,
    limited,
    reworded,
)
from ..core.formats import FramePath
from ..core.jobs import Work
from ..data import (
    NO_GROUPS,
    ImageRecord,
    ImageSelection,
    PathRule,
    check_headers,
    list_images,
    report_findings,
    spell_labels,
    with_headers,
)
from ..featurize import FAR
from .boosted import Notes
from .model_file import Model
from .settings import PredictSettings

_log = logging.getLogger(__name__)


_MANIFESTS = (".csv", ".xlsx", ".xlsm")
"""Suffixes of manifests; any other file is an image."""


PARAMETERS = frozenset({"model", "images", "features", "weights", "out"}).union(
    field.name for field in (*fields(PredictSettings), *fields(Work))
)
"""Options that a caller of a prediction can change. Messages to the caller name no other option as a remedy."""


def new_images(
    sources: Sequence[Path],
    *,
    reading: Entries,
    classes: Sequence[str],
    copies: dict[str, str] | None = None,
) -> list[ImageRecord]:
    """Return the images of files, folders and manifests, with their labels if these are classes of the model.

    Parameters
    ----------
    sources : sequence of Path
    reading : mapping
        How images are read from a dataset, see `ImageSelection`.
    classes : sequence of str
        Classes of the model.
    copies : dict of str to str, optional
        Gets the paths of files that are left out, since an image of the same id has their content, with this id.

    Raises
    ------
    InputError
        A source does not exist, a dataset has errors, or two images have the same id.
    """
    records: dict[str, ImageRecord] = {}
    for source in sources:
        is_table = isinstance(source, FramePath) or source.suffix.casefold() in _MANIFESTS
        if source.is_file() and not is_table:
            source_records = [ImageRecord(image_id=source.name, path=source, label=None)]
        elif source.is_file() or source.exists():
            source_records = _records_of(source, reading, {} if copies is None else copies)
        else:
            raise MissingInputError("{}: no such image, folder or manifest; check {images}", source)
        for record in source_records:
            other = records.setdefault(record.image_id, record)
            if other is not record:
                raise InputError(
                    f"{record.path} and {other.path}: two images have the id {record.image_id}; rename one"
                )
    images = with_classes(in_order(records.values()), classes)
    rule = reading.get("group_from")
    if rule in (None, NO_GROUPS):
        return images
    # also for single files
    group_of = PathRule.of(rule, name="group_from").find(records)
    images = [replace(image, group=image.group or group_of[image.image_id]) for image in images]
    if not any(image.group for image in images):
        text = "{group_from} {}: fits none of {}, such as {}; correct it"
        raise InputError(text, rule, counted(len(images), "image"), images[0].image_id)
    return images


def _records_of(source: Path, reading: Entries, copies: dict[str, str]) -> list[ImageRecord]:
    """Return the images of a folder or manifest, and report its findings."""
    table = ImageSelection(source, **reading).table()
    records = list(table.records)
    extra_ids = set()
    if table.name == "folder":
        # images beside folders of classes cannot train, but are new images as all others
        files = list_images(source, [])
        extra_ids = files.keys() - {record.image_id for record in records}
        records += [ImageRecord(image_id, files[image_id], None) for image_id in sorted(extra_ids)]
    findings = [
        replace(finding, message=limited(finding.message, PARAMETERS))
        for finding in table.findings
        if finding.file not in extra_ids
    ]
    report_findings(findings, labels=False)
    copies |= {finding.copy: finding.file for finding in table.findings if finding.copy}
    return records


def in_order(records: Iterable[ImageRecord]) -> list[ImageRecord]:
    """Return images in natural order of their names: ``test9.tif`` before ``test10.tif``."""

    def pieces(record: ImageRecord) -> list[tuple[int, int, str]]:
        keys = []
        for piece in re.split(r"(\d+)", record.image_id):
            if piece.isdecimal() and len(piece) < 1000:
                keys.append((0, int(piece), ""))
            elif piece:
                keys.append((1, 0, piece))
        return keys

    return sorted(records, key=pieces)


def check_sizes(
    records: Sequence[ImageRecord],
    *,
    model: Model,
    mpp: float | None = None,
    skip_errors: bool,
    warned: dict[str, str] | None = None,
    notes: Notes | None = None,
) -> tuple[tuple[ImageRecord, ...], Pairs]:
    """Check headers, sizes and micrometres per pixel of new images, see `bchisto.data.check_headers`.

    Parameters
    ----------
    records : sequence of ImageRecord
    model : Model
        The model. A view in micrometres rescales images whose micrometres per pixel differ from training. If views are
        in pixels, or the micrometres per pixel are unknown, a warning names the images.
    mpp : float, optional
        Micrometres per pixel of all images.
    skip_errors : bool
    warned : dict of str to str, optional
        Gets the warnings by subject. A subject that it has already is not logged again, whatever it counts.
    notes : dict of str to list of str, optional
        Gets the warnings of each image.
    """
    if mpp is not None:
        records = [replace(record, mpp=mpp) for record in records]
    records = with_headers(records)
    training = TrainingLooks(model)
    looks = {record.image_id: training.unlike(record) for record in records}
    _warn(looks, {} if warned is None else warned)
    if notes is not None:
        notes |= {image: [*texts.values()] for image, texts in looks.items()}
    if "mpp" in training.ends:
        least, most = training.ends["mpp"]
        if model.rescales and least == most:
            records = [
                replace(record, mpp=least) if record.mpp is None else record for record in records
            ]
    return check_headers(records, needs=model.needs, skip_errors=skip_errors, parameters=PARAMETERS)


class TrainingLooks:
    """Sizes, bits and scales of the images that trained a model, as far as its file records them.

    Attributes
    ----------
    ends : dict of str to (float, float)
        The least and the largest value of each known value of `bchisto.data.Look`.
    """

    def __init__(self, model: Model) -> None:
        self.ends: dict[str, tuple[float, float]] = {}
        self._of_class = by_key(model.bundle.looks, lambda look: look["class"])
        for what, looks in by_key(model.bundle.looks, lambda look: look["what"]).items():
            if {look["class"] for look in looks} == self._of_class.keys():
                self.ends[what] = (
                    min(look["least"] for look in looks),
                    max(look["most"] for look in looks),
                )
        self._rescales = model.rescales

    def unlike(self, record: ImageRecord) -> dict[str, Message]:
        """Return by subject how an image differs from those of training, or that this is not known.

        Bits, sizes and micrometres per pixel are compared, unless the model rescales images.
        """
        cure = "export in the same way"
        texts = {"bits": self.outside(record, "bits of a sample", "bits", cure=cure)}
        if not (self._rescales and "mpp" in self.ends):
            texts["sizes"] = self.outside(record, "sizes", "long", "short", cure=cure)
        if not self._rescales:
            cure = "the model sees another scale; train with views in micrometres"
            subject = "micrometres per pixel"
            texts["scale"] = self.outside(record, subject, "mpp", cure=cure, factor=FAR)
        texts["mpp"] = self._unknown(record)
        return {subject: text for subject, text in texts.items() if text is not None}

    def outside(
        self, record: ImageRecord, what: str, *names: str, cure: str, factor: float = 1
    ) -> Message | None:
        """Return that a known value is outside of those of training, by more than a factor; else None."""
        if not self.ends.keys() >= {*names}:
            return None
        values = [getattr(record.look, name) for name in names]
        for name, value in zip(names, values, strict=True):
            least, most = self.ends[name]
            if value < least / factor or value > most * factor:
                text = "other {} than those of training ({}): {}; {}"
                return Message(text, what, self._in_words(*names), _value(values), cure)
        return None

    def _unknown(self, record: ImageRecord) -> Message | None:
        """Return a warning if the micrometres per pixel are not known but matter; else None."""
        ends = {*self.ends.get("mpp", ())}
        if record.mpp is not None or not ends or (self._rescales and len(ends) > 1):
            return None  # a model that rescales by several refuses the image
        consequence = "so the scale cannot be compared with that of training"
        if self._rescales:
            consequence = "and are taken for those of training"
        return Message(
            "micrometres per pixel are not known, {} ({})",
            consequence,
            self._in_words("mpp"),
            remedies=[Message("{mpp} gives them")],
        )

    def _in_words(self, *names: str) -> str:
        """Return the values of training, of each class if these differ."""
        texts = {}
        for label, looks in self._of_class.items():
            rows = {look["what"]: look for look in looks}
            ends = [_value(rows[name][end] for name in names) for end in ("least", "most")]
            texts[label] = " to ".join(dict.fromkeys(ends))
        if len({*texts.values()}) > 1:
            return few(f"{label} {text}" for label, text in texts.items())
        return next(iter(texts.values()), "")


def _warn(looks: Mapping[str, Mapping[str, Message]], warned: dict[str, str]) -> None:
    """Log by subject how images differ from those of training, unless `warned` has it already, and add it there."""
    unlike: dict[str, list[str]] = {}
    for image, texts in looks.items():
        for subject in texts:
            unlike.setdefault(subject, []).append(image)
    for subject, images in unlike.items():
        if subject in warned:
            continue
        first = images[0]
        warned[subject] = Message("{}: {}", first, looks[first][subject])
        if len(looks) > 1:
            text = "{} of {} images, such as {}"
            warned[subject] = Message(text, len(images), len(looks), warned[subject])
        _log.warning("%s", warned[subject])


def _value(numbers: Iterable[float]) -> str:
    """Return a value as people write it, such as the two sides of a size."""
    return "x".join(f"{number:.4g}" for number in numbers)


def with_classes(records: Sequence[ImageRecord], classes: Sequence[str]) -> list[ImageRecord]:
    """Keep labels that are classes of the model, in its spelling. Remove others, such as names of other folders."""
    labels = (record.label for record in records if record.label is not None)
    class_of = spell_labels(labels, classes)
    foreign_labels = [label for label, name in class_of.items() if name is None]
    if foreign_labels:
        unknown = [record for record in records if record.label in foreign_labels]
        # folders that are no classes at all are a usual way to keep images
        level = logging.WARNING if len(foreign_labels) < len(class_of) else logging.INFO
        _log.log(
            level,
            "%d of %d images have labels that are not classes of the model and stay empty in the table: %s, first %s",
            len(unknown),
            len(records),
            few(foreign_labels),
            unknown[0].image_id,
        )
    return [replace(record, label=class_of.get(record.label_text)) for record in records]


def notes_of_training(notes: Iterable[Banner]) -> tuple[Banner, ...]:
    """Return the notes of a model file, worded so that readers do not apply them to the new images."""
    return tuple(note.of("the model's training") for note in notes)


def advised(*further: str) -> AbstractContextManager[None]:
    """Return a context in which error messages suggest only options of a prediction.

    See `bchisto.core.Message.limited`.

    Parameters
    ----------
    *further : str
        Options that the caller can change, in addition to `PARAMETERS`.
    """
    return reworded(lambda text: limited(text, PARAMETERS.union(further)))
