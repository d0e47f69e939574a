"""Micrometres per pixel, from all that files state with a unit; never a wrong number."""

import io

import numpy as np
import pytest
import tifffile
from bchisto.core.formats import read_header
from bchisto.data import read_dataset
from conftest import typed
from miniatures import write_dicom
from PIL import Image

RGB = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def header(path, description=None, **options):
    tifffile.imwrite(
        path, RGB, photometric="rgb", metadata=None, description=description, **options
    )
    return read_header(path).mpp


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        (None, 0.325),
        ("µm", 0.325),
        ("μm", 0.325),
        ("nm", 325),
        ("mm", 0.000325),
        ("cm", 0.0000325),
        ("m", 3.25e-7),
        ("in", 0.325 / 25400),
    ],
)
def test_ome(tmp_path, unit, size):
    physical = {"PhysicalSizeX": size, "PhysicalSizeY": size, "axes": "YXS"}
    if unit:
        physical |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, RGB, ome=True, photometric="rgb", metadata=physical)
    assert read_header(path).mpp == pytest.approx(0.325)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ('PhysicalSizeX="0.5" PhysicalSizeY="0.5"', 0.5),
        ("PhysicalSizeX='0.5' PhysicalSizeY='0.5'", 0.5),
        (
            'PhysicalSizeX="5.0E-1" PhysicalSizeXUnit="&#181;m" PhysicalSizeY="500" PhysicalSizeYUnit="nm"',
            0.5,
        ),
        ('PhysicalSizeX="0.5" PhysicalSizeY="0.25"', None),
        ('PhysicalSizeX="0.5"', None),
        ('PhysicalSizeX="352.8" PhysicalSizeY="352.8"', None),
        (
            'PhysicalSizeX="1" PhysicalSizeY="1" PhysicalSizeXUnit="pixel" PhysicalSizeYUnit="pixel"',
            None,
        ),
        ('PhysicalSizeX="1" PhysicalSizeY="1" PhysicalSizeXUnit="Mm" PhysicalSizeYUnit="Mm"', None),
        ('PhysicalSizeX="nan" PhysicalSizeY="nan"', None),
        ('PhysicalSizeX="0,5" PhysicalSizeY="0,5"', None),
    ],
)
def test_ome_by_hand(tmp_path, attributes, expected):
    pixels = f'<ome:Image><ome:Pixels SizeC="3" {attributes}></ome:Pixels></ome:Image>'
    xml = f'<?xml version="1.0"?><ome:OME>{pixels}</ome:OME>'
    assert header(tmp_path / "a.tif", xml.encode()) == expected


def test_the_first_image_of_ome_counts(tmp_path):
    xml = "".join(
        f'<Pixels PhysicalSizeX="{size}" PhysicalSizeY="{size}"></Pixels>' for size in (0.5, 4)
    )
    assert header(tmp_path / "a.tif", f"<OME>{xml}</OME>") == 0.5


@pytest.mark.parametrize(
    ("unit", "pixels", "expected"),
    [
        ("micron", 4, 0.25),
        ("Microns", 4, 0.25),
        ("um", 4, 0.25),
        ("µm", 4, 0.25),
        ("μm", 4, 0.25),
        ("\\u00B5m", 4, 0.25),
        ("micrometer", 4, 0.25),
        ("micrometres", 4, 0.25),
        ("nm", 0.004, 0.25),
        ("nanometers", 0.004, None),
        ("mm", 4000, 0.25),
        ("cm", 40_000, 0.25),
        ("inch", 101_600, 0.25),
        ("m", 4_000_000, 0.25),
        ("pixel", 4, None),
        ("", 4, None),
        ("mm", 4, None),
        ("inch", 72, None),
        ("um", 0.01, None),
    ],
)
def test_imagej(tmp_path, unit, pixels, expected):
    text = f"ImageJ=1.54f\nunit={unit}\nmin=0.0\n".encode("utf-8" if "μ" in unit else "cp1252")
    ratio = (int(pixels * 1000), 1000)
    found = header(tmp_path / "a.tif", text, resolution=(ratio, ratio), resolutionunit="NONE")
    assert found == (None if expected is None else pytest.approx(expected))


def test_imagej_of_other_sides_or_units(tmp_path):
    text = "ImageJ=1.54f\nunit=um\n"
    assert header(tmp_path / "a.tif", text, resolution=(4, 2), resolutionunit="NONE") is None
    # the inch is no scale
    assert header(tmp_path / "a.tif", text, resolution=(4, 4), resolutionunit="INCH") == 0.25
    # a plausible tag that contradicts the text, and one that agrees
    assert header(tmp_path / "a.tif", text, resolution=(4, 4), resolutionunit="MICROMETER") == 0.25
    wrong = "ImageJ=1.54f\nunit=mm\n"
    assert (
        header(tmp_path / "a.tif", wrong, resolution=(4000, 4000), resolutionunit="CENTIMETER")
        is None
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Aperio Image Library v11.2.1\r\n46000x32914 [42673,5576 50x40] |AppMag = 20|MPP = 0.4990|Left = 25",
            0.499,
        ),
        (
            "Aperio Leica Biosystems GT450 v1.0.1\n50x40 [0,0 50x40] (256x256) |AppMag = 40|MPP = 0.26|",
            0.26,
        ),
        ("Aperio Image Library v11\n50x40|MPP=0.5", 0.5),
        ("Aperio Image Library v11\n50x40|AppMag = 20|MPP = 0,499", 0.499),
        (
            "Aperio Image Library v10\n46920x33014 [0,100 46000x32914] -> 50x40 |AppMag = 20|MPP = 0.4990",
            None,
        ),
        (
            "Aperio Image Library v10\n50x40 |MPP = 0.4990;Aperio Image Library v11\n50x40 |MPP = 0.25",
            None,
        ),
        ("Aperio Image Library v10\n50x40 |MPP = 499", None),
        ("Aperio Image Library v10\n50x40 |AppMag = 20", None),
        ("my notes |MPP = 0.25", None),
    ],
)
def test_aperio(tmp_path, text, expected):
    assert header(tmp_path / "a.tif", text) == expected


def test_text_and_resolution_that_contradict_each_other_give_none(tmp_path):
    aperio = "Aperio Image Library v11\n50x40|MPP = 0.5"
    for pixels, expected in ((20_000, 0.5), (40_000, None), (72, 0.5)):
        found = header(
            tmp_path / "a.tif", aperio, resolution=(pixels, pixels), resolutionunit="CENTIMETER"
        )
        assert found == expected


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
    assert header(tmp_path / "a.tif", resolution=resolution, resolutionunit=unit) == pytest.approx(
        expected
    )


def test_the_spacing_of_dicom(tmp_path):
    for spacing, expected in (
        ([0.0005, 0.0005], 0.5),
        ([0.07, 0.07], None),
        ([0.001, 0.002], None),
    ):
        path = tmp_path / f"{spacing[0]}.dcm"
        write_dicom(path, RGB[..., 0].astype(np.uint16), bits=12, PixelSpacing=spacing)
        assert read_header(path).mpp == pytest.approx(expected)


def test_an_empty_cell_is_unknown(tmp_path):
    header(tmp_path / "a.tif", resolution=(20000, 20000), resolutionunit="CENTIMETER")
    (tmp_path / "m.csv").write_text("path,label,mpp\na.tif,x,\n")
    (record,) = read_dataset(tmp_path / "m.csv").records
    assert record.mpp is None
    assert record.scaled_by(read_header(record.path)).mpp == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_the_density_of_print_is_not_taken(tmp_path, kind):
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, kind, dpi=(50_800, 50_800))
    (tmp_path / "a.tif").write_bytes(buffer.getvalue())
    assert read_header(tmp_path / "a.tif").mpp is None


def test_a_view_in_micrometres_takes_them(tmp_path, refused, completed):
    """By the command line: three ways to say 0.5 are one scale, and a picture without is named."""
    images = tmp_path / "images"
    (images / "a").mkdir(parents=True)
    big = np.tile(RGB, (4, 4, 1))
    tifffile.imwrite(
        images / "a" / "ome.tif",
        big,
        ome=True,
        photometric="rgb",
        metadata={"PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5},
    )
    tifffile.imwrite(
        images / "a" / "aperio.tif",
        big,
        photometric="rgb",
        description="Aperio|MPP = 0.50",
        metadata=None,
    )
    tifffile.imwrite(
        images / "a" / "imagej.tif",
        big,
        imagej=True,
        resolution=(2000, 2000),
        metadata={"unit": "mm"},
    )
    options = typed("--encoder tiny --weights random --stain none --view 0.5um:64")
    completed("featurize --images {} --out T/run", images, *options)
    tifffile.imwrite(images / "a" / "plain.tif", big, photometric="rgb")
    err = refused("featurize --images {} --out T/other", images, *options)
    assert "plain.tif: its micrometres per pixel are not known" in err
