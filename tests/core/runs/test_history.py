import sys

from bchisto.core import MissingInputError
from bchisto.core.runs import diff_runs, list_runs, read_run, record_run
from own_process import run_process
from refusals import refusing
from written_tables import read_json, write_json


def make(run, *, crops=20, accuracy=0.8, fail=False):
    with record_run(run, command="featurize", config={"out": str(run), "crops": crops}) as record:
        record.note(images=12)
    try:
        with record_run(run, command="boost", config={"seeds": 5}) as record:
            record.note(results={"boost/10-lightgbm": {"accuracy": accuracy}})
            if fail:
                raise ValueError("no stores")
    except ValueError:
        pass
    return run


def test_lists_runs_below_a_folder(tmp_path):
    make(tmp_path / "b")
    make(tmp_path / "deep" / "a", fail=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text("{}")
    assert [(entry.run.name, entry.command, entry.status) for entry in list_runs(tmp_path)] == [
        ("b", "boost", "ok"),
        ("a", "boost", "error"),
    ]


def test_differences_leave_out_times_and_places(tmp_path):
    make(tmp_path / "a")
    make(tmp_path / "b")
    make(tmp_path / "c", crops=10, accuracy=0.9)
    assert list(diff_runs(tmp_path / "a", tmp_path / "b")) == []
    assert list(diff_runs(tmp_path / "a", tmp_path / "c")) == [
        ("featurize crops", 20, 10),
        ("accuracy of boost/10-lightgbm", 0.8, 0.9),
    ]


def test_folders_that_are_no_runs(tmp_path):
    with refusing(
        r"no run\.json in this folder; give a folder that featurize or boost made",
        MissingInputError,
    ):
        read_run(tmp_path)
    write_json(tmp_path / "run.json", {"records": [{"command": "boost"}]})
    with refusing(r"run\.json: not a run\.json of bchisto"):
        read_run(tmp_path)
    with refusing("no such folder", MissingInputError):
        list_runs(tmp_path / "none")


def test_a_run_whose_process_is_gone_was_interrupted(tmp_path):
    from bchisto.core.jobs import this_process

    mine = this_process()

    def status(process):
        record = {
            "command": "boost",
            "status": "running",
            "started": "2026",
            "config": {},
            "process": process,
        }
        write_json(tmp_path / "run.json", {"schema_version": 1, "records": [record]})
        return read_run(tmp_path)[0].status

    assert status(mine) == "running"
    assert status({**mine, "pid": 2**22 + 1}) == "interrupted"
    assert status({"host": mine["host"], "pid": 2**22 + 1}) == "interrupted"
    assert status({**mine, "host": "elsewhere"}) == "not checked"
    assert status({}) == "not checked"


def test_any_record_is_survived(tmp_path, caplog, cli, completed):
    """Damaged files in records/ block no command; odd values in run.json block no listing."""
    run = make(tmp_path / "run")
    for number, text in enumerate(("", "[]", "{", '{"seconds": NaN}', "[" * 100_000)):
        (run / "records" / f"0-{number}.json").write_text(text)
    make(run)
    assert caplog.text.count("left out of run.json, since it is not a re") >= 5
    assert [entry.command for entry in read_run(run)] == ["featurize", "boost"] * 2
    odd = {
        "command": "boost",
        "status": "running",
        "seconds": "abc",
        "process": {"pid": "x", "host": 3},
        "config": 4,
    }
    write_json(run / "run.json", {"records": [3, {}, odd, {**odd, "seconds": 1e999, "notes": []}]})
    broken = tmp_path / "broken"
    (broken / "records").mkdir(parents=True)
    (broken / "run.json").write_text('{"records": []}')
    out, err = completed("status", tmp_path)
    assert out.count("boost  not checked") == 1
    assert "broken/run.json: not a run.json of bchisto, or without a complete record" in err
    assert cli("status {} --history", run)[0] == 0
    assert cli("status", run, run)[0] == 0


def test_runs_with_a_finetune_are_compared(tmp_path):
    """finetune notes accuracies alone."""
    for name, accuracy in (("a", 0.8), ("b", None)):
        with record_run(tmp_path / name, command="finetune", config={}) as record:
            record.note(results={"3-tiny": accuracy})
    assert list(diff_runs(tmp_path / "a", tmp_path / "b")) == [("accuracy of 3-tiny", 0.8, None)]


def test_records_of_killed_commands_are_closed_by_the_next(tmp_path):
    child = run_process(sys.executable, "-c", "import os; print(os.getpid())")
    with record_run(tmp_path, command="boost", config={}) as record:
        whole = read_json(record.path)
    killed = {
        **whole,
        "status": "running",
        "process": {**whole["process"], "pid": int(child.stdout), "started": 1},
    }
    elsewhere = {**killed, "process": {**killed["process"], "host": "elsewhere"}}
    for name, content in (("0-a.json", killed), ("0-b.json", elsewhere)):
        write_json(tmp_path / "records" / name, content)
    with record_run(tmp_path, command="boost", config={}):
        pass
    found = {p.name: read_json(p)["status"] for p in (tmp_path / "records").glob("0-*.json")}
    assert found == {"0-a.json": "interrupted", "0-b.json": "running"}
    assert [entry.status for entry in read_run(tmp_path)] == [
        "interrupted",
        "not checked",
        "ok",
        "ok",
    ]


def test_trainings_are_compared_by_the_accuracies_that_they_noted(boosted, tmp_path):
    content = read_json(boosted / "run.json")
    name = "boost/3-lightgbm"
    metrics = read_json(boosted / name / "metrics.json")["tables"]
    noted = content["records"][-1]["notes"]["results"][name]
    assert noted["accuracy"] in {table["accuracy"]["value"] for table in metrics.values()}
    before = noted["accuracy"]
    noted["accuracy"] = 0.125
    write_json(tmp_path / "run.json", content)
    assert list(diff_runs(boosted, tmp_path)) == [(f"accuracy of {name}", before, 0.125)]
