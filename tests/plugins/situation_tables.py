"""Small tables of predictions of which a statistician knows what may be concluded, and what may not.

Each is made by one of a few builders, from counts and not by chance where that is possible, and is written as a
stranger's program would write it. Nothing here asks bchisto anything.
"""

import csv
from dataclasses import dataclass, field, replace

import numpy as np

TWO = ("benign", "malignant")
THREE = ("benign", "in situ", "invasive")
FOUR = ("A", "B", "C", "D")
FIVE = ("A", "B", "C", "D", "E")


@dataclass(frozen=True)
class Made:
    """A table of predictions.

    Attributes
    ----------
    name : str
        Of its file.
    classes : tuple of str
        With a column of probabilities each.
    truth, predicted : ndarray of int, shape (n,)
        Positions in the classes.
    shares : ndarray of float64, shape (n, classes), or None
        Probabilities; None if only predicted classes are written.
    units : list of str or None
        The patient of each row, None if it is not known.
    column : str
        What the column of patients is called; empty if there is none.
    folds : list of int or None
        None if the table has no column of folds.
    ids : list of str
    says_predicted : bool
        Whether there is a column of predicted classes beside the probabilities.
    more : dict of str to list
        Further columns.
    """

    name: str
    classes: tuple[str, ...]
    truth: np.ndarray
    predicted: np.ndarray
    shares: np.ndarray | None
    units: list
    column: str
    folds: list | None
    ids: list
    says_predicted: bool = False
    more: dict = field(default_factory=dict)

    def write(self, folder):
        """Write the table; return its file."""
        path = folder / f"{self.name}.csv"
        columns = {"image_id": self.ids, "label": [self.classes[k] for k in self.truth]}
        if self.column:
            columns[self.column] = [unit or "" for unit in self.units]
        if self.folds is not None:
            columns["fold"] = self.folds
        if self.shares is not None:
            for name, shares in zip(self.classes, self.shares.T, strict=True):
                columns[f"p_{name}"] = shares.tolist()
        if self.shares is None or self.says_predicted:
            columns["predicted"] = [self.classes[k] for k in self.predicted]
        columns |= self.more
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
        return path


def images(counts, *, classes=TWO, per=4, folds=5, patients="known", column="patient", big=0):
    """Return images of patients without predictions.

    Parameters
    ----------
    counts : sequence of int
        Images of each class.
    per : int
        Images of a patient, who has one class.
    folds : int, or {"patient", "image"}
        That many by patient, each class on its own; 0 for none; one of each patient, or of each image.
    patients : {"known", "unknown", "partly", "divided", "one"}
        In a column; in none; every second patient; in a column, but folds are of images; all images of one patient.
    big : int
        Further images of the last class, all of one patient.
    """
    truth, units, fold = [], [], []
    for label, count in enumerate(counts):
        for k in range(count):
            unit = k // per
            truth.append(label)
            units.append(f"{classes[label][:3]}-{unit:03d}")
            fold.append({"patient": len(set(units)), "image": len(units)}.get(folds) or unit)
    for _ in range(big):
        truth.append(len(counts) - 1)
        units.append("big")
        fold.append(fold[-1] if folds == "image" else 0)
    if isinstance(folds, int) and folds:
        if patients == "divided":
            fold = range(len(fold))
        fold = [number % folds + 1 for number in fold]
    if patients == "partly":
        units = [unit if int(unit[-3:]) % 2 else None for unit in units]
    if patients == "one":
        units = ["the only one"] * len(units)
    if patients == "unknown":
        column = ""
        units = [None] * len(units)
    return Made(
        "t",
        tuple(classes),
        np.array(truth),
        np.array(truth),
        None,
        units,
        column,
        list(fold) if folds else None,
        [f"image{k:04d}.png" for k in range(len(truth))],
    )


def called_at(table, predicted, top, name):
    """Return a table of calls with these probabilities; the other classes share the rest."""
    count = len(table.classes)
    shares = np.repeat((1 - top)[:, None] / (count - 1), count, axis=1)
    shares[np.arange(len(predicted)), predicted] = top
    return replace(table, predicted=predicted, shares=shares.round(6), name=name)


def scoring(table, scores):
    """Return a table of two classes with these scores of the second."""
    shares = np.stack([1 - scores, scores], axis=1)
    return replace(table, predicted=shares.argmax(axis=1), shares=shares)


def calls(table, right, *, big=None, seed=0, name="t", wrong=None):
    """Return a table whose classes are called right at given rates, errors anywhere among the patients.

    Parameters
    ----------
    right : float or sequence of float
        Of each class.
    big : float, optional
        Of the patient "big".
    wrong : sequence of int, optional
        What a wrong image of each class is called; by default the next class.
    """
    rng = np.random.default_rng(seed)
    predicted = table.truth.copy()
    count = len(table.classes)
    large = np.array([unit == "big" for unit in table.units])
    for label, rate in enumerate(np.broadcast_to(right, count)):
        rows = np.flatnonzero((table.truth == label) & ~large)
        called = wrong[label] if wrong is not None else (label + 1) % count
        predicted[rng.permutation(rows)[round(rate * len(rows)) :]] = called
    if big is not None:
        rows = np.flatnonzero(large)
        predicted[rows[round(big * len(rows)) :]] = (count - 2) % count
    return called_at(table, predicted, 0.75 + 0.2 * rng.random(len(predicted)), name)


def always(table, label, *, name="t", wobble=0.1):
    """Return a table that calls every image one class, with probabilities that say nothing of the truth."""
    predicted = np.full(len(table.truth), label)
    top = 0.8 + wobble * np.random.default_rng(0).random(len(predicted))
    return called_at(table, predicted, top, name)


def ranked(table, *, low, high, overlap):
    """Return a table of two classes whose scores tell these apart, all of them between two numbers.

    Parameters
    ----------
    overlap : float
        The share of images of each class whose score is drawn from the whole range.
    """
    rng = np.random.default_rng(0)
    middle = (low + high) / 2
    draws = rng.random(len(table.truth))
    ends = np.where(
        table.truth == 1, middle + (high - middle) * draws, low + (middle - low) * draws
    )
    anywhere = rng.random(len(table.truth)) < overlap
    scores = np.where(anywhere, low + (high - low) * draws, ends).round(6)
    return scoring(table, scores)


def scored(table, middles, *, high):
    """Return a table of two classes with a score near one of two numbers.

    Parameters
    ----------
    middles : (float, float)
        Of benign and malignant images.
    high : (float, float)
        The share of benign images whose score is near the second number instead.
    """
    scores = np.take(middles, table.truth)
    rows = np.flatnonzero(table.truth == 0)
    scores[rows[7 * np.arange(len(rows)) % 20 < 20 * high[0]]] = high[1]
    scores = (
        scores + np.linspace(-0.05, 0.05, len(scores))[(7 * np.arange(len(scores))) % len(scores)]
    ).round(6)
    return scoring(table, scores)


def overlapping(table, *, apart, seed):
    """Return a table of two classes with normal scores so many standard deviations apart, cut in the middle."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=len(table.truth)) + apart * (table.truth - 0.5)
    scores = (1 / (1 + np.exp(-scores))).round(4)
    return scoring(table, scores)


def blocks(table, patients, *, name):
    """Return a table in which some patients, of both classes in turn, are wholly right and all others wholly wrong."""
    known = list(dict.fromkeys(table.units))
    half = len(known) // 2
    turns = [unit for pair in zip(known[:half], known[half:], strict=True) for unit in pair]
    right = turns[:patients]
    predicted = np.where([unit in right for unit in table.units], table.truth, 1 - table.truth)
    shares = np.where(np.eye(2)[predicted] == 1, 0.8, 0.2)
    return replace(table, predicted=predicted, shares=shares, name=name)


def relabelled(table, count):
    """Return a table in which the first images of each class, so many, have the other class."""
    truth = table.truth.copy()
    for label in (0, 1):
        rows = np.flatnonzero(table.truth == label)[:count]
        truth[rows] = 1 - label
    return replace(
        table, truth=truth, predicted=np.where(truth != table.truth, truth, table.predicted)
    )


def guessed(table, *, seed, name="t"):
    """Return a table of probabilities by chance."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(len(table.classes)), len(table.truth)).round(6)
    return replace(table, predicted=shares.argmax(axis=1), shares=shares, name=name)


def tied(table, rows, called):
    """Return a table in which some rows give all classes the same probability, and `predicted` names one.

    Parameters
    ----------
    rows : sequence of int
    called : int or sequence of int
        The class of each in `predicted`.
    """
    shares, predicted = table.shares.copy(), table.predicted.copy()
    shares[rows] = 1 / len(table.classes)
    predicted[rows] = called
    return replace(table, shares=shares, predicted=predicted, says_predicted=True)


def exchanged(table):
    """Return a table of two classes with their probabilities exchanged."""
    return replace(table, shares=table.shares[:, ::-1], predicted=1 - table.predicted)


def mislabelled(table, fold, *pair):
    """Return a table in which two classes are exchanged in the labels of a fold."""
    inside = np.array(table.folds) == fold
    truth = table.truth.copy()
    for label, other in (pair, pair[::-1]):
        truth[inside & (table.truth == label)] = other
    return replace(table, truth=truth)


def sure(table, *, least):
    """Return a table with probabilities of its calls from `least` to nearly 1, whatever is right."""
    top = np.random.default_rng(1).uniform(least, 0.999, len(table.truth))
    return called_at(table, table.predicted, top, table.name)


def only_classes(table):
    """Return a table without probabilities."""
    return replace(table, shares=None)


def trained_on(table, count):
    """Return a table with the column of `predict` that marks images that trained the models."""
    marks = ["yes" if k < count else "no" for k in range(len(table.truth))]
    return replace(table, more={**table.more, "trained": marks})


def part_of(table, inside):
    """Return the rows of a table where `inside` is true."""
    kept = np.flatnonzero(inside)
    lists = {
        name: [values[k] for k in kept]
        for name in ("units", "folds", "ids")
        if (values := getattr(table, name)) is not None
    }
    return replace(
        table,
        truth=table.truth[kept],
        predicted=table.predicted[kept],
        shares=None if table.shares is None else table.shares[kept],
        more={name: [values[k] for k in kept] for name, values in table.more.items()},
        **lists,
    )


def joined(table, others, inside):
    """Return a table whose rows are those of `others` where `inside` is true."""
    shares = np.where(inside[:, None], others.shares, table.shares)
    predicted = np.where(inside, others.predicted, table.predicted)
    return replace(table, predicted=predicted, shares=shares)


def each_fourth(table):
    """Return which rows are the fourth of their patient, bool of shape (n,)."""
    return np.arange(len(table.truth)) % 4 == 3


def labelled_next(table, drawn):
    """Return a table with the column of `bchisto next`: rows that were drawn at random, and others by doubt."""
    marks = np.where(drawn, "doubt 1, random 2", "doubt 1").tolist()
    return replace(table, more={**table.more, "chosen": marks})


def drawn_rows(table):
    """Return the rows that were drawn at random, if the others of a table were chosen by doubt."""
    marks = table.more.get("chosen", [])
    if not any(mark.startswith("doubt") for mark in marks):
        return table
    return part_of(table, ["random" in mark for mark in marks])


def called_so(table, *names):
    """Return a table with other names of classes."""
    return replace(table, classes=names)


def with_class(table, name):
    """Return a table with a further class that no row has, and that has no probability."""
    empty = np.zeros((len(table.truth), 1))
    return replace(table, classes=(*table.classes, name), shares=np.hstack([table.shares, empty]))


def repeated(table, other):
    """Return two tables of the same images as one: each was tested in two divisions into folds."""
    first = max(table.folds)
    return replace(
        table,
        truth=np.concatenate([table.truth, other.truth]),
        predicted=np.concatenate([table.predicted, other.predicted]),
        shares=np.concatenate([table.shares, other.shares]),
        units=table.units + other.units,
        folds=table.folds + [fold + first for fold in other.folds],
        ids=table.ids + other.ids,
    )
