"""The worker process that reads images and predicts them. If it crashes, the server reports this and starts another.

A task is a line of JSON on standard input, and its answer an empty line when it begins, then a line of JSON, on the
original standard output. Images are passed by their paths, so the lines contain no pixels. The worker never runs code
from its input.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ...core import (
    BchistoError,
    Message,
    is_out_of_memory,
    message_of,
    os_error,
    printable,
    written,
)
from ...core.jobs import Ticker, prepare_worker, remove_output, write_or_remove
from ...core.models import bundle_lines, bundle_stores, bundle_view
from ...data import ImageRecord, ImageSelection, decode_image, with_headers
from ...evaluate.report import known_of
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
    mixed_note,
    predict_records,
    ready_model,
    recorded_weights,
    sheet_rows,
    tabulate,
    write_html,
)
from .engine import MARKS, TABLES, Answer, Task
from .pictures import draw_map, own_stain, write_picture, write_shown, write_thumbnail


def main() -> int:
    """Answer tasks until standard input ends."""
    prepare_worker(os.getppid())
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # so that output of libraries does not mix with answers
    for line in sys.stdin:
        answers.write("\n")  # the task has begun
        answers.flush()
        answers.write(json.dumps(_answer(json.loads(line))) + "\n")
        answers.flush()
    return 0


def _answer(task: Task) -> Answer:
    """Do a task and return its answer; an exception becomes a line under ``error``."""
    with _noted(task) as notes:
        try:
            answer = _TASKS[task["do"]](task)
        except BchistoError as error:
            answer = {"error": _in_words(message_of(error), task), "exit_code": error.exit_code}
        except OSError as error:
            text, code = os_error(error)
            answer = {"error": _in_words(text, task), "exit_code": code}
        except Exception as error:
            if is_out_of_memory(error):
                answer = {"error": "takes more memory than there is"}
            else:
                logging.getLogger(__name__).debug("the error in full", exc_info=True)
                answer = {
                    "error": f"unexpected {type(error).__name__}: {error}; this is a bug, please report it"
                }
    return {name: _named(value, task) for name, value in {**answer, "notes": notes}.items()}


@contextmanager
def _noted(task: Task) -> Iterator[list[str]]:
    """Collect the warnings that are logged inside the block."""
    notes: list[str] = []

    class Gather(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if isinstance(record.msg, Message):
                text = _in_words(record.msg, task)
            else:
                text = record.getMessage()
            notes.append(printable(text, lines=True))

    handler = Gather(logging.WARNING)
    logger = logging.getLogger("bchisto")
    logger.addHandler(handler)
    propagated = logger.propagate
    logger.propagate = False
    try:
        yield notes
    finally:
        logger.propagate = propagated
        logger.removeHandler(handler)


def _in_words(text: str, task: Task) -> str:
    """Return a message with the page's names of parameters; while models are loaded, with marked parameters.

    The command replaces marked parameters by its flags.
    """

    def write(name: str, value: str) -> str:
        if task["do"] == "facts":
            colon = ":" if value else ""
            return f"{MARKS[0]}{name}{colon}{value}{MARKS[1]}"
        if name == "mpp":
            return "the field Micrometres per pixel"
        return f"--{name.replace('_', '-')} {value}".rstrip()

    return written(text, write)


def _named(value: Any, task: Task) -> Any:
    """Return a value with the paths of the image and of the model's copy in texts replaced by their names."""
    if isinstance(value, list):
        return [_named(item, task) for item in value]
    if not isinstance(value, str):
        return value
    images = task.get("images", ())
    if "image" in task:
        images = [task["image"]]
    for image in images:
        value = value.replace(image["path"], image["name"])
    if "model" in task:
        value = value.replace(task["model"]["copy"], task["model"]["path"])
    return value


_ready = functools.lru_cache(maxsize=8)(ready_model)  # so many models are in memory


def _model(task: Task) -> tuple[ModelFile, Model]:
    with advised():
        return _ready(Path(task["model"]["copy"]), tuple(task["model"]["weights"]))


def _record(image: Task, model: Model) -> tuple[ImageRecord, float | None]:
    """Return the record of an image for prediction, after a check of its header, and its micrometres if known."""
    record = ImageRecord(
        image_id=image["name"], path=Path(image["path"]), label=None, mpp=image["mpp"]
    )
    if record.mpp is None:
        # those of a published data set, which `predict` knows by names of files
        listed = _read_as_folder([image], image["dropped"], model)
        if record.image_id in listed:
            record = replace(record, mpp=listed[record.image_id].mpp)
    (record,) = with_headers([record])
    with advised():
        (usable,), _ = check_sizes([record], model=model, skip_errors=False)
    return usable, record.mpp


def _facts(task: Task) -> Answer:
    """Copy and load a model, and return facts on it for the page."""
    asked = task["model"]
    path = find_bundle(Path(asked["path"]))
    copy = Path(asked["copy"])
    weights_options = []
    if bundle_stores(path):  # a CNN holds its own
        weights_options = asked["weights"]
    weights = [
        *weights_options,
        *(f"{encoder}={file}" for encoder, file in recorded_weights(path, weights_options)),
    ]
    shutil.copyfile(path, copy)
    file, model = _model({"model": {"copy": str(copy), "weights": weights}})
    bundle = model.bundle
    point = _point(file)
    return {
        "path": str(path),
        "weights": weights,
        "classes": bundle.classes,
        "banners": list(bundle.banners),
        "facts": [list(pair) for pair in bundle_lines(bundle, file.sha256)],
        "rule": bundle.unsure,
        "calibrated": bundle.temperature is not None,
        "mixed": mixed_note(bundle),
        "known": known_of(path),
        "stain": own_stain(model),
        "point": "" if point is None else str(point),
    }


def _read(task: Task) -> Answer:
    """Read an image, and write its thumbnail."""
    record, mpp = _record(task["image"], _model(task)[1])
    height, width = write_thumbnail(record, Path(task["thumbnail"]))
    return {"height": height, "width": width, "mpp": mpp}


def _predict(task: Task) -> Answer:
    """Predict an image, and return its probabilities and its cells of the table."""
    file, model = _model(task)
    record, _ = _record(task["image"], model)
    with advised():
        result = predict_records(model, [record], ticker=Ticker(None), skip_errors=True)[
            record.image_id
        ]
    if isinstance(result, str):
        return {"error": _in_words(result, task)}
    path = Path(task["model"]["path"])
    predicted = Predicted([record], {record.image_id: result}, model.bundle, path, file.sha256)
    shown = tabulate(predicted, settings=PredictSettings(), point=_point(file))
    (row,) = sheet_rows(shown)
    return {
        "kept": [
            result.probabilities.tolist(),
            result.trained,
            result.compared.tolist(),
            result.blank,
        ],
        "predicted": row.predicted,
        "confidence": row.confidence,
        "uncertain": row.uncertain,
        "next_class": row.next_class,
        "probabilities": dict(
            zip(model.bundle.classes, shown.table.probabilities[0].tolist(), strict=True)
        ),
        "calibrated": dict(zip(model.bundle.classes, shown.calibrated[0].tolist(), strict=True)),
        "further": {name: cells[0] for name, cells in shown.table.further},
    }


def _point(file: ModelFile) -> Any:
    return choose_point(*bundle_view(file.path), bundle=file.path)


def _result(image: Task) -> Prediction | str:
    if image["kept"] is None:
        return str(image["error"])
    probabilities, trained, compared, blank = image["kept"]
    return Prediction(np.array(probabilities), trained, np.array(compared), blank)


def _read_as_folder(images: Sequence[Task], dropped: str, model: Model) -> dict[str, ImageRecord]:
    """Return the images that `predict` lists of a dropped folder, by their names on the page.

    Each file lies in a folder of its own, so `predict` reads a temporary folder with links that are named as on the
    page. If it refuses that folder, such as for another layout than the model's, nothing is known of the images: the
    error is suppressed, since a table can do without.
    """
    with TemporaryDirectory() as folder, suppress(BchistoError):
        root = Path(folder, "images")
        for image in images:
            link = root / image["name"]
            with suppress(OSError):  # a file and a folder of one name are not listed
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(image["path"])
            with suppress(OSError, ValueError):  # names that no folder can have
                for name in image["beside"]:  # BACH is known by its folders
                    (link.parents[1] / Path(name).name).mkdir(exist_ok=True)
        records = ImageSelection(root / dropped, **model.bundle.reading).table().records
        return {record.path.relative_to(root).as_posix(): record for record in records}
    # only after an error that was suppressed
    return {}


def _write(task: Task) -> Answer:
    """Write the table, the report and the table of failures of images that were predicted or could not be."""
    file, model = _model(task)
    folder = Path(task["folder"])
    images = {Path(image["path"]): image for image in task["images"]}
    if task["html"] and not images:
        for name in TABLES:
            remove_output(folder / name)
        return {}
    records = [record for record in _records(task["all"], model) if record.path in images]
    results = {record.image_id: _result(images[record.path]) for record in records}
    predicted = Predicted(records, results, model.bundle, Path(task["model"]["path"]), file.sha256)
    shown = tabulate(predicted, settings=PredictSettings(), point=_point(file))
    listed = [images[record.path] for record in shown.table.records]
    page_columns = _page_columns(listed)
    paths = ("path", [image["listed"] for image in listed])
    table = replace(shown.table, further=[*shown.table.further, *page_columns, paths])
    table.finish(folder / "predictions.csv", overwrite=True)
    if task["html"]:
        filled = [column for column in page_columns if any(column[1])]
        table = replace(shown.table, further=[*shown.table.further, *filled])
        report = replace(shown, table=table)
        write_html(folder / "predictions.html", report, predicted, title="predictions.csv")
    write_or_remove(folder / "failures.csv", ["image_id", "error"], shown.failures.items())
    return {}


def _records(images: Sequence[Task], model: Model) -> list[ImageRecord]:
    """Return the images as `predict` would list them, with the classes that a person gave.

    It would list the folder that was dropped on the page; of several, or of files, the folder that holds them.
    """
    folders = {image["dropped"] for image in images}
    dropped = ""
    if len(folders) == 1:
        (dropped,) = folders
    names = [image["name"] for image in images]
    listed = {
        name: ImageRecord(name.removeprefix(f"{dropped}/"), Path(name), None) for name in names
    }
    listed |= _read_as_folder(images, dropped, model)
    if len({record.image_id for record in listed.values()}) < len(listed):
        # `predict` refuses two images of one id
        listed = {name: replace(record, image_id=name) for name, record in listed.items()}
    return in_order(
        replace(listed[image["name"]], path=Path(image["path"]), label=image["label"] or None)
        for image in images
    )


def _page_columns(images: Sequence[Task]) -> list[tuple[str, list[str]]]:
    """Return the columns of the table that only the page has."""
    spacings = [image["known_mpp"] for image in images]
    return [
        ("mpp", ["" if mpp is None else f"{mpp:.6g}" for mpp in spacings]),
        ("warnings", ["; ".join(image["notes"]) for image in images]),
        ("reviewed", ["yes" if image["reviewed"] else "" for image in images]),
    ]


def _show(task: Task) -> Answer:
    """Write a picture of an image, such as its heat map."""
    model = _model(task)[1]
    record, _ = _record(task["image"], model)
    path = Path(task["out"])
    if task["do"] == "map":
        file = Path(task["model"]["path"])
        return draw_map(model, record, target=task["target"], path=path, file=file)
    write_shown(task["do"], model, record, path)
    return {}


def _show_to_label(task: Task) -> Answer:
    """Write an image with all pixels, without a model."""
    image = decode_image(Path(task["image"]["path"]))
    write_picture(image, Path(task["out"]))
    return {}


_TASKS: Mapping[str, Callable[[Task], Answer]] = {
    "facts": _facts,
    "read": _read,
    "predict": _predict,
    "write": _write,
    "label": _show_to_label,
    **dict.fromkeys(("picture", "pixels", "stains", "map"), _show),
}

if __name__ == "__main__":
    sys.exit(main())
