"""Names of tables mean images by one rule in every command: folder, suffix, Unicode form, case, uploads, Windows."""

import csv

import pytest
from bchisto.data import ImageSelection
from sample_trees import tree
from written_tables import checked, listed

NAMES = tuple(f"{label}/im {n}.png" for label in ("benign", "malignant") for n in range(4))
"""The same file names in two folders."""
UNIQUE = tuple(f"Fälle/S{n} (HE).tif" for n in range(8))
HASH = "0a1b2c3d"


def lines(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([header, *rows])
    return path


SAME_FILE_NAMES = {
    "windows": lambda name: "C:\\Users\\J\\data\\" + name.replace("/", "\\"),
    "colab": lambda name: f"/content/drive/My Drive/{name}",
    "case": str.upper,
    "without suffix, of Windows": lambda name: "D:\\" + name[:-4].title().replace("/", "\\"),
    "local files of Label Studio": lambda name: f"/data/local-files/?d=x/{name}".replace(
        " ", "%20"
    ),
    "cloud": lambda name: f"s3://bucket/{name}".replace(" ", "%20"),
}
UNIQUE_NAMES = {
    "signed link": lambda name: f"https://x/{name[6:]}?token=a".replace(" ", "%20"),
    "Label Studio": lambda name: (
        f"/data/upload/7/{HASH}-" + name[6:].replace(" ", "_").replace("(", "").replace(")", "")
    ),
    "UUID": lambda name: f"{HASH}-1111-2222-3333-444455556666_{name[6:]}",
    "Roboflow": lambda name: f"{name[6:-4]}_tif.rf.{'0123' * 8}.jpg",
    "NFD": lambda name: name.replace("ä", "a\u0308").lower(),
    "bare": lambda name: name[6:-4].lower(),
}
WAYS = [
    *((NAMES, way) for way in SAME_FILE_NAMES.values()),
    *((UNIQUE, way) for way in UNIQUE_NAMES.values()),
]
IDS = [*SAME_FILE_NAMES, *UNIQUE_NAMES]


@pytest.mark.parametrize(("names", "way"), WAYS, ids=IDS)
def test_every_reader_of_names(tmp_path, cli, names, way):
    root = tmp_path / "x"
    tree(root, *names)
    labels = ["ab"[n % 2] for n in range(8)]
    rows = [(way(name), label) for name, label in zip(names, labels, strict=True)]
    beside = lines(tmp_path / "t.csv", ("image", "diagnosis"), rows)
    found, err = listed(cli, root, "--labels", beside)
    assert [found[name]["label"] for name in names] == labels
    assert "8 of 8 rows name the image with another folder, suffix or case, such as" in err
    found, _ = listed(cli, lines(root / "m.csv", ("path", "label"), rows))
    assert {row["path"]: row["label"] for row in found.values()} == {
        str(root / name): label for name, label in zip(names, labels, strict=True)
    }
    some = lines(tmp_path / "only.csv", ("image_id",), [row[:1] for row in rows[:3]])
    chosen = ImageSelection(root, labels=beside, only=some).table()
    assert {record.image_id for record in chosen.records} == {*names[:3]}
    folds = lines(
        tmp_path / "f.csv",
        ("image_id", "fold"),
        [(row[0], n // 2 % 2) for n, row in enumerate(rows)],
    )
    out = tmp_path / "out.csv"
    code, _, err = cli(
        "data", "folds", "--images", root, "--labels", beside, "--folds", folds, "--out", out
    )
    assert code == 0, err
    predicted = [(name, label, "a") for name, label in zip(names, labels, strict=True)]
    first = lines(tmp_path / "one.csv", ("image_id", "label", "predicted"), predicted)
    other = [(way(name), label, label) for name, label in zip(names, labels, strict=True)]
    second = lines(tmp_path / "two.csv", ("image_id", "label", "predicted"), other)
    code, stdout, err = cli("evaluate", first, second, "--out", tmp_path / "e", "--bootstrap", 0)
    assert code == 0, err
    assert "not compared" not in stdout + err
    assert "8 of 8 rows name the image with another folder, suffix or case" in err


def test_names_that_fit_several_images_are_not_guessed(tmp_path, cli):
    tree(tmp_path, "a/1.png", "b/1.png", "b/A1.png", "d/A1.png", "c/2.png")
    rows = [("1.png", "x"), ("c/a1.png", "y"), ("3.png", "x"), ("2.png", "y")]
    table = lines(tmp_path / "t.csv", ("file", "label"), rows)
    code, out = checked(cli, tmp_path, "--labels", table)
    assert code == 1
    assert "3 rows of t.csv name no image, or not only one" in out
    code, out = checked(cli, table)
    assert code == 1
    assert "there are no such files, first 1.png" in out


def test_paths_beside_right_ones_are_not_sought_in_other_folders(tmp_path, cli):
    tree(tmp_path, "a/1.png", "a/2.png", "b/3.png", "b/4.PNG")
    rows = [("a/1.png", "x"), ("a/2.png", "y"), ("B/4.png", "y"), ("a/3.png", "x")]
    code, _, err = cli(
        "data", "list", "--images", lines(tmp_path / "t.csv", ("path", "label"), rows)
    )
    assert code == 2
    assert "there is no file" in err
    assert "t.csv:5" in err
    found, _ = listed(cli, lines(tmp_path / "t.csv", ("path", "label"), rows[:3]))
    assert found["b/4.PNG"]["label"] == "y"


@pytest.mark.parametrize("count", [0, 1, 2, 5, 8])
def test_a_table_of_which_most_rows_name_no_image_is_refused(tmp_path, cli, count):
    tree(tmp_path / "x", *NAMES)
    rows = [(name if n < count else f"other{n}.png", "ab"[n % 2]) for n, name in enumerate(NAMES)]
    table = lines(tmp_path / "t.csv", ("file", "label"), rows)
    code, _, err = cli("data", "list", "--images", tmp_path / "x", "--labels", table)
    assert (code != 0) == (count < 4), err
    code, _ = checked(cli, tmp_path / "x", "--labels", table)
    assert (code == 0) == (count == 8)


def test_a_table_of_more_images_than_the_folder_has_is_a_warning(tmp_path, cli):
    tree(tmp_path / "x", *NAMES)
    rows = [
        *((name, "a") for name in NAMES),
        *((f"of another study {n}.png", "b") for n in range(40)),
    ]
    table = lines(tmp_path / "t.csv", ("file", "label"), rows)
    assert len(listed(cli, tmp_path / "x", "--labels", table)[0]) == 8


def test_tables_of_other_images_are_not_compared(tmp_path, cli):
    for name, start in (("one", "a"), ("two", "b")):
        rows = [(f"{start}{n}", "xy"[n % 2], "x") for n in range(4)]
        lines(tmp_path / f"{name}.csv", ("image_id", "label", "predicted"), rows)
    files = (tmp_path / "one.csv", tmp_path / "two.csv")
    code, _, err = cli("evaluate", *files, "--out", tmp_path / "e", "--bootstrap", 0)
    assert code == 0
    assert "4 rows only in the first, 4 only in the second" in err
