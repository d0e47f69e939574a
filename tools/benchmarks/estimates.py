"""How near the time that `featurize` prints when it begins comes to the time that it takes.

    python tools/benchmarks/estimates.py --images FOLDER

Every setting is run once, on a part of the images, with random weights, which do not affect the time.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTINGS = (
    ("mobilenetv2", "0.5:230", "dense", 12, 1),
    ("mobilenetv2", "0.5:230", "dense", 12, 2),
    ("mobilenetv2", "1.0:224", "exact", 4, 2),
    ("mobilenetv2", "1.0:400", "dense", 4, 1),
    ("resnet50", "0.5:230", "dense", 4, 2),
    ("resnet50", "1.0:224", "exact", 1, 1),
    ("resnet50", "1.0:224", "exact", 1, 2),
    ("vgg16", "0.5:230", "dense", 2, 1),
    ("vgg16", "0.5:230", "dense", 2, 2),
    ("inceptionv3", "1.0:400", "dense", 2, 2),
)
"""Encoder, view, mode, augmentations, processes."""
SECONDS = {"second": 1, "minute": 60, "hour": 3600}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--number", type=int, default=40, help="images that are used")
    arguments = parser.parse_args()
    print(
        "| encoder | view | mode | augmentations | processes | printed, s | taken, s | ratio |\n|"
        + " --- |" * 8
    )
    near = 0
    with tempfile.TemporaryDirectory() as folder:
        for place, picture in enumerate(
            sorted(arguments.images.rglob("*.png"))[: arguments.number]
        ):
            (Path(folder) / "images" / "ab"[place % 2]).mkdir(parents=True, exist_ok=True)
            (Path(folder) / "images" / "ab"[place % 2] / picture.name).symlink_to(picture.resolve())
        for place, (encoder, view, mode, augmentations, jobs) in enumerate(SETTINGS):
            options = (
                "--encoder",
                encoder,
                "--view",
                view,
                "--mode",
                mode,
                "--augmentations",
                augmentations,
            )
            words = (
                "featurize",
                "--images",
                f"{folder}/images",
                "--out",
                f"{folder}/{place}",
                *options,
                "--jobs",
                jobs,
            )
            command = [sys.executable, "-m", "bchisto", *map(str, words), "--weights", "random"]
            process = subprocess.Popen(
                command, stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL
            )
            printed = started = 0.0
            for line in process.stderr:
                if match := re.search(r"featurize: about (\d+) (second|minute|hour)", line):
                    printed, started = int(match[1]) * SECONDS[match[2]], time.monotonic()
                if line.startswith("wrote"):
                    taken = time.monotonic() - started
            process.wait()
            ratio = taken / printed
            near += 1 / 1.5 <= ratio <= 1.5
            print(
                f"| {encoder} | {view} | {mode} | {augmentations} | {jobs} | {printed} | {taken:.1f} | {ratio:.2f} |"
            )
    print(f"\n{near} of {len(SETTINGS)} within a factor of 1.5")


if __name__ == "__main__":
    main()
