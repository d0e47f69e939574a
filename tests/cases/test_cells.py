"""Cells that hold more than a label are named with their counts and what helps; they are no classes without a word."""

import re

import pytest
from sample_trees import tree
from written_tables import checked, listed, table

COUNT = 18


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return tree(folder, *(f"{n}.png" for n in range(COUNT)))


def manifest(folder, labels, kind="csv"):
    """Write a table of images with these labels in turn, of six patients."""
    rows = [(f"{n}.png", labels[n % len(labels)], f"P{n % 6}") for n in range(COUNT)]
    return table(folder, kind, [("path", "finding", "patient"), *rows])


def said(cli, path, *options):
    return checked(cli, path, "--label-column", "finding", *options)


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["cyst", "fibrosis", "cyst, fibrosis"], "xlsx"),
        *(
            (labels, "csv")
            for labels in [
                ["calcification", "mass|calcification", "mass"],
                ["cyst", "cyst;fibrosis", "apocrine"],
                ["cyst", "fibrosis", "cyst, fibrosis"],
                ["cyst", "fibrosis", "Cyst + fibrosis"],
                ["stroma", "fat", "fat & stroma"],
                ["stroma", "fat", "stroma/fat"],
                ["stroma", "fat", "stroma and fat"],
                ["stroma", "fat", "['stroma', 'fat']"],
                ["stroma", "fat", '["fat"]'],
                ["stroma", "fat", '{"choices": ["stroma", "fat"]}'],
                ["stroma", "fat", '[{"rectanglelabels": ["fat"], "x": 1}]'],
                ["1", "2", "1;2"],
            ]
        ),
    ],
)
def test_cells_of_several_labels_are_named(pictures, cli, labels, kind):
    path = manifest(pictures, labels, kind)
    code, text = said(cli, path)
    (odd,) = [label for label in labels if not re.fullmatch(r"\w+", label)]
    assert code == 1
    assert "cells that hold more than a label are classes of their own" in text
    assert f"{odd} (6 images)" in text
    assert "write one label a cell" in text
    assert re.search(r"--label-column with --label-from PATTERN takes a part", text)


@pytest.mark.parametrize("odd", ["mass|fat", "mass; fat", '["mass", "fat"]'])
def test_a_pattern_takes_a_part_and_classes_that_are_named_are_meant(pictures, cli, odd):
    path = manifest(pictures, ["mass", "fat", odd])
    part = ("--label-from", "mass|fat")
    assert "more than a label" not in said(cli, path, *part)[1]
    rows, _ = listed(cli, path, "--label-column", "finding", *part)
    assert sorted(row["label"] for row in rows.values()) == ["fat"] * 6 + ["mass"] * 12
    if "," not in odd:
        given = ("--classes", f"mass,fat,{odd}")
        assert "more than a label" not in said(cli, path, *given)[1]


@pytest.mark.parametrize(
    "labels",
    [
        ["carcinoma, NOS", "adenoma, NOS"],
        ["ER+", "ER-", "ER+/PR-"],
        ["DCIS/LCIS, high grade", "DCIS", "ADH"],
        ["[normal", "benign"],
        ["+", "-", "+/-"],
        ["bed and breakfast", "bed"],
        ["3+4", "4+3", "6"],
    ],
)
def test_a_name_with_signs_is_one_label(pictures, cli, labels):
    assert "more than a label" not in said(cli, manifest(pictures, labels))[1]


MEASURED = {
    "ages": [31 + 3 * n for n in range(COUNT)],
    "percent": [f"{n * 5} %" for n in range(COUNT)],
    "decimal commas": [f"{n * 1.37 + 2:.2f}".replace(".", ",") for n in range(COUNT)],
    "some unknown": [*(n * 0.1 for n in range(COUNT - 2)), "low", "high"],
    "below": ["<1", *(n * n for n in range(2, COUNT + 1))],
}


@pytest.mark.parametrize("labels", MEASURED.values(), ids=MEASURED)
def test_values_of_a_measurement_get_one_line(pictures, cli, labels):
    path = manifest(pictures, labels)
    code, text = said(cli, path)
    assert code == 1
    assert re.search(r"the labels are 1\d different numbers \(\S+ to \S+\), and only classes", text)
    assert re.search(r"write ranges, such as below \S+ and from \S+", text)
    assert "second patient" not in text


@pytest.mark.parametrize("labels", [range(9), range(1, 16), range(16), ["10", "20", "40"]])
def test_numbers_of_classes_are_no_measurement(pictures, cli, labels):
    assert "different numbers" not in said(cli, manifest(pictures, list(labels)))[1]


def test_grades_get_a_note(pictures, cli):
    order = "the order of grades"
    for labels in (
        ["G1", "G2", "G3"],
        ["Stage I", "Stage II", "Stage IV"],
        ["0", "1+", "2+", "3+"],
    ):
        code, text = said(cli, manifest(pictures, labels))
        assert order in text
        assert re.search(r"note\s.*the order of grades", text) or code == 0
    for labels in (
        ["0", "1", "2"],
        ["low", "high"],
        ["A", "B", "C"],
        ["benign", "grade 1", "grade 2"],
    ):
        assert order not in said(cli, manifest(pictures, labels))[1]
