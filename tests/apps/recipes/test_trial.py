"""`bchisto trial` and the presets, by the command line, on a stranger's folders."""

import json
import re
import shlex
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
from bchisto.apps.check import plan_describing
from bchisto.apps.check.plan import DescribingEstimate
from bchisto.core import InputError
from bchisto.core.models import bundle_view
from bchisto.data import make_tissue
from bchisto.featurize import (
    FeaturizeSettings,
    View,
    choose_settings,
    preset_options,
)
from bchisto.featurize.settings import recorded_seconds
from conftest import seen_gpus, typed, write_tissue
from PIL import Image
from written_tables import read_json


@pytest.fixture(scope="module")
def tissue(tmp_path_factory):
    return write_tissue(
        tmp_path_factory.mktemp("Gewebe") / "(neu)",
        size=(200, 150),
        classes=("gutartig", "bösartig"),
    )


def write_one(folder, side):
    folder.mkdir(parents=True)
    Image.fromarray(make_tissue("Normal", seed=3, index=0, size=(side, side))).save(
        folder / "a.png"
    )


def test_names_of_patients_are_offered_before_weights_are_missed(cli, refused, tmp_path):
    folder = write_tissue(tmp_path / "i", size=(100, 100), classes=("gut", "bös"))
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        path.rename(path.with_name(f"Fäll {number // 2:02} - {number}.png"))
    words = typed("--images {}", folder)
    err = refused("trial --weights T/none --out T/t", *words)
    (option,) = re.findall("12 of 12 names hold 'Fäll NN', 6 values: (.+)", err)
    assert "2/3" not in err
    assert "positive class: none is known; bchisto trial --positive CLASS names it" in err
    err = refused("trial --positive gut --weights T/none --out T/t", *words)
    assert "positive class: gut" in err
    out = cli("data check --no-timing", *words, *shlex.split(option))[1]
    assert "patients: 6 (from --group-from; 12 of 12 images)" in out


def test_days_are_not_begun_by_accident(tissue, refused, monkeypatch):
    cost = DescribingEstimate(12, 1, seconds=40 * 86400)
    monkeypatch.setattr("bchisto.apps.check.plan.measure_describing", lambda *_: cost)
    err = refused("featurize --out T/run --images {}", tissue)
    assert "40 days with --preset published, which is the default, and 40 days with" in err


@pytest.mark.parametrize("given", [{}, {"augmentations": 1}])
def test_a_preset_gives_values_that_typed_options_change(tissue, completed, tmp_path, given):
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    _, err = completed(
        "featurize --images {} --out T/run --preset quick --encoder tiny --mode exact "
        "--weights random --jobs 1",
        tissue,
        *words,
    )
    assert "view: 1.0:70" in err
    options = read_json(tmp_path / "run" / "run.json")["records"][-1]["config"]
    assert options["mode"] == "exact"
    assert options["views"] == ["1.0:70"]
    assert options["encoders"] == ["tiny"]
    (store,) = (tmp_path / "run" / "features").glob("*.h5")
    with h5py.File(store) as file:
        assert len(np.unique(file["augmentation"][:])) == given.get("augmentations", 12)


def test_the_views_of_a_check_are_those_of_the_work(tissue, completed, tmp_path):
    for given, views in (
        (("--preset", "quick"), ["1.0:70"]),
        (("--view", "auto", "--mode", "dense"), ["1.0:70", "1.0:120"]),
    ):
        words = typed("--images {} --encoder convs --augmentations 1", tissue, *given)
        out, _ = completed("data check --no-timing", *words, "--json")
        check = json.loads(out)
        assert [view["view"] for view in check["planned_views"]] == views
        featurize = shlex.split(check["next"][0])[1:]
        featurize[featurize.index("run")] = tmp_path / str(len(views))
        _, err = completed(*featurize, "--weights", "random", "--jobs", 1)
        assert f"view: {', '.join(views)}" in err


def test_a_preset_of_boost_sets_heads_and_seeds(tissue, completed, tmp_path):
    run = tmp_path / "run"
    described = typed(
        "--images {} --out {} --encoder tiny --view auto --augmentations 1", tissue, run
    )
    completed("featurize", *described, "--crops", 2, "--weights", "random", "--jobs", 1)
    completed("boost --out {} --preset quick --folds 2 --jobs 1", run)
    assert sorted(
        folder.name
        for folder in (run / "boost").iterdir()
        if folder.is_dir() and "-" in folder.name
    ) == [
        "2-lightgbm",
        "2-svm",
    ]


@pytest.mark.slow
def test_a_trial_of_breakhis_in_class_folders_answers_by_patient(shared, completed, tmp_path):
    """104 images of 19 patients, 67 of one: by images they look better than they are."""
    for path in (shared / "data" / "breakhis").rglob("SOB_*.png"):
        folder = tmp_path / "images" / ("gutartig" if "SOB_B" in path.name else "bösartig")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    run = tmp_path / "trial"
    words = ("trial --images T/images --out {} --encoder tiny", run)
    out, err = completed(*words, "--weights", "random", "--jobs", 1)
    assert (
        "104 of 104 names are those of breakhis: classes from the folders, 19 patients from the names"
    ) in err
    assert "PATIENTS UNKNOWN" not in out + err
    results = [read_json(path) for path in run.glob("boost/*/metrics.json")]
    assert len(results) == 3
    for units in (table["units"] for each in results for table in each["tables"].values()):
        assert (units["kind"], units["count"], units["divided"]) == ("group", 19, 0)


def test_settings_that_fit(tissue, tmp_path):
    small = plan_describing(tissue, FeaturizeSettings())
    assert all(view.crop <= 150 for view in small.views)
    assert len(plan_describing(tissue, FeaturizeSettings(views="0.5:400")).views) == 1
    write_one(tmp_path / "a", 64)
    fitted = plan_describing(tmp_path, FeaturizeSettings(encoders="inceptionv3"))
    assert [choice.name for choice in fitted.encoders] == ["mobilenetv2"]
    with pytest.raises(InputError, match="no view fits these images: some or all"):
        plan_describing(tmp_path, FeaturizeSettings(encoders="inceptionv3"), keep={"encoders"})
    (tmp_path / "a" / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="the size of no image can be read"):
        plan_describing(tmp_path, FeaturizeSettings())
    kept = plan_describing(tissue, FeaturizeSettings(encoders="tiny", views="1.0:64"))
    assert kept.views == (View(1.0, 64),)


@pytest.mark.parametrize("encoder", ["tiny", pytest.param("", marks=pytest.mark.slow)])
def test_a_trial_answers(tissue, completed, tmp_path, encoder, monkeypatch):
    run = tmp_path / "trial"
    searches = []
    monkeypatch.setattr(
        "bchisto.apps.check.plan.part_of_names", lambda records: searches.append(len(records)) or ""
    )
    words = typed("trial --images {} --out {} --weights random --jobs 1", tissue, run)
    words += ("--encoder", encoder) if encoder else ()
    out, err = completed(*words)
    assert searches == [12]  # of patients in names
    rows = re.findall(r"^(best|highest)? +(\w+) +(\d+) of 12 ", out, flags=re.MULTILINE)
    assert {name for _, name, _ in rows} == {"svm", "lightgbm", "logistic", "chance"}
    # of random weights and twelve images, so the first differs by machine, and none is shown to be better than chance
    right = [int(count) for *_, count in rows]
    assert ([mark for mark, *_ in rows], rows[-1][1:]) == ([""] * 4, ("chance", "6"))
    assert right[:3] == sorted(right[:3], reverse=True)
    assert "No result is shown to be better than chance by " in out
    assert "next: no model is offered (docs/chance.md)" in err
    assert "bchisto featurize --weights NAME=PATH" in err
    assert out.count("PATIENTS UNKNOWN") == 1
    assert err.count("detected as dataset folder") == 1
    commands = re.findall(r"^next[^:]*: (bchisto .+)$", err, flags=re.MULTILINE)
    assert commands == []
    assert (run / "report.html").is_file()
    models = sorted((run / "boost").glob("*/model.bchisto"))
    assert len(models) == 3  # and the quick one of the first figures
    completed("predict {} --images {} --out T/p.csv --weights random", models[0], tissue)
    assert completed(*words, "--positive", "gutartig")[1].count("models are trained already") == 3
    assert all(bundle_view(path)[1]["positive"] == ["gutartig"] for path in models)


def test_recorded_speeds_give_the_ratio_of_presets():
    """It was measured on BACH: 25 to 10.3 minutes."""
    quick, standard = (
        choose_settings(preset_options(name), keep=()).settings for name in ("quick", "standard")
    )
    ratio = recorded_seconds(replace(standard, augmentations=4)) / recorded_seconds(quick)
    assert 25 / 10.3 / 1.5 < ratio < 1.5 * 25 / 10.3


def test_a_trial_of_few_patients_and_an_image_that_is_too_small(completed, tmp_path):
    """Of two patients a class one trains, which leaves no folds inside the training part, so one classifier goes on.

    One of 24 is a strip, as some IDC patches are: the answer is about the others, and the strip is named.
    """
    images = write_tissue(tmp_path / "images", per_class=12, size=(150, 150), classes=("a", "b"))
    Image.open(images / "b" / "b05.png").crop((0, 0, 150, 20)).save(images / "b" / "b05.png")
    rows = [
        f"{path},{path.parent.name},{path.parent.name}{path.stem[-1] > '5'}"
        for path in images.rglob("*.png")
    ]
    (tmp_path / "images.csv").write_text(
        "path,label,patient\n" + "\n".join(sorted(rows)) + "\n", encoding="utf-8"
    )
    out, err = completed(
        "trial --images T/images.csv --out T/run --encoder tiny --weights random --jobs 1"
    )
    assert "going on with lightgbm only" in err
    assert [path.parent.name for path in (tmp_path / "run" / "boost").glob("*/model.bchisto")] == [
        "2-grouped-lightgbm"
    ]
    assert re.search(r"2-grouped-lightgbm \d+ of 23 ", " ".join(out.split()))
    assert re.search(r"left out: .*b/b05\.png", err)


def test_a_trial_of_what_cannot_work(tissue, cli, refused, tmp_path):
    write_one(tmp_path / "one" / "a", 150)
    err = refused("trial --images T/one --out T/run")
    assert "all labelled images are of class a, and training needs two classes" in err
    assert cli("trial --images T/nothing --out T/run")[0] == 2


@pytest.mark.slow
def test_a_trial_beside_a_gpu_uses_it_or_says_why_not(tissue, completed, tmp_path):
    """Only what is seen is made up; the networks run on the CPU."""
    pytest.importorskip("openvino")

    def trial_of(out, gpu):
        words = ("trial --images {} --out {} --encoder mobilenetv2", tissue, out)
        with seen_gpus(gpu) as counts:
            err = completed(*words, "--weights", "random", "--jobs", 1)[1]
        (store,) = (out / "features").glob("*.h5")
        with h5py.File(store) as file:
            settings = json.loads(file.attrs["settings"])
        lines = [line for line in err.splitlines() if "GPU" in line]
        return settings["engine"], settings["mode"], counts["started"] > 0, lines

    assert trial_of(tmp_path / "cpu", False) == ("openvino", "dense", False, [])
    assert trial_of(tmp_path / "gpu", True) == ("keras", "dense", True, [])
    begun = ["Keras leaves the GPU idle: openvino runs the encoders"]
    assert trial_of(tmp_path / "cpu", True) == ("openvino", "dense", False, begun)
