"""CPU time of `featurize` by preset: seconds an image beside those of the start, side by side in one run.

    python benchmarks/presets.py --sets quick standard "quick --augmentations 1" published

Each set of options describes synthetic images of BACH's size in fresh folders, with random weights: of each
class 1, then 1 + N. The difference is 4 N images without the start. Published settings are timed with 1 augmentation,
times 50.
"""

import argparse
import resource
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path


def seconds(arguments):
    """Return the CPU seconds of a command and of the processes that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "bchisto", *map(str, arguments)], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def describing(here, index, count, typed):
    """Return the CPU seconds in which the images of a folder are described in a new run."""
    images, out = here / f"{count}" / "ICIAR2018_BACH_Challenge", here / f"{index}-{count}"
    return seconds(["featurize", "--images", images, "--out", out, "--weights", "random", "--jobs", 1, *typed])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=["quick", "standard", "published"])
    parser.add_argument("--images", type=int, default=2, help="N, for each class one more or less.")
    options = parser.parse_args()
    per_image = {}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        for count in (1, 1 + options.images):
            seconds(["data", "make", "--images-per-class", count, "--out", here / f"{count}", "--jobs", 2])
        for index, words in enumerate(options.sets):
            name, *typed = shlex.split(words)
            factor = 50 if name == "published" and "--augmentations" not in typed else 1
            typed += ["--augmentations", "1"] if factor > 1 else []
            few, many = (
                describing(here, index, count, ["--preset", name, *typed]) for count in (1, 1 + options.images)
            )
            per_image[words] = factor * (many - few) / (4 * options.images)
    reference = per_image.get("standard", next(iter(per_image.values())))
    print("| options | CPU seconds an image | to standard | 400 images, CPU hours |\n| --- | --- | --- | --- |")
    for words, cost in per_image.items():
        print(f"| {words} | {cost:.1f} | {cost / reference:.2f} | {400 * cost / 3600:.1f} |")


if __name__ == "__main__":
    main()
