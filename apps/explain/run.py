"""Run ``bchisto explain``: save an explanation of each image, draw it, and write a contact sheet."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from ...core import (
    ImageError,
    InputError,
    Many,
    Message,
    OutputError,
    PathInput,
    TextInput,
    converted,
    message_of,
    one_of,
    plain_options,
)
from ...core.formats import file_sha256
from ...core.jobs import (
    Progress,
    Work,
    ask_workers,
    cpu_resources,
    do_missing,
    key_of,
    refuse_overwriting,
    remove_output,
    write_rows,
)
from ...core.models import bundle_kind, bundle_lines, bundle_view
from ...core.runs import FolderSettings, record_run
from ...data import ImageRecord, ImageSelection, record_sha256
from ...predict import Model, advised, check_sizes, find_bundle, new_images, notes_of_training, packages_of, ready_model
from .draw import Drawn, colour_limits, draw, write_page, write_png, write_sheet
from .explanation import Explanation
from .image import Explainer, ExplainUnit, ExplainUnits, graphs_of, make_explainer
from .methods import METHODS, ExplainSettings, Method, choose_method, class_of
from .regions import write_regions

_log = logging.getLogger(__name__)

_OPTIONS = tuple(field.name for field in fields(ExplainSettings))
"""Options that a caller can change in addition to those of a prediction."""


@dataclass(frozen=True)
class ExplainResult:
    """The result of an explanation by one method.

    Attributes
    ----------
    folder : Path
        ``<out>/<method>``.
    page, sheet : Path
        The contact sheet as HTML and as PNG.
    images : int
        Number of explanations.
    failures : tuple of (image_id, message)
        Images that could not be used; also in ``failures.csv``.
    banners : tuple of str
        Warnings that every reader must see.
    """

    folder: Path
    page: Path
    sheet: Path
    images: int
    failures: tuple[tuple[str, str], ...]
    banners: tuple[str, ...]

    def _repr_png_(self) -> bytes:
        return self.sheet.read_bytes()


def explain(
    model: PathInput,
    images: ImageSelection | Many[PathInput] = (),
    *,
    out: PathInput,
    settings: ExplainSettings,
    methods: Mapping[str, Method] = METHODS,
    weights: Many[TextInput] = (),
    work: Work | None = None,
) -> ExplainResult:
    """Explain predictions of a model file. Images that are already explained are skipped.

    Parameters
    ----------
    model : str or Path
        A ``model.bchisto``, or the folder of a run that contains one.
    images : sequence of path, or ImageSelection
        Folders, manifests or image files, or images of a dataset. Empty for a method that needs no images.
    out : str or Path
        A folder. Its subfolder ``<method>/`` gets ``pictures/``, ``arrays/``, ``regions/`` (see docs/explain.md),
        ``index.html``, ``sheet.png``, ``explain.csv``, and ``failures.csv`` if images failed.
    settings : ExplainSettings
    methods : mapping
        All available methods by name.
    weights : sequence of str
        As in `predict`.
    work : Work, optional
        Only `overwrite`, `skip_errors` and `dask` are used. Without `dask`, this process does all the work.

    Returns
    -------
    ExplainResult

    Raises
    ------
    BundleError, WeightsError
        As in `predict`.
    InputError
        The method, layer or class does not exist, the method is for another kind of model, or images are refused.
    ImageError
        An image cannot be used. Explanations before it stay saved.
    """
    return explain_methods(model, images, out=out, settings=[settings], methods=methods, weights=weights, work=work)[0]


def explain_methods(
    model: PathInput,
    images: ImageSelection | Many[PathInput] = (),
    *,
    out: PathInput,
    settings: Sequence[ExplainSettings],
    methods: Mapping[str, Method] = METHODS,
    weights: Many[TextInput] = (),
    work: Work | None = None,
) -> list[ExplainResult]:
    """Explain predictions by several methods, as `explain` does. All are checked before the first one starts.

    Parameters
    ----------
    settings : sequence of ExplainSettings
        One for each method, see `settings_of`.
    model, images, out, methods, weights, work
        As in `explain`.

    Returns
    -------
    list of ExplainResult
        Empty with `Work.checks`.

    Raises
    ------
    BundleError, WeightsError, InputError, ImageError
        As in `explain`.
    """
    sources = images if isinstance(images, ImageSelection) else converted(images, "images", tuple[Path, ...])
    given = [sources.images] if isinstance(sources, ImageSelection) else sources
    weights_given, work = converted(weights, "weights", tuple[str, ...]), work or Work()
    bundle, folder = find_bundle(converted(model, "model", Path)), converted(out, "out", Path)
    for path in given:
        ImageSelection(path).refuse_as_run(folder)
    kind, view = bundle_kind(bundle), bundle_view(bundle)
    chosen = [choose_method(requested, methods, kind=kind, bundle=bundle) for requested in settings]
    if not chosen:
        raise InputError("{settings}: give one for each method; {}", one_of("", methods))
    targets = [class_of(requested, *view) for requested in settings]
    for method in chosen:
        if not given and method.of_model is None:
            raise InputError("{method} {}: looks at images; give {images}", method.name)
    config = {
        "model": str(bundle), "images": [str(path) for path in given], "out": str(folder),
        "weights": list(weights_given),
        **plain_options(settings[0], work), "method": [method.name for method in chosen],
        "layer": "".join({requested.layer: None for requested in settings if requested.layer}),
    }  # fmt: skip
    with record_run(folder, command="explain", config=config, work=work) as record, advised(*_OPTIONS):
        file, ready = ready_model(bundle, weights_given)
        graphs = graphs_of(ready)
        read = functools.cache(
            functools.partial(_images, ready, sources, mpp=settings[0].mpp, skip_errors=work.skip_errors)
        )
        jobs = []
        for method, requested, target in zip(chosen, settings, targets, strict=True):
            explainer = make_explainer(ready, bundle, method, requested, target, graphs)
            own = {"model_sha256": file.sha256, **asdict(requested)}
            into = FolderSettings(folder=folder / requested.method, settings=own, work=("arrays/*.npz",))
            if not work.overwrite:
                into.check()
            usable, refused = read(method.of_model is not None)
            images_of = [image.path.parent for image in usable if image is not None]
            refuse_overwriting([into.folder, into.folder / "pictures"], images_of)
            on_workers = functools.partial(
                _explain_on_workers, ExplainUnits(file, ready.computed_by, method, requested, target), work, ready
            )
            jobs.append((method, explainer, on_workers, into, usable, refused))
        keys = [[repr(image), _key_of(into, image)] for *_, into, usable, _ in jobs for image in usable]
        record.note(model_sha256=file.sha256, images_sha256=key_of("images explained 1", keys=keys))
        if work.checks:
            return []
        for _, _, _, into, _, _ in jobs:
            into.begin(overwrite=work.overwrite)
        banners, facts = notes_of_training(ready.bundle.banners), bundle_lines(ready.bundle, file.sha256)
        results = [_explain_by(*job, skip_errors=work.skip_errors, banners=banners, facts=facts) for job in jobs]
        record.note(explained=results[0].images, failures=max(len(result.failures) for result in results))
    return results


def _images(
    model: Model, sources: ImageSelection | Sequence[Path], of_model: bool, *, mpp: float | None, skip_errors: bool
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
    method: Method,
    explainer: Explainer,
    on_workers: Callable[[FolderSettings, Sequence[ImageRecord]], None],
    settings: FolderSettings,
    records: Sequence[ImageRecord | None],
    refused: Sequence[tuple[str, str]],
    *,
    skip_errors: bool,
    banners: tuple[str, ...],
    facts: Sequence[tuple[str, str]],
) -> ExplainResult:
    """Explain images one by one, save each at once, then write the table and the contact sheets.

    The drawings come last, since all share one colour scale.
    """
    folder = settings.folder
    rows: list[list[str]] = []
    saved: list[tuple[Path, str]] = []  # paths only, since the arrays are large
    ends: list[tuple[float, float]] = []
    failures = list(refused)
    on_workers(settings, [record for record in records if record is not None])
    with Progress(total=len(records), label=f"explain {method.name}", unit="images") as progress:
        for number, record in enumerate(records, start=1):
            arrays = _arrays_of(settings, record)
            name = arrays.stem
            try:
                work = _key_of(settings, record)
                explanation = Explanation.load(arrays, work=work)
                if explanation is None:
                    explanation = explainer(record)
                    explanation.save(arrays, work=work)
                if record is not None and explanation.values is not None:
                    write_regions(folder / "regions" / f"{name}.geojson", explanation, record)
            except ImageError as error:
                if not skip_errors or record is None:
                    raise
                _log.warning("left out: %s", message_of(error))
                failures.append((record.image_id, str(error)))
            else:
                numbers = [
                    "" if math.isnan(number) else repr(number) for number in (explanation.score, explanation.calibrated)
                ]
                label = "" if record is None else record.label or ""
                files = [f"pictures/{name}.png", f"arrays/{name}.npz"]
                rows.append([explanation.image_id, label, explanation.target, explanation.predicted, *numbers, *files])
                saved.append((arrays, work))
                if explanation.values is not None:
                    ends.append(colour_limits(explanation))
            progress.update_to(number)
    if not saved:
        raise ImageError(f"none of the {len(failures)} images can be used; first: {failures[0][1]}")
    header = ["image_id", "label", "target", "predicted", "score", "calibrated", "picture", "arrays"]
    write_rows(folder / "explain.csv", header, rows)
    problems = folder / "failures.csv"
    if failures:
        write_rows(problems, ["image_id", "error"], failures)
    else:
        remove_output(problems)
    drawn = list(_drawn(folder, saved, ends))
    page, sheet = folder / "index.html", folder / "sheet.png"
    write_page(page, title=f"Explanations: {method.name}", drawn=drawn, banners=banners, failures=failures, facts=facts)
    write_sheet(sheet, [explained.file for explained in drawn])
    return ExplainResult(folder, page, sheet, len(drawn), tuple(failures), banners)


def _explain_on_workers(
    explain: ExplainUnits, work: Work, model: Model, settings: FolderSettings, records: Sequence[ImageRecord]
) -> None:
    """Let Dask workers, if any, explain the missing images. The caller explains those on which they fail."""
    if work.dask is None:
        return
    units = []
    for record in records:
        with contextlib.suppress(ImageError):
            units.append(ExplainUnit(record, _arrays_of(settings, record), _key_of(settings, record)))
    do_missing(
        explain,
        units,
        read=lambda unit: None if Explanation.load(unit.arrays, work=unit.key) is None else True,
        steps=lambda _: 1,
        label=f"explain {explain.method.name}",
        finished="images are explained",
        step_name="images",
        work=work,
        resources=cpu_resources(work.jobs),
        begin=lambda: work.dask and ask_workers(work.dask, folder=settings.folder, packages=packages_of(model)),
    )


def _arrays_of(settings: FolderSettings, record: ImageRecord | None) -> Path:
    return settings.folder / "arrays" / f"{'model' if record is None else _file_name(record.image_id)}.npz"


def _key_of(settings: FolderSettings, record: ImageRecord | None) -> str:
    content = "" if record is None else record_sha256(record, file_sha256(record.path))
    return key_of("explanation 3", settings=dict(settings.settings), image=content)


def _drawn(folder: Path, saved: Sequence[tuple[Path, str]], ends: Sequence[tuple[float, float]]) -> Iterator[Drawn]:
    """Draw the saved explanations with one colour scale for all."""
    limits = (min(low for low, _ in ends), max(high for _, high in ends)) if ends else None
    for arrays, work in saved:
        explanation, picture = Explanation.load(arrays, work=work), folder / "pictures" / f"{arrays.stem}.png"
        if explanation is None:
            raise OutputError(f"{arrays}: was removed or changed meanwhile; run the same command again")
        scaled = explanation if explanation.values is None else replace(explanation, limits=limits)
        write_png(picture, draw(scaled))
        yield Drawn.of(scaled, picture)


def _file_name(image_id: str) -> str:
    """Return a file name for an image that is valid on any file system: its id, simplified, and part of a checksum."""
    plain = re.sub(r"[^\w.-]+", "_", image_id).strip("._")[-60:]
    return f"{plain}-{hashlib.sha256(image_id.encode()).hexdigest()[:8]}"
