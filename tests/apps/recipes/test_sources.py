"""What the recipes say of their sources: shares, words and tables, each against what the source prints."""

import csv
import json
from collections import Counter

import miniatures
import numpy as np
import pytest
from bchisto.apps.recipes import load_recipe
from bchisto.apps.recipes.tables import Obtained, Runs, compare_published
from bchisto.data import read_dataset
from bchisto.evaluate import Figure, Panel, PredictionTable, measure
from scipy.stats import t as student

GRADES = {"1": 67, "2": 220, "3": 23, "4a": 13, "4b": 8, "4c": 22, "5": 49, "6": 8}
"""The column Bi-Rads of INbreast.csv as released, 410 rows."""


def runs_of(first, obtained, magnifications=(None,), sizes=()):
    return Runs(first, obtained, magnifications, dict(sizes), tested={})


@pytest.fixture(scope="module")
def mammograms(tmp_path_factory):
    """How many images of each class the recipe's own rule gives of the full release."""
    root = tmp_path_factory.mktemp("full") / "INbreast"
    miniatures.write_inbreast(
        root, [grade for grade, count in GRADES.items() for _ in range(count)]
    )
    return Counter(record.label for record in read_dataset(root).records)


def shown(variant, counts):
    """Return how many images of each class a variant shows of all."""
    values = dict(load_recipe("inbreast-inception").steps_of(variant))["finetune"]
    factors = dict(text.split("=") for text in values["copies"])
    return {name: round(count * float(factors[name])) for name, count in counts.items()}


def test_copies_come_to_the_numbers_of_the_source(mammograms):
    assert mammograms == {"negative": 310, "positive": 100}
    # 39 % positive
    assert shown("cross-validation", mammograms) == {
        "negative": 3104,
        "positive": 1992,
    }


def test_balanced_copies_show_both_classes_equally_often(mammograms):
    found = shown("balanced-copies", mammograms)
    assert found["positive"] / sum(found.values()) == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize(
    ("name", "variant"), [("idc-patches", "image-level"), ("inbreast-inception", "image-level")]
)
def test_a_split_that_a_source_does_not_name_is_not_called_its_own(name, variant):
    assert "the source does not say" in load_recipe(name).variants[variant]["source"]


def test_no_early_stopping_differs_in_early_stopping_alone():
    recipe = load_recipe("breakhis-resnet")
    found = [dict(recipe.steps_of(name))["finetune"] for name in ("best", "no-early-stopping")]
    assert found[1] == {**found[0], "patience": "0"}


def ensemble(folder, right):
    """Write ten folds of ten images: `right[store]` of each fold are right, of ``two`` by the mean of its seeds only.

    The seeds of ``two`` disagree on the last of these: one is surer than the other and right.
    """
    folder.mkdir()
    columns = ["image_id", "label", "group", "fold", "p_benign", "p_malignant"]
    images = [(f"{fold}-{k}", fold, k) for fold in range(1, 11) for k in range(10)]
    rows, fused = [], []
    for name, fold, k in images:
        for store, seeds in (("one", 1), ("two", 2)):
            for seed in range(seeds):
                hit = k < right[store][fold - 1]
                sure = 0.9 if hit else 0.2
                if store == "two" and k == right[store][fold - 1] - 1:
                    sure = (0.4, 0.9)[seed]
                rows.append([name, "benign", "", fold, sure, 1 - sure, store, seed])
        hit = k < right["fusion"][fold - 1]
        fused.append([name, "benign", "", fold, 0.9 if hit else 0.1, 0.1 if hit else 0.9])
    files = (
        ("predictions-by-model.csv", [*columns, "store", "seed"], rows),
        ("predictions.csv", columns, fused),
    )
    for name, header, lines in files:
        with (folder / name).open("w", newline="") as handle:
            csv.writer(handle).writerows([header, *lines])
    table = PredictionTable.from_probabilities(
        name="fusion",
        classes=["benign", "malignant"],
        image_ids=[row[0] for row in fused],
        labels=["benign"] * 100,
        probabilities=np.array([row[4:] for row in fused]),
        folds=[row[3] for row in fused],
        groups=[None] * 100,
    )
    return Obtained(folder, Panel(table, {}))


def test_stores_by_hand(tmp_path):
    one, two, fusion = [6, 7, 8, 6, 7, 8, 6, 7, 8, 7], [8] * 10, [9, 9, 9, 9, 8, 9, 9, 9, 9, 9]
    runs = runs_of(
        "v", {("v", None): ensemble(tmp_path / "x", {"one": one, "two": two, "fusion": fusion})}
    )
    rows = {"one": None, "two": None, "Model fusion": {"value": 88.0, "folds": [88.0] * 10}}
    table = {"title": "x", "source": "x", "key": "g", "kind": "stores", "rows": rows}
    ((first, second, fused),) = (
        table.figures for table in compare_published([table], runs, note="")
    )
    assert (first.obtained, first.obtained_spread) == pytest.approx((70.0, 10 * np.std(one)))
    # over folds and seeds, which have 70 and 80
    assert (second.obtained, second.obtained_spread) == pytest.approx((75.0, 5.0))
    changes = 10.0 * np.array(fusion) - 88
    # Nadeau & Bengio 2003
    half = student.ppf(0.975, 9) * (changes.var(ddof=1) * (1 / 10 + 1 / 9)) ** 0.5
    assert fused.obtained == pytest.approx(89.0)
    assert fused.paired == pytest.approx((changes.mean() - half, changes.mean() + half))


def patients(folder, name, right):
    """Forty patients of two images; `right` of them are called right."""
    folder.mkdir()
    hit = np.repeat(np.arange(40) < right, 2)
    labels = np.repeat(np.arange(40) % 2, 2)
    called = np.where(hit, labels, 1 - labels)
    table = PredictionTable.from_probabilities(
        name=name,
        classes=["benign", "malignant"],
        image_ids=[f"{k}.png" for k in range(80)],
        labels=[("benign", "malignant")[k] for k in labels],
        probabilities=0.1 + 0.8 * np.eye(2)[called],
        folds=[1] * 80,
        groups=[f"p{k // 2}" for k in range(80)],
    )
    metrics = measure(table, bootstrap=50)
    (folder / "metrics.json").write_text(
        json.dumps({"tables": {name: metrics}}, default=Figure.json)
    )
    return Obtained(folder, Panel(table, metrics))


def test_networks_are_compared_by_f1_and_by_patients(tmp_path):
    tables = [
        table
        for table in load_recipe("breakhis-resnet").published
        if table["key"] in ("papers-f1", "papers-patients")
    ]
    runs = {
        (name, 40): patients(tmp_path / name, name, right)
        for name, right in (("best", 39), ("decaf", 16))
    }
    for table in compare_published(tables, runs_of("best", runs, (40, 100)), note=""):
        by_name = {figure.name: figure.obtained for figure in table.figures}
        assert by_name["decaf at 40x"] == pytest.approx(40.0)


def test_parameters_are_counted(tmp_path):
    tables = [
        table
        for name in ("idc-patches", "ddsm-masses")
        for table in load_recipe(name).published
        if table["key"] == "parameters"
    ]
    names = ("alexnet", "resnet", "densenet", "googlenet")
    seed = {(name, None): patients(tmp_path / name, name, 30) for name in names}
    sizes = {"alexnet": 56_876_418, "resnet": 273_522, "densenet": 163_298, "googlenet": 5_975_602}
    few, fewer = compare_published(
        tables, runs_of("resnet", seed, sizes=sizes), note="Not comparable (quick)."
    )
    assert [figure.obtained for figure in few.figures] == pytest.approx(
        [56.876418, 0.273522, 0.163298]
    )
    assert [(figure.published, round(figure.obtained, 1)) for figure in fewer.figures] == [
        (5, 6.0),
        (100, 56.9),
    ]
