"""Run ``bchisto explain``: save an explanation of each image, draw it, and write a page of all."""

from __future__ import annotations

import functools
import hashlib
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import NamedTuple

from ...core import (
    ImageError,
    InputError,
    Many,
    Message,
    OutputError,
    PathInput,
    TextInput,
    converted,
    plain_options,
)
from ...core.formats import file_sha256
from ...core.jobs import (
    Work,
    ask_workers,
    cpu_resources,
    do_missing,
    key_of,
    refuse_overwriting,
    write_or_remove,
)
from ...core.models import bundle_kind, bundle_lines, bundle_view
from ...core.runs import FolderSettings, record_run
from ...data import ImageRecord, ImageSelection, record_sha256
from ...predict import (
    Model,
    advised,
    check_sizes,
    find_bundle,
    new_images,
    notes_of_training,
    packages_of,
    ready_model,
)
from .draw import MAX_PICTURES, colour_limits, draw, page_row, write_page, write_png
from .explanation import Explanation
from .image import ExplainUnit, ExplainUnits
from .methods import METHODS, ExplainSettings, Method, choose_method, class_of
from .regions import write_regions

_log = logging.getLogger(__name__)

_OPTIONS = tuple(field.name for field in fields(ExplainSettings))
"""Options that a caller can change in addition to those of a prediction."""


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
    banners : tuple of str
        Warnings that every reader must see.
    """

    folder: Path
    page: Path
    images: int
    failures: tuple[tuple[str, str], ...]
    banners: tuple[str, ...]


def explain(
    model: PathInput,
    images: ImageSelection | Many[PathInput] = (),
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
    images : sequence of path, or ImageSelection
        Folders, manifests or image files, or images of a dataset. Empty for a method that needs no images.
    out : str or Path
        A folder. Its subfolder ``<method>/`` gets ``pictures/``, ``arrays/``, ``regions/`` (see docs/explain.md),
        ``index.html``, ``explain.csv``, and ``failures.csv`` if images failed.
    settings : ExplainSettings, or sequence of them
        One for each method, see `settings_of`. All are checked before the first method starts.
    methods : mapping
        All available methods by name.
    weights : sequence of str
        As in `predict`.
    work : Work, optional
        Only `overwrite`, `skip_errors` and `dask` are used. Without `dask`, this process does all the work.

    Returns
    -------
    list of ExplainResult
        One for each method; empty with `Work.checks`.

    Raises
    ------
    BundleError, WeightsError
        As in `predict`.
    InputError
        The method, layer or class does not exist, the method is for another kind of model, or images are refused.
    ImageError
        An image cannot be used. Explanations before it stay saved.
    """
    settings = [settings] if isinstance(settings, ExplainSettings) else settings
    sources = (
        images
        if isinstance(images, ImageSelection)
        else converted(images, "images", tuple[Path, ...])
    )
    given = [sources.images] if isinstance(sources, ImageSelection) else sources
    weights_given, work = converted(weights, "weights", tuple[str, ...]), work or Work()
    bundle, folder = find_bundle(converted(model, "model", Path)), converted(out, "out", Path)
    for path in given:
        ImageSelection(path).refuse_as_run(folder)
    kind, view = bundle_kind(bundle), bundle_view(bundle)
    chosen = [choose_method(requested, methods, kind=kind, bundle=bundle) for requested in settings]
    targets = [class_of(requested, *view) for requested in settings]
    for method in chosen:
        if not given and method.of_model is None:
            raise InputError("{method} {}: looks at images; give {images}", method.name)
    config = {
        "model": str(bundle),
        "images": [str(path) for path in given],
        "out": str(folder),
        "weights": list(weights_given),
        **plain_options(settings[0], work),
        "method": [method.name for method in chosen],
        "layer": "".join({requested.layer: None for requested in settings if requested.layer}),
    }
    with (
        record_run(folder, command="explain", config=config, work=work) as record,
        advised(*_OPTIONS),
    ):
        file, ready = ready_model(bundle, weights_given)
        read = functools.cache(
            functools.partial(
                _images, ready, sources, mpp=settings[0].mpp, skip_errors=work.skip_errors
            )
        )
        jobs = []
        for method, requested, target in zip(chosen, settings, targets, strict=True):
            explain_units = ExplainUnits(
                file, ready.computed_by, method, requested, target, work.skip_errors
            )
            explain_units.explainer()  # refuses a layer or network that the method cannot explain
            own = {"model_sha256": file.sha256, **asdict(requested)}
            into = FolderSettings(
                folder=folder / requested.method, settings=own, work=("arrays/*.npz",)
            )
            if not work.overwrite:
                into.check()
            usable, refused = read(method.of_model is not None)
            images_of = [image.path.parent for image in usable if image is not None]
            refuse_overwriting([into.folder, into.folder / "pictures"], images_of)
            jobs.append((explain_units, into, usable, refused))
        keys = [
            [repr(unit.record), unit.key]
            for _, into, usable, _ in jobs
            for unit in _units(into, usable)
        ]
        record.note(model_sha256=file.sha256, images_sha256=key_of("images explained 1", keys=keys))
        if work.checks:
            return []
        for _, into, _, _ in jobs:
            into.begin(overwrite=work.overwrite)
        results = [_explain_by(*job, model=ready, work=work) for job in jobs]
        record.note(
            explained=results[0].images, failures=max(len(result.failures) for result in results)
        )
    return results


def _images(
    model: Model,
    sources: ImageSelection | Sequence[Path],
    of_model: bool,
    *,
    mpp: float | None,
    skip_errors: bool,
) -> tuple[Sequence[ImageRecord | None], tuple[tuple[str, str], ...]]:
    if of_model:
        return [None], ()
    if isinstance(sources, ImageSelection):
        records = list(sources.read(labels=False).records)
    else:
        records = new_images(sources, reading=model.bundle.reading, classes=model.bundle.classes)
    if not records:
        raise InputError(Message("{images}: no image was given"))
    return check_sizes(records, model=model, mpp=mpp, skip_errors=skip_errors)


def _explain_by(
    explain: ExplainUnits,
    into: FolderSettings,
    records: Sequence[ImageRecord | None],
    refused: Sequence[tuple[str, str]],
    *,
    model: Model,
    work: Work,
) -> ExplainResult:
    """Explain the missing images and save each at once, then draw all with one colour scale, in a table and a page."""
    folder, method = into.folder, explain.method
    units = list(_units(into, records))
    _, failed = do_missing(
        explain,
        units,
        read=lambda unit: None if Explanation.load(unit.arrays, work=unit.key) is None else True,
        steps=lambda _: 1,
        label=f"explain {method.name}",
        finished="images are explained",
        step_name="images",
        work=work,
        resources=cpu_resources(1),
        begin=lambda: (
            work.dask and ask_workers(work.dask, folder=folder, packages=packages_of(model))
        ),
    )
    left_out = {image: text for each in failed for image, text in each.items()}
    for text in left_out.values():
        _log.warning("left out: %s", text)
    failures = (*refused, *((image, str(text)) for image, text in left_out.items()))
    units = [unit for unit in units if unit.record is None or unit.record.image_id not in left_out]
    if not units:
        raise ImageError(f"none of the {len(failures)} images can be used; first: {failures[0][1]}")
    maps = (explanation for explanation in map(_saved, units) if explanation.values is not None)
    ends = list(zip(*map(colour_limits, maps), strict=True))
    rows: list[list[str]] = []
    shown: list[dict[str, str]] = []
    for unit, explanation in zip(units, map(_saved, units), strict=True):
        name, label = unit.arrays.stem, ""
        if unit.record is not None:
            label = unit.record.label or ""
            if explanation.values is not None:
                write_regions(folder / "regions" / f"{name}.geojson", explanation, unit.record)
        if explanation.values is not None:
            explanation = replace(explanation, limits=(min(ends[0]), max(ends[1])))
        files = [f"pictures/{name}.png", f"arrays/{name}.npz"]
        picture = draw(explanation)
        write_png(folder / files[0], picture)
        if len(shown) < MAX_PICTURES:
            shown.append(page_row(explanation, picture, link=files[0]))
        scores = [
            "" if math.isnan(score) else repr(score)
            for score in (explanation.score, explanation.calibrated)
        ]
        rows.append(
            [
                explanation.image_id,
                label,
                explanation.target,
                explanation.predicted,
                *scores,
                *files,
            ]
        )
    header = [
        "image_id",
        "label",
        "target",
        "predicted",
        "score",
        "calibrated",
        "picture",
        "arrays",
    ]
    write_or_remove(folder / "explain.csv", header, rows)
    write_or_remove(folder / "failures.csv", ["image_id", "error"], failures)
    page, banners = folder / "index.html", notes_of_training(model.bundle.banners)
    facts = bundle_lines(model.bundle, explain.file.sha256)
    title, caution = f"Explanations: {method.name}", explanation.caution
    write_page(
        page,
        shown,
        title=title,
        count=len(rows),
        caution=caution,
        banners=banners,
        failures=failures,
        facts=facts,
    )
    return ExplainResult(folder, page, len(rows), failures, banners)


def _units(into: FolderSettings, records: Sequence[ImageRecord | None]) -> Iterator[ExplainUnit]:
    """Yield the images, or the model itself for None, with the files and keys of their explanations."""
    for record in records:
        name = "model" if record is None else _file_name(record.image_id)
        content = "" if record is None else record_sha256(record, file_sha256(record.path))
        key = key_of("explanation 3", settings=dict(into.settings), image=content)
        yield ExplainUnit(record, into.folder / "arrays" / f"{name}.npz", key)


def _saved(unit: ExplainUnit) -> Explanation:
    """Return the saved explanation of an image."""
    if (explanation := Explanation.load(unit.arrays, work=unit.key)) is None:
        raise OutputError(
            f"{unit.arrays}: was removed or changed meanwhile; run the same command again"
        )
    return explanation


def _file_name(image_id: str) -> str:
    """Return a file name for an image that is valid on any file system: its id, simplified, and part of a checksum."""
    plain = re.sub(r"[^\w.-]+", "_", image_id).strip("._")[-60:]
    return f"{plain}-{hashlib.sha256(image_id.encode()).hexdigest()[:8]}"
