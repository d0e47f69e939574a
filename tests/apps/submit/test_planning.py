"""A chain is planned from Python as `bchisto submit` plans it; words and values are those of the commands."""

import sys

import pytest
from bchisto.apps.submit import Plan, StageCommand, TaskOptions, new_folder, plan_chain, planning
from bchisto.core import BchistoError, InputError
from bchisto.encoders import EncoderChoice
from job_chain import FEATURES


@pytest.fixture
def features(tissue, tmp_path):
    """The features of a run."""
    run = tmp_path / "run"
    words = ["--images", str(tissue), "--out", str(run), *FEATURES]
    options = {
        "images": tissue,
        "out": run,
        "encoders": (EncoderChoice("tiny"),),
        "weights": ("random",),
        "views": ("1.0:64",),
        "augmentations": 60,
        "crops": 3,
        "jobs": 2,
    }
    return StageCommand("featurize", words, options, [tissue])


def boost_of(features, **options):
    """Trees on these features."""
    words = ["--out", str(features.out)]
    given = {"out": features.out, "features": (), **options}
    return StageCommand("boost", words, given, [features.out / "features"])


def plan_of(features):
    return Plan(new_folder(features.out), "local", "bchisto submit ...", "/", "python")


def test_stages_wait_for_those_before_them(features):
    plan = plan_of(features)
    warnings = []
    commands = [features, boost_of(features, folds=("2",))]
    lines = plan_chain(plan, commands, TaskOptions(tasks=8), warn=warnings.append)
    assert lines == [
        "featurize: 2 tasks of 2 and a merge; 2 blocks",
        "boost: 8 tasks of 8 and a merge",
    ]
    assert [stage.command for stage in plan.stages] == ["featurize", "boost"]
    assert [stage.tasks for stage in plan.stages] == [[1, 2], [*range(1, 9)]]
    assert plan.stages[0].options == ["--cpus-per-task=2"]
    assert plan.stages[0].megabytes > 0
    assert not plan.folder.exists()
    assert all("error" not in line for line in warnings)


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return a function that puts a script in the place of the Python that checks commands."""

    def put(*lines):
        path = tmp_path / "python"
        path.write_text("\n".join(["#!/bin/sh", *lines]))
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))

    return put


@pytest.mark.parametrize(
    ("lines", "kind", "text"),
    [
        (("exit 2",), InputError, "boost: 50 parts of 12"),
        (("exit 1",), BchistoError, "boost: 50 parts of 12"),
        (('rm "$BCHISTO_ENDING"', "exit 1"), BchistoError, "boost: ended with 1"),
        (('rm "$BCHISTO_ENDING"', "kill -9 $$"), BchistoError, "boost: ended with -9"),
        (("exit 0",), None, ["Achtung: dies", "geschrieben: a.csv", "weiter: bchisto"]),
    ],
)
def test_how_a_check_ended_is_read_from_values(features, program, lines, kind, text):
    """Whatever words a command prints, here none of ours."""
    printed = ("Achtung: dies", "geschrieben: a.csv", "weiter: bchisto")
    said = [f'echo "{line}" >&2' for line in printed]
    ending = """echo '{"error": "50 parts of 12"}' > "$BCHISTO_ENDING\""""
    program(*said, ending, *lines)
    warned = []
    boost = boost_of(features)
    plan = plan_of(features)
    if kind is None:
        plan_chain(plan, [boost], TaskOptions(tasks=2), warn=warned.append)
        assert warned == text
        return
    with pytest.raises(kind) as caught:
        plan_chain(plan, [boost], TaskOptions(tasks=2), warn=warned.append)
    assert (type(caught.value), str(caught.value), warned) == (kind, text, [])


def test_what_a_task_would_refuse_is_named_in_words_of_python(features, monkeypatch):
    monkeypatch.setattr(planning, "_check", lambda *_, **options: True)
    commands = [features, boost_of(features, folds=("none",))]
    with pytest.raises(InputError, match='^boost: `folds="none"`: boost averages fold models'):
        plan_chain(plan_of(features), commands, TaskOptions(tasks=2), warn=print)


def test_what_nothing_makes_is_named(features, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "_check", lambda *_, **options: True)
    missing = tmp_path / "labels.csv"
    boost = boost_of(features)
    commands = [
        features,
        StageCommand("boost", boost.words, boost.options, [*boost.inputs, missing]),
    ]
    with pytest.raises(InputError, match="boost: .*labels.csv: no such file or folder, and no ear"):
        plan_chain(plan_of(features), commands, TaskOptions(tasks=2), warn=print)
