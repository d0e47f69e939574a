"""Names of tables mean images by one rule in every command: folder, suffix, Unicode form, case, uploads, Windows."""

import pytest
from bchisto.data import ImageSelection
from sample_trees import tree
from written_tables import checked, lines, listed, unlisted

NAMES = tuple(f"{label}/im {n}.png" for label in ("benign", "malignant") for n in range(4))
"""The same file names in two folders."""
UNIQUE = tuple(f"Fälle/S{n} (HE).tif" for n in range(8))
HASH = "0a1b2c3d"


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
    "file name": lambda name: name[6:],
    "another suffix": lambda name: f"{name[6:-4]}.jpg",
}
WAYS = [
    *((NAMES, way) for way in SAME_FILE_NAMES.values()),
    *((UNIQUE, way) for way in UNIQUE_NAMES.values()),
]
IDS = [*SAME_FILE_NAMES, *UNIQUE_NAMES]


@pytest.mark.parametrize(("names", "way"), WAYS, ids=IDS)
def test_every_reader_of_names(tmp_path, cli, completed, names, way):
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
    completed(
        "data check --images {} --labels {} --folds {} --write-folds {}", root, beside, folds, out
    )
    predicted = [(name, label, "a") for name, label in zip(names, labels, strict=True)]
    first = lines(tmp_path / "one.csv", ("image_id", "label", "predicted"), predicted)
    other = [(way(name), label, label) for name, label in zip(names, labels, strict=True)]
    second = lines(tmp_path / "two.csv", ("image_id", "label", "predicted"), other)
    stdout, err = completed("evaluate {} {} --out T/e --bootstrap 0", first, second)
    assert "not compared" not in stdout + err
    assert "8 of 8 rows name the image with another folder, suffix or case" in err


def test_names_that_fit_several_images_are_not_guessed(tmp_path, cli):
    tree(tmp_path, "a/1.png", "b/1.png", "b/A1.png", "d/A1.png", "c/2.png")
    rows = [("1.png", "x"), ("c/a1.png", "y"), ("3.png", "x"), ("2.png", "y")]
    table = lines(tmp_path / "t.csv", ("file", "label"), rows)
    code, out = checked(cli, tmp_path, "--labels", table)
    assert code == 1
    assert "3 rows of t.csv: no image, or several" in out
    code, out = checked(cli, table)
    assert code == 1
    assert "there are no such files, first 1.png" in out


def test_paths_beside_right_ones_are_not_sought_in_other_folders(tmp_path, cli):
    tree(tmp_path, "a/1.png", "a/2.png", "b/3.png", "b/4.PNG")
    rows = [("a/1.png", "x"), ("a/2.png", "y"), ("B/4.png", "y"), ("a/3.png", "x")]
    err = unlisted(cli, lines(tmp_path / "t.csv", ("path", "label"), rows))
    assert "there is no file" in err
    assert "t.csv:5" in err
    found, _ = listed(cli, lines(tmp_path / "t.csv", ("path", "label"), rows[:3]))
    assert found["b/4.PNG"]["label"] == "y"


@pytest.mark.parametrize("count", [0, 1, 2, 5, 8])
def test_a_table_of_which_most_rows_name_no_image_is_refused(tmp_path, cli, count):
    tree(tmp_path / "x", *NAMES)
    rows = [(name if n < count else f"other{n}.png", "ab"[n % 2]) for n, name in enumerate(NAMES)]
    table = lines(tmp_path / "t.csv", ("file", "label"), rows)
    code, _, err = cli("data check --table - --images T/x --labels {}", table)
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


@pytest.mark.parametrize(
    ("images", "rows"),
    [
        (("20210304-s{}.png", "20210304-s{}.png"), "20210305-s{}.png"),
        (("1002345{}-04.png", "1002345{}-04.png"), "2099999{}-04.png"),
        ((f"{HASH}-im{{}}.png", f"{HASH}-im{{}}.png"), "1b2c3d4e-im{}.png"),
    ],
)
def test_what_a_program_added_is_not_taken_from_both_sides(tmp_path, cli, refused, images, rows):
    own, right = images
    tree(tmp_path / "x", *(own.format(n) for n in range(6)))
    table = [((right if n < 4 else rows).format(n), "ab"[n % 2]) for n in range(6)]
    images_read, _ = listed(
        cli, tmp_path / "x", "--labels", lines(tmp_path / "t.csv", ("image", "label"), table)
    )
    assert [images_read[own.format(n)]["label"] for n in range(6)] == ["a", "b", "a", "b", "", ""]
    assert "m.csv:6: there is no file" in refused(
        "data check --table - --images {}",
        lines(tmp_path / "x" / "m.csv", ("path", "label"), table),
    )


SIBLINGS = [
    ("P1/{}.png", "P2/{}.png"),
    ("40X/a{}.tif", "100X/a{}.tif"),
    ("Süd/{}.jpg", "Nord/{}.jpg"),
]


@pytest.mark.parametrize(("own", "other"), SIBLINGS)
def test_an_image_of_another_folder_is_not_meant_if_other_rows_name_folders(
    tmp_path, cli, own, other
):
    tree(tmp_path / "x", *(own.format(n) for n in (1, 2)), *(other.format(n) for n in (1, 2, 3)))
    names = [own.format(1), own.format(2), own.format(3), other.format(1), other.format(2)]
    rows = [(name, "ab"[n % 2]) for n, name in enumerate(names)]
    images_read, err = listed(
        cli, tmp_path / "x", "--labels", lines(tmp_path / "t.csv", ("image", "label"), rows)
    )
    assert images_read[other.format(3)]["label"] == ""
    assert "1 row of t.csv: no image" in err


@pytest.mark.parametrize(("own", "other"), SIBLINGS)
def test_all_rows_of_another_folder_are_warned_of(tmp_path, cli, own, other):
    tree(tmp_path / "x", *(own.format(n) for n in range(6)))
    rows = [(other.format(n), "ab"[n % 2]) for n in range(6)]
    table = lines(tmp_path / "t.csv", ("image", "label"), rows)
    code, text = checked(cli, tmp_path / "x", "--labels", table)
    assert code == 1
    assert "6 of 6 rows name an image of another folder; check that it is meant" in text


@pytest.mark.parametrize("written", ["{}", "C:\\run 1\\{}", "UPLOADED/{}"])
def test_evaluate_compares_what_both_tables_name(tmp_path, completed, written):
    names = [f"malig/m{n}.png" for n in range(12)]
    header = ("image_id", "label", "predicted")
    tables = []
    for title, images, form in (("one", names, "{}"), ("two", names[:-1], written)):
        rows = [
            (
                form.format(name.upper() if "UP" in form else name[6:] if form != "{}" else name),
                "ab"[n % 2],
                "a",
            )
            for n, name in enumerate(images)
        ]
        tables.append(lines(tmp_path / f"{title}.csv", header, rows))
    completed("evaluate", *tables, "--out", tmp_path / "out", "--bootstrap", 0)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "one and two are compared on the 11 images that both have" in page


@pytest.mark.parametrize("outside", ["../other/{}.png", "../Übrige/x{}.tif", "../../o p/{}.jpg"])
def test_an_image_outside_of_the_folder_stays_itself(tmp_path, cli, outside):
    """Even if another row has no image, and an image of the folder has the same file name."""
    root = tmp_path / "a" / "b"
    names = [outside.format(n) for n in range(4)]
    tree(root, *names, *(f"in/{name.rpartition('/')[2]}" for name in names))
    rows = [(name, "ab"[n % 2]) for n, name in enumerate(names)] + [("in/9.png", "a")]
    _, text = checked(cli, lines(root / "m.csv", ("path", "label"), rows))
    assert "there is no file" in text
    assert "all 4 1 size" in text
    assert "another folder" not in text
