"""An archive that vouches for its content: a zip with a manifest that holds the hash of every member."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import BundleError
from .parts import atomic_output

__all__ = ["Archive", "write_archive"]

_MANIFEST = "manifest.json"
_MOST_MEMBERS = 20_000
_MOST_BYTES = 8 * 1024**3
"""Bounds on what is unpacked: the 600 models of the BACH paper are some 2 GB of text (ours)."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time stamp of every member, so that equal content gives equal archives."""


def write_archive(
    path: Path, *, kind: str, schema_version: int, members: Iterable[tuple[str, Path]], facts: Mapping[str, Any]
) -> None:
    """Write an archive.

    Parameters
    ----------
    path : Path
    kind : str
        What it is, for whoever opens it.
    schema_version : int
        Of `facts` and the members.
    members : iterable of (name, file)
    facts : mapping
        The rest of the manifest.
    """
    hashes: dict[str, str] = {}
    with (
        atomic_output(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive,
    ):
        for name, file in members:
            data = file.read_bytes()
            hashes[name] = hashlib.sha256(data).hexdigest()
            archive.writestr(_info(name), data)
        head = {"kind": kind, "schema_version": schema_version, "bchisto_version": __version__}
        archive.writestr(
            _info(_MANIFEST), json.dumps({**head, **facts, "members": hashes}, indent=2, ensure_ascii=False)
        )


class Archive:
    """An archive open for reading; everything wrong with it is a `BundleError` that names the file.

    Parameters
    ----------
    path : Path
    kind : str
        What it must be.
    schema_version : int
        The newest that can be read.

    Attributes
    ----------
    manifest : dict

    Raises
    ------
    BundleError
        Missing, not a zip, of another kind or a newer schema, too large, or of other members than its manifest names.
    """

    def __init__(self, path: Path, *, kind: str, schema_version: int) -> None:
        self._path, self._kind = path, kind
        if not path.is_file():
            raise BundleError(f"{path}: no such {kind}")
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise self.damaged(error) from error
        try:
            self.manifest = self._check(schema_version)
        except BundleError:
            self._zip.close()
            raise
        except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, EOFError) as error:
            self._zip.close()
            raise self.damaged(error) from error

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    @property
    def members(self) -> tuple[str, ...]:
        """Names of all members."""
        return tuple(self.manifest["members"])

    def read(self, name: str) -> bytes:
        """Return a member whose hash is that of the manifest.

        Raises
        ------
        BundleError
            It is not, or cannot be unpacked.
        """
        try:
            data = self._zip.read(name)
        except (OSError, zipfile.BadZipFile, EOFError) as error:
            raise self.damaged(error) from error
        if hashlib.sha256(data).hexdigest() != self.manifest["members"][name]:
            raise BundleError(f"{self._path}: {name} does not match its hash; the bundle is damaged or was altered")
        return data

    def damaged(self, error: Exception) -> BundleError:
        """Return the error to raise for content that cannot be read."""
        return BundleError(f"{self._path}: not a bchisto model bundle, or damaged ({error})")

    def _check(self, schema_version: int) -> dict[str, Any]:
        """Return the manifest of an archive that holds what it says."""
        infos = self._zip.infolist()
        if len(infos) > _MOST_MEMBERS or sum(info.file_size for info in infos) > _MOST_BYTES:
            raise BundleError(f"{self._path}: unpacks to more than a bundle can hold; it is not read")
        manifest: dict[str, Any] = json.loads(self._zip.read(_MANIFEST))
        if manifest.get("kind") != self._kind:
            raise BundleError(f"{self._path}: a zip file, but not a {self._kind}")
        if manifest["schema_version"] > schema_version:
            writer = manifest.get("bchisto_version")
            raise BundleError(
                f"{self._path}: written by bchisto {writer}, newer than this; pip install 'bchisto>={writer}'"
            )
        if {info.filename for info in infos} - {_MANIFEST} != set(manifest["members"]):
            raise BundleError(f"{self._path}: its members are not those of its manifest; it was altered")
        return manifest


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=_EPOCH)
    # weights of networks hardly shrink, and take long to
    info.compress_type = zipfile.ZIP_STORED if name.endswith(".h5") else zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info
