"""Boosters side by side at equal trees, depth and learning rate: time, memory, accuracy on images not trained on.

LightGBM by bchisto's presets, scikit-learn's HistGradientBoosting, XGBoost (hist) and CatBoost, each in a process of
its own on one core.

Run: python tools/benchmarks/boosters.py [--features STORE.h5] [--images 240 --augmentations 10 --dim 1024]
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time

from timing import machine, pin_one_thread

pin_one_thread()
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np  # noqa: E402 - after the threads are pinned
from descriptors import make_descriptors  # noqa: E402

DEPTH, ROUNDS, RATE = 7, 70, 0.1


def lightgbm(preset):
    from bchisto.boost import PRESETS, fit_text, model_params, pack_text, parse_model

    chosen = PRESETS[preset]

    def fit(features, labels, seed):
        params = model_params(chosen, classes=int(labels.max()) + 1, seed=seed, fold_position=0)
        return parse_model(pack_text(fit_text(features, labels, params=params, rounds=chosen.rounds)))

    return fit, lambda model, rows: model.predict_proba(rows)


def rows(make):
    """Bring an estimator of rows to images: augmentations are rows, probabilities are averaged."""

    def fit(features, labels, seed):
        return make(seed).fit(features.reshape(-1, features.shape[2]), np.repeat(labels, features.shape[1]))

    def predict(model, features):
        flat = model.predict_proba(features.reshape(-1, features.shape[2]))
        return flat.reshape(len(features), features.shape[1], -1).mean(axis=1)

    return fit, predict


def hist(seed):
    from sklearn.ensemble import HistGradientBoostingClassifier as Booster

    return Booster(learning_rate=RATE, max_iter=ROUNDS, max_depth=DEPTH, max_leaf_nodes=None, max_features=0.46,
                   early_stopping=False, random_state=seed)  # fmt: skip


def xgboost(seed):
    from xgboost import XGBClassifier

    return XGBClassifier(learning_rate=RATE, n_estimators=ROUNDS, max_depth=DEPTH, colsample_bytree=0.46, n_jobs=1,
                         tree_method="hist", random_state=seed)  # fmt: skip


def catboost(seed):
    from catboost import CatBoostClassifier

    return CatBoostClassifier(learning_rate=RATE, iterations=ROUNDS, depth=DEPTH, rsm=0.46, thread_count=1, verbose=0,
                              allow_writing_files=False, random_seed=seed)  # fmt: skip


WAYS = {
    "LightGBM, preset published": lambda: lightgbm("published"),
    "LightGBM, preset quick": lambda: lightgbm("quick"),
    "HistGradientBoosting": lambda: rows(hist),
    "XGBoost hist": lambda: rows(xgboost),
    "CatBoost": lambda: rows(catboost),
}
NEEDS = {"XGBoost hist": "xgboost", "CatBoost": "catboost"}


def data(options):
    """Return features, labels, and which images train: every other one, whole groups where they are known."""
    if options.features is None:
        features, labels = make_descriptors(options.images, options.augmentations, options.dim)
        return features, labels, np.random.default_rng(0).permutation(np.arange(len(labels)) % 2 == 0)
    from bchisto.data import fold_plan
    from bchisto.featurize import open_store

    with open_store(options.features) as store:
        features, ids, named = store.features(), store.image_ids, store.labels
        groups = [group or None for group in store.groups]
    classes = sorted(set(named))
    tested = set(fold_plan("2", image_ids=ids, labels=named, groups=groups).images(1, "test"))
    return features, np.array([classes.index(n) for n in named]), np.array([name not in tested for name in ids])


def measure(name, options):
    import resource

    features, labels, train = data(options)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fit, predict = WAYS[name]()
    seconds, right = [], []
    for seed in range(options.seeds):
        started = time.process_time()
        model = fit(features[train], labels[train], seed)
        seconds.append(time.process_time() - started)
        right.append(float((predict(model, features[~train]).argmax(axis=1) == labels[~train]).mean()))
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(
        json.dumps({"seconds": seconds, "right": right, "megabytes": more / 1024, "shape": list(features[train].shape)})
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features")
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--augmentations", type=int, default=10)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        measure(options.only, options)
        return
    print(machine("lightgbm", "scikit-learn", "numpy"))
    base = None
    for name in WAYS:
        if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
            print(f"| {name} | not installed |")
            continue
        command = [sys.executable, __file__, *sys.argv[1:], "--only", name]
        timings = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        )
        median = float(np.median(timings["seconds"]))
        if base is None:
            base = median
            images, augmentations, dim = timings["shape"]
            shape = f"{images} images x {augmentations} augmentations x {dim}"
            print(f"\n{shape}, {ROUNDS} rounds of depth {DEPTH}, one core\n")
            print("| booster | seconds a model | of LightGBM's time | memory, MB | accuracy | spread of seeds |")
            print("| --- | --- | --- | --- | --- | --- |")
        cells = [name, f"{median:.1f}", f"{median / base:.2f}", f"{timings['megabytes']:,.0f}"]
        cells += [f"{100 * np.mean(timings['right']):.1f}", f"{100 * np.std(timings['right']):.1f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
