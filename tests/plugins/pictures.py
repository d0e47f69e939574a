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
    return b"\x89PNG\r\n\x1a\n" + head + middle + chunk(b"IEND", b"")


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

    rgba, deep4 = np.dstack([rgb, alpha]), np.dstack([deep3, deep_a])
    shown4, shown4_deep = over_white(rgb, alpha, 255), over_white(deep3, deep_a, 65535) / 257
    # TIFF, 8 bits
    for compression in (None, "lzw", "zlib", "packbits"):
        add(
            f"tiff rgb {compression}",
            "tif",
            tiff(rgb, photometric="rgb", compression=compression),
            rgb,
        )
    add("tiff grey", "tif", tiff(grey, photometric="minisblack"), grey3(grey))
    add("tiff grey WhiteIsZero", "tif", tiff(grey, photometric="miniswhite"), grey3(255 - grey))
    planar = np.ascontiguousarray(rgb.transpose(2, 0, 1))
    add("tiff rgb planar", "tif", tiff(planar, photometric="rgb", planarconfig="separate"), rgb)
    add(
        "tiff rgb planar zlib strips",
        "tif",
        tiff(
            planar, photometric="rgb", planarconfig="separate", compression="zlib", rowsperstrip=7
        ),
        rgb,
    )
    add(
        "tiff rgb planar tiles",
        "tif",
        tiff(planar, photometric="rgb", planarconfig="separate", tile=(16, 16)),
        rgb,
    )
    add("tiff rgb big-endian", "tif", tiff(rgb, photometric="rgb", byteorder=">"), rgb)
    add("tiff rgb BigTIFF", "tif", tiff(rgb, photometric="rgb", bigtiff=True), rgb)
    add(
        "tiff rgb tiles",
        "tif",
        tiff(rgb, photometric="rgb", tile=(16, 16), compression="zlib"),
        rgb,
    )
    add(
        "tiff rgb predictor",
        "tif",
        tiff(rgb, photometric="rgb", compression="lzw", predictor=True),
        rgb,
    )
    for name, tolerance in (("unassalpha", 1), ("unspecified", 0)):
        add(
            f"tiff rgba {name}",
            "tif",
            tiff(rgba, photometric="rgb", extrasamples=[name]),
            shown4 if tolerance else rgb,
            tolerance,
        )
    premultiplied = np.rint(rgb * (alpha[..., None] / 255.0)).astype(np.uint8)
    add(
        "tiff rgba assocalpha",
        "tif",
        tiff(np.dstack([premultiplied, alpha]), photometric="rgb", extrasamples=["assocalpha"]),
        premultiplied + (255.0 - alpha[..., None]),
        1.5,
    )
    add(
        "tiff grey alpha",
        "tif",
        tiff(
            np.dstack([grey, alpha]),
            photometric="minisblack",
            planarconfig="contig",
            extrasamples=["unassalpha"],
        ),
        over_white(grey3(grey), alpha, 255),
        1,
    )
    table = rng.integers(0, 65536, (3, 256), dtype=np.uint16)
    add(
        "tiff palette",
        "tif",
        tiff(grey, photometric="palette", colormap=table),
        (table >> 8).T[grey],
    )
    bits = grey > 127
    add("tiff bilevel", "tif", tiff(bits, photometric="minisblack"), grey3(bits * np.uint8(255)))
    add(
        "tiff bilevel WhiteIsZero",
        "tif",
        tiff(bits, photometric="miniswhite"),
        grey3(~bits * np.uint8(255)),
    )
    cmyk = rng.integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    naive = (255.0 - cmyk[..., :3]) * (255.0 - cmyk[..., 3:]) / 255
    add("tiff cmyk", "tif", tiff(cmyk, photometric="separated"), naive, 1)
    # TIFF, 16 bits
    for order in "<>":
        add(
            f"tiff16 rgb {order}",
            "tif",
            tiff(deep3, photometric="rgb", byteorder=order),
            eight(deep3),
        )
        add(
            f"tiff16 grey {order}",
            "tif",
            tiff(deep, photometric="minisblack", byteorder=order),
            grey3(eight(deep)),
        )
        add(
            f"tiff16 grey WhiteIsZero {order}",
            "tif",
            tiff(deep, photometric="miniswhite", byteorder=order),
            grey3(eight(65535 - deep.astype(np.int64))),
        )
        for compression in (None, "zlib"):
            add(
                f"tiff16 rgb planar {order} {compression}",
                "tif",
                tiff(
                    np.ascontiguousarray(deep3.transpose(2, 0, 1)),
                    photometric="rgb",
                    planarconfig="separate",
                    byteorder=order,
                    compression=compression,
                ),
                eight(deep3),
            )
    add(
        "tiff16 rgb planar tiles",
        "tif",
        tiff(
            np.ascontiguousarray(deep3.transpose(2, 0, 1)),
            photometric="rgb",
            planarconfig="separate",
            tile=(16, 16),
        ),
        eight(deep3),
    )
    add(
        "tiff16 rgb planar strips predictor",
        "tif",
        tiff(
            np.ascontiguousarray(deep3.transpose(2, 0, 1)),
            photometric="rgb",
            planarconfig="separate",
            rowsperstrip=6,
            compression="lzw",
            predictor=True,
        ),
        eight(deep3),
    )
    add(
        "tiff16 rgb tiles zlib",
        "tif",
        tiff(deep3, photometric="rgb", tile=(16, 16), compression="zlib"),
        eight(deep3),
    )
    add(
        "tiff16 rgb predictor",
        "tif",
        tiff(deep3, photometric="rgb", compression="zlib", predictor=True),
        eight(deep3),
    )
    add(
        "tiff16 rgba unassalpha",
        "tif",
        tiff(deep4, photometric="rgb", extrasamples=["unassalpha"]),
        shown4_deep,
        0.6,
    )
    add(
        "tiff16 rgba unspecified",
        "tif",
        tiff(deep4, photometric="rgb", extrasamples=["unspecified"]),
        eight(deep3),
    )
    mixed = np.rint(deep3 * (deep_a[..., None] / 65535)).astype(np.uint16)
    add(
        "tiff16 rgba assocalpha",
        "tif",
        tiff(np.dstack([mixed, deep_a]), photometric="rgb", extrasamples=["assocalpha"]),
        (mixed + (65535.0 - deep_a[..., None])) / 257,
        0.6,
    )
    add(
        "tiff16 grey alpha",
        "tif",
        tiff(
            np.dstack([deep, deep_a]),
            photometric="minisblack",
            planarconfig="contig",
            extrasamples=["unassalpha"],
        ),
        over_white(grey3(deep), deep_a, 65535) / 257,
        0.6,
    )
    deep_cmyk = rng.integers(0, 65536, (HEIGHT, WIDTH, 4), dtype=np.uint16)
    add("tiff16 cmyk", "tif", tiff(deep_cmyk, photometric="separated"), None)
    add("tiff int16", "tif", tiff(deep.view(np.int16), photometric="minisblack"), None)
    add("tiff float16", "tif", tiff(deep.astype(np.float16), photometric="minisblack"), None)
    add("tiff16 float rgb", "tif", tiff(rgb.astype(np.float16), photometric="rgb"), None)
    add("tiff16 int rgb", "tif", tiff(deep3.view(np.int16), photometric="rgb"), None)
    add("tiff uint32", "tif", tiff(deep.astype(np.uint32), photometric="minisblack"), None)
    add("tiff float32", "tif", tiff(deep.astype(np.float32), photometric="minisblack"), None)
    add("tiff int8", "tif", tiff(grey.view(np.int8), photometric="minisblack"), None)
    add("tiff Lab", "tif", tiff(rgb, photometric="cielab"), None)
    # PNG
    for depth in (1, 2, 4, 8, 16):
        values = rng.integers(0, 2**depth, (HEIGHT, WIDTH, 1)).astype(np.uint16)
        full = values[..., 0] * (65535 // (2**depth - 1))
        add(f"png grey {depth}", "png", png(values, depth=depth, colour=0), grey3(eight(full)))
        key = int(values[3, 4, 0])
        clear = np.where(values[..., 0] == key, 255, eight(full))
        before = [(b"tRNS", struct.pack(">H", key))]
        add(
            f"png grey {depth} tRNS",
            "png",
            png(values, depth=depth, colour=0, before=before),
            grey3(clear),
        )
    for depth in (1, 2, 4, 8):
        values = rng.integers(0, 2**depth, (HEIGHT, WIDTH, 1)).astype(np.uint16)
        colours = rng.integers(0, 256, (2**depth, 3), dtype=np.uint8)
        shown = colours[values[..., 0]]
        plte = (b"PLTE", colours.tobytes())
        add(f"png palette {depth}", "png", png(values, depth=depth, colour=3, before=[plte]), shown)
        opaque = np.full(2**depth, 255, np.uint8)
        opaque[: 2 ** (depth - 1)] = rng.integers(0, 256, 2 ** (depth - 1))
        before = [plte, (b"tRNS", opaque[: 2 ** (depth - 1)].tobytes())]
        through = over_white(shown, opaque[values[..., 0]], 255)
        add(
            f"png palette {depth} tRNS",
            "png",
            png(values, depth=depth, colour=3, before=before),
            through,
            1,
        )
    for depth, colour, source in ((8, 2, rgb), (16, 2, deep3)):
        shown = source if depth == 8 else eight(source)
        add(f"png rgb {depth}", "png", png(source, depth=depth, colour=colour), shown)
        key = struct.pack(">HHH", *map(int, source[2, 5]))
        clear = np.where((source == source[2, 5]).all(axis=2)[..., None], 255, shown)
        add(
            f"png rgb {depth} tRNS",
            "png",
            png(source, depth=depth, colour=2, before=[(b"tRNS", key)]),
            clear,
        )
    add("png rgba 8", "png", png(rgba, depth=8, colour=6), shown4, 1)
    add("png rgba 16", "png", png(deep4, depth=16, colour=6), shown4_deep, 0.6)
    add(
        "png grey alpha 8",
        "png",
        png(np.dstack([grey, alpha]), depth=8, colour=4),
        over_white(grey3(grey), alpha, 255),
        1,
    )
    add(
        "png grey alpha 16",
        "png",
        png(np.dstack([deep, deep_a]), depth=16, colour=4),
        over_white(grey3(deep), deep_a, 65535) / 257,
        0.6,
    )
    # JPEG
    smooth = np.clip(np.add.outer(np.arange(HEIGHT) * 5, np.arange(WIDTH) * 3), 0, 255).astype(
        np.uint8
    )
    colour = np.dstack([smooth, 255 - smooth, smooth // 2 + 60])
    add("jpeg rgb", "jpg", jpeg(colour, subsampling=0), colour, 6)
    add("jpeg rgb progressive", "jpg", jpeg(colour, subsampling=0, progressive=True), colour, 6)
    add("jpeg grey", "jpg", jpeg(smooth), grey3(smooth), 4)
    ink = np.dstack([smooth, smooth // 2, 200 - smooth // 2, smooth // 4])
    add(
        "jpeg cmyk",
        "jpg",
        jpeg(ink, mode="CMYK", quality=100),
        (255.0 - ink[..., :3]) * (255.0 - ink[..., 3:]) / 255,
        8,
    )
    # orientations
    for number in range(1, 9):
        flag = exif_block(number)
        add(
            f"tiff orientation {number}",
            "tif",
            tiff(rgb, photometric="rgb", **turned(number)),
            upright(rgb, number),
        )
        packed = tiff(rgb, photometric="rgb", compression="zlib", **turned(number))
        add(f"tiff zlib orientation {number}", "tif", packed, upright(rgb, number))
        add(
            f"tiff16 orientation {number}",
            "tif",
            tiff(deep3, photometric="rgb", **turned(number)),
            upright(eight(deep3), number),
        )
        add(
            f"tiff16 grey orientation {number}",
            "tif",
            tiff(deep, photometric="minisblack", **turned(number)),
            upright(grey3(eight(deep)), number),
        )
        add(
            f"png orientation {number}",
            "png",
            png(rgb, depth=8, colour=2, before=[(b"eXIf", flag)]),
            upright(rgb, number),
        )
        add(
            f"png16 orientation {number}",
            "png",
            png(deep3, depth=16, colour=2, before=[(b"eXIf", flag)]),
            upright(eight(deep3), number),
        )
        add(
            f"jpeg orientation {number}",
            "jpg",
            jpeg(colour, subsampling=0, exif=b"Exif\0\0" + flag),
            upright(colour, number),
            6,
        )
        add(
            f"jpeg big-endian orientation {number}",
            "jpg",
            jpeg(colour, subsampling=0, exif=b"Exif\0\0" + exif_block(number, order=">")),
            upright(colour, number),
            6,
        )
    return made
