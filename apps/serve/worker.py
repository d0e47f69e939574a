"""What is done in the process that reads images, see `Engine`: models, images, pictures and tables."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ...core import BchistoError, Content, Entries, InputError, limited, printable, written
from ...core.formats import limits
from ...core.jobs import Ticker, remove_output, write_or_remove
from ...core.models import bundle_lines, bundle_stores
from ...data import (
    ImageRecord,
    ImageSelection,
    breakhis_mpp,
    decode_image,
    decode_record,
    shrink_image,
    with_headers,
)
from ...evaluate.report import known_of
from ...predict import (
    Model,
    ModelFile,
    OperatingPoint,
    Predicted,
    Prediction,
    PredictSettings,
    advised,
    check_sizes,
    find_bundle,
    in_order,
    load_model,
    mixed_note,
    predict_records,
    ready_model,
    sheet_rows,
    tabulate,
    write_html,
)
from ...stains import get_stain, make_normalizer
from ..explain import (
    colour_limits,
    explain_image,
    lay_over,
    where_highest,
    write_image,
    write_regions,
)

TABLES = ("predictions.csv", "predictions.html", "failures.csv")
"""Files with the answers of a model."""

THUMBNAIL = "small.jpg"
"""The file with the thumbnail, in the folder of an image."""

_JPEG = "JPEG"
"""Kind of all pictures."""

_SHOWN = 1024
"""Longest side of a picture, in pixels."""

_SMALL = 160
"""Longest side of a thumbnail, in pixels."""

_STAINED = 2048
"""Longest side of a picture whose stains are normalised, which needs at least 24 bytes per pixel."""

STATES = ("waiting", "working", "done", "failed")
"""The states of an image, in this order; it may fail at any time."""


@dataclass
class ImageAnswer:
    """An image and its prediction.

    Attributes
    ----------
    number : int
    name : str
    model : int
    state : str
        One of `STATES`.
    error : str
        The reason why it cannot be used; empty if it can.
    notes : list of str
        Warnings.
    width, height : int
        Pixels; 0 before the file is read.
    mpp : float or None
        Micrometres per pixel, as given, of BreakHis, or of the file; None if they are not known.
    predicted : str or None
        The predicted class.
    confidence : float or None
        Calibrated probability of the predicted class.
    called_from : float or None
        The confidence from which this class is called; None if the most probable class is.
    uncertain : bool or None
        Whether the prediction is uncertain; None if the model has no rule for this.
    probabilities : dict
        Class to probability, as in the table.
    calibrated : dict
        Class to calibrated probability; that of the predicted class is the confidence.
    further : dict
        Other cells of the table: outlier, nearest training images, the result at the threshold.
    reviewed : bool
        Whether a person has looked at the answer.
    label : str
        The class that this person gives; empty for none of the model's.
    reviews : int
        How often the review was changed.
    """

    number: int
    name: str
    model: int
    state: str = "waiting"
    error: str = ""
    notes: list[str] = field(default_factory=list)
    width: int = 0
    height: int = 0
    mpp: float | None = None
    predicted: str | None = None
    confidence: float | None = None
    called_from: float | None = None
    uncertain: bool | None = None
    probabilities: dict[str, float] | None = None
    calibrated: dict[str, float] | None = None
    further: dict[str, str] | None = None
    reviewed: bool = False
    label: str = ""
    reviews: int = 0


@dataclass(eq=False)
class Item(ImageAnswer):
    """An image of the session.

    Attributes
    ----------
    path : Path
        The file, under its own name; from some published names, micrometres and patients are known.
    folder : Path
        Folder of its pictures.
    given : float or None
        Micrometres per pixel, as entered by the user.
    size : int
        Bytes of the file.
    prediction : Prediction or None
        The prediction, from which the table is written.
    next_class : str
        The second most probable class.
    shown : dict
        Pictures of it that exist, with the facts shown next to them.
    """

    path: Path = Path()
    folder: Path = Path()
    given: float | None = None
    size: int = 0
    prediction: Prediction | None = None
    next_class: str = ""
    shown: dict[str, Content] = field(default_factory=dict)

    @property
    def record(self) -> ImageRecord:
        """The image for a prediction."""
        return ImageRecord(self.name, self.path, None, mpp=self.given)


def readable(name: str) -> str:
    r"""Return a name of an upload as `predict` has it, without parts such as "..", and control characters escaped.

    Examples
    --------
    >>> print(readable("../slide/./a\n.png"))
    slide/a\x0a.png
    """
    return "/".join(part for part in printable(name).split("/") if part not in ("", ".", ".."))


def in_page(text: str) -> str:
    """Return a message in the words of the page, whose only option is a field for micrometres."""
    return written(limited(text, {"mpp"}), lambda name, value: "the field Micrometres per pixel")


_models: dict[Path, Model] = {}
"""The models that this process has loaded."""


@dataclass(frozen=True)
class PageModel:
    """A model of the page.

    Attributes
    ----------
    path : Path
        The file that the user gave.
    file : ModelFile
        A copy of it, since that file may be replaced while the page is used.
    point : OperatingPoint or None
    classes : tuple of str
    banners : tuple of str
        Warnings about its training.
    facts : list of (str, str)
        Facts about it, for a table: name and value.
    rule : mapping or None
        The rule by which a prediction is uncertain.
    calibrated : bool
    mixed : str
        See `mixed_note`.
    known : mapping
        How good it is, as far as it is known, see `known_of`.
    stain : str
        Its stain normalisation; empty if it has none.
    name : str
        What the page calls it.
    """

    path: Path
    file: ModelFile
    point: OperatingPoint | None
    classes: tuple[str, ...]
    banners: tuple[str, ...]
    facts: list[tuple[str, str]]
    rule: Entries | None
    calibrated: bool
    mixed: str
    known: Entries
    stain: str
    name: str = ""


def open_model(path: Path, weights: Sequence[str], copy: Path) -> PageModel:
    """Load a model, and copy its file.

    Parameters
    ----------
    path : Path
        As in `find_bundle`.
    weights : sequence of str
        As in `bchisto.predict.predict`; a CNN holds its own.
    copy : Path
        Where to copy the file.
    """
    path = find_bundle(path)
    if not bundle_stores(path):
        weights = ()
    shutil.copyfile(path, copy)
    log = logging.getLogger("bchisto")
    log.setLevel(logging.WARNING)  # warnings about the model go to the terminal
    with advised():
        file, model = ready_model(path, weights)
    log.setLevel(logging.ERROR)
    bundle = model.bundle
    _models[copy] = model
    return PageModel(
        path,
        replace(file, path=copy),
        PredictSettings().point(copy),
        tuple(bundle.classes),
        tuple(bundle.banners),
        list(bundle_lines(bundle, file.sha256)),
        bundle.unsure,
        bundle.temperature is not None,
        mixed_note(bundle),
        known_of(path),
        _own_stain(model),
    )


def _own_stain(model: Model) -> str:
    """Return the stain normalisation method of a model; empty if it has none."""
    if get_stain(model.stain).checked:
        return model.stain
    return ""


def _loaded(model: PageModel) -> Model:
    """Return a model, which each process loads only once."""
    if model.file.path not in _models:
        _models[model.file.path] = load_model(model.file)
    return _models[model.file.path]


def _checked(model: PageModel, record: ImageRecord) -> tuple[ImageRecord, float | None, list[str]]:
    """Check the header of an image; return it as the model takes it, its micrometres if known, and warnings."""
    (record,) = with_headers([replace(record, mpp=record.mpp or breakhis_mpp(record))])
    notes: dict[str, list[str]] = {}
    (image,), _ = check_sizes([record], model=_loaded(model), skip_errors=False, notes=notes)
    _refuse_too_large(image)
    return image, record.mpp, [in_page(note) for note in notes[record.image_id]]


def _refuse_too_large(record: ImageRecord) -> None:
    """Refuse an image that needs more memory than is free."""
    assert record.header is not None
    need = record.header.width * record.header.height * limits.SERVED_PIXEL_BYTES
    room = _free_memory()
    if need > room:
        raise InputError(
            f"{record.image_id}: needs about {need / 1e9:.1f} GB of memory, and {room / 1e9:.1f} GB are free; cut it"
        )


def _free_memory() -> float:
    """Return the number of bytes of free memory; infinity if the system does not tell it."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    return float("inf")


class ItemResult(NamedTuple):
    """What a prediction sets in an `Item`; see there."""

    width: int
    height: int
    mpp: float | None
    notes: list[str]
    prediction: Prediction
    predicted: str
    confidence: float
    called_from: float | None
    uncertain: bool | None
    next_class: str
    probabilities: dict[str, float]
    calibrated: dict[str, float]
    further: dict[str, str]
    state: str = "done"


def predict_image(model: PageModel, item: Item) -> ItemResult:
    """Predict an image, and write its thumbnail."""
    record, mpp, notes = _checked(model, item.record)
    image = decode_record(record)
    write_image(item.folder / THUMBNAIL, shrink_image(image, _SMALL), _JPEG)
    height, width, _ = image.shape
    results = predict_records(
        _loaded(model), [record], ticker=Ticker(None), skip_errors=False, warns=True
    )
    result = results[item.name]
    assert isinstance(result, Prediction)
    prediction = result._replace(warnings="")  # `tabulate` would make a column of them
    predicted = _predicted(model, [record], {item.name: prediction})
    result_table = tabulate(predicted, settings=PredictSettings(), point=model.point)
    (row,) = sheet_rows(result_table)
    uncertain = None
    if result_table.table.answers.unsure is not None:
        uncertain = bool(result_table.table.answers.unsure[0])
    probabilities = result_table.table.probabilities[0].tolist()
    return ItemResult(
        width,
        height,
        mpp,
        notes + result.warnings.splitlines(),
        prediction,
        row.predicted,
        row.confidence,
        row.called_from,
        uncertain,
        row.next_class,
        dict(zip(model.classes, probabilities, strict=True)),
        dict(zip(model.classes, result_table.calibrated[0].tolist(), strict=True)),
        {name: cells[0] for name, cells in result_table.table.further},
    )


def _predicted(
    model: PageModel, records: Sequence[ImageRecord], results: Mapping[str, Prediction | str]
) -> Predicted:
    """Return predictions as `tabulate` takes them."""
    return Predicted(records, results, _loaded(model).bundle, model.path, model.file.sha256)


def write_tables(
    model: PageModel,
    root: Path,
    items: Sequence[Item],
    folder: Path,
    *,
    prefix: str,
    html: bool,
) -> None:
    """Write the table of images, that of failures, and the report.

    If no image is done or failed, writing with the report removes all three.

    Parameters
    ----------
    model : PageModel
    root : Path
        The folder that holds the images by their names.
    items : sequence of Item
        All images there.
    folder : Path
    prefix : str
        The beginning of the paths of images in the table.
    html : bool
        Whether to write the report.
    """
    finished_items = [item for item in items if item.state in ("done", "failed")]
    if html and not finished_items:
        for name in TABLES:
            remove_output(folder / name)
        return
    by_name = {item.name: item for item in finished_items}
    patients = _patients(model, root)
    records = in_order(
        replace(item.record, label=item.label or None, group=patients.get(item.path))
        for item in finished_items
    )
    results = {name: item.prediction or item.error for name, item in by_name.items()}
    predicted = _predicted(model, records, results)
    result = tabulate(predicted, settings=PredictSettings(), point=model.point)
    images = [by_name[record.image_id] for record in result.table.records]
    columns = [*result.table.further, *_page_columns(images)]
    paths = ("path", [prefix + item.name for item in images])
    table = replace(result.table, further=[*columns, paths])
    table.finish(folder / "predictions.csv", overwrite=True)
    if html:
        report = replace(result, table=replace(table, further=columns))
        write_html(folder / "predictions.html", report, title="predictions.csv")
    write_or_remove(folder / "failures.csv", ["image_id", "error"], result.failures.items())


def _page_columns(items: Sequence[Item]) -> list[tuple[str, list[str]]]:
    """Return the columns that only the page's table has."""
    return [
        ("mpp", ["" if item.mpp is None else f"{item.mpp:.6g}" for item in items]),
        ("warnings", ["; ".join(item.notes) for item in items]),
        ("reviewed", ["yes" if item.reviewed else "" for item in items]),
    ]


def _patients(model: PageModel, root: Path) -> dict[Path, str | None]:
    """Return the patient of each image as `predict` would read the folder; none if it would refuse the folder."""
    with suppress(BchistoError):
        dataset = ImageSelection(root, **_loaded(model).bundle.reading).table()
        return {record.path: record.group for record in dataset.records}
    return {}


def draw(model: PageModel, item: Item, kind: str, target: str, path: Path) -> Content:
    """Write a picture of an image, and return the facts shown next to it.

    Parameters
    ----------
    model : PageModel
    item : Item
    kind : str
        A smaller ``picture``; all ``pixels`` of the file; ``stains``, normalised by the model's method, or by Macenko's
        if it has none; or ``map``, a heat map.
    target : str
        The class of the map.
    path : Path

    Raises
    ------
    TissueError
        The stains are to be normalised, and the image has too little tissue.
    """
    record, _, _ = _checked(model, item.record)
    if kind == "map":
        return _draw_map(model, record, target, path)
    image = decode_record(record)
    if kind == "stains":
        image = shrink_image(image, _STAINED)
        image, _ = make_normalizer(model.stain or "macenko").normalize_with_estimate(image)
    if kind != "pixels":
        image = shrink_image(image, _SHOWN)
    write_image(path, image, _JPEG)
    return {}


def _draw_map(model: PageModel, record: ImageRecord, target: str, path: Path) -> Content:
    """Write a heat map laid over an image, and the regions of its highest values; return the facts shown next to it."""
    explanation = explain_image(_loaded(model), record, file=model.path, target=target)
    write_regions(path.with_suffix(".geojson"), explanation, record)
    low, high = colour_limits(explanation)
    write_image(path, lay_over(explanation), _JPEG)
    names = ("title", "target", "margin", "notes", "caution", "contradiction")
    colour_names = ("signed", "white", "base", "tick")
    facts = {name: getattr(explanation, name) for name in names + colour_names}
    return facts | {"alt": where_highest(explanation), "low": low, "high": high}


def draw_to_label(image: Path, path: Path) -> None:
    """Write an image with all pixels, without a model."""
    write_image(path, decode_image(image), _JPEG)
