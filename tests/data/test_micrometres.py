"""Micrometres per pixel, as files say them with a unit."""

import numpy as np
import pytest
import tifffile
from bchisto.core.formats import read_header
from bchisto.data import read_dataset
from miniatures import write_dicom

PIXELS = np.full((40, 50, 3), 200, np.uint8)


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [
        ((20000, 20000), "CENTIMETER", 0.5),
        ((50800, 50800), "INCH", 0.5),
        ((4, 4), "MICROMETER", 0.25),
        ((20000, 10000), "CENTIMETER", None),
        ((72, 72), "INCH", None),
        ((2, 2), "NONE", None),
        ((0, 0), "CENTIMETER", None),
        (None, None, None),
    ],
)
def test_the_resolution_of_a_tiff(tmp_path, resolution, unit, expected):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, photometric="rgb", resolution=resolution, resolutionunit=unit)
    assert read_header(tmp_path / "a.tif").mpp == pytest.approx(expected)


def test_the_spacing_of_dicom(tmp_path):
    for spacing, expected in (([0.0005, 0.0005], 0.5), ([0.07, 0.07], None), ([0.001, 0.002], None)):
        path = write_dicom(
            tmp_path / f"{spacing[0]}.dcm", PIXELS[..., 0].astype(np.uint16), bits=12, PixelSpacing=spacing
        )
        assert read_header(path).mpp == pytest.approx(expected)


@pytest.mark.parametrize("cell", ["0", "fine", "25000", "-1"])
def test_a_number_that_cannot_be_is_an_error_of_its_row(tmp_path, cell):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS)
    (tmp_path / "m.csv").write_text(f"path,label,mpp\na.tif,x,{cell}\n")
    (finding,) = (f for f in read_dataset(tmp_path / "m.csv").findings if f.level == "error")
    assert (finding.file, finding.message) == (
        "m.csv:2", f"mpp {cell}: give micrometres per pixel, 0.02 to 20 such as 0.42, or none",
    )  # fmt: skip


def test_an_empty_cell_is_unknown(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, resolution=(20000, 20000), resolutionunit="CENTIMETER")
    (tmp_path / "m.csv").write_text("path,label,mpp\na.tif,x,\n")
    (record,) = read_dataset(tmp_path / "m.csv").records
    assert record.mpp is None
    assert record.scaled_by(read_header(record.path)).mpp == pytest.approx(0.5)
