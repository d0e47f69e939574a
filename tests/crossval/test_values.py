"""Values to options and back: what a run records is what ``--config`` takes."""

import importlib
import json
import re
from dataclasses import dataclass, fields

import pytest
from bchisto.apps.recipes import Scope, reproduce
from bchisto.boost import BoostSettings, FeatureChoice, train
from bchisto.cli import cli as program
from bchisto.core import InputError, Settings, from_options, option, plain_options
from bchisto.core.jobs import Shard, Work
from bchisto.data import FoldChoice, ImageSelection
from bchisto.evaluate import TwoClassView
from bchisto.featurize import FeaturizeSettings, featurize
from bchisto.finetune import FinetuneSettings, finetune
from bchisto.predict import PredictSettings, predict
from refusals import refuses
from written_tables import read_json

IMAGES = ImageSelection(
    "images",
    "folder",
    classes=["b", "a"],
    label_level="type",
    magnifications=[40, 400],
    lesions="mass",
    context="small",
    only="list.csv",
    group_from=-1,
    label_from="(a|b)_",
    path_column="file",
    label_column="kind",
    group_column="case",
    labels="labels.csv",
    mpp=0.25,
)
DESCRIBED = FeaturizeSettings(
    encoders=["resnet50:conv2_block1_out+conv3_block1_out", "vgg16"],
    weights=["random", "vgg16=v.h5"],
    views="1.0:64",
    augmentations=2,
    crops=3,
    pool=2.5,
    color_range=(0.9, 1.1),
    stain="none",
    stain_fallback="error",
    precision="bfloat16",
    mode="dense",
    engine="openvino",
    batch_size=2,
    seed=7,
)
BOOSTED = BoostSettings(
    ["svm", "lightgbm"],
    2,
    "quick",
    params={"num_iterations": 3, "learning_rate": 0.5, "num_leaves": 7},
    call="plain",
    seed=4,
    name="trial",
)
TUNED = FinetuneSettings(
    "patch-resnet",
    name="mine",
    call="plain",
    size=64,
    patches="random:48:2",
    epochs=3,
    patience=2,
    validation=False,
    batch_size=4,
    optimizer="sgd",
    learning_rate=0.5,
    rate_multipliers=(("dense", 10.0), ("conv", 0.1)),
    dropout=0.25,
    l2=0.01,
    norm_momentum=0.5,
    top="conv",
    freeze="all",
    weights="random",
    fresh=["stage3"],
    convention="caffe",
    precision="bfloat16",
    sampling="over",
    class_weights=True,
    rotations=2,
    crops=4,
    stain="macenko",
    seed=3,
    augmentations=["mirror", "rotation:10"],
    copies=[("in situ", 2.5), ("a=b", 3)],
)
CHOSEN = FeatureChoice(["a", "b"], "labels.csv", ["b", "a"])
FOLDS = FoldChoice(["3", "list.csv"], group_by="none", test_list="test.csv", repeats=2)
WRITTEN = PredictSettings(
    "sheet.html",
    "iciar2018",
    True,
    threshold=0.4,
    mpp=0.25,
    group_from="dir",
    update=True,
    positive="a",
)
VIEW = TwoClassView(["a"], "max", (0.25, 0.75), (0.9,), (0.01, 0.1))
HOW = Work(skip_errors=True)
VALUES = [
    IMAGES,
    DESCRIBED,
    CHOSEN,
    BOOSTED,
    TUNED,
    FOLDS,
    VIEW,
    HOW,
    ImageSelection("images"),
    FeaturizeSettings(),
    FeatureChoice(),
    BoostSettings(),
    FinetuneSettings("alexnet"),
    FoldChoice(),
    TwoClassView(),
    Work(),
    WRITTEN,
    PredictSettings(),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_to_options_and_back(value):
    plain = json.loads(json.dumps(plain_options(value)))
    options = {name: one for name, one in plain.items() if one is not None}  # what --config drops
    assert from_options(type(value), options) == value


@pytest.mark.parametrize(
    ("value", "plain"), [*zip(VALUES[:7], VALUES[8:15], strict=True), (WRITTEN, PredictSettings())]
)
def test_no_field_tried_has_its_default(value, plain):
    """So that a field which does not travel shows."""
    same = [
        one.name for one in fields(value) if getattr(value, one.name) == getattr(plain, one.name)
    ]
    untried = {
        ImageSelection: ["images"],
        FeaturizeSettings: ["pad"],
        PredictSettings: ["sensitivity"],  # not beside a threshold
    }
    assert same == untried.get(type(value), [])


def test_what_is_recorded():
    """Nothing that leaves the result alone."""
    assert plain_options(Work(jobs=3, dask="tcp://a:1", shard="1/2")) == {
        "skip_errors": False,
        "threads": None,
    }
    assert "name" not in plain_options(TUNED, deciding=True)


@dataclass(frozen=True)
class Cut(Settings):
    """How it is cut."""

    sides: tuple[int, ...] = option(
        (4, 6), flag="side", least=1, most=9, distinct=True, help="Sides of a square."
    )
    mode: str = option("plain", choices=("plain", "fine"))
    share: float | None = None
    pair: tuple[float, float] = (0.5, 2)


def test_a_declaration_converts_checks_and_documents():
    assert Cut(sides=[4, 4]) == Cut(4)
    assert Cut(share=1) == Cut(share=1.0)
    assert "sides : tuple[int, ...]\n    Sides of a square." in Cut.__doc__
    for given, said in (
        ({"sides": 0}, "`sides` 0: give 1 to 9"),
        ({"sides": "x"}, "sides='x': give a whole number"),
        ({"mode": "fin"}, "`mode` fin: did you mean fine?"),
        ({"share": True}, "share=True: give a number"),
        ({"pair": (1,)}, "`pair`: give 2 values, not 1"),
    ):
        refuses(InputError, re.escape(said), Cut, **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [({"features": None}, "path"), ({"classes": None}, "text"), ({"labels": 3}, "path")],
)
def test_a_choice_of_features_refuses(given, said):
    (name,) = given
    refuses(InputError, f"{name}=.*: give a {said}", FeatureChoice, **given)


def test_work_refuses():
    assert Work(shard="3/16").shard == Shard(3, 16)
    for given, said in (
        (
            {"overwrite": True, "shard": Shard(1, 2)},
            "`overwrite` with `shard` would remove what other shards did",
        ),
        (
            {"threads": 2, "dask": "tcp://127.0.0.1:8786"},
            "`threads` with `dask`: its workers have their own",
        ),
        ({"threads": 0}, "`threads` 0: give at least 1"),
        ({"shard": "3"}, "`shard` 3: write it as K/N"),
        ({"shard": "3/2"}, "`shard` 3/2: K counts from 1"),
        *(({"jobs": jobs}, "jobs=.*: give a whole number") for jobs in ("2", True, 2.5)),
    ):
        refuses(InputError, said, Work, **given)


class Begun(BaseException):
    """The work would begin, with this `config` in the record."""


EDGES = {
    "featurize": ("bchisto.featurize.pipeline", "record_run"),
    "boost": ("bchisto.boost.training", "record_run"),
    "finetune": ("bchisto.finetune.training", "record_run"),
    "predict": ("bchisto.predict.outputs", "record_table"),
    "reproduce": ("bchisto.apps.recipes.reproduce", "record_run"),
}


@pytest.fixture
def config_of(tmp_path, monkeypatch):
    """Return what a call would record, with a stop there."""

    def stop(folder, *, command, config, **_):
        raise Begun(config)

    for module, name in EDGES.values():
        monkeypatch.setattr(importlib.import_module(module), name, stop)
    # the command would look at images, which are not there, for what describing them takes
    monkeypatch.setattr("bchisto.apps.check.plan_describing", lambda _, settings, **__: settings)
    monkeypatch.setattr("bchisto.data.ImageSelection.table", lambda _: None)
    for name in ("log_reading", "refuse_long"):
        monkeypatch.setattr(f"bchisto.apps.check.{name}", lambda *_, **__: None)
    # which precision an engine executes depends on the machine, and on whether the engine is installed
    monkeypatch.setattr(
        "bchisto.featurize.pipeline.executed_settings", lambda settings, *_, **__: settings
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "features").mkdir(parents=True)
    (tmp_path / "model.bchisto").touch()

    def recorded(function, *arguments, **options):
        with pytest.raises(Begun) as found:
            function(*arguments, **options)
        return found.value.args[0]

    return recorded


def command_of(name):
    return program.get_command(None, name)


SAID = {
    "featurize": [
        lambda: featurize(IMAGES, out="run", settings=DESCRIBED, work=HOW),
        lambda: featurize("images", out="run"),
    ],
    "boost": [
        lambda: train(
            out="run",
            features=CHOSEN,
            settings=BOOSTED,
            view=VIEW,
            folds=FoldChoice(["3", "eva"], group_by="none"),
        ),
        lambda: train(out="run"),
        lambda: train(out="run", view=TwoClassView(thresholds=())),
    ],
    "finetune": [
        lambda: finetune(
            IMAGES, out="run", settings=TUNED, folds=FOLDS, view=VIEW, work=HOW, tensorboard=True
        ),
        lambda: finetune("images", out="run", settings=FinetuneSettings("alexnet")),
        lambda: finetune(
            "images", out="run", settings=FinetuneSettings("alexnet", augmentations=())
        ),
    ],
    "predict": [
        lambda: predict(
            "model.bchisto",
            ["new", "more"],
            out="p.csv",
            weights="tiny=t.h5",
            work=HOW,
            settings=PredictSettings("sheet.html", format="iciar2018", calibrated=True),
        ),
        lambda: predict("model.bchisto", "new", out="p.csv"),
    ],
    "reproduce": [
        lambda: reproduce(
            "rakhlin2018",
            "images",
            out="run",
            weights="random",
            work=HOW,
            scope=Scope(quick=True, full_scale=True, variants="eva", seeds=3, fresh_draws=True),
        ),
        lambda: reproduce("rakhlin2018", "images", out="run"),
    ],
}


@pytest.mark.parametrize("name", SAID)
def test_what_is_recorded_is_what_config_takes(config_of, tmp_path, name):
    command = command_of(name)
    known = {parameter.name for parameter in command.params}
    for call in SAID[name]:
        config = config_of(call)
        assert {option for option, value in config.items() if value is not None} <= known
        path = tmp_path / "options.json"
        path.write_text(json.dumps(config))
        again = config_of(
            command.main, ["--config", str(path)], prog_name=name, standalone_mode=False
        )
        assert again == config


def test_a_run_records_the_result_of_each_protocol(boosted):
    (folder,) = (boosted / "boost").glob("*/")
    (record,) = (
        record
        for record in read_json(boosted / "run.json")["records"]
        if record["command"] != "featurize"
    )
    (result,) = record["notes"]["results"].values()
    metrics = read_json(folder / "metrics.json")
    accuracy = metrics["tables"]["fusion"]["accuracy"]["value"]
    assert result["accuracy"] == pytest.approx(accuracy)
    assert (result["protocol"], result["finished"]) == (metrics["run"]["protocol"], True)
