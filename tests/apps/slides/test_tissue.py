"""Tissue is not taken for ink, ink not for tissue, what was removed is told, and drawn tissue is taken as drawn."""

import colorsys
import io
import re
from collections import defaultdict

import cv2
import numpy as np
import pytest
import shapely
from bchisto.apps.slides import CutSettings, SlideFile, positions, tissue
from bchisto.apps.slides.regions import Annotation
from bchisto.apps.slides.tiles import TileGrid
from bchisto.apps.slides.tissue import Areas, find_tissue, given_slides, report_ink
from bchisto.commands.ending import NOTHING_NEW
from bchisto.core import InputError
from bchisto.data import decode_image
from PIL import Image
from slide_files import box, outline, patch, table, tissue_slide, write_slide, written

pytest.importorskip("openslide")

IDC = r"(?P<slide>\d+)_idx5_x(?P<x>\d+)_y(?P<y>\d+)_class\d\.png"
SLIDES = {"8863", "8864", "8957", "8974", "9022"}
PENS = {
    "blue": (30, 60, 180),
    "pale blue": (70, 120, 220),
    "green": (20, 120, 60),
    "light green": (60, 170, 60),
    "red": (200, 20, 30),
    "dark red": (150, 20, 30),
    "black": (20, 20, 25),
    "grey black": (60, 60, 62),
}


class Glass:
    """A slide of glass, 2 um/px, with a picture in its middle; it reads as `Slide` does."""

    path = "glass"
    mpp = 2.0

    def __init__(self, picture, size, glass=244):
        self.width, self.height = (side * 500 for side in size)
        self.picture = picture
        self.glass = glass
        self.corner = (self.width - picture.shape[1]) // 2, (self.height - picture.shape[0]) // 2

    def read(self, x, y, width, height, scale):
        factor = scale / self.mpp
        ends = np.add(self.corner, self.picture.shape[1::-1])
        left, top = np.floor(np.array(self.corner) / factor).astype(int)
        right, bottom = np.ceil(ends / factor).astype(int)
        shape = (round((bottom - top) * factor), round((right - left) * factor), 3)
        part = np.full(shape, self.glass, np.uint8)
        dx, dy = np.subtract(self.corner, np.rint([left * factor, top * factor])).astype(int)
        fits = part[dy : dy + self.picture.shape[0], dx : dx + self.picture.shape[1]]
        fits[:] = self.picture[: fits.shape[0], : fits.shape[1]]
        whole = np.full((height, width, 3), self.glass, np.uint8)
        small = cv2.resize(part, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        whole[top:bottom, left:right] = small
        return whole


class Thumbnail:
    """A slide that is its thumbnail, of 8 um/px or of what its size in mm needs."""

    path = "thumbnail"

    def __init__(self, size, draw):
        self.mpp = max(8, max(size) * 1000 / 2048)
        self.width, self.height = (int(side * 1000 / self.mpp) for side in size)
        self.draw = draw

    def read(self, x, y, width, height, scale):
        return self.draw((height, width, 3))


@pytest.fixture(scope="module")
def mosaics(shared):
    """The patches of some IDC slides, large, small and narrow, at their places."""
    places = defaultdict(list)
    for path in sorted((shared / "data" / "idc").rglob("*.png")):
        found = re.fullmatch(IDC, path.name)
        if found["slide"] not in SLIDES:
            continue
        places[found["slide"]].append((int(found["x"]), int(found["y"]), path))
    pictures = {}
    for name, patches in places.items():
        corners = [(x, y) for x, y, _ in patches]
        left, top = np.min(corners, axis=0)
        right, bottom = np.max(corners, axis=0)
        pictures[name] = np.full((bottom - top + 50, right - left + 50, 3), 244, np.uint8)
        for x, y, path in patches:
            image = decode_image(path)
            part = pictures[name][y - top : y - top + 50, x - left : x - left + 50]
            part[: image.shape[0], : image.shape[1]] = image
    return pictures


def kept(slide, monkeypatch):
    """The area with the step for ink, as a share of that without."""
    area = find_tissue(slide).areas.tissue
    with monkeypatch.context() as patched:
        patched.setattr(
            tissue, "ink_pixels", lambda picture, least: np.zeros(picture.shape[:2], bool)
        )
        return area / find_tissue(slide).areas.tissue


@pytest.mark.parametrize("size", [(60, 25), (10, 12)])
def test_the_tissue_of_idc_slides_is_not_ink_however_much_glass_was_scanned(
    mosaics, monkeypatch, size
):
    assert mosaics.keys() == SLIDES
    shares = {name: kept(Glass(picture, size), monkeypatch) for name, picture in mosaics.items()}
    assert {name: share for name, share in shares.items() if share < 0.95} == {}


def test_a_slide_that_lost_most_of_its_tissue_is_cut_whole(mosaics, tmp_path, completed):
    picture = mosaics["8863"]
    width, height = 6_000, 4_000
    corner = ((width - picture.shape[1]) // 2, (height - picture.shape[0]) // 2)
    path = write_slide(
        tmp_path / "8863 ü.tif", (width, height), {corner: picture}, mpp=2, factors=(1,)
    )
    printed, err = completed("slides cut {} --scale 2 --field 200 --out T/out --dry-run", path)
    expected = find_tissue(Glass(picture, (12, 8), glass=255)).areas.tissue
    assert float(printed.split()[5]) == pytest.approx(expected, rel=0.01)
    assert int(re.search(r"(\d+) fields", printed)[1]) > 60
    assert "ink or black: 0 % of the stained area left out" in err


@pytest.mark.parametrize("share", [0.003, 0.2])
def test_even_tissue_is_not_ink(monkeypatch, share):
    for saturation in (21, 40, 90, 160):
        for glass, noise, hue in ((255, 1, 0.92), (244, 3, 0.8), (244, 0, 0.86), (255, 2, 0.76)):
            colour = np.array(colorsys.hsv_to_rgb(hue, saturation / 255, 0.86)) * 255

            def draw(shape, glass=glass, noise=noise, colour=colour):
                picture = np.full(shape, glass, float)
                side = round((share * shape[0] * shape[1]) ** 0.5)
                picture[50 : 50 + side, 50 : 50 + side] = colour
                picture += np.random.default_rng(1).normal(0, noise, shape)
                return np.clip(np.rint(picture), 0, 255).astype(np.uint8)

            assert kept(Thumbnail((3, 3), draw), monkeypatch) >= 0.95, (saturation, glass, noise)


@pytest.mark.parametrize(
    ("size", "pen", "quality"),
    [((15, 15), 0.3, 75), ((60, 25), 0.3, None), ((60, 25), 2, 75)],
)
def test_pens_and_bands_stay_out(size, pen, quality):
    beside = cv2.resize(patch(4800, 1920), (600, 240), interpolation=cv2.INTER_AREA)

    def draw(shape):
        width = shape[1]
        picture = np.full(shape, 244, np.uint8)
        picture[10:250, 10:610] = beside
        for number, colour in enumerate(PENS.values()):
            # a stroke, a short one, and a band at the lower edge for each
            left = width * number // len(PENS)
            right = width * (number + 1) // len(PENS)
            stroke = np.array([(left + 20, 300), (right - 40, 420), (left + 40, 500)])
            thick = max(2, round(pen * width / size[0]))
            cv2.polylines(picture, [stroke], False, colour, thick, cv2.LINE_AA)
            cv2.line(
                picture, (left + 60, 560), (left + 60 + 3 * thick, 570), colour, thick, cv2.LINE_AA
            )
            picture[-60:, left:right] = colour
        noise = np.random.default_rng(1).normal(0, 1, shape)
        picture = np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)
        if quality is None:
            return picture
        data = io.BytesIO()
        Image.fromarray(picture).save(data, "JPEG", quality=quality)
        return np.array(Image.open(data))

    found = find_tissue(Thumbnail(size, draw))
    assert found.mask[10:250, 10:610].mean() > 0.95
    assert not found.mask[280:].any()
    assert found.areas.ink > 0.1 * found.areas.stained


@pytest.mark.parametrize(
    ("white", "noise"),
    [((242, 234, 219), 2), ((236, 225, 203), 0), ((214, 229, 243), 2), ((231, 240, 228), 0)],
)
def test_glass_may_have_the_colour_of_its_lamp(mosaics, white, noise):
    """The tissue of a slide is that of the same slide on white glass, within a tenth."""
    picture = mosaics["8974"]
    slide = Glass(picture, (7, 7), glass=255)
    expected = find_tissue(slide).areas.tissue
    rng = np.random.default_rng(4)

    def tinted(*where):
        seen = Glass.read(slide, *where)
        seen = seen * (np.array(white) / 255) + rng.normal(0, noise, seen.shape)
        return np.clip(np.rint(seen), 0, 255).astype(np.uint8)

    slide.read = tinted
    found = find_tissue(slide).areas
    assert found.tissue == pytest.approx(expected, rel=0.1)
    assert found.ink == 0


def test_evenly_pale_tissue_is_not_taken_for_the_colour_of_a_lamp():
    """Of a slide without glass: eosin and haematoxylin take away most of green."""
    for colour in ((232, 205, 218), (221, 206, 226), (235, 212, 216)):
        noise = np.random.default_rng(2).normal(0, 2, (900, 900, 3))
        picture = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)

        class Whole(Thumbnail):
            def read(self, x, y, width, height, scale, picture=picture):
                return cv2.resize(picture, (width, height))

        slide = Whole((6, 6), None)
        found = find_tissue(slide)
        assert found.mask.mean() > 0.99, colour


@pytest.mark.parametrize("pattern", ["*MC-14-10147-40-*.png", "*PT-14-21998AB-40-*.png"])
def test_pale_tissue_is_kept_however_much_glass_was_scanned(shared, pattern):
    """Its area is within a tenth of that on the most glass."""
    (path, *_) = sorted((shared / "data" / "breakhis").rglob(pattern))
    picture = cv2.resize(decode_image(path), None, fx=2, fy=2, interpolation=cv2.INTER_AREA)
    height, width = (side / 500 for side in picture.shape[:2])
    sizes = [(width + 0.05, height + 0.05), (width + 0.4, height + 0.2), (5, 4), (12, 9)]
    areas = [find_tissue(Glass(picture, size)).areas.tissue for size in sizes]
    assert min(areas) > 0.9 * max(areas)


def test_the_share_of_ink_is_one_of_what_may_be_tissue(tmp_path, completed):
    """Specks of glass are not: a piece of brick red on dim glass with noise is all that is stained."""
    picture = np.full((700, 700, 3), (176, 66, 24), np.uint8)
    glass = np.random.default_rng(8).normal((237, 239, 231), 3, (1600, 1600, 3))
    glass = np.clip(np.rint(glass), 0, 255).astype(np.uint8)
    slide = write_slide(tmp_path / "rot.tif", (1600, 1600), {(0, 0): glass, (500, 400): picture})
    _, err = completed("slides cut {} --field 100 --out T/out --dry-run", slide)
    share = int(re.search(r"ink or black: (\d+) % of the stained", err)[1])
    assert share > 90
    assert "more than a fifth of the stained area left out: rot" in err


def test_an_island_in_what_qupath_ignores_is_tissue():
    """As for annotations; one that only meets it is cut off there."""
    rings = {
        "Gewebe": box(0, 0, 640, 640),
        "Ignore*": box(160, 160, 480, 480),
        "Insel": box(240, 240, 400, 400),
        "Rand": box(440, 440, 560, 560),
    }
    drawn = [Annotation(name, shapely.Polygon(ring)) for name, ring in rings.items()]
    for ordered in (drawn, drawn[::-1]):
        mask = tissue._fill(ordered, (50, 50), 16.0)
        assert mask[:9, :38].all()
        assert mask[16:24, 16:24].all()
        assert not mask[11:14, 11:29].any()
        assert not mask[28, 28]
        assert mask[31:34, 31:34].all()
        assert not mask[42:].any()
    assert not tissue._fill([drawn[1]], (50, 50), 16.0).any()


def write_cohort(folder, inked):
    """Write slides with a square of tissue each; some have pen over a part of it, by the name of the slide."""
    for number, (name, rows) in enumerate(inked.items()):
        picture = patch(800, 800, seed=number + 1)
        picture[:rows] = PENS["blue"]
        write_slide(folder / f"{name}.tif", (1600, 1600), {(400, 400): picture})


def test_what_is_removed_is_told_and_unlike_slides_are_named(tmp_path, completed):
    write_cohort(tmp_path / "a b", {"A 1": 0, "B": 0, "C ä": 0, "D": 110, "E": 400})
    for more in (("--dry-run",), (), ()):  # the last finds all cut
        _, err = completed(
            "slides cut {} --field 100 --scale 2 --out T/out", tmp_path / "a b", *more
        )
        assert "ink or black: 14 % of the stained area left out" in err
        assert (
            "more than a fifth of the stained area left out: E (54 %); look at them, or give --tissue-from"
            in err
        )
        assert "ink or black: more than in the other slides: E (54 %)" in err
    page = (tmp_path / "out" / "overview.html").read_text()
    assert len(re.findall(r"mm2 of tissue, 0\.\d+ mm2 of ink or black", page)) == 2
    _, err = completed("slides cut {} --out T/b --field 100", tmp_path / "a b" / "B.tif")
    assert "ink or black: 0 % of the stained area left out" in err
    assert "WARNING" not in err.upper()


def test_outliers_need_five_slides_and_a_share_above_nought(caplog):
    for areas, expected in (
        ({"a": (0, 1), "b": (0, 1), "c": (0, 1), "d": (0.1, 1)}, []),
        ({"a": (0, 1), "b": (0, 1), "c": (0, 1), "d": (0.1, 1), "e": (0, 1)}, ["d (10 %)"]),
        ({"a": (0, 1), "b": (0, 1), "c": (0, 1), "d": (0.001, 1), "e": (0, 1)}, []),
        ({"a": (0.05, 1), "b": (0.1, 1), "c": (0.15, 1), "d": (0.08, 1), "e": (0.12, 1)}, []),
        ({"a": (0, 0)}, []),
    ):
        caplog.clear()
        report_ink({name: Areas(0, stained, ink) for name, (ink, stained) in areas.items()})
        told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert [text.split(": ")[2].split(";")[0] for text in told] == expected


def feature(kind, coordinates, **properties):
    return {
        "type": "Feature",
        "properties": properties,
        "geometry": {"type": kind, "coordinates": coordinates},
    }


def fields_of(out):
    return {(int(row["x"]), int(row["y"])) for row in table(out / "manifest.csv")}


DRAWN = {
    "QuPath": [
        outline("Tumor", box(0, 0, 600, 600), box(200, 200, 400, 400)),
        outline("", box(400, 400, 800, 600)),  # overlaps the first
        outline("Artefact*", box(0, 600, 200, 800)),
    ],
    "TRIDENT": [
        feature("Polygon", [box(0, 0, 600, 600), box(200, 200, 400, 400)], tissue_id=0),
        feature("Polygon", [box(600, 400, 800, 600)], tissue_id=1),
    ],
    "HistoQC": [
        feature(
            "MultiPolygon",
            [[box(0, 0, 600, 600)], [box(200, 200, 400, 400)]],
            objectType="annotation",
        ),
        feature("MultiPolygon", [[box(600, 400, 700, 600)], [box(700, 400, 800, 600)]]),
    ],
}
EXPECTED = {
    (x, y) for x in range(0, 600, 200) for y in range(0, 600, 200) if (x, y) != (200, 200)
} | {(600, 400)}


@pytest.mark.parametrize("program", DRAWN)
def test_drawn_tissue_is_taken_as_drawn(tmp_path, completed, program):
    path = write_slide(tmp_path / "S 1 ü.tif", (1000, 1000), {(600, 0): patch(400, 400)})
    name = "S 1 ü.geojson"
    if program == "HistoQC":
        name = "S 1 ü.tif/S 1 ü.tif_use.geojson"
    written(tmp_path / "drawn" / name, *DRAWN[program])
    printed, err = completed(
        "slides cut {} --out T/out --field 100 --tissue 0.9 --tissue-from T/drawn", path
    )
    assert fields_of(tmp_path / "out") == EXPECTED
    assert float(printed.split()[5]) == pytest.approx(0.09, rel=0.05)
    assert "ink or black" not in err


def test_region_outlines_tissue_and_a_file_without_outlines_is_refused(
    tmp_path, completed, refused
):
    path = write_slide(tmp_path / "a.tif", (1000, 1000), {})
    drawn = written(tmp_path / "b ü.geojson", outline("Region*", box(0, 0, 400, 200)))
    words = ("slides cut {} --field 100 --tissue-from {} --out", path, drawn)
    completed(*words, tmp_path / "out")
    assert fields_of(tmp_path / "out") == {(0, 0), (200, 0)}
    written(drawn, outline("Ignore*", box(0, 0, 400, 200)))
    assert f"{drawn}: has no outline of tissue of a.tif; add some" in refused(
        *words, tmp_path / "other"
    )


def test_another_mask_is_another_cut(tmp_path, completed):
    path = tissue_slide(tmp_path / "a.tif", 1000, 1000)
    words = ("slides cut {} --out T/out --field 100", path)
    drawn = tmp_path / "b.geojson"
    for x in (0, 400):
        written(drawn, outline("", box(x, 0, x + 200, 400)))
        completed(*words, "--tissue-from", drawn)
        assert fields_of(tmp_path / "out") == {(x, 0), (x, 200)}
        assert "1 of 1 slides are cut already" in completed(*words, "--tissue-from", drawn)[1]
    completed(*words)
    assert len(fields_of(tmp_path / "out")) == 25


def test_a_slide_without_a_mask_is_refused(tmp_path, refused):
    for name, x in (("a", 50), ("b", 300)):
        image = patch(200, 200)
        write_slide(tmp_path / "slides" / f"{name}.tif", (600, 600), {(x, x): image})
    drawn = written(tmp_path / "drawn" / "a.geojson", outline("", box(0, 0, 200, 200)))
    words = ("slides cut T/slides --out T/out --tissue-from",)
    assert f"--tissue-from {drawn.parent}: no tissue of 1 slide: b; add its file" in refused(
        *words, drawn.parent
    )
    text = f"--tissue-from {drawn}: give a folder with a file a slide (a.geojson)"
    assert text in refused(*words, drawn)
    assert not (tmp_path / "out").exists()
    written(drawn.parent / "b.geojson", outline("", box(5000, 0, 5200, 200)))
    assert "outside" in refused(*words, drawn.parent)
    for suffix in ("use", "pen"):
        written(tmp_path / "both" / f"a.tif_{suffix}.geojson")
    with pytest.raises(InputError, match="`tissue_from`: a has several files: .*a.tif_pen.geojson"):
        given_slides([tmp_path / "a.tif"], CutSettings(tissue_from=tmp_path / "both"))


def test_tiles_without_tissue_are_all_tiles_if_none_is_needed(tmp_path):
    path = write_slide(tmp_path / "a.tif", (1000, 700), {(200, 200): patch(400, 400)})
    file = SlideFile("a", path, "a.tif")
    for share, number in ((0, 4 * 5), (0.5, 4)):
        grid = TileGrid.of(file, CutSettings(field=100, tissue=share))
        assert len(grid.corners) == number
    assert len(positions(1000, 700, 200, edges=True)) == 4 * 5


def test_other_pictures_than_of_h_and_e_are_told(tmp_path, completed):
    cut = "slides cut {} --field 100 --dry-run --out T/out"
    grey = np.repeat(patch(800, 800)[..., 1:2], 3, axis=2)
    dark = np.zeros((1000, 1000, 3), np.uint8)
    dark[200:700, 200:700] = patch(500, 500)[..., ::-1] * (0, 1, 0)
    brown = write_slide(tmp_path / "he.tif", (1000, 1000), {(0, 0): patch(800, 800)})
    for name, picture, expected in (
        ("grey", grey, "not H&E: a grey picture"),
        ("dark", dark, "not H&E: more than half of it is black"),
    ):
        path = write_slide(
            tmp_path / f"{name}.ome.tif", (1000, 1000), {(0, 0): picture}, kind="ome"
        )
        assert expected in completed(cut, path)[1]
    assert "H&E" not in completed(cut, brown)[1]


@pytest.mark.slow
def test_another_mask_is_another_map(tmp_path, completed, cli, boosted_model):
    path = tissue_slide(tmp_path / "a.tif", 1000, 1000)
    words = ("slides map {} {} --field 100 --scale 0.5 --jobs 1", boosted_model, path)
    words = (*words, "--tissue", 0.1, "--out", tmp_path / "out")
    drawn = tmp_path / "b.geojson"
    for shape in ((0, 0, 200, 400), (400, 0, 600, 400), (400, 0, 550, 400)):
        written(drawn, outline("", box(*shape)))
        # even if the tiles are those of the mask before
        assert cli(*words, "--tissue-from", drawn, "--check")[0] == 0
        completed(*words, "--tissue-from", drawn)
        assert cli(*words, "--tissue-from", drawn, "--check")[0] == NOTHING_NEW
        tiles = table(tmp_path / "out" / "maps" / "a" / "tiles.csv")
        assert [(int(tile["x"]), int(tile["y"])) for tile in tiles] == [
            (shape[0], 0),
            (shape[0], 200),
        ]
        area = (shape[2] - shape[0]) * 400 * 0.25e-6
        (row,) = table(tmp_path / "out" / "slides.csv")[:1]
        assert float(row["tissue_mm2"]) == pytest.approx(
            area, rel=0.15
        )  # its edges are pixels of 8 um
    _, err = completed(*words)
    assert "ink or black: 0 % of the stained area left out" in err
