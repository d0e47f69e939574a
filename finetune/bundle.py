"""The model file of fine-tuned networks. It holds settings and weights, and no code that would run when it is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from ..core import BundleError
from ..core.formats import Archive, limits
from ..core.models import BundleFacts, write_bundle
from .model import build_model, resolved, weights_bytes
from .networks.registry import list_networks
from .pretrained import load_network
from .settings import FinetuneSettings

_MEMBER = re.compile(r"models/fold([0-9]{1,9})\.npz")


@dataclass(frozen=True, kw_only=True)
class CnnBundle(BundleFacts):
    """Fold models of a network, with everything that is needed to predict new images.

    Attributes
    ----------
    classes, protocol, banners, temperature, two_class, training, unsure
        See `bchisto.crossval.BundleFacts`.
    settings : FinetuneSettings
    models : dict of int to keras.Model
        Fold to network.
    dataset : str
        Dataset layout of the training images.
    reading : dict
        How they were read: ``label_level``, ``context``.
    """

    kind: ClassVar[str] = "cnn"

    settings: FinetuneSettings
    models: dict[int, Any]
    dataset: str
    reading: dict[str, Any]

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
        reading: Mapping[str, Any],
    ) -> BundleFacts:
        """Write a model file, and return its facts.

        Parameters
        ----------
        path : Path
            The ``.bchisto`` file.
        facts : BundleFacts
        models : mapping of int to callable
            Fold to a function that returns the bytes of its arrays, see `bchisto.crossval.pack_arrays`.
        settings, dataset, reading
            See the attributes of the class.
        """
        # store resolved values, so that later defaults do not change the network
        chosen = {name: value for name, value in resolved(settings).items() if name != "weights"}
        return write_bundle(
            path,
            facts,
            kind="cnn",
            own={"settings": asdict(replace(settings, **chosen)), "dataset": dataset, "reading": dict(reading)},
            members=[(f"models/fold{fold}.npz", content) for fold, content in models.items()],
            check=lambda archive: CnnBundle._read(path, archive, parse=False),
        )

    @classmethod
    def _read(cls, path: Path, archive: Archive, *, parse: bool = True) -> CnnBundle:
        """Read a model file. Without `parse`, check everything except the models, and return the facts without them."""
        manifest = archive.manifest
        settings, classes = _settings(manifest["settings"]), tuple(manifest["classes"])
        chosen = resolved(settings)
        size, pixels = chosen["size"], chosen["batch_size"] * chosen["size"] ** 2
        if size > limits.TRAINED_SIDE or pixels > limits.TRAINED_BATCH or settings.rule.count > limits.TRAINED_PATCHES:
            # an image would not fit into memory, or take forever
            raise BundleError(f"{path}: its size, batches or patches are invalid; the model file is corrupt")
        reading = manifest["reading"]
        if set(reading) != {"label_level", "context"} or not all(isinstance(text, str) for text in reading.values()):
            raise BundleError(f"{path}: its manifest does not state how images are read; the model file is corrupt")
        members = _folds(path, archive)
        if settings.network in list_networks() and (needed := weights_bytes(settings, classes=len(classes))):
            for name in members.values():
                if needed > archive.size(name):
                    why = f"{name} is too small for {settings.network} of this size"
                    raise BundleError(f"{path}: {why}; it was altered")
        models: dict[int, Any] = {}
        for fold, name in members.items() if parse else ():
            models[fold] = build_model(settings, classes=len(classes), fold=0)
            try:
                load_network(models[fold], archive.read(name))
            except BundleError as error:
                raise BundleError("{}: {}: {}; or it is not of {}", path, name, error, settings.network) from error
        dataset = str(manifest["dataset"])
        return cls._of(manifest, settings=settings, models=models, dataset=dataset, reading=dict(reading))


def _settings(content: Mapping[str, Any]) -> FinetuneSettings:
    """Return the settings with random weights, since the weights of the archive replace them."""
    lists = {field.name for field in fields(FinetuneSettings) if str(field.type).startswith("tuple")}
    plain = {name: _tuple(value) if name in lists else value for name, value in content.items()}
    return replace(FinetuneSettings(**plain), weights="random", fresh=(), rate_multipliers=())


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


def _folds(path: Path, archive: Archive) -> dict[int, str]:
    """Return the archive member of each fold."""
    folds: dict[int, str] = {}
    for name in archive.members:
        match = _MEMBER.fullmatch(name)
        if match is None:
            raise BundleError(f"{path}: its members are not those of a CNN ({name[:100]}); it was altered")
        if folds.setdefault(int(match[1]), name) != name:
            raise BundleError(f"{path}: holds two models of one fold; it was altered")
    if not folds:
        raise BundleError(f"{path}: has no model")
    return dict(sorted(folds.items()))
