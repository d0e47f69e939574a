"""Run ``bchisto explain``: save an explanation of each image, draw it, and write a page of all."""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ...core import (
    Banner,
    Content,
    Entries,
    ImageError,
    InputError,
    Many,
    Message,
    OutputError,
    Pairs,
    PathInput,
    TextInput,
    converted,
    counted,
    items_of,
    none_usable,
    plain_options,
)
from ...core.formats import Pixels, file_sha256, read_rows
from ...core.jobs import (
    Computation,
    Resources,
    Work,
    compute_all,
    cpu_resources,
    key_of,
    refuse_overwriting,
    write_or_remove,
)
from ...core.models import bundle_kind, bundle_lines, bundle_view
from ...core.runs import FolderSettings, InFolder, record_run
from ...data import (
    Frame,
    ImageRecord,
    ImageSelection,
    image_paths,
    record_sha256,
    warn_left_out,
)
from ...encoders import weight_options
from ...evaluate.report import known_of, render_page
from ...predict import (
    Model,
    ModelFile,
    WithModel,
    advised,
    check_sizes,
    find_bundle,
    new_images,
    notes_of_training,
    ready_model,
)
from .draw import MAX_PICTURES, colour_limits, draw, page_row, write_image
from .explanation import Explanation
from .image import ExplainUnit, ExplainUnits
from .methods import METHODS, Asked, ExplainSettings, Method, ask, choose_method, legend_of
from .regions import write_regions


class ExplainResult(NamedTuple):
    """The result of an explanation by one method.

    Attributes
    ----------
    folder : Path
        ``<out>/<method>``.
    page : Path
        All pictures on one HTML page.
    images : int
        Number of explanations.
    failures : tuple of (image_id, message)
        Images that could not be used; also in ``failures.csv``.
    banners : tuple of Banner
        Warnings that every reader must see.
    legend : str
        What the colours of all maps mean; empty if there is no map.
    unchanged : bool
        With `Work.checks`, whether there is nothing to do.
    """

    folder: Path
    page: Path
    images: int
    failures: Pairs
    banners: tuple[Banner, ...]
    legend: str
    unchanged: bool


def explain(
    model: PathInput,
    images: ImageSelection | Many[PathInput | Frame] = (),
    *,
    out: PathInput,
    settings: ExplainSettings | Sequence[ExplainSettings],
    methods: Mapping[str, Method] = METHODS,
    weights: Many[TextInput] = (),
    work: Work | None = None,
) -> list[ExplainResult]:
    """Explain predictions of a model file. Images that are already explained are skipped.

    Parameters
    ----------
    model : str or Path
        A ``model.bchisto``, or the folder of a run that contains one.
    images : sequence of path or pandas.DataFrame, or ImageSelection
        Folders, manifests, also as data frames, or image files, or images of a dataset. Empty for a method that needs
        no images.
    out : str or Path
        A folder. Its subfolder ``<method>/`` gets ``pictures/``, ``arrays/``, ``regions/`` (see docs/explain.md),
        ``index.html``, ``explain.csv``, and ``failures.csv`` if images failed.
    settings : ExplainSettings, or sequence of them
        One for each method, see `settings_of`. All are checked before the first method starts.
    methods : mapping
        All available methods by name.
    weights : sequence of str, or mapping
        As in `predict`.
    work : Work, optional
        Only `overwrite`, `skip_errors` and `dask` are used. Without `dask`, this process does all the work.

    Returns
    -------
    list of ExplainResult
        One for each method.

    Raises
    ------
    BundleError, WeightsError
        As in `predict`.
    InputError
        The method, layer or class does not exist, the method is for another kind of model, or images are refused.
    ImageError
        An image cannot be used. Explanations before it stay saved.
    """
    settings = items_of(settings)
    selection = None
    if isinstance(images, ImageSelection):
        selection = images
        images = images.images
    paths = image_paths(images)
    weights_given = weight_options(weights)
    work = Work.of(work)
    bundle = find_bundle(model)
    folder = converted(out, "out", Path)
    for path in paths:
        ImageSelection(path).refuse_as_run(folder)
    kind = bundle_kind(bundle)
    view = bundle_view(bundle)
    asked = []
    for choice in settings:
        method = choose_method(choice, methods, kind=kind, bundle=bundle)
        if not paths and method.of_model is None:
            raise InputError("{method} {}: looks at images; give {images}", method.name)
        asked.append(ask(method, choice, *view))
    config = {
        "model": str(bundle),
        "images": list(map(str, paths)),
        "out": str(folder),
        "weights": list(weights_given),
        **plain_options(settings[0], work),
        "method": [item.method.name for item in asked],
        "layer": "".join({choice.layer: None for choice in settings}),
    }
    with (
        record_run(folder, command="explain", config=config, work=work) as record,
        advised(*plain_options(settings[0])),
    ):
        file, ready = ready_model(bundle, weights_given)
        images_given = _images(paths, selection, ready, settings[0].mpp, skip=work.skip_errors)
        known = known_of(bundle)
        explanations = [
            Explanations(item, folder / item.method.name, file, ready, *images_given, known, work)
            for item in asked
        ]
        for computation in explanations:
            computation.open()
        keys = [unit.key for computation in explanations for unit in computation.all_units]
        record.note(model_sha256=file.sha256, images_sha256=key_of("images explained 1", keys=keys))
        results = [
            outcome.result or computation.result((), unchanged=outcome.unchanged)
            for computation, outcome in zip(explanations, compute_all(explanations), strict=True)
        ]
        record.note(
            explained=results[0].images, failures=max(len(result.failures) for result in results)
        )
    return results


def _images(
    paths: Sequence[Path],
    selection: ImageSelection | None,
    model: Model,
    mpp: float | None,
    *,
    skip: bool,
) -> tuple[Sequence[ImageRecord], Pairs]:
    """Return the images that can be used, and those that cannot, with the reason; nothing if none are given."""
    if not paths:
        return [], ()
    if selection is not None:
        records = list(selection.read(labels=False).records)
    else:
        bundle = model.bundle
        records = new_images(paths, reading=bundle.reading, classes=bundle.classes)
    if not records:
        raise InputError(Message("{images}: no image was given"))
    return check_sizes(records, model=model, mpp=mpp, skip_errors=skip)


Left = dict[str, str]
"""Image id to the reason why the image was left out."""


@dataclass
class Explanations(InFolder, WithModel, Computation[ExplainUnit, bool, Left, ExplainResult]):
    """Explanations of images by one method: each is saved at once, then all are drawn with one colour scale.

    Attributes
    ----------
    asked : Asked
    into : Path
        The folder of the method.
    file : ModelFile
    model : Model
    records : sequence of (ImageRecord or None)
        The images, or None for the model itself.
    refused : sequence of (str, str)
        Images that cannot be used, as their headers show, and why.
    known : mapping
        How good the model is, as far as it is known, see `known_of`.
    work : Work
    """

    asked: Asked
    into: Path
    file: ModelFile
    model: Model
    records: Sequence[ImageRecord | None]
    refused: Pairs
    known: Entries
    work: Work

    unit = "images"
    step_name = "images"
    finished_clause = "images are explained"

    @property
    def label(self) -> str:
        """Name of the task, with that of the method."""
        return f"explain {self.asked.method.name}"

    def open(self) -> None:
        """Check the method and the folder; if the method explains the model itself, drop the images. Write nothing.

        Raises
        ------
        InputError
            A layer or network cannot be explained by the method, or images are in the folder.
        """
        self.do.explainer()
        if self.asked.method.of_model is not None:
            self.records = [None]
            self.refused = ()
        refuse_overwriting(
            [self.folder, self.folder / "pictures"],
            [record.path.parent for record in self.records if record is not None],
        )

    @functools.cached_property
    def folder_settings(self) -> FolderSettings:
        """The folder with its settings."""
        settings = {"model_sha256": self.file.sha256, **asdict(self.asked.settings)}
        return FolderSettings(folder=self.folder, settings=settings, work=("arrays/*.npz",))

    @property
    def resources(self) -> Resources:
        """One process, which is this one."""
        return cpu_resources(1)

    @functools.cached_property
    def all_units(self) -> list[ExplainUnit]:
        """The images, or the model itself for None, with the files and keys of their explanations."""
        units = []
        for record in self.records:
            name = "model"
            content = ""
            if record is not None:
                name = _file_name(record.image_id)
                content = record_sha256(record, file_sha256(record.path))
            key = key_of("explanation 8", settings=self.folder_settings.settings, image=content)
            units.append(ExplainUnit(record, self.folder / "arrays" / f"{name}.npz", key))
        return units

    def units(self, *, merges: bool) -> Sequence[ExplainUnit]:
        """Return `all_units`."""
        return self.all_units

    def read(self, unit: ExplainUnit) -> bool | None:
        """Return True for an image whose explanation is saved."""
        if Explanation.load(unit.arrays, work=unit.key) is None:
            return None
        return True

    @property
    def do(self) -> ExplainUnits:
        """Explains images, and saves the explanations."""
        return ExplainUnits(self.file, self.model.computed_by, self.asked, self.skip_errors)

    def is_written(self, kept: Sequence[bool | None]) -> bool:
        """Return whether the files exist, and the table lists exactly these explanations."""
        rows = [_row(unit, _saved(unit)) for unit in self.all_units]
        in_table = [list(row.values()) for row in read_rows(self.folder / "explain.csv")]
        if self.refused or in_table != rows:
            return False
        files = ("index.html", *(unit.picture for unit in self.all_units))
        return all((self.folder / file).is_file() for file in files)

    def write(self, kept: Sequence[bool | None], made: Sequence[Left]) -> ExplainResult:
        """Draw all explanations with one colour scale, in pictures, a table and a page.

        Raises
        ------
        ImageError
            No image can be used.
        OutputError
            An explanation was removed meanwhile, or an output cannot be written.
        """
        left_out = {image: reason for block in made for image, reason in block.items()}
        warn_left_out(left_out)
        failures = (*self.refused, *left_out.items())
        units = [
            unit
            for unit in self.all_units
            if unit.record is None or unit.record.image_id not in left_out
        ]
        if not units:
            raise ImageError(none_usable([reason for _, reason in failures]))
        # all maps share one colour bar
        ends = [
            end
            for explanation in map(_saved, units)
            if explanation.values is not None
            for end in colour_limits(explanation)
        ]
        limits = (min(ends, default=0.0), max(ends, default=0.0))
        rows = []
        page_rows: list[Content] = []
        for unit in units:
            explanation, picture = self._drawn(unit, limits)
            if len(page_rows) < MAX_PICTURES:
                page_rows.append(page_row(explanation, picture, unit.picture))
            rows.append(_row(unit, explanation))
        caution = explanation.caution  # that of the method, which all images share
        write_or_remove(self.folder / "failures.csv", ["image_id", "error"], failures)
        result = self.result(failures, images=len(rows))
        render_page(
            result.page,
            "sheet.html",
            package=__package__,
            style="sheet.css",
            script="",
            goal="pictures",
            title=f"Explanations: {self.asked.method.name}",
            summary=counted(len(rows), "picture"),
            legend=result.legend,
            rows=page_rows,
            left_out=len(rows) - len(page_rows),
            banners=(*result.banners, f"limitations: {caution}"),
            failures=failures,
            known=self.known,
            facts=bundle_lines(self.model.bundle, self.file.sha256),
        )
        # last, since `is_written` takes it as a sign that all else is written
        write_or_remove(self.folder / "explain.csv", _HEADER, rows)
        return result

    def _drawn(self, unit: ExplainUnit, limits: tuple[float, float]) -> tuple[Explanation, Pixels]:
        """Draw a saved explanation with the limits of all, in a picture and as regions; return both."""
        explanation = _saved(unit)
        if explanation.values is not None:
            if unit.record is not None:
                write_regions(
                    self.folder / "regions" / f"{unit.arrays.stem}.geojson",
                    explanation,
                    unit.record,
                )
            explanation = replace(explanation, limits=limits)
        picture = draw(explanation)
        write_image(self.folder / unit.picture, picture)
        return explanation, picture

    def result(self, failures: Pairs, *, images: int = 0, unchanged: bool = False) -> ExplainResult:
        """Return the result: where it is, how many images were explained, and which failed."""
        bundle = self.model.bundle
        return ExplainResult(
            self.folder,
            self.folder / "index.html",
            images,
            failures,
            notes_of_training(bundle.banners),
            legend_of(self.asked, bundle.classes),
            unchanged,
        )


_HEADER = (
    "image_id",
    "label",
    "target",
    "predicted",
    "called_from",
    "score",
    "calibrated",
    "picture",
    "arrays",
)
"""Columns of the table."""


def _row(unit: ExplainUnit, explanation: Explanation) -> list[str]:
    """Return the row of an explanation in the table."""
    return [
        explanation.image_id,
        "" if unit.record is None else unit.record.label_text,
        explanation.target,
        explanation.predicted,
        _number(explanation.called_from),
        _number(explanation.score),
        _number(explanation.calibrated),
        unit.picture,
        f"arrays/{unit.arrays.name}",
    ]


def _number(score: float) -> str:
    if math.isnan(score):
        return ""
    return repr(score)


def _saved(unit: ExplainUnit) -> Explanation:
    """Return the saved explanation of an image."""
    explanation = Explanation.load(unit.arrays, work=unit.key)
    if explanation is None:
        raise OutputError(
            f"{unit.arrays}: was removed or changed meanwhile; run the same command again"
        )
    return explanation


def _file_name(image_id: str) -> str:
    """Return a file name for an image that is valid on any file system: its id, simplified, and part of a checksum."""
    plain = re.sub(r"[^\w.-]+", "_", image_id).strip("._")[-60:]
    return f"{plain}-{hashlib.sha256(image_id.encode()).hexdigest()[:8]}"
