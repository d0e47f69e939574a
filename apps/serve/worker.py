"""The worker process that reads images and predicts them. If it crashes, the server reports this and starts another.

A task is a line of JSON on standard input, and its answer a line of JSON on the original standard output. Images are
passed by their paths, so the lines contain no pixels. The worker never runs code from its input.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...core import BchistoError, Message, is_out_of_memory, message_of, printable, written
from ...core.formats import read_json
from ...core.jobs import Ticker, prepare_worker
from ...core.models import bundle_lines, bundle_view
from ...data import ImageRecord
from ...evaluate import apply_temperature
from ...evaluate.report import measured
from ...predict import (
    Model,
    ModelFile,
    Predicted,
    Prediction,
    PredictSettings,
    advised,
    check_sizes,
    choose_point,
    find_bundle,
    in_order,
    predict_records,
    ready_model,
    rule_sentences,
    tabulate,
    write_outputs,
)
from .engine import MARKS
from .pages import draw_map, own_stain, show_picture, show_stains, write_thumbnail

Task = Mapping[str, Any]
"""A task: ``do`` is its name; ``model`` and ``image`` are what it works on."""

_MODELS = 8
"""Largest number of models in memory."""


def main() -> int:
    """Answer tasks until standard input ends."""
    prepare_worker(os.getppid())
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # so that output of libraries does not mix with answers
    for line in sys.stdin:
        answers.write(json.dumps(_answer(json.loads(line))) + "\n")
        answers.flush()
    return 0


def _answer(task: Task) -> dict[str, Any]:
    """Do a task and return its answer; an exception becomes a line under ``error``."""
    with _noted(task) as notes:
        try:
            answer = _TASKS[task["do"]](task)
        except BchistoError as error:
            answer = {"error": _in_words(message_of(error), task), "exit_code": error.exit_code}
        except Exception as error:
            if is_out_of_memory(error):
                answer = {"error": "takes more memory than there is"}
            else:
                logging.getLogger(__name__).debug("the error in full", exc_info=True)
                answer = {"error": f"unexpected {type(error).__name__}: {error}; this is a bug, please report it"}
    answer["notes"] = notes
    return {name: _named(value, task) for name, value in answer.items()}


@contextmanager
def _noted(task: Task) -> Iterator[list[str]]:
    """Collect the warnings that are logged inside the block."""
    notes: list[str] = []

    class Gather(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            whole = isinstance(record.msg, Message)
            notes.append(printable(_in_words(record.msg, task) if whole else record.getMessage(), lines=True))

    handler, logger = Gather(logging.WARNING), logging.getLogger("bchisto")
    logger.addHandler(handler)
    before, logger.propagate = logger.propagate, False
    try:
        yield notes
    finally:
        logger.propagate = before
        logger.removeHandler(handler)


def _in_words(text: str, task: Task) -> str:
    """Return a message with the page's names of parameters; while models are loaded, with marked parameters.

    The command replaces marked parameters by its flags.
    """

    def write(name: str, value: str) -> str:
        if task["do"] == "facts":
            return f"{MARKS[0]}{name}{':' if value else ''}{value}{MARKS[1]}"
        return "the field Micrometres per pixel" if name == "mpp" else f"{name} {value}".rstrip()

    return written(text, write)


def _named(value: Any, task: Task) -> Any:
    """Return a value with the path of the image in texts replaced by its name."""
    image = task.get("image")
    if image is None:
        return value
    if isinstance(value, list):
        return [_named(item, task) for item in value]
    return value.replace(image["path"], image["name"]) if isinstance(value, str) else value


@functools.lru_cache(maxsize=_MODELS)
def _ready(path: str, weights: tuple[str, ...]) -> tuple[ModelFile, Model]:
    return ready_model(Path(path), weights)


def _model(task: Task) -> tuple[ModelFile, Model]:
    with advised():
        return _ready(task["model"]["path"], tuple(task["model"]["weights"]))


def _record(image: Task, model: Model) -> ImageRecord:
    """Return the record of an image for prediction, after a check of its header."""
    record = ImageRecord(image_id=image["name"], path=Path(image["path"]), label=None)
    with advised():
        (usable,), _ = check_sizes([record], model=model, mpp=image["mpp"], skip_errors=False)
    return usable


def _facts(task: Task) -> dict[str, Any]:
    """Load a model, and return facts on it for the page."""
    path = find_bundle(Path(task["model"]["path"]))
    file, model = _model({"model": {**task["model"], "path": str(path)}})
    bundle, beside = model.bundle, path.parent / "metrics.json"
    name = path.parent.name or path.stem
    return {
        "path": str(path),
        "name": name,
        "classes": list(bundle.classes),
        "banners": list(bundle.banners),
        "facts": [list(pair) for pair in bundle_lines(bundle, file.sha256)],
        "rule": rule_sentences(bundle.unsure),
        "calibrated": bundle.temperature is not None,
        "known": measured(name, read_json(beside) if beside.is_file() else None),
        "stain": own_stain(model),
    }


def _predict(task: Task) -> dict[str, Any]:
    """Predict an image, and return its probabilities and its cells of the table."""
    file, model = _model(task)
    image, classes = task["image"], model.bundle.classes
    record = _record(image, model)
    with advised():
        result = predict_records(model, [record], ticker=Ticker(None), skip_errors=True)[record.image_id]
    if isinstance(result, str):
        return {"error": _in_words(result, task)}
    predicted = Predicted([record], {record.image_id: result}, model.bundle, file.path, file.sha256)
    shown = tabulate(predicted, settings=PredictSettings(), point=_point(model, file))
    row = shown.sheet(predicted, title="predictions.csv").rows[0]
    temperature = model.bundle.temperature or 1.0  # the same calibration as the confidence
    (calibrated,) = apply_temperature(result.probabilities[None], temperature)
    write_thumbnail(record, Path(task["thumbnail"]))
    return {
        "kept": [result.probabilities.tolist(), result.trained, result.compared.tolist()],
        "predicted": row.predicted,
        "confidence": row.confidence,
        "uncertain": row.unsure,
        "next": row.next_class,
        "probabilities": dict(zip(classes, shown.table.probabilities[0].tolist(), strict=True)),
        "calibrated": dict(zip(classes, calibrated.tolist(), strict=True)),
        "further": {name: cells[0] for name, cells in shown.table.further},
    }


def _point(model: Model, file: ModelFile) -> Any:
    return choose_point(*bundle_view(file.path), threshold=None, sensitivity=None, bundle=file.path)


def _write(task: Task) -> dict[str, Any]:
    """Write the table of predicted images, and the sheet if requested."""
    file, model = _model(task)
    records, results = [], {}
    for image in task["images"]:
        records.append(ImageRecord(image_id=image["name"], path=Path(image["path"]), label=None))
        kept = image["kept"]
        results[image["name"]] = (
            image["error"] if kept is None else Prediction(np.array(kept[0]), kept[1], np.array(kept[2]))
        )
    records = in_order(records)
    ordered = {record.image_id: results[record.image_id] for record in records}
    predicted = Predicted(records, ordered, model.bundle, file.path, file.sha256)
    settings = PredictSettings(html=Path(task["html"]) if task["html"] else None)
    write_outputs(Path(task["out"]), predicted, settings=settings, point=_point(model, file), overwrite=True)
    return {}


def _show(task: Task) -> dict[str, Any]:
    """Write a picture of an image, or of a part of it."""
    _, model = _model(task)
    show = {"picture": show_picture, "stains": show_stains}[task["kind"]]
    return show(model, _record(task["image"], model), part=task["part"], path=Path(task["out"]))


def _explain(task: Task) -> dict[str, Any]:
    """Write the heat map of an image, or of a part of it, and its regions."""
    file, model = _model(task)
    record = _record(task["image"], model)
    return draw_map(model, record, target=task["target"], part=task["part"], path=Path(task["out"]), file=file.path)


_TASKS: Mapping[str, Callable[[Task], dict[str, Any]]] = {
    "facts": _facts, "predict": _predict, "write": _write, "show": _show, "explain": _explain,
}  # fmt: skip
