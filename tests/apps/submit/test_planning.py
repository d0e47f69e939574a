"""A chain is planned from Python as `bchisto submit` plans it; words and values are those of the commands."""

import pytest
from bchisto.apps.submit import Plan, StageCommand, TaskOptions, new_folder, plan_chain
from bchisto.core import InputError
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


def test_what_a_task_would_refuse_is_named_in_words_of_python(features):
    commands = [features, boost_of(features, folds=("none",))]
    with pytest.raises(InputError, match='^boost: `folds="none"`: boost averages fold models'):
        plan_chain(plan_of(features), commands, TaskOptions(tasks=2), warn=print)


def test_what_nothing_makes_is_named(features, tmp_path):
    missing = tmp_path / "labels.csv"
    boost = boost_of(features)
    commands = [
        features,
        StageCommand("boost", boost.words, boost.options, [*boost.inputs, missing]),
    ]
    with pytest.raises(InputError, match="boost: .*labels.csv: no such file or folder, and no ear"):
        plan_chain(plan_of(features), commands, TaskOptions(tasks=2), warn=print)
