"""How time and memory of stage 2 grow with images, augmentations, classes and models; fitted as a power and plotted.

Each point runs in a process of its own, on one core. Run: python tools/benchmarks/growth.py [--plot growth.svg]
"""

import argparse
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

BASE = {"images": 480, "augmentations": 20, "classes": 4, "models": 1}
STEPS = {
    "images": [480, 960, 1920, 3840],
    "augmentations": [20, 40, 80, 160],
    "classes": [2, 4, 8],
    "models": [1, 2, 4, 8],
}
DIM, ROUNDS = 512, 20


def point(images, augmentations, classes, models):
    import resource

    from bchisto.boost import PRESETS, fit_texts, model_params

    features, labels = make_descriptors(images, augmentations, DIM, classes=classes)
    preset = PRESETS["published"]
    every = [model_params(preset, classes=classes, seed=seed, fold_position=0) for seed in range(models)]
    started = time.process_time()
    size = sum(map(len, fit_texts(features, labels, params=every, rounds=ROUNDS)))
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "megabytes": peak, "text": size / 1e6}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        point(**json.loads(options.point))
        return
    print(machine("lightgbm", "numpy"))
    print(f"\n{BASE}, {DIM} features, {ROUNDS} rounds; one of them varied at a time\n")
    print("| varied | values | seconds | power | peak MB | model text, MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    curves = {}
    for name, values in STEPS.items():
        timings = []
        for value in values:
            command = [sys.executable, __file__, "--point", json.dumps({**BASE, name: value})]
            done = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            timings.append(json.loads(done.splitlines()[-1]))
        columns = {key: [entry[key] for entry in timings] for key in timings[0]}
        power = float(np.polyfit(np.log(values), np.log(columns["seconds"]), 1)[0])
        curves[name] = (values, columns["seconds"], power)
        listed = [", ".join(f"{value:.{digits}f}" for value in columns[key])
                  for key, digits in (("seconds", 2), ("megabytes", 0), ("text", 2))]  # fmt: skip
        print(
            f"| {name} | {', '.join(map(str, values))} | {listed[0]} | {power:.2f} | {listed[1]} | {listed[2]} |",
            flush=True,
        )
    if options.plot:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 4.2))
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for name, (values, seconds, power) in curves.items():
            axes.loglog(
                np.array(values) / values[0], np.array(seconds) / seconds[0], "o-", label=f"{name}: power {power:.2f}"
            )
        axes.loglog([1, 8], [1, 8], ":", color="#888888", label="linear")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks((1, 2, 4, 8), list("1248"))
            axis.set_ticks([], minor=True)
        axes.set_xlabel("times the smallest")
        axes.set_ylabel("times its time")
        axes.legend(frameon=False)
        figure.savefig(options.plot, bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    main()
