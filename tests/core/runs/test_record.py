from pathlib import Path

import pytest
from bchisto.core import InputError
from bchisto.core.runs import describe_differences, differences, load_config, record_run
from written_tables import read_json


def records(run):
    return read_json(run / "run.json")["records"]


def test_is_opened_first_and_closed_ok(tmp_path):
    with record_run(tmp_path / "run", command="boost", config={"seeds": 5}) as record:
        (opened,) = records(tmp_path / "run")
        assert opened["status"] == "running"
        record.note(models=50)
    (closed,) = records(tmp_path / "run")
    assert closed["status"] == "ok"
    assert closed["config"] == {"seeds": 5}
    assert closed["notes"] == {"models": 50}
    assert closed["versions"]["python"]
    assert closed["hardware"]["cores"] >= 1
    assert closed["seconds"] >= 0


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("bad"), "error"), (KeyboardInterrupt(), "interrupted")]
)
def test_is_closed_with_what_went_wrong(tmp_path, error, status):
    with pytest.raises(type(error)), record_run(tmp_path, command="boost", config={}):
        raise error
    (closed,) = records(tmp_path)
    assert closed["status"] == status
    assert type(error).__name__ in closed["error"]


def test_two_commands_at_once_are_both_kept(tmp_path):
    with (
        record_run(tmp_path, command="featurize", config={}),
        record_run(tmp_path, command="boost", config={}),
    ):
        pass
    assert [entry["command"] for entry in records(tmp_path)] == ["featurize", "boost"]
    assert {entry["status"] for entry in records(tmp_path)} == {"ok"}


def test_config_from_a_run(tmp_path):
    for seeds in (1, 3):
        with record_run(tmp_path, command="boost", config={"seeds": seeds}):
            pass
    assert load_config(tmp_path / "run.json", command="boost") == {"seeds": 3}
    with pytest.raises(InputError, match="has no `bchisto featurize`"):
        load_config(tmp_path / "run.json", command="featurize")


def test_differences_in_words():
    old = {"crops": 20, "layers": ["a"], "gone": "x" * 80}
    new = {"crops": 10, "layers": ["a", "b"], "more": True}
    assert set(differences(old, new)) == {"crops", "layers", "gone", "more"}
    assert (
        describe_differences(old, new)
        == "crops 20 -> 10, layers a -> a+b, gone xxxxxxxxxxxx... -> None, more None -> True"
    )


def test_a_run_is_repeated_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "list.csv").write_text("image_id,fold\n")
    monkeypatch.chdir(tmp_path / "here")
    config = {"out": "run", "folds": ["10"], "images": "/data/x", "labels": "list.csv"}
    with record_run(Path("run"), command="boost", config=config):
        pass
    features = ["run/features"]
    assert load_config(Path("run/run.json"), command="boost") == {**config, "features": features}
    monkeypatch.chdir(tmp_path)
    here = f"{tmp_path}/here"
    assert load_config(Path("here/run/run.json"), command="boost") == {
        "out": f"{here}/run",
        "folds": ["10"],
        "images": "/data/x",
        "labels": f"{here}/list.csv",
        "features": [f"{here}/run/features"],
    }


def test_a_clock_that_is_set_back_puts_no_record_before_an_earlier_one(tmp_path):
    """The last entry of run.json is what was called last, whatever the clock of its host said."""
    with record_run(tmp_path, command="boost", config={"seeds": 2}):
        pass
    (record,) = (tmp_path / "records").iterdir()
    record.rename(record.with_name(f"29991231T235959000000-{record.name.split('-', 1)[1]}"))
    for seeds in (3, 4, 5):
        with record_run(tmp_path, command="boost", config={"seeds": seeds}):
            pass
        assert records(tmp_path)[-1]["config"] == {"seeds": seeds}
