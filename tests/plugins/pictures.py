"""Pictures of every kind, made byte by byte or by tifffile, each with the pixels that it shows by its standard."""

import io
import struct
import zlib

import numpy as np

HEIGHT, WIDTH = 20, 30
PNG_BEGIN = b"\x89PNG\r\n\x1a\n"


def upright(image, orientation):
    """Turn an image as EXIF orientation `orientation` says: the place of its first row and first column, 1 to 8."""
    by_number = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a[::-1].swapaxes(0, 1),  # the first row is the right side
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: a[:, ::-1].swapaxes(0, 1),  # the first row is the left side
    }
    return by_number[orientation](image)


def exif_block(orientation, *, order="<", count=1, kind=3):
    """Write an EXIF block that holds an orientation alone."""
    mark = b"II" if order == "<" else b"MM"
    entry = struct.pack(order + "HHIHH", 0x0112, kind, count, orientation, 0)
    return mark + struct.pack(order + "HIH", 42, 8, 1) + entry + struct.pack(order + "I", 0)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples, *, depth, colour, before=(), size=None):
    """Write a PNG of samples (height, width, channels): bit depth, colour type, further chunks around the pixels."""
    height, width, channels = samples.shape
    if depth == 16:
        rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    elif depth == 8:
        rows = samples.astype(np.uint8).reshape(height, -1)
    else:
        bits = (samples.reshape(height, width * channels, 1) >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    raw = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    shown = size or (width, height)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *shown, depth, colour, 0, 0, 0))
    middle = b"".join(chunk(*one) for one in before) + chunk(b"IDAT", zlib.compress(raw))
    return PNG_BEGIN + head + middle + chunk(b"IEND", b"")


def jpeg(image, *, mode=None, **options):
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image, mode=mode).save(buffer, "JPEG", **{"quality": 95, **options})
    return buffer.getvalue()


def tiff(samples, **options):
    """Write a TIFF by tifffile."""
    import tifffile

    buffer = io.BytesIO()
    order = options.pop("byteorder", "<")
    big = options.pop("bigtiff", False)
    with tifffile.TiffWriter(buffer, byteorder=order, bigtiff=big) as writer:
        writer.write(samples, metadata=None, **options)
    return buffer.getvalue()


def turned(orientation):
    """Return tifffile's tag of an orientation."""
    return {"extratags": [(274, "H", 1, orientation, True)]}


def eight(values):
    """16 bits to 8 by the rule of `decode`: full scale stays full scale."""
    return np.rint(np.asarray(values, np.float64) / 257).astype(np.uint8)


def over_white(colour, alpha, top):
    """Composite unassociated alpha over white; exact."""
    share = alpha[..., None].astype(np.float64) / top
    return colour * share + top * (1 - share)


def grey3(values):
    return np.repeat(np.asarray(values)[..., None], 3, axis=2)


def kinds(seed=0):
    """Return name to (suffix, bytes, pixels, tolerance); pixels None where the kind must be refused."""
    rng = np.random.default_rng(seed)
    grey = rng.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    rgb = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    alpha = rng.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    deep = rng.integers(0, 65536, (HEIGHT, WIDTH), dtype=np.uint16)
    deep3 = rng.integers(0, 65536, (HEIGHT, WIDTH, 3), dtype=np.uint16)
    deep_a = rng.integers(0, 65536, (HEIGHT, WIDTH), dtype=np.uint16)
    made = {}

    def add(name, suffix, data, pixels, tolerance=0):
        made[name] = (suffix, data, None if pixels is None else np.asarray(pixels), tolerance)

    def add_tiff(name, samples, pixels, tolerance=0, *, photometric="rgb", **options):
        add(name, "tif", tiff(samples, photometric=photometric, **options), pixels, tolerance)

    def add_png(name, samples, pixels, tolerance=0, **options):
        add(name, "png", png(samples, **options), pixels, tolerance)

    def add_jpeg(name, image, pixels, tolerance, **options):
        add(name, "jpg", jpeg(image, **options), pixels, tolerance)

    rgba, deep4 = np.dstack([rgb, alpha]), np.dstack([deep3, deep_a])
    shown4, shown4_deep = over_white(rgb, alpha, 255), over_white(deep3, deep_a, 65535) / 257
    # TIFF, 8 bits
    for compression in (None, "lzw", "zlib", "packbits"):
        add_tiff(f"tiff rgb {compression}", rgb, rgb, compression=compression)
    add_tiff("tiff grey", grey, grey3(grey), photometric="minisblack")
    add_tiff("tiff grey WhiteIsZero", grey, grey3(255 - grey), photometric="miniswhite")
    planar, planar16 = (np.ascontiguousarray(of.transpose(2, 0, 1)) for of in (rgb, deep3))
    add_tiff("tiff rgb planar", planar, rgb, planarconfig="separate")
    add_tiff(
        "tiff rgb planar zlib strips",
        planar,
        rgb,
        planarconfig="separate",
        compression="zlib",
        rowsperstrip=7,
    )
    add_tiff("tiff rgb planar tiles", planar, rgb, planarconfig="separate", tile=(16, 16))
    add_tiff("tiff rgb big-endian", rgb, rgb, byteorder=">")
    add_tiff("tiff rgb BigTIFF", rgb, rgb, bigtiff=True)
    add_tiff("tiff rgb tiles", rgb, rgb, tile=(16, 16), compression="zlib")
    add_tiff("tiff rgb predictor", rgb, rgb, compression="lzw", predictor=True)
    for name, tolerance in (("unassalpha", 1), ("unspecified", 0)):
        add_tiff(
            f"tiff rgba {name}", rgba, shown4 if tolerance else rgb, tolerance, extrasamples=[name]
        )
    premultiplied = np.rint(rgb * (alpha[..., None] / 255.0)).astype(np.uint8)
    add_tiff(
        "tiff rgba assocalpha",
        np.dstack([premultiplied, alpha]),
        premultiplied + (255.0 - alpha[..., None]),
        1.5,
        extrasamples=["assocalpha"],
    )
    table = rng.integers(0, 65536, (3, 256), dtype=np.uint16)
    add_tiff("tiff palette", grey, (table >> 8).T[grey], photometric="palette", colormap=table)
    bits = grey > 127
    add_tiff("tiff bilevel", bits, grey3(bits * np.uint8(255)), photometric="minisblack")
    add_tiff(
        "tiff bilevel WhiteIsZero", bits, grey3(~bits * np.uint8(255)), photometric="miniswhite"
    )
    cmyk = rng.integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    naive = (255.0 - cmyk[..., :3]) * (255.0 - cmyk[..., 3:]) / 255
    add_tiff("tiff cmyk", cmyk, naive, 1, photometric="separated")
    # TIFF, 16 bits
    for order in "<>":
        add_tiff(f"tiff16 rgb {order}", deep3, eight(deep3), byteorder=order)
        add_tiff(
            f"tiff16 grey {order}",
            deep,
            grey3(eight(deep)),
            photometric="minisblack",
            byteorder=order,
        )
        add_tiff(
            f"tiff16 grey WhiteIsZero {order}",
            deep,
            grey3(eight(65535 - deep.astype(np.int64))),
            photometric="miniswhite",
            byteorder=order,
        )
        for compression in (None, "zlib"):
            add_tiff(
                f"tiff16 rgb planar {order} {compression}",
                planar16,
                eight(deep3),
                planarconfig="separate",
                byteorder=order,
                compression=compression,
            )
    add_tiff(
        "tiff16 rgb planar tiles",
        planar16,
        eight(deep3),
        planarconfig="separate",
        tile=(16, 16),
    )
    add_tiff(
        "tiff16 rgb planar strips predictor",
        planar16,
        eight(deep3),
        planarconfig="separate",
        rowsperstrip=6,
        compression="lzw",
        predictor=True,
    )
    add_tiff("tiff16 rgb tiles zlib", deep3, eight(deep3), tile=(16, 16), compression="zlib")
    add_tiff("tiff16 rgb predictor", deep3, eight(deep3), compression="zlib", predictor=True)
    add_tiff("tiff16 rgba unassalpha", deep4, shown4_deep, 0.6, extrasamples=["unassalpha"])
    add_tiff("tiff16 rgba unspecified", deep4, eight(deep3), extrasamples=["unspecified"])
    mixed = np.rint(deep3 * (deep_a[..., None] / 65535)).astype(np.uint16)
    add_tiff(
        "tiff16 rgba assocalpha",
        np.dstack([mixed, deep_a]),
        (mixed + (65535.0 - deep_a[..., None])) / 257,
        0.6,
        extrasamples=["assocalpha"],
    )
    deep_cmyk = rng.integers(0, 65536, (HEIGHT, WIDTH, 4), dtype=np.uint16)
    add_tiff("tiff16 cmyk", deep_cmyk, None, photometric="separated")
    add_tiff("tiff16 float rgb", rgb.astype(np.float16), None)
    add_tiff("tiff16 int rgb", deep3.view(np.int16), None)
    for samples in (deep.view(np.int16), grey.view(np.int8)):
        add_tiff(f"tiff {samples.dtype}", samples, None, photometric="minisblack")
    for name in ("float16", "uint32", "float32"):
        add_tiff(f"tiff {name}", deep.astype(name), None, photometric="minisblack")
    add_tiff("tiff Lab", rgb, None, photometric="cielab")
    # PNG
    for depth in (1, 2, 4, 8, 16):
        values = rng.integers(0, 2**depth, (HEIGHT, WIDTH, 1)).astype(np.uint16)
        full = values[..., 0] * (65535 // (2**depth - 1))
        add_png(f"png grey {depth}", values, grey3(eight(full)), depth=depth, colour=0)
        key = int(values[3, 4, 0])
        clear = np.where(values[..., 0] == key, 255, eight(full))
        before = [(b"tRNS", struct.pack(">H", key))]
        add_png(
            f"png grey {depth} tRNS", values, grey3(clear), depth=depth, colour=0, before=before
        )
    for depth in (1, 2, 4, 8):
        values = rng.integers(0, 2**depth, (HEIGHT, WIDTH, 1)).astype(np.uint16)
        colours = rng.integers(0, 256, (2**depth, 3), dtype=np.uint8)
        shown = colours[values[..., 0]]
        plte = (b"PLTE", colours.tobytes())
        add_png(f"png palette {depth}", values, shown, depth=depth, colour=3, before=[plte])
        opaque = np.full(2**depth, 255, np.uint8)
        opaque[: 2 ** (depth - 1)] = rng.integers(0, 256, 2 ** (depth - 1))
        before = [plte, (b"tRNS", opaque[: 2 ** (depth - 1)].tobytes())]
        through = over_white(shown, opaque[values[..., 0]], 255)
        add_png(
            f"png palette {depth} tRNS", values, through, 1, depth=depth, colour=3, before=before
        )
    for depth, colour, source in ((8, 2, rgb), (16, 2, deep3)):
        shown = source if depth == 8 else eight(source)
        add_png(f"png rgb {depth}", source, shown, depth=depth, colour=colour)
        key = struct.pack(">HHH", *map(int, source[2, 5]))
        clear = np.where((source == source[2, 5]).all(axis=2)[..., None], 255, shown)
        add_png(
            f"png rgb {depth} tRNS", source, clear, depth=depth, colour=2, before=[(b"tRNS", key)]
        )
    add_png("png rgba 8", rgba, shown4, 1, depth=8, colour=6)
    add_png("png rgba 16", deep4, shown4_deep, 0.6, depth=16, colour=6)
    grey_a, deep_grey_a = np.dstack([grey, alpha]), np.dstack([deep, deep_a])
    shown_a = over_white(grey3(grey), alpha, 255)
    shown_deep_a = over_white(grey3(deep), deep_a, 65535) / 257
    add_png("png grey alpha 8", grey_a, shown_a, 1, depth=8, colour=4)
    add_png("png grey alpha 16", deep_grey_a, shown_deep_a, 0.6, depth=16, colour=4)
    of_grey = {"photometric": "minisblack", "planarconfig": "contig"}
    of_grey["extrasamples"] = ["unassalpha"]
    add_tiff("tiff grey alpha", grey_a, shown_a, 1, **of_grey)
    add_tiff("tiff16 grey alpha", deep_grey_a, shown_deep_a, 0.6, **of_grey)
    # JPEG
    smooth = np.clip(np.add.outer(np.arange(HEIGHT) * 5, np.arange(WIDTH) * 3), 0, 255).astype(
        np.uint8
    )
    colour = np.dstack([smooth, 255 - smooth, smooth // 2 + 60])
    add_jpeg("jpeg rgb", colour, colour, 6, subsampling=0)
    add_jpeg("jpeg rgb progressive", colour, colour, 6, subsampling=0, progressive=True)
    add_jpeg("jpeg grey", smooth, grey3(smooth), 4)
    ink = np.dstack([smooth, smooth // 2, 200 - smooth // 2, smooth // 4])
    add_jpeg(
        "jpeg cmyk",
        ink,
        (255.0 - ink[..., :3]) * (255.0 - ink[..., 3:]) / 255,
        8,
        mode="CMYK",
        quality=100,
    )
    # orientations
    for number in range(1, 9):
        for name, samples, shown, options in (
            ("tiff", rgb, rgb, {}),
            ("tiff zlib", rgb, rgb, {"compression": "zlib"}),
            ("tiff16", deep3, eight(deep3), {}),
            ("tiff16 grey", deep, grey3(eight(deep)), {"photometric": "minisblack"}),
        ):
            of_name = f"{name} orientation {number}"
            add_tiff(of_name, samples, upright(shown, number), **options, **turned(number))
        flag = [(b"eXIf", exif_block(number))]
        for name, samples, depth in (("png", rgb, 8), ("png16", deep3, 16)):
            shown = upright(eight(samples) if depth == 16 else samples, number)
            of_name = f"{name} orientation {number}"
            add_png(of_name, samples, shown, depth=depth, colour=2, before=flag)
        for name, order in (("jpeg", "<"), ("jpeg big-endian", ">")):
            exif = b"Exif\0\0" + exif_block(number, order=order)
            shown = upright(colour, number)
            add_jpeg(f"{name} orientation {number}", colour, shown, 6, subsampling=0, exif=exif)
    return made
