"""All heads on real images by patient: BreakHis and IDC, features of MobileNetV2 with ImageNet weights.

Each data set is described once and trained by the commands, in folds that keep patients or slides whole.

    python benchmarks/heads.py ../shared/data --work DIR          # about ten minutes on two cores
"""

from __future__ import annotations

import argparse
import json
import subprocess  # nosec B404
import sys
from pathlib import Path
from typing import Any

HEADS = ("lightgbm", "logistic", "svm", "knn", "prototype", "lda")
FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "auc")


def run(*words: object) -> None:
    """Run a command of bchisto."""
    subprocess.run([sys.executable, "-m", "bchisto", *map(str, words)], check=True)  # nosec B603


def shown(table: dict[str, Any], name: str) -> str:
    """Return a figure in percent with its 95 % interval, as far as that can be estimated."""
    interval = table["intervals"].get(name)
    ends = f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})" if interval else ""
    return f"{100 * table[name]:.1f}{ends}"


def main() -> None:
    """Print a table of each data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="Folder with breakhis, idc and weights.")
    parser.add_argument("--work", type=Path, required=True, help="Folder for the runs.")
    options = parser.parse_args()
    weights = options.data / "weights" / "mobilenetv2_imagenet.weights.h5"
    for name in ("breakhis", "idc"):
        out = options.work / name
        quick = ("--preset", "quick", "--augmentations", 4)
        run("featurize", "--images", options.data / name, "--out", out, *quick, "--weights", weights)
        heads = [word for head in HEADS for word in ("--head", head)]
        run("boost", "--out", out, "--folds", 5, "--preset", "quick", "--seeds", 2, *heads)
        print(f"\n{name}\n\n| head |", " | ".join(FIGURES), "|\n|", " | ".join(["---"] * (1 + len(FIGURES))), "|")
        for head in HEADS:
            metrics = json.loads((out / "boost" / f"5-grouped-{head}" / "metrics.json").read_text())
            table = metrics["tables"]["fusion"]
            print(f"| `{head}` |", " | ".join(shown(table, figure) for figure in FIGURES), "|")
        print(table["intervals"].get("not_estimable", ""))


if __name__ == "__main__":
    main()
