"""The model bundle: one zip of texts with a manifest of hashes, and nothing that runs when it is read."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..errors import BundleError
from ..jobs import atomic_output
from .lightgbm_head import parse_model, predict_proba

__all__ = ["SCHEMA_VERSION", "Bundle"]

SCHEMA_VERSION = 1
_MEMBER = re.compile(r"models/[\w.+-]+/seed\d+-fold\d+\.txt")
_MOST_MEMBERS = 20_000
_MOST_BYTES = 8 * 1024**3
"""Bounds on what is unpacked: the 600 models of the paper are some 2 GB of text (ours)."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time stamp of every member, so that equal models give equal bundles."""


@dataclass(frozen=True)
class Bundle:
    """Fold models with what is needed to predict new images elsewhere.

    Attributes
    ----------
    classes : tuple of str
        Order of the probabilities.
    stores : dict of str to dict
        Store name to the settings that made it: encoder, layers, weights hash, view, stain, ...
    models : dict of str to list of lightgbm.Booster
        Store name to its models.
    protocol : str
        The folds the models come from.
    banners : tuple of str
        What a reader of predictions must know.
    """

    classes: tuple[str, ...]
    stores: dict[str, dict[str, Any]]
    models: dict[str, list[Any]]
    protocol: str
    banners: tuple[str, ...] = ()

    def predict(self, features: Mapping[str, npt.NDArray[np.float32]]) -> npt.NDArray[np.float64]:
        """Predict images: the mean probability over all models, stores and augmentations, as published.

        Parameters
        ----------
        features : mapping
            Store name to descriptors, float32 of shape (images, augmentations, d).

        Returns
        -------
        ndarray of float64, shape (images, classes)

        Raises
        ------
        BundleError
            A store is missing, or has another number of features.
        """
        missing = sorted(set(self.models) - set(features))
        if missing:
            raise BundleError(f"descriptors of {missing[0]} are missing; the bundle needs {', '.join(self.models)}")
        every = [predict_proba(model, features[name]) for name, models in self.models.items() for model in models]
        return np.asarray(np.mean(every, axis=0))

    @staticmethod
    def save(
        path: Path,
        *,
        classes: Sequence[str],
        stores: Mapping[str, Mapping[str, Any]],
        models: Mapping[str, Sequence[tuple[str, Path]]],
        protocol: str,
        banners: Sequence[str],
    ) -> None:
        """Write a bundle.

        Parameters
        ----------
        path : Path
            The ``.bchisto`` file.
        classes, stores, protocol, banners
            As the attributes.
        models : mapping
            Store name to (member name, text file) of its models.
        """
        hashes: dict[str, str] = {}
        with (
            atomic_output(path) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive,
        ):
            for store, files in models.items():
                for name, file in files:
                    member, data = f"models/{store}/{name}", file.read_bytes()
                    hashes[member] = hashlib.sha256(data).hexdigest()
                    archive.writestr(_info(member), data)
            manifest = {
                "kind": "bchisto model bundle",
                "schema_version": SCHEMA_VERSION,
                "bchisto_version": __version__,
                "head": "lightgbm",
                "classes": list(classes),
                "stores": {name: dict(header) for name, header in stores.items()},
                "protocol": protocol,
                "banners": list(banners),
                "calibration": None,
                "members": hashes,
            }
            archive.writestr(_info("manifest.json"), json.dumps(manifest, indent=2, ensure_ascii=False))

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Read and check a bundle.

        Raises
        ------
        BundleError
            Missing, not a bundle, of a newer schema, too large, or a member that is unexpected or altered.
        """
        path = Path(path)
        if not path.is_file():
            raise BundleError(f"{path}: no such model bundle; bchisto boost writes one as model.bchisto")
        try:
            with zipfile.ZipFile(path) as archive:
                return cls._read(path, archive)
        except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError(f"{path}: not a bchisto model bundle, or damaged ({error})") from error

    @classmethod
    def _read(cls, path: Path, archive: zipfile.ZipFile) -> Bundle:
        infos = archive.infolist()
        if len(infos) > _MOST_MEMBERS or sum(info.file_size for info in infos) > _MOST_BYTES:
            raise BundleError(f"{path}: unpacks to more than a bundle can hold; it is not read")
        manifest = json.loads(archive.read("manifest.json"))
        if manifest.get("kind") != "bchisto model bundle":
            raise BundleError(f"{path}: a zip file, but not a bchisto model bundle")
        if manifest["schema_version"] > SCHEMA_VERSION:
            writer = manifest.get("bchisto_version")
            raise BundleError(f"{path}: written by bchisto {writer}, newer than this; pip install 'bchisto>={writer}'")
        members: dict[str, str] = manifest["members"]
        present = {info.filename for info in infos} - {"manifest.json"}
        if present != set(members) or not all(_MEMBER.fullmatch(name) for name in present):
            raise BundleError(f"{path}: its members are not those of its manifest; it was altered")
        models: dict[str, list[Any]] = {name: [] for name in manifest["stores"]}
        for member, sha256 in members.items():
            data = archive.read(member)
            if hashlib.sha256(data).hexdigest() != sha256:
                raise BundleError(f"{path}: {member} does not match its hash; the bundle is damaged or was altered")
            models[member.split("/")[1]].append(parse_model(data.decode("utf-8")))
        return cls(
            tuple(manifest["classes"]),
            manifest["stores"],
            models,
            manifest["protocol"],
            tuple(manifest["banners"]),
        )


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=_EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info
