import json

import pytest
from bchisto.errors import InputError, MissingInputError
from bchisto.runs import diff_runs, list_runs, read_run, record_run


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


def test_reads_what_was_recorded(tmp_path):
    first, second = read_run(make(tmp_path / "run", fail=True))
    assert (first.command, first.status, first.config["crops"], first.notes) == ("featurize", "ok", 20, {"images": 12})
    assert (second.status, second.error) == ("error", "ValueError: no stores")


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
    with pytest.raises(MissingInputError, match=r"no run\.json in this folder; give a folder that was --out"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"records": [{"command": "boost"}]}))
    with pytest.raises(InputError, match=r"run\.json: not a run\.json of bchisto"):
        read_run(tmp_path)
    with pytest.raises(MissingInputError, match="no such folder"):
        list_runs(tmp_path / "none")


def test_a_run_whose_process_is_gone_was_interrupted(tmp_path):
    from bchisto.jobs import this_process

    mine = this_process()

    def status(process):
        record = {"command": "boost", "status": "running", "started": "2026", "config": {}, "process": process}
        (tmp_path / "run.json").write_text(json.dumps({"schema_version": 1, "records": [record]}))
        return read_run(tmp_path)[0].status

    assert status(mine) == "running"
    assert status({**mine, "pid": 2**22 + 1}) == "interrupted"
    assert status({"host": mine["host"], "pid": 2**22 + 1}) == "interrupted"  # as 0.1 wrote it
    assert status({**mine, "host": "elsewhere"}) == "not checked here"
    assert status({}) == "not checked here"
