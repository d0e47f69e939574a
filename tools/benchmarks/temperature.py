"""The temperature of a bundle, and the thresholds it holds for wanted sensitivities, on new images.

A bundle gives the mean of the models of all folds. Labelled images have trained all of these but one, so that what is
fitted is fitted on predictions of single models. Here made-up data has as many new images as one likes: how far are
the temperature and the thresholds of `bchisto.evaluate` from what would have been best for the mean?

    python tools/benchmarks/temperature.py --replicates 40          # half an hour on one core
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
from bchisto.evaluate import PredictionTable, apply_temperature, negative_log_likelihood, shrunk_temperature
from bchisto.evaluate.operating import sensitive_threshold

Values = npt.NDArray[np.float64]

SIZES = (60, 100, 200, 400)
WANTED = 0.9
_NEW = 2000


@dataclass(frozen=True)
class Outcome:
    """Losses of the mean of the fold models on new images, and the sensitivity that its threshold reached there."""

    raw: float
    likeliest: float
    shrunk: float
    best: float
    sensitivity: float


def logistic(strength: float) -> Callable[[int], Any]:
    """Return a maker of logistic regressions."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return lambda seed: make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))


def machine(seed: int) -> Any:
    """Return a support-vector machine with probabilities by Platt."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    return CalibratedClassifierCV(make_pipeline(StandardScaler(), SVC(gamma="scale")), ensemble=False, cv=5)


def boosted(rounds: int) -> Callable[[int], Any]:
    """Return a maker of small LightGBM ensembles."""
    from lightgbm import LGBMClassifier

    return lambda seed: LGBMClassifier(
        n_estimators=rounds, num_leaves=7, min_child_samples=5, colsample_bytree=0.5, subsample=0.8, subsample_freq=1,
        random_state=seed, n_jobs=1, verbose=-1,
    )  # fmt: skip


HEADS: dict[str, Callable[[], Callable[[int], Any]]] = {
    "logistic, free": lambda: logistic(1e4),
    "logistic, C = 1": lambda: logistic(1.0),
    "ridge, C = 0.01": lambda: logistic(0.01),
    "SVM": lambda: machine,
    "LightGBM, 60 rounds": lambda: boosted(60),
    "LightGBM, 250 rounds": lambda: boosted(250),
}


def draw(rng: np.random.Generator, size: int, classes: int) -> tuple[Values, npt.NDArray[np.int64], Values, Any]:
    """Draw a design (features, how far classes lie apart, how bent they are) with images to train on and new ones."""
    features, apart, bent = int(rng.choice([10, 40, 200])), float(rng.choice([1.5, 3.0, 5.0])), rng.uniform(0, 0.5)
    centres = rng.normal(0, apart / np.sqrt(features), (classes, features))

    def some(count: int) -> tuple[Values, npt.NDArray[np.int64]]:
        labels = np.arange(count) % classes
        values = centres[labels] + rng.normal(0, 1, (count, features))
        half = features // 2
        values[:, :half] += bent * (values[:, :half] ** 2 - 1)
        return values, labels

    return (*some(size), *some(_NEW))


def replicate(make: Callable[[int], Any], size: int, seed: int) -> Outcome:
    """Cross-validate a head once, and score the mean of its models on new images."""
    from scipy.optimize import minimize_scalar
    from sklearn.model_selection import StratifiedKFold

    rng = np.random.default_rng([seed, size])
    classes, folds = (2, 4)[seed % 2], int(rng.choice([5, 10]))
    values, labels, new, truth = draw(rng, size, classes)
    own, mean = np.zeros((size, classes)), np.zeros((_NEW, classes))
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(values, labels):
        model = make(seed).fit(values[train], labels[train])
        own[test] = model.predict_proba(values[test])
        mean += model.predict_proba(new) / folds
    table = PredictionTable.from_probabilities(
        name="own", classes=tuple(map(str, range(classes))), image_ids=[f"i{k}" for k in range(size)],
        labels=[str(label) for label in labels], probabilities=own, folds=[None] * size, groups=[None] * size,
    )  # fmt: skip

    def loss(temperature: float | None) -> float:
        return negative_log_likelihood(apply_temperature(mean, temperature or 1.0), truth)

    best = minimize_scalar(lambda log_t: loss(float(np.exp(log_t))), bounds=(-3, 3), method="bounded").fun
    positive = np.arange(classes) >= classes // 2
    threshold, _ = sensitive_threshold(own[:, positive].sum(axis=1)[positive[labels]], WANTED)
    reached = (mean[:, positive].sum(axis=1)[positive[truth]] >= threshold).mean()
    likeliest, shrunk = shrunk_temperature(table, penalty=0.0), shrunk_temperature(table, averaged=True)
    return Outcome(loss(1.0), loss(likeliest), loss(shrunk), min(float(best), loss(1.0)), float(reached))


def simulate(
    replicates: int, *, heads: tuple[str, ...] = tuple(HEADS), sizes: tuple[int, ...] = SIZES
) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Yield head, images, and means over replicates; `gain_error` is the standard error of raw less shrunk."""
    for head in heads:
        make = HEADS[head]()
        for size in sizes:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of solvers that stop early, and names of features
                fits = [replicate(make, size, seed) for seed in range(replicates)]
            columns = {name: np.array([getattr(fit, name) for fit in fits]) for name in vars(fits[0])}
            gain = columns["raw"] - columns["shrunk"]
            error = float(gain.std(ddof=1) / np.sqrt(len(gain)))
            means = {name: float(values.mean()) for name, values in columns.items()}
            yield head, size, {**means, "gain_error": error, "worse": float((gain < -0.005).mean())}


def main() -> None:
    """Print the table of `docs/evaluation.md`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=40)
    chosen = parser.parse_args()
    print("| head | images | as it is | likeliest | ours | best | ours worse by over 0.005 | sensitivity for 0.9 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for head, size, at in simulate(chosen.replicates):
        losses = [f"{at[name]:.3f}" for name in ("raw", "likeliest", "shrunk", "best")]
        losses[2] += f" ({at['gain_error']:.3f})"
        cells = [head, str(size), *losses, f"{100 * at['worse']:.0f} %", f"{at['sensitivity']:.3f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
