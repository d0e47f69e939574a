"""Do intervals of a nominal 95 % hold the truth, and do tests at a nominal 5 % reject what is equal?

Tables of known truth: rows that are independent, or come from patients whose own accuracies scatter (Beta,
concentration 8), and who have equally many rows or, "unequal", lognormal numbers of them; and real cross-validation of
classifiers on made-up data, where the truth is that of the trained models on 4,000 new cases. Replicates are seeded one
by one, so that neither their number nor that of processes changes any of them.

Run: python benchmarks/coverage.py [--replicates 2000] [--jobs 2] [--only independent] [--out coverage.md]
"""

import argparse
import sys
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from timing import machine, pin_one_thread

pin_one_thread()

import numpy as np  # noqa: E402 - after the threads are pinned
from bchisto.evaluate import PredictionTable, bootstrap_intervals, compare_tables  # noqa: E402
from bchisto.evaluate.intervals import Sampled  # noqa: E402
from bchisto.evaluate.weighted import agreement, macro_f1, matthews, mean_recall, share_right  # noqa: E402

DRAWS = 100
FRESH = 4000
FOLDS = 10
CLASSES = ("benign", "malignant")
MANY = 4000
"""Rows above which shares alone are looked at: the other figures are drawn, and take seconds a table."""

FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "cohen_kappa", "matthews_corrcoef", "auc", "sensitivity",
           "specificity")  # fmt: skip


@dataclass(frozen=True)
class Design:
    """Tables of `units` patients with `per` rows each, of a mean accuracy; `prior` is the share of malignant ones.

    With a `sigma`, that of the logarithm of their rows, `per` is the mean number of these.
    """

    units: int
    per: int = 1
    accuracy: float = 0.8
    prior: float = 0.5
    concentration: float = 8.0
    mixed: bool = False
    sigma: float = 0.0

    def rows(self, rng):
        """Draw the patient and the class of each row: patients of one class, or rows of any where they are mixed."""
        sizes = np.full(self.units, self.per)
        if self.sigma:
            drawn = rng.lognormal(-(self.sigma**2) / 2, self.sigma, self.units)
            sizes = np.maximum(1, np.round(self.per * drawn).astype(int))
        patient = np.repeat(np.arange(self.units), sizes)
        labels = (rng.random(len(patient) if self.mixed else self.units) < self.prior).astype(int)
        return patient, labels if self.mixed else labels[patient]

    def table(self, rng, name, patient, labels):
        """Draw a table of these rows."""
        share = np.full(self.units, self.accuracy)
        if self.per > 1:
            a, b = self.concentration * self.accuracy, self.concentration * (1 - self.accuracy)
            share = rng.beta(a, b, self.units)
        hits = rng.random(len(labels)) < share[patient]
        called = np.where(hits, labels, 1 - labels)
        sure = 0.5 + rng.random(len(labels)) / 2
        groups = [str(number) if self.per > 1 else None for number in patient]
        return tabled(name, labels, np.where(called, sure, 1 - sure), groups=groups)

    @property
    def truth(self):
        """The figures of endlessly many rows; wrong answers are as sure as right ones, so the AUC is the accuracy."""
        p, yes = self.accuracy, self.prior
        return of_matrix(np.array([[(1 - yes) * p, (1 - yes) * (1 - p)], [yes * (1 - p), yes * p]])) | {"auc": p}


DESIGNS = {
    "400 images": Design(400, accuracy=0.87),
    "30 images, 95 % right": Design(30, accuracy=0.95),
    "200 images, 99 % right": Design(200, accuracy=0.99),
    "100 images, 10 malignant": Design(100, accuracy=0.9, prior=0.1),
    "40 patients x 10": Design(40, 10),
    "40 patients x 10, of both classes": Design(40, 10, mixed=True),
    "10 patients x 20": Design(10, 20),
    "80 patients x 25": Design(80, 25),
    "49 slides x 200": Design(49, 200),
    "49 slides x 300": Design(49, 300),
    "40 patients x 10, 97 % right": Design(40, 10, accuracy=0.97),
    "15 patients x 20, 95 % right": Design(15, 20, accuracy=0.95),
    "80 patients x 25, unequal": Design(80, 25, accuracy=0.85, sigma=1.0),
}


@dataclass(frozen=True)
class Crossed:
    """Cross-validation of a classifier in 20 dimensions; with `per`, of patients who shift their images."""

    learner: str
    images: int
    per: int = 1

    def draw(self, rng, patients, per):
        labels = np.repeat(rng.integers(0, 2, patients), per)
        shift = np.repeat(rng.normal(size=(patients, 40)), per, axis=0) * (self.per > 1)
        return rng.normal(size=(len(labels), 40)) + shift + 0.4 * labels[:, None], labels

    def fit(self, x, y):
        """Fit, and return what gives the probability of the second class."""
        from sklearn.linear_model import LogisticRegression, RidgeClassifier

        linear = {"logistic": LogisticRegression(C=np.inf, solver="newton-cholesky"), "ridge": RidgeClassifier()}.get(
            self.learner
        )
        if linear is not None:
            model = linear.fit(x, y)
            return lambda new: 1 / (1 + np.exp(-model.decision_function(new)))
        import lightgbm

        settings = {"objective": "binary", "num_leaves": 7, "min_data_in_leaf": 5, "verbose": -1, "num_threads": 1}
        model = lightgbm.train(settings, lightgbm.Dataset(x, y), 20)
        return lambda new: model.predict(new, num_threads=1)


CROSSED = {
    "logistic, 100 images": Crossed("logistic", 100),
    "logistic, 400 images": Crossed("logistic", 400),
    "ridge, 100 images": Crossed("ridge", 100),
    "ridge, 400 images": Crossed("ridge", 400),
    "ridge, 40 patients x 10": Crossed("ridge", 400, 10),
    "LightGBM, 100 images": Crossed("lightgbm", 100),
    "LightGBM, 400 images": Crossed("lightgbm", 400),
}


def of_matrix(matrix):
    """Return the figures of a confusion matrix, rows true."""
    whole = matrix[None].astype(float)
    right = np.diag(matrix) / matrix.sum(axis=1)
    formulas = {
        "accuracy": share_right, "balanced_accuracy": mean_recall, "macro_f1": macro_f1, "cohen_kappa": agreement,
        "matthews_corrcoef": matthews,
    }  # fmt: skip
    truths = {name: float(formula(whole)[0]) for name, formula in formulas.items()}
    return truths | {"specificity": right[0], "sensitivity": right[1]}


def area(truth, scores):
    """Return the AUC of scores without ties."""
    rank = np.empty(len(scores))
    rank[np.argsort(scores)] = np.arange(1, len(scores) + 1)
    yes = truth.sum()
    return (rank[truth].sum() - yes * (yes + 1) / 2) / (yes * (len(truth) - yes))


def tabled(name, labels, scores, *, groups, folds=None):
    return PredictionTable.from_probabilities(
        name=name, classes=CLASSES, image_ids=list(map(str, range(len(labels)))),
        labels=[CLASSES[label] for label in labels], probabilities=np.stack([1 - scores, scores], axis=1),
        folds=folds or [None] * len(labels), groups=groups,
    )  # fmt: skip


def intervals_of(table):
    """Return the intervals of a table by figure."""
    sampled, yes = Sampled(table), table.labels == 1
    hits = table.predicted == table.labels
    shares = {"accuracy": hits | True, "sensitivity": yes, "specificity": ~yes}
    intervals = {name: sampled.share(hits, inside) for name, inside in shares.items()}
    ends = {name: interval.ends for name, interval in intervals.items() if interval}
    if len(table) > MANY:
        return ends
    drawn = bootstrap_intervals(table, replicates=DRAWS)
    return ends | {name: drawn[name] for name in FIGURES if drawn.get(name)}


def held(tallies, interval, truth, key):
    """Note whether an interval holds the truth, and how wide it is."""
    tallies[key] += [(interval[0] - 1e-12 <= truth <= interval[1] + 1e-12, interval[1] - interval[0])]


def fixed(name, replicate):
    """One replicate of a design: what intervals hold, and what tests of two equal classifiers say."""
    design, tallies = DESIGNS[name], defaultdict(list)
    rng = np.random.default_rng([list(DESIGNS).index(name), replicate])
    rows = design.rows(rng)
    first = design.table(rng, "first", *rows)
    for figure, interval in intervals_of(first).items():
        held(tallies, interval, design.truth[figure], figure)
    pair = compare_tables(first, design.table(rng, "second", *rows))
    note_pair(tallies, pair, dict.fromkeys(pair["differences"], 0.0))
    return tallies


def note_pair(tallies, pair, truth):
    for figure, difference in pair["differences"].items():
        held(tallies, difference["interval"], truth[figure], f"difference of {figure}")
    tallies[f"rejects: {pair['test']}"] += [(pair["p"] < 0.05, 0.0)]
    tallies["rejects: McNemar over rows"] += [(pair["mcnemar"]["p"] < 0.05, 0.0)]
    if pair["corrected_t"]:
        tallies["rejects: corrected t"] += [(pair["corrected_t"]["p"] < 0.05, 0.0)]


def crossed(name, replicate):
    """One replicate of a cross-validation, of two classifiers on halves of the dimensions that are worth the same."""
    case, tallies = CROSSED[name], defaultdict(list)
    rng = np.random.default_rng([100 + list(CROSSED).index(name), replicate])
    x, y = case.draw(rng, case.images // case.per, case.per)
    patient = np.arange(case.images) // case.per
    new, new_y = case.draw(rng, FRESH, 1)
    scores, truth = np.zeros((2, len(y))), [defaultdict(float), defaultdict(float)]
    order = rng.permutation(patient[-1] + 1)
    order = order[np.argsort(y[:: case.per][order], kind="stable")]
    folds = (np.argsort(order) % FOLDS + 1)[patient]  # as many of each class in every fold
    for fold in range(1, FOLDS + 1):
        train, test = folds != fold, folds == fold
        for side, part in enumerate((slice(0, 20), slice(20, 40))):
            predict = case.fit(x[train, part], y[train])
            scores[side, test] = predict(x[test, part])
            fresh = predict(new[:, part])
            matrix = np.bincount(2 * new_y + (fresh >= 0.5), minlength=4).reshape(2, 2)
            for figure, value in (of_matrix(matrix) | {"auc": area(new_y > 0, fresh)}).items():
                truth[side][figure] += value * test.mean()
    groups = [str(number) if case.per > 1 else None for number in patient]
    tables = [tabled(str(side), y, scores[side], groups=groups, folds=folds.tolist()) for side in (0, 1)]
    for figure, interval in intervals_of(tables[0]).items():
        held(tallies, interval, truth[0][figure], figure)
    note_pair(tallies, compare_tables(*tables), {name: truth[1][name] - truth[0][name] for name in FIGURES})
    return tallies


def work(task):
    """Do some replicates of one design."""
    name, start, stop = task
    replicate = partial(fixed if name in DESIGNS else crossed, name)
    total = defaultdict(lambda: np.zeros(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sets of images without one class
        for number in range(start, stop):
            for key, values in replicate(number).items():
                for right, width in values:
                    total[key] += (1, right, width)
    return name, dict(total)


def measure(names, *, replicates, jobs):
    """Yield each design with figure to (tables, how many hold the truth or reject, sum of widths)."""
    step = max(1, min(50, replicates // jobs))
    with get_context("spawn").Pool(jobs) as pool:
        for name in names:
            sums = defaultdict(lambda: np.zeros(3))
            tasks = [(name, start, min(start + step, replicates)) for start in range(0, replicates, step)]
            for _, part in pool.imap_unordered(work, tasks):
                for key, counts in part.items():
                    sums[key] += counts
            yield name, sums


def tables_of(results):
    """Return the lines of Markdown tables: coverage with mean widths in points, and rejections."""
    differences = [f"difference of {name}" for name in ("accuracy", "balanced_accuracy", "auc", "sensitivity")]
    tests = list(dict.fromkeys(key for counts in results.values() for key in counts if key.startswith("rejects")))
    lines = []
    for title, keys in (("covers, percent (mean width, points)", FIGURES), ("covers", differences), ("rejects", tests)):
        names = [key.removeprefix("rejects: ").replace("_", " ") for key in keys]
        lines += ["", f"| {title} | {' | '.join(names)} |", "| --- " * (len(keys) + 1) + "|"]
        for name, counts in results.items():
            cells = [cell(counts[key], tests=title == "rejects") if key in counts else "" for key in keys]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def cell(counts, *, tests):
    tables, right, width = counts
    return f"{100 * right / tables:.1f}" + ("" if tests else f" ({100 * width / tables:.1f})")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="designs whose names hold this text")
    parser.add_argument("--out", type=Path, help="write the tables here too")
    options = parser.parse_args(arguments)
    names = [name for name in (*DESIGNS, *CROSSED) if options.only in name]
    started, results, text = time.monotonic(), {}, ""
    for name, counts in measure(names, replicates=options.replicates, jobs=options.jobs):
        results[name] = counts
        lines = [f"{options.replicates} replicates, {options.jobs} processes, {time.monotonic() - started:.0f} s.",
                 machine("numpy", "scipy", "scikit-learn", "lightgbm"), *tables_of(results)]  # fmt: skip
        text = "\n".join(lines) + "\n"
        if options.out:  # after each design, so that what is stopped leaves what it has
            options.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
