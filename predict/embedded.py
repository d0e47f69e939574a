"""Embeddings in the place of images: a bundle predicts those of the kind that trained it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..boost import Bundle
from ..core import DAMAGE, BundleError, InputError, few
from ..crossval import bundle_kind
from ..data import ImageRecord
from ..featurize import (
    IMPORTED,
    KIND_FACTS,
    UNKNOWN,
    Embeddings,
    facts_of,
    read_embeddings,
    row_sha256,
    settled_facts,
)
from .predicted import Prediction
from .records import with_classes

_log = logging.getLogger(__name__)

_AT_ONCE = 256
"""Images that are predicted at once."""


def load_embedded(path: Path, files: Sequence[Path]) -> tuple[Bundle, dict[str, Embeddings]]:
    """Load a bundle, and the embeddings of each of its stores.

    Parameters
    ----------
    path : Path
        The bundle.
    files : sequence of Path
        See `bchisto.featurize.read_embeddings`: one for each store, called as it; of a single store any name will do.

    Returns
    -------
    Bundle, dict of str to Embeddings
        By store; all of the same images in the same order. A bundle of images is one that does not know them again.

    Raises
    ------
    InputError
        A bundle of networks; not one file for each store; another kind than that of training; other images.
    """
    if bundle_kind(path) == "cnn":
        raise InputError("{features} {}: {} holds networks, which look at images; give {images}", files[0], path)
    bundle = Bundle.load(path)
    read = [read_embeddings(file) for file in files]
    stores = list(bundle.stores)
    if len(stores) == len(read) == 1:
        named = dict(zip(stores, read, strict=True))
    else:
        named = {embeddings.name: embeddings for embeddings in read}
    if set(named) != set(stores) or len(named) < len(read):
        raise InputError(
            "{features}: {} needs embeddings of {}, one file called so for each, and got {}",
            path, ", ".join(stores), ", ".join(embeddings.path.name for embeddings in read),
        )  # fmt: skip
    first = named[stores[0]]
    for store in stores:
        _check_kind(path, store, bundle.stores[store], named[store])
        if strange := sorted(set(named[store].image_ids) ^ set(first.image_ids)):
            raise InputError(f"{named[store].path} and {first.path}: of different images: {few(strange)} in one alone")
        named[store] = named[store].ordered(first.image_ids)
    if bundle.training is not None and not bundle.takes_embeddings:
        _log.warning(
            "%s knows the images that trained it by their pixels, which embeddings do not show: whether these trained "
            "it is not said",
            path,
        )
        bundle = replace(bundle, training=None)
    return bundle, {store: named[store] for store in stores}


def _check_kind(path: Path, store: str, header: Mapping[str, Any], embeddings: Embeddings) -> None:
    """Refuse embeddings that another network or other settings made, as far as both sides say.

    What a bundle of images needs is known, so its embeddings have to say all of it; how long they are its models know.
    """
    imported = header.get("mode") == IMPORTED
    try:
        settled = settled_facts(path, facts_of(header))
        pooled = imported and bool(str(settled.get("pooled", "")))
        dim = int(header["dim"]) if imported else None
    except DAMAGE as error:
        raise BundleError(f"{path}: the settings of its store {store} do not fit; the bundle was altered") from error
    needed, stated = settled, embeddings.facts
    for fact in KIND_FACTS:
        if fact in needed and fact in stated and needed[fact] != stated[fact]:
            raise InputError(
                f"{embeddings.path}: embeddings of another kind than {store} of {path}: their {fact} is "
                f"{_short(stated[fact])}, that of training {_short(needed[fact])}"
            )
        if fact in needed and fact not in stated and not imported:
            raise InputError(
                "{}: does not say which {} made it, and {} of {} needs {}; give {images}, or "
                "descriptors that bchisto made",
                embeddings.path, fact, store, path, _short(needed[fact]),
            )  # fmt: skip
    if dim is not None and dim != embeddings.features.shape[2]:
        raise InputError(
            f"{embeddings.path}: embeddings of {embeddings.features.shape[2]} numbers; {store} of {path} needs {dim}"
        )
    if pooled != bool(embeddings.pooled):
        again = "; if they are of tiles, too, write them by bchisto features export, which says so" if pooled else ""
        raise InputError(
            f"{embeddings.path}: embeddings of {'tiles' if embeddings.pooled else 'whole images'}, and {store} of "
            f"{path} was trained on those of {'tiles' if pooled else 'whole images'}{again}"
        )
    if imported and "encoder" not in stated:
        _log.warning(
            "%s does not say which network made it; that of training is %s",
            embeddings.path,
            needed.get("encoder", UNKNOWN),
        )


def _short(value: Any) -> str:
    return str(value)[:12] if isinstance(value, str) and len(value) == 64 else str(value)


def predict_embedded(
    bundle: Bundle, embeddings: Mapping[str, Embeddings]
) -> tuple[list[ImageRecord], dict[str, Prediction | str]]:
    """Predict embeddings.

    Parameters
    ----------
    bundle : Bundle
    embeddings : mapping
        Of `load_embedded`.

    Returns
    -------
    list of ImageRecord, dict of str to Prediction or str
        The images, and the prediction of each by its id.

    Raises
    ------
    InputError
        Embeddings of another length than the models take.
    """
    first = next(iter(embeddings.values()))
    records = [
        ImageRecord(image_id=image, path=first.path, label=label or None, group=group or None)
        for image, label, group in zip(first.image_ids, first.labels, first.groups, strict=True)
    ]
    trained = frozenset() if bundle.training is None else bundle.training.hashes
    results: dict[str, Prediction | str] = {}
    for start in range(0, len(records), _AT_ONCE):
        features = {store: some.features[start : start + _AT_ONCE] for store, some in embeddings.items()}
        try:
            probabilities, compared = bundle.predict(features), bundle.compare(features)
        except BundleError as error:
            raise InputError(
                "{}: embeddings of another length than those of training ({})", first.path, error
            ) from error
        for row, record in enumerate(records[start : start + _AT_ONCE]):
            known = bool(trained) and any(row_sha256(some[row]) in trained for some in features.values())
            results[record.image_id] = Prediction(probabilities[row], known, compared[row])
    return with_classes(records, bundle.classes), results


def embeddings_digest(embeddings: Mapping[str, Embeddings]) -> str:
    """Return the identity of embeddings: their ids and values."""
    digest = hashlib.sha256()
    for store, some in embeddings.items():
        digest.update(f"{store}\0{some.features.shape}\0".encode())
        for image, rows in zip(some.image_ids, some.features, strict=True):
            digest.update(f"{image}\0{row_sha256(rows)}\n".encode())
    return digest.hexdigest()
