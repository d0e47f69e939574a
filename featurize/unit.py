"""Units of work of feature extraction: blocks of images, whose rows are kept in packs."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core import WeightsError
from ..core.jobs import Resources, Ticker
from ..data import ImageRecord
from ..encoders import CropEncoder
from .packs import Finished, keep, pack_path
from .plan import StorePlan, encoder_of
from .settings import FeaturizeSettings
from .stream import describe_images

_BUNDLES, _BUNDLE_IMAGES = 8, 256
"""With a GPU: minimum number of bundles per process, so that all processes end at about the same time; and maximum
number of images in a bundle."""


@dataclass(frozen=True)
class Batch:
    """Images that lack rows in the same feature files, so that each is decoded only once.

    Attributes
    ----------
    records : tuple of ImageRecord
    keys : dict of str to tuple of str
        Name of a feature file to the keys of the images.
    """

    records: tuple[ImageRecord, ...]
    keys: dict[str, tuple[str, ...]]

    def pack(self, plan: StorePlan) -> Path:
        """Return the path of the pack of a feature file for this batch."""
        return pack_path(plan.folder, self.keys[plan.name])


Unit = tuple[Batch, ...]
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
        Name of a feature file to its finished rows.
    keys : mapping
        Name of a feature file to a mapping from image id to key.
    size : int
        Images in a block.
    """
    units = []
    for start in range(0, len(records), size):
        lacking: dict[tuple[str, ...], list[ImageRecord]] = {}
        for record in records[start : start + size]:
            own = {name: keys[name][record.image_id] for name in finished}
            names = [name for name, key in own.items()
                     if key not in finished[name].files and key not in finished[name].failures]  # fmt: skip
            if names:
                lacking.setdefault(tuple(names), []).append(record)
        units.append(
            tuple(
                Batch(tuple(images), {name: tuple(keys[name][image.image_id] for image in images) for name in names})
                for names, images in lacking.items()
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
    """Compute the missing features of units, one unit after the other, and keep them in packs.

    Images of the next unit are prepared while the previous one is computed.

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
    lacking = []
    for batch in itertools.chain.from_iterable(units):
        if all(batch.pack(plans[name]).is_file() for name in batch.keys):  # written by another process
            ticker.tick(len(batch.records) * settings.augmentations)
        else:
            lacking.append(batch)
    for names, alike in itertools.groupby(lacking, key=lambda batch: tuple(batch.keys)):
        batches = list(alike)
        items = describe_images(
            [record for batch in batches for record in batch.records],
            settings=settings,
            targets={name: (_encoder(plans[name], settings), plans[name].view) for name in names},
            ticker=ticker,
            skip_errors=plans[names[0]].skip_errors,
            helpers=helpers,
        )
        with contextlib.closing(items):
            for batch in batches:
                described = list(itertools.islice(items, len(batch.records)))
                for name in names:
                    plan, keys = plans[name], batch.keys[name]
                    with plan.unless_finished():
                        keep(plan.folder, dict(zip(keys, described, strict=True)), store=name, dim=plan.dim)


def _encoder(plan: StorePlan, settings: FeaturizeSettings) -> CropEncoder:
    """Return the encoder of a feature file; refuse it if its weights changed since the plan was made."""
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
    """Group units into tasks: one unit each, or with a GPU several, so that the GPU need not wait between units.

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
