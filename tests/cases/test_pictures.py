"""What is one picture: channels, palettes, alpha, colour DICOM, BMP and WebP, by the command line and by pixels.

The right value is that of a twin: the same pixels as a plain RGB picture.
"""

import io
import struct

import numpy as np
import pictures
import pytest
import tifffile
from bchisto.core import ImageError
from bchisto.core.formats import decode_image, read_header
from bchisto.data.synthetic import make_tissue
from numpy.testing import assert_array_equal
from PIL import Image, ImageCms

RGB = make_tissue("Benign", seed=3, index=1, size=(120, 96))
PLANES = np.ascontiguousarray(RGB.transpose(2, 0, 1))
DARK = np.where(np.random.default_rng(0).random((3, 96, 120)) < 0.05, 200, 6).astype(np.uint8)
READ_AS_RGB = "3 grey channels are read as red, green and blue"


def tif(values, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def ome(values, axes="CYX", names=None, **options):
    metadata = {
        "axes": axes,
        **({"Channel": {"Name": names}} if isinstance(names, list) else names or {}),
    }
    return tif(values, ome=True, photometric="minisblack", metadata=metadata, **options)


def imagej(values, axes="CYX", **metadata):
    return tif(values, imagej=True, photometric="minisblack", metadata={"axes": axes, **metadata})


def luts(*colours):
    return [np.outer(colour, np.arange(256)).astype(np.uint8) for colour in colours]


RED, GREEN, BLUE, WHITE = (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)
# blue, green, red as RGBA with a sign
COLOURS = {"Channel": {"Color": [65535, 16711935, -16776961]}}


def pages_of_pillow(planes):
    buffer = io.BytesIO()
    first, *rest = map(Image.fromarray, planes)
    first.save(buffer, "TIFF", save_all=True, append_images=rest)
    return buffer.getvalue()


CHANNELS = {
    "OME with names": ome(PLANES, names=["Red", "Green", "Blue"]),
    "OME in another order": ome(PLANES[[2, 0, 1]], names=["B", "R", "G"]),
    "OME with colours": ome(PLANES[::-1], names=COLOURS),
    "OME without names": ome(PLANES),
    "OME in tiles": ome(PLANES, tile=(32, 32), compression="zlib"),
    "OME with axes": ome(PLANES[None, :, None], "TCZYX"),
    "OME of 16 bits": ome(PLANES.astype(np.uint16) * 257),
    "OME with a pyramid": None,
    "ImageJ composite": imagej(PLANES, mode="composite"),
    "ImageJ with tables": imagej(PLANES[::-1], mode="composite", LUTs=luts(BLUE, GREEN, RED)),
    "ImageJ of grey tables": imagej(PLANES, LUTs=luts(WHITE, WHITE, WHITE)),
    "samples without colours": tif(RGB, photometric="minisblack", planarconfig="contig"),
    "planes without colours": tif(PLANES, photometric="minisblack", planarconfig="separate"),
}
buffer = io.BytesIO()
with tifffile.TiffWriter(buffer, ome=True) as writer:
    writer.write(PLANES, subifds=1, photometric="minisblack", metadata={"axes": "CYX"})
    writer.write(PLANES[:, ::2, ::2], subfiletype=1, photometric="minisblack")
CHANNELS["OME with a pyramid"] = buffer.getvalue()

PLAIN = {  # read as RGB without a word
    "RGB": tif(RGB, photometric="rgb"),
    "RGB planar": tif(PLANES, photometric="rgb", planarconfig="separate"),
    "OME with samples": tif(RGB, ome=True, photometric="rgb"),
    "ImageJ RGB": tif(RGB, imagej=True),
}

GREY = PLANES[1]
MOVED = np.stack([GREY, np.rot90(GREY, 2), GREY[::-1]])
REFUSED = {
    **{
        f"three grey pages {name}": (data, "3 grey pages; if they are red, green and blue")
        for name, data in (
            ("of tifffile", tif(PLANES, photometric="minisblack")),
            ("without metadata", tif(PLANES, photometric="minisblack", metadata=None)),
            ("of Pillow", pages_of_pillow(PLANES)),
            ("that differ", pages_of_pillow(MOVED)),
        )
    },
    "dark channels": (ome(DARK), "3 channels, of fluorescence, or dark as such"),
    "dark composite": (
        imagej(DARK, mode="composite"),
        "3 channels, of fluorescence, or dark as such",
    ),
    "colours of fluorescence": (
        imagej(PLANES, mode="composite", LUTs=luts((0, 1, 1), (1, 0, 1), (1, 1, 0))),
        "3 channels, of fluorescence",
    ),
    "two channels": (ome(PLANES[:2]), "2 channels, not red, green and blue"),
    "two samples": (
        tif(RGB[..., :2], photometric="minisblack", planarconfig="contig"),
        "2 channels, not red",
    ),
    "four channels": (ome(PLANES[[0, 1, 2, 0]]), "4 channels, not red, green and blue"),
    "z-stack of OME": (
        ome(PLANES[[0, 1, 2, 0, 1, 2, 0]], "ZYX"),
        "a z-stack of 7 images; save one of them as",
    ),
    "z-stack of RGB": (
        tif(np.stack([RGB] * 4), ome=True, photometric="rgb", metadata={"axes": "ZYXS"}),
        "a z-stack of 4 images",
    ),
    "z-stack of ImageJ": (imagej(PLANES, "ZYX"), "a z-stack of 3 images"),
    "z-stack of channels": (imagej(np.stack([PLANES] * 5), "ZCYX"), "a z-stack of 5 images"),
    "volume": (
        tif(PLANES, photometric="minisblack", volumetric=True, tile=(3, 16, 16)),
        "a z-stack of 3 images",
    ),
    "time series of OME": (ome(PLANES, "TYX"), "a time series of 3 images"),
}


def written(folder, data):
    """Write a picture; return its file."""
    path = folder / "a.tif"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", CHANNELS)
def test_channels_of_one_image_are_rgb(tmp_path, name):
    path = written(tmp_path, CHANNELS[name])
    assert_array_equal(decode_image(path), RGB)
    header = read_header(path)
    assert (header.mode, header.width, header.height) == ("RGB", 120, 96)
    ((level, text),) = header.remarks
    assert (level, text) == ("note", READ_AS_RGB)


@pytest.mark.parametrize("name", PLAIN)
def test_plain_rgb_needs_no_word(tmp_path, name):
    path = written(tmp_path, PLAIN[name])
    assert_array_equal(decode_image(path), RGB)
    assert read_header(path).remarks == ()


@pytest.mark.parametrize("name", REFUSED)
def test_stacks_and_fluorescence_are_refused_by_name(tmp_path, name):
    data, message = REFUSED[name]
    path = written(tmp_path, data)
    for read in (read_header, decode_image):
        with pytest.raises(ImageError, match=r"a\.tif: .*; .*save .*RGB") as error:
            read(path)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


def test_a_channel_whose_others_are_in_other_files_is_refused(tmp_path):
    data = ome(PLANES[:1], "CYX").replace(b'SizeC="1"', b'SizeC="3"')
    path = written(tmp_path, data)
    with pytest.raises(ImageError, match=r"a\.tif: 3 channels, not all in it"):
        read_header(path)


def test_two_pages_stay_pages(tmp_path):
    path = written(tmp_path, pages_of_pillow(PLANES[[0, 1]]))
    assert_array_equal(decode_image(path), pictures.grey3(PLANES[0]))
    assert read_header(path).remarks == (("warning", "2 pages, only the first is used"),)


def test_a_pyramid_and_a_mask_are_no_pages(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(RGB, photometric="rgb")
        file.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)
        file.write(PLANES[0] > 99, photometric="minisblack", subfiletype=4)
    assert_array_equal(decode_image(tmp_path / "a.tif"), RGB)
    assert read_header(tmp_path / "a.tif").remarks == ()


def test_xml_is_not_expanded(tmp_path):
    """Entities, very many elements, and quotes that do not end cost no time."""
    import time

    bomb = '<!DOCTYPE x [<!ENTITY a "' + "b" * 1000 + '"><!ENTITY c "' + "&a;" * 1000 + '">]>'
    for inside in (
        bomb,
        "<Channel " * 300_000,
        "a" * 2_000_000,
        'a="' * 500_000,
        "<Pixels " * 200_000,
    ):
        text = f'<?xml version="1.0"?>{inside}<OME><Pixels SizeC="1"></Pixels></OME>'
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, RGB, photometric="rgb", description=text, metadata=None)
        start = time.process_time()
        assert_array_equal(decode_image(path), RGB)
        assert time.process_time() - start < 2


def map_of_8_bits(bits):
    table = np.random.default_rng(bits).integers(0, 256, (3, 2**bits))
    table[:, -1] = 255
    return table


def palette(table, bits, scale):
    """Write a palette TIFF by hand: a byte per index is packed to `bits`."""
    index = np.random.default_rng(1).integers(0, 2**bits, (10, 16))
    rows = np.packbits(
        ((index[..., None] >> np.arange(bits - 1, -1, -1)) & 1).reshape(10, -1).astype(np.uint8),
        axis=1,
    )
    pixels, colours = rows.tobytes(), (table * scale).astype("<u2").tobytes()

    tags = [
        (256, 4, 1, 16),
        (257, 4, 1, 10),
        (258, 3, 1, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 3),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 4, 1, 10),
        (279, 4, 1, len(pixels)),
        (320, 3, 3 * 2**bits, 8 + len(pixels)),
    ]

    if bits == 1:
        tags[-1] = (320, 3, 6, 8 + len(pixels))
    start = 8 + len(pixels) + len(colours)
    directory = (
        struct.pack("<H", len(tags))
        + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        + bytes(4)
    )
    return b"II*\0" + struct.pack("<I", start) + pixels + colours + directory, table.T[index]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("scale", [1, 257])
def test_palettes_of_tiff(tmp_path, bits, scale):
    data, expected = palette(map_of_8_bits(bits), bits, scale)
    path = written(tmp_path, data)
    assert_array_equal(decode_image(path), expected)
    assert read_header(path).remarks == ()


def test_a_palette_of_16_bits_is_refused(tmp_path):
    table = np.zeros((3, 65536), np.uint16)
    data = tif(np.zeros((9, 9), np.uint16), photometric="palette", colormap=table)
    with pytest.raises(ImageError, match="16-bit image cannot be decoded; save it as 8-bit RGB"):
        decode_image(written(tmp_path, data))


def test_further_samples_of_rgb_are_left_out(tmp_path):
    five = np.dstack([RGB, np.full((96, 120, 2), 7, np.uint8)])
    for kinds, expected in ((["unspecified"] * 2, RGB), (["unspecified", "unassalpha"], None)):
        path = written(tmp_path, tif(five, photometric="rgb", extrasamples=kinds))
        if expected is None:
            expected = np.rint(RGB * (7 / 255) + 248).astype(np.uint8)
        assert np.abs(decode_image(path).astype(int) - expected).max() <= 1
        assert read_header(path).remarks == (
            ("note", "5 samples a pixel, of which only the colours are used"),
        )


def bmp(values, *, mask=True):
    """Write a BMP of 32 bits by hand, with or without a mask of alpha."""
    height, width, _ = values.shape
    pixels = values[::-1, :, [2, 1, 0, 3]].tobytes()
    head = struct.pack(
        "<IiiHHIIiiII", 108, width, height, 1, 32, 3 if mask else 0, len(pixels), 2835, 2835, 0, 0
    )
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    start = 14 + len(head) + len(masks)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + head + masks + pixels


def saved(values, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind, **options)
    return buffer.getvalue()


CLEAR = np.dstack([RGB, np.zeros((96, 120), np.uint8)])
DEEP = CLEAR.astype(np.uint16) * 257
GREY_CLEAR = CLEAR[..., 2:]
HIDDEN = {
    "TIFF unassociated": (tif(CLEAR, photometric="rgb", extrasamples=["unassalpha"]), RGB),
    "TIFF associated": (tif(CLEAR, photometric="rgb", extrasamples=["assocalpha"]), RGB),
    "TIFF of 16 bits": (tif(DEEP, photometric="rgb", extrasamples=["unassalpha"]), RGB),
    "TIFF grey": (
        tif(
            GREY_CLEAR, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]
        ),
        RGB[..., 2:],
    ),
    "TIFF of Pillow": (saved(CLEAR, "TIFF"), RGB),
    "PNG": (saved(CLEAR, "PNG"), RGB),
    "PNG of 16 bits": (pictures.png(DEEP, depth=16, colour=6), RGB),
    "PNG grey": (pictures.png(GREY_CLEAR, depth=8, colour=4), RGB[..., 2:]),
    "PNG palette": (
        pictures.png(
            GREY[..., None] // 2,
            depth=8,
            colour=3,
            before=[(b"PLTE", bytes(range(255, 255 - 128, -1)) * 3), (b"tRNS", bytes(128))],
        ),
        None,
    ),
    "BMP": (bmp(CLEAR), RGB),
    "BMP without a mask": (bmp(CLEAR, mask=False), RGB),
    "WebP": (saved(CLEAR, "WEBP", lossless=True, exact=True), RGB),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_alpha_that_is_0_everywhere_is_ignored(tmp_path, name):
    data, expected = HIDDEN[name]
    path = written(tmp_path, data)
    image = decode_image(path)
    if expected is None:
        table = np.frombuffer(bytes(range(255, 127, -1)) * 3, np.uint8).reshape(128, 3)
        expected = table[GREY // 2]
    assert_array_equal(image, np.broadcast_to(expected, RGB.shape))
    remark = (("note", "its alpha channel is 0 everywhere, so that it is ignored"),)
    assert read_header(path).remarks == (() if name == "BMP without a mask" else remark)


def test_alpha_with_content_is_composited_without_a_word(tmp_path):
    half = CLEAR.copy()
    half[:48, :, 3] = 255
    for kind, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})):
        path = written(tmp_path, saved(half, kind, **options))
        image = decode_image(path)
        assert_array_equal(image[:48], RGB[:48])
        assert (image[48:] == 255).all()
        assert read_header(path).remarks == ()


# ---- BMP and WebP


BMP_WEBP = {
    "BMP": (saved(RGB, "BMP"), RGB),
    "BMP grey": (saved(GREY, "BMP"), pictures.grey3(GREY)),
    "BMP bilevel": (saved(GREY > 127, "BMP"), pictures.grey3((GREY > 127) * np.uint8(255))),
    "WebP": (saved(RGB, "WEBP", lossless=True), RGB),
    "WebP lossy": (saved(RGB, "WEBP", quality=100), None),
    "WebP with EXIF": (
        saved(RGB, "WEBP", lossless=True, exif=b"Exif\0\0" + pictures.exif_block(6)),
        np.rot90(RGB, -1),
    ),
}


@pytest.mark.parametrize("name", BMP_WEBP)
def test_bmp_and_webp_are_read(tmp_path, name):
    data, expected = BMP_WEBP[name]
    path = written(tmp_path, data)
    header, image = read_header(path), decode_image(path)
    if expected is None:
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        assert np.abs(expected.astype(float) - RGB).mean() < 6
    assert_array_equal(image, expected)
    assert (header.format, header.height, header.width) == (name.split()[0], *expected.shape[:2])


def test_an_animation_shows_its_first_frame(tmp_path):
    data = saved(
        RGB, "WEBP", lossless=True, save_all=True, append_images=[Image.fromarray(255 - RGB)]
    )
    path = written(tmp_path, data)
    assert_array_equal(decode_image(path), RGB)
    assert read_header(path).remarks == (("warning", "2 pages, only the first is used"),)


def test_every_byte_of_a_header_altered_gives_a_line_or_an_image(tmp_path):
    for kind in ("BMP", "WEBP"):
        whole = saved(RGB[:16, :16], kind)
        for place in range(min(70, len(whole))):
            data = bytearray(whole)
            data[place] ^= 0xA5
            path = written(tmp_path, bytes(data))
            refusal = ""
            try:
                assert decode_image(path).ndim == 3
            except ImageError as error:
                refusal = str(error)
            assert "\n" not in refusal


# ---- DICOM


def dicom(path, values, *, photometric="RGB", syntax=None, sop=None, bits=8, **elements):
    """Write a colour image as microscopes do."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop or "1.2.840.10008.5.1.4.1.1.77.1.2"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    data.PatientName = "SECRET^NAME"
    data.Rows, data.Columns, data.SamplesPerPixel = 96, 120, 3
    data.PhotometricInterpretation, data.PlanarConfiguration = (
        photometric,
        elements.pop("planar", 0),
    )
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit, data.PixelRepresentation = bits - 1, 0
    for name, value in elements.items():
        setattr(data, name, value)
    if isinstance(values, bytes):
        data.PixelData = pydicom.encaps.encapsulate([values])
        data["PixelData"].VR = "OB"
        meta.TransferSyntaxUID = syntax
    else:
        data.PixelData = np.ascontiguousarray(values).tobytes()
        if syntax is not None:
            data.compress(syntax)
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def ybr(rgb):
    from pydicom.pixels.processing import convert_color_space

    return convert_color_space(rgb, "RGB", "YBR_FULL")


def test_colour_dicom_is_rgb(tmp_path):
    from pydicom.uid import JPEG2000, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

    jpeg = saved(RGB, "JPEG", quality=95, subsampling=0)
    lossless = saved(RGB, "JPEG2000", irreversible=False, mct=1, no_jp2=True)
    lossy = saved(RGB, "JPEG2000", irreversible=True, mct=1, no_jp2=True)
    half = ybr(RGB)
    half[:, 1::2, 1:] = half[:, ::2, 1:]
    packed = np.stack([half[:, ::2, 0], half[:, 1::2, 0], half[:, ::2, 1], half[:, ::2, 2]], axis=2)
    made = {
        "plain.dcm": (0, RGB, {}),
        "planes.dcm": (0, PLANES, {"planar": 1}),
        "secondary capture.dcm": (0, RGB, {"sop": "1.2.840.10008.5.1.4.1.1.7"}),
        "YBR.dcm": (1.5, ybr(RGB), {"photometric": "YBR_FULL"}),
        "YBR of half.dcm": (20, packed, {"photometric": "YBR_FULL_422"}),
        "RLE.dcm": (0, RGB, {"syntax": RLELossless}),
        "JPEG.dcm": (4, jpeg, {"photometric": "YBR_FULL_422", "syntax": JPEGBaseline8Bit}),
        "JPEG 2000.dcm": (0, lossless, {"photometric": "YBR_RCT", "syntax": JPEG2000Lossless}),
        "lossy.dcm": (4, lossy, {"photometric": "YBR_ICT", "syntax": JPEG2000}),
        "IM000001": (0, RGB, {}),
        "another suffix.tif": (0, RGB, {}),
    }
    for name, (tolerance, values, options) in made.items():
        path = dicom(tmp_path / name, values, **options)
        image = decode_image(path)
        assert image.shape == RGB.shape, name
        assert np.abs(image.astype(float) - RGB).mean() <= tolerance, name
        header = read_header(path)
        assert (header.format, header.width, header.height) == ("DICOM", 120, 96), name
        assert header.remarks == (), name


def test_other_colour_dicom_is_refused_by_name(tmp_path):
    made = [
        (
            dicom(tmp_path / "c.dcm", RGB.astype(np.uint16), bits=16),
            "colours of 16 of 16 bits; .*save it as 8-bit RGB",
        ),
        (dicom(tmp_path / "d.dcm", RGB, sop="1.2.840.10008.5.1.4.1.1.77.1.6"), "a whole slide"),
    ]
    for path, message in made:
        for read in (read_header, decode_image):
            with pytest.raises(ImageError, match=message) as error:
                read(path)
            assert "SECRET" not in str(error.value)


# ---- colour profiles


def profile(name):
    """Return an ICC profile of this name: that of Pillow, with another text."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for start in range(132, 132 + 12 * 30, 12):
        if data[start : start + 4] == b"desc":
            offset, size = struct.unpack(">II", data[start + 4 : start + 12])
            data[offset : offset + size] = bytes(size)
            text = name.encode("utf-16-be")
            block = (
                b"mluc"
                + bytes(4)
                + struct.pack(">II", 1, 12)
                + b"enUS"
                + struct.pack(">II", len(text), 28)
                + text
            )
            data[start + 4 : start + 12] = struct.pack(">II", len(data), len(block))
            return bytes(data) + block
    raise AssertionError


def old_profile(name):
    """Return the beginning of a profile of version 2, whose text is ASCII."""
    text = name.encode() + b"\0"
    block = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text
    return bytes(128) + struct.pack(">I", 1) + b"desc" + struct.pack(">II", 144, len(block)) + block


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "JPEG", "WEBP"])
def test_a_colour_profile_is_told_and_not_applied(tmp_path, kind):
    plain = decode_image(written(tmp_path, saved(RGB, kind)))
    for data, told in (
        (profile("Aperio scanner"), True),
        (profile("sRGB built-in"), False),
        (old_profile("Adobe RGB"), True),
        (old_profile("sRGB IEC61966-2.1"), False),
        (b"no profile", True),
    ):
        path = written(tmp_path, saved(RGB, kind, icc_profile=data))
        assert_array_equal(decode_image(path), plain)
        assert (
            read_header(path).remarks
            == (("note", "has a colour profile, which is not applied"),) * told
        )


# ---- other files


OTHERS = {
    "HEIC": (b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", ", but a HEIC picture; save it as PNG"),
    "HEIC of phones": (
        b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic",
        ", but a HEIC picture; save it as PNG",
    ),
    "AVIF": (b"\0\0\0\x1cftypavif\0\0\0\0mif1avif", ", but an AVIF picture; save it as PNG"),
    "JPEG 2000": (
        b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 ",
        ", but a JPEG 2000 picture; save it as PNG",
    ),
    "GIF": (b"GIF89a\x10\0\x10\0\x80", ", but a GIF picture; save it as PNG"),
    "PNM": (b"P6\n640 480\n255\n\0\0", ", but a PNM picture; save it as PNG"),
    "PSD": (b"8BPS\0\1\0\0\0\0\0\0\0\3", ", but a Photoshop document; save it as PNG"),
    "CZI": (b"ZISRAWFILE\0\0\0\0\0\0", ", but a CZI file of Zeiss; export its images"),
    "ND2": (b"\xda\xce\xbe\x0a\x10\0\0\0", ", but an ND2 file of Nikon; export its images"),
    "SVG": (
        b'<?xml version="1.0"?>\n<!-- made -->\n<svg xmlns="x"/>',
        ", but an SVG drawing; save it as PNG",
    ),
    "XHTML": (
        b'<?xml version="1.0"?>\n<!DOCTYPE html>\n<html>',
        ", but a web page; give the file itself",
    ),
    "XML": (b'<?xml version="1.0"?>\n<annotations>', ", but an XML file; give the images"),
    "Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
        ", but a pointer of Git LFS; fetch",
    ),
    "zeros": (bytes(4000), ", but a file of zeros; the copy or the disk failed"),
    "text": ("Grüße, path,label\n".encode(), "; remove it or replace it by the image"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_file_is_named_by_its_first_bytes(tmp_path, name):
    data, message = OTHERS[name]
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    for read in (read_header, decode_image):
        with pytest.raises(ImageError, match=rf"a\.jpg: not a TIFF, PNG or JPEG image{message}"):
            read(path)


# ---- by the command line


def labelled(root, made):
    for place, (name, data) in enumerate(sorted(made.items())):
        folder = root / ("ductal", "lobular")[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.tif").write_bytes(data)
    return root


def test_the_check_names_each_kind_once(tmp_path, cli):
    made = {
        **{f"c {name}": data for name, data in CHANNELS.items()},
        **{f"h {n}": d for n, (d, _) in HIDDEN.items()},
        "p1": saved(RGB, "PNG", icc_profile=old_profile("Adobe RGB")),
        **PLAIN,
    }
    root = labelled(tmp_path / "in", made)
    _, out, _ = cli("data check --no-timing --images {} --no-copies", root)
    (stated,) = (line for line in out.splitlines() if READ_AS_RGB in line)
    assert stated.startswith("note   ")
    assert "and 10 more" in stated
    assert sum("alpha channel is 0 everywhere" in line for line in out.splitlines()) == 1
    assert "p1.tif: has a colour profile, which is not applied" in out
