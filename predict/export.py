"""A model file for publication, in a folder of its own with a model card."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..core import InputError, PathInput, converted
from ..core.formats import file_sha256
from ..core.jobs import atomic_output, ensure_folder, write_json
from ..evaluate import SCHEMA
from ..evaluate.report import known_of, write_card
from .model_file import find_bundle, load_bundle


def export(model: PathInput, *, to: PathInput) -> Path:
    """Copy a model into a folder of its own, with a model card.

    The card has the header that model hubs read, and marked blanks for what only the author knows. Of ``metrics.json``
    only the figures are copied, for `Predictor.verdict` and prediction reports: the rest may name patients.

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
        ``metrics.json`` beside the model is damaged, or the folder exists and contains other files.
    OutputError
        The folder cannot be written.
    """
    source = find_bundle(model)
    folder = converted(to, "to", Path)
    bundle = load_bundle(source)
    sha256 = file_sha256(source)
    copy = folder / source.name
    if folder.exists() and not copy.is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("{to} {}: holds other files; give a new folder", folder)
    if copy.is_file() and file_sha256(copy) != sha256:
        raise InputError("{to} {}: holds another model; give a new folder", folder)
    known = known_of(source)
    ensure_folder(folder)
    with atomic_output(copy) as temporary:
        shutil.copyfile(source, temporary)
    if known["table"] is not None:
        write_json(
            folder / "metrics.json",
            {"schema_version": SCHEMA, "tables": {"fusion": known["table"]}},
        )
    card = folder / "README.md"  # which model hubs show
    if not card.exists():  # the author may have filled in the blanks of an existing one
        write_card(card, model=source, bundle=bundle, known=known)
    return card
