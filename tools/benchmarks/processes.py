"""Several processes that describe images at once, as workers do: time of the clock, of computing, images a second.

One process tells nothing of several: these may wait for the same core.

Run: python tools/benchmarks/processes.py [--encoder mobilenetv2] [--engines keras,openvino] [--processes 1,2]
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

from timing import machine, pin_one_thread

AUGMENTATIONS = 2


def describe(options, engine, path, barrier, results):
    """Describe an image several times, and send when that began and ended, and the CPU seconds of this process."""
    from bchisto.core.jobs import Ticker
    from bchisto.data import ImageRecord
    from bchisto.encoders import EncoderChoice, open_encoder
    from bchisto.featurize import FeaturizeSettings, View, describe_images

    view = View(0.5, 400)
    settings = FeaturizeSettings(
        encoders=options.encoder, views=view, augmentations=AUGMENTATIONS, mode="dense", engine=engine,
        precision=options.precision,
    )  # fmt: skip
    encoder = open_encoder(
        EncoderChoice.parse(options.encoder), weights="random", engine=engine, precision=options.precision
    )
    records = [ImageRecord(image_id=f"{number}.png", path=path, label=None) for number in range(options.images)]

    def work():
        list(describe_images(records, settings=settings, targets={"store": (encoder, view)}, ticker=Ticker(None)))

    work()  # compiles
    barrier.wait()
    began, used = time.monotonic(), time.process_time()
    work()
    results.put((began, time.monotonic(), time.process_time() - used))


def together(options, engine, processes, path):
    """Return seconds of the clock and of all processes."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=describe, args=(options, engine, path, barrier, results)) for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    results_of_workers = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    began, ended, used = zip(*results_of_workers, strict=True)
    return max(ended) - min(began), sum(used)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--encoder", default="mobilenetv2")
    parser.add_argument("--engines", default="keras,openvino")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--processes", default=",".join(map(str, sorted({1, min(2, cores), cores}))))
    parser.add_argument("--images", type=int, default=4, help="for each process")
    options = parser.parse_args()
    pin_one_thread()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from bchisto.data.synthetic import make_tissue
    from PIL import Image

    print(machine("tensorflow", "keras", "openvino"))
    print(f"\n{options.encoder}, {options.precision}, dense mode, images of 2048x1536, {AUGMENTATIONS} augmentations\n")
    print("| engine | processes | seconds of the clock | CPU seconds | cores used | images a second |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "b001.png"
        Image.fromarray(make_tissue("Benign", seed=0, index=1)).save(path, compress_level=1)
        for engine in options.engines.split(","):
            for processes in map(int, options.processes.split(",")):
                wall, used = together(options, engine, processes, path)
                speed = processes * options.images / wall
                print(
                    f"| {engine} | {processes} | {wall:.1f} | {used:.1f} | {used / wall:.2f} | {speed:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
