"""What `boost` trains on follows from what was typed, not from what a run holds of earlier commands."""

import json
import shutil
from dataclasses import replace

import pytest
from bchisto.boost import BoostSettings, train
from bchisto.core import InputError
from bchisto.core.formats import read_json
from bchisto.featurize import export_features, load_features
from conftest import typed
from packs import ONE_JOB, featurize_here

BOOST = typed("--folds 3 --head prototype --jobs 1")


@pytest.fixture
def featurized(completed, tissue, tiny_options):
    def featurized(run, *views, more=()):
        options = list(tiny_options)
        at = options.index("--view")
        options[at : at + 2] = [word for view in views for word in ("--view", view)]
        return completed("featurize --images {} --out {}", tissue, run, *options, *more)

    return featurized


@pytest.fixture(scope="module")
def twice(tmp_path_factory, tissue, described, tiny_settings):
    """A run of which one command made a feature file, and another command a second one. Read only."""
    run = shutil.copytree(described, tmp_path_factory.mktemp("twice") / "run")
    featurize_here(tissue, run, replace(tiny_settings, views=("1.5:64",)))
    return run


def stores_of(run, folder="3-prototype"):
    return sorted(read_json(run / "boost" / folder / "settings.json")["settings"]["stores"])


def test_files_of_two_commands_are_refused_and_named(
    described, featurized, cli, completed, tmp_path
):
    """The cures of the message help: files are named, or featurize gets a folder of its own."""
    run = shutil.copytree(described, tmp_path / "a run")
    _, err = featurized(run, "1.5:64")
    one, two = (run / "features" / f"tiny-{scale}-64.h5" for scale in ("1.5", "1.0"))
    # what is printed next can be typed
    assert f"next: bchisto boost --out '{run}' --features '{one}'" in err
    for words in (
        ("--out", run),
        ("--out", tmp_path / "other", "--features", run / "features"),
    ):
        code, _, err = cli("boost", *words, *BOOST)
        assert (code, err.splitlines()[-1]) == (
            2,
            f"error: the last bchisto featurize made {one}, and not {two}; name those to train on with --features, "
            "or give featurize another --out",
        )
    with pytest.raises(InputError, match="made .*, and not .*; load one file after the other, or"):
        load_features(run)
    assert len(load_features(one).names) == len(load_features(two).names) == 12
    completed("boost --out {} --features {}", run, one, *BOOST)
    assert stores_of(run) == ["tiny-1.5-64"]
    from sklearn.model_selection import StratifiedGroupKFold

    settings = BoostSettings("prototype", name="split")
    (result,) = train(
        run, features=one, folds=StratifiedGroupKFold(2), settings=settings, work=ONE_JOB
    )
    assert (len(result.panel.table), result.finished) == (12, True)
    both = ("--features", one, "--features", two)
    completed("boost --out {}", run, *both, *BOOST)
    assert stores_of(run) == ["tiny-1.0-64", "tiny-1.5-64"]
    other = tmp_path / "its own"
    _, err = featurized(other, "1.5:64")
    assert f"next: bchisto boost --out '{other}' --folds 5\n" in err
    completed("boost --out {}", other, *BOOST)


def test_an_earlier_command_that_made_both_does_not_count(featurized, refused, completed, tmp_path):
    featurized(tmp_path / "run", "1.0:64", "1.5:64")
    featurized(tmp_path / "run", "1.0:64")
    assert "and not" in refused("boost --out T/run", *BOOST)
    featurized(tmp_path / "run", "1.0:64", "1.5:64")
    completed("boost --out T/run", *BOOST)


def test_one_command_in_parts_is_one_command(
    featurized, cli, completed, tissue, tiny_options, tmp_path
):
    """Shards, repetition, more views, more augmentations."""
    run = tmp_path / "run"
    for shard in ("1/2", "2/2"):
        featurized(run, "1.0:64", more=("--shard", shard))
    featurized(run, "1.0:64")
    featurized(run, "1.0:64", "1.5:64", more=("--shard", "1/1"))
    featurized(run, "1.0:64", "1.5:64")
    completed("boost --out {}", run, *BOOST)
    assert stores_of(run) == ["tiny-1.0-64", "tiny-1.5-64"]
    # a refused or only checked command makes nothing
    cli("featurize --images {} --out {}", tissue, run, *tiny_options, "--check")
    assert cli("featurize --images T/none --out {}", run)[0] == 2
    completed("boost --out {}", run, *BOOST)


@pytest.mark.parametrize("record", ["", "[", "without stores"])
def test_nothing_is_known_of_files_without_a_record(twice, completed, tmp_path, record):
    folder = tmp_path / "copied" / "features"
    shutil.copytree(twice / "features", folder)
    if record == "without stores":
        content = read_json(twice / "run.json")
        for entry in content["records"]:
            entry["notes"]["stores"] = 3
        record = json.dumps(content)
    if record:
        (tmp_path / "copied" / "run.json").write_text(record)
    completed("boost --out T/new --features {}", folder, *BOOST)
    assert stores_of(tmp_path / "new") == ["tiny-1.0-64", "tiny-1.5-64"]


def test_embeddings_of_other_programs_are_made_by_the_last_boost(
    described, refused, completed, tmp_path
):
    store = described / "features" / "tiny-1.0-64.h5"
    for name in ("one", "two"):
        export_features(store, tmp_path / f"{name}.npz")
    new = tmp_path / "new"
    given = ("--features", tmp_path / "one.npz")
    completed("boost --out {}", new, *given, *BOOST)
    completed("boost --out {}", new, *BOOST)
    completed("boost --out {} --features T/two.npz", new, *BOOST, "--name", "b")
    err = refused("boost --out {}", new, *BOOST)
    assert "the last bchisto boost made" in err
    assert "two.h5, and not" in err


def test_in_python_the_parameter_is_named(twice, run_copy):
    with pytest.raises(
        InputError, match="train on with `features`, or give featurize another `out`"
    ):
        train(
            out=run_copy(twice),
            folds="3",
            settings=BoostSettings(["prototype"]),
            work=ONE_JOB,
        )


def test_a_repeated_record_does_not_take_what_was_added_later(
    described, featurized, refused, completed, run_copy, tmp_path
):
    run = run_copy(described)
    completed("boost --out {}", run, *BOOST)
    featurized(run, "1.5:64")
    assert "and not" in refused("boost --config {} --out T/again", run / "run.json")


CHAIN = typed("submit --scheduler local --tasks 1 --")


def featurizing(tissue, run, tiny_options, view):
    """The first command of a chain, of one view."""
    options = list(tiny_options)
    options[options.index("--view") + 1] = view
    return typed("featurize --images {} --out {}", tissue, run, *options, "then")


@pytest.mark.slow
def test_a_chain_trains_on_what_its_featurize_makes(
    refused, cli, completed, tissue, tiny_options, tmp_path, monkeypatch
):
    """A result of the features of an earlier chain is neither joined nor replaced."""
    monkeypatch.chdir(tmp_path)
    boost = typed("boost --out run", *BOOST)
    first = featurizing(tissue, "run", tiny_options, "1.0:64")
    second = featurizing(tissue, tmp_path / "run", tiny_options, "1.5:64")
    completed(*CHAIN, *first, *boost)
    assert stores_of(tmp_path / "run") == ["tiny-1.0-64"]
    err = refused(*CHAIN, *second, *boost)
    assert (
        "boost: run/boost/3-prototype: holds what was not asked for: 1 more feature file (tiny-1.0-64)"
        in err
    )
    # which submit refuses
    assert "--overwrite" not in err
    assert not (tmp_path / "run/features/tiny-1.5-64.h5").exists()
    completed(*CHAIN, *second, *boost, "--name", "two")
    assert stores_of(tmp_path / "run", "3-prototype-two") == ["tiny-1.5-64"]
    # what is complete already, and a folder that is typed
    assert cli(*CHAIN, *second, *boost, "--name", "two")[0] == 4
    for there in (("--features", "run/features/"), (f"--features={tmp_path / 'run/features'}",)):
        words = ("boost", "--out", f"other{len(there)}", *there, *BOOST)
        completed(*CHAIN, *first, *words)
        assert stores_of(tmp_path / words[2]) == ["tiny-1.0-64"]


@pytest.mark.slow
def test_a_trial_trains_on_what_its_featurize_makes(cli, completed, tissue, tmp_path):
    words = typed("trial --images {} --weights random --jobs 1", tissue)
    completed(*words, "--out", tmp_path / "run", "--encoder", "tiny")
    shutil.rmtree(tmp_path / "run" / "boost")
    completed(*words, "--out", tmp_path / "run", "--encoder", "convs")
    found = {
        name
        for path in (tmp_path / "run").glob("boost/*/settings.json")
        for name in read_json(path)["settings"]["stores"]
    }
    assert [name.partition("-")[0] for name in found] == ["convs"]
    # what an earlier trial made is not replaced
    code, _, err = cli(*words, "--out", tmp_path / "run", "--encoder", "tiny")
    assert (code, "holds what was not asked for" in err, "going on" in err) == (2, True, False), err
