"""Embeddings: features from a file, computed by bchisto or by another program; `read_embeddings` reads the files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...core import Entries, InputError, few
from ...core.formats import Array
from ...data import ImageRecord, join_groups, report_findings
from ..pooling import Features
from .facts import UNKNOWN, is_name, settled_facts

COLUMNS = ("image_id", "label", "group")
"""Columns with a value for each image."""


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of images.

    Attributes
    ----------
    path : Path
        File or folder from which they were read.
    image_ids : tuple of str
    features : ndarray of float32, shape (images, augmentations, d)
        One augmentation if the file has one row per image.
    labels, groups : tuple of str
        Per image; empty if unknown.
    facts : mapping
        The facts of `FACTS` that the file contains.
    """

    path: Path
    image_ids: tuple[str, ...]
    features: Features
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    facts: Entries

    @classmethod
    def of(
        cls,
        path: Path,
        features: Array,
        columns: Mapping[str, Sequence[str]],
        facts: Entries,
    ) -> Embeddings:
        """Check the content of a file, and convert it to embeddings. Of `COLUMNS`, only ``image_id`` is required.

        Raises
        ------
        InputError
            There is no row, or features have another number of axes; numbers of ids, labels or groups differ; an id is
            empty, too long or repeated; or values are not finite. The message names the file and the first image.
        """
        if features.dtype.kind not in "fiu" or features.ndim not in (2, 3) or 0 in features.shape:
            raise InputError(
                f"{path}: its features are {features.dtype} of shape {features.shape}; they must be numbers of shape "
                "(images, d), or (images, augmentations, d); save images as PNG files for bchisto featurize"
            )
        cells = {name: _checked_cells(path, name, columns, features) for name in COLUMNS}
        image_ids = cells["image_id"]
        if "" in image_ids:
            raise InputError(
                f"{path}: row {image_ids.index('') + 1} has no id; give every image a name"
            )
        image, count = Counter(image_ids).most_common(1)[0]
        if count > 1:
            raise InputError(f"{path}: the id {image} is in it twice; keep one row per image")
        rows = _finite_rows(path, image_ids, features)
        names, findings = join_groups((group or None for group in cells["group"]), where=str(path))
        report_findings(findings)
        groups = tuple(names.get(group) or "" for group in cells["group"])
        return cls(path, image_ids, rows, cells["label"], groups, settled_facts(path, facts))

    @property
    def name(self) -> str:
        """Name of their feature file (the file's name without its suffix, or the folder's name)."""
        return self.path.name if self.path.is_dir() else self.path.stem

    @property
    def encoder(self) -> str:
        """Name of the encoder that computed them, or `UNKNOWN`."""
        return str(self.facts.get("encoder", UNKNOWN))

    @property
    def pooled(self) -> str:
        """How tiles of an image were pooled to one row; empty if they were not, or if it is unknown."""
        return str(self.facts.get("pooled", ""))

    def records(self) -> list[ImageRecord]:
        """Return a record for each image, whose path is that of the embeddings."""
        return [
            ImageRecord(image_id=image, path=self.path, label=label or None, group=group or None)
            for image, label, group in zip(self.image_ids, self.labels, self.groups, strict=True)
        ]


def _checked_cells(
    path: Path, name: str, columns: Mapping[str, Sequence[str]], features: Array
) -> tuple[str, ...]:
    """Return the cells of a column, empty if there is no such column; refuse those that do not fit the features."""
    cells = [cell.strip() for cell in columns.get(name, [""] * len(features))]
    if len(cells) != len(features):
        raise InputError(
            f"{path}: {len(cells)} of {name} do not fit features of shape {features.shape}"
        )
    for cell in cells:
        if not is_name(cell):
            raise InputError(f"{path}: a {name} is not a name: {cell[:50]!r}")
    return tuple(cells)


def _finite_rows(path: Path, image_ids: Sequence[str], features: Array) -> Features:
    """Return features in float32 of shape (images, augmentations, d); refuse those that float32 cannot hold."""
    if features.ndim == 2:  # one augmentation
        features = features[:, np.newaxis]
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(features, dtype=np.float32)
    bad_rows = np.flatnonzero(~np.isfinite(rows).all(axis=(1, 2)))
    if len(bad_rows):
        raise InputError(
            f"{path}: NaN, infinity, or a number that float32 cannot hold is in the embedding of "
            f"{few(image_ids[row] for row in bad_rows.tolist())}; leave it out, or make it again"
        )
    return rows


def same_images(embeddings: Sequence[Embeddings]) -> list[Embeddings]:
    """Return embeddings, each with its images in the order of the first.

    Raises
    ------
    InputError
        They are of different images.
    """
    first = embeddings[0]
    ordered = []
    for item in embeddings:
        unshared = sorted(set(item.image_ids) ^ set(first.image_ids))
        if unshared:
            raise InputError(
                f"{item.path} and {first.path}: embeddings of different images: {few(unshared)} in only one of them"
            )
        positions = {image: position for position, image in enumerate(item.image_ids)}
        order = [positions[image] for image in first.image_ids]
        ordered.append(
            replace(
                item,
                image_ids=first.image_ids,
                features=item.features[order],
                labels=tuple(item.labels[position] for position in order),
                groups=tuple(item.groups[position] for position in order),
            )
        )
    return ordered


def row_sha256(rows: Features) -> str:
    """Return the SHA-256 of an image's embedding, float32 of shape (augmentations, d), which identifies the image."""
    # little-endian, so that every machine gets the same checksum
    return hashlib.sha256(
        f"{rows.shape}\n".encode() + np.ascontiguousarray(rows, "<f4").tobytes()
    ).hexdigest()
