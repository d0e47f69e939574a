"""Memory of stage 1 over many images: the peak after a tenth of them and at the end.

Run: python tools/benchmarks/memory.py [--images 10000]
"""

import argparse
import resource
import tempfile
from pathlib import Path

from timing import machine, pin_one_thread

pin_one_thread()

import numpy as np  # noqa: E402 - after the threads are pinned
from bchisto.core.jobs import Ticker  # noqa: E402
from bchisto.data import ImageRecord  # noqa: E402
from bchisto.encoders import Encoder, EncoderChoice  # noqa: E402
from bchisto.featurize import FeaturizeSettings, View, describe_images  # noqa: E402
from PIL import Image  # noqa: E402

FILES = 50


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    options = parser.parse_args()
    settings = FeaturizeSettings(
        encoders=(EncoderChoice("mobilenetv2"),), views=(View(1.0, 64),), augmentations=2, crops=2, weights=("random",)
    )
    encoder = Encoder("mobilenetv2", weights="random")
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        paths = [Path(folder) / f"{number}.png" for number in range(FILES)]
        for path in paths:
            Image.fromarray(rng.integers(60, 250, (96, 96, 3)).astype(np.uint8)).save(path)
        records = [ImageRecord(f"{n}.png", paths[n % FILES], None) for n in range(options.images)]
        peaks = []
        targets = {"store": (encoder, settings.views[0])}
        for done, _ in enumerate(
            describe_images(records, settings=settings, targets=targets, ticker=Ticker(None)), start=1
        ):
            if done in (options.images // 10, options.images):
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(machine("tensorflow", "keras"))
    print(
        f"\npeak after {options.images // 10:,} images {peaks[0]:,.0f} MB, after {options.images:,} {peaks[1]:,.0f} MB"
    )


if __name__ == "__main__":
    main()
