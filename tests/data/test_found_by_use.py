"""Pictures that were decoded wrongly, or refused with advice that cannot help: each read right now, or refused by name.

Test files come from encoders (Pillow, tifffile, imagecodecs), altered by a few bytes if no encoder writes them.
"""

import io
import struct

import numpy as np
import pictures
import pytest
import tifffile
from bchisto.core import ImageError
from bchisto.core.formats import read_header
from bchisto.data import ImageRecord, decode_image
from bchisto.data.images.decode import header_findings
from conftest import write_tissue
from numpy.testing import assert_array_equal
from PIL import Image
from written_tables import checked, unlisted

RNG = np.random.default_rng(3)
SMOOTH = np.dstack([np.add.outer(np.arange(40) * 3, np.arange(60) * 2).astype(np.uint8)] * 3)
NOISE = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.fixture
def write(tmp_path):
    def save(name, data):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return save


def unreadable(path, match, *, header=True):
    for function in (read_header, decode_image) if header else (decode_image,):
        with pytest.raises(ImageError, match=match) as error:
            function(path)
        assert str(error.value).startswith(str(path))


# TIFF


def with_kind(data, tag, kind):
    """Give a tag of a little-endian TIFF another kind; values of 4 bytes or less stay where they are."""
    data = bytearray(data)
    (place,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, place)
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry)[0] == tag:
            struct.pack_into("<H", data, entry + 2, kind)
            if kind == 11:
                struct.pack_into("<f", data, entry + 8, 2.0)
    return bytes(data)


@pytest.mark.parametrize("kind", [11, 9, 8, 6])
def test_a_predictor_of_another_kind_is_read(write, kind):
    """FLOAT and signed kinds were passed over, and pixels were wrong by up to 255."""
    data = pictures.tiff(NOISE, photometric="rgb", compression="zlib", predictor=True)
    assert_array_equal(decode_image(write("b.tif", with_kind(data, 317, kind))), NOISE)


@pytest.mark.parametrize("flag", [1, 4])
def test_the_first_page_that_is_no_thumbnail_is_read(write, flag, tmp_path):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        # a thumbnail, a mask
        first = {
            1: (SMOOTH[::4, ::4], "rgb"),
            4: (SMOOTH[..., 0] > 90, "minisblack"),
        }
        writer.write(first[flag][0], photometric=first[flag][1], subfiletype=flag, metadata=None)
        writer.write(NOISE, photometric="rgb", compression="zlib", metadata=None)
        writer.write(SMOOTH, photometric="rgb", metadata=None)
    path = write("a.tif", buffer.getvalue())
    assert_array_equal(decode_image(path), tifffile.imread(path, key=1))
    header = read_header(path)
    assert (header.width, header.height, header.pages, header.page) == (60, 40, 3, 2)


def test_a_thumbnail_alone_is_read_and_one_of_a_picture_elsewhere_is_refused(write):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(SMOOTH, photometric="rgb", subfiletype=1, metadata=None)
    assert_array_equal(decode_image(write("a.tif", buffer.getvalue())), SMOOTH)
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(SMOOTH[::4, ::4], photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        writer.write(NOISE, photometric="rgb", metadata=None)
    unreadable(write("b.tif", buffer.getvalue()), "its pages are thumbnails of another image in it")


# PNG


def test_a_palette_that_is_missing_or_too_short(write):
    values = RNG.integers(0, 8, (20, 30, 1))
    colours = RNG.integers(0, 256, (8, 3), dtype=np.uint8)
    whole = pictures.png(values, depth=8, colour=3, before=[(b"PLTE", colours.tobytes())])
    path = write("a.png", whole)
    assert_array_equal(decode_image(path), np.array(Image.open(path).convert("RGB")))
    unreadable(
        write("b.png", pictures.png(values, depth=8, colour=3)), "cannot be decoded", header=False
    )
    odd = pictures.png(values, depth=8, colour=3, before=[(b"PLTE", colours.tobytes()[:-1])])
    unreadable(write("c.png", odd), "cannot be decoded", header=False)
    for depth in (4, 8):
        short = pictures.png(
            values, depth=depth, colour=3, before=[(b"PLTE", colours[:7].tobytes())]
        )
        unreadable(
            write("e.png", short), "pixels beyond the 7 colours of its palette", header=False
        )


# JPEG


def test_an_arithmetic_coded_jpeg_within_a_tiff_is_refused(write):
    data = pictures.tiff(
        np.tile(SMOOTH, (2, 2, 1)),
        photometric="rgb",
        compression="jpeg",
        compressionargs={"level": 90},
    )
    place = data.index(b"\xff\xc0\0\x11")
    unreadable(
        write("a.tif", data[: place + 1] + b"\xc9" + data[place + 2 :]),
        "arithmetic-coded",
        header=False,
    )


# slides


@pytest.mark.parametrize("name", ["a.svs", "a.NDPI", "a.czi"])
def test_a_slide_is_called_a_slide_wherever_it_is_met(tmp_path, cli, refused, name):
    root = write_tissue(tmp_path / "images", per_class=3)
    path = root / "benign" / name
    path.write_bytes(pictures.tiff(NOISE, photometric="rgb"))
    told = "a whole slide; `bchisto slides cut` cuts fields out of it"
    unreadable(path, told)
    code, out = checked(cli, root)
    assert code == 1
    assert f"benign/{name}: {told}" in out
    assert f"{name}: not a TIFF" not in out
    (tmp_path / "m.csv").write_text(f"path,label\n{path},a\n{root}/benign/benign00.png,b\n")
    code, out = checked(cli, tmp_path / "m.csv")
    assert code == 1
    assert told in out
    assert told in unlisted(cli, path)
    (tmp_path / "only").mkdir()
    path.rename(tmp_path / "only" / name)
    err = refused("featurize --images T/only --out T/run")
    assert told in err
    assert name in err


# few of 16 bits


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_values_of_12_bits_in_16_are_a_finding_with_the_cure(
    tmp_path, cli, completed, suffix, tiny_options
):
    import cv2

    root = write_tissue(tmp_path / "images", per_class=3)
    for path in sorted((root / "benign").glob("*.png"))[:2]:
        deep = np.asarray(Image.open(path)).astype(np.uint16)[..., ::-1] * 16
        path.unlink()
        assert cv2.imwrite(str(path.with_suffix(f".{suffix}")), deep)
    full = sorted((root / "malignant").glob("*.png"))[0]
    cv2.imwrite(str(full), cv2.imread(str(full)).astype(np.uint16) * 257)
    said = (
        "its values use 12 of 16 bits, so that it is read as nearly black; "
        "multiply them by 16, or save it as 8-bit RGB"
    )
    code, out = checked(cli, root)
    assert code == 1
    assert f"benign/benign00.{suffix}, benign/benign01.{suffix}: {said}" in out
    _, err = completed("featurize --images {} --out T/run", root, *tiny_options)
    assert said in err


def test_values_of_few_bits_are_looked_for_in_a_sample_before_work(tmp_path):
    """Every shard and every resumed run read the pixels of all images of 16 bits."""
    import cv2

    for number in range(10):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8, 3), 4000, np.uint16))
    records = [ImageRecord(path.name, path, "a", None) for path in sorted(tmp_path.iterdir())]
    records = [record.scaled_by(read_header(record.path)) for record in records]
    sample = [finding.file for finding in header_findings(records, most=3)]
    assert sample == ["0.png", "4.png", "8.png"]
    assert len(header_findings(records)) == 10


# findings
