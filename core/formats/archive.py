"""Zip archives, such as model files, whose manifest contains the checksum of every member."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

from .. import DAMAGE, BundleError, InputError, MissingInputError, first_line
from . import limits
from .files import mistaken
from .texts import open_zip, parse_json

BUNDLE_KIND = "bchisto model bundle"

MANIFEST = "manifest.json"


def check_archive_size(*, members: int, size: int = 0) -> None:
    """Check that planned models will fit in one model file, before they are trained.

    Parameters
    ----------
    members : int
        Number of members besides the manifest.
    size : int
        Their unpacked size in bytes, as far as known.

    Raises
    ------
    InputError
        More members or bytes than `Archive` reads.
    """
    if members + 1 > limits.ARCHIVE_MEMBERS or size > limits.ARCHIVE_BYTES:
        more = "{:,} models are more than a model file can hold; use fewer {folds} or {seeds}, fewer feature files, or "
        raise InputError(more + "smaller models", members)


class Archive(contextlib.AbstractContextManager["Archive"]):
    """An archive that is open for reading.

    Every problem raises a `BundleError` that names the file.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    manifest : dict
        The content of ``manifest.json``, of which only kind and members are checked.

    Raises
    ------
    MissingInputError
        There is no such file.
    BundleError
        It is not a zip, of another kind, or too large, or its members are not those of its manifest.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            raise MissingInputError(f"{path}: no such model file")
        try:
            self._zip = open_zip(path, members=limits.ARCHIVE_MEMBERS)
            self.manifest = self._check()
        except BundleError:
            raise
        except DAMAGE as error:
            trouble = mistaken(path, "a model file of bchisto")
            if trouble is None:
                raise self.damaged(error) from error
            raise BundleError(trouble) from error

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    @property
    def members(self) -> tuple[str, ...]:
        """Names of all members."""
        return tuple(self.manifest["members"])

    def size(self, name: str) -> int:
        """Return the unpacked size of a member in bytes, as the zip directory states it."""
        return self._zip.getinfo(name).file_size

    def read(self, name: str) -> bytes:
        """Return the content of a member after checking it against the checksum in the manifest.

        Raises
        ------
        BundleError
            The checksum differs, or the member cannot be unpacked.
        """
        try:
            data = self._zip.read(name)
        except DAMAGE as error:
            raise self.damaged(error) from error
        if hashlib.sha256(data).hexdigest() != self.manifest["members"][name]:
            raise BundleError(
                f"{self._path}: {name} does not match its hash; the model file is damaged or was altered"
            )
        return data

    def damaged(self, error: Exception) -> BundleError:
        """Return a `BundleError` for content that cannot be read."""
        reason = first_line(error)[:200]
        return BundleError(
            f"{self._path}: not a bchisto model file, or damaged ({reason}); copy or train it again"
        )

    def _check(self) -> dict[str, Any]:
        """Check the sizes and members of the archive, and return its manifest."""
        names = self._zip.namelist()
        size = sum(info.file_size for info in self._zip.infolist())
        packed = self._path.stat().st_size
        most = max(limits.ARCHIVE_SMALL, limits.ARCHIVE_RATIO * packed)
        if size > min(limits.ARCHIVE_BYTES, most):
            raise BundleError(
                f"{self._path}: unpacks to far more than it is large, or than a model file can hold; it is not read"
            )
        info = self._zip.getinfo(MANIFEST)
        if info.file_size > limits.MANIFEST_BYTES:
            raise BundleError(
                f"{self._path}: its manifest is larger than one can be; it is not read"
            )
        manifest: dict[str, Any] = parse_json(self._zip.read(MANIFEST), most=limits.MANIFEST_VALUES)
        if manifest.get("kind") != BUNDLE_KIND:
            raise ValueError("its manifest is of another kind")
        if sorted(names) != sorted((MANIFEST, *manifest["members"])):
            raise BundleError(
                f"{self._path}: its members are not those of its manifest; it was altered"
            )
        return manifest
