"""Embeddings in the place of images: a bundle predicts those of the kind that trained it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..boost import Bundle
from ..crossval import bundle_road
from ..data import ImageRecord, few
from ..errors import BundleError, InputError
from ..featurize import (
    ABSENT_SETTINGS,
    IMPORTED,
    KIND_FACTS,
    UNKNOWN,
    Embeddings,
    facts_of,
    read_embeddings,
    row_sha256,
    settled_facts,
)
from ..finetune import CnnBundle
from ..jobs import DAMAGE
from .blocks import Rows
from .records import with_classes

_log = logging.getLogger(__name__)

_AT_ONCE = 256
"""Images that are predicted at once (ours)."""


def is_embedded(bundle: Bundle | CnnBundle) -> bool:
    """Whether a bundle was trained on embeddings from files."""
    stores = bundle.stores.values() if isinstance(bundle, Bundle) else ()
    return any(header.get("mode") == IMPORTED for header in stores)


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
    if bundle_road(path) == "cnn":
        raise InputError(f"`features` {files[0]}: {path} holds networks, which look at images; give `images`")
    bundle = Bundle.load(path)
    found = [read_embeddings(file) for file in files]
    stores = list(bundle.stores)
    if len(stores) == len(found) == 1:
        named = dict(zip(stores, found, strict=True))
    else:
        named = {one.name: one for one in found}
    if set(named) != set(stores) or len(named) < len(found):
        raise InputError(
            f"`features`: {path} needs embeddings of {', '.join(stores)}, one file called so for each, and got "
            f"{', '.join(one.path.name for one in found)}"
        )
    first = named[stores[0]]
    for store in stores:
        _check_kind(path, store, bundle.stores[store], named[store])
        if strange := sorted(set(named[store].image_ids) ^ set(first.image_ids)):
            raise InputError(f"{named[store].path} and {first.path}: of different images: {few(strange)} in one alone")
        named[store] = named[store].ordered(first.image_ids)
    if bundle.training is not None and not is_embedded(bundle):
        _log.warning(
            "%s knows the images that trained it by their pixels, which embeddings do not show: whether these trained "
            "it is not said",
            path,
        )
        bundle = replace(bundle, training=None)
    return bundle, {store: named[store] for store in stores}


def _check_kind(path: Path, store: str, header: Mapping[str, Any], found: Embeddings) -> None:
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
    needed, given = ({**ABSENT_SETTINGS, **facts} if facts else {} for facts in (settled, found.facts))
    for fact in KIND_FACTS:
        if fact in needed and fact in given and needed[fact] != given[fact]:
            raise InputError(
                f"{found.path}: embeddings of another kind than {store} of {path}: their {fact} is "
                f"{_short(given[fact])}, that of training {_short(needed[fact])}"
            )
        if fact in needed and fact not in given and not imported:
            raise InputError(
                f"{found.path}: does not say which {fact} made it, and {store} of {path} needs {_short(needed[fact])}; "
                "give `images`, or descriptors that bchisto made"
            )
    if dim is not None and dim != found.features.shape[2]:
        raise InputError(
            f"{found.path}: embeddings of {found.features.shape[2]} numbers; {store} of {path} needs {dim}"
        )
    if pooled != bool(found.pooled):
        again = "; if they are of tiles, too, write them by bchisto features export, which says so" if pooled else ""
        raise InputError(
            f"{found.path}: embeddings of {'tiles' if found.pooled else 'whole images'}, and {store} of {path} was "
            f"trained on those of {'tiles' if pooled else 'whole images'}{again}"
        )
    if imported and "encoder" not in given:
        _log.warning(
            "%s does not say which network made it; that of training is %s", found.path, needed.get("encoder", UNKNOWN)
        )


def _short(value: Any) -> str:
    return str(value)[:12] if isinstance(value, str) and len(value) == 64 else str(value)


def predict_embedded(bundle: Bundle, found: Mapping[str, Embeddings]) -> tuple[list[ImageRecord], Rows]:
    """Predict embeddings.

    Parameters
    ----------
    bundle : Bundle
    found : mapping
        Of `load_embedded`.

    Returns
    -------
    list of ImageRecord, rows
        The images, and their rows as `predict` has them: id, no error, probabilities, and whether it trained.

    Raises
    ------
    InputError
        Embeddings of another length than the models take.
    """
    first = next(iter(found.values()))
    records = [
        ImageRecord(image_id=image, path=first.path, label=label or None, group=group or None)
        for image, label, group in zip(first.image_ids, first.labels, first.groups, strict=True)
    ]
    rows: Rows = []
    for start in range(0, len(records), _AT_ONCE):
        some = {store: one.features[start : start + _AT_ONCE] for store, one in found.items()}
        try:
            shares = bundle.predict(some)
        except BundleError as error:
            raise InputError(f"{first.path}: embeddings of another length than those of training ({error})") from error
        for place, record in enumerate(records[start : start + _AT_ONCE]):
            rows.append([record.image_id, "", *map(repr, shares[place].tolist())])
            if bundle.training is not None:
                known = {row_sha256(one[place]) for one in some.values()} & bundle.training.files
                rows[-1].append("yes" if known else "no")
    return with_classes(records, bundle.classes), rows


def embeddings_digest(found: Mapping[str, Embeddings]) -> str:
    """Return the identity of embeddings: their ids and values."""
    digest = hashlib.sha256()
    for store, one in found.items():
        digest.update(f"{store}\0{one.features.shape}\0".encode())
        for image, rows in zip(one.image_ids, one.features, strict=True):
            digest.update(f"{image}\0{row_sha256(rows)}\n".encode())
    return digest.hexdigest()
