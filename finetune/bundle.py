"""The model file of fine-tuned networks, without code, and its predictions of new images."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..core import BundleError, Content, Entries, ImageError
from ..core.formats import Floats, Pixels, limits
from ..core.jobs import Ticker, in_threads, prepare_backend, visible_gpus
from ..core.models import Archive, BundleFacts
from ..data import ImageRecord, LeastSize, crop_key, decode_record, pixels_sha256
from ..stains import known_stain
from .batches import Source
from .images import ImageBank, StainTreatment
from .model import build_model, resolved, weights_bytes
from .networks import list_networks
from .pretrained import load_network
from .settings import FinetuneSettings
from .units import predict_samples

_MEMBER = re.compile(r"models/fold(0|[1-9][0-9]{0,8})\.npz")


@dataclass(frozen=True, kw_only=True)
class CnnBundle(BundleFacts):
    """Fold models of a network, with everything that is needed to predict new images.

    Attributes
    ----------
    classes, protocol, banners, temperature, two_class, training, unsure
        See `bchisto.core.models.BundleFacts`.
    settings : FinetuneSettings
    models : dict of int to keras.Model
        Fold to network.
    dataset : str
        Dataset layout of the training images.
    reading : dict
        How these images were read: ``label_level``, ``context``.
    """

    kind = "cnn"

    settings: FinetuneSettings
    models: dict[int, Any]
    dataset: str
    reading: Content

    @property
    def model_names(self) -> tuple[str, ...]:
        """Name of the network."""
        return (self.settings.network,)

    @staticmethod
    def save(
        path: Path,
        facts: BundleFacts,
        *,
        settings: FinetuneSettings,
        models: Mapping[int, Callable[[], bytes]],
        dataset: str,
        reading: Entries,
    ) -> BundleFacts:
        """Write a model file, and return its facts.

        Parameters
        ----------
        path : Path
            The ``.bchisto`` file.
        facts : BundleFacts
        models : mapping of int to callable
            Fold to a function that returns the bytes of its arrays.
        settings, dataset, reading
            See the attributes of the class.
        """
        # store resolved values, so that later defaults do not change the network
        values = {name: value for name, value in resolved(settings).items() if name != "weights"}
        entries = {
            "settings": asdict(replace(settings, **values)),
            "dataset": dataset,
            "reading": dict(reading),
        }
        members = [(f"models/fold{fold}.npz", content) for fold, content in models.items()]
        return CnnBundle.write(path, facts, own=entries, members=members)

    @classmethod
    def _read(cls, path: Path, archive: Archive, *, parse: bool = True) -> CnnBundle:
        """Read a model file. Without `parse`, check everything except the models, and return the facts without them."""
        manifest = archive.manifest
        classes = len(manifest["classes"])
        if isinstance(manifest["settings"].get("stain"), str):
            known_stain(manifest["settings"]["stain"], path, kind=BundleError)
        # with random weights, since the weights of the archive replace them
        settings = replace(
            FinetuneSettings(**manifest["settings"]),
            weights="random",
            fresh=(),
            rate_multipliers=(),
        )
        _check_sizes(path, settings)
        reading = manifest["reading"]
        if set(reading) != {"label_level", "context"} or not all(
            isinstance(text, str) for text in reading.values()
        ):
            raise BundleError(
                f"{path}: its manifest does not state how images are read; the model file is corrupt"
            )
        members = _folds(path, archive)
        needed = 0  # the weights of an encoder are not counted
        if settings.network in list_networks():
            needed = weights_bytes(settings, classes=classes)
        for name in members.values():
            if archive.size(name) < needed:  # before the memory for the network is allocated
                raise BundleError(
                    f"{path}: {name} is too small for {settings.network} of this size; it was altered"
                )
        models = {}
        if parse:
            for fold, name in members.items():
                models[fold] = build_model(settings, classes=classes, fold=0)
                content = archive.read(name)
                try:
                    load_network(models[fold], content)
                except BundleError as error:
                    text = "{}: {}: {}; or it is not of {}"
                    raise BundleError(text, path, name, error, settings.network) from error
        dataset = str(manifest["dataset"])
        return cls._of(
            manifest, settings=settings, models=models, dataset=dataset, reading=dict(reading)
        )


def _check_sizes(path: Path, settings: FinetuneSettings) -> None:
    """Refuse a network whose images would not fit into memory, or take forever."""
    values = resolved(settings)
    pixels = values["batch_size"] * values["size"] ** 2
    if (
        values["size"] > limits.TRAINED_SIDE
        or pixels > limits.TRAINED_BATCH
        or settings.rule.count > limits.TRAINED_PATCHES
    ):
        raise BundleError(
            f"{path}: its size, batches or patches are invalid; the model file is corrupt"
        )


def _folds(path: Path, archive: Archive) -> dict[int, str]:
    """Return the archive member of each fold."""
    folds = {}
    for name in archive.members:
        match = _MEMBER.fullmatch(name)
        if match is None:
            raise BundleError(
                f"{path}: its members are not those of a CNN ({name[:100]}); it was altered"
            )
        folds[int(match[1])] = name
    if not folds:
        raise BundleError(f"{path}: has no model; the model file is corrupt")
    return dict(sorted(folds.items()))


_MOST_PATCHES = 100_000
"""Largest number of patches of an image; more would take days."""


@dataclass(frozen=True, eq=False)
class CnnModel:
    """Networks that are ready to predict, see `bchisto.predict.Model`.

    Attributes
    ----------
    bundle : CnnBundle
    """

    bundle: CnnBundle

    images_per_block = 16  # all in memory at once
    on_keras = True
    rescales = False
    step_name = "predictions"
    precisions: ClassVar[dict[str, str]] = {}

    @property
    def computed_by(self) -> Content:
        """The backend of Keras that computes the predictions."""
        return {"backend": prepare_backend()}

    @property
    def steps(self) -> int:
        """Progress steps per image: the number of models."""
        return len(self.bundle.models)

    @property
    def needs(self) -> tuple[LeastSize, ...]:
        """Patches for which an image must be large enough."""
        return (self.bundle.settings.rule,)

    @property
    def stain(self) -> str:
        """The stain method of its images."""
        return self.bundle.settings.stain

    def seconds(self, record: ImageRecord) -> None:
        """Return None: how long an image takes is not measured."""

    def rehearse(self, records: Sequence[ImageRecord]) -> None:
        """Do nothing: how much memory it takes is not measured."""

    def predict(
        self,
        records: Sequence[ImageRecord],
        *,
        ticker: Ticker,
        skip_errors: bool,
        helpers: int = 1,
        notes: dict[str, list[str]] | None = None,
    ) -> Iterator[tuple[ImageRecord, Floats | str, str, Floats, bool]]:
        """Predict images: the mean probability over the patches of each image, then over the fold models.

        Parameters
        ----------
        records : sequence of ImageRecord
            All of them are in memory at once.
        ticker : Ticker
            Ticks once per image and model.
        skip_errors : bool
        helpers : int
            Number of threads that decode images and prepare batches ahead of the networks.
        notes : dict of str to list of str, optional
            Gets warnings of the stains of each image.

        Yields
        ------
        (record, probabilities or message, pixels, compared, blank)
            Probabilities are float64 of shape (classes,); a message is the reason why the image cannot be used.
            `pixels` is the checksum of its decoded pixels, `compared` is empty, and `blank` says whether it shows
            nothing.

        Raises
        ------
        ImageError
            An image cannot be used and `skip_errors` is False.
        """
        settings = self.bundle.settings
        treatment = StainTreatment(settings.stain, settings.rule, resolved(settings)["size"])
        pixels = {}

        def read(record: ImageRecord) -> tuple[Pixels, str] | ImageError:
            try:
                image = decode_record(record)
                patches = settings.rule.number(*image.shape[:2])
                if patches > _MOST_PATCHES:
                    text = f"{record.called}: {patches:,} patches, more than {_MOST_PATCHES:,}; give smaller images"
                    return ImageError(text)
                pixels[record.image_id] = pixels_sha256(image)
                return treatment.treat(record, image), crop_key(record, image, crop_seed="pixels")
            except ImageError as error:
                return error

        prepared = []
        for image in in_threads(read, records, threads=helpers):
            if isinstance(image, ImageError) and not skip_errors:
                raise image.skippable()
            prepared.append(image)
        usable = {
            record.image_id: image
            for record, image in zip(records, prepared, strict=True)
            if not isinstance(image, ImageError)
        }
        ticker.tick(self.steps * (len(records) - len(usable)))
        treatment.warn(None, notes)
        mean = {}
        if usable:
            images, keys = zip(*usable.values(), strict=True)
            bank = ImageBank.of(images, keys)
            source = Source.of(settings, bank, np.zeros(len(bank), dtype=np.int64), workers=helpers)
            total = np.zeros((len(bank), len(self.bundle.classes)))
            for model in self.bundle.models.values():
                total += _predict(model, source)
                ticker.tick(len(bank))
            mean = dict(zip(usable, total / self.steps, strict=True))
        for record, image in zip(records, prepared, strict=True):
            sha256 = pixels.get(record.image_id, "")
            outcome = str(image) if isinstance(image, ImageError) else mean[record.image_id]
            # no comparison with training images: distances between a network's inner features were not validated
            yield record, outcome, sha256, np.empty(0), record.image_id in treatment.blank


def _predict(model: Any, source: Source) -> Floats:
    """Return the mean over the patches of each image, float64 of shape (images, classes).

    A batch holds the patches of only one image; otherwise the last bits of its probabilities would depend on the other
    images. On a GPU all images share batches, because single images would be many times slower there and the last bits
    depend on the card anyway.
    """
    positions = np.arange(len(source.bank))
    batches = [positions] if visible_gpus() else np.split(positions, len(positions))
    patches = np.concatenate([predict_samples(model, source, batch) for batch in batches])
    ends = np.cumsum(source.bank.counts(positions, source.rule))[:-1]
    return np.array([part.mean(axis=0) for part in np.split(patches, ends)])
