"""What folders mean: classes are found at their level, or both readings are named; a set is never a class unsaid."""

import csv
import json
import shutil

import pytest
from sample_trees import tree
from written_tables import checked, rows_of

AB = "benign|malignant"
LABELS = AB.split("|")
CERTAIN, BOTH, NONE = "certain", "both", "none"
"""The reading is taken, with a note; it is refused, with an option for each; no folder is taken for a class."""


def below(*levels):
    """Return the path of an image for each way through the levels: names with | between, or these by the one above."""
    paths = [()]
    for level in levels:
        further = []
        for path in paths:
            names = level[path[-1]] if isinstance(level, dict) else level
            further += [(*path, name) for name in names.split("|")]
        paths = further
    return ["/".join((*path, f"{n}.png")) for n, path in enumerate(paths)]


P = "P01|P02|P03"
CLASSES_FIRST = {
    "classes": below("x|y|z"),
    "class, patient": below(AB, {"benign": "P1|P2", "malignant": "P3|P1"}),
    "unknown class, patient": below("x|y", P),
    "class, slide code": below("x|y", "S12-1|S12-2"),
    "grade, number": below("grade1|grade2|grade3", "1|2|7"),
    "class, magnification": below("x|y", "40X|100X"),
    "class, subtype": below(AB, {"benign": "adenosis|papilloma", "malignant": "ductal|mucinous"}),
    "class, images": below("x|y", "images"),
    "one class with patients": below("benign", P),
}
"""Class first, as ever."""
WITHOUT_CLASSES = {
    "flat parts": below("train|test"),
    "flat trainA": below("trainA|trainB|testA|testB"),
    "flat patients": below("patient 1|patient 2"),
    "flat folds": below("fold_0|fold_1"),
    "parts with patients": below("train|test", {"train": "P1|P2", "test": "P3"}),
}
"""No folder of a class."""
IN_DOUBT = {
    "NCT and CRC": below("NCT-CRC-HE-100K|CRC-VAL-HE-7K", "ADI|BACK|NORM|TUM"),
    "one class is missing": [*below("A|B", "ADI|LYM"), "A/MUC/9.png"],
    "organs": below(
        "lung_image_sets|colon_image_sets",
        {
            "lung_image_sets": "lung_aca|lung_n",
            "colon_image_sets": "colon_aca|colon_n",
        },
    ),
    "train beside a class": ["train/a/1.png", "control/b/2.png"],
    "images and masks": below("images|masks", "x|y"),
    "grades of two institutes": below("Radboud|Karolinska", "0|1|2|3|4|5"),
    "patients of unknown names": below("Ann|Bob|Cem", AB),
    "patients and their lesions": ["P1/x/1.png", "P1/y/2.png", "P2/z/3.png"],
    "class of organs, class": below("tumor|normal", "0|1"),
}
"""Either level may be the classes."""
SECOND_LEVEL = {
    "part": {
        "train and test": below("train|test", AB),
        "train, val, test": below("training|valid|testing", "a|b"),
        "train_images": below("train_images|test_images", AB),
        "Training Set": below("Training Set|Test Set|validation set", "HGSC|LGSC"),
        "TrainData": below("TrainData|TestData", "x|y"),
        "lung_train": below("lung_train|lung_test", "aca|scc"),
        "only train": below("train", "x|y"),
        "train, class, patient": below("train|test", "x|y", P),
    },
    "fold": {
        "fold_0": below("fold_0|fold_1|fold_2", "all|hem"),
        "fold1": below("fold1|fold2", "0|1"),
        "cv3": below("cv1|cv2|cv3", "x|y"),
        "kfold": below("kfold_1|kfold_2", "x|y"),
        "split-1": below("split-1|split-2", AB),
        "fold, class, patient": below("fold1|fold2", AB, P),
    },
    "group": {
        "patients": below(P, AB),
        "patients, 0 and 1": below("10253|10254|8863", "0|1"),
        "accession numbers": below("14-2523|14-2524", "Normal|Tumor"),
        "Patient_A": below("Patient_A|Patient_B", "x|y"),
        "barcodes": below("TCGA-A1-A0SB|TCGA-A2-A0SC", "tumor|normal"),
        "slide_07": below("slide_07|slide_08", "tumor|non-tumor"),
    },
    "set": {
        "sites": below("site_A|site_B", "x|y"),
        "magnifications": below("40X|100X|400X", AB),
        "years": below("2019|2020", AB),
    },
}
"""Classes below parts, folds, patients or sets."""
LAYOUTS = {
    "folds with parts of their own": (
        below("fold1|fold2", "train|test", AB),
        CERTAIN,
        3,
        {},
    ),
    "class, part": (below("x|y", "train|test"), CERTAIN, 1, {"part": 2}),
    "around classes": (below("my study", AB), CERTAIN, 2, {}),
    "around two levels": (below("dataset", "images", "x|y"), CERTAIN, 3, {}),
    "around train and test": (
        below("BreaKHis 400X", "train|test", AB),
        CERTAIN,
        3,
        {"part": 2},
    ),
    "set, patient, class": (below("train|test", P, AB), CERTAIN, 3, {"part": 1, "group": 2}),
    "unknown set, patient, class": (below("A|B", P, AB), BOTH, (1, 3), {}),
    "train, images, class": (
        below("train|test", "images", "x|y"),
        CERTAIN,
        3,
        {"part": 1},
    ),
    "site, train, class": (
        below("site 1|site 2", "train|test", AB),
        CERTAIN,
        3,
        {"set": 1, "part": 2},
    ),
    **{name: (files, CERTAIN, 1, None) for name, files in CLASSES_FIRST.items()},
    **{name: (files, NONE, 1, {}) for name, files in WITHOUT_CLASSES.items()},
    **{name: (files, BOTH, (1, 2), {}) for name, files in IN_DOUBT.items()},
    **{
        name: (files, CERTAIN, 2, {column: 1})
        for column, layouts in SECOND_LEVEL.items()
        for name, files in layouts.items()
    },
}


def listed(cli, root, *options):
    code, out, err = cli("data check --table - --images {}", root, *options)
    return code, {row["image_id"]: row for row in csv.DictReader(out.splitlines())}, err


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout(name, tmp_path, cli):
    files, kind, level, columns = LAYOUTS[name]
    root = tree(tmp_path / "images of mine", *files)
    code, rows, err = listed(cli, root)
    if kind == BOTH:
        first, second = level
        assert (code, rows) == (2, {}), err
        for option in (f"--label-from {first}", f"--label-from {second}", f"--group-from {first}"):
            assert option in err
        for chosen in level:  # each advice leads on
            code, rows, err = listed(
                cli, root, "--label-from", chosen, *(("--group-from", 1) if chosen > 1 else ())
            )
            assert code == 0, err
            assert {row["label"] for row in rows.values()} == {
                path.split("/")[chosen - 1] for path in files
            }
        return
    assert code == 0, err
    if kind == NONE:
        assert {row["label"] for row in rows.values()} == {""}
        assert "not for classes, so images have no label" in err
        _, rows, _ = listed(cli, root, "--label-from", level)
        assert {path: row["label"] for path, row in rows.items()} == {
            path: path.split("/")[0] for path in files
        }
        return
    assert {path: row["label"] for path, row in rows.items()} == {
        path: path.split("/")[level - 1] for path in files
    }
    group = (columns or {}).get("group")
    expected = {path: path.split("/")[group - 1] if group else "" for path in files}
    assert {path: row["group"] for path, row in rows.items()} == expected
    assert ("folders are taken for" in err) == (columns is not None), err
    assert "warning" not in err


@pytest.mark.parametrize(
    ("name", "folds"),
    [
        ("train_images", "folder"),
        ("around train and test", "folder"),
        ("class, part", "folder"),
        ("set, patient, class", "folder"),
        ("fold_0", "site:fold"),
        ("sites", "site:set"),
    ],
)
def test_the_split_of_folders_is_kept(name, folds, tmp_path, cli, completed):
    files, _, _, columns = LAYOUTS[name]
    root = tree(tmp_path / "images", *files)
    listed(cli, root)
    completed("data check --images {} --folds {} --write-folds T/f.csv", root, folds)
    rows = rows_of(tmp_path / "f.csv")
    level = columns["part" if folds == "folder" else folds.partition(":")[2]] - 1
    if folds == "folder":
        for row in rows:
            assert row["image_id"].split("/")[level].casefold().startswith(row["part"])
    else:
        by_fold = {(row["fold"], row["image_id"].split("/")[level]) for row in rows}
        assert (
            len(by_fold)
            == len({fold for fold, _ in by_fold})
            == len({folder for _, folder in by_fold})
        )


SIZE = (40, 40)


def check(cli, root, *options):
    code, out, err = cli(
        "data check --no-timing --images {} --no-copies --json --encoder tiny --view 1.0:32 "
        "--stain none",
        root,
        *options,
    )
    assert out, err
    return code, json.loads(out), err


@pytest.mark.parametrize(
    ("name", "following"),
    [
        ("train_images", "--folds folder"),
        ("fold_0", "--folds site:fold"),
        ("sites", ""),
        ("patients", ""),
    ],
)
def test_what_is_suggested_follows_the_reading(name, following, tmp_path, cli):
    files = [path.replace(".png", f"{n}.png") for path in LAYOUTS[name][0] for n in range(4)]
    code, content, err = check(cli, tree(tmp_path / "images", *files, size=SIZE))
    assert code == 0, (content["findings"], err)
    assert len(content["classes"]) == 2
    assert following in content["next"][1]
    assert ("site:" in content["next"][1] or "folder" in content["next"][1]) == bool(following)


@pytest.mark.parametrize("beside", ["masks", "docs", "unlabelled", "benign extra"])
@pytest.mark.parametrize(
    ("parts", "around"), [("train|test", ""), ("Training Set|Test Set", "BreaKHis 400X/")]
)
def test_a_folder_beside_the_parts_is_none(parts, beside, around, tmp_path, cli):
    files = [f"{around}{path}" for path in below(parts, AB)]
    root = tree(
        tmp_path / "images", *files, f"{around}{beside}/1.png", f"{around}{beside}/deep/2.png"
    )
    code, rows, err = listed(cli, root)
    assert (code, sorted(rows)) == (0, sorted(files)), err
    assert {row["label"] for row in rows.values()} == set(LABELS)
    assert "next to the parts of a split, and none; left out" in err


def test_an_unlabelled_test_folder(tmp_path, cli):
    """The note names no split that cannot be used."""
    root = tree(tmp_path / "images", *below("train", AB), "test/8.png", "test/9.png")
    code, rows, err = listed(cli, root)
    assert code == 0, err
    assert {path: row["label"] for path, row in rows.items()} == {
        "train/benign/0.png": "benign",
        "train/malignant/1.png": "malignant",
        "test/8.png": "",
        "test/9.png": "",
    }
    assert "--folds folder" not in err


@pytest.mark.parametrize("name", ["test", "Train", "validation set"])
def test_a_part_beside_flat_classes_is_no_class(name, tmp_path, cli):
    root = tree(tmp_path / "images", *below(f"{AB}|{name}"))
    code, rows, err = listed(cli, root)
    assert code == 0
    assert {row["label"] for row in rows.values()} == {*LABELS, ""}
    assert f"({name}), not for classes" in err
    code, rows, _ = listed(cli, root, "--label-from", 1)
    assert {row["label"] for row in rows.values()} == {*LABELS, name}


SYSTEMS = [
    "__MACOSX/benign/._1.png",
    "__MACOSX/._benign",
    "benign/.ipynb_checkpoints/1-checkpoint.png",
    "benign/._1.png",
    "benign/Thumbs.db",
    ".DS_Store",
    "malignant/desktop.ini",
    "@eaDir/1.png",
    "benign/@eaDir/1.png/SYNO_THUMB.jpg",
    ".AppleDouble/1.png",
    "$RECYCLE.BIN/1.png",
    "#recycle/2.png",
    "lost+found/3.png",
    "ehthumbs.db",
]


@pytest.mark.parametrize("around", ["", "train/"])
def test_files_of_systems_never_count(around, tmp_path, cli):
    root = tree(
        tmp_path / "images",
        *(f"{around}{label}/{n}.png" for label in LABELS for n in range(4)),
        size=SIZE,
    )
    for name in SYSTEMS:
        path = root / (around if name.startswith(tuple(LABELS)) else "") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    code, content, _ = check(cli, root)
    assert (code, content["images"], list(content["classes"])) == (0, 8, LABELS), content[
        "findings"
    ]
    assert not any(name in finding["file"] for name in SYSTEMS for finding in content["findings"])


@pytest.mark.parametrize("suffixes", [("jp2",), ("heic", "gif"), ("AVIF", "psd", "jxl"), ("nd2",)])
def test_pictures_that_are_not_read(suffixes, tmp_path, cli):
    root = tree(
        tmp_path / "images", *(f"{label}/{n}.png" for label in LABELS for n in range(4)), size=SIZE
    )
    for suffix in suffixes:
        for n in range(3):
            (root / "benign" / f"{n}.{suffix}").write_bytes(b"x")
    (root / "notes.txt").write_text("x")
    (root / "table.xlsx").write_bytes(b"x")
    code, out = checked(cli, root, "--stain", "none")
    assert code == 1
    for suffix in suffixes:
        assert f": 3 .{suffix.casefold()} pictures not read; save as PNG or TIFF" in out
    assert "note notes.txt, table.xlsx: not a picture, left out" in out
    code, rows, err = listed(cli, root)
    assert (code, len(rows)) == (0, 8)
    assert f"3 .{suffixes[0].casefold()} pictures not read" in err
    code, _, err = cli("stain {} --out T/stained --stain none", root / "benign")
    assert f"3 .{suffixes[0].casefold()} pictures not read" in err


@pytest.mark.parametrize("suffix", ["heic", "gif", "jp2"])
def test_only_pictures_that_are_not_read(suffix, tmp_path, refused):
    for label in LABELS:
        (tmp_path / label).mkdir()
        (tmp_path / label / f"1.{suffix}").write_bytes(b"x")
    (tmp_path / "a.txt").write_text("x")
    for command in (
        ("data check --no-timing --images {}", tmp_path),
        ("stain {} --out T/out", tmp_path),
    ):
        err = refused(*command)
        assert (
            f"image in this folder, but 1 .txt, 2 .{suffix}; save the pictures as PNG or TIFF"
            in err
        )


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "JPG", "JFIF"])
def test_other_suffixes_of_jpeg(suffix, tmp_path, cli):
    files = [f"{label}/{n}.jpg" for label in LABELS for n in range(2)]
    for path in sorted(tree(tmp_path, *files, size=SIZE).rglob("*.jpg")):
        path.rename(path.with_suffix(f".{suffix}"))
    code, content, _ = check(cli, tmp_path)
    assert (code, content["images"]) == (0, 4), content["findings"]


BREAKHIS = [
    f"SOB_{kind}_{subtype}-14-{patient}-{power}-{n:03d}.png"
    for power in (200, 400)
    for kind, subtype, patient in (
        ("B", "A", "22549AB"),
        ("B", "F", "9133"),
        ("M", "DC", "2523"),
        ("M", "LC", "15570"),
    )
    for n in (1, 2, 3)
]


@pytest.mark.parametrize("parts", ["train test", "train val test"])
def test_folds_that_are_copied_to_folders_hold_each_image_once(parts, tmp_path, completed):
    parts = parts.split()
    images = tree(tmp_path / "images", *BREAKHIS)
    for k, fold in enumerate(("fold1", "fold2")):
        for n, name in enumerate(BREAKHIS):
            folder = (
                tmp_path / "mkfold" / fold / parts[(n + k) % len(parts)] / f"{name.split('-')[3]}X"
            )
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(images / name, folder)
    out, _ = completed("data check --table - --images T/mkfold")
    rows = list(csv.DictReader(out.splitlines()))
    assert len(rows) == len(BREAKHIS)
    stems = {name[:-4] for name in BREAKHIS}
    for row in rows:
        stem = row["image_id"].rsplit("/", 1)[-1].removesuffix(".png")
        assert stem in stems
        assert row["group"].endswith(stem.split("-")[2])
        assert row["label"] == {"B": "benign", "M": "malignant"}[stem.split("_")[1]]
