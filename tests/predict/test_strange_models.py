"""Bundles of strangers by the command line: one line and exit code 2, and nothing left behind."""

import json

import numpy as np
import pytest
from archives import arrays, rewrite, said

STORE = "tiny-1.0-64"


@pytest.fixture
def model(boosted):
    return boosted / "boost" / "3-lightgbm" / "model.bchisto"


def store(**changes):
    """A manifest whose store says something else; `...` for what it says no more."""

    def change(members):
        content = json.loads(members["manifest.json"])
        header = {**content["stores"][STORE], **changes}
        content["stores"][STORE] = {name: value for name, value in header.items() if value is not ...}
        return {**members, "manifest.json": json.dumps(content).encode()}

    return change


STRANGE = {
    "a hundred million crops": (store(crops=10**8), "do not fit (crops is 100000000, out of range)"),
    "a billion augmentations": (store(augmentations=10**9), "crops of every image, more than 200,000"),
    "no crop size": (store(crop=...), "do not fit (no 'crop')"),
    "a crop of a million pixels": (store(crop=10**6), "do not fit (crop is 1000000, out of range)"),
    "a scale NaN": (store(scale=float("nan")), "do not fit (scale is "),
    "a norm of 1e300": (store(pool=1e300), "do not fit (pool is "),
    "an unknown stain": (store(stain="x"), "do not fit"),
    "layers as numbers": (store(layers=[1]), "do not fit (layers are not names)"),
    "layers that the network has not": (store(layers=["x"]), "no output x"),
    "an unknown encoder": (store(encoder="../../x"), "this model's encoders ../../x: no such encoder"),
    "weights as a number": (store(weights=3), "do not fit (its weights are not text)"),
    "the hash of other weights": (store(weights_sha256="0" * 64), "differs from that of training"),
    "a temperature of 400 digits": (said(calibration={"temperature": 10**400}), "a temperature from 0.001"),
    "a schema in words": (said(schema_version="3"), "its manifest has no schema version"),
    "a schema of 400 digits": (said(schema_version=10**400), "its manifest has no schema version"),
    "a schema of a version to come": (said(schema_version=5, bchisto_version="10.1"), "install bchisto 10.1 or later"),
    "leaves that are NaN": (
        arrays(every=True, value=lambda a: a * np.nan),
        "the array value of a model holds values that are not finite",
    ),
}


@pytest.mark.parametrize("name", STRANGE)
def test_the_command_refuses_it(model, tissue, tmp_path, cli, name):
    change, message = STRANGE[name]
    path = rewrite(model, tmp_path / "x.bchisto", change)
    code, out, err = cli("predict", path, "--images", tissue, "--out", tmp_path / "p.csv", "--calibrated", "--jobs", 1)
    assert (code, out) == (2, "")
    lines = [line for line in err.splitlines() if message in line]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    assert "this is a bug" not in err
    assert sorted(one.name for one in tmp_path.iterdir()) in (["x.bchisto"], ["p.csv.run.json", "x.bchisto"])


def test_a_bundle_that_fails_at_its_first_image_leaves_no_parts(model, tissue, tmp_path, cli, monkeypatch):
    """As one of another package's head may: what it gives is no probability."""
    monkeypatch.setattr("bchisto.boost.trees.Forest.predict_rows", lambda self, rows: rows[:, :2] * float("nan"))
    code, _, err = cli("predict", model, "--images", tissue, "--out", tmp_path / "p.csv", "--jobs", 1)
    assert code == 2, err
    assert "give values that are not probabilities" in err
    assert [one.name for one in tmp_path.iterdir()] == ["p.csv.run.json"]
