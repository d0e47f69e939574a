"""The blocks of a prediction: work units, their part files, and what of them is done already."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..crossval import TrainingImages
from ..data import ImageRecord, file_sha256, record_sha256
from ..errors import BchistoError, OutputError
from ..jobs import (
    Cells,
    Resources,
    Ticker,
    UnitSpec,
    Work,
    do_missing,
    read_json,
    remove_leftovers,
    set_aside,
    write_json,
    write_rows,
)
from ..runs import describe_differences
from .advice import in_our_words
from .model import Model, load_model

_log = logging.getLogger(__name__)

_WORK = "work:"
_MARK = "settings.json"

Rows = list[list[str]]
"""Image id, error or nothing, then the probabilities, and ``yes`` or ``no`` where a bundle knows what trained it."""


@dataclass(frozen=True)
class Block:
    """Images that are predicted as one unit."""

    index: int
    records: tuple[ImageRecord, ...]


@dataclass(frozen=True)
class Workshop:
    """What does a block.

    Attributes
    ----------
    model : Path
    weights : tuple of str
    identity : tuple of str
        See `load_model`.
    parts : Path
        The folder of parts, ``<out>.parts``.
    settings : dict
        What decides the content of the parts; its hash stands in each of them.
    skip_errors : bool
    helpers : int
        Processes or threads that prepare images beside the one that predicts.
    """

    model: Path
    weights: tuple[str, ...]
    identity: tuple[str, ...]
    parts: Path
    settings: Mapping[str, Any]
    skip_errors: bool
    helpers: int = 1

    @property
    def work(self) -> str:
        """The last cell of a part's header: whose part it is."""
        text = json.dumps(dict(self.settings), sort_keys=True)
        return f"{_WORK}{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def part(self, block: Block) -> Path:
        """Return where the rows of a block are kept until all are there."""
        return self.parts / f"block-{block.index:05d}.csv"

    def __call__(self, blocks: tuple[Block, ...], ticker: Ticker) -> tuple[int, Rows]:
        """Return place and rows of a block, kept as a part; one that another process made meanwhile is taken."""
        (block,) = blocks
        model = load_model(self.model, self.weights, self.identity)
        if model.precisions != self.settings.get("precisions", {}):
            raise BchistoError(
                f"{self.model}: this worker's CPU computes in another precision than the one that started it"
            )
        if (made := self.read(block)) is not None:
            ticker.tick(len(block.records) * model.steps)
            return block.index, made
        rows: Rows = []
        training = model.bundle.training
        for record, found, pixels in model.predict(
            block.records, ticker=ticker, skip_errors=self.skip_errors, helpers=self.helpers
        ):
            if isinstance(found, str):
                rows.append([record.image_id, in_our_words(found)])
            else:
                known = [] if training is None else ["yes" if is_trained(training, record, pixels) else "no"]
                rows.append([record.image_id, "", *map(repr, found.tolist()), *known])
        header = ["image_id", "error", *(f"p_{name}" for name in model.bundle.classes)]
        self._keep(block, [*header, *(["trained"] if training else []), self.work], rows)
        return block.index, rows

    def _keep(self, block: Block, header: list[str], rows: Rows) -> None:
        _once_more(lambda: write_rows(self.part(block), header, rows))

    def read(self, block: Block) -> Rows | None:
        """Return the rows of a finished part, None where it is missing or does not hold."""
        path = self.part(block)
        try:
            with path.open(newline="", encoding="utf-8") as handle:
                header, *rows = list(Cells(handle)) or [[]]
        except FileNotFoundError:
            return None
        except (ValueError, csv.Error):
            header, rows = [], []
        # parts of 0.1 do not say whose they are; the settings beside them do
        mark = header[-1] if header else ""
        foreign = mark != self.work and mark.startswith(_WORK)
        classes = sum(name.startswith("p_") for name in header)
        ids = [row[0] if len(row) > 1 else None for row in rows]
        whole = ids == [record.image_id for record in block.records] and all(
            row[1] or _are_shares(row[2 : len(row) - ("trained" in header)], classes) for row in rows
        )
        if foreign or not whole:
            _log.warning("%s: does not hold the predictions of its images; predicted again", path)
            return None
        return rows if self.skip_errors or not any(row[1] for row in rows) else None


def is_trained(training: TrainingImages, record: ImageRecord, pixels: str) -> bool:
    """Whether an image is one of those that trained."""
    if pixels in training.pixels:
        return True
    return bool(training.files) and record_sha256(record, file_sha256(record.path)) in training.files


def _are_shares(cells: Sequence[str], classes: int) -> bool:
    try:
        return len(cells) == classes and all(math.isfinite(float(cell)) for cell in cells)
    except ValueError:
        return False


def claim(parts: Path, settings: Mapping[str, Any], *, overwrite: bool) -> None:
    """Refuse parts that another model or other images left at this place.

    Raises
    ------
    OutputError
        With what differs.
    """
    mark = parts / _MARK
    if overwrite:
        set_aside(parts)
    remove_leftovers(parts)

    def take() -> None:
        if mark.is_file() and (found := read_json(mark)) != settings:
            differs = describe_differences(found, settings)
            raise OutputError(f"{parts}: left by other work: {differs}; use `overwrite` or another `out`")
        write_json(mark, dict(settings))

    _once_more(take)


def _once_more(work: Callable[[], None]) -> None:
    """Do it again where another process, which has finished the table, was just removing the folder of parts."""
    try:
        work()
    except BchistoError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        work()


def do_blocks(workshop: Workshop, blocks: Sequence[Block], *, resources: Resources, how: Work, model: Model) -> Rows:
    """Do the blocks that are missing; return the rows of all in their order.

    What was read or made stays in memory: another process that does the same work may remove the parts, since it has
    finished.

    Raises
    ------
    OutputError
        A part cannot be written.
    ImageError
        An image that cannot be used; finished blocks are kept.
    """
    try:
        before, made = do_missing(
            workshop,
            blocks,
            UnitSpec(
                read=workshop.read,
                steps=lambda block: len(block.records) * model.steps,
                label="predict",
                said="blocks are done",
                step_name=model.step_name,
            ),
            how=how,
            resources=resources,
            begin=lambda: how.ask(workshop.parts.parent),
        )
    except BaseException:
        if not any(workshop.parts.glob("block-*")):
            set_aside(workshop.parts)  # nothing to resume from
        raise
    found = dict(enumerate(before)) | dict(made)
    rows = [row for block in blocks for row in found[block.index] or ()]
    if len(rows) != sum(len(block.records) for block in blocks):
        raise OutputError(f"{workshop.parts}: a part is missing; run the same command again")
    return rows
