"""Fields of slides: the rows of a feature file, pooled by a column of the manifest, so that a slide is one row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...core import InputError, few
from ...core.formats import Array, Floats32, column_key
from ...data import FACTS_FILE, DatasetFacts, read_dataset_facts
from ..store import Store, open_store
from .facts import facts_of
from .pools import AT_ONCE, TilePool
from .table import Embeddings


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
        facts = facts_of(store.header)
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
    """Return what the file beside a feature file knows of its images; nothing if there is none."""
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
