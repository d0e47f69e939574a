"""Stage 2 on one core: the models of one store and fold, the published way and bchisto's.

Run: python benchmarks/boost.py [--images 360 --augmentations 50 --dim 2048 --seeds 5] [--rounds 3]
"""

import argparse
import os
import resource

from timing import interleaved, machine, pin_one_thread, table

pin_one_thread()
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import lightgbm  # noqa: E402 - after the threads are pinned
import numpy as np  # noqa: E402
from bchisto.boost import PRESETS, BinnedRows, model_params  # noqa: E402
from descriptors import make_descriptors  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--augmentations", type=int, default=20)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    features, labels = make_descriptors(options.images, options.augmentations, options.dim)
    preset = PRESETS["rakhlin2018"]
    every = [model_params(preset, classes=4, seed=seed, fold_position=0) for seed in range(options.seeds)]

    def published():
        """Bins anew for every model, LightGBM's own choice of layout, as the published script leaves it."""
        rows = features.reshape(-1, options.dim)
        repeated = np.repeat(labels, options.augmentations)
        texts = []
        for params in every:
            plain = {key: value for key, value in params.items() if key not in ("deterministic", "force_row_wise")}
            data = lightgbm.Dataset(rows, repeated)
            texts.append(lightgbm.train(plain, data, num_boost_round=preset.rounds).model_to_string())
        return texts

    def ours():
        binned = BinnedRows(features, labels, params=every[0])
        return [binned.fit_text(params=params, rounds=preset.rounds) for params in every]

    def row_wise_apart():
        return [
            BinnedRows(features, labels, params=params).fit_text(params=params, rounds=preset.rounds)
            for params in every
        ]

    def trees(text):
        return text.partition("\nparameters:")[0].partition("\nTree=0\n")[2]

    pairs = zip(published(), ours(), strict=True)
    same = sum(trees(a) == trees(b) for a, b in pairs)
    print(machine("lightgbm", "numpy"))
    print(
        f"\n{options.seeds} models, {options.images} images x {options.augmentations} augmentations x {options.dim}, "
        f"4 classes, {preset.rounds} rounds, one core; {same} of {options.seeds} pairs of models have equal trees\n"
    )
    ways = {"published way": published, "bins apart, row-wise": row_wise_apart, "bchisto: bins shared, row-wise": ours}
    print("\n".join(table(interleaved(ways, rounds=options.rounds, warm=False), baseline="published way")))
    print(f"\npeak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB, "
          f"of which the descriptors are {features.nbytes / 1e6:,.0f} MB")  # fmt: skip


if __name__ == "__main__":
    main()
