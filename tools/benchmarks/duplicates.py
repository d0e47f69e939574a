"""Copies of images: how many planted ones are found, by kind, and how many that were not planted.

Of real images from the folder of shared data, and of synthetic tissue in the layout of BACH, some are copied in every
kind that is listed; each copy must be found as one of its original, and nothing else. Pairs that are found among the
originals alone are counted apart, since neighbouring fields of a slide of BreakHis do overlap.

Run: python tools/benchmarks/duplicates.py [--shared ../shared] [--sets breakhis,idc,bach] [--copied 30]
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from bchisto.data import ImageRecord, find_copies, make_bach, read_dataset
from PIL import Image
from timing import machine

TURNS = Image.Transpose


def cropped(share, turn=None):
    """Return a change that cuts out a share of the area at random, and turns it."""

    def change(image, rng):
        width, height = (round(side * share**0.5) for side in image.size)
        left, top = rng.integers(image.width - width + 1), rng.integers(image.height - height + 1)
        part = image.crop((left, top, left + width, top + height))
        return part if turn is None else part.transpose(turn)

    return change


def turned(turn):
    """Return a change that turns or mirrors."""
    return lambda image, rng: image.transpose(turn)


KINDS = {
    # name: change, suffix, options of the file
    "the same pixels as TIFF": (lambda image, rng: image, "tif", {}),
    "JPEG, quality 90": (lambda image, rng: image, "jpg", {"quality": 90}),
    "JPEG, quality 50": (lambda image, rng: image, "jpg", {"quality": 50}),
    "mirrored": (turned(TURNS.FLIP_LEFT_RIGHT), "png", {}),
    "turned by 90 degrees": (turned(TURNS.ROTATE_90), "png", {}),
    "transposed, JPEG 75": (turned(TURNS.TRANSPOSE), "jpg", {"quality": 75}),
    "crop of 80 % of the area": (cropped(0.8), "png", {}),
    "crop of 50 %": (cropped(0.5), "png", {}),
    "crop of 25 %": (cropped(0.25), "png", {}),
    "crop of 50 %, turned, JPEG 75": (cropped(0.5, TURNS.ROTATE_270), "jpg", {"quality": 75}),
    "half the size": (lambda image, rng: image.resize((image.width // 2, image.height // 2)), "png", {}),
}


def plant(records, folder, *, count, seed=0):
    """Write copies of some images; returns their records and, by id, the original's id and the kind."""
    rng = np.random.default_rng(seed)
    made, source = [], {}
    for row in rng.permutation(len(records))[:count].tolist():
        with Image.open(records[row].path) as opened:
            image = opened.convert("RGB")
        for number, (kind, (change, suffix, options)) in enumerate(KINDS.items()):
            name = f"copy{row}-{number}.{suffix}"
            change(image, rng).save(folder / name, **options)
            made.append(ImageRecord(name, folder / name, None))
            source[name] = (records[row].image_id, kind)
    return made, source


def measure(records, folder, *, count):
    """Return recall by kind, pairs among the originals, other pairs between unlike images, and seconds of each search.

    A copy of an original that overlaps another shows the same pixels as that; such a pair is none of the other pairs.
    """
    started = time.process_time()
    before = {(copy.first, copy.second) for copy in find_copies(records)}
    between = time.process_time()
    made, source = plant(records, folder, count=count)
    planted = time.process_time()
    pairs = {(copy.first, copy.second) for copy in find_copies([*records, *made])}
    ended = time.process_time()
    hits, total = Counter(), Counter()
    for name, (original, kind) in source.items():
        total[kind] += 1
        hits[kind] += tuple(sorted((name, original))) in pairs
    origins = {tuple(sorted(source.get(name, (name,))[0] for name in pair)) for pair in pairs}
    other = {pair for pair in origins if pair[0] != pair[1]} - before
    return {kind: hits[kind] / total[kind] for kind in KINDS}, before, other, (between - started, ended - planted)


def images_of(name, shared, scratch, per_class):
    """Return the records of a set of images."""
    if name == "bach":
        return read_dataset(make_bach(scratch / "bach", images_per_class=per_class)).records
    return read_dataset(shared / "data" / name).records


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("BCHISTO_SHARED", "../shared")))
    parser.add_argument("--sets", default="breakhis,idc,bach")
    parser.add_argument("--copied", type=int, default=30, help="Images of each set that are copied.")
    parser.add_argument("--per-class", type=int, default=10, help="Synthetic images of each class.")
    options = parser.parse_args()
    results = {}
    for name in options.sets.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "copies"
            folder.mkdir()
            records = images_of(name, options.shared, Path(scratch), options.per_class)
            results[name] = len(records), *measure(records, folder, count=options.copied)
    print(f"{machine()}\n")
    print("| recall, percent | " + " | ".join(f"{name}, {result[0]} images" for name, result in results.items()) + " |")
    print("| --- |" + " --- |" * len(results))
    for kind in KINDS:
        print(f"| {kind} | " + " | ".join(f"{100 * result[1][kind]:.1f}" for result in results.values()) + " |")
    print("| pairs among the originals | " + " | ".join(str(len(result[2])) for result in results.values()) + " |")
    print("| further pairs of unlike images | " + " | ".join(str(len(result[3])) for result in results.values()) + " |")
    print("| CPU seconds without copies | " + " | ".join(f"{result[4][0]:.0f}" for result in results.values()) + " |")
    print("| and with them | " + " | ".join(f"{result[4][1]:.0f}" for result in results.values()) + " |")
    for name, result in results.items():
        for pair in sorted(result[2] | result[3])[:40]:
            print(f"{name}: {pair[0]} {pair[1]}")


if __name__ == "__main__":
    main()
