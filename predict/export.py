"""A model file in a folder that can be published, with its card."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..boost import Bundle
from ..core import InputError, PathInput, as_path
from ..crossval import BundleFacts
from ..encoders import card_of
from ..formats import file_sha256, read_json
from ..jobs import atomic_output, ensure_folder
from ..report import model_card
from .locate import find_bundle
from .model import load_bundle
from .sheet import bundle_lines

CARD = "README.md"
"""What hubs of models show of a folder."""

_OF_KERAS = {
    "imagenet": "published with Keras, which does not state one",
    "file": "from a file, not known",
    "random": "random, none needed",
}
"""Licence of the weights of a network of Keras, by where they came from."""

_NOTE = (
    "Made with bchisto, for research only. It is not a medical device, and nothing that it predicts is a diagnosis. "
    "It was not tested on the images of other laboratories unless the sections below say so."
)


def export(model: PathInput, *, to: PathInput) -> Path:
    """Put a model into a folder of its own, with a card that says what is known of it.

    The card has the header that hubs of models read. What only the author knows is a marked blank. Figures stand in the
    card; ``metrics.json`` stays where it is, since it may name patients.

    Parameters
    ----------
    model : str or Path
        A model file, or a run folder that holds one.
    to : str or Path
        The new folder.

    Returns
    -------
    Path
        The card.

    Raises
    ------
    BundleError, MissingInputError
        No such model, or a damaged one.
    InputError
        The folder is there and holds something else.
    OutputError
        It cannot be written.
    """
    source, folder = find_bundle(as_path(model, "model")), as_path(to, "to")
    bundle = load_bundle(source)
    sha256 = file_sha256(source)
    copy = folder / source.name
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not copy.is_file())):
        raise InputError("{to} {}: holds other files; give a new folder", folder)
    if copy.is_file() and file_sha256(copy) != sha256:
        raise InputError("{to} {}: holds another model; give a new folder", folder)
    beside = source.parent / "metrics.json"
    metrics: dict[str, Any] | None = read_json(beside) if beside.is_file() else None
    ensure_folder(folder)
    if not copy.is_file():
        with atomic_output(copy) as temporary:
            shutil.copyfile(source, temporary)
    card = model_card(
        name=source.parent.name or source.stem,
        file=source.name,
        note=_NOTE,
        classes=bundle.classes,
        licences=list(_licences(bundle)),
        facts=bundle_lines(bundle, sha256),
        banners=bundle.banners,
        metrics=metrics,
    )
    if not (folder / CARD).exists():  # the author has filled in the blanks of one that is there
        with atomic_output(folder / CARD) as temporary:
            temporary.write_text(card, encoding="utf-8")
    return folder / CARD


def _licences(bundle: BundleFacts) -> Iterator[str]:
    """Say under which licence the weights are, each encoder once."""
    if not isinstance(bundle, Bundle):
        yield f"Weights of {', '.join(bundle.model_names)}: trained for this model, from what the methods name"
        return
    headers = {str(header["encoder"]): header for header in bundle.stores.values()}
    for name, header in headers.items():
        card, needed = card_of(header), "needed to predict and not part of the file"
        if card is not None:
            yield f"Weights of {name}, {needed}: {card.terms()}{f' ({card.source})' if card.source else ''}"
        elif bundle.takes_embeddings:
            yield f"Weights of {name}, which made the embeddings: not known"
        else:
            yield f"Weights of {name}, {needed}: {_OF_KERAS.get(str(header.get('weights')), 'not known')}"
