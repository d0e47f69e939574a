"""What files hold, by hash: equal images under different names, and the identity of a dataset."""

from __future__ import annotations

import csv
import filecmp
import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ImageError, InputError
from ..jobs import default_jobs, write_rows
from .dataset import Dataset, ImageRecord

__all__ = ["UniqueImages", "file_sha256", "same_content", "unique_images"]

_log = logging.getLogger(__name__)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal.

    Raises
    ------
    ImageError
        The file cannot be read.
    """
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error


def same_content(first: Path, second: Path) -> bool:
    """Whether two files hold the same bytes."""
    return first.stat().st_size == second.stat().st_size and filecmp.cmp(first, second, shallow=False)


@dataclass(frozen=True)
class UniqueImages:
    """A dataset in which every content stands once, with the hash of each image.

    Attributes
    ----------
    dataset : Dataset
        Without the repeated images.
    sha256 : dict of str to str
        Image id to the SHA-256 of the file, or of that and the box where the image is a part of it.
    digest : str
        SHA-256 over ids, contents, labels and groups: the identity of the dataset.
    repeated : tuple of (str, str)
        Left-out image id and the id it repeats.
    """

    dataset: Dataset
    sha256: dict[str, str]
    digest: str
    repeated: tuple[tuple[str, str], ...]


def unique_images(dataset: Dataset, *, cache: Path | None = None) -> UniqueImages:
    """Hash every image and leave out those whose content stands in the dataset already.

    Parameters
    ----------
    dataset : Dataset
        Any.
    cache : Path, optional
        A CSV of earlier hashes, reused where size and modification time are unchanged, and written anew.

    Returns
    -------
    UniqueImages

    Raises
    ------
    InputError
        The same content under two labels or in two groups.
    ImageError
        A file cannot be read.
    """
    known = _read_cache(cache)
    stamps = [_stamp(record) for record in dataset.records]
    with ThreadPoolExecutor(default_jobs()) as pool:
        hashes = list(
            pool.map(
                lambda pair: known.get(pair[1]) or file_sha256(pair[0].path),
                zip(dataset.records, stamps, strict=True),
            )
        )
    if cache is not None:
        rows = [(*stamp, sha) for stamp, sha in zip(stamps, hashes, strict=True)]
        write_rows(cache, ("path", "bytes", "modified_ns", "sha256"), rows)
    first: dict[str, ImageRecord] = {}
    kept: dict[str, str] = {}
    repeated = []
    for record, whole in zip(dataset.records, hashes, strict=True):
        sha = whole if record.box is None else hashlib.sha256(f"{whole}:{record.box}".encode()).hexdigest()
        original = first.setdefault(sha, record)
        if original is record:
            kept[record.image_id] = sha
            continue
        if (original.label, original.group) != (record.label, record.group):
            raise InputError(
                f"{record.path}: the same image as {original.path}, but with another label or group "
                f"({record.label}, {record.group} against {original.label}, {original.group}); remove one"
            )
        repeated.append((record.image_id, original.image_id))
        _log.warning("%s: the same image as %s; used once", record.image_id, original.image_id)
    records = tuple(record for record in dataset.records if record.image_id in kept)
    identity = hashlib.sha256()
    for record in records:
        fields = (record.image_id, kept[record.image_id], record.label or "", record.group or "")
        identity.update("\0".join(fields).encode() + b"\n")
    return UniqueImages(replace(dataset, records=records), kept, identity.hexdigest(), tuple(repeated))


def _stamp(record: ImageRecord) -> tuple[str, str, str]:
    try:
        status = record.path.stat()
    except OSError as error:
        raise ImageError(f"{record.path}: cannot be read ({error.strerror or error})") from error
    return str(record.path.resolve()), str(status.st_size), str(status.st_mtime_ns)


def _read_cache(path: Path | None) -> dict[tuple[str, str, str], str]:
    if path is None or not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.reader(handle))[1:]
    return {(row[0], row[1], row[2]): row[3] for row in rows if len(row) == 4}
