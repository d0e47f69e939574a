"""Run ``bchisto predict``: check the inputs, load the model, predict the missing images, and write the outputs."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..core import (
    ImageError,
    InputError,
    Many,
    Message,
    PathInput,
    TextInput,
    converted,
    none_usable,
    plain_options,
)
from ..core.formats import file_sha256
from ..core.jobs import (
    Computation,
    Resources,
    Ticker,
    UnderWayError,
    Work,
    compute,
    cpu_resources,
    ensure_folder,
    in_turn,
    key_of,
    named_files,
    refuse_overwriting,
    remove_leftovers,
    set_aside,
)
from ..core.runs import RunRecord
from ..data import Frame, image_paths, warn_left_out
from ..encoders import weight_options
from ..featurize import files_of
from .blocks import (
    ImageUnit,
    PredictBlock,
    Predicted,
    Prediction,
    Results,
    image_units,
    keep,
    read_kept,
)
from .boosted import Notes
from .images import advised, check_sizes, new_images
from .model_file import Model, ModelFile, WithModel, find_bundle, ready_model, settled_model
from .outputs import OutputFiles, PredictResult, failures_of, parts_of, write_outputs
from .settings import OperatingPoint, PredictSettings
from .table import Tabulated, tabulate

_log = logging.getLogger(__name__)


_GPU_BLOCK = 32
"""Smallest number of images in a unit of work on a GPU."""


class _Inputs(NamedTuple):
    """The images or embeddings to predict, and the model."""

    model: Path
    images: tuple[Path, ...]
    features: tuple[Path, ...]
    weights: tuple[str, ...]

    @property
    def config(self) -> dict[str, object]:
        """The inputs as options."""
        config: dict[str, object] = {
            "model": str(self.model),
            "images": list(map(str, self.images)),
            "weights": list(self.weights),
        }
        if self.features:
            config["features"] = list(map(str, self.features))
        return config

    @property
    def files(self) -> list[Path]:
        """Files and folders that are read, apart from the model."""
        files = [*self.images, *named_files(self.weights)]
        if self.features:
            files += files_of(self.features)
        return files

    def check(self, settings: PredictSettings) -> None:
        """Refuse inputs and settings that cannot be combined."""
        if self.features and self.images:
            raise InputError(
                "{features} {}: replaces images; leave out {}", self.features[0], self.images[0]
            )
        if not self.features and not self.images:
            raise InputError(Message("give {images}, or embeddings as {features}"))
        if self.features and self.weights:
            raise InputError(
                "{weights} {}: embeddings are made already; leave it out", self.weights[0]
            )
        if self.features and settings.html is not None:
            raise InputError(
                Message("{html}: the prediction report needs images; leave it out with embeddings")
            )


def predict(
    model: PathInput,
    images: Many[PathInput | Frame] = (),
    *,
    features: Many[PathInput] = (),
    out: PathInput,
    weights: Many[TextInput] = (),
    settings: PredictSettings | None = None,
    work: Work | None = None,
) -> PredictResult:
    """Predict new images with a model file. An interrupted run is resumed, a table that is complete is refused.

    Parameters
    ----------
    model : str or Path
        A ``model.bchisto``, or the folder of a run that contains one.
    images : sequence of path or pandas.DataFrame
        Folders, manifests or image files. A data frame is a manifest, as of `bchisto.data.ImageSelection`.
    features : sequence of path
        Embeddings instead of images, see `bchisto.featurize.read_embeddings`: for each feature file of the model, a
        file or folder of the same name. They must be of the same kind as in training.
    out : str or Path
        The CSV table to write.
    weights : sequence of str, or mapping
        ``imagenet``, a path, or ``ENCODER=`` followed by one of these; a mapping has them by encoder. Not needed if the
        run of the model file recorded the weights file and this file is unchanged.
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
        An input is refused before any work; `MissingInputError` if it is not there.
    ImageError
        An image cannot be decoded or used, or none can. Finished blocks stay saved. What a header tells, such as a
        size, is an InputError too, so catch an ImageError first.
    OutputError
        An output exists and is not continued, or cannot be written; `DiskFullError` if the disk is full.
    UnderWayError
        Another call updates the same table (`PredictSettings.update`).
    """
    settings = PredictSettings.of(settings)
    work = Work.of(work)
    inputs = _Inputs(
        converted(model, "model", Path),
        image_paths(images),
        converted(features, "features", tuple[Path, ...]),
        weight_options(weights),
    )
    inputs.check(settings)
    overwriting = work.overwrite
    if settings.update and overwriting:
        raise InputError(
            Message("{update} keeps what is predicted, {overwrite} does not; leave one of them out")
        )
    work.refuse_shard(
        "{shard} {}: a table of predictions has no shards; give one to each part of the images"
    )
    paths = {"out": converted(out, "out", Path)}
    if paths["out"].suffix.casefold().startswith(".xls"):
        raise InputError("{out} {}: the table is written as CSV; name it .csv", paths["out"])
    if settings.html is not None:
        paths["html"] = settings.html
    config = {**inputs.config, "out": str(paths["out"]), **plain_options(settings, work)}
    with contextlib.ExitStack() as stack:
        if settings.update and not work.checks:
            stack.enter_context(_only_update(paths["out"]))
        outputs = OutputFiles.of(paths, config, updates=settings.update, overwriting=overwriting)
        bundle = find_bundle(inputs.model)
        outputs.check([bundle, *inputs.files], inputs.images)
        for path in paths.values():
            ensure_folder(path.parent)
        empty = []
        if settings.update:
            empty = outputs.empty_folders(inputs.images)
        if empty and len(empty) == len(inputs.images):
            return PredictResult(outputs.table, 0, {}, {}, (), unchanged=True)
        inputs = inputs._replace(images=tuple(path for path in inputs.images if path not in empty))
        record = stack.enter_context(outputs.record(config, work, empty=empty))
        stack.enter_context(advised())
        # refuse thresholds that the model does not have before its encoders are loaded
        point = settings.point(bundle)
        kind = TablePrediction if inputs.features else ImagePrediction
        prediction = kind(inputs, outputs, settings, record, point, work)
        prediction.open(bundle)
        computed = compute(prediction)
    return computed.result or PredictResult(
        outputs.table,
        len(prediction.known.records),
        {},
        prediction.known.failures,
        (),
        unchanged=computed.unchanged,
    )


@contextlib.contextmanager
def _only_update(table: Path) -> Iterator[None]:
    """Refuse to update a table while another call does."""
    with in_turn(parts_of(table), seconds=0) as has_turn:
        if not has_turn:
            raise UnderWayError(
                "{}: another {update} works on it at this moment; let it end", table
            )
        yield


Kept = Sequence[Prediction | None]
"""The kept prediction of each unit; None of those that are made just now."""


@dataclass
class TablePrediction(Computation[ImageUnit, Prediction, Results, PredictResult]):
    """A table of predictions, with its list of failures and its report; those of embeddings are all known at once.

    Attributes
    ----------
    inputs : _Inputs
    outputs : OutputFiles
    settings : PredictSettings
    record : RunRecord
    point : OperatingPoint or None
        Operating point from which an image is predicted positive.
    work : Work
    known : Predicted
        The images, with the results that are known before there are units: those whose headers forbid their use.
    """

    inputs: _Inputs
    outputs: OutputFiles
    settings: PredictSettings
    record: RunRecord
    point: OperatingPoint | None
    work: Work
    known: Predicted = field(init=False)

    label = "predict"
    unit = "images"
    step_name = "images"
    finished_clause = "images are predicted"

    def open(self, bundle: Path) -> None:
        """Load the models and the embeddings, and predict them, which takes only seconds.

        Raises
        ------
        InputError
            The embeddings do not fit the model.
        """
        from .embedded import embeddings_digest, load_embedded, predict_embedded

        models, embeddings = load_embedded(bundle, self.inputs.features)
        self.settings.check(bundle, models)
        records, predictions = predict_embedded(models, embeddings)
        self.known = Predicted(records, predictions, models, bundle, file_sha256(bundle))
        self.record.note(
            model_sha256=self.known.sha256,
            features_sha256=embeddings_digest(embeddings),
            images=len(records),
        )

    @property
    def rewrites(self) -> bool:
        """Whether the outputs are written again although nothing has changed."""
        return not self.settings.update

    @property
    def folder(self) -> Path:
        """The folder of the table."""
        return self.outputs.table.parent

    def discard(self) -> None:
        """Set aside kept predictions."""
        set_aside(self.outputs.parts)

    def units(self, *, merges: bool) -> Sequence[ImageUnit]:
        """Return nothing, since nothing is worth being kept."""
        return ()

    def read(self, unit: ImageUnit) -> Prediction | None:
        """Return None, since nothing is kept."""
        return None

    @property
    def do(self) -> Callable[[tuple[ImageUnit, ...], Ticker], Results]:
        """Does nothing: there are no units."""
        return lambda units, ticker: {}

    @property
    def resources(self) -> Resources:
        """One process, which is this one."""
        return cpu_resources(1)

    def predicted(self, kept: Kept, made: Sequence[Results]) -> Predicted:
        """Return the predictions of all images."""
        return self.known

    def is_written(self, kept: Kept) -> bool:
        """Return whether the outputs are those of an update."""
        return not self.rewrites and self._is_same(self.tabulate(kept, ()))

    def _is_same(self, shown: Tabulated) -> bool:
        """Return whether an update wrote just this, and the same images cannot be used."""
        written = self.outputs.written
        is_same = written | self._content_keys(shown) == written
        is_complete = is_same and all(path.exists() for path in self.outputs.paths.values())
        return is_complete and failures_of(self.outputs.table).exists() == bool(shown.failures)

    def tabulate(self, kept: Kept, made: Sequence[Results]) -> Tabulated:
        """Return all that the outputs show."""
        predicted = self.predicted(kept, made)
        return tabulate(predicted, settings=self.settings, point=self.point)

    def _content_keys(self, shown: Tabulated) -> dict[str, list[str]]:
        """Return the name of each output with its only key once it is complete, see `OutputFiles`."""
        outputs = self.outputs
        images = self.record.content["notes"].get("images_sha256")
        content = [shown.table.sha256, shown.called, shown.failures, shown.predicted.sha256, images]
        keys = {
            outputs.name(path): [key_of("report 1", told=content)]
            for path in outputs.paths.values()
        }
        keys[failures_of(outputs.table).name] = [key_of("failures 1", told=shown.failures)]
        keys[outputs.table.name] = [shown.table.sha256]
        return keys

    def write(self, kept: Kept, made: Sequence[Results]) -> PredictResult:
        """Write the table, its failures and its report."""
        settings = self.settings
        outputs = self.outputs
        record = self.record
        shown = self.tabulate(kept, made)
        if settings.update:
            if shown.failures and not shown.table.records:
                # for example after a fault of the disk
                raise ImageError(none_usable(list(shown.failures.values())))
            if self._is_same(shown):  # images that failed were tried again
                images = len(shown.table.records)
                return PredictResult(outputs.table, images, {}, shown.failures, (), unchanged=True)
            self.tidy(shown.predicted)
        warn_left_out(shown.failures, self.known.failures)
        written = outputs.written
        keys = self._content_keys(shown)
        # a call that is killed while it writes leaves some outputs as they were and some new, see `OutputFiles`
        possible = {name: sorted({*written.get(name, []), *key}) for name, key in keys.items()}
        record.note(written=written | possible)
        record.save()
        result = write_outputs(
            outputs.table,
            shown,
            html=settings.html,
            overwrite=outputs.may_replace(outputs.table),
        )
        if not settings.update:
            set_aside(outputs.parts)
        record.note(
            written=written | keys,
            predicted=result.images,
            failures=len(result.failures),
        )
        return result

    def tidy(self, predicted: Predicted) -> None:
        """Keep the predictions of these images for the next update, and no others."""


@dataclass
class ImagePrediction(WithModel, TablePrediction):  # type: ignore[override]
    """Predictions of images, in blocks that are kept until the table is complete.

    Attributes
    ----------
    file : ModelFile
    model : Model
    saved : dict of str to Prediction
        The predictions that earlier calls kept, by key.
    """

    file: ModelFile = field(init=False)
    model: Model = field(init=False)
    saved: dict[str, Prediction] = field(default_factory=dict)

    def open(self, bundle: Path) -> None:
        """Load the model with its networks, and read the headers of the images.

        Raises
        ------
        BundleError, WeightsError, InputError, ImageError
            See `predict`.
        """
        file, model = ready_model(bundle, self.inputs.weights)
        self.settings.check(bundle, model.bundle)
        copies: dict[str, str] = {}
        records = new_images(
            self.inputs.images,
            reading={**model.bundle.reading, "group_from": self.settings.group_from},
            classes=model.bundle.classes,
            copies=copies,
        )
        for name, path in self.outputs.paths.items():
            refuse_overwriting(
                [path],
                [*named_files(file.weights), *(image.path for image in records)],
                name=name,
            )
        warned: dict[str, str] = {}
        notes: Notes = {}
        usable, refused = check_sizes(
            records,
            model=model,
            mpp=self.settings.mpp,
            skip_errors=self.skip_errors,
            warned=warned,
            notes=notes,
        )
        self.file, self.model = settled_model(
            file,
            usable,
            images=len(usable),
            begun=self.outputs.engine,
            work=self.work,
            record=self.record,
        )
        self.known = Predicted(
            usable,
            dict(refused),
            model.bundle,
            bundle,
            file.sha256,
            tuple(warned.values()),
            notes,
            copies,
        )

    def begin(self) -> None:
        """Remove the leftovers of interrupted processes."""
        remove_leftovers(self.outputs.parts)

    def units(self, *, merges: bool) -> Sequence[ImageUnit]:
        """Return the images with the keys of their predictions."""
        units = self._units
        contents = "".join(f"{unit.record.image_id}\0{unit.sha256}\n" for unit in units)
        digest = hashlib.sha256(contents.encode()).hexdigest()
        self.record.note(model_sha256=self.file.sha256, images_sha256=digest, images=len(units))
        self.saved = read_kept(self.outputs.parts)
        stale_count = len(self.saved.keys() - {unit.key for unit in units})
        if 2 * stale_count > len(self.saved):
            _log.warning(
                "%s: %d of %d kept predictions are not of this model and these images, and are left out",
                self.outputs.table,
                stale_count,
                len(self.saved),
            )
        return units

    @functools.cached_property
    def _units(self) -> list[ImageUnit]:
        return image_units(self.known.records, file=self.file, model=self.model)

    def read(self, unit: ImageUnit) -> Prediction | None:
        """Return the kept prediction of an image."""
        return self.saved.get(unit.key)

    @property
    def do(self) -> PredictBlock:
        """Predicts some images, and keeps the predictions."""
        return PredictBlock(self.file, self.model.computed_by, self.outputs.parts, self.skip_errors)

    def steps(self, unit: ImageUnit) -> int:
        """Return the number of steps of an image."""
        return self.model.steps

    def bundles(self, units: Sequence[ImageUnit]) -> Sequence[tuple[ImageUnit, ...]]:
        """Return images in blocks."""
        size = self.model.images_per_block
        if self.resources.gpus:
            # the next ones are prepared while it computes
            size = max(size, _GPU_BLOCK)
        return [tuple(units[start : start + size]) for start in range(0, len(units), size)]

    def seconds(self, unit: ImageUnit) -> float | None:
        """Measure the seconds of an image."""
        return self.model.seconds(unit.record)

    def rehearse(self, units: Sequence[ImageUnit] | None) -> None:
        """Predict the largest images in this process."""
        records = self.known.records
        if units is not None:
            records = [unit.record for unit in units]
        self.model.rehearse(records)

    def predicted(self, kept: Kept, made: Sequence[Results]) -> Predicted:
        """Return the predictions of all images, refused ones first, as the reasons why they cannot be used."""
        results = dict(self.known.results)
        new = {image: result for block in made for image, result in block.items()}
        for unit, prediction in zip(self._units, kept, strict=True):
            image = unit.record.image_id
            if prediction is None:
                results[image] = new[image]
            else:
                results[image] = prediction
        return self.known._replace(results=results)

    def tidy(self, predicted: Predicted) -> None:
        """Keep the predictions of these images in one file for the next update, and no others."""
        results = {unit.key: predicted.results[unit.record.image_id] for unit in self._units}
        if self.saved.keys() == results.keys():
            return
        folder = self.outputs.parts
        earlier = set(folder.glob("*.npz"))
        current = keep(folder, results)
        for path in earlier - {current}:
            path.unlink(missing_ok=True)
