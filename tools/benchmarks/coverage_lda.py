"""Do intervals of cross-validated discriminant analysis hold the truth, and is noise called better than chance?

Sixteen designs of patients and folds, each with noise and with a signal. Features are normal; a patient shifts those of
its images. The truth is that of the trained models, each weighed by the images that it tests, on new patients. Only
what commands compute is computed; a verdict is that of `conclude`. Each table is seeded by its design and number.

Run: python tools/benchmarks/coverage_lda.py [--tables 400] [--first 0] [--jobs 2] [--out coverage-lda.csv]
"""

import argparse
import csv
import sys
import time
import warnings
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path

from timing import machine, pin_one_thread

pin_one_thread()

import numpy as np  # noqa: E402 - after the threads are pinned
from bchisto.evaluate import PredictionTable, TwoClassView, conclude  # noqa: E402
from bchisto.evaluate.metrics import metrics_of  # noqa: E402
from scipy.special import softmax  # noqa: E402

FIGURES = ("accuracy", "balanced_accuracy", "auc", "patient_recognition_rate")
LEAST, MOST_FALSE = 93.0, 4.0  # percent
APART = {2: 1.4, 3: 1.8, 4: 1.8}  # between classes of a signal, in standard deviations of an image
NEW_PATIENTS, NEW_IMAGES = 600, 6
SHRINKAGE = 0.4


@dataclass(frozen=True)
class Design:
    """Patients and folds.

    Attributes
    ----------
    patients, folds, classes, features : int
    per : float
        Mean number of images of a patient.
    sizes : {"equal", "uniform", "lognormal"}
        How that number varies.
    mixed : bool
        Whether the images of a patient are of any class.
    shift : float
        Standard deviation of a patient's shift of each feature.
    shares : tuple of float
        Of the classes; by default equal.
    """

    patients: int
    folds: int
    per: float = 1.0
    classes: int = 2
    features: int = 10
    sizes: str = "equal"
    mixed: bool = False
    shift: float = 0.7
    shares: tuple = ()

    @property
    def prior(self):
        return np.array(self.shares or [1 / self.classes] * self.classes)

    def means(self, apart):
        corners = apart * np.eye(self.classes, self.features)
        return corners - corners.mean(axis=0)

    def images_of(self, rng):
        """Draw the number of images of each patient."""
        if self.sizes == "uniform":
            least, most = max(1, int(self.per / 2)), int(np.ceil(1.5 * self.per))
            return rng.integers(least, most + 1, self.patients)
        if self.sizes == "lognormal":
            drawn = rng.lognormal(0, 1, self.patients) * self.per / np.exp(0.5)
            return np.maximum(1, np.round(drawn)).astype(int)
        return np.full(self.patients, round(self.per))

    def features_of(self, rng, patient, labels, means):
        shifts = self.shift * rng.normal(size=(patient.max() + 1, self.features))
        return rng.normal(size=(len(labels), self.features)) + shifts[patient] + means[labels]

    def draw(self, rng, apart):
        """Draw patient, class and features of each image, and its fold."""
        images = self.images_of(rng)
        patient = np.repeat(np.arange(self.patients), images)
        least = np.maximum(2, np.round(self.prior * self.patients)).astype(int)
        of_patient = np.resize(np.repeat(np.arange(self.classes), least), self.patients)
        of_patient = rng.permutation(of_patient)
        labels = of_patient[patient]
        order = np.argsort(of_patient, kind="stable")  # as many of each class in every fold
        if self.mixed:
            labels = rng.choice(self.classes, len(patient), p=self.prior)
            order = rng.permutation(self.patients)
        fold = np.empty(self.patients, int)
        fold[order] = np.arange(self.patients) % self.folds
        x = self.features_of(rng, patient, labels, self.means(apart))
        return patient, labels, x, fold[patient]

    def draw_new(self, rng, apart):
        """Draw new patients: patient, class and features of each image."""
        count, per = (NEW_PATIENTS, NEW_IMAGES) if self.per > 1 else (4000, 1)
        patient = np.repeat(np.arange(count), per)
        labels = rng.choice(self.classes, count, p=self.prior)[patient]
        if self.mixed:
            labels = rng.choice(self.classes, len(patient), p=self.prior)
        return patient, labels, self.features_of(rng, patient, labels, self.means(apart))


DESIGNS = {
    "6 patients x 3, 3 folds": Design(6, 3, 3, features=8, sizes="uniform"),
    "6 patients x 10 of both classes, 3 folds": Design(6, 3, 10, features=8, mixed=True),
    "12 patients x 5, 3 folds": Design(12, 3, 5),
    "12 patients x 5, 5 folds": Design(12, 5, 5),
    "20 patients x 6, 10 folds": Design(20, 10, 6),
    "24 unequal patients x 6, 5 folds": Design(24, 5, 6, sizes="lognormal"),
    "24 patients x 6 of 4 classes, 5 folds": Design(24, 5, 6, 4),
    "30 patients x 8 mixed of 3 classes, 5 folds": Design(30, 5, 8, 3, sizes="uniform", mixed=True),
    "40 unequal patients x 5, 20 %, 5 folds": Design(
        40, 5, 5, sizes="lognormal", shares=(0.8, 0.2)
    ),
    "60 patients x 6.7, 10 folds": Design(60, 10, 6.67, features=20, sizes="uniform"),
    "60 patients x 4 of 4 classes, 10 folds": Design(60, 10, 4, 4, 20),
    "12 images, 3 folds": Design(12, 3, features=6, shift=0),
    "30 images, 10 folds": Design(30, 10, shift=0),
    "60 images of 4 classes, 5 folds": Design(60, 5, classes=4, shift=0),
    "200 images of 3 classes, 10 folds": Design(200, 10, classes=3, features=20, shift=0),
    "400 images, 10 %, 10 folds": Design(400, 10, features=20, shift=0, shares=(0.9, 0.1)),
}


class Discriminant:
    """Linear discriminant analysis, its covariance shrunk towards a multiple of the identity."""

    def __init__(self, x, labels, classes):
        count = np.bincount(labels, minlength=classes)
        means = np.stack([x[labels == k].sum(axis=0) / max(count[k], 1) for k in range(classes)])
        rest = x - means[labels]
        covariance = rest.T @ rest / max(1, len(x) - classes)
        covariance *= 1 - SHRINKAGE
        size = len(covariance)
        covariance += SHRINKAGE / (1 - SHRINKAGE) * np.trace(covariance) / size * np.eye(size)
        self.weights = np.linalg.solve(covariance, means.T)
        seen = np.log(np.maximum(count, 1e-9) / count.sum())
        self.offset = np.where(count > 0, seen - (means.T * self.weights).sum(axis=0) / 2, -50.0)

    def probabilities(self, x):
        return softmax(x @ self.weights + self.offset, axis=1)


def truths_of(model, patient, labels, x):
    """Return the true figures of a model, on new patients, in the order of `FIGURES`."""
    from sklearn.metrics import roc_auc_score

    scores = model.probabilities(x)
    hits = scores.argmax(axis=1) == labels
    classes = range(scores.shape[1])
    recalls = [hits[labels == k].mean() for k in classes]
    aucs = [roc_auc_score(labels == k, scores[:, k]) for k in classes]
    by_patient = np.bincount(patient, hits) / np.bincount(patient)
    return hits.mean(), np.mean(recalls), np.mean(aucs), by_patient.mean()


def count_table(name, apart, number):
    """Return for one table: the intervals that are known, those that hold, their widths, and if it is called better."""
    design = DESIGNS[name]
    rng = np.random.default_rng([list(DESIGNS).index(name), int(10 * apart), number])
    patient, labels, x, fold = design.draw(rng, apart)
    while len(set(labels.tolist())) < design.classes:
        patient, labels, x, fold = design.draw(rng, apart)
    new = design.draw_new(rng, apart)
    scores = np.empty((len(labels), design.classes))
    truths, shares = [], []
    for k in range(design.folds):
        tested = fold == k
        model = Discriminant(x[~tested], labels[~tested], design.classes)
        scores[tested] = model.probabilities(x[tested])
        truths.append(truths_of(model, *new))
        shares.append(tested.mean())
    truth = np.average(truths, axis=0, weights=shares)
    classes = tuple("abcd"[: design.classes])
    table = PredictionTable(
        name="table",
        classes=classes,
        image_ids=tuple(map(str, range(len(labels)))),
        labels=labels,
        probabilities=scores,
        predicted=scores.argmax(axis=1),
        folds=tuple((fold + 1).tolist()),
        groups=tuple(f"patient {k}" for k in patient),
    )
    view = TwoClassView(positive=("b",)) if design.classes == 2 else None
    metrics = metrics_of(table, view, bootstrap=0)
    ends = np.array([(metrics[figure].interval or (np.nan, np.nan)) for figure in FIGURES])
    known = ~np.isnan(ends[:, 0])
    holds = (ends[:, 0] - 1e-9 <= truth) & (truth <= ends[:, 1] + 1e-9)
    widths = np.where(known, ends[:, 1] - ends[:, 0], 0.0)
    return known, holds & known, widths, conclude(metrics).verdict.kind == "better"


def work(task):
    """Return the sums over some tables of a design."""
    name, apart, numbers = task
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = [count_table(name, apart, number) for number in numbers]
    return name, apart, [np.sum(part, axis=0) for part in zip(*drawn, strict=True)]


COLUMNS = ("design", "signal", *FIGURES, "width", "better")
"""Percent of intervals that hold the truth, the mean width of that of balanced accuracy, and percent of tables that are
called better than chance."""


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", type=int, default=400)
    parser.add_argument("--first", type=int, default=0, help="number of the first table")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="designs whose names hold this text")
    parser.add_argument("--out", type=Path, help="write the rows to this CSV file")
    options = parser.parse_args(arguments)
    names = [name for name in DESIGNS if options.only in name]
    started = time.monotonic()
    numbers = range(options.first, options.first + options.tables)
    tasks = [
        (name, apart, numbers[at : at + 25])
        for name, at in product(names, range(0, options.tables, 25))
        for apart in (0.0, APART[DESIGNS[name].classes])
    ]
    sums = {}
    with get_context("spawn").Pool(options.jobs) as pool:
        for name, apart, part in pool.imap_unordered(work, tasks):
            before = sums.get((name, apart), [0.0] * len(part))
            sums[name, apart] = [a + b for a, b in zip(before, part, strict=True)]
    rows = []
    for name, apart in sorted(sums, key=lambda key: (names.index(key[0]), key[1])):
        known, holds, widths, better = sums[name, apart]
        cover = [f"{100 * held / count:.1f}" for held, count in zip(holds, known, strict=True)]
        width = f"{100 * widths[1] / known[1]:.1f}"
        kind = "signal" if apart else "noise"
        rows.append((name, kind, *cover, width, f"{100 * better / options.tables:.1f}"))
    if options.out:
        with options.out.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    lines = [f"{options.tables} tables a design, {time.monotonic() - started:.0f} s."]
    lines += [machine("numpy", "scipy"), "", *(" | ".join(row) for row in [COLUMNS, *rows])]
    least = min(float(cell) for row in rows for cell in row[2:5])
    false = max([float(row[-1]) for row in rows if row[1] == "noise"])
    lines.append(
        f"least coverage {least} (wanted {LEAST}), noise called better in {false} (at most {MOST_FALSE})"
    )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
