"""Do intervals of a nominal 95 % hold the truth, how wide are they, and do tests at 5 % reject what is equal?

Tables of known truth: scores are normal, the true class is higher by a distance, and a patient shifts its images; and
real cross-validation of classifiers on made-up data, where the truth is that of the trained models on 4,000 new cases.
Each table is seeded by its design and number, so that neither the number of tables nor that of processes changes any.

Run: python benchmarks/coverage.py [--tables 400] [--jobs 2] [--only patients] [--out coverage.md]
"""

import argparse
import sys
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from timing import machine, pin_one_thread

pin_one_thread()

import numpy as np  # noqa: E402 - after the threads are pinned
from bchisto.evaluate import PredictionTable, TwoClassView, compare_tables, table_intervals  # noqa: E402
from bchisto.evaluate.calibration import recalibration  # noqa: E402
from bchisto.evaluate.influence import agreement, auc_part, matthews  # noqa: E402
from bchisto.evaluate.variance import Units, exact  # noqa: E402
from scipy import stats  # noqa: E402
from scipy.special import expit, logit, softmax  # noqa: E402

FRESH, ENDLESS, FOLDS = 4000, 200_000, 10
FIGURES = ("accuracy", "sensitivity", "balanced_accuracy", "macro_f1", "cohen_kappa", "matthews_corrcoef", "auc",
           "patient_recognition_rate", "brier", "slope", "intercept")  # fmt: skip
DIFFERENCES = ("accuracy", "balanced_accuracy", "auc", "sensitivity", "specificity", "by_unit")


@dataclass(frozen=True)
class Design:
    """Tables of so many patients with `per` images each: scores are calibrated, since softmax is what made them.

    Attributes
    ----------
    units, per : int
        Patients, and images of each; with a `sigma`, that of the logarithm of their number, the mean number.
    classes : int
    distance : float
        How much higher the true class scores, in standard deviations of an image.
    shift : float
        Share of the variance of a score that is the patient's.
    dominant : float
        Share of all images that the first patient holds.
    sizes : tuple of int
        Patients of each class; by default equal.
    mixed : bool
        Whether the images of a patient are of any class.
    """

    units: int
    per: int = 1
    classes: int = 2
    distance: float = 1.6
    shift: float = 0.3
    sigma: float = 0.0
    dominant: float = 0.0
    sizes: tuple = ()
    mixed: bool = False

    def rows(self, rng):
        """Draw the patient and the class of each row."""
        count = np.full(self.units, self.per)
        if self.sigma:
            drawn = rng.lognormal(-(self.sigma**2) / 2, self.sigma, self.units)
            count = np.maximum(1, np.round(self.per * drawn).astype(int))
        if self.dominant:
            count[0] = round(count[1:].sum() * self.dominant / (1 - self.dominant))
        patient = np.repeat(np.arange(self.units), count)
        sizes = self.sizes or [1] * self.classes
        kind = np.repeat(np.arange(self.classes), sizes)
        label = np.resize(kind, self.units)[patient]
        return patient, rng.integers(0, self.classes, len(patient)) if self.mixed else label

    def probabilities(self, rng, patient, labels):
        """Draw the probabilities of a classifier."""
        shift = self.shift if self.per > 1 else 0.0
        noise = rng.normal(size=(len(labels), self.classes)) * (1 - shift) ** 0.5
        noise += rng.normal(size=(patient.max() + 1, self.classes))[patient] * shift**0.5
        return softmax(self.distance * (noise + self.distance * np.eye(self.classes)[labels]), axis=1)

    def tables(self, rng):
        """Draw two tables of equally good classifiers about the same rows."""
        patient, labels = self.rows(rng)
        groups = [str(one) if self.per > 1 else None for one in patient]
        return [tabled(name, labels, self.probabilities(rng, patient, labels), groups=groups) for name in "ab"]


DESIGNS = {
    "400 images": Design(400),
    "48 images": Design(48),
    "30 images, nearly all right": Design(30, distance=3.0),
    "100 images, 10 malignant": Design(100, sizes=(9, 1)),
    "400 images of 4 classes": Design(400, classes=4),
    "100 images of 4 classes": Design(100, classes=4),
    "100 images of 4 classes, nearly all right": Design(100, classes=4, distance=3.0),
    "92 images of 4 classes: 30, 30, 30, 2": Design(92, classes=4, sizes=(30, 30, 30, 2)),
    "8 patients x 20": Design(8, 20),
    "15 patients x 20": Design(15, 20),
    "15 patients x 20, unequal": Design(15, 20, sigma=1.0),
    "30 patients x 20": Design(30, 20),
    "30 patients x 20, unequal": Design(30, 20, sigma=1.0),
    "12 patients x 20, of both classes": Design(12, 20, mixed=True),
    "40 patients x 10 of 4 classes": Design(40, 10, classes=4),
    "40 patients x 10 of 4 classes, unequal": Design(40, 10, classes=4, sigma=1.0),
    "80 patients x 25, unequal": Design(80, 25, sigma=1.0),
    "400 patients x 3": Design(400, 3),
    "19 patients, one holds 40 %": Design(19, 10, dominant=0.4),
    "19 patients, one holds 60 %": Design(19, 10, dominant=0.6),
}


@dataclass(frozen=True)
class Crossed:
    """Cross-validation of a classifier in 20 dimensions; with `per`, of patients who shift their images."""

    learner: str
    images: int
    per: int = 1

    def draw(self, rng, patients, per):
        """Draw images: the first 20 dimensions are for one classifier, the others for another one."""
        labels = np.repeat(rng.integers(0, 2, patients), per)
        shift = np.repeat(rng.normal(size=(patients, 40)), per, axis=0) * (self.per > 1)
        return rng.normal(size=(len(labels), 40)) + shift + 0.4 * labels[:, None], labels

    def fit(self, x, y):
        """Fit, and return what gives the probability of the second class."""
        from sklearn.linear_model import LogisticRegression, RidgeClassifier

        linear = {"logistic": LogisticRegression(C=np.inf, solver="newton-cholesky"), "ridge": RidgeClassifier()}
        if self.learner in linear:
            model = linear[self.learner].fit(x, y)
            return lambda new: expit(model.decision_function(new))
        import lightgbm

        settings = {"objective": "binary", "num_leaves": 7, "min_data_in_leaf": 5, "verbose": -1, "num_threads": 1}
        model = lightgbm.train(settings, lightgbm.Dataset(x, y), 20)
        return lambda new: model.predict(new, num_threads=1)


CROSSED = {
    f"{name}, {size}": Crossed(name.split()[-1].lower(), *rows)
    for name, size, rows in (
        ("logistic", "100 images", (100,)), ("ridge", "100 images", (100,)), ("ridge", "400 images", (400,)),
        ("ridge", "20 patients x 10", (200, 10)), ("ridge", "40 patients x 10", (400, 10)),
        ("LightGBM", "100 images", (100,)), ("LightGBM", "400 images", (400,)),
    )
}  # fmt: skip


def tabled(name, labels, probabilities, *, groups, folds=None):
    classes = tuple(f"class {k}" for k in range(probabilities.shape[1]))
    return PredictionTable.from_probabilities(
        name=name, classes=classes, image_ids=list(map(str, range(len(labels)))),
        labels=[classes[label] for label in labels], probabilities=probabilities,
        folds=folds or [None] * len(labels), groups=groups,
    )  # fmt: skip


def figures(labels, probabilities):
    """Return the figures of rows without number; of all rows alike, not by patient."""
    classes = probabilities.shape[1]
    matrix = np.bincount(labels * classes + probabilities.argmax(axis=1), minlength=classes**2).reshape(1, classes, -1)
    recall = np.diag(matrix[0]) / matrix[0].sum(axis=1)
    f1 = 2 * np.diag(matrix[0]) / (matrix[0].sum(axis=0) + matrix[0].sum(axis=1))
    accuracy = np.trace(matrix[0]) / len(labels)
    loss = np.square(probabilities - np.eye(classes)[labels]).sum(axis=1).mean()
    return {
        "accuracy": accuracy, "patient_recognition_rate": accuracy, "by_unit": accuracy,
        "sensitivity": recall[1], "specificity": recall[0],
        "balanced_accuracy": recall.mean(), "macro_f1": f1.mean(), "cohen_kappa": float(agreement(matrix * 1.0)[0]),
        "matthews_corrcoef": float(matthews(matrix * 1.0)[0]), "brier": loss,
        "auc": np.mean([auc_part(labels == k, probabilities[:, k]).value for k in range(classes)]),
    }  # fmt: skip


@cache
def truth_of(name):
    """Return the figures of a design, and its calibration, which is perfect where patients shift nothing."""
    endless = replace(DESIGNS[name], units=ENDLESS, per=1, sigma=0.0, dominant=0.0)
    rng = np.random.default_rng(len(name))
    patient, labels = endless.rows(rng)
    probabilities = endless.probabilities(rng, patient, labels)
    hits = probabilities.argmax(axis=1) == labels
    found = recalibration(probabilities.max(axis=1), hits, units=Units(patient))
    return figures(labels, probabilities) | {key: found[key] for key in ("slope", "intercept")}


def intervals_of(table):
    """Return our intervals of a table by figure, NaN where there is none."""
    found, units = table_intervals(table, positive=table.classes[1:2], thresholds=[], replicates=1), Units.of(table)
    hits, yes = table.predicted == table.labels, table.labels == 1
    sure = recalibration(table.probabilities.max(axis=1), hits, units=units)
    share = units.share(hits, yes)
    found |= {"sensitivity": share and share.ends, "slope": sure["slope_interval"]}
    found |= {"intercept": sure["intercept_interval"]}
    return {name: found.get(name) or [np.nan, np.nan] for name in FIGURES if name in found}


def others(table):
    """Return the intervals of other methods: name of the figure and of the method to the interval."""
    hits, member = (table.predicted == table.labels).astype(float), Units.of(table).member
    rows, share = len(hits), hits.mean()
    size = np.bincount(member)
    found = {}
    if len(size) == rows:
        found["accuracy", "Clopper-Pearson"] = exact(share, rows)
    else:
        spread = np.square(np.bincount(member, hits - share) / np.sqrt(1 - size / rows)).sum() / rows**2
        found["accuracy", "CR2 logit"] = on_logits(share, spread, 1 / ((size / rows) ** 2).sum() - 1)
    parts = [auc_part(table.labels == k, table.probabilities[:, k]) for k in range(len(table.classes))]
    effect, area = np.mean([part.effect for part in parts], axis=0), np.mean([part.value for part in parts])
    spread = np.square(np.bincount(member, effect)).sum()
    label = "DeLong logit" if len(size) == rows else "clustered DeLong logit, t"
    found["auc", label] = on_logits(
        area, spread * len(size) / (len(size) - 1), len(size) - 1 if len(size) < rows else np.inf
    )
    return found


def on_logits(value, variance, freedom):
    if not 0 < value < 1:
        return value, value
    half = stats.t.ppf(0.975, max(freedom, 1)) * variance**0.5 / (value * (1 - value))
    return tuple(expit(logit(value) + np.array([-half, half])))


def clustered_t(change, member):
    """Return the p of the cluster t test, or of McNemar's exact one where rows are units."""
    total = np.bincount(member, change)
    if len(total) == len(change):
        return (
            stats.binomtest(int((change > 0).sum()), max(int((change != 0).sum()), 1)).pvalue if change.any() else 1.0
        )
    spread = np.square(total - total.mean()).sum() * len(total) / (len(total) - 1)
    return 2 * stats.t.sf(abs(change.sum()) / spread**0.5, len(total) - 1) if spread else 1.0


def held(found, interval, truth, key):
    """Note whether an interval holds the truth, how wide it is, and whether there is one."""
    known = np.isfinite(interval[0])
    right = known and interval[0] - 1e-12 <= truth <= interval[1] + 1e-12
    found[key] += (1, known, right, interval[1] - interval[0] if known else 0.0)


def note(found, tables, truth, differences):
    """Note what the intervals of a table hold, and those of the difference of two."""
    for figure, interval in intervals_of(tables[0]).items():
        if figure in truth:
            held(found, interval, truth[figure], (figure, "ours"))
    for (figure, method), interval in others(tables[0]).items():
        held(found, interval, truth[figure], (figure, method))
    pair = compare_tables(*tables, view=TwoClassView(tables[0].classes[1:2]))
    for figure, one in pair["differences"].items():
        held(found, one["interval"] or [np.nan, np.nan], differences[figure], (f"difference of {figure}", "ours"))
    rejects(found, tables, pair, "rejects")


def rejects(found, tables, pair, key):
    change = (tables[1].predicted == tables[1].labels) * 1.0 - (tables[0].predicted == tables[0].labels)
    found[key, "ours"] += (1, 1, pair["p"] < 0.05, 0)
    found[key, "cluster t, or McNemar exact"] += (1, 1, clustered_t(change, Units.of(tables[0]).member) < 0.05, 0)


def fixed(found, name, number):
    design = DESIGNS[name]
    rng = np.random.default_rng([list(DESIGNS).index(name), number])
    tables = design.tables(rng)
    note(found, tables, truth_of(name), dict.fromkeys(DIFFERENCES, 0.0))
    better = replace(design, distance=design.distance + 0.4)  # for the power
    second = tabled("c", tables[0].labels, better.probabilities(rng, Units.of(tables[0]).member, tables[0].labels),
                    groups=tables[0].groups)  # fmt: skip
    rejects(found, (tables[0], second), compare_tables(tables[0], second), "power")


def crossed(found, name, number):
    """Cross-validate two classifiers on halves of the dimensions that are worth the same."""
    case = CROSSED[name]
    rng = np.random.default_rng([100 + list(CROSSED).index(name), number])
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
            scores[side, test], fresh = predict(x[test, part]), predict(new[:, part])
            for figure, value in figures(new_y, np.stack([1 - fresh, fresh], axis=1)).items():
                truth[side][figure] += value * test.mean()
    groups = [str(one) if case.per > 1 else None for one in patient]
    tables = [tabled(str(side), y, np.stack([1 - one, one], axis=1), groups=groups, folds=folds.tolist())
              for side, one in enumerate(scores)]  # fmt: skip
    note(found, tables, truth[0], {name: truth[1][name] - truth[0][name] for name in DIFFERENCES})


def work(task):
    """Do some tables of one design."""
    name, start, stop = task
    total = defaultdict(lambda: np.zeros(4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sets of images without one class
        for number in range(start, stop):
            (fixed if name in DESIGNS else crossed)(total, name, number)
    return name, dict(total)


def measure(names, *, tables, jobs):
    """Yield each design with figure and method to (tables, known intervals, how many hold the truth, sum of widths)."""
    step = max(1, min(50, tables // jobs))
    with get_context("spawn").Pool(jobs) as pool:
        for name in names:
            found = defaultdict(lambda: np.zeros(4))
            for _, part in pool.imap_unordered(
                work, [(name, at, min(at + step, tables)) for at in range(0, tables, step)]
            ):
                for key, counts in part.items():
                    found[key] += counts
            yield name, found


def tables_of(found):
    """Return the lines of Markdown tables: coverage with mean widths in points, and rejections."""
    lines = []
    wanted = [
        ("covers, percent (mean width, points; without an interval, percent)", [(name, "ours") for name in FIGURES]),
        ("covers: difference of", [(f"difference of {name}", "ours") for name in DIFFERENCES]),
        ("covers, other methods", None),
        ("rejects, percent", None),
    ]
    for title, keys in wanted:
        if keys is None:
            keys = list(dict.fromkeys(key for counts in found.values() for key in counts if
                                      (key[0] in ("rejects", "power")) == title.startswith("rejects")
                                      and (key[1] != "ours" or title.startswith("rejects"))))  # fmt: skip
        heads = [
            key[0].removeprefix("difference of ")
            + (f", {key[1]}" if title.startswith("rejects") or key[1] != "ours" else "")
            for key in keys
        ]
        lines += ["", f"| {title} | {' | '.join(heads).replace('_', ' ')} |", "| --- " * (len(keys) + 1) + "|"]
        for name, counts in found.items():
            cells = [cell(counts[key], tests=title.startswith("rejects")) if key in counts else "" for key in keys]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def cell(counts, *, tests):
    tables, known, right, width = counts
    if not known:
        return "none"
    without = f"; {100 * (1 - known / tables):.1f}" if known < tables else ""
    return f"{100 * right / known:.1f}" + ("" if tests else f" ({100 * width / known:.1f}{without})")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="designs whose names hold this text")
    parser.add_argument("--out", type=Path, help="write the tables here too")
    options = parser.parse_args(arguments)
    names = [name for name in (*DESIGNS, *CROSSED) if options.only in name]
    started, found, text = time.monotonic(), {}, ""
    for name, counts in measure(names, tables=options.tables, jobs=options.jobs):
        found[name] = counts
        lines = [f"{options.tables} tables a design, {options.jobs} processes, {time.monotonic() - started:.0f} s.",
                 machine("numpy", "scipy", "scikit-learn", "lightgbm"), *tables_of(found)]  # fmt: skip
        text = "\n".join(lines) + "\n"
        if options.out:  # after each design, so that what is stopped leaves what it has
            options.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
