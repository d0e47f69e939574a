"""The unit of stage 1: a block of images, described for every store that lacks them, written as parts."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..core import OutputError, OverwrittenError, StoreError, WeightsError
from ..data import ImageRecord
from ..encoders import CropEncoder
from ..jobs import Resources, Ticker
from .parts import Finished, holds, part_path, write_part
from .plan import StorePlan, encoder_of
from .prepare import ImageFailure
from .settings import FeaturizeSettings
from .stream import ImageDescriptors, describe_from

_BUNDLES, _BUNDLE_IMAGES = 8, 256
"""Beside a GPU: bundles of units for each process at least, so that all end at about the same time, and most images in
one."""


@dataclass(frozen=True)
class Batch:
    """Images that lack the same augmentations in the same stores, so that decoding is shared.

    Attributes
    ----------
    first : int
        The first augmentation that is lacking.
    records : tuple of ImageRecord
    keys : dict of str to tuple of str
        Store name to the key of each image.
    """

    first: int
    records: tuple[ImageRecord, ...]
    keys: dict[str, tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class Unit:
    """A block of images: how many they are, and what is lacking of them."""

    images: int
    lacking: tuple[Batch, ...]

    def steps(self, augmentations: int) -> int:
        """Return its steps of progress: augmentations of images."""
        return sum(len(batch.records) * (augmentations - batch.first) for batch in self.lacking)


def make_units(
    records: Sequence[ImageRecord],
    finished: Mapping[str, Finished],
    keys: Mapping[str, Mapping[str, str]],
    *,
    augmentations: int,
    size: int,
    skip_errors: bool,
) -> list[Unit]:
    """Cut all images into blocks, whatever is finished, so that shards agree; each with what it lacks.

    Parameters
    ----------
    records : sequence of ImageRecord
        All images.
    finished : mapping
        Store to what is finished of it.
    keys : mapping
        Store to image id to key.
    augmentations : int
        Rows of an image.
    size : int
        Images in a block.
    skip_errors : bool
        Whether images that could not be used are done with.
    """
    units = []
    for start in range(0, len(records), size):
        lacking: dict[tuple[int, tuple[str, ...]], list[ImageRecord]] = {}
        for record in records[start : start + size]:
            stores: dict[int, list[str]] = {}
            for name, done in finished.items():
                key = keys[name][record.image_id]
                if not (skip_errors and key in done.failures):
                    stores.setdefault(done.of(key, augmentations)[1], []).append(name)
            for first, names in stores.items():
                if first < augmentations:
                    lacking.setdefault((first, tuple(names)), []).append(record)
        batches = [
            Batch(first, tuple(some), {name: tuple(keys[name][record.image_id] for record in some) for name in names})
            for (first, names), some in lacking.items()
        ]
        units.append(Unit(min(size, len(records) - start), tuple(batches)))
    return units


def describe_units(
    units: Sequence[Unit],
    ticker: Ticker,
    *,
    plans: Mapping[str, StorePlan],
    settings: FeaturizeSettings,
    skip_errors: bool,
    helpers: int = 1,
) -> None:
    """Do units one after the other: describe what their images lack, and write it as parts.

    Images of a later unit are prepared while an earlier one is described.

    Parameters
    ----------
    units : sequence of Unit
    ticker : Ticker
    plans : mapping
        Store name to store.
    settings : FeaturizeSettings
    skip_errors : bool
    helpers : int
        Processes that decode and normalise beside the one that encodes.
    """
    lacking = []
    for batch in (batch for unit in units for batch in unit.lacking):
        if all(_is_done(batch, plans[name]) for name in batch.keys):  # by another process meanwhile
            ticker.tick(len(batch.records) * (settings.augmentations - batch.first))
        else:
            lacking.append(batch)
    for (first, names), alike in itertools.groupby(lacking, key=lambda batch: (batch.first, tuple(batch.keys))):
        batches = list(alike)
        items = describe_from(
            first,
            [record for batch in batches for record in batch.records],
            settings=settings,
            targets={name: (_encoder(plans[name], settings), plans[name].view) for name in names},
            ticker=ticker,
            skip_errors=skip_errors,
            helpers=helpers,
        )
        with contextlib.closing(items):
            for batch in batches:
                described = list(itertools.islice(items, len(batch.records)))
                for name in names:
                    with unless_finished(plans[name], skip_errors=skip_errors):
                        _write(batch, plans[name], described)


def _is_done(batch: Batch, plan: StorePlan) -> bool:
    keys = batch.keys[plan.name]
    path = part_path(plan.folder, keys, first=batch.first, count=plan.augmentations - batch.first)
    return path.is_file() and holds(path, keys, dim=plan.dim)


def _write(batch: Batch, plan: StorePlan, described: Sequence[ImageDescriptors | ImageFailure]) -> None:
    keys, count = batch.keys[plan.name], plan.augmentations - batch.first
    items = dict(zip(keys, described, strict=True))
    write_part(
        part_path(plan.folder, keys, first=batch.first, count=count),
        {key: item for key, item in items.items() if isinstance(item, ImageDescriptors)},
        store=plan.name,
        dim=plan.dim,
        first=batch.first,
        count=count,
        failures={key: item.message for key, item in items.items() if isinstance(item, ImageFailure)},
    )


def _encoder(plan: StorePlan, settings: FeaturizeSettings) -> CropEncoder:
    """Return the encoder of a store, if its weights are those that the store names."""
    encoder = encoder_of(plan.choice, settings)
    if encoder.weights_sha256 != plan.settings["weights_sha256"]:
        source = plan.choice.source or settings.weights_of(plan.choice.label)
        raise WeightsError(
            "{}: the weights of {} changed while the command ran; put back those it began with and run "
            "it again, or use another {out}",
            source,
            encoder.name,
        )
    return encoder


@contextlib.contextmanager
def unless_finished(plan: StorePlan, *, skip_errors: bool) -> Iterator[None]:
    """Let a failure pass if another process has finished the store and removed its parts meanwhile."""
    try:
        yield
    except (OutputError, OverwrittenError, StoreError):
        if not plan.is_finished(skip_errors=skip_errors):
            raise


def in_one_go(units: Sequence[Unit], resources: Resources) -> list[tuple[Unit, ...]]:
    """Return what a process does in one go: a unit, or beside a GPU several, since it must never wait for the next."""
    if not units:
        return []
    size = 1
    if resources.gpus:
        share = -(-len(units) // (resources.processes * _BUNDLES))
        size = min(share, -(-_BUNDLE_IMAGES // units[0].images))
    return [tuple(units[start : start + size]) for start in range(0, len(units), size)]
