"""What the recipes say, the steps that follow from it, and how figures and conclusions are judged."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bchisto.apps.recipes import list_recipes, load_recipe, runner
from bchisto.apps.recipes.form import check_claim
from bchisto.apps.recipes.image_sets import ImageSet
from bchisto.apps.recipes.recipe import ReproduceRequest
from bchisto.apps.recipes.runner import comparable_note
from bchisto.apps.recipes.settings import build_steps
from bchisto.apps.recipes.steps import BoostStep, FeaturizeStep, FinetuneStep, FixedTest
from bchisto.apps.recipes.tables import Obtained, Runs, compare_published
from bchisto.apps.recipes.tables.differences import Shown, half_width
from bchisto.boost import BoostSettings, model_params
from bchisto.core import Banner, InputError, Kind
from bchisto.data import FoldChoice
from bchisto.data.folds.folds import read_fold_list
from bchisto.evaluate import (
    Figure,
    Panel,
    PredictionTable,
    TwoClassView,
    measure,
    write_predictions,
)
from bchisto.evaluate.compare import compare_tables, precision_difference
from bchisto.featurize import FeaturizeSettings
from bchisto.finetune import FinetuneSettings
from bchisto.finetune.model import untrained_notice
from statsmodels.stats.proportion import proportion_confint

SYSTEMS = ("rakhlin2018", "breakhis-resnet", "idc-patches", "inbreast-inception", "ddsm-masses")


def runs_of(first, obtained, magnifications=(None,), further=(), sizes=()):
    return Runs(first, obtained, magnifications, further, times={}, sizes=dict(sizes), tested={})


def steps_of(recipe, variant, **order):
    return build_steps(
        recipe, ReproduceRequest(images=Path("images"), run=Path("run"), **order), variant
    )


def network(recipe, variant, **order):
    (step,) = steps_of(recipe, variant, **order)
    return step.settings


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_variant_is_a_setting_of_the_commands(name):
    recipe = load_recipe(name)
    assert name in list_recipes()
    for quick in (False, True):
        for variant, change in recipe.variants.items():
            steps = steps_of(recipe, variant, quick=quick)
            assert [step.kind for step in steps] == change.get("steps", list(recipe.steps))
            assert [step.settings.name for step in steps if step.kind == "finetune"] in (
                [],
                [variant],
            )
    for table in recipe.published:
        if table["kind"] in ("variants", "scores", "validation"):
            assert set(table["rows"]) <= set(recipe.variants)


def test_the_published_settings_of_the_ddsm_system():
    """Levy & Jain 2016, sec. 4 and Tables 1 to 3, written down again."""
    recipe = load_recipe("ddsm-masses")
    values = recipe.values("finetune")
    assert (values["context"], values["rotations"], values["crops"]) == ("large", "5", "5")
    assert values["folds"] == ["80/10/10"]
    weights = ("googlenet=g.npz", "alexnet=a.npz")
    found = {name: network(recipe, name, weights=weights) for name in recipe.variants}
    google, alex, base = found["googlenet"], found["alexnet"], found["baseline"]
    assert (google.optimizer, google.learning_rate, google.dropout, google.epochs) == (
        "sgd",
        0.01,
        0.2,
        30,
    )
    assert dict(google.rate_multipliers) == {
        "conv": 0.1,
        "inception": 0.1,
        "inception_5a": 1,
        "inception_5b": 1,
        "classes": 10,
    }
    assert (alex.optimizer, alex.learning_rate, alex.dropout, alex.epochs) == (
        "adam",
        0.001,
        0.5,
        30,
    )
    assert (dict(alex.rate_multipliers), alex.fresh, alex.weights) == (
        {"conv": 0.1},
        ("fc", "classes"),
        "a.npz",
    )
    assert (base.optimizer, base.learning_rate, base.batch_size, base.epochs) == (
        "adam",
        0.001,
        64,
        35,
    )
    assert base.weights == "random"
    assert found["alexnet-small"].augmentations == ()
    tables = {table["key"]: table["rows"] for table in recipe.published}
    assert tables["test"]["googlenet"] == {"accuracy": 0.929, "precision": 0.924, "recall": 0.934}
    assert tables["transfer"] == {"baseline": 66, "alexnet": 90}
    assert tables["context"] == {"alexnet-small": 64, "alexnet-large": 71}


def test_the_published_settings_of_the_other_systems():
    """What the article on IDC and the project on INbreast print, written down again."""
    patches = network(load_recipe("idc-patches"), "resnet")
    assert "rotation:10" in patches.augmentations
    assert {"isometries", "translation", "magnification"} <= {
        name.partition(":")[0] for name in patches.augmentations
    }
    assert patches.sampling == "under"
    mammograms = network(load_recipe("inbreast-inception"), "cross-validation")
    assert (mammograms.optimizer, mammograms.learning_rate, mammograms.batch_size) == (
        "adam",
        0.001,
        32,
    )
    assert set(mammograms.augmentations) == {"mirror", "brightness", "noise"}
    assert network(load_recipe("inbreast-inception"), "cross-validation", quick=True).copies == ()


def test_multipliers_go_with_pretrained_weights_only():
    recipe = load_recipe("ddsm-masses")
    (step,) = steps_of(recipe, "googlenet")
    assert step.settings.rate_multipliers == ()
    assert step.remarks == (
        "RANDOM START: googlenet began untrained; its source starts from ImageNet weights.",
        "googlenet began untrained, so all its layers have one learning rate",
    )
    (given,) = steps_of(recipe, "googlenet", weights=("googlenet=g.npz",))
    assert given.remarks == ()


def test_whether_a_source_starts_from_weights_belongs_to_the_recipe():
    """Levy & Jain fine-tune AlexNet; the article on IDC does not say so, and its AlexNet takes patches of 50 pixels."""
    (masses,) = steps_of(load_recipe("ddsm-masses"), "alexnet")
    (baseline,) = steps_of(load_recipe("ddsm-masses"), "baseline")
    (patches,) = steps_of(load_recipe("idc-patches"), "alexnet")
    assert comparable_note(masses.remarks) == "Not comparable (random start)."
    assert baseline.remarks == patches.remarks == ()
    plain = untrained_notice(FinetuneSettings("alexnet"))
    assert plain == "alexnet began untrained; published weights were not given"
    assert comparable_note([plain]) == ""
    assert untrained_notice(FinetuneSettings("patch-resnet")) is None
    assert untrained_notice(FinetuneSettings("mobilenetv2", weights="random")).startswith(
        "RANDOM WEIGHTS: "
    )


def test_the_steps_of_the_published_ensemble():
    recipe = load_recipe("rakhlin2018")
    describe, boost = steps_of(recipe, "published", weights=("random",))
    published = FeaturizeSettings(
        encoders=("resnet50-keras213", "inceptionv3", "vgg16"),
        engine="keras",  # as its source did
        batch_size=4,
        stain="macenko-published",
        weights=("imagenet", "random"),
    )
    assert describe == FeaturizeStep({}, published, fresh=False, brought={})
    assert boost == BoostStep(
        {}, BoostSettings(), describe.settings, FoldChoice(("rakhlin10",)), TwoClassView(rule="max")
    )
    again, other = steps_of(recipe, "patient-disjoint", weights=("random",))
    assert again == describe  # the same descriptors, made once
    assert other.folds == FoldChoice(("eva",))
    (larger, _) = steps_of(recipe, "published", full_scale=True)
    assert [str(view) for view in larger.settings.views] == [
        "0.5:400",
        "0.5:650",
        "1.0:800",
        "1.0:1300",
    ]
    small, few = steps_of(recipe, "published", quick=True)
    assert (small.settings.augmentations, small.settings.crops, few.settings.seeds) == (4, 1, 1)
    # the folds are the point of the variant; a quick run cuts the list down
    assert few.folds == boost.folds


def test_further_seeds_of_the_ensemble_draw_features_anew_for_the_same_classifiers():
    """As docs/elements.md and docs/reproduce.md state: the published rule has no other seed than member and fold."""
    recipe = load_recipe("rakhlin2018")
    describe, boost = steps_of(recipe, "published")
    again, boosted = steps_of(replace(recipe, raised=2), "published")
    assert (describe.settings.seed, again.settings.seed) == (0, 2)
    params = [
        model_params(step.settings.lightgbm, classes=4, seed=3, fold_position=7)
        for step in (boost, boosted)
    ]
    assert params[0] == params[1]


def test_the_steps_of_a_network_and_of_frozen_features_beside_it():
    recipe = load_recipe("breakhis-resnet")
    (tuned,) = steps_of(recipe, "sliding-64")
    assert (tuned.settings.patches, tuned.settings.size, tuned.settings.l2) == (
        "sliding:64:0.5",
        64,
        0.0001,
    )
    (tuned,) = steps_of(recipe, "sliding-64", quick=True)
    assert (tuned.settings.patches, tuned.folds.folds) == ("sliding:64:0", ("2",))
    (official,) = steps_of(recipe, "official", quick=True)
    assert official.folds.folds == ("official",)
    describe, boost = steps_of(recipe, "decaf", quick=True)
    assert (str(describe.settings.encoders[0]), describe.settings.stain) == ("resnet50", "none")
    assert (boost.settings.heads, boost.folds.folds) == (("logistic",), ("2",))
    (fixed,) = steps_of(load_recipe("inbreast-inception"), "all-data", quick=True)
    assert fixed.test == FixedTest(
        1, FoldChoice(("3",)), Path("reproduce/inbreast-inception"), seed=0
    )
    assert isinstance(fixed, FinetuneStep)
    assert fixed.extras.tensorboard
    (masses,) = steps_of(load_recipe("ddsm-masses"), "alexnet-small")
    assert masses.reading == {"lesions": ["mass"], "context": "small"}


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ({"finetune": {"epoch": 3}}, "recipe idc-patches: finetune.epoch: no such setting"),
        (
            {"steps": ["featurize"], "featurize": {"encoders": ["a"], "view": []}},
            "featurize.view: no such setting",
        ),
        (
            {"steps": ["boost"], "boost": {"heads": ["svm"], "folds": ["2"], "x": 1}},
            "boost.x: no such setting",
        ),
        (
            {"steps": ["boost"], "boost": {"heads": ["svm"], "folds": ["2"]}},
            "boost needs the step featurize before it",
        ),
    ],
)
def test_settings_that_there_are_not(variant, message):
    recipe = load_recipe("idc-patches")
    recipe = type(recipe)(**{**vars(recipe), "variants": {"mine": {"source": "x", **variant}}})
    with pytest.raises(InputError, match=message):
        steps_of(recipe, "mine")


def fake(tmp_path, name, right):
    """A table of 20 images, of which some are called right."""
    labels = ["benign", "malignant"] * 10
    p = np.array([[0.9, 0.1] if (k % 2 == 0) == (k < right) else [0.1, 0.9] for k in range(20)])
    table = PredictionTable.from_probabilities(
        name=name,
        classes=["benign", "malignant"],
        image_ids=[f"{k}.png" for k in range(20)],
        labels=labels,
        probabilities=p,
        folds=[1] * 20,
        groups=[None] * 20,
    )
    return Obtained(tmp_path, Panel(table, measure(table, bootstrap=50)))


def networks_of(tmp_path, right, *, at=40):
    names = ("best", "normal", "kernel3", "doubled", "two-pools", "dropout")
    return {(name, at): fake(tmp_path, name, right.get(name, 14)) for name in names}


def concluded(*seeds, note=""):
    recipe = load_recipe("breakhis-resnet")
    (table,) = (t for t in recipe.published if t["key"] == "networks")
    (found,) = compare_published(
        [table], runs_of(recipe.first, seeds[0], recipe.magnifications, seeds[1:]), note=note
    )
    return found


def test_conclusions_are_judged_by_intervals_over_three_seeds(tmp_path):
    seed = networks_of(tmp_path, {"best": 20}) | networks_of(tmp_path, {"dropout": 20}, at=200)
    seed |= networks_of(tmp_path, {"best": 15}, at=100)
    found = concluded(seed, seed, seed)
    assert found.note == (
        "Conclusion: first stride 2 is the best. Here: holds at 40x; does not hold at 200x; not settled at 100x; "
        "not run at 400x.\n"
        "Conclusion: doubled feature maps are better than the normal model. Here: not settled at 40x, at 100x, "
        "at 200x; not run at 400x."
    )
    by_name = {figure.name: figure.obtained for figure in found.figures}
    assert (by_name["best at 40x"], by_name["normal at 40x"], by_name["best at 200x"]) == (
        100.0,
        70.0,
        70.0,
    )
    scattered = [networks_of(tmp_path, {"best": right}) for right in (20, 20, 14)]
    assert "Here: not settled at 40x" in concluded(*scattered).note


def test_conclusions_that_are_not_judged(tmp_path):
    seed = networks_of(tmp_path, {"best": 20})
    few = concluded(seed, seed).note.partition("\nConclusion: doubled")[0]
    assert few.endswith(
        "Here: not judged (2 of 3 seeds) at 40x; not run at 100x, at 200x, at 400x."
    )
    quick = concluded(seed, seed, seed, note="Not comparable (quick).")
    assert "not judged (not comparable) at 40x" in quick.note


def test_what_keeps_figures_from_being_compared():
    kinds = (Kind.PATIENTS_UNKNOWN, Kind.PATIENTS_MIXED, Kind.NO_VALIDATION, Kind.BALANCED)
    same = [Banner(kind, "x") for kind in (*kinds, Kind.OTHER)]
    assert comparable_note(same) == ""
    assert comparable_note([Banner(Kind.QUICK, "4 images"), *same]) == "Not comparable (quick)."


def test_seeds_have_folders_and_seeds_of_their_own(tmp_path):
    order = ReproduceRequest(images=tmp_path, run=tmp_path / "run", seeds=3)
    assert [order.at_seed(place).run.name for place in range(3)] == ["run", "seed-1", "seed-2"]
    recipe = load_recipe("breakhis-resnet")
    for name in recipe.variants:
        first, third = (found.steps_of(name) for found in (recipe, replace(recipe, raised=2)))
        for (step, values), (again, raised) in zip(first, third, strict=True):
            assert (again, raised) == (step, {**values, "seed": int(values["seed"]) + 2})
    (step,) = steps_of(replace(load_recipe("inbreast-inception"), raised=2), "all-data")
    assert (step.settings.seed, step.test.seed) == (2, 0)  # tested on the same list


def test_precision_and_recall_by_hand(tmp_path):
    recipe = load_recipe("ddsm-masses")
    recipe = type(recipe)(
        **{**vars(recipe), "published": [t for t in recipe.published if t["key"] == "test"]}
    )
    runs = runs_of(recipe.first, {("baseline", None): fake(tmp_path, "baseline", 15)})
    (found,) = compare_published(recipe.published, runs, note="")
    by_name = {figure.name: figure for figure in found.figures}
    # images 15 to 19 are called wrong: malignant 15, 17, 19 missed, benign 16, 18 called malignant
    assert by_name["baseline: accuracy"].obtained == pytest.approx(15 / 20)
    assert by_name["baseline: recall"].obtained == pytest.approx(7 / 10)
    assert by_name["baseline: precision"].obtained == pytest.approx(7 / 9)
    assert by_name["baseline: accuracy"].difference == pytest.approx(0.75 - 0.604)
    np.testing.assert_allclose(
        by_name["baseline: recall"].interval, proportion_confint(7, 10, method="beta")
    )


def judged(kind, rows, runs, **more):
    claim = {"says": "a beats b", "better": ["a"], "than": ["b"]}
    table = {
        "key": "x",
        "title": "x",
        "source": "x",
        "kind": kind,
        "rows": rows,
        "claim": claim,
        "digits": 1,
        **more,
    }
    (found,) = compare_published([table], runs_of("a", runs[0], (None,), runs[1:]), note="")
    return found.note.partition("Here: ")[2]


@pytest.mark.parametrize(("kind", "more"), [("gap", {}), ("variants", {"metric": "specificity"})])
def test_seeds_alone_settle_no_conclusion(tmp_path, kind, more):
    runs = []
    for seed in range(3):
        made = {}
        for name, right, value in (("a", 20, 0.801), ("b", 14, 0.8)):
            run = fake(tmp_path / f"{seed}{name}", name, right)
            run.folder.mkdir()
            content = {
                "run": {"curves": {"1": {"accuracy": [value + seed * 1e-4], "val_accuracy": [0.5]}}}
            }
            (run.folder / "metrics.json").write_text(json.dumps(content))
            made[name, None] = run
        runs.append(made)
    said = judged(kind, {"a": None, "b": None}, runs, **more)
    assert said == "not judged (no paired interval over images)."


def listed(tmp_path, name, right, folds):
    """A table of 40 images of 20 patients, each tested in every fold; the first `right` of them are ranked right."""
    rows = [(k, fold) for fold in range(1, folds + 1) for k in range(40)]
    p = np.array(
        [0.5 + (0.4 if k < right else -0.4) * (1 if k % 2 else -1) + 0.001 * k for k, _ in rows]
    )
    table = PredictionTable.from_probabilities(
        name=name,
        classes=["negative", "positive"],
        image_ids=[f"{k}.png" for k, _ in rows],
        labels=["positive" if k % 2 else "negative" for k, _ in rows],
        probabilities=np.stack([1 - p, p], axis=1),
        folds=[fold for _, fold in rows],
        groups=[f"p{k // 2}" for k, _ in rows],
    )
    return Obtained(tmp_path, Panel(table, measure(table, TwoClassView("positive"), bootstrap=50)))


def test_a_validation_part_is_judged(tmp_path):
    """By the predictions of its images, paired over them, whatever those of the test images are."""
    runs = []
    for seed in range(3):
        made = {}
        for name, right in (("a", 40), ("b", 12)):
            run = listed(tmp_path / f"{seed}{name}", name, right, 1)
            run.folder.mkdir()
            table = run.panel.table
            labels = [table.classes[label] for label in table.labels]
            rows = [*zip(table.image_ids, labels, table.groups, table.folds, strict=True)]
            write_predictions(
                run.folder / "predictions-validation.csv",
                classes=table.classes,
                rows=rows,
                probabilities=table.probabilities,
            )
            tested = listed(tmp_path, name, 20, 1)
            made[name, None] = Obtained(run.folder, tested.panel)
        runs.append(made)
    said = judged("validation", {"a": 90, "b": 66}, runs)
    assert said.startswith("holds (difference +70.0 points")
    (table,) = compare_published(
        [
            {
                "key": "x",
                "title": "x",
                "source": "x",
                "kind": "validation",
                "rows": {"a": 90, "b": 66},
                "digits": 0,
            }
        ],
        runs_of("a", runs[0]),
        note="",
    )
    assert [(one.published, round(one.obtained)) for one in table.figures] == [(90, 100), (66, 30)]
    (runs[0]["b", None].folder / "predictions-validation.csv").unlink()
    runs[0]["b", None] = Obtained(runs[0]["b", None].folder, runs[0]["b", None].panel)
    assert judged("validation", {"a": 90, "b": 66}, runs) == "not run."


def test_networks_of_folds_stand_against_one_on_the_same_list(tmp_path):
    """The mean over the networks of five folds against the one network of all data, on the images that all test."""
    seed = {("a", None): listed(tmp_path, "a", 40, 1), ("b", None): listed(tmp_path, "b", 24, 5)}
    said = judged("variants", {"a": None, "b": None}, [seed] * 3, metric="auc_mean")
    one = listed(tmp_path, "b", 24, 1).panel.table
    paired = compare_tables(one, seed["a", None].panel.table)["differences"]["auc"]
    middle = 100 * paired["value"]
    half = max(middle - 100 * paired["interval"][0], 100 * paired["interval"][1] - middle)
    assert (
        said
        == f"holds (difference {middle:+.1f} points, 95 % CI {middle - half:+.1f} to {middle + half:+.1f})."
    )
    others = {("a", None): seed["a", None], ("b", None): fake(tmp_path, "b", 12)}
    assert judged("variants", {"a": None, "b": None}, [others] * 3, metric="auc_mean").startswith(
        "not judged (no pair"
    )


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({"alike": ["a", "c"], "margin": 0.02}, "not settled"),
        ({"alike": ["a", "c"], "margin": 0.5}, "holds"),
        ({"alike": ["a", "b"], "margin": 0.02}, "does not hold"),
        ({"better": ["a"], "than": ["b"], "less_than": 0.02}, "does not hold"),
        ({"better": ["b"], "than": ["a"], "less_than": 0.02}, "holds"),
        ({"better": ["a"], "than": ["b"], "by": 0.05}, "holds"),
        ({"better": ["b"], "than": ["a"], "by": 0.05}, "does not hold"),
        ({"better": ["a"], "than": ["c"], "by": 0.05}, "not settled"),
        ({"better": ["a"], "than": ["b"], "by": 0.05, "metric": "f1"}, "holds"),
        ({"better": ["a"], "least": 0.5}, "holds"),
        ({"better": ["b"], "least": 0.99}, "does not hold"),
        ({"better": ["a"], "least": 0.5, "metric": "recall"}, "holds"),
        ({"better": ["a"], "than": ["b"], "metric": "precision"}, "holds"),
        ({"better": ["a"], "than": ["c"], "metric": "precision"}, "not settled"),
        ({"why": "no figure"}, "not judged (no figure)."),
    ],
)
def test_every_form_of_a_conclusion(tmp_path, claim, said):
    seed = {
        (name, None): fake(tmp_path, name, right)
        for name, right in (("a", 20), ("b", 4), ("c", 19))
    }
    found = judged(
        "variants",
        dict.fromkeys("abc"),
        [seed] * 3,
        metric="accuracy",
        claim={"says": "x", **claim},
    )
    assert found.startswith(said)


def test_a_row_at_other_magnifications_has_an_interval_of_its_own(tmp_path):
    runs = []
    for seed in range(3):
        found = {}
        for at, auc in ((40, 0.7), (200, 0.9), (400, 0.75)):
            folder = tmp_path / f"{seed}-{at}"
            folder.mkdir()
            run = fake(tmp_path, "v", 15)
            metrics = {
                **run.panel.metrics,
                "auc": {"value": auc, "interval": [auc - 0.1, auc + 0.08]},
            }
            (folder / "metrics.json").write_text(
                json.dumps({"tables": {"x (patch)": metrics}}, default=Figure.json)
            )
            found["v", at] = replace(run, folder=folder)
        runs.append(found)
    claim = {"says": "x", "row": "patch auc", "better_at": [200], "than_at": [40]}
    table = {"key": "x", "title": "x", "source": "x", "kind": "levels", "variant": "v"}
    claims = [claim, {**claim, "better_at": [200, 400]}, {**claim, "better_at": [100]}]
    (found,) = compare_published(
        [{**table, "claims": claims}], runs_of("v", runs[0], (40, 100, 200, 400), runs[1:]), note=""
    )
    # 0.2 against (0.1 ** 2 + 0.1 ** 2) ** 0.5 = 0.14; 0.05 against the same
    assert found.note == (
        "Conclusion: x. Here: holds.\nConclusion: x. Here: not settled.\nConclusion: x. Here: not run."
    )


def test_networks_are_timed_once_and_in_turns(tmp_path, monkeypatch):
    recipe = load_recipe("idc-patches")
    asked = []

    def timed(record, *, settings, classes, most):
        asked.append(settings.network)
        assert most == settings.batch_size == 64
        return SimpleNamespace(step=len(asked) / 8)

    monkeypatch.setattr(runner, "time_training", timed)
    monkeypatch.setattr(
        ImageSet,
        "read",
        lambda image_set, reading: SimpleNamespace(records=["first"], classes=("0", "1")),
    )
    steps = {name: steps_of(recipe, name) for name in ("resnet", "alexnet", "over")}
    image_set = ImageSet(tmp_path, None, tmp_path)
    found = runner.training_times(recipe, steps, image_set, folder=tmp_path)
    assert asked == ["patch-resnet", "alexnet"] * 3
    assert found == {"resnet": [0.125, 0.375, 0.625], "alexnet": [0.25, 0.5, 0.75]}
    assert runner.training_times(recipe, steps, image_set, folder=tmp_path) == found
    assert len(asked) == 6
    (tmp_path / "training-time.csv").write_text("variant,seconds\nresnet,fast\n")
    assert runner.training_times(recipe, steps, image_set, folder=tmp_path).keys() == found.keys()
    assert len(asked) == 12
    assert (
        runner.training_times(load_recipe("ddsm-masses"), steps, image_set, folder=tmp_path) == {}
    )


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (
            {"better": ["a"], "than": ["b"], "least": 1},
            "the claim .* is of no form; give says and one of better, than; ",
        ),
        ({"alike": ["a", "b"], "margin": "0.02"}, "is of no form"),
        ({"better": "ab", "than": ["b"]}, "is of no form"),
        ({"better": ["a"], "than": ["bb"]}, "bb is not a row of it; choose one of a, b"),
    ],
)
def test_conclusions_of_no_known_form(claim, message):
    table = {"kind": "variants", "metric": "accuracy", "rows": {"a": None, "b": None}}
    with pytest.raises(InputError, match=message):
        check_claim("the table x", {"says": "x", **claim}, table)
    with pytest.raises(InputError, match=r"has no claim\.metric: its rows have several figures"):
        check_claim(
            "x",
            {"says": "x", "better": ["a"], "than": ["b"]},
            {"kind": "scores", "rows": {"a": {}, "b": {}}},
        )


@pytest.mark.parametrize("held", [True, False])
def test_the_fixed_list_is_apart_from_all_folds(tmp_path, held):
    """Six parts by hand: two images a patient and class, so each part has one patient of each class."""
    lines = ["path,label,group"]
    for k in range(24):
        (tmp_path / f"{k}.png").write_bytes(f"{k}".encode())
        lines.append(f"{tmp_path}/{k}.png,{('negative', 'positive')[k // 2 % 2]},p{k // 2}")
    (tmp_path / "images.csv").write_text("\n".join(lines))
    image_set = ImageSet(tmp_path / "images.csv", None, tmp_path / "run")
    fixed = FixedTest(1, FoldChoice(("6",)), Path("lists"), seed=0)
    choice = fixed.choice(image_set, FoldChoice(("5",)), reading={}, held=held)
    path = tmp_path / "run" / "lists" / f"5-fixed-test{'' if held else '-unvalidated'}.csv"
    assert choice == FoldChoice((str(path),))
    found = read_fold_list(path)
    tested = {image for image, _, part in found if part == "test"}
    assert len(tested) == 4
    assert all(
        {i for i, f, p in found if f == fold and p == "test"} == tested for fold in range(1, 6)
    )
    train = [{i for i, f, p in found if f == fold and p == "train"} for fold in range(1, 6)]
    assert all(len(one) == 16 and not one & tested for one in train)
    left = [{i for i, f, p in found if f == fold and p == "val"} for fold in range(1, 6)]
    assert [len(one) for one in left] == [4 if held else 0] * 5
    assert len(set.union(*train)) == 20
    every = fixed.choice(image_set, FoldChoice(("none",)), reading={}, held=False)
    assert every.folds == ("none",)
    assert set(every.test_list.read_text().split()[1:]) == tested
    with pytest.raises(InputError, match="test_fold 7: choose one of 1, 2, 3, 4, 5, 6"):
        FixedTest(7, FoldChoice(("6",)), Path("l"), seed=0).choice(
            image_set, FoldChoice(("5",)), reading={}, held=True
        )


@pytest.mark.parametrize(("wrong", "said"), [(1, "not settled"), (30, "holds")])
def test_rules_are_judged_over_images_too(tmp_path, wrong, said):
    """Of 40 images of three patches the vote is right everywhere, and one positive patch is wrong in some."""
    runs = []
    for seed in range(3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        lines = ["image_id,label,patch,p_benign,p_malignant"]
        for k in range(40):
            for patch in range(3):
                malignant = 0.9 if patch == 0 and k < wrong else 0.1
                lines.append(f"i{k},benign,{patch},{1 - malignant:.1f},{malignant}")
        lines += [f"m{k},malignant,{patch},0.1,0.9" for k in range(40) for patch in range(3)]
        (folder / "predictions-by-patch.csv").write_text("\n".join(lines) + "\n")
        shares = {"vote": 1.0, "exist": 1 - wrong / 80}
        content = {
            "tables": {
                f"x (image, {rule})": {"accuracy": {"value": share, "interval": None}}
                for rule, share in shares.items()
            },
            "run": {
                "classes": ["benign", "malignant"],
                "protocol": "p",
                "two_class": {"positive": ["malignant"], "rule": "sum", "thresholds": [0.5]},
            },
        }
        (folder / "metrics.json").write_text(json.dumps(content))
        runs.append({("v", None): replace(fake(tmp_path, "v", 20), folder=folder)})
    claim = {"says": "x", "better": ["vote"], "than": ["exist"]}
    rows = {"vote": None, "exist": None}
    found = judged("rules", rows, runs, variant="v", level="image", claim=claim)
    assert found.startswith(f"{said} (difference +{100 * wrong / 80:.1f} points, 95 % CI ")


@pytest.mark.parametrize("better", [4, 6, 8, 12, 16])
def test_a_conclusion_is_no_surer_than_its_interval(tmp_path, better):
    """Intervals of few images are shrunk to the middle, or end at 1: neither moves the end that is judged."""
    labels = np.arange(20) % 2
    tables = []
    for name, wrong in (("a", better), ("b", 0)):
        predicted = np.where(np.arange(20) < wrong, 1 - labels, labels)
        probabilities = np.eye(2)[predicted] * 0.8 + 0.1
        tables.append(
            PredictionTable(
                name=name,
                classes=("benign", "malignant"),
                image_ids=tuple(map(str, range(20))),
                labels=labels,
                probabilities=probabilities,
                predicted=predicted,
                folds=(None,) * 20,
                groups=(None,) * 20,
            )
        )
    of_accuracy = compare_tables(*tables)["differences"]["accuracy"]
    of_precision = precision_difference(*tables)
    for metric, found in (("accuracy", of_accuracy), ("precision", of_precision)):
        half = half_width(Shown(tables[1], (None, None)), Shown(tables[0], (None, None)), metric)
        assert half is not None
        assert found["value"] - half <= found["interval"][0] + 1e-12
        assert found["value"] + half >= found["interval"][1] - 1e-12
