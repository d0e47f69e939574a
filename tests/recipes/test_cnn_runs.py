"""The four CNN systems, run quickly on miniatures in the true layouts and on real images."""

import csv
import json
import shutil

import miniatures
import numpy as np
import pytest
from bchisto.data import read_dataset
from bchisto.errors import InputError, MissingInputError, SettingsConflictError
from bchisto.evaluate import evaluate
from bchisto.experiment import Work
from bchisto.finetune import CnnBundle
from bchisto.predict import predict
from bchisto.recipes import estimate_recipe, reproduce


def rows(path):
    with path.open() as handle:
        return list(csv.DictReader(handle))


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
        "breakhis-resnet",
        breakhis,
        out=run,
        quick=True,
        variants=["best", "normal", "decaf"],
        weights=["random"],
        work=Work(jobs=1),
    )


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
    assert sum(" at 200x was left out: " in banner for banner in result.banners) == 1
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
    assert [one.key for one in result.published] == ["networks", "treatments", "patches", "rules", "levels", "decaf"]
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
        "breakhis-resnet",
        breakhis,
        out=run,
        quick=True,
        variants=["best", "normal", "decaf"],
        weights=["random"],
        work=Work(jobs=1),
    )
    assert {path: path.read_bytes() for path in before} == before
    assert again.published == result.published


def test_other_settings_are_refused_also_in_a_quick_run(done, breakhis, tmp_path):
    run, _ = done
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "40x" / "finetune" / "2-grouped-breakhis-residual-normal" / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rate": 0.5}))
    with pytest.raises(SettingsConflictError, match="rate 0.5 -> 0.001"):
        reproduce(
            "breakhis-resnet",
            breakhis,
            out=tmp_path / "run",
            quick=True,
            variants=["best", "normal"],
            work=Work(jobs=1),
        )


def test_images_that_are_not_there(tmp_path):
    with pytest.raises(MissingInputError, match="gone: no such folder or manifest"):
        reproduce("breakhis-resnet", tmp_path / "gone", out=tmp_path / "run", quick=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.txt").write_text("")
    with pytest.raises(InputError, match="no BreakHis"):
        reproduce("breakhis-resnet", tmp_path / "other", out=tmp_path / "run", quick=True)


def test_whole_runs_do_not_leave_magnifications_out(breakhis, tmp_path):
    with pytest.raises(InputError, match="no image of 400x is here"):
        reproduce("breakhis-resnet", breakhis, out=tmp_path / "a", work=Work(jobs=1))
    few = tmp_path / "few" / "BreaKHis_v1"
    shutil.copytree(breakhis, few)
    for path in [*few.rglob("*-100-001.png")]:
        target = path.with_name(path.name.replace("-100-", "-400-"))
        target.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputError, match="class benign has 1 images, fewer than the 5 folds"):
        reproduce("breakhis-resnet", few, out=tmp_path / "b", work=Work(jobs=1))
    assert not list((tmp_path / "b").rglob("*.weights.h5"))


@pytest.fixture(scope="module")
def inbreast(tmp_path_factory):
    root = tmp_path_factory.mktemp("inbreast") / "INbreast"
    miniatures.write_inbreast(root, ["1", "2", "4a", "5"] * 6)
    return root


def test_the_contrast_of_the_inbreast_system(inbreast, tmp_path):
    """Cross-validation against training on all data with a fixed test list, and the way of the source."""
    result = reproduce(
        "inbreast-inception",
        inbreast,
        out=tmp_path,
        quick=True,
        weights=["random"],
        work=Work(jobs=2),
        variants=["cross-validation", "all-data", "image-level"],
    )
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
    contrast = next(one for one in result.published if one.key == "contrast")
    assert "training on all data with a fixed test list gives the higher AUC. Here: " in contrast.note
    assert next(one for one in result.published if one.key == "folds").figures[-1].name == "mean of the folds"
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
        "ddsm-masses",
        masses,
        out=tmp_path / "run",
        quick=True,
        variants=["googlenet", "baseline"],
        work=Work(jobs=1),
        weights=[f"googlenet={path}"],
    )
    assert not any("RANDOM START" in banner for banner in result.banners)
    settings = json.loads((result.protocols[0].folder / "settings.json").read_text())
    assert settings["multipliers"] == [
        ["conv", 0.1], ["inception", 0.1], ["inception_5a", 1.0], ["inception_5b", 1.0], ["classes", 10.0]
    ]  # fmt: skip
    figures = {one.name: one for one in next(c for c in result.published if c.key == "test").figures}
    assert figures["googlenet: accuracy"].published == 0.929
    assert figures["googlenet: accuracy"].difference is not None
    assert figures["alexnet: accuracy"].obtained is None
    transfer = next(one for one in result.published if one.key == "transfer")
    assert [one.published for one in transfer.figures] == [66, 90]
    assert transfer.figures[0].obtained is not None
    # new masses are shown in the context that the network was trained on
    bundle = result.protocols[1].folder / "model.bchisto"
    assert CnnBundle.load(bundle).reading["context"] == "large"
    found = predict(bundle, [masses], out=tmp_path / "p.csv", work=Work(jobs=1))
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
        "ddsm-masses", tmp_path / "DDSM", out=tmp_path / "run", quick=True, variants=["baseline"], work=Work(jobs=1)
    )
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


def test_plans_of_every_system(breakhis, inbreast, masses, tmp_path, cli):
    for name, images in (("breakhis-resnet", breakhis), ("inbreast-inception", inbreast), ("ddsm-masses", masses)):
        (stage,) = estimate_recipe(name, images, quick=True, work=Work(jobs=2))
        assert stage.seconds > 0
        assert stage.bytes > 0
    assert estimate_recipe("breakhis-resnet", breakhis, variants=["best"], work=Work(jobs=1))[0].units == 20
    code, out, _ = cli("reproduce", "idc-patches", "--settings")
    assert code == 0
    assert any("sampling" in line and "under" in line for line in out.splitlines())


def test_full_scale_belongs_to_another_system(inbreast, tmp_path):
    with pytest.raises(InputError, match="`full_scale`: inbreast-inception has no views at full scale"):
        reproduce("inbreast-inception", inbreast, out=tmp_path, full_scale=True)
