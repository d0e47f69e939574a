"""What stage 2 says of its tables: in metrics.json, on the terminal, in reports, and again by evaluate."""

import json
import re
import shutil
from dataclasses import replace

import h5py
import pytest
from bchisto.boost import BoostSettings, Bundle, train
from bchisto.boost.methods import _regions
from bchisto.core import InputError, ReportError
from bchisto.core.jobs import Work
from bchisto.evaluate import TwoClassView, as_json, choice_in_run, evaluate, rankings
from bchisto.evaluate.report import report, sections, write_evaluation
from conftest import typed
from packs import train_small
from written_tables import read_json

PARAMS = {"min_data_in_leaf": 2, "num_iterations": 3}


def relabelled(described, folder, *, labels, classes, groups=None):
    """A run whose store has other labels: the i-th of twelve images gets the i-th of `labels`, and of `groups`."""
    run = shutil.copytree(described, folder / "run")
    with h5py.File(run / "features" / "tiny-1.0-64.h5", "a") as file:
        images = sorted({image.decode() for image in file["image_id"][:]})
        for row, image in enumerate(file["image_id"][:]):
            place = images.index(image.decode())
            file["label"][row] = labels[place]
            if groups is not None:
                file["group"][row] = groups[place]
        origin = json.loads(file.attrs["origin"])
        file.attrs["origin"] = json.dumps({**origin, "classes": list(classes)})
    return run


@pytest.fixture(scope="module")
def own(described, tmp_path_factory):
    """Three classes of one's own, without a positive side, in groups of two images."""
    classes = ("Tissu sain", "grade $1_$", "grade 2 & 3")
    return relabelled(
        described,
        tmp_path_factory.mktemp("own"),
        classes=classes,
        labels=[classes[place % 3] for place in range(12)],
        groups=[f"p{place // 2}" for place in range(12)],
    )


def train_logistic(run):
    train_small(run, settings={"heads": ["logistic"]}, params={})


def metrics_of(folder):
    content = read_json(folder / "metrics.json")
    return content["tables"], content["run"]


def test_evaluate_says_what_boost_said(own, run_copy, tmp_path):
    """Every metric of every table, to the last digit; two heads, with a two-class view of their own."""
    run = run_copy(own)
    settings, view = (
        BoostSettings(["lightgbm", "logistic"], 2, params=PARAMS),
        TwoClassView(("grade2&3",), "max", 0.25),
    )
    results = train(out=run, folds=["2"], settings=settings, work=Work(jobs=1), view=view)
    found = write_evaluation(evaluate([run], out=tmp_path / "e"))["tables"]
    assert set(found) == {result.folder.name for result in results}
    for result in results:
        tables, facts = metrics_of(result.folder)
        choice = as_json(choice_in_run(result.folder / "predictions.csv"))
        assert found[result.folder.name] == tables["fusion"] | choice
        assert "two_class" in tables["fusion"]
        assert facts["two_class"]["rule"] == "max"
        assert Bundle.load(result.folder / "model.bchisto").classes == (
            "Tissu sain",
            "grade $1_$",
            "grade 2 & 3",
        )
    other = write_evaluation(
        evaluate([run], out=tmp_path / "e", view=TwoClassView(["grade $1_$"], "sum"), bootstrap=0)
    )["tables"]
    assert {m["two_class"]["rule"] for m in other.values()} == {"sum"}
    assert {tuple(m["two_class"]["positive"]) for m in other.values()} == {("grade $1_$",)}


def test_a_positive_class_that_is_none_is_refused_before_training(own, run_copy):
    run = run_copy(own)
    with pytest.raises(
        InputError, match="`positive` malignant: no such class; choose among Tissu sain, grade"
    ):
        train_small(run, "2", seeds=5, params=PARAMS, view=TwoClassView(("malignant",)))
    assert not (run / "boost").exists()


def test_the_report_of_a_run_covers_every_finished_folder(boosted, run_copy):
    """A later call with one head keeps the others, read from their files; one about other images is named."""
    run = run_copy(boosted)
    train_small(run, "2", params=PARAMS)
    train_logistic(run)
    text = (run / "report.html").read_text()
    for name in ("3-lightgbm", "2-lightgbm", "3-logistic"):
        assert f"<h2>{name}</h2>" in text
    assert "3-logistic against 3-lightgbm" in text
    other = run / "boost" / "2-lightgbm" / "metrics.json"
    content = read_json(other)
    content["run"]["images_sha256"] = "0" * 64
    other.write_text(json.dumps(content))
    (run / "boost" / "4-svm").mkdir()
    (run / "boost" / "4-svm" / "predictions.csv").write_text("image_id\n")
    (run / "boost" / "4-svm" / "metrics.json").write_text("{")
    train_logistic(run)
    text = (run / "report.html").read_text()
    assert "<h2>3-lightgbm</h2>" in text
    assert "<h2>2-lightgbm</h2>" not in text
    assert "boost/2-lightgbm is not shown: it is about other images" in text
    assert "boost/4-svm is not shown: its files cannot be read" in text


def test_the_report_of_a_run_begins_with_the_first_result_that_learnt(boosted, run_copy):
    """Its confusion matrix, its worst errors as in its own report, a link to that; a constant one is passed over."""
    run = run_copy(boosted)
    train_logistic(run)
    panels = {}
    for path in sorted(run.glob("boost/*/predictions.csv")):
        panels[path.parent.name] = report._read(path, run)
    (order,) = rankings(list(panels.values()))
    names = [panel.table.name for panel in order.panels]
    text = (run / "report.html").read_text()
    glance = text.partition("<h2>At a glance</h2>")[2].partition("</section>")[0]
    assert f"<caption>{names[0]}: number of images: true class by row" in glance
    assert re.findall("<h2>(.*?)</h2>", text)[2:4] == names
    for name in names:
        assert f'<a href="boost/{name}/report.html">{name}' in text
    own = (run / "boost" / names[0] / "report.html").read_text()
    wrong = own.partition("<h3>Wrongly classified</h3>")[2].partition("</section>")[0]
    assert re.findall('src="(data:image/jpeg[^"]*)"', glance) == re.findall(
        'src="(data:image/jpeg[^"]*)"', wrong
    )
    constant = replace(
        order.panels[0].table, probabilities=None, predicted=order.panels[0].table.labels * 0
    )
    panels = [replace(order.panels[0], table=constant), order.panels[1]]
    assert sections.first_learnt(panels) == 1
    assert sections.first_learnt(panels[:1]) is None


def test_a_failing_report_keeps_the_model(own, run_copy, monkeypatch, cli, completed):
    """The template is broken, as 0.1's was for such classes; every model, table and bundle is there, and exit 1."""
    run = run_copy(own)
    whole = sections.percent

    def fail(value):
        raise KeyError("no such figure")

    monkeypatch.setattr(sections, "percent", fail)
    options = typed(
        "--folds 2 --seeds 1 --param num_iterations=2 --param min_data_in_leaf=2 --jobs 1"
    )
    code, out, err = cli("boost --out {}", run, *options)
    assert code == 1
    assert "2-grouped-lightgbm is " in out
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    folder = run / "boost" / "2-grouped-lightgbm"
    assert (
        f"report could not be written: {folder / 'report.html'}: KeyError: 'no such figure'" in line
    )
    assert (
        f"models, predictions.csv, metrics.json and model.bchisto are written in {folder}" in line
    )
    assert not (folder / "report.html").exists()
    assert {"metrics.json", "predictions.csv", "model.bchisto", "table.csv"} <= {
        p.name for p in folder.iterdir()
    }
    with pytest.raises(ReportError) as caught:
        train_small(run, "2", params={"min_data_in_leaf": 2, "num_iterations": 2})
    assert caught.value.results[0].panel is not None
    monkeypatch.setattr(sections, "percent", whole)
    completed("boost --out {}", run, *options)
    assert (folder / "report.html").is_file()


@pytest.mark.parametrize(
    ("mode", "crops", "words"),
    [
        ("exact", 1, "1 random crop"),
        ("exact", 1500, "1500 random crops"),
        ("exact", 0, "as many as cover an image: evenly spaced crops"),
        ("dense", 1, "1 window on the feature maps"),
        ("dense", 20, "20 windows on the feature maps"),
        ("dense", 0, "as many as cover an image: windows on the feature maps"),
    ],
)
def test_regions_in_words(mode, crops, words):
    assert _regions({"mode": mode, "crops": crops}) == words
