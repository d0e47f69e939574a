"""Pictures of Pillow are read as the files that they come from: to the same pixels."""

import pickle

import numpy as np
import pytest
from bchisto.core import ImageError
from bchisto.core.formats import read_header
from bchisto.data import decode_image, decode_record, header_findings, image_records
from numpy.testing import assert_array_equal
from PIL import Image
from refusals import refuses

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (40, 50), np.uint8)
RGB = Image.fromarray(RNG.integers(0, 255, (40, 50, 3), np.uint8))


def with_alpha(mode):
    picture = RGB.convert("RGBA")
    picture.putalpha(Image.fromarray(GREY))
    return picture.convert(mode)


def turned():
    exif = RGB.getexif()
    exif[0x112] = 6
    return {"exif": exif}


def deep(dtype="uint16"):
    return Image.fromarray(RNG.integers(0, 65535, (40, 50)).astype(dtype))


READ = [
    *[(RGB, kind, {}) for kind in ("PNG", "TIFF", "JPEG", "BMP", "WEBP")],
    *[(RGB.convert("L"), kind, {}) for kind in ("PNG", "TIFF", "JPEG")],
    *[(RGB.convert("1"), kind, {}) for kind in ("PNG", "TIFF", "BMP")],
    *[(RGB.convert("P"), kind, {}) for kind in ("PNG", "TIFF", "BMP")],
    *[(with_alpha("RGBA"), kind, {}) for kind in ("PNG", "TIFF", "WEBP")],
    *[(with_alpha("LA"), kind, {}) for kind in ("PNG", "TIFF")],
    *[(RGB.convert("CMYK"), kind, {}) for kind in ("JPEG", "TIFF")],
    (RGB.convert("CMYK"), "TIFF", {"compression": "jpeg", "quality": 30}),
    *[(RGB.convert(mode), "TIFF", {}) for mode in ("YCbCr", "RGBX")],
    (RGB.convert("P"), "PNG", {"transparency": 3}),
    *[(RGB, kind, turned()) for kind in ("JPEG", "PNG")],
    (RGB.convert("CMYK"), "JPEG", turned()),
    *[(deep(), kind, {}) for kind in ("PNG", "TIFF")],
    (deep(">u2"), "TIFF", {}),
]


@pytest.mark.parametrize(("picture", "kind", "options"), READ)
def test_a_picture_has_the_pixels_of_its_file(picture, kind, options, tmp_path):
    path = tmp_path / f"a.{kind.lower()}"
    picture.save(path, kind, **options)
    with Image.open(path) as opened:
        ((record,), _) = image_records(opened, lambda _: [])
    assert_array_equal(decode_record(record), decode_image(path))
    header = read_header(path)
    assert header.mode in (record.header.mode, "PA", "I;16")
    sides = (header.width, header.height, header.deep)
    assert (record.header.width, record.header.height, record.header.deep) == sides


def test_pixels_of_a_caller_do_not_change():
    array = np.array(RGB)
    ((record,), _) = image_records(array, lambda _: [])
    decode_record(record)[:] = 0
    assert_array_equal(array, np.array(RGB))
    # a worker in another process gets them
    assert_array_equal(decode_record(pickle.loads(pickle.dumps(record))), array)


def test_an_image_of_few_of_its_bits_is_told():
    picture = Image.fromarray(np.full((4, 4), 4095, np.uint16))
    ((record,), _) = image_records(picture, lambda _: [])
    (finding,) = header_findings([record])
    assert "its values use 12 of 16 bits" in finding.message


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((40, 50, 3), np.uint8), "50x40 is over the limit of 1,999 pixels"),
        (RGB, "50x40 is over the limit of 1,999 pixels"),
        (Image.new("RGB", (0, 5)), "its header has 0x5 pixels"),
        *[
            (picture, f"a picture of kind {picture.mode} is not read; convert it to RGB")
            for picture in (
                Image.new("HSV", (5, 5)),
                Image.new("LAB", (5, 5)),
                Image.new("I", (5, 5)),
                Image.new("F", (5, 5)),
            )
        ],
    ],
)
def test_what_cannot_be_used_is_refused(image, message, monkeypatch):
    monkeypatch.setattr("bchisto.core.formats.limits.PIXELS", 1999)
    records, reasons = image_records([image], lambda _: [], skip_errors=True)
    assert records == []
    assert message in reasons["array0"]
    refuses(ImageError, message, image_records, image, lambda _: [])
