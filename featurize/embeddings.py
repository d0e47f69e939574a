"""Embeddings: features from a file, computed by bchisto or by another program; `read_embeddings` reads the files."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError, few, readable_name
from ..core.formats import limits
from ..data import ImageRecord, join_groups, report_findings

UNKNOWN = "unknown"
"""Name of an encoder or weights that a file does not name."""

IMPORTED = "imported"
"""Mode of a feature file that was made from embeddings, and the attribute that describes their origin."""

KIND_FACTS = {
    "encoder": str, "layers": list, "weights_sha256": str, "scale": float, "unit": str, "crop": int, "pool": float,
    "color_range": list, "stain": str, "mode": str, "pad": str,
}  # fmt: skip
"""Facts, and their types, that must be equal if embeddings are to be of one kind. Unknown facts are not compared."""

FACTS = {
    **KIND_FACTS, "weights": str, "crops": int, "dataset": str, "synthetic": bool, "classes": list, "runner": str,
    "card": str, "network": str, "pooled": str,
}  # fmt: skip
"""Facts, and their types, that are kept with embeddings if known. The card names the licence of the weights."""

COLUMNS = {"image_id": "id", "label": "label", "group": "group"}
"""Columns of a value per image, and their names in messages."""


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
    unread : tuple of str
        Columns or arrays of the file that were ignored.
    """

    path: Path
    image_ids: tuple[str, ...]
    features: npt.NDArray[np.float32]
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        path: Path,
        features: npt.NDArray[Any],
        columns: Mapping[str, Sequence[Any]],
        facts: Mapping[str, Any] | None = None,
        *,
        unread: Sequence[str] = (),
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
        known = []
        for name, what in COLUMNS.items():
            known.append([_text(path, cell, what) for cell in columns.get(name, [""] * len(features))])
            if len(known[-1]) != len(features):
                raise InputError(f"{path}: {len(known[-1])} {what}s do not fit features of shape {features.shape}")
        ids, labels, groups = known
        if "" in ids:
            raise InputError(f"{path}: row {ids.index('') + 1} has no id; give every image a name")
        if len(set(ids)) < len(ids):
            first, _ = Counter(ids).most_common(1)[0]
            raise InputError(f"{path}: the id {first} is in it twice; keep one row per image, or give its rows as "
                             "augmentations")  # fmt: skip
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(features if features.ndim == 3 else features[:, np.newaxis], dtype=np.float32)
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
        about = settled_facts(path, facts or {})
        return cls(path, tuple(ids), rows, tuple(labels), tuple(groups), about, tuple(unread))

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

    def ordered(self, image_ids: Sequence[str]) -> Embeddings:
        """Return the embeddings in another order of images."""
        positions = {image: at for at, image in enumerate(self.image_ids)}
        order = [positions[image] for image in image_ids]
        return dataclasses.replace(
            self,
            image_ids=tuple(image_ids),
            features=self.features[order],
            labels=tuple(self.labels[at] for at in order),
            groups=tuple(self.groups[at] for at in order),
        )


def same_images(embeddings: Sequence[Embeddings]) -> list[Embeddings]:
    """Return embeddings in the order of images of the first ones.

    Raises
    ------
    InputError
        They are of different images.
    """
    first = embeddings[0]
    for other in embeddings[1:]:
        if strange := sorted(set(other.image_ids) ^ set(first.image_ids)):
            raise InputError(
                f"{other.path} and {first.path}: embeddings of different images: {few(strange)} in only one of them"
            )
    return [each.ordered(first.image_ids) for each in embeddings]


def _text(path: Path, value: Any, what: str) -> str:
    """Return an id, label or group as text. Whole numbers and booleans are converted; None and NaN mean missing."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if isinstance(value, (float, np.floating)) and value.is_integer():
        value = int(value)
    if value is None or value != value:
        return ""
    if not isinstance(value, (str, int, np.integer, np.bool_)):
        raise InputError(f"{path}: a {what} is {type(value).__name__}, not text: {str(value)[:50]}")
    text = str(value).strip()
    if len(text) > limits.ID_LETTERS or "\0" in text or readable_name(text) != text:
        raise InputError(f"{path}: a {what} is not a name: {text[:50]!r}")
    return text


def settled_facts(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts whose names are in `FACTS`, checked.

    Raises
    ------
    InputError
        A fact is of another type, too long, or not storable in HDF5; or a class is repeated.
    """
    facts = {name: given[name] for name in FACTS if given.get(name) not in (None, "", UNKNOWN, [])}
    for name, value in facts.items():
        kind, parts = FACTS[name], value if isinstance(value, list) else [value]
        longest = limits.CARD_LETTERS if name == "card" else limits.ID_LETTERS
        fits = isinstance(value, (float, int) if kind is float else kind) and isinstance(value, bool) == (kind is bool)
        fits = fits and len(parts) <= limits.ID_LETTERS and all(_is_plain(part, longest) for part in parts)
        names = list(map(str, parts))
        fits = fits and (name != "layers" or names == parts) and (name != "classes" or len({*names}) == len(names))
        if not fits or len(str(value)) > limits.CARD_LETTERS:
            raise InputError(f"{path}: its attribute {name} is not understood: {str(value)[:50]}")
    return facts


def _is_plain(value: Any, longest: int) -> bool:
    """Return whether a value is a finite number, or a text that HDF5 can store."""
    if isinstance(value, (int, float)):
        return -(2**63) <= value < 2**63
    if not isinstance(value, str):
        return False
    return len(value) <= longest and "\0" not in value and value.encode("utf-8", "ignore").decode() == value


def facts_of(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts in the header of a feature file; for imported embeddings, those of their file."""
    if header.get("mode") == IMPORTED:
        about = header[IMPORTED]
        return {**about["facts"], "pooled": about["pooled"]}
    return {name: header[name] for name in FACTS if name in header}


def row_sha256(rows: npt.NDArray[np.float32]) -> str:
    """Return the SHA-256 of an image's embedding, float32 of shape (augmentations, d), which identifies the image."""
    return hashlib.sha256(f"{rows.shape}\n".encode() + np.ascontiguousarray(rows, "<f4").tobytes()).hexdigest()
