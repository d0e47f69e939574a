import os
import shutil
import stat

import pytest
from bchisto.core import OutputError
from bchisto.core.formats import read_json
from bchisto.core.jobs import atomic_output, ensure_folder, write_json, write_rows
from refusals import refusing


def test_a_file_is_absent_or_whole(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    with atomic_output(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.parent == target.parent
        assert temporary.name.startswith("a.txt.part-")
    assert target.read_text() == "half"
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]


def test_an_error_leaves_the_old_file_and_no_rest(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail():
        with atomic_output(target) as temporary:
            temporary.write_text("new")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_unwritable_folder_is_one_clear_line(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with refusing(r"file/run: cannot create this folder .*; choose another `out`", OutputError):
        ensure_folder(blocked / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_clear_line(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with refusing("not writable", OutputError):
            ensure_folder(tmp_path)
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_a_folder_that_another_process_removes_meanwhile_is_an_output_error(tmp_path, monkeypatch):
    """As `predict` removes the parts of a table that is finished: who is just writing one writes it once more."""
    from bchisto.core.jobs import packs as parts

    folder, sync = tmp_path / "parts", parts._sync

    def removed(path):
        if path == folder:
            shutil.rmtree(folder)
        sync(path)

    monkeypatch.setattr("bchisto.core.jobs.packs._sync", removed)
    with refusing("a.csv: cannot be written .No such file", OutputError) as caught:
        write_rows(folder / "a.csv", ["a"], [])
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_a_full_disk_is_an_output_error_and_leaves_nothing(tmp_path):
    def fill():
        with atomic_output(tmp_path / "a.bin") as temporary:
            temporary.write_bytes(b"x")
            raise OSError(28, "No space left on device")

    with refusing("a.bin: cannot be written .No space left on device", OutputError):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_json_round_trip_and_refusal_of_nan(tmp_path):
    write_json(tmp_path / "a.json", {"ä": [1, None]})
    assert read_json(tmp_path / "a.json") == {"ä": [1, None]}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "b.json", {"x": float("nan")})
    assert not (tmp_path / "b.json").exists()
    (tmp_path / "c.json").write_text("{")
    with refusing(r"c\.json: not a readable JSON file"):
        read_json(tmp_path / "c.json")


def test_rows_are_utf8_with_lf(tmp_path):
    write_rows(tmp_path / "a.csv", ("x", "y"), [("ü", 1), ("a,b", 2)])
    assert (tmp_path / "a.csv").read_bytes() == 'x,y\nü,1\n"a,b",2\n'.encode()
