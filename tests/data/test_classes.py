"""Names of classes: what is one class, what stays apart, and what a loosely written name means."""

import pytest
from bchisto.core import InputError
from bchisto.data import join_labels, match_class, read_dataset, spell_labels
from sample_trees import findings, tree

NFC, NFD = "B\u00e9nin", "Be\u0301nin"


@pytest.mark.parametrize(
    "names", [("-1", "1"), ("1-0", "10"), ("grade 1", "grade1", "grade_1"), ("a-b", "ab"), ("T 1", "T1", "t2")]
)
def test_names_that_differ_in_punctuation_stay_apart(tmp_path, names):
    dataset = read_dataset(tree(tmp_path, *(f"{name}/1.png" for name in names)))
    assert dataset.classes == tuple(sorted(names))
    assert set(dataset.class_counts().values()) == {1}


def test_alike_names_are_said():
    assert join_labels(["a-b", "ab", "-1", "1"])[1][0].message.startswith("differ only in spaces, _ or -")
    assert join_labels(["-1", "1", "1-0", "10"])[1] == []


def test_names_that_differ_in_case_are_one_class_and_said(tmp_path):
    dataset = read_dataset(tree(tmp_path, "TUMOR/1.png", "Tumor/2.png", "Tumor/3.png", "other/4.png"))
    assert dataset.class_counts() == {"Tumor": 3, "other": 1}
    assert findings(dataset, "warning") == [
        "Tumor: one class in several spellings: TUMOR (1 images), Tumor (2 images); named Tumor, the most frequent "
        "spelling"
    ]
    chosen = read_dataset(tmp_path, classes=["other", "TUMOR"])
    assert chosen.class_counts() == {"other": 1, "TUMOR": 3}
    assert "named TUMOR, as in the order of classes" in findings(chosen, "warning")[0]


def test_unicode_forms_are_one_class(tmp_path):
    dataset = read_dataset(tree(tmp_path, f"{NFC}/1.png", f"{NFD}/2.png", "x/3.png"))
    assert dataset.class_counts() == {NFC: 2, "x": 1}
    assert findings(dataset, "note") == [f"{NFC}: written in two Unicode forms (NFC and NFD); one class"]
    assert match_class(NFD, [NFC]) == NFC
    assert match_class(NFC, [NFD]) == NFD


def test_known_datasets_are_known_loosely_but_one_to_one(tmp_path):
    four = [f"{name}/1.png" for name in ("normal", "benign", "in_situ", "invasive")]
    assert read_dataset(tree(tmp_path, *four)).classes == ("Normal", "Benign", "InSitu", "Invasive")
    five = read_dataset(tree(tmp_path, *four, "InSitu/2.png"))
    assert five.classes == ("InSitu", "benign", "in_situ", "invasive", "normal")
    assert any("in_situ: differ only in spaces, _ or -" in text for text in findings(five, "warning"))


def test_loose_matching_is_refused_where_two_fit():
    with pytest.raises(InputError, match=r"'in situ' fits two classes, InSitu and in_situ"):
        match_class("in situ", ["InSitu", "in_situ"])
    assert match_class("InSitu", ["InSitu", "in_situ"]) == "InSitu"
    with pytest.raises(InputError, match=r"labels 'InSitu' and 'in_situ' both fit the class In Situ"):
        spell_labels(["InSitu", "in_situ"], ["In Situ"])
    assert match_class("-1", ["1", "0"]) is None
    assert match_class("- 1", ["1"]) is None
    assert match_class("1 0", ["10", "1_0"]) == "1_0"
    assert match_class("-", ["_"]) is None


def test_an_order_of_classes_gets_a_clear_answer(tmp_path):
    tree(tmp_path, "a/1.png", "b/2.png", "c/3.png")
    with pytest.raises(
        InputError, match=r"its label 'b' is not among the classes a \(nor are c\); name every class in `classes`"
    ):
        read_dataset(tmp_path, classes=["a"])
    with pytest.raises(InputError, match=r"`classes` a,b,c,A: names a twice"):
        read_dataset(tmp_path, classes=["a", "b", "c", "A"])
    dataset = read_dataset(tmp_path, classes=["c", "d", "a", "b"])
    assert dataset.classes == ("c", "d", "a", "b")
    assert findings(dataset, "warning") == [f"{tmp_path}: `classes` names d, which no image has"]


def test_a_manifest_joins_spellings_before_it_compares_labels(tmp_path):
    tree(tmp_path, "1.png", "2.png")
    (tmp_path / "m.csv").write_text("path,label,image_id\n1.png,Tumor,i\n1.png,TUMOR,i\n2.png,x,j\n")
    dataset = read_dataset(tmp_path / "m.csv")
    dataset.raise_errors()
    assert dataset.class_counts() == {"TUMOR": 1, "x": 1}
