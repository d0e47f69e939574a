"""Write tests/evaluate/golden: what `bchisto evaluate` made of three small tables.

Run once, with that release. `test_golden.py` compares what is made now.
"""

import csv
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "golden"
BACH = ("Normal", "Benign", "InSitu", "Invasive")


def write_predictions(folder):
    """Four classes in folds, with patients; two classes without probabilities; four classes, one without an image."""
    rng = np.random.default_rng(2018)
    folder.mkdir(parents=True, exist_ok=True)
    for name, classes, labels in (("folds", BACH, rng.integers(0, 4, 48)), ("lacking", BACH, rng.integers(0, 3, 20))):
        scores = rng.integers(1, 9, (len(labels), 4)).astype(float)
        scores[np.arange(len(labels)), labels] += 5
        with (folder / f"{name}.csv").open("w", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            folds = ["fold", "group"] if name == "folds" else []
            writer.writerow(["image_id", "label", *folds, *(f"p_{label}" for label in classes)])
            for place, (label, row) in enumerate(zip(labels, scores / scores.sum(axis=1, keepdims=True), strict=True)):
                more = [place % 4 + 1, f"patient{place % 16}"] if folds else []
                writer.writerow([f"i{place:02d}", classes[label], *more, *map(repr, row.tolist())])
    with (folder / "called.csv").open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["image_id", "label", "predicted", "fold"])
        for place, (label, called) in enumerate(rng.integers(0, 2, (30, 2)).tolist()):
            names = ("benign", "malignant")
            writer.writerow([f"j{place:02d}", names[label], names[called if place % 3 else label], place % 3 + 1])
    return [folder / f"{name}.csv" for name in ("folds", "called", "lacking")]


def evaluate_all(out):
    """Evaluate the three tables side by side; return the folder."""
    from bchisto.evaluate import evaluate
    from bchisto.evaluate.report import write_evaluation

    write_evaluation(
        evaluate([FOLDER / f"{name}.csv" for name in ("folds", "called", "lacking")], out=out, bootstrap=200)
    )
    return out


if __name__ == "__main__":
    import tempfile

    if "--write" in sys.argv:
        write_predictions(FOLDER)
        with tempfile.TemporaryDirectory() as place:
            made = evaluate_all(Path(place))
            (FOLDER / "expected").mkdir(exist_ok=True)
            (FOLDER / "expected" / "metrics.json").write_bytes((made / "metrics.json").read_bytes())
