"""``bchisto slides cut``: from slides and annotations to a manifest that the road takes."""

import csv
import json
import re
import shutil
import time

import numpy as np
import openslide
import pytest
from PIL import Image

SIDE = 400
"""Pixels of a field in these tests: 200 micrometres at 0.5 per pixel."""


def rows_of(out):
    with (out / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def pixels(path):
    with Image.open(path) as image:
        return np.array(image)


@pytest.fixture(scope="module")
def study(tmp_path_factory, write_slide, patch, outline, box):
    """Four annotated slides of two patients in two folders, with a field of each of two classes, and one of neither."""
    root = tmp_path_factory.mktemp("a study")
    (root / "drawn").mkdir()
    for number, name in enumerate(("P1-ä 1", "P1-b", "P2-a", "P2-b")):
        images = {(SIDE * place, SIDE): patch(SIDE, SIDE, seed=3 * number + place) for place in range(1, 4)}
        write_slide(root / "slides" / name[:2] / f"{name}.tif", (2000, 1300), images)
        features = [outline(label, box(SIDE * at, 300, SIDE * (at + 1), 900)) for at, label in ((1, "yes"), (2, "no"))]
        (root / "drawn" / f"{name}.geojson").write_text(json.dumps(features))
    return root


def test_from_slides_to_a_model(study, tmp_path, completed, tiny_options):
    out, run = tmp_path / "fields", tmp_path / "run"
    words = ("slides", "cut", study / "slides", "--annotations", study / "drawn", "--field", 200, "--group-from", -1)
    printed, _ = completed(*words, "--out", out, "--dry-run")
    assert not out.exists()
    again, err = completed(*words, "--out", out)
    assert printed == again == f"4 slides, {printed.split()[2]} mm2 of tissue, 8 fields: no 4, yes 4\n"
    assert f"next: bchisto trial --images {out / 'manifest.csv'} --out RUN" in err
    rows = rows_of(out)
    assert [(row["label"], row["group"], row["wsi"], row["x"], row["y"], row["mpp"]) for row in rows[:3]] == [
        ("yes", "P1", "P1-b", "400", "400", "0.5"), ("no", "P1", "P1-b", "800", "400", "0.5"),
        ("yes", "P1", "P1-ä 1", "400", "400", "0.5"),
    ]  # fmt: skip
    _, err = completed("data", "check", "--images", out / "manifest.csv", "--view", "1.0:64", "--json")
    found = json.loads(completed("data", "check", "--images", out / "manifest.csv", "--view", "1.0:64", "--json")[0])
    assert [finding["message"] for finding in found["findings"]] == ["columns that are not used: wsi, x, y"], err
    completed("featurize", "--images", out / "manifest.csv", "--out", run, *tiny_options)
    completed("boost", "--out", run, "--folds", 2, "--seeds", 1)
    record = json.loads((out / "run.json").read_text())["records"][0]
    assert (record["status"], record["notes"]) == ("ok", {"slides": 4, "fields": {"no": 4, "yes": 4}, "failures": 0})
    page = (out / "overview.html").read_text()
    assert "img-src data:; style-src" in page
    assert not re.search(r"(src|href)=\"(?!data:|#content)", page)
    assert page.count("M400 400h400v400h-400z") == page.count("M800 400h400v400h-400z") == 4


def test_fields_of_breakhis_are_cut_as_they_are(shared, tmp_path, write_slide, completed):
    files = sorted((shared / "data" / "breakhis").rglob("*.png"))[::12][:6]
    images = {(SIDE * place, SIDE * (place % 2)): pixels(file)[:SIDE, :SIDE] for place, file in enumerate(files, 1)}
    write_slide(tmp_path / "a.svs", (3200, 900), images, kind="aperio", mpp=0.4986)
    completed("slides", "cut", tmp_path / "a.svs", "--field", 200, "--out", tmp_path / "out", "--tissue", 0)
    rows = {(int(row["x"]), int(row["y"])): row for row in rows_of(tmp_path / "out")}
    assert len(rows) == 16
    assert {(row["label"], row["group"], row["mpp"]) for row in rows.values()} == {("", "a", "0.4986")}
    for corner, image in images.items():
        assert (pixels(tmp_path / "out" / rows[corner]["path"]) == image).all()


def test_fields_that_are_annotated_are_cut_again_as_they_were(shared, tmp_path, completed, draw, outline, box):
    slide = shared / "data" / "slides" / "CMU-1-Small-Region.svs"
    words = ("slides", "cut", slide, "--field", 112, "--overlap", 0.25)
    completed(*words, "--out", tmp_path / "first")
    first = rows_of(tmp_path / "first")
    corners = [(int(row["x"]), int(row["y"])) for row in first]
    chosen = [(x, y) for x, y in corners if x % 336 == 0 and y % 336 == 0]
    boxes = [outline(f"class {place % 2}", box(x, y, x + 224, y + 224)) for place, (x, y) in enumerate(chosen)]
    out, _ = completed(*words, "--out", tmp_path / "second", "--annotations", draw(*boxes))
    second = rows_of(tmp_path / "second")
    assert len(first) > len(second) == len(chosen) > 5, out
    assert [(int(row["x"]), int(row["y"]), row["label"]) for row in second] == [
        (x, y, f"class {place % 2}") for place, (x, y) in enumerate(chosen)
    ]
    for row in second:
        assert (tmp_path / "second" / row["path"]).read_bytes() == (tmp_path / "first" / row["path"]).read_bytes()
    # of the same folder, only the manifest changes
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "first").rglob("*.png")}
    completed(*words, "--out", tmp_path / "first", "--annotations", draw(*boxes))
    assert [row["label"] for row in rows_of(tmp_path / "first")] == [row["label"] for row in second]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "first").rglob("*.png")} == before


def test_killed_and_resumed(tmp_path, write_slide, patch, start, completed):
    for name in "ab":
        write_slide(tmp_path / "slides" / f"{name}.tif", (4000, 4000), {(0, 0): patch(4000, 4000)})
    words = ("slides", "cut", tmp_path / "slides", "--field", 200, "--out", tmp_path / "out")
    process = start(*words, "--jobs", 2)
    until = time.monotonic() + 120
    while len(list(tmp_path.glob("out/fields/*/*.png"))) < 20 and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/fields/*/*.png")}
    assert 20 <= len(kept) < 200
    assert not (tmp_path / "out" / "manifest.csv").exists()
    completed(*words)
    assert len(rows_of(tmp_path / "out")) == 200
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/fields/*/*.png")}
    assert len(after) == 200
    assert kept.items() <= after.items()
    assert "2 of 2 slides are cut already" in completed(*words)[1]


def test_slides_come_one_after_the_other(study, tmp_path, completed, refused):
    out = tmp_path / "out"
    slides = sorted((study / "slides").rglob("*.tif"))
    words = ("--field", 200, "--out", out, "--jpeg")
    (tmp_path / "patients.csv").write_text("Slide,Patient ID\nP1-b.svs,07\nP2-a,08\n")
    completed("slides", "cut", slides[0], *words, "--patients", tmp_path / "patients.csv")
    completed("slides", "cut", slides[2], *words, "--patients", tmp_path / "patients.csv")
    assert [row["group"] for row in rows_of(out)] == ["07"] * 3 + ["08"] * 3
    assert all(row["path"].endswith(".jpg") for row in rows_of(out))
    assert "names no patient of 1 slides: P2-b" in refused(
        "slides", "cut", slides[3], *words, "--patients", tmp_path / "patients.csv"
    )
    assert "field 200.0 -> 210.0" in refused("slides", "cut", slides[0], "--field", 210, "--out", out, "--jpeg")
    shutil.copy(slides[3], tmp_path / "P1-b.tif")
    assert "another slide was cut into" in refused("slides", "cut", tmp_path / "P1-b.tif", *words)
    completed("slides", "cut", tmp_path / "P1-b.tif", *words, "--overwrite")
    assert [row["group"] for row in rows_of(out)] == ["P1-b"] * 3


def test_one_line_and_nothing_lost(study, tmp_path, write_slide, refused, draw, outline, box):
    slides, out = study / "slides", tmp_path / "out"
    one = slides / "P1" / "P1-b.tif"
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    away = draw(outline("a", box(5000, 0, 6000, 900)))
    for words, why in (
        ((tmp_path / "none.svs",), "no such slide"),
        ((tmp_path / "empty",), "no slide in this folder"),
        ((one, "--annotations", tmp_path / "none.geojson"), "not a folder with a file named P1-b.geojson"),
        ((slides, "--annotations", away), "not a folder with a file named P1-b.geojson"),
        ((one, "--annotations", away), "is outside P1-b.tif (2000 x 1300 pixels)"),
        ((one, "--scale", 0.25), "its pixels are 0.5 micrometres wide, more than --scale 0.25"),
        ((one, "--field", 10, "--scale", 1), "fields of 10 pixels; give 32 to 9,000"),
        ((slides, "--group-from", "Q(.)"), "names no patient of 4 slides"),
        ((one, "--group-from", 1, "--patients", tmp_path / "file"), "give one of them"),
        ((one, "--out", tmp_path / "file" / "out"), "cannot create this folder (Not a directory)"),
    ):
        assert why in refused("slides", "cut", "--out", out, *words)
    assert not out.exists()
    twins = [write_slide(tmp_path / name / "same.tif", (600, 600), {}) for name in ("x", "y")]
    assert "give each slide a name of its own" in refused(
        "slides", "cut", *twins, tmp_path / "x/../x/same.tif", "--out", out
    )


def test_twins_and_what_is_damaged_are_left_out_by_name(shared, tmp_path, write_slide, patch, cli, monkeypatch):
    def refuse(slide):
        raise AssertionError("the label of a slide was read")

    monkeypatch.setattr(openslide.OpenSlide, "associated_images", property(refuse))
    data = bytearray((shared / "data" / "slides" / "CMU-1-Small-Region.svs").read_bytes())
    data[1_000_000:1_000_400] = bytes(400)
    folder = tmp_path / "Mappe mit Umlaut ä"
    for name in ("x", "y"):
        write_slide(folder / name / "same.tif", (800, 800), {(0, 0): patch(800, 800)})
    (folder / "damaged.svs").write_bytes(data)
    (folder / "text.svs").write_text("no slide")
    (folder / "photo.tif").write_bytes(b"II*\0")
    code, out, err = cli("slides", "cut", folder, "--field", 112, "--out", tmp_path / "out", "--skip-errors")
    assert code == 1
    assert "same" in out or "slides" in out
    assert {row["wsi"] for row in rows_of(tmp_path / "out")} >= {"x_same", "y_same"}
    with (tmp_path / "out" / "failures.csv").open(newline="") as file:
        failures = {row["image_id"]: row["error"] for row in csv.DictReader(file)}
    assert "OpenSlide cannot read it" in failures["text"], err
    assert any(name.startswith("damaged") and "damaged at x " in why for name, why in failures.items()), failures
