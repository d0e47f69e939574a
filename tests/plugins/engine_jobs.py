"""The commands that are a `Computation`, each with a small job; what a job leaves, and moments at its packs.

Run: python -m engine_jobs PACK SIGNAL MOMENT WORDS...: a command that gets a signal at a pack, see `at_pack`; in place
of a signal, a folder whose disk is then filled to the last byte.
"""

import contextlib
import hashlib
import json
import os
import signal
import sys
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Job:
    """A command and its small job.

    Attributes
    ----------
    words : str
        Its words, with places for the images, the run folder and a model file.
    packs : str
        Pattern of its packs in the run folder.
    units : int
        Number of these packs.
    other : str
        Options of another result.
    refused : str
        What a folder says of them.
    already : str
        What the command says of finished units.
    """

    words: str
    packs: str
    units: int
    other: str
    refused: str
    already: str

    def folded(self, folds):
        """Return the job with other folds."""
        return replace(self, words=self.words.replace("--folds 3", f"--folds {folds}"))

    def without(self, words):
        """Return the job without some of its words."""
        return replace(self, words=self.words.replace(words, ""))


TINY = "--encoder tiny --weights random --view 1.0:64 --augmentations 2 --crops 3"
JOBS = {
    "featurize": Job(
        f"featurize --images {{images}} --out {{run}} {TINY}",
        "features/*.parts/*.npz",
        3,
        "--crops 4",
        "other settings: crops 3 -> 4; use the same",
        "blocks are done",
    ),
    "boost": Job(
        "boost --out {run} --folds 3 --seeds 2 --param min_data_in_leaf=2 --param num_iterations=8",
        "boost/*/models/**/seed*.npz",
        6,
        "--param num_leaves=7",
        "other settings: num leaves 191 -> 7",
        "models are trained",
    ),
    "finetune": Job(
        "finetune --images {images} --out {run} --network speck --folds 3 --epochs 2 --batch-size 4",
        "finetune/*/models/fold?-????????????????.npz",
        3,
        "--class-weights",
        "other settings: class weights False -> True",
        "folds are trained",
    ),
    "predict": Job(
        "predict {model} --images {images} --out {run}/p.csv --weights random",
        "p.csv.parts/*.npz",
        3,
        "",
        "",
        "images are predicted",
    ),
}
IMAGES_IN_BLOCK = 4


@contextlib.contextmanager
def at_pack(number, act, *, moment="after", seen=None):
    """Act at the pack of this number that this process writes: ``before`` it gets its name, or ``after``.

    `seen` gets the number of results in each pack. Blocks are of `IMAGES_IN_BLOCK` images.
    """
    import bchisto.featurize.settings as settings
    from bchisto.core.jobs import packs

    real, most = packs.atomic_output, settings._MOST_IMAGES
    counts = [] if seen is None else seen

    @contextlib.contextmanager
    def watched(path):
        counted = path.suffix == ".npz" and not path.name.endswith(".state.npz")
        with real(path) as temporary:
            yield temporary
            if counted:
                with np.load(temporary) as arrays:
                    counts.append(len(arrays["keys"]) if "keys" in arrays else 1)
                if len(counts) == number and moment == "before":
                    act()
        if counted and len(counts) == number and moment == "after":
            act()

    packs.atomic_output, settings._MOST_IMAGES = watched, IMAGES_IN_BLOCK
    try:
        yield counts
    finally:
        packs.atomic_output, settings._MOST_IMAGES = real, most


def content(path):
    """Return a hash of what a file holds: arrays of HDF5, members of a model file, else the bytes."""
    import h5py

    digest = hashlib.sha256()
    if path.suffix == ".h5":
        with h5py.File(path, "r", locking=False) as file:

            def add(name, item):
                digest.update(
                    f"{name} {sorted((key, str(value)) for key, value in item.attrs.items())}".encode()
                )
                if isinstance(item, h5py.Dataset):
                    values = np.asarray(item[()])
                    digest.update(
                        (values.astype(str) if values.dtype.kind == "O" else values).tobytes()
                    )

            add("/", file)
            file.visititems(add)
    elif path.suffix == ".bchisto":
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
            manifest = Path(folder, "manifest.json")  # its hashes are those of the members' bytes
            facts = json.loads(manifest.read_text())
            manifest.write_text(json.dumps({**facts, "members": sorted(facts["members"])}))
            digest.update(json.dumps(contents(Path(folder))).encode())
    else:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def contents(folder):
    """Return name and hash of every file of a folder but the records of who ran it and when."""
    return {
        str(path.relative_to(folder)): content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("run.json") and "records" not in path.parts
    }


def fill(folder):
    """Fill a disk, in a file of this name."""
    with contextlib.suppress(OSError), Path(folder, "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(1024))


def main(pack, number, moment, *words):
    from bchisto.cli import main as command
    from matplotlib.figure import Figure
    from outlines import outlined

    Figure.savefig = (
        outlined  # as in the process of the tests, with whose reports these are compared
    )

    def act():
        os.kill(os.getpid(), signal.Signals[number]) if number.isalpha() else fill(number)

    with at_pack(int(pack), act, moment=moment):
        command(list(words))


if __name__ == "__main__":
    main(*sys.argv[1:])
