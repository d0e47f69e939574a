"""Images without a label are described, and neither trained nor tested; how many there are is said everywhere."""

import shlex
import shutil

import pytest
from bchisto.data import read_dataset, unique_images
from conftest import write_tissue
from written_tables import rows_of, write_lines

WITHOUT = {"benign/benign03.png", "malignant/malignant00.png", "malignant/malignant05.png"}
SAID = "3 images without a label are in no fold: " + ", ".join(sorted(WITHOUT))


@pytest.fixture
def table(tissue, tmp_path):
    """A manifest of twelve images, of which three have no label."""
    names = sorted(path.relative_to(tissue).as_posix() for path in tissue.rglob("*.png"))
    rows = [
        f"{tissue / name},{'' if name in WITHOUT else name.split('/')[0]},{name}" for name in names
    ]
    write_lines(tmp_path / "m.csv", "path,label,image_id", *rows)
    return tmp_path / "m.csv"


def test_lists_and_counts(table, tmp_path, completed, tissue):
    _, err = completed("data check --table - --images {}", table)
    assert "12 images: benign 5, malignant 4, without a label 3" in err
    out, _ = completed("data check --no-timing --images {}", table)
    assert "3 of 12 images have no label: they get features, but neither train nor test" in out
    # a list of all images still fits
    names = sorted(path.relative_to(tissue).as_posix() for path in tissue.rglob("*.png"))
    (tmp_path / "all.csv").write_text(
        "image_id,fold\n" + "".join(f"{n},{1 + k % 3}\n" for k, n in enumerate(names))
    )
    _, err = completed("data check --images {} --folds T/all.csv --write-folds T/f.csv", table)
    assert SAID in err
    assert {row["image_id"] for row in rows_of(tmp_path / "f.csv")} == set(names) - WITHOUT


def test_a_copy_without_a_label_has_that_of_the_other(tissue, tmp_path, completed, tissue_files):
    shutil.copy(tissue / "benign" / "benign00.png", tmp_path / "copy.png")
    rows = [f"{path},{path.parent.name}" for path in tissue_files]
    write_lines(tmp_path / "m.csv", "path,label\ncopy.png,", *rows)
    completed("data check --images T/m.csv --folds 2 --write-folds T/f.csv")
    found = unique_images(read_dataset(tmp_path / "m.csv")).dataset
    assert found.class_counts() == {"benign": 6, "malignant": 6}


@pytest.mark.parametrize(("labelled", "head"), [(3, " --head logistic"), (2, ""), (5, None)])
def test_what_to_label_is_named_if_most_images_have_no_label(
    labelled, head, tmp_path, completed, tiny_options
):
    """And the linear classifier, unless a class is of two images: of these it has none to choose its settings by."""
    paths = sorted(write_tissue(tmp_path / "t", per_class=7).rglob("*.png"))
    places = {"benign": 0, "malignant": 0}
    rows = []
    for path in paths:
        name = path.parent.name
        places[name] += 1
        rows.append(f"{path},{name if places[name] <= labelled else ''}")
    write_lines(tmp_path / "m.csv", "path,label", *rows)
    run = tmp_path / "zwei Läufe"
    out, _ = completed("data check --no-timing --images T/m.csv --no-copies")
    _, err = completed("featurize --images T/m.csv --out {}", run, *tiny_options)
    lines = out.partition("NEXT\n")[2].splitlines()
    named = [line.removeprefix("next: ") for line in err.splitlines() if line.startswith("next: ")]
    wanted = ["bchisto next run"] * (head is not None)
    assert lines[2:] == wanted
    assert named[1:] == [f"bchisto next '{run}'"] * (head is not None)
    for boost in (lines[1], named[0]):
        assert boost.startswith("bchisto boost --out ")
        assert boost.endswith(head or "--folds 5" * (head is None) or "--folds 2"), boost
    if head is not None:
        completed(*shlex.split(named[0])[1:], "--jobs", 1)
        completed(*shlex.split(named[1])[1:])
