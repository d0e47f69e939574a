"""Trees as arrays beside LightGBM itself: reading a model, and predicting rows with it, bit by bit alike.

Run: python tools/benchmarks/trees.py [--images 240 --augmentations 10 --dim 1408 --models 50]
"""

import argparse
import os

from timing import interleaved, machine, pin_one_thread

pin_one_thread()
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import lightgbm  # noqa: E402 - after the threads are pinned
import numpy as np  # noqa: E402
from bchisto.boost import PRESETS, fit_text, model_params, pack_text, parse_model  # noqa: E402
from descriptors import make_descriptors  # noqa: E402

KINDS = {"published": ("published", {}), "quick": ("quick", {}),
         "without a bound on the depth": ("published", {"max_depth": -1})}  # fmt: skip
ROWS = (1, 20, 50, 200, 500)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--augmentations", type=int, default=10)
    parser.add_argument("--dim", type=int, default=1408)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    features, labels = make_descriptors(options.images, options.augmentations, options.dim)
    rows = features.reshape(-1, options.dim)
    print(machine("lightgbm", "numpy"))
    print(
        f"\n{options.models} models of {options.dim:,} features, one core; milliseconds a model, and ours of theirs\n"
    )
    print("| models | trees | splits | depth | what | LightGBM | ours | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for kind, (name, changes) in KINDS.items():
        preset = PRESETS[name].with_params(changes)
        params = model_params(preset, classes=4, seed=0, fold_position=0)
        text = fit_text(features, labels, params=params, rounds=preset.rounds)
        theirs = [lightgbm.Booster(model_str=text) for _ in range(options.models)]
        data = pack_text(text)
        ours = [parse_model(data) for _ in range(options.models)]
        first = ours[0]
        facts = f"| {kind} | {len(first.roots)} | {first.splits:,} | {first.depth}"

        def compare(what, ways, facts=facts):
            seconds = {side: 1e3 * float(np.median(some)) / options.models
                       for side, some in interleaved(ways, rounds=options.rounds).items()}  # fmt: skip
            theirs_seconds, other = seconds["theirs"], seconds["ours"]
            print(f"{facts} | {what} | {theirs_seconds:.2f} | {other:.2f} | {other / theirs_seconds:.2f} |", flush=True)

        compare(
            "read",
            {
                "theirs": lambda text=text: [lightgbm.Booster(model_str=text) for _ in range(options.models)],
                "ours": lambda data=data: [parse_model(data) for _ in range(options.models)],
            },
        )
        for count in ROWS:
            some = rows[:: max(1, len(rows) // count)][:count]
            np.testing.assert_array_equal(ours[0].predict_rows(some), theirs[0].predict(some))
            compare(
                f"{count} row{'s' if count > 1 else ''}",
                {
                    "theirs": lambda some=some, theirs=theirs: [model.predict(some, num_threads=1) for model in theirs],
                    "ours": lambda some=some, ours=ours: [model.predict_rows(some) for model in ours],
                },
            )


if __name__ == "__main__":
    main()
