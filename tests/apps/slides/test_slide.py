"""Slides are read exactly, at every scale, with bounded memory, and never their labels."""

import resource

import numpy as np
import pytest
from bchisto.apps.slides import Slide, positions
from bchisto.apps.slides.regions import read_annotations
from bchisto.apps.slides.tissue import find_tissue, tissue_shares
from bchisto.core import ImageError, InputError
from slide_files import box, draw, field_classes, outline, patch, write_slide

pytest.importorskip("openslide")

SMALL = "data/slides/CMU-1-Small-Region.svs"


@pytest.mark.parametrize(
    ("kind", "suffix"), [("generic", "tif"), ("ome", "ome.tif"), ("aperio", "svs")]
)
def test_pixels_of_level_0_are_those_that_were_pasted(tmp_path, kind, suffix):
    image = patch(300, 200)
    path = write_slide(
        tmp_path / f"a b ü.{suffix}", (1500, 1100), {(517, 263): image}, kind=kind, mpp=0.25
    )
    with Slide(path) as slide:
        assert (slide.width, slide.height, slide.mpp, slide.nearest(0.2499)) == (
            1500,
            1100,
            0.25,
            0.25,
        )
        assert (slide.read(517, 263, 300, 200, 0.25) == image).all()
        assert (slide.read(-10, -10, 5, 5, 0.25) == 255).all()
        half = slide.read(517, 263, 150, 100, 0.5).astype(float)
        assert np.abs(half - image.reshape(100, 2, 150, 2, 3).mean(axis=(1, 3))).mean() < 1
        assert slide.read(517, 263, 600, 400, 0.125).shape == (400, 600, 3)


def test_a_large_slide_takes_little_memory_and_counts_from_its_scanned_area(tmp_path):
    image, large = patch(2048, 1536), {"size": (60_000, 40_000), "whole": False}
    one = write_slide(tmp_path / "one.tif", pasted={(25_600, 12_800): image}, factors=(1,), **large)
    two = write_slide(
        tmp_path / "two.tif",
        pasted={(0, 0): image, (57_856, 38_400): image},
        factors=(1, 16),
        **large,
    )
    ends = {(0, 0): image, (9_728, 7_424): image}
    flat = write_slide(tmp_path / "flat.tif", (12_000, 9_000), ends, factors=(1,), whole=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Slide(one) as slide:
        assert (slide.width, slide.height) == (2048, 1536)  # as QuPath shows it
        assert (slide.read(0, 0, 2048, 1536, 0.5) == image).all()
    for path, size in ((two, (59_904, 39_936)), (flat, (11_776, 8_960))):
        with Slide(path) as slide:
            assert (slide.width, slide.height) == size
            assert find_tissue(slide).areas.tissue == pytest.approx(
                2 * 2048 * 1536 * 0.25e-6, rel=0.05
            )
    # the last has 432 MB at level 0
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 300


def test_glass_pen_and_specks_are_not_tissue(tmp_path, shared):
    pen = np.full((160, 2400, 3), (30, 60, 180), np.uint8)
    specks = {(200 + 400 * number, 200): patch(100, 100) for number in range(4)}
    path = write_slide(
        tmp_path / "a.tif",
        (3200, 3200),
        {(1600, 1600): patch(1200, 1200), (400, 800): pen, **specks},
    )
    with Slide(path) as slide:
        tissue = find_tissue(slide)
    assert tissue.areas.tissue == pytest.approx(0.36, rel=0.1)
    assert not tissue.mask[: int(1500 / tissue.factor)].any()
    with Slide(write_slide(tmp_path / "empty.tif", (1000, 1000), {})) as slide:
        assert find_tissue(slide).areas.tissue == 0
    with Slide(shared / SMALL) as slide:
        corners = positions(slide.width, slide.height, 224)
        shares = dict(
            zip(
                map(tuple, corners.tolist()),
                tissue_shares(find_tissue(slide), corners, 224),
                strict=True,
            )
        )
    assert (len(shares), shares[0, 0], shares[896, 1792]) == (9 * 13, 0, 1)


def test_what_cannot_be_read(tmp_path, shared):
    data = bytearray((shared / SMALL).read_bytes())
    cut = tmp_path / "cut.svs"
    damaged = tmp_path / "damaged.svs"
    cut.write_bytes(data[: len(data) // 2])
    flat = write_slide(tmp_path / "flat.tif", (100_000, 100_000), {}, factors=(1,), whole=False)
    bare = write_slide(tmp_path / "bare.tif", (600, 600), {}, mpp=None)
    for path, why in (
        (tmp_path / "none.svs", "no such slide"),
        (cut, r"cut\.svs: OpenSlide cannot read it \(\w"),
        (flat, "its smallest level has 10,000,000,000 pixels; save the slide as a pyramid"),
        (
            bare,
            r"does not state its micrometres per pixel \(objective: unknown\); give `mpp`, or a column mpp",
        ),
    ):
        with pytest.raises(InputError, match=why):
            Slide(path)
    with Slide(bare, mpp=0.4) as slide:
        assert slide.mpp == 0.4
    data[200_000:200_400] = bytes(400)
    damaged.write_bytes(data)
    with Slide(damaged) as slide, Slide(shared / SMALL) as right:
        with pytest.raises(
            ImageError, match=r"damaged at x 0, y 0 \(2220 x 1889 pixels of level 0\): Corr"
        ):
            slide.read(0, 0, 2220, 2967, slide.mpp)
        assert (
            slide.read(1000, 2000, 500, 500, slide.mpp)
            == right.read(1000, 2000, 500, 500, right.mpp)
        ).all()


def test_regions_give_classes(tmp_path):
    bow = [(400, 0), (500, 100), (500, 0), (400, 100), (400, 0)]
    several = outline("A")
    several["geometry"] = {
        "type": "MultiPolygon",
        "coordinates": [[box(0, 200, 100, 300)], [box(300, 200, 400, 300)]],
    }
    names = outline("", box(600, 200, 700, 300), classification={"names": ["C", "D"]})
    features = [
        outline("A", box(0, 0, 100, 100), box(20, 20, 80, 80)),
        outline("A", box(100, 0, 180, 100)),
        outline("B", box(180, 0, 300, 100)),
        outline("A", bow),
        several,
        names,
        outline("A", box(700, 200, 800, 300), objectType="cell"),
        outline("A") | {"geometry": None},
        outline("A", box(100, 600, 300, 600)),
    ]
    with Slide(write_slide(tmp_path / "a.tif", (1000, 1000), {})) as slide:
        regions = read_annotations(draw(tmp_path, *features), slide)
    corners = positions(1000, 1000, 100)

    def classes(least):
        names = field_classes(regions, corners, 100, least=least)
        return {
            (x, y): name
            for (x, y), name in zip(corners.tolist(), names, strict=True)
            if name is not None
        }

    assert classes(0.75) == {
        (100, 0): "A",
        (200, 0): "B",
        (0, 200): "A",
        (300, 200): "A",
        (600, 200): "C: D",
    }
    # 64 %; both halves of one that crosses itself
    assert (classes(0.5)[0, 0], classes(0.5)[400, 0]) == (
        "A",
        "A",
    )


def test_annotations_that_cannot_be_used(tmp_path):
    polygon = '[{"geometry": {"type": "Polygon", "coordinates": [[%s]]}}]'
    path = tmp_path / "a.geojson"
    with Slide(write_slide(tmp_path / "a.tif", (400, 400), {})) as slide:
        for text, why in (
            ("[1, 2]", "feature 1: its class or geometry cannot be read"),
            (polygon % "[NaN, 1], [2, 3], [4, 5]", "feature 1: .* or is off all slides"),
            (polygon % "[9e9, 1], [2, 3], [4, 5]", "feature 1: .* or is off all slides"),
        ):
            path.write_text(text)
            with pytest.raises(InputError, match=why):
                read_annotations(path, slide)
