"""Patches to images to patients, by hand."""

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.evaluate import Aggregation, aggregate, evaluate, read_predictions
from written_tables import write_lines

# patient u: image a (patches .9 .2), image b (patches .4 .4 .4); patient v: image c (patches .6 .1 .1)
PATCHES = [
    ("a", "1", "u", 0.9),
    ("a", "2", "u", 0.2),
    ("b", "1", "u", 0.4),
    ("b", "2", "u", 0.4),
    ("b", "3", "u", 0.4),
    ("c", "1", "v", 0.6),
    ("c", "2", "v", 0.1),
    ("c", "3", "v", 0.1),
]


@pytest.fixture
def path(tmp_path):
    lines = ["image_id,patch,label,group,fold,p_benign,p_malignant"]
    for image, patch, patient, malignant in PATCHES:
        label = "malignant" if patient == "u" else "benign"
        lines.append(
            f"{image},{patch},{label},{patient},{1 if patient == 'u' else 2},{1 - malignant:.1f},{malignant}"
        )
    file = tmp_path / "patches.csv"
    return write_lines(file, *lines)


@pytest.fixture
def table(path):
    (found,) = read_predictions(path)
    return found


@pytest.mark.parametrize(
    ("rule", "images", "patients"),
    [
        ("average", [0.55, 0.4, 0.8 / 3], [0.475, 0.8 / 3]),
        ("sum", [0.55, 0.4, 0.8 / 3], [2.3 / 5, 0.8 / 3]),
        ("vote", [0.5, 0.0, 1 / 3], [0.5, 0.0]),
    ],
)
def test_probabilities_by_hand(table, rule, images, patients):
    found = aggregate(table, rule=rule, level="image")
    assert found.image_ids == ("a", "b", "c")
    assert found.groups == ("u", "u", "v")
    np.testing.assert_allclose(found.probabilities[:, 1], images)
    found = aggregate(table, rule=rule, level="group")
    assert found.image_ids == ("u", "v")
    np.testing.assert_allclose(found.probabilities[:, 1], patients)


@pytest.mark.parametrize(
    ("rule", "images", "patients"),
    [
        ("exist", [1, 0, 1], [1, 1]),
        ("exist-n", [0, 0, 0], [0, 0]),
        ("vote", [1, 0, 0], [0, 0]),  # ties go to the higher mean probability: a .55, then u .25
    ],
)
def test_classes_by_hand(table, rule, images, patients):
    for level, expected in (("image", images), ("group", patients)):
        assert aggregate(table, rule=rule, level=level).predicted.tolist() == expected


def test_all_levels_side_by_side(path, tmp_path):
    every = Aggregation(["row", "image", "group"], ["average", "vote"])
    result = evaluate([path], out=tmp_path / "out", aggregation=every, bootstrap=20).result
    counts = {name: metrics["n"] for name, metrics in result["tables"].items()}
    assert counts == {
        "patches (row)": 8,
        "patches (image, average)": 3,
        "patches (image, vote)": 3,
        "patches (group, average)": 2,
        "patches (group, vote)": 2,
    }
    assert (
        result["tables"]["patches (group, average)"]["protocol"]
        == "2 folds of the table; by group, rule average"
    )
    assert result["tables"]["patches (row)"]["units"]["kind"] == "group"
    pairs = {(row["first"], row["second"]) for row in result["comparisons"]}
    assert ("patches (image, average)", "patches (image, vote)") in pairs


def test_patches_listed_twice_and_unknown_levels(path, table, tmp_path):
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    with pytest.raises(
        InputError, match=r"patches\.csv:10: a, patch 1, is listed twice in fold 1; keep one row"
    ):
        read_predictions(path)
    with pytest.raises(
        InputError, match="`levels` slide: no such level; choose one of image, group"
    ):
        aggregate(table, level="slide")
    with pytest.raises(InputError, match="`levels` slide: choose one of row, image, group"):
        evaluate([path], out=tmp_path / "out", aggregation=Aggregation("slide"))
