"""The sensitivity that thresholds for a target of 0.9 reach on images of new patients, of single models and their mean.

    python tools/benchmarks/sensitivity.py --studies 100 --out tools/benchmarks/sensitivity.csv

A study is 40 patients, half of them positive, whose features differ in ten numbers; all others hold nothing. A
classifier of `boost` is trained on each, in folds of whole patients. New patients count the same, however many images
they have. The last column is the specificity of the mean if exactly 90 % of the new positive images were called.
"""

import argparse
import csv
import itertools
import time
from pathlib import Path

import numpy as np
from bchisto.boost.head import TrainingPart
from bchisto.boost.heads import fit_head, known_head
from bchisto.evaluate import PredictionTable, TwoClassView, metrics_of
from bchisto.evaluate.two_class import sensitive_threshold

PATIENTS = 40
NEW = 400
TARGET = 0.9
HEADS = ("lda", "prototype")
FEATURES = (64, 200)
IMAGES = (1, 6)
"""Of each patient, on the average."""
FOLDS = (5, 10)
SHIFT = 0.8
OF_PATIENT = 0.6
"""Standard deviation of what the images of a patient share, if they are several."""

HEADER = (
    *("classifier", "features", "images", "folds", "models", "studies"),
    *("sensitivity", "error", "specificity", "specificity_exact"),
)


def drawn(rng, patients, images, features):
    """Return features, classes and patients of images."""
    sizes = rng.integers(max(1, images // 2), images + images // 2 + 1, size=patients)
    owner = np.repeat(np.arange(patients), sizes)
    truth = owner % 2
    values = rng.normal(size=(len(owner), features))
    if images > 1:
        values += OF_PATIENT * rng.normal(size=(patients, features))[owner]
    values[:, :10] += SHIFT * (truth[:, np.newaxis] - 0.5)
    return values.astype(np.float32)[:, np.newaxis], truth, owner


def by_patient(hits, owner):
    """Return the mean over patients of the share of their images."""
    _, member = np.unique(owner, return_inverse=True)
    return (np.bincount(member, hits) / np.bincount(member)).mean()


def study(number, head, features, images, folds):
    """Return sensitivity and specificity of single models and of their mean; then the specificity at exactly 0.9."""
    rng = np.random.default_rng(number)
    values, truth, owner = drawn(rng, PATIENTS, images, features)
    # patients of the two classes alternate, so that each fold tests as many of both
    fold = owner // 2 % folds
    scores = np.zeros(len(owner))
    new_values, new_truth, new_owner = drawn(rng, NEW, images, features)
    of_new = []
    for held in range(folds):
        rest = fold != held
        patients = [f"p{k}" for k in owner[rest]]
        part = TrainingPart(values[rest], truth[rest], patients, 2, 0, 0)
        (fitted,) = fit_head(head, part, params=[{"seed": 0, "fold_position": 0}])
        model = known_head(head).parse(fitted.data)
        scores[~rest] = model.predict_proba(values[~rest])[:, 1]
        of_new.append(model.predict_proba(new_values)[:, 1])
    names = ("benign", "malignant")
    table = PredictionTable.from_probabilities(
        name="t",
        classes=names,
        image_ids=[f"i{k}" for k in range(len(owner))],
        labels=[names[k] for k in truth],
        probabilities=np.column_stack([1 - scores, scores]),
        folds=(fold + 1).tolist(),
        groups=[f"p{k}" for k in owner],
    )
    view = TwoClassView(("malignant",), sensitivities=(TARGET,))
    (point,) = metrics_of(table, view, bootstrap=0)["two_class"]["wanted"]
    positive = new_truth == 1

    def reached(called):
        """Return sensitivity and specificity of calls."""
        sensitivity = by_patient(called[positive], new_owner[positive])
        return sensitivity, by_patient(~called[~positive], new_owner[~positive])

    mean = np.mean(of_new, axis=0)
    known = truth == 1
    of_single, _ = sensitive_threshold(scores[known], TARGET, units=owner[known])
    single = [reached(of_model >= of_single) for of_model in of_new]
    exact = np.quantile(mean[positive], 1 - TARGET)
    return {
        "single": np.mean(single, axis=0),
        "mean": reached(mean >= point["threshold"]),
        "exact": reached(mean >= exact),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=100, help="studies of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--out", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    started = time.monotonic()
    numbers = range(arguments.first, arguments.first + arguments.studies)
    rows = [HEADER]
    for kind in itertools.product(HEADS, FEATURES, IMAGES, FOLDS):
        results = [study(number, *kind) for number in numbers]
        exact = np.mean([result["exact"][1] for result in results])
        for models in ("single", "mean"):
            reached = np.array([result[models] for result in results])
            sensitivity, specificity = reached.mean(axis=0)
            error = reached[:, 0].std() / len(results) ** 0.5
            figures = [f"{value:.3f}" for value in (sensitivity, error, specificity, exact)]
            rows.append([*kind, models, len(results), *figures])
            print(*rows[-1])
    if arguments.out is not None:
        with arguments.out.open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle, lineterminator="\n").writerows(rows)
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
