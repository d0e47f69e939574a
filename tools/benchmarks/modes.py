"""Exact and dense mode, Keras and OpenVINO, on one core: an augmentation of a BACH image in one view and in two.

Run: python tools/benchmarks/modes.py [--encoders resnet50,inceptionv3,vgg16] [--rounds 2]
"""

import argparse
import dataclasses
import importlib.util
import os
import statistics
import tempfile
from pathlib import Path

from timing import interleaved, machine, pin_one_thread

pin_one_thread()
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np  # noqa: E402 - after the threads are pinned
from bchisto.core.jobs import Ticker  # noqa: E402
from bchisto.data import ImageRecord  # noqa: E402
from bchisto.data.synthetic import make_tissue  # noqa: E402
from bchisto.encoders import Encoder  # noqa: E402
from bchisto.featurize import FeaturizeSettings, View, describe_images  # noqa: E402
from PIL import Image  # noqa: E402

ONE, PAIR = (View(0.5, 400),), (View(0.5, 400), View(0.5, 650))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", default="resnet50,inceptionv3,vgg16")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    engines = [("keras", "float32"), ("keras", "bfloat16")]
    packages = ["tensorflow", "keras", "numpy"]
    if importlib.util.find_spec("openvino") is not None:
        engines += [("openvino", "float32"), ("openvino", "bfloat16")]
        packages.append("openvino")
    print(machine(*packages))
    base = FeaturizeSettings(augmentations=1, crops=20)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "b001.tif"
        Image.fromarray(make_tissue("Benign", seed=0, index=1)).save(path)
        records = [ImageRecord(image_id=path.name, path=path, label=None)]

        def work(encoder, mode, views):
            settings = dataclasses.replace(base, mode=mode, views=views)
            targets = {str(view): (encoder, view) for view in views}
            return list(describe_images(records, settings=settings, targets=targets, ticker=Ticker(None)))

        for name in options.encoders.split(","):
            ways, descriptors = {}, {}
            for engine, precision in engines:
                encoder = Encoder(name, weights="random", engine=engine, precision=precision)
                for mode in ("exact", "dense"):
                    for views in (ONE, PAIR):
                        key = (engine, precision, mode, len(views))
                        ways[key] = lambda e=encoder, m=mode, v=views: work(e, m, v)
                descriptors[engine, precision] = next(iter(work(encoder, "exact", ONE)[0].features.values()))[0]
            seconds = {key: statistics.median(times) for key, times in interleaved(ways, rounds=options.rounds).items()}
            print(f"\n{name}, seconds for one augmentation of 20 crops, decoding and stain work included\n")
            columns = ["engine", "precision", "exact, 1 view", "exact, 2 views", "dense, 1 view", "dense, 2 views",
                       "dense: times faster", "of Keras float32, exact", "largest difference"]  # fmt: skip
            print(f"| {' | '.join(columns)} |")
            print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
            reference = descriptors["keras", "float32"]
            for engine, precision in engines:
                row = [seconds[engine, precision, mode, views] for mode in ("exact", "dense") for views in (1, 2)]
                faster = f"{row[0] / row[2]:.1f} and {row[1] / row[3]:.1f}"
                ratio = seconds["keras", "float32", "exact", 2] / row[1]
                apart = np.abs(descriptors[engine, precision] - reference).max() / np.abs(reference).max()
                cells = [engine, precision, *(f"{value:.2f}" for value in row), faster, f"{ratio:.2f}", f"{apart:.1e}"]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
