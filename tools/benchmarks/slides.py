"""Tiles of a slide a second, against the encoder alone on the same tiles; and a whole slide by `bchisto slides map`.

    python tools/benchmarks/slides.py --weights mobilenetv2.weights.h5 --images BREAKHIS [--side 20000]

The slide is made of BreakHis images side by side, at 0.5 micrometres per pixel, and the model is trained on them:
MobileNetV2 in dense mode, as `--preset quick` has it. The encoder alone gets frames that are read, normalised and
coloured already, in one process of one thread. The map does all of that in the same process, and reads beside it.
"""

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
from bchisto.apps.slides import CutSettings, Slide, SlideFile
from bchisto.apps.slides.tiles import TileGrid, blocks_of, predict_tiles
from bchisto.core.jobs import Ticker
from bchisto.featurize.prepare import normalise_images, prepare_crops
from bchisto.featurize.stream import _encode_frames
from bchisto.predict import ready_model
from bchisto.predict.blocks import PredictBlock
from PIL import Image

TILE, MPP = 256, 0.5


def write_slide(path, images, side):
    """Write a pyramid of images side by side, of JPEG tiles."""
    pictures = [np.asarray(Image.open(image).convert("RGB"))[:448, :672] for image in images]
    height, width = pictures[0].shape[:2]

    def tiles(factor):
        small = [picture[::factor, ::factor] for picture in pictures]
        rows, columns = height // factor, width // factor
        for top in range(0, side // factor, TILE):
            for left in range(0, side // factor, TILE):
                y, x = np.arange(top, top + TILE), np.arange(left, left + TILE)
                tile = np.empty((TILE, TILE, 3), np.uint8)
                for row in np.unique(y // rows):
                    for column in np.unique(x // columns):
                        own = np.ix_(
                            y[y // rows == row] % rows, x[x // columns == column] % columns
                        )
                        to = np.ix_(y // rows == row, x // columns == column)
                        tile[to] = small[(7 * row + column) % len(small)][own]
                yield tile

    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for factor in (1, 4, 16):
            shape = (side // factor, side // factor, 3)
            dots = {
                "resolution": (1e4 / MPP,) * 2,
                "resolutionunit": "CENTIMETER",
                "subfiletype": int(factor > 1),
            }
            form = {
                "tile": (TILE, TILE),
                "photometric": "rgb",
                "compression": "jpeg",
                "metadata": None,
            }
            writer.write(tiles(factor), shape=shape, dtype=np.uint8, **form, **dots)


def bchisto(*words):
    """Run a command; return its seconds, its largest memory in MB, and what it printed."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "bchisto", *map(str, words)], stdout=subprocess.PIPE, text=True
    )
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(printed)
    largest = max(usage.ru_maxrss, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    return time.perf_counter() - started, largest / 1024, printed


def train(folder, images, weights):
    """Train the model on images, of two classes by their names."""
    with (folder / "images.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "patient", "mpp"])
        rows.writerows((path, path.name[4], path.name.rsplit("-", 2)[0], MPP) for path in images)
    words = ("--images", folder / "images.csv", "--out", folder / "run", "--preset", "quick")
    bchisto("featurize", *words, "--weights", f"mobilenetv2={weights}")
    bchisto("boost", "--out", folder / "run", "--folds", 3, "--head", "lightgbm", "--seeds", 2)
    return next(folder.glob("run/boost/*-lightgbm/model.bchisto"))


def encoder_alone(model, records):
    """Return the tiles a second of the encoder on frames that are ready."""
    ((settings, targets),) = model._passes()
    views = tuple(view for _, view in targets.values())
    ready = normalise_images(
        records, settings=settings, views=views, skip_errors=False, crop_seed="pixels"
    )
    frames = list(prepare_crops(ready, settings=settings, views=views))
    _encode_frames(targets, frames[0])
    started = time.perf_counter()
    for frame in frames:
        _encode_frames(targets, frame)
    return len(records) / (time.perf_counter() - started)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--tiles", type=int, default=64, help="of which the speeds are measured")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    images = sorted(arguments.images.rglob("*.png"))[::5]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model_file = train(folder, images, arguments.weights)
        write_slide(folder / "slide.tif", images, arguments.side)
        file, model = ready_model(model_file, (f"mobilenetv2={arguments.weights}",))
        field = 448 * MPP
        grid = TileGrid.of(
            SlideFile("slide", folder / "slide.tif", ""), CutSettings(field=field, scale=MPP)
        )
        block = next(blocks_of(replace(grid, corners=grid.corners[: arguments.tiles]), folder))
        with Slide(grid.path) as slide:
            records = []
            for place, record in enumerate(block.records):
                path = folder / f"{record.image_id}.png"
                Image.fromarray(block.read(slide, place)).save(path)
                records.append(replace(record, path=path))
        by = PredictBlock(file, model.computed_by, folder, False)
        speeds = []
        for _ in range(arguments.rounds):  # alternately, since other work on the machine slows both
            alone, started = encoder_alone(model, records), time.perf_counter()
            predict_tiles(by, (block,), Ticker(None))
            speeds.append((len(records) / (time.perf_counter() - started), alone))
        speed, alone = sorted(speeds, key=lambda pair: pair[0] / pair[1])[len(speeds) // 2]
        print(
            f"tiles of {field:g} um ({block.pixels} pixels), a second in one process: map {speed:.2f}, encoder "
            f"alone {alone:.2f}, median ratio {speed / alone:.2f} (of {', '.join(f'{a / b:.2f}' for a, b in speeds)})"
        )
        words = ("--field", field, "--scale", MPP, "--weights", f"mobilenetv2={arguments.weights}")
        seconds, memory, printed = bchisto(
            "slides", "map", model_file, grid.path, "--out", folder / "out", *words
        )
        print(
            f"slide of {arguments.side:,} x {arguments.side:,} pixels: {printed.splitlines()[-1]}, {seconds:.0f} s, "
            f"{memory:.0f} MB in the largest process, {os.cpu_count()} cores"
        )


if __name__ == "__main__":
    main()
