"""Do intervals of a nominal 95 % hold the truth, how wide are they, and do tests at 5 % reject what is equal?

Tables of known truth: scores are normal, the true class is higher by a distance, and a patient shifts its images; and
real cross-validation of classifiers on made-up data, where the truth is that of the trained models on endless new cases
(of linear ones worked out, of LightGBM on 4,000). Each table is seeded by its design and number, so that neither the
number of tables nor that of processes changes any. Only figures that are measured are computed, as commands do.

Run: python tools/benchmarks/coverage.py [--tables 400] [--jobs 2] [--only patients] [--figures ppv npv]
    [--out coverage.csv]
"""

import argparse
import csv
import sys
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, repeat
from multiprocessing import get_context
from pathlib import Path

from timing import machine, pin_one_thread

pin_one_thread()

import numpy as np  # noqa: E402 - after the threads are pinned
from bchisto.evaluate import PredictionTable, TwoClassView, list_metrics  # noqa: E402
from bchisto.evaluate.calibration import brier_score, recalibration  # noqa: E402
from bchisto.evaluate.compare import difference_parts, paired_test  # noqa: E402
from bchisto.evaluate.intervals import (  # noqa: E402
    Units,
    difference_interval,
    exact,
    interval,
    share_part,
)
from bchisto.evaluate.metrics import agreement, matthews, parts_of  # noqa: E402
from bchisto.evaluate.two_class import auc_part, point_figures  # noqa: E402
from scipy.special import bdtr, expit, logit, ndtr, ndtri, softmax, stdtr, stdtrit  # noqa: E402

FRESH, ENDLESS, FOLDS = 4000, 200_000, 10
BETTER = 0.4  # by how much the second classifier is better for the power, in standard deviations
CALLED = ("ppv", "npv", "lr_positive", "lr_negative")
FIGURES = (
    "accuracy",
    "sensitivity",
    "balanced_accuracy",
    "macro_f1",
    "cohen_kappa",
    "matthews_corrcoef",
    "auc",
    "patient_recognition_rate",
    "brier",
    "slope",
    "intercept",
    *CALLED,
)
DIFFERENCES = ("accuracy", "balanced_accuracy", "auc", "sensitivity", "specificity", "by_unit")


@dataclass(frozen=True)
class Design:
    """Tables of so many patients with `per` images each: scores are calibrated, since softmax is what made them.

    Attributes
    ----------
    units, per : int
        Patients, and images of each, which is their mean number with a `sigma`.
    classes : int
    distance : float
        How much higher the true class scores, in standard deviations of an image.
    shift : float
        Share of the variance of a score that is the patient's.
    sigma : float
        Standard deviation of the logarithm of the number of images of a patient; 0 if all have the same number.
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
        return softmax(
            self.distance * (noise + self.distance * np.eye(self.classes)[labels]), axis=1
        )


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
    "12 images": Design(12),
    "20 images": Design(20),
    "24 images of 4 classes": Design(24, classes=4),
}


@dataclass(frozen=True)
class Crossed:
    """Cross-validation of a classifier in 20 dimensions; with `per`, of patients who shift their images."""

    learner: str
    images: int
    per: int = 1

    def draw(self, rng, patients, per):
        """Draw images of three times 20 dimensions: those of two classifiers that are equal, and of a better one."""
        labels = np.repeat(rng.integers(0, 2, patients), per)
        shift = np.repeat(rng.normal(size=(patients, 60)), per, axis=0) * (self.per > 1)
        apart = np.repeat([APART, APART, APART_BETTER], 20)
        return rng.normal(size=(len(labels), 60)) + shift + apart * labels[:, None], labels

    def fit(self, x, y):
        """Train LightGBM, and return what gives the probability of the second class."""
        import lightgbm

        settings = {
            "objective": "binary",
            "num_leaves": 7,
            "min_data_in_leaf": 5,
            "verbose": -1,
            "num_threads": 1,
        }
        model = lightgbm.train(settings, lightgbm.Dataset(x, y), 20)
        return lambda new: model.predict(new, num_threads=1)

    def linear(self, x, y, training):
        """Train a linear classifier by each row of `training`, at once: ridge on -1 and 1, or logistic regression.

        Returns intercepts and coefficients, float64 of shape (trainings, 1 + dimensions).
        """
        design = np.c_[np.ones(len(x)), x]
        squares = (design[:, :, None] * design[:, None, :]).reshape(len(x), -1)
        penalty = np.diag(np.r_[0.0, np.ones(x.shape[1])]) * (
            1.0 if self.learner == "ridge" else 1e-3
        )
        weights = np.zeros((len(training), design.shape[1]))
        for _ in range(1 if self.learner == "ridge" else 25):
            if self.learner == "ridge":
                slope, left = np.ones_like(training), 2.0 * y - 1.0
            else:
                probability = expit(np.clip(weights @ design.T, -15, 15))
                slope, left = probability * (1 - probability), y - probability
            curved = ((training * slope) @ squares).reshape(len(training), *penalty.shape) + penalty
            step = np.linalg.solve(
                curved, ((training * left) @ design - weights @ penalty)[..., None]
            )[..., 0]
            weights += step
            if np.abs(step).max() < 1e-6:
                break
        return weights

    def truth(self, weights, apart):
        """Return the figures of linear classifiers on endless new cases, whose scores are normal."""
        middle, moved = weights[:, 0], apart * weights[:, 1:].sum(axis=1)
        spread = np.linalg.norm(weights[:, 1:], axis=1) * (2.0 if self.per > 1 else 1.0) ** 0.5
        recall = np.stack([ndtr(-middle / spread), ndtr((middle + moved) / spread)], axis=1)
        matrix = np.stack(
            [
                np.stack([recall[:, 0], 1 - recall[:, 0]], 1),
                np.stack([1 - recall[:, 1], recall[:, 1]], 1),
            ],
            1,
        )
        return of_matrices(matrix) | {"auc": ndtr(moved / spread / 2**0.5)}

    def recalibrated(self, weights, apart, share):
        """Return the calibration of linear classifiers on endless new cases, each classifier weighed by its share."""
        nodes = ndtri((np.arange(NODES) + 0.5) / NODES)
        spread = np.linalg.norm(weights[:, 1:], axis=1) * (2.0 if self.per > 1 else 1.0) ** 0.5
        of_no = weights[:, :1] + spread[:, None] * nodes
        of_yes = of_no + apart * weights[:, 1:].sum(axis=1)[:, None]
        weight = np.tile(np.repeat(share, NODES), 2)
        odds, right = np.abs(np.r_[of_no, of_yes]).ravel(), np.r_[of_no <= 0, of_yes > 0].ravel()
        odds = np.minimum(odds, logit(SUREST))
        return {
            name: recalibrated(name, odds, right, weight)[0][-1] for name in ("slope", "intercept")
        }


APART, APART_BETTER = 0.4, 0.55
NODES = 400  # quantiles that stand for a normal score
# a confidence above counts as this in slope and intercept, of the usual method too
SUREST = 1 - 1e-4
ROUND = 400  # tables of each design, before the next of the same

CROSSED = {
    f"{name}, {size}": Crossed(name.split()[-1].lower(), *rows)
    for name, size, rows in (
        ("logistic", "100 images", (100,)),
        ("ridge", "100 images", (100,)),
        ("ridge", "400 images", (400,)),
        ("ridge", "20 patients x 10", (200, 10)),
        ("ridge", "40 patients x 10", (400, 10)),
        ("LightGBM", "100 images", (100,)),
        ("LightGBM", "400 images", (400,)),
        ("ridge", "40 images", (40,)),
    )
}


def tabled(labels, probabilities, patient, per, folds=None):
    rows, classes = len(labels), probabilities.shape[1]
    return PredictionTable(
        name="table",
        classes=tuple(f"class {k}" for k in range(classes)),
        image_ids=numbers(rows),
        labels=labels,
        probabilities=probabilities,
        predicted=probabilities.argmax(axis=1),
        folds=folds or (None,) * rows,
        groups=tuple(map(str, patient.tolist())) if per > 1 else (None,) * rows,
    )


@cache
def numbers(rows):
    return tuple(map(str, range(rows)))


def of_matrices(matrix):
    """Return the figures of each confusion matrix, float64 of shape (matrices, classes, classes)."""
    right, true, called = (
        np.diagonal(matrix, axis1=1, axis2=2),
        matrix.sum(axis=2),
        matrix.sum(axis=1),
    )
    recall, accuracy = right / true, right.sum(axis=1) / true.sum(axis=1)
    return {
        "accuracy": accuracy,
        "patient_recognition_rate": accuracy,
        "by_unit": accuracy,
        "sensitivity": recall[:, 1],
        "specificity": recall[:, 0],
        "balanced_accuracy": recall.mean(axis=1),
        "macro_f1": (2 * right / (true + called)).mean(axis=1),
        "cohen_kappa": agreement(matrix, np.eye(matrix.shape[-1])),
        "matthews_corrcoef": matthews(matrix),
    }


def figures(labels, probabilities):
    """Return the figures of rows without number; of all rows alike, not by patient."""
    classes = probabilities.shape[1]
    matrix = np.bincount(labels * classes + probabilities.argmax(axis=1), minlength=classes**2)
    of_matrix = of_matrices(matrix.reshape(1, classes, classes) * 1.0)
    kinds = range(classes) if classes > 2 else [1]
    called, positive = probabilities[:, 1] >= 0.5, labels == 1
    return {name: float(value[0]) for name, value in of_matrix.items()} | {
        "sensitivity at 0.5": called[positive].mean(),
        "specificity at 0.5": 1 - called[~positive].mean(),
        "brier": np.square(probabilities - np.eye(classes)[labels]).sum(axis=1).mean(),
        "auc": np.mean([auc_part(labels == k, probabilities[:, k]).value for k in kinds]),
    }


def ratios(sensitivity, specificity, prevalence):
    """Return predictive values and likelihood ratios, the latter as `even_odds`."""
    yes, no = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    spared, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return {
        "ppv": yes / (yes + no),
        "npv": spared / (spared + missed),
        "lr_positive": even_odds(sensitivity / (1 - specificity)),
        "lr_negative": even_odds((1 - sensitivity) / specificity),
    }


def even_odds(ratio):
    """Return the probability that a likelihood ratio makes of even odds, so that an infinite one has a width too."""
    return 1 - 1 / (1 + np.asarray(ratio, dtype=float))


@cache
def truth_of(design):
    """Return the figures of a design, and its calibration, which is perfect where patients shift nothing."""
    endless = replace(design, units=ENDLESS, per=1, sigma=0.0, dominant=0.0)
    rng = np.random.default_rng(0)
    patient, labels = endless.rows(rng)
    probabilities = endless.probabilities(rng, patient, labels)
    hits = probabilities.argmax(axis=1) == labels
    calibrated = recalibration(probabilities.max(axis=1), hits, units=Units(patient))
    known = figures(labels, probabilities) | {
        key: calibrated[key]["value"] for key in ("slope", "intercept")
    }
    return known | ratios(
        known["sensitivity at 0.5"], known["specificity at 0.5"], (labels == 1).mean()
    )


def recalibrated(name, odds, right, weight):
    """Return the coefficients of a logistic regression of what is right on log odds, and its rows and their slopes."""
    design = np.c_[np.ones(len(odds)), odds] if name == "slope" else np.ones((len(odds), 1))
    offset, at = (0.0 if name == "slope" else odds), np.zeros(design.shape[1])
    for _ in range(50):
        share = expit(design @ at + offset)
        curved = weight * share * (1 - share)
        step = np.linalg.solve((design.T * curved) @ design, design.T @ (weight * (right - share)))
        at = at + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-9:
            break
    return at, design, share


def usual_calibration(table, units):
    """Yield Wald's interval of the calibration of images, that of a sandwich over patients (CR1) of others."""
    confidence, right = table.probabilities.max(axis=1), table.predicted == table.labels
    odds = logit(np.minimum(confidence, SUREST))
    for name in ("slope", "intercept"):
        if right.all() or not right.any():
            continue
        yes, no = odds[right], odds[~right]
        if name == "slope" and not (yes.min() < no.max() and no.min() < yes.max()):
            continue
        at, design, share = recalibrated(name, odds, right, np.ones(len(odds)))
        bread = np.linalg.inv((design.T * (share * (1 - share))) @ design)
        if units.count == len(table):
            half = ndtri(0.975) * bread[-1, -1] ** 0.5
        else:
            summed = np.zeros((units.count, len(at)))
            np.add.at(summed, units.member, design * (right - share)[:, None])
            spread = bread @ (summed.T @ summed) @ bread * units.count / (units.count - 1)
            half = stdtrit(units.count - 1, 0.975) * spread[-1, -1] ** 0.5
        yield name, (at[-1] - half, at[-1] + half)


def usual_ratios(units, truth, called):
    """Yield intervals of likelihood ratios on logarithms: of Simel, and of influences of patients with CR2."""
    images = units.count == len(truth)
    for name, side in (("lr_positive", called), ("lr_negative", ~called)):
        yes, no, true, false = (
            (rows).sum() * 1.0 for rows in (side & truth, side & ~truth, truth, ~truth)
        )
        if not (true and false):
            continue
        if not images and (
            not (yes and no)
            or np.ptp(units.member[truth]) == 0
            or np.ptp(units.member[~truth]) == 0
        ):
            continue
        if not (yes and no):
            yes, no, true, false = yes + 0.5, no + 0.5, true + 0.5, false + 0.5
        ratio, spread = np.log(yes / true / (no / false)), 1 / yes - 1 / true + 1 / no - 1 / false
        quantile = ndtri(0.975)
        if not images:
            total = np.zeros(units.count)
            for rows, sign in ((truth, 1), (~truth, -1)):
                size = np.bincount(units.member, rows, units.count)
                share = side[rows].mean()
                summed = np.bincount(units.member, np.where(rows, side - share, 0.0), units.count)
                total += (
                    sign
                    * summed
                    / size.sum()
                    / share
                    / np.sqrt(np.maximum(1 - size / size.sum(), 1e-9))
                )
            spread, quantile = np.square(total).sum(), stdtrit(units.count - 1, 0.975)
        yield name, even_odds(np.exp(ratio + np.array([-1, 1]) * quantile * spread**0.5))


def parts_by_figure(table, wanted):
    """Return the parts of each figure of a table, and the limits of a part."""
    of_metrics = {
        spec.name: (parts_of(spec, table), spec.limits(table))
        for spec in list_metrics()
        if spec.name in wanted
    }
    truth, called = sides(table)
    of_metrics |= {
        name: ([part for part in [share_part(truth == (name == "ppv"), rows)] if part], (0.0, 1.0))
        for name, rows in (("ppv", called), ("npv", ~called))
        if name in wanted
    }
    if not {"sensitivity", "brier"} & {*wanted}:
        return of_metrics
    yes = share_part(table.predicted == table.labels, table.labels == 1)
    loss = np.square(table.probabilities - np.eye(len(table.classes))[table.labels]).sum(axis=1)
    squared = share_part(loss, np.ones(len(table), dtype=bool))
    return of_metrics | {
        "sensitivity": ([yes], (0.0, 1.0)),
        "brier": ([replace(squared, finer=np.inf)], (0.0, 2.0)),
    }


def sides(table):
    """Return which rows are of the second class, and which are called so."""
    return table.labels == 1, table.probabilities[:, 1] >= 0.5


def called_intervals(table, units):
    """Return our intervals of predictive values and likelihood ratios."""
    known = point_figures(units, *sides(table))
    ends = {name: known[name] and known[name].interval for name in CALLED}
    return {
        name: even_odds(some) if some and name.startswith("lr") else some
        for name, some in ends.items()
    }


def intervals_of(table, units, parts, wanted):
    """Return our intervals of a table by figure, None where there is none."""
    hits, everywhere = table.predicted == table.labels, np.ones(len(table), dtype=bool)
    inside = {"accuracy": everywhere, "sensitivity": table.labels == 1}
    ends = {
        name: (
            units.share(hits, inside[name])
            if name in inside
            else interval(some, units, limits=limits)
        ).interval
        for name, (some, limits) in parts.items()
        if some and name not in ("brier", *CALLED)
    }
    if {"slope", "intercept"} & {*wanted}:
        sure = recalibration(table.probabilities.max(axis=1), hits, units=units)
        ends |= {name: sure[name] and sure[name]["interval"] for name in ("slope", "intercept")}
    if {*CALLED} & {*wanted}:
        ends |= called_intervals(table, units)
    return ends | ({"brier": brier_score(table, units).interval} if "brier" in wanted else {})


def others(table, units, parts):
    """Return the interval of each figure by the method that is usual for it: Clopper and Pearson's, or influences.

    The influences of units with the correction CR2, Student's quantile for as many units (of images the normal one),
    on logits where the figure is a share or an AUC: DeLong's, and Obuchowski's of units.
    """
    images = units.count == len(table)
    for name, (some, limits) in parts.items():
        if not some:
            continue
        value = np.mean([part.value for part in some])
        if images and name in ("accuracy", "sensitivity", "ppv", "npv") and limits == (0.0, 1.0):
            yield name, exact(value, some[0].sides[0].sum())
            continue
        total = np.zeros(units.count)
        for part in some:
            for side in part.sides:
                size = np.bincount(units.member[side], minlength=units.count)
                size = np.minimum(size, 1) if part.by_unit else size
                summed = np.bincount(units.member, np.where(side, part.effect, 0.0), units.count)
                total += summed / np.sqrt(np.maximum(1 - size / size.sum(), 1e-9)) / len(some)
        half = (ndtri(0.975) if images else stdtrit(units.count - 1, 0.975)) * np.square(
            total
        ).sum() ** 0.5
        if limits != (0.0, 1.0) or not 0 < value < 1:
            yield name, (value - half, value + half)
        else:
            yield name, expit(logit(value) + np.array([-half, half]) / (value * (1 - value)))


def usual_test(change, units):
    """Return the p of the cluster t test, or of McNemar's exact one where rows are units."""
    if not change.any():
        return 1.0
    if units.count == len(change):
        return min(
            1.0,
            2 * bdtr(min((change > 0).sum(), (change < 0).sum()), int((change != 0).sum()), 0.5),
        )
    total = np.bincount(units.member, change)
    spread = np.square(total - total.mean()).sum() * len(total) / (len(total) - 1)
    return 2 * stdtr(len(total) - 1, -abs(change.sum()) / spread**0.5)


def held(counts, ends, usual, truth, figure, *kind):
    """Note of our interval and of the usual one whether it holds the truth, how wide it is, and whether there is one.

    Of the tables that have both, their number and both widths are noted too, as (0, 1, ours, usual).
    """
    widths = []
    for key, bounds in (("ours", ends), ("usual", usual)):
        low, high = (np.nan, np.nan) if bounds is None else bounds
        known = np.isfinite(low) and np.isfinite(high)
        widths.append(high - low if known else np.nan)
        counts[figure, key, *kind] += (
            1,
            known,
            known and low <= truth <= high,
            widths[-1] if known else 0.0,
        )
    if np.isfinite(widths).all():
        counts[figure, "both", *kind] += (0, 1, *widths)


def note(counts, tables, truths, wanted):
    """Note what the intervals of the first table hold, those of its difference from two others, and what tests reject.

    The second table is of a classifier as good as the first's, the third of a better one.
    """
    first, (truth, *_) = tables[0], truths
    units = Units.of(first)
    parts = parts_by_figure(first, wanted)
    usual = dict(
        chain(
            others(first, units, parts),
            usual_calibration(first, units),
            usual_ratios(units, *sides(first)),
        )
    )
    for figure, ends in intervals_of(first, units, parts, wanted).items():
        if figure in truth and figure in wanted:
            held(counts, ends, usual.get(figure), truth[figure], figure)
    for second, against, key, rejected in zip(
        tables[1:], truths[1:], ("equal", "better"), ("rejects", "power"), strict=False
    ):
        apart = {
            name: against.get(called := f"{name} at 0.5", against[name])
            - truth.get(called, truth[name])
            for name in DIFFERENCES
        }
        pairs = difference_parts(first, second, units, TwoClassView(first.classes[1:2]))
        usual = dict(
            others(first, units, {name: (some, (-1.0, 1.0)) for name, some in pairs.items()})
        )
        for figure, some in pairs.items():
            ends = difference_interval(some, units).interval
            held(counts, ends, usual.get(figure), apart[figure], figure, key)
        change = (second.predicted == second.labels) * 1 - (first.predicted == first.labels)
        counts[rejected, "ours"] += (1, 1, paired_test(change, units)["p"] <= 0.05, 0)
        counts[rejected, "usual"] += (1, 1, usual_test(change, units) <= 0.05, 0)


def fixed(counts, name, number, wanted):
    design = DESIGNS[name]
    better = replace(design, distance=design.distance + BETTER)
    rng = np.random.default_rng([list(DESIGNS).index(name), number])
    patient, labels = design.rows(rng)
    three = (design, design, better)[: compared(wanted)]
    tables = [
        tabled(labels, each.probabilities(rng, patient, labels), patient, design.per)
        for each in three
    ]
    note(counts, tables, [truth_of(each) for each in three], wanted)


def compared(wanted):
    """Return how many tables are needed: differences and tests are only measured along with all figures."""
    return 3 if len(wanted) == len(FIGURES) else 1


def crossed(counts, name, number, wanted):
    """Cross-validate two classifiers that are worth the same, and a better one, each on dimensions of its own."""
    case = CROSSED[name]
    rng = np.random.default_rng([100 + list(CROSSED).index(name), number])
    x, y = case.draw(rng, case.images // case.per, case.per)
    patient = np.arange(case.images) // case.per
    order = rng.permutation(patient[-1] + 1)
    order = order[np.argsort(y[:: case.per][order], kind="stable")]
    folds = (np.argsort(order) % FOLDS)[patient]  # as many of each class in every fold
    training = (folds != np.arange(FOLDS)[:, None]).astype(float)
    share = 1 - training.mean(axis=1)
    tables, truths = [], []
    fresh = case.draw(rng, FRESH, 1) if case.learner == "lightgbm" else None
    for side, apart in enumerate((APART, APART, APART_BETTER)[: compared(wanted)]):
        part = slice(20 * side, 20 * side + 20)
        if fresh is None:
            weights = case.linear(x[:, part], y, training)
            scores = expit((weights[folds, 1:] * x[:, part]).sum(axis=1) + weights[folds, 0])
            each, known = case.truth(weights, apart), case.recalibrated(weights, apart, share)
        else:
            models = [case.fit(x[row > 0, part], y[row > 0]) for row in training]
            scores = np.stack([predict(x[:, part]) for predict in models])[folds, np.arange(len(y))]
            new = [predict(fresh[0][:, part]) for predict in models]
            some = [figures(fresh[1], np.stack([1 - of_new, of_new], axis=1)) for of_new in new]
            each = {figure: np.array([values[figure] for values in some]) for figure in some[0]}
            odds, right = (
                np.concatenate(rows)
                for rows in zip(*map(confident, new, repeat(fresh[1])), strict=True)
            )
            weight = np.repeat(share, FRESH)
            known = {
                key: recalibrated(key, odds, right, weight)[0][-1] for key in ("slope", "intercept")
            }
        tables.append(
            tabled(
                y, np.stack([1 - scores, scores], axis=1), patient, case.per, tuple(folds.tolist())
            )
        )
        known |= {figure: value @ share for figure, value in each.items()}
        truths.append(known | ratios(known["sensitivity"], known["specificity"], 0.5))
    note(counts, tables, truths, wanted)


def confident(scores, labels):
    """Return the log odds of the predicted class of each case, and whether it is right."""
    return logit(np.minimum(np.maximum(scores, 1 - scores), SUREST)), (scores >= 0.5) == labels


def work(task):
    """Do some tables of one design."""
    name, start, stop, *wanted = task
    total = defaultdict(lambda: np.zeros(4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sets of images without one class
        for number in range(start, stop):
            (fixed if name in DESIGNS else crossed)(total, name, number, wanted or FIGURES)
    return name, dict(total)


def measure(names, *, tables, jobs, first=0, wanted=FIGURES):
    """Yield after every round, of up to `ROUND` tables a design, how many were drawn so far, and the counts by design.

    Counts are, by figure and method, tables, known intervals, how many hold the truth (or reject), and widths, summed.
    """
    counts = {name: defaultdict(lambda: np.zeros(4)) for name in names}
    with get_context("spawn").Pool(jobs) as pool:
        for start in range(0, tables, ROUND):
            stop = min(start + ROUND, tables)
            tasks = [
                (name, first + at, first + min(at + 50, stop), *wanted)
                for name in names
                for at in range(start, stop, 50)
            ]
            for name, part in pool.imap_unordered(work, tasks):
                for key, more in part.items():
                    counts[name][key] += more
            yield stop, counts


def percent(counts):
    """Return how many percent of the intervals hold the truth, or of tests reject."""
    return 100 * counts[2] / counts[1]


def valid(counts, *, least=93.0):
    """Say whether a method holds 93 % within two standard errors, with an interval in nearly every table."""
    tables, known = counts[:2]
    return (
        known > 0.9 * tables
        and percent(counts) >= least - 200 * (least / 100 * (1 - least / 100) / known) ** 0.5
    )


COLUMNS = ("design", "figure", "covers", "width", "without", "usual", "ratio")
"""Of `rows_of`: percent of intervals that hold the truth, mean width in points, percent of tables without an interval,
percent that the usual method's hold, and our width over its width, in brackets if it is not valid. Of ``rejects`` and
``power`` the percent of tests, ours in ``covers``."""


def interval_row(ours, usual, both):
    """Return what follows ``figure`` in a row.

    Of each method, the counts of a figure, or of its difference in pairs that are equal and in pairs that are not: the
    cover is the lower of both, and a method that does not cover both is not valid. `both` are the widths in tables that
    have both intervals.
    """
    tables, known, _, width = np.sum(ours, axis=0)
    if not known:
        return ("", "", "100", "", "")
    row = (
        f"{min(map(percent, ours)):.1f}",
        f"{100 * width / known:.1f}",
        f"{100 * (1 - known / tables):.1f}",
    )
    if not both or not all(counts[1] for counts in usual):
        return (*row, "", "")
    *_, ours_width, usual_width = np.sum(both, axis=0)
    ratio = f"{ours_width / usual_width:.2f}"
    return (
        *row,
        f"{min(map(percent, usual)):.1f}",
        ratio if all(map(valid, usual)) else f"({ratio})",
    )


def rows_of(found, wanted=FIGURES):
    """Return a row of each design and figure, difference and test, see `COLUMNS`."""
    rows = []
    for before, names, kinds in (
        ("", wanted, [()]),
        ("difference of ", DIFFERENCES, [("equal",), ("better",)]),
    ):
        for design, counts in found.items():
            for name in names:
                each = [
                    [counts[key] for kind in kinds if (key := (name, method, *kind)) in counts]
                    for method in ("ours", "usual", "both")
                ]
                if each[0]:
                    rows.append((design, before + name, *interval_row(*each)))
    for design, counts in found.items():
        for test in ("rejects", "power"):
            if (test, "ours") in counts:
                ours, usual = (
                    f"{percent(counts[test, method]):.1f}" for method in ("ours", "usual")
                )
                rows.append((design, test, ours, "", "", usual, ""))
    return rows


def kind_of(design):
    """Return the column of `summary_of` to which a design belongs."""
    if design in CROSSED:
        return "cross-validation"
    return "patients" if "patients" in design else "images"


def summary_of(rows):
    """Return the lines of a Markdown table: the worst design of each kind, ours and (in brackets) the usual one."""
    worst = defaultdict(lambda: defaultdict(list))
    for row in rows:
        design, figure, covers, usual = (
            row[COLUMNS.index(name)] for name in ("design", "figure", "covers", "usual")
        )
        if covers and figure != "power":
            worst[figure][kind_of(design)].append(
                (float(covers), float(usual) if usual else np.nan)
            )
    kinds = ("images", "patients", "cross-validation")
    lines = [f"| lowest coverage, % | {' | '.join(kinds)} |", "| --- " * 4 + "|"]
    for figure, cells in worst.items():
        choose = np.nanmax if figure == "rejects" else np.nanmin
        texts = [
            "{:.1f} ({:.1f})".format(*choose(np.array(cells[kind]), axis=0))
            if kind in cells
            else ""
            for kind in kinds
        ]
        name = (
            "highest rate of rejected equal pairs"
            if figure == "rejects"
            else figure.replace("_", " ")
        )
        lines.append(f"| {name} | {' | '.join(texts)} |")
    return lines


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", type=int, default=400)
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first table, so that others are drawn"
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="designs whose names hold this text")
    parser.add_argument(
        "--figures",
        nargs="+",
        choices=FIGURES,
        default=FIGURES,
        help="only these, and no differences",
    )
    parser.add_argument(
        "--out", type=Path, help="write a row of each design and figure to this CSV file"
    )
    options = parser.parse_args(arguments)
    names = [name for name in (*DESIGNS, *CROSSED) if options.only in name]
    started = time.monotonic()
    rounds = measure(
        names, tables=options.tables, jobs=options.jobs, first=options.first, wanted=options.figures
    )
    for _, found in rounds:
        rows = rows_of(found, options.figures)
        if options.out:  # after each round, so that what is stopped leaves what it has
            with options.out.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    seconds = time.monotonic() - started
    head = [
        f"{options.tables} tables a design, {seconds:.0f} s.",
        machine("numpy", "scipy", "lightgbm"),
        "",
    ]
    sys.stdout.write("\n".join([*head, *summary_of(rows)]) + "\n")


if __name__ == "__main__":
    main()
