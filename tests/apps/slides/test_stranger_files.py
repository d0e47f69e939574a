"""Files as strangers have them, by the command line: nothing is lost, no label is read, and each cure helps."""

import json

import numpy as np
import pytest
import tifffile
from slide_files import box, outline, patch, table, write_slide

pytest.importorskip("openslide")

SIZE = (1024, 768)


@pytest.fixture(scope="module")
def image():
    return patch(*SIZE)


@pytest.fixture
def cut(tmp_path, completed):
    """Cut fields of 100 um, which are to be written; returns the rows of the manifest, what is printed and warned."""

    def run(*words):
        words = (*words, "--field", 100, "--overwrite", "--out", tmp_path / "out")
        printed, err = completed("slides", "cut", *words)
        return table(tmp_path / "out" / "manifest.csv"), printed, err

    return run


@pytest.mark.parametrize(
    "header",
    [
        "slide,Fallnummer",
        "Slide,MRN",
        "slide_id,Kennung",
        "slide,diagnosis",
        "slide,mpp",
        "image_id,slide",
        "filename,slide,Proband",
    ],
)
def test_a_table_without_patients_is_refused(tmp_path, image, refused, header):
    path = write_slide(tmp_path / "ü 1.tif", SIZE, {(0, 0): image})
    rows = tmp_path / "t.csv"
    rows.write_text(f"{header}\nü 1{',0.5' * header.count(',')}\n", encoding="utf-8")
    err = refused("slides", "cut", path, "--patients", rows, "--dry-run", "--out", tmp_path / "out")
    there = header.replace(",", ", ")
    assert f"{rows}: the header must have a column `patient` (slide,patient); there are {there}" in err


@pytest.mark.parametrize("header", ["slide,case no.", "image,slide,Patient-Nr", "slide,group"])
def test_two_slides_of_a_patient_in_a_table(tmp_path, image, completed, header):
    for name, left in (("ü 1", 0), ("b", 9)):
        write_slide(tmp_path / f"{name}.tif", SIZE, {(left, 0): image})
    rows = tmp_path / "t.csv"
    middle = ",x" * (header.count(",") - 1)
    rows.write_text(f"{header}\nü 1{middle},A\nb{middle},A\n", encoding="utf-8")
    words = ("slides", "cut", tmp_path, "--patients", rows, "--dry-run", "--out", tmp_path / "out")
    assert completed(*words)[0].startswith("2 slides of 1 patient,")
