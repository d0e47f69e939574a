"""`boost --each`: what each store gives, from models that are trained already."""

import csv
import json
import shutil

import h5py
import numpy as np
import pytest
from bchisto.boost import BoostSettings, train
from bchisto.core import InputError
from bchisto.jobs import Work

PARAMS = {"min_data_in_leaf": 2, "num_iterations": 6}
FOLDER = "boost/3-lightgbm"


@pytest.fixture(scope="module")
def three(described, tmp_path_factory):
    """A run of three stores: descriptors, the same with noise, and noise alone, all in patients of two images."""
    run = shutil.copytree(described, tmp_path_factory.mktemp("three") / "rün")
    first = run / "features" / "tiny-1.0-64.h5"
    rng = np.random.default_rng(3)
    for name, share in (("noisy", 0.5), ("noise", 0.0)):
        other = shutil.copy(first, run / "features" / f"{name}.h5")
        with h5py.File(other, "a") as file:
            values = file["features"][:]
            file["features"][:] = share * values + values.std() * rng.standard_normal(values.shape)
    return run


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def probabilities(folder):
    """Store to image to mean probabilities over seeds, and the class of each image."""
    found, labels = {}, {}
    with (folder / "predictions-by-model.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            one = found.setdefault(row["store"], {}).setdefault(row["image_id"], [])
            one.append([float(row["p_benign"]), float(row["p_malignant"])])
            labels[row["image_id"]] = row["label"]
    return {store: {i: np.mean(p, axis=0) for i, p in images.items()} for store, images in found.items()}, labels


def test_gains_equal_those_worked_out_by_hand(three, run_copy, cli):
    run = run_copy(three)
    command = ["boost", "--out", run, "--folds", 3, "--seeds", 2, "--jobs", 1]
    command += ["--param", "min_data_in_leaf=2", "--param", "num_iterations=6"]
    assert cli(*command)[0] == 0
    plain = metrics_of(run / FOLDER)
    models = {path: path.stat().st_mtime_ns for path in (run / FOLDER / "models").rglob("*.*")}
    code, _, messages = cli(*command, "--each")
    assert code == 0, messages
    assert models == {path: path.stat().st_mtime_ns for path in models}  # nothing is trained
    content = metrics_of(run / FOLDER)
    each = content["run"].pop("each")
    assert content == plain

    found, labels = probabilities(run / FOLDER)
    classes = np.array(["benign", "malignant"])

    def right(stores):
        called = {i: classes[np.argmax(np.mean([found[s][i] for s in stores], axis=0))] for i in labels}
        return np.array([called[i] == labels[i] for i in sorted(labels)])

    names = ["noise", "noisy", "tiny-1.0-64"]
    assert list(each["stores"]) == names
    assert each["fusion"]["accuracy"] == pytest.approx(right(names).mean())
    expected = {}
    for name in names:
        rest = right([other for other in names if other != name])
        assert each["stores"][name]["alone"]["accuracy"] == pytest.approx(right([name]).mean())
        assert each["stores"][name]["without"]["accuracy"] == pytest.approx(rest.mean())
        expected[f"fusion without {name}", "fusion"] = (rest, right(names))
    for a, b in (("noise", "noisy"), ("noise", "tiny-1.0-64"), ("noisy", "tiny-1.0-64")):
        expected[a, b] = (right([a]), right([b]))
    pairs = {(pair["first"], pair["second"]): pair for pair in each["comparisons"]}
    assert pairs.keys() == expected.keys()
    for key, (before, after) in expected.items():
        assert pairs[key]["difference"] == pytest.approx(after.mean() - before.mean())
        assert 0 < pairs[key]["least_p"] <= pairs[key]["p"] <= 1
    least, corrected = 0.0, {}
    for rank, key in enumerate(sorted(pairs, key=lambda key: pairs[key]["p"])):
        least = max(least, min(1.0, (6 - rank) * pairs[key]["p"]))
        corrected[key] = least
    assert {key: pair["p_holm"] for key, pair in pairs.items()} == pytest.approx(corrected)
    assert not any(pair["primary"] for pair in pairs.values())

    for report in (run / FOLDER / "report.html", run / "report.html"):
        page = report.read_text(encoding="utf-8")
        assert "<h2>What each store gives</h2>" in page or "What each store gives" in page
        assert "fusion against fusion without noisy" in page


@pytest.mark.slow
def test_the_fusion_without_a_store_is_that_of_the_others_alone(three, run_copy):
    run = run_copy(three)
    options = {"folds": ["3"], "work": Work(jobs=1)}
    settings = BoostSettings(heads=["logistic"], seeds=1, params=PARAMS, each=True)
    whole = train(out=run, settings=settings, **options)
    features = [run / "features" / f"{name}.h5" for name in ("noisy", "tiny-1.0-64")]
    fewer = train(
        out=run.parent / "fewer", features=features, settings=BoostSettings(
            heads=["logistic"], seeds=1, params=PARAMS, each=True), **options,
    )  # fmt: skip
    for all_three, two in zip(whole, fewer, strict=True):
        without = metrics_of(all_three.folder)["run"]["each"]["stores"]["noise"]["without"]
        each = metrics_of(two.folder)["run"]["each"]
        assert without == each["fusion"]
        assert each["stores"]["noisy"]["without"] == each["stores"]["tiny-1.0-64"]["alone"]
        assert [len(each["comparisons"]), each["notes"]] == [3, []]


def test_one_store_is_not_compared(described, run_copy, cli):
    run = run_copy(described)
    with pytest.raises(InputError, match=r"`each` compares stores, and tiny-1\.0-64 is the only one; give several"):
        train(out=run, folds=["3"], settings=BoostSettings(each=True))
    code, _, messages = cli("boost", "--out", run, "--folds", 3, "--each")
    assert code == 2
    assert "--each compares stores" in messages
    assert "give several with --features" in messages
    assert not (run / "boost").exists()
