"""Predicting with all models of the published experiment: one descriptor, and an image of 50 augmentations.

Trains one model of each width at the published size and predicts with as many copies as the experiment has.

Run: python tools/benchmarks/predict.py [--images 240 --augmentations 20]
"""

import argparse
import os

from timing import interleaved, machine, pin_one_thread

pin_one_thread()
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np  # noqa: E402 - after the threads are pinned
from bchisto.boost import PRESETS, fit_text, model_params, pack_text, parse_model  # noqa: E402
from descriptors import make_descriptors  # noqa: E402

STORES = {2048: 4, 1408: 2}
"""Width of a descriptor to number of stores: ResNet-50 and InceptionV3, VGG-16, in two views."""

MODELS = 50
"""Per store: ten folds, five seeds."""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--augmentations", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    preset = PRESETS["published"]
    params = model_params(preset, classes=4, seed=0, fold_position=0)
    rng = np.random.default_rng(0)
    models, trees = [], 0
    for dim, stores in STORES.items():
        features, labels = make_descriptors(options.images, options.augmentations, dim)
        text = fit_text(features, labels, params=params, rounds=preset.rounds)
        trees += stores * MODELS * text.count("\nTree=")
        image = features[
            rng.integers(options.images, size=50), rng.integers(options.augmentations, size=50)
        ][np.newaxis]
        models += [(parse_model(pack_text(text)), image) for _ in range(stores * MODELS)]
    ways = {
        "one descriptor of each store": lambda: [
            model.predict_proba(image[:, :1]) for model, image in models
        ],
        "an image of 50 augmentations": lambda: [
            model.predict_proba(image) for model, image in models
        ],
    }
    print(machine("lightgbm", "numpy"))
    print(f"\n{len(models)} models, {trees:,} trees, one core, after loading\n")
    print("| what | median ms | min to max ms |")
    print("| --- | --- | --- |")
    for name, seconds in interleaved(ways, rounds=options.rounds).items():
        print(
            f"| {name} | {1e3 * np.median(seconds):.0f} | {1e3 * min(seconds):.0f} to {1e3 * max(seconds):.0f} |"
        )


if __name__ == "__main__":
    main()
