"""Every kind of picture is decoded to the pixels that it shows by its standard, or refused; other readers agree."""

import numpy as np
import pictures
import PIL
import pytest
from bchisto.core import ImageError
from bchisto.core.formats import read_header
from bchisto.data import decode_image
from PIL import Image, ImageOps

KINDS = pictures.kinds()


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_decoded_right_or_refused(tmp_path, name):
    suffix, data, expected, tolerance = KINDS[name]
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data)
    if expected is None:
        with pytest.raises(ImageError, match=r"a\.tif: .*; save it"):
            decode_image(path)
        return
    found = decode_image(path)
    header = read_header(path)
    assert (header.height, header.width) == found.shape[:2]
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    assert np.abs(found - expected.astype(np.float64)).max() <= tolerance


@pytest.mark.parametrize("suffix", ["tif", "png", "jpg"])
def test_an_orientation_of_xmp_counts_where_exif_has_none(tmp_path, suffix):
    """As Pillow does."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    if suffix == "tif":
        data = pictures.tiff(image, photometric="rgb", extratags=[(700, "B", len(xmp), xmp, True)])
    elif suffix == "png":
        data = pictures.png(image, depth=8, colour=2, before=[(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)])
    else:
        data = pictures.jpeg(image, xmp=xmp)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data)
    with Image.open(path) as opened:
        opened.load()
        theirs = np.array(ImageOps.exif_transpose(opened))
    assert theirs.shape == (30, 20, 3) or (suffix != "png" and PIL.__version__ < "12")
    np.testing.assert_array_equal(decode_image(path), theirs if len(theirs) == 30 else np.rot90(theirs, -1))
    assert read_header(path).width == 20


def test_a_raw_profile_of_a_png_turns_it(tmp_path):
    """As ImageMagick writes EXIF blocks, and Pillow reads them."""
    block = (b"Exif\0\0" + pictures.exif_block(8)).hex()
    text = b"\nexif\n" + str(len(block) // 2).encode().rjust(8) + b"\n" + block.encode()
    image = np.random.default_rng(2).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    path.write_bytes(pictures.png(image, depth=8, colour=2, before=[(b"tEXt", b"Raw profile type exif\0" + text)]))
    np.testing.assert_array_equal(decode_image(path), pictures.upright(image, 8))


def test_an_orientation_that_is_none_is_passed_over(tmp_path):
    image = np.zeros((20, 30, 3), np.uint8)
    for number in (0, 9, 65535):
        (tmp_path / "a.png").write_bytes(
            pictures.png(image, depth=8, colour=2, before=[(b"eXIf", pictures.exif_block(number))])
        )
        assert decode_image(tmp_path / "a.png").shape == (20, 30, 3)
        (tmp_path / "a.tif").write_bytes(pictures.tiff(image, photometric="rgb", **pictures.turned(number)))
        assert decode_image(tmp_path / "a.tif").shape == (20, 30, 3)


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_a_turned_mammogram_is_stretched_and_turned(tmp_path, suffix):
    values = np.random.default_rng(3).integers(100, 4000, (20, 30), dtype=np.uint16)
    if suffix == "tif":
        data = pictures.tiff(values, photometric="minisblack", **pictures.turned(6))
    else:
        data = pictures.png(values[..., None], depth=16, colour=0, before=[(b"eXIf", pictures.exif_block(6))])
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data)
    low, high = float(values.min()), float(values.max())
    stretched = pictures.grey3(np.rint((values - low) / (high - low) * 255))
    found = decode_image(path, stretch_deep=True)
    assert np.abs(found - pictures.upright(stretched, 6)).max() <= 1
