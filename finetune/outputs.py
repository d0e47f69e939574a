"""The outputs of a fine-tuning: predictions, metrics, report, model file, and sentences for a methods section."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core import InputError, Pairs, counted
from ..core.formats import Floats, read_rows
from ..crossval import CrossValidation, Outputs, citation_of, write_table
from ..data import decode_record
from ..evaluate import AGGREGATIONS, PredictionTable, aggregate
from ..stains import get_stain
from .bundle import CnnBundle
from .model import network_of, resolved
from .samples import AUGMENTATIONS, OFFLINE, augmentation_ranges
from .settings import FinetuneSettings
from .units import FoldUnit, read_network

if TYPE_CHECKING:
    from .training import CnnTraining

_WORDS = {
    "adam": "Adam",
    "sgd": "stochastic gradient descent",
    "imagenet": "ImageNet weights",
    "embedded": "ImageNet weights with kernels of 16 bits",
    "random": "random weights",
}


def _named(name: str) -> str:
    """Return a name in words, with its citation if there is one."""
    return _WORDS.get(name, name) + citation_of(name)


def methods_of(settings: FinetuneSettings, *, folds: int, inner: bool) -> Iterator[tuple[str, str]]:
    """Yield sentences that describe the training, each after what leads its paragraph in a methods section.

    Parameters
    ----------
    settings : FinetuneSettings
    folds : int
        Number of trained networks.
    inner : bool
        Whether the validation images were split from the training images, because the fold list names none.
    """
    if settings.stain != "none":
        yield "Images", f"Images were treated by {get_stain(settings.stain).cited} before training."
    for text in _network_sentences(settings, folds=folds, inner=inner):
        yield "Network", text


def _network_sentences(settings: FinetuneSettings, *, folds: int, inner: bool) -> Iterator[str]:
    """Yield the sentences on the network and its training; parameters as of `methods_of`."""
    values = resolved(settings)
    weights = values["weights"]
    origin = _named(weights) if weights in _WORDS else "the weights of a file"
    runs = "once" if folds == 1 else f"separately in each of {folds} folds"
    yield (
        f"The network {_named(settings.network)} was trained from {origin}, {runs}, by {_named(values['optimizer'])} "
        f"with a learning rate of {values['learning_rate']:g} on batches of {values['batch_size']}."
    )
    if settings.rule.kind == "resize":
        yield f"Its input is the whole image, resized to {values['size']} pixels."
    else:
        yield (
            f"Its input is a patch of {settings.rule.side} pixels resized to {values['size']}; the prediction of an "
            "image is the mean over its patches."
        )
    if settings.augmentations:
        yield f"Training images were augmented by {'; '.join(_augmented(settings))}."
    if settings.copies:
        uses = " and ".join(
            f"once for {name}" if factor == 1 else f"{factor:g} times for {name}"
            for name, factor in settings.copies
        )
        yield f"In an epoch each training image was used {uses}, augmented differently each time."
    balanced = []
    if settings.sampling != "none":
        balanced.append(f"{settings.sampling}-sampling")
    if settings.class_weights:
        balanced.append("class weights")
    if balanced:
        yield f"Class imbalance was handled by {' and '.join(balanced)}."
    part = "the validation part of the scheme"
    if inner:
        part = "an eighth of the training part (groups whole)"
    epochs = counted(settings.epochs, "epoch")
    trained = f"Networks were trained for {epochs}"
    if not settings.validation:
        yield f"{trained} without validation."
    elif not settings.patience:
        yield f"{trained}, and the last weights were kept, whatever the loss on {part}."
    else:
        yield (
            f"Training stopped after {counted(settings.patience, 'epoch')} without a lower loss on {part}, or after "
            f"{epochs}, and the weights of the lowest loss were kept."
        )


def _augmented(settings: FinetuneSettings) -> Iterator[str]:
    """Yield each augmentation in words, in the order in which they are applied."""
    ranges = augmentation_ranges(settings.augmentations)
    if OFFLINE in ranges:
        yield (
            f"{counted(settings.rotations, 'rotation')} of each by any angle and {counted(settings.crops, 'crop')} of "
            "each rotation, made within its file by one resampling"
        )
    for name, words in AUGMENTATIONS.items():
        if name in ranges:
            value = ranges[name] or 0.0
            yield words.format(value, 100 * value)


_FoldRows = tuple[Pairs, Floats]
"""Image and patch of each prediction of a fold, and their probabilities."""


def write_outputs(
    training: CnnTraining,
    result: CrossValidation,
    units: Sequence[FoldUnit],
    outcomes: Sequence[Floats],
) -> CrossValidation:
    """Write all outputs, and return the result with the predictions and metrics of images, if any were tested.

    An outcome of a unit has the shape (n, classes): its test rows, then its validation rows.
    """
    settings = training.settings
    records = {record.image_id: record for record in training.dataset.records}
    tested = []
    held = []
    for unit, rows in zip(units, outcomes, strict=True):
        count = len(unit.test_names)
        tested.append((unit.test_names, rows[:count]))
        held.append((unit.held_names, rows[count:]))
    tables = []
    if any(names for names, _ in tested):
        tables = _tables(
            _table(training, units, tested, result), result.folder, training.view.positive
        )
    if any(names for names, _ in held):
        write_table(
            result.folder / "predictions-validation.csv",
            aggregate(_table(training, units, held, result), level="image"),
        )
    logs = {str(unit.fold): list(read_rows(unit.log)) for unit in units}
    inner = not any(training.plan.images(unit.fold, "val") for unit in units)
    shown = {**asdict(settings), **resolved(settings)}
    # a report shows the name of the weights file but not its folder; settings.json holds its checksum
    shown["weights"] = Path(shown["weights"]).name
    outputs = Outputs(
        training,
        tables=tables,
        methods=list(methods_of(settings, folds=len(units), inner=inner)),
        settings={
            "source": network_of(settings.network).source,
            **{key: str(value) for key, value in shown.items()},
        },
        facts={"curves": {fold: _curve(rows) for fold, rows in logs.items() if rows}},
        picture=lambda image: decode_record(records[image]),
    )
    save = functools.partial(
        CnnBundle.save,
        result.model,
        settings=settings,
        models={unit.fold: functools.partial(read_network, unit) for unit in units},
        dataset=training.dataset.name,
        reading=training.reading,
    )
    written = outputs.write(result, save=save)
    for unit in units:
        # of a process that was killed after it had written its fold
        unit.state.unlink(missing_ok=True)
    return written


def _table(
    training: CnnTraining,
    units: Sequence[FoldUnit],
    folds: Sequence[_FoldRows],
    result: CrossValidation,
) -> PredictionTable:
    """Return the table of patches, or of images if networks see whole ones."""
    keys = [
        (image, unit.fold)
        for unit, (names, _) in zip(units, folds, strict=True)
        for image, _ in names
    ]
    trained = {unit.fold: [unit.labels[position] for position in unit.plan.train] for unit in units}
    settings = training.settings
    patches = None
    if settings.rule.kind != "resize":
        patches = [patch for names, _ in folds for _, patch in names]
    return training.images.table(
        settings.network,
        keys,
        np.concatenate([rows for _, rows in folds]),
        protocol=result.protocol,
        trained=trained,
        patches=patches,
    )


def _tables(table: PredictionTable, folder: Path, positive: Sequence[str]) -> list[PredictionTable]:
    """Write the tables of images and of patches, if any; return them with those of images and groups by each rule."""
    of_images = aggregate(table, level="image")
    tables = [of_images]
    levels = ["group"]
    if table.patches is not None:
        tables.append(replace(table, name=f"{table.name} (patch)"))
        levels = ["image", "group"]
        write_table(folder / "predictions-by-patch.csv", table)
    write_table(folder / "predictions.csv", of_images)
    for level, rule in product(levels, AGGREGATIONS):
        # groups are unknown or have two classes, or the rule needs two
        with contextlib.suppress(InputError):
            aggregated = aggregate(table, rule=rule, level=level, positive=positive)
            tables.append(replace(aggregated, name=f"{table.name} ({level}, {rule})"))
    return tables


def _curve(rows: Sequence[Mapping[str, str]]) -> dict[str, list[float | None]]:
    """Return loss and accuracy per epoch, and both on the validation images, if any."""
    curves = {}
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        if any(row[name] for row in rows):
            curves[name] = [float(row[name]) if row[name] else None for row in rows]
    return curves
