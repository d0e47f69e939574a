"""Slides in the formats that labs have: TIFF of every kind, and what is refused, with a cure that helps."""

import resource
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from bchisto.apps.slides import Slide
from bchisto.apps.slides.tissue import find_tissue
from bchisto.core import ImageError, InputError
from PIL import Image
from slide_files import damage, patch

pytest.importorskip("openslide")

SIZE = (1500, 1100)


def write(path, image, *, factors=(1, 4, 16), subifds=True, mpp=0.5, unit="µm", tile=256, **words):
    """Write a pyramid, as QuPath and Bio-Formats do, with the micrometres only in its OME-XML."""
    words = {"photometric": "rgb", "compression": "deflate", **words}
    across, down = np.broadcast_to(mpp, 2).tolist() if mpp else (None, None)
    sizes = {} if mpp is None else {"PhysicalSizeX": across, "PhysicalSizeY": down}
    units = {} if mpp is None else {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    path.parent.mkdir(parents=True, exist_ok=True)
    if tile:
        words["tile"] = (tile, tile)
    with tifffile.TiffWriter(path, ome=subifds, bigtiff=path.suffix == ".btf") as writer:
        for number, factor in enumerate(factors):
            own = {"subfiletype": int(number > 0)}
            if subifds:
                own |= {"metadata": {**sizes, **units}}
                if number == 0:
                    own["subifds"] = len(factors) - 1
            else:
                own["metadata"] = None
            # a level of OpenSlide's kind: every so many pixels
            writer.write(np.ascontiguousarray(image[::factor, ::factor]), **words, **own)
    return path


@pytest.fixture(scope="module")
def image():
    return patch(*SIZE)


@pytest.mark.parametrize(
    ("name", "factors"),
    [("ü a.ome.tif", (1, 4, 16)), ("b.btf", (1, 3, 7)), ("c.ome.btf", (1,))],
)
def test_levels_in_subifds_are_read_as_openslide_reads_levels(tmp_path, image, factors, name):
    one = write(tmp_path / name, image, factors=factors)
    # written apart, since OpenSlide reads pages, and only those
    two = write(tmp_path / "pages.tif", image, factors=factors, subifds=False)
    with Slide(one) as slide, Slide(two, mpp=0.5) as right:
        assert (slide.width, slide.height, slide.mpp) == (*SIZE, 0.5)
        assert slide._scan.factors == pytest.approx(right._scan.factors)
        assert (slide.read(517, 263, 300, 200, 0.5) == image[263:463, 517:817]).all()
        for x, y, width, height, scale in (
            (-20, -30, 300, 200, 0.5),
            (1400, 1000, 200, 200, 0.5),
            (0, 0, 700, 600, 1.0),
            (3, 8, 300, 250, 2.0),
            (96, 112, 80, 40, 8.0),
            (517, 263, 200, 150, 0.7),
            (517, 263, 150, 120, 2.6),
            (33, 41, 90, 64, 3.3),
        ):
            found, expected = (
                each.read(x, y, width, height, scale).astype(np.float32) for each in (slide, right)
            )
            if scale in (0.5, 1.0, 0.7):
                assert (found == expected).all(), scale
            grey = [cv2.createHanningWindow((width, height), cv2.CV_32F)]
            shift, _ = cv2.phaseCorrelate(found.mean(axis=2), expected.mean(axis=2), *grey)
            assert np.abs(shift).max() <= 0.2, (scale, shift)
            assert np.abs(found - expected).mean() < 3, scale


def test_a_tile_of_several_strips_may_reach_far_below_the_slide(tmp_path, image, monkeypatch):
    """Of which a strip is below the last row of pixels, but not below the last row of tiles."""
    monkeypatch.setattr("bchisto.apps.slides.slide._AT_ONCE", 2**13)
    with Slide(write(tmp_path / "a.ome.tif", image)) as slide:
        found = slide.read(1400, 1000, 200, 400, 0.5)
    assert (found[:100, :100] == image[1000:, 1400:]).all()
    assert (found[100:] == 255).all()
    assert (found[:, 100:] == 255).all()


@pytest.mark.parametrize(
    ("words", "most"),
    [
        ({"compression": "webp", "compressionargs": {"lossless": True}}, 0),
        ({"compression": "jpeg2000", "compressionargs": {"level": 0, "reversible": True}}, 0),
        ({"compression": "zstd", "subifds": True}, 0),
        ({"compression": "lzw", "predictor": True, "subifds": True}, 0),
        ({"compression": None, "subifds": True}, 0),
        ({"compression": "jpeg", "subifds": True}, 4),
        ({"compression": "jpeg", "compressionargs": {"outcolorspace": "rgb"}, "subifds": True}, 4),
        ({"tile": None, "compression": None}, 0),
        ({"tile": None, "rowsperstrip": 100, "compression": "lzw"}, 0),
        ({"tile": None, "rowsperstrip": 100, "compression": "jpeg"}, 4),
    ],
)
def test_what_openslide_does_not_read(tmp_path, image, words, most):
    image = image[:480, :620]
    path = write(tmp_path / "a.tif", image, **{"subifds": False, **words})
    with Slide(path, mpp=0.5) as slide:
        found = slide.read(217, 163, 400, 300, 0.5).astype(int)
        assert np.abs(found - image[163:463, 217:617]).mean() <= most
        assert (slide.read(610, 470, 30, 30, 0.5)[10:, 10:] == 255).all()
        assert type(slide._scan).__name__ == "TiffScan"


def test_kinds_of_rgb(tmp_path, image):
    planes = np.ascontiguousarray(np.moveaxis(image, -1, 0))
    clear = np.concatenate([image, np.full((*image.shape[:2], 1), 255, np.uint8)], axis=2)
    for name, values, words in (
        ("planes", planes, {"planarconfig": "separate"}),
        ("alpha", clear, {"extrasamples": ["unassalpha"]}),
        ("deep", (image * 257.0 - 100 * (image > 0)).astype(np.uint16), {}),
    ):
        path = tmp_path / f"{name}.tif"
        words = {"photometric": "rgb", "tile": (256, 256), "compression": "zlib", **words}
        small = values[..., ::4, ::4] if name == "planes" else values[::4, ::4]
        mask = np.zeros(image[::4, ::4, 0].shape, np.uint8)
        with tifffile.TiffWriter(path) as writer:
            writer.write(values, subifds=2, **words)
            writer.write(small, subfiletype=1, **words)
            writer.write(mask, subfiletype=1, tile=(256, 256))
        with Slide(path, mpp=0.5) as slide:
            assert type(slide._scan).__name__ == "TiffScan"
            assert slide._scan.factors == pytest.approx([1, 4], rel=0.01)
            assert (slide.read(517, 263, 300, 200, 0.5) == image[263:463, 517:817]).all(), name


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_what_is_transparent_is_white(tmp_path, kind):
    image = np.zeros((512, 512, 4), np.uint8)
    image[:256] = (100, 50, 25, 128)
    words = {"photometric": "rgb", "tile": (256, 256), "extrasamples": [kind]}
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(image, subifds=1, **words)
        writer.write(image[::4, ::4], subfiletype=1, **words)
    with Slide(tmp_path / "a.tif", mpp=0.5) as slide:
        assert (slide.read(0, 256, 512, 256, 0.5) == 255).all()
        half = slide.read(0, 0, 8, 8, 0.5)
    expected = (177, 152, 140) if kind == "unassalpha" else (227, 177, 152)
    assert np.abs(half.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("mpp", "unit", "factors"),
    [
        (0.25, "µm", (1,)),
        (250, "nm", (1, 4)),
        (0.00025, "mm", (1,)),
        ((0.25, 0.2501), "µm", (1, 4)),
    ],
)
def test_micrometres_of_ome(tmp_path, image, mpp, unit, factors):
    path = write(tmp_path / "a.ome.tif", image[:272, :384], factors=factors, mpp=mpp, unit=unit)
    with Slide(path) as slide:
        assert slide.mpp == pytest.approx(0.25)
    with Slide(path, mpp=0.5) as slide:
        assert (slide.mpp, slide.stated_text[:4]) == (0.5, "0.25")


def test_micrometres_that_cannot_be_used(tmp_path, image):
    image, flat = image[:272, :384], {"factors": (1,)}
    oblong = write(tmp_path / "oblong.ome.tif", image, mpp=(0.5, 0.55))
    for path, why in (
        (oblong, r"its pixels are 0\.5 x 0\.55 micrometres, not square; .* or give `mpp`"),
        (write(tmp_path / "none.ome.tif", image, mpp=None), "does not state its micrometres"),
        (write(tmp_path / "dpi.ome.tif", image, mpp=352.8, **flat), "does not state its micro"),
        (write(tmp_path / "km.ome.tif", image, mpp=0.5, unit="km"), "does not state its micro"),
        (
            write(
                tmp_path / "tags.tif",
                image,
                subifds=False,
                resolution=(20000, 18000),
                resolutionunit="CENTIMETER",
            ),
            r"its pixels are 0\.5 x 0\.5556 micrometres, not square",
        ),
    ):
        with pytest.raises(InputError, match=why):
            Slide(path)
    with Slide(oblong, mpp=0.5) as slide:
        assert slide.mpp == 0.5


def test_a_large_pyramid_takes_little_memory(tmp_path):
    tile = zlib.compress(np.full((256, 256, 3), 90, np.uint8).tobytes(), 1)
    words = {"tile": (256, 256), "photometric": "rgb", "compression": "deflate", "dtype": np.uint8}
    path = tmp_path / "large.ome.tif"
    with tifffile.TiffWriter(path, ome=True, bigtiff=True) as writer:
        for number, factor in enumerate((1, 4, 16)):
            shape = (40_000 // factor, 50_000 // factor)
            count = -(-shape[0] // 256) * -(-shape[1] // 256)
            tiles = (tile if at == 0 or factor == 16 else b"" for at in range(count))
            own = {"subifds": 0 if number else 2, "subfiletype": int(number > 0)}
            writer.write(tiles, shape=(*shape, 3), **words, **own)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Slide(path, mpp=0.25) as slide:
        assert (slide.width, slide.height) == (50_000, 40_000)
        assert (slide.read(0, 0, 256, 256, 0.25) == 90).all()
        assert (slide.read(256, 0, 256, 256, 0.25) == 255).all()  # missing tiles are white
        assert find_tissue(slide).picture.mean() == 90
        slide.read(0, 0, 2000, 2000, 1.0)
    # level 1 has 357 MB
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 300


@pytest.mark.parametrize("words", [{}, {"compression": "jpeg"}])
def test_a_damaged_tile_is_named_and_others_are_read(tmp_path, image, words):
    path = write(tmp_path / "a.ome.tif", image, **words)
    with Slide(path) as slide:
        right = slide.read(0, 0, 256, 256, 0.5)
    if words:  # half of a JPEG, which libjpeg fills with grey
        with tifffile.TiffFile(path) as file:
            place, size = file.pages[0].dataoffsets[7], file.pages[0].databytecounts[7]
        with path.open("r+b") as file:
            file.seek(place + size // 2)
            file.write(bytes(size - size // 2))
    else:
        damage(path, 7)
    with Slide(path) as slide:
        where = (
            r"a\.ome\.tif: damaged at x 256, y 256 \(256 x 256 pixels of level 0\): .*; copy the"
        )
        with pytest.raises(ImageError, match=where) as caught:
            slide.read(0, 0, 600, 600, 0.5)
        assert str(caught.value).count("a.ome.tif") == 1
        assert (slide.read(0, 0, 256, 256, 0.5) == right).all()
        assert slide.read(0, 0, 300, 200, 2.0).shape == (200, 300, 3)


def test_other_pages_are_no_levels(tmp_path, image):
    path = tmp_path / "a.tif"
    image = image[:544, :768]
    words = {"photometric": "rgb", "compression": "webp", "metadata": None}
    with tifffile.TiffWriter(path) as writer:
        writer.write(image, tile=(256, 256), **words)
        writer.write(image[::4, ::4], tile=(256, 256), subfiletype=1, **words)
        writer.write(image[:400, :300], tile=(256, 256), subfiletype=1, **words)  # a label
        writer.write(image[::8, ::8], subfiletype=1, **words)  # a thumbnail
        writer.write(image[::16, ::16], tile=(256, 256), subfiletype=9, **words)  # an overview
    with Slide(path, mpp=0.5) as slide:
        assert slide._scan.sizes == [(768, 544), (192, 136)]


@pytest.mark.parametrize(
    "words", [{"compression": "webp"}, {"compression": None, "tile": None, "factors": (1,)}]
)
def test_a_digest_sees_level_0(tmp_path, image, words):
    image = image[:272, :384]
    other = image.copy()
    other[100:250] = 0
    digests = set()
    for number, values in enumerate((image, image, other)):
        path = write(tmp_path / f"{number}" / "a.tif", values, subifds=False, **words)
        with Slide(path, mpp=0.5) as slide:
            digests.add(slide.digest)
    assert len(digests) == 2


QUPATH = r"QuPath: File > Export images > OME TIFF"


def test_each_refusal_has_a_cure_that_helps(tmp_path, image):
    def flat(name, values, **words):
        tifffile.imwrite(tmp_path / name, values, **{"tile": (256, 256), **words})
        return tmp_path / name

    def raw(name, data):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    image = np.ascontiguousarray(image[:300, :400])
    Image.fromarray(image).save(tmp_path / "a.PNG")
    Image.fromarray(image).save(tmp_path / "a.jpg")
    whole = write(tmp_path / "a.ome.tif", image).read_bytes()
    generic = write(tmp_path / "b.tif", image, subifds=False).read_bytes()
    one, two = np.ascontiguousarray(image[..., 0]), np.moveaxis(image, -1, 0)
    five = np.concatenate([image, image[..., :2]], axis=2)
    bright = rf"not in RGB of 8 or 16 bits; .*{QUPATH}"
    for path, why, copies in (
        (flat("grey.tif", one), bright, False),
        (flat("grey.ome.tif", one.astype(np.uint16), metadata={"axes": "YX"}), bright, False),
        (flat("four.ome.tif", np.stack([one] * 4), photometric="minisblack"), bright, False),
        (flat("strips.tif", one, tile=None, rowsperstrip=64), bright, False),
        (flat("webp.tif", five, photometric="rgb", compression="jpegxl"), bright, False),
        (flat("five.tif", five, photometric="rgb"), bright, False),
        (write(tmp_path / "g.ome.tif", one, photometric="minisblack"), bright, False),
        (
            flat("float.tif", np.ascontiguousarray(two).astype(np.float32), photometric="rgb"),
            bright,
            False,
        ),
        (
            flat("jxl.tif", image, photometric="rgb", compression="jpegxl"),
            rf"packed as JPEGXL.*{QUPATH}",
            False,
        ),
        (tmp_path / "a.PNG", "a picture, not a slide; give its folder as images", False),
        (tmp_path / "a.jpg", "a picture, not a slide; give its folder as images", False),
        (raw("a.vsi", b"x" * 99), QUPATH, False),
        (raw("a.lif", b"\x70\0\0\0" * 99), QUPATH, False),
        (raw("a.isyntax", b"<DataObject" * 99), QUPATH, False),
        (raw("cut.ome.tif", whole[: len(whole) // 2]), "copy the slide again", True),
        (raw("cut.tif", generic[: len(generic) // 2]), "copy the slide again", True),
        (raw("tag.ome.tif", whole[:24] + b"\0" + whole[25:]), "OpenSlide cannot read it", True),
        (raw("empty.tif", b""), "copy the slide again", True),
        (raw("page.tif", b"<!doctype html>"), "copy the slide again", True),
        (raw("empty.svs", b""), "copy the slide again", True),
        (raw("a.mrxs", b"\xff\xd8\xff" * 9), "with the folder beside it", True),
    ):
        with pytest.raises(InputError, match=why) as caught:
            Slide(path, mpp=0.5)
        text = str(caught.value)
        assert text.startswith(f"{path}: "), text
        assert "\n" not in text
        assert ("again" in text) == copies, text
