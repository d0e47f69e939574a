"""Pictures that are cut off, lie about themselves, or would take memory and time: refused by one line, or right."""

import io
import struct
import time
import zlib

import numpy as np
import pictures
import pytest
from bchisto.core import ImageError
from bchisto.core.formats import read_header
from bchisto.data import decode_image
from pictures import chunk
from PIL import Image

RNG = np.random.default_rng(7)
PICTURE = RNG.integers(0, 256, (64, 80, 3), dtype=np.uint8)
SMOOTH = np.dstack([np.add.outer(np.arange(64) * 2, np.arange(80)).astype(np.uint8)] * 3)


@pytest.fixture
def write(tmp_path):
    def save(name, data):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return save


def refused(path, match, *, header=True):
    """Both readers refuse it in less than a second; or decoding alone."""
    start = time.process_time()
    for function in (read_header, decode_image) if header else (decode_image,):
        with pytest.raises(ImageError, match=f"{path.name}: .*{match}") as error:
            function(path)
        assert "\n" not in str(error.value)
    assert time.process_time() - start < 5


# ---- JPEG


def resized(data, width, height):
    """Alter the size that the frame of a JPEG says."""
    place = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC2))
    return data[: place + 5] + struct.pack(">HH", height, width) + data[place + 9 :]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize(("width", "height"), [(80, 80), (96, 64), (3000, 3000)])
def test_a_jpeg_whose_header_was_enlarged(write, progressive, subsampling, width, height):
    """libjpeg fills what is missing with grey, down to one row of blocks."""
    data = pictures.jpeg(PICTURE, progressive=progressive, subsampling=subsampling)
    assert decode_image(write("a.jpg", data)).shape == (64, 80, 3)
    refused(write("a.jpg", resized(data, width, height)), "pixels are missing", header=False)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}])
def test_a_jpeg_cut_off_behind_which_an_end_was_put(write, options):
    data = pictures.jpeg(PICTURE, **options)
    for share in (0.5, 0.9, 0.99):
        cut = data[: int(len(data) * share)].rstrip(b"\xff")
        refused(write("a.jpg", cut + b"\xff\xd9"), "pixels are missing", header=False)
        refused(write("a.jpg", cut), "it has no end", header=False)


@pytest.mark.parametrize("level", [0, 127, 128, 129, 255])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}, {"subsampling": 2}])
def test_a_whole_jpeg_of_the_grey_that_fills_up_is_read(write, level, options):
    data = pictures.jpeg(np.full((64, 80, 3), level, np.uint8), **options)
    found = decode_image(write("a.jpg", data))
    np.testing.assert_array_equal(found, np.array(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("more", [b"\0" * 5000, b"\xff\xd8\xff anything", pictures.jpeg(SMOOTH), b"\xff" * 100])
def test_what_follows_the_end_of_a_jpeg_or_a_png_is_not_read(write, more):
    for name, data in (("a.jpg", pictures.jpeg(PICTURE)), ("a.png", pictures.png(PICTURE, depth=8, colour=2))):
        whole = decode_image(write(name, data))
        np.testing.assert_array_equal(decode_image(write(name, data + more)), whole)


def scans(data, more):
    """Repeat the last scan of a progressive JPEG."""
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * more + b"\xff\xd9"


def test_scans_times_pixels_are_bounded(write):
    data = pictures.jpeg(np.zeros((8, 8, 3), np.uint8), progressive=True)
    refused(write("a.jpg", resized(scans(data, 400), 8000, 8000)), "decoded more than 19 times", header=False)
    assert decode_image(write("a.jpg", scans(data, 400))).max() == 0  # a small one may have them


def test_exif_blocks_that_repeat_themselves_take_no_memory(write):
    """Each of 5,400 entries names the same 64 KiB, in 100 segments; of all that the orientation alone is read."""
    import tracemalloc

    entries = b"".join(struct.pack("<HHII", 0x9000 + i, 1, 65000, 8) for i in range(5400))
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5401) + struct.pack("<HHIHH", 0x112, 3, 1, 8, 0) + entries
    segment = b"\xff\xe1" + struct.pack(">H", 65535) + block.ljust(65533, b"\0")
    data = pictures.jpeg(PICTURE)
    path = write("a.jpg", data[:2] + segment * 100 + data[2:])
    tracemalloc.start()
    header, image = read_header(path), decode_image(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 * 1024**2
    assert (header.width, header.height) == (64, 80)
    np.testing.assert_array_equal(image, pictures.upright(np.array(Image.open(io.BytesIO(data))), 8))


@pytest.mark.parametrize("data", [b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0\1", b"\xff\xd8\xff" + b"\xff" * 5000,
                                  b"\xff\xd8" + b"\xff\xe0\0\2" * 30_000])  # fmt: skip
def test_a_jpeg_of_no_frame(write, data):
    refused(write("a.jpg", data), "its header cannot be read")


def test_a_jpeg_of_twelve_bits_or_without_loss_is_refused(write):
    import imagecodecs

    deep = imagecodecs.ljpeg_encode(RNG.integers(0, 4096, (20, 30)).astype(np.uint16), bitspersample=12)
    refused(write("a.jpg", deep), "a JPEG of kind SOF3 with 12 bits is not read, .*; save it")  # copying cannot help


@pytest.mark.parametrize(("at", "byte"), [(7, 0x9C), (5, 0x22), (8, 0x70)])
def test_a_lossless_jpeg_whose_header_was_enlarged(write, at, byte):
    """imagecodecs reads on behind its data: such files ended the process, or gave other pixels each time."""
    import imagecodecs

    data = bytearray(imagecodecs.ljpeg_encode(RNG.integers(0, 4000, (60, 80)).astype(np.uint16), bitspersample=12))
    frame = data.index(b"\xff\xc3\0\x0b\x0c\0\x3c\0\x50\x01")  # 12 bits, 60 x 80, one component
    data[frame + at] = byte
    refused(write("a.ljpeg", bytes(data)), "cannot be decoded .it ends before its last pixel", header=False)


# ---- PNG


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize(("depth", "colour", "channels"), [(8, 2, 3), (8, 0, 1), (8, 6, 4), (16, 2, 3), (8, 3, 1)])
def test_a_png_whose_header_was_enlarged(write, interlaced, depth, colour, channels):
    """Pillow leaves what is missing black; libpng of imagecodecs refuses it."""
    samples = RNG.integers(0, 2**depth, (64, 80, channels))
    before = [(b"PLTE", bytes(768))] if colour == 3 else []
    data = pictures.png(samples, depth=depth, colour=colour, before=before, size=(80, 65))
    if interlaced:
        head = bytearray(data[16:29])
        head[12] = 1
        data = data[:8] + chunk(b"IHDR", bytes(head)) + data[33:]
    refused(write("a.png", data), "cannot be decoded", header=False)


def test_an_interlaced_png_is_read(write):
    """All seven passes, made by hand; 5 x 3 leaves some of them empty."""
    samples = RNG.integers(0, 256, (3, 5), dtype=np.uint8)
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b""
    for x, y, dx, dy in passes:
        part = samples[y::dy, x::dx]
        raw += b"".join(b"\0" + row.tobytes() for row in part if row.size)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 3, 8, 0, 0, 0, 1))
    data = pictures.PNG_BEGIN + head + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(decode_image(write("a.png", data)), pictures.grey3(samples))
    short = pictures.PNG_BEGIN + head + chunk(b"IDAT", zlib.compress(raw[:-1])) + chunk(b"IEND", b"")
    refused(write("a.png", short), "cannot be decoded", header=False)


def test_a_png_cut_off(write):
    data = pictures.png(PICTURE, depth=8, colour=2)
    for length in (len(data) - 13, len(data) * 2 // 3, 60):
        refused(write("a.png", data[:length]), "cannot be decoded", header=False)
    np.testing.assert_array_equal(decode_image(write("a.png", data[:-12])), PICTURE)  # every pixel is there
    refused(write("a.png", data[:20]), "its header cannot be read")


@pytest.mark.parametrize("before", [
    [(b"iCCP", b"x\0\0" + zlib.compress(bytes(200_000_000), 9))],
    [(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(100_000_000), 9))] * 5,
    [(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(100_000_000), 9))],
    [(b"tEXt", b"")] * 20_000,
])  # fmt: skip
def test_what_a_png_holds_beside_its_pixels_is_not_inflated(write, before):
    path = write("a.png", pictures.png(PICTURE, depth=8, colour=2, before=before))
    start = time.process_time()
    np.testing.assert_array_equal(decode_image(path), PICTURE)
    assert time.process_time() - start < 2


def test_more_pixel_data_than_pixels_is_not_inflated(write):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0))
    data = head + chunk(b"IDAT", zlib.compress(bytes(300_000_000), 9)) + chunk(b"IEND", b"")
    path = write("a.png", pictures.PNG_BEGIN + data)
    start = time.process_time()
    assert decode_image(path).shape == (16, 16, 3)
    assert time.process_time() - start < 1


def test_a_png_that_says_two_things(write):
    data = pictures.png(PICTURE, depth=8, colour=2)
    refused(write("a.png", data[:33] + data[8:]), "it has two IHDR chunks")
    refused(write("a.png", data[:8] + data[33:]), "does not begin with IHDR")


# ---- TIFF

PLAIN = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 16, 279: 256}


def tiff(changes=(), *, data=b"\x55" * 256, after=0, more=()):
    """Write a grey TIFF by hand: pixels, then a directory of whole numbers."""
    tags = sorted([*({**PLAIN, **dict(changes)}).items(), *more])
    tags = [(tag, value) for tag, value in tags if value is not None]
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + rows
            + struct.pack("<I", after))  # fmt: skip


def test_a_plain_tiff_by_hand_is_read(write):
    assert (decode_image(write("a.tif", tiff())) == 0x55).all()
    assert read_header(write("a.tif", tiff({279: 2**31}))).width == 16  # unpacked pixels follow from the size
    assert (decode_image(write("a.tif", tiff({279: None}))) == 0x55).all()


@pytest.mark.parametrize(("changes", "match"), [
    ({256: 2**31, 257: 2**31}, "is over the limit of 85,000,000 pixels"),
    ({256: 0}, "its header has 0x16 pixels"),
    ({322: 65536, 323: 65536, 324: 8, 325: 256}, "its tiles have 65536x65536 pixels"),
    ({277: 60_000}, "60000 channels, not red, green and blue"),
    ({278: 1, 259: 5}, "1 parts, where 16 belong"),
    ({259: 34925}, "packed in way 34925 is not read"),
    ({259: 5, 279: 2**31}, "more than 680,000,000 bytes of pixels"),
    ({262: None}, "does not define its colours"),
    ({258: 16, 262: 3}, "this kind of 16-bit image"),
    ({262: 6, 277: 3, 258: 8}, "YCbCr with fewer colours than pixels"),
])  # fmt: skip
def test_a_tiff_that_cannot_be(write, changes, match):
    refused(write("a.tif", tiff(changes)), match)


@pytest.mark.parametrize("changes", [{257: 900, 278: 900}, {273: 2**31}, {273: 10_000}])
def test_a_tiff_whose_pixels_lie_behind_its_end(write, changes):
    refused(write("a.tif", tiff(changes)), "pixels are behind its end", header=False)


def test_directories_of_a_tiff_are_bounded(write):
    """Empty ones in a chain, a circle, very many, and one of very many tags that each name the whole file."""
    empty = b"II*\0" + b"".join(struct.pack("<IH", 8 + 6 * i, 0) for i in range(5000))
    refused(write("a.tif", empty), "its header has 0x0 pixels")
    assert (decode_image(write("a.tif", tiff(after=8 + 256))) == 0x55).all()  # its first page, again and again
    first = len(tiff())
    page = struct.pack("<HHHII", 1, 254, 4, 1, 0)
    many = b"".join(page + struct.pack("<I", first + 18 * (i + 1)) for i in range(20_000))
    refused(write("a.tif", tiff(after=first) + many), "more than 10,000 pages")
    some = b"".join(page + struct.pack("<I", first + 18 * (i + 1) if i < 499 else 0) for i in range(500))
    assert read_header(write("a.tif", tiff(after=first) + some)).pages == 501
    whole = [(5000 + i, 8) for i in range(900)]
    data = bytearray(tiff(more=whole)) + bytes(10_000_000)
    for place in range(8 + 256 + 2 + 12 * len(PLAIN), 8 + 256 + 2 + 12 * (len(PLAIN) + 900), 12):
        data[place + 4 : place + 8] = struct.pack("<I", 2_500_000)
    start = time.process_time()
    assert (decode_image(write("a.tif", bytes(data))) == 0x55).all()
    assert time.process_time() - start < 1


def test_packed_pixels_of_a_tiff(write):
    """A strip of too many bytes is not inflated, and refused as one of too few is."""
    bomb = zlib.compress(b"\x55" * 100_000_000, 9)
    start = time.process_time()
    refused(write("a.tif", tiff({259: 8, 279: len(bomb)}, data=bomb)), "cannot be decoded", header=False)
    assert time.process_time() - start < 1
    short = zlib.compress(b"\x55" * 100)
    refused(write("a.tif", tiff({259: 8, 279: len(short)}, data=short)), "cannot be decoded", header=False)


def test_a_jpeg_within_a_tiff_that_lacks_pixels(write):
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, "TIFF", compression="jpeg", quality=90)
    data = bytearray(buffer.getvalue())
    whole = decode_image(write("a.tif", bytes(data)))
    np.testing.assert_array_equal(whole, np.array(Image.open(buffer)))
    end = data.rindex(b"\xff\xd9")
    data[end - 600 : end - 598] = b"\xff\xd9"
    refused(write("a.tif", bytes(data)), "pixels are missing", header=False)


# ---- all


def test_a_folder_of_such_files_is_named_file_by_file(tmp_path, cli, tissue):
    """By the command line: each is named by `data check`, and left out by `--skip-errors`; no other fails."""
    import shutil

    root = tmp_path / "images"
    shutil.copytree(tissue, root)
    scan = pictures.jpeg(np.zeros((8, 8, 3), np.uint8), progressive=True)
    files = {
        "chain.tif": b"II*\0" + b"".join(struct.pack("<IH", 8 + 6 * i, 0) for i in range(5000)),
        "signed.tif": pictures.kinds()["tiff int16"][1],
        "grown.jpg": resized(pictures.jpeg(PICTURE), 900, 900),
        "scans.jpg": resized(scans(scan, 400), 8000, 8000),
        "cut.png": pictures.png(PICTURE, depth=8, colour=2)[:2000],
        "empty.png": b"",
    }
    for name, data in files.items():
        (root / "benign" / name).write_bytes(data)
    code, out, err = cli("data", "check", "--images", root, "--decode", "--no-copies")
    assert code == 1
    assert all(f"benign/{name}" in out + err for name in files)
    assert "unexpected" not in out + err
    code, out, err = cli("stain", root, "--out", tmp_path / "out", "--skip-errors")
    assert code == 1
    assert "unexpected" not in out + err
    failures = (tmp_path / "out" / "failures.csv").read_text()
    assert all(f"benign/{name}" in failures for name in files)
    assert len(failures.splitlines()) == 1 + len(files)
