"""Memory of `bchisto slides map` with 40,000 tiles on a sparse slide of 100,000 x 80,000 pixels, and kills.

    python tools/benchmarks/slide_map.py [--tiles 40000] [--predicted 2000] [--out FOLDER]

The model is the test network with one augmentation. Of the blocks, as many as hold `--predicted` tiles are predicted by
worker processes, of which the parent is ended by `kill -9` halfway and started again. The others get predictions that
are drawn by chance, since only their number matters to the process that writes the maps. Each process, worker or not,
is asked for its largest resident memory (VmHWM of /proc) until it ends; none may take more than 600 MB. Both folders
must have the same bytes.
"""

import argparse
import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import tifffile
from bchisto.apps.slides import SlideFile
from bchisto.apps.slides.map import SlideMaps
from bchisto.apps.slides.overlay import Colouring
from bchisto.apps.slides.tiles import MapSettings, TileGrid, predict_tiles, tile_settings
from bchisto.core.jobs import Ticker, Work
from bchisto.core.runs import record_run
from bchisto.predict import PredictBlock, ready_model
from PIL import Image

PLUGINS = Path(__file__).resolve().parents[2] / "tests" / "plugins"
"""The test network."""
SIZE = (100_000, 80_000)
MPP, SIDE, TILE = 0.5, 64, 256
AREA = 4096
"""Pixels of a side of an area of tissue: a tile of the smallest level. An area has 64 x 64 tiles of the map."""
MOST = 600
"""MB a process."""
NAMES = ("böse", "gut")


def stained(dark, side, seed):
    """Return tissue, pale or dark."""
    rng = np.random.default_rng(seed)
    haem = rng.random((side, side, 1)) * (1.1 if dark else 0.3)
    eosin = rng.random((side, side, 1)) * 0.3 + 0.3
    density = haem * [0.65, 0.70, 0.29] + eosin * [0.2, 0.9, 0.4]
    return np.clip(240 * np.exp(-density), 0, 255).astype(np.uint8)


def write_slide(path, tiles):
    """Write a pyramid with areas of tissue, of `tiles` squares of 64 pixels; the rest of the file is missing."""
    areas = round(tiles / (AREA / SIDE) ** 2)
    coded = [zlib.compress(stained(dark, TILE, dark).tobytes(), 1) for dark in (0, 1)]

    def level(factor):
        for top in range(0, SIZE[1] // factor, TILE):
            for left in range(0, SIZE[0] // factor, TILE):
                column, row = (at * factor // AREA for at in (left, top))
                # every fourth column and eighth row, so that areas are apart
                number = row // 8 * 6 + column // 4
                is_tissue = column % 4 == row % 8 == 0 and column < 24 and number < areas
                yield coded[(left + top) // TILE % 2] if is_tissue else b""

    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for factor in (1, 4, 16):
            writer.write(
                level(factor),
                shape=(SIZE[1] // factor, SIZE[0] // factor, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="rgb",
                compression="deflate",
                resolution=(1e4 / MPP,) * 2,
                resolutionunit="CENTIMETER",
                subfiletype=int(factor > 1),
                metadata=None,
            )


def train(folder):
    """Train the test network with one augmentation on made-up fields of two classes."""
    rows = [("path", "label", "patient", "mpp")]
    for number in range(24):
        Image.fromarray(stained(number % 2 == 0, SIDE, number)).save(folder / f"{number:02d}.png")
        rows.append((f"{number:02d}.png", NAMES[number % 2], f"P{number // 2 % 4}", MPP))
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    words = "--encoder tiny --weights random --view 1.0:64 --augmentations 1 --crops 3 --stain none"
    run(
        "featurize", "--images", folder / "images.csv", "--out", folder / "run", *words.split()
    ).check()
    options = ("--folds", 2, "--head", "logistic", "--positive", "böse")
    run("boost", "--out", folder / "run", *options).check()
    return next(folder.glob("run/boost/*/model.bchisto"))


class run:
    """A command in processes of its own; `peaks` has the largest memory of each, MB by process id."""

    def __init__(self, *words):
        command = [sys.executable, "-m", "bchisto", *map(str, words)]
        self.process = subprocess.Popen(command, start_new_session=True)
        self.peaks = {}

    def look(self):
        """Ask each process of the session for its largest memory."""
        for path in Path("/proc").glob("[0-9]*"):
            try:
                session = (path / "stat").read_text().rpartition(")")[2].split()[3]
                if int(session) == self.process.pid:
                    status = (path / "status").read_text()
                    self.peaks[path.name] = int(status.partition("VmHWM:")[2].split()[0]) / 1024
            except (OSError, ValueError, IndexError):
                continue

    def check(self, until=lambda: False):
        """Wait for the end, or kill all of its processes at a moment; return the largest memory."""
        while self.process.poll() is None:
            self.look()
            if until():
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                return max(self.peaks.values())
            time.sleep(0.2)
        if self.process.returncode:
            raise RuntimeError(f"exit code {self.process.returncode}")
        return max(self.peaks.values())


def invent(model_file, slide, out, *, but):
    """Save predictions that are drawn by chance for all blocks apart from the first ones, with `but` tiles."""
    file, model = ready_model(model_file, ())
    rng = np.random.default_rng(1)
    settings = tile_settings(model, MapSettings(field=SIDE * MPP, scale=MPP))
    with record_run(out, command="map", config={}) as record:
        maps = SlideMaps(
            out, file, model, settings, {}, {}, None, Colouring(), Work(jobs=1), record
        )
        maps.grids = [TileGrid.of(SlideFile(slide.stem, slide, slide.name), settings)]
        maps.begin()
        blocks = maps.blocks
        by = PredictBlock(file, model.computed_by, out / "blocks", False)
        (predicted, *_) = predict_tiles(by, (blocks[0],), Ticker(None)).values()
        for block in blocks[but // 64 :]:
            block.save(
                {
                    tile.image_id: predicted._replace(probabilities=rng.dirichlet((1, 1)))
                    for tile in block.records
                }
            )
        blocks[0].file.unlink()
    return len(maps.grids[0].corners)


def digests(out):
    """Return the checksum of each output but the records."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "run.json" and path.parent.name != "records"
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=40_000)
    parser.add_argument("--predicted", type=int, default=2000, help="of the tiles")
    parser.add_argument("--out", type=Path, help="folder to keep; default: a temporary one")
    arguments = parser.parse_args()
    sys.path.insert(0, str(PLUGINS))
    os.environ["PYTHONPATH"] = str(PLUGINS)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        slide = folder / "S 1.tif"
        write_slide(slide, arguments.tiles)
        model = train(folder)
        tiles = invent(model, slide, folder / "whole", but=arguments.predicted)
        shutil.copytree(folder / "whole", folder / "killed")
        begun = len(list((folder / "killed" / "blocks").glob("*.npz")))
        words = ("slides", "map", model, slide, "--field", SIDE * MPP, "--scale", MPP, "--jobs", 2)
        whole = run(*words, "--out", folder / "whole").check()
        halfway = begun + arguments.predicted // 128

        def is_halfway():
            return len(list((folder / "killed" / "blocks").glob("*.npz"))) >= halfway

        killed = run(*words, "--out", folder / "killed").check(until=is_halfway)
        again = run(*words, "--out", folder / "killed").check()
        print(
            json.dumps(
                {
                    "tiles": tiles,
                    "predicted": arguments.predicted,
                    "MB": [round(peak) for peak in (whole, killed, again)],
                }
            )
        )
        assert digests(folder / "whole") == digests(folder / "killed")
        assert max(whole, killed, again) <= MOST


if __name__ == "__main__":
    main()
