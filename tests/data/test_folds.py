"""Folds that are drawn, published, given or repeated, and what is said of them."""

import shutil
from collections import Counter

import numpy as np
import pytest
from bchisto.core import InputError, MissingInputError, limited
from bchisto.data import (
    DatasetFacts,
    FoldChoice,
    fold_plan,
    protocol_text,
    published_folds,
    read_dataset,
)
from bchisto.data.dataset import read_dataset_facts, write_dataset_facts
from bchisto.data.folds.folds import read_fold_list, write_fold_list
from conftest import typed
from refusals import refuses
from sample_trees import bach_columns, columns_of, tree
from sklearn.model_selection import StratifiedKFold
from written_tables import read_json, rows_of


def images(count, classes=("a", "b"), groups=None):
    ids = [f"i{number:03d}.png" for number in range(count)]
    labels = [classes[number % len(classes)] for number in range(count)]
    return {"image_ids": ids, "labels": labels, "groups": groups or [None] * count}


def write_partition(path, folds, header="image_id,fold"):
    path.write_text(header + "\n" + "".join(f"{image},{fold}\n" for image, fold in folds.items()))
    return path


def test_stratified_folds_partition_the_images():
    data = images(40)
    plan = fold_plan("10", **data)
    assert (plan.name, plan.partition, plan.folds) == ("10", True, list(range(1, 11)))
    assert Counter(image for fold in plan.folds for image in plan.images(fold, "test")) == Counter(
        data["image_ids"]
    )
    labels = dict(zip(data["image_ids"], data["labels"], strict=True))
    for fold in plan.folds:
        assert Counter(labels[image] for image in plan.images(fold, "test")) == {"a": 2, "b": 2}
        assert set(plan.images(fold, "train")).isdisjoint(plan.images(fold, "test"))
        assert len(plan.images(fold, "train")) == 36


@pytest.mark.parametrize(
    ("spec", "changes", "message"),
    [
        (
            "10",
            {"count": 12},
            r"class a has 6 images, fewer than the 10 folds; use `folds=6`, or add images",
        ),
        ("1", {}, r"`folds` 1: give at least 2 folds"),
        (
            "5",
            {"groups": ["p", "q"] * 20},
            r"all \d+ images of class a are of one patient \(p\); add images of a second patient with class a",
        ),
        (
            "nothing",
            {},
            r"nor shares like 70/30 or 80/10/10, nor one of folder, site:COLUMN, rakhlin10, .*, nor a file",
        ),
        (
            "rakhlin10",
            {},
            r"`folds` rakhlin10: 400 of its 400 rows name images that are missing, first b008\.tif",
        ),
    ],
)
def test_what_does_not_fit(spec, changes, message):
    data = images(changes.get("count", 40), groups=changes.get("groups"))
    refuses((InputError, MissingInputError), message, fold_plan, spec, **data)


def test_rakhlin10_is_the_published_list(shared):
    rows = rows_of(shared / "reference" / "rakhlin2018" / "crossvalidation.csv")
    published = {row["image_id"]: int(row["fold"]) for row in rows}
    plan = fold_plan("rakhlin10", **bach_columns())
    assert plan.folds == list(range(1, 11))
    assert {i: fold for i, fold, part in plan.rows if part == "test"} == published
    for fold in plan.folds:
        assert len(plan.images(fold, "test")) == 40
        assert len(plan.images(fold, "train")) == 360


def test_eva_is_one_fold_of_268_and_132(shared):
    rows = rows_of(shared / "data" / "tables" / "bach" / "eva_split.csv")
    tested = {row["file"].split("/")[1] for row in rows if row["split"] == "val"}
    plan = fold_plan("eva", **bach_columns())
    assert (plan.partition, plan.folds) == (False, [1])
    assert len(plan.images(1, "train")) == 268
    assert set(plan.images(1, "test")) == tested


def test_thunder_is_eva_with_fifty_images_set_aside():
    plan, eva = (fold_plan(name, **bach_columns()) for name in ("thunder", "eva"))
    train, val, test = (set(plan.images(1, part)) for part in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (218, 50, 132)
    assert test == set(eva.images(1, "test"))
    assert train | val == set(eva.images(1, "train"))
    assert {"b016.tif", "b025.tif", "is011.tif", "iv010.tif", "n006.tif", "n090.tif"} <= val


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,fold\nx,1\n", "the header must have a column `image_id`"),
        ("image_id,fold\n", "has no rows"),
        ("image_id,fold\ni000.png,one\n", r":2: fold 'one' is not a whole number"),
        ("image_id,fold\ni000.png,1\ni000.png,2\n", r":3: i000\.png is listed twice"),
        ("image_id,fold,part\ni000.png,1,exam\n", r":2: part 'exam' is none of train, val, test"),
        (
            "image_id,fold\n" + "".join(f"i00{n}.png,1\n" for n in range(4)),
            "no image of class a, b trains in fold 1",
        ),
        ("image_id,fold\ni000.png,1\ni001.png,2\n", "2 images in no fold, first i002.png"),
        (
            "image_id,fold,part\ni000.png,1,train\ni001.png,1,train\n",
            "no image tests in fold 1; correct the list",
        ),
        (
            "image_id,fold,part\ni000.png,1,train\ni001.png,1,test\n",
            "no image of class b trains in fold 1",
        ),
    ],
)
def test_lists_that_do_not_fit(tmp_path, text, message):
    (tmp_path / "mine.csv").write_text(text)
    refuses(InputError, message, fold_plan, str(tmp_path / "mine.csv"), **images(4))


def test_folds_that_pandas_wrote_with_gaps(tmp_path):
    folds = {f"i00{n}.png": f"{n // 2}.0" for n in range(4)}
    path = write_partition(tmp_path / "mine.csv", folds)
    assert fold_plan(str(path), **images(4)).folds == [0, 1]


def test_hold_outs_may_leave_images_out(tmp_path):
    rows = "i000.png,1,train\ni001.png,1,train\ni002.png,1,test\ni002.png,2,train\ni003.png,2,train\ni000.png,2,test\n"
    (tmp_path / "hold.csv").write_text("image_id,fold,part\n" + rows)
    plan = fold_plan(str(tmp_path / "hold.csv"), **images(6))
    assert plan.warnings == ("2 images in no fold of hold left out",)
    assert plan.images(2, "test") == ["i000.png"]


@pytest.mark.parametrize("spec", ["5", "hold"])
def test_written_lists_read_back(tmp_path, spec):
    data = images(20)
    if spec == "hold":
        rows = "".join(f"i{n:03d}.png,1,{'test' if n < 6 else 'train'}\n" for n in range(20))
        (tmp_path / "hold.csv").write_text("image_id,fold,part\n" + rows)
        spec = str(tmp_path / "hold.csv")
    plan = fold_plan(spec, **data)
    labels = dict(zip(data["image_ids"], data["labels"], strict=True))
    write_fold_list(tmp_path / "folds.csv", plan, labels=labels, groups=dict.fromkeys(labels))
    again = fold_plan(str(tmp_path / "folds.csv"), **data)
    assert sorted(again.rows) == sorted(plan.rows)
    assert read_fold_list(tmp_path / "folds.csv")


def official_names(shared):
    return rows_of(shared / "data" / "tables" / "breakhis" / "official_folds.csv")


def breakhis(names):
    return {
        "image_ids": names,
        "labels": ["benign" if name[4] == "B" else "malignant" for name in names],
        "groups": ["-".join(name.split("-")[1:3]) for name in names],
    }


def test_the_official_folds_of_breakhis(shared):
    rows = official_names(shared)
    plan = fold_plan("official", **breakhis([row["image"] for row in rows]))
    assert (plan.partition, plan.folds) == (False, [1, 2, 3, 4, 5])
    for fold in plan.folds:
        expected = sorted(row["image"] for row in rows if row[f"fold{fold}"] == "test")
        assert plan.images(fold, "test") == expected
        assert len(plan.images(fold, "train")) == 7909 - len(expected)
    assert plan.warnings == (
        "IMAGE-LEVEL FOLDS: 1 of 81 patients with several images both train and test in a "
        "fold, so these numbers are too high for new patients",
    )


def test_the_corrected_official_folds_do_not_leak(shared):
    data = breakhis([row["image"] for row in official_names(shared)])
    plan, corrected = fold_plan("official", **data), fold_plan("official-corrected", **data)
    assert corrected.warnings == ()
    gone = set(plan.rows) - set(corrected.rows)
    assert {fold for _, fold, _ in gone} == {1, 3, 5}
    assert all("14-13412" in image and part == "train" for image, _, part in gone)


def test_the_published_lists_of_idc(shared):
    plan = fold_plan("idc-published", **columns_of(read_dataset(shared / "data" / "idc")))
    lists = {
        part: set((shared / "data" / "tables" / "idc" / f"cases_{part}.txt").read_text().split())
        for part in ("train", "val", "test")
    }
    for part, slides in lists.items():
        assert {image.split("_")[0] for image in plan.images(1, part)} <= slides
    assert "3 slides in no published list left out (8863, 8950, 8984)" in plan.warnings[0]
    assert "of the 162 published slides are present" in plan.warnings[1]


def holdout(groups, labels, spec="80/10/10", seed=0, group_by=None):
    ids = [f"{place:03d}" for place in range(len(labels))]
    plan = fold_plan(
        spec, image_ids=ids, labels=labels, groups=groups, seed=seed, group_by=group_by
    )
    label, group = dict(zip(ids, labels, strict=True)), dict(zip(ids, groups, strict=True))
    return plan, label, group


def test_holdout_is_by_patient_and_balanced(rng):
    labels = ["benign"] * 110 + ["malignant"] * 90
    groups = [f"p{i // 2}" if i % 7 else f"q{i}" for i in range(200)]
    plan, label, group = holdout(groups, labels)
    assert (plan.name, plan.partition, plan.warnings) == ("80-10-10-grouped", False, ())
    owners = {}
    for part, expected in (("train", 160), ("val", 20), ("test", 20)):
        images = plan.images(1, part)
        assert len(images) == expected
        owners[part] = {group[image] for image in images}
        if part != "train":
            assert Counter(label[image] for image in images) == {"benign": 10, "malignant": 10}
    assert owners["train"].isdisjoint(owners["val"] | owners["test"])
    assert owners["val"].isdisjoint(owners["test"])
    assert holdout(groups, labels)[0] == plan
    assert holdout(groups, labels, seed=1)[0] != plan
    assert holdout(groups, labels, group_by="none")[0].name == "80-10-10"


def test_holdout_leaves_surplus_images_out(rng):
    labels = ["benign"] * 30 + ["malignant"] * 30
    groups = [f"p{i}" for i in range(30)] + [f"q{i // 2}" for i in range(30)]
    plan, label, _ = holdout(groups, labels)
    for part in ("val", "test"):
        assert Counter(label[image] for image in plan.images(1, part)) == {
            "benign": 3,
            "malignant": 3,
        }
    assert len(plan.rows) == 58
    assert plan.warnings == (
        "1 image in the test part left out, so that it holds as many of each class",
        "1 image in the val part left out, so that it holds as many of each class",
    )


def test_holdout_that_cannot_be_balanced_says_so():
    labels = ["benign"] * 30 + ["malignant"] * 30
    groups = [f"p{i}" for i in range(30)] + ["q"] * 28 + ["r", "s"]
    plan, _, _ = holdout(groups, labels)
    assert any(
        "part is not balanced, too few groups or images hold a class" in warning
        for warning in plan.warnings
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("80/10/20", "add up to 100"),
        ("90/10/0", "add up to 100"),
        ("10/45/45", "class b has 5 images; a balanced split"),
    ],
)
def test_holdout_shares_that_do_not_work(spec, message):
    refuses(InputError, message, holdout, [None] * 40, ["a"] * 35 + ["b"] * 5, spec=spec)


def test_one_image_under_two_spellings_is_refused(tmp_path):
    data = {
        "image_ids": ["A/a1.png", "A/a2.png", "B/b1.png", "B/b2.png"],
        "labels": list("aabb"),
        "groups": [None] * 4,
    }
    path = tmp_path / "mine.csv"
    path.write_text("image_id,fold\nA/a1.png,1\na1.png,2\nA/a2.png,2\nB/b1.png,1\nB/b2.png,2\n")
    with pytest.raises(
        InputError, match=r"mine\.csv: 1 of its 5 rows .*, first a1\.png .* one image of its own"
    ):
        fold_plan(str(path), **data)
    path.write_text(
        "image_id,fold,part\nA/a1.png,1,train\na1.png,1,test\nB/b1.png,1,train\nb2.png,1,test\n"
    )
    with pytest.raises(
        InputError, match=r"1 of its 4 rows .*, first a1\.png .* one image of its own"
    ):
        fold_plan(str(path), **data)
    path.write_text("image_id\nA/a1.png\na1.png\n")
    with pytest.raises(
        InputError,
        match=r"`test_list` .*: 1 of its 2 rows .*, first a1\.png .* one image of its own",
    ):
        fold_plan("none", **data, test_list=path)


@pytest.mark.parametrize(
    "name",
    [
        "rakhlin10",
        "eva",
        "thunder",
        "official",
        "idc-published",
        "none",
        "10",
        "5-grouped",
        "4-repeated3",
    ],
)
def test_a_list_of_ones_own_is_never_called_another_protocol(tmp_path, name):
    data = images(8)
    path = write_partition(
        tmp_path / f"{name}.csv",
        {image: n % 4 // 2 + 1 for n, image in enumerate(data["image_ids"])},
    )
    plan = fold_plan(str(path), **data)
    assert (plan.name, plan.origin) == (f"{name}-file", "file")
    assert protocol_text(plan, seed=0) == f"{name}-file: a given fold list"


def test_a_published_list_from_a_file_is_a_given_list(tmp_path):
    data = bach_columns()
    folds = {image: fold for image, fold, _ in published_folds("rakhlin10")}
    said = "rakhlin10: the ten published stratified folds, image-level (patients of 145 of the 400 images known)"
    built_in = fold_plan("rakhlin10", **data)
    assert protocol_text(built_in, seed=0) == said
    same = fold_plan(str(write_partition(tmp_path / "rakhlin10.csv", folds)), **data)
    assert (same.sha256, protocol_text(same, seed=0)) == (
        built_in.sha256,
        "rakhlin10-file: a given fold list",
    )
    renamed = fold_plan(
        str(write_partition(tmp_path / "mine.csv", folds, " Image ID, Fold")), **data
    )
    assert (renamed.sha256, protocol_text(renamed, seed=0)) == (
        built_in.sha256,
        "mine: a given fold list",
    )


def test_only_images_that_failed_may_be_absent(tmp_path):
    data = bach_columns()
    kept = {key: values[2:] for key, values in data.items()}
    gone = data["image_ids"][:2]
    with pytest.raises(
        InputError, match="`folds` rakhlin10: 2 of its 400 rows name images that are missing"
    ):
        fold_plan("rakhlin10", **kept)
    with pytest.raises(
        InputError, match=f"1 of its 400 rows name images that are missing, first {gone[1]}"
    ):
        fold_plan("rakhlin10", **kept, known=DatasetFacts(failed=gone[:1]))
    plan = fold_plan("rakhlin10", **kept, known=DatasetFacts(failed=gone))
    assert plan.warnings == (
        f"2 images could not be used and are in no fold: {', '.join(sorted(gone))}",
    )
    assert len({image for image, _, _ in plan.rows}) == 398
    assert protocol_text(plan, seed=0).startswith("rakhlin10: the ten published")
    assert fold_plan("5", **kept, known=DatasetFacts(failed=gone)).warnings == plan.warnings
    (tmp_path / "l.csv").write_text("image_id\n" + "\n".join(data["image_ids"][:5]))
    assert (
        len(
            fold_plan(
                "none", **kept, known=DatasetFacts(failed=gone), test_list=tmp_path / "l.csv"
            ).images(1, "test")
        )
        == 3
    )


def test_failed_images_are_in_no_file(tmp_path):
    for name, failed in (("none", ()), ("some", {"a.png"})):
        write_dataset_facts(
            tmp_path / name, DatasetFacts(groups={"b.png": "p"}, failed=failed), images_sha256="0"
        )
    assert (tmp_path / "none").read_bytes() == (tmp_path / "some").read_bytes()
    assert read_dataset_facts(tmp_path / "some", images_sha256="0") == DatasetFacts(
        groups={"b.png": "p"}
    )


def test_split_protocols_are_described(rng):
    data = images(40, groups=[f"p{number // 4}" for number in range(40)])
    assert protocol_text(fold_plan("5", **data, seed=3), seed=3) == (
        "5 stratified folds that keep patients or slides whole (seed 3)"
    )
    assert (
        protocol_text(fold_plan("5", **images(40)), seed=0)
        == "5 stratified image-level folds (seed 0)"
    )
    assert protocol_text(fold_plan("none", **images(4)), seed=0).startswith(
        "none: trained on every image"
    )
    assert protocol_text(fold_plan("80/10/10", **images(40)), seed=0).startswith(
        "80/10/10 to train, validate and test"
    )


# splits that came with the images, and hold-outs by two shares


@pytest.mark.parametrize(("column", "name"), [("part", "Part"), ("split", "SPLIT ")])
def test_a_column_of_a_manifest(tmp_path, completed, column, name):
    tree(tmp_path, *(f"{n}.png" for n in range(6)))
    parts = ["train", "Training", "validation", "val", "test", "TEST"]
    rows = [f"{n}.png,{'ab'[n % 2]},{part}" for n, part in enumerate(parts)]
    (tmp_path / "m.csv").write_text("\n".join([f"path,label,{name}", *rows]))
    completed("data check --images T/m.csv --folds folder --write-folds T/f.csv")
    written = [row["part"] for row in rows_of(tmp_path / "f.csv")]
    assert written == ["train"] * 2 + ["val"] * 2 + ["test"] * 2


LABELS = list("abababab")
IDS = [f"{n}.png" for n in range(8)]


def plan(spec="folder", parts=None, ids=IDS, labels=LABELS, groups=None, **more):
    known = DatasetFacts(
        columns={} if parts is None else {"part": dict(zip(ids, parts, strict=False))}
    )
    return fold_plan(
        spec, image_ids=ids, labels=labels, groups=groups or [None] * len(ids), known=known, **more
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            None,
            "`folds` folder: no split came with these images; put their class folders below train and test, or name",
        ),
        (["train"] * 4 + ["cohort"] * 4, "no split came with these images"),
        (
            ["train"] * 4 + ["test"] * 2,
            r"2 of 8 images name no part in the column part, first 6\.png; fill it in",
        ),
        (["train"] * 8, "no image tests in fold 1; move images between its parts"),
        (
            ["val"] * 4 + ["test"] * 4,
            "no image of class a, b trains in fold 1; move images between",
        ),
        (["train", "test"] * 4, "no image of class b trains in fold 1"),
    ],
)
def test_splits_that_are_refused(parts, message):
    refuses(InputError, message, plan, parts=parts)


def test_what_is_said_of_folds_that_mix():
    parts = ["train"] * 4 + ["test"] * 4
    assert plan(parts=parts).warnings == ()
    assert plan("2", parts=parts).warnings == (
        "the images came split (column part: train, test), and these folds mix the parts",
    )
    assert plan("2", parts=["train"] * 8).warnings == ()
    assert plan("2", parts=["left", "right"] * 4).warnings == ()
    groups = ["p"] * 8
    assert "IMAGE-LEVEL FOLDS: 1 of 1 patient " in plan(parts=parts, groups=groups).warnings[0]
    known = DatasetFacts(columns={"part": dict(zip(IDS, parts, strict=True))})
    with pytest.raises(
        InputError, match="`repeats` 2: goes with folds that are drawn, not with folder"
    ):
        FoldChoice("folder", repeats=2).plans(
            IDS, labels=LABELS, groups=[None] * 8, seed=0, default="2", known=known
        )


def test_two_shares_are_stratified():
    """Of 70 and 30 images 21 and 9 test; none is left out, and a seed moves them."""
    labels = ["a"] * 70 + ["b"] * 30
    ids = [f"{n:03d}" for n in range(100)]
    found = plan("70/30", ids=ids, labels=labels)
    assert (found.name, len(found.rows), found.warnings) == ("70-30", 100, ())
    tested = set(found.images(1, "test"))
    assert Counter(labels[int(image)] for image in tested) == {"a": 21, "b": 9}
    assert plan("70/30", ids=ids, labels=labels).rows == found.rows
    assert plan("70/30", ids=ids, labels=labels, seed=1).rows != found.rows
    assert (
        protocol_text(found, seed=0)
        == "70/30 to train and test once, image-level, stratified (seed 0)"
    )


def test_near_duplicates_are_not_said_to_be_groups():
    ids = [f"{n:02d}" for n in range(20)]
    known = DatasetFacts(copies=tuple((ids[10], copy) for copy in ids[11:19]))
    columns = {"image_ids": ids, "labels": ["a"] * 10 + ["b"] * 10, "groups": [None] * 20}
    assert fold_plan("70/30", **columns, known=known).warnings[0] == (
        "groups or near-duplicates are kept together, so the test set does not hold 30 % of every class: b 1 of 10"
    )


def test_a_class_of_one_image_is_not_split():
    with pytest.raises(
        InputError, match="class b has 1 image; a split needs one to train and one to test"
    ):
        plan("70/30", ids=IDS[:3], labels=["a", "a", "b"])


# repeated cross-validation: the splits of several seeds as one protocol

NAMES = [f"{label}/{number}.png" for label in "ab" for number in range(12)]
LABELS_OF = [image[0] for image in NAMES]
PATIENTS = [f"p{place // 3}" for place in range(24)]


def splits_of(choice, groups=(None,) * 24, seed=5):
    return choice.plans(NAMES, labels=LABELS_OF, groups=groups, seed=seed, default="3")


def test_each_split_is_that_of_its_seed():
    (plan,) = splits_of(FoldChoice(("4",), repeats=3))
    assert (plan.name, plan.folds, plan.partition, plan.repeats) == (
        "4-repeated3",
        list(range(1, 13)),
        False,
        3,
    )
    for split in range(3):
        splitter = StratifiedKFold(4, shuffle=True, random_state=5 + split)
        for place, (train, test) in enumerate(
            splitter.split(np.zeros(24), LABELS_OF), start=1 + 4 * split
        ):
            assert plan.images(place, "test") == sorted(NAMES[i] for i in test)
            assert plan.images(place, "train") == sorted(NAMES[i] for i in train)


def test_patients_stay_whole_in_every_split():
    grouped, shares = splits_of(FoldChoice(("2", "50/25/25"), repeats=2), groups=PATIENTS)
    assert (grouped.name, shares.name) == ("2-grouped-repeated2", "50-25-25-grouped-repeated2")
    assert shares.folds == [1, 2]
    owner = dict(zip(NAMES, PATIENTS, strict=True))
    for plan in (grouped, shares):
        for fold in plan.folds:
            parts = [{owner[i] for i in plan.images(fold, part)} for part in ("train", "test")]
            assert not parts[0] & parts[1]


def test_warnings_of_all_splits_are_said_once():
    groups = ["p0", "p1", "p2", "p3"] * 4 + ["p4", "p4", "p5", "p5", "p6", "p6", "p7", "p7"]
    (plan,) = splits_of(FoldChoice(("2",), group_by="none", repeats=2), groups=groups)
    assert len(plan.warnings) == 2
    (plan,) = splits_of(
        FoldChoice(("2",), group_by="none", repeats=2), groups=[None, *PATIENTS[1:]]
    )
    # what all splits say is said once
    assert plan.warnings[0].startswith("IMAGE-LEVEL FOLDS: 7 of 8 ")
    (plan,) = splits_of(FoldChoice(("2",), repeats=2))
    assert plan.warnings == ()


def test_fixed_folds_are_not_repeated(tmp_path):
    path = write_partition(tmp_path / "mine.csv", {i: n % 3 for n, i in enumerate(NAMES)})
    with pytest.raises(
        InputError,
        match="`repeats` 2: goes with folds that are drawn, not with mine, which are fixed",
    ):
        splits_of(FoldChoice((str(path),), repeats=2))
    refuses(InputError, "`repeats` 0: give at least 1", FoldChoice, repeats=0)


def test_repeated_cross_validation_by_the_command_line(completed, described, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(described, run)
    trained = typed("boost --out {} --folds 3 --repeats 2 --seeds 2 --preset quick --jobs 1", run)
    out, _ = completed(*trained, "--param", "num_iterations=5", "--param", "min_data_in_leaf=2")
    assert "3 stratified image-level folds, on 2 splits (seeds 0 to 1)" in out
    folder = run / "boost" / "3-repeated2-lightgbm"
    tested = Counter(row["image_id"] for row in rows_of(folder / "predictions.csv"))
    assert set(tested.values()) == {2}
    spread = read_json(folder / "metrics.json")["run"]["variance"]
    assert (spread["seeds"], spread["folds"], spread["splits"]) == (2, 3, 2)
    assert all(spread[name] is not None for name in ("seed", "fold", "split"))
    assert (
        "The spread of the accuracy (standard deviation, points) is "
        in (folder / "report.html").read_text()
    )
    (boost,) = (read_json(path) for path in (run / "records").glob("*boost*"))
    assert boost["config"]["repeats"] == 2


def test_folds_of_one_class_each_are_warned_of_with_a_cure():
    """One patient a fold: scores of different models would be ranked together; fewer folds do not."""
    groups = [f"p{k // 3}" for k in range(36)]
    ids, labels = [f"i{k}" for k in range(36)], ["ab"[k // 3 % 2] for k in range(36)]
    known = {"image_ids": ids, "labels": labels, "groups": groups}
    (warning,) = fold_plan("12", **known).warnings
    assert str(warning) == (
        "each fold tests only one class: scores of different models are ranked together, and AUC and accuracy may be "
        "far too low; use `folds=5`"
    )
    assert limited(warning, ()).endswith("may be far too low")
    assert fold_plan("5", **known).warnings == ()
    assert fold_plan("70/30", **known).warnings == ()
    repeated = FoldChoice(("12",), repeats=2).plans(
        ids, labels=labels, groups=groups, seed=0, default="10"
    )
    assert repeated[0].warnings == (warning,)
