"""Units of work of training, and the predictions of all folds, seeds and feature files, combined."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core import (
    Banner,
    BchistoError,
    Entries,
    InputError,
    Kind,
    Message,
    by_key,
    counted,
    is_out_of_memory,
)
from ..core.jobs import Ticker, atomic_output, changed_meanwhile, key_of, read_pack, write_pack
from ..crossval import LabelledImages, table_rows, write_table
from ..evaluate import PaperTable, PredictionTable, nothing_learnt, paper_table, write_predictions
from ..featurize import open_store
from .head import Classifier, FittedModel, TrainingPart, TrainingTerms
from .heads import LIGHTGBM, fit_head, get_head, known_head
from .trees import Arrays, Features, Probabilities

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
            train_ids=self.train_ids,
            test_ids=self.test_ids,
            labels=self.labels,
            groups=self.groups,
            classes=self.classes,
            rows=self.rows,
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
    params: Entries
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
    groups = by_key(units, lambda unit: (unit.part.store, unit.part.fold))
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
            raise changed_meanwhile(part.path)
        images = [positions[key] for key in part.rows]
        count = len(part.train_ids)
        training = TrainingPart(
            features=store.features(images[:count]),
            labels=np.array(part.labels, dtype=np.int64),
            groups=part.groups,
            classes=len(part.classes),
            seed=first.terms.inner_seed,
            rounds=first.terms.preset.rounds,
        )
        test_features = store.features(images[count:])
    models = fit_head(first.head, training, params=[unit.params for unit in units])
    try:
        for unit in units:
            model, classifier, tests = _predicted(unit, models, test_features)
            arrays = {
                "model": np.frombuffer(model.data, np.uint8),
                "constant": np.array([getattr(classifier, "constant", False)]),
                "tests": tests,
            }
            if model.text is not None:
                with atomic_output(unit.file.with_suffix(".txt")) as temporary:
                    temporary.write_text(model.text, encoding="utf-8")
            write_pack(unit.file, unit.key, arrays)
            ticker.tick(kept=True)
    except InputError as error:
        raise InputError("{}, fold {}: {}", part.store, part.fold, error) from error


def _predicted(
    unit: ModelUnit, fitted: Iterator[FittedModel], tested: Features
) -> tuple[FittedModel, Classifier, Probabilities]:
    """Return the next model, as it is read back, and its probabilities; a classifier may be of another package.

    Raises
    ------
    InputError
        The classifier fails, or what it returns is not what `HeadSpec` asks for.
    """
    expected = (len(tested), len(unit.part.classes))
    try:
        model = next(fitted)
        # before writing: every finished model is readable
        classifier = known_head(unit.head).parse(model.data)
        tests = np.asarray(classifier.predict_proba(tested), dtype=np.float64)
    except StopIteration as error:
        text = "{heads} {}: fit yields fewer models than it has parameters"
        raise InputError(text, unit.head) from error
    except Exception as error:
        if isinstance(error, BchistoError) or is_out_of_memory(error):
            raise
        text = "{heads} {}: {}: {}"
        raise InputError(text, unit.head, type(error).__name__, error) from error
    is_valid = tests.shape == expected and np.allclose(tests.sum(axis=1), 1.0)
    if not is_valid or tests.min() < 0.0:
        text = "{heads} {}: predict_proba does not return probabilities of shape {} (images, classes), which sum to 1"
        raise InputError(text, unit.head, expected)
    return model, classifier, tests


def read_unit(unit: ModelUnit) -> FittedUnit | None:
    """Return the results of a unit; None if it is not finished, or its file is damaged."""
    arrays = _read(unit)
    if arrays is None:
        return None
    return FittedUnit(arrays["tests"], bool(arrays["constant"][0]))


def read_model(unit: ModelUnit) -> bytes:
    """Return the saved model of a finished unit.

    Raises
    ------
    StoreError
        The file has been removed or damaged since it was last read.
    """
    arrays = _read(unit)
    if arrays is None:
        raise changed_meanwhile(unit.file)
    return arrays["model"].tobytes()


def _read(unit: ModelUnit) -> Arrays | None:
    shapes = {
        "model": (None,),
        "constant": (1,),
        "tests": (len(unit.part.test_ids), len(unit.part.classes)),
    }
    return read_pack(unit.file, unit.key, shapes, finite=("tests",))


_LEAF_ROWS = 20
"""LightGBM's default of ``min_data_in_leaf``."""

_LEAVES_PER_CLASS = 4
"""Number of leaves that the rows of the smallest class should be able to fill (bchisto's choice)."""


def learning_banner(
    units: Sequence[ModelUnit], fitted: Sequence[FittedUnit], *, augmentations: Mapping[str, int]
) -> Banner | None:
    """Return the notice about LightGBM models that have no split in any tree, with a remedy; None if all have one.

    A split needs two leaves of at least ``min_data_in_leaf`` rows each. With fewer than twice as many training rows,
    nothing can be learnt.

    Parameters
    ----------
    units, fitted
        Models and their results. Other classifiers are ignored.
    augmentations : mapping
        Name of a feature file to rows per image.
    """
    trees = [
        (unit, model.constant)
        for unit, model in zip(units, fitted, strict=True)
        if unit.head == LIGHTGBM.name
    ]
    idle = [unit for unit, constant in trees if constant]
    if not idle:
        return None
    models = nothing_learnt(f"{len(idle)} of {len(trees)} LightGBM models").text
    needed = int(idle[0].params.get("min_data_in_leaf", _LEAF_ROWS))
    # rows of each class; the notice says "as few as", since the smallest part shows best why nothing was learnt
    counts = [np.bincount(unit.part.labels) * augmentations[unit.part.store] for unit in idle]
    suggested = max(1, int(min(rows[rows > 0].min() for rows in counts)) // _LEAVES_PER_CLASS)
    if suggested >= needed:
        text = f"{models}, though leaves need {counted(needed, 'row')} only; look at the features."
        return Banner(Kind.NOTHING_LEARNT, text)
    text = Message(
        "{}, since their trees have no split. A leaf needs {} rows (min_data_in_leaf), and as few as {} train (images "
        "x augmentations); set it to {}, {boost.param:min_data_in_leaf={} --overwrite ...}, or use more augmentations.",
        models,
        needed,
        min(rows.sum() for rows in counts),
        suggested,
        suggested,
    )
    return Banner(Kind.NOTHING_LEARNT, text)


def gather(
    units: Sequence[ModelUnit],
    fitted: Sequence[FittedUnit],
    *,
    images: LabelledImages,
    protocol: str,
    folder: Path,
) -> tuple[list[PredictionTable], list[PredictionTable], PaperTable]:
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
    list of PredictionTable
        The mean over feature files, seeds and augmentations; then for each feature file that over seeds and
        augmentations.
    list of PredictionTable
        For each seed the mean over feature files and augmentations.
    PaperTable
        Results in the layout of the paper.
    """
    stores = list(dict.fromkeys(unit.part.store for unit in units))
    seeds = sorted({unit.seed for unit in units})
    pairs = {(unit.part.fold, image) for unit in units for image in unit.part.test_ids}
    tested = [(image, fold) for fold, image in sorted(pairs)]
    position = {pair: row for row, pair in enumerate(tested)}
    # by feature file, seed, and tested image in the order of folds
    shares = np.full((len(stores), len(seeds), len(tested), len(images.classes)), np.nan)
    for unit, result in zip(units, fitted, strict=True):
        rows = [position[image, unit.part.fold] for image in unit.part.test_ids]
        shares[stores.index(unit.part.store), seeds.index(unit.seed), rows] = result.tests
    labels = {unit.part.fold: unit.part.labels for unit in units}

    def table(name: str, probabilities: Probabilities) -> PredictionTable:
        return images.table(name, tested, probabilities, protocol=protocol, trained=labels)

    fusion = table("fusion", shares.mean(axis=(0, 1)))
    by_store = {}
    by_model = {}
    for name, of_seeds in zip(stores, shares, strict=True):
        by_store[name] = table(name, of_seeds.mean(axis=0))
        by_model[name] = [table(name, of_seed) for of_seed in of_seeds]
    by_seed = [table("fusion", of_stores.mean(axis=0)) for of_stores in shares.swapaxes(0, 1)]
    write_table(folder / "predictions.csv", fusion)
    # each row of the fusion once for each model, with its own probabilities
    store_column, seed_column, all_rows = zip(
        *product(stores, seeds, table_rows(fusion)), strict=True
    )
    write_predictions(
        folder / "predictions-by-model.csv",
        classes=fusion.classes,
        rows=all_rows,
        probabilities=shares.reshape(len(all_rows), -1),
        extra=[("store", store_column), ("seed", seed_column)],
    )
    paper = paper_table(by_model, by_store, fusion)
    return [fusion, *by_store.values()], by_seed, paper
