"""Run ``bchisto predict``: check the inputs, load the model, predict the missing images, and write the outputs."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..core import (
    BundleError,
    ImageError,
    InputError,
    Many,
    Message,
    OutputError,
    Parameter,
    PathInput,
    TextInput,
    converted,
    counted,
    plain_options,
)
from ..core.formats import file_sha256
from ..core.jobs import (
    UnderWayError,
    Work,
    ensure_folder,
    in_turn,
    named_files,
    refuse_among,
    refuse_overwriting,
    remove_leftovers,
    set_aside,
)
from ..core.models import BundleFacts, bundle_view
from ..core.runs import RunRecord, read_records, record_table, unfinished_record
from ..data import Finding, walk_files
from ..featurize import files_of
from .model import find_bundle, ready_model
from .outputs import PredictResult, is_written, write_outputs
from .predicted import Predicted, image_units, predict_missing
from .records import advised, check_sizes, new_images
from .settings import PredictSettings, choose_point


class _Inputs(NamedTuple):
    """The images or embeddings to predict, and the model."""

    model: Path
    images: tuple[Path, ...]
    features: tuple[Path, ...]
    weights: tuple[str, ...]


def predict(
    model: PathInput,
    images: Many[PathInput] = (),
    *,
    features: Many[PathInput] = (),
    out: PathInput,
    weights: Many[TextInput] = (),
    settings: PredictSettings | None = None,
    work: Work | None = None,
) -> PredictResult:
    """Predict new images with a model file. An interrupted run is resumed.

    Parameters
    ----------
    model : str or Path
        A ``model.bchisto``, or the folder of a run that contains one.
    images : sequence of path
        Folders, manifests or image files.
    features : sequence of path
        Embeddings instead of images, see `bchisto.featurize.read_embeddings`: for each feature file of the model, a
        file or folder of the same name. They must be of the same kind as in training.
    out : str or Path
        The CSV table to write.
    weights : sequence of str
        ``imagenet``, a path, or ``ENCODER=`` followed by one of these. It is not needed if the run of the model file
        recorded the weights file and this file is unchanged.
    settings : PredictSettings, optional
        What is written; by default only the table, with uncalibrated probabilities.
    work : Work, optional
        How the work is done; by default with a process per core, or one per GPU if Keras's backend finds any.
        Shards are refused.

    Returns
    -------
    PredictResult

    Raises
    ------
    BundleError, WeightsError
        The model file is damaged, or the encoder weights are not those of training.
    InputError
        An input is refused before any work.
    ImageError
        An image cannot be decoded or used. Finished blocks stay saved.
    """
    settings, work = settings or PredictSettings(), work or Work()
    inputs = _Inputs(
        converted(model, "model", Path),
        converted(images, "images", tuple[Path, ...]),
        converted(features, "features", tuple[Path, ...]),
        converted(weights, "weights", tuple[str, ...]),
    )
    _check_inputs(inputs, settings, work)
    outputs = {"out": converted(out, "out", Path)}
    if settings.html is not None:
        outputs["html"] = settings.html
    table = outputs["out"]
    config: dict[str, object] = {
        "model": str(inputs.model), "images": list(map(str, inputs.images)), "weights": list(inputs.weights),
    }  # fmt: skip
    if inputs.features:
        config["features"] = list(map(str, inputs.features))
    config |= {"out": str(table), **plain_options(settings, work)}
    begun = unfinished_record(table, command="predict", config=config)
    bundle = _check_outputs(outputs, inputs, overwrite=work.overwrite or begun is not None, update=settings.update)
    overwrite = work.overwrite or settings.update or bool(begun and begun.get("overwrite"))
    parts = table.with_name(f"{table.name}.parts")
    if settings.update and not inputs.features:
        inputs = inputs._replace(images=tuple(path for path in inputs.images if not _is_empty(path)))
        if not inputs.images:  # also a disk that is not mounted, which must not cost the table its rows
            return PredictResult(table, 0, {}, (), (), unchanged=True)
    with contextlib.ExitStack() as stack:
        if settings.update and not work.checks and not stack.enter_context(in_turn(parts, seconds=0)):
            raise UnderWayError("{}: another {update} works on it at this moment; let it end", table)
        record = stack.enter_context(
            record_table(table, command="predict", config=config, work=work, overwrite=overwrite)
        )
        stack.enter_context(advised())
        # refuse thresholds that the model does not have before its encoders are loaded
        point = choose_point(
            *bundle_view(bundle), threshold=settings.threshold, sensitivity=settings.sensitivity, bundle=bundle
        )
        if inputs.features:
            predicted = _predict_features(bundle, inputs, settings, record)
        else:
            predicted = _predict_images(bundle, inputs, outputs, settings, work, parts=parts, record=record)
        unchanged = settings.update and is_written(table, predicted, settings=settings, point=point)
        if table.is_file():
            record.note(table_sha256=file_sha256(table))
        if unchanged or work.checks:
            return PredictResult(table, len(predicted.records), {}, (), (), unchanged=unchanged)
        unusable = [reason for reason in predicted.results.values() if isinstance(reason, str)]
        if settings.update and unusable and len(unusable) == len(predicted.records):  # as after a fault of the disk
            raise ImageError(f"none of {counted(len(unusable), 'image')} can be used; first: {unusable[0]}")
        result = write_outputs(table, predicted, settings=settings, point=point, overwrite=overwrite)
        if not settings.update:
            set_aside(parts)
        record.note(
            table_sha256=file_sha256(table),
            predicted=result.images,
            failures=len(result.failures),
            trained=result.trained,
            called=result.called,
        )
    return result


def _is_empty(path: Path) -> bool:
    """Return whether a folder and those in it hold no file, apart from hidden ones and those of systems."""
    findings: list[Finding] = []
    return path.is_dir() and not any(walk_files(path, findings)) and not findings


def _check_inputs(inputs: _Inputs, settings: PredictSettings, work: Work) -> None:
    """Refuse inputs and options that cannot be combined."""
    images, features, weights = inputs.images, inputs.features, inputs.weights
    if features and images:
        raise InputError("{features} {}: replaces images; leave out {}", features[0], images[0])
    if not features and not images:
        raise InputError(Message("give {images}, or embeddings as {features}"))
    if features and weights:
        raise InputError("{weights} {}: embeddings are made already; leave it out", weights[0])
    if features and settings.html is not None:
        raise InputError(Message("{html}: the prediction report needs images; leave it out with embeddings"))
    if settings.update and work.overwrite:
        raise InputError(Message("{update} keeps what is predicted, {overwrite} does not; leave one of them out"))
    if work.shard is not None:
        raise InputError(
            "{shard} {}: a table of predictions has no shards; give one to each part of the images", work.shard
        )


def _check_outputs(outputs: Mapping[str, Path], inputs: _Inputs, *, overwrite: bool, update: bool) -> Path:
    """Refuse to overwrite existing outputs or inputs, create the output folders, and return the model file."""
    table = outputs["out"]
    companions = [table.with_name(f"{table.name}.{name}") for name in ("run.json", "failures.csv")]
    last = read_records(companions[0])[-1] if update and companions[0].is_file() else None
    made = last.config if last is not None else {}
    written = last.notes.get("table_sha256") if last is not None and last.status == "ok" else None
    if written and table.is_file() and written != file_sha256(table):
        raise OutputError("{}: was changed since {update} wrote it; move it away, or use {overwrite} once", table)
    for name, path in outputs.items():
        if name != "out" and path.absolute() == table.absolute():
            raise InputError("{} {}: is the table of {out}; give the report another name", Parameter(name), path)
        known = made and (name == "out" or made.get(name) == str(path))
        if path.exists() and not overwrite and not known:
            raise OutputError("{}: exists already; use {overwrite} or another {}", path, Parameter(name))
    bundle = find_bundle(inputs.model)
    inputs_read = [bundle, *inputs.images, *files_of(inputs.features), *named_files(inputs.weights)]
    for name, path in outputs.items():
        refuse_overwriting([path, *(companions if name == "out" else ())], inputs_read, name=name)
        if not companions[0].exists():  # otherwise an earlier call of this command wrote them
            refuse_among(path, inputs.images, name=name)
    for path in outputs.values():
        ensure_folder(path.parent)
    return bundle


def _predict_features(bundle: Path, inputs: _Inputs, settings: PredictSettings, record: RunRecord) -> Predicted:
    """Predict embeddings all at once in this process, which takes only seconds."""
    from .embedded import embeddings_digest, load_embedded, predict_embedded

    models, embeddings = load_embedded(bundle, inputs.features)
    if settings.calibrated:
        _check_temperature(bundle, models)
    predicted = Predicted(*predict_embedded(models, embeddings), models, bundle, file_sha256(bundle))
    record.note(
        model_sha256=predicted.sha256, features_sha256=embeddings_digest(embeddings), images=len(predicted.records)
    )
    return predicted


def _predict_images(
    bundle: Path,
    inputs: _Inputs,
    outputs: Mapping[str, Path],
    settings: PredictSettings,
    work: Work,
    *,
    parts: Path,
    record: RunRecord,
) -> Predicted:
    """Predict the images whose predictions are not saved in the folder `parts`."""
    file, model = ready_model(bundle, inputs.weights)
    if settings.calibrated:
        _check_temperature(bundle, model.bundle)
    records = new_images(inputs.images, reading=model.bundle.reading, classes=model.bundle.classes)
    for name, path in outputs.items():
        refuse_overwriting([path], [*named_files(file.weights), *(image.path for image in records)], name=name)
    usable, refused = check_sizes(records, model=model, mpp=settings.mpp, skip_errors=work.skip_errors)
    units = image_units(usable, file=file, model=model)
    contents = "".join(f"{unit.record.image_id}\0{unit.sha256}\n" for unit in units)
    digest = hashlib.sha256(contents.encode()).hexdigest()
    record.note(model_sha256=file.sha256, images_sha256=digest, images=len(units))
    if model.precisions:
        record.note(precisions=model.precisions)
    if work.overwrite:
        set_aside(parts)
    remove_leftovers(parts)
    results, missing = predict_missing(units, file=file, model=model, folder=parts, work=work, lasting=settings.update)
    return Predicted(usable, {**dict(refused), **results}, model.bundle, file.path, file.sha256, missing)


def _check_temperature(path: Path, bundle: BundleFacts) -> None:
    if bundle.temperature is None:
        raise BundleError("{}: has no temperature, since it was trained in a single fold; leave out {calibrated}", path)
