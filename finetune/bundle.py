"""The bundle of fine-tuned networks: their settings and weights, and nothing that runs when it is read."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..core import BundleError, StoreError, WeightsError
from ..crossval import BundleFacts, open_bundle, write_bundle
from ..encoders import load_keras_file
from ..formats import Archive, limits, refuse_deadly
from .model import build_model, resolved, weights_bytes
from .networks.registry import list_networks
from .settings import FinetuneSettings

_MEMBER = re.compile(r"models/fold([0-9]{1,9})\.weights\.h5")


_AT_ONCE = 512 * 1024**2
"""Bytes of models that lie unpacked on the disk at once, unless one alone is larger (ours)."""


@dataclass(frozen=True, kw_only=True)
class CnnBundle(BundleFacts):
    """Fold models with what is needed to predict new images elsewhere.

    Attributes
    ----------
    classes, protocol, banners, temperature, two_class, training, unsure
        See `bchisto.crossval.BundleFacts`.
    settings : FinetuneSettings
    models : dict of int to keras.Model
        Fold to network.
    dataset : str
        Layout of the training images.
    reading : dict
        How they were read: ``label_level``, ``context``.
    """

    settings: FinetuneSettings
    models: dict[int, Any]
    dataset: str
    reading: dict[str, Any]

    @property
    def model_names(self) -> tuple[str, ...]:
        """The network."""
        return (self.settings.network,)

    @staticmethod
    def save(
        path: Path,
        facts: BundleFacts,
        *,
        settings: FinetuneSettings,
        models: Mapping[int, Path],
        dataset: str,
        reading: Mapping[str, Any],
    ) -> None:
        """Write a bundle.

        Parameters
        ----------
        path : Path
            The ``.bchisto`` file.
        facts : BundleFacts
        models : mapping of int to Path
            Fold to its ``.weights.h5``.
        settings, dataset, reading
            As the attributes.
        """
        # what a network was built with, so that later defaults do not change it
        chosen = {name: value for name, value in resolved(settings).items() if name != "weights"}
        write_bundle(
            path,
            facts,
            road="cnn",
            own={
                "settings": asdict(replace(settings, **chosen)),
                "dataset": dataset,
                "reading": dict(reading),
            },
            members=[(f"models/fold{fold}.weights.h5", file.read_bytes) for fold, file in models.items()],
            check=lambda archive: CnnBundle._read(path, archive, share=True),
        )

    @classmethod
    def load(cls, path: str | Path) -> CnnBundle:
        """Read and check a bundle, and build its networks.

        Raises
        ------
        BundleError
            Missing, not a bundle of CNNs, of a newer schema, too large, or a member that is unexpected or altered.
        """
        path = Path(path)
        with open_bundle(path, road="cnn") as archive:
            return cls._read(path, archive)

    @classmethod
    def _read(cls, path: Path, archive: Archive, *, share: bool = False) -> CnnBundle:
        """Read a bundle; with `share` all its weights into one network, only to see that they can be."""
        manifest = archive.manifest
        settings, classes = _settings(manifest["settings"]), tuple(manifest["classes"])
        chosen = resolved(settings)
        size, pixels = chosen["size"], chosen["batch_size"] * chosen["size"] ** 2
        if size > limits.TRAINED_SIDE or pixels > limits.TRAINED_BATCH or settings.rule.count > limits.TRAINED_PATCHES:
            # an image would not fit into memory, or never be done
            raise BundleError(f"{path}: its size, batches or patches are past all use; the bundle was altered")
        reading = manifest["reading"]
        if set(reading) != {"label_level", "context"} or not all(isinstance(one, str) for one in reading.values()):
            raise BundleError(f"{path}: its manifest does not say how images are read; the bundle was altered")
        models: dict[int, Any] = {}
        if settings.network in list_networks() and (needed := weights_bytes(settings, classes=len(classes))):
            for _, name in _folds(path, archive):
                if needed > archive.size(name):
                    why = f"{name} is too small for {settings.network} of this size"
                    raise BundleError(f"{path}: {why}; it was altered")
        for fold, name, file in _unpacked(path, archive):
            model = (
                next(iter(models.values())) if share and models else build_model(settings, classes=len(classes), fold=0)
            )
            try:
                load_keras_file(model, file, of=settings.network)
            except WeightsError as error:
                raise BundleError(f"{path}: {name}: {str(error).removeprefix(f'{file}: ')}") from error
            models[fold] = model
        own = {"settings": settings, "models": models, "dataset": str(manifest["dataset"]), "reading": dict(reading)}
        return cls.read(path, manifest, **own)


def _settings(content: Mapping[str, Any]) -> FinetuneSettings:
    """Return the settings with random weights, since those of the members replace them."""
    lists = {field.name for field in fields(FinetuneSettings) if str(field.type).startswith("tuple")}
    plain = {name: _tuple(value) if name in lists else value for name, value in content.items()}
    return replace(FinetuneSettings(**plain), weights="random", fresh=(), rate_multipliers=())


def _tuple(value: Any) -> Any:
    return tuple(_tuple(one) for one in value) if isinstance(value, list) else value


def _folds(path: Path, archive: Archive) -> list[tuple[int, str]]:
    found = []
    for name in archive.members:
        match = _MEMBER.fullmatch(name)
        if match is None:
            raise BundleError(f"{path}: its members are not those of a CNN ({name[:100]}); it was altered")
        found.append((int(match[1]), name))
    if len({fold for fold, _ in found}) < len(found):
        raise BundleError(f"{path}: holds two models of one fold; it was altered")
    if not found:
        raise BundleError(f"{path}: holds no model")
    return sorted(found)


def _unpacked(path: Path, archive: Archive) -> Iterator[tuple[int, str, Path]]:
    """Yield fold, member and file of each model, once another process has read the file and lived."""
    with tempfile.TemporaryDirectory(prefix="bchisto-") as folder:
        files: dict[Path, tuple[int, str]] = {}
        left = _folds(path, archive)
        while left:
            size = 0
            while left and (not files or size + archive.size(left[0][1]) <= _AT_ONCE):
                size += archive.size(left[0][1])
                file = Path(folder) / f"{left[0][0]}.weights.h5"
                file.write_bytes(archive.read(left[0][1]))
                files[file] = left.pop(0)
            try:
                refuse_deadly(list(files), ())
            except StoreError as error:
                said = str(error)
                for file, (_, name) in files.items():
                    said = said.replace(str(file), name)
                raise BundleError(f"{path}: {said}") from error
            for file, (fold, name) in files.items():
                yield fold, name, file
                file.unlink()
            files = {}
