"""Units of feature extraction: blocks of images, whose rows are kept in packs, each image's under a key.

The key of an image's rows depends on all settings of the feature file, the number of augmentations, and the id, the
content and the scale of the image. What packs and the earlier feature file hold under these keys is finished; a feature
file is written from them by key. The name of a pack is a key of the keys in it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core import Entries, by_key
from ..core.formats import parse_json
from ..core.jobs import Resources, Ticker, changed_meanwhile, key_of, read_pack, write_pack
from ..core.runs import ImageChange
from ..data import FINGERPRINT, Fingerprint, ImageRecord, UniqueImages
from .plan import StorePlan, growth
from .pooling import Features
from .prepare import ImageFailure
from .settings import FeaturizeSettings
from .store import PER_IMAGE, PIXELS, Columns, Rows, open_store, stain_columns
from .stream import Described, ImageDescriptors, describe_images

_log = logging.getLogger(__name__)

_AT_ONCE = 64
"""Images whose rows are in memory at a time while a feature file is written."""

_BUNDLES = 8
"""With a GPU, minimum number of bundles per process, so that all processes end at about the same time."""

_BUNDLE_IMAGES = 256
"""With a GPU, maximum number of images in a bundle."""

_PRINTS = "fingerprints"
"""Array of a pack with the fingerprints of its images."""


def row_keys(
    settings: Entries,
    contents: Mapping[str, str],
    *,
    augmentations: int,
    mpp: Mapping[str, float | None],
) -> dict[str, str]:
    """Return a mapping from image id to the key of the image's rows.

    Parameters
    ----------
    settings : mapping
        Settings of the feature file, see `bchisto.featurize.stored.store_settings`.
    contents : mapping
        Image id to the SHA-256 of its content.
    augmentations : int
        Rows per image.
    mpp : mapping
        Image id to its micrometres per pixel. They affect only the rows of a view in micrometres.
    """
    settings_key = key_of("settings of rows 1", augmentations=augmentations, **settings)
    keys = {}
    for image, sha in contents.items():
        scale = {}
        if settings.get("unit"):
            scale["mpp"] = mpp[image]
        keys[image] = key_of("rows 3", settings=settings_key, image_id=image, sha256=sha, **scale)
    return keys


def pack_path(folder: Path, keys: Sequence[str]) -> Path:
    """Return the path of the pack with the rows of these keys."""
    return folder / f"{key_of('pack of rows 2', keys=sorted(keys))}.npz"


def keep(plan: StorePlan, described: Mapping[str, Described]) -> None:
    """Write the rows of some images of one feature file as a pack, atomically.

    Parameters
    ----------
    plan : StorePlan
        Plan of the feature file.
    described : mapping
        Key to the features of an image, or to the failure if it could not be used.
    """
    images = {key: image for key, image in described.items() if isinstance(image, ImageDescriptors)}
    failures = {
        key: image.message for key, image in described.items() if isinstance(image, ImageFailure)
    }
    features = np.empty((0, 0, plan.dim), np.float32)
    if images:
        features = np.stack([image.features[plan.name] for image in images.values()])
    stains = [image.stain for image in images.values()]
    columns = stain_columns(stains)
    prints = np.array([stain.fingerprint for stain in stains], np.float16)
    arrays = {
        "keys": np.array(list(images), "S64"),
        "failures": np.frombuffer(json.dumps(failures).encode(), np.uint8),
        _PRINTS: prints.reshape(-1, *FINGERPRINT),
        "features": features,
        **columns,
        PIXELS: columns[PIXELS].astype("S64"),
    }
    path = pack_path(plan.parts.folder, list(described))
    write_pack(path, path.stem, arrays)


class Pack(NamedTuple):
    """The content of a pack.

    Attributes
    ----------
    keys : tuple of str
        Keys of the images, in the order of the rows.
    features : ndarray of float32, shape (images, augmentations, d)
    columns : mapping
        The columns of `PER_IMAGE` and `PIXELS`.
    failures : dict of str to str
        Key to the reason why an image could not be used.
    fingerprints : dict of str to ndarray
        Key to the fingerprint of an image, see `bchisto.data.fingerprint`.
    """

    keys: tuple[str, ...]
    features: Features
    columns: Columns
    failures: dict[str, str]
    fingerprints: dict[str, Fingerprint]


def read_kept(path: Path, plan: StorePlan) -> Pack | None:
    """Return the content of a pack; None if the file is gone, or (with a warning) if it is damaged."""
    shapes = {
        **dict.fromkeys(("keys", "failures", PIXELS), (None,)),
        **{name: (None, *shape) for name, (_, shape) in PER_IMAGE.items()},
        "features": (None, None, None),
        _PRINTS: (None, *FINGERPRINT),
    }
    arrays = read_pack(path, path.stem, shapes, finite=("features",))
    if arrays is None:
        return None
    keys = tuple(key.decode() for key in arrays["keys"].tolist())
    failures = dict(parse_json(arrays["failures"].tobytes().decode()))
    features = arrays["features"]
    columns = {name: arrays[name] for name in (*PER_IMAGE, PIXELS)}
    per_image = (features, arrays[_PRINTS], *columns.values())
    # a pack of failures only has no rows, and so features of another shape
    has_shape = not keys or features.shape[1:] == (plan.augmentations, plan.dim)
    if not has_shape or any(len(array) != len(keys) for array in per_image):
        _log.warning("%s: incomplete (its arrays do not fit each other); made again", path)
        return None
    return Pack(keys, features, columns, failures, dict(zip(keys, arrays[_PRINTS], strict=True)))


Finished = dict[str, Path | str]
"""Key of a finished image to the file with its rows, or to the reason why it could not be used."""


def find_finished(
    plan: StorePlan, unique: UniqueImages, *, blocks: Sequence[Sequence[str]]
) -> tuple[Finished, ImageChange] | None:
    """Return the finished rows of a feature file, and how its images changed since then; None if it is complete.

    Parameters
    ----------
    plan : StorePlan
    unique : UniqueImages
        The images of the feature file.
    blocks : sequence of sequence of str
        Keys of blocks whose pack is trusted by its name and not opened: packs are checked when they are merged.

    Raises
    ------
    SettingsConflictError
        The file or its packs have other settings or more augmentations, the content of an image changed, or most
        images of the file are missing. The message names the differences.
    StoreError
        The feature file is damaged.
    """
    finished: Finished = {}
    change = ImageChange()
    keys_by_pack = {pack_path(plan.parts.folder, keys): keys for keys in blocks}
    # read packs before the file: a process that finishes it now writes the file before it removes the packs
    damaged = []
    for path in sorted(plan.parts.folder.glob("*.npz")):
        if path in keys_by_pack:
            finished.update(dict.fromkeys(keys_by_pack[path], path))
            continue
        pack = read_kept(path, plan)
        if pack is None:
            damaged.append(path)
        else:
            take_over(finished, path, pack, failures=plan.skip_errors)
    if plan.path.is_file():
        with open_store(plan.path) as store:
            if plan.is_whole(store):
                return None
            change = growth(store, plan, unique)
            finished.update(dict.fromkeys(store.keys.values(), store.path))
    plan.parts.check()
    for path in damaged:  # other processes trust a pack by its name
        with contextlib.suppress(OSError):
            path.unlink()
    return finished, change


def take_over(finished: Finished, path: Path, pack: Pack, *, failures: bool = True) -> None:
    """Add the images of a pack to those that are finished, with or without its failures."""
    finished.update(dict.fromkeys(pack.keys, path))
    if failures:
        for key, reason in pack.failures.items():
            finished.setdefault(key, reason)


@dataclass(frozen=True)
class RowReader:
    """Reads the rows of finished images of a feature file, from packs and from the earlier feature file.

    Attributes
    ----------
    files : mapping
        Key to the pack or feature file with its rows.
    plan : StorePlan
        Plan of the feature file.
    fingerprints : dict of str to ndarray
        Key to the fingerprint of an image, of the packs that were read so far.
    """

    files: Mapping[str, Path]
    plan: StorePlan
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict)

    def read(self, keys: Sequence[str]) -> Iterator[tuple[int, Rows]]:
        """Yield the rows of images by key, in this order, each time with the position of the first one.

        Raises
        ------
        StoreError
            A file is gone, cannot be read, or has no longer these rows.
        """
        sources: dict[Path, _RowSource] = {}
        position = 0
        with contextlib.ExitStack() as opened:
            for path, group in itertools.groupby(keys, self.files.__getitem__):
                if path not in sources:
                    # images are in the order of their blocks, so one pack in memory is enough
                    sources = {old: sources[old] for old in sources if old.suffix != ".npz"}
                    sources[path] = self._open(path, opened)
                keys_of_source = list(group)
                if any(key not in sources[path].positions for key in keys_of_source):
                    raise changed_meanwhile(path)
                for features, columns in sources[path].blocks(keys_of_source):
                    yield position, (features, columns)
                    position += len(features)

    def _open(self, path: Path, opened: contextlib.ExitStack) -> _RowSource:
        """Return a pack, whose fingerprints are noted, or a feature file, which stays open."""
        if path.suffix == ".npz":
            pack = read_kept(path, self.plan)
            if pack is None:
                raise changed_meanwhile(path)
            self.fingerprints.update(pack.fingerprints)
            return _RowSource(_positions(pack.keys), pack.features.__getitem__, pack.columns)
        store = opened.enter_context(open_store(path))
        columns = {name: store.images(name) for name in (*PER_IMAGE, PIXELS)}
        return _RowSource(_positions(store.keys.values()), store.features, columns)


class _RowSource(NamedTuple):
    """A pack or a feature file whose rows are read by key.

    Attributes
    ----------
    positions : dict of str to int
        Key to the position of an image.
    features : callable
        Returns the features of images by their positions.
    columns : mapping
        The columns of `PER_IMAGE` and `PIXELS`.
    """

    positions: dict[str, int]
    features: Callable[[list[int]], Features]
    columns: Columns

    def blocks(self, keys: Sequence[str]) -> Iterator[Rows]:
        """Yield the rows of images, of some images at a time."""
        positions = [self.positions[key] for key in keys]
        for start in range(0, len(positions), _AT_ONCE):
            images = positions[start : start + _AT_ONCE]
            columns = {name: cells[images] for name, cells in self.columns.items()}
            yield self.features(images), columns


def _positions(keys: Iterable[str]) -> dict[str, int]:
    return {key: position for position, key in enumerate(keys)}


class Alike(NamedTuple):
    """Images that lack rows in the same feature files, so that each is decoded only once.

    Attributes
    ----------
    records : tuple of ImageRecord
    keys : dict of str to tuple of str
        Name of a feature file to the keys of the images.
    """

    records: tuple[ImageRecord, ...]
    keys: dict[str, tuple[str, ...]]


Unit = tuple[Alike, ...]
"""Missing features of a block of images; empty if it is complete."""


def make_units(
    records: Sequence[ImageRecord],
    finished: Mapping[str, Finished],
    keys: Mapping[str, Mapping[str, str]],
    *,
    size: int,
) -> list[Unit]:
    """Divide all images into blocks, and return what each block lacks.

    Finished images do not change the blocks, so that all shards use the same ones.

    Parameters
    ----------
    records : sequence of ImageRecord
        All images.
    finished : mapping
        Name of a feature file to its finished images.
    keys : mapping
        Name of a feature file to a mapping from image id to key.
    size : int
        Images in a block.
    """

    def lacking(record: ImageRecord) -> tuple[str, ...]:
        image = record.image_id
        return tuple(name for name, rows in finished.items() if keys[name][image] not in rows)

    units = []
    for start in range(0, len(records), size):
        images_by_stores = by_key(records[start : start + size], lacking)
        images_by_stores.pop((), None)
        unit = []
        for stores_of_images, images in images_by_stores.items():
            keys_by_store = {
                name: tuple(keys[name][image.image_id] for image in images)
                for name in stores_of_images
            }
            unit.append(Alike(tuple(images), keys_by_store))
        units.append(tuple(unit))
    return units


def describe_units(
    units: Sequence[Unit],
    ticker: Ticker,
    *,
    plans: Mapping[str, StorePlan],
    settings: FeaturizeSettings,
    helpers: int,
) -> None:
    """Compute the missing features of units, one unit after the other, and keep them in packs.

    If a core is free, images of the next unit are prepared while the previous one is computed.

    Parameters
    ----------
    units : sequence of Unit
    ticker : Ticker
    plans : mapping
        Name of a feature file to its plan.
    settings : FeaturizeSettings
    helpers : int
        Processes that decode and normalise images for the process that encodes them.
    """
    missing = []
    for alike in itertools.chain.from_iterable(units):
        packs = [pack_path(plans[name].parts.folder, keys) for name, keys in alike.keys.items()]
        if all(pack.is_file() for pack in packs):  # written by another process
            ticker.tick(len(alike.records) * settings.augmentations)
        else:
            missing.append(alike)
    for names, group in itertools.groupby(missing, key=lambda alike: tuple(alike.keys)):
        same_stores = list(group)
        items = describe_images(
            [record for alike in same_stores for record in alike.records],
            settings=settings,
            targets={name: plans[name].target(settings) for name in names},
            ticker=ticker,
            skip_errors=plans[names[0]].skip_errors,
            helpers=helpers,
        )
        with contextlib.closing(items):
            for alike in same_stores:
                described = list(itertools.islice(items, len(alike.records)))
                for name in names:
                    plan = plans[name]
                    rows = dict(zip(alike.keys[name], described, strict=True))
                    with plan.unless_finished():
                        keep(plan, rows)


def bundle_units(
    units: Sequence[Unit], resources: Resources, *, size: int
) -> list[tuple[Unit, ...]]:
    """Group units into tasks of several, so that a GPU need not wait between units.

    Parameters
    ----------
    units : sequence of Unit
    resources : Resources
    size : int
        Images in a unit.
    """
    bundles = resources.processes * _BUNDLES
    bundle_size = min(math.ceil(len(units) / bundles), math.ceil(_BUNDLE_IMAGES / size))
    return [
        tuple(units[start : start + bundle_size])
        for start in range(0, len(units), max(1, bundle_size))
    ]
