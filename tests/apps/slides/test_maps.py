"""The maps of slides: what their colours mean, who may work in a folder, and what a kill costs."""

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from bchisto.apps.slides.overlay import Colouring, class_colours, draw_heat, heat_colours
from bchisto.apps.slides.tiles import MapSettings
from bchisto.apps.slides.tissue import Overview
from bchisto.core import InputError
from bchisto.data import ImageSelection
from bchisto.evaluate import TwoClassView
from bchisto.predict.settings import OperatingPoint
from conftest import typed
from engine_jobs import contents
from job_chain import end, wait
from packs import LINEAR, featurize_here, train_small
from PIL import Image
from slide_files import (
    NAMES,
    box,
    draw,
    outline,
    overlay_of,
    stained,
    table,
    write_images,
    write_slide,
)
from written_tables import read_json

pytest.importorskip("openslide")

SIDE = 64
BAD, GOOD = "böse", "gut"
WARM, COOL = (213, 94, 0), (86, 180, 233)
CLASSES = dict(zip((BAD, GOOD), reversed(NAMES), strict=True))
"""Names in the order of the alphabet, with the tissue of each: the first is dark, and positive."""


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny_settings):
    """A small model, whose positive class is the first one."""
    root = tmp_path_factory.mktemp("model ä")
    settings = replace(tiny_settings, stain="none", color_range=(1.0, 1.0), augmentations=1)
    images = ImageSelection(
        write_images(root, count=24, names=[*CLASSES], tissues=[*CLASSES.values()])
    )
    featurize_here(images, root / "run", settings)
    return train_small(root / "run", "2", view=TwoClassView(positive=(BAD,)), **LINEAR)[0].model


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """A slide of 12 x 9 dark tiles on the left, and as many pale ones on the right."""
    images = {
        (SIDE, SIDE): stained(CLASSES[BAD], 12 * SIDE, 9 * SIDE),
        (13 * SIDE, SIDE): stained(CLASSES[GOOD], 12 * SIDE, 9 * SIDE),
    }
    folder = tmp_path_factory.mktemp("slides of today")
    return write_slide(folder / "S 1 ü.tif", (27 * SIDE, 12 * SIDE + 20), images)


@pytest.fixture(scope="module")
def words_of(model, slide):
    """Return a function that gives the words of a map by its folder."""
    return lambda out: typed("slides map {} {} --out {} --jobs 1", model, slide, out)


@pytest.fixture(scope="module")
def mapped(start, words_of, tmp_path_factory):
    """The folder of a map."""
    out = tmp_path_factory.mktemp("mapped") / "out"
    end(start(*words_of(out)))
    return out


def pixels_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def tiles_of(out):
    """Yield each tile of the map: its row of the table, and its middle in the pictures."""
    folder = out / "maps" / "S 1 ü"
    scale = pixels_of(folder / "map.png").shape[1] / (27 * SIDE)
    for row in table(folder / "tiles.csv"):
        yield row, tuple(round((int(row[axis]) + SIDE / 2) * scale) for axis in "yx")


@pytest.mark.slow
def test_heat_is_the_probability_of_the_positive_class(mapped):
    heat = pixels_of(mapped / "maps" / "S 1 ü" / "heat.png")
    shares = []
    for row, place in tiles_of(mapped):
        share = float(row[f"p_{BAD}"])
        assert heat[place].tolist() == heat_colours(np.array([share]))[0].tolist()
        shares.append(share)
    assert max(shares) > 0.8
    assert min(shares) < 0.2
    page = (mapped / "maps" / "S 1 ü" / "index.html").read_text()
    assert f"Heat: probability of {BAD}<" in page
    assert 'href="heat.png"' in page


@pytest.mark.slow
def test_the_positive_class_is_warm_whatever_the_alphabet(mapped):
    folder = mapped / "maps" / "S 1 ü"
    for name in ("tiles.geojson", "regions.geojson"):
        features = read_json(folder / name)["features"]
        named_so = [feature["properties"]["classification"] for feature in features]
        colours = {of["name"]: tuple(of["color"]) for of in named_so}
        assert colours == {BAD: WARM, GOOD: COOL}
    picture = pixels_of(folder / "map.png")
    for row, place in tiles_of(mapped):
        assert (picture[place][0] > picture[place][2]) == (row["predicted"] == BAD)


def test_a_colour_of_heat_is_exact_at_the_ends_and_warmer_the_higher():
    values = np.linspace(0, 1, 1001)
    colours = heat_colours(values).astype(int)
    # the ends of cividis
    assert colours[[0, -1]].tolist() == [[0, 34, 77], [253, 231, 55]]
    warmth = colours[:, 0] - colours[:, 2]
    lightness = colours @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) >= 0).all()
    assert warmth[-1] > warmth[700] > warmth[500] > warmth[300] > warmth[0]


def tissue_of(width, height, factor):
    picture = np.full((height, width, 3), (230, 150, 190), np.uint8)
    return Overview(picture, factor)


def test_the_bar_has_the_colours_of_its_values():
    """Each tile has the colour of the bar at its value, and ticks are where these numbers belong."""
    cividis = mpl.colormaps["cividis"]
    values = np.linspace(0, 1, 9)
    boxes = np.array([(100 * at, 0, 100 * at + 100, 100) for at in range(9)])
    pixels = draw_heat(tissue_of(900, 200, 1), boxes, values, "p of ü $x$").astype(int)
    assert pixels[150, 50].tolist() == [pixels[150, 50, 0]] * 3  # tissue is grey
    below = pixels[200:]
    # the row of most colours
    top = max(range(len(below)), key=lambda row: len(np.unique(below[row], axis=0)))
    bar = np.flatnonzero(below[top].min(axis=1) < 250)
    ends = bar[0] + np.arange(9) / 8 * np.ptp(bar)
    for at, place in enumerate(ends.round().astype(int)):
        colour = list(cividis(at / 8, bytes=True)[:3])
        assert pixels[50, 100 * at + 50].tolist() == colour
        inside = np.clip(place, bar[2], bar[-3])  # of its frame
        np.testing.assert_allclose(below[top, inside], colour, atol=4)
    bottom = top
    while below[bottom, bar[300]].min() < 250:
        bottom += 1
    ticks = np.flatnonzero(below[bottom + 1].max(axis=1) < 128)
    for place in ends[[0, 4, 8]]:
        assert abs(ticks - place).min() < 2
    assert len(ticks) <= 6


def point_of(names, positive, rule="sum"):
    return OperatingPoint(names, positive, rule, 0.5)


RAW = np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.4, 0.1, 0.1]])


@pytest.mark.parametrize(
    ("point", "heat", "title", "values"),
    [
        (point_of(tuple("abcd"), ("a", "c")), None, "probability of a + c", [0.4, 0.5]),
        (point_of(tuple("abcd"), ("d",)), "B", "probability of b", [0.2, 0.4]),
        (
            point_of(tuple("abcd"), ("a", "c"), "max"),
            None,
            "score of a + c (rule max)",
            [3 / 7, 0.5],
        ),
        (point_of(tuple("abcd"), ("a", "c"), "max"), "d", "probability of d", [0.4, 0.1]),
        (None, None, "probability of d", [0.4, 0.1]),
        (None, "a", "probability of a", [0.1, 0.4]),
    ],
)
def test_heat_of_several_classes(point, heat, title, values):
    colouring = Colouring.of(tuple("abcd"), point, MapSettings(heat=heat))
    overlay = overlay_of(RAW, colouring, tuple("abcd"))
    assert colouring.title == title
    np.testing.assert_allclose(overlay.heat, values)


@pytest.mark.parametrize("count", range(2, 9))
def test_classes_are_told_apart_and_positive_ones_are_warm(count):
    names = tuple(f"Ä {number}" for number in range(count))
    for positives in range(1, count):
        point = point_of(names, names[:positives])
        colours = Colouring.of(names, point, MapSettings()).of_classes(names)
        assert len({*colours.values()}) == count
        assert colours[names[0]] == WARM
        assert colours[names[positives]] == COOL


def test_uncertain_tiles_are_paler_and_the_legend_says_so():
    raw = np.array([[0.9, 0.1], [0.6, 0.4], [0.1, 0.9]])
    colouring = Colouring.of((BAD, GOOD), point_of((BAD, GOOD), (BAD,)), MapSettings())
    unsure = np.array([False, True, False])
    drawn = {}
    for marks in (unsure, None):
        overlay = overlay_of(raw, colouring, (BAD, GOOD), unsure=marks)
        drawn[marks is None] = overlay.draw(tissue_of(300, 100, 1)).astype(int)
    tissue = np.array((230, 150, 190))
    expected = [
        np.rint(tissue + share * (np.array(colour) - tissue)).tolist()
        for share, colour in ((0.5, WARM), (0.2, WARM), (0.5, COOL))
    ]
    zoom = drawn[False].shape[1] // 300
    assert [drawn[False][20, zoom * x].tolist() for x in (50, 150, 250)] == expected
    # a line for each class, and one for what is paler
    assert 20 < drawn[False].shape[0] - drawn[True].shape[0] < 40


FORMS = {
    "0.4": {"name": " BÖSE", "color": [1, 2, 3]},
    "0.3": {"name": "Böse", "colorRGB": -16711165},  # 0xFF010203 as QuPath packed it
}


@pytest.mark.parametrize("form", FORMS)
def test_the_pathologists_colours_are_kept(form, tmp_path):
    ring = box(0, 0, 9, 9)
    features = [
        outline("", ring),
        outline("", ring, classification=FORMS[form]),
        outline("Ignore*", ring),
    ]
    path = draw(tmp_path, *features)
    for given in (path, tmp_path):
        colouring = Colouring.of((BAD, GOOD), None, MapSettings(colours=given))
        assert colouring.of_classes((BAD, GOOD)) == {BAD: (1, 2, 3), GOOD: WARM}


def test_no_two_classes_get_one_colour(tmp_path):
    """The colours may be those of an earlier map, which QuPath has imported."""
    named_so = {"name": GOOD, "color": list(WARM)}
    path = draw(tmp_path, outline("", box(0, 0, 9, 9), classification=named_so))
    point = point_of((BAD, GOOD), (BAD,))
    colours = Colouring.of((BAD, GOOD), point, MapSettings(colours=path)).of_classes((BAD, GOOD))
    assert colours[GOOD] == WARM
    assert colours[BAD] != WARM


def test_colours_of_other_classes_are_refused(tmp_path):
    path = draw(tmp_path, outline("Tumor", box(0, 0, 9, 9)))
    with pytest.raises(InputError, match="no class of the model has a colour there, only: Tumor"):
        Colouring.of((BAD, GOOD), None, MapSettings(colours=path))
    assert class_colours(path) == {"Tumor": (200, 0, 0)}


@pytest.mark.slow
def test_other_colours_are_drawn_without_predicting(
    mapped, words_of, tmp_path, completed, cli, refused
):
    out = Path(shutil.copytree(mapped, tmp_path / "out"))
    drawn = draw(tmp_path, outline(GOOD.upper(), box(0, 0, 9, 9)))
    words = words_of(out)
    options = ("--heat", GOOD.upper(), "--colours", drawn)
    checks = [(), options[:2], options[2:]]
    assert [cli(*words, *change, "--check")[0] for change in checks] == [4, 0, 0]
    _, err = completed(*words, *options)
    assert "4 of 4 blocks are predicted already" in err
    assert [cli(*words, *change, "--check")[0] for change in (options, *checks)] == [4, 0, 0, 0]
    folder = out / "maps" / "S 1 ü"
    regions = read_json(folder / "regions.geojson")["features"]
    named_so = [feature["properties"]["classification"] for feature in regions]
    assert {of["name"]: of["color"] for of in named_so} == {BAD: [*WARM], GOOD: [200, 0, 0]}
    heat = pixels_of(folder / "heat.png")
    for row, place in tiles_of(out):
        share = np.array([float(row[f"p_{GOOD}"])])
        assert heat[place].tolist() == heat_colours(share)[0].tolist()
    completed(*words)
    assert contents(out) == contents(mapped)
    # other files of a folder do not stop it, nor a second spelling of a class
    (tmp_path / "classes.json").write_text("[1, 2]")
    (tmp_path / "z.geojson").write_text(json.dumps([outline(GOOD, box(0, 0, 9, 9))]))
    completed(*words, "--heat", GOOD, "--colours", tmp_path)
    again = read_json(folder / "regions.geojson")["features"]
    assert again == regions
    completed(*words)
    new = tmp_path / "new"
    err = refused(*words_of(new), "--heat", "gute")
    assert "--heat gute: no class of this model" in err
    assert GOOD in err
    missing = refused(*words_of(new), "--colours", tmp_path / "no.geojson")
    assert "no.geojson" in missing
    assert not new.exists()


def held_at(process, pattern):
    """Stop a process once a file is there."""
    wait(lambda: next(pattern[0].glob(pattern[1]), None), process=process)
    process.send_signal(signal.SIGSTOP)


@pytest.mark.slow
def test_two_maps_in_one_folder_refuse_each_other(mapped, words_of, tmp_path, start, cli):
    out = tmp_path / "out"
    words = words_of(out)
    first = start(*words)
    try:
        held_at(first, (out, "blocks/settings.json"))
        before = contents(out)
        (tmp_path / "link").symlink_to(out)
        for again in (words, words_of(tmp_path / "link"), [*words, "--overwrite"]):
            code, _, err = cli(*again)
            assert code == 3
            assert "another command works in it at this moment; let it end, or give another" in err
        assert contents(out) == before
        assert len(list((out / "records").glob("*.json"))) == 1
        # shards share the folder
        assert cli(*words, "--shard", "1/2")[0] == 0
    finally:
        first.send_signal(signal.SIGCONT)
    end(first)
    assert contents(out) == contents(mapped)
    assert {path.name for path in tmp_path.iterdir()} == {"link", "out"}
    assert cli(*words)[0] == 0


@pytest.mark.slow
def test_two_cuts_into_one_folder_refuse_each_other(slide, tmp_path, start, cli):
    out = tmp_path / "fields ü"
    words = typed("slides cut {} --out {} --field 32 --jobs 1", slide, out)
    first = start(*words)
    try:
        held_at(first, (out, "fields/*/*.png"))
        code, _, err = cli(*words)
        assert code == 3
        assert f"{out}: another command works in it at this moment" in err
        # which writes nothing
        assert cli(*words, "--dry-run")[0] == 0
        # nor does the one that is refused
        assert not (out / "manifest.csv").exists()
    finally:
        first.send_signal(signal.SIGCONT)
    end(first)
    assert cli(*words)[0] == 0
