"""Does a long run grow? Describes many small images and watches memory, open files, threads and temporary files.

Run: python tools/benchmarks/unattended.py [--images 5000] [--jobs 2]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

PLUGINS = Path(__file__).resolve().parents[2] / "tests" / "plugins"
SETTINGS = ["--encoder", "tiny", "--weights", "random", "--view", "1.0:48", "--augmentations", "2", "--crops", "2"]
NAMES = ("MB", "open files", "threads", "temporary files")


def tree(root):
    """Return a process and all below it."""
    children = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = path.read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        children.setdefault(int(parent), []).append(int(path.parent.name))
    numbers = [root]
    for number in numbers:
        numbers += children.get(number, [])
    return numbers


def measure(root, temporary):
    """Return what the processes hold together: memory of their own, open files, threads, temporary files."""
    held = np.zeros(3)
    for number in tree(root):
        folder = Path("/proc") / str(number)
        try:
            rollup = dict(line.split(":", 1) for line in (folder / "smaps_rollup").read_text().splitlines()[1:])
            held += (int(rollup["Pss"].split()[0]) / 1024, len(os.listdir(folder / "fd")),
                     len(os.listdir(folder / "task")))  # fmt: skip
        except (OSError, KeyError):
            continue
    return [*held, sum(len(files) for _, _, files in os.walk(temporary))]


def main():
    """Print what is held at the parts of a run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp())
    rng = np.random.default_rng(0)
    for label in ("benign", "malignant"):
        (work / "images" / label).mkdir(parents=True)
    for number in range(given.images):
        pixels = rng.integers(60, 250, (64, 64, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(work / "images" / ("benign", "malignant")[number % 2] / f"{number}.png")
    temporary = work / "tmp"
    temporary.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(PLUGINS), "TMPDIR": str(temporary)}
    words = [sys.executable, "-m", "bchisto", "featurize", "--images", work / "images", "--out", work / "run"]
    samples = []
    with (work / "log").open("w") as log:
        command = [*map(str, words), *SETTINGS, "--jobs", str(given.jobs)]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        while process.poll() is None:
            done = len(list(work.glob("run/features/*.parts/*.npz")))
            samples.append((done, measure(process.pid, temporary)))
            time.sleep(1)
    lines = (work / "log").read_text().splitlines()
    most = max(done for done, _ in samples)
    sys.stdout.write(f"{lines[0]}\n{given.images} images, {most} blocks, {len(samples)} samples; log: {work / 'log'}\n")
    for least in (0.1, 0.25, 0.5, 0.75, 0.95):
        held = next(held for done, held in samples if done >= max(1, least * most))
        text = ", ".join(f"{value:.0f} {name}" for name, value in zip(NAMES, held, strict=True))
        sys.stdout.write(f"{least:4.0%} done: {text}\n")
    left = sum(len(files) for _, _, files in os.walk(temporary))
    sys.stdout.write(f"left of temporary files: {left}; exit code {process.returncode}\n")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
