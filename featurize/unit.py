"""The unit of stage 1: a block of images, described for every store that lacks them, written as parts."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core import WeightsError
from ..data import ImageRecord
from ..encoders import CropEncoder
from ..jobs import Resources, Ticker
from .parts import Finished, part_path, write_part
from .plan import StorePlan, encoder_of
from .settings import FeaturizeSettings
from .stream import describe_images

_BUNDLES, _BUNDLE_IMAGES = 8, 256
"""Beside a GPU: bundles of units for each process at least, so that all end at about the same time, and most images in
one."""


@dataclass(frozen=True)
class Batch:
    """Images that lack the same augmentations in the same stores, so that decoding is shared.

    Attributes
    ----------
    first, count : int
        The first augmentation that is lacking, and how many are.
    records : tuple of ImageRecord
    keys : dict of str to tuple of str
        Store name to the key of each image.
    """

    first: int
    count: int
    records: tuple[ImageRecord, ...]
    keys: dict[str, tuple[str, ...]]

    @property
    def steps(self) -> int:
        """Its steps of progress: augmentations of images."""
        return len(self.records) * self.count

    def part(self, plan: StorePlan) -> Path:
        """Return the part of a store that holds it once it is described."""
        return part_path(plan.folder, self.keys[plan.name], first=self.first, count=self.count)


Unit = tuple[Batch, ...]
"""What a block of images lacks; empty if nothing."""


def make_units(
    records: Sequence[ImageRecord],
    finished: Mapping[str, Finished],
    keys: Mapping[str, Mapping[str, str]],
    *,
    augmentations: int,
    size: int,
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
    """
    units = []
    for start in range(0, len(records), size):
        lacking: dict[tuple[int, tuple[str, ...]], list[ImageRecord]] = {}
        for record in records[start : start + size]:
            stores: dict[int, list[str]] = {}
            for name, done in finished.items():
                key = keys[name][record.image_id]
                if key not in done.failures:
                    stores.setdefault(done.of(key, augmentations)[1], []).append(name)
            for first, names in stores.items():
                if first < augmentations:
                    lacking.setdefault((first, tuple(names)), []).append(record)
        units.append(
            tuple(
                Batch(
                    first,
                    augmentations - first,
                    tuple(some),
                    {name: tuple(keys[name][record.image_id] for record in some) for name in names},
                )
                for (first, names), some in lacking.items()
            )
        )
    return units


def describe_units(
    units: Sequence[Unit],
    ticker: Ticker,
    *,
    plans: Mapping[str, StorePlan],
    settings: FeaturizeSettings,
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
    helpers : int
        Processes that decode and normalise beside the one that encodes.
    """
    lacking = []
    for batch in itertools.chain.from_iterable(units):
        if all(batch.part(plans[name]).is_file() for name in batch.keys):  # by another process meanwhile
            ticker.tick(batch.steps)
        else:
            lacking.append(batch)
    for (first, names), alike in itertools.groupby(lacking, key=lambda batch: (batch.first, tuple(batch.keys))):
        batches = list(alike)
        items = describe_images(
            [record for batch in batches for record in batch.records],
            settings=settings,
            targets={name: (_encoder(plans[name], settings), plans[name].view) for name in names},
            ticker=ticker,
            first=first,
            skip_errors=plans[names[0]].skip_errors,
            helpers=helpers,
        )
        with contextlib.closing(items):
            for batch in batches:
                described = list(itertools.islice(items, len(batch.records)))
                for name in names:
                    plan, keys = plans[name], batch.keys[name]
                    with plan.unless_finished():
                        write_part(
                            plan.folder, dict(zip(keys, described, strict=True)),
                            store=name, dim=plan.dim, first=first, count=batch.count,
                        )  # fmt: skip


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


def bundle_units(units: Sequence[Unit], resources: Resources, *, size: int) -> list[tuple[Unit, ...]]:
    """Return what a process does in one go: a unit, or beside a GPU several, since it must never wait for the next.

    Parameters
    ----------
    units : sequence of Unit
    resources : Resources
    size : int
        Images in a unit.
    """
    together = 1
    if resources.gpus:
        together = min(-(-len(units) // (resources.processes * _BUNDLES)), -(-_BUNDLE_IMAGES // size))
    return [tuple(units[start : start + together]) for start in range(0, len(units), max(1, together))]
