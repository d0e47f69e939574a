"""`tools/benchmarks/ledger.py`: a row for each figure, with what measured it and what it rests on."""

import csv

import pytest
from bchisto import __version__
from bchisto.core import InputError
from bchisto.core.runs import record_run, science
from conftest import REPOSITORY, needs_repository, typed
from own_process import load_script, run_process
from written_tables import read_json, write_json, write_lines

TOOL = REPOSITORY / "tools" / "benchmarks" / "ledger.py"

pytestmark = needs_repository


@pytest.fixture(scope="module")
def ledger():
    return load_script(TOOL)


def measure(ledger, file, *words):
    with pytest.raises(SystemExit) as ended:
        ledger.main(file, *map(str, words))
    assert not ended.value.code


def write_table(path, *, shift=0):
    rows = ["image_id,label,patient,fold,p_grün,p_rot"]
    for number in range(24):
        label = ("grün", "rot")[number % 2]
        right = (number + shift) % 5 != 0
        probability = 0.8 if (label == "rot") == right else 0.2
        patient = number // 3
        rows.append(f"b{number},{label},P{patient},{patient % 4},{1 - probability},{probability}")
    return write_lines(path, *rows)


def test_figures_are_those_of_metrics_and_rows_are_kept(ledger, tmp_path):
    folder = tmp_path / "Tabellen, März"
    folder.mkdir()
    tables = [write_table(folder / f"{name}.csv", shift=n) for n, name in enumerate(("alt", "neu"))]
    file = tmp_path / "rows.csv"
    measure(ledger, file, "evaluate", *tables, "--out", tmp_path / "e")
    metrics = read_json(tmp_path / "e" / "metrics.json")
    rows = {(row.name, row.figure): row for row in ledger.read_ledger(file)}
    for name, table in metrics["tables"].items():
        row = rows[name, "balanced_accuracy"]
        figure = table["balanced_accuracy"]
        assert [float(row.value), float(row.low), float(row.high)] == pytest.approx(
            [figure["value"], *figure["interval"]], abs=1e-6
        )
        assert (row.images, row.units, row.unit) == ("24", "8", "patient")
        assert row.science == f"metrics:{science()['metrics']}"  # nothing is known of the rest
        assert row.command.startswith("bchisto evaluate '")
    (pair,) = metrics["comparisons"]
    difference = rows["neu against alt", "difference"]
    assert difference.unit == "patient"
    assert float(difference.value) == pytest.approx(
        pair["differences"]["accuracy"]["value"], abs=1e-6
    )
    assert float(difference.p) == pytest.approx(pair["p_holm"], abs=1e-6)
    first = file.read_text()
    measure(ledger, file, "evaluate", tables[1], "--out", tmp_path / "b")
    assert file.read_text().startswith(first)
    assert len(ledger.read_ledger(file)) > len(rows)


def test_another_table_is_refused_and_kept(ledger, tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("image_id,label\na,b\n")
    with pytest.raises(InputError, match="not a ledger"):
        ledger.main(file, "evaluate", "table.csv", "--out", str(tmp_path / "e"))
    assert not (tmp_path / "e").exists()
    assert file.read_text() == "image_id,label\na,b\n"


def test_rows_of_a_run_rest_on_what_its_commands_recorded(ledger, tmp_path):
    """Also if other code made the features: then the row is of neither."""
    run, other = tmp_path / "run", tmp_path / "other"
    for path in (run, other):
        for command in ("featurize", "boost"):
            with record_run(path, command=command, config={}):
                pass
    digests = [f"{part}:{digest}" for part, digest in sorted(science().items())]
    assert ledger.science_of(run / "boost" / "3-lightgbm") == " ".join(digests)
    content = read_json(run / "run.json")
    versions = content["records"][0]["versions"]
    for recorded, named in (
        ("features:11111111 stains:22222222", "stains:22222222"),
        ("damaged", "stains:unknown"),
        (None, "stains:unknown"),
    ):
        versions["science"] = recorded
        write_json(run / "run.json", content)
        assert named in ledger.science_of(run)
    # a comparison rests on both runs, whose digests stand side by side
    both = ledger.science_of(run, other)
    assert "/unknown" in both or "unknown/" in both


def test_the_commit_of_a_clean_clone_is_recorded(ledger, tmp_path, monkeypatch):
    """In a clone: its commit; with a change, or outside of a clone, the version. Rows themselves are no change."""
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "code.py").write_text("")
    monkeypatch.setattr(ledger, "REPOSITORY", clone)
    assert ledger._version() == __version__

    def git(*words):
        command = typed("git -c user.name=a -c user.email=a@b", *words)
        return run_process(*command, cwd=clone, check=True).stdout.strip()

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "--short=8", "HEAD")
    assert ledger._version() == commit
    (clone / "docs" / "results").mkdir(parents=True)
    (clone / "docs" / "results" / "measured.csv").write_text("x")
    assert ledger._version() == commit
    with monkeypatch.context() as patched:
        patched.setenv("PATH", str(tmp_path))
        assert ledger._version() == __version__  # without git
    (clone / "code.py").write_text("changed")
    assert ledger._version() == __version__


def test_columns_of_the_ledger_of_the_repository(ledger):
    with (REPOSITORY / "docs" / "results" / "measured.csv").open(encoding="utf-8") as handle:
        assert tuple(next(csv.reader(handle))) == ledger.LedgerRow._fields
