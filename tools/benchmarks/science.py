"""The values that the figures of `docs/results` rest on, of fixed synthetic images and features, part by part.

Prints the parts whose values differ from `core/runs/published/science.json`. `--write` replaces their values. Then
rows of `docs/results` that rest on them are printed with the version that measured them, until they are measured again.

    python tools/benchmarks/science.py
    python tools/benchmarks/science.py --write
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from bchisto.boost import BoostSettings, train
from bchisto.core.jobs import Work
from bchisto.data import ImageSelection
from bchisto.evaluate import evaluate
from bchisto.featurize import FeaturizeSettings, featurize, load_features
from bchisto.stains import augment_he, make_normalizer
from PIL import Image

FILE = Path(__file__).resolve().parents[2] / "core" / "runs" / "published" / "science.json"
TISSUES = Path(__file__).resolve().with_name("science_images")
STAINS = (
    *("macenko", "none", "macenko-robust", "macenko-published", "clahe", "whitening", "demean"),
    *("gaussian-clahe", "clahe-whitening", "whitening-clahe"),
)
"""A further method changes no figure that is published, and so is not among them."""
TISSUE_CLASSES = ("Normal", "Benign", "InSitu", "Invasive")
CLASSES = ("benign", "malignant")
TOLERANCES = {"stains": 0.5, "features": 0.005, "folds": 0.0, "models": 0.01, "metrics": 1e-4}
"""What other machines and versions of packages may change: grey levels; a share of the largest feature; probabilities;
figures. Values that differ by less are equal."""


def tissues() -> list[Any]:
    """Return a synthetic image of each class, drawn once."""
    return [np.array(Image.open(TISSUES / f"{label}.png")) for label in TISSUE_CLASSES]


def values_of_stains() -> list[float]:
    """Return mean colours of 4 x 4 areas of each tissue, by every method and with other stains."""
    values: list[float] = []
    for tissue in tissues():
        images = [make_normalizer(name).normalize_with_estimate(tissue)[0] for name in STAINS]
        images.append(augment_he(tissue, hematoxylin=1.2, eosin=0.8))
        for image in images:
            values += image.reshape(4, 48, 4, 64, 3).mean(axis=(1, 3)).ravel().tolist()
    return values


def values_of_features(folder: Path) -> list[float]:
    """Return features of the tissues in both modes, by a network with random weights."""
    rows = ["image_id,label"]
    for label, tissue in zip(TISSUE_CLASSES, tissues(), strict=True):
        Image.fromarray(tissue).save(folder / f"{label}.png")
        rows.append(f"{label}.png,{label}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    values: list[float] = []
    for mode in ("exact", "dense"):
        settings = FeaturizeSettings(
            encoders="mobilenetv2",
            views="0.5:64",
            augmentations=2,
            crops=3,
            mode=mode,
            weights="random",
        )
        images = ImageSelection(folder / "manifest.csv")
        featurize(images, out=folder / mode, settings=settings, work=Work(jobs=1))
        features = load_features(folder / mode).X[:, :64]
        values += (features / np.abs(features).max()).ravel().tolist()
    return values


def features_of_patients(folder: Path) -> Path:
    """Write features of 60 images of 20 patients, two classes that overlap."""
    rng = np.random.default_rng(7)
    labels = np.repeat(CLASSES, 30)
    features = rng.normal(size=(60, 12))
    features[30:, :4] += 0.8
    path = folder / "features.npz"
    np.savez(
        path,
        features=features.astype(np.float32),
        image_id=[f"i{number:02}" for number in range(60)],
        label=labels,
        group=[f"p{number // 3:02}" for number in range(60)],
    )
    return path


def numbers_in(value: Any) -> Iterator[float]:
    """Yield every number of what a JSON file holds."""
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers_in(item)
    elif isinstance(value, (int, float)):
        yield float(value)


def values_of_training(folder: Path) -> dict[str, list[float]]:
    """Return folds of patients, and probabilities of each classifier."""
    settings = BoostSettings(heads=("lightgbm", "logistic", "svm", "lda", "knn"), seeds=2)
    features = features_of_patients(folder)
    results = train(
        features=features, out=folder / "run", folds=4, settings=settings, work=Work(jobs=1)
    )
    probabilities: list[float] = []
    for result in results:
        probabilities += result.panel.table.probabilities[:, 0].tolist()
    folds = [float(fold) for fold in results[0].panel.table.fold_array]
    return {"folds": folds, "models": probabilities}


def values_of_metrics(folder: Path) -> list[float]:
    """Return every figure of the evaluation of two tables of predictions, and of their comparison."""
    rng = np.random.default_rng(11)
    tables = []
    for name in ("first", "second"):
        rows = ["image_id,label,group,fold,p_benign,p_malignant"]
        for number in range(90):
            positive = round(float(rng.beta(2, 2 + 2 * (number < 45))), 4)
            label = CLASSES[number >= 45]
            group = number // 4
            rows.append(f"i{number},{label},p{group},{group % 5},{1 - positive:.4f},{positive}")
        tables.append(folder / f"{name}.csv")
        tables[-1].write_text("\n".join(rows))
    result = evaluate(tables, out=folder / "evaluation").result
    # facts that came after the values were kept, and are no figures
    for metrics in result["tables"].values():
        del metrics["learnt"], metrics["units"]["trained_groups"], metrics["units"]["of_class"]
        metrics.get("choice", {}).pop("idle", None)
        metrics.get("calibration", {}).pop("floored", None)
    for pair in result["comparisons"]:
        del pair["ungrouped"]
    return list(numbers_in(result))


def measure_science() -> dict[str, list[float]]:
    """Return the values of each part."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        return {
            "stains": values_of_stains(),
            "features": values_of_features(folder),
            **values_of_training(folder),
            "metrics": values_of_metrics(folder),
        }


def differing(values: dict[str, list[float]], kept: dict[str, list[float]]) -> list[str]:
    """Return the parts whose values are not those that are kept."""
    parts = []
    for part, numbers in values.items():
        others = kept.get(part, [])
        if len(others) != len(numbers) or not np.allclose(
            numbers, others, rtol=0, atol=TOLERANCES[part]
        ):
            parts.append(part)
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    kept = json.loads(FILE.read_text()) if FILE.is_file() else {}
    values = measure_science()
    changed = differing(values, kept)
    print("differ:", ", ".join(changed) or "none")
    if not arguments.write:
        sys.exit(bool(changed))
    for part in changed:
        kept[part] = [float(f"{number:.5g}") for number in values[part]]
    lines = [f'"{part}": {json.dumps(numbers)}' for part, numbers in kept.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
