import struct
import zlib

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


def test_a_text_file_called_tif(tmp_path):
    (tmp_path / "b001.tif").write_text("not an image\n")
    for function in (read_header, decode_image):
        with pytest.raises(ImageError, match=r"b001\.tif: not a TIFF, PNG or JPEG image; remove it or replace it"):
            function(tmp_path / "b001.tif")


@pytest.mark.parametrize("name", ["b001.tif", "b001.png", "b001.jpg"])
def test_a_truncated_file(tmp_path, picture, name):
    large = np.tile(picture, (8, 8, 1))
    Image.fromarray(large).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    if name.endswith("tif"):  # keep the directory in front, so that the header reads
        Image.fromarray(large).save(tmp_path / name, compression="tiff_adobe_deflate")
        data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(ImageError, match=r"b001\.\w+: .*(truncated|cannot be read|damaged)"):
        decode_image(tmp_path / name)


def test_a_truncated_uncompressed_tiff_of_bach_size(tmp_path):
    Image.new("RGB", (2048, 1536)).save(tmp_path / "b001.tif")
    data = (tmp_path / "b001.tif").read_bytes()
    (tmp_path / "b001.tif").write_bytes(data[:-100_000])
    with pytest.raises(ImageError, match=r"b001\.tif: cannot be decoded, the file is truncated or damaged"):
        decode_image(tmp_path / "b001.tif")


def test_reading_a_header_decodes_nothing(tmp_path, picture):
    """A PNG cut off behind its first rows still has a header; it fails when it is decoded."""
    Image.fromarray(np.tile(picture, (8, 8, 1))).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    assert read_header(tmp_path / "a.png").width == 256
    with pytest.raises(ImageError, match=r"a\.png: cannot be decoded, the file is truncated or damaged"):
        decode_image(tmp_path / "a.png")


def test_pixel_count_is_checked_before_decoding(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(ImageError, match=r"bomb\.png: (50000x50000 is over the limit of 85,000,000|its header cannot)"):
        decode_image(tmp_path / "bomb.png")


def test_resizing_halves_and_keeps_the_mean(picture):
    half = resize_image(picture, 0.5)
    assert half.shape == (12, 16, 3)
    assert half.dtype == np.uint8
    assert abs(half.mean() - picture.mean()) < 6
    assert resize_image(picture, 1.0) is picture


def test_real_images_decode_as_pillow_does(shared):
    for path in sorted((shared / "data" / "idc").rglob("*.png"))[::400]:
        np.testing.assert_array_equal(decode_image(path), np.array(Image.open(path).convert("RGB")))
