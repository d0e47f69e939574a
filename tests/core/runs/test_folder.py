"""A folder of work is held to its settings."""

import pytest
from bchisto.core import OverwrittenError, SettingsConflictError
from bchisto.core.jobs import set_aside
from bchisto.core.runs import FolderSettings
from refusals import refusing


def settings_of(folder, settings, **options):
    return FolderSettings(folder=folder, settings=settings, work=("*.npz",), **options)


def begin(folder, settings, **options):
    made = settings_of(folder, settings)
    made.begin(**options)
    (folder / "a.npz").touch()
    return made


def test_other_settings_are_refused_with_the_differences(tmp_path):
    begin(tmp_path, {"seed": 0, "view": (0.5, 400)})
    settings_of(tmp_path, {"seed": 0, "view": [0.5, 400]}).begin()
    with refusing(
        r"seed 0 -> 1; use the same settings, or another `out`, or `overwr", SettingsConflictError
    ):
        settings_of(tmp_path, {"seed": 1, "view": (0.5, 400)}).begin()


def test_a_folder_without_work_takes_any_settings(tmp_path):
    settings_of(tmp_path, {"seed": 0}).begin()
    settings_of(tmp_path, {"seed": 1}).begin()
    settings_of(tmp_path, {"seed": 1}).hold()


def test_further_stores_extend_a_folder(tmp_path):
    begin(tmp_path, {"seed": 0, "stores": {"b": {"crops": 1}}})
    more = settings_of(tmp_path, {"seed": 0, "stores": {"a": {"crops": 2}}})
    more.begin()
    more.hold()
    with refusing("b: crops 1 -> 3", SettingsConflictError):
        settings_of(tmp_path, {"seed": 0, "stores": {"b": {"crops": 3}}}).begin()


def test_overwriting_empties_the_folder_and_is_noticed(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    first = begin(folder, {"seed": 0})
    set_aside(folder)
    settings_of(folder, {"seed": 1}).begin()
    assert [path.name for path in folder.iterdir()] == ["settings.json"]
    with pytest.raises(
        OverwrittenError, match="another command has overwritten this folder meanwhile"
    ):
        first.hold()


def test_versions_are_noted_and_another_minor_version_is_warned_of(tmp_path, caplog):
    made = settings_of(tmp_path, {"seed": 0}, made_with={"numpy": "2.1.0"})
    made.begin()
    made.note_work([{}], threads="2")
    (tmp_path / "a.npz").touch()
    assert made.begun_with("threads") == "2"
    settings_of(tmp_path, {"seed": 0}, made_with={"numpy": "2.1.5"}).note_work([{}])
    assert not caplog.text
    settings_of(tmp_path, {"seed": 0}, made_with={"numpy": "2.3.0"}).note_work([{}])
    assert "started with other package versions (numpy 2.1.0 -> 2.3.0)" in caplog.text


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": 1}'])
def test_a_damaged_file_of_settings(tmp_path, text):
    begin(tmp_path, {"seed": 0})
    (tmp_path / "settings.json").write_text(text)
    with refusing(r"settings\.json: not a"):
        settings_of(tmp_path, {"seed": 0}).check()
