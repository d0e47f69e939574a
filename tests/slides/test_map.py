"""`bchisto slides map`: tiles are predicted as images are, and laid over the slide as QuPath reads them."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bchisto.apps.slides.overlay import TileMap
from bchisto.apps.slides.tiles import TileGrid
from engine_jobs import contents
from job_chain import wait
from PIL import Image

pytest.importorskip("openslide")
pytest_plugins = ("slide_files",)

SIDE = 64
"""Pixels of a tile: the largest view of the model."""


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def features_of(path):
    return json.loads(path.read_text(encoding="utf-8"))["features"]


@pytest.fixture(scope="session")
def slide(write_slide, stained, names, tmp_path_factory):
    """A slide of 12 x 9 tiles of a class on the left, with 3 x 3 of the other inside, and 12 x 9 of it on the right."""
    first, second = names
    images = {
        (SIDE, SIDE): stained(first, 12 * SIDE, 9 * SIDE),
        (13 * SIDE, SIDE): stained(second, 12 * SIDE, 9 * SIDE),
        (4 * SIDE, 4 * SIDE): stained(second, 3 * SIDE, 3 * SIDE),
    }
    return write_slide(tmp_path_factory.mktemp("slides") / "S 1 ü.tif", (27 * SIDE, 12 * SIDE + 20), images)


@pytest.fixture(scope="session")
def mapped(start, model, slide, tmp_path_factory):
    """The map of the slide by one process, and what it printed."""
    out = tmp_path_factory.mktemp("mapped") / "out"
    process = start("slides", "map", model, slide, "--out", out, "--jobs", 1)
    printed, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out, printed, err


def test_fields_are_found_where_they_were_pasted(mapped, names):
    out, printed, err = mapped
    assert printed.endswith("216 tiles of 1 slide\n")
    assert "tiles have --field 32 and --scale 0.5" in err
    assert f"wrote {out / 'maps' / 'S 1 ü' / 'index.html'}\n" in err
    rows = table(out / "maps" / "S 1 ü" / "tiles.csv")
    assert len(rows) == 216
    for row in rows:
        column, line = int(row["x"]) // SIDE, int(row["y"]) // SIDE
        inner = 4 <= column < 7 and 4 <= line < 7
        assert (row["predicted"], float(row["size"])) == (names[column >= 13 or inner], SIDE)
        assert row["image_id"] == f"S 1 ü_{row['x']}_{row['y']}"
        assert {row["uncertain"], row["outlier"]} <= {"yes", "no"}


def test_a_tile_is_predicted_as_its_field_is(mapped, model, slide, tmp_path, completed, names):
    completed("slides", "cut", slide, "--out", tmp_path / "cut", "--field", 32)
    manifest = tmp_path / "cut" / "manifest.csv"
    completed("predict", model, "--images", manifest, "--out", tmp_path / "p.csv", "--jobs", 1)
    tiles = {row["image_id"]: row for row in table(mapped[0] / "maps" / "S 1 ü" / "tiles.csv")}
    fields = table(tmp_path / "p.csv")
    assert len(fields) == len(tiles)
    for row in fields:
        tile = tiles[row["image_id"].rpartition("/")[2].removesuffix(".png")]
        same = [*(f"p_{name}" for name in names), "predicted", "trained", "outlier", "outlier_percentile", "called"]
        assert [tile[column] for column in same] == [row[column] for column in same]


def check_geojson(path, names):
    """Check a file by the rules of QuPath's sources and by shapely; return class to the union of its polygons."""
    import shapely
    from shapely.geometry import shape

    polygons = {name: [] for name in names}
    for feature in features_of(path):
        assert set(feature) == {"type", "geometry", "properties"}
        properties = feature["properties"]
        assert set(properties) == {"objectType", "classification", "measurements"}
        assert properties["objectType"] == {"tiles": "tile", "regions": "annotation"}[path.stem]
        assert set(properties["classification"]) == {"name", "color"}  # QuPath takes either only with the other
        assert all(isinstance(part, int) and 0 <= part <= 255 for part in properties["classification"]["color"])
        assert all(type(value) in (int, float) for value in properties["measurements"].values())
        assert all(ring[0] == ring[-1] and len(ring) >= 5 for ring in feature["geometry"]["coordinates"])
        polygons[properties["classification"]["name"]].append(shape(feature["geometry"]))
    assert all(polygon.is_valid for own in polygons.values() for polygon in own)
    unions = {name: shapely.union_all(own) for name, own in polygons.items()}
    for name, own in polygons.items():
        assert sum(polygon.area for polygon in own) == pytest.approx(unions[name].area)  # none lies over another
    return polygons, unions


def test_regions_are_those_of_the_tiles_as_qupath_reads_them(mapped, names):
    folder = mapped[0] / "maps" / "S 1 ü"
    tiles, whole = check_geojson(folder / "tiles.geojson", names)
    regions, joined = check_geojson(folder / "regions.geojson", names)
    assert [len(tiles[name]) for name in names] == [99, 117]
    assert [len(regions[name]) for name in names] == [1, 2]
    assert [len(regions[names[0]][0].interiors), joined[names[0]].bounds] == [1, (SIDE, SIDE, 13 * SIDE, 10 * SIDE)]
    assert all(joined[name].equals(whole[name]) for name in names)
    measured = features_of(folder / "tiles.geojson")[0]["properties"]["measurements"]
    assert [*measured][:2] == [f"p {name}" for name in names]
    assert sum([*measured.values()][:2]) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(8))
def test_polygons_of_noise_are_valid(seed, tmp_path):
    """Of tiles that touch at corners, leave holes, and reach beyond the slide, with a side that is no whole number."""
    rng, names, side = np.random.default_rng(seed), ("a", "b", "c"), 63.4
    places = [(x, y) for y in range(14) for x in range(17) if rng.random() < 0.8]
    raw = rng.dirichlet(np.ones(3), len(places))
    predicted = [names[place] for place in raw.argmax(axis=1)]
    tiles = [
        SimpleNamespace(predicted=name, unsure=None, confidence=0.5, place=at) for at, name in enumerate(predicted)
    ]
    shown = SimpleNamespace(table=SimpleNamespace(classes=names, predicted=predicted), raw=raw, outliers=None)
    corners = tuple((round(x * side), round(y * side)) for x, y in places)
    grid = TileGrid("s", tmp_path, "", None, 0.5, 100, corners)
    slide = SimpleNamespace(width=1050, height=870, mpp=50 / side)
    overlay = TileMap(slide, grid, 0.0, shown, tiles)
    areas = []
    for name, features in (("tiles", overlay.tile_features()), ("regions", overlay.region_features())):
        (tmp_path / f"{name}.geojson").write_text(json.dumps({"features": [*features]}))
        areas.append(check_geojson(tmp_path / f"{name}.geojson", names)[1])
    assert all(areas[0][name].equals(areas[1][name]) for name in names)
    assert max(area.bounds[2] for area in areas[0].values()) <= 1050
    assert max(area.bounds[3] for area in areas[0].values()) <= 870


def test_the_page_and_the_picture(mapped, names):
    folder = mapped[0] / "maps" / "S 1 ü"
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "It is not a diagnosis" in page
    assert "known only if <code>bchisto evaluate</code> was given labels of slides" in page
    assert "default-src 'none'; img-src data:" in unescape(page)
    assert "<b>" not in page
    assert not re.search(r"(src|href)=\"(?!data:|#content|map.png|tiles.csv|tiles.geojson|regions.geojson)", page)
    assert page.count('<figure><img src="data:image/jpeg') == 12
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert facts["Tissue"] == "0.221 mm2"
    assert facts["Tiles"] == "216 of 32 micrometres, 0.5 a pixel"
    assert [facts[key] for key in facts if key.startswith("Share")] == ["45.8 %", "54.2 %"]
    with Image.open(folder / "map.png") as picture:
        pixels = np.asarray(picture).astype(int)
    assert pixels.shape[1] > 1400
    tile = pixels.shape[1] / 27
    at = (slice(round(first * tile), round(last * tile)) for first, last in ((3, 9), (2, 3), (16, 20)))
    rows, *columns = at
    left, right = (pixels[rows, column].mean(axis=(0, 1)) for column in columns)
    assert left[2] > left[0]  # the blue of the first class, and the red of the second
    assert right[0] > right[2]


def words_of(model, slide, out):
    return ["slides", "map", model, slide, "--out", out]


def test_killed_and_resumed_shards_and_processes_give_the_same(mapped, model, slide, tmp_path, cli, completed):
    whole = contents(mapped[0])
    killed, divided, several = (tmp_path / name for name in ("killed", "divided", "several"))
    command = [sys.executable, "-m", "engine_jobs", "2", "SIGKILL", "before", *words_of(model, slide, killed)]
    assert subprocess.run([*map(str, command), "--jobs", "1"]).returncode == -signal.SIGKILL
    assert len(list((killed / "blocks").glob("*.npz"))) == 1
    code, out, err = cli("status", killed)
    assert (code, "map: interrupted" in out, "blocks done: 1 of 4" in out) == (1, True, True), out
    _, err = completed(*words_of(model, slide, killed), "--jobs", 1)
    assert "1 of 4 blocks are predicted already" in err
    assert contents(killed) == whole
    for number in (2, 1):
        out, _ = completed(*words_of(model, slide, divided), "--jobs", 1, "--shard", f"{number}/2")
    assert out == "shard 1/2 has 2 of 4 blocks; 4 of 4 done\n"
    assert not (divided / "maps").exists()
    _, err = completed(*words_of(model, slide, divided), "--jobs", 1)
    assert "4 of 4 blocks are predicted already" in err
    assert contents(divided) == whole
    completed(*words_of(model, slide, several), "--jobs", 2)
    assert contents(several) == whole
    assert cli(*words_of(model, slide, several), "--check")[0] == 4
    (folder,) = several.glob("maps/*")
    (folder / "tiles.csv").unlink()
    _, err = completed("slides", "map", "--config", several / "run.json", model, slide, "--out", several, "--overwrite")
    assert "already" not in err
    assert contents(several) == whole


@pytest.mark.slow
def test_workers_of_dask_give_the_same(dask, mapped, model, slide, tmp_path, completed):
    import distributed

    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        completed(*words_of(model, slide, tmp_path / "out"), "--dask", cluster.scheduler_address)
    assert contents(tmp_path / "out") == contents(mapped[0])


@pytest.mark.parametrize("scheduler", ["local", pytest.param("slurm", marks=pytest.mark.slow)])
def test_a_submitted_map_ends_as_one_process_does(scheduler, request, mapped, model, slide, tmp_path, completed, cli):
    run, at = tmp_path / "run", ("submit", "--scheduler", scheduler, "--tasks", 2, "--")
    if scheduler == "slurm":
        request.getfixturevalue("slurm")
    out, _ = completed(*at, *words_of(model, slide, run))
    assert out.splitlines()[0] == "map: 2 tasks of 2 and a merge; 4 blocks"
    wait(lambda: cli("status", run)[0] != 3, 400)
    assert cli("status", run)[1].splitlines()[0] == f"{run}: done"
    found = {path: of for path, of in contents(run).items() if not path.startswith("jobs/")}
    assert found == contents(mapped[0])
    assert cli(*at, *words_of(model, slide, run))[:2] == (4, "nothing is missing\n")
    code, _, err = cli(*at, "slides", "cut", slide, "--out", tmp_path / "cut")
    assert (code, "'slides': each stage begins with one of" in err, "slides map" in err) == (2, True, True)


def test_what_cannot_be_mapped_is_refused_with_one_line(model, slide, tmp_path, write_slide, refused, cli, described):
    out = tmp_path / "out"
    bare = write_slide(tmp_path / "bare.tif", (600, 600), {}, mpp=None)
    for words, told in (
        ((model, bare), "does not state its micrometres per pixel"),
        ((model, slide, "--scale", 0.25), "its pixels are 0.5 micrometres wide, more than --scale 0.25; give"),
        (
            (model, slide, "--field", 24),
            "--field 24: a tile: 48x48 at scale 1.0 is smaller than the crop of 64; give a",
        ),
        ((model, slide, "--labels", tmp_path / "no.csv"), "no.csv"),
        ((model, tmp_path / "no.tif"), "no.tif: no such slide"),
        ((tmp_path, slide), "no model.bchisto in this folder"),
    ):
        assert told in refused("slides", "map", *words, "--out", out)
        assert not out.exists()
    code, _, err = cli("slides", "map", model, bare, slide, "--out", out, "--skip-errors", "--jobs", 1)
    assert (code, "1 image was left out, listed in" in err) == (1, True)
    assert table(out / "failures.csv")[0]["image_id"] == "bare"
    assert "made with other settings: field 32" in refused("slides", "map", model, slide, "--out", out, "--field", 64)
    twin = write_slide(tmp_path / "other" / slide.name, (600, 600), {})
    completed = cli("slides", "map", model, slide, twin, "--out", out, "--jobs", 1)
    assert completed[0] == 0
    assert "no tile has enough tissue (--tissue 0.5)" in completed[2]
    ids = {row["image_id"] for row in table(out / "slides.csv")}
    assert ids == {f"other_{slide.stem}", f"{slide.parent.name}_{slide.stem}"}
    assert table(out / "maps" / f"other_{slide.stem}" / "tiles.csv") == []
    empty = [row for row in table(out / "slides.csv") if row["tiles"] == "0"]
    assert [(row["image_id"], row["label"]) for row in empty] == [(f"other_{slide.stem}", "")]


def test_a_model_of_embeddings_is_refused(slide, tmp_path, described, refused, completed):
    store = tmp_path / "embedded.npz"
    completed("features", "export", described / "features" / "tiny-1.0-64.h5", "--out", store)
    completed("boost", "--features", store, "--out", tmp_path / "run", "--folds", 3, "--head", "logistic", "--jobs", 1)
    told = refused("slides", "map", tmp_path / "run", slide, "--out", tmp_path / "out")
    assert "was trained on embeddings from files" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_network_is_moved_over_slides_too(slide, tissue, tmp_path, completed):
    run, words = tmp_path / "run", ("--network", "speck", "--folds", 3, "--epochs", 1, "--batch-size", 4)
    completed("finetune", "--images", tissue, "--out", run, *words, "--jobs", 1)
    _, err = completed("slides", "map", run, slide, "--out", tmp_path / "out", "--field", 64, "--jobs", 1)
    assert "tiles have --field 64 and --scale 0.5" in err
    rows = table(tmp_path / "out" / "maps" / slide.stem / "tiles.csv")
    assert len(rows) > 40
    completed("slides", "cut", slide, "--out", tmp_path / "cut", "--field", 64)
    fields = ("--images", tmp_path / "cut" / "manifest.csv", "--out", tmp_path / "p.csv")
    completed("predict", run, *fields, "--jobs", 1)
    tiles = {row["image_id"]: row["p_malignant"] for row in rows}
    for row in table(tmp_path / "p.csv"):
        assert tiles[row["image_id"].rpartition("/")[2].removesuffix(".png")] == row["p_malignant"]


def test_a_damaged_tile_is_left_out(model, slide, tmp_path, cli, refused):
    """Bytes of a tile of level 0 are overwritten; other levels hold."""
    import tifffile

    broken = Path(shutil.copy(slide, tmp_path / "broken.tif"))
    with tifffile.TiffFile(slide) as file:
        page = file.pages[0]
        at = (5 * SIDE // 256) * -(-page.imagewidth // 256) + 5 * SIDE // 256
        offset, count = page.dataoffsets[at], page.databytecounts[at]
    with broken.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * count)
    out = tmp_path / "out"
    words = ("slides", "map", model, broken, "--out", out, "--jobs", 1)
    code, _, err = cli(*words)
    assert (code, f"{broken}: damaged at x" in err.splitlines()[-1]) == (1, True)
    code, printed, _ = cli(*words, "--skip-errors")
    failures = table(out / "failures.csv")
    assert 9 <= len(failures) <= 25  # a tile of the file has the pixels of 16 tiles, and of parts of others
    assert (code, printed.splitlines()[-1]) == (1, f"{216 - len(failures)} tiles of 1 slide")
    assert all(row["image_id"].startswith("broken_") and "damaged at" in row["error"] for row in failures)
    page = (out / "maps" / "broken" / "index.html").read_text(encoding="utf-8")
    assert page.count("<li><strong>broken_") == len(failures)
