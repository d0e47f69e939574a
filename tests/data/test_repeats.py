"""Repeated cross-validation: the splits of several seeds as one protocol."""

import csv
import json
import shutil
from collections import Counter

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.data import FoldChoice, fold_plan
from sklearn.model_selection import StratifiedKFold

IMAGES = [f"{label}/{number}.png" for label in "ab" for number in range(12)]
LABELS = [image[0] for image in IMAGES]
PATIENTS = [f"p{place // 3}" for place in range(24)]


def plans(choice, groups=(None,) * 24, seed=5):
    return choice.plans(IMAGES, labels=LABELS, groups=groups, seed=seed, default="3")


def test_each_split_is_that_of_its_seed():
    (plan,) = plans(FoldChoice(("4",), repeats=3))
    assert (plan.name, plan.folds, plan.partition, plan.repeats) == ("4-repeated3", list(range(1, 13)), False, 3)
    for split in range(3):
        splitter = StratifiedKFold(4, shuffle=True, random_state=5 + split)
        for place, (train, test) in enumerate(splitter.split(np.zeros(24), LABELS), start=1 + 4 * split):
            assert plan.images(place, "test") == sorted(IMAGES[i] for i in test)
            assert plan.images(place, "train") == sorted(IMAGES[i] for i in train)


def test_patients_stay_whole_in_every_split():
    grouped, shares = plans(FoldChoice(("2", "50/25/25"), repeats=2), groups=PATIENTS)
    assert (grouped.name, shares.name) == ("2-grouped-repeated2", "50-25-25-grouped-repeated2")
    assert shares.folds == [1, 2]
    owner = dict(zip(IMAGES, PATIENTS, strict=True))
    for plan in (grouped, shares):
        for fold in plan.folds:
            parts = [{owner[i] for i in plan.images(fold, part)} for part in ("train", "test")]
            assert not parts[0] & parts[1]


def test_warnings_say_of_which_split_they_are():
    groups = ["p0", "p1", "p2", "p3"] * 4 + ["p4", "p4", "p5", "p5", "p6", "p6", "p7", "p7"]
    (plan,) = plans(FoldChoice(("2",), group_by="none", repeats=2), groups=groups)
    assert [text[:14] for text in plan.warnings] == ["split 1 of 2: ", "split 2 of 2: "]
    assert len({text[14:] for text in plan.warnings}) == 2
    (plan,) = plans(FoldChoice(("2",), group_by="none", repeats=2), groups=[None, *PATIENTS[1:]])
    assert plan.warnings[0].startswith("image-level folds on grouped data: 7 of 8 ")  # what all splits say is said once
    (plan,) = plans(FoldChoice(("2",), repeats=2))
    assert plan.warnings == ()


def test_one_split_is_what_it_always_was():
    (plan,) = plans(FoldChoice(("4",), repeats=1))
    assert plan == fold_plan("4", image_ids=IMAGES, labels=LABELS, groups=[None] * 24, seed=5)


def test_fixed_folds_are_not_repeated(tmp_path):
    (tmp_path / "mine.csv").write_text("image_id,fold\n" + "".join(f"{i},{n % 3}\n" for n, i in enumerate(IMAGES)))
    with pytest.raises(InputError, match="`repeats` 2: goes with folds that are drawn, not with mine, which are fixed"):
        plans(FoldChoice((str(tmp_path / "mine.csv"),), repeats=2))
    with pytest.raises(InputError, match="`repeats` 0: give at least 1"):
        FoldChoice(repeats=0)


def test_a_file_of_such_a_name_is_told_apart(tmp_path):
    (tmp_path / "4-repeated3.csv").write_text(
        "image_id,fold\n" + "".join(f"{i},{n % 3}\n" for n, i in enumerate(IMAGES))
    )
    (plan,) = plans(FoldChoice((str(tmp_path / "4-repeated3.csv"),)))
    assert plan.name == "4-repeated3-file"


def test_repeated_cross_validation_by_the_command_line(cli, described, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(described, run)
    trained = ("boost", "--out", run, "--folds", 3, "--repeats", 2, "--seeds", 2, "--preset", "quick", "--jobs", 1)
    code, out, err = cli(*trained, "--param", "num_iterations=5", "--param", "min_data_in_leaf=2")
    assert code == 0, err
    assert "3 stratified image-level folds, on 2 splits (seeds 0 to 1)" in out
    folder = run / "boost" / "3-repeated2-lightgbm"
    with (folder / "predictions.csv").open() as handle:
        tested = Counter(row["image_id"] for row in csv.DictReader(handle))
    assert set(tested.values()) == {2}
    spread = json.loads((folder / "metrics.json").read_text())["run"]["variance"]
    assert (spread["seeds"], spread["folds"], spread["splits"]) == (2, 3, 2)
    assert all(spread[name] is not None for name in ("seed", "fold", "split"))
    assert "The spread of the accuracy (standard deviation, points) is " in (folder / "report.html").read_text()
    (boost,) = (json.loads(path.read_text()) for path in (run / "records").glob("*boost*"))
    assert boost["config"]["repeats"] == 2
