"""The CNN systems for mammograms, run quickly on miniatures in the true layouts."""

from importlib.resources import files

import miniatures
import numpy as np
import pytest
import yaml
from bchisto.apps.recipes import Scope, reproduce
from bchisto.data import read_dataset
from bchisto.finetune import build_network
from bchisto.predict import predict
from packs import ONE_JOB
from written_tables import read_json
from written_tables import rows_of as rows

pytestmark = pytest.mark.slow


def recipe_of(name):
    path = files("bchisto.apps.recipes") / f"{name}.yaml"
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def inbreast(tmp_path_factory):
    root = tmp_path_factory.mktemp("inbreast") / "INbreast"
    miniatures.write_inbreast(root, ["1", "2", "4a", "5"] * 6)
    return root


def test_the_contrast_of_the_inbreast_system(inbreast, tmp_path):
    """Cross-validation against training on all data with a fixed test list; a small frozen network for InceptionV3."""
    content = recipe_of("inbreast-inception")
    content["finetune"]["network"]["value"] = "convs"
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    scope = Scope(quick=True, variants=["cross-validation", "all-data"])
    result = reproduce(
        str(tmp_path / "small.yaml"),
        inbreast,
        out=tmp_path,
        scope=scope,
        weights=["random"],
        work=ONE_JOB,
    )
    cross, every = result.protocols
    assert [one.folder.name for one in result.protocols] == [
        "2-fixed-test-convs-cross-validation",
        "none-convs-all-data",
    ]
    listed = [
        row["image_id"]
        for row in rows(tmp_path / "reproduce" / "inbreast-inception" / "test-list.csv")
    ]
    everything = {record.image_id: record.group for record in read_dataset(inbreast).records}
    assert 0 < len(listed) < len(everything)
    apart = {everything[name] for name in listed}
    for one, folds in ((cross, {"1", "2"}), (every, {"1"})):
        tests = {(row["image_id"], row["fold"]) for row in rows(one.folder / "predictions.csv")}
        assert tests == {(name, fold) for name in listed for fold in folds}
        others = [row for row in rows(one.folder / "folds.csv") if row["part"] != "test"]
        # no patient of the list trains or validates
        assert not apart & {everything[row["image_id"]] for row in others}
    parts = [
        (row["image_id"], row["part"])
        for row in rows(cross.folder / "folds.csv")
        if row["part"] != "test"
    ]
    assert sorted(parts) == sorted(
        (name, part) for name in everything if name not in listed for part in ("train", "val")
    )
    every_train = {
        row["image_id"] for row in rows(every.folder / "folds.csv") if row["part"] == "train"
    }
    assert every_train == set(everything) - set(listed)
    assert any(line.startswith("NO VALIDATION") for line in every.banners)
    assert any(line.startswith("fixed test list: ") for line in cross.banners)
    contrast = next(one for one in result.published if one.key == "contrast")
    by_name = {figure.name: figure.obtained for figure in contrast.figures}
    means = cross.metrics["two_class"]["auc_per_fold"]
    assert by_name["cross-validation"] == pytest.approx(100 * np.mean(means))
    assert by_name["all-data"] == pytest.approx(100 * every.metrics["auc"]["value"])
    folds = next(one for one in result.published if one.key == "folds").figures
    by_name = {figure.name: figure.obtained for figure in folds}
    assert by_name["fold 1: auc"] == pytest.approx(100 * means[0])
    assert by_name["mean of the folds: auc"] == pytest.approx(100 * np.mean(means))
    assert by_name["fold 5: auc"] is None
    (whole,) = (one.figures for one in result.published if one.key == "folds-all-data")
    recalls = [
        every.metrics["per_class"][name]["recall"]["value"] for name in every.panel.table.classes
    ]
    assert [figure.obtained for figure in whole[1:]] == pytest.approx(
        [100 * recall for recall in recalls]
    )
    assert any("75 positive and 313 negative" in banner for banner in result.banners)
    methods = ("deconvnet", "masking", "taylor", "maximisation")
    pages = [
        tmp_path / "explain" / "cross-validation" / method / "index.html" for method in methods
    ]
    assert [*result.pictures] == pages
    for page in pages[:3]:
        made = rows(page.parent / "explain.csv")
        assert {row["label"] for row in made} == {"negative", "positive"}
        # of the test list, on which no network trained
        assert {row["image_id"] for row in made} <= set(listed)
        values = [
            np.load(page.parent / row["arrays"], allow_pickle=False)["values"] for row in made
        ]
        assert all(np.isfinite(found).all() for found in values)
        if page.parent.name == "masking":  # a layer with places
            assert all(0 < found.mean() < 1 for found in values)
    (excited,) = rows(pages[3].parent / "explain.csv")
    assert np.load(pages[3].parent / excited["arrays"], allow_pickle=False)["excited"].shape == (
        2,
        96,
        96,
        3,
    )


def test_further_seeds_test_the_same_list_and_a_patient_may_be_on_both_sides(
    inbreast, tmp_path, monkeypatch
):
    """A small network in the place of InceptionV3, all else as in the recipe."""
    # drawn elsewhere, and half of the time here
    for place in (
        "outputs.write_report",
        "training.write_run_report",
    ):
        monkeypatch.setattr(f"bchisto.crossval.{place}", lambda *args, **options: None)
    content = recipe_of("inbreast-inception")
    small = {
        "network": "speck",
        "size": 32,
        "epochs": 1,
        "patience": 1,
        "batch_size": 4,
        "folds": ["2"],
        "copies": [],
    }
    del content["explain"]
    for name in ("top", "freeze", "weights", "tensorboard"):
        del content["finetune"][name]
    for name, value in small.items():
        content["finetune"][name]["value"] = value
    variants = ("all-data", "image-level")
    content["variants"] = {
        name: content["variants"][name] for name in ("cross-validation", *variants)
    }
    content["published"] = content["published"][:1]
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    result = reproduce(
        str(tmp_path / "small.yaml"),
        inbreast,
        out=tmp_path / "run",
        work=ONE_JOB,
        scope=Scope(seeds=2, variants=variants),
    )
    image = next(one for one in result.protocols if one.folder.name == "2-speck-image-level")
    assert any(line.startswith("NO VALIDATION") for line in image.banners)
    assert any(banner.startswith("IMAGE-LEVEL FOLDS") for banner in image.banners)
    lists = [path.read_bytes() for path in (tmp_path / "run").rglob("test-list.csv")]
    assert lists == [lists[0]] * 2


@pytest.fixture(scope="module")
def masses(tmp_path_factory):
    root = tmp_path_factory.mktemp("masses") / "CBIS-DDSM"
    kinds = ("BENIGN", "MALIGNANT")
    cases = [
        (f"P_{n:05d}", "test" if n % 4 == 0 else "train", kinds[n // 2 % 2]) for n in range(16)
    ]
    miniatures.write_cbis(root, cases)
    return root


def test_the_masses_system_with_weights_from_a_file(masses, tmp_path):
    model = build_network("googlenet", classes=1000)
    path = tmp_path / "googlenet.npz"
    np.savez(
        path, **{f"{one.name}/{v.name}": np.array(v) for one in model.layers for v in one.weights}
    )
    scope, weights = Scope(quick=True, variants=["googlenet", "baseline"]), [f"googlenet={path}"]
    result = reproduce(
        "ddsm-masses", masses, out=tmp_path / "run", scope=scope, work=ONE_JOB, weights=weights
    )
    assert not any("RANDOM START" in banner for banner in result.banners)
    settings = read_json(result.protocols[0].folder / "settings.json")
    assert settings["settings"]["rate_multipliers"] == [
        ["conv", 0.1],
        ["inception", 0.1],
        ["inception_5a", 1.0],
        ["inception_5b", 1.0],
        ["classes", 10.0],
    ]
    figures = {
        one.name: one for one in next(c for c in result.published if c.key == "test").figures
    }
    assert figures["googlenet: accuracy"].published == 0.929
    assert figures["googlenet: accuracy"].difference is not None
    assert figures["alexnet: accuracy"].obtained is None
    counted = {
        one.name: one for one in next(c for c in result.published if c.key == "parameters").figures
    }
    assert counted["googlenet"].cells()[:2] == ["5.0", "6.0"]
    test = next(one for one in result.published if one.key == "test")
    assert ["radiologists: recall (sec. 5.2, of Elmore et al. 2009)", "0.745 to 0.923"] in [
        row[:2] for row in test.rows()
    ]
    (page,) = result.pictures
    assert page == tmp_path / "run" / "explain" / "googlenet" / "saliency" / "index.html"
    listed = {row["image_id"] for row in rows(page.parent.parent / "images.csv")}
    assert listed <= {
        row["image_id"] for row in rows(result.protocols[0].folder / "predictions-validation.csv")
    }
    assert not listed & {
        row["image_id"] for row in rows(result.protocols[0].folder / "predictions.csv")
    }
    boxes = {one.image_id: one.box for one in read_dataset(masses, context="large").records}
    # each mass in its context, and not the whole mammogram
    for row in rows(page.parent / "explain.csv"):
        left, top, right, bottom = boxes[row["image_id"]]
        with np.load(page.parent / row["arrays"], allow_pickle=False) as arrays:
            assert arrays["values"].shape == (bottom - top, right - left)
    # new masses are shown in the context that the network was trained on
    bundle = result.protocols[1].folder / "model.bchisto"
    found = predict(bundle, [masses], out=tmp_path / "p.csv", work=ONE_JOB)
    assert found.images == len(read_dataset(masses).records)
    expected = {
        row["image_id"]: row for row in rows(result.protocols[1].folder / "predictions.csv")
    }
    for row in rows(tmp_path / "p.csv"):
        if row["image_id"] in expected:
            assert float(row["p_benign"]) == pytest.approx(
                float(expected[row["image_id"]]["p_benign"]), rel=1e-4
            )
