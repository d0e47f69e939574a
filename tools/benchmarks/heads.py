"""All heads on real images by patient: BreakHis and IDC, features of MobileNetV2 with ImageNet weights.

Each data set is described once and trained by the commands, in folds that keep patients or slides whole. Of each slide
of BreakHis at most four images are taken: 67 of the 104 that are here are of one slide.

    python tools/benchmarks/heads.py ../shared/data --work DIR          # about ten minutes on two cores
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess  # nosec B404
import sys
from pathlib import Path
from typing import Any

from bchisto.data.layouts import BREAKHIS_NAME

HEADS = ("lightgbm", "logistic", "svm", "knn", "prototype", "lda")
_EACH = 4
"""Images of a slide of BreakHis at most."""

FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "auc")


def run(*words: object) -> str:
    """Run a command of bchisto, and return the first line that it prints; 1 says that images were left out."""
    command = [sys.executable, "-m", "bchisto", *map(str, words)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)  # nosec B603
    if done.returncode > 1:
        done.check_returncode()
    return done.stdout.partition("\n")[0]


def shown(table: dict[str, Any], name: str) -> str:
    """Return a figure in percent with its 95 % interval, as far as that can be estimated."""
    interval = table[name]["interval"]
    ends = f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})" if interval else ""
    return f"{100 * table[name]['value']:.1f}{ends}"


def of_each_slide(images: Path, manifest: Path) -> Path:
    """Write a manifest of a few images of each slide of BreakHis."""
    chosen: dict[str, list[Path]] = {}
    for path in sorted(images.rglob("*.png")):
        match = BREAKHIS_NAME.fullmatch(path.name)
        if match is not None and len(some := chosen.setdefault(match.group(4), [])) < _EACH:
            some.append(path)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    with manifest.open("w", newline="", encoding="utf-8") as handle:
        write = csv.writer(handle).writerow
        write(("path", "label", "group"))
        for slide, paths in chosen.items():
            for path in paths:
                write((path, "benign" if "_B_" in path.name else "malignant", slide))
    return manifest


def main() -> None:
    """Print a table of each data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="Folder with breakhis, idc and weights.")
    parser.add_argument("--work", type=Path, required=True, help="Folder for the runs.")
    options = parser.parse_args()
    weights = options.data / "weights" / "mobilenetv2_imagenet.weights.h5"
    for name in ("breakhis", "idc"):
        out, images = options.work / name, options.data / name
        if name == "breakhis":
            images = of_each_slide(images, options.work / "breakhis.csv")
        quick = ("--preset", "quick", "--augmentations", 4, "--skip-errors")
        done = run("featurize", "--images", images, "--out", out, *quick, "--weights", weights)
        print(f"\n{name}: {done}")
        heads = [word for head in HEADS for word in ("--head", head)]
        run("boost", "--out", out, "--folds", 5, "--preset", "quick", "--seeds", 2, *heads)
        print("| head |", " | ".join(FIGURES), "|\n|", " | ".join(["---"] * (1 + len(FIGURES))), "|")
        for head in HEADS:
            metrics = json.loads((out / "boost" / f"5-grouped-{head}" / "metrics.json").read_text())
            table = metrics["tables"]["fusion"]
            print(f"| `{head}` |", " | ".join(shown(table, figure) for figure in FIGURES), "|")
        print({name: table[name]["reason"] for name in FIGURES if table[name]["reason"]} or "")


if __name__ == "__main__":
    main()
