"""Run ``bchisto predict``: check the inputs, load the model, predict the missing images, and write the outputs."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
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
    key_of,
    named_files,
    refuse_among,
    refuse_overwriting,
    remove_leftovers,
    set_aside,
)
from ..core.models import BundleFacts, bundle_view
from ..core.runs import RunRecord, record_of_table, record_table
from ..data import Finding, walk_files
from ..featurize import files_of
from .blocks import Predicted, image_units, predict_missing
from .images import advised, check_sizes, new_images
from .model_file import find_bundle, ready_model
from .outputs import PredictResult, failures_of, write_outputs
from .settings import PredictSettings, choose_point
from .table import tabulate


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
        "model": str(inputs.model),
        "images": list(map(str, inputs.images)),
        "weights": list(inputs.weights),
    }
    if inputs.features:
        config["features"] = list(map(str, inputs.features))
    config |= {"out": str(table), **plain_options(settings, work)}
    parts = table.with_name(f"{table.name}.parts")
    with contextlib.ExitStack() as stack:
        if (
            settings.update
            and not work.checks
            and not stack.enter_context(in_turn(parts, seconds=0))
        ):
            raise UnderWayError(
                "{}: another {update} works on it at this moment; let it end", table
            )
        earlier = record_of_table(table)
        # what calls tell later ones, however they end: of each output the keys of its content, of which it has several
        # until it is whole, and the folders that were empty
        written, known = (earlier["notes"][name] for name in ("written", "empty"))
        begun = earlier.get("config") == config and earlier.get("status") != "ok"
        overwrite = work.overwrite or (begun and earlier.get("overwrite") is True)
        ours = written if (begun or settings.update) and not overwrite else {}
        bundle = _check_outputs(outputs, inputs, overwrite=overwrite, ours=ours)
        empty = [path for path in inputs.images if settings.update and _is_empty(path)]
        if empty and len(empty) == len(inputs.images):
            return PredictResult(table, 0, {}, (), (), unchanged=True)
        lost = [path for path in empty if table.exists() and str(path.absolute()) not in known]
        if lost:
            raise InputError(
                "{images} {}: is empty, so its rows would go; mount its disk or leave it out",
                lost[0],
            )
        inputs = inputs._replace(images=tuple(path for path in inputs.images if path not in empty))
        notes = {"written": written, "empty": known}
        record = stack.enter_context(
            record_table(
                table, command="predict", config=config, work=work, overwrite=overwrite, notes=notes
            )
        )
        stack.enter_context(advised())
        # refuse thresholds that the model does not have before its encoders are loaded
        point = choose_point(
            *bundle_view(bundle),
            threshold=settings.threshold,
            sensitivity=settings.sensitivity,
            bundle=bundle,
        )
        if inputs.features:
            predicted = _predict_features(bundle, inputs, settings, record)
        else:
            predicted = _predict_images(
                bundle, inputs, outputs, settings, work, parts=parts, record=record
            )
        if work.checks and (predicted.missing or not settings.update):
            return PredictResult(table, len(predicted.records), {}, (), ())
        shown = tabulate(predicted, settings=settings, point=point)
        images = record.content["notes"].get("images_sha256")
        told = [shown.table.sha256, shown.called, shown.failures, predicted.sha256, images]
        new = {
            os.path.relpath(path, table.parent): [key_of("report 1", told=told)]
            for path in outputs.values()
        }
        new[table.name] = [shown.table.sha256]
        record.note(empty=[str(path.absolute()) for path in empty])
        whole = written | new == written and all(path.exists() for path in outputs.values())
        problems = predicted.missing or shown.failures or failures_of(table).exists()
        unchanged = settings.update and whole and not problems
        if unchanged or work.checks:
            return PredictResult(table, len(predicted.records), {}, (), (), unchanged=unchanged)
        if (
            settings.update and shown.failures and not shown.table.records
        ):  # as after a fault of the disk
            first = next(iter(shown.failures.values()))
            raise ImageError(
                f"none of {counted(len(shown.failures), 'image')} can be used; first: {first}"
            )
        record.note(
            written=written
            | {name: sorted({*written.get(name, []), *keys}) for name, keys in new.items()}
        )
        record.save()
        result = write_outputs(
            table,
            shown,
            predicted,
            html=settings.html,
            overwrite=overwrite,
            known=ours.get(table.name, ()),
        )
        if not settings.update:
            set_aside(parts)
        record.note(
            written=written | new,
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
        raise InputError(
            Message("{html}: the prediction report needs images; leave it out with embeddings")
        )
    if settings.update and work.overwrite:
        raise InputError(
            Message("{update} keeps what is predicted, {overwrite} does not; leave one of them out")
        )
    if work.shard is not None:
        raise InputError(
            "{shard} {}: a table of predictions has no shards; give one to each part of the images",
            work.shard,
        )


def _check_outputs(
    outputs: Mapping[str, Path],
    inputs: _Inputs,
    *,
    overwrite: bool,
    ours: Mapping[str, Sequence[str]],
) -> Path:
    """Refuse to overwrite inputs, and outputs that are not `ours`; create their folders, and return the model file."""
    table = outputs["out"]
    companions = [table.with_name(f"{table.name}.run.json"), failures_of(table)]
    if table.name in ours and table.is_file() and file_sha256(table) not in ours[table.name]:
        raise OutputError(
            "{}: was changed since bchisto wrote it; move it away, or use {overwrite} once", table
        )
    for name, path in outputs.items():
        if name != "out" and path.absolute() == table.absolute():
            raise InputError(
                "{} {}: is the table of {out}; give the report another name", Parameter(name), path
            )
        if path.exists() and not overwrite and os.path.relpath(path, table.parent) not in ours:
            raise OutputError(
                "{}: exists already; use {overwrite} or another {}", path, Parameter(name)
            )
    bundle = find_bundle(inputs.model)
    inputs_read = [bundle, *inputs.images, *files_of(inputs.features), *named_files(inputs.weights)]
    for name, path in outputs.items():
        refuse_overwriting([path, *(companions if name == "out" else ())], inputs_read, name=name)
        if not companions[0].exists():  # otherwise an earlier call of this command wrote them
            refuse_among(path, inputs.images, name=name)
    for path in outputs.values():
        ensure_folder(path.parent)
    return bundle


def _predict_features(
    bundle: Path, inputs: _Inputs, settings: PredictSettings, record: RunRecord
) -> Predicted:
    """Predict embeddings all at once in this process, which takes only seconds."""
    from .embedded import embeddings_digest, load_embedded, predict_embedded

    models, embeddings = load_embedded(bundle, inputs.features)
    _check_temperature(bundle, models, settings)
    predicted = Predicted(
        *predict_embedded(models, embeddings), models, bundle, file_sha256(bundle)
    )
    record.note(
        model_sha256=predicted.sha256,
        features_sha256=embeddings_digest(embeddings),
        images=len(predicted.records),
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
    _check_temperature(bundle, model.bundle, settings)
    records = new_images(inputs.images, reading=model.bundle.reading, classes=model.bundle.classes)
    for name, path in outputs.items():
        refuse_overwriting(
            [path], [*named_files(file.weights), *(image.path for image in records)], name=name
        )
    usable, refused = check_sizes(
        records, model=model, mpp=settings.mpp, skip_errors=work.skip_errors
    )
    units = image_units(usable, file=file, model=model)
    contents = "".join(f"{unit.record.image_id}\0{unit.sha256}\n" for unit in units)
    digest = hashlib.sha256(contents.encode()).hexdigest()
    record.note(model_sha256=file.sha256, images_sha256=digest, images=len(units))
    if model.precisions:
        record.note(precisions=model.precisions)
    if work.overwrite:
        set_aside(parts)
    remove_leftovers(parts)
    results, missing = predict_missing(
        units, file=file, model=model, folder=parts, work=work, lasting=settings.update
    )
    return Predicted(
        usable, {**dict(refused), **results}, model.bundle, file.path, file.sha256, missing
    )


def _check_temperature(path: Path, bundle: BundleFacts, settings: PredictSettings) -> None:
    if settings.calibrated and bundle.temperature is None:
        raise BundleError(
            "{}: has no temperature, since it was trained in a single fold; leave out {calibrated}",
            path,
        )
