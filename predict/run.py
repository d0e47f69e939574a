"""``bchisto predict``: blocks of images as work units, one table at the end."""

from __future__ import annotations

import csv
import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import Dataset, ImageRecord, file_sha256, match_class, read_dataset
from ..errors import BundleError, InputError, MissingInputError, OutputError
from ..evaluate import apply_temperature, write_predictions
from ..featurize import check_headers
from ..jobs import (
    Ticker,
    atomic_output,
    cpu_resources,
    ensure_folder,
    network_resources,
    read_json,
    remove_tree,
    run_units,
    write_json,
    write_rows,
)
from ..runs import describe_differences
from .model import load_model

__all__ = ["FORMATS", "PredictResult", "predict"]

_log = logging.getLogger(__name__)

FORMATS = ("bchisto", "iciar2018")
"""Output formats: the prediction table, or the challenge's ``test0.tif,Benign`` without a header."""


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
    """

    path: Path
    images: int
    counts: dict[str, int]
    failures: tuple[tuple[str, str], ...]
    banners: tuple[str, ...]


@dataclass(frozen=True)
class _Block:
    index: int
    records: tuple[ImageRecord, ...]


@dataclass(frozen=True)
class _Workshop:
    model: Path
    sha256: str
    weights: tuple[str, ...]
    parts: Path
    skip_errors: bool

    def part(self, block: _Block) -> Path:
        return self.parts / f"block-{block.index:05d}.csv"

    def __call__(self, block: _Block, ticker: Ticker) -> None:
        model = load_model(self.model, self.weights, self.sha256)
        rows: list[list[str]] = []
        for record, found in model.predict(block.records, ticker=ticker, skip_errors=self.skip_errors):
            if isinstance(found, str):
                rows.append([record.image_id, found])
            else:
                rows.append([record.image_id, "", *map(repr, found.tolist())])
        write_rows(self.part(block), ["image_id", "error", *(f"p_{name}" for name in model.bundle.classes)], rows)

    def read(self, block: _Block) -> list[list[str]] | None:
        """Return the rows of a finished part, None where it is missing or does not hold."""
        path = self.part(block)
        if not path.is_file():
            return None
        with path.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.reader(handle))[1:]
        failed = any(row[1] for row in rows)
        fits = [row[0] for row in rows] == [record.image_id for record in block.records]
        return rows if fits and (self.skip_errors or not failed) else None


def predict(
    model: str | Path,
    images: Sequence[str | Path],
    *,
    out: str | Path,
    weights: Sequence[str] = (),
    output_format: str = "bchisto",
    calibrated: bool = False,
    jobs: int | None = None,
    dask: str | None = None,
    overwrite: bool = False,
    skip_errors: bool = False,
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
    jobs : int, optional
        Processes; by default one per core, or one per GPU where Keras's backend sees any.
    dask : str, optional
        Address of a Dask scheduler.
    overwrite : bool
        Replace an existing table.
    skip_errors : bool
        Leave out images that cannot be used.

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
    path = Path(out)
    if output_format not in FORMATS:
        raise InputError(f"--format {output_format}: choose one of {', '.join(FORMATS)}")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; use --overwrite or another --out")
    ensure_folder(path.parent)
    if not Path(model).is_file():
        raise MissingInputError(f"{model}: no such model bundle; bchisto boost and finetune write one as model.bchisto")
    sha256 = file_sha256(Path(model))
    ready = load_model(Path(model), tuple(weights), sha256)
    bundle = ready.bundle
    if calibrated and bundle.temperature is None:
        raise BundleError(
            f"{model}: holds no temperature, since it was trained in a single fold; leave out --calibrated"
        )
    records = [_with_class(record, bundle.classes) for record in _records(images, **ready.reading)]
    usable, refused = check_headers(records, views=ready.fits, skip_errors=skip_errors)
    size = ready.images_per_block
    blocks = [_Block(number, usable[start : start + size]) for number, start in enumerate(range(0, len(usable), size))]
    workshop = _Workshop(Path(model), sha256, tuple(weights), path.with_name(f"{path.name}.parts"), skip_errors)
    _claim(workshop, usable, overwrite=overwrite)
    todo = [block for block in blocks if workshop.read(block) is None]
    if len(todo) < len(blocks):
        _log.info("%d of %d blocks are done already", len(blocks) - len(todo), len(blocks))
    resources = network_resources(jobs) if ready.on_keras else cpu_resources(jobs)
    run_units(
        workshop,
        todo,
        steps=lambda block: len(block.records) * ready.steps,
        jobs=resources.processes,
        gpus=resources.gpus,
        dask=dask,
        label="predict",
        step_name=ready.step_name,
    )
    rows = [row for block in blocks for row in workshop.read(block) or []]
    failures = {**dict(refused), **{row[0]: row[1] for row in rows if row[1]}}
    good = [row for row in rows if not row[1]]
    probabilities = np.array([[float(cell) for cell in row[2:]] for row in good]).reshape(-1, len(bundle.classes))
    known = {record.image_id: record for record in usable}
    counts = _write(
        path,
        output_format,
        [known[row[0]] for row in good],
        apply_temperature(probabilities, bundle.temperature) if calibrated and bundle.temperature else probabilities,
        bundle.classes,
    )
    problems = path.with_name(f"{path.name}.failures.csv")
    if failures:
        write_rows(problems, ["image_id", "error"], failures.items())
    else:
        problems.unlink(missing_ok=True)
    remove_tree(workshop.parts)
    return PredictResult(path, sum(counts.values()), counts, tuple(failures.items()), bundle.banners)


def _records(images: Sequence[str | Path], **reading: Any) -> list[ImageRecord]:
    found: dict[str, ImageRecord] = {}
    for source in map(Path, images):
        if source.is_file() and source.suffix.casefold() != ".csv":
            group = [ImageRecord(image_id=source.name, path=source, label=None)]
        elif source.exists():
            dataset: Dataset = read_dataset(source, **reading)
            dataset.raise_errors()
            group = list(dataset.records)
        else:
            raise MissingInputError(f"{source}: no such image, folder or manifest; check --images")
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


def _with_class(record: ImageRecord, classes: Sequence[str]) -> ImageRecord:
    """Keep a label that is one of the model's classes; folders of new images often have other names."""
    return replace(record, label=None if record.label is None else match_class(record.label, classes))


def _claim(workshop: _Workshop, records: Sequence[ImageRecord], *, overwrite: bool) -> None:
    """Refuse parts that another model or other images left at this place."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(f"{record.image_id}\0{file_sha256(record.path)}\n".encode())
    wanted = {"model_sha256": workshop.sha256, "images_sha256": digest.hexdigest()}
    mark = workshop.parts / "settings.json"
    if overwrite:
        remove_tree(workshop.parts)
    if mark.is_file() and (found := read_json(mark)) != wanted:
        raise OutputError(
            f"{workshop.parts}: left by other work: {describe_differences(found, wanted)}; "
            "use --overwrite or another --out"
        )
    write_json(mark, wanted)


def _write(
    path: Path,
    output_format: str,
    records: Sequence[ImageRecord],
    probabilities: npt.NDArray[np.float64],
    classes: Sequence[str],
) -> dict[str, int]:
    """Write the table; return images per predicted class."""
    predicted = [classes[place] for place in probabilities.argmax(axis=1)] if len(records) else []
    if output_format == "iciar2018":
        with atomic_output(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle, lineterminator="\n").writerows(
                [Path(record.image_id).name, name] for record, name in zip(records, predicted, strict=True)
            )
    else:
        write_predictions(
            path,
            classes=classes,
            rows=[(record.image_id, record.label or "", record.group, "") for record in records],
            probabilities=probabilities,
            extra=[("predicted", predicted)],
        )
    return {name: predicted.count(name) for name in classes}
