"""The claim of a folder: settings guarded, overwritten whole, and carried by every part."""

import json
import os

import pytest
from bchisto.errors import InputError, OutputError, OverwrittenError, SettingsConflictError
from bchisto.runs import Claim

SETTINGS = {"rounds": 8, "classes": ["a", "b"]}


def claim(folder, **options):
    return Claim(folder, **{"settings": SETTINGS, "work": ["parts/*"], **options})


def work(folder, name="one"):
    (folder / "parts").mkdir(exist_ok=True)
    (folder / "parts" / name).write_text("done")


def settings(folder):
    return json.loads((folder / "settings.json").read_text())


def test_other_settings_are_refused_with_the_differences(tmp_path):
    claim(tmp_path / "f").take()
    work(tmp_path / "f")
    before = (tmp_path / "f" / "settings.json").read_bytes()
    claim(tmp_path / "f").take()
    with pytest.raises(
        SettingsConflictError,
        match=r"f: made with other settings: rounds 8 -> 9; use the same settings, another `name`, or `overwrite`$",
    ):
        claim(tmp_path / "f", settings={**SETTINGS, "rounds": 9}, otherwise="another `name`").take()
    assert (tmp_path / "f" / "settings.json").read_bytes() == before


def test_settings_under_which_nothing_was_made_hold_nobody(tmp_path):
    claim(tmp_path / "f").take()
    claim(tmp_path / "f", settings={**SETTINGS, "rounds": 9}).take()
    assert settings(tmp_path / "f")["rounds"] == 9


def test_check_writes_nothing(tmp_path):
    claim(tmp_path / "f").check()
    assert not (tmp_path / "f").exists()


def test_further_stores_extend_and_others_are_refused(tmp_path):
    claim(tmp_path / "f", stores={"a": {"crops": 3}}).take()
    first = claim(tmp_path / "f", stores={"a": {"crops": 3}}).mark("a")
    work(tmp_path / "f")
    claim(tmp_path / "f", stores={"b": {"crops": 4}}).take()
    found = settings(tmp_path / "f")
    assert (found["settings"], found["stores"]) == (SETTINGS, {"a": {"crops": 3}, "b": {"crops": 4}})
    later = claim(tmp_path / "f", stores={}).mark("a")
    assert later == first
    assert not later.accepts(claim(tmp_path / "f", stores={}).mark("b").sha256)
    with pytest.raises(SettingsConflictError, match="other settings: a: crops 3 -> 9; use the same"):
        claim(tmp_path / "f", stores={"a": {"crops": 9}}).take()


def overwrite_and_stop(folder, calls):
    """Overwrite in a child that is gone before so many system calls, as by a kill; return its exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = calls

    def stopping(real):
        def call(*args, **options):
            nonlocal left
            if left == 0:
                os._exit(9)
            left -= 1
            return real(*args, **options)

        return call

    try:
        for name in ("rename", "replace", "unlink", "rmdir", "mkdir"):
            setattr(os, name, stopping(getattr(os, name)))
        claim(folder, settings={"rounds": 9}, overwrite=True).take()
        os._exit(0)
    finally:
        os._exit(1)


def test_overwriting_leaves_the_old_whole_or_nothing_at_every_moment(tmp_path):
    ended = None
    for left in range(40):
        folder = tmp_path / str(left) / "f"
        folder.parent.mkdir()
        claim(folder).take()
        for name in ("one", "two", "three"):
            work(folder, name)
        ended = overwrite_and_stop(folder, left)
        parts = sorted(path.name for path in (folder / "parts").glob("*"))
        if ended == 0:
            assert settings(folder)["rounds"] == 9
            assert parts == []
            break
        assert ended == 9
        held = settings(folder)["rounds"] if (folder / "settings.json").is_file() else None
        assert (held, parts) in ((8, ["one", "three", "two"]), (None, []), (9, [])), left
        claim(folder, settings={"rounds": 9}, overwrite=held == 8).take()
        assert sorted(path.name for path in folder.parent.iterdir()) == ["f"], "what a killed overwrite left"
        # a half-written file keeps its temporary name, which nothing reads
        assert [path.name for path in folder.iterdir() if ".part-" not in path.name] == ["settings.json"]
    assert ended == 0
    assert left > 5


def test_what_cannot_be_removed_is_an_error_and_no_part_of_the_new(tmp_path, monkeypatch, caplog):
    claim(tmp_path / "f").take()
    work(tmp_path / "f")
    real = os.unlink

    def refuse(path, *args, **options):
        if "one" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        real(path, *args, **options)

    monkeypatch.setattr(os, "unlink", refuse)  # root may remove anything here, so it cannot be shown for real
    with pytest.raises(OutputError, match=r"one: cannot be removed \(Permission denied\)"):
        claim(tmp_path / "f", settings={"rounds": 9}, overwrite=True).take()
    assert not (tmp_path / "f").exists()
    claim(tmp_path / "f", settings={"rounds": 9}).take()
    assert "left by an earlier `overwrite`" in caplog.text
    assert not (tmp_path / "f" / "parts").exists()


def test_a_running_command_notices_that_it_was_overwritten(tmp_path):
    running = claim(tmp_path / "f")
    running.take()
    mark = running.mark()
    mark.hold()
    work(tmp_path / "f")
    claim(tmp_path / "f", overwrite=True).take()
    mark.hold()  # the same settings: the parts are the same
    claim(tmp_path / "f", settings={"rounds": 9}, overwrite=True).take()
    with pytest.raises(OverwrittenError, match="another command has overwritten this folder meanwhile"):
        mark.hold()
    assert not claim(tmp_path / "f").mark().accepts(mark.sha256)


def test_folders_of_the_first_release(tmp_path):
    """Flat settings, no hash: its parts count, and a setting that came later has the value its absence means."""
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS))
    work(tmp_path)
    now = claim(tmp_path, settings={**SETTINGS, "geometry": 1}, absent={"geometry": 1})
    now.take()
    assert now.mark().accepts(None)
    assert {**settings(tmp_path), "claim": 0} == {**SETTINGS, "claim": 0}
    claim(tmp_path).take()
    assert claim(tmp_path).mark().accepts(None)
    with pytest.raises(SettingsConflictError, match="geometry 1 -> 2"):
        claim(tmp_path, settings={**SETTINGS, "geometry": 2}, absent={"geometry": 1}).take()
    fresh = claim(tmp_path, overwrite=True)
    fresh.take()
    assert not fresh.mark().accepts(None)


def test_parts_without_settings_do_not_count(tmp_path):
    """What a kill in the removal of 0.1 left: parts of nobody knows which settings."""
    work(tmp_path)
    now = claim(tmp_path)
    now.take()
    assert not now.mark().accepts(None)


def test_other_versions_are_said_and_kept(tmp_path, caplog):
    def begin(version):
        one = claim(tmp_path, made_with={"lightgbm": version})
        one.take()
        one.note_versions()
        work(tmp_path)

    begin("4.5.0")
    begin("4.5.1")
    assert caplog.text == ""
    begin("4.6.0")
    assert "begun in another environment (lightgbm 4.5.0 -> 4.6.0); where that gives other results" in caplog.text
    caplog.clear()
    begin("4.6.0")
    assert caplog.text == ""
    assert [one["lightgbm"] for one in settings(tmp_path)["claim"]["made_with"]] == ["4.5.0", "4.5.1", "4.6.0"]


def test_damaged_and_newer_settings(tmp_path):
    work(tmp_path)
    for text, message in (
        ("", "not a readable JSON file"),
        ("[]", "not a file of settings; use `overwrite`"),
        ('{"claim": 3}', "not a file of settings; use `overwrite`"),
        ('{"claim": {"schema_version": 99}}', "written by a newer bchisto"),
    ):
        (tmp_path / "settings.json").write_text(text)
        with pytest.raises(InputError, match=message):
            claim(tmp_path).take()
    claim(tmp_path, overwrite=True).take()


def test_a_linked_folder_goes_on_being_linked(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "f").symlink_to(tmp_path / "scratch")
    claim(tmp_path / "f").take()
    work(tmp_path / "f")
    claim(tmp_path / "f", settings={"rounds": 9}, overwrite=True).take()
    assert (tmp_path / "f").is_symlink()
    assert settings(tmp_path / "scratch")["rounds"] == 9
    assert not (tmp_path / "scratch" / "parts").exists()
