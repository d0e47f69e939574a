"""The page as programs see it: what it answers, whom it lets in, and what it survives."""

import asyncio
import concurrent.futures
import contextlib
import csv
import html
import io
import json
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import httpx
import pytest
from bchisto.apps.serve.engine import Engine
from bchisto.apps.serve.session import Session, load_models
from bchisto.apps.serve.worker import PageModel, _refuse_too_large
from bchisto.core import BchistoError, InputError
from bchisto.core.formats import limits
from bchisto.core.jobs import Work
from bchisto.data import ImageRecord, read_dataset, with_headers
from bchisto.featurize import featurize
from bchisto.predict import ModelFile, PredictSettings, predict
from fastapi import HTTPException
from packs import ONE_JOB
from page_server import serving
from PIL import Image


@pytest.fixture(scope="module")
def flat(tissue, tmp_path_factory):
    """The images without folders, which would be labels."""
    folder = tmp_path_factory.mktemp("flat")
    for path in tissue.rglob("*.png"):
        shutil.copy(path, folder)
    (folder / "zz.tif").write_text("not an image")
    return folder


@pytest.fixture
def content(tissue_files):
    return tissue_files[0].read_bytes()


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def bomb():
    """A TIFF of 50,000 x 40,000 pixels in some hundred bytes."""
    entries = [
        (256, 4, 1, 50_000),
        (257, 4, 1, 40_000),
        (258, 3, 1, 8),
        (259, 3, 1, 8),
        (262, 3, 1, 1),
        (273, 4, 1, 200),
        (277, 3, 1, 1),
        (278, 4, 1, 40_000),
        (279, 4, 1, 100),
    ]
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return (head + b"".join(struct.pack("<HHII", *entry) for entry in entries) + b"\0" * 4).ljust(
        300, b"\0"
    )


def test_numbers_are_those_of_predict(page, served_model, flat, tmp_path):
    for path in sorted(flat.iterdir()):
        assert page.add(path.name, path.read_bytes()).status_code == 202
    images = page.wait()
    out, sheet = tmp_path / "predictions.csv", PredictSettings(html=tmp_path / "sheet.html")
    predict(
        served_model,
        flat,
        out=out,
        settings=sheet,
        work=Work(jobs=1, skip_errors=True),
    )
    rows = rows_of(out.read_text())
    own = ("mpp", "warnings", "reviewed", "path")
    table = page.table()
    assert [row["path"] for row in table] == [row["image_id"] for row in rows]
    assert [{name: cell for name, cell in row.items() if name not in own} for row in table] == rows
    failures = (tmp_path / "predictions.csv.failures.csv").read_text().replace(f"{flat}/", "")
    assert page.client.get("/api/failures.csv").text == failures
    for row in rows:
        image = images[row["image_id"]]
        assert image["state"] == "done"
        expected = [row["p_benign"], row["p_malignant"]]
        assert [repr(image["probabilities"][name]) for name in ("benign", "malignant")] == expected
        assert max(image["calibrated"].values()) == pytest.approx(image["confidence"])
        assert sum(image["calibrated"].values()) == pytest.approx(1)
        assert image["further"] == {name: row[name] for name in image["further"]}
    assert images["zz.tif"]["error"].startswith("zz.tif: not a TIFF, PNG or JPEG image")

    def without_pictures(text):
        return re.sub(r'src="data:[^"]*"|sha256-[^\']*', "", text)

    shown = page.client.get("/api/predictions.html").text
    assert without_pictures(shown) == without_pictures((tmp_path / "sheet.html").read_text())


def test_ids_are_the_names_on_the_page(page, tissue_files):
    """So one image keeps its id, whatever else is dropped; an equal name in another folder is another image."""
    names = [f"{folder}SOB_B_A-14-22549AB-40-001.png" for folder in ("A/40X/", "A/", "")]
    names += ["P1/img9.png", "P2/img9.png"]
    for name, path in zip(names, tissue_files, strict=False):
        page.add(name, path.read_bytes())
    shown = page.wait()
    rows = page.table()
    assert sorted(row["image_id"] for row in rows) == sorted(names)
    assert "14-22549AB" in {row["group"] for row in rows}
    for row in rows:
        assert row["p_benign"] == repr(shown[row["path"]]["probabilities"]["benign"])


def test_names_of_folders_are_no_labels(page, content):
    """Of a dropped folder with class folders, nothing is compared with them."""
    for label in ("benign", "malignant"):
        page.add(f"{label}/a.png", content)
    assert set(page.wait()) == {"benign/a.png", "malignant/a.png"}
    rows = page.table()
    assert {row.get("label", "") for row in rows} == {""}
    assert "Names of folders are not read as labels" in page.client.get("/").text


def test_pictures_of_an_image(page, tissue_files):
    path = tissue_files[0]
    buffer = io.BytesIO()
    Image.open(path).save(buffer, "TIFF")
    number = page.add(name := "<b onclick=alert(1)>.tif", buffer.getvalue()).json()["number"]
    page.wait()
    for kind in ("small", "picture", "pixels", "stains", "map"):
        answer = page.client.get(f"/api/images/{number}/{kind}.jpg")
        assert answer.headers["content-type"] == "image/jpeg", answer.text
        assert Image.open(io.BytesIO(answer.content)).size == (96, 96)
    assert (
        page.client.get(f"/api/images/{number}/regions.geojson").json()["type"]
        == "FeatureCollection"
    )
    for target in ("", "benign", "malignant"):
        shown = page.client.get(f"/image?number={number}&map=1&target={target}").text
        red = target or "malignant"
        assert f"Map of {red}; predicted" in shown
        assert "Limitations:" in shown
        assert html.escape(name) in shown
        caption = shown.partition("Heat map: ")[2].partition("<figcaption>")[2]
        assert caption.count("; mean of the map 0.") == 1
        # the bar: the chosen class, else the positive one, is warm; white at the threshold; a tick at the base
        assert f"red: {red}, blue: " in caption.replace("Red", "red")
        ends = [
            '"0.0" stop-color="#1248a8"',
            '"0.5" stop-color="#ffffff"',
            '"1.0" stop-color="#b20c24"',
        ]
        assert re.findall(r'offset=("[\d.]+" stop-color="#\w+")', caption) == ends
        base = float(re.search(r"before any image ([\d.]+)", caption)[1])
        assert float(re.search(r'id="base" x="([\d.]+)"', caption)[1]) == pytest.approx(
            99.2 * base, abs=0.1
        )
        assert name not in shown + page.client.get("/").text
        assert "(malignant at 0.5)" in shown
    assert (
        page.client.get(f"/api/images/{number}/map.jpg", params={"target": "x"}).status_code == 404
    )
    assert page.client.get("/api/images/99999/picture.jpg").status_code == 404


def test_what_the_model_is_stands_on_each_page(page, content):
    number = page.predicted("a.png", content)
    for path in ("/", f"/image?number={number}"):
        text = page.client.get(path).text
        for said in ("For research: ", "12 images", "right", "RANDOM WEIGHTS"):
            assert said in text, (path, said)
        # its images have no patients
        mixed = "The folds mixed patients, or may have: of new patients expect fewer right than the confidence says."
        assert text.count(mixed) == 1


def test_cautions_of_training_are_named_so(page, content):
    """They are folded below the answer, so that nobody takes them for cautions about the own images."""
    number = page.predicted("a.png", content)
    for path in ("/", f"/image?number={number}"):
        text = html.unescape(page.client.get(path).text)
        before, box, after = re.split(
            r'<details class="banner" id="cautions">(.*?)</details>', text, flags=re.S
        )
        summary = re.search("<summary>(.*)</summary>", box)[1]
        banners = re.findall("<li>(.*?)</li>", box)
        assert summary.startswith(
            f"{len(banners)} cautions about the model's training: RANDOM WEIGHTS"
        )
        assert "confidence 5" in before or "7 of 12 images right" in before
        assert len({*banners}) == len(banners) > 1
        assert not any(banner in before + after for banner in banners)


def test_who_is_let_in(page):
    def ask(path="/", method="GET", **headers):
        return httpx.request(method, page.base + path, headers=headers, verify=False)

    for path in (
        "/",
        "/api/images",
        "/static/page.js",
        "/api/openapi.json",
        "/?token=wrong",
        "/nothing",
    ):
        assert ask(path).status_code == 401
    for token, status in (("wrong", 401), (page.token, 200)):  # as a form sends it
        assert (
            httpx.post(f"{page.base}/", data={"token": token}, verify=False).status_code == status
        )
    assert ask("/api/images", authorization="Bearer wrong").status_code == 401
    assert ask("/api/images", authorization=f"Bearer {page.token}").status_code == 200
    assert (
        ask("/api/images", authorization=f"Bearer {page.token}", host="evil.example").status_code
        == 421
    )
    assert (
        ask("/api/images", authorization=f"Bearer {page.token}", host="localhost:1").status_code
        == 200
    )
    entered = ask(f"/?token={page.token}")
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert page.token not in cookie
    # so that other ports of this machine do not get it
    folder = re.search(r"Path=(/[\w-]{16}/)", cookie)[1]
    assert f"url={folder}" in entered.text
    cookie = cookie.partition(";")[0]
    shown = ask(folder, cookie=cookie)
    csrf = re.search(r'name="csrf" content="([^"]+)"', shown.text)[1]
    assert ask("/api/images", "DELETE", cookie=cookie).status_code == 403
    assert ask("/api/images", "DELETE", **{"cookie": cookie, "x-csrf": "wrong"}).status_code == 403
    own = {"cookie": cookie, "x-csrf": csrf}
    assert ask("/api/images", "DELETE", **own, origin="http://evil.example").status_code == 403
    assert ask("/api/images", "DELETE", **own, origin=page.base).status_code == 204
    assert ask("/api/images", cookie=cookie.partition("=")[0] + "=x").status_code == 401


def test_what_every_answer_says(page):
    for answer in (
        page.client.get("/"),
        page.client.get("/nothing"),
        httpx.get(page.base, verify=False),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
    assert not re.search(r"<script>|<style|style=| on\w+=", page.client.get("/").text)


def test_names_stay_in_their_folder(page, content):
    names = {
        "../../../etc/cron.d/x": "etc/cron.d/x",
        "/etc/passwd": "etc/passwd",
        "a\nb.png": "a\\x0ab.png",
        "CON": "CON",
        ".": "image",
        "é\u202e.png": "é\\u202e.png",
        "\U0001f52c" * 63: "\U0001f52c" * 63,
        "d/" * 50 + "x": "d/" * 50 + "x",
    }
    assert {name: page.add(name, content).json()["name"] for name in names} == names
    assert {image["state"] for image in page.wait().values()} == {"done"}


def test_the_same_name_again(page, tissue_files):
    """An image is never renamed, nor added twice; one that failed is tried again."""
    first, second = (path.read_bytes() for path in tissue_files[:2])
    names = [f"{patient}/img1.png" for patient in ("patient1", "patient\u202f1", "patient1")]
    numbers = [page.add(name, first).json()["number"] for name in names]
    assert numbers == [numbers[0], numbers[1], numbers[0]]
    assert set(page.wait()) == {"patient1/img1.png", "patient\u202f1/img1.png"}
    for content, mpp in ((second, ""), (first, "0.5")):
        refused = page.add("patient1/img1.png", content, mpp=mpp)
        assert refused.status_code == 409
        assert "remove the other image first" in refused.json()["detail"]
    page.add("broken.png", first[:500])
    assert page.wait()["broken.png"]["state"] == "failed"
    page.add("broken.png", first)
    assert page.wait()["broken.png"]["state"] == "done"


@pytest.mark.parametrize("mpp", ["25", "0.01", "inf", "x", "1,000.5", "0 5"])
def test_micrometres_that_are_none(page, content, mpp):
    refused = page.add("a.png", content, mpp=mpp)
    assert refused.status_code == 422
    assert (
        refused.json()["detail"]
        == f"mpp {mpp}: give micrometres per pixel, 0.02 to 20 such as 0.42, or none"
    )


@pytest.fixture(scope="module")
def scaled(tissue, tmp_path_factory):
    """A model file whose view is in micrometres, of images with 0.49 of them per pixel."""
    from bchisto.boost import BoostSettings, train
    from bchisto.data import ImageSelection
    from bchisto.encoders import EncoderChoice
    from bchisto.featurize import FeaturizeSettings, View, featurize

    run, work = tmp_path_factory.mktemp("scaled") / "run", ONE_JOB
    views, small = (
        (View.parse("0.5um:64"),),
        {"weights": ("random",), "augmentations": 2, "crops": 3},
    )
    settings = FeaturizeSettings(encoders=(EncoderChoice("tiny"),), views=views, **small)
    featurize(ImageSelection(tissue, mpp=0.49), out=run, settings=settings, work=work)
    params = {"min_data_in_leaf": 2, "num_iterations": 8}
    (result,) = train(
        out=run, folds=["3"], settings=BoostSettings(seeds=2, params=params), work=work
    )
    return result.model


def test_micrometres_are_those_of_predict(start, scaled, tissue_files, tmp_path):
    """Those of a published data set are known by its names, as `predict` knows them; others are named as unknown."""
    paths = tissue_files
    for at, (folder, name) in enumerate(
        [
            ("published", "SOB_B_A-14-22549AB-40-001.png"),
            ("published", "SOB_M_DC-14-2523-40-009.png"),
            ("published", "SOB_B_A-14-22549AB-400-002.png"),
            ("own", "a.png"),
            ("bach/Photos/Normal", "n001.tif"),
            ("bach/Photos/Benign", "b001.tif"),
        ]
    ):
        (tmp_path / folder).mkdir(exist_ok=True, parents=True)
        picture = Image.open(paths[at])
        if folder == "published":
            picture = picture.resize((700, 460))
        picture.save(tmp_path / folder / name)
    rows = {}
    with serving(start, scaled) as page:
        for folder in ("published", "bach", "own"):
            files = sorted(path for path in (tmp_path / folder).rglob("*.*") if path.is_file())
            for path in files:
                page.add(str(path.relative_to(tmp_path)), path.read_bytes())
            out = tmp_path / f"{folder}.csv"
            predict(scaled, tmp_path / folder, out=out, work=Work(jobs=1, skip_errors=True))
            rows |= {Path(row["image_id"]).name: row for row in rows_of(out.read_text())}
        page.add("given.png", files[0].read_bytes(), mpp="0,45")
        shown = {Path(name).name: image for name, image in page.wait().items()}
        table = {Path(row["image_id"]).name: row for row in page.table()}
        listed = page.client.get("/results").text
    assert shown["SOB_B_A-14-22549AB-40-001.png"]["mpp"] == pytest.approx(0.4924, abs=1e-4)
    # of a name like those of BACH it is not known
    assert shown["n001.tif"]["mpp"] is None
    assert shown["a.png"]["mpp"] is None
    assert shown["given.png"]["mpp"] == 0.45
    small = shown.pop("SOB_B_A-14-22549AB-400-002.png")
    assert "is smaller than the field" in small["error"]
    assert len(rows) == 5
    for name, row in rows.items():
        assert (
            repr(shown[name]["probabilities"]["benign"])
            == row["p_benign"]
            == table[name]["p_benign"]
        )
    assert table["given.png"]["mpp"] == "0.45"
    unknown = "not known, and are taken for those of training (0.49)"
    assert {name for name in table if unknown in table[name]["warnings"]} == {
        *("n001.tif", "b001.tif", "a.png")
    }
    assert listed.count(unknown) == 3


def test_an_image_of_another_size_than_in_training_is_marked(page, flat):
    own = next(flat.iterdir())
    larger = io.BytesIO()
    Image.open(own).resize((200, 150)).save(larger, "PNG")
    page.add(own.name, own.read_bytes())
    page.add("larger.png", larger.getvalue())
    images = page.wait()
    text = "other sizes than those of training (96x96): 200x150"
    assert any(text in note for note in images["larger.png"]["notes"])
    assert not any("of training (" in note for note in images[own.name]["notes"])


def test_what_cannot_be_used_gets_its_line(page, content):
    buffer = io.BytesIO()
    Image.effect_noise((96, 96), 60).convert("RGB").save(buffer, "TIFF")
    worker = page.worker()
    page.add("bomb.tif", bomb())
    page.add("truncated.tif", buffer.getvalue()[:-5000])
    page.add("short.png", content[: len(content) // 2])
    page.add("small.png", content)
    page.add("empty.png", b"")
    for name, said in (
        ("x" * 256, "File name too long"),
        ("d/" * 51 + "x", "more than 50 folders"),
    ):
        assert said in page.add(name, content).json()["detail"]  # a name is never cut
    images = page.wait()
    assert "pixels" in images["bomb.tif"]["error"]
    for name in ("bomb.tif", "truncated.tif", "short.png", "empty.png"):
        assert images[name]["state"] == "failed"
        assert images[name]["error"].startswith(name)
        assert images[name]["error"].count("\n") == 0
    assert images["small.png"]["state"] == "done"
    assert page.worker() == worker, "none has ended it"


def test_openapi_names_what_there_is(page):
    described = page.client.get("/api/openapi.json").json()
    assert {"/api/images", "/api/predictions.csv"} <= described["paths"].keys()
    assert not any(path.startswith(("/images", "/static")) for path in described["paths"])
    for path in ("/docs", "/redoc"):
        assert page.client.get(path).status_code == 404


@contextlib.contextmanager
def stopped(page):
    """Let the worker of a page pause."""
    worker = page.worker()
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # the page may have ended it
            os.kill(worker, signal.SIGCONT)


def asked(page):
    """Wait until requests that were sent before have reached the page, which answers in turn."""
    time.sleep(0.2)
    page.client.get("/api/queue")


def test_many_requests_while_an_image_is_in_work(page, content):
    """Each gets its answer, also if an image is removed meanwhile, and the queue goes on."""
    first, _ = (page.add(name, content).json()["number"] for name in ("a.png", "d.png"))
    page.wait()
    with stopped(page), concurrent.futures.ThreadPoolExecutor(60) as pool:
        page.add("b.png", content)
        answers = []
        for what in ("predictions.html", "predictions.csv") * 20:
            address = f"{page.base}/api/{what}"
            answers += [
                pool.submit(httpx.get, address, headers=page.headers, timeout=120, verify=False)
            ]
        asked(page)
        page.client.delete(f"/api/images/{first}")
        os.kill(page.worker(), signal.SIGCONT)
        assert {answer.result().status_code for answer in answers} == {200}
    page.add("c.png", content)
    assert [image["state"] for image in page.wait().values()] == ["done"] * 3


def test_tables_that_are_asked_for_at_once_while_there_are_none(page):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = pool.map(page.client.get, ("/api/predictions.csv", "/api/predictions.html") * 4)
        assert {answer.status_code for answer in answers} == {200, 404}


def test_work_that_ends_its_process(tmp_path, monkeypatch):
    """What follows is done by another process."""

    async def told(engine, work, *values):
        with pytest.raises(BchistoError) as error:
            await engine.ask("counting", work, *values)
        return str(error.value)

    async def work():
        engine = Engine(tmp_path, seconds=20)
        first = await engine.ask("counting", os.getpid)
        assert await told(engine, int, "x") == (
            "unexpected ValueError: invalid literal for int() with base 10: 'x'; this is a bug, please report it"
        )
        assert (await told(engine, os.listdir, "/none")).startswith("/none: No such file")
        # whether that is noticed before the next work, or while it waits
        os.kill(first, signal.SIGKILL)
        second = await engine.ask("counting", os.getpid)
        os.kill(second, signal.SIGSTOP)
        waiting = asyncio.create_task(engine.ask("counting", os.getpid))
        await asyncio.sleep(0.1)
        os.kill(second, signal.SIGKILL)
        assert len({first, second, await waiting}) == 3
        ended = await told(engine, os._exit, 1)
        assert ended == "counting ended the process that reads images, as for lack of memory"
        begun = asyncio.create_task(engine.ask("counting", time.sleep, 60))
        await asyncio.sleep(0.1)
        begun.cancel()
        assert await engine.ask("counting", len, "abc") == 3, "not the answer to what was cancelled"
        engine._seconds = 0.2
        assert "counting took longer than 0.0 minutes" in await told(engine, time.sleep, 60)
        engine._seconds = 20
        monkeypatch.setattr(sys, "executable", "/none")
        assert "ended the process that reads images" in await told(engine, len, "abc")
        engine.stop()

    asyncio.run(work())


def test_removing_the_image_in_work(page, content):
    """Its prediction ends, and the next one begins."""
    worker = page.worker()
    page.add("a.png", content)
    page.wait()
    numbers, working = [], None
    while working is None:
        # at first, or if it was faster than this
        if page.client.get("/api/queue").json()["waiting"] == 0:
            page.clear()
            numbers = [page.add(f"{number}.png", content).json()["number"] for number in range(3)]
        os.kill(worker, signal.SIGCONT)
        time.sleep(0.01)
        os.kill(worker, signal.SIGSTOP)
        time.sleep(0.1)  # until an answer that was under way has come
        working = next(
            (i["number"] for i in page.images() if i["state"] == "working"),
            None,
        )
    page.client.delete(f"/api/images/{working}")
    states = {image["number"]: image["state"] for image in page.wait().values()}
    assert states == dict.fromkeys(set(numbers) - {working}, "done")
    assert not Path(f"/proc/{worker}").exists()


def test_a_review(page, tissue_files):
    """A person's label is in the table, of which the next training takes it; undoing it removes both."""
    paths = tissue_files[:3]
    numbers = [page.add(path.name, path.read_bytes()).json()["number"] for path in paths]
    page.wait()
    for number, label in zip(numbers, ("malignant", "", "benign"), strict=True):
        answer = page.review(number, label=label)
        assert (answer.json()["reviewed"], answer.json()["label"]) == (True, label)
    page.review(numbers[2], reviewed=False)
    rows = page.table()
    reviews = [("yes", "malignant"), ("yes", ""), ("", "")]
    assert [
        (row["reviewed"], row["label"]) for row in sorted(rows, key=lambda row: row["image_id"])
    ] == reviews
    text = page.client.get("/").text + page.client.get(f"/image?number={numbers[0]}").text
    # without it two spaces would be one
    assert text.count('<option value="benign"') >= 3
    assert page.review(numbers[0], label="x").status_code == 404


def test_a_label_that_somebody_else_has_given_meanwhile(page, content):
    """Who has not seen it is told and changes nothing; who names what stands there, or sets the same, is not asked."""
    number = page.predicted("a b.png", content)
    address = f"/api/images/{number}/review"

    def put(**params):
        answer = page.client.put(address, params=params)
        (image,) = page.images()
        return answer.status_code, image["reviewed"] and image["label"], image["reviews"]

    assert put(label="malignant", seen=0) == (200, "malignant", 1)
    assert put(label="malignant", seen=0) == (200, "malignant", 2)
    assert put(label="benign", seen=0) == (409, "malignant", 2)
    assert put(label="", seen=1) == (409, "malignant", 2)
    assert put(reviewed=False, seen=1) == (409, "malignant", 2)
    refused = page.client.put(address, params={"label": "benign", "seen": 0})
    said = "a b.png: has the label malignant since this page was opened"
    assert (refused.json()["detail"], refused.headers["x-seen"]) == (said, "2")
    refused = page.client.delete(f"/api/images/{number}", params={"seen": 1})
    assert (refused.status_code, refused.json()["detail"]) == (409, said)
    assert put(label="", seen=2) == (200, "", 3)
    assert (
        "has the label none of these"
        in page.client.put(address, params={"label": "benign", "seen": 2}).text
    )
    assert put(reviewed=False, seen=3) == (200, False, 4)
    assert put(label="benign", seen=1) == (200, "benign", 5)  # no label stood there
    assert put(label="malignant") == (200, "malignant", 6)  # a program that does not ask
    assert page.client.delete(f"/api/images/{number}", params={"seen": 6}).status_code == 204


def test_removing_all_after_somebody_else_has_given_a_label(page, content):
    """Who has not seen that label is told, and removes nothing; a program that does not ask removes all."""
    number = page.predicted("a.png", content)

    def seen():
        text = page.client.get("/").text
        return int(re.search('id="remove" data-seen="([0-9]+)"', text)[1])

    before = seen()
    page.review(number, label="benign")
    refused = page.client.delete("/api/images", params={"model": 0, "seen": before})
    said = "labels were given or images removed since this page was opened"
    assert (refused.status_code, refused.json()["detail"]) == (409, said)
    assert refused.headers["x-seen"] == str(seen()) != str(before)
    assert len(page.images()) == 1
    query = {"model": 0, "seen": seen()}
    assert page.client.delete("/api/images", params=query).status_code == 204
    assert page.images() == []


def test_uploads_are_whole_or_not_there(tmp_path, monkeypatch):
    """One that is refused, or cancelled, leaves no file, and its bytes do not count."""

    async def sent(*texts):
        for text in texts:
            if text is None:
                await asyncio.sleep(60)
            yield text

    async def work():
        session = Session(None, [None], tmp_path, keep=tmp_path / "kept")
        images = tmp_path / "kept" / "images"
        images.mkdir(parents=True)

        async def add(name, *texts):
            return await session.add(name, sent(*texts), model=0, given=None)

        async def refused(name, *texts):
            with pytest.raises(HTTPException) as error:
                await add(name, *texts)
            return error.value.status_code, error.value.detail

        item = await add("d/a.png", b"some", b" more")
        assert await add("d/a.png", b"some more") is item, "the same is not added twice"
        assert (await refused("d/a.png", b"other"))[0] == 409
        assert (await refused("d", b"1"))[1].startswith("d: cannot be stored")
        assert (await refused("d/a.png/x", b"1"))[1].startswith("d/a.png/x: cannot be stored")
        cancelled = asyncio.create_task(add("c.png", b"1", None))
        await asyncio.sleep(0.05)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        for name, value, status in (
            ("SERVED_BYTES", 3, 413),
            ("SERVED_HELD_BYTES", 10, 507),
            ("SERVED_IDLE_SECONDS", 0.01, 408),
            ("SERVED_BYTES", shutil.disk_usage(tmp_path).total, 507),
            ("SERVED_IMAGES", 1, 507),
        ):
            with monkeypatch.context() as patched:
                patched.setattr(limits, name, value)
                assert (await refused("b.png", b"some", None))[0] == status, name
        assert [path for path in images.rglob("*") if path.is_file()] == [item.path]
        assert item.path.read_bytes() == b"some more"
        assert session._held == 9
        session.remove(item.number)
        assert (session.items(), session._held, [*images.iterdir()]) == ([], 0, [])
        assert not item.folder.exists()
        assert (await add("d", b"1")).state == "waiting", "a folder that is empty is gone"

    asyncio.run(work())


def test_an_image_that_needs_more_memory_than_there_is(tissue_files, monkeypatch):
    path = tissue_files[0]
    (record,) = with_headers([ImageRecord("a.png", path, None)])
    _refuse_too_large(record)
    monkeypatch.setattr(limits, "SERVED_PIXEL_BYTES", 10**10)
    with pytest.raises(InputError, match="^a.png: needs about 92160.0 GB of memory"):
        _refuse_too_large(record)


def test_weights_that_only_one_of_two_models_needs(tmp_path):
    """They are refused if none does."""

    class Asked:
        async def ask(self, doing, work, path, weights, copy):
            file = ModelFile(
                copy, tuple(weights) if path.parent.name in self.needing else (), "", ()
            )
            facts = {field.name: None for field in fields(PageModel)}
            return PageModel(**{**facts, "path": path, "file": file})

    def opened(*needing):
        engine = Asked()
        engine.needing = needing
        paths = [Path("m1/model.bchisto"), Path("m2/model.bchisto")]
        return asyncio.run(load_models(engine, paths, ["tiny=w.h5"], tmp_path))

    assert [model.name for model in opened("m2")] == ["m1", "m2"]
    with pytest.raises(InputError, match="`weights` tiny=w.h5: each model holds the weights"):
        opened()


def test_only_failed_images(page):
    number = page.add("a.png", b"not an image").json()["number"]
    page.wait()
    text = page.client.get("/").text
    assert f'data-method="DELETE" data-path="api/images/{number}"' in text
    assert 'id="remove"' in text
    assert "0 of 1 predicted, 1 could not be used" in text
    assert page.client.get("/api/failures.csv").text.startswith(
        'image_id,error\na.png,"a.png: not a TIFF'
    )


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/image?number=99999", 404, "There is no such image; it may have been removed."),
        ("/?model=7", 404, "There is no such model."),
        ("/image?number=x", 422, "Not a value that the page takes: number x."),
        ("/nothing", 404, "Not Found."),
    ],
)
def test_a_refusal_for_a_person_is_a_page(page, path, status, said):
    answer = page.client.get(path)
    assert answer.status_code == status
    assert f"<p>{said}</p>" in answer.text
    assert '<a href="./">All images</a>' in answer.text


def start_with(**values):
    """Return a function that starts the command line with other limits."""
    lines = [
        "import sys",
        "from bchisto.core.formats import limits",
        "from bchisto.cli import main",
    ]
    code = "\n".join(
        [
            *lines,
            *(f"limits.{name} = {value}" for name, value in values.items()),
            "main(sys.argv[1:])",
        ]
    )

    def started(*arguments, **options):
        words = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )

    return started


@pytest.mark.slow
@pytest.mark.parametrize("opened", [1024, 64])
def test_slow_clients_keep_nobody_waiting(served_model, content, opened):
    """Others get their answers meanwhile, the slow one is told, and silent connections end without a word."""
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (opened, opened))}
    with (
        serving(start_with(SERVED_IDLE_SECONDS=3), served_model, **limit) as page,
        contextlib.ExitStack() as stack,
    ):
        host, _, port = page.base.removeprefix("http://").partition(":")

        def connected(text):
            line = stack.enter_context(contextlib.closing(socket.create_connection((host, port))))
            line.sendall(text.encode())
            return line

        silent = [connected("GET / HTTP/1.1\r\nHost: loc") for _ in range(3 * opened // 8 + 80)]
        again = connected("GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HT")
        until = time.monotonic() + 20
        while b"</form>" not in (text := again.recv(100_000)):
            assert time.monotonic() < until, text
        slow = connected(
            f"POST /api/images?name=slow.png HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {page.token}\r\n"
            "Content-Length: 1000\r\n\r\nsome"
        )
        assert page.add("a.png", content).status_code == 202
        assert b" 408 " in slow.recv(1000)
        assert list(page.wait()) == ["a.png"]
        for line in (*silent, again):
            line.settimeout(20)
            with contextlib.suppress(ConnectionError):
                assert line.recv(1000) == b""
        code, _, err = page.stop()
    assert code == 0
    assert err.count("\n") <= 3, err


def test_nothing_is_kept_and_an_interrupt_ends_it(start, served_model, content, tmp_path):
    """Also of a page at all addresses of the machine, whose printed one has the machine's full name."""
    token, scratch = tmp_path / "token", tmp_path / "scratch"
    token.write_text("x" * 30)
    scratch.mkdir()
    words = (served_model, "--host", "0.0.0.0", "--token-file", token)
    with serving(start, *words, env={**os.environ, "TMPDIR": str(scratch)}) as page:
        name, port = page.base.removeprefix("http://").split(":")
        own = {socket.gethostname(), socket.getfqdn()}
        assert name in own - {"localhost"} or socket.gethostname() == "localhost"
        page.client.base_url = page.base = f"http://127.0.0.1:{port}"
        answer = page.client.get("/api/images", headers={"host": name})
        assert answer.status_code == 200
        page.add("a.png", content)
        page.wait()
        assert list(scratch.rglob("a.png"))
        assert page.client.get("/api/failures.csv").status_code == 404
        assert list(scratch.rglob("predictions.csv")) == []
        for folder in scratch.iterdir():
            shutil.rmtree(folder)
        assert "c.png: cannot be stored" in page.add("c.png", content).json()["detail"]
        code, _, err = page.stop()
    assert code == 0, err
    assert not list(scratch.iterdir())
    assert "Traceback" not in err
    # who can read the token is told
    assert "others can read the token; chmod 600" in err


def test_what_is_to_be_kept(start, refused, served_model, tissue_files, tiny_settings, tmp_path):
    """The folder holds what `predict` makes of its images, and its table is a manifest for the next training."""
    kept, files = tmp_path / "kept", tissue_files[:4]
    folders, table = ["patient 1", "patient 1", "patient 2", "patient 2"], kept / "predictions.csv"
    with serving(start, served_model, "--keep", kept) as page:
        names = [
            f"{folder}/ e\u0301\\ {path.name}" for folder, path in zip(folders, files, strict=True)
        ]
        numbers = [
            page.add(*pair).json()["number"]
            for pair in zip(names, map(Path.read_bytes, files), strict=True)
        ]
        for first, second in (("a", "a/b.png"), ("d/b.png", "d")):
            numbers += [page.add(first, files[0].read_bytes()).json()["number"]]
            answer = page.add(second, files[0].read_bytes())
            assert answer.status_code == 507
            assert answer.json()["detail"].startswith(f"{second}: cannot be stored")
        page.wait()
        while not (kept / "predictions.html").is_file():
            time.sleep(0.1)
        table.rename(tmp_path / "away")
        table.mkdir()  # so that it cannot be written for a while
        for number in numbers[3:]:
            page.client.delete(f"/api/images/{number}")
        for number, label in zip(numbers[:2], ("malignant", "benign"), strict=True):
            page.review(number, label=label)
        page.client.get("/api/predictions.csv")  # once it was tried
        table.rmdir()
        # another worker writes it, if this one was killed while it had nothing to do
        os.kill(page.worker(), signal.SIGKILL)
        code, _, err = page.stop()
        assert (code, err.count("warning")) == (0, 1)
    assert sorted(path.name for path in kept.iterdir()) == [
        "images",
        "predictions.csv",
        "predictions.html",
    ]
    predict(served_model, kept / "images", out=tmp_path / "p.csv", work=ONE_JOB)
    rows, predicted = (
        rows_of(path.read_text()) for path in (kept / "predictions.csv", tmp_path / "p.csv")
    )
    assert [[row[name] for name in predicted[0] if name != "label"] for row in rows] == [
        [row[name] for name in predicted[0] if name != "label"] for row in predicted
    ]
    featurize(kept / "predictions.csv", out=tmp_path / "run", settings=tiny_settings, work=ONE_JOB)
    table = read_dataset(kept / "predictions.csv")
    assert [(record.image_id, record.label, record.group) for record in table.records] == list(
        zip(names[:3], ("malignant", "benign", None), folders[:3], strict=True)
    )
    err = refused("serve {} --keep {}", served_model, kept)
    assert "holds other files" in err


def test_what_cannot_be_kept(start, served_model, content, tmp_path):
    """It is told in the end; and an image that is removed while its map is drawn holds up no other."""
    images = tmp_path / "kept" / "images"
    with serving(start, served_model, "--keep", images.parent) as page:
        (images.parent / "predictions.csv").mkdir()
        number = page.add("a.png", content).json()["number"]
        page.wait()
        os.kill(page.worker(), signal.SIGSTOP)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            drawn = pool.submit(
                httpx.get,
                f"{page.base}/api/images/{number}/map.jpg",
                headers=page.headers,
                timeout=60,
            )
            asked(page)
            (images / "a.png").rename(tmp_path / "away")
            (images / "a.png").mkdir()  # so that it cannot be removed
            assert page.client.delete(f"/api/images/{number}").status_code == 204
            assert drawn.result().json()["detail"] == "a.png: was removed"
            assert page.images() == []
        (images / "a.png").rmdir()
        page.add("b.png", content)
        assert page.wait()["b.png"]["state"] == "done"
        os.kill(page.worker(), signal.SIGSTOP)
        page.add("c.png", content)
        code, _, err = page.stop()
    assert code == 1
    assert [path.name for path in sorted(images.iterdir())] == ["b.png", "c.png"]
    assert f"warning: {images / 'a.png'}: cannot be removed (Is a directory)" in err
    assert (
        err.splitlines()[-1]
        == f"warning: {images.parent}: 1 image not predicted; give them to predict"
    )


def test_two_models(start, served_model, scaled, tissue_files, tmp_path):
    """Each has its own name, images and table, also in what is kept, and goes on if its file is replaced."""
    kept, other = tmp_path / "kept", tmp_path / "other" / "boost" / "3-lightgbm"
    shutil.copytree(served_model.parent, other)
    contents = [path.read_bytes() for path in tissue_files[:3]]
    with serving(start, served_model, other / "model.bchisto", "--keep", kept) as page:
        names = re.findall(r'<option value="\d".*?>(.*?)</option>', page.client.get("/").text)
        # each with the folders that the two do not share
        assert [name.partition("/")[2] for name in names] == [
            "first run/boost/3-lightgbm",
            "other/boost/3-lightgbm",
        ]
        numbers = [
            page.add("x.png", contents[model], model=model).json()["number"] for model in range(2)
        ]
        before = page.wait()["x.png"]["probabilities"]
        shutil.copyfile(scaled, other / "model.bchisto")
        os.kill(page.worker(), signal.SIGKILL)
        page.add("y.png", contents[1], model=1)
        assert page.wait()["y.png"]["probabilities"] == before
        for model in range(2):
            for where in ("/", "/api/predictions.csv"):
                assert ("y.png" in page.client.get(where, params={"model": model}).text) == (
                    model == 1
                )
        for where in ("/", "/results", "/api/predictions.csv"):
            assert page.client.get(where, params={"model": 2}).status_code == 404
        assert (kept / "model-1" / "images" / "x.png").read_bytes() == contents[0]
        assert (kept / "model-2" / "images" / "x.png").read_bytes() == contents[1]
        page.client.delete(f"/api/images/{numbers[0]}")
        assert not (kept / "model-1" / "images" / "x.png").is_file()
        assert (kept / "model-2" / "images" / "x.png").is_file()
        assert page.stop(signal.SIGHUP)[0] == 0
    assert [path.name for path in (kept / "model-1").iterdir()] == ["images"]
    rows = rows_of((kept / "model-2" / "predictions.csv").read_text())
    assert [row["path"] for row in rows] == ["images/x.png", "images/y.png"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--host 0.0.0.0", "--host 0.0.0.0: others can reach this address; give a --token-file"),
        ("--token-file short", "short: no token of at least 20"),
        ("--token-file missing", "missing: cannot be read"),
        ("--public-url https://hub.exämple", "give an address such as https://HOST"),
        (
            "--public-url hospital.example",
            "--public-url hospital.example: give an address such as https://HOST",
        ),
        (
            "--host 192.0.2.1 --token-file long",
            "--host 192.0.2.1, --port 8600: cannot answer there",
        ),
    ],
)
def test_what_is_refused(refused, served_model, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short").write_text("secret")
    (tmp_path / "long").write_text("x" * 30)
    for name in ("short", "long"):
        (tmp_path / name).chmod(0o600)
    err = refused(f"serve {{}} {options}", served_model)
    assert said in err
    assert err.count("\n") == 1


def test_without_the_extra(refused, served_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    err = refused("serve", served_model)
    assert "pip install" in err
    assert "fastapi" in err


def test_the_snippet_of_the_documents(page, tissue_files, tmp_path, monkeypatch, capsys):
    """What docs/serve.md shows of the JSON runs as it stands there."""
    text = (Path(__file__).parents[3] / "docs" / "serve.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for path in tissue_files[:2]:
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BCHISTO_ADDRESS", page.base)
    monkeypatch.setenv("BCHISTO_TOKEN", page.token)
    exec(compile(code, "serve.md", "exec"), {})
    assert (tmp_path / "predictions.csv").read_text().count("\n") == 3
    assert json.loads(json.dumps(capsys.readouterr().out))
