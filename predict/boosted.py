"""Predict images with boosted models: build their encoders, check the weights, and compute features."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..boost import NOT_COMPARED, Bundle
from ..core import (
    DAMAGE,
    BundleError,
    Content,
    Entries,
    ImageError,
    InputError,
    WeightsError,
    first_line,
    printable,
)
from ..core.formats import Floats, Floats32, limits
from ..core.jobs import Ticker
from ..data import ImageRecord, LeastSize, pixel_findings, report_findings
from ..encoders import (
    PUBLISHED,
    CropEncoder,
    Encoder,
    EncoderChoice,
    cached_encoder,
    executed_precision,
    header_choice,
    refuse_unused,
    weights_of,
)
from ..featurize import (
    IMPORTED,
    FeaturizeSettings,
    ImageFailure,
    StainInfo,
    View,
    describe_images,
    images_per_block,
    rehearse,
    scale_of,
    settings_from,
    time_describing,
    unlike_on_gpu,
)
from ..stains import StainNotes

Notes = dict[str, list[str]]
"""Name of an image to warnings of it."""

AS_TRAINED = "as trained"
"""Engine of a model that is computed by the engine of its training."""


@dataclass(frozen=True)
class BoostedModel:
    """Boosted models that are ready to predict, see `bchisto.predict.Model`.

    Attributes
    ----------
    bundle : Bundle
        The content of the model file.
    settings : dict of str to FeaturizeSettings
        Name of a feature file to the settings of its feature extraction.
    encoders : dict of str to CropEncoder
        Name of a feature file to its encoder.
    computed_by : dict of str to dict
        Weights, backend and precision that compute the features of each feature file.
    precisions : dict of str to str
        Feature files whose features are computed here in another precision than in training, with that of training.
    on_keras : bool
        Whether any of its networks runs on Keras, and so on a GPU if Keras finds one.
    rescales : bool
        Whether a view is in micrometres, so that images are scaled by theirs.
    """

    bundle: Bundle
    settings: dict[str, FeaturizeSettings]
    encoders: dict[str, CropEncoder]
    computed_by: Content
    precisions: dict[str, str]
    on_keras: bool
    rescales: bool

    step_name = "augmentations"

    @property
    def images_per_block(self) -> int:
        """Number of images in a unit of work."""
        return min(map(images_per_block, self.settings.values()))

    @property
    def steps(self) -> int:
        """Progress steps per image: the number of augmentations, summed over distinct settings."""
        return sum(settings.augmentations for settings, _ in self._passes())

    @property
    def needs(self) -> tuple[LeastSize, ...]:
        """Views for which an image must be large enough."""
        return tuple(view for settings in self.settings.values() for view in settings.needs)

    def _passes(self) -> list[tuple[FeaturizeSettings, dict[str, tuple[CropEncoder, View]]]]:
        """Group feature files with the same crops and colours, so that each image is decoded once per group."""
        groups: dict[FeaturizeSettings, dict[str, tuple[CropEncoder, View]]] = {}
        for name, settings in self.settings.items():
            # the same placeholders in all settings, so that only crops and colours tell them apart
            shared = replace(
                settings, encoders=(EncoderChoice("vgg16"),), views=(View(1.0, 32),), weights=()
            )
            groups.setdefault(shared, {})[name] = (self.encoders[name], settings.views[0])
        return list(groups.items())

    @property
    def stain(self) -> str:
        """The stain method of its images."""
        return next(iter(self.settings.values())).stain

    def seconds(self, record: ImageRecord) -> float:
        """Measure the seconds that an image takes in this process; 0 if it cannot be used."""
        with contextlib.suppress(ImageError):
            return sum(
                time_describing(record, settings=settings, targets=targets).seconds
                for settings, targets in self._passes()
            )
        return 0.0

    def rehearse(self, records: Sequence[ImageRecord]) -> None:
        """Describe the largest images, see `bchisto.featurize.stream.rehearse`."""
        rehearse(records, self.seconds)

    def unlike(self, other: BoostedModel, record: ImageRecord) -> str:
        """Return how features by this model on a GPU differ from those by another on the CPU; empty if alike."""
        return unlike_on_gpu(record, self._passes(), other._passes())

    def predict(
        self,
        records: Sequence[ImageRecord],
        *,
        ticker: Ticker,
        skip_errors: bool,
        helpers: int = 1,
        notes: Notes | None = None,
    ) -> Iterator[tuple[ImageRecord, Floats | str, str, Floats, bool]]:
        """Predict images one by one. An image that fails gets an error message instead of probabilities.

        If a GPU computes, `helpers` processes decode and normalise the next images meanwhile. `notes` gets warnings of
        the stains of each image.

        Yields
        ------
        (record, probabilities or message, pixels, compared, blank)
            `pixels` is the SHA-256 of the decoded pixels, `compared` the result of `Bundle.compare`, and `blank` says
            whether the image shows nothing.

        Raises
        ------
        ImageError
            An image cannot be used and `skip_errors` is False.
        """
        described = self.describe(
            records, ticker=ticker, skip_errors=skip_errors, helpers=helpers, notes=notes
        )
        for record, descriptors, pixels, blank in described:
            if isinstance(descriptors, str):
                yield record, descriptors, pixels, NOT_COMPARED, blank
            else:
                yield (
                    record,
                    self.bundle.predict(descriptors)[0],
                    pixels,
                    self.bundle.compare(descriptors)[0],
                    blank,
                )

    def describe(
        self,
        records: Sequence[ImageRecord],
        *,
        ticker: Ticker,
        skip_errors: bool,
        helpers: int = 1,
        notes: Notes | None = None,
    ) -> Iterator[tuple[ImageRecord, dict[str, Floats32] | str, str, bool]]:
        """Compute the features of images that `predict` gives to the models.

        Yields
        ------
        (record, features or message, pixels, blank)
            Features are a dict of feature file name to float32 of shape (1, augmentations, d).
        """
        groups = self._passes()
        passes = [
            describe_images(
                records,
                settings=settings,
                targets=targets,
                ticker=ticker,
                skip_errors=skip_errors,
                crop_seed="pixels",
                helpers=helpers,
            )
            for settings, targets in groups
        ]
        stains: dict[str, list[tuple[str, StainInfo]]] = {}
        for record, *items in zip(records, *passes, strict=True):
            features: dict[str, Floats32] = {}
            failure = None
            pixels = ""
            blank = False
            for (settings, _), item in zip(groups, items, strict=True):
                if isinstance(item, ImageFailure):
                    failure = item.message
                else:
                    stains.setdefault(settings.stain, []).append((record.image_id, item.stain))
                    pixels = item.stain.pixels
                    blank = item.stain.blank
                    features |= {name: rows[np.newaxis] for name, rows in item.features.items()}
            yield record, features if failure is None else failure, pixels, blank
        for stain, infos in stains.items():
            _warn_of_stains(stain, infos, notes)


def _warn_of_stains(
    stain: str, infos: Sequence[tuple[str, StainInfo]], notes: Notes | None
) -> None:
    """Log warnings on images without content, and on those whose stains were not normalised or are in doubt."""

    def images(name: str) -> dict[str, None]:
        return dict.fromkeys(image for image, info in infos if getattr(info, name))

    report_findings(pixel_findings({}, images("blank"), {}))
    foreign = {image: info.foreign for image, info in infos if info.foreign}
    StainNotes(stain, images("skipped"), images("doubtful"), foreign).warn(None, notes)


def open_boosted(bundle: Bundle, path: Path, weights: tuple[str, ...], engine: str) -> BoostedModel:
    """Build the encoders of boosted models.

    Parameters
    ----------
    bundle, path, weights
        As in `bchisto.predict.model_file.ModelFile`.
    engine : str
        ``keras`` replaces the engine of training; it means the same as for `featurize`.

    Raises
    ------
    BundleError, InputError, WeightsError
        See `bchisto.predict.model_file.load_model`.
    """
    if bundle.takes_embeddings:
        raise InputError(
            "{}: was trained on embeddings from files ({}), so it takes embeddings of the same kind, and no images; "
            "make them as in training (of fields of slides: {features.by:COLUMN}), then {predict.features:FILE}",
            path,
            ", ".join(
                name for name, header in bundle.stores.items() if header.get("mode") == IMPORTED
            ),
        )
    refuse_unused(weights, bundle.stores, path)
    settings = {}
    precisions = {}
    for name, item in _trained_settings(bundle, path).items():
        if engine == "keras":
            item = replace(item, engine=engine, batch_size="auto")
        # the precision in which this machine computes
        precision = executed_precision(item.precision, engine=item.engine)
        if precision != item.precision:
            precisions[name] = item.precision
        settings[name] = replace(item, precision=precision)
    # no more crops at once than fit this machine, for all feature files the same, so that an image is decoded once
    crop_limits = [replace(item, batch_size="auto").crops_at_once for item in settings.values()]
    for name, item in settings.items():
        if item.on_keras:
            settings[name] = replace(item, batch_size=min(item.crops_at_once, *crop_limits))
    encoders = {
        name: _encoder(path, header, weights, settings[name])
        for name, header in bundle.stores.items()
    }
    _check_lengths(bundle, path, encoders)
    return BoostedModel(
        bundle,
        settings,
        encoders,
        computed_by={
            name: {
                "weights": encoder.weights_sha256,
                "backend": encoder.backend,
                "precision": settings[name].precision,
            }
            for name, encoder in encoders.items()
        },
        precisions=precisions,
        on_keras=any(item.engine == "keras" for item in settings.values()),
        rescales=any(view.unit for item in settings.values() for view in item.views),
    )


def _trained_settings(bundle: Bundle, path: Path) -> dict[str, FeaturizeSettings]:
    """Return the settings of each feature file in training; refuse those that are damaged, or would take forever."""
    settings = {}
    for name, header in bundle.stores.items():
        try:
            if not isinstance(header["weights"], str):
                raise TypeError("its weights are not text")
            settings[name] = settings_from(header)
        except DAMAGE as error:
            raise BundleError(
                f"{path}: the settings of its feature set {printable(name[:100])} do not fit "
                f"({printable(first_line(error)[:160])}); the "
                "model file is corrupt"
            ) from error
    crops = sum(entry.augmentations * max(1, entry.crops) for entry in settings.values())
    if crops > limits.CROPS:
        raise BundleError(
            f"{path}: asks for {crops:,} crops of every image, more than {limits.CROPS:,}; the model file is corrupt"
        )
    return settings


def _check_lengths(bundle: Bundle, path: Path, encoders: Mapping[str, CropEncoder]) -> None:
    """Refuse models that take another number of features than their encoder makes."""
    for name, encoder in encoders.items():
        lengths = {getattr(model, "features", encoder.dim) for model in bundle.models[name]}
        if lengths != {encoder.dim}:
            raise BundleError(
                f"{path}: the models of its feature set {name} take {min(lengths)} features, {encoder.name} makes "
                f"{encoder.dim}; the model file is corrupt"
            )


def _encoder(
    path: Path, header: Entries, options: Sequence[str], settings: FeaturizeSettings
) -> CropEncoder:
    """Return the encoder of a feature file with the weights of `options`; refuse it if the file needs other weights."""
    name = header["encoder"]
    needed = str(header["weights_sha256"])
    source = weights_of(options, name)
    if source in PUBLISHED and header["weights"] in (*PUBLISHED, "random"):
        source = header["weights"]
    trained_sha256 = str(header.get("weights_file_sha256") or "")  # if the weights came from a file
    # do not let Keras download its own weights only to compare them
    if header["weights"] == "file" and source in PUBLISHED:
        raise WeightsError(
            "{}: {} was trained with weights from a file (sha256 {}); give them with {weights:{}=PATH}",
            path,
            name,
            (trained_sha256 or needed)[:12],
            name,
        )
    encoder = cached_encoder(
        header_choice(header, source),
        weights=source,
        precision=settings.precision,
        engine=settings.engine,
        seed=int(header["seed"]),
    )
    if encoder.weights_sha256 == needed:
        if isinstance(encoder, Encoder):
            return encoder.in_float16(scale_of(header))
        return encoder
    file_sha256 = encoder.weights_file_sha256 if trained_sha256 else ""
    if file_sha256 and file_sha256 == trained_sha256 and "runner" in header:
        raise WeightsError(
            f"{path}: {name} at {source} has the right weights, but its JSON differs from that of training; put the "
            "JSON back as it was"
        )
    raise WeightsError(
        "{}: {} needs the weights of sha256 {}, {} has {}; give the right ones with {weights:{}=PATH}",
        path,
        name,
        (trained_sha256 or needed)[:12],
        source,
        (file_sha256 or encoder.weights_sha256)[:12],
        name,
    )
