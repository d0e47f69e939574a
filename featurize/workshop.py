"""The unit of stage 1: blocks of images, described for every store that lacks them, written as parts."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..encoders import CropEncoder
from ..errors import BchistoError, OutputError, StoreError, WeightsError
from ..jobs import Resources, Ticker
from .blocks import Block, Target, compared_settings, encoder_of
from .parts import Part, read_part, write_part
from .prepare import ImageFailure
from .settings import FeaturizeSettings
from .stream import ImageDescriptors, describe_from

_log = logging.getLogger(__name__)

_STRETCHES, _STRETCH_IMAGES = 8, 256
"""Beside a GPU: stretches for each process at least, so that all end at about the same time, and most images in one
(ours)."""


@dataclass(frozen=True)
class Workshop:
    """What every block needs; sent to workers whole.

    Attributes
    ----------
    targets : tuple of Target
    settings : FeaturizeSettings
    skip_errors : bool
    helpers : int
        Processes that decode and normalise beside the one that encodes.
    """

    targets: tuple[Target, ...]
    settings: FeaturizeSettings
    skip_errors: bool
    helpers: int = 1

    def valid_part(self, target: Target, block: Block) -> Part | None:
        """Return the part if it is there and holds; with a warning where it is there and does not."""
        path = target.part(block.index)
        if not path.is_file():
            return None
        try:
            part = read_part(
                path,
                header=compared_settings(target.header),
                image_ids=block.image_ids,
                dim=target.dim,
                first=block.first,
            )
        except StoreError as error:
            _log.warning("%s; done again", error)
            return None
        return part if self.skip_errors or not part.failures else None

    def whole_parts(self, target: Target, blocks: Sequence[Block]) -> list[Part] | None:
        """Return all parts of a store; None where another process has finished it meanwhile."""
        own = [block for block in blocks if target.name in block.targets]
        whole = [part for block in own if (part := self.valid_part(target, block)) is not None]
        if len(whole) == len(own):
            return whole
        if self.finished(target):
            return None
        raise BchistoError(
            f"{target.claimed}: {len(own) - len(whole)} of {len(own)} parts are missing; run the same command again"
        )

    def _encoder(self, target: Target) -> CropEncoder:
        """Return the encoder of a store, if its weights are those that the store's header names."""
        encoder = encoder_of(target.choice, self.settings)
        if encoder.weights_sha256 != target.header["weights_sha256"]:
            where = target.choice.source or self.settings.weights_of(target.choice.label)
            raise WeightsError(
                "{}: the weights of {} changed while the command ran; put back those it began with "
                "and run it again, or use another {out}",
                where,
                encoder.name,
            )
        return encoder

    def finished(self, target: Target) -> bool:
        """Whether a store is there, of the wanted settings and images."""
        return target.finished(skip_errors=self.skip_errors)

    @contextlib.contextmanager
    def unless_finished(self, target: Target) -> Iterator[None]:
        """Let a failure pass where another process has finished the store and removed its parts meanwhile."""
        try:
            yield
        except (OutputError, StoreError):
            if not self.finished(target):
                raise

    def has_parts(self, block: Block) -> bool:
        """Whether all parts of a block are there; whether they hold is looked at when they are merged."""
        return all(target.part(block.index).is_file() for target in self.targets if target.name in block.targets)

    def missing(self, block: Block) -> list[Target]:
        """Return the targets without a valid part for this block, and not finished."""
        lacking = [target for target in self.targets if target.name in block.targets]
        return [t for t in lacking if not self.finished(t) and self.valid_part(t, block) is None]

    def __call__(self, blocks: tuple[Block, ...], ticker: Ticker) -> None:
        """Do blocks one after the other: describe their images for every target that lacks its part, write the parts.

        Images of a later block are prepared while an earlier one is described.
        """
        lacking = [(tuple(self.missing(block)), block.first, block) for block in blocks]
        for (targets, _), group in itertools.groupby(lacking, key=lambda one: one[:2]):
            some = [block for _, _, block in group]
            if targets:
                self._describe(some, targets, ticker)
            else:  # another process did them meanwhile
                ticker.tick(steps_of(some, self.settings))

    def _describe(self, blocks: Sequence[Block], targets: Sequence[Target], ticker: Ticker) -> None:
        encoders = {target.name: self._encoder(target) for target in targets}
        items = describe_from(
            blocks[0].first,
            [record for block in blocks for record in block.records],
            settings=self.settings,
            targets={target.name: (encoders[target.name], target.view) for target in targets},
            ticker=ticker,
            skip_errors=self.skip_errors,
            helpers=self.helpers,
        )
        with contextlib.closing(items):
            for block in blocks:
                self._write(block, targets, list(itertools.islice(items, len(block.records))))

    def _write(self, block: Block, targets: Sequence[Target], items: Sequence[ImageDescriptors | ImageFailure]) -> None:
        sha256 = dict(zip(block.image_ids, block.sha256, strict=True))
        for target in targets:
            with self.unless_finished(target):
                write_part(
                    target.part(block.index),
                    header=target.header,
                    first=block.first,
                    described=[item for item in items if isinstance(item, ImageDescriptors)],
                    key=target.name,
                    dim=target.dim,
                    sha256=sha256,
                    failures=[(item.record.image_id, item.message) for item in items if isinstance(item, ImageFailure)],
                )


def steps_of(blocks: Sequence[Block], settings: FeaturizeSettings) -> int:
    """Return the progress steps of blocks: augmentations."""
    return sum(len(block.records) * (settings.augmentations - block.first) for block in blocks)


def stretches(blocks: Sequence[Block], resources: Resources) -> list[tuple[Block, ...]]:
    """Return what a process does in one go: a block, or beside a GPU several, since it must never wait for the next."""
    if not blocks:
        return []
    size = 1
    if resources.gpus:
        share = -(-len(blocks) // (resources.processes * _STRETCHES))
        size = min(share, -(-_STRETCH_IMAGES // len(blocks[0].records)))
    return [tuple(blocks[start : start + size]) for start in range(0, len(blocks), size)]
