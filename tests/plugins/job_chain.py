"""A chain of commands as `bchisto submit` takes it, and what two runs of it must have in common."""

import json

import h5py
import numpy as np

FEATURES = ("--encoder", "tiny", "--weights", "random", "--view", "1.0:64", "--augmentations", "60", "--crops", "3")
BOOST = ("--folds", "3", "--seeds", "2", "--param", "num_iterations=3", "--param", "min_data_in_leaf=2")
NETWORK = ("--network", "speck", "--folds", "2", "--epochs", "1", "--size", "32", "--weights", "random")
RESULTS = tuple(
    f"{folder}/{name}"
    for folder in ("boost/3-lightgbm", "finetune/2-speck")
    for name in ("predictions.csv", "metrics.json", "model.bchisto")
)


def chain(images, run, *, features=FEATURES):
    return (
        "featurize", "--images", images, "--out", run, *features,
        "then", "boost", "--out", run, *BOOST,
        "then", "finetune", "--images", images, "--out", run, *NETWORK,
        "then", "evaluate", run, "--out", run / "evaluation", "--bootstrap", "20",
    )  # fmt: skip


def assert_equal(run, expected):
    for name in RESULTS:
        assert (run / name).read_bytes() == (expected / name).read_bytes(), name
    ours, theirs = (json.loads((path / "evaluation" / "metrics.json").read_text()) for path in (run, expected))
    assert ours["tables"] == theirs["tables"]
    store = "features/tiny-1.0-64.h5"
    with h5py.File(run / store) as mine, h5py.File(expected / store) as other:
        names = []
        other.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        assert len(names) > 6
        for name in names:
            np.testing.assert_array_equal(mine[name][()], other[name][()])
