"""Facts that a reader must know: kinds are compared, kept and read again; words are only printed."""

import json
import pickle
import shutil

import pytest
from bchisto.boost.bundle import Bundle
from bchisto.core import Banner, Kind, Message, Names, as_banner, banners, converted
from bchisto.evaluate import advice_of
from bchisto.predict import Predictor
from packs import train_small
from written_tables import read_json

PATIENTS = Banner(
    Kind.PATIENTS_MIXED, Message("{} mixed{}; see {jobs}", 2, Names(" (a, b)")), "t", mixed=2
)


@pytest.mark.parametrize(
    "changed",
    [
        lambda banner: pickle.loads(pickle.dumps(banner)),
        as_banner,
        lambda banner: converted([banner], "notes", tuple[str, ...])[0],
    ],
)
def test_a_banner_stays_one(changed):
    banner = changed(PATIENTS)
    assert banner == "t: IMAGE-LEVEL FOLDS: 2 mixed (a, b); see `jobs`"
    assert (banner.kind, banner.about, banner.values) == (Kind.PATIENTS_MIXED, "t", {"mixed": 2})
    shown = banner.of("").public().limited(())
    assert shown == "IMAGE-LEVEL FOLDS: 2 mixed; see this model's jobs"
    assert (shown.kind, shown.values) == (Kind.PATIENTS_MIXED, {"mixed": 2})


def test_what_a_file_keeps_is_read_again():
    entry = json.loads(json.dumps(PATIENTS.public().json()))
    assert Banner.read(entry) == PATIENTS.public()
    assert Banner.read(entry).kind == Kind.PATIENTS_MIXED
    assert Banner.read({**entry, "kind": "of another version"}).kind == Kind.OTHER
    values = dict.fromkeys(("about", "cls", "kind", "text"), 1)
    named = pickle.loads(pickle.dumps(Banner.read({**entry, "values": values}).of("")))
    assert (named.kind, named.about, named.values) == (Kind.PATIENTS_MIXED, "", values)
    for odd in ("a text", {**entry, "values": []}, 3):
        assert Banner.read(odd).kind == Kind.OTHER


def outcome(run, tissue):
    """What a run without patients, with random weights and models that learnt nothing, is taken for."""
    (result,) = train_small(run, params={"min_data_in_leaf": 1000})
    files = {path.name: path.read_text() for path in result.folder.glob("*.csv")}
    metrics = read_json(result.folder / "metrics.json")
    kept = [metrics["run"].pop("banners"), metrics["run"]["bundle"].pop("text", None)]
    kinds = [entry["kind"] for entry in kept[0]]
    predictions = Predictor(result.model).predict([tissue])
    answers = [
        advice_of(result.panel).kind,
        predictions.mixed,
        [(banner.kind, banner.about) for banner in predictions.banners],
        [banner.kind for banner in Bundle.load(result.model).banners],
        list(predictions.columns),
    ]
    return files, metrics, kinds, answers


def test_words_change_only_what_is_printed(described, tissue, tmp_path, monkeypatch):
    plain = outcome(shutil.copytree(described, tmp_path / "a"), tissue)
    assert plain[2] == ["random-weights", "patients-unknown", "nothing-learnt"]
    assert plain[3][0] == "weights"
    assert plain[3][1] != ""
    assert "note" in plain[3][4]
    new = Banner.__new__
    monkeypatch.setattr(
        Banner,
        "__new__",
        lambda cls, kind, text, *about, **values: new(cls, kind, "words", *about, **values),
    )
    renamed = {kind: f"THING {number}" for number, kind in enumerate(banners.HEADINGS)}
    monkeypatch.setattr(banners, "HEADINGS", renamed)
    assert outcome(shutil.copytree(described, tmp_path / "b"), tissue) == plain
