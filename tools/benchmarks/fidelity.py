"""Dense mode against exact mode: how alike the descriptors are, and what becomes of the accuracy.

Real images and real MobileNetV2 weights from the folder of shared data, and synthetic tissue.

Run: python tools/benchmarks/fidelity.py [--shared ../shared] [--sets breakhis,idc,synthetic]
"""

import argparse
import dataclasses
import os
import tempfile
import time
from pathlib import Path

from timing import machine, pin_one_thread

pin_one_thread()

import numpy as np  # noqa: E402 - after the threads are pinned
from bchisto.boost import PRESETS, fit_text, model_params, pack_text, parse_model  # noqa: E402
from bchisto.core.jobs import Work  # noqa: E402
from bchisto.data import fold_plan, make_bach  # noqa: E402
from bchisto.encoders import EncoderChoice  # noqa: E402
from bchisto.featurize import FeaturizeSettings, View, featurize, open_store  # noqa: E402
from bchisto.featurize.crops import Augmentation  # noqa: E402

SEEDS = 5
SETS = {
    # name: view, augmentations, crops, folds, group_by
    "breakhis": (View(1.0, 224), 6, 10, 5, "none"),
    "idc": (View(2.0, 64), 4, 6, 5, "group"),
    "synthetic": (View(0.5, 200), 6, 10, 5, "none"),
}
TURN = Augmentation.turn_frame


def stores(images, folder, settings):
    """Describe exactly, densely, and densely without turning frames; returns arrays, labels, groups and seconds."""
    results, seconds = {}, {}
    ways = {
        "exact": ("exact", TURN),
        "dense": ("dense", TURN),
        "dense, frame as it is": ("dense", lambda _, image: image),
    }
    for name, (mode, turn) in ways.items():
        Augmentation.turn_frame = turn
        run = folder / name.replace(" ", "-")
        started = time.process_time()
        result = featurize(
            images, out=run, settings=dataclasses.replace(settings, mode=mode), work=Work(jobs=1, skip_errors=True)
        )
        seconds[name] = time.process_time() - started
        with open_store(result.stores[0]) as store:
            results[name] = store.features()
            facts = store.image_ids, store.labels, [group or None for group in store.groups]
    Augmentation.turn_frame = TURN
    return results, facts, seconds


def cosines(a, b):
    """Cosine of the mean descriptors of each image, as they are and centred over images."""
    a, b = a.mean(axis=1), b.mean(axis=1)

    def mean(x, y):
        return float(((x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)).mean())

    return mean(a, b), mean(a - a.mean(axis=0), b - b.mean(axis=0))


def accuracies(train, test, labels, plan, ids):
    """Accuracy over all tested images, per seed."""
    preset = PRESETS["quick"]
    classes = sorted(set(labels))
    truth = np.array([classes.index(label) for label in labels])
    row_of = {name: row for row, name in enumerate(ids)}
    accuracies_of_folds = []
    for seed in range(SEEDS):
        hits = []
        for position, fold in enumerate(plan.folds):
            inside = [row_of[name] for name in plan.images(fold, "train")]
            tested = [row_of[name] for name in plan.images(fold, "test")]
            params = model_params(preset, classes=len(classes), seed=seed, fold_position=position)
            model = parse_model(pack_text(fit_text(train[inside], truth[inside], params=params, rounds=preset.rounds)))
            hits.append(model.predict_proba(test[tested]).argmax(axis=1) == truth[tested])
        accuracies_of_folds.append(float(np.concatenate(hits).mean()))
    return accuracies_of_folds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("BCHISTO_SHARED", "../shared")))
    parser.add_argument("--sets", default="breakhis,idc,synthetic")
    options = parser.parse_args()
    weights = options.shared / "data" / "weights" / "mobilenetv2_imagenet.weights.h5"
    print(machine("tensorflow", "keras", "lightgbm"))
    for name in options.sets.split(","):
        view, augmentations, crops, folds, group_by = SETS[name]
        with tempfile.TemporaryDirectory() as folder:
            images = options.shared / "data" / name
            if name == "synthetic":
                images = make_bach(Path(folder) / "images", images_per_class=24, seed=3, jobs=2)
            settings = FeaturizeSettings(
                encoders=(EncoderChoice("mobilenetv2"),), weights=(str(weights),), views=(view,),
                augmentations=augmentations, crops=crops,
            )  # fmt: skip
            features, (ids, labels, groups), seconds = stores(images, Path(folder), settings)
        plan = fold_plan(str(folds), image_ids=ids, labels=labels, groups=groups, group_by=group_by)
        drawn = f"view {view.scale}:{view.crop}, {augmentations} augmentations, {crops} crops"
        print(f"\n{name}: {len(ids)} images, {drawn}, {plan.name} folds, {SEEDS} seeds\n")
        print(
            "| trained on | predicts | accuracy, mean over seeds | spread of seeds | cosine | centred | CPU seconds |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for train, test in [
            ("exact", "exact"),
            *((way, way) for way in features if way != "exact"),
            ("exact", "dense"),
        ]:
            scores = accuracies(features[train], features[test], labels, plan, ids)
            plain, centred = cosines(features["exact"], features[test])
            cells = [train, test, f"{100 * np.mean(scores):.1f}", f"{100 * np.std(scores):.1f}", f"{plain:.3f}"]
            print(f"| {' | '.join(cells)} | {centred:.2f} | {seconds[test]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
