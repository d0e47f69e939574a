"""Slides as units of evaluation: rules from tiles to a slide, the table that `evaluate` reads, the maps on the page."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from bchisto.apps.slides.overlay import TileMap
from bchisto.apps.slides.tiles import TileGrid
from bchisto.predict.settings import OperatingPoint
from page_server import serving

pytest.importorskip("openslide")
pytest_plugins = ("slide_files",)

SIDE = 64


def overlay_of(raw, places, classes):
    tiles = [SimpleNamespace(predicted=classes[place], unsure=None) for place in raw.argmax(axis=1)]
    shown = SimpleNamespace(table=SimpleNamespace(classes=classes), raw=raw, outliers=None)
    grid = TileGrid("s", "", "", None, 0.5, SIDE, tuple((x * SIDE, y * SIDE) for x, y in places))
    return TileMap(SimpleNamespace(width=9999, height=9999, mpp=0.5), grid, 0.0, shown, tiles)


def test_rules_by_hand():
    """Three tiles in a row, of which the last is apart; of four classes, two are positive."""
    raw = np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.4, 0.1, 0.1], [0.2, 0.2, 0.0, 0.6]])
    overlay = overlay_of(raw, [(0, 0), (1, 0), (5, 0)], ("a", "b", "c", "d"))
    point = OperatingPoint(("a", "b", "c", "d"), ("c", "d"), "sum", 0.5)
    scores = overlay.scores(point)
    assert [*scores] == ["mean", "share", "peak"]
    np.testing.assert_allclose(scores["mean"], raw.mean(axis=0))
    assert scores["share"][2:].sum() == pytest.approx(2 / 3)  # 0.7 and 0.6, and not 0.2
    assert scores["peak"][2:].sum() == pytest.approx(0.6)  # the mean of 0.7 and 0.2, and 0.6
    for of in scores.values():
        assert of.sum() == pytest.approx(1)
        assert of[3] / of[2] == pytest.approx(1.1 / 0.4)
    assert [*overlay.scores(None)] == ["mean"]
    assert np.isnan(overlay_of(raw[:0], [], ("a", "b", "c", "d")).scores(point)["mean"]).all()


@pytest.fixture(scope="module")
def study(model, write_slide, stained, names, tmp_path_factory, start):
    """Maps of eight slides of four patients, of which one has no tissue, with a table of labels."""
    root = tmp_path_factory.mktemp("study")
    lines = ["slide_id,diagnosis"]
    for number in range(8):
        label, dark = names[number % 2], (0, 6, 1, 5, 0, 4, 0, 3)[number]
        images = {(SIDE, SIDE): stained(names[0], 10 * SIDE, 6 * SIDE, seed=number)} if number < 7 else {}
        if number < 7 and dark:
            images[SIDE, SIDE] = stained(names[0], 10 * SIDE, 6 * SIDE, seed=number)
            images[SIDE, SIDE][: dark * SIDE, : dark * SIDE] = stained(names[1], dark * SIDE, dark * SIDE)
        write_slide(root / "slides" / f"P{number // 2}" / f"s{number}.tif", (12 * SIDE, 8 * SIDE), images)
        quoted = label.replace('"', '""')
        lines.append(f's{number},"{quoted}"')
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = ("--labels", root / "labels.csv", "--group-from", -1, "--jobs", 1)
    process = start("slides", "map", model, root / "slides", "--out", root / "out", *words)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert f"next: bchisto evaluate {root / 'out' / 'slides.csv'} --out {root / 'out' / 'evaluation'}" in err
    return root


def test_the_table_of_slides_is_evaluated(study, completed, names, tmp_path, model, refused):
    with (study / "out" / "slides.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows].count("peak") == 7
    of = {(row["image_id"], row["model"]): row for row in rows}
    assert {row["group"] for row in rows} == {"P0", "P1", "P2", "P3"}
    positive = [float(of[f"s{number}", "share"][f"p_{names[1]}"]) for number in range(7)]
    np.testing.assert_allclose(positive, [dark**2 / 60 for dark in (0, 6, 1, 5, 0, 4, 0)], atol=1e-9)
    assert float(of["s1", "peak"][f"p_{names[1]}"]) > 0.95 > float(of["s2", "peak"][f"p_{names[1]}"])
    assert (of["s7", "mean"]["label"], of["s7", "mean"]["tiles"]) == ("", "0")
    words = ("evaluate", study / "out" / "slides.csv", "--out", tmp_path / "e", "--positive", names[1])
    out, _ = completed(*words)
    tables = json.loads((tmp_path / "e" / "metrics.json").read_text(encoding="utf-8"))["tables"]
    assert [*tables] == ["slides: mean", "slides: share", "slides: peak"]
    assert tables["slides: peak"]["accuracy"]["value"] == 1
    assert tables["slides: peak"]["tested"]["n"] == 7
    assert "7 of 7 images right" in out
    labels = tmp_path / "labels.csv"
    labels.write_text("slide,label\ns0,other\n")
    words = ("slides", "map", model, study / "slides", "--out", study / "out", "--labels", labels)
    assert f"--labels {labels}: other is not a class of the model" in refused(*words)


def test_the_page_shows_the_maps_and_nothing_else(study, model, start):
    secret = study / "out" / "secret.txt"
    secret.write_text("no")
    (study / "out" / "maps" / "link").symlink_to(study)
    with serving(start, model, "--slides", study / "out") as server:
        assert 'href="slides"' in server.client.get("/").text
        listed = server.client.get("/slides").text
        assert [f's{number}/index.html"' in listed for number in range(8)] == [True] * 8
        page = server.client.get("/slides/s1/index.html")
        assert (page.status_code, "Map of s1" in page.text) == (200, True)
        assert "style-src 'unsafe-inline'" in page.headers["content-security-policy"]
        assert server.client.get("/slides/s1/map.png").headers["content-type"] == "image/png"
        assert server.client.get("/slides/s1/regions.geojson").json()["type"] == "FeatureCollection"
        outside = ("..%2Fsecret.txt/x", "s1/..%2F..%2Fsecret.txt", "s1/..%2F..%2Fslides.csv", "%2e%2e/slides.csv")
        for path in (*outside, "s1/secret.txt", "link/labels.csv", "nosuch/index.html", "link/out/index.html"):
            assert server.client.get(f"/slides/{path}").status_code == 404, path
