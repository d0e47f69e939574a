"""`bchisto slides map`: tiles are predicted as images are, laid over the slide as QuPath reads them, and evaluated."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from bchisto.apps.slides.overlay import Colouring
from bchisto.data import ImageSelection
from bchisto.evaluate import TwoClassView
from bchisto.predict.settings import OperatingPoint
from conftest import typed
from engine_jobs import contents
from job_chain import end, wait
from packs import LINEAR, featurize_here, model_file, train_small
from page_server import serving
from PIL import Image
from slide_files import NAMES, damage, overlay_of, stained, table, write_images, write_slide
from written_tables import read_json

pytest.importorskip("openslide")
pytestmark = pytest.mark.slow

SIDE = 64
"""Pixels of a tile: the largest view of the model."""


@pytest.fixture(scope="session")
def model(tmp_path_factory, tiny_settings):
    """The file of a small model of fields of these classes, of 0.5 micrometres a pixel."""
    root = tmp_path_factory.mktemp("model")
    settings = replace(tiny_settings, stain="none", color_range=(1.0, 1.0))
    images = ImageSelection(write_images(root, count=24), classes=NAMES)
    featurize_here(images, root / "run", settings)
    train_small(root / "run", "2", view=TwoClassView(positive=NAMES[1:]), **LINEAR)
    return model_file(root / "run")


@pytest.fixture(scope="session")
def slide(tmp_path_factory):
    """A slide of 12 x 9 tiles of a class on the left, with 3 x 3 of the other inside, and 12 x 9 of it on the right."""
    first, second = NAMES
    images = {
        (SIDE, SIDE): stained(first, 12 * SIDE, 9 * SIDE),
        (13 * SIDE, SIDE): stained(second, 12 * SIDE, 9 * SIDE),
        (4 * SIDE, 4 * SIDE): stained(second, 3 * SIDE, 3 * SIDE),
    }
    return write_slide(
        tmp_path_factory.mktemp("slides") / "S 1 ü.tif", (27 * SIDE, 12 * SIDE + 20), images
    )


@pytest.fixture(scope="session")
def words_of(model, slide):
    """Return a function that gives the words of a map by its folder; of this slide, unless others are named."""
    return lambda out, slides=slide: typed("slides map {} {} --out {}", model, slides, out)


@pytest.fixture(scope="session")
def mapped(start, words_of, tmp_path_factory):
    """The map of the slide by one process, and what it printed."""
    out = tmp_path_factory.mktemp("mapped") / "out"
    return out, *end(start(*words_of(out), "--jobs", 1))


def test_a_tile_is_predicted_as_its_field_is(mapped, model, slide, tmp_path, completed):
    completed("slides cut {} --out T/cut --field 32", slide)
    manifest = tmp_path / "cut" / "manifest.csv"
    completed("predict {} --images {} --out T/p.csv --jobs 1", model, manifest)
    tiles = {row["image_id"]: row for row in table(mapped[0] / "maps" / "S 1 ü" / "tiles.csv")}
    fields = table(tmp_path / "p.csv")
    assert len(fields) == len(tiles)
    for row in fields:
        tile = tiles[row["image_id"].rpartition("/")[2].removesuffix(".png")]
        same = [
            *(f"p_{name}" for name in NAMES),
            "predicted",
            "trained",
            "outlier",
            "outlier_percentile",
            "called",
        ]
        assert [tile[column] for column in same] == [row[column] for column in same]


def test_killed_and_resumed_shards_and_processes_give_the_same(
    mapped, words_of, slide, model, tmp_path, cli, completed
):
    whole = contents(mapped[0])
    killed, divided, several = (tmp_path / name for name in ("killed", "divided", "several"))
    command = [
        sys.executable,
        "-m",
        "engine_jobs",
        "2",
        "SIGKILL",
        "before",
        *words_of(killed),
    ]
    assert subprocess.run([*map(str, command), "--jobs", "1"]).returncode == -signal.SIGKILL
    assert len(list((killed / "blocks").glob("*.npz"))) == 1
    code, out, err = cli("status", killed)
    assert code == 1, out
    assert "map: interrupted" in out, out
    assert "blocks done: 1 of 4" in out, out
    _, err = completed(*words_of(killed), "--jobs", 1)
    assert "1 of 4 blocks are predicted already" in err
    assert contents(killed) == whole
    for number in (2, 1):
        out, _ = completed(*words_of(divided), "--jobs", 1, "--shard", f"{number}/2")
    assert out == "shard 1/2 has 2 of 4 blocks; 4 of 4 done\n"
    assert not (divided / "maps").exists()
    _, err = completed(*words_of(divided), "--jobs", 1)
    assert "4 of 4 blocks are predicted already" in err
    assert contents(divided) == whole
    completed(*words_of(several), "--jobs", 2)
    assert contents(several) == whole
    assert cli(*words_of(several), "--check")[0] == 4
    _, err = completed(
        "slides map --config {} {} {} --out {} --overwrite",
        several / "run.json",
        model,
        slide,
        several,
    )
    assert "already" not in err
    assert contents(several) == whole


@pytest.mark.slow
def test_workers_of_dask_give_the_same(dask, mapped, words_of, tmp_path, completed):
    import distributed

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        completed(*words_of(tmp_path / "out"), "--dask", cluster.scheduler_address)
    assert contents(tmp_path / "out") == contents(mapped[0])


@pytest.mark.parametrize("scheduler", ["local", "slurm"])
def test_a_submitted_map_ends_as_one_process_does(
    scheduler, request, mapped, words_of, tmp_path, completed, cli
):
    run, at = tmp_path / "run", ("submit", "--scheduler", scheduler, "--tasks", 2, "--")
    if scheduler == "slurm":
        request.getfixturevalue("slurm")
    out, _ = completed(*at, *words_of(run))
    assert out.splitlines()[0] == "map: 2 tasks of 2 and a merge; 4 blocks"
    wait(lambda: cli("status", run)[0] != 3, 400)
    assert cli("status", run)[1].splitlines()[0] == f"{run}: done"
    found = {path: of for path, of in contents(run).items() if not path.startswith("jobs/")}
    assert found == contents(mapped[0])
    assert cli(*at, *words_of(run))[:2] == (4, "nothing is missing\n")


def test_a_slide_that_is_gone_leaves_the_table(words_of, slide, tmp_path, completed, cli):
    (tmp_path / "slides").mkdir()
    for name in "ab":
        shutil.copy(slide, tmp_path / "slides" / f"{name}{slide.suffix}")
    words = (
        "submit --scheduler local --tasks 1 --",
        *words_of(tmp_path / "run", tmp_path / "slides"),
    )
    completed(*words)
    (tmp_path / "slides" / f"b{slide.suffix}").unlink()
    completed(*words)
    assert {row["image_id"] for row in table(tmp_path / "run" / "slides.csv")} == {"a"}
    shutil.rmtree(tmp_path / "run" / "maps" / "a")
    completed(*words)
    assert (tmp_path / "run" / "maps" / "a" / "index.html").is_file()


def test_a_check_tells_what_changed(mapped, words_of, slide, tmp_path, cli):
    """Labels and patients, and files of a map that are gone; so that a submission does them."""
    out = Path(shutil.copytree(mapped[0], tmp_path / "out"))
    words = words_of(tmp_path / "out")
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("slide", "label", "patient"), (slide.stem, NAMES[0], 7)])
    changes = (
        ("--labels", tmp_path / "a.csv"),
        ("--patients", tmp_path / "a.csv"),
        ("--group-from", "."),
    )
    assert [cli(*words, *change, "--check")[0] for change in ((), *changes)] == [4, 0, 0, 0]
    (out / "maps" / slide.stem / "regions.geojson").unlink()
    assert cli(*words, "--check")[0] == 0


def test_micrometres_of_a_slide_decide(model, tmp_path, completed):
    bare = write_slide(
        tmp_path / "a.tif",
        (400, 400),
        {(0, 0): stained(NAMES[1], 400, 400)},
        mpp=None,
        factors=(1,),
    )
    map_it = "slides map {} {} --out T/out --field 300 --scale 0.5 --tissue 0.1 --jobs 1"
    for mpp in (0.5, 0.4):
        assert "already" not in completed(f"{map_it} --mpp {mpp}", model, bare)[1]


def test_fields_are_found_where_they_were_pasted(mapped):
    out, printed, err = mapped
    assert printed.endswith("216 tiles of 1 slide\n")
    # as the training images, which the model file tells
    assert "tiles have" not in err
    assert "training images" not in err
    rows = table(out / "maps" / "S 1 ü" / "tiles.csv")
    assert len(rows) == 216
    for row in rows:
        column, line = int(row["x"]) // SIDE, int(row["y"]) // SIDE
        inner = 4 <= column < 7 and 4 <= line < 7
        assert (row["predicted"], float(row["size"])) == (NAMES[column >= 13 or inner], SIDE)
        assert {row["uncertain"], row["outlier"]} <= {"yes", "no"}


def polygons_of(path):
    """Check a file by the rules of QuPath's sources and by shapely; return polygons and their union of each class."""
    import shapely

    polygons = {}
    for feature in read_json(path)["features"]:
        properties, rings = feature["properties"], feature["geometry"]["coordinates"]
        assert (set(feature), len(properties)) == ({"type", "geometry", "properties"}, 3)
        assert properties["objectType"] == {"tiles": "tile", "regions": "annotation"}[path.stem]
        named = properties["classification"]  # QuPath takes name and colour only together
        assert (set(named), [0 <= part <= 255 for part in named["color"]]) == (
            {"name", "color"},
            [True] * 3,
        )
        assert all(type(value) in (int, float) for value in properties["measurements"].values())
        assert all(ring[0] == ring[-1] and len(ring) >= 5 for ring in rings)
        polygons.setdefault(named["name"], []).append(shapely.geometry.shape(feature["geometry"]))
    assert all(polygon.is_valid for own in polygons.values() for polygon in own)
    unions = {name: shapely.union_all(own) for name, own in polygons.items()}
    for name, own in polygons.items():
        # none lies over another
        assert sum(polygon.area for polygon in own) == pytest.approx(unions[name].area)
    return polygons, unions


def test_regions_are_those_of_the_tiles_as_qupath_reads_them(mapped):
    folder = mapped[0] / "maps" / "S 1 ü"
    (tiles, whole), (regions, joined) = (
        polygons_of(folder / f"{name}.geojson") for name in ("tiles", "regions")
    )
    assert [(len(tiles[name]), len(regions[name])) for name in NAMES] == [(99, 1), (117, 2)]
    assert [len(regions[NAMES[0]][0].interiors), joined[NAMES[0]].bounds] == [
        1,
        (SIDE, SIDE, 13 * SIDE, 10 * SIDE),
    ]
    assert all(joined[name].equals(whole[name]) for name in NAMES)


def coloured(names):
    return Colouring(names[-1:], "sum", (), {})


@pytest.mark.parametrize("seed", range(3))
def test_polygons_of_noise_are_valid(seed, tmp_path):
    """Of tiles that touch at corners, leave holes, and reach beyond the slide, with a side that is no whole number."""
    rng = np.random.default_rng(seed)
    places = [(x, y) for y in range(14) for x in range(17) if rng.random() < 0.8]
    overlay = overlay_of(
        rng.dirichlet(np.ones(3), len(places)),
        coloured("abc"),
        "abc",
        places=places,
        side=63.4,
        size=(1050, 870),
    )
    areas = []
    for name, features in (
        ("tiles", overlay.tile_features()),
        ("regions", overlay.region_features()),
    ):
        (tmp_path / f"{name}.geojson").write_text(json.dumps({"features": [*features]}))
        areas.append(polygons_of(tmp_path / f"{name}.geojson")[1])
    assert all(areas[0][name].equals(areas[1][name]) for name in "abc")
    assert np.max([area.bounds[2:] for area in areas[0].values()], axis=0).tolist() == [1050, 870]


def test_rules_by_hand():
    """Three tiles in a row, of which the last is apart; of four classes, two are positive."""
    raw = np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.4, 0.1, 0.1], [0.2, 0.2, 0.0, 0.6]])
    overlay = overlay_of(raw, coloured("abcd"), "abcd", places=[(0, 0), (1, 0), (5, 0)])
    point = OperatingPoint(tuple("abcd"), "cd", "sum", 0.5)
    scores = overlay.scores(point)
    assert [*scores] == ["mean", "share", "peak"]
    np.testing.assert_allclose(scores["mean"], raw.mean(axis=0))
    assert scores["share"][2:].sum() == pytest.approx(2 / 3)  # 0.7 and 0.6, and not 0.2
    assert scores["peak"][2:].sum() == pytest.approx(0.6)  # the mean of 0.7 and 0.2, and 0.6
    assert [(of.sum(), of[3] / of[2]) for of in scores.values()] == [
        pytest.approx((1, 1.1 / 0.4))
    ] * 3
    assert [*overlay.scores(None)] == ["mean"]
    assert np.isnan(overlay_of(raw[:0], coloured("abcd"), "abcd").scores(point)["mean"]).all()


def test_the_page_and_the_picture(mapped):
    folder = mapped[0] / "maps" / "S 1 ü"
    page = (folder / "index.html").read_text()
    assert "nothing on this page is a diagnosis" in page
    assert "default-src 'none'; img-src data:" in unescape(page)
    assert "<b>" not in page
    assert not re.search(
        r"(src|href)=\"(?!data:|#content|map.png|heat.png|tiles.csv|tiles.geojson|regions.geojson)",
        page,
    )
    assert page.count('<figure><img src="data:image/jpeg') == 12
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert (facts["Tissue"], facts["Tiles"]) == ("0.221 mm2", "216 of 32 micrometres, 0.5 a pixel")
    (lead,) = re.findall('<p class="lead">(.*?)</p>', page)
    assert re.findall("[0-9.]+ %", lead) == ["45.8 %", "54.2 %"]
    with Image.open(folder / "map.png") as picture:
        pixels = np.asarray(picture).astype(int)
    tile = pixels.shape[1] / 27
    left, right = (
        pixels[round(3 * tile) : round(9 * tile), round(at * tile)].mean(axis=0) for at in (2, 18)
    )
    assert left[2] > left[0]  # the blue of the first class, and the red of the second
    assert right[0] > right[2]


def test_what_cannot_be_mapped_is_refused_with_one_line(model, slide, tmp_path, refused, cli):
    out, labels = tmp_path / "out", tmp_path / "labels.csv"
    bare = write_slide(tmp_path / "bare.tif", (600, 600), {}, mpp=None)
    labels.write_text(f"slide,label\n{slide.stem},other\n")
    none, both = tmp_path / "none.csv", tmp_path / "both.csv"
    none.write_text("slide,label\nS2,other\n")
    both.write_text(f"slide,label\n{slide.stem},a\n{slide.name},b\n")
    small = "--field 24: a tile: 48x48 at scale 1.0 is smaller than the crop of 64; give a"
    for words, told in (
        ((model, bare), "does not state its micrometres per pixel"),
        ((model, slide, "--field", 24), small),
        ((model, slide, "--labels", tmp_path / "no.csv"), "no.csv"),
        (
            (model, slide, "--labels", labels),
            f"--labels {labels}: other is not a class of the model",
        ),
        ((model, slide, "--labels", none), f"{none}: names no label of 1 slide: {slide.stem}"),
        (
            (model, slide, "--labels", both),
            f"{both}: label of {slide.stem} is 'a' and 'b'; keep one row",
        ),
        ((model, tmp_path / "no.tif"), "no.tif: no such slide"),
        ((tmp_path, slide), "no model.bchisto in this folder"),
    ):
        assert told in refused("slides map", *words, "--out", out)
        assert not out.exists()
    code, _, err = cli(
        "slides map {} {} {} --out {} --skip-errors --jobs 1", model, bare, slide, out
    )
    assert code == 1
    assert "1 image was left out, listed in" in err
    assert table(out / "failures.csv")[0]["image_id"] == "bare"
    assert "made with other settings: field 32" in refused(
        "slides map {} {} --out {} --field 64", model, slide, out
    )


@pytest.mark.slow
def test_a_network_is_moved_over_slides_too(slide, tissue, tmp_path, completed):
    run = tmp_path / "run"
    completed(
        "finetune --images {} --out {} --network speck --folds 3 --epochs 1 --batch-size 4 --jobs 1",
        tissue,
        run,
    )
    _, err = completed("slides map {} {} --out T/out --field 64 --jobs 1", model_file(run), slide)
    assert "tiles have --field 64 and --scale 0.5" in err
    assert "tiles have 128 pixels a side, and the training images 96; leave --field out" in err
    assert len(table(tmp_path / "out" / "maps" / slide.stem / "tiles.csv")) > 40


def test_a_damaged_tile_is_left_out(model, slide, tmp_path, cli):
    broken, out = Path(shutil.copy(slide, tmp_path / "broken.tif")), tmp_path / "out"
    damage(broken, 1 + -(-27 * SIDE // 256))
    words = ("slides map {} {} --out {} --jobs 1", model, broken, out)
    code, _, err = cli(*words)
    assert code == 1
    assert f"{broken}: damaged at x" in err.splitlines()[-1]
    code, printed, _ = cli(*words, "--skip-errors")
    failures = table(out / "failures.csv")
    # a tile of the file has the pixels of 16 tiles, and of parts of others
    assert 9 <= len(failures) <= 25
    assert (code, printed.splitlines()[-1]) == (1, f"{216 - len(failures)} tiles of 1 slide")
    assert all(
        row["image_id"].startswith("broken_") and "damaged at" in row["error"] for row in failures
    )
    page = (out / "maps" / "broken" / "index.html").read_text()
    assert page.count("<li><strong>broken_") == len(failures)
    # so `submit` has nothing to do
    assert cli(*words, "--skip-errors", "--check", "--shard", "1/1")[0] == 4


@pytest.fixture(scope="module")
def study(words_of, tmp_path_factory, start):
    """Maps of eight slides of four patients, of which one has no tissue, with a table of labels."""
    root = tmp_path_factory.mktemp("study")
    with (root / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [(f"s{number}", NAMES[number % 2]) for number in range(8)]
        csv.writer(file).writerows([("slide_id", "diagnosis"), *rows])
    for number, dark in enumerate((0, 6, 1, 5, 0, 4, 0, 0)):
        image = stained(NAMES[0], 10 * SIDE, 6 * SIDE, seed=number)
        image[: dark * SIDE, : dark * SIDE] = stained(NAMES[1], dark * SIDE, dark * SIDE)
        images = {(SIDE, SIDE): image} if number < 7 else {}
        write_slide(
            root / "slides" / f"P{number // 2}" / f"s{number}.tif", (12 * SIDE, 8 * SIDE), images
        )
    words = ("--labels", root / "labels.csv", "--group-from", -1, "--jobs", 1)
    _, err = end(start(*words_of(root / "out", root / "slides"), *words))
    assert (
        f"next: bchisto evaluate {root / 'out' / 'slides.csv'} --out {root / 'out' / 'evaluation'}"
        in err
    )
    assert "s7.tif: no tile has enough tissue (--tissue 0.5)" in err
    return root


def test_the_table_of_slides_is_evaluated(study, completed, tmp_path):
    rows = table(study / "out" / "slides.csv")
    of = {(row["image_id"], row["model"]): row for row in rows}
    assert {row["group"] for row in rows} == {"P0", "P1", "P2", "P3"}
    positive = [float(of[f"s{number}", "share"][f"p_{NAMES[1]}"]) for number in range(7)]
    np.testing.assert_allclose(
        positive, [dark**2 / 60 for dark in (0, 6, 1, 5, 0, 4, 0)], atol=1e-9
    )
    assert (
        float(of["s1", "peak"][f"p_{NAMES[1]}"]) > 0.95 > float(of["s2", "peak"][f"p_{NAMES[1]}"])
    )
    assert (of["s7", "mean"]["label"], of["s7", "mean"]["tiles"]) == ("", "0")
    completed("evaluate {} --out T/e --positive {}", study / "out" / "slides.csv", NAMES[1])
    tables = read_json(tmp_path / "e" / "metrics.json")["tables"]
    assert [*tables] == ["slides: mean", "slides: share", "slides: peak"]
    peak = tables["slides: peak"]
    assert (peak["accuracy"]["value"], peak["tested"]["n"]) == (1, 7)


def test_the_page_shows_the_maps_and_nothing_else(study, model, start):
    (study / "out" / "secret.txt").write_text("no")
    (study / "out" / "maps" / "link").symlink_to(study)
    with serving(start, model, "--slides", study / "out") as server:
        get = server.client.get
        assert 'href="slides"' in get("/").text
        listed = get("/slides").text
        assert [f's{number}/index.html"' in listed for number in range(8)] == [True] * 8
        page = get("/slides/s1/index.html")
        assert page.status_code == 200
        assert "Map of s1" in page.text
        assert "style-src 'unsafe-inline'" in page.headers["content-security-policy"]
        assert get("/slides/s1/map.png").headers["content-type"] == "image/png"
        assert get("/slides/s1/heat.png").headers["content-type"] == "image/png"
        assert get("/slides/s1/regions.geojson").json()["type"] == "FeatureCollection"
        outside = (
            "..%2Fsecret.txt/x",
            "s1/..%2F..%2Fsecret.txt",
            "s1/..%2F..%2Fslides.csv",
            "%2e%2e/slides.csv",
        )
        for path in (
            *outside,
            "s1/secret.txt",
            "link/labels.csv",
            "nosuch/index.html",
            "link/out/index.html",
        ):
            assert get(f"/slides/{path}").status_code == 404, path


def test_a_map_uses_the_gpu_with_a_model_of_a_cpu(
    slide, tiny_settings, tmp_path, cli, completed, monkeypatch
):
    """As `predict` does, see `tests/predict/test_gpu.py`: only what is seen, and the start of a GPU, are made up."""
    from bchisto.featurize.device import DeviceDescriber

    pytest.importorskip("openvino")
    settings = replace(
        tiny_settings, encoders=("convs",), engine="openvino", augmentations=1, stain="none"
    )
    images = ImageSelection(write_images(tmp_path), classes=NAMES)
    model = tmp_path / "run"
    featurize_here(images, model, settings)
    train_small(model, "2", **LINEAR)
    started = []
    start = DeviceDescriber.start

    def counted(self, scales, drawn):
        started.append(scales)
        return start(self, scales, drawn)

    def show(*gpus):
        for module in ("core.jobs.resources", "featurize.stream", "predict.model_file"):
            monkeypatch.setattr(f"bchisto.{module}.visible_gpus", lambda: gpus)

    def engine(out):
        return read_json(out / "run.json")["records"][-1]["notes"]["engine"]

    monkeypatch.setattr(DeviceDescriber, "start", counted)
    monkeypatch.setattr("bchisto.predict.model_file.GPU_SECONDS", 0.0)
    show("0")
    by_gpu, by_cpu = tmp_path / "gpu", tmp_path / "cpu"
    file = model_file(model)
    on_gpu, on_cpu = (("slides map {} {} --out {}", file, slide, out) for out in (by_gpu, by_cpu))
    # which does not decide
    assert cli(*on_gpu, "--check")[0] == 0
    _, err = completed(*on_gpu)
    assert "Keras leaves the GPU idle" not in err
    assert (len(started), engine(by_gpu)) == (1 + 216, "keras")
    # goes on with it, also where there is none
    show()
    _, err = completed(*on_gpu)
    assert "4 of 4 blocks are predicted already" in err
    started.clear()
    show("0")
    _, err = completed(*on_cpu, "--shard", "1/2")
    said = (
        "Keras leaves the GPU idle: checks, shards, Dask and what was begun on the CPU stay there"
    )
    assert said in err
    _, err = completed(*on_cpu)
    assert said in err
    assert "2 of 4 blocks are predicted already" in err
    assert (started, engine(by_cpu)) == ([], "as trained")
    shares = []
    for out in (by_gpu, by_cpu):
        tiles = table(out / "maps" / "S 1 ü" / "tiles.csv")
        shares.append([float(row[f"p_{NAMES[0]}"]) for row in tiles])
    np.testing.assert_allclose(*shares, atol=0.02)
    _, err = completed(*on_cpu, "--overwrite")
    assert len(started) == 1 + 216
