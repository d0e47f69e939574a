"""Units of work of training, and the predictions of all folds, seeds and feature files, combined."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..core import InputError, Message, StoreError
from ..core.jobs import Ticker, atomic_output, key_of, read_pack, write_pack
from ..crossval import LabelledImages
from ..evaluate import PaperTable, PredictionTable, nothing_learnt, paper_table, write_predictions
from ..featurize import open_store
from .head import TrainingPart, TrainingTerms
from .heads import fit_head, get_head, known_head
from .trees import Probabilities

MODEL_KIND = "model 2"
"""Version in the key of a model; the number increases when training or prediction changes."""


@dataclass(frozen=True)
class FoldPart:
    """Training and test images of one fold in one feature file, shared by its models.

    Attributes
    ----------
    store : str
        Name of the feature file.
    path : Path
        Path of the feature file.
    fold : int
        Fold number, as in ``folds.csv``.
    labels : tuple of int
        Class number of each training image.
    groups : tuple of str or None
        Patient of each training image, or the unit of `FoldPlan.kept_whole`, which inner folds keep together; None if
        unknown.
    train_ids, test_ids : tuple of str
        Ids of the training and test images.
    classes : tuple of str
    rows : tuple of str
        Key of the features of each training image, then of each test image.
    """

    store: str
    path: Path
    fold: int
    labels: tuple[int, ...]
    groups: tuple[str | None, ...]
    train_ids: tuple[str, ...]
    test_ids: tuple[str, ...]
    classes: tuple[str, ...]
    rows: tuple[str, ...]

    @functools.cached_property
    def key(self) -> str:
        """Key of the training and test data, independent of the location of the feature file."""
        return key_of(
            "part 2",
            **{
                name: getattr(self, name)
                for name in ("train_ids", "test_ids", "labels", "groups", "classes", "rows")
            },
        )


@dataclass(frozen=True)
class ModelUnit:
    """A model to train.

    Attributes
    ----------
    part : FoldPart
    head : str
        The classifier.
    seed : int
        Seed of the ensemble member, from 0.
    terms : TrainingTerms
    params : mapping
        Parameters of the model, from `HeadSpec.params`.
    folder : Path
        Folder of the scheme and classifier.
    """

    part: FoldPart
    head: str
    seed: int
    terms: TrainingTerms
    params: Mapping[str, Any]
    folder: Path

    @functools.cached_property
    def key(self) -> str:
        """Key of everything that determines the model and its predictions."""
        return key_of(
            MODEL_KIND,
            head=self.head,
            settings=get_head(self.head).settings(self.terms),
            params=self.params,
            rounds=self.terms.preset.rounds,
            inner_seed=self.terms.inner_seed,
            part=self.part.key,
        )

    @property
    def file(self) -> Path:
        """File for the model and its predictions."""
        name = f"seed{self.seed}-fold{self.part.fold}-{self.key[:16]}.npz"
        return self.folder / "models" / self.part.store / name


class FittedUnit(NamedTuple):
    """Results of a trained unit.

    Attributes
    ----------
    tests : ndarray of float64, shape (test images, classes)
        Predictions of the fold's test images.
    constant : bool
        Whether the model gives all images the same probabilities.
    """

    tests: Probabilities
    constant: bool


def group_units(units: Sequence[ModelUnit]) -> list[tuple[ModelUnit, ...]]:
    """Group models of the same feature file and fold, in the order in which they first appear.

    The models of a group share their training data and differ only in their seed.
    """
    groups: dict[tuple[str, int], list[ModelUnit]] = {}
    for unit in units:
        groups.setdefault((unit.part.store, unit.part.fold), []).append(unit)
    return [tuple(group) for group in groups.values()]


def train_group(units: Sequence[ModelUnit], ticker: Ticker) -> None:
    """Train the models of one feature file and fold, and save each with its predictions of the test images.

    Predictions come from the model as saved, not from the one in memory.

    Raises
    ------
    InputError
        The classifier cannot be fitted on this fold; the message names it.
    StoreError
        The features in the file changed while the command ran.
    """
    first = units[0]
    part = first.part
    with open_store(part.path) as store:
        positions = {key: position for position, key in enumerate(store.keys.values())}
        if not positions.keys() >= set(part.rows):
            raise StoreError(
                f"{part.path}: its images changed while the command ran; run the same command again"
            )
        images, count = [positions[key] for key in part.rows], len(part.train_ids)
        learnt, tested = store.features(images[:count]), store.features(images[count:])
        training = TrainingPart(
            features=learnt,
            labels=np.array(part.labels, dtype=np.int64),
            groups=part.groups,
            classes=len(part.classes),
            seed=first.terms.inner_seed,
            rounds=first.terms.preset.rounds,
        )
    fitted = fit_head(first.head, training, params=[unit.params for unit in units])
    try:
        for unit, model in zip(units, fitted, strict=True):
            classifier = known_head(unit.head).parse(
                model.data
            )  # before writing: every finished model is readable
            arrays = {
                "model": np.frombuffer(model.data, np.uint8),
                "constant": np.array([getattr(classifier, "constant", False)]),
                "tests": classifier.predict_proba(tested),
            }
            if model.text is not None:
                with atomic_output(unit.file.with_suffix(".txt")) as temporary:
                    temporary.write_text(model.text, encoding="utf-8")
            write_pack(unit.file, unit.key, arrays)
            ticker.tick(kept=True)
    except InputError as error:
        raise InputError("{}, fold {}: {}", part.store, part.fold, error) from error


def read_unit(unit: ModelUnit) -> FittedUnit | None:
    """Return the results of a unit; None if it is not finished, or if its file is damaged, with a warning."""
    arrays = _read(unit)
    if arrays is None or not np.isfinite(arrays["tests"]).all():
        return None
    return FittedUnit(arrays["tests"], bool(arrays["constant"][0]))


def read_model(unit: ModelUnit) -> bytes:
    """Return the saved model of a finished unit.

    Raises
    ------
    StoreError
        The file has been removed or damaged since it was last read.
    """
    if (arrays := _read(unit)) is None:
        raise StoreError(f"{unit.file}: changed while the command ran; run the same command again")
    return arrays["model"].tobytes()


def _read(unit: ModelUnit) -> dict[str, npt.NDArray[Any]] | None:
    tests = len(unit.part.test_ids), len(unit.part.classes)
    return read_pack(unit.file, unit.key, {"model": (None,), "constant": (1,), "tests": tests})


_LEAF_ROWS = 20
"""LightGBM's default of ``min_data_in_leaf``."""

_LEAVES_PER_CLASS = 4
"""Number of leaves that the rows of the smallest class should be able to fill (bchisto's choice)."""


def models_without_split(
    units: Sequence[ModelUnit], fitted: Sequence[FittedUnit], *, augmentations: Mapping[str, int]
) -> dict[str, Any]:
    """Count the LightGBM models that have no split in any tree.

    A split needs two leaves of at least ``min_data_in_leaf`` rows each. With fewer than twice as many training rows,
    nothing can be learnt.

    Parameters
    ----------
    units, fitted
        Models and their results. Other classifiers are ignored.
    augmentations : mapping
        Name of a feature file to rows per image.

    Returns
    -------
    dict
        ``models``, ``without_split``, and numbers that explain why: ``training_rows``, ``min_data_in_leaf``, and
        ``suggested_min_data_in_leaf`` (None if a smaller value would not help); empty if every model has a split.
    """
    trees = [
        (unit, model) for unit, model in zip(units, fitted, strict=True) if unit.head == "lightgbm"
    ]
    idle = [unit for unit, model in trees if model.constant]
    if not idle:
        return {}
    facts = []
    for unit in idle:
        rows, needed = (
            augmentations[unit.part.store],
            int(unit.params.get("min_data_in_leaf", _LEAF_ROWS)),
        )
        suggested = max(1, min(Counter(unit.part.labels).values()) * rows // _LEAVES_PER_CLASS)
        smaller = suggested if suggested < needed else None
        facts.append((smaller or needed, needed, smaller, len(unit.part.labels) * rows))
    _, needed, smaller, _ = min(facts, key=lambda fact: fact[0])
    return {
        "models": len(trees),
        "without_split": len(idle),
        "training_rows": min(rows for *_, rows in facts),
        "min_data_in_leaf": needed,
        "suggested_min_data_in_leaf": smaller,
    }


def learning_banner(facts: Mapping[str, Any]) -> str:
    """Return the notice about models without a split, with a remedy.

    Parameters
    ----------
    facts : mapping
        Result of `models_without_split`.
    """
    notice = nothing_learnt(f"{facts['without_split']} of {facts['models']} LightGBM models")
    needed, suggested = facts["min_data_in_leaf"], facts["suggested_min_data_in_leaf"]
    if suggested is None:
        return f"{notice}, though leaves need {needed} rows only; look at the features."
    return Message(
        "{}, since their trees have no split. A leaf needs {} rows (min_data_in_leaf), and as few as {} train (images "
        "x augmentations); use {param:min_data_in_leaf={}}, or more augmentations.",
        notice,
        needed,
        facts["training_rows"],
        suggested,
    )


def gather(
    units: Sequence[ModelUnit],
    fitted: Sequence[FittedUnit],
    *,
    images: LabelledImages,
    protocol: str,
    folder: Path,
) -> tuple[PredictionTable, dict[str, PredictionTable], list[PredictionTable], PaperTable]:
    """Combine the predictions of all units, and write both prediction tables.

    Parameters
    ----------
    units, fitted
        Models and their results, in the same order.
    images : LabelledImages
    protocol : str
        Name of the cross-validation scheme.
    folder : Path
        Folder for ``predictions.csv`` and ``predictions-by-model.csv``.

    Returns
    -------
    PredictionTable, dict of str to PredictionTable, list of PredictionTable, PaperTable
        Mean over feature files, seeds and augmentations; per feature file, the mean over seeds and augmentations; per
        seed, the mean over feature files and augmentations; and results in the layout of the paper.
    """
    seeds = sorted({unit.seed for unit in units})
    trained = {unit.part.fold: unit.part.labels for unit in units}
    keys = sorted(
        {(image, unit.part.fold) for unit in units for image in unit.part.test_ids},
        key=lambda key: key[::-1],
    )
    position = {key: row for row, key in enumerate(keys)}
    names = list(dict.fromkeys(unit.part.store for unit in units))
    cube = np.full((len(names), len(seeds), len(keys), len(images.classes)), np.nan)
    for unit, result in zip(units, fitted, strict=True):
        rows = [position[image, unit.part.fold] for image in unit.part.test_ids]
        cube[names.index(unit.part.store), seeds.index(unit.seed), rows] = result.tests

    table = functools.partial(images.table, keys=keys, protocol=protocol, trained=trained)
    by_seed = {
        name: [table(name, probabilities=cube[i, j]) for j in range(len(seeds))]
        for i, name in enumerate(names)
    }
    whole = [table("fusion", probabilities=cube[:, j].mean(axis=0)) for j in range(len(seeds))]
    averaged = {
        name: table(name, probabilities=cube[i].mean(axis=0)) for i, name in enumerate(names)
    }
    fused = np.asarray(cube.mean(axis=(0, 1)))
    fusion = table("fusion", probabilities=fused)
    written = [(image, images.labels[image], images.groups[image], fold) for image, fold in keys]
    write_predictions(
        folder / "predictions.csv", classes=images.classes, rows=written, probabilities=fused
    )
    count = len(names) * len(seeds)
    write_predictions(
        folder / "predictions-by-model.csv",
        classes=images.classes,
        rows=written * count,
        probabilities=cube.reshape(count * len(keys), -1),
        extra=[
            ("store", [name for name in names for _ in range(len(seeds) * len(keys))]),
            ("seed", [seed for _ in names for seed in seeds for _ in keys]),
        ],
    )
    return fusion, averaged, whole, paper_table(by_seed, averaged, fusion)
