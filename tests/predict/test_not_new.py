"""What predict says beside probabilities: which images trained, and what is called at an operating point."""

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from archives import altered
from bchisto.boost import BoostSettings, Bundle, train
from bchisto.core import Banner, InputError
from bchisto.evaluate import TwoClassView, evaluate
from bchisto.evaluate.report import write_evaluation
from bchisto.predict import PredictSettings
from conftest import typed
from packs import ONE_JOB, predict_here
from PIL import Image
from written_tables import read_json, write_lines
from written_tables import rows_of as rows

VIEW = TwoClassView(sensitivities=(0.8,))


@pytest.fixture(scope="module")
def run(boosted, tmp_path_factory):
    """A run whose stores are those of `boosted`, trained for a wanted sensitivity."""
    out = tmp_path_factory.mktemp("wanted") / "run"
    out.mkdir()
    settings = BoostSettings(preset="quick", seeds=1, params={"num_iterations": 3})
    stores = [boosted / "features"]
    (result,) = train(
        out=out, features=stores, folds=["3"], settings=settings, work=ONE_JOB, view=VIEW
    )
    return result.folder


@pytest.fixture
def mixed(tmp_path, tissue_files):
    """Three training images, one as a TIFF under another name, and one that is new."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    known = tissue_files[:3]
    for number, path in enumerate(known):
        Image.open(path).save(folder / f"known{number}.{('png', 'tif', 'png')[number]}")
    pixels = np.array(Image.open(known[0]))
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(folder / "new.png")
    return folder


def test_images_that_trained_are_known_again(run, mixed, tmp_path, completed):
    model = run / "model.bchisto"
    out, _ = completed("predict {} --images {} --out T/p.csv --jobs 1", model, mixed)
    assert "SEEN IN TRAINING: 3 of 4 images trained this model (column trained)" in out
    assert {row["image_id"]: row["trained"] for row in rows(tmp_path / "p.csv")} == {
        "known0.png": "yes",
        "known1.tif": "yes",
        "known2.png": "yes",
        "new.png": "no",
    }
    assert Bundle.load(model).training.count == 12
    said = read_json(run / "metrics.json")["run"]["bundle"]
    assert said["trained"] == {"images": 12}
    assert said["temperature"] == pytest.approx(Bundle.load(model).temperature)


def test_bundles_that_do_not_know_say_nothing(run, mixed, tmp_path):
    old = altered(run / "model.bchisto", tmp_path / "old.bchisto", training=None, two_class=None)
    result = predict_here(old, mixed, tmp_path / "p.csv")
    assert result.trained is None
    assert result.called == ""
    assert not {"trained", "called"} & set(rows(tmp_path / "p.csv")[0])
    asked = predict_here(old, mixed, tmp_path / "q.csv", settings=PredictSettings(threshold=0.4))
    assert asked.called.endswith("malignant at 0.4")


def test_what_is_called_follows_the_point(run, tissue, tmp_path, refused, completed):
    held = Bundle.load(run / "model.bchisto").two_class
    (wanted,) = held["wanted"]
    found = read_json(run / "metrics.json")["tables"]["fusion"]["two_class"]["wanted"][0]
    assert wanted == {
        "sensitivity": 0.8,
        "threshold": found["threshold"],
        "enough": found["enough"],
    }
    lower = altered(
        run / "model.bchisto",
        tmp_path / "lower.bchisto",
        calibration={"temperature": 5.0},
        two_class={**held, "wanted": [{**wanted, "threshold": 0.45}]},
    )
    options = typed("predict {} --images {} --jobs 1", lower, tissue)
    for name, extra, at, column in (
        ("a", (), 0.45, "raw"),
        ("b", ("--sensitivity", 0.8, "--calibrated"), 0.45, "raw"),
        ("c", ("--threshold", 0.6), 0.6, "raw"),
        ("d", ("--threshold", 0.49, "--calibrated"), 0.49, "shown"),
    ):
        out, _ = completed(*options, "--out", tmp_path / f"{name}.csv", *extra)
        scored = rows(tmp_path / f"{'a' if column == 'raw' else name}.csv")
        expected = ["positive" if float(row["p_malignant"]) >= at else "negative" for row in scored]
        shown = rows(tmp_path / f"{name}.csv")
        assert [row["called"] for row in shown] == expected
        assert f"predicted positive: {expected.count('positive')} of 12, malignant at {at}" in out
        likeliest = [
            "malignant" if float(row["p_malignant"]) > float(row["p_benign"]) else "benign"
            for row in shown
        ]
        assert [row["predicted"] for row in shown] == likeliest
    err = refused(*options, "--out", tmp_path / "e.csv", "--sensitivity", 0.7)
    assert "has no threshold for the --sensitivity 0.7 (it holds: 0.8)" in err
    with pytest.raises(InputError, match="`threshold` and `sensitivity`: give one of them"):
        PredictSettings(threshold=0.5, sensitivity=0.8)


def test_a_table_of_predict_is_evaluated_with_its_warning(run, tissue, tmp_path):
    predict_here(run / "model.bchisto", tissue, tmp_path / "p.csv")
    result = write_evaluation(
        evaluate(
            [tmp_path / "p.csv"],
            out=tmp_path / "e",
            against=[run / "predictions.csv"],
            bootstrap=50,
        )
    )
    assert any(
        "p: SEEN IN TRAINING: 12 of 12 images" in note for note in map(Banner.read, result["notes"])
    )
    assert result["external"][0]["n_against"] == 12


@pytest.fixture
def of_patients(run, tmp_path, tissue_files):
    """The run in a folder of its own, whose images are of patients, and new images of one of them and of another."""
    folder = tmp_path / "patients"
    shutil.copytree(run, folder)
    table = rows(folder / "predictions.csv")
    for number, row in enumerate(table):
        row["group"] = f"p{number // 2}"
    lines = [",".join(table[0]), *(",".join(row.values()) for row in table)]
    write_lines(folder / "predictions.csv", *lines)
    lines = ["path,label,patient"]
    for number, path in enumerate(tissue_files[:4]):
        pixels = np.array(Image.open(path))
        pixels[0, 0] ^= 1
        Image.fromarray(pixels).save(tmp_path / f"new{number}.png")
        label = ("benign", "malignant")[number % 2]
        lines.append(f"new{number}.png,{label},{('p0', 'x')[number // 2]}")
    write_lines(tmp_path / "new.csv", *lines)
    return folder / "model.bchisto", tmp_path / "new.csv"


def test_patients_that_trained_are_known_again(of_patients, tmp_path, completed):
    model, new = of_patients
    out, err = completed("predict {} --images {} --out T/p.csv --jobs 1", model, new)
    assert "SEEN IN TRAINING: 0" not in out
    assert (
        "PATIENTS SEEN IN TRAINING: 1 of 2 patients named as those that trained this model "
        "(column group_trained)" in out
    )
    table = rows(tmp_path / "p.csv")
    assert [row["group_trained"] for row in table] == ["yes", "yes", "no", "no"]
    assert [row["trained"] for row in table] == ["no"] * 4
    (line,) = [line for line in err.splitlines() if line.startswith("next: ")]
    assert f"--against {model.with_name('predictions.csv')}" in line
    command = shlex.split(line.removeprefix("next: bchisto "))
    out, _ = completed(*command)
    page = (Path(command[-1]) / "report.html").read_text()
    assert "1 patient trained the models, judging by names, so this does not show" in page
    assert "expect about" not in out + page
    assert "too high for new patients: the models trained on some" in " ".join(out.split())
    assert "PATIENTS SEEN IN TRAINING: 1 of 2 patients" in page
    words = typed("T/new0.png T/new3.png --jobs 1 --group-from {}", r"(\d)[.]")
    completed("predict {} --out T/g.csv", model, *words)
    assert [row["group"] for row in rows(tmp_path / "g.csv")] == ["0", "3"]
