"""Ways to pool the tiles or fields of a slide to one row: by the mean, the baseline of attention, and by others.

The mean fades a small focus: a tenth of the tiles moves it by a tenth of their own distance. The mean of the largest
tenth fades it less. Fields are rows of a feature file, pooled by a column of the manifest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...core import InputError, counted, few, one_of
from ...core.formats import Array, Floats, Floats32, column_key
from ...data import FACTS_FILE, DatasetFacts, read_dataset_facts
from ..store import Store, open_store
from .facts import header_facts
from .table import Embeddings

Blocks = Iterable[Array]
"""Rows of a slide in blocks of shape (rows, ..., d), so that no slide has to fit into memory."""

AT_ONCE = 4096
"""Rows that are read into memory at a time."""


class TilePool(NamedTuple):
    """A way to pool the rows of a slide to one.

    Attributes
    ----------
    name : str
        The word by which users choose it.
    text : str
        What the row is, as in "mean of 12 fields". Files record it, so it is never changed.
    on_blocks : callable
        ``on_blocks(blocks, count)`` pools blocks of shape (rows, ..., d), of `count` rows together, to (..., d), or to
        (..., 2 d) for two numbers per feature. It sums in float64.
    """

    name: str
    text: str
    on_blocks: Callable[[Blocks, int], Floats]

    def describe(self, counts: Iterable[int], noun: str) -> str:
        """Return a phrase for rows that were pooled from these numbers of tiles, such as "mean of 3 to 9 tiles"."""
        numbers = sorted(set(counts))
        if len(numbers) == 1:
            return f"{self.text} of {counted(numbers[0], noun)}"
        return f"{self.text} of {numbers[0]} to {numbers[-1]} {noun}s"

    def row(self, read: Callable[[range], Array], count: int, *, step: int = AT_ONCE) -> Floats32:
        """Pool `count` rows of a slide, `step` at a time; ``read(positions)`` returns the rows at these positions."""
        starts = range(0, count, step)
        blocks = (read(range(start, min(start + step, count))) for start in starts)
        return np.asarray(self.on_blocks(blocks, count), dtype=np.float32)


def _mean(blocks: Blocks, count: int) -> Floats:
    total = sum(block.astype(np.float64).sum(axis=0) for block in blocks)
    return np.asarray(total / count)


def _norm(blocks: Blocks, count: int) -> Floats:
    """Pool by the signed 3-norm, as `bchisto.featurize.norm_pool`; in float64, cubes of float32 do not overflow."""
    total = sum((block.astype(np.float64) ** 3).sum(axis=0) for block in blocks)
    return np.asarray(np.cbrt(total / count))


def _mean_and_sd(blocks: Blocks, count: int) -> Floats:
    """Return the means, then the standard deviations (of `count`, so that one row has 0)."""
    rest = iter(blocks)
    first = next(rest)
    # squares of values far from zero would round their differences away
    origin = first[0].astype(np.float64)
    total = np.zeros_like(origin)
    squares = np.zeros_like(origin)
    for block in itertools.chain([first], rest):
        distances = block - origin
        total += distances.sum(axis=0)
        squares += np.square(distances).sum(axis=0)
    mean = total / count
    variance = np.maximum(squares / count - np.square(mean), 0)
    return np.concatenate([origin + mean, np.sqrt(variance)], axis=-1)


def _largest_tenth(blocks: Blocks, count: int) -> Floats:
    """Return the mean of the largest tenth of each feature: of ``ceil(count / 10)`` values."""
    size = -(-count // 10)
    largest: list[Array] = []
    for block in blocks:
        values = np.concatenate([*largest, block])
        last = max(len(values) - size, 0)
        largest = [np.partition(values, last, axis=0)[last:]]
    return np.asarray(largest[0].mean(axis=0, dtype=np.float64))


MEAN = TilePool("mean", "mean", _mean)

POOLS: Sequence[TilePool] = (
    MEAN,
    TilePool("3-norm", "3-norm", _norm),
    TilePool("mean-sd", "mean and SD", _mean_and_sd),
    TilePool("top-tenth", "mean of the largest tenth", _largest_tenth),
)


def pool_named(name: str) -> TilePool:
    """Return a pooling by its name.

    Raises
    ------
    InputError
        There is none of this name.
    """
    pools = {pool.name: pool for pool in POOLS}
    if name not in pools:
        raise InputError("{pool} {}: {}", name, one_of(name, pools))
    return pools[name]


def pool_fields(path: Path, by: str, pool: TilePool) -> Embeddings:
    """Pool the rows of a feature file whose images have the same value in a column of their manifest.

    Augmentations stay apart: each is pooled over the images. The rows of a slide are read in blocks.

    Parameters
    ----------
    path : Path
        A feature file in the folder of its run, beside the file with the columns.
    by : str
        The column, such as ``wsi``, which names the slide of each field.
    pool : TilePool

    Returns
    -------
    Embeddings
        A row for each value, in the order of the file, with the patient of its images, their label if they have one,
        and all that the file tells of the encoder.

    Raises
    ------
    InputError, StoreError
        There is no such column, or an image has no value in it; the images of a value differ in patient or label; the
        rows are pooled already; or see `open_store`.
    """
    with open_store(path) as store:
        facts = header_facts(store.header)
        if facts.get("pooled"):
            raise InputError("{}: its rows are pooled already ({})", path, facts["pooled"])
        facts_beside = known_facts(store)
        slides = slides_of(store, by, facts_beside)
        groups = store.groups
        if facts_beside.groups:
            # patients may have been corrected after the feature file was written
            groups = [facts_beside.groups.get(image, "") for image in store.image_ids]
        columns = {
            "image_id": list(slides),
            "label": [
                _shared(store, slide, "labels", {store.labels[field] for field in fields} - {""})
                for slide, fields in slides.items()
            ],
            "group": [
                _shared(store, slide, "patients", {groups[field] for field in fields})
                for slide, fields in slides.items()
            ],
        }
        rows = [_row(store, fields, pool) for fields in slides.values()]
        facts["pooled"] = pool.describe(map(len, slides.values()), "field")
        return Embeddings.of(path, np.stack(rows), columns, facts)


def known_facts(store: Store) -> DatasetFacts:
    """Return the facts about images in the file beside a feature file; empty facts if there is none."""
    digest = str(store.header["images_sha256"])
    return read_dataset_facts(store.path.parent / FACTS_FILE, images_sha256=digest)


def slides_of(store: Store, by: str, facts: DatasetFacts) -> dict[str, list[int]]:
    """Return the positions of the fields of each slide.

    Raises
    ------
    InputError
        There is no such column, or an image has no value in it.
    """
    names = facts.columns.get(column_key(by))
    if names is None:
        raise InputError(
            "{by} {}: no column of the images of {}; {} beside it names {}",
            by,
            store.path,
            FACTS_FILE,
            few(facts.columns) or "none",
        )
    slides: dict[str, list[int]] = {}
    for position, image in enumerate(store.image_ids):
        slides.setdefault(names.get(image, ""), []).append(position)
    if "" in slides:
        raise InputError(
            "{by} {}: empty for {} of {}; fill in the column in the manifest, and run featurize again",
            by,
            few([store.image_ids[field] for field in slides[""]]),
            store.path,
        )
    return slides


def _shared(store: Store, slide: str, what: str, values: set[str]) -> str:
    """Return the value that the fields of a slide share; refuse several."""
    if len(values) > 1:
        raise InputError(
            "{}: the fields of {} have several {}: {}; a slide has one: correct the manifest, where a label may be "
            "empty ({boost.labels} gives those of slides)",
            store.path,
            slide,
            what,
            few([value or "none" for value in sorted(values)]),
        )
    return "".join(values)


def _row(store: Store, fields: Sequence[int], pool: TilePool) -> Floats32:
    """Return the row of a slide, float32 of shape (augmentations, d)."""

    def read(block: range) -> Array:
        return store.features(fields[block.start : block.stop])

    return pool.row(read, len(fields), step=max(1, AT_ONCE // store.augmentations))
