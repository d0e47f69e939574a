"""Splits that came with the images, and hold-outs by two shares."""

import csv
import shutil
from collections import Counter

import pytest
from bchisto.core import InputError
from bchisto.data import DatasetFacts, FoldChoice, fold_plan, protocol_text, read_dataset
from conftest import write_tissue
from sample_trees import tree


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """Eight images to train and four to test, in folders below those of the parts."""
    root = tmp_path_factory.mktemp("split") / "tt"
    write_tissue(root / "train", per_class=4, size=(64, 64))
    write_tissue(root / "Test", per_class=2, size=(64, 64), seed=5)
    return root


def test_images_of_a_part_without_a_class_folder(split, tmp_path):
    root = tmp_path / "tt"
    shutil.copytree(split / "train", root / "train")
    tree(root, "test/1.png", "test/2.png")
    dataset = read_dataset(root)
    assert [r.label for r in dataset.records if r.image_id.startswith("test")] == [None, None]
    assert dataset.class_counts() == {"benign": 4, "malignant": 4}


@pytest.mark.parametrize(("column", "name"), [("part", "Part"), ("split", "SPLIT ")])
def test_a_column_of_a_manifest(tmp_path, cli, column, name):
    tree(tmp_path, *(f"{n}.png" for n in range(6)))
    parts = ["train", "Training", "validation", "val", "test", "TEST"]
    rows = [f"{n}.png,{'ab'[n % 2]},{part}" for n, part in enumerate(parts)]
    (tmp_path / "m.csv").write_text("\n".join([f"path,label,{name}", *rows]))
    code, _, err = cli(
        "data", "folds", "--images", tmp_path / "m.csv", "--folds", "folder", "--out", tmp_path / "f.csv"
    )
    assert code == 0, err
    assert [row["part"] for row in csv.DictReader((tmp_path / "f.csv").read_text().splitlines())] == [
        "train", "train", "val", "val", "test", "test",
    ]  # fmt: skip


LABELS = list("abababab")
IDS = [f"{n}.png" for n in range(8)]


def plan(spec="folder", parts=None, ids=IDS, labels=LABELS, groups=None, **more):
    known = DatasetFacts(columns={} if parts is None else {"part": dict(zip(ids, parts, strict=False))})
    return fold_plan(spec, image_ids=ids, labels=labels, groups=groups or [None] * len(ids), known=known, **more)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            None,
            "`folds` folder: no split came with these images; put their class folders below train and test, or name",
        ),
        (["train"] * 4 + ["cohort"] * 4, "no split came with these images"),
        (["train"] * 4 + ["test"] * 2, r"2 of 8 images name no part in the column part, first 6\.png; fill it in"),
        (["train"] * 8, "no labelled image is in the test part, there are 8 train"),
        (["val"] * 4 + ["test"] * 4, "no labelled image is in the train part, there are 4 val and 4 test"),
        (["train", "test"] * 4, "no image of class b trains in fold 1"),
    ],
)
def test_splits_that_are_refused(parts, message):
    with pytest.raises(InputError, match=message):
        plan(parts=parts)


def test_what_is_said_of_folds_that_mix():
    parts = ["train"] * 4 + ["test"] * 4
    assert plan(parts=parts).warnings == ()
    assert plan("2", parts=parts).warnings == (
        "the images came split (column part: train, test), and these folds mix the parts",
    )
    assert plan("2", parts=["train"] * 8).warnings == ()
    assert plan("2", parts=["left", "right"] * 4).warnings == ()
    groups = ["p"] * 8
    assert "image-level folds on grouped data: 1 of 1 patients" in plan(parts=parts, groups=groups).warnings[0]
    known = DatasetFacts(columns={"part": dict(zip(IDS, parts, strict=True))})
    with pytest.raises(InputError, match="`repeats` 2: goes with folds that are drawn, not with folder"):
        FoldChoice("folder", repeats=2).plans(IDS, labels=LABELS, groups=[None] * 8, seed=0, default="2", known=known)


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
    assert protocol_text(found, seed=0) == "70-30: 70/30 to train and test once, image-level, stratified (seed 0)" or (
        protocol_text(found, seed=0) == "70/30 to train and test once, image-level, stratified (seed 0)"
    )


def test_a_class_of_one_image_is_not_split():
    with pytest.raises(InputError, match="class b has 1 image; a split needs one to train and one to test"):
        plan("70/30", ids=IDS[:3], labels=["a", "a", "b"])
