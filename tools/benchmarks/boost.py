"""Stage 2: models of several folds and seeds, the published script against bchisto and its presets.

Time on the clock, since the published script gives LightGBM all cores for one model after the other, and bchisto gives
each process one core and one fold. Run it on a quiet machine.

Run: python tools/benchmarks/boost.py [--images 360 --augmentations 50 --dim 2048 --seeds 5] [--rounds 1]
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

from timing import machine

FOLDS = 2


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
            texts.append(lightgbm.train(params, data, num_boost_round=preset.rounds).model_to_string())
    return time.perf_counter() - started, texts


def ours(options, preset):
    """A process per fold, one thread each, bins shared by the seeds."""
    command = [sys.executable, __file__, *sys.argv[1:], "--preset", preset, "--fold"]
    running = [subprocess.Popen([*command, str(fold)], stdout=subprocess.PIPE, text=True) for fold in range(FOLDS)]
    outputs = [process.communicate()[0] for process in running]
    lines = [output.split("\0") for output in outputs]
    return max(float(parts[0]) for parts in lines), [text for parts in lines for text in parts[1:]]


def one_fold(options):
    import lightgbm  # noqa: F401 - loading is no part of the time, as above
    from bchisto.boost import PRESETS, fit_texts, model_params

    features, labels = prepare(options)
    preset = PRESETS[options.preset]
    started = time.perf_counter()
    every = [model_params(preset, classes=4, seed=seed, fold_position=options.fold) for seed in range(options.seeds)]
    texts = list(fit_texts(features, labels, params=every, rounds=preset.rounds))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{options.preset}, fold {options.fold}: peak {peak:,.0f} MB, of which the descriptors are "
          f"{features.nbytes / 1e6:,.0f} MB", file=sys.stderr)  # fmt: skip
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
    parser.add_argument("--preset", help=argparse.SUPPRESS)
    parser.add_argument("--fold", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fold is not None:
        os.environ["OMP_NUM_THREADS"] = "1"
        one_fold(options)
        return
    print(machine("lightgbm", "numpy"))
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
