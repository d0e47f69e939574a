"""New images as records in a natural order, and what one who predicts with a trained model can change and must know."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ..core import InputError, MissingInputError, few, limited, limited_to
from ..data import ImageRecord, ImageSelection, LeastSize, check_headers, report_findings, spell_labels
from ..jobs import Work
from .settings import PredictSettings

_log = logging.getLogger(__name__)

_MANIFESTS = (".csv", ".xlsx", ".xlsm")
"""Files that list images; any other is one."""


PARAMETERS = frozenset({"model", "images", "features", "weights", "out"}).union(
    field.name for field in (*fields(PredictSettings), *fields(Work))
)
"""What a caller who predicts can change; a model that is trained has no other options left."""


def new_images(sources: Sequence[Path], *, reading: Mapping[str, Any], classes: Sequence[str]) -> list[ImageRecord]:
    """Return the images of files, folders and manifests, with labels that are classes of the model.

    Parameters
    ----------
    sources : sequence of Path
    reading : mapping
        How a dataset is read, see `ImageSelection`.
    classes : sequence of str
        Of the model.

    Raises
    ------
    InputError
        Nothing there, a dataset with errors, or two images of one id.
    """
    records: dict[str, ImageRecord] = {}
    for source in sources:
        if source.is_file() and source.suffix.casefold() not in _MANIFESTS:
            group = [ImageRecord(image_id=source.name, path=source, label=None)]
        elif source.exists():
            table = ImageSelection(source, **reading).table()
            findings = [replace(finding, message=limited(finding.message, PARAMETERS)) for finding in table.findings]
            report_findings(findings, labels=False)
            group = list(table.records)
        else:
            raise MissingInputError("{}: no such image, folder or manifest; check {images}", source)
        for record in group:
            other = records.setdefault(record.image_id, record)
            if other is not record:
                raise InputError(
                    f"{record.path} and {other.path}: two images have the id {record.image_id}; rename one"
                )
    return with_classes(sorted(records.values(), key=lambda record: _natural(record.image_id)), classes)


def check_sizes(
    records: Sequence[ImageRecord], *, needs: Sequence[LeastSize], skip_errors: bool
) -> tuple[tuple[ImageRecord, ...], tuple[tuple[str, str], ...]]:
    """Check headers and sizes of new images, see `bchisto.data.check_headers`."""
    return check_headers(records, needs=needs, skip_errors=skip_errors, known=PARAMETERS)


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Sort ``test10.tif`` behind ``test9.tif``."""
    return [(0, int(p), "") if p.isdecimal() and len(p) < 1000 else (1, 0, p) for p in re.split(r"(\d+)", text) if p]


def with_classes(records: Sequence[ImageRecord], classes: Sequence[str]) -> list[ImageRecord]:
    """Keep labels that are classes of the model, in its spelling; folders of new images often have other names."""
    spelled = spell_labels((record.label for record in records if record.label is not None), classes)
    strange = [label for label, known in spelled.items() if known is None]
    if strange:
        unknown = [record for record in records if record.label in strange]
        level = logging.WARNING if len(strange) < len(spelled) else logging.INFO
        _log.log(
            level,
            "%d of %d images have labels that are no class of the model and are left out of the table: %s, first %s",
            len(unknown),
            len(records),
            few(strange),
            unknown[0].image_id,
        )
    return [replace(record, label=spelled.get(record.label or "")) for record in records]


def notes_of_training(notes: Iterable[str]) -> tuple[str, ...]:
    """Return what a bundle says of itself, so that nobody takes it to be said of the new images.

    Notes that begin with their name in capitals stay as they are in every output.

    Examples
    --------
    >>> notes_of_training(["RANDOM WEIGHTS: vgg16 ran untrained.", "3 pairs of images seem to show the same pixels"])
    ('RANDOM WEIGHTS: vgg16 ran untrained.', "the model's training: 3 pairs of images seem to show the same pixels")
    """
    return tuple(note if note[:2].isupper() else f"the model's training: {note}" for note in notes)


def advised(*further: str) -> AbstractContextManager[None]:
    """Let what is refused inside be told to someone who predicts, see `bchisto.core.Message.limited`.

    Parameters
    ----------
    *further : str
        What the caller can change beside `PARAMETERS`.
    """
    return limited_to(PARAMETERS.union(further))
