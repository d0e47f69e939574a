"""The four CNN systems: what their recipes say, and quick runs on miniatures in the true layouts and on real images."""

import csv
import json
import shutil
from dataclasses import fields
from pathlib import Path

import miniatures
import numpy as np
import pytest
from bchisto.data import read_dataset
from bchisto.errors import InputError, MissingInputError, SettingsConflictError
from bchisto.evaluate import Panel, PredictionTable, evaluate, measure
from bchisto.finetune import NETWORKS, CnnBundle, FinetuneSettings
from bchisto.predict import predict
from bchisto.recipes import list_recipes, load_recipe, plan_recipe, reproduce
from bchisto.recipes.cnn import _settings, _values
from bchisto.recipes.cnn_figures import Obtained, compare_cnn
from bchisto.recipes.work import Work

SYSTEMS = ("breakhis-resnet", "idc-patches", "inbreast-inception", "ddsm-masses")
WORK = Work(images=Path(), run=Path())


def rows(path):
    with path.open() as handle:
        return list(csv.DictReader(handle))


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_variant_is_a_setting_of_the_commands(name):
    recipe = load_recipe(name)
    assert name in list_recipes()
    for quick in (False, True):
        for variant, change in recipe.variants.items():
            if "featurize" in change:
                continue
            settings, _ = _settings(_values(recipe, variant, quick=quick), variant, WORK)
            assert settings.name == variant
    for table in recipe.published:
        if table["kind"] in ("variants", "scores", "validation"):
            assert set(table["rows"]) <= set(recipe.variants)
        named = {*table.get("claim", {}).get("better", ()), *table.get("claim", {}).get("than", ())}
        assert named <= set(table.get("rows", {}))


def test_the_published_settings_of_the_ddsm_system():
    """Levy & Jain 2016, sec. 4 and Tables 1 to 3, written down again."""
    recipe = load_recipe("ddsm-masses")
    values = recipe.values("finetune")
    assert (values["context"], values["rotations"], values["crops"], values["folds"]) == ("large", 5, 5, ["80/10/10"])
    work = Work(images=Path(), run=Path(), weights=("googlenet=g.npz", "alexnet=a.npz"))
    found = {name: _settings(_values(recipe, name, quick=False), name, work)[0] for name in recipe.variants}
    google, alex, base = found["googlenet"], found["alexnet"], found["baseline"]
    assert (google.optimizer, google.rate, google.dropout, google.epochs) == ("sgd", 0.01, 0.2, 30)
    assert dict(google.multipliers) == {
        "conv": 0.1, "inception": 0.1, "inception_5a": 1, "inception_5b": 1, "classes": 10
    }  # fmt: skip
    assert (alex.optimizer, alex.rate, alex.dropout, alex.epochs) == ("adam", 0.001, 0.5, 30)
    assert (dict(alex.multipliers), alex.fresh, alex.weights) == ({"conv": 0.1}, ("fc", "classes"), "a.npz")
    assert (base.optimizer, base.rate, base.batch_size, base.epochs, base.weights) == ("adam", 0.001, 64, 35, "random")
    assert found["alexnet-small"].augmentations == ()
    tables = {table["key"]: table["rows"] for table in recipe.published}
    assert tables["test"]["googlenet"] == {"accuracy": 0.929, "precision": 0.924, "recall": 0.934}
    assert tables["transfer"] == {"baseline": 66, "alexnet": 90}
    assert tables["context"] == {"alexnet-small": 64, "alexnet-large": 71}


def test_multipliers_go_with_pretrained_weights_only():
    recipe = load_recipe("ddsm-masses")
    settings, said = _settings(_values(recipe, "googlenet", quick=False), "googlenet", WORK)
    assert settings.multipliers == ()
    assert said == ["googlenet began untrained, so all its layers have one learning rate"]


def test_every_published_choice_is_a_setting():
    known = {field.name for field in fields(FinetuneSettings)}
    assert {"stain", "patches", "sampling", "top", "freeze", "fresh", "precision"} <= known
    variants = load_recipe("breakhis-resnet").variants
    used = {change.get("finetune", {}).get("network") for change in variants.values()} - {None}
    assert used | {"breakhis-residual-stride2"} == {name for name in NETWORKS if name.startswith("breakhis")}


@pytest.fixture(scope="module")
def breakhis(tmp_path_factory):
    """Two magnifications of six patients a class, one of too few."""
    from PIL import Image

    root = tmp_path_factory.mktemp("breakhis") / "BreaKHis_v1"
    rng = np.random.default_rng(0)
    for kind, letter, tumour, top in (("benign", "B", "A", 200), ("malignant", "M", "DC", 255)):
        for patient in range(6):
            slide = f"14-{patient}{letter}"
            for magnification in (40, 100, 200):
                if magnification == 200 and patient:
                    continue
                folder = root / "histology_slides/breast" / kind / "SOB/x" / f"SOB_{letter}_{tumour}_{slide}"
                folder = folder / f"{magnification}X"
                folder.mkdir(parents=True)
                pixels = rng.integers(0, top, (460, 700, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"SOB_{letter}_{tumour}-{slide}-{magnification}-001.png")
    return root


@pytest.fixture(scope="module")
def done(tmp_path_factory, breakhis):
    run = tmp_path_factory.mktemp("done") / "run"
    return run, reproduce(
        "breakhis-resnet", breakhis, out=run, quick=True, variants=["best", "normal", "decaf"], weights=["random"],
        jobs=1,
    )  # fmt: skip


def test_each_magnification_is_a_run_of_its_own(done):
    run, result = done
    folders = [one.folder.relative_to(run).as_posix() for one in result.protocols]
    assert folders == [
        f"{m}x/{name}"
        for m in (40, 100)
        for name in (
            "finetune/2-grouped-breakhis-residual-stride2-best",
            "finetune/2-grouped-breakhis-residual-normal",
            "boost/2-grouped-logistic",
        )
    ]
    assert any(banner.startswith("best at 200x was left out: ") for banner in result.banners)
    assert any(banner.startswith("400x was left out: ") for banner in result.banners)
    assert sum(banner.startswith("QUICK: 12 of 7909 images at ") for banner in result.banners) == 2


def test_cnn_and_frozen_features_are_compared_on_the_same_folds(done, tmp_path):
    run, _ = done
    result = evaluate([run / "40x"], out=tmp_path, bootstrap=50)
    assert len(result["tables"]) == 3
    assert len(result["comparisons"]) == 3  # every pair, image by image


def test_published_and_obtained_stand_side_by_side(done):
    run, result = done
    folder = run / "reproduce" / "breakhis-resnet"
    # no table of which nothing was run
    assert [one.key for one in result.comparisons] == ["networks", "treatments", "patches", "rules", "levels", "decaf"]
    networks = rows(folder / "networks.csv")
    assert {row["published"] for row in networks} == {"not printed"}
    obtained = {row["figure"]: row["obtained"] for row in networks}
    assert obtained["best at 40x"]
    assert obtained["normal at 100x"]
    assert obtained["kernel3 at 40x"] == ""
    assert "best at 200x" not in obtained
    first = json.loads((result.protocols[0].folder / "metrics.json").read_text())["tables"]
    assert float(obtained["best at 40x"]) == pytest.approx(100 * first["breakhis-residual-stride2"]["accuracy"])
    rules = {row["figure"]: row["obtained"] for row in rows(folder / "rules.csv")}
    vote = first["breakhis-residual-stride2 (image, vote)"]["accuracy"]
    assert float(rules["vote at 40x"]) == pytest.approx(100 * vote)
    levels = {row["figure"]: row["obtained"] for row in rows(folder / "levels.csv")}
    assert float(levels["patch auc at 40x"]) == pytest.approx(100 * first["breakhis-residual-stride2 (patch)"]["auc"])
    assert float(levels["patient accuracy at 100x"]) >= 0
    report = (folder / "report.html").read_text()
    assert "best at 40x" in report
    for other in ("normal at 40x", "decaf at 40x", "normal at 100x"):
        assert other in report
    assert "McNemar" in report
    assert "Conclusion: first stride 2 is the best. Here: not run" in report
    assert "Not comparable (quick" in report


def test_a_second_run_trains_nothing(done, breakhis):
    run, result = done
    before = {path: path.read_bytes() for path in run.rglob("*.weights.h5")}
    again = reproduce(
        "breakhis-resnet", breakhis, out=run, quick=True, variants=["best", "normal", "decaf"], weights=["random"],
        jobs=1,
    )  # fmt: skip
    assert {path: path.read_bytes() for path in before} == before
    assert again.comparisons == result.comparisons


def test_other_settings_are_refused_also_in_a_quick_run(done, breakhis, tmp_path):
    run, _ = done
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "40x" / "finetune" / "2-grouped-breakhis-residual-normal" / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rate": 0.5}))
    with pytest.raises(SettingsConflictError, match="rate 0.5 -> 0.001"):
        reproduce("breakhis-resnet", breakhis, out=tmp_path / "run", quick=True, variants=["best", "normal"], jobs=1)


def test_images_that_are_not_there(tmp_path):
    with pytest.raises(MissingInputError, match="gone: no such folder or manifest"):
        reproduce("breakhis-resnet", tmp_path / "gone", out=tmp_path / "run", quick=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.txt").write_text("")
    with pytest.raises(InputError, match="no BreakHis"):
        reproduce("breakhis-resnet", tmp_path / "other", out=tmp_path / "run", quick=True)


def test_whole_runs_do_not_leave_magnifications_out(breakhis, tmp_path):
    with pytest.raises(InputError, match="no image of 400x is here"):
        reproduce("breakhis-resnet", breakhis, out=tmp_path / "a", jobs=1)
    few = tmp_path / "few" / "BreaKHis_v1"
    shutil.copytree(breakhis, few)
    for path in [*few.rglob("*-100-001.png")]:
        target = path.with_name(path.name.replace("-100-", "-400-"))
        target.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputError, match="class benign has 1 images, fewer than the 5 folds"):
        reproduce("breakhis-resnet", few, out=tmp_path / "b", jobs=1)
    assert not list((tmp_path / "b").rglob("*.weights.h5"))


@pytest.fixture(scope="module")
def inbreast(tmp_path_factory):
    root = tmp_path_factory.mktemp("inbreast") / "INbreast"
    miniatures.write_inbreast(root, ["1", "2", "4a", "5"] * 6)
    return root


def test_the_contrast_of_the_inbreast_system(inbreast, tmp_path):
    """Cross-validation against training on all data with a fixed test list, and the way of the source."""
    result = reproduce(
        "inbreast-inception", inbreast, out=tmp_path, quick=True, weights=["random"], jobs=2,
        variants=["cross-validation", "all-data", "image-level"],
    )  # fmt: skip
    cross, every, image = result.protocols
    assert every.folder.name == "none-inceptionv3-all-data"
    listed = [row["image_id"] for row in rows(tmp_path / "reproduce" / "inbreast-inception" / "test-list.csv")]
    assert sorted(row["image_id"] for row in rows(every.folder / "predictions.csv")) == listed
    first = [row["image_id"] for row in rows(cross.folder / "predictions.csv") if row["fold"] == "1"]
    assert sorted(first) == listed
    parts = {row["image_id"]: row["part"] for row in rows(every.folder / "folds.csv")}
    groups = {row["image_id"]: row["group"] for row in rows(every.folder / "folds.csv")}
    tested = {groups[name] for name, part in parts.items() if part == "test"}
    assert not tested & {groups[name] for name, part in parts.items() if part == "train"}
    assert any(banner.startswith("NO VALIDATION") for banner in image.banners)
    assert any(banner.startswith("image-level folds on grouped data") for banner in image.banners)
    assert list((cross.folder / "logs" / "tensorboard").rglob("events.out.tfevents.*"))
    contrast = next(one for one in result.comparisons if one.key == "contrast")
    assert "training on all data with a fixed test list gives the higher AUC. Here: " in contrast.note
    assert next(one for one in result.comparisons if one.key == "folds").figures[-1].name == "mean of the folds"
    assert any("75 positive and 313 negative" in banner for banner in result.banners)


@pytest.fixture(scope="module")
def masses(tmp_path_factory):
    root = tmp_path_factory.mktemp("masses") / "CBIS-DDSM"
    kinds = ("BENIGN", "MALIGNANT")
    cases = [(f"P_{n:05d}", "test" if n % 4 == 0 else "train", kinds[n // 2 % 2]) for n in range(32)]
    miniatures.write_cbis(root, cases)
    return root


def test_the_masses_system_with_weights_from_a_file(masses, tmp_path):
    from bchisto.finetune import build_network

    model = build_network("googlenet", classes=1000)
    path = tmp_path / "googlenet.npz"
    np.savez(path, **{f"{one.name}/{v.name}": np.array(v) for one in model.layers for v in one.weights})
    result = reproduce(
        "ddsm-masses", masses, out=tmp_path / "run", quick=True, variants=["googlenet", "baseline"], jobs=1,
        weights=[f"googlenet={path}"],
    )  # fmt: skip
    assert not any("RANDOM START" in banner for banner in result.banners)
    settings = json.loads((result.protocols[0].folder / "settings.json").read_text())
    assert settings["multipliers"] == [
        ["conv", 0.1], ["inception", 0.1], ["inception_5a", 1.0], ["inception_5b", 1.0], ["classes", 10.0]
    ]  # fmt: skip
    figures = {one.name: one for one in next(c for c in result.comparisons if c.key == "test").figures}
    assert figures["googlenet: accuracy"].published == 0.929
    assert figures["googlenet: accuracy"].difference is not None
    assert figures["alexnet: accuracy"].obtained is None
    transfer = next(one for one in result.comparisons if one.key == "transfer")
    assert [one.published for one in transfer.figures] == [66, 90]
    assert transfer.figures[0].obtained is not None
    # new masses are shown in the context that the network was trained on
    bundle = result.protocols[1].folder / "model.bchisto"
    assert CnnBundle.load(bundle).reading["context"] == "large"
    found = predict(bundle, [masses], out=tmp_path / "p.csv", jobs=1)
    assert found.images == len(read_dataset(masses).records)
    expected = {row["image_id"]: row for row in rows(result.protocols[1].folder / "predictions.csv")}
    for row in rows(tmp_path / "p.csv"):
        if row["image_id"] in expected:
            assert float(row["p_benign"]) == pytest.approx(float(expected[row["image_id"]]["p_benign"]), rel=1e-4)


def test_the_masses_system_on_the_ddsm(tmp_path):
    """The original layout: .ics, .OVERLAY and lossless JPEG."""
    for number in range(24):
        pathology = ("BENIGN", "MALIGNANT")[number % 2]
        text = miniatures.overlay((miniatures.MASS, pathology, [miniatures.SQUARE]))
        case = f"B-3{number:03d}-1"
        miniatures.write_ddsm(tmp_path / "DDSM" / f"case3{number:03d}", case, {"LEFT_CC": text}, seed=number)
    result = reproduce(
        "ddsm-masses", tmp_path / "DDSM", out=tmp_path / "run", quick=True, variants=["baseline"], jobs=1
    )  # fmt: skip
    assert result.protocols[0].folder.name == "80-10-10-grouped-ddsm-baseline-baseline"
    assert result.protocols[0].metrics["n"] >= 2


def test_the_masses_system_takes_two_layouts(inbreast, tmp_path):
    with pytest.raises(InputError, match="ddsm-masses takes the layout ddsm or cbis-ddsm"):
        reproduce("ddsm-masses", inbreast, out=tmp_path, quick=True)


def test_real_breakhis_images(shared, tmp_path, cli):
    images = shared / "data" / "breakhis" / "BreaKHis_v1"
    code, out, err = cli("reproduce", "breakhis-resnet", "--images", images, "--out", tmp_path, "--quick", "--jobs", 2)
    assert code == 0, err
    assert "40x/finetune/2-grouped-breakhis-residual-stride2-best: accuracy" in out
    assert "400x/finetune/2-grouped-breakhis-residual-stride2-best: accuracy" in out
    assert "sum, vote and average beat exist. Here: " in out
    assert "not printed" in out


def test_real_idc_patches(shared, tmp_path, cli):
    images = shared / "data" / "idc" / "IDC_regular_ps50_idx5"
    code, out, err = cli("reproduce", "idc-patches", "--images", images, "--out", tmp_path, "--quick", "--jobs", 2)
    assert code == 0, err
    assert "finetune/2-grouped-patch-resnet-resnet: accuracy" in out
    assert "By network (positive is invasive ductal carcinoma)" in out


def fake(tmp_path, name, right):
    """A table of 20 images, of which some are called right."""
    labels = ["benign", "malignant"] * 10
    p = np.array([[0.9, 0.1] if (k % 2 == 0) == (k < right) else [0.1, 0.9] for k in range(20)])
    table = PredictionTable.from_probabilities(
        name=name, classes=["benign", "malignant"], image_ids=[f"{k}.png" for k in range(20)], labels=labels,
        probabilities=p, folds=[1] * 20, groups=[None] * 20,
    )  # fmt: skip
    return Obtained(tmp_path, Panel(table, measure(table, bootstrap=50)))


def test_conclusions_are_judged_by_the_values(tmp_path):
    recipe = load_recipe("breakhis-resnet")
    names = ("best", "normal", "kernel3", "doubled", "two-pools", "dropout")
    runs = {(name, 40): fake(tmp_path, name, 20 if name == "best" else 14) for name in names}
    runs |= {(name, 200): fake(tmp_path, name, 20 if name == "dropout" else 14) for name in names}
    recipe = type(recipe)(**{**vars(recipe), "published": [t for t in recipe.published if t["key"] == "networks"]})
    (found,) = compare_cnn(recipe, runs, note="")
    assert found.note == (
        "Conclusion: first stride 2 is the best. Here: holds at 40x; does not hold at 200x; not run at 100x, at 400x."
    )
    by_name = {figure.name: figure.obtained for figure in found.figures}
    assert (by_name["best at 40x"], by_name["normal at 40x"], by_name["best at 200x"]) == (100.0, 70.0, 70.0)


def test_precision_and_recall_by_hand(tmp_path):
    recipe = load_recipe("ddsm-masses")
    recipe = type(recipe)(**{**vars(recipe), "published": [t for t in recipe.published if t["key"] == "test"]})
    (found,) = compare_cnn(recipe, {("baseline", None): fake(tmp_path, "baseline", 15)}, note="")
    by_name = {figure.name: figure for figure in found.figures}
    # images 15 to 19 are called wrong: malignant 15, 17, 19 missed, benign 16, 18 called malignant
    assert by_name["baseline: accuracy"].obtained == pytest.approx(15 / 20)
    assert by_name["baseline: recall"].obtained == pytest.approx(7 / 10)
    assert by_name["baseline: precision"].obtained == pytest.approx(7 / 9)
    assert by_name["baseline: accuracy"].difference == pytest.approx(0.75 - 0.604)
    from statsmodels.stats.proportion import proportion_confint

    np.testing.assert_allclose(by_name["baseline: recall"].interval, proportion_confint(7, 10, method="wilson"))


def test_plans_of_every_system(breakhis, inbreast, masses, tmp_path, cli):
    for name, images in (("breakhis-resnet", breakhis), ("inbreast-inception", inbreast), ("ddsm-masses", masses)):
        (stage,) = plan_recipe(name, images, quick=True, jobs=2)
        assert stage.seconds > 0
        assert stage.bytes > 0
    assert plan_recipe("breakhis-resnet", breakhis, variants=["best"], jobs=1)[0].units == 20
    code, out, _ = cli("reproduce", "idc-patches", "--settings")
    assert code == 0
    assert any("sampling" in line and "under" in line for line in out.splitlines())


def test_full_scale_belongs_to_another_system(inbreast, tmp_path):
    with pytest.raises(InputError, match="--full-scale: inbreast-inception has no views at full scale"):
        reproduce("inbreast-inception", inbreast, out=tmp_path, full_scale=True)
