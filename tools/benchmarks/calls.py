"""Calls by shares in training (Saerens et al. 2002) against calls of the most probable class: what is gained and lost.

    python tools/benchmarks/calls.py --shared ../shared --cache calls-cache --write

Both rules call the same probabilities: those of `logistic` by five folds that keep slides or patients whole, so that
only the calls differ. Samples: IDC, all 2,564 patches of 19 slides, and 600 and 200 of them; BreakHis, 104 images of
19 patients, a third of whom are held out (one holds 67, on which five folds would rest); both by MobileNetV2 and by
57 numbers of colour and texture; and ten synthetic tables of 300 images of 60 patients, with 10 to 50 % of the rarer
class, easy and hard. Intervals are those of the mean over seeds (Student's t), which draw images, patients and folds.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from bchisto.boost.head import TrainingPart
from bchisto.boost.heads import fit_head, known_head
from bchisto.core import InputError
from bchisto.data import fold_plan
from bchisto.evaluate import PredictionTable, called, metrics_of
from bchisto.featurize import FeatureMatrix
from next import BY_NETWORK, by_hand, features, interval, record, third_of_patients

FIGURES = ("balanced_accuracy", "accuracy")
IMAGES = 300
SHARES = (10, 20, 30, 40, 50)
SIDES = {"easy": 1.0, "hard": 0.5}
"""How far apart the classes of a synthetic table are in five of its 30 variables."""


def made(share, apart, seed):
    """Return a synthetic table with this percentage of positive images."""
    rng = np.random.default_rng([seed, share])
    positive = rng.permutation(np.arange(IMAGES) < IMAGES * share // 100)
    patients = np.arange(IMAGES) // 5
    rows = rng.normal(size=(IMAGES, 30)) + rng.normal(0, 0.5, (IMAGES, 30))[patients]
    rows[positive, :5] += apart
    assert positive.mean() == share / 100
    return FeatureMatrix(
        rows.astype(np.float32),
        np.where(positive, "positive", "negative"),
        np.array([f"P{patient}" for patient in patients]),
        np.array([f"image {place}" for place in range(IMAGES)]),
    )


def drawn(matrix, count, seed):
    """Return some images of a sample."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(matrix.y))[:count])
    return FeatureMatrix(matrix.X[rows], matrix.y[rows], matrix.groups[rows], matrix.names[rows])


def folds_of(matrix, seed):
    """Return which images each of five folds tests, whose slides or patients stay whole."""
    plan = fold_plan(
        "5",
        image_ids=matrix.names.tolist(),
        labels=matrix.y.tolist(),
        groups=matrix.groups.tolist(),
        seed=seed,
    )
    return [np.isin(matrix.names, plan.images(fold, "test")) for fold in plan.folds]


def table_of(matrix, tests):
    """Return the predictions of the tested images, with the images of each class that each fold trained on."""
    classes = tuple(sorted(set(matrix.y)))
    labels = np.array([classes.index(label) for label in matrix.y])
    probabilities = np.full((len(labels), len(classes)), np.nan)
    folds = np.zeros(len(labels), int)
    trained = []
    for fold, test in enumerate(tests, start=1):
        train = ~test
        groups = matrix.groups[train].tolist()
        assert set(groups).isdisjoint(matrix.groups[test])
        part = TrainingPart(matrix.X[train][:, None], labels[train], groups, len(classes), 0, 0)
        (model,) = fit_head("logistic", part, params=[{}])
        classifier = known_head("logistic").parse(model.data)
        probabilities[test] = classifier.predict_proba(matrix.X[test][:, None])
        folds[test] = fold
        trained.append(tuple(np.bincount(labels[train], minlength=len(classes)).tolist()))
    tested = folds > 0
    table = PredictionTable.from_probabilities(
        classes=classes,
        labels=matrix.y[tested],
        probabilities=probabilities[tested],
        image_ids=matrix.names[tested],
        folds=folds[tested],
        groups=matrix.groups[tested],
    )
    return replace(table, trained=tuple(trained))


def figures_of(matrix, tests):
    """Return the figures of both rules, the most probable class first."""
    table = table_of(matrix, tests)
    shares = table.trained_shares
    by_share = replace(table, shares=shares, predicted=called(table.probabilities, shares))
    first, second = (metrics_of(one, bootstrap=0) for one in (table, by_share))
    assert first["calibration"]["nll"] == second["calibration"]["nll"], "probabilities stay"
    return [[one[name]["value"] for name in FIGURES] for one in (first, second)]


def compare(name, cases):
    """Print what both rules reach on the cases of a sample, matrices with what is tested; return the rows."""
    pairs = []
    for seed, (matrix, tests) in enumerate(cases):
        try:
            pairs.append(figures_of(matrix, tests))
        except InputError as error:
            print(f"{name}: seed {seed} left out: {error}")
    values = np.array(pairs)
    rows = []
    for column, figure in enumerate(FIGURES):
        plain, by_share = values[:, :, column].T
        words = figure.replace("_", " ")
        rows.append((f"{name} calls plain", words, plain.mean(), "", ""))
        rows.append(
            (f"{name} calls by share", f"difference of {words}", *interval(by_share - plain))
        )
        mean, low, high = rows[-1][2:]
        print(
            f"{name}: {words} {plain.mean():.3f}, by share {mean:+.3f} ({low:+.3f} to {high:+.3f})",
            flush=True,
        )
    return rows, len(pairs)


def real_samples(data, cache):
    """Yield the name, the matrix, and the settings of samples of real images."""
    weights = data / "weights" / "mobilenetv2_imagenet.weights.h5"
    for name, view in (("idc", "1.0:50"), ("breakhis", "1.0:224")):
        matrix = features(data / name, view, weights, cache / name)
        yield name, matrix, BY_NETWORK
        numbers = by_hand(data / name, matrix, cache / f"{name}.npy")
        yield f"{name} by hand", numbers, "57 numbers of colour and texture"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True, help="the folder of real data")
    parser.add_argument("--cache", type=Path, required=True, help="a folder for features")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--write", action="store_true", help="put figures into samples.csv")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)

    def run(name, cases, matrix, protocol="5 folds that keep patients or slides whole", **facts):
        rows, count = compare(name, cases)
        if options.write:
            record(rows, count, matrix, protocol, more="", **facts)

    seeds = range(options.seeds)
    for side, apart in SIDES.items():
        for share in SHARES:
            matrices = [made(share, apart, seed) for seed in seeds]
            cases = [(one, folds_of(one, seed)) for seed, one in enumerate(matrices)]
            settings = f"30 normal variables, five of which differ by {apart:g}"
            facts = {"unit": "patient", "settings": settings, "rests_on": ("metrics", "models")}
            run(f"synthetic {side} {share} %", cases, matrices[0], **facts)
    for name, matrix, settings in real_samples(options.shared / "data", options.cache):
        if name.startswith("breakhis"):
            tests = third_of_patients(matrix, options.seeds)
            cases = [(matrix, [np.isin(np.arange(len(matrix.y)), test)]) for test in tests]
            text = "a third of the patients held out"
            run(name, cases, matrix, text, unit="patient", settings=settings)
            continue
        for count in (len(matrix.y), 600, 200):
            matrices = [drawn(matrix, count, seed) for seed in seeds]
            cases = [(one, folds_of(one, seed)) for seed, one in enumerate(matrices)]
            run(f"{name} {count}", cases, matrices[0], settings=settings)


if __name__ == "__main__":
    main()
