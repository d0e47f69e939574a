"""Patients that are partly known, sites, and copies: what folds keep whole, and what is said where they cannot."""

import csv
import hashlib
from importlib import resources

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.data import (
    DatasetFacts,
    fold_plan,
    protocol_text,
    published_folds,
    read_dataset,
    unique_images,
)
from bchisto.data.folds.folds import write_fold_list
from bchisto.data.folds.plans import unknown_groups
from PIL import Image
from sample_trees import bach_columns


def published_patients():
    text = (resources.files("bchisto.data.layouts") / "published" / "bach_patients.csv").read_text(
        encoding="utf-8"
    )
    return {row["image_id"]: row["patient"] for row in csv.DictReader(text.splitlines())}


def bach_tree(root, names=("b032", "b033", "b001", "n001", "n002", "n003", "is001", "iv001")):
    """Write images of the official size under official names, with the ground truth."""
    label = {"b": "Benign", "n": "Normal", "is": "InSitu", "iv": "Invasive"}
    rows = {f"{name}.tif": label[name[:-3]] for name in names}
    for number, (name, folder) in enumerate(rows.items()):
        path = root / "Photos" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2048, 1536), number).save(path)
    truth = "".join(f"{name},{folder}\n" for name, folder in rows.items())
    (root / "Photos" / "microscopy_ground_truth.csv").write_text(truth)
    return root


def test_published_patients_are_no_part_of_the_identity_of_the_images(tmp_path):
    """What releases wrote that knew no patients must resume: the identity is hashed here as they did."""
    unique = unique_images(read_dataset(bach_tree(tmp_path / "bach")))
    text = "".join(
        f"{r.image_id}\0{unique.sha256[r.image_id]}\0{r.label}\0\n" for r in unique.dataset.records
    )
    assert unique.digest == hashlib.sha256(text.encode()).hexdigest()


def test_a_copy_under_another_name_has_the_patient_of_the_image(tmp_path):
    root = bach_tree(tmp_path / "bach")
    benign = root / "Photos" / "Benign"
    (benign / "b000.tif").write_bytes((benign / "b032.tif").read_bytes())
    with (root / "Photos" / "microscopy_ground_truth.csv").open("a") as truth:
        truth.write("b000.tif,Benign\n")
    unique = unique_images(read_dataset(root))
    assert unique.repeated == (("b032.tif", "b000.tif"),)
    assert {r.image_id: r.group for r in unique.dataset.records}["b000.tif"] == "11"


def test_published_folds_of_bach_say_which_patients_they_split():
    patients = published_patients()
    data = bach_columns(patients)
    folds = {image: fold for image, fold, _ in published_folds("rakhlin10")}
    images = {}
    for image, patient in patients.items():
        images.setdefault(patient, set()).add(image)
    several = [found for found in images.values() if len(found) > 1]
    split = sum(len({folds[image] for image in found}) > 1 for found in several)
    assert (len(patients), len(images), split, len(several)) == (145, 29, 23, 24)
    plan = fold_plan("rakhlin10", **data)
    assert any(
        f"{split} of {len(several)} patients with several images both train" in w
        for w in plan.warnings
    )
    assert plan.sha256 == fold_plan("rakhlin10", **bach_columns()).sha256
    assert fold_plan("eva", **data).warnings == ()
    tested = fold_plan("eva", **data).images(1, "test")
    # so that intervals are by patient
    assert (len(tested), len({patients[image] for image in tested})) == (
        132,
        24,
    )
    assert unknown_groups(data["groups"])[0].startswith(
        "255 of 400 images name no patient or slide; each counts as"
    )


def test_partly_known_groups_are_kept_whole():
    """An image whose group is unknown is a group of its own: one of them does not mix those that are known."""
    ids = [f"i{k:02d}" for k in range(60)]
    groups = [f"p{k // 5}" if k < 30 else None for k in range(60)]
    data = {"image_ids": ids, "labels": ["a", "b"] * 30, "groups": groups}
    assert fold_plan("5", **data, group_by="none").name == "5"
    plan = fold_plan("5", **data)
    assert plan == fold_plan("5", **data, group_by="group")
    assert plan.name == "5-grouped"
    fold_of = {image: fold for image, fold, part in plan.rows if part == "test"}
    owners = {}
    for image, group in zip(ids, groups, strict=True):
        owners.setdefault(group or image, set()).add(fold_of[image])
    assert all(len(found) == 1 for found in owners.values())
    assert len({fold_of[image] for image in ids[30:]}) == 5
    assert not any("both train and test" in warning for warning in plan.warnings)
    # inside a training part the same units are whole, and every image has one
    units = plan.kept_whole(ids, groups)
    assert None not in units
    assert len(set(units)) == 6 + 30
    hold_out = fold_plan("80/10/10", **data, group_by="group")
    parts = {image: part for image, _, part in hold_out.rows}
    whole = [
        {parts[i] for i, g in zip(ids, groups, strict=True) if g == group and i in parts}
        for group in set(groups) - {None}
    ]
    assert all(len(found) == 1 for found in whole)


COPIES = DatasetFacts(copies=(("i00", "i13"), ("i13", "i20"), ("i07", "i08"), ("gone", "i01")))


def copied(groups=(None,) * 40, spec="5", known=COPIES):
    ids = [f"i{k:02d}" for k in range(40)]
    return fold_plan(spec, image_ids=ids, labels=["a", "b"] * 20, groups=groups, known=known)


def folds_of(plan):
    return {image: fold for image, fold, part in plan.rows if part == "test"}


def test_copies_of_an_image_stay_in_one_fold():
    plan = copied()
    fold = folds_of(plan)
    assert plan.name == "5"
    assert fold["i00"] == fold["i13"] == fold["i20"]
    assert fold["i07"] == fold["i08"]
    sizes = np.bincount(list(fold.values()))[1:]
    assert sizes.sum() == 40
    assert sizes.max() - sizes.min() <= 4
    assert plan.warnings == (
        "3 pairs of images seem to show the same pixels; both of a pair stay in one part of each fold, but intervals "
        "count each as an image of its own",
    )
    assert len(set(plan.kept_whole(list(fold), [None] * 40))) == 37


def test_copies_join_the_patients_of_whom_they_are():
    groups = [f"p{k // 4}" for k in range(40)]
    fold = folds_of(copied(groups))
    joined = [
        fold[f"i{k:02d}"]
        for k in (*range(4), *range(12, 16), *range(20, 24), *range(4, 8), *range(8, 9))
    ]
    assert len(set(joined[:12])) == 1
    assert fold["i07"] == fold["i08"]


def test_copies_in_a_given_list_are_named_and_stay(tmp_path):
    plain = copied(known=None)
    fold, path = folds_of(plain), tmp_path / "mine.csv"
    write_fold_list(path, plain, labels=dict.fromkeys(fold, "a"), groups=dict.fromkeys(fold))
    plan = copied(spec=str(path))
    split = sum(fold[a] != fold[b] for a, b in COPIES.copies[:3])
    assert plan.sha256 == plain.sha256
    said = f"{split} pairs of images seem to show the same pixels, one in training"
    assert any(said in warning for warning in plan.warnings)


def test_leave_one_site_out():
    ids = [f"i{k}" for k in range(9)]
    data = {"image_ids": ids, "labels": list("abcabcabc"), "groups": ["p", "q", "r"] * 3}
    slides = dict(zip(ids, data["groups"], strict=True))
    sites = {image: "CAB"[k // 3] for k, image in enumerate(ids)}
    known = DatasetFacts(columns={"home_town": sites, "slide": slides}, groups=slides)
    plan = fold_plan("site:Home-Town", **data, known=known)
    assert (plan.name, plan.partition, plan.folds) == ("site-home_town", True, [1, 2, 3])
    assert [plan.images(fold, "test") for fold in plan.folds] == [ids[3:6], ids[6:], ids[:3]]
    said = protocol_text(plan, seed=0)
    assert said == (
        "site-home_town: one site left out after the other by the column home_town, each fold tests one (1 A, 2 B, 3 C)"
    )
    assert "3 of 3 slides with several images both train and test in a fold, " in plan.warnings[0]
    with pytest.raises(InputError, match=r"slides .* both train and test in a fold \(p, q, r\)"):
        fold_plan("site:home_town", **data, known=known, group_by="group")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "site: no such column of the manifest, no further column is known"),
        ({"age": {}}, "site: no such column of the manifest, there are age"),
        (
            {"site": {"a": "x", "b": "y"}},
            "1 of 3 images have no value in this column, first c; fill it in",
        ),
        (
            {"site": dict.fromkeys("abc", "x")},
            "no image of class x, y trains in fold 1; add images of this class",
        ),
    ],
)
def test_sites_that_cannot_be_left_out(columns, message):
    known = DatasetFacts(columns=columns)
    with pytest.raises(InputError, match=message):
        fold_plan(
            "site:site", image_ids=list("abc"), labels=list("xyx"), groups=[None] * 3, known=known
        )
