"""The folds x seeds x stores of one protocol: units, and their predictions put together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import FoldPlan
from ..evaluate import PaperTable, PredictionTable, fold_notes, paper_table, write_predictions
from ..experiment import Tested
from ..runs import Mark
from .blend import blend_weights
from .head import HeadSpec, TrainingTerms
from .heads import STACK, members_of
from .sources import Sources
from .units import ModelUnit, read_inner

Probabilities = npt.NDArray[np.float64]


def plan_units(
    sources: Sources,
    plan: FoldPlan,
    *,
    head: str,
    terms: TrainingTerms,
    seeds: int,
    classes: Sequence[str],
    marks: Mapping[str, Mark],
    folder: Path,
) -> list[ModelUnit]:
    """Return the models of a protocol and head, ordered by member, seed and fold.

    A head without a seed has one model per store and fold; a stack has one of each member. `marks` is by store.
    """
    position = {image: place for place, image in enumerate(sources.image_ids)}
    order = {label: place for place, label in enumerate(classes)}
    units = []
    for store, path in sources.paths.items():
        for base in members_of(head):
            for seed in range(_seeds_of(base, head, seeds)):
                for fold_position, fold in enumerate(plan.folds):
                    trained, tested = plan.images(fold, "train"), plan.images(fold, "test")
                    train = [position[image] for image in trained]
                    name = f"seed{seed}-fold{fold}{base.suffix}"
                    units.append(
                        ModelUnit(
                            store=store,
                            path=path,
                            head=base.name,
                            member=f"{store} {base.name}" if head == STACK else store,
                            seed=seed,
                            fold=fold,
                            train=tuple(train),
                            test=tuple(position[image] for image in tested),
                            labels=tuple(order[sources.labels[place]] for place in train),
                            groups=plan.kept_whole(trained, [sources.groups[place] for place in train]),
                            train_ids=tuple(trained),
                            test_ids=tuple(tested),
                            classes=len(classes),
                            inner_seed=terms.inner_seed,
                            params=base.params(terms, classes=len(classes), seed=seed, fold_position=fold_position),
                            rounds=terms.preset.rounds,
                            inner=head == STACK,
                            mark=marks[store],
                            model=folder / "models" / store / (f"{base.name}-{name}" if head == STACK else name),
                        )
                    )
    return units


def count_models(stores: int, folds: int, *, head: str, seeds: int) -> int:
    """Return how many models `plan_units` plans."""
    return stores * folds * sum(_seeds_of(base, head, seeds) for base in members_of(head))


def _seeds_of(base: HeadSpec, head: str, seeds: int) -> int:
    return seeds if base.seeded and head != STACK else 1


def blend(units: Sequence[ModelUnit]) -> dict[int, dict[str, float]]:
    """Return per fold the weight of each member of a stack, fitted on held-out training images of that fold."""
    by_fold: dict[int, list[ModelUnit]] = {}
    for unit in units:
        by_fold.setdefault(unit.fold, []).append(unit)
    return {
        fold: dict(
            zip(
                (unit.member for unit in members),
                blend_weights(
                    np.array([read_inner(unit) for unit in members]), np.array(members[0].labels, dtype=np.int64)
                ).tolist(),
                strict=True,
            )
        )
        for fold, members in sorted(by_fold.items())
    }


@dataclass(frozen=True)
class Ensemble:
    """The assembled predictions of a protocol.

    Attributes
    ----------
    fusion : PredictionTable
        Mean over stores, seeds and augmentations; in a stack the weighted mean.
    stores : dict of str to PredictionTable
        Mean over seeds and augmentations.
    by_seed : sequence of PredictionTable
        As `fusion`, by the models of one seed each.
    paper : PaperTable
    weights : dict of int to dict
        Per fold the weight of each member of a stack; empty for other heads.
    fused : callable
        Returns the fusion of some stores alone; in a stack with weights of its own.
    """

    fusion: PredictionTable
    stores: dict[str, PredictionTable]
    by_seed: Sequence[PredictionTable]
    paper: PaperTable
    weights: dict[int, dict[str, float]]
    fused: Callable[[Collection[str]], PredictionTable]


def gather(
    units: Sequence[ModelUnit],
    predictions: Sequence[Probabilities],
    *,
    images: Tested,
    stores: Collection[str],
    protocol: str,
    folder: Path,
) -> Ensemble:
    """Put the predictions of all units together and write both prediction tables.

    Parameters
    ----------
    units, predictions
        Units and their probabilities, in the same order.
    images : Tested
    stores : collection of str
    protocol : str
    folder : Path
        Gets ``predictions.csv`` and ``predictions-by-model.csv``.
    """
    classes, label, group = images.classes, images.labels, images.groups
    seeds = sorted({unit.seed for unit in units})
    notes = fold_notes({unit.fold: [classes[place] for place in unit.labels] for unit in units}, classes)
    trained = {unit.fold: len(unit.labels) for unit in units}
    keys = sorted({(unit.fold, image) for unit in units for image in unit.test_ids})
    place = {key: row for row, key in enumerate(keys)}
    names = list(dict.fromkeys(unit.member for unit in units))
    cube = np.full((len(names), len(seeds), len(keys), len(classes)), np.nan)
    for unit, probabilities in zip(units, predictions, strict=True):
        rows = [place[unit.fold, image] for image in unit.test_ids]
        cube[names.index(unit.member), seeds.index(unit.seed), rows] = probabilities

    def fuse(stores: Collection[str]) -> tuple[Probabilities, dict[int, dict[str, float]]]:
        """Return the mean over the models of some stores; in a stack weighted, with the weights."""
        some = [unit for unit in units if unit.store in stores]
        chosen = [name for name in names if any(unit.member == name for unit in some)]
        mine = cube[[names.index(name) for name in chosen]]
        if not units[0].inner:
            return mine.mean(axis=(0, 1)), {}
        weights = blend(some)
        share = np.array([[weights[fold][name] for fold, _ in keys] for name in chosen])
        return (share[:, :, np.newaxis] * mine.mean(axis=1)).sum(axis=0), weights

    def table(name: str, probabilities: Probabilities) -> PredictionTable:
        made = PredictionTable.from_probabilities(
            name=name,
            classes=classes,
            image_ids=[image for _, image in keys],
            labels=[label[image] for _, image in keys],
            probabilities=probabilities,
            folds=[fold for fold, _ in keys],
            groups=[group[image] for _, image in keys],
            protocol=protocol,
        )
        return replace(made, fold_notes=notes, trained=tuple(trained[fold] for fold in made.fold_numbers))

    by_seed = {name: [table(name, cube[i, j]) for j in range(len(seeds))] for i, name in enumerate(names)}
    whole = [table("fusion", cube[:, j].mean(axis=0)) for j in range(len(seeds))]
    averaged = {name: table(name, cube[i].mean(axis=0)) for i, name in enumerate(names)}
    fused, weights = fuse(stores)
    fusion = table("fusion", fused)
    written: list[tuple[str, str, str | None, int | str]] = [(i, label[i], group[i], fold) for fold, i in keys]
    write_predictions(folder / "predictions.csv", classes=classes, rows=written, probabilities=fused)
    count = len(names) * len(seeds)
    extra: list[tuple[str, list[Any]]] = [
        ("store", [name for name in names for _ in range(len(seeds) * len(keys))]),
        ("seed", [seed for _ in names for seed in seeds for _ in keys]),
    ]
    write_predictions(
        folder / "predictions-by-model.csv",
        classes=classes,
        rows=written * count,
        probabilities=cube.reshape(count * len(keys), len(classes)),
        extra=extra,
    )
    paper = paper_table(by_seed, averaged, fusion)
    return Ensemble(fusion, averaged, whole, paper, weights, lambda stores: table("fusion", fuse(stores)[0]))
