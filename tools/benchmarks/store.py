"""Size of a descriptor store against the time to write and to read it, by compression.

Run: python tools/benchmarks/store.py [--features STORE.h5]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from timing import machine, pin_one_thread

pin_one_thread()

import h5py  # noqa: E402 - after the threads are pinned
import numpy as np  # noqa: E402
from descriptors import make_descriptors  # noqa: E402

WAYS = {"none": {}, "lzf": {"compression": "lzf"}, "gzip 1": {"compression": "gzip", "compression_opts": 1},
        "gzip 4, shuffled": {"compression": "gzip", "compression_opts": 4, "shuffle": True}}  # fmt: skip


def timed(function, rounds):
    seconds = []
    for _ in range(rounds):
        started = time.process_time()
        function()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", help="a store of bchisto; default: made-up descriptors")
    options = parser.parse_args()
    if options.features:
        with h5py.File(options.features) as file:
            rows = file["features"][:]
    else:
        rows = make_descriptors(200, 50, 1024)[0].reshape(-1, 1024)
    print(machine("h5py", "numpy"))
    print(f"\n{rows.shape[0]:,} x {rows.shape[1]:,} float32, {rows.nbytes / 1e6:,.0f} MB\n")
    print("| compression | MB | write s | read all s | read one image (50 rows) ms |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name, layout in WAYS.items():
            path = Path(folder) / "x.h5"

            def write(layout=layout, path=path):
                with h5py.File(path, "w") as file:
                    chunks = (50, rows.shape[1]) if layout else None
                    file.create_dataset("features", data=rows, chunks=chunks, **layout)

            def read(path=path):
                with h5py.File(path) as file:
                    return file["features"][:]

            def read_image(path=path):
                with h5py.File(path) as file:
                    return file["features"][5000:5050]

            wrote = timed(write, 3)
            assert np.array_equal(read(), rows)
            size = path.stat().st_size / 1e6
            print(
                f"| {name} | {size:,.0f} | {wrote:.2f} | {timed(read, 3):.2f} | {1e3 * timed(read_image, 20):.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
