"""``bchisto predict``: check, load the model, predict the images that are missing, write the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core import (
    BundleError,
    InputError,
    Many,
    Message,
    OutputError,
    Parameter,
    PathInput,
    TextInput,
    as_path,
    as_paths,
    as_texts,
    plain_options,
)
from ..crossval import BundleFacts, bundle_view
from ..featurize import files_of
from ..formats import file_sha256
from ..jobs import (
    Work,
    ensure_folder,
    named_files,
    refuse_among,
    refuse_overwriting,
    remove_leftovers,
    set_aside,
)
from ..runs import RunRecord, record_table, unfinished_record
from .locate import find_bundle
from .model import ready_model
from .outputs import PredictResult, write_outputs
from .predicted import Predicted, image_units, images_digest, predict_missing
from .records import advised, check_sizes, new_images
from .settings import PredictSettings, choose_point


@dataclass(frozen=True)
class _Inputs:
    """What is predicted, and by what."""

    model: Path
    images: tuple[Path, ...]
    features: tuple[Path, ...]
    weights: tuple[str, ...]

    def recorded(self) -> dict[str, object]:
        """Return what a record says of them."""
        texts: dict[str, object] = {
            "model": str(self.model), "images": list(map(str, self.images)), "weights": list(self.weights),
        }  # fmt: skip
        return {**texts, "features": list(map(str, self.features))} if self.features else texts


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
    """Predict new images with a model bundle, resuming an interrupted run.

    Parameters
    ----------
    model : str or Path
        A ``model.bchisto``, or the folder of a run that holds one.
    images : sequence of path
        Folders, manifests or image files.
    features : sequence of path
        Embeddings in the place of images, see `bchisto.featurize.read_embeddings`: for each store of the bundle a file
        or folder that is called as it. They must be of the kind that trained the models.
    out : str or Path
        The CSV table to write.
    weights : sequence of str
        ``imagenet``, a path, or ``ENCODER=`` one of these. A file that the run of the bundle has recorded is found
        without, as long as it is what it was.
    settings : PredictSettings, optional
        What is written: by default the table alone, of probabilities that are not calibrated.
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
    settings, work = PredictSettings.of(settings), Work.of(work)
    inputs = _Inputs(
        as_path(model, "model"),
        as_paths(images, "images"),
        as_paths(features, "features"),
        as_texts(weights, "weights"),
    )
    _check_inputs(inputs, settings, work)
    outputs = {"out": as_path(out, "out")}
    if settings.html is not None:
        outputs["html"] = settings.html
    table = outputs["out"]
    config = {**inputs.recorded(), "out": str(table), **plain_options(settings, work)}
    begun = unfinished_record(table, command="predict", config=config)
    bundle = _check_outputs(outputs, inputs, overwrite=work.overwrite or begun is not None)
    overwrite = work.overwrite or bool(begun and begun.get("overwrite"))
    parts = table.with_name(f"{table.name}.parts")
    with (
        record_table(table, command=work.recorded_as("predict"), config=config, overwrite=overwrite) as record,
        advised(),
    ):
        # what the model cannot say is refused before its encoders are loaded
        point = choose_point(
            *bundle_view(bundle), threshold=settings.threshold, sensitivity=settings.sensitivity, bundle=bundle
        )
        if inputs.features:
            predicted = _predict_features(bundle, inputs, settings, record)
        else:
            predicted = _predict_images(bundle, inputs, outputs, settings, work, parts=parts, record=record)
        if work.checks:
            return PredictResult(table, len(predicted.records), {}, (), ())
        result = write_outputs(table, predicted, settings=settings, point=point, overwrite=overwrite)
        set_aside(parts)
        record.note(
            predicted=result.images, failures=len(result.failures), trained=result.trained, called=result.called
        )
    return result


def _check_inputs(inputs: _Inputs, settings: PredictSettings, work: Work) -> None:
    """Refuse what does not go together."""
    images, features, weights = inputs.images, inputs.features, inputs.weights
    if features and images:
        raise InputError("{features} {}: replaces images; leave out {}", features[0], images[0])
    if not features and not images:
        raise InputError(Message("give {images}, or embeddings as {features}"))
    if features and weights:
        raise InputError("{weights} {}: embeddings are made already; leave it out", weights[0])
    if features and settings.html is not None:
        raise InputError(Message("{html}: the prediction report needs images; leave it out with embeddings"))
    if work.shard is not None:
        raise InputError(
            "{shard} {}: a table of predictions has no shards; give one to each part of the images", work.shard
        )


def _check_outputs(outputs: Mapping[str, Path], inputs: _Inputs, *, overwrite: bool) -> Path:
    """Refuse to write over what is there or is read; make the folders, and return the model file."""
    table = outputs["out"]
    beside = [table.with_name(f"{table.name}.{name}") for name in ("run.json", "failures.csv")]
    for name, path in outputs.items():
        if name != "out" and path.absolute() == table.absolute():
            raise InputError("{} {}: is the table of {out}; give the report another name", Parameter(name), path)
        if path.exists() and not overwrite:
            raise OutputError("{}: exists already; use {overwrite} or another {}", path, Parameter(name))
    bundle = find_bundle(inputs.model)
    read = [bundle, *inputs.images, *files_of(inputs.features), *named_files(inputs.weights)]
    for name, path in outputs.items():
        refuse_overwriting([path, *(beside if name == "out" else ())], read, name=name)
        if not beside[0].exists():  # else they are of an earlier call
            refuse_among(path, inputs.images, name=name)
    for path in outputs.values():
        ensure_folder(path.parent)
    return bundle


def _predict_features(bundle: Path, inputs: _Inputs, settings: PredictSettings, record: RunRecord) -> Predicted:
    """Predict embeddings, which takes seconds: all at once, in this process."""
    from .embedded import embeddings_digest, load_embedded, predict_embedded

    models, embeddings = load_embedded(bundle, inputs.features)
    _check_temperature(bundle, models, settings)
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
    """Predict the images that are not kept in the folder of parts."""
    file, model = ready_model(bundle, inputs.weights)
    _check_temperature(bundle, model.bundle, settings)
    records = new_images(inputs.images, reading=model.bundle.reading, classes=model.bundle.classes)
    for name, path in outputs.items():
        refuse_overwriting([path], [*named_files(file.weights), *(image.path for image in records)], name=name)
    usable, refused = check_sizes(records, model=model, mpp=settings.mpp, skip_errors=work.skip_errors)
    units = image_units(usable, file=file, model=model)
    record.note(model_sha256=file.sha256, images_sha256=images_digest(units), images=len(units))
    if model.precisions:
        record.note(precisions=model.precisions)
    if work.overwrite:
        set_aside(parts)
    remove_leftovers(parts)
    results = predict_missing(units, file=file, model=model, folder=parts, work=work)
    return Predicted(usable, {**dict(refused), **results}, model.bundle, file.path, file.sha256)


def _check_temperature(path: Path, bundle: BundleFacts, settings: PredictSettings) -> None:
    if settings.calibrated and bundle.temperature is None:
        raise BundleError(
            "{}: holds no temperature, since it was trained in a single fold; leave out {calibrated}", path
        )
