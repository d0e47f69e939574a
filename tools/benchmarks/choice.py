"""What the choice of the best of nine classifiers makes of pure noise, before and after it is corrected for (BBC-CV).

    python tools/benchmarks/choice.py --sets 100 --out tools/benchmarks/choice.csv

A data set is 40 images of two classes and three sets of features that hold nothing of them. Three classifiers of
`boost` are trained on each, by the folds that `boost --folds 5` draws; figures, intervals and the choice are bchisto's.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from bchisto.boost.head import TrainingPart
from bchisto.boost.heads import fit_head, known_head
from bchisto.data import fold_plan
from bchisto.evaluate import PredictionTable, choices_of, metrics_of

IMAGES = 40
CLASSES = ("benign", "malignant")
HEADS = ("lda", "prototype", "logistic")
FEATURE_SETS = 3
NUMBERS = 32
"""Of a set of features, for each image."""

FIGURES = ("accuracy", "balanced_accuracy")
HEADER = ("set", "result", *(f"{name}{end}" for name in FIGURES for end in ("", "_low")))
BEST = "best"
CORRECTED = "corrected"


def candidates(number):
    """Return the nine tables of a data set, whose models saw no image that they predict."""
    rng = np.random.default_rng(number)
    images = [f"image{k:02d}" for k in range(IMAGES)]
    places = rng.permutation(np.arange(IMAGES) % 2)
    labels = [CLASSES[place] for place in places]
    plan = fold_plan("5", image_ids=images, labels=labels, groups=[None] * IMAGES, seed=number)
    tables = []
    for of_set in range(FEATURE_SETS):
        features = rng.normal(size=(IMAGES, 1, NUMBERS)).astype(np.float32)
        for head in HEADS:
            probabilities = np.full((IMAGES, 2), np.nan)
            folds = np.zeros(IMAGES, dtype=int)
            for fold in plan.folds:
                train, test = (
                    [images.index(image) for image in plan.images(fold, part)]
                    for part in ("train", "test")
                )
                part = TrainingPart(features[train], places[train], [None] * len(train), 2, 0, 0)
                (model,) = fit_head(head, part, params=[{"seed": 0, "fold_position": 0}])
                classifier = known_head(head).parse(model.data)
                probabilities[test] = classifier.predict_proba(features[test])
                folds[test] = fold
            tables.append(
                PredictionTable.from_probabilities(
                    name=f"{head}{of_set + 1}",
                    classes=CLASSES,
                    image_ids=images,
                    labels=labels,
                    probabilities=probabilities,
                    folds=folds.tolist(),
                    groups=[None] * IMAGES,
                )
            )
    return tables


def rows_of(number):
    """Return the figures of each candidate of a data set, and of the best, as it looks and corrected."""
    tables = candidates(number)
    measured = [metrics_of(table, bootstrap=0) for table in tables]
    metrics = [m | choice for m, choice in zip(measured, choices_of(tables, measured), strict=True)]
    shown = {table.name: each for table, each in zip(tables, metrics, strict=True)}
    chosen = shown[metrics[0]["choice"]["chosen"]]
    figures = {name: [each[figure] for figure in FIGURES] for name, each in shown.items()}
    figures[BEST] = [chosen[figure] for figure in FIGURES]
    figures[CORRECTED] = [chosen[f"{figure}_chosen"] for figure in FIGURES]
    return [
        [number, name, *(f"{value:.4f}" for one in pair for value in (one.value, one.low))]
        for name, pair in figures.items()
    ]


def summary_of(rows):
    """Return the table of the documents from the rows of ``choice.csv``, without its header.

    It is refused if the rows are not what it says: nine candidates of each data set, of which the best is one.
    """
    sets = sorted({int(row[0]) for row in rows})
    names = {f"{head}{number}" for head in HEADS for number in range(1, FEATURE_SETS + 1)}
    for number in sets:
        found = {
            row[1]: [float(value) for value in row[2:]] for row in rows if int(row[0]) == number
        }
        assert found.keys() == {*names, BEST, CORRECTED}, number
        balanced = HEADER.index("balanced_accuracy") - 2
        assert found[BEST][balanced] == max(found[name][balanced] for name in names)
        assert found[CORRECTED][balanced] <= found[BEST][balanced]
        assert found[BEST] in [found[name] for name in names]
    lines = [
        f"| {len(sets)} data sets of pure noise | mean accuracy, % | its 95 % CI above chance, % of sets | "
        "that of the balanced accuracy, % of sets |",
        "| --- | --- | --- | --- |",
    ]
    kinds = {
        "each of nine classifiers": names,
        "the best of nine": {BEST},
        "the same, corrected for the choice": {CORRECTED},
    }
    for kind, of_kind in kinds.items():
        values = np.array([row[2:] for row in rows if row[1] in of_kind], dtype=float)
        means = values.mean(axis=0)
        above = 100 * (values > 0.5).mean(axis=0)
        lines.append(f"| {kind} | {100 * means[0]:.1f} | {above[1]:.1f} | {above[3]:.1f} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=100, help="data sets")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--out", type=Path, help="file for the figures of each")
    arguments = parser.parse_args()
    started = time.monotonic()
    numbers = range(arguments.first, arguments.first + arguments.sets)
    rows = [row for number in numbers for row in rows_of(number)]
    if arguments.out is not None:
        with arguments.out.open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle, lineterminator="\n").writerows([HEADER, *rows])
    print("\n".join(summary_of(rows)))
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
