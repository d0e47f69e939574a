"""A table of labels beside a folder of images: rows find their images, and what finds none is counted and named."""

import json

import pytest
from conftest import typed
from sample_trees import tree
from written_tables import checked, listed, read_json, rows_of, table, unlisted

TINY = typed(
    "--encoder tiny --weights random --view 1.0:32 --crops 1 --augmentations 1 --jobs "
    "1 --stain none --color-range 1 1"
)


def images(root, *, suffix=".png", count=8):
    return tree(root / "images", *(f"im{n:02d}{suffix}" for n in range(count)), size=(40, 40))


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("csv", ".png"), ("semicolons", ".tif"), ("tabs", ".JPG"), ("xlsx", ".png")],
)
def test_a_table_gives_label_group_micrometres_and_columns(tmp_path, cli, completed, kind, suffix):
    root = images(tmp_path, suffix=suffix)
    rows = [(f"im{n:02d}", "ab"[n % 2], f"P{n // 2}", "0,5", "xy"[n // 4]) for n in range(8)]
    path = table(tmp_path, kind, [("id", "diagnosis", "Patient ID", "mpp", "site"), *rows])
    found, err = listed(cli, root, "--labels", path)
    assert [(row["label"], row["group"], row["mpp"]) for row in found.values()] == [
        (r[1], r[2], "0.5") for r in rows
    ]
    assert set(found) == {f"im{n:02d}{suffix}" for n in range(8)}
    assert "8 of 8 rows name the image with another folder, suffix or case" in err
    completed(
        "data check --images {} --labels {} --folds site:site --write-folds T/f.csv", root, path
    )


def test_folders_mean_nothing_beside_a_table(tmp_path, cli):
    root = tree(
        tmp_path / "images", "im0.png", "train/im1.png", "test/im2.png", "benign/P1/im3.png"
    )
    path = table(tmp_path, "csv", [("id", "label"), *((f"im{n}", "ab"[n % 2]) for n in range(4))])
    found, _ = listed(cli, root, "--labels", path, "--group-from", r"im(\d)")
    assert {name[-7:]: (row["label"], row["group"]) for name, row in found.items()} == {
        f"im{n}.png": ("ab"[n % 2], str(n)) for n in range(4)
    }
    assert checked(cli, root, "--labels", path)[0] == 0


def test_named_columns(tmp_path, cli):
    root = images(tmp_path)
    path = table(
        tmp_path,
        "csv",
        [("Bild", "Art", "Fall"), *((f"im{n:02d}", n % 2, n // 2) for n in range(8))],
    )
    named = typed("--path-column bild --label-column art --group-column FALL")
    found, _ = listed(cli, root, "--labels", path, *named)
    assert [(row["label"], row["group"]) for row in found.values()] == [
        (str(n % 2), str(n // 2)) for n in range(8)
    ]
    err = unlisted(cli, root, "--labels", path)
    assert "t.csv: the header must have a column `path`" in err
    assert "--path-column" in err


def test_what_finds_no_counterpart_is_counted_and_named(tmp_path, cli):
    root = images(tmp_path)
    rows = [(f"im{n:02d}", "ab"[n % 2]) for n in range(2, 11)]
    path = table(tmp_path, "csv", [("id", "label"), *rows])
    code, out = checked(cli, root, "--labels", path)
    assert code == 1
    assert "im00.png, im01.png: 2 of 8 images have no row of their own in t.csv, so no label" in out
    assert (
        "im08, im09, im10: 3 rows of t.csv: no image, or several, of such a name; not read" in out
    )
    found, _ = listed(cli, root, "--labels", path)
    assert [row["label"] for row in found.values()] == ["", "", *"ababab"]


def test_a_table_of_other_images_is_refused(tmp_path, cli):
    root = tree(tmp_path / "images", "a/1.png", "b/1.png", "a/2.png", "b/3.png", "b/3.tif")
    err = unlisted(cli, root, "--labels", table(tmp_path, "csv", [("id", "label"), ("9", "x")]))
    assert "none of its rows, such as 9, names one of the 5 images, such as a/1.png" in err


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("id", "label"), ("im00", "a"), ("im00.png", "b")], "row of t.csv: no image, or several"),
        (
            [("id", "label"), ("im00", "a"), ("im00", "b")],
            "the same image has two labels, a (t.csv:2) and b (t.csv:3)",
        ),
        (
            [("id", "label", "mpp"), ("im00", "a", "x"), ("im01", "b", "0.5")],
            "t.csv:2: mpp x: give micrometres",
        ),
        ([("id", "case"), ("im00", "1"), ("im01", "2")], "no image has a label"),
    ],
)
def test_the_table_is_read_as_a_manifest(tmp_path, cli, rows, message):
    out = checked(cli, images(tmp_path), "--labels", table(tmp_path, "csv", rows))[1]
    assert message in out


def test_what_it_does_not_go_with(tmp_path, cli):
    root = images(tmp_path)
    path = table(tmp_path, "csv", [("path", "label"), ("images/im00.png", "a")])
    err = unlisted(cli, path, "--labels", path)
    assert f"--labels {path}: goes with a folder of images of your own" in err
    err = unlisted(cli, root, "--labels", path, "--dataset", "breakhis")
    assert f"--labels {path}: goes with a folder of images of your own, not with breakhis" in err
    err = unlisted(cli, root, "--labels", tmp_path / "gone.csv")
    assert "gone.csv: cannot be read" in err


def test_the_road_from_a_table_to_predictions(tmp_path, completed):
    """Checked, extracted, corrected, trained and explained; run.json reads it again, from another folder, too."""
    root = images(tmp_path, count=12)
    rows = [(f"im{n:02d}", n % 2, f"P{n // 2}") for n in range(12)]
    path = table(tmp_path, "csv", [("id", "label", "patient"), *rows])
    completed("featurize --images {} --labels {} --out T/run", root, path, *TINY)
    record = read_json(tmp_path / "run" / "run.json")
    assert "labels" in json.dumps(record)
    boost = typed("boost --out T/run --folds 2 --head prototype --jobs 1 --group-by none")
    completed(*boost)
    (predictions,) = (tmp_path / "run" / "boost").rglob("predictions.csv")
    found = {row["image_id"]: (row["label"], row["group"]) for row in rows_of(predictions)}
    assert found == {f"im{n:02d}.png": (str(n % 2), f"P{n // 2}") for n in range(12)}
    path.write_text(path.read_text(encoding="utf-8-sig").replace("im00,0", "im00,1"))
    completed("featurize --config T/run/run.json --out T/run")
    completed(*boost)
    assert {row["image_id"]: row["label"] for row in rows_of(predictions)}["im00.png"] == "1"
