import csv
import shutil

import pytest
from bchisto.core import InputError, MissingInputError
from bchisto.data import make_bach, read_dataset, survey_dataset, unique_images
from conftest import refuses
from sample_trees import exchange, picture, told
from written_tables import rows_of


@pytest.fixture(scope="module")
def bach(tmp_path_factory):
    return make_bach(tmp_path_factory.mktemp("bach"), images_per_class=2, size=(128, 96), jobs=1)


@pytest.fixture
def bach_copy(bach, tmp_path):
    return shutil.copytree(bach, tmp_path / "ICIAR2018_BACH_Challenge")


def levels(dataset):
    return {(finding.level, finding.file) for finding in dataset.findings}


def test_bach_is_recognised_from_each_level(bach):
    for root in (bach, bach / "Photos", bach.parent):
        dataset = read_dataset(root)
        assert (dataset.name, len(dataset), dataset.synthetic) == ("bach", 8, True)
        assert dataset.classes == ("Normal", "Benign", "InSitu", "Invasive")
    assert [record.image_id for record in dataset.records] == sorted(
        record.image_id for record in dataset.records
    )
    assert dataset.records[0].image_id == "b001.tif"
    assert dataset.records[0].mpp == 0.42
    assert dataset.class_counts() == {"Normal": 2, "Benign": 2, "InSitu": 2, "Invasive": 2}
    assert not all(record.group for record in dataset.records)


def test_bach_image_without_a_label(bach_copy):
    picture(bach_copy / "Photos" / "Benign" / "b077.tif")
    with pytest.raises(
        InputError,
        match=r"b077\.tif: no label in microscopy_ground_truth\.csv; add its row or remove",
    ):
        read_dataset(bach_copy).raise_errors()


def test_bach_label_that_contradicts_the_folder(bach_copy):
    truth = bach_copy / "Photos" / "microscopy_ground_truth.csv"
    exchange(truth, "b001.tif,Benign", "b001.tif,Normal")
    with pytest.raises(
        InputError, match=r"b001\.tif: is in Benign but microscopy_ground_truth\.csv has Normal"
    ):
        read_dataset(bach_copy).raise_errors()


def test_bach_labels_that_are_no_text(bach_copy):
    (bach_copy / "Photos" / "microscopy_ground_truth.csv").write_bytes(b"b001.tif,B\xe9nigne\n")
    with pytest.raises(InputError, match=r"ground_truth\.csv: not a UTF-8 CSV file .*save it as"):
        read_dataset(bach_copy)


def test_bach_row_without_an_image_and_strange_rows(bach_copy):
    truth = bach_copy / "Photos" / "microscopy_ground_truth.csv"
    truth.write_text(truth.read_text() + "b099.tif,Benign\nn001.tif,Benign\nwhat\n")
    found = levels(read_dataset(bach_copy))
    assert ("error", "b099.tif") in found
    assert len([1 for level, file in found if file.startswith("microscopy_ground_truth.csv:")]) == 2
    with pytest.raises(InputError, match=r"\(\d more; see `bchisto data check`\)"):
        read_dataset(bach_copy).raise_errors()


def test_bach_without_ground_truth_uses_folders_and_says_so(bach_copy):
    (bach_copy / "Photos" / "microscopy_ground_truth.csv").unlink()
    (bach_copy / "Photos" / "Benign" / "odd.tif").write_bytes(
        (bach_copy / "Photos" / "Benign" / "b001.tif").read_bytes()
    )
    (bach_copy / "Photos" / "notes.txt").write_text("x")
    dataset = read_dataset(bach_copy)
    assert {
        ("warning", "microscopy_ground_truth.csv"),
        ("warning", "odd.tif"),
        ("warning", "notes.txt"),
    } <= levels(dataset)


def test_bach_sizes_and_content_are_checked(bach_copy):
    shutil.copy(
        bach_copy / "Photos" / "Benign" / "b001.tif", bach_copy / "Photos" / "Benign" / "b002.tif"
    )
    told(
        survey_dataset(read_dataset(bach_copy), decode=True),
        "warning",
        "b001.tif: 128x96, published images are 2048x1536",
        "b002.tif: the same image as b001.tif; used once",
    )


def test_the_official_ground_truth_reads_whole(shared, tmp_path):
    table = shared / "data" / "tables" / "bach" / "microscopy_ground_truth.csv"
    with table.open() as handle:
        rows = list(csv.reader(handle))
    assert len(rows) == 400
    photos = tmp_path / "Photos"
    for name, label in rows:
        (photos / label).mkdir(parents=True, exist_ok=True)
        (photos / label / name).write_bytes(b"")
    shutil.copy(table, photos)
    dataset = read_dataset(tmp_path, dataset="bach")
    assert set(dataset.class_counts().values()) == {100}
    assert dataset.findings == ()


def breakhis_path(root, name):
    _, kind, rest = name.split("_")
    parts = rest.split("-")
    benign = "benign" if kind == "B" else "malignant"
    slide = f"SOB_{kind}_{parts[0]}_{parts[1]}-{parts[2]}"
    return root / f"histology_slides/breast/{benign}/SOB/x/{slide}/{parts[3]}X/{name}.png"


def test_breakhis_names_carry_everything(tmp_path):
    for seed, name in enumerate(
        ["SOB_M_DC-14-2523-40-001", "SOB_B_A-14-22549AB-100-002", "SOB_M_LC-14-13412-400-003"]
    ):
        picture(breakhis_path(tmp_path, name), seed)
    dataset = read_dataset(tmp_path)
    assert (dataset.name, dataset.classes) == ("breakhis", ("benign", "malignant"))
    by_id = {record.image_id: record for record in dataset.records}
    record = by_id["SOB_M_DC-14-2523-40-001.png"]
    assert (record.label, record.group, record.magnification) == ("malignant", "14-2523", 40)
    assert by_id["SOB_B_A-14-22549AB-100-002.png"].group == "14-22549AB"
    assert all(record.group for record in dataset.records)
    types = read_dataset(tmp_path, label_level="type")
    assert types.classes == ("A", "DC", "LC")
    assert len(read_dataset(tmp_path, magnifications=[40, 400])) == 2
    with pytest.raises(InputError, match="`magnifications` 50: choose one of 40, 100, 200, 400"):
        read_dataset(tmp_path, magnifications=[50])
    with pytest.raises(InputError, match=r"`label_level` types: did you mean type\?"):
        read_dataset(tmp_path, label_level="types")


def test_breakhis_strays_and_misplaced_files_are_named(tmp_path):
    picture(breakhis_path(tmp_path, "SOB_M_DC-14-2523-40-001"))
    picture(tmp_path / "histology_slides" / "40X" / "SOB_M_DC-14-2523-100-001.png", 1)
    picture(tmp_path / "histology_slides" / "SOB_M_XX-14-2523-100-001.png", 2)
    dataset = read_dataset(tmp_path)
    wrong = "its magnification is that of its name, not its folder"
    told(dataset, "warning", "not a BreakHis file name", wrong)
    told(dataset, "note", "2 of the 7,909")


def test_breakhis_official_names_all_parse(shared):
    from bchisto.data.layouts.breakhis import BREAKHIS_NAME

    rows = rows_of(shared / "data" / "tables" / "breakhis" / "official_folds.csv")
    matches = [BREAKHIS_NAME.fullmatch(row["image"]) for row in rows]
    assert len(matches) == 7909
    assert all(matches)
    assert len({f"{m[3]}-{m[4]}" for m in matches}) == 81
    assert len({f"{m[2]}-{m[3]}-{m[4]}" for m in matches}) == 82


def test_folder_per_class(tmp_path):
    for seed, name in enumerate(["b/1.png", "a/2.png", "a/deep/3.jpg", "loose.png"]):
        picture(tmp_path / name, seed)
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / ".hidden.png").write_text("x")
    dataset = read_dataset(tmp_path)
    assert [record.image_id for record in dataset.records] == ["a/2.png", "a/deep/3.jpg", "b/1.png"]
    assert dataset.classes == ("a", "b")
    assert levels(dataset) == {
        ("warning", "loose.png"),
        ("note", "a/notes.txt"),
        ("note", "a/deep"),
    }
    assert read_dataset(tmp_path, classes=["b", "A"]).classes == ("b", "A")


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(
        MissingInputError, match=r"none: no such folder or manifest; check `images`"
    ):
        read_dataset(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInputError, match=r"empty: this folder is empty; check `images`"):
        read_dataset(tmp_path / "empty")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("x")
    with pytest.raises(
        InputError, match="no TIFF, PNG, JPEG, BMP, WebP or DICOM image in this folder, but 1 .txt"
    ):
        read_dataset(tmp_path / "text")


def test_layouts_that_are_not_there(tmp_path):
    picture(tmp_path / "a" / "1.png")
    for name, message in (
        ("bach", "no image of the layout bach in it"),
        ("breakhis", "no image of the layout breakhis in it"),
        ("csv", "reads a manifest"),
    ):
        refuses(InputError, message, read_dataset, tmp_path, dataset=name)
    with pytest.raises(
        InputError,
        match="choose one of bach, breakhis, idc, inbreast, cbis-ddsm, ddsm, folder, csv",
    ):
        read_dataset(tmp_path, dataset="camelyon")


def test_the_same_id_with_other_content_is_refused(tmp_path):
    name = "SOB_M_DC-14-2523-40-001"
    picture(breakhis_path(tmp_path / "one", name), 0)
    picture(breakhis_path(tmp_path / "two", name), 1)
    with pytest.raises(
        InputError, match=r"SOB_M_DC-14-2523-40-001\.png: two different images have this id"
    ):
        read_dataset(tmp_path).raise_errors()


def test_equal_content_under_two_names(tmp_path, caplog):
    for name in ("a/1.png", "a/2.png"):
        picture(tmp_path / "x" / name, 0)
    picture(tmp_path / "x" / "b/3.png", 1)
    unique = unique_images(read_dataset(tmp_path / "x"), cache=tmp_path / "cache.csv")
    assert unique.repeated == (("a/2.png", "a/1.png"),)
    assert len(unique.dataset) == 2
    assert "the same image as a/1.png; used once" in caplog.text
    again = unique_images(read_dataset(tmp_path / "x"), cache=tmp_path / "cache.csv")
    assert again.digest == unique.digest
    picture(tmp_path / "x" / "b/4.png", 0)
    with pytest.raises(
        InputError, match=r"b/4\.png: the same image as a/1\.png, but labelled b, not a; remove one"
    ):
        unique_images(read_dataset(tmp_path / "x"))


def test_idc_names_carry_slide_and_class(tmp_path):
    for seed, name in enumerate(
        [
            "8863/0/8863_idx5_x1_y51_class0.png",
            "8863/1/8863_idx5_x51_y1_class1.png",
            "9/1/9_idx5_x1_y1_class1.png",
        ]
    ):
        picture(tmp_path / name, seed, size=(50, 50) if seed else (42, 50))
    (tmp_path / "9" / "1" / "9_idx5_other.png").write_bytes(b"")
    (tmp_path / "9" / "notes.txt").write_text("x")
    dataset = read_dataset(tmp_path)
    assert (dataset.name, dataset.classes) == ("idc", ("negative", "positive"))
    assert [(r.label, r.group) for r in dataset.records] == [
        ("negative", "8863"),
        ("positive", "8863"),
        ("positive", "9"),
    ]
    assert {("warning", "9_idx5_other.png"), ("note", "notes.txt")} <= levels(dataset)
    surveyed = survey_dataset(dataset)
    told(surveyed, "warning", "class0.png: 50x42, published images are 50x50")
    told(surveyed, "note", "3 of the 277,524 published patches are present")


def test_idc_repeated_tree_and_misplaced_patches(tmp_path):
    picture(tmp_path / "IDC_regular_ps50_idx5" / "9" / "1" / "9_idx5_x1_y1_class1.png", 0)
    picture(tmp_path / "9" / "1" / "9_idx5_x1_y1_class1.png", 0)
    picture(tmp_path / "9" / "0" / "9_idx5_x51_y1_class1.png", 1)
    dataset = read_dataset(tmp_path)
    assert len(dataset) == 2
    told(dataset, "warning", "twice, also at")
    with pytest.raises(
        InputError, match=r"9_idx5_x51_y1_class1\.png: is in 9/0, its name has 9/1; move it"
    ):
        dataset.raise_errors()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").write_text("x")
    with pytest.raises(InputError, match="no image of the layout idc in it"):
        read_dataset(tmp_path / "empty", dataset="idc")
