import numpy as np
import pytest
from bchisto.core import ImageError
from bchisto.core.formats import read_header
from bchisto.data import decode_image, resize_image
from PIL import Image


@pytest.fixture
def picture(rng):
    return rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)


def test_first_page_of_several(tmp_path, picture):
    second = Image.fromarray(255 - picture)
    Image.fromarray(picture).save(tmp_path / "a.tif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(decode_image(tmp_path / "a.tif"), picture)
    assert read_header(tmp_path / "a.tif").pages == 2


def test_reading_a_header_decodes_nothing(tmp_path, picture):
    """A PNG cut off behind its first rows still has a header; it fails when it is decoded."""
    Image.fromarray(np.tile(picture, (8, 8, 1))).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    assert read_header(tmp_path / "a.png").width == 256
    with pytest.raises(ImageError, match=r"a\.png: cannot be decoded, the file is truncated or damaged"):
        decode_image(tmp_path / "a.png")


def test_resizing_halves_and_keeps_the_mean(picture):
    half = resize_image(picture, 0.5)
    assert half.shape == (12, 16, 3)
    assert half.dtype == np.uint8
    assert abs(half.mean() - picture.mean()) < 6
    assert resize_image(picture, 1.0) is picture


def test_real_images_decode_as_pillow_does(shared):
    for path in sorted((shared / "data" / "idc").rglob("*.png"))[::400]:
        np.testing.assert_array_equal(decode_image(path), np.array(Image.open(path).convert("RGB")))
