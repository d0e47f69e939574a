"""The page as programs see it: what it answers, whom it lets in, and what it survives."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from bchisto.core.jobs import Work
from bchisto.predict import PredictSettings, predict
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


def bomb():
    """A TIFF of 50,000 x 40,000 pixels in some hundred bytes."""
    entries = [(256, 4, 1, 50_000), (257, 4, 1, 40_000), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1),
               (273, 4, 1, 200), (277, 3, 1, 1), (278, 4, 1, 40_000), (279, 4, 1, 100)]  # fmt: skip
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return (head + b"".join(struct.pack("<HHII", *entry) for entry in entries) + b"\0" * 4).ljust(300, b"\0")


def test_numbers_are_those_of_predict(page, run_folders, flat, tmp_path):
    for path in sorted(flat.iterdir()):
        assert page.add(path.name, path.read_bytes()).status_code == 202
    images = page.wait()
    out, sheet = tmp_path / "predictions.csv", PredictSettings(html=tmp_path / "sheet.html")
    predict(run_folders / "first run", flat, out=out, settings=sheet, work=Work(jobs=1, skip_errors=True))
    assert page.client.get("/api/predictions.csv").content == out.read_bytes()
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    for row in rows:
        image = images[row["image_id"]]
        assert image["state"] == "done"
        assert [repr(image["probabilities"][name]) for name in ("benign", "malignant")] == [
            row["p_benign"], row["p_malignant"],
        ]  # fmt: skip
        assert max(image["calibrated"].values()) == pytest.approx(image["confidence"])
        assert sum(image["calibrated"].values()) == pytest.approx(1)
        assert image["further"] == {name: row[name] for name in image["further"]}
    assert images["zz.tif"]["error"].startswith("zz.tif: not a TIFF, PNG or JPEG image")

    def without_pictures(text):
        return re.sub(r'src="data:[^"]*"|sha256-[^\']*', "", text)

    shown = page.client.get("/api/predictions.html").text
    assert without_pictures(shown) == without_pictures((tmp_path / "sheet.html").read_text())


def test_names_of_folders_are_no_labels(page, tissue):
    """Of a dropped folder with class folders, nothing is compared with them."""
    content = next(tissue.rglob("*.png")).read_bytes()
    for label in ("benign", "malignant"):
        page.add(f"{label}/a.png", content)
    assert set(page.wait()) == {"benign/a.png", "malignant/a.png"}
    rows = list(csv.DictReader(io.StringIO(page.client.get("/api/predictions.csv").text)))
    assert {row.get("label", "") for row in rows} == {""}
    assert "Names of folders are not read as labels" in page.client.get("/").text


def test_pictures_of_an_image(page, tissue):
    path = next(tissue.rglob("*.png"))
    buffer = io.BytesIO()
    Image.open(path).save(buffer, "TIFF")
    number = page.add("a b.tif", buffer.getvalue()).json()["number"]
    page.wait()
    for kind in ("small", "picture", "stains", "map"):
        answer = page.client.get(f"/api/images/{number}/{kind}.jpg")
        assert answer.headers["content-type"] == "image/jpeg", answer.text
        assert Image.open(io.BytesIO(answer.content)).size == (96, 96)
    part = page.client.get(f"/api/images/{number}/map.jpg", params={"part": 4, "target": "benign"})
    assert Image.open(io.BytesIO(part.content)).size == (48, 48)
    regions = page.client.get(f"/api/images/{number}/regions.geojson").json()
    assert regions["type"] == "FeatureCollection"
    shown = page.client.get(f"/images/{number}", params={"map": 1}).text
    assert "Limitations:" in shown
    assert "a b.tif" in shown
    assert page.client.get(f"/api/images/{number}/map.jpg", params={"target": "x"}).status_code == 404
    assert page.client.get("/api/images/99999/picture.jpg").status_code == 404


def test_what_the_model_is_stands_on_each_page(page, tissue):
    number = page.add("a.png", next(tissue.rglob("*.png")).read_bytes()).json()["number"]
    page.wait()
    for path in ("/", f"/images/{number}", "/runs"):
        text = page.client.get(path).text
        for said in ("Research use only", "12 images", "right", "RANDOM WEIGHTS"):
            assert said in text, (path, said)


def test_runs_with_their_reports(page):
    text = page.client.get("/runs").text
    assert "first run" in text
    (link,) = re.findall(r'href="(/report\?[^"]*boost[^"]*)"', text)
    report = page.client.get(link.replace("&amp;", "&"))
    assert "3-lightgbm" in report.text
    assert "script" not in report.headers["content-security-policy"]
    for of in ("../../etc", "..", "/etc/passwd", "boost/3-lightgbm/report.html"):
        assert page.client.get("/report", params={"run": "first run", "of": of}).status_code == 404
    assert page.client.get("/report", params={"run": "..", "of": "."}).status_code == 404


def test_who_is_let_in(page):
    def ask(path="/", method="GET", **headers):
        return httpx.request(method, page.base + path, headers=headers)

    for path in ("/", "/api/images", "/static/page.js", "/api/openapi.json", "/?token=wrong", "/nothing"):
        assert ask(path).status_code == 401
    assert ask("/api/images", authorization="Bearer wrong").status_code == 401
    assert ask("/api/images", authorization=f"Bearer {page.token}").status_code == 200
    assert ask("/api/images", authorization=f"Bearer {page.token}", host="evil.example").status_code == 421
    assert ask("/api/images", authorization=f"Bearer {page.token}", host="localhost:1").status_code == 200
    entered = ask(f"/?token={page.token}")
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert page.token not in cookie
    cookie = cookie.partition(";")[0]
    shown = ask("/", cookie=cookie)
    csrf = re.search(r'name="csrf" content="([^"]+)"', shown.text)[1]
    assert ask("/api/images", "DELETE", cookie=cookie).status_code == 403
    assert ask("/api/images", "DELETE", **{"cookie": cookie, "x-csrf": "wrong"}).status_code == 403
    own = {"cookie": cookie, "x-csrf": csrf}
    assert ask("/api/images", "DELETE", **own, origin="http://evil.example").status_code == 403
    assert ask("/api/images", "DELETE", **own, origin=page.base).status_code == 204
    assert ask("/api/images", cookie=cookie.partition("=")[0] + "=x").status_code == 401


def test_what_every_answer_says(page):
    for answer in (page.client.get("/"), page.client.get("/nothing"), httpx.get(page.base)):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
    assert not re.search(r"<script>|<style|style=| on\w+=", page.client.get("/").text)


@pytest.mark.parametrize(
    "name", ["../../../etc/cron.d/x", "/etc/passwd", "a\nb.png", "CON", ".", "x" * 5000, "é\u202e.png"]
)
def test_names_stay_in_their_folder(page, tissue, name):
    image = page.add(name, next(tissue.rglob("*.png")).read_bytes()).json()
    assert "\n" not in image["name"]
    assert not image["name"].startswith(("/", "."))
    assert len(image["name"]) <= 120
    (done,) = page.wait().values()
    assert done["state"] == "done", done


def test_names_are_shown_as_text(page, tissue):
    evil = "<img src=x onerror=alert(1)>.png"
    number = page.add(evil, next(tissue.rglob("*.png")).read_bytes()).json()["number"]
    page.wait()
    for path in ("/", f"/images/{number}"):
        assert "<img src=x" not in page.client.get(path).text


def test_two_of_one_name(page, tissue):
    content = next(tissue.rglob("*.png")).read_bytes()
    assert [page.add("a.png", content).json()["name"] for _ in range(3)] == ["a.png", "a (2).png", "a (3).png"]
    page.wait()


def test_what_cannot_be_used_gets_its_line(page, tissue):
    content = next(tissue.rglob("*.png")).read_bytes()
    buffer = io.BytesIO()
    Image.effect_noise((96, 96), 60).convert("RGB").save(buffer, "TIFF")
    restarts = page.client.get("/api/queue").json()["restarts"]
    page.add("bomb.tif", bomb())
    page.add("truncated.tif", buffer.getvalue()[:-5000])
    page.add("short.png", content[: len(content) // 2])
    page.add("small.png", content)
    assert page.add("empty.png", b"").status_code == 400
    images = page.wait()
    assert "pixels" in images["bomb.tif"]["error"]
    for name in ("bomb.tif", "truncated.tif", "short.png"):
        assert images[name]["state"] == "failed"
        assert images[name]["error"].startswith(name)
        assert images[name]["error"].count("\n") == 0
    assert images["small.png"]["state"] == "done"
    assert page.client.get("/api/queue").json()["restarts"] == restarts


def test_a_file_that_is_too_large_is_refused_before_it_comes(page):
    with contextlib.closing(socket.create_connection(page.base.removeprefix("http://").split(":"))) as line:
        line.sendall(
            f"POST /api/images?name=a.png HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {page.token}\r\n"
            f"Content-Length: {10**12}\r\n\r\n".encode()
        )
        assert b" 413 " in line.recv(1000)


def test_openapi_names_what_there_is(page):
    described = page.client.get("/api/openapi.json").json()
    assert {"/api/images", "/api/predictions.csv", "/api/models"} <= described["paths"].keys()
    assert not any(path.startswith(("/images", "/static")) for path in described["paths"])
    for path in ("/docs", "/redoc"):
        assert page.client.get(path).status_code == 404


def worker_of(process):
    """The process number of the worker of a page."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (worker,) = [int(pid) for pid in children]
    return worker


def test_a_killed_worker(page, tissue):
    """The image that was being read gets its answer, and the page continues."""
    content = next(tissue.rglob("*.png")).read_bytes()
    worker, restarts = worker_of(page.process), page.client.get("/api/queue").json()["restarts"]
    os.kill(worker, signal.SIGSTOP)
    for number in range(3):
        page.add(f"{number}.png", content)
    while page.client.get("/api/queue").json()["working"] == 0:
        time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)
    images = page.wait()
    assert images["0.png"]["state"] == "failed"
    assert "the page continues" in images["0.png"]["error"]
    assert [images[f"{number}.png"]["state"] for number in (1, 2)] == ["done", "done"]
    assert page.client.get("/api/queue").json()["restarts"] == restarts + 1


def test_more_than_can_wait(page, tissue):
    content = next(tissue.rglob("*.png")).read_bytes()
    worker = worker_of(page.process)
    os.kill(worker, signal.SIGSTOP)
    try:
        answers = [page.add(f"{number}.png", content) for number in range(110)]
    finally:
        os.kill(worker, signal.SIGCONT)
    refused = [answer for answer in answers if answer.status_code != 202]
    assert 5 <= len(refused) <= 10
    assert refused[0].status_code == 429
    assert refused[0].json()["detail"] == "100 images wait already; try again when some are done"
    assert refused[0].headers["retry-after"]
    page.clear()
    page.wait()


@pytest.mark.slow
def test_a_slow_client_keeps_nobody_waiting(start, run_folders, tissue):
    """Others get their answers meanwhile, and the slow one is told."""
    code = (
        "import sys\nfrom bchisto.core.formats import limits\nlimits.SERVED_IDLE_SECONDS = 1\n"
        "from bchisto.cli import main\nmain(sys.argv[1:])"
    )

    def started(*arguments):
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    with serving(started, run_folders / "first run") as page:
        host, _, port = page.base.removeprefix("http://").partition(":")
        with contextlib.closing(socket.create_connection((host, port))) as line:
            line.sendall(
                f"POST /api/images?name=slow.png HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {page.token}\r\n"
                "Content-Length: 1000\r\n\r\nsome".encode()
            )
            page.add("a.png", next(tissue.rglob("*.png")).read_bytes())
            assert page.wait()["a.png"]["state"] == "done"
            answer = line.recv(1000)
        assert b" 408 " in answer
        assert list(page.wait()) == ["a.png"]


def test_nothing_is_kept_and_an_interrupt_ends_it(start, run_folders, tissue, tmp_path):
    with serving(start, run_folders / "first run", env={**os.environ, "TMPDIR": str(tmp_path)}) as page:
        page.add("a.png", next(tissue.rglob("*.png")).read_bytes())
        page.wait()
        assert list(tmp_path.rglob("a.png"))
        code, _, err = page.stop()
    assert code == 0, err
    assert not list(tmp_path.iterdir())
    assert "Traceback" not in err


def test_what_is_to_be_kept(start, cli, run_folders, tissue, tmp_path):
    """The folder holds what `predict` makes of its images."""
    kept, files = tmp_path / "kept", sorted(tissue.rglob("*.png"))[:3]
    with serving(start, run_folders / "first run", "--keep", kept) as page:
        for path in files:
            number = page.add(f"slide é/{path.name}", path.read_bytes()).json()["number"]
        page.wait()
        page.client.delete(f"/api/images/{number}")
        assert page.stop()[0] == 0
    assert sorted(path.name for path in kept.iterdir()) == ["images", "predictions.csv", "predictions.html"]
    predict(run_folders / "first run", kept / "images", out=tmp_path / "p.csv", work=Work(jobs=1))
    assert (kept / "predictions.csv").read_text() == (tmp_path / "p.csv").read_text()
    code, _, err = cli("serve", run_folders / "first run", "--keep", kept)
    assert code == 2
    assert "holds other files" in err


@pytest.mark.slow
def test_a_restart(start, run_folders, tissue, tmp_path):
    """A page that was killed starts again at its port, with its token, and answers those who ask again."""
    content, token = next(tissue.rglob("*.png")).read_bytes(), tmp_path / "token"
    token.write_text("a-token-of-24-characters\n")
    with serving(start, run_folders / "first run", "--token-file", token) as page:
        page.add("a.png", content)
        port = page.base.rpartition(":")[2]
        page.stop(signal.SIGKILL)

    def at_port(*words, **options):
        return start(*words[:-1], port, **options)

    with serving(at_port, run_folders / "first run", "--token-file", token) as again:
        assert again.base == page.base
        assert again.client.get("/api/images").json() == []
        again.add("a.png", content)
        assert again.wait()["a.png"]["state"] == "done"


def test_two_models(start, run_folders, tissue, tmp_path):
    """Each has its own images and table."""
    shutil.copytree(run_folders / "first run" / "boost" / "3-lightgbm", tmp_path / "other")
    with serving(start, run_folders / "first run", tmp_path / "other") as page:
        for model, path in enumerate(list(tissue.rglob("*.png"))[:2]):
            page.add(path.name, path.read_bytes(), model=model)
        names = list(page.wait())
        assert [model["name"] for model in page.client.get("/api/models").json()] == ["3-lightgbm", "other"]
        for model, name in enumerate(names):
            for where in ("/", "/api/predictions.csv"):
                text = page.client.get(where, params={"model": model}).text
                assert name in text
                assert names[1 - model] not in text
        for where in ("/", "/results", "/api/predictions.csv"):
            assert page.client.get(where, params={"model": 2}).status_code == 404


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0: others can reach this address; give a --token-file"),
        (["--token-file", "short"], "short: no token of at least 20"),
        (["--token-file", "missing"], "missing: cannot be read"),
        (["--runs", "missing"], "--runs missing: no such folder"),
        (["--host", "192.0.2.1", "--token-file", "long"], "--host 192.0.2.1, --port 8600: cannot answer there"),
    ],
)
def test_what_is_refused(cli, run_folders, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short").write_text("secret")
    (tmp_path / "long").write_text("x" * 30)
    code, _, err = cli("serve", run_folders / "first run", *options)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_without_the_extra(cli, run_folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    code, _, err = cli("serve", run_folders / "first run")
    assert code == 2
    assert "pip install" in err
    assert "fastapi" in err


def test_the_snippet_of_the_documents(page, tissue, tmp_path, monkeypatch, capsys):
    """What docs/serve.md shows of the JSON runs as it stands there."""
    text = (Path(__file__).parents[2] / "docs" / "serve.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for path in list(tissue.rglob("*.png"))[:2]:
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BCHISTO_ADDRESS", page.base)
    monkeypatch.setenv("BCHISTO_TOKEN", page.token)
    exec(compile(code, "serve.md", "exec"), {})
    assert (tmp_path / "predictions.csv").read_text().count("\n") == 3
    assert json.loads(json.dumps(capsys.readouterr().out))
