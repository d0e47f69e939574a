"""Stage 2: models of several folds and seeds, the published script against bchisto and its presets.

Time on the clock, since the published script gives LightGBM all cores for one model after the other, and bchisto gives
each process one core and one fold. Run it on a quiet machine.

Run: python tools/benchmarks/boost.py [--images 360 --augmentations 50 --dim 2048 --seeds 5] [--rounds 1]

With `--run RUN`, of `featurize`, it measures the whole command instead, `boost --preset quick --head lightgbm`, with
its model file and report, against a plain script that trains the same ten folds, in CPU seconds.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import machine

FOLDS = 2

PLAIN = """
import csv, sys
import h5py, lightgbm
import numpy as np
from sklearn.metrics import accuracy_score
from sklearn.model_selection import StratifiedKFold
params = dict(objective="multiclass", learning_rate=0.1, num_leaves=31, max_depth=7, max_bin=63, feature_fraction=0.1,
              bagging_fraction=0.5, bagging_freq=1, num_threads=1, verbosity=-1)
with h5py.File(sys.argv[1]) as file:
    ids = file["images/image_id"].asstr()[()]
    features, labels = file["features"][()], file["label"].asstr()[()]
each = len(features) // len(ids)
features, (classes, y) = features.reshape(len(ids), each, -1), np.unique(labels[::each], return_inverse=True)
shares = np.zeros((len(ids), len(classes)))
folds = StratifiedKFold(10, shuffle=True, random_state=0).split(shares, y)
for number, (train, test) in enumerate(folds):
    data = lightgbm.Dataset(features[train].reshape(-1, features.shape[2]), np.repeat(y[train], each))
    model = lightgbm.train({**params, "num_class": len(classes)}, data, 70)
    rows = model.predict(features[test].reshape(-1, features.shape[2]), num_threads=1)
    shares[test] = rows.reshape(len(test), each, -1).mean(axis=1)
    model.save_model(f"{sys.argv[2]}.{number}.txt")
print(accuracy_score(y, shares.argmax(axis=1)))
with open(sys.argv[2], "w") as file:
    csv.writer(file).writerows([name, *row] for name, row in zip(ids, shares))
"""


def command(options):
    """Measure the command and the plain script, one after the other."""
    (store,) = (options.run / "features").glob("*.h5")
    seconds = {"plain script": [], "bchisto": []}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            shutil.copytree(options.run, run, ignore=shutil.ignore_patterns("boost"))
            ways = {
                "plain script": ["-c", PLAIN, store, Path(folder) / "plain.csv"],
                "bchisto": [
                    "-m",
                    "bchisto",
                    "boost",
                    "--out",
                    run,
                    "--preset",
                    "quick",
                    "--head",
                    "lightgbm",
                ],
            }
            for name, words in ways.items():
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                environment = {**os.environ, "OMP_NUM_THREADS": "1"}
                words = [sys.executable, *map(str, words)]
                subprocess.run(words, check=True, capture_output=True, env=environment)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                seconds[name].append(
                    after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                )
    for name, values in seconds.items():
        print(f"{name}: {', '.join(f'{value:.1f}' for value in values)} CPU seconds")
    print(
        f"ratio {statistics.median(seconds['bchisto']) / statistics.median(seconds['plain script']):.2f}"
    )


def prepare(options):
    from descriptors import make_descriptors

    return make_descriptors(options.images, options.augmentations, options.dim)


def published(options):
    """Bins anew for every model, all cores, LightGBM's own choice of layout, as the published script leaves it."""
    import lightgbm
    import numpy as np
    from bchisto.boost import PRESETS, model_params

    features, labels = prepare(options)
    preset = PRESETS["published"]
    rows, repeated = features.reshape(-1, options.dim), np.repeat(labels, options.augmentations)
    started, texts = time.perf_counter(), []
    for fold in range(FOLDS):
        for seed in range(options.seeds):
            params = model_params(preset, classes=4, seed=seed, fold_position=fold)
            for name in ("deterministic", "force_row_wise", "num_threads"):
                del params[name]
            data = lightgbm.Dataset(rows, repeated)
            texts.append(
                lightgbm.train(params, data, num_boost_round=preset.rounds).model_to_string()
            )
    return time.perf_counter() - started, texts


def ours(options, preset):
    """A process per fold, one thread each, bins shared by the seeds."""
    command = [sys.executable, __file__, *sys.argv[1:], "--preset", preset, "--fold"]
    running = [
        subprocess.Popen([*command, str(fold)], stdout=subprocess.PIPE, text=True)
        for fold in range(FOLDS)
    ]
    outputs = [process.communicate()[0] for process in running]
    lines = [output.split("\0") for output in outputs]
    return max(float(parts[0]) for parts in lines), [text for parts in lines for text in parts[1:]]


def one_fold(options):
    import lightgbm  # noqa: F401 - loading is no part of the time, as above
    from bchisto.boost import PRESETS, fit_texts, model_params

    features, labels = prepare(options)
    preset = PRESETS[options.preset]
    started = time.perf_counter()
    every = [
        model_params(preset, classes=4, seed=seed, fold_position=options.fold)
        for seed in range(options.seeds)
    ]
    texts = list(fit_texts(features, labels, params=every, rounds=preset.rounds))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{options.preset}, fold {options.fold}: peak {peak:,.0f} MB, of which the descriptors are "
        f"{features.nbytes / 1e6:,.0f} MB",
        file=sys.stderr,
    )
    sys.stdout.write("\0".join([str(seconds), *texts]))


def trees(text):
    return text.partition("\nparameters:")[0].partition("\nTree=0\n")[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--augmentations", type=int, default=20)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--preset", help=argparse.SUPPRESS)
    parser.add_argument("--fold", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fold is not None:
        os.environ["OMP_NUM_THREADS"] = "1"
        one_fold(options)
        return
    print(machine("lightgbm", "numpy"))
    if options.run:
        command(options)
        return
    ways = {
        "published script": lambda: published(options),
        "bchisto, published": lambda: ours(options, "published"),
        "bchisto, quick": lambda: ours(options, "quick"),
    }
    seconds, texts = {name: [] for name in ways}, {}
    for _ in range(options.rounds):
        for name, way in ways.items():
            spent, texts[name] = way()
            seconds[name].append(spent)
    pairs = zip(texts["published script"], texts["bchisto, published"], strict=True)
    same = sum(trees(a) == trees(b) for a, b in pairs)
    shape = f"{options.images} images x {options.augmentations} augmentations x {options.dim}, 4 classes"
    print(f"\n{FOLDS} folds x {options.seeds} seeds, {shape}, on {os.cpu_count()} cores")
    print(f"{same} of {FOLDS * options.seeds} models have the very trees of the published script")
    print("(its threads add up in any order)\n")
    print("| way | seconds on the clock | times faster |")
    print("| --- | --- | --- |")
    base = statistics.median(seconds["published script"])
    for name, values in seconds.items():
        listed = ", ".join(f"{value:.1f}" for value in values)
        print(f"| {name} | {listed} | {base / statistics.median(values):.2f} |")


if __name__ == "__main__":
    main()
