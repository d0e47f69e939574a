"""What the recipes say, the steps that follow from it, and how figures are compared."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bchisto.apps.recipes import list_recipes, load_recipe
from bchisto.apps.recipes.image_sets import ImageSet
from bchisto.apps.recipes.recipe import ReproduceRequest
from bchisto.apps.recipes.runner import comparable_note
from bchisto.apps.recipes.settings import build_steps
from bchisto.apps.recipes.steps import BoostStep, FeaturizeStep, FinetuneStep, FixedTest
from bchisto.apps.recipes.tables import Obtained, Runs, compare_published, rows_of
from bchisto.boost import BoostSettings, model_params
from bchisto.core import Banner, InputError, Kind, as_banner
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
from bchisto.featurize import FeaturizeSettings
from bchisto.finetune import FinetuneSettings
from bchisto.finetune.model import untrained_notice
from statsmodels.stats.proportion import proportion_confint

SYSTEMS = ("rakhlin2018", "breakhis-resnet", "idc-patches", "inbreast-inception", "ddsm-masses")


def runs_of(first, obtained, magnifications=(None,)):
    return Runs(first, obtained, magnifications, parameters={}, tested={})


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
        if table.get("kind", "figures") == "figures":
            named = {row.get("variant", row_name) for row_name, row in rows_of(table)}
            assert named <= set(recipe.variants)


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
    printed = [
        tables["test"][f"googlenet: {name}"]["value"]
        for name in ("accuracy", "precision", "recall")
    ]
    assert printed == [0.929, 0.924, 0.934]
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
    remarks = [as_banner(remark) for remark in masses.remarks]
    assert comparable_note(remarks) == "Not comparable (random start)."
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
        {},
        BoostSettings(call="plain"),
        describe.settings,
        FoldChoice(("rakhlin10",)),
        TwoClassView(rule="max"),
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
    """As docs/reproduce.md states: the published rule has no other seed than member and fold."""
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


def fake(tmp_path, name, right, *, folds=1):
    """A table of 20 images, of which some are called right."""
    labels = ["benign", "malignant"] * 10
    p = np.array([[0.9, 0.1] if (k % 2 == 0) == (k < right) else [0.1, 0.9] for k in range(20)])
    table = PredictionTable.from_probabilities(
        name=name,
        classes=["benign", "malignant"],
        image_ids=[f"{k}.png" for k in range(20)],
        labels=labels,
        probabilities=p,
        folds=[1 + k % folds for k in range(20)],
        groups=[None] * 20,
    )
    return Obtained(tmp_path, Panel(table, measure(table, bootstrap=50)))


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


def shown(tmp_path, metrics, *, folds=1, **table):
    """Return the figures of a table of one run with these metrics, by the names of their rows."""
    run = fake(tmp_path, "v", 15, folds=folds)
    (tmp_path / "metrics.json").write_text(json.dumps(metrics, default=Figure.json))
    table = {"key": "x", "title": "x", "source": "x", **table}
    compared = compare_published([table], runs_of("v", {("v", None): run}), note="")
    return {figure.name: figure for one in compared for figure in one.figures}


def test_the_validation_part_and_the_last_epoch_are_shown(tmp_path):
    table = fake(tmp_path, "v", 12).panel.table
    labels = [table.classes[label] for label in table.labels]
    write_predictions(
        tmp_path / "predictions-validation.csv",
        classes=table.classes,
        rows=[*zip(table.image_ids, labels, table.groups, table.folds, strict=True)],
        probabilities=table.probabilities,
    )
    validation = {"level": "validation", "path": "accuracy"}
    validated = shown(tmp_path, {}, **validation, rows={"v": 90, "other": 66})
    assert [figure.published for figure in validated.values()] == [90, 66]
    assert (validated["v"].obtained, validated["other"].obtained) == (pytest.approx(60), None)
    (tmp_path / "predictions-validation.csv").unlink()
    assert shown(tmp_path, {}, **validation, rows={"v": 90}) == {}
    curves = {
        str(fold): {"accuracy": [0.1, end], "val_accuracy": [0.5, 0.5]}
        for fold, end in ((1, 0.9), (2, 0.7))
    }
    gap = shown(tmp_path, {"run": {"curves": curves}}, path="gap", rows={"v": None})
    assert gap["v"].obtained == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("path", "level"),
    [("auc", "fold x"), *((path, "") for path in ("per_class benign", "classes", "classes 0"))],
)
def test_a_path_without_a_figure_gives_none(path, level, tmp_path):
    assert shown(tmp_path, {}, level=level, path=path, rows={"v": None}) == {}


def test_figures_of_folds_have_the_unit_of_the_figure(tmp_path):
    for factor, form in ((100, {}), (1, {"digits": 3}), (1000, {"times": 1000})):
        table = {**form, "path": "accuracy", "rows": {"v": {"folds": [0.8 * factor, 0.7 * factor]}}}
        figure = shown(tmp_path, {}, folds=2, **table)["v"]
        assert (figure.obtained, figure.obtained_spread) == pytest.approx(
            (0.75 * factor, 0.05 * factor)
        )
        assert figure.paired == pytest.approx((0, 0))


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
    choice = fixed.write_lists(image_set, FoldChoice(("5",)), reading={}, held=held)
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
    every = fixed.write_lists(image_set, FoldChoice(("none",)), reading={}, held=False)
    assert every.folds == ("none",)
    assert set(every.test_list.read_text().split()[1:]) == tested
    (step,) = steps_of(load_recipe("inbreast-inception"), "all-data")
    with pytest.raises(InputError, match="test_fold 7: choose one of 1, 2, 3, 4, 5, 6"):
        replace(step, reading={}, test=fixed._replace(fold=7)).check(image_set)
