"""Stores that grow: of what was described of fewer images or augmentations, the rows that stay as they are.

Everything random about an image follows from its id and the number of an augmentation, so what was described once is
what a store of more images, or of more augmentations, holds. Rows are taken from the finished store and from parts that
were made for other images; a store that is there stays valid until a whole one takes its place.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..data import ImageChange, ImageRecord, Known, UniqueImages
from ..encoders import card_of, other_treatment
from ..errors import InputError, SettingsConflictError, StoreError
from ..runs import describe_differences, other_settings
from .blocks import Needs, Target, claim_parts, differing_settings
from .parts import Rows
from .store import Store, look_first, open_store

_log = logging.getLogger(__name__)

_GROWING = frozenset({"images_sha256", "classes", "augmentations"})
"""Settings that may differ between a store and what it grows to."""

_LEAST_LEFT = 0.5
"""Share of a store's images; where fewer are there, they are taken for another selection (ours)."""


@dataclass(frozen=True)
class Growth:
    """What is there already of the wanted stores.

    Attributes
    ----------
    targets : tuple of Target
        The stores, each with the folder for its parts.
    rows : dict of str to dict
        Store name to image id to the rows that stay; without finished stores.
    changes : dict of str to ImageChange
        Store name to what changed since it was finished.
    """

    targets: tuple[Target, ...]
    rows: dict[str, dict[str, Rows]]
    changes: dict[str, ImageChange]

    def needs(self, records: Sequence[ImageRecord]) -> Needs:
        """Return what is to be described of these images, in their order."""
        found: dict[tuple[int, tuple[str, ...]], list[ImageRecord]] = {}
        for record in records:
            lacking: dict[int, list[str]] = {}
            for name, kept in self.rows.items():
                rows = kept.get(record.image_id)
                lacking.setdefault(0 if rows is None else rows.count, []).append(name)
            for first, names in lacking.items():
                if first < self.targets[0].header["augmentations"]:
                    found.setdefault((first, tuple(names)), []).append(record)
        return found


def plan_growth(targets: Sequence[Target], *, unique: UniqueImages, skip_errors: bool) -> Growth:
    """Find what of the wanted stores is there already, and refuse what was made with other settings.

    Parameters
    ----------
    targets : sequence of Target
        The wanted stores.
    unique : UniqueImages
        Their images.
    skip_errors : bool
        Whether a store is finished that lacks images which could not be used.

    Raises
    ------
    SettingsConflictError
        A store or its parts were made with other settings; the message names them. Also where a store was described
        with another backend or, on a GPU, by another road: its rows agree with new ones to rounding only.
    InputError
        An image has other content than when it was described; or most images of a store are not here.
    StoreError
        A store is damaged.
    """
    look_first(target.path for target in targets)
    placed, rows, changes = [], {}, {}
    for target in targets:
        if target.finished(skip_errors=skip_errors):
            placed.append(target)
            continue
        if target.path.is_file():
            with open_store(target.path) as store:
                _refuse_other(store, target)
                changes[target.name] = _change(store, unique)
                if changes[target.name].removed:
                    _refuse_selection(store, target)
        target = _placed(target)
        claim_parts(target).check()
        placed.append(target)
        rows[target.name] = _rows(target, unique.sha256)
    return Growth(tuple(placed), rows, changes)


def _refuse_other(store: Store, target: Target) -> None:
    """Refuse a store that does not grow to the wanted one."""
    found = differing_settings(store.header, target.header)
    fewer = store.augmentations > target.header["augmentations"]
    made = {name: target.header[name] for name in ("backend", "road")}
    differing = describe_differences({name: store.header.get(name, here) for name, here in made.items()}, made)
    if fewer or not found.keys() <= _GROWING:
        listed = [name for name in found if name != "images_sha256"]
        differing = describe_differences(*({name: found[name][side] for name in listed} for side in (0, 1)))
        of_file = store.header.get("weights_file_sha256")
        if of_file and "card" in store.header and of_file == target.header["weights_file_sha256"]:
            how = other_treatment(card_of(store.header), card_of(target.header))
            differing = differing.replace("other weights", f"the same weights, but their JSON says otherwise ({how})")
    if differing:
        raise other_settings(store.path, differing)


def _refuse_selection(store: Store, target: Target) -> None:
    """Refuse to leave out images that are there and are not chosen by the options."""
    wanted = json.loads(target.header["selection"])
    if differing := describe_differences(json.loads(store.header.get("selection", "null")) or wanted, wanted):
        raise other_settings(store.path, differing)


def _change(store: Store, unique: UniqueImages) -> ImageChange:
    """Say how the images changed since the store was finished; refuse what is no growing."""
    hashes = dict(zip(store.image_ids, _hashes(store), strict=True))
    other = [image for image, sha256 in unique.sha256.items() if hashes.get(image, sha256) != sha256]
    if other:
        more = f" (and {len(other) - 1} more)" if other[1:] else ""
        raise InputError(
            "{}: {}{} has other content than when it was described; put the old file back, give the "
            "new one another name, or use {overwrite} to describe all images anew",
            store.path, other[0], more,
        )  # fmt: skip
    left = sum(image in unique.sha256 for image in store.image_ids)
    if left < _LEAST_LEFT * len(store.image_ids):
        raise SettingsConflictError(
            "{}: describes {} images, of which {} are here; use the same images, another {out}, or {overwrite}",
            store.path, len(store.image_ids), left,
        )  # fmt: skip
    old: dict[str, Known] = dict(zip(store.image_ids, zip(store.labels, store.groups, strict=True), strict=True))
    records = unique.dataset.records
    new: dict[str, Known] = {record.image_id: (record.label or "", record.group or "") for record in records}
    return ImageChange.between(old, new)


def _placed(target: Target) -> Target:
    """Return the store with a folder of its own for its parts, where there are parts for other images."""
    differing = claim_parts(target).differing()
    if not differing or not differing <= _GROWING:
        return target
    text = json.dumps({name: target.header[name] for name in sorted(_GROWING)}, ensure_ascii=False)
    return dataclasses.replace(target, below=hashlib.sha256(text.encode()).hexdigest()[:16])


def _rows(target: Target, sha256: Mapping[str, str]) -> dict[str, Rows]:
    """Return the rows that the store, and parts made for other images, hold of images with these hashes."""
    kept: dict[str, Rows] = {}
    parts = sorted(path for path in target.parts.rglob("block-*.h5") if path.parent != target.claimed)
    for path in [*([target.path] if target.path.is_file() else []), *parts]:
        try:
            with open_store(path) as store:
                found = differing_settings(store.header, target.header)
                # a part is read as a whole, as it is where it is gone on from
                if not found.keys() <= _GROWING or (path != target.path and not np.isfinite(store.features()).all()):
                    continue
                count = min(store.augmentations, target.header["augmentations"])
                for place, (image, found_sha256) in enumerate(zip(store.image_ids, _hashes(store), strict=True)):
                    known = kept.get(image)
                    if sha256.get(image) == found_sha256 and (known is None or known.count < count):
                        kept[image] = Rows(path, place, store.augmentations, count)
        except StoreError as error:
            if path == target.path:
                raise
            _log.debug("%s", error)
    return kept


def _hashes(store: Store) -> list[str]:
    return [value.decode() for value in store.images("sha256")]
