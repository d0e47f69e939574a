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


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_lossless_colour_is_exact(tmp_path, picture, name):
    Image.fromarray(picture).save(tmp_path / name)
    np.testing.assert_array_equal(decode_image(tmp_path / name), picture)
    header = read_header(tmp_path / name)
    assert (header.width, header.height, header.mode, header.pages) == (32, 24, "RGB", 1)


def test_compressed_tiff_and_jpeg(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "a.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(decode_image(tmp_path / "a.tif"), picture)
    smooth = np.full((24, 32, 3), (200, 120, 180), np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(decode_image(tmp_path / "a.jpg").astype(int) - smooth).max() <= 3


def test_grey_becomes_three_equal_channels(tmp_path, picture):
    Image.fromarray(picture[..., 0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png"), np.repeat(picture[..., :1], 3, axis=2))


def test_bilevel_is_black_and_white(tmp_path):
    Image.fromarray(np.eye(16) > 0).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png")[..., 1], np.eye(16, dtype=np.uint8) * 255)


def test_palette_is_looked_up(tmp_path):
    image = Image.new("P", (4, 4))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1] * 8)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png")[0, :2], [[10, 20, 30], [200, 100, 50]])


def test_alpha_is_composited_over_white(tmp_path):
    pixels = np.array([[[100, 0, 0, 255], [100, 0, 0, 0], [100, 0, 0, 128]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = decode_image(tmp_path / "a.png")[0]
    np.testing.assert_array_equal(found[0], [100, 0, 0])
    np.testing.assert_array_equal(found[1], [255, 255, 255])
    assert abs(int(found[2, 1]) - 127) <= 1


def test_cmyk_is_converted(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(decode_image(tmp_path / "a.tif")[0, 0], [255, 0, 0])


def test_exif_rotation_is_applied(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png"), np.rot90(picture, -1))
    header = read_header(tmp_path / "a.png")
    assert (header.width, header.height) == (24, 32)


def test_sixteen_bit_grey_keeps_full_scale(tmp_path):
    values = np.array([[0, 257, 128 * 257, 65535, 200]], np.uint16)
    for name in ("a.png", "a.tif"):
        Image.fromarray(values).save(tmp_path / name)
        np.testing.assert_array_equal(decode_image(tmp_path / name)[0, :, 0], [0, 1, 128, 255, 1])


def test_sixteen_bit_colour_uses_both_bytes(tmp_path, rng):
    import cv2

    deep = rng.integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    for name in ("a.png", "a.tif"):
        assert cv2.imwrite(str(tmp_path / name), deep[..., ::-1])
        np.testing.assert_array_equal(decode_image(tmp_path / name), np.rint(deep / 257.0).astype(np.uint8))


def test_sixteen_bit_alpha(tmp_path):
    import cv2

    deep = np.array([[[0, 0, 65535, 65535], [0, 0, 65535, 0]]], np.uint16)
    assert cv2.imwrite(str(tmp_path / "a.png"), deep)
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png")[0], [[255, 0, 0], [255, 255, 255]])


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


def test_a_missing_file(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        decode_image(tmp_path / "none.tif")


def test_resizing_halves_and_keeps_the_mean(picture):
    half = resize_image(picture, 0.5)
    assert half.shape == (12, 16, 3)
    assert half.dtype == np.uint8
    assert abs(half.mean() - picture.mean()) < 6
    assert resize_image(picture, 1.0) is picture


def test_real_images_decode_as_pillow_does(shared):
    for path in sorted((shared / "data" / "idc").rglob("*.png"))[::400]:
        np.testing.assert_array_equal(decode_image(path), np.array(Image.open(path).convert("RGB")))
