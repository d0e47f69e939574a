"""Predict embeddings instead of images, with models that were trained on embeddings of the same kind."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..boost import Bundle
from ..core import DAMAGE, BundleError, InputError, few, in_python
from ..core.models import BundleFacts
from ..data import ImageRecord
from ..featurize import IMPORTED, KIND_FACTS, UNKNOWN, Embeddings, facts_of, read_embeddings, row_sha256, settled_facts
from .model import load_bundle
from .predicted import Prediction
from .records import with_classes

_log = logging.getLogger(__name__)

_AT_ONCE = 256
"""Number of images that are predicted in one call of the models."""


def load_embedded(path: Path, files: Sequence[Path]) -> tuple[Bundle, dict[str, Embeddings]]:
    """Load a model file, and the embeddings for each of its feature files.

    Parameters
    ----------
    path : Path
        The model file.
    files : sequence of Path
        One file of embeddings for each feature file, with the same name; see `bchisto.featurize.read_embeddings`. If
        the model has only one feature file, any name is accepted.

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
    if not isinstance(bundle, Bundle):
        raise InputError("{features} {}: {} holds networks, which look at images; give {images}", files[0], path)
    read = [read_embeddings(file) for file in files]
    stores = list(bundle.stores)
    if len(stores) == len(read) == 1:
        named = dict(zip(stores, read, strict=True))
    else:
        named = {embeddings.name: embeddings for embeddings in read}
    if set(named) != set(stores) or len(named) < len(read):
        raise InputError(
            "{features}: {} needs embeddings of {}, one file of that name for each, and got {}",
            path, ", ".join(stores), ", ".join(embeddings.path.name for embeddings in read),
        )  # fmt: skip
    return _matched(path, bundle, named)


def embeddings_of_arrays(
    path: Path,
    bundle: BundleFacts,
    features: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    *,
    image_ids: Sequence[str],
    encoder: str,
) -> tuple[Bundle, dict[str, Embeddings]]:
    """Return arrays as embeddings for a model file, after the same checks as for files.

    Parameters
    ----------
    path : Path
        The model file, for messages.
    bundle : BundleFacts
    features : array_like, or mapping of str to array_like
        Numbers of shape (images, d) or (images, augmentations, d). If the model has several feature files, a mapping of
        their names to arrays. Embeddings of tiles must be averaged for each image, as in training.
    image_ids : sequence of str
        Names of the images; if empty, ``image0`` and so on.
    encoder : str
        The network that computed the embeddings; empty if unknown.

    Raises
    ------
    InputError
        See `load_embedded`, and `bchisto.featurize.Embeddings.of`.
    """
    if not isinstance(bundle, Bundle):
        raise InputError("{features}: {} holds networks, which look at images; give {images}", path)
    stores = list(bundle.stores)
    arrays = features if isinstance(features, Mapping) else dict.fromkeys(stores[:1], features)
    if set(arrays) != set(stores):
        raise InputError(
            "{features}: {} needs an array for each of {}, by these names, and got {}",
            path, ", ".join(stores), ", ".join(map(str, arrays)),
        )  # fmt: skip
    named = {}
    for store, array in arrays.items():
        facts = {"encoder": encoder, "pooled": _needed(path, store, bundle.stores[store]).get("pooled", "")}
        rows = np.atleast_1d(array)
        ids = list(image_ids) or [f"image{number}" for number in range(len(rows))]
        named[store] = Embeddings.of(Path(in_python("features", "")), rows, {"image_id": ids}, facts)
    return _matched(path, bundle, named)


def _matched(path: Path, bundle: Bundle, named: Mapping[str, Embeddings]) -> tuple[Bundle, dict[str, Embeddings]]:
    """Refuse embeddings of another kind or of different images, and return them in the same order of images."""
    first = named[next(iter(bundle.stores))]
    ordered = {}
    for store, header in bundle.stores.items():
        _check_kind(path, store, header, named[store])
        if unmatched := sorted(set(named[store].image_ids) ^ set(first.image_ids)):
            raise InputError(
                f"{named[store].path} and {first.path}: of different images: {few(unmatched)} in only one of them"
            )
        ordered[store] = named[store].ordered(first.image_ids)
    if bundle.training is not None and not bundle.takes_embeddings:
        _log.warning(
            "%s recognises its training images by their pixels, and embeddings have none: training images among these "
            "are not marked",
            path,
        )
        bundle = replace(bundle, training=None)
    return bundle, ordered


def _needed(path: Path, store: str, header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that a model file states about the embeddings of a feature file."""
    try:
        return settled_facts(path, facts_of(header))
    except DAMAGE as error:
        raise BundleError(
            f"{path}: the settings of its feature set {store} do not fit; the model file is corrupt"
        ) from error


def _check_kind(path: Path, store: str, header: Mapping[str, Any], embeddings: Embeddings) -> None:
    """Refuse embeddings of another network or other settings than in training, as far as both files record them.

    If the models were trained on images, all facts are known, so the embeddings must state all of them. Their length is
    then checked by the models.
    """
    imported = header.get("mode") == IMPORTED
    needed, stated = _needed(path, store, header), embeddings.facts
    pooled = imported and bool(str(needed.get("pooled", "")))
    try:
        dim = int(header["dim"]) if imported else None
    except DAMAGE as error:
        raise BundleError(
            f"{path}: the settings of its feature set {store} do not fit; the model file is corrupt"
        ) from error
    for fact in KIND_FACTS:
        if fact in needed and fact in stated and needed[fact] != stated[fact]:
            raise InputError(
                f"{embeddings.path}: embeddings of another kind than {store} of {path}: their {fact} is "
                f"{_short(stated[fact])}, that of training {_short(needed[fact])}"
            )
        if fact in needed and fact not in stated and not imported:
            raise InputError(
                "{}: does not record which {} made it, and {} of {} needs {}; give {images}, or "
                "features that bchisto extracted",
                embeddings.path, fact, store, path, _short(needed[fact]),
            )  # fmt: skip
    if dim is not None and dim != embeddings.features.shape[2]:
        raise InputError(
            f"{embeddings.path}: embeddings of {embeddings.features.shape[2]} numbers; {store} of {path} needs {dim}"
        )
    if pooled != bool(embeddings.pooled):
        remedy = (
            "; if they are of tiles, too, write them by bchisto features export, which records this" if pooled else ""
        )
        raise InputError(
            f"{embeddings.path}: embeddings of {'tiles' if embeddings.pooled else 'whole images'}, and {store} of "
            f"{path} was trained on those of {'tiles' if pooled else 'whole images'}{remedy}"
        )
    if imported and "encoder" not in stated:
        _log.warning(
            "%s does not record which network made it; that of training is %s",
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
        Result of `load_embedded`.

    Returns
    -------
    list of ImageRecord, dict of str to Prediction or str
        The images, and the prediction of each image by its id.

    Raises
    ------
    InputError
        The embeddings have another length than those of training.
    """
    first = next(iter(embeddings.values()))
    records = first.records()
    trained = frozenset() if bundle.training is None else bundle.training.hashes
    results: dict[str, Prediction | str] = {}
    for start in range(0, len(records), _AT_ONCE):
        features = {store: each.features[start : start + _AT_ONCE] for store, each in embeddings.items()}
        try:
            probabilities, compared = bundle.predict(features), bundle.compare(features)
        except BundleError as error:
            raise InputError(
                "{}: embeddings of another length than those of training ({})", first.path, error
            ) from error
        for row, record in enumerate(records[start : start + _AT_ONCE]):
            known = bool(trained) and any(row_sha256(each[row]) in trained for each in features.values())
            results[record.image_id] = Prediction(probabilities[row], known, compared[row])
    return with_classes(records, bundle.classes), results


def embeddings_digest(embeddings: Mapping[str, Embeddings]) -> str:
    """Return a checksum of the ids and values of embeddings."""
    digest = hashlib.sha256()
    for store, each in embeddings.items():
        digest.update(f"{store}\0{each.features.shape}\0".encode())
        for image, rows in zip(each.image_ids, each.features, strict=True):
            digest.update(f"{image}\0{row_sha256(rows)}\n".encode())
    return digest.hexdigest()
