"""CPU seconds and memory of small work, whose time is the start of processes: against a plain script on OpenVINO.

    python tools/benchmarks/start.py --weights mobilenetv2.weights.h5 --images FOLDER

A model is trained by `trial` on the images. Then one image, and ten, are predicted by commands of their own. The plain
script imports OpenVINO and Pillow, reads the same kept network, and computes as many frames of the image.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROUNDS = 5
"""Ten images are predicted so often with either number of processes; the medians are shown."""

PLAIN = """
import sys
import numpy as np
import openvino
from PIL import Image
core = openvino.Core()
model = core.read_model(sys.argv[1])
frame = np.asarray(Image.open(sys.argv[2]).convert("RGB"))[None]
windows = np.zeros((1, 20, 4), np.float32) + np.array([0, 0, 7, 7], np.float32)
model.reshape({0: frame.shape, 1: windows.shape})
settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
compiled = core.compile_model(model, "CPU", settings)
for _ in range(int(sys.argv[3])):
    compiled([frame, windows])
"""


def run(*words):
    """Run a command; return its CPU seconds, seconds and largest memory in MB, with those of its children."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, *map(str, words)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(process.stderr.read())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.perf_counter() - started, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ["BCHISTO_CACHE"] = str(root / "cache")
        work = [
            "-m",
            "bchisto",
            "trial",
            "--images",
            arguments.images,
            "--weights",
            arguments.weights,
            "--out",
        ]
        rows = {
            "trial, first time": run(*work, root / "a"),
            "trial, second time": run(*work, root / "b"),
        }
        record = json.loads((root / "a" / "run.json").read_text())["records"][0]
        model = next((root / "a").glob("boost/*-lightgbm/model.bchisto"))
        pictures = sorted(arguments.images.rglob("*.png"))
        (root / "ten").mkdir()
        for picture in pictures[:10]:
            (root / "ten" / picture.name).symlink_to(picture.resolve())
        predict = [
            "-m",
            "bchisto",
            "predict",
            model,
            "--overwrite",
            "--out",
            root / "p.csv",
            "--images",
        ]
        rows["predict 1 image"] = run(*predict, pictures[0])
        for _ in range(ROUNDS):
            rows.setdefault("predict 10 images, --jobs 1", []).append(
                run(*predict, root / "ten", "--jobs", 1)
            )
            rows.setdefault("predict 10 images", []).append(run(*predict, root / "ten"))
        network = next((root / "cache").glob("networks/*-windows/network.xml"))
        frames = record["config"]["augmentations"]
        rows["plain script, 1 image"] = run("-c", PLAIN, network, pictures[0], frames)
    medians = {
        name: [*map(median, zip(*row, strict=True))] if isinstance(row, list) else row
        for name, row in rows.items()
    }
    print(
        "| work | CPU seconds | seconds | memory, MB | CPU, relative |\n| --- | --- | --- | --- | --- |"
    )
    for name, (cpu, seconds, memory) in medians.items():
        print(
            f"| {name} | {cpu:.2f} | {seconds:.2f} | {memory:.0f} | {cpu / rows['plain script, 1 image'][0]:.1f} |"
        )


if __name__ == "__main__":
    main()
