"""Predict embeddings instead of images, with models that were trained on embeddings of the same kind."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..boost import Bundle
from ..core import InputError
from ..core.formats import reading
from ..data import ImageRecord
from ..featurize import (
    IMPORTED,
    KIND_FACTS,
    Embeddings,
    header_facts,
    read_embeddings,
    row_sha256,
    rows_of,
    same_images,
    settled_facts,
)
from .blocks import Prediction, Results
from .images import with_classes
from .model_file import load_bundle

_log = logging.getLogger(__name__)

_AT_ONCE = 256
"""Number of images that are predicted in one call of the models."""


def load_embedded(
    path: Path, files: Sequence[Path], by: str | None = None
) -> tuple[Bundle, dict[str, Embeddings]]:
    """Load a model file, and the embeddings for each of its feature files.

    Parameters
    ----------
    path : Path
        The model file.
    files : sequence of Path
        One file of embeddings for each feature file, with the same name; see `bchisto.featurize.read_embeddings`. If
        the model has only one feature file, any name is accepted.
    by : str, optional
        A column by which the rows of feature files are pooled by their mean.

    Returns
    -------
    Bundle, dict of str to Embeddings
        The models, and the embeddings by feature file, all of the same images in the same order. If the models were
        trained on images, the list of training images is removed, since embeddings cannot be compared with it.

    Raises
    ------
    InputError
        The model file contains networks; a file is missing or surplus; the embeddings are of another kind than in
        training, or not all of the same images.
    """
    bundle = load_bundle(path)
    all_embeddings = [read_embeddings(file, by=by) for file in files]
    if not isinstance(bundle, Bundle):
        raise InputError("{features}: {} holds networks, which look at images; give {images}", path)
    names = [embeddings.name for embeddings in all_embeddings]
    if len(bundle.stores) == len(all_embeddings) == 1:  # it cannot be mistaken, whatever its name
        names = list(bundle.stores)
    if sorted(names) != sorted(bundle.stores):
        raise InputError(
            "{features}: {} needs embeddings of {}, one of that name for each, and got {}",
            path,
            ", ".join(bundle.stores),
            ", ".join(names),
        )
    by_name = dict(zip(names, all_embeddings, strict=True))
    for store in bundle.stores:
        _check_kind(path, store, bundle, by_name[store])
    aligned = same_images([by_name[store] for store in bundle.stores])
    by_store = dict(zip(bundle.stores, aligned, strict=True))
    if bundle.training is not None and not bundle.takes_embeddings:
        _log.warning(
            "%s recognises its training images by their pixels, and embeddings have none: training images among these "
            "are not marked",
            path,
        )
        bundle = replace(bundle, training=None)
    return bundle, by_store


def _check_kind(path: Path, store: str, bundle: Bundle, embeddings: Embeddings) -> None:
    """Refuse embeddings of another network or other settings than in training, as far as both files record them.

    If the models were trained on images, all facts are known, so the embeddings must state all of them.
    """
    header = bundle.stores[store]
    with reading(
        path, f"the settings of its feature set {store} do not fit; the model file is corrupt"
    ):
        needed = settled_facts(path, header_facts(header))
    needed["length"] = getattr(bundle.models[store][0], "features", None)
    stated = {**embeddings.facts, "length": embeddings.features.shape[2]}
    for facts in (needed, stated):
        facts["rows"] = rows_of(facts)
    for fact in (*KIND_FACTS, "length", "rows"):
        needed_value = needed.get(fact)
        stated_value = stated.get(fact)
        if needed_value is None or stated_value == needed_value:
            continue
        if stated_value is not None:
            remedy = ""
            if fact == "rows":
                remedy = "; `bchisto features` pools rows, and records how"
            raise InputError(
                f"{embeddings.path}: embeddings of another kind than {store} of {path}: their {fact} is "
                f"{_short(stated_value)}, that of training {_short(needed_value)}{remedy}"
            )
        if header.get("mode") != IMPORTED:
            raise InputError(
                "{}: does not record which {} made it, and {} of {} needs {}; give {images}, or "
                "features that bchisto extracted",
                embeddings.path,
                fact,
                store,
                path,
                _short(needed_value),
            )
        if fact == "encoder":
            _log.warning(
                "%s does not record which network made it; that of training is %s",
                embeddings.path,
                needed_value,
            )


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:  # a SHA-256
        return value[:12]
    return str(value)


def predict_embedded(
    bundle: Bundle, embeddings: Mapping[str, Embeddings]
) -> tuple[list[ImageRecord], Results]:
    """Predict embeddings.

    Parameters
    ----------
    bundle : Bundle
    embeddings : mapping
        Result of `load_embedded`.

    Returns
    -------
    list of ImageRecord, dict of str to Prediction or str
        The images, and the prediction of each image by its id.
    """
    records = next(iter(embeddings.values())).records()
    training_hashes = frozenset() if bundle.training is None else bundle.training.hashes
    results: Results = {}
    for start in range(0, len(records), _AT_ONCE):
        block = slice(start, start + _AT_ONCE)
        features = {store: item.features[block] for store, item in embeddings.items()}
        probabilities = bundle.predict(features)
        compared = bundle.compare(features)
        for row, record in enumerate(records[block]):
            match = any(row_sha256(rows[row]) in training_hashes for rows in features.values())
            results[record.image_id] = Prediction(probabilities[row], match, compared[row])
    return with_classes(records, bundle.classes), results


def embeddings_digest(embeddings: Mapping[str, Embeddings]) -> str:
    """Return a checksum of the ids and values of embeddings."""
    lines = []
    for store, item in embeddings.items():
        lines += [store, *item.image_ids, *map(row_sha256, item.features)]
    return hashlib.sha256("\0".join(lines).encode()).hexdigest()
