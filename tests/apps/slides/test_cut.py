"""``bchisto slides cut``: from slides and annotations to a manifest that the road takes."""

import json
import re
import shutil
import time

import numpy as np
import pytest
from packs import model_file
from PIL import Image
from slide_files import box, damage, draw, outline, patch, table, tissue_slide, write_slide

openslide = pytest.importorskip("openslide")

SIDE = 400
"""Pixels of a field of 200 micrometres."""


def written(out):
    """When each field was written."""
    return {path: path.stat().st_mtime_ns for path in out.glob("fields/*/*.png")}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Four annotated slides of two patients in two folders, with a field of each of two classes, and one of neither."""
    root = tmp_path_factory.mktemp("a study")
    (root / "drawn").mkdir()
    for number, name in enumerate(("P1-ä 1", "P1-b", "P2-a", "P2-b")):
        images = {
            (SIDE * place, SIDE): patch(SIDE, SIDE, seed=3 * number + place)
            for place in range(1, 4)
        }
        mpp = 0.499 if name == "P2-b" else 0.5
        write_slide(root / "slides" / name[:2] / f"{name}.tif", (2000, 1300), images, mpp=mpp)
        features = [
            outline(label, box(SIDE * at, 300, SIDE * (at + 1), 900))
            for at, label in ((1, "yes"), (2, "no"))
        ]
        (root / "drawn" / f"{name}.geojson").write_text(json.dumps(features))
    return root


def test_from_slides_to_a_model(study, tmp_path, completed, tiny_options):
    out, run = tmp_path / "fields", tmp_path / "run"
    words = (
        "slides cut {} --annotations {} --field 200 --group-from -1",
        study / "slides",
        study / "drawn",
    )
    printed, _ = completed(*words, "--out", out, "--dry-run")
    assert not out.exists()
    again, err = completed(*words, "--out", out)
    assert (
        re.fullmatch(
            r"4 slides of 2 patients, 0\.4\d+ mm2 of tissue, 8 fields: no 4, yes 4\n", printed
        )
        is not None
    )
    assert printed == again
    assert f"next: bchisto trial --images {out / 'manifest.csv'} --out RUN" in err
    assert [[*row.values()][1:] for row in table(out / "manifest.csv")[1:3]] == [
        ["no", "P1", "P1-b", "800", "400", "0.5", "no"],
        ["yes", "P1", "P1-ä 1", "400", "400", "0.5", "yes"],
    ]
    checked = completed(
        "data check --no-timing --images {} --view 1.0:64 --json", out / "manifest.csv"
    )[0]
    assert [each["message"] for each in json.loads(checked)["findings"]] == [
        "columns that no model is given: wsi, x, y, drawn"
    ]
    completed("featurize --images {} --out {}", out / "manifest.csv", run, *tiny_options)
    completed("boost --out {} --folds 2 --seeds 1 --param num_iterations=8", run)
    # of other tiles it cannot be known
    for side, trained, warned in (
        (200, "yes", False),
        (150, "", True),
    ):
        words = (
            "slides map {} {} --field {} --jobs 1 --out",
            model_file(run),
            study / "slides",
            side,
            tmp_path / str(side),
        )
        printed, _ = completed(*words)
        assert ("NOT KNOWN TO BE NEW: " in printed, "P1-b: SEEN IN TRAINING: 2 of" in printed) == (
            warned,
            not warned,
        )
        assert {row["trained"] for row in table(tmp_path / str(side) / "slides.csv")} == {trained}
    record = json.loads((out / "run.json").read_text())["records"][0]
    assert (record["status"], record["notes"]) == (
        "ok",
        {"slides": 4, "fields": {"no": 4, "yes": 4}, "failures": 0},
    )
    page = (out / "overview.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:|#content)", page)
    assert page.count("M400 400h400v400h-400z") == page.count("M800 400h400v400h-400z") == 4


def test_fields_of_breakhis_are_cut_as_they_are(shared, tmp_path, completed):
    files = sorted((shared / "data" / "breakhis").rglob("*.png"))[::12][:6]
    pictures = enumerate((np.array(Image.open(file))[:SIDE, :SIDE] for file in files), 1)
    images = {(SIDE * at, SIDE * (at % 2)): picture for at, picture in pictures}
    write_slide(tmp_path / "a.svs", (3200, 900), images, kind="aperio", mpp=0.4986)
    completed("slides cut T/a.svs --field 200 --out T/out --tissue 0")
    rows = {(int(row["x"]), int(row["y"])): row for row in table(tmp_path / "out" / "manifest.csv")}
    assert {(row["label"], row["group"], row["mpp"]) for row in rows.values()} == {
        ("", "a", "0.4986")
    }
    assert len(rows) == 16
    for corner, image in images.items():
        assert (np.array(Image.open(tmp_path / "out" / rows[corner]["path"])) == image).all()


def test_fields_that_are_annotated_are_cut_again_as_they_were(shared, tmp_path, completed):
    slide = shared / "data" / "slides" / "CMU-1-Small-Region.svs"
    first = tmp_path / "1"
    second = tmp_path / "2"
    words = ("slides cut {} --field 112 --overlap 0.25 --out", slide)
    completed(*words, first)
    corners = [(int(row["x"]), int(row["y"])) for row in table(first / "manifest.csv")]
    chosen = [(x, y, f"class {x // 336 % 2}") for x, y in corners if x % 336 == 0 and y % 336 == 0]
    drawn = draw(tmp_path, *(outline(label, box(x, y, x + 224, y + 224)) for x, y, label in chosen))
    completed(*words, second, "--annotations", drawn)
    rows, before = table(second / "manifest.csv"), written(first)
    assert len(corners) > len(rows) > 5
    assert [(int(row["x"]), int(row["y"]), row["label"]) for row in rows] == chosen
    assert all(
        (second / row["path"]).read_bytes() == (first / row["path"]).read_bytes() for row in rows
    )
    # of the same folder, only the manifest changes
    completed(*words, first, "--annotations", drawn)
    assert (table(first / "manifest.csv"), written(first)) == (rows, before)


def test_labels_that_a_person_wrote_stay_and_those_of_earlier_regions_go(
    study, tmp_path, completed
):
    one, out = study / "slides" / "P1" / "P1-b.tif", tmp_path / "out"

    def labels(annotated):
        words = ("--annotations", annotated) if annotated else ()
        err = completed("slides cut {} --field 200 --out", one, out, *words)[1]
        return {row["x"]: row["label"] for row in table(out / "manifest.csv")}, err

    other = draw(
        tmp_path, outline("other", box(400, 300, 800, 900)), outline("", box(800, 300, 1200, 700))
    )
    other.write_bytes(b"\xef\xbb\xbf" + other.read_bytes())  # a mark that some programs write
    assert labels(study / "drawn")[0] == {"400": "yes", "800": "no"}
    now, err = labels(other)
    assert now == {"400": "other", "800": ""}
    assert "--field): 3; in regions (--annotated 0.75): 1 unnamed, 1 other" in err
    text = (out / "manifest.csv").read_text()
    (out / "manifest.csv").write_text(
        text.replace("other,", "mine,", 1).replace(",", ";"), encoding="utf-8-sig"
    )
    for drawn, rest in ((study / "drawn", {"800": "no"}), (None, {"800": "", "1200": ""})):
        now, err = labels(drawn)
        assert now == {"400": "mine"} | rest
        assert "keeps what a person wrote there: 1 label" in err


def test_killed_and_resumed(tmp_path, start, completed, refused):
    out = tmp_path / "out"
    for name in "ab":
        tissue_slide(tmp_path / "slides" / f"{name}.tif", 2000, 2000, ord(name))
    words = ("slides cut {} --field 100 --out", tmp_path / "slides", out)
    process, until = start(*words, "--jobs", 2), time.monotonic() + 120
    while len(written(out)) < 20 and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    kept = written(out)
    assert 20 <= len(kept) < 200
    assert not (out / "manifest.csv").exists()
    assert "scale 0.5 -> 1.0" in refused(*words, "--scale", 1)
    completed(*words)
    after = written(out)
    assert len(after) == 200
    assert kept.items() <= after.items()
    assert len(table(out / "manifest.csv")) == 200
    assert "2 of 2 slides are cut already" in completed(*words)[1]


def test_one_line_and_nothing_lost(study, tmp_path, completed, refused):
    folder, out, patients, empty = (
        study / "slides",
        *(tmp_path / name for name in ("out", "patients.csv", "empty")),
    )
    slides = sorted(folder.rglob("*.tif"))
    one, away = slides[0], draw(tmp_path, outline("a", box(5000, 0, 6000, 900)))
    empty.mkdir()
    patients.write_text("Slide,Patient ID\nP1-b.svs,07\nP2-a,08\n")
    both = tmp_path / "both.csv"
    both.write_text("slide,patient\nP1-b.tif,07\nP1-b,08\n")
    twins = [write_slide(tmp_path / name / "same.tif", (600, 600), {}) for name in ("x", "y")]
    # of a file, its name counts
    for words, why in (
        ((tmp_path / "none.svs",), "no such slide"),
        ((empty,), "no slide in this folder"),
        (
            (*twins, tmp_path / "x" / ".." / "x" / "same.tif"),
            "x/same.tif: give each slide a name of its own",
        ),
        (twins, f"{twins[1]}: the same slide as x_same; give it once"),
        ((folder, "--annotations", away), "give a folder with a file a slide (P1-b.geojson)"),
        ((one, "--annotations", away), "is outside P1-b.tif (2000 x 1300 pixels)"),
        ((one, "--scale", 0.25), "its pixels are 0.5 micrometres wide, more than --scale 0.25"),
        ((one, "--field", 10, "--scale", 1), "fields of 10 pixels; give 32 to 9,000"),
        ((folder, "--group-from", "Q(.)"), "--group-from Q(.): names no patient of 4 slides"),
        (
            (one, "--group-from", "P1/"),
            "names no patient of 1 slide: P1-b",
        ),
        ((one, "--patients", both), f"{both}: patient of P1-b is '08' and '07'; keep one row"),
        ((folder, "--patients", patients), "names no patient of 2 slides: P1-ä 1, P2-b"),
        ((one, "--group-from", 1, "--patients", patients), "give one of them"),
    ):
        assert why in refused("slides cut --out", out, *words)
    assert not out.exists()
    ignored = tmp_path / "ignored"
    words = ("--group-from", "none", "--field", 200, "--out", ignored)
    completed("slides cut", folder, *words)
    assert {row["group"] for row in table(ignored / "manifest.csv")} == {
        row["wsi"] for row in table(ignored / "manifest.csv")
    }
    shutil.rmtree(ignored)
    completed("slides cut", one, *words, "--patients", patients)
    assert {row["group"] for row in table(ignored / "manifest.csv")} == {"07"}
    words = ("--field", 200, "--out", out, "--jpeg")
    completed("slides cut", one, *words, "--patients", patients)
    completed("slides cut", slides[2], *words, "--patients", patients)  # slides may join later
    copied = shutil.copy(one, tmp_path / "copied.tif")
    assert f"{copied}: the same slide as P1-b" in refused("slides cut", copied, *words)
    assert "0 fields: none" in completed("slides cut {} --field 600 --out T/no --dry-run", one)[0]
    rows = table(out / "manifest.csv")
    assert [(row["group"], row["path"][-4:]) for row in rows] == [("07", ".jpg")] * 3 + [
        ("08", ".jpg")
    ] * 3
    assert "field 200.0 -> 210.0" in refused("slides cut {} --field 210 --out {} --jpeg", one, out)
    shutil.copy(slides[3], tmp_path / "P1-b.tif")
    assert "another slide was cut into" in refused("slides cut T/P1-b.tif", *words)
    assert table(out / "manifest.csv") == rows
    completed("slides cut T/P1-b.tif", *words, "--overwrite")
    assert [row["group"] for row in table(out / "manifest.csv")] == ["P1-b"] * 3


def test_what_is_damaged_is_left_out_with_its_place(tmp_path, refused, cli, monkeypatch):
    def refuse(slide):
        raise AssertionError("the label of a slide was read")

    monkeypatch.setattr(openslide.OpenSlide, "associated_images", property(refuse))
    folder, out = tmp_path / "Mappe mit Umlaut ä", tmp_path / "out"
    for seed, name in enumerate(("x/same.tif", "y/same.tif", "torn.tif"), 1):
        tissue_slide(folder / name, 1024, 1024, seed)
    damage(folder / "torn.tif", 5)
    (folder / "text.svs").write_text("no slide")
    words = ("slides cut {} --field 128 --out", folder, out)
    err = refused(*words)
    assert "image file); copy the slide again" in err
    assert not out.exists()
    (folder / "text.svs").rename(folder / "text.txt")
    code, _, err = cli(*words)
    assert code == 1
    assert "torn.tif: damaged at x 256, y 256 (256 x 256 pixels of level 0)" in err
    code, printed, err = cli(*words, "--skip-errors")
    assert (code, printed.split(",")[0], printed.split()[9]) == (1, "3 slides of 3 patients", "47")
    assert {row["wsi"] for row in table(out / "manifest.csv")} == {"x_same", "y_same", "torn"}
    assert [row["image_id"] for row in table(out / "failures.csv")] == ["torn_256_256"]
    err = cli("slides cut {} --field 128 --scale 0.1 --out T/no --skip-errors", folder)[2]
    reason = err.partition("none of the slides can be used; first: ")[2].partition("\n")[0]
    assert reason.endswith("give a larger --scale")
