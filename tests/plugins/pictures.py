"""Pictures of every kind, made byte by byte or by tifffile, each with the pixels that it shows by its standard."""

import io
import itertools
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

    # TIFF and PNG of 8 and of 16 bits
    packings = {
        "": {},
        "lzw": {"compression": "lzw"},
        "zlib": {"compression": "zlib"},
        "packbits": {"compression": "packbits"},
        "BigTIFF": {"bigtiff": True},
        "tiles": {"tile": (16, 16), "compression": "zlib"},
        "strips": {"rowsperstrip": 7, "compression": "zlib"},
        "predictor": {"rowsperstrip": 6, "compression": "lzw", "predictor": True},
    }
    of_grey = {"photometric": "minisblack", "planarconfig": "contig"}
    for depth, three, one, last, near in ((8, rgb, grey, alpha, 1), (16, deep3, deep, deep_a, 0.6)):
        top, three_shown, one_shown = 2**depth - 1, three, one
        if depth == 16:
            three_shown, one_shown = eight(three), eight(one)
        planar = np.ascontiguousarray(three.transpose(2, 0, 1))
        for order, (packing, options) in itertools.product("<>", packings.items()):
            name, options = f"{depth} {order} {packing}", {"byteorder": order, **options}
            add_tiff(f"tiff rgb {name}", three, three_shown, **options)
            add_tiff(f"tiff planar {name}", planar, three_shown, planarconfig="separate", **options)
            add_tiff(f"tiff grey {name}", one, grey3(one_shown), **of_grey, **options)
        white = grey3(255 - one_shown)
        add_tiff(f"tiff grey WhiteIsZero {depth}", one, white, photometric="miniswhite")
        four, two = np.dstack([three, last]), np.dstack([one, last])
        three_through = over_white(three, last, top) * 255 / top
        one_through = over_white(grey3(one), last, top) * 255 / top
        mixed = np.rint(three * (last[..., None] / top)).astype(three.dtype)
        for kind, samples, pixels, tolerance in (
            ("unassalpha", four, three_through, near),
            ("unspecified", four, three_shown, 0),
            (
                "assocalpha",
                np.dstack([mixed, last]),
                (mixed + (top - last[..., None].astype(float))) * 255 / top,
                near,
            ),
        ):
            add_tiff(f"tiff rgba {depth} {kind}", samples, pixels, tolerance, extrasamples=[kind])
        of_alpha = {**of_grey, "extrasamples": ["unassalpha"]}
        add_tiff(f"tiff grey alpha {depth}", two, one_through, near, **of_alpha)
        add_png(f"png rgba {depth}", four, three_through, near, depth=depth, colour=6)
        add_png(f"png grey alpha {depth}", two, one_through, near, depth=depth, colour=4)
        add_png(f"png rgb {depth}", three, three_shown, depth=depth, colour=2)
        before = [(b"tRNS", struct.pack(">HHH", *map(int, three[2, 5])))]
        clear = np.where((three == three[2, 5]).all(axis=2)[..., None], 255, three_shown)
        add_png(f"png rgb {depth} tRNS", three, clear, depth=depth, colour=2, before=before)
    # other TIFF
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
