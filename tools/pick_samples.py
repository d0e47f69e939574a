"""Pick the patches of ``bchisto demo`` from the IDC dataset by a seed.

Of each class as many patches of 50x50 pixels, spread equally over its slides but `UNSEEN`; of that slide, the patches
of one field. Files and names are those of the dataset. ``images.csv`` names the class and slide of each patch to train
on.

    python tools/pick_samples.py ../shared/data/idc/IDC_regular_ps50_idx5 data/samples/idc
"""

from __future__ import annotations

import csv
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

SEED = 0
PER_CLASS = 236
SIDE = 50
CLASSES = {"0": "negative", "1": "positive"}
UNSEEN = "8863"
FIELD = (1051, 701, 10, 7)
"""Left and top in pixels of the slide, columns and rows of patches."""


def training(source: Path) -> Iterator[Path]:
    """Yield the patches to train on, of each class."""
    rng = random.Random(SEED)
    for label in CLASSES:
        folders = sorted(source.glob(f"[!.]*/{label}"))
        folders = [folder for folder in folders if folder.parent.name != UNSEEN]
        rng.shuffle(folders)
        for number, folder in enumerate(folders):
            count = PER_CLASS // len(folders) + (number < PER_CLASS % len(folders))
            paths = [path for path in sorted(folder.glob("*.png")) if whole(path)]
            yield from rng.sample(paths, count)


def whole(path: Path) -> bool:
    """Return whether a patch was not cut by the border of its slide."""
    with Image.open(path) as image:
        return image.size == (SIDE, SIDE)


def field(source: Path) -> Iterator[Path]:
    """Yield the patches of the field."""
    left, top, columns, rows = FIELD
    for row in range(rows):
        for column in range(columns):
            x = left + SIDE * column
            y = top + SIDE * row
            yield from source.glob(f"{UNSEEN}/[01]/*_x{x}_y{y}_class[01].png")


def main(source: str, out: str) -> None:
    """Copy the patches, in the folders of the dataset."""
    folder = Path(out)
    chosen = {"training": training(Path(source)), "field": field(Path(source))}
    for part, paths in chosen.items():
        shutil.rmtree(folder / part, ignore_errors=True)
        for path in paths:
            target = folder / part / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    part = folder / "training"
    with (part / "images.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "label", "slide"))
        for path in sorted(part.rglob("*.png")):
            slide, label, _ = path.relative_to(part).parts
            writer.writerow((path.relative_to(part).as_posix(), CLASSES[label], slide))
    files = list(folder.rglob("*.png"))
    print(f"{len(files)} patches, {sum(file.stat().st_size for file in files):,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
