"""Plan which feature files to write, and compare the plan with a file that exists.

Everything random about an image follows from its id and the number of the augmentation. So finished rows stay valid
when images are added. An existing feature file stays valid until a complete one replaces it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from .. import __version__
from ..core import (
    Content,
    DependencyError,
    Entries,
    InputError,
    Message,
    OutputError,
    OverwrittenError,
    SettingsConflictError,
    StoreError,
    WeightsError,
    by_key,
    counted,
    few,
)
from ..core.formats import read_json
from ..core.jobs import Resources, key_of, named_backend, network_resources, visible_gpus
from ..core.runs import (
    FolderSettings,
    ImageChange,
    describe_differences,
    differences,
    other_settings,
    read_entries,
    versions_of,
)
from ..data import ImageRecord, UniqueImages, make_tissue
from ..encoders import (
    CropEncoder,
    Encoder,
    EncoderChoice,
    cached_encoder,
    executed_precision,
    imitates_bfloat16,
    is_built_in,
    openvino_core,
    weights_of,
)
from .settings import AUTO, FeaturizeSettings, View
from .store import Store, open_store
from .stored import store_settings
from .stream import DescribingCost, on_gpu, time_describing

_KERAS_TIMES = 3
"""Ratio of the CPU times of a frame with Keras and with OpenVINO, see docs/performance.md."""

_log = logging.getLogger(__name__)

_AGREEING = frozenset({"backend", "device"})
"""Settings that change rows only by rounding. A complete file with another value is kept, but gets no new rows."""

_DECISIVE = ("dataset", "synthetic", "classes", "images_sha256", "augmentations", "mpp_sha256")
"""Parts of the origin in which a complete file agrees with its plan."""

_LEAST_LEFT = 0.5
"""Minimum share of a feature file's images that must be present. With fewer, the user probably chose other images."""


def is_described(run: Path) -> bool:
    """Return whether all feature files of a run are merged, so that models can be trained on them."""
    folder = run / "features"
    started_names = {path.stem for path in folder.glob("*.parts")}
    store_names = {path.stem for path in folder.glob("*.h5")}
    return bool(store_names) and started_names <= store_names


@dataclass(frozen=True)
class StorePlan:
    """A feature file to write.

    Attributes
    ----------
    name : str
        Its name, which also names its features in a model file.
    path : Path
        The finished file.
    choice : EncoderChoice
    view : View
    dim : int
        Number of features.
    augmentations : int
        Number of augmentations, which is the number of rows per image.
    parts : FolderSettings
        The folder of its packs until the file is finished, and all settings that determine its rows, see
        `bchisto.featurize.stored.store_settings`.
    origin : dict
        Its origin, see `bchisto.featurize.stored`.
    skip_errors : bool
        Whether images that cannot be used may be left out.
    """

    name: str
    path: Path
    choice: EncoderChoice
    view: View
    dim: int
    augmentations: int
    parts: FolderSettings
    origin: Content
    skip_errors: bool

    def is_whole(self, store: Store) -> bool:
        """Return whether a feature file matches this plan, with all images and augmentations."""
        return (
            differences(store.settings, self.parts.settings).keys() <= _AGREEING
            and all(store.header.get(name) == self.origin[name] for name in _DECISIVE)
            and (self.skip_errors or not store.header["failures"])
        )

    def is_finished(self) -> bool:
        """Return whether the feature file exists and is complete, see `is_whole`.

        Raises
        ------
        StoreError
            The file is damaged.
        """
        if not self.path.is_file():
            return False
        with open_store(self.path) as store:
            return self.is_whole(store)

    @contextlib.contextmanager
    def unless_finished(self) -> Iterator[None]:
        """Ignore the error of a write if another process has meanwhile finished the file and removed its packs."""
        try:
            yield
        except (OutputError, OverwrittenError, StoreError):
            if not self.is_finished():
                raise

    def target(self, settings: FeaturizeSettings) -> tuple[CropEncoder, View]:
        """Return the encoder and the view; refuse weights that changed since this was planned.

        Raises
        ------
        WeightsError
        """
        encoder = encoder_of(self.choice, settings)
        if encoder.weights_sha256 != self.parts.settings["weights_sha256"]:
            source = self.choice.source or weights_of(settings.weights, self.choice.label)
            raise WeightsError(
                "{}: the weights of {} changed while the command ran; put back those it began with and run "
                "it again, or use another {out}",
                source,
                encoder.name,
            )
        scale = self.parts.settings.get("float16_scale")
        return _in_float16(encoder, settings, scale=scale), self.view


def plan_stores(
    unique: UniqueImages,
    *,
    settings: FeaturizeSettings,
    folder: Path,
    selection: Entries,
    skip_errors: bool,
) -> list[StorePlan]:
    """Plan the feature files. This builds each encoder once, and so loads and checks its weights.

    Parameters
    ----------
    unique : UniqueImages
    settings : FeaturizeSettings
    folder : Path
        Folder for the feature files.
    selection : mapping
        The options by which a part of the images was chosen, JSON-ready.
    skip_errors : bool
        Whether images that cannot be used may be left out.

    Raises
    ------
    InputError
        There is no such encoder or layer, or two encoders have the same name.
    WeightsError
        Weights are not available or do not fit; the message lists all such weights, so that the user can fetch them
        together.
    """
    encoders = _open_encoders(settings)
    for encoder in encoders:
        sha256 = encoder.weights_file_sha256 or encoder.weights_sha256
        _log.info("weights of %s: %s, sha256 %s", encoder.name, encoder.weights, sha256[:12])
    device = "gpu" if on_gpu(settings, encoders) else "cpu"
    engines = {encoder.engine for encoder in encoders}
    if engines.isdisjoint(("keras", "torch")) and visible_gpus():
        _log.info("Keras leaves the GPU idle: %s runs the encoders", " and ".join(sorted(engines)))
    dataset = unique.dataset
    mpp_of = {record.image_id: record.mpp for record in dataset.records}
    shared = {
        "dataset": dataset.name,
        "synthetic": dataset.synthetic,
        "classes": list(dataset.classes),
        "images_sha256": unique.digest,
        "mpp_sha256": key_of("mpp", images=mpp_of),
        "selection": dict(selection),
        "bchisto_version": __version__,
    }
    plans: list[StorePlan] = []
    for choice, encoder in zip(settings.encoders, encoders, strict=True):
        origin = {
            "augmentations": settings.augmentations,
            "weights": encoder.weights,
            "weights_file_sha256": encoder.weights_file_sha256,
            **shared,
        }
        if encoder.runner != "keras":
            origin["runner"] = encoder.runner
            origin["card"] = json.dumps(asdict(encoder.card), ensure_ascii=False)
        if encoder.runner == "timm":
            origin["network"] = choice.name
        made_with = versions_of(
            ("bchisto", "keras", "numpy", "opencv-python-headless", encoder.backend)
        )
        for view in settings.views:
            name = _store_name(encoder, view, mode=settings.mode)
            path = folder / f"{name}.h5"
            packs = folder / f"{name}.parts"
            scale = None
            if settings.precision == "float16":
                scale = _recorded_scale(path, packs, encoder)
            view_encoder = _in_float16(encoder, settings, scale=scale)
            parts = FolderSettings(
                folder=packs,
                settings=store_settings(settings, view_encoder, view, device=device),
                work=("*.npz",),
                made_with=made_with,
            )
            plans.append(
                StorePlan(
                    name=name,
                    path=path,
                    choice=choice,
                    view=view,
                    dim=encoder.dim,
                    augmentations=settings.augmentations,
                    parts=parts,
                    origin=origin,
                    skip_errors=skip_errors,
                )
            )
    return plans


def _open_encoders(settings: FeaturizeSettings) -> list[CropEncoder]:
    """Build the encoders; refuse equal names, and all that lack weights in one message, to fetch them together."""
    encoders = []
    refused = []
    for choice in settings.encoders:
        try:
            encoders.append(encoder_of(choice, settings))
        except WeightsError as error:
            refused.append(error)
    if refused:
        raise WeightsError("; and ".join(["{}"] * len(refused)), *refused)
    named_alike = by_key(encoders, lambda encoder: (encoder.name, *encoder.layers))
    for (name, *_), same_name in named_alike.items():
        if len(same_name) > 1:
            raise InputError(
                "{encoders}: two of them are named {}; rename the folder or file of one", name
            )
    return encoders


def _in_float16(
    encoder: CropEncoder, settings: FeaturizeSettings, *, scale: float | None = None
) -> CropEncoder:
    """Return the encoder with a factor for float16 if the settings ask for that: `scale`, or one that is chosen now."""
    if settings.precision != "float16" or not isinstance(encoder, Encoder):
        return encoder
    if scale is None:
        # one for all views, so that dense mode encodes a frame once
        scale = _chosen_scale(encoder, max(64, *(view.crop for view in settings.views)))
    return encoder.in_float16(scale)


@functools.lru_cache(maxsize=16)
def _chosen_scale(encoder: Encoder, side: int) -> float:
    """Return a factor from fixed synthetic tissue, so that it does not depend on the images."""
    tissue = make_tissue("Invasive", seed=0, index=0, size=(side, side))
    return encoder.float16_scale(tissue[np.newaxis])


def _recorded_scale(path: Path, packs: Path, encoder: CropEncoder) -> float | None:
    """Return the factor that a feature file or its packs record, so that no other GPU chooses a new one; else None."""
    recorded: Entries = {}
    # a damaged file is refused when it is needed
    with contextlib.suppress(StoreError, InputError):
        if path.is_file():
            with open_store(path) as store:
                recorded = store.settings
        elif (packs / "settings.json").is_file():
            recorded = read_json(packs / "settings.json")["settings"]
    if recorded.get("weights_sha256") != encoder.weights_sha256:
        return None
    return recorded.get("float16_scale")


def _store_name(encoder: CropEncoder, view: View, *, mode: str) -> str:
    """Return the name of a feature file, with a hash if its layers or its mode are not the default ones."""
    name = f"{encoder.name}-{view.level}-{view.crop}"
    if encoder.default_layers and mode == "exact":
        return name
    return f"{name}-{key_of('store', layers=list(encoder.layers), mode=mode)[:8]}"


def encoder_of(choice: EncoderChoice, settings: FeaturizeSettings) -> CropEncoder:
    """Return an encoder built with the settings; see `bchisto.encoders.cached_encoder`."""
    weights = weights_of(settings.weights, choice.label)
    return cached_encoder(
        choice,
        weights=weights,
        precision=settings.precision,
        engine=settings.engine,
        seed=settings.seed,
    )


def best_engine(encoders: Iterable[EncoderChoice]) -> str:
    """Return the engine that ``auto`` means here: OpenVINO for networks of Keras on a CPU, otherwise ``keras``."""
    if not all(is_built_in(choice.name) for choice in encoders):
        return "keras"
    if named_backend() != "tensorflow" or visible_gpus():
        return "keras"
    try:
        openvino_core("float32")
    except DependencyError as error:
        _log.warning(
            Message("{}; {engine:keras} takes up to {} times the time", error, _KERAS_TIMES)
        )
        return "keras"
    return "openvino"


def executed_settings(
    settings: FeaturizeSettings, records: Path, *, anew: bool
) -> FeaturizeSettings:
    """Return the settings with the engine and the precision that this machine really uses; warn of another precision.

    If the run has begun, ``auto`` means what it meant then, so that any machine can continue it.
    """
    if not anew:
        settings = _as_begun(settings, records)
    asked_precision = settings.precision
    settings = _resolved(settings)
    if settings.engine == "keras" and named_backend() == "torch" and visible_gpus():
        _log.info("on a GPU, Keras on JAX is 6 times as fast as on PyTorch: set KERAS_BACKEND=jax")
    precision = settings.precision
    if precision != asked_precision:
        computing = "without a GPU, Keras computes"
        if settings.engine == "openvino":
            computing = "OpenVINO computes"
        text = "{precision} {}: {} in {} here; recorded as {}"
        _log.warning(Message(text, asked_precision, computing, precision, precision))
    elif precision == "bfloat16" and settings.engine == "openvino" and imitates_bfloat16():
        _log.warning(
            Message(
                "{precision} bfloat16: this CPU has no bfloat16; OpenVINO imitates it, slower than float32"
            )
        )
    return settings


def _as_begun(settings: FeaturizeSettings, records: Path) -> FeaturizeSettings:
    """Return the settings in which ``auto`` means what it did when the run of these records was begun."""
    recorded = {}
    for config in begun_configs(records)[-1:]:
        for name in ("engine", "batch_size"):
            if getattr(settings, name) == AUTO and name in config:
                recorded[name] = config[name]
    return replace(settings, **recorded)


def begun_configs(records: Path) -> list[Entries]:
    """Return the options of each feature extraction that a run has begun, by its records; none without these."""
    if not records.is_file():
        return []
    # a command that was refused has begun nothing
    return [
        entry.config
        for entry in read_entries(records)
        if entry.command == "featurize" and (entry.status != "error" or entry.notes)
    ]


def describing_resources(settings: FeaturizeSettings, jobs: int | None = None) -> Resources:
    """Return the resources for the features of settings: OpenVINO runs on the CPU, even if Keras finds a GPU."""
    return network_resources(jobs, on_keras=settings.on_keras)


def estimate_describing(
    records: Sequence[ImageRecord], settings: FeaturizeSettings, *, jobs: int | None = None
) -> DescribingCost:
    """Estimate the elapsed time and the number of features of images, from the first of them.

    Raises
    ------
    BchistoError
        The image cannot be used, or an encoder cannot be opened.
    """
    settings = _resolved(settings)
    cost = time_describing(records[0], settings=settings, targets=timed_targets(settings))
    resources = describing_resources(settings, jobs)
    seconds = cost.seconds * len(records)
    if jobs is None:
        resources = resources.worth(seconds)
    return DescribingCost(resources.clock(seconds), cost.numbers * len(records))


def _resolved(settings: FeaturizeSettings) -> FeaturizeSettings:
    """Return the settings with the engine and the batch size that ``auto`` means here, and the executed precision."""
    if settings.engine == AUTO:
        settings = replace(settings, engine=best_engine(settings.encoders))
    precision = settings.precision
    if precision != "float32":
        precision = executed_precision(precision, engine=settings.engine)
    return replace(settings, batch_size=settings.crops_at_once, precision=precision)


def ready_targets(
    settings: FeaturizeSettings,
) -> tuple[FeaturizeSettings, dict[str, tuple[CropEncoder, View]]]:
    """Return the settings that this machine computes with, and encoder and view by sorted name of feature file."""
    settings = _resolved(settings)
    encoders = [_in_float16(encoder, settings) for encoder in _open_encoders(settings)]
    targets = {
        f"{_store_name(encoder, view, mode=settings.mode)}.h5": (encoder, view)
        for encoder, view in product(encoders, settings.views)
    }
    return settings, dict(sorted(targets.items()))


def timed_targets(settings: FeaturizeSettings) -> dict[str, tuple[CropEncoder, View]]:
    """Return encoders and views for `time_describing`; without weights, which do not affect the time, random ones."""
    try:
        return ready_targets(settings)[1]
    except WeightsError:
        return ready_targets(replace(settings, weights=("random",)))[1]


def growth(store: Store, plan: StorePlan, unique: UniqueImages) -> ImageChange:
    """Return how the images changed since the file was finished; refuse a file that cannot be extended to the plan."""
    _refuse_other_settings(store, plan)
    columns = zip(store.image_ids, store.images("sha256"), strict=True)
    hashes = {image: sha.decode() for image, sha in columns}
    changed = [image for image, sha in unique.sha256.items() if hashes.get(image, sha) != sha]
    if changed:
        raise SettingsConflictError(
            "{}: images changed after their features were extracted: {}",
            store.path,
            few(changed),
            remedies=[
                "restore the old file",
                "give the new one another name",
                Message("use {overwrite} to extract all features again"),
            ],
        )
    present = sum(image in unique.sha256 for image in store.image_ids)
    if present < _LEAST_LEFT * len(store.image_ids):
        raise SettingsConflictError(
            "{}: has features of {}, and only {} of their names are among these; other options may name them "
            "otherwise",
            store.path,
            counted(len(store.image_ids), "image"),
            present,
            remedies=[
                "use the same images and options",
                Message("another {out}"),
                Message("{overwrite}"),
            ],
        )
    labelled = zip(store.labels, store.groups, strict=True)
    old_owners = dict(zip(store.image_ids, labelled, strict=True))
    new_owners = {
        record.image_id: (record.label_text, record.group_text) for record in unique.dataset.records
    }
    change = ImageChange.between(old_owners, new_owners)
    if change.removed:
        # images are present, but the options may no longer select them
        selections = (side["selection"] for side in (store.header, plan.origin))
        differing = describe_differences(*selections)
        if differing:
            raise other_settings(store.path, differing)
    return change


def _refuse_other_settings(store: Store, plan: StorePlan) -> None:
    """Refuse a feature file whose rows were made with other settings, or that has more rows for each image."""
    texts = {}
    weights = store.header["weights_file_sha256"]
    if weights and "card" in store.header and weights == plan.origin["weights_file_sha256"]:
        texts["weights_sha256"] = "the same weights, but their JSON differs"
    differing = [describe_differences(store.settings, plan.parts.settings, texts=texts)]
    if store.augmentations > plan.augmentations:
        differing.append(f"augmentations {store.augmentations} -> {plan.augmentations}")
    text = ", ".join(filter(None, differing))
    if text:
        raise other_settings(store.path, text)
