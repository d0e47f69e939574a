"""What was a keyword of its own before 0.2 works for one more release, warns, and says what to write."""

import importlib
import re

import pytest
from bchisto.boost import BoostSettings, FeatureChoice, train
from bchisto.data import FoldChoice, ImageSelection
from bchisto.evaluate import TwoClassChoice, TwoClassView, evaluate
from bchisto.featurize import featurize
from bchisto.finetune import FinetuneSettings, finetune
from bchisto.jobs import Work
from bchisto.predict import PredictSettings, predict
from bchisto.recipes import Scope, demo, estimate_recipe, reproduce


class Begun(BaseException):
    """The work would begin with what is passed on."""


EDGES = {
    "bchisto.featurize.pipeline": "record_run",
    "bchisto.boost.train": "record_run",
    "bchisto.finetune.run": "record_run",
    "bchisto.predict.run": "record_table",
    "bchisto.recipes.reproduce": "record_run",
}


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """Return what the functions hand on just before any work, with a stop there."""

    def stop(*given, **passed):
        raise Begun((given[1:], passed))

    for module, name in EDGES.items():
        monkeypatch.setattr(importlib.import_module(module), name, stop)
    monkeypatch.setattr(importlib.import_module("bchisto.recipes.reproduce"), "estimate_variants", stop)
    monkeypatch.setattr(importlib.import_module("bchisto.recipes.demo"), "make_bach", stop)
    monkeypatch.setattr(TwoClassChoice, "over", lambda choice, recorded: stop(choice, choice))
    (tmp_path / "model.bchisto").touch()
    monkeypatch.chdir(tmp_path)

    def handed_on(function, *arguments, **options):
        with pytest.raises(Begun) as found:
            function(*arguments, **options)
        return found.value.args[0]

    return handed_on


TUNED = FinetuneSettings("patch-resnet")
CALLS = [
    (
        featurize, ("images",), {"out": "run"},
        {"only": "list.csv", "classes": ["b", "a"], "skip_errors": True},
        {"images": ImageSelection("images", only="list.csv", classes=["b", "a"]), "work": Work(skip_errors=True)},
        ["featurize(classes, only=...) will go with the next release; pass "
         "images=ImageSelection(classes=..., only=...)",
         "featurize(skip_errors=...) will go with the next release; pass work=Work(skip_errors=...)"],
    ),
    (
        train, (), {"out": ".", "features": "é a", "folds": ["3"], "view": TwoClassView(("a",))},
        {"labels": "l.csv", "classes": ["b", "a"], "seeds": 2, "heads": "svm", "params": {"num_iterations": 3},
         "group_by": "none"},
        {"features": FeatureChoice("é a", "l.csv", ["b", "a"]),
         "settings": BoostSettings("svm", 2, params={"num_iterations": 3}), "folds": FoldChoice("3", "none")},
        ["train(labels, classes=...) will go with the next release; pass "
         "features=FeatureChoice(labels=..., classes=...)",
         "train(heads, seeds, params=...) will go with the next release; pass "
         "settings=BoostSettings(heads=..., seeds=..., params=...)",
         "train(group_by=...) will go with the next release; pass folds=FoldChoice(group_by=...)"],
    ),
    (
        finetune, ("images",), {"out": "run", "settings": TUNED, "folds": "none"},
        {"test_list": "t.csv", "dataset": "folder", "skip_errors": True},
        {"images": ImageSelection("images", "folder"), "folds": FoldChoice("none", test_list="t.csv"),
         "work": Work(skip_errors=True)},
        ["finetune(dataset=...) will go with the next release; pass images=ImageSelection(dataset=...)",
         "finetune(test_list=...) will go with the next release; pass folds=FoldChoice(test_list=...)",
         "finetune(skip_errors=...) will go with the next release; pass work=Work(skip_errors=...)"],
    ),
    (
        predict, ("model.bchisto", "new"), {"out": "p.csv"},
        {"skip_errors": True, "html": "s.html", "calibrated": True, "output_format": "iciar2018"},
        {"settings": PredictSettings("iciar2018", True, "s.html"), "work": Work(skip_errors=True)},
        ["predict(output_format, calibrated, html=...) will go with the next release; pass "
         "settings=PredictSettings(output_format=..., calibrated=..., html=...)",
         "predict(skip_errors=...) will go with the next release; pass work=Work(skip_errors=...)"],
    ),
    (
        reproduce, ("rakhlin2018", "images"), {"out": "run", "weights": "random"},
        {"seeds": 3, "variants": "eva", "quick": True, "full_scale": True, "fresh_draws": True, "skip_errors": True},
        {"scope": Scope(quick=True, full_scale=True, variants=["eva"], seeds=3, fresh_draws=True),
         "work": Work(skip_errors=True)},
        ["reproduce(quick, full_scale, variants, seeds, fresh_draws=...) will go with the next release; pass "
         "scope=Scope(quick=..., full_scale=..., variants=..., seeds=..., fresh_draws=...)",
         "reproduce(skip_errors=...) will go with the next release; pass work=Work(skip_errors=...)"],
    ),
    (
        estimate_recipe, ("rakhlin2018", "images"), {}, {"jobs": 2, "dask": "tcp://a:1", "variants": ["eva"]},
        {"scope": Scope(variants=("eva",)), "work": Work(jobs=2, dask="tcp://a:1")},
        ["estimate_recipe(variants=...) will go with the next release; pass scope=Scope(variants=...)",
         "estimate_recipe(jobs, dask=...) will go with the next release; pass work=Work(jobs=..., dask=...)"],
    ),
    (
        evaluate, ("run",), {"out": "e"}, {"two_class": "max", "positive": "a"},
        {"view": TwoClassChoice(("a",), "max")},
        ["evaluate(positive, two_class=...) will go with the next release; pass "
         "view=TwoClassChoice(positive=..., rule=...)"],
    ),
    (
        demo, ("run",), {}, {"jobs": 3}, {"work": Work(jobs=3)},
        ["demo(jobs=...) will go with the next release; pass work=Work(jobs=...)"],
    ),
]  # fmt: skip
"""Function, arguments, options that stay, old keywords, the same in values, and what is said."""

NAMES = [call[0].__name__ for call in CALLS]


@pytest.mark.parametrize(("function", "arguments", "options", "old", "new", "said"), CALLS, ids=NAMES)
def test_they_mean_the_same_and_say_what_to_write(begun, function, arguments, options, old, new, said):
    with pytest.warns(DeprecationWarning, match="will go with the next release") as heard:
        found = begun(function, *arguments, **options, **old)
    assert [str(one.message) for one in heard] == said
    assert {one.filename for one in heard} == {__file__}  # the caller's own line
    if "images" in new:
        arguments, new = (new["images"],), {name: value for name, value in new.items() if name != "images"}
    assert begun(function, *arguments, **{**options, **new}) == found


@pytest.mark.parametrize(("function", "arguments", "options"), [call[:3] for call in CALLS], ids=NAMES)
def test_unknown_ones_are_refused(begun, function, arguments, options):
    message = f"{function.__name__}() got an unexpected keyword argument 'nonsense'"
    with pytest.raises(TypeError, match=re.escape(message)):
        function(*arguments, **options, nonsense=1)


def test_they_are_put_on_top_of_a_value(begun):
    settings = BoostSettings(seeds=3, preset="fast")
    with pytest.warns(DeprecationWarning, match=r"train\(seeds=...\)"):
        found = begun(train, out=".", settings=settings, seeds=2)
    assert found == begun(train, out=".", settings=BoostSettings(seeds=2, preset="fast"))
    with pytest.raises(TypeError, match=r"train\(\) got an unexpected keyword argument 'only'"):
        train(out=".", only="list.csv")
