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
from ..core import DAMAGE, BundleError, InputError, in_python
from ..core.models import BundleFacts
from ..data import ImageRecord
from ..featurize import (
    IMPORTED,
    KIND_FACTS,
    UNKNOWN,
    Embeddings,
    facts_of,
    read_embeddings,
    row_sha256,
    same_images,
    settled_facts,
)  # fmt: skip
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
    bundle, read = load_bundle(path), [read_embeddings(file) for file in files]
    names = [embeddings.name for embeddings in read]
    if isinstance(bundle, Bundle) and len(bundle.stores) == len(read) == 1:
        names = list(bundle.stores)
    return _matched(path, _boosted(path, bundle, names), dict(zip(names, read, strict=True)))


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
    stores = list(bundle.stores) if isinstance(bundle, Bundle) else []
    arrays = features if isinstance(features, Mapping) else dict.fromkeys(stores[:1], features)
    boosted, named = _boosted(path, bundle, list(arrays)), {}
    for store, array in arrays.items():
        facts = {"encoder": encoder, "pooled": _needed(path, store, boosted.stores[store]).get("pooled", "")}
        rows = np.atleast_1d(array)
        ids = list(image_ids) or [f"image{number}" for number in range(len(rows))]
        named[store] = Embeddings.of(Path(in_python("features", "")), rows, {"image_id": ids}, facts)
    return _matched(path, boosted, named)


def _boosted(path: Path, bundle: BundleFacts, names: Sequence[str]) -> Bundle:
    """Return a bundle that takes embeddings of these names; refuse another."""
    if not isinstance(bundle, Bundle):
        raise InputError("{features}: {} holds networks, which look at images; give {images}", path)
    if sorted(names) != sorted(bundle.stores):
        raise InputError(
            "{features}: {} needs embeddings of {}, one of that name for each, and got {}",
            path, ", ".join(bundle.stores), ", ".join(map(str, names)),
        )  # fmt: skip
    return bundle


def _matched(path: Path, bundle: Bundle, named: Mapping[str, Embeddings]) -> tuple[Bundle, dict[str, Embeddings]]:
    """Refuse embeddings of another kind or of different images, and return them in the same order of images."""
    for store in bundle.stores:
        _check_kind(path, store, bundle, named[store])
    ordered = dict(zip(bundle.stores, same_images([named[store] for store in bundle.stores]), strict=True))
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


def _check_kind(path: Path, store: str, bundle: Bundle, embeddings: Embeddings) -> None:
    """Refuse embeddings of another network or other settings than in training, as far as both files record them.

    If the models were trained on images, all facts are known, so the embeddings must state all of them.
    """
    imported = bundle.stores[store].get("mode") == IMPORTED
    needed, stated = _needed(path, store, bundle.stores[store]), {**embeddings.facts}
    needed["length"] = getattr(bundle.models[store][0], "features", None)
    stated["length"] = embeddings.features.shape[2]
    for fact in (*KIND_FACTS, "length"):
        if needed.get(fact) is None:
            continue
        if fact not in stated and not imported:
            raise InputError(
                "{}: does not record which {} made it, and {} of {} needs {}; give {images}, or "
                "features that bchisto extracted",
                embeddings.path, fact, store, path, _short(needed[fact]),
            )  # fmt: skip
        if needed[fact] != stated.get(fact, needed[fact]):
            raise InputError(
                f"{embeddings.path}: embeddings of another kind than {store} of {path}: their {fact} is "
                f"{_short(stated[fact])}, that of training {_short(needed[fact])}"
            )
    kinds = ["tiles" if facts.get("pooled") else "whole images" for facts in (stated, needed)]
    if kinds[0] != kinds[1]:
        remedy = "; if they are of tiles, too, write them by bchisto features export, which records this"
        raise InputError(
            f"{embeddings.path}: embeddings of {kinds[0]}, and {store} of {path} was trained on those of "
            f"{kinds[1]}{remedy if kinds[1] == 'tiles' else ''}"
        )
    if imported and "encoder" not in stated:
        trained = needed.get("encoder", UNKNOWN)
        _log.warning("%s does not record which network made it; that of training is %s", embeddings.path, trained)


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
    """
    records = next(iter(embeddings.values())).records()
    trained = frozenset() if bundle.training is None else bundle.training.hashes
    results: dict[str, Prediction | str] = {}
    for start in range(0, len(records), _AT_ONCE):
        features = {store: each.features[start : start + _AT_ONCE] for store, each in embeddings.items()}
        probabilities, compared = bundle.predict(features), bundle.compare(features)
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
