"""Embeddings: features from a file, computed by bchisto or by another program.

`embeddings_npz` and `embeddings_h5` read the formats.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import InputError, readable_name
from ..core.formats import GROUP, IMAGE, LABEL, choose_column, limits, may_hold_patients, parse_json
from ..data import ImageRecord, join_groups, report_findings

_log = logging.getLogger(__name__)

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
        absent = [""] * len(columns["image_id"])
        ids, labels, groups = known = [
            [_text(path, cell, what) for cell in columns.get(name, absent)] for name, what in COLUMNS.items()
        ]
        for what, column in zip(COLUMNS.values(), known, strict=True):
            if len(column) != len(features):
                raise InputError(f"{path}: {len(column)} {what}s do not fit features of shape {features.shape}")
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
    def columns(self) -> dict[str, tuple[str, ...]]:
        """Values of `COLUMNS`, by name."""
        return dict(zip(COLUMNS, (self.image_ids, self.labels, self.groups), strict=True))

    @property
    def plain(self) -> npt.NDArray[np.float32]:
        """Features as exported to a file: for one augmentation, of shape (images, d)."""
        return self.features if self.features.shape[1] > 1 else self.features[:, 0]

    @property
    def about(self) -> str:
        """Facts as exported to a file: JSON, see `read_facts`."""
        return json.dumps(dict(self.facts), sort_keys=True)

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


def choose_known(
    path: Path, names: Sequence[str], read: Callable[[str], list[Any]]
) -> tuple[dict[str, list[Any]], tuple[str, ...]]:
    """Return the values of the `COLUMNS` that a file has, and the names that are left over.

    Parameters
    ----------
    path : Path
    names : sequence of str
        Columns or arrays of the file, without the features.
    read : callable
        Returns the values of one of them.

    Raises
    ------
    InputError
        There are no ids, or see `choose_column`.
    """
    chosen: dict[str, str] = {}
    for role in (IMAGE, LABEL, GROUP):
        free = [name for name in names if name not in chosen.values()]
        if (column := choose_column(free, role, where=path, values=read)) is not None:
            chosen[role.name] = column
            if not role.is_plain(column):
                _log.info("%s: the %s is taken from %s", path, role.means, column)
        elif role is IMAGE:
            known = f"has no {role.name} (or ids, slide_id, filenames); it has {sorted(names)[:10]}"
            raise InputError(f"{path}: {known}; name the rows: numpy.savez(FILE, features=array, image_id=names)")
    unread = tuple(name for name in names if name not in chosen.values())
    if GROUP.name not in chosen and (may := may_hold_patients(unread)):
        _log.warning("%s: %s may hold the patients, and is not used; if it does, rename it to group", path, may[0])
    return {name: read(column) for name, column in chosen.items()}, unread


def read_facts(path: Path, text: str) -> dict[str, Any]:
    """Read the facts in an exported file.

    Raises
    ------
    InputError
        The text is not a mapping in JSON.
    """
    with contextlib.suppress(ValueError, RecursionError):
        if isinstance(facts := parse_json(text, most=1_000_000), dict):
            return facts
    raise InputError(f"{path}: its attribute bchisto is damaged")


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
    facts: dict[str, Any] = {}
    for name, kind in FACTS.items():
        value = given.get(name)
        if value is None or value in ("", UNKNOWN, []):
            continue
        fits = isinstance(value, (float, int) if kind is float else kind) and (
            kind is bool or not isinstance(value, bool)
        )
        parts = value if isinstance(value, list) else [value]
        longest = limits.CARD_LETTERS if name == "card" else limits.ID_LETTERS
        fits = fits and len(parts) <= limits.ID_LETTERS and all(_is_plain(part, longest) for part in parts)
        if name == "layers":
            fits = fits and all(isinstance(part, str) for part in parts)
        if not fits or len(str(value)) > limits.CARD_LETTERS:
            raise InputError(f"{path}: its attribute {name} is not understood: {str(value)[:50]}")
        if name == "classes" and len(set(map(str, parts))) < len(parts):
            raise InputError(f"{path}: its classes name one twice: {str(value)[:50]}")
        facts[name] = value
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
