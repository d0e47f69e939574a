"""Patients whom names of published data sets hold: whatever the folders, unless the user says where patients are."""

import io
import json
import shlex
import shutil

import pytest
from bchisto.data import make_bach, read_dataset
from conftest import typed
from PIL import Image
from sample_trees import tree
from written_tables import checked, listed, read_json, write_lines

NAMES = {
    name: [tuple(row.split()) for row in rows]
    for name, rows in {
        "breakhis": [
            "SOB_B_A-14-22549AB-40-001 14-22549AB",
            "SOB_B_A-14-22549CD-100-002 14-22549CD",
            "SOB_M_DC-14-2523-400-003 14-2523",
            "SOB_M_LC-14-2523-200-010 14-2523",
        ],
        "idc": [
            "8863_idx5_x451_y1451_class0 8863",
            "8864_idx5_x1_y51_class1 8864",
            "8863_idx5_x501_y1451_class1 8863",
            "12750_idx5_x501_y1451_class0 12750",
        ],
        "cbis-ddsm": [
            "Mass-Training_P_00001_LEFT_CC_1 P_00001",
            "Calc-Test_P_00038_RIGHT_MLO_2 P_00038",
            "Mass-Training_P_00001_LEFT_MLO P_00001",
            "P_00012_RIGHT_CC P_00012",
        ],
        "inbreast": [
            "20586908_6c613a14b80a8591_MG_R_CC_ANON 6C613A14B80A8591",
            "20586934_6c613a14b80a8591_MG_L_CC_ANON 6C613A14B80A8591",
            "20586960_aa613a14b80a8591_MG_R_ML_ANON AA613A14B80A8591",
            "20586961_ba613a14b80a8591_MG_R_ML_ANON BA613A14B80A8591",
        ],
        "ddsm": [
            "A_1141_1.LEFT_CC A_1141_1",
            "A_1141_1.RIGHT_MLO A_1141_1",
            "B_3159_1.LEFT_CC B_3159_1",
            "D_4000_1.LEFT_CC D_4000_1",
        ],
        "TCGA": [
            "TCGA-A1-A0SB-01Z-00-DX1.B34C_7 TCGA-A1-A0SB",
            "TCGA-A1-A0SB-01Z-00-DX2 TCGA-A1-A0SB",
            "TCGA-BH-A0BM-01A TCGA-BH-A0BM",
            "TCGA-E2-A14N TCGA-E2-A14N",
        ],
    }.items()
}
FOLDERS = [
    ("gutartig", "bösartig"),
    ("class A", "class B"),
    ("0", "1"),
    ("H&E/ja", "H&E/nein"),
    ("train/x", "train/y"),
]
WRITTEN = ["{}.png", "norm_{}.png", "{}_aug-3.jpg", "{} (2).TIF", "copy of {}.png"]


def written(names, folders, form):
    """Return relative path to patient."""
    return {
        f"{folders[n % 2]}/{form.format(name)}": patient for n, (name, patient) in enumerate(names)
    }


def grouped(cli, images, *options):
    rows, err = listed(cli, images, *options)
    return {name: row["group"] for name, row in rows.items()}, rows, err


def write_table(path, groups, *, column="", cells=()):
    rows = [",".join(["path", "label", *([column] if column else [])])]
    cells = [*cells] or [""] * len(groups)
    for n, (name, cell) in enumerate(zip(groups, cells, strict=True)):
        rows.append(f"images/{name},{'uv'[n % 2]}" + (f",{cell}" if column else ""))
    return write_lines(path, *rows)


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        *zip(NAMES, [*FOLDERS[1:], *FOLDERS[:2]], strict=True),
        *(("breakhis", folders) for folders in FOLDERS[2:]),
    ],
)
def test_whatever_the_class_folders(name, folders, tmp_path, cli):
    form = WRITTEN[FOLDERS.index(folders)]
    patients = written(NAMES[name], folders, form)
    groups, rows, err = grouped(cli, tree(tmp_path / "images", *patients))
    assert groups == patients
    level = folders[0].split("/")[-1], folders[1].split("/")[-1]
    assert {path: row["label"] for path, row in rows.items()} == {
        path: level[n % 2] for n, path in enumerate(patients)
    }
    assert {row["mpp"] for row in rows.values()} == {""}
    count = len(set(patients.values()))
    assert (
        f"4 of 4 names are those of {name}: classes from the folders, {count} patients from the names; "
        "--group-from none ignores them"
    ) in err


BREAKHIS_TREES = {
    # folder -> whether the names tell the classes
    "BreaKHis_v1/breast/{kind}/SOB/x/SOB_{B}_A_14-22549AB/40X": True,
    "SOB_{B}_A_14-22549AB/SOB_{B}_F-14-25197/40X": True,
    "40X": True,
    "train/40X": True,
    "mkfold/fold1/test/40X": True,
    "": True,
    "{kind}/40X": False,
    "40X/{kind}": False,
    "SOB_{B}/40X": False,
    "train/{kind}/40X": False,
    "{kind}": False,
}


@pytest.mark.parametrize(
    ("pattern", "size"),
    [*((pattern, (700, 460)) for pattern in BREAKHIS_TREES), ("40X", (350, 230))],
)
def test_which_trees_of_breakhis_are_the_published_one(pattern, size, tmp_path, cli):
    """In others classes are those of the folders; micrometres are of the published tree and size only."""
    files = ("SOB_B_A-14-22549AB-40-001.png", "SOB_M_LC-14-2523-40-010.png")
    for name, letter, kind in zip(files, "BM", ("gut", "böse"), strict=True):
        folder = tmp_path / "images" / pattern.format(kind=kind, B=letter)
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(folder / name)
    groups, rows, err = grouped(cli, tmp_path / "images")
    is_published = BREAKHIS_TREES[pattern]
    assert set(groups.values()) == {"14-22549AB", "14-2523"}
    labels = {row["label"] for row in rows.values()}
    if is_published:
        assert labels == {"benign", "malignant"}
    elif pattern.startswith("SOB"):
        assert labels == {"SOB_B", "SOB_M"}
    else:
        assert labels == {"gut", "böse"}
    has_scale = is_published and size == (700, 460)
    assert {row["mpp"][:5] for row in rows.values()} == {"0.492" if has_scale else ""}
    # a folder that names give a patient is not asked for one
    assert "not taken for patients" not in err
    read = read_dataset(tmp_path / "images", dataset="breakhis")
    assert {record.label for record in read.records} == {"benign", "malignant"}
    assert {record.mpp is not None for record in read.records} == {size == (700, 460)}


@pytest.mark.parametrize("name", ["breakhis", "TCGA"])
def test_none_ignores_them(name, tmp_path, cli):
    patients = written(NAMES[name], ("a", "b"), "{}.png")
    root = tree(tmp_path / "images", *patients)
    groups, rows, err = grouped(cli, root, "--group-from", "none")
    assert (set(groups.values()), {row["label"] for row in rows.values()}) == ({""}, {"a", "b"})
    assert "names are those of" not in err
    manifest = write_table(tmp_path / "m.csv", patients)
    assert set(grouped(cli, manifest)[0].values()) == set(patients.values())
    assert set(grouped(cli, manifest, "--group-from", "none")[0].values()) == {""}
    assert {record.group for record in read_dataset(root, group_from="none").records} == {None}


def test_lower_case_is_the_same_patient(tmp_path, cli):
    files = ["a/SOB_B_A-14-22549AB-40-001.png", "b/sob_b_a-14-22549ab-40-002.png"]
    assert set(grouped(cli, tree(tmp_path, *files))[0].values()) == {"14-22549AB"}


def test_some_names_are_published_and_others_not(tmp_path, cli):
    patients = written(NAMES["breakhis"], ("a", "b"), "{}.png")
    own = {"a/1.png": "", "b/SOB_mine-3.png": "", "b/8863_idx5.png": ""}
    groups, _, err = grouped(cli, tree(tmp_path, *patients, *own))
    assert groups == patients | own
    assert "4 of 7 names are those of breakhis: classes from the folders, 3 patients" in err


def test_two_data_sets_in_one_folder(tmp_path, cli):
    """Patients of one number in two data sets are two; others keep the name that they have in either alone."""
    patients = {
        "a/12345_idx5_x1_y1_class0.png": "idc 12345",
        "b/20586908_12345_MG_R_CC_ANON.png": "inbreast 12345",
        "a/77_idx5_x1_y1_class0.png": "77",
        "b/TCGA-A1-A0SB-01Z.png": "TCGA-A1-A0SB",
    }
    groups, _, err = grouped(cli, tree(tmp_path, *patients))
    assert groups == patients
    assert (
        "2 of 4 names are those of idc, 1 of 4 names are those of inbreast and 1 of 4 names are those of TCGA: "
        "classes from the folders, 4 patients from the names"
    ) in err


def test_images_without_labels_and_labels_by_a_rule_do_not_come_from_folders(tmp_path, cli):
    flat = tree(tmp_path / "flat", *(f"x_{name}.png" for name, _ in NAMES["breakhis"]))
    groups, _, err = grouped(cli, flat)
    assert "" not in groups.values()
    assert "4 of 4 names are those of breakhis: 3 patients from the names; --group-from" in err
    _, rows, err = grouped(cli, flat, "--label-from", "SOB_(.)")
    assert {row["label"] for row in rows.values()} == {"B", "M"}
    assert "4 of 4 names are those of breakhis: 3 patients from the names" in err


@pytest.mark.parametrize(
    ("column", "cells", "expected"),
    [
        ("patient", "PQPQ", "PQPQ"),
        ("patient", ["P", "", "", ""], ["P", "", "", ""]),  # as it is, with a warning
        ("case_id", "1122", "1122"),
        ("patient", ["NA"] * 4, None),
        ("patient", [""] * 4, None),
        ("site", "xyxy", None),
    ],
)
def test_a_column_of_patients_is_never_replaced(column, cells, expected, tmp_path, cli):
    patients = written(NAMES["breakhis"], ("a", "b"), "{}.png")
    tree(tmp_path / "images", *patients)
    manifest = write_table(tmp_path / "m.csv", patients, column=column, cells=cells)
    wanted = dict(zip(patients, expected or patients.values(), strict=True))
    ignored = dict.fromkeys(patients, "")
    if expected:
        ignored = wanted  # a column is not a name
    for options, groups in (((), wanted), (("--group-from", "none"), ignored)):
        found, _, err = grouped(cli, manifest, *options)
        assert {name.removeprefix("images/"): group for name, group in found.items()} == groups
        is_said = "classes from the table, 3 patients from the names" in err
        assert is_said is (expected is None and not options)
        is_partial = "" in [*(expected or "x")] and not options
        assert ("names of images without a patient hold one" in err) is is_partial
        assert grouped(cli, tmp_path / "images", "--labels", manifest, *options)[0] == groups


def test_what_the_user_names_is_never_replaced(tmp_path, cli):
    patients = written(NAMES["idc"], ("a/P1", "b/P2"), "{}.png")
    root = tree(tmp_path / "images", *patients)
    assert set(grouped(cli, root, "--group-from", 2)[0].values()) == {"P1", "P2"}
    manifest = write_table(tmp_path / "m.csv", patients, column="who", cells="1122")
    assert set(grouped(cli, manifest, "--group-column", "who")[0].values()) == {"1", "2"}


def test_folders_that_are_patients_stay_so(tmp_path, cli):
    own = {
        "P1/benign/8863_idx5_x1_y51_class0.png": "P1",
        "P2/malignant/8863_idx5_x1_y1_class1.png": "P2",
    }
    root = tree(tmp_path / "own", *own)
    groups, _, err = grouped(cli, root)
    assert (groups, "from the names" in err) == (own, False)
    assert set(grouped(cli, root, "--group-from", "none")[0].values()) == {""}
    of_tcga = {f"TCGA-A1-A0S{n}/{'xy'[n % 2]}/{n}.png": f"TCGA-A1-A0S{n}" for n in range(4)}
    groups, _, _ = grouped(cli, tree(tmp_path / "tcga", *of_tcga), "--label-from", 2)
    assert groups == of_tcga


def test_it_does_not_matter_where_the_folder_is_or_how_it_is_typed(tmp_path, cli, monkeypatch):
    place = tmp_path / "TCGA-A1-A0SB" / "8863_idx5_x1_y1_class0"
    root = tree(place / "images", "a/1.png", "b/2.png")
    (place / "m.csv").write_text("path,label\nimages/a/1.png,a\nimages/b/2.png,b\n")
    absolute = [grouped(cli, name)[0] for name in (root, place / "m.csv")]
    monkeypatch.chdir(root)
    relative = [grouped(cli, name)[0] for name in (".", "../m.csv")]
    assert absolute == relative
    assert {group for groups in absolute for group in groups.values()} == {""}


@pytest.mark.parametrize(
    "path",
    [
        "SOB/SOB_M_DC_14-2523/40X/SOB_M_DC-14-2523-40-00{}.png",
        "SOB_M_DC-14-2523-40-00{}.png",
        "8863/0/8863_idx5_x1_y5{}_class0.png",
    ],
)
def test_none_also_ignores_those_of_a_published_layout(path, tmp_path, cli):
    root = tree(tmp_path, path.format(1), path.format(2))
    assert len({*grouped(cli, root)[0].values()} - {""}) == 1
    assert set(grouped(cli, root, "--group-from", "none")[0].values()) == {""}


def test_none_is_recorded_and_read_from_a_file_of_options(tmp_path, completed, tiny_options):
    patients = written(NAMES["breakhis"], ("a", "b"), "{}.png")
    root = tree(tmp_path / "images", *patients, size=(80, 80))
    run = tmp_path / "run"
    options = tmp_path / "options.yaml"
    options.write_text("group-from: none\n")
    words = typed("featurize --images {} --out {}", root, run, *tiny_options, "--stain", "none")
    facts = run / "features" / "dataset.json"
    completed(*words)
    assert read_json(facts)["groups"] == patients
    (store,) = (run / "features").glob("*.h5")
    before = store.read_bytes()
    for more in (("--group-from", "none"), ("--config", options)):
        completed(*words)
        completed(*words, *more)
        assert read_json(facts)["groups"] == {}
        last = sorted((run / "records").glob("*featurize*"))[-1]
        assert read_json(last)["config"]["group_from"] == "none"
    assert store.read_bytes() == before


# BACH, whose names hold no patient


def photos(root, *, count=8, size=(2048, 1536), truth=True):
    """Write images named as those of BACH in its folders; one of 40 is of a published patient."""
    label_of = {}
    blank = io.BytesIO()
    Image.new("P", size).save(blank, "TIFF", compression="tiff_lzw")
    for name, prefix in (("Benign", "b"), ("InSitu", "is"), ("Invasive", "iv"), ("Normal", "n")):
        folder = root / "Photos" / name
        folder.mkdir(parents=True)
        numbers = [32, 33, *(n for n in range(1, 101) if n not in (32, 33))][: count // 4]
        for number in numbers:
            file = f"{prefix}{number:03d}.tif"
            (folder / file).write_bytes(blank.getvalue() + file.encode())
            label_of[file] = name
    if truth:
        rows = "".join(f"{name},{label}\n" for name, label in label_of.items())
        (root / "Photos" / "microscopy_ground_truth.csv").write_text(rows)
    return root


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({}, True),
        ({"truth": False}, False),
        ({"size": (1024, 768)}, False),
        ({"truth": False, "count": 360}, True),
        ({"truth": False, "count": 356}, False),
        ({"truth": False, "count": 400, "size": (512, 384)}, False),
    ],
    ids=str,
)
def test_the_published_list_of_bach(options, known, tmp_path, cli):
    root = photos(tmp_path / "images", **options)
    groups, rows, err = grouped(cli, root)
    assert (groups["b032.tif"], groups["b033.tif"]) == (("11", "11") if known else ("", ""))
    assert {row["mpp"] for row in rows.values()} == {"0.42" if known else ""}
    count = len(rows)
    said = f"{count} of {count} images are only named as those of BACH"
    assert (said in err, "--dataset folder reads folders of your own" in err) == (not known,) * 2
    for others in ({"group_from": "none"}, {"dataset": "folder"}):
        assert {record.group for record in read_dataset(root, **others).records} == {None}


def test_a_truth_that_contradicts_and_one_image_of_another_size(tmp_path):
    root = photos(tmp_path / "images")
    truth = root / "Photos" / "microscopy_ground_truth.csv"
    right = truth.read_text()
    truth.write_text(right.replace("b032.tif,Benign", "b032.tif,Normal"))
    assert {record.group for record in read_dataset(root).records} == {None}
    truth.write_text(right)
    Image.new("P", (2048, 1000)).save(root / "Photos" / "Benign" / "b032.tif")
    found = {record.image_id: record for record in read_dataset(root).records}
    assert (found["b032.tif"].group, found["b032.tif"].mpp) == (None, None)
    assert (found["b033.tif"].group, found["b033.tif"].mpp) == ("11", 0.42)


# synthetic images


def test_real_images_beside_synthetic_ones_are_real(tmp_path, cli):
    """And synthetic ones are so wherever the table is that lists them."""
    make_bach(tmp_path, images_per_class=1, size=(96, 96), jobs=1)
    tree(tmp_path, "mine/a/1.png", "mine/b/2.png", "ICIAR2018_BACH_Challenge/mine/a/3.png")
    names = ["mine/a/1.png", "mine/b/2.png", "ICIAR2018_BACH_Challenge/mine/a/3.png"]
    for folder in (tmp_path, tmp_path / "ICIAR2018_BACH_Challenge"):
        rows = [f"{tmp_path / name},{'xy'[n % 2]}" for n, name in enumerate(names)]
        write_lines(folder / "m.csv", "path,label", *rows)
        assert not read_dataset(folder / "m.csv").synthetic
    assert not read_dataset(tmp_path / "mine").synthetic
    made = "ICIAR2018_BACH_Challenge/Photos/Benign/b001.tif"
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "m.csv").write_text(f"path,label\n../{made},x\n../mine/a/1.png,y\n")
    assert read_dataset(tmp_path / "deep" / "m.csv").synthetic
    assert read_dataset((tmp_path / made).parent, dataset="folder").synthetic
    moved = shutil.move(tmp_path / "ICIAR2018_BACH_Challenge", tmp_path / "renamed")
    assert read_dataset(moved).synthetic
    out = checked(cli, tmp_path / "m.csv")[1]
    assert "synthetic" not in out.casefold().replace("iciar", "")


# what is said of published layouts


def test_a_flat_folder_of_breakhis_is_not_misplaced(tmp_path, cli):
    root = tree(tmp_path / "new", *(f"{name}.png" for name, _ in NAMES["breakhis"]))
    _, _, err = grouped(cli, root)
    assert "its magnification is that of its name" not in err
    assert "4 of the 7,909 published images are present" in err
    finding = next(f for f in read_dataset(root).findings if "7,909" in f.message)
    assert finding.labels_only  # not said of images to predict
    wrong = tree(tmp_path / "wrong", "SOB_M_DC_14-2523/40X/SOB_M_DC-14-2523-100-001.png")
    tree(wrong, "SOB_M_DC_14-2523/40X/SOB_M_DC-14-2523-40-001.png")
    assert "its magnification is that of its name, not its folder" in grouped(cli, wrong)[2]


def test_the_commands_after_a_check_carry_what_it_recommends(shared, tmp_path, cli):
    pale = sorted((shared / "data" / "breakhis").rglob("SOB_M_MC-14-*-40-*.png"))[:8]
    for number, path in enumerate(pale):
        folder = tmp_path / "images" / "xy"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    check = typed("data check --no-timing --images T/images --no-copies --group-from none")
    _, out, _ = cli(*check, "--encoder", "tiny", "--view", "1.0:224")
    assert "use --stain macenko-robust" in out
    following = out.partition("\nNEXT\n")[2].splitlines()
    assert following[0].count("--stain") == 1
    assert "--group-from none" in following[0]
    assert "--stain macenko-robust" in following[0]
    words = shlex.split(following[0])[1:]
    words[words.index("run")] = tmp_path / "run"
    assert cli(*words, "--weights", "random", "--augmentations", 1)[0] == 0
    # also in place of what was typed
    words = typed("--encoder tiny --view 1.0:230 --stain macenko --json")
    found = json.loads(cli(*check, *words)[1])
    assert found["next"][0].count("--stain") == 1
    assert "--stain macenko-robust" in found["next"][0]


@pytest.mark.parametrize(
    ("column", "options", "unit"),
    [
        ("Case_ID", (), "case"),
        ("animal", ("--group-column", "animal"), "animal"),
        ("", (), "patient"),  # names hold them
    ],
)
def test_groups_are_called_as_their_column(
    column, options, unit, tmp_path, cli, completed, tiny_options
):
    """In `data check`, and in what all outputs of a result are made of."""
    names = [f"SOB_B_A-14-{n}-40-00{k}" for n in range(101, 105) for k in (1, 2)]
    files = {f"{'ab'[n % 2]}/{name}.png": "" for n, name in enumerate(names)}
    tree(tmp_path / "images", *files, size=(80, 80))
    cells = [f"P{n // 2}" for n in range(8)]
    if not column:
        cells = ()
    manifest = write_table(tmp_path / "m.csv", files, column=column, cells=cells)
    _, out = checked(cli, manifest, *options)
    assert f"Largest of 4 {unit}s by class" in out
    assert f"by {unit} " in out
    assert "group " not in out.replace("group by none", "")
    run = tmp_path / "run"
    words = ("--images", manifest, *options, "--out", run, *tiny_options, "--stain", "none")
    completed("featurize", *words)
    completed("boost --out {} --head prototype --folds 2", run)
    (metrics,) = run.glob("boost/*/metrics.json")
    assert read_json(metrics)["run"]["names"] == {"image": "image", "group": unit}


def test_what_depends_on_the_user_stands_below_the_commands(tmp_path, cli):
    files = [
        f"{label}/rot{n}/{n}{k}.png" for label in ("tumor", "normal") for n in "xyz" for k in (1, 2)
    ]
    tree(tmp_path / "images", *files, size=(80, 80))
    check = typed("data check --no-timing --no-copies --stain none --images")
    _, out, _ = cli(*check, tmp_path / "images")
    following = out.partition("\nNEXT\n")[2].splitlines()
    assert "--group-from" not in following[0]
    assert following[2].endswith("if folders at level 2 are patients, use --group-from 2")
    rows = [f"images/{name},{name[0]},K{n // 4}{'ab'[n // 2 % 2]}" for n, name in enumerate(files)]
    manifest = tmp_path / "m.csv"
    write_lines(manifest, "path,label,slide", *rows)
    _, out, _ = cli(*check, manifest)
    last = out.partition("\nNEXT\n")[2].splitlines()[-1]
    words = shlex.split(last.partition("of one patient, ")[2].removesuffix(" joins them"))
    words.remove("with")
    assert words[:3] == ["--group-column", "slide", "--group-from"]
    assert set(grouped(cli, manifest, *words)[0].values()) == {"K0", "K1", "K2"}
    _, out, _ = cli(*check, manifest, *words)
    assert "of one patient" not in out
