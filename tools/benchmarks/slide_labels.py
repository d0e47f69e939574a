"""How well a label of a slide is learnt from its pooled fields, if the answer lies in a share of them.

Slides are synthetic: their fields are Gaussian features, and a share of the fields of a positive slide is shifted, as a
focus is. It is measured on patients that trained nothing. Run: python tools/benchmarks/slide_labels.py [--seeds 10]
"""

import argparse

import numpy as np
from bchisto.boost.head import TrainingPart
from bchisto.boost.heads import fit_head, known_head
from bchisto.data import fold_plan
from bchisto.featurize.embeddings.pools import POOLS
from scipy import stats

PATIENTS = 40
SLIDES = 2
"""Of each patient; half of the patients are positive."""

FIELDS = (100, 300)
"""Fewest and most fields of a slide."""

FEATURES = 32
INFORMATIVE = 4
"""Features that a focus shifts."""

SHIFT = 3.0
"""Of a field of a focus, in standard deviations of fields."""

BETWEEN = 0.2
"""Standard deviation between patients, and between slides of a patient: as of stains and scanners."""

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def write_slides(share, seed):
    """Return the fields of each slide, float32 (fields, d), their labels 0 or 1, and their patients."""
    rng = np.random.default_rng(seed)
    slides = []
    labels = []
    patients = []
    for patient in range(PATIENTS):
        of_patient = rng.normal(0, BETWEEN, FEATURES)
        for _ in range(SLIDES):
            fields = rng.normal(size=(rng.integers(*FIELDS, endpoint=True), FEATURES))
            fields += of_patient + rng.normal(0, BETWEEN, FEATURES)
            if patient % 2:
                fields[: max(1, round(share * len(fields))), :INFORMATIVE] += SHIFT
            slides.append(fields.astype(np.float32))
            labels.append(patient % 2)
            patients.append(f"P{patient}")
    return slides, np.array(labels), patients


def pooled(pool, slides):
    """Return the rows of slides, float32 (slides, 1, d)."""
    rows = [
        pool.row(lambda at, of=fields: of[at.start : at.stop], len(fields)) for fields in slides
    ]
    return np.stack(rows)[:, np.newaxis]


def area(rows, labels, patients, seed):
    """Return the mean AUC over five folds that keep patients whole, of bchisto's ``logistic``."""
    images = [str(number) for number in range(len(labels))]
    plan = fold_plan(
        "5", image_ids=images, labels=[str(label) for label in labels], groups=patients, seed=seed
    )
    areas = []
    for fold in plan.folds:
        train, test = (
            np.array([int(image) for image in plan.images(fold, part)])
            for part in ("train", "test")
        )
        of_train = {patients[image] for image in train}
        assert of_train.isdisjoint(patients[image] for image in test)
        part = TrainingPart(
            rows[train], labels[train], [patients[image] for image in train], 2, seed, 0
        )
        (fitted,) = fit_head("logistic", part, params=[{}])
        model = known_head("logistic").parse(fitted.data)
        scores = model.predict_proba(rows[test])[:, 1]
        positive = labels[test] == 1
        rank = stats.mannwhitneyu(scores[positive], scores[~positive]).statistic
        areas.append(rank / (positive.sum() * (~positive).sum()))
    return np.mean(areas)


def interval(values):
    """Return the mean over seeds and its 95 % interval (Student's t)."""
    mean = np.mean(values)
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{mean:.2f} ({mean - half:.2f} to {min(1, mean + half):.2f})"


def main():
    """Print a table: a row for each share of the focus, a column for each pooling."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    seeds = range(parser.parse_args().seeds)
    print("| focus |", " | ".join(f"`{pool.name}`" for pool in POOLS), "|")
    print("| --- |", " | ".join("---" for _ in POOLS), "|")
    for share in SHARES:
        areas = {pool.name: [] for pool in POOLS}
        for seed in seeds:
            slides, labels, patients = write_slides(share, seed)
            for pool in POOLS:
                rows = pooled(pool, slides)
                largest = np.sort(slides[0][:, 0])[::-1][: -(-len(slides[0]) // 10)].mean()
                assert pool.name != "top-tenth" or np.isclose(rows[0, 0, 0], largest)
                areas[pool.name].append(area(rows, labels, patients, seed))
        cells = [interval(areas[pool.name]) for pool in POOLS]
        print(f"| {share:.0%} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
