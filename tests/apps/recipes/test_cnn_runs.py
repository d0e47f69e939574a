"""The CNN systems for patches of tissue, run quickly on a miniature in the true layout and on real images."""

import shutil

import numpy as np
import pytest
import yaml
from bchisto.apps.recipes import Scope, estimate_recipe, load_recipe, reproduce
from bchisto.apps.recipes.recipe import ReproduceRequest
from bchisto.apps.recipes.settings import effective_settings
from bchisto.core import InputError
from bchisto.core.jobs import Work
from packs import ONE_JOB
from written_tables import read_json
from written_tables import rows_of as rows

pytestmark = pytest.mark.slow


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
                folder = (
                    root
                    / "histology_slides/breast"
                    / kind
                    / "SOB/x"
                    / f"SOB_{letter}_{tumour}_{slide}"
                )
                folder = folder / f"{magnification}X"
                folder.mkdir(parents=True)
                pixels = rng.integers(0, top, (256, 258, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(
                    folder / f"SOB_{letter}_{tumour}-{slide}-{magnification}-001.png"
                )
    return root


def quick(breakhis, run):
    scope = Scope(quick=True, variants=["best", "normal", "decaf"])
    return reproduce(
        "breakhis-resnet", breakhis, out=run, scope=scope, weights=["random"], work=ONE_JOB
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory, breakhis):
    run = tmp_path_factory.mktemp("done") / "run"
    return run, quick(breakhis, run)


def test_each_magnification_is_a_run_of_its_own(done):
    run, result = done
    folders = [one.folder.relative_to(run).as_posix() for one in result.protocols]
    assert folders == [
        f"{m}x/{name}"
        for m in (40, 100)
        for name in (
            "finetune/2-grouped-breakhis-resnet-stride2-best",
            "finetune/2-grouped-breakhis-resnet-normal",
            "boost/2-grouped-logistic",
        )
    ]
    assert sum(" at 200x was left out: " in banner for banner in result.banners) == 1
    assert any(banner.startswith("400x was left out: ") for banner in result.banners)
    assert sum(banner.startswith("QUICK: 12 of 7909 images at ") for banner in result.banners) == 2


def test_the_printed_settings_are_those_of_the_run(done, breakhis):
    run, _ = done
    request = ReproduceRequest(images=breakhis, run=run, quick=True, weights=("random",))
    for variant, network in (("best", "breakhis-resnet-stride2"), ("normal", "breakhis-resnet")):
        folder = run / "40x" / "finetune" / f"2-grouped-{network}-{variant}"
        used = read_json(folder / "settings.json")["settings"]
        said = {
            one.name: one.value
            for one in effective_settings(load_recipe("breakhis-resnet"), request, variant)
        }
        both = said.keys() & used.keys() - {"folds"}
        assert {"l2", "precision", "stain", "batch_size", "validation", "augmentations"} <= both
        for name in both:
            value = used[name]
            text = (
                ", ".join(map(str, value))
                if isinstance(value, list)
                else ""
                if value is None
                else str(value)
            )
            assert said[name] == (text or "not set") or value is None, name
    report = (run / "reproduce" / "breakhis-resnet" / "report.html").read_text()
    assert "normal: finetune network" in report
    assert "breakhis-resnet (the normal model)" in report


def test_published_and_obtained_stand_side_by_side(done):
    run, result = done
    folder = run / "reproduce" / "breakhis-resnet"

    def obtained_in(name):
        return {row["figure"]: row["obtained"] for row in rows(folder / f"{name}.csv")}

    # no table of which nothing was run; precision has no value where nothing was called malignant
    assert [one.key for one in result.published if one.key != "precision"] == [
        "networks",
        "treatments",
        "patches",
        "rules",
        "normal",
        "levels",
        "confidence",
        "overfitting",
        "curves",
        "decaf",
        "papers-f1",
        "papers-patients",
        "papers-recognition",
    ]
    assert {row["published"] for row in rows(folder / "networks.csv")} == {"not printed"}
    obtained = obtained_in("networks")
    assert obtained["best at 40x"]
    assert obtained["normal at 100x"]
    assert obtained["kernel3 at 40x"] == ""
    assert "best at 200x" not in obtained
    first = read_json(result.protocols[0].folder / "metrics.json")["tables"]
    assert float(obtained["best at 40x"]) == pytest.approx(
        100 * first["breakhis-resnet-stride2"]["accuracy"]["value"]
    )
    rules = obtained_in("rules")
    vote = first["breakhis-resnet-stride2 (image, vote)"]["accuracy"]["value"]
    assert float(rules["vote at 40x"]) == pytest.approx(100 * vote)
    levels = obtained_in("levels")
    assert float(levels["patch auc at 40x"]) == pytest.approx(
        100 * first["breakhis-resnet-stride2 (patch)"]["auc"]["value"]
    )
    assert float(levels["patient accuracy at 100x"]) >= 0
    report = (folder / "report.html").read_text()
    assert "best at 40x" in report
    assert "McNemar" in report
    assert "sum and average are one rule for images" in report
    papers = {row["figure"]: row for row in rows(folder / "papers-patients.csv")}
    assert papers["traditional CNN 2"]["published"] == "not printed"
    patients = first["breakhis-resnet-stride2 (group, average)"]["accuracy"]["value"]
    assert float(papers["best at 40x"]["obtained"]) == pytest.approx(100 * patients)
    assert papers["decaf at 40x"]["obtained"]
    recognised = obtained_in("papers-recognition")
    tested = rows(result.protocols[0].folder / "predictions.csv")
    by_patient = {}
    for row in tested:
        names = ("benign", "malignant")
        hit = max(names, key=lambda name: float(row[f"p_{name}"])) == row["label"]
        by_patient.setdefault(row["group"], []).append(hit)
    mean = 100 * np.mean([np.mean(hits) for hits in by_patient.values()])
    assert float(recognised["best at 40x"]) == pytest.approx(mean)
    assert recognised["decaf at 40x"]
    sure = obtained_in("confidence")
    confidence = np.mean([max(float(row["p_benign"]), float(row["p_malignant"])) for row in tested])
    assert float(sure["image confidence at 40x"]) == pytest.approx(100 * confidence)
    assert 50 <= float(sure["patch confidence at 100x"]) <= 100
    assert "Not comparable (quick" in report


def test_the_pictures_of_the_source_are_made(done):
    run, result = done
    pages = [
        f"{m}x/explain/best/{method}/index.html"
        for m in (40, 100)
        for method in ("activations", "map")
    ]
    assert [page.relative_to(run).as_posix() for page in result.pictures] == pages
    for page in result.pictures:
        made = rows(page.parent / "explain.csv")
        assert [row["label"] for row in made] == ["benign", "malignant"]
        magnification = page.relative_to(run).parts[0].removesuffix("x")
        assert all(row["image_id"].endswith(f"-{magnification}-001.png") for row in made)
        if page.parent.name == "map":
            assert {row["target"] for row in made} == {"malignant"}
        for row in made:
            assert (page.parent / row["picture"]).stat().st_size > 1000
    report = (run / "reproduce" / "breakhis-resnet" / "report.html").read_text()
    assert pages[0] in report
    assert str(run) not in report


def test_a_second_run_trains_nothing_and_draws_nothing(done, breakhis):
    run, result = done
    before = {path: path.read_bytes() for path in run.rglob("*.npz")}
    assert any(path.parent.name == "arrays" for path in before)
    again = quick(breakhis, run)
    assert {path: path.read_bytes() for path in before} == before
    assert again.published == result.published
    assert again.pictures == result.pictures


def test_whole_runs_do_not_leave_magnifications_out(breakhis, tmp_path):
    with pytest.raises(InputError, match="no image at 400x is present"):
        reproduce("breakhis-resnet", breakhis, out=tmp_path / "a", work=ONE_JOB)
    few = tmp_path / "few" / "BreaKHis_v1"
    shutil.copytree(breakhis, few)
    for path in [*few.rglob("*-100-001.png")]:
        target = path.with_name(path.name.replace("-100-", "-400-"))
        target.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputError, match="the only image of benign is of one patient"):
        reproduce("breakhis-resnet", few, out=tmp_path / "b", work=ONE_JOB)
    assert not list((tmp_path / "b").rglob("models/*.npz"))


def test_what_is_tested_is_balanced_and_every_output_says_so(tmp_path):
    """Twelve images of one class and four of the other; which of the twelve are left follows from the seed."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(16):
        folder = tmp_path / "images" / "ab"[number % 4 == 0]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
            folder / f"à {number:02d}.png"
        )
    settings = {
        "network": "speck",
        "size": 32,
        "epochs": 1,
        "batch_size": 2,
        "folds": ["2"],
        "undersample_first": True,
    }
    content = {
        "name": "small",
        "title": "t",
        "citation": "c",
        "steps": ["finetune"],
        "dataset": "folder",
        "images": 16,
        "finetune": {name: {"value": value, "source": "ours"} for name, value in settings.items()},
        "variants": {"first": {"source": "x"}},
        "quick": {"source": "x", "images_per_class": 2},
        "published": [],
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(content))
    result = reproduce(
        str(tmp_path / "small.yaml"),
        tmp_path / "images",
        out=tmp_path / "run",
        scope=Scope(seeds=2),
        work=ONE_JOB,
    )
    kept = []
    for run in (tmp_path / "run", tmp_path / "run" / "seed-1"):
        (folder,) = (run / "finetune").glob("2-speck-first")
        labels = {row["image_id"]: row["label"] for row in rows(folder / "predictions.csv")}
        assert sorted(labels.values()) == ["a"] * 4 + ["b"] * 4
        folds = rows(folder / "folds.csv")
        # nor does any other train or validate
        assert {row["image_id"] for row in folds} == set(labels)
        assert all(
            sorted(row["label"] for row in folds if row["fold"] == fold) == [*"aabb"]
            for fold in "12"
        )
        kept.append(set(labels))
    assert kept[0] != kept[1]
    banner = "BALANCED BEFORE THE SPLIT: random images of the larger classes were removed"
    assert any(one.startswith(banner) for one in result.banners)
    assert banner in (result.protocols[0].folder / "report.html").read_text()


def test_real_idc_patches(shared, tmp_path, completed):
    images = shared / "data" / "idc" / "IDC_regular_ps50_idx5"
    out, _ = completed(
        "reproduce idc-patches --images {} --out {} --quick --jobs 1", images, tmp_path
    )
    assert "finetune/2-grouped-patch-resnet-resnet is " in out
    assert "By network (positive is invasive ductal carcinoma)" in out


def test_plan(breakhis, tmp_path):
    enough = tmp_path / "BreaKHis_v1"
    shutil.copytree(breakhis, enough, ignore=shutil.ignore_patterns("200X"))
    (stage,) = estimate_recipe(
        "breakhis-resnet", enough, scope=Scope(quick=True), work=Work(jobs=2)
    )
    assert stage.seconds > 0
    assert stage.bytes > 0
    with pytest.raises(InputError, match="no image at 400x is present"):  # as the run itself
        estimate_recipe("breakhis-resnet", breakhis, scope=Scope(variants=["best"]), work=ONE_JOB)
