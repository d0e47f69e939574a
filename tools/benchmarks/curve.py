"""Does an interval of what further labels would gain hold? Why `bchisto next --curve` shows only what was measured.

    python tools/benchmarks/curve.py --shared ../shared --cache next-cache --seeds 24

IDC: 2,564 patches of 19 slides. Nine slides are held out for each seed, two of the four with both classes among them.
Of the others 60 patches drawn at random get a label, and the curve of the command is measured on them. Two
ways then say what twice as many labels would gain: a power law, fitted to balanced accuracies of bootstraps over
slides, and the paired difference of half of the labels to all, taken on. The truth is what twice as many gain on the
slides that were held out. With --write the shares of seeds whose 95 % interval held are put into
docs/results/samples.csv.
"""

import argparse
from pathlib import Path

import numpy as np
from bchisto.apps.next import curve
from bchisto.core import InputError
from next import features, idc_tests, record, table_of
from scipy.optimize import least_squares

LABELS = (60,)
BOOTSTRAPS = 200
WANTED = 0.85


def measured(matrix, rows, seed):
    """Return the tables of the curve by labels, their sizes, and the difference of the first to the last."""
    table, _ = table_of(matrix, rows, matrix.names[rows].tolist())
    truth = table.labelled()
    kept = []
    metrics_of = curve.metrics_of
    curve.metrics_of = lambda table: kept.append(table) or metrics_of(table)
    try:
        folds = curve._draw_folds(truth, (), seed)
        drawn = np.ones(len(truth), dtype=bool)
        of_labels = curve._curve(truth, table.rows, folds, drawn, "labels", truth.image_ids)
    finally:
        curve.metrics_of = metrics_of
    return kept, of_labels


def law(fit, at):
    """Return a - b n^-c."""
    return fit[0] - fit[1] * at ** -fit[2]


def power_law(tables, sizes, seed):
    """Return the 95 % interval of what twice the last size gains by a - b n^-c, by bootstraps over slides."""
    rng = np.random.default_rng(seed)
    first = tables[0]
    slides, member = np.unique(first.groups, return_inverse=True)
    classes = range(len(first.classes))
    ends = np.array([sizes[-1], 2 * sizes[-1]], dtype=float)
    gains = []
    while len(gains) < BOOTSTRAPS:
        weights = np.bincount(rng.integers(len(slides), size=len(slides)), minlength=len(slides))
        weight = weights[member]
        sums = [weight[first.labels == k].sum() for k in classes]
        if min(sums) == 0:
            continue
        values = [
            np.mean([weight[(first.labels == k) & table.hits].sum() / sums[k] for k in classes])
            for table in tables
        ]

        fit = least_squares(
            lambda fit, values: law(fit, np.array(sizes, dtype=float)) - values,
            [values[-1], 0.5, 0.5],
            bounds=([0, 0, 0.01], [1, 5, 2]),
            args=(np.array(values),),
        ).x
        gains.append(np.diff(law(fit, ends))[0])
    return np.quantile(gains, [0.025, 0.975])


def balanced(matrix, train, test):
    """Return the balanced accuracy on held-out images of a model of these labels."""
    table, _ = table_of(matrix, train, matrix.names[train].tolist())
    truth = table.labelled()
    model = curve.train_model(table.rows, truth, seed=0)
    predicted = np.array(truth.classes)[model.predict_proba(matrix.X[test][:, None]).argmax(axis=1)]
    hits = predicted == matrix.y[test]
    return np.mean([hits[matrix.y[test] == name].mean() for name in truth.classes])


def coverage(matrix, labels, seeds):
    """Return for each way whether its interval held, over seeds."""
    held = {"power law": [], "paired difference": []}
    for seed, test in enumerate(idc_tests(matrix, seeds)):
        rng = np.random.default_rng(seed)
        slides = rng.permutation(np.setdiff1d(matrix.groups, matrix.groups[test]))
        single = [name for name in slides if len(set(matrix.y[matrix.groups == name])) == 1]
        out = np.isin(matrix.groups, [*single[:7], *np.unique(matrix.groups[test])])
        pool = rng.permutation(np.flatnonzero(~out))
        rows = np.sort(pool[:labels])
        try:
            tables, of_labels = measured(matrix, rows, seed)
        except InputError as error:
            print(f"{labels} labels, seed {seed} left out: {error}")
            continue
        twice = balanced(matrix, np.sort(pool[: 2 * labels]), np.flatnonzero(out))
        truth = twice - balanced(matrix, rows, np.flatnonzero(out))
        low, high = power_law(tables, of_labels.sizes, seed)
        held["power law"].append(low <= truth <= high)
        held["paired difference"].append(of_labels.gain.low <= truth <= of_labels.gain.high)
        print(
            f"{labels} labels, seed {seed}: {truth:+.3f}; power law {low:+.3f} to {high:+.3f}; paired difference "
            f"{of_labels.gain.low:+.3f} to {of_labels.gain.high:+.3f}",
            flush=True,
        )
    return held


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True, help="the folder of real data")
    parser.add_argument("--cache", type=Path, required=True, help="a folder for features")
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--write", action="store_true", help="put figures into samples.csv")
    options = parser.parse_args()
    weights = options.shared / "data" / "weights" / "mobilenetv2_imagenet.weights.h5"
    matrix = features(options.shared / "data" / "idc", "1.0:50", weights, options.cache / "idc")
    for labels in LABELS:
        for way, held in coverage(matrix, labels, options.seeds).items():
            share = np.mean(held)
            print(
                f"{labels} labels, {way}: held in {100 * share:.0f} % of {len(held)} seeds, wanted {100 * WANTED:.0f} %"
            )
            if options.write:
                name = f"idc next curve {way} {labels}"
                row = (name, "share of intervals of extrapolation that held", share, "", "")
                protocol = "nine of 19 slides held out; the gain of twice as many labels"
                record([row], len(held), matrix, protocol)


if __name__ == "__main__":
    main()
