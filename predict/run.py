"""``bchisto predict``: blocks of images as work units, one table at the end."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import Many, PathInput, TextInput, as_path, as_paths, as_texts
from ..boost import Bundle
from ..data import ImageRecord, few, file_sha256, spell_labels
from ..errors import BundleError, InputError, MissingInputError, OutputError
from ..evaluate import apply_temperature
from ..experiment import ImageSelection, TrainingImages, Work, bundle_view, check_headers
from ..finetune import CnnBundle
from ..jobs import ensure_folder, set_aside, write_rows
from ..moved import takes_fields
from ..options import plain_options
from ..runs import record_table, unfinished_record
from .blocks import Block, Workshop, claim, do_blocks
from .calls import Calls, OperatingPoint
from .model import load_model, model_identity
from .table import FORMATS, Table

__all__ = ["FORMATS", "PredictResult", "predict"]

_GPU_BLOCK = 32
"""Images in a unit of work on a GPU at least (ours)."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictResult:
    """What was predicted.

    Attributes
    ----------
    path : Path
        The table.
    images : int
        Images predicted.
    counts : dict of str to int
        Images per predicted class.
    failures : tuple of (image_id, message)
        Images left out; also in ``<out>.failures.csv``.
    banners : tuple of str
        What a reader must know first.
    trained : int or None
        Images that trained a model of the bundle; None where it does not know which did.
    called : str
        How many are called positive at which operating point; empty where nothing is called.
    """

    path: Path
    images: int
    counts: dict[str, int]
    failures: tuple[tuple[str, str], ...]
    banners: tuple[str, ...]
    trained: int | None = None
    called: str = ""


@takes_fields(work=Work.of)
def predict(
    model: PathInput,
    images: Many[PathInput],
    *,
    out: PathInput,
    weights: Many[TextInput] = (),
    output_format: str = "bchisto",
    calibrated: bool = False,
    calls: Calls | None = None,
    work: Work | None = None,
) -> PredictResult:
    """Predict new images with a model bundle, resuming an interrupted run.

    Parameters
    ----------
    model : str or Path
        A ``model.bchisto``.
    images : sequence of path
        Folders, manifests or image files.
    out : str or Path
        The CSV table to write.
    weights : sequence of str
        ``imagenet``, a path, or ``ENCODER=`` one of these.
    output_format : {"bchisto", "iciar2018"}
    calibrated : bool
        Scale the probabilities by the temperature of the bundle.
    calls : Calls, optional
        At which operating point images are called positive, in the column ``called``; by default see `Calls.point`.
    work : Work, optional
        How it is done; by default a process per core, or one per GPU where Keras's backend sees any. It has no shards.

    Returns
    -------
    PredictResult

    Raises
    ------
    BundleError, WeightsError
        The bundle does not hold, or the encoder weights are not the ones it was trained with.
    InputError
        Images that are refused before any work.
    ImageError
        An image that cannot be decoded or used; finished blocks are kept.
    """
    sources, options = as_paths(images, "images"), as_texts(weights, "weights")
    bundle, path = as_path(model, "model"), as_path(out, "out")
    how, calls = Work.of(work), calls or Calls()
    if how.shard is not None:
        raise InputError(
            f"`shard` {how.shard}: a table of predictions has no shards; give one to each part of the images"
        )
    if output_format not in FORMATS:
        raise InputError(f"`output_format` {output_format}: choose one of {', '.join(FORMATS)}")
    config = {
        "model": str(bundle), "images": [str(source) for source in sources], "out": str(path), "weights": list(options),
        "output_format": output_format, "calibrated": calibrated, **plain_options(calls, how),
    }  # fmt: skip
    left = unfinished_record(path, command="predict", config=config)
    if path.exists() and not how.overwrite and left is None:
        raise OutputError(f"{path}: exists already; use `overwrite` or another `out`")
    ensure_folder(path.parent)
    if not bundle.is_file():
        raise MissingInputError(
            f"{bundle}: no such model bundle; bchisto boost and finetune write one as model.bchisto"
        )
    replaced = how.overwrite or bool(left and left.get("overwrite"))
    with record_table(path, command="predict", config=config, overwrite=replaced) as record:
        if calls != Calls():  # what the bundle cannot say is refused before its encoders are loaded
            classes, view = bundle_view(bundle)
            calls.point(view, classes=classes, bundle=bundle)
        identity = model_identity(bundle, options)
        ready = load_model(bundle, options, identity)
        if calibrated and ready.bundle.temperature is None:
            raise BundleError(
                f"{bundle}: holds no temperature, since it was trained in a single fold; leave out `calibrated`"
            )
        point = calls.point(ready.bundle.two_class, classes=tuple(ready.bundle.classes), bundle=bundle)
        records = _with_classes(_records(sources, ready.reading), ready.bundle.classes)
        usable, refused = check_headers(records, needs=ready.fits, skip_errors=how.skip_errors)
        settings = {"model_sha256": identity[0], "images_sha256": _digest(usable)}
        record.note(**settings, images=len(usable))
        parts = path.with_name(f"{path.name}.parts")
        claim(parts, settings, overwrite=how.overwrite)
        resources = how.networks() if ready.on_keras else how.cpu()
        # beside a GPU images are prepared ahead, which takes several in a block
        size = max(ready.images_per_block, _GPU_BLOCK) if resources.gpus else ready.images_per_block
        blocks = [Block(place, usable[at : at + size]) for place, at in enumerate(range(0, len(usable), size))]
        helpers = resources.helpers(len(blocks)) if resources.gpus else 1
        workshop = Workshop(bundle, options, identity, parts, settings, how.skip_errors, helpers)
        rows = do_blocks(workshop, blocks, resources=resources, how=how, model=ready)
        result = _finish(
            path, rows, usable, dict(refused), ready.bundle, output_format, calibrated=calibrated, point=point,
            overwrite=replaced,
        )  # fmt: skip
        set_aside(parts)
        record.note(
            predicted=result.images, failures=len(result.failures), trained=result.trained, called=result.called
        )
    return result


def _finish(
    path: Path,
    rows: Sequence[Sequence[str]],
    usable: Sequence[ImageRecord],
    refused: Mapping[str, str],
    bundle: Bundle | CnnBundle,
    output_format: str,
    *,
    calibrated: bool,
    point: OperatingPoint | None,
    overwrite: bool,
) -> PredictResult:
    """Write the table of all blocks, and the list of images that failed."""
    failures = {**refused, **{row[0]: row[1] for row in rows if row[1]}}
    good = [row for row in rows if not row[1]]
    ends = 2 + len(bundle.classes)
    probabilities = np.array([[float(cell) for cell in row[2:ends]] for row in good]).reshape(-1, len(bundle.classes))
    raw = probabilities
    if calibrated and bundle.temperature:
        probabilities = apply_temperature(probabilities, bundle.temperature)
    further: list[tuple[str, list[str]]] = []
    trained, called, banners = None, "", bundle.banners
    if bundle.training is not None:
        cells = ["".join(row[ends:]) for row in good]  # empty in parts that another version left
        further.append(("trained", cells))
        trained = cells.count("yes")
        banners = (*banners, *_known_again(trained, len(cells), bundle.training))
    if point is not None:
        positive = point.call(probabilities if point.sensitivity is None else raw)
        further.append(("called", ["positive" if one else "negative" for one in positive]))
        called = f"called positive: {int(positive.sum())} of {len(positive)}, {point}"
    known = {record.image_id: record for record in usable}
    table = Table(output_format, [known[row[0]] for row in good], probabilities, bundle.classes, further)
    table.finish(path, overwrite=overwrite)
    problems = path.with_name(f"{path.name}.failures.csv")
    if failures:
        write_rows(problems, ["image_id", "error"], failures.items())
    else:
        problems.unlink(missing_ok=True)
    predicted = table.predicted
    counts = {name: predicted.count(name) for name in bundle.classes}
    return PredictResult(path, len(predicted), counts, tuple(failures.items()), banners, trained, called)


def _known_again(trained: int, images: int, training: TrainingImages) -> list[str]:
    """Say which images are not new to the models."""
    said = []
    if trained:
        said.append(
            f"NOT NEW: {trained} of {images} images trained models of this bundle (column trained); what it says of "
            "them does not show what it would say of new ones"
        )
    if training.files and trained < images:
        said.append(
            f"of {len(training.files)} of the {training.count} training images only the file is known: a copy in "
            "another format is not recognised"
        )
    return said


def _records(images: Sequence[Path], reading: Mapping[str, Any]) -> list[ImageRecord]:
    found: dict[str, ImageRecord] = {}
    for source in images:
        if source.is_file() and source.suffix.casefold() != ".csv":
            group = [ImageRecord(image_id=source.name, path=source, label=None)]
        elif source.exists():
            group = list(ImageSelection(source, **reading).read(labels=False).records)
        else:
            raise MissingInputError(f"{source}: no such image, folder or manifest; check `images`")
        for record in group:
            other = found.setdefault(record.image_id, record)
            if other is not record:
                raise InputError(
                    f"{record.path} and {other.path}: two images have the id {record.image_id}; rename one"
                )
    return sorted(found.values(), key=lambda record: _natural(record.image_id))


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Sort ``test10.tif`` behind ``test9.tif``."""
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in re.split(r"(\d+)", text) if p]


def _with_classes(records: Sequence[ImageRecord], classes: Sequence[str]) -> list[ImageRecord]:
    """Keep labels that are classes of the model, in its spelling; folders of new images often have other names."""
    spelled = spell_labels((record.label for record in records if record.label is not None), classes)
    strange = [label for label, known in spelled.items() if known is None]
    if strange:
        level = logging.WARNING if len(strange) < len(spelled) else logging.INFO
        _log.log(level, "labels that are no class of the model are left out of the table: %s", few(strange))
    return [replace(record, label=spelled.get(record.label or "")) for record in records]


def _digest(records: Sequence[ImageRecord]) -> str:
    """Return the identity of the images: their ids and contents, in their order."""
    digest = hashlib.sha256()
    for record in records:
        box = "" if record.box is None else f"\0{record.box}"
        digest.update(f"{record.image_id}\0{file_sha256(record.path)}{box}\n".encode())
    return digest.hexdigest()
