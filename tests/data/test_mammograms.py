"""INbreast, CBIS-DDSM and DDSM in true-layout miniatures, with each of their traps."""

import os
import shutil
from pathlib import Path

import miniatures as mini
import numpy as np
import pytest
from bchisto.core import ImageError, InputError
from bchisto.data import decode_record, fold_plan, read_dataset, survey_dataset
from PIL import Image
from refusals import refuses
from sample_trees import columns_of, exchange, findings, told

GRADES = ["1", "2", "3", "4a", "4b", "4c", "5", "6"]


@pytest.fixture
def inbreast(tmp_path):
    root = tmp_path / "INbreast"
    mini.write_inbreast(root, GRADES)
    return root


def test_inbreast_labels_and_groups(inbreast):
    dataset = read_dataset(inbreast)
    assert (dataset.name, dataset.classes) == ("inbreast", ("negative", "positive"))
    assert [record.label for record in dataset.records] == ["negative"] * 3 + ["positive"] * 5
    assert [record.group for record in dataset.records] == [
        f"{n:016x}" for n in (1, 1, 2, 2, 3, 3, 4, 4)
    ]
    assert dataset.records[0].image_id == "20586900_0000000000000001_MG_L_CC_ANON.dcm"
    assert findings(dataset, "error") == findings(dataset, "warning") == []
    assert survey_dataset(dataset, decode=True).findings == dataset.findings


def test_inbreast_odd_cells_are_named(inbreast):
    exchange(inbreast / "INbreast.csv", ";CC;", ";FB;")
    dataset = read_dataset(inbreast)
    told(dataset, "warning", "its name has L CC, INbreast.csv has L FB")


def test_inbreast_rows_that_do_not_fit_are_errors(inbreast):
    rows = (inbreast / "INbreast.csv").read_text().splitlines()
    rows[1] = rows[1].rpartition(";")[0] + ";7"
    rows.append(rows[2])
    rows.append(rows[2].replace("20586901", "20586999"))
    (inbreast / "INbreast.csv").write_text("\n".join(rows))
    dataset = read_dataset(inbreast)
    told(
        dataset,
        "error",
        "Bi-Rads '7' is none of",
        "20586901 has two rows",
        "20586999: there is no such image",
        "no row with a BI-RADS class in INbreast.csv",
    )


def test_birads_0_is_negative(inbreast):
    """The source: 4 to 6 are sick, all other categories healthy."""
    exchange(inbreast / "INbreast.csv", ";1\n", ";0\n")
    dataset = read_dataset(inbreast)
    assert [record.label for record in dataset.records] == ["negative"] * 3 + ["positive"] * 5
    told(dataset, "note", "BI-RADS 0, an incomplete assessment, counts as negative")
    assert findings(dataset, "error") == []


def test_inbreast_medical_reports_are_never_opened(inbreast, monkeypatch):
    reports = inbreast / "MedicalReports"
    reports.mkdir()
    (reports / "20586900.txt").write_text("Jane Doe")
    listed = []
    walk, scan = type(reports).iterdir, os.scandir
    monkeypatch.setattr(
        type(reports), "iterdir", lambda path: (listed.append(path.name), walk(path))[1]
    )
    monkeypatch.setattr(os, "scandir", lambda path: (listed.append(Path(path).name), scan(path))[1])
    dataset = read_dataset(inbreast)
    assert "ALL-IMGS" in listed
    told(dataset, "note", "MedicalReports: holds personal data and is not read")
    assert "MedicalReports" not in listed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "INbreast.csv").unlink(), r"no INbreast\.csv here"),
        (lambda root: (root / "INbreast.csv").write_bytes(b"\xff\xfe\x00"), "not a UTF-8 CSV file"),
        (
            lambda root: (root / "INbreast.csv").write_text("a;b\n1;2\n"),
            "must have a column `Laterality`",
        ),
        (
            lambda root: shutil.copy(root / "INbreast.csv", root / "ALL-IMGS"),
            "two tables; keep one",
        ),
        (
            lambda root: (root / "INbreast.csv").rename(root / "INbreast.xls"),
            r"no INbreast\.csv here; save the first sheet of the release's INbreast\.xls as this",
        ),
    ],
)
def test_inbreast_tables_that_cannot_be_read(inbreast, change, message):
    change(inbreast)
    refuses(InputError, message, read_dataset, inbreast, dataset="inbreast")


CASES = [
    ("P_00001", "train", "MALIGNANT"),
    ("P_00004", "train", "BENIGN"),
    ("P_00009", "train", "BENIGN_WITHOUT_CALLBACK"),
    ("P_00016", "test", "MALIGNANT"),
    ("P_00017", "test", "BENIGN"),
]


@pytest.fixture
def cbis(tmp_path):
    root = tmp_path / "CBIS-DDSM"
    mini.write_cbis(root, CASES, swap={"Mass-Training_P_00004_LEFT_CC_1"})
    return root


def test_cbis_rows_masks_and_crops(cbis):
    dataset = read_dataset(cbis)
    assert (dataset.name, dataset.classes) == ("cbis-ddsm", ("benign", "malignant"))
    assert [record.label for record in dataset.records] == [
        "malignant",
        "benign",
        "malignant",
        "benign",
        "benign",
    ]
    by_id = {record.image_id: record for record in dataset.records}
    for record in dataset.records:
        assert decode_record(record).shape == (40, 36, 3)
        assert record.mask.is_file()
        assert record.frame.parent.parent.parent.name == record.image_id.removesuffix("_1")
    swapped = by_id["Mass-Training_P_00004_LEFT_CC_1"]
    assert (swapped.path.name, swapped.mask.name, swapped.group) == (
        "000001.dcm",
        "000000.dcm",
        "P_00004",
    )
    assert by_id["Mass-Training_P_00001_LEFT_CC_1"].path.name == "000000.dcm"
    assert findings(dataset, "warning") == findings(dataset, "error") == []


def test_cbis_own_split_is_by_patient(cbis):
    columns = columns_of(read_dataset(cbis))
    plan = fold_plan("official", **columns)
    assert plan.images(1, "test") == ["Mass-Test_P_00016_LEFT_CC_1", "Mass-Test_P_00017_LEFT_CC_1"]
    assert len(plan.images(1, "train")) == 3
    assert plan.warnings == ()
    half = {
        name: [v for v, i in zip(values, columns["image_ids"], strict=True) if "Training" in i]
        for name, values in columns.items()
    }
    with pytest.raises(InputError, match="no image tests in fold 1; use the full dataset"):
        fold_plan("official", **half)


def test_cbis_calcification_tables_have_another_header(cbis):
    mini.write_cbis(cbis, [("P_00005", "train", "MALIGNANT")], kind="calc", seed=3)
    assert len(read_dataset(cbis)) == 6
    assert len(read_dataset(cbis, lesions=["mass"])) == 5
    (only,) = read_dataset(cbis, lesions=["calcification"]).records
    assert only.image_id == "Calc-Training_P_00005_LEFT_CC_1"


def test_cbis_files_that_are_missing_or_cannot_be_told_apart(cbis):
    shutil.rmtree(cbis / "Mass-Training_P_00001_LEFT_CC_1")
    inside = cbis / "Mass-Training_P_00004_LEFT_CC_1" / "1.3.8" / "1.3.9"
    shutil.copy(inside / "000000.dcm", inside / "000001.dcm")
    (cbis / "Mass-Training_P_00009_LEFT_CC_1" / "1.3.8" / "1.3.9" / "000001.dcm").unlink()
    test = cbis / "Mass-Test_P_00016_LEFT_CC_1" / "1.3.8" / "1.3.9"
    (test / "000000.dcm").unlink()
    last = cbis / "Mass-Test_P_00017_LEFT_CC_1" / "1.3.8" / "1.3.9"
    mini.write_dicom(last / "000001.dcm", np.zeros((99, 70), np.uint8))
    dataset = read_dataset(cbis)
    told(
        dataset,
        "warning",
        "1 of 3 rows name images that are missing, first Mass-Training_P_00001_LEFT_CC_1",
        "Mass-Training_P_00009_LEFT_CC_1: has no mask",
        "its mask is 70x99, the mammogram is 96x128: it does not fit",
    )
    told(
        dataset,
        "error",
        "Mass-Training_P_00004_LEFT_CC_1: crop and mask have the same size",
        "Mass-Test_P_00016_LEFT_CC_1: has a mask but no crop",
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("MALIGNANT", "UNSURE", "row 1: pathology 'UNSURE' is none of"),
        (
            "P_00001,3",
            "P_00002,3",
            "its path is of P_00001, abnormality 1, its columns give P_00002",
        ),
        (
            "Mass-Training_P_00001_LEFT_CC_1/1.3.8/1.3.9/000000",
            "elsewhere/000000",
            "is not a path like Mass-Training",
        ),
    ],
)
def test_cbis_rows_that_do_not_fit_are_errors(cbis, old, new, message):
    exchange(cbis / "mass_case_description_train_set.csv", old, new)
    told(read_dataset(cbis), "error", message)


def test_cbis_tables_without_images_or_columns(cbis, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(cbis / "mass_case_description_test_set.csv", alone)
    refuses(InputError, "no image of the layout cbis-ddsm in it", read_dataset, alone)
    (alone / "mass_case_description_test_set.csv").write_text("patient_id\nP_00001\n")
    refuses(InputError, "must have a column `abnormality id`", read_dataset, alone)
    with pytest.raises(
        InputError,
        match="no image of the layout cbis-ddsm in it; expected mass_case_description_train_set",
    ):
        read_dataset(alone, dataset="cbis-ddsm", lesions=["calcification"])


def test_the_published_cbis_tables_read_whole(shared, tmp_path):
    from bchisto.data.mammograms.cbis_ddsm import _read_table

    tables = shared / "data" / "tables" / "cbis-ddsm"
    counts, patients = {}, {}
    for part, expected in (("train", 1318), ("test", 378)):
        found = []
        rows = _read_table(tables / f"mass_case_description_{part}_set.csv", found)
        assert len(rows) == expected
        assert [one for one in found if one.level == "error"] == []
        patients[part] = {row.patient for row in rows}
        counts[part] = sum(row.label == "malignant" for row in rows)
    assert patients["train"].isdisjoint(patients["test"])
    assert counts == {"train": 637, "test": 147}


@pytest.fixture
def ddsm(tmp_path):
    root = tmp_path / "ddsm"
    views = {
        "LEFT_CC": mini.overlay((mini.MASS, "MALIGNANT", [mini.SQUARE, "20 20 2 2 4 4 6 6 0 0 #"])),
        "LEFT_MLO": mini.overlay(
            (mini.MASS, "BENIGN", [mini.SQUARE]),
            (mini.CALC, "MALIGNANT", ["3 4 2 2 4 4 6 6 0 0 #"]),
        ),
        "RIGHT_CC": None,
        "RIGHT_MLO": None,
    }
    mini.write_ddsm(root / "case3159", "B-3159-1", views)
    more = {"LEFT_CC": mini.overlay((mini.MASS, "UNPROVEN", [mini.SQUARE]))}
    mini.write_ddsm(root / "case0012", "A-0012-1", more, seed=1, convert=True)
    return root


def test_ddsm_abnormalities_become_rows(ddsm):
    dataset = read_dataset(ddsm)
    assert (dataset.name, dataset.classes) == ("ddsm", ("benign", "malignant"))
    found = {
        record.image_id: (record.label, record.group, record.box) for record in dataset.records
    }
    assert found == {
        "B_3159_1.LEFT_CC_1": ("malignant", "B-3159-1", (10, 12, 41, 47)),
        "B_3159_1.LEFT_MLO_1": ("benign", "B-3159-1", (10, 12, 41, 47)),
        "B_3159_1.LEFT_MLO_2": ("malignant", "B-3159-1", (3, 4, 6, 7)),
    }
    assert len(read_dataset(ddsm, lesions=["mass"])) == 2
    told(
        dataset,
        "note",
        "2 views without a marked abnormality",
        "abnormalities left out: 1 of pathology UNPROVEN",
    )
    assert findings(survey_dataset(dataset, decode=True), "error") == []


def test_ddsm_pixels_are_the_stretched_box_of_the_view(ddsm):
    import imagecodecs

    record = next(r for r in read_dataset(ddsm).records if r.image_id == "B_3159_1.LEFT_CC_1")
    whole = imagecodecs.ljpeg_decode(record.path.read_bytes()).astype(np.float64)
    expected = np.rint((whole - whole.min()) / (whole.max() - whole.min()) * 255)[12:47, 10:41]
    image = decode_record(record)
    assert image.shape == (35, 31, 3)
    assert np.abs(image - expected[:, :, None]).max() <= 1


def test_ddsm_lossless_and_converted_images_are_equal(tmp_path):
    views = {"LEFT_CC": mini.overlay((mini.MASS, "BENIGN", [mini.SQUARE]))}
    mini.write_ddsm(tmp_path / "a", "A-0001-1", views, seed=5)
    mini.write_ddsm(tmp_path / "b", "A-0001-1", views, seed=5, convert=True)
    first, second = (decode_record(read_dataset(tmp_path / side).records[0]) for side in "ab")
    assert np.array_equal(first, second)


def test_two_abnormalities_of_a_view_are_two_images(ddsm):
    from bchisto.data import unique_images

    unique = unique_images(read_dataset(ddsm))
    assert len(set(unique.sha256.values())) == 3
    assert unique.repeated == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (" #", "", "abnormality 1: its chain is not x, y, codes from 0 to 7, and #"),
        ("10 12 2", "10 12 9", "its chain is not x, y, codes from 0 to 7, and #"),
        ("10 12", "x", "its chain is not x, y, codes from 0 to 7, and #"),
        ("10 12", "50 12", "its chain leaves the view of 64x96"),
        ("TOTAL_OUTLINES 2", "TOTAL_OUTLINES 3", "announces 3 outlines and has 2"),
        ("TOTAL_ABNORMALITIES 1", "TOTAL_ABNORMALITIES 2", "announces 2 abnormalities and holds 1"),
        ("TOTAL_ABNORMALITIES 1", "TOTAL_ABNORMALITIES some", "names no number"),
    ],
)
def test_ddsm_broken_overlays_are_named(ddsm, old, new, message):
    exchange(ddsm / "case3159" / "B_3159_1.LEFT_CC.OVERLAY", old, new)
    dataset = read_dataset(ddsm)
    told(dataset, "error", message)
    told(dataset, "error", "B_3159_1.LEFT_CC.OVERLAY")
    refuses(InputError, r"B_3159_1\.LEFT_CC\.OVERLAY", dataset.raise_errors)


def test_ddsm_missing_and_unfitting_files(ddsm):
    case = ddsm / "case3159"
    (case / "B_3159_1.LEFT_CC.OVERLAY").unlink()
    (case / "B_3159_1.LEFT_MLO.LJPEG").unlink()
    Image.fromarray(np.zeros((10, 10), np.uint16)).save(ddsm / "case0012" / "A_0012_1.LEFT_CC.png")
    (ddsm / "B-0001-1.ics").write_text("filename B-0001-1\nLEFT_CC LINES many\n")
    (ddsm / "B-0002-1.ics").write_bytes(b"\xff\xff")
    dataset = read_dataset(ddsm)
    told(
        dataset,
        "error",
        "B_3159_1.LEFT_CC.OVERLAY: the .ics announces this overlay",
        "B_3159_1.LEFT_MLO.LJPEG: there is no such image, nor a TIFF or PNG of it",
        "10x10, the .ics has 64x96",
        "B-0001-1.ics: not a view: 'LEFT_CC LINES many'",
        "B-0001-1.ics: names no view",
        "B-0002-1.ics: cannot be read as an .ics",
    )


def test_truncated_and_foreign_lossless_files(ddsm):
    record = next(r for r in read_dataset(ddsm).records if r.image_id == "B_3159_1.LEFT_CC_1")
    data = record.path.read_bytes()
    record.path.write_bytes(data[: len(data) // 2])
    refuses(ImageError, r"LEFT_CC\.LJPEG: cannot be decoded", decode_record, record)
    for content, message in [
        (b"what", "no lossless JPEG of grey levels"),
        (b"\xff\xd8\xff\xda\x00\x02", "no lossless JPEG"),
        (b"\xff\xd8\xff\xc3\x00\x11\x0c\x00\x10\x00\x10\x03", "no lossless JPEG of grey levels"),
        (b"\xff\xd8\xff\xc3\x00\x0b\x0c\xff\xff\xff\xff\x01", "65535x65535 is over the limit"),
    ]:
        record.path.write_bytes(content)
        refuses(ImageError, message, decode_record, record)


def test_mammograms_are_refused_stain_work(cbis, tmp_path, refused, tiny_options):
    err = refused("featurize --images {} --out T/run", cbis, *tiny_options, "--view", "1.0:32")
    assert "the images of cbis-ddsm have no stain; use --stain none (or a treatment: clahe" in err


def test_a_box_outside_its_file_is_an_error(ddsm):
    from dataclasses import replace

    record = read_dataset(ddsm).records[0]
    with pytest.raises(ImageError, match="is outside its 64x96 pixels"):
        decode_record(replace(record, box=(0, 0, 65, 20)))


@pytest.mark.parametrize(
    ("context", "boxes"),
    [
        ("tight", [(10, 12, 41, 47), (10, 12, 41, 47), (3, 4, 6, 7)]),
        ("small", [(0, 0, 64, 96), (0, 0, 64, 96), (0, 0, 56, 57)]),
        ("large", [(0, 0, 57, 65), (0, 0, 57, 65), (1, 2, 8, 9)]),
    ],
)
def test_ddsm_contexts_by_hand(ddsm, context, boxes):
    dataset = read_dataset(ddsm, context=context)
    assert [record.box for record in dataset.records] == boxes
    for record in dataset.records:
        left, top, right, bottom = record.box
        assert decode_record(record).shape == (bottom - top, right - left, 3)


def test_cbis_contexts_are_cut_from_the_mammogram(cbis):
    tight = {record.image_id: record for record in read_dataset(cbis).records}
    for record in read_dataset(cbis, context="large").records:
        assert record.path == tight[record.image_id].frame
        left, top, right, bottom = record.box
        crop = tight[record.image_id]
        import pydicom

        whole, part = (pydicom.dcmread(path).pixel_array for path in (record.path, crop.path))
        y, x = next(
            (y, x)
            for y in range(whole.shape[0])
            for x in range(whole.shape[1])
            if np.array_equal(whole[y : y + 40, x : x + 36], part)
        )
        assert (left, top) == (max(0, x - 18), max(0, y - 20))
        assert (right, bottom) == (min(96, x + 36 + 18), min(128, y + 40 + 20))


def test_cbis_contexts_need_mask_and_mammogram(cbis):
    (cbis / "Mass-Training_P_00009_LEFT_CC_1" / "1.3.8" / "1.3.9" / "000001.dcm").unlink()
    shutil.rmtree(cbis / "Mass-Test_P_00016_LEFT_CC")
    empty = cbis / "Mass-Test_P_00017_LEFT_CC_1" / "1.3.8" / "1.3.9" / "000001.dcm"
    mini.write_dicom(empty, np.zeros((128, 96), np.uint8))
    dataset = read_dataset(cbis, context="small")
    assert len(dataset) == 2
    told(
        dataset,
        "error",
        "P_00009_LEFT_CC_1: has no context: its mask is missing",
        "P_00016_LEFT_CC_1: has no context: its mammogram is missing",
        "000001.dcm: an empty mask",
    )
    with pytest.raises(InputError, match="`context` wide: choose one of tight, small, large"):
        read_dataset(cbis, context="wide")
