"""What it takes to list the finished rows of a large data set: of a store, and of packs that are not put together yet.

Run: python tools/benchmarks/keys.py [--images 277524] [--block 64] [--dim 8]
"""

import argparse
import hashlib
import tempfile
import time
from pathlib import Path

from timing import machine, pin_one_thread

pin_one_thread()

import numpy as np  # noqa: E402 - after the threads are pinned
from bchisto.data import ImageRecord  # noqa: E402
from bchisto.featurize import FeaturizeSettings, ImageDescriptors, open_store  # noqa: E402
from bchisto.featurize.prepare import StainInfo  # noqa: E402
from bchisto.featurize.store import write_store  # noqa: E402
from bchisto.featurize.units import keep, read_kept, read_rows, row_keys  # noqa: E402

ORIGIN = {"augmentations": 1, "weights": "random", "weights_file_sha256": "", "dataset": "", "synthetic": True,
          "classes": [], "images_sha256": "", "selection": "{}", "bchisto_version": ""}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=277_524, help="default: the patches of IDC")
    parser.add_argument("--block", type=int, default=64)
    parser.add_argument("--dim", type=int, default=8)
    options = parser.parse_args()
    chosen = FeaturizeSettings()
    settings = {
        name: value
        for name, value in vars(chosen).items()
        if name not in ("encoders", "weights", "views", "augmentations")
    }
    settings |= {
        "encoder": "x",
        "layers": ["y"],
        "weights_sha256": "",
        "scale": 1.0,
        "crop": 64,
        "backend": "",
        "device": "cpu",
    }
    settings["color_range"] = list(settings["color_range"])
    contents = {f"class/patient/{n:06d}.png": hashlib.sha256(b"%d" % n).hexdigest() for n in range(options.images)}
    records = [ImageRecord(image_id=image, path=Path(image), label=None) for image in contents]
    rng = np.random.default_rng(0)
    stain = StainInfo(None, 0.5, 0.1, skipped=False, pixels="0" * 64)
    print(machine("h5py", "numpy"))
    print(f"\n{options.images:,} images, {options.dim} numbers each, in packs of {options.block}\n")
    print("| what | seconds |\n| --- | --- |")

    def timed(what, function):
        started = time.perf_counter()
        result = function()
        print(f"| {what} | {time.perf_counter() - started:.1f} |", flush=True)
        return result

    with tempfile.TemporaryDirectory() as folder:
        packs, path = Path(folder) / "x.parts", Path(folder) / "x.h5"
        packs.mkdir()
        keys = timed("work out the keys", lambda: row_keys(settings, contents, augmentations=1, mpp={}))

        def write():
            for start in range(0, len(records), options.block):
                some = records[start : start + options.block]
                names = [keys[record.image_id] for record in some]
                described = {
                    key: ImageDescriptors(record, stain, {"x": rng.normal(size=(1, options.dim)).astype(np.float32)})
                    for key, record in zip(names, some, strict=True)
                }
                keep(packs, described, store="x", dim=options.dim)

        timed("write the packs", write)
        files = {}

        def read():
            for pack in sorted(packs.iterdir()):
                files.update(dict.fromkeys(read_kept(pack, augmentations=1, dim=options.dim).keys, pack))

        timed("list the packs and look at every number", read)
        timed("put the store together", lambda: write_store(
            path, records, read_rows(files, list(keys.values()), augmentations=1, dim=options.dim), keys=keys,
            contents=contents, settings=settings, origin=ORIGIN, dim=options.dim))  # fmt: skip
        with timed("open the store", lambda: open_store(path)) as store:
            timed("list the store", lambda: store.keys)
            timed("read the store", store.features)
            assert store.keys == keys


if __name__ == "__main__":
    main()
