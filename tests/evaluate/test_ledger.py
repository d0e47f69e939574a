"""`--record`: a row for each figure, with what measured it and what it rests on."""

import csv
import json
import subprocess
from pathlib import Path

import pytest
from bchisto import __version__
from bchisto.cli import main
from bchisto.core.runs import science
from bchisto.evaluate import LedgerRow, evaluate, read_ledger
from bchisto.evaluate import ledger as ledger_module
from bchisto.evaluate.report.drawings import results_drawing


def run(*words):
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    return ended.value.code or 0


def write_table(path, *, shift=0):
    rows = ["image_id,label,patient,fold,p_grün,p_rot"]
    for number in range(24):
        label = ("grün", "rot")[number % 2]
        right = (number + shift) % 5 != 0
        probability = 0.8 if (label == "rot") == right else 0.2
        patient = number // 3
        rows.append(f"b{number},{label},P{patient},{patient % 4},{1 - probability},{probability}")
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


@pytest.fixture
def tables(tmp_path):
    folder = tmp_path / "Tabellen, März"
    folder.mkdir()
    return [
        write_table(folder / f"{name}.csv", shift=shift)
        for shift, name in enumerate(("alt", "neu"))
    ]


def test_figures_are_those_of_metrics(tables, tmp_path):
    file = tmp_path / "rows.csv"
    assert run("evaluate", *tables, "--out", tmp_path / "e", "--record", file) == 0
    metrics = json.loads((tmp_path / "e" / "metrics.json").read_text())
    rows = {(row.name, row.figure): row for row in read_ledger(file)}
    for name, table in metrics["tables"].items():
        row = rows[name, "balanced_accuracy"]
        figure = table["balanced_accuracy"]
        assert [float(row.value), float(row.low), float(row.high)] == pytest.approx(
            [figure["value"], *figure["interval"]], abs=1e-6
        )
        assert (row.images, row.units, row.unit) == ("24", "8", "patient")
        assert row.science == f"metrics:{science()['metrics']}"  # nothing is known of the rest
    (pair,) = metrics["comparisons"]
    difference = rows["neu against alt", "difference"]
    assert difference.unit == "patient"
    assert float(difference.value) == pytest.approx(
        pair["differences"]["accuracy"]["value"], abs=1e-6
    )
    assert float(difference.p) == pytest.approx(pair["p_holm"], abs=1e-6)


def test_rows_are_appended_and_kept(tables, tmp_path):
    file = tmp_path / "rows.csv"
    run("evaluate", tables[0], "--out", tmp_path / "a", "--record", file)
    first = file.read_text(encoding="utf-8")
    run("evaluate", tables[1], "--out", tmp_path / "b", "--record", file)
    assert file.read_text(encoding="utf-8").startswith(first)
    assert [row.name for row in read_ledger(file)].count("neu") > 5


def test_another_table_is_refused_and_kept(tables, tmp_path, capsys):
    file = tmp_path / "mine.csv"
    file.write_text("image_id,label\na,b\n")
    assert run("evaluate", tables[0], "--out", tmp_path / "e", "--record", file) == 2
    assert "not a ledger" in capsys.readouterr().err
    assert not (tmp_path / "e").exists()
    assert file.read_text() == "image_id,label\na,b\n"


def test_rows_of_a_run_rest_on_what_its_commands_recorded(boosted, tmp_path):
    """Also if other code made the features: then the row is of neither."""
    file = tmp_path / "rows.csv"
    copy = tmp_path / "run"
    table = next(iter(sorted(boosted.glob("boost/*/predictions.csv"))))
    folder = copy / table.parent.relative_to(boosted)
    folder.mkdir(parents=True)
    for path in table.parent.glob("*.*"):
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    (copy / "run.json").write_bytes((boosted / "run.json").read_bytes())
    run("evaluate", copy, "--out", tmp_path / "a", "--record", file)
    digests = [f"{part}:{digest}" for part, digest in sorted(science().items())]
    assert read_ledger(file)[-1].science == " ".join(digests)
    content = json.loads((copy / "run.json").read_text())
    features = [record for record in content["records"] if record["command"] == "featurize"]
    features[0]["versions"]["science"] = "features:11111111 stains:22222222"
    (copy / "run.json").write_text(json.dumps(content))
    run("evaluate", copy, "--out", tmp_path / "b", "--record", file)
    assert "stains:22222222" in read_ledger(file)[-1].science
    features[0]["versions"]["science"] = "damaged"
    (copy / "run.json").write_text(json.dumps(content))
    run("evaluate", copy, "--out", tmp_path / "x", "--record", file)
    assert "stains:unknown" in read_ledger(file)[-1].science
    del features[0]["versions"]["science"]
    (copy / "run.json").write_text(json.dumps(content))
    run("evaluate", copy, "--out", tmp_path / "c", "--record", file)
    assert "stains:unknown" in read_ledger(file)[-1].science
    # a comparison rests on both runs, whose digests stand side by side
    run("evaluate", copy, boosted, "--out", tmp_path / "d", "--record", file)
    pairs = [row for row in read_ledger(file) if row.figure == "difference"]
    assert pairs
    assert {"/unknown" in row.science or "unknown/" in row.science for row in pairs} == {True}


def test_the_commit_of_a_clean_clone_is_recorded(tmp_path, monkeypatch):
    """In a clone: its commit; with a change, or outside of a clone, the version. Rows themselves are no change."""
    package = tmp_path / "clone" / "evaluate" / "ledger.py"
    package.parent.mkdir(parents=True)
    package.write_text("")
    monkeypatch.setattr(ledger_module, "__file__", str(package))
    assert ledger_module._version() == __version__
    clone = tmp_path / "clone"

    def git(*words):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(
            command, cwd=clone, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "--short=8", "HEAD")
    assert ledger_module._version() == commit
    (clone / "docs" / "results").mkdir(parents=True)
    (clone / "docs" / "results" / "measured.csv").write_text("x")
    assert ledger_module._version() == commit
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(tmp_path))
        assert ledger_module._version() == __version__  # without git
    package.write_text("changed")
    assert ledger_module._version() == __version__


def test_columns_of_the_ledger_of_the_repository():
    path = Path(__file__).resolve().parents[2] / "docs" / "results" / "measured.csv"
    if not path.is_file():
        pytest.skip("needs the repository")
    with path.open(newline="", encoding="utf-8") as handle:
        assert tuple(next(csv.reader(handle))) == LedgerRow._fields


@pytest.mark.parametrize(("wrong", "is_corrected"), [((5, 4), True), ((5, 5), False)])
def test_the_caption_names_a_correction_only_if_there_is_one(tmp_path, wrong, is_corrected):
    """Of two equal tables the choice takes nothing away, so the picture has the figures of the table."""
    sources = []
    for name, every in zip(("alt", "neu"), wrong, strict=True):
        rows = ["image_id,label,patient,fold,p_grün,p_rot"]
        for number in range(48):
            label = number % 2
            score = 0.8 if (number % every != 0) == label else 0.2
            patient = number // 3
            rows.append(
                f"b{number},{('grün', 'rot')[label]},P{patient},{patient % 4},{1 - score},{score}"
            )
        sources.append(tmp_path / f"{name}.csv")
        sources[-1].write_text("\n".join(rows), encoding="utf-8")
    drawing = results_drawing(evaluate(sources, out=tmp_path / "e").panels)
    assert ("corrected for the choice" in drawing.caption) == is_corrected
