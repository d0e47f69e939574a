"""Images without a label are described, and neither trained nor tested; how many there are is said everywhere."""

import csv
import shutil

import pytest
from bchisto.data import read_dataset, unique_images

WITHOUT = {"benign/benign03.png", "malignant/malignant00.png", "malignant/malignant05.png"}
SAID = "3 images without a label are in no fold: " + ", ".join(sorted(WITHOUT))


@pytest.fixture
def table(tissue, tmp_path):
    """A manifest of twelve images, of which three have no label."""
    names = sorted(path.relative_to(tissue).as_posix() for path in tissue.rglob("*.png"))
    rows = [
        f"{tissue / name},{'' if name in WITHOUT else name.split('/')[0]},{name}" for name in names
    ]
    (tmp_path / "m.csv").write_text("path,label,image_id\n" + "\n".join(rows))
    return tmp_path / "m.csv"


def test_lists_and_counts(table, tmp_path, cli, completed, tissue):
    code, _, err = cli("data", "list", "--images", table)
    assert code == 0, err
    assert "12 images: benign 5, malignant 4, without a label 3" in err
    out, _ = completed("data", "check", "--images", table)
    assert "3 of 12 images have no label: they get features, but neither train nor test" in out
    # a list of all images still fits
    names = sorted(path.relative_to(tissue).as_posix() for path in tissue.rglob("*.png"))
    (tmp_path / "all.csv").write_text(
        "image_id,fold\n" + "".join(f"{n},{1 + k % 3}\n" for k, n in enumerate(names))
    )
    code, _, err = cli(
        "data",
        "folds",
        "--images",
        table,
        "--folds",
        tmp_path / "all.csv",
        "--out",
        tmp_path / "f.csv",
    )
    assert code == 0, err
    assert SAID in err
    with (tmp_path / "f.csv").open() as handle:
        assert {row["image_id"] for row in csv.DictReader(handle)} == set(names) - WITHOUT


def test_a_copy_without_a_label_has_that_of_the_other(tissue, tmp_path, completed):
    shutil.copy(tissue / "benign" / "benign00.png", tmp_path / "copy.png")
    rows = [f"{path},{path.parent.name}" for path in sorted(tissue.rglob("*.png"))]
    (tmp_path / "m.csv").write_text("path,label\ncopy.png,\n" + "\n".join(rows))
    completed(
        "data", "folds", "--images", tmp_path / "m.csv", "--folds", 2, "--out", tmp_path / "f.csv"
    )
    found = unique_images(read_dataset(tmp_path / "m.csv")).dataset
    assert found.class_counts() == {"benign": 6, "malignant": 6}
