"""Pictures and mammograms that are cut off, lie about themselves, or would take memory and time.

Name to a function that writes the file below a folder and returns its path, and the words of its refusal.
"""

import io
import struct
import warnings
import zlib

import numpy as np
import pictures
import pydicom
from miniatures import MASS, SQUARE, overlay, write_ddsm, write_dicom
from pictures import chunk
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit
from sample_trees import exchange

RNG = np.random.default_rng(7)
PICTURE = RNG.integers(0, 256, (64, 80, 3), dtype=np.uint8)


def of(name, data):
    """A file of these bytes, or of those that a function makes when they are asked for."""

    def write(folder):
        (folder / name).write_bytes(data() if callable(data) else data)
        return folder / name

    return write


# ---- JPEG


def jpeg(**options):
    return pictures.jpeg(PICTURE, **options)


def resized(data, width, height):
    """Alter the size that the frame of a JPEG says."""
    place = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC2))
    return data[: place + 5] + struct.pack(">HH", height, width) + data[place + 9 :]


def cut(data, share):
    return data[: int(len(data) * share)].rstrip(b"\xff")


def scans(more):
    """A progressive JPEG of 64 pixels whose last scan is repeated."""
    data = pictures.jpeg(np.zeros((8, 8, 3), np.uint8), progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * more + b"\xff\xd9"


def lossless(at=None, byte=0):
    """A lossless JPEG; imagecodecs reads on behind its data if its frame says more than there is."""
    import imagecodecs

    data = bytearray(
        imagecodecs.ljpeg_encode(
            RNG.integers(0, 4000, (60, 80)).astype(np.uint16), bitspersample=12
        )
    )
    if at is not None:
        data[data.index(b"\xff\xc3\0\x0b\x0c\0\x3c\0\x50\x01") + at] = (
            byte  # 12 bits, 60 x 80, one component
        )
    return bytes(data)


JPEG = {
    f"a JPEG of {place}": (of("a.jpg", data), "its header cannot be read")
    for place, data in (
        ("three bytes", b"\xff\xd8\xff"),
        ("no frame", b"\xff\xd8\xff\xe0\0\1"),
        ("fill", b"\xff\xd8\xff" + b"\xff" * 5000),
        ("30,000 segments", b"\xff\xd8" + b"\xff\xe0\0\2" * 30_000),
    )
} | {
    "a JPEG without loss": (
        of("a.jpg", lossless),
        "a JPEG that is lossless, arithmetic-coded or not of 8 bits is not read",
    ),
}
JPEG_PIXELS = (
    {
        f"a JPEG called {width}x{height} {options}": (
            of("a.jpg", resized(jpeg(**options), width, height)),
            "pixels are missing",
        )
        for options in (
            {},
            {"progressive": True},
            {"subsampling": 2},
            {"progressive": True, "subsampling": 2},
        )
        for width, height in ((80, 80), (96, 64), (3000, 3000))
    }
    | {
        f"a JPEG of {share} {options}{' and an end' if end else ''}": (
            of("a.jpg", cut(jpeg(**options), share) + end),
            "pixels are missing" if end else "it has no end",
        )
        for options in ({}, {"progressive": True}, {"restart_marker_blocks": 4})
        for share in (0.5, 0.9, 0.99)
        for end in (b"\xff\xd9", b"")
    }
    | {
        "a JPEG of 400 scans": (
            of("a.jpg", lambda: resized(scans(400), 8000, 8000)),
            "decoded more than 19 times",
        ),
        **{
            f"a lossless JPEG with {byte:x} at {at}": (
                of("a.ljpeg", lambda at=at, byte=byte: lossless(at, byte)),
                "decoded .it ends before its last pixel",
            )
            for at, byte in ((7, 0x9C), (5, 0x22), (8, 0x70))
        },
    }
)

# ---- PNG


def png(**options):
    return pictures.png(PICTURE, depth=8, colour=2, **options)


def enlarged(depth, colour, channels, interlaced):
    """Pillow leaves what is missing black; libpng of imagecodecs refuses it."""
    samples = RNG.integers(0, 2**depth, (64, 80, channels))
    before = [(b"PLTE", bytes(768))] if colour == 3 else []
    data = pictures.png(samples, depth=depth, colour=colour, before=before, size=(80, 65))
    return data[:8] + chunk(b"IHDR", data[16:28] + bytes([interlaced])) + data[33:]


def interlaced(samples, less=0):
    """All seven passes, made by hand; the packed pixels lack some bytes."""
    height, width = samples.shape
    passes = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]
    parts = [samples[y::dy, x::dx] for x, y, dx, dy in passes]
    raw = b"".join(b"\0" + row.tobytes() for part in parts for row in part if row.size)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1))
    return (
        pictures.PNG_BEGIN
        + head
        + chunk(b"IDAT", zlib.compress(raw[: len(raw) - less]))
        + chunk(b"IEND", b"")
    )


PNG = {
    "a PNG of 20 bytes": (of("a.png", png()[:20]), "its header cannot be read"),
    "a PNG that says none": (
        of("a.png", png()[:8] + png()[33:]),
        "its header cannot be read",
    ),
    **{
        f"a PNG with a {kind} of much more": (
            of(
                "a.png",
                lambda k=kind, t=begin: png(before=[(k, t + zlib.compress(bytes(100_000_000), 9))]),
            ),
            "its header cannot be read",
        )
        for kind, begin in (
            (b"iCCP", b"x\0\0"),
            (b"zTXt", b"x\0\0"),
            (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"),
        )
    },
}
PNG_PIXELS = (
    {
        f"a PNG of {kind} called higher {passes}": (
            of("a.png", enlarged(*kind, passes)),
            "cannot be decoded",
        )
        for kind in ((8, 2, 3), (8, 0, 1), (8, 6, 4), (16, 2, 3), (8, 3, 1))
        for passes in (0, 1)
    }
    | {
        f"a PNG without {less}": (
            of("a.png", png()[: int(less * len(png())) - 1]),
            "cannot be decoded",
        )
        for less in (0.999, 0.67, 0.005)
    }
    | {
        "a PNG that says two sizes": (
            of("a.png", png()[:33] + png()[8:]),
            "libpng cannot read its pixels",
        )
    }
    | {
        "an interlaced PNG": (
            of("a.png", interlaced(PICTURE[:3, :5, 0], 1)),
            "cannot be decoded",
        )
    }
)

# ---- TIFF

PLAIN = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 16, 279: 256}


def tiff(changes=(), *, data=b"\x55" * 256, after=0, more=()):
    """Write a grey TIFF by hand: pixels, then a directory of whole numbers."""
    tags = sorted([*({**PLAIN, **dict(changes)}).items(), *more])
    tags = [(tag, value) for tag, value in tags if value is not None]
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (
        b"II*\0"
        + struct.pack("<I", 8 + len(data))
        + data
        + struct.pack("<H", len(tags))
        + rows
        + struct.pack("<I", after)
    )


def pages(count):
    """A TIFF with so many more pages, of one tag each."""
    first, page = len(tiff()), struct.pack("<HHHII", 1, 254, 4, 1, 0)
    ends = [first + 18 * (i + 1) if i < count - 1 else 0 for i in range(count)]
    return tiff(after=first) + b"".join(page + struct.pack("<I", end) for end in ends)


def deflated(size):
    """A strip that unpacks to another size."""
    packed = zlib.compress(b"\x55" * size, 9)
    return tiff({259: 8, 279: len(packed)}, data=packed)


def jpeg_in_tiff():
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, "TIFF", compression="jpeg", quality=90)
    return bytearray(buffer.getvalue())


def lacking():
    data = jpeg_in_tiff()
    end = data.rindex(b"\xff\xd9")
    data[end - 600 : end - 598] = b"\xff\xd9"
    return data


EMPTY_DIRECTORIES = b"II*\0" + b"".join(struct.pack("<IH", 8 + 6 * i, 0) for i in range(5000))
TIFF = {
    f"a TIFF of {changes}": (of("a.tif", tiff(changes)), words)
    for changes, words in (
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
    )
} | {
    "a TIFF of empty directories": (of("a.tif", EMPTY_DIRECTORIES), "its header has 0x0 pixels"),
    "a TIFF of 20,000 pages": (of("a.tif", lambda: pages(20_000)), "more than 10,000 pages"),
}
TIFF_PIXELS = {
    f"a TIFF with pixels at {changes}": (of("a.tif", tiff(changes)), "pixels are behind its end")
    for changes in ({257: 900, 278: 900}, {273: 2**31}, {273: 10_000})
} | {
    "a TIFF of a packed 100 MB": (of("a.tif", lambda: deflated(100_000_000)), "cannot be decoded"),
    "a TIFF of too few bytes": (of("a.tif", deflated(100)), "cannot be decoded"),
    "a TIFF of half a JPEG": (of("a.tif", lacking), "pixels are missing"),
}

# ---- DICOM

GREY = np.add.outer(np.arange(20) * 5, np.arange(30) * 3).astype(np.uint8)
VALUES = RNG.integers(100, 4000, (20, 30)).astype(np.uint16)


def packed(path, syntax, *, frame=None):
    """Write a DICOM file of GREY in another transfer syntax."""
    data = pydicom.dcmread(write_dicom(path, GREY, implicit=False))
    data.file_meta.TransferSyntaxUID = syntax
    if frame is not None:
        data.PixelData = pydicom.encaps.encapsulate([frame])
        data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def strange(path, tag, kind, text):
    """Write a value that pydicom would not."""
    with pydicom.config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(path)
        number = pydicom.tag.Tag(tag)
        data._dict[number] = pydicom.dataelem.RawDataElement(
            number, kind, len(text), text.encode(), 0, True, True
        )
        data.save_as(path)
    return path


def dicom(*changes, **elements):
    """A DICOM file with other bytes in the place of some, or with other numbers for its grey levels."""

    def write(folder):
        path = write_dicom(
            folder / "a.dcm", VALUES, implicit=False, **({"NumberOfFrames": 1} if changes else {})
        )
        data = path.read_bytes()
        for old, new in changes:
            assert old in data
            data = data.replace(old, new)
        path.write_bytes(data)
        return path

    def numbered(folder):
        numbers = dict(zip(NUMBERS, (1, 0, 2000, 1500), strict=True))
        path = write_dicom(folder / "a.dcm", VALUES, **numbers)
        for tag, text in elements.items():
            strange(path, tag, "DS", text)
        return path

    return numbered if elements else write


def nested(folder):
    path = write_dicom(folder / "a.dcm", VALUES, implicit=False)
    data = path.read_bytes()
    start = 144 + struct.unpack_from("<I", data, 140)[0]
    one = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    path.write_bytes(data[:start] + one * 5000 + data[start:])
    return path


def many_elements(folder):
    path = write_dicom(folder / "a.dcm", GREY, implicit=False)
    path.write_bytes(path.read_bytes() + struct.pack("<HH2sH", 0x7FE1, 0x1010, b"SH", 0) * 300_000)
    return path


def jpeg2000(size=None):
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, "JPEG2000")
    data = buffer.getvalue()
    start = data.index(b"\xff\x4f\xff\x51") + 8
    return (
        data if size is None else data[:start] + struct.pack(">II", size, size) + data[start + 8 :]
    )


NUMBERS = ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth")
ALLOCATED, STORED = b"\x28\x00\x00\x01US\x02\x00\x10\x00", b"\x28\x00\x01\x01US\x02\x00\x10\x00"
DICOM = {
    f"a DICOM with {new!r}": (dicom((old, new)), words)
    for old, new, words in (
        (b"IS\x02\x001 ", b"IS\x04\x00inf ", "does not define how the pixels are stored"),
        (b"IS\x02\x001 ", b"IS\x04\x00x\\y ", "does not define how the pixels are stored"),
        (b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00QQ", "does not define how the pixels are stored"),
        (b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00UN", "a DICOM file without pixels"),
        (b"\x28\x00\x11\x00US\x02", b"\x28\x00\x11\x00US\x01", "a DICOM file without pixels"),
        (
            b"\x28\x00\x02\x00US\x02\x00\x01\x00",
            b"\x28\x00\x02\x00US\x02\x00\x00\x00",
            "1 frames, 0 samples per pixel",
        ),
    )
} | {
    "a DICOM of one bit": (
        dicom((ALLOCATED, ALLOCATED[:-2] + b"\1\0"), (STORED, STORED[:-2] + b"\1\0")),
        "1 of 1 bits per pixel; only 8, 16 or 32 are read",
    ),
    "a DICOM of 32 of 16 bits": (
        dicom((STORED, STORED[:-2] + b"\x20\0")),
        "32 of 16 bits per pixel",
    ),
    "a DICOM nested 5,000 deep": (nested, r"its header cannot be read \(it is nested too deep\)"),
    "a DICOM of 300,000 elements": (many_elements, "more elements than an image has"),
    "a deflated DICOM": (
        lambda folder: packed(folder / "a.dcm", DeflatedExplicitVRLittleEndian),
        "its elements are deflated, which is not read; save it uncompressed",
    ),
}
DICOM_PIXELS = {
    f"a DICOM whose {tag} is {bad}": (
        dicom(**{tag: bad}),
        "Width must be" if (tag, bad) == (NUMBERS[3], "0") else f"{tag} is not a number",
    )
    for tag, bad in (
        *((tag, bad) for tag in NUMBERS for bad in ("nan", "inf", "-inf")),
        ("RescaleSlope", "0"),
        ("WindowWidth", "0"),
    )
} | {
    f"a DICOM of {name}": (
        lambda folder, syntax=syntax, frame=frame: packed(folder / "a.dcm", syntax, frame=frame()),
        words,
    )
    for name, syntax, frame, words in (
        (
            "a cut JPEG",
            JPEGBaseline8Bit,
            lambda: pictures.jpeg(GREY)[:-60] + b"\xff\xd9",
            "pixels are missing",
        ),
        (
            "a large JPEG",
            JPEGBaseline8Bit,
            lambda: pictures.jpeg(np.zeros((4000, 4000), np.uint8)),
            "a JPEG of 4000x4000 pixels is in it",
        ),
        (
            "a large JPEG 2000",
            JPEG2000Lossless,
            lambda: jpeg2000(60_000),
            "a JPEG 2000 of 60000x60000 pixels is in it",
        ),
    )
}

# ---- all of a kind


def saved(kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, kind, **options)
    return buffer.getvalue()


def riff(kind, size, content):
    return b"RIFF" + struct.pack("<I", 26) + kind + struct.pack("<I", size) + content


def huge_bmp():
    data = bytearray(saved("BMP"))
    data[18:26] = struct.pack("<ii", 2**31 - 1, -(2**31 - 1))
    return data


LARGE = "is over the limit of 85,000,000 pixels"
ROWS, COLUMNS = b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x11\x00US\x02\x00"
OTHERS = {
    "a text called TIFF": (
        of("a.tif", b"not an image\n"),
        "not a TIFF, PNG or JPEG image; remove it or replace it",
    ),
    "a text called DICOM": (of("a.dcm", b"not at all" * 40), "not a DICOM image; remove it"),
    "a picture that is not there": (lambda folder: folder / "none.dcm", "no such file"),
    "a PNG of 2.5 billion pixels": (
        of("a.png", png(size=(50_000, 50_000))),
        LARGE,
    ),
    "a BMP of 4 quintillion pixels": (of("a.bmp", huge_bmp), LARGE),
    "a WebP of 2 billion pixels": (
        of("a.webp", riff(b"WEBPVP8X", 10, bytes(4) + b"\xff\x3f\0\xff\x3f\0" + bytes(4))),
        LARGE,
    ),
    "a WebP without loss of 268 million pixels": (
        of("a.webp", riff(b"WEBPVP8L", 10, b"\x2f\xff\xff\xff\x0f" + bytes(9))),
        LARGE,
    ),
    "a DICOM of 4 billion pixels": (
        dicom((ROWS + b"\x14\0", ROWS + b"\xff\xff"), (COLUMNS + b"\x1e\0", COLUMNS + b"\xff\xff")),
        LARGE,
    ),
    "a DICOM without pixels": (
        lambda folder: write_dicom(folder / "a.dcm", VALUES, pixels=False),
        "a DICOM file without pixels; leave",
    ),
    "a DICOM of three frames": (
        lambda folder: write_dicom(folder / "a.dcm", VALUES, NumberOfFrames=3),
        "3 frames, 1 samples per pixel, MONOCHROME2; only single images in grey or RGB",
    ),
    "a DICOM with a palette": (
        lambda folder: write_dicom(folder / "a.dcm", VALUES, photometric="PALETTE COLOR"),
        "PALETTE COLOR; only single images in grey or RGB",
    ),
}
CUT = {
    f"a {kind} cut at {place}": (
        of(f"a.{kind.lower()}", saved(kind)[:place]),
        r"cannot be (decoded|read)",
    )
    for kind in ("BMP", "WEBP", "TIFF", "JPEG", "PNG")
    for place in (60, 600, -40)
} | {
    "a DICOM cut off": (
        lambda folder: of("a.dcm", write_dicom(folder / "a.dcm", VALUES).read_bytes()[:-200])(
            folder
        ),
        "cannot be decoded",
    )
}

PICTURES = JPEG | PNG | TIFF | DICOM | OTHERS
"""Which reading a header refuses, and decoding."""

PIXELS = JPEG_PIXELS | PNG_PIXELS | TIFF_PIXELS | DICOM_PIXELS | CUT
"""Which decoding refuses."""

# ---- texts of the DDSM

NUMBER = "9" * 5000
ICS, OVERLAY = "B-3159-1.ics", "B_3159_1.LEFT_CC.OVERLAY"


def case(file, old, new):
    """A case of the DDSM with another text in the place of one; the path is that of its folder."""

    def write(folder):
        write_ddsm(
            folder, "B-3159-1", {"LEFT_CC": overlay((MASS, "MALIGNANT", [SQUARE]))}, convert=True
        )
        exchange(folder / file, old, new)
        return folder

    return write


NAMES = ("/etc/passwd", "../../B-3159-1", "*", "..", "B" * 5000, "B\0", "~root", "a/b", "%s")
CASES = (
    {
        f"a case called {name[:20]!r}": (
            case(ICS, "filename B-3159-1", f"filename {name}"),
            f"{ICS}.*is not the name of a case; download the file again",
        )
        for name in NAMES
    }
    | {
        f"a case with {new[:40]!r} for {old}": (case(file, old, new), file)
        for file, old, new in (
            (ICS, "LINES 96", f"LINES {NUMBER}"),
            (ICS, "PIXELS_PER_LINE 64", f"PIXELS_PER_LINE {NUMBER}"),
            (ICS, "BITS_PER_PIXEL 12", f"BITS_PER_PIXEL {NUMBER}"),
            (ICS, "RESOLUTION 50", f"RESOLUTION {NUMBER}"),
            (
                ICS,
                "LEFT_CC LINES",
                "LEFT_CC LINES 96 PIXELS_PER_LINE 64 BITS_PER_PIXEL 12 RESOLUTION 50 OVERLAY\nLEFT_CC LINES",
            ),
            (OVERLAY, "ABNORMALITIES 1", f"ABNORMALITIES {NUMBER}"),
            (OVERLAY, "ABNORMALITY 1", f"ABNORMALITY {NUMBER}"),
            (OVERLAY, "OUTLINES 1", f"OUTLINES {NUMBER}"),
            (OVERLAY, "10 12 2", f"{NUMBER} 12 2"),
            (OVERLAY, "10 12 2", f"10 12 {NUMBER}"),
        )
    }
    | {
        "a case of many megabytes": (
            case(ICS, "filename", "FILM \n" * 500_000 + "filename"),
            "too large for an .ics; replace it by the published file",
        ),
    }
)
