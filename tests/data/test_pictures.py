"""Pictures of Pillow are read as the files that they come from: to the same pixels, or refused in the same words."""

import numpy as np
import pytest
from bchisto.core import ImageError
from bchisto.data import decode_image, image_files
from PIL import Image, ImageCms

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (40, 50), np.uint8)
RGB = Image.fromarray(RNG.integers(0, 255, (40, 50, 3), np.uint8))


def with_alpha(mode):
    picture = RGB.convert("RGBA")
    picture.putalpha(Image.fromarray(GREY))
    return picture.convert(mode)


def lab():
    profiles = map(ImageCms.createProfile, ("sRGB", "LAB"))
    return ImageCms.profileToProfile(RGB, *profiles, outputMode="LAB")


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
    (RGB.convert("YCbCr"), "TIFF", {}),
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
    with Image.open(path) as opened, image_files(opened, lambda _: []) as (record,):
        np.testing.assert_array_equal(decode_image(record.path), decode_image(path))


@pytest.mark.parametrize("make", [lab, lambda: deep("float32"), lambda: deep("int32")])
def test_what_is_refused_in_a_file_is_refused_in_the_same_words(make, tmp_path):
    path = tmp_path / "a.tif"
    make().save(path)
    messages = []
    with Image.open(path) as opened, image_files(opened, lambda _: []) as (record,):
        for file in (path, record.path):
            with pytest.raises(ImageError) as refused:
                decode_image(file)
            messages.append(str(refused.value).partition(": ")[2])
    assert messages[0] == messages[1]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((40, 50, 3), np.uint8), "50x40 is over the limit of 1,999 pixels"),
        (RGB, "50x40 is over the limit of 1,999 pixels"),
        (Image.new("RGB", (0, 5)), "its header has 0x5 pixels"),
        (Image.new("HSV", (5, 5)), "cannot write mode HSV as PNG; convert it to RGB"),
    ],
)
def test_what_cannot_be_used_is_refused_before_it_is_saved(image, message, monkeypatch):
    monkeypatch.setattr("bchisto.core.formats.limits.PIXELS", 1999)
    failures = {}
    with image_files([image], lambda _: [], failures) as records:
        assert records == []
    assert message in failures["array0"]
    with pytest.raises(ImageError, match=message), image_files(image, lambda _: []):
        pass
