"""A model file in a folder that can be published, with its card."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ..core import InputError, PathInput, as_path
from ..crossval import write_card
from ..formats import file_sha256, read_json
from ..jobs import atomic_output, ensure_folder
from .locate import find_bundle
from .model import load_bundle

CARD = "README.md"
"""What hubs of models show of a folder."""


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
    if not (folder / CARD).exists():  # the author has filled in the blanks of one that is there
        write_card(folder / CARD, model=source, bundle=bundle, metrics=metrics)
    return folder / CARD
