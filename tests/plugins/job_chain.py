"""A chain of commands as `bchisto submit` takes it, and what two runs of it must have in common."""

import json
import time

import h5py
import numpy as np
from conftest import typed

FEATURES = typed("--encoder tiny --weights random --view 1.0:64 --augmentations 60 --crops 3")
BOOST = typed("--folds 3 --seeds 2 --param num_iterations=3 --param min_data_in_leaf=2")
NETWORK = typed("--network speck --folds 2 --epochs 1 --size 32 --weights random")


def chain(images, run, *, network=True, encoder="tiny"):
    tuned = ("then", "finetune", "--images", images, "--out", run, *NETWORK) if network else ()
    return typed(
        "featurize --images {} --out {} --encoder {}",
        images,
        run,
        encoder,
        *FEATURES[2:],
        "then",
        "boost",
        "--out",
        run,
        *BOOST,
        *tuned,
        "then",
        "evaluate",
        run,
        "--out",
        run / "evaluation",
        "--bootstrap",
        "20",
    )


def stages(chained):
    """Yield the words of each command of a chain, for one process."""
    words = [str(word) for word in chained]
    while words:
        end = words.index("then") if "then" in words else len(words)
        yield [*words[:end], *([] if words[0] == "evaluate" else ["--jobs", "1"])]
        words = words[end + 1 :]


def assert_equal(run, expected):
    for name in ("predictions.csv", "metrics.json", "model.bchisto"):
        ours, theirs = (path / "boost" / "3-lightgbm" / name for path in (run, expected))
        assert ours.read_bytes() == theirs.read_bytes(), name
    ours, theirs = (
        json.loads((path / "evaluation" / "metrics.json").read_text()) for path in (run, expected)
    )
    assert ours["tables"] == theirs["tables"]
    store = "features/tiny-1.0-64.h5"
    with h5py.File(run / store) as mine, h5py.File(expected / store) as other:
        names = []
        other.visititems(
            lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
        )
        assert len(names) > 6
        for name in names:
            np.testing.assert_array_equal(mine[name][()], other[name][()])


def end(process):
    """Wait for a process that is to succeed; return what it printed, and its messages."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out, err


def wait(reached, seconds=120, *, process=None):
    """Wait until something is so, while a process runs, if one is given."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
