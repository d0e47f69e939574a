"""Copy a model file into a folder for publication, with a model card."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ..core import InputError, PathInput, as_path
from ..core.formats import file_sha256, read_json
from ..core.jobs import atomic_output, ensure_folder
from ..crossval import write_card
from .locate import find_bundle
from .model import load_bundle

CARD = "README.md"
"""Name of the card; model hubs show this file of a folder."""


def export(model: PathInput, *, to: PathInput) -> Path:
    """Copy a model into a folder of its own, with a model card.

    The card has the header that model hubs read, and marked blanks for what only the author knows. It shows the
    metrics; ``metrics.json`` itself is not copied, since it may name patients.

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
        The model is missing or damaged.
    InputError
        The folder exists and contains other files.
    OutputError
        The folder cannot be written.
    """
    source, folder = find_bundle(as_path(model, "model")), as_path(to, "to")
    bundle = load_bundle(source)
    sha256 = file_sha256(source)
    copy = folder / source.name
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not copy.is_file())):
        raise InputError("{to} {}: holds other files; give a new folder", folder)
    if copy.is_file() and file_sha256(copy) != sha256:
        raise InputError("{to} {}: holds another model; give a new folder", folder)
    metrics_file = source.parent / "metrics.json"
    metrics: dict[str, Any] | None = read_json(metrics_file) if metrics_file.is_file() else None
    ensure_folder(folder)
    if not copy.is_file():
        with atomic_output(copy) as temporary:
            shutil.copyfile(source, temporary)
    if not (folder / CARD).exists():  # keep an existing card: the author may have filled in its blanks
        write_card(folder / CARD, model=source, bundle=bundle, metrics=metrics)
    return folder / CARD
