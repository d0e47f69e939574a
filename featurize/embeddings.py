"""Embeddings: features from a file, computed by bchisto or by another program; `read_embeddings` reads the files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError, few, readable_name
from ..core.formats import limits
from ..core.models import fits
from ..data import ImageRecord, join_groups, report_findings

UNKNOWN = "unknown"
"""Name of an encoder or weights that a file does not name."""

IMPORTED = "imported"
"""Mode of a feature file that was made from embeddings, and the attribute that describes their origin."""


def _is_name(value: Any, longest: int = limits.ID_LETTERS) -> bool:
    """Return whether a value is text that tables and HDF5 can hold."""
    return (
        isinstance(value, str)
        and len(value) <= longest
        and "\0" not in value
        and readable_name(value) == value
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**31


KIND_FACTS = {
    "encoder": _is_name,
    "layers": [_is_name],
    "weights_sha256": _is_name,
    "scale": _is_number,
    "unit": _is_name,
    "crop": _is_number,
    "pool": _is_number,
    "color_range": [_is_number],
    "stain": _is_name,
    "mode": _is_name,
    "pad": _is_name,
}
"""Facts, and their forms, that must be equal if embeddings are to be of one kind. Unknown facts are not compared."""

FACTS = {
    **KIND_FACTS,
    "weights": _is_name,
    "crops": _is_number,
    "dataset": _is_name,
    "synthetic": bool,
    "classes": [_is_name],
    "runner": _is_name,
    "card": lambda value: _is_name(value, limits.CARD_LETTERS),
    "network": _is_name,
    "pooled": _is_name,
}
"""Facts, and their forms, that are kept with embeddings if known. The card names the licence of the weights."""

COLUMNS = ("image_id", "label", "group")
"""Columns of a value per image."""


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
        Those of `FACTS` that the file contains.
    """

    path: Path
    image_ids: tuple[str, ...]
    features: npt.NDArray[np.float32]
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    facts: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        path: Path,
        features: npt.NDArray[Any],
        columns: Mapping[str, Sequence[str]],
        facts: Mapping[str, Any],
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
        ids, labels, groups = (
            [cell.strip() for cell in columns.get(name, [""] * len(features))] for name in COLUMNS
        )
        for name, cells in zip(COLUMNS, (ids, labels, groups), strict=True):
            if len(cells) != len(features):
                raise InputError(
                    f"{path}: {len(cells)} of {name} do not fit features of shape {features.shape}"
                )
            if odd := [cell for cell in cells if not _is_name(cell)]:
                raise InputError(f"{path}: a {name} is not a name: {odd[0][:50]!r}")
        if "" in ids:
            raise InputError(f"{path}: row {ids.index('') + 1} has no id; give every image a name")
        if len(set(ids)) < len(ids):
            first, _ = Counter(ids).most_common(1)[0]
            raise InputError(f"{path}: the id {first} is in it twice; keep one row per image")
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(
                features if features.ndim == 3 else features[:, np.newaxis], dtype=np.float32
            )
        finite = np.isfinite(rows).all(axis=(1, 2))
        if not finite.all():
            more = f" (and {(~finite).sum() - 1} more)" if (~finite).sum() > 1 else ""
            raise InputError(
                f"{path}: the embedding of {ids[int(np.argmin(finite))]}{more} holds NaN, infinity, or a number that "
                "float32 cannot hold; leave it out, or make it again"
            )
        names, joined = join_groups((group or None for group in groups), where=str(path))
        report_findings(joined)
        groups = [names.get(group) or "" for group in groups]
        return cls(path, tuple(ids), rows, tuple(labels), tuple(groups), settled_facts(path, facts))

    @property
    def name(self) -> str:
        """Name of their feature file: the file's name without its suffix, or the folder's name."""
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


def same_images(embeddings: Sequence[Embeddings]) -> list[Embeddings]:
    """Return embeddings in the order of images of the first ones.

    Raises
    ------
    InputError
        They are of different images.
    """
    first, ordered = embeddings[0], []
    for each in embeddings:
        if strange := sorted(set(each.image_ids) ^ set(first.image_ids)):
            raise InputError(
                f"{each.path} and {first.path}: embeddings of different images: {few(strange)} in only one of them"
            )
        positions = {image: at for at, image in enumerate(each.image_ids)}
        order = [positions[image] for image in first.image_ids]
        ids, labels, groups = (
            tuple(column[at] for at in order)
            for column in (each.image_ids, each.labels, each.groups)
        )
        ordered.append(Embeddings(each.path, ids, each.features[order], labels, groups, each.facts))
    return ordered


def settled_facts(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts whose names are in `FACTS`, checked.

    Raises
    ------
    InputError
        A fact is of another type, too long, or not storable in HDF5; or a class is repeated.
    """
    facts = {name: given[name] for name in FACTS if given.get(name) not in (None, "", UNKNOWN, [])}
    for name, value in facts.items():
        well = fits(value, FACTS[name]) and (name != "classes" or len({*value}) == len(value))
        if not well or len(str(value)) > limits.CARD_LETTERS:
            raise InputError(f"{path}: its attribute {name} is not understood: {str(value)[:50]}")
    return facts


def facts_of(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts in the header of a feature file; for imported embeddings, those of their file."""
    if header.get("mode") == IMPORTED:
        about = header[IMPORTED]
        return {**about["facts"], "pooled": about["pooled"]}
    return {name: header[name] for name in FACTS if name in header}


def row_sha256(rows: npt.NDArray[np.float32]) -> str:
    """Return the SHA-256 of an image's embedding, float32 of shape (augmentations, d), which identifies the image."""
    return hashlib.sha256(
        f"{rows.shape}\n".encode() + np.ascontiguousarray(rows, "<f4").tobytes()
    ).hexdigest()
