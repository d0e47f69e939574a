"""What commands do with what is there, and what they tell one to do next."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bchisto.commands.ending import advice
from bchisto.core.runs import record_run
from bchisto.crossval import CrossValidation, in_order, offered
from bchisto.evaluate import Panel, measure
from conftest import typed
from written_tables import predictions, read_json, write_lines


@pytest.fixture
def table(tmp_path):
    rows = [f"{place},{'ab'[place % 2]},{place % 2},{1 - place % 2}" for place in range(8)]
    path = tmp_path / "t.csv"
    return write_lines(path, "image_id,label,p_b,p_a", *rows)


def test_a_finished_evaluation_is_not_overwritten_unasked(table, tmp_path, completed, refused):
    words = typed("evaluate {} --out T/e --bootstrap 20", table)
    completed(*words)
    before = (tmp_path / "e" / "metrics.json").read_bytes()
    err = refused(*words, "--positive", "a")
    assert (
        err
        == f"error: {tmp_path}/e/metrics.json: exists already; use --overwrite or another --out\n"
    )
    assert (tmp_path / "e" / "metrics.json").read_bytes() == before
    completed(*words, "--positive", "a", "--overwrite")
    assert read_json(tmp_path / "e" / "metrics.json")["tables"]["t"]["two_class"]["positive"] == [
        "a"
    ]
    with (
        pytest.raises(KeyboardInterrupt),
        record_run(tmp_path / "e", command="evaluate", config={}),
    ):
        raise KeyboardInterrupt
    completed(*words)  # what was interrupted goes on


def test_two_runs_side_by_side_in_words(tmp_path, cli):
    for name, config, accuracy in (
        ("a", {"seeds": 5, "pad": None, "folds": ["10"]}, 0.7916),
        ("b", {"seeds": 2}, 0.5),
    ):
        with record_run(tmp_path / name, command="boost", config=config) as record:
            record.note(results={"10-lightgbm": {"accuracy": accuracy}})
    with record_run(tmp_path / "a", command="featurize", config={"crops": 20, "view": ["0.5:400"]}):
        pass
    code, out, _ = cli("status T/a T/b")
    assert code == 1
    assert out.splitlines() == [
        "boost seeds: 5 -> 2",
        "accuracy of 10-lightgbm: 0.7916 -> 0.5",
        "boost folds: 10 -> not set",
        "featurize crops: 20 -> not set",
        "featurize view: 0.5:400 -> not set",
    ]
    _, out, _ = cli("status T/a --history")
    assert "  view: 0.5:400" in out.splitlines()


def test_what_to_do_next_is_a_command(
    boosted_model, tissue, tmp_path, cli, completed, tissue_files
):
    options = typed("--weights random --jobs 1")
    one = tissue_files[0]
    _, _, err = cli("predict {} {} --out T/one.csv", boosted_model, one, *options)
    assert "next:" not in err  # of one image there is nothing to evaluate
    shutil.copytree(tissue / "benign", tmp_path / "images" / "elsewhere")
    _, _, err = cli("predict {} --images T/images --out T/other.csv", boosted_model, *options)
    assert "next:" not in err  # no label is one of its classes
    _, _, err = cli("predict {} --images {} --out T/all.csv", boosted_model, tissue, *options)
    assert (
        err.splitlines()[-1]
        == f"next: bchisto evaluate {tmp_path}/all.csv --against {boosted_model.parent}/predictions.csv "
        f"--out {tmp_path}/all.evaluation"
    )
    out, err = completed("explain {} {} --out T/why", boosted_model, one, *options[:2])
    counted = "1 image of the method map: red speaks for malignant, blue for benign"
    assert out.splitlines()[-1] == counted
    # what a person opens next
    assert err.splitlines()[-1] == f"wrote {tmp_path}/why/map/index.html"


def test_windows_is_refused_in_one_line(cli, monkeypatch):
    """The platform is only pretended: nothing was tried on Windows itself."""
    monkeypatch.setattr("bchisto.cli.sys.platform", "win32")
    code, out, err = cli("data check --no-timing --images .")
    assert (code, out) == (2, "")
    assert err == "error: bchisto does not run on Windows; use WSL (Windows Subsystem for Linux)\n"


def test_nothing_is_offered_if_the_first_is_not_shown_to_be_better_though_another_is():
    """The second was looked at, too, so it is not offered either."""
    panels = []
    for name, wrong in (("first", 4), ("second", 6)):
        labels = np.arange(40) % 2
        scores = np.where(np.arange(40) < wrong, 0.8 - 0.6 * labels, 0.2 + 0.6 * labels)
        folds = [k // 2 % 5 for k in range(40)]
        table = predictions(scores, labels, name=name, folds=folds, protocol="p")
        panels.append(Panel(table, measure(table, bootstrap=0)))
    results = [
        CrossValidation(Path(panel.table.name), "p", 1, "models", True, (), panel, assembled=True)
        for panel in panels
    ]
    assert offered(in_order(results)).panel is panels[0]
    figure = panels[0].metrics["balanced_accuracy"]
    panels[0].metrics["balanced_accuracy"] = replace(figure, low=0.4)
    assert offered(in_order(results)) is None
    assert "more labelled images of more patients" in advice(in_order(results))


def test_the_views_of_status_are_lines_and_json(tmp_path, cli, completed, refused):
    for name in ("a", "b"):
        with record_run(tmp_path / name, command="boost", config={"seeds": name}):
            pass
    out, _ = completed("status", tmp_path)
    assert [line.split("  ")[:3] for line in out.splitlines()] == [
        [str(tmp_path / name), "boost", "ok"] for name in ("a", "b")
    ]
    for words, key in (((tmp_path,), "command"), ((tmp_path / "a", "--history"), "config")):
        code, out, _ = cli("status", *words, "--json")
        entries = json.loads(out)
        assert (code, entries[0][key]) == (0, {"command": "boost", "config": {"seeds": "a"}}[key])
    code, out, _ = cli("status T/a T/b --json")
    assert (code, json.loads(out)) == (1, [["boost seeds", "a", "b"]])
    code, _, err = cli("status T/a T/b --history")
    assert (code, err) == (2, "error: --history shows one run; leave it out to compare two\n")
    err = refused("runs list {}", tmp_path)
    assert err.startswith(
        "error: 'runs' is now bchisto status FOLDER, status RUN --history or status RUN"
    )


@pytest.mark.parametrize(("known", "apart"), [(0, 3), (1, 0), (2, 3), (3, 0), (3, 3)])
def test_an_answer_has_14_lines(known, apart, tmp_path, completed):
    """Patients of none, of half and of all images, and of all but mixed by the folds; two encoders, four heads."""
    rng = np.random.default_rng(0)
    label = np.repeat(["gut", "böse"], 24)
    for name in "ab":
        np.savez(
            tmp_path / f"{name}.npz",
            features=rng.normal(size=(48, 6)) + apart * (label == "gut")[:, None],
            image_id=[f"Bild {k}.png" for k in range(48)],
            label=label,
            patient=[f"Pat {k // 3}" if k % 2 < known else "" for k in range(48)],
        )
    line = "boost --features T/a.npz --features T/b.npz --folds 3 --out T/run --head lda --head svm"
    line += " --head knn --head logistic"
    if known > 2:
        completed(f"{line} --group-by none")
    out, err = completed(line)
    if known > 2:
        out, err = completed("evaluate T/run/boost/3-lda T/run/boost/3-svm --out T/e")
        assert "not to be chosen" in out
    ending = [text for text in err.splitlines() if text.startswith(("wrote", "next"))]
    assert len(out.splitlines()) + len(ending) <= 14
    assert [text for text in out.splitlines() if len(text) > 100] == []
    _, err = completed(f"{line} --quiet")
    assert "wrote" not in err
