"""`bchisto serve --label`: answers in the manifest of `bchisto next`, as programs give them."""

import asyncio
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from bchisto.apps.next import NextSettings, choose_next
from bchisto.apps.serve.rounds import (
    Rounds,
    answer_in,
    give_answer,
    read_round,
    take_labels,
    train_models,
)
from bchisto.core import InputError
from conftest import typed, write_tissue
from fastapi import HTTPException
from page_server import serving
from written_tables import read_json, rows_of, written

CLASSES = ("gutartig, klar", 'bösartig "G3"', "-unklar'")
"""Commas, quotes and umlauts; the last begins as a formula does."""


def label_of(row):
    return row["label"].removeprefix("'")  # by which tables protect what begins like a formula


def row_of(number, round_number=2, **cells):
    return {
        "path": f"/Bilder ü, 'x'/{number}.png",
        "Färbung, Ort": 'HE; "alt"',
        "image_id": f"ü/a,b '{number}'.png",
        "label": "",
        "chosen": f"doubt {round_number}",
        "why": "unsure: gutartig, klar 51 % (2 labels), x 49 % (1 label)",
        **cells,
    }


@pytest.fixture
def manifest(tmp_path):
    """Six images of the second round, and two of the first, in an odd folder."""
    path = tmp_path / "Läufe, 'neu'" / "next" / "manifest.csv"
    rows = [row_of(number) for number in range(6)]
    rows += [
        row_of(6, 1, label=CLASSES[0], chosen="doubt 1, random 2"),
        row_of(7, 1, label="Neue", chosen="random 1", why="drawn at random"),
    ]
    written(path, rows)
    return path


def name_of(number):
    return row_of(number)["image_id"]


def give(manifest, number, answer, seen="", suggested=False):
    give_answer(manifest, CLASSES, name_of(number), answer, seen=seen, suggested=suggested)


def test_a_round_is_what_the_manifest_says(manifest):
    current = read_round(manifest, CLASSES)
    assert current.number == 2
    assert [*current.rows] == [name_of(k) for k in range(6)]
    assert current.labels == 2
    assert current.classes == [*CLASSES, "Neue"]


def test_answers_are_written_at_once_and_nothing_else_changes(manifest):
    before = rows_of(manifest)
    for number, label in enumerate([*CLASSES, "Neue"]):
        give(manifest, number, f"={label}")
        assert label_of(rows_of(manifest)[number]) == label
    give(manifest, 4, "?")
    give(manifest, 5, f"={CLASSES[1]}", suggested=True)
    rows = rows_of(manifest)
    assert [row["cannot_be_told"] for row in rows] == ["", "", "", "", "yes", "", "", ""]
    assert [row["suggested"] for row in rows] == ["", "", "", "", "", "yes", "", ""]
    changed = ("label", "cannot_be_told", "suggested")
    for old, new in zip(before, rows, strict=True):
        assert {k: v for k, v in new.items() if k not in changed} == {
            k: v for k, v in old.items() if k not in changed
        }
    current = read_round(manifest, CLASSES)
    assert current.labels == 7, "what cannot be told is not a label"
    assert [answer_in(row) for row in current.rows.values()][3:] == ["=Neue", "?", f"={CLASSES[1]}"]


def test_undo_and_what_was_suggested_stays_so(manifest):
    give(manifest, 0, "?", suggested=True)
    give(manifest, 0, "", "?")
    assert rows_of(manifest)[0]["label"] == rows_of(manifest)[0]["cannot_be_told"] == ""
    give(manifest, 0, f"={CLASSES[2]}")
    give(manifest, 0, f"={CLASSES[1]}", f"={CLASSES[2]}")
    row = rows_of(manifest)[0]
    assert (row["label"], row["cannot_be_told"], row["suggested"]) == (CLASSES[1], "", "yes")


@pytest.mark.parametrize(
    ("present", "words"),
    [("=Neue", "by now, =Neue"), ("?", r"by now, \?")],
)
def test_a_stale_answer_is_refused_and_says_what_is_there(manifest, present, words):
    give(manifest, 0, present)
    before = manifest.read_bytes()
    with pytest.raises(HTTPException, match=words) as refused:
        give(manifest, 0, f"={CLASSES[0]}")
    assert refused.value.status_code == 409
    with pytest.raises(HTTPException, match=words):
        give(manifest, 0, "", f"={CLASSES[0]}")
    give(manifest, 0, present)  # sent again, as after a lost connection
    assert manifest.read_bytes() == before
    give(manifest, 0, "", present)
    with pytest.raises(HTTPException, match="by now, none"):
        give(manifest, 0, f"={CLASSES[0]}", present)


@pytest.mark.parametrize(
    ("image_id", "answer"),
    [
        ("../x", "="),
        (row_of(0)["path"], "=Neue"),
        (name_of(6), "=Neue"),
        (name_of(0), "=other"),
        (name_of(0), "Neue"),
        (name_of(0), "="),
    ],
)
def test_only_images_of_the_round_and_classes_of_the_run(manifest, image_id, answer):
    before = manifest.read_bytes()
    with pytest.raises(HTTPException) as refused:
        give_answer(manifest, CLASSES, image_id, answer, seen="", suggested=False)
    assert refused.value.status_code == 404
    assert manifest.read_bytes() == before


@pytest.mark.parametrize("text", ["", "path,label\na,b\n", "\x00\x01"])
def test_a_manifest_that_somebody_spoils_is_one_line(manifest, text):
    manifest.write_text(text)
    with pytest.raises(InputError):
        read_round(manifest, CLASSES)
    assert manifest.read_text() == text


@pytest.mark.parametrize(("classes", "labels"), [(["Unknown"], 3), ([], 2)])
def test_unknown_is_a_label_if_a_class_has_that_name(manifest, classes, labels):
    give_answer(manifest, ["Unknown"], name_of(0), "=Unknown", seen="", suggested=False)
    assert read_round(manifest, classes).labels == labels


@pytest.mark.parametrize("chosen", ["", "doubt", "a lot"])
def test_a_spoiled_column_is_one_line(manifest, chosen):
    written(manifest, [row_of(0, chosen=chosen)])
    with pytest.raises(InputError, match="its column chosen is not as bchisto next wrote it"):
        read_round(manifest, CLASSES)


WRITER = """
import sys
from pathlib import Path
from bchisto.apps.serve.rounds import give_answer
from fastapi import HTTPException
manifest = Path(sys.argv[1])
for image in sys.argv[3:]:
    try:
        give_answer(manifest, ["a", "b"], image, "=" + sys.argv[2], seen="", suggested=False)
        print(image, flush=True)
    except HTTPException as error:
        assert error.status_code == 409
"""


def writer(manifest, label, images):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(manifest), label, *images],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_writers_lose_nothing(tmp_path):
    manifest = tmp_path / "manifest.csv"
    names = [f"{k}" for k in range(16)]
    written(manifest, [row_of(0, image_id=name) for name in names])
    # both answer the middle ones
    writers = {"a": writer(manifest, "a", names[:12]), "b": writer(manifest, "b", names[:3:-1])}
    told = {
        label: process.communicate(timeout=120)[0].split() for label, process in writers.items()
    }
    assert {process.returncode for process in writers.values()} == {0}
    assert sorted(told["a"] + told["b"]) == sorted(names), "each was accepted once"
    assert {row["image_id"]: row["label"] for row in rows_of(manifest)} == {
        name: label for label, accepted in told.items() for name in accepted
    }


STEPPED = """
import os, signal, sys
from pathlib import Path
from bchisto.apps.serve import rounds

manifest = Path(sys.argv[1])
before = manifest.read_bytes()

def answer():
    rounds.give_answer(manifest, ["a", "b"], "1", "=b", seen="", suggested=False)

def answer_until(step):
    seen = 0
    def count(frame, event, argument):
        nonlocal seen
        if event in ("call", "c_call"):
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(count)
    answer()
    sys.setprofile(None)
    print(seen, flush=True)

answer()  # so that the steps are those of an answer, not of imports
for step in map(int, sys.argv[2:]):
    manifest.write_bytes(before)
    child = os.fork()
    if child == 0:
        answer_until(step)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == (0 if step < 0 else -signal.SIGKILL), (step, code)
    Path(manifest.parents[1], f"left at {step}.csv").write_bytes(manifest.read_bytes())
    answer()
    Path(manifest.parents[1], f"answered after {step}.csv").write_bytes(manifest.read_bytes())
"""


def stepped(manifest, *steps):
    """Answer in processes that are killed at these steps, and again after each; return what is printed."""
    command = [sys.executable, "-c", STEPPED, str(manifest), *map(str, steps)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_kill_between_any_two_steps_leaves_the_old_or_the_new_table(tmp_path):
    manifest = tmp_path / "next" / "manifest.csv"
    rows = [row_of(0, image_id=str(k), label="a" if k != 1 else "") for k in range(3)]
    written(manifest, rows)
    count = int(stepped(manifest, -1))
    written(manifest, rows)
    # the steps around the end, where the file is replaced, one by one
    steps = [*range(1, count - 40, max(1, count // 10)), *range(max(1, count - 40), count + 1)]
    stepped(manifest, *steps)
    after = set()
    for step in steps:
        labels = [row["label"] for row in rows_of(tmp_path / f"left at {step}.csv")]
        assert labels in (["a", "", "a"], ["a", "b", "a"])
        after.add(labels[1])
        answered = rows_of(tmp_path / f"answered after {step}.csv")
        assert [row["label"] for row in answered] == ["a", "b", "a"], "no lock is left"
    assert after == {"", "b"}


def make_run(root, completed, tiny_options, *, labelled=2, per_class=15):
    """The run of a stranger, some of whose images have a label."""
    write_tissue(root / "für alle", per_class=per_class, classes=("gut", "böse"))
    images = sorted((root / "für alle").rglob("*.png"))
    rows = [
        {
            "path": image.relative_to(root).as_posix(),
            "label": image.parent.name if place % per_class < labelled else "",
            "patient": f"Fall {place % 6}",
        }
        for place, image in enumerate(images)
    ]
    written(root / "tabelle.csv", rows)
    run = root / "lauf"
    completed("featurize --images {} --out {}", root / "tabelle.csv", run, *tiny_options)
    return run


@pytest.fixture(scope="module")
def strange(tmp_path_factory, tiny_options):
    from bchisto.cli import main

    def completed(*words):
        with pytest.raises(SystemExit) as ended:
            main(typed(*words))
        assert ended.value.code == 0

    return make_run(tmp_path_factory.mktemp("label") / "Zürich, ü", completed, tiny_options)


def state(page):
    return page.client.get("/api/labels").raise_for_status().json()


def put(page, image, answer, **query):
    query = {"image_id": image["image_id"], "answer": answer, "seen": image["answer"], **query}
    return page.client.put("/api/labels", params=query)


def true_answer(image):
    return "=gut" if "/gut/" in image["image_id"] else "=böse"


def wait(page, until):
    end = time.monotonic() + 300
    while not until(current := state(page)):
        assert time.monotonic() < end, {
            name: current[name] for name in ("doing", "trouble", "figures", "notes")
        }
        time.sleep(0.2)
    return current


@pytest.fixture(scope="module")
def labelling_page(strange, tmp_path_factory, start):
    """A page on a run of which it chooses images, and these choices."""
    run = Path(shutil.copytree(strange, tmp_path_factory.mktemp("page") / "ein Lauf"))
    choose_next(run, settings=NextSettings(count=6, strategy="doubt"))
    with serving(start, run, "--label") as page:
        yield page, run, (run / "next" / "manifest.csv").read_bytes()


@pytest.fixture
def labelling(labelling_page):
    """The page in its first round, and the run."""
    page, run, manifest = labelling_page
    (run / "next" / "manifest.csv").write_bytes(manifest)
    return page, run


def test_rounds_by_the_api(labelling, tmp_path):
    page, run = labelling
    manifest = run / "next" / "manifest.csv"
    current = state(page)
    assert current["number"] == 1
    assert sorted(current["classes"]) == ["böse", "gut"]
    assert [image["answer"] for image in current["images"]] == [""] * 6
    assert current["images"][0]["suggestion"] == "", "drawn at random"
    assert "(2 labels)" in current["images"][-1]["suggestion"]
    for image in current["images"][1:]:
        assert put(page, image, true_answer(image)).status_code == 200
    # not complete: nothing is chosen
    assert page.client.post("/api/rounds", params={"number": 1}).json()["number"] == 1
    put(page, current["images"][0], "?")
    begun = page.client.post("/api/rounds", params={"number": 1}).json()
    assert begun["number"] == 2
    assert len(begun["images"]) == 6
    assert {image["image_id"] for image in begun["images"]}.isdisjoint(
        image["image_id"] for image in current["images"]
    )
    # a second tab asks for the same round
    assert page.client.post("/api/rounds", params={"number": 1}).json()["number"] == 2
    stale = put(page, current["images"][1], "?")
    assert stale.status_code == 404
    assert "is not an image of round 2, which is the last" in stale.json()["detail"]
    trained = wait(page, lambda current: current["figures"])
    wait(page, lambda current: not current["doing"])
    assert trained["trouble"] == ""
    assert "of 9 images right" in trained["figures"], "four labels of before and five new ones"
    records = read_json(run / "run.json")["records"]
    assert [record["command"] for record in records] == ["featurize", "featurize", "boost"]
    rows = rows_of(manifest)
    assert sum(row["label"] != "" for row in rows) == 5
    assert [row["image_id"] for row in rows if row["cannot_be_told"]] == [
        current["images"][0]["image_id"]
    ]
    # the page opened again goes on: it gets the figures from the models that are there, or trains them; a copy of the
    # run trains itself, and not the run that its files name
    before = (run / "run.json").read_bytes()
    copy = Path(shutil.copytree(run, tmp_path / "copy of it"))
    again = Rounds(copy, None, tmp_path)
    assert (again.state()["number"], again._is_due) == (2, True)
    dataset = take_labels(copy, copy / "next")
    assert train_models(copy, again._store, dataset) == trained["figures"]
    assert (run / "run.json").read_bytes() == before != (copy / "run.json").read_bytes()


def answered(rounds, answer):
    """Answer all images of a round."""
    for image in rounds.state()["images"]:
        rounds.give(image["image_id"], answer(image), seen=image["answer"], suggested=False)


def test_what_stops_training_is_told(strange, run_copy, tmp_path):
    run = run_copy(strange)
    rounds = Rounds(run, None, tmp_path)

    async def trained():
        return await rounds._train()

    answered(rounds, lambda image: "?")
    rounds.begin(1)
    (run / "next" / "featurize.json").write_text("no options")
    assert "featurize.json: expected a mapping of option names" in asyncio.run(trained())
    assert rounds.state()["figures"] == ""


def test_a_manifest_that_was_spoiled_begins_no_round(strange, run_copy, refused, tmp_path):
    run = run_copy(strange)
    choose_next(run, settings=NextSettings(count=3))
    manifest = run / "next" / "manifest.csv"
    rounds = Rounds(run, None, tmp_path)
    answered(rounds, true_answer)
    good = rows_of(manifest)
    bad = [
        {**row, "label": "bösse" if place == 1 else row["label"]} for place, row in enumerate(good)
    ]
    for rows, message in (
        (bad, "its label bösse: did you mean böse?"),
        ([*good, good[0]], "has two rows of one image"),
    ):
        written(manifest, rows)
        with pytest.raises(InputError, match=re.escape(message)):
            rounds.begin(1)
        assert message in refused("serve {} --label", run)
        assert rows_of(manifest) == rows
    written(manifest, [*good, {**good[0], "image_id": "fort.png"}])
    rounds.begin(1)
    begun = rounds.state()
    assert begun["number"] == 2
    assert begun["notes"].startswith("labels of images that the run lacks do not count: fort.png")


def test_when_no_image_is_left_the_last_labels_still_count(tmp_path, completed, tiny_options):
    run = make_run(tmp_path / "wenig", completed, tiny_options, per_class=6)
    choose_next(run, settings=NextSettings(count=8))
    rounds = Rounds(run, None, tmp_path)
    answered(rounds, true_answer)
    rounds.begin(1)
    ended = rounds.state()
    assert ended["number"] == 1
    # the run is named, not its files
    assert ended["notes"].startswith(f"{run}: each of its 12 images has a label, was chosen before")
    assert rounds._is_due
    dataset = take_labels(run, run / "next")
    assert sum(dataset.class_counts().values()) == 12


def test_who_may_label(labelling):
    page, _ = labelling
    with httpx.Client(timeout=60, verify=False) as bare:
        bare.base_url = page.base
        image = state(page)["images"][0]
        query = {"image_id": image["image_id"], "answer": "=gut", "seen": ""}
        for method, path in (("PUT", "labels"), ("POST", "rounds"), ("GET", "labels")):
            assert bare.request(method, f"/api/{path}", params=query).status_code == 401
        entered = bare.get("/", params={"token": page.token})
        folder = entered.text.partition("url=")[2].partition('"')[0]
        assert bare.put(f"{folder}api/labels", params=query).status_code == 403
        assert bare.post(f"{folder}api/rounds?number=1").status_code == 403
    assert state(page)["images"][0]["answer"] == ""
    assert put(page, image, "=gut").status_code == 200
    stale = put(page, image, "=böse")
    assert stale.status_code == 409
    assert stale.headers["x-seen"] == "%3Dgut"
    assert stale.json()["detail"] == f"{image['image_id']}: has another answer by now, =gut"
    assert put(page, {**image, "image_id": "/etc/passwd"}, "?").status_code == 404
    for name in ("/etc/passwd", "../run.json", "none.png"):
        answer = page.client.get("/api/labels/picture.jpg", params={"image_id": name})
        assert answer.status_code == 404
    assert page.client.put("/api/labels").status_code == 422
    assert page.add("x.png", b"1").status_code in (404, 405), "nothing is predicted here"


def test_pictures(labelling, tmp_path):
    page, run = labelling
    manifest = run / "next" / "manifest.csv"
    large, text = tmp_path / "large.png", tmp_path / "text.png"
    with large.open("wb") as file:
        file.truncate((256 << 20) + 1)
    text.write_text("no image")
    rows = rows_of(manifest)[:5]
    for row, path in zip(rows[1:], (large, text, tmp_path / "gone.png", ""), strict=True):
        row["path"] = str(path)
    written(manifest, rows)
    picture, *answers = [
        page.client.get("/api/labels/picture.jpg", params={"image_id": row["image_id"]})
        for row in rows
    ]
    assert picture.headers["content-type"] == "image/jpeg"
    assert [answer.status_code for answer in answers] == [422, 422, 404, 404]
    assert "large.png" not in answers[0].json()["detail"]
    assert rows[1]["image_id"] in answers[0].json()["detail"]
    assert "not a TIFF, PNG or JPEG image" in answers[1].json()["detail"]
    assert "its file is not there" in answers[2].json()["detail"]
    manifest.write_text("spoiled")
    answer = page.client.get("/api/labels")
    assert answer.status_code == 422
    assert str(manifest) in answer.json()["detail"]


def test_what_is_refused(strange, run_copy, refused, tmp_path, completed, tiny_options):
    run = run_copy(strange)
    for more in (("--keep", tmp_path / "k"), (run,), ("--weights", "tiny=x")):
        assert "--label: takes one run" in refused("serve {} --label", run, *more)
    assert "no feature file" in refused("serve {} --label", tmp_path)
    (run / "next").mkdir()
    (run / "next" / "manifest.csv").write_text("a;b\n1;2\n")
    assert str(run / "next" / "manifest.csv") in refused("serve {} --label", run)
    unlabelled = make_run(tmp_path / "ohne", completed, tiny_options, labelled=0, per_class=4)
    told = refused("serve {} --label", unlabelled)
    assert "fewer than two classes are known; name them with" in told
    assert "--classes" in told


def opened(chrome, page, errors):
    context = chrome.new_context(viewport={"width": 1200, "height": 900})
    window = context.new_page()
    window.on("pageerror", lambda error: errors.append(str(error)))
    window.goto(page.address)
    ready(window)
    return window


def ready(window):
    """Wait until an image is there, and its buttons."""
    window.wait_for_selector("#classes button")
    drawn(window)


def drawn(window):
    """Wait until the picture is that of the name, and complete."""
    window.wait_for_function(
        "() => { const image = document.querySelector('#shown img');"
        " const name = document.querySelector('#name').textContent;"
        " return image.naturalWidth && image.complete"
        " && new URL(image.src).searchParams.get('image_id') === name; }"
    )


def shown_in(window):
    return window.inner_text("#name")


def key_of(window, image_id):
    """The key of the true class, as the page names it."""
    label = true_answer({"image_id": image_id})[1:]
    (key,) = (
        text.partition(" = ")[0]
        for text in window.locator("#classes button").all_inner_texts()
        if text.endswith(f" = {label}")
    )
    return key


def press(window, key, *, moves=True):
    before = shown_in(window)
    window.keyboard.press(key)
    if moves:
        window.wait_for_function(
            "name => document.querySelector('#name').textContent !== name", arg=before
        )
        if shown_in(window):
            drawn(window)
            window.wait_for_timeout(100)


def label_rightly(window, told):
    """Press the key of the true class of the image that is shown, note its label, and return the image."""
    image = shown_in(window)
    press(window, key_of(window, image))
    told[image] = true_answer({"image_id": image})[1:]
    return image


@pytest.mark.slow
def test_a_person_labels_a_round(chrome, start, completed, tiny_options, tmp_path):
    run = make_run(tmp_path / "Zürich, ü", completed, tiny_options)
    completed("next {} --strategy doubt --count 6", run)
    manifest = run / "next" / "manifest.csv"
    errors = []
    told = {}
    with serving(start, run, "--label") as page:
        window = opened(chrome, page, errors)
        assert window.inner_text("#progress") == "0 of 6 of round 1, 4 labels in all"
        heights = window.locator("#round button:visible").evaluate_all(
            "all => all.map(button => button.getBoundingClientRect().height)"
        )
        assert min(heights) >= 44
        assert window.inner_text("#suggestion") == ""
        second = opened(chrome, page, errors)
        image = shown_in(window)
        assert shown_in(second) == image
        # a wrong key, taken back, and the right one
        wrong = "2" if key_of(window, image) == "1" else "1"
        press(window, wrong)
        assert "Stored" in window.inner_text("#status")
        press(window, "u")
        assert shown_in(window) == image
        assert rows_of(manifest)[0]["label"] == ""
        label_rightly(window, told)
        # the second tab has seen no label: it is asked, and keeps what stands there
        asked = []
        second.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
        press(second, "0")
        (text,) = asked
        assert f"{image}: somebody has answered meanwhile, {told[image]}. Replace that by" in text
        assert rows_of(manifest)[0]["label"] == told[image]
        # what somebody else has put there, this tab does not take back unasked
        of_image = {"image_id": image, "answer": f"={told[image]}"}
        assert put(page, of_image, "?").status_code == 200
        window.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
        press(window, "u", moves=False)
        window.wait_for_selector("text=somebody has answered meanwhile, cannot be told")
        assert len(asked) == 2
        assert rows_of(manifest)[0]["cannot_be_told"] == "yes"
        of_image["answer"] = "?"
        assert put(page, of_image, f"={told[image]}").status_code == 200
        window.reload()
        ready(window)
        # the next image is zoomed and labelled beside the suggestion, then by the other tab all the same
        image = shown_in(window)
        window.keyboard.press("z")
        assert window.get_attribute("#zoom", "aria-pressed") == "true"
        window.keyboard.press("z")
        for _ in range(2):
            if not window.is_visible("#suggest"):  # drawn at random
                label_rightly(window, told)
                image = shown_in(window)
        window.keyboard.press("s")
        window.wait_for_selector("#suggestion:has-text('(2 labels)')")
        # it is on the disk before it is seen: another tab may answer, and this one be closed
        assert {row["image_id"] for row in rows_of(manifest) if row["suggested"]} == {image}
        window.reload()
        ready(window)
        assert (shown_in(window), window.inner_text("#suggestion")) == (image, "")
        suggested = label_rightly(window, told)
        assert window.inner_text("#suggestion") == ""
        # a reload loses nothing
        window.reload()
        ready(window)
        # what is wrong is told, and no longer once it is mended
        content = manifest.read_bytes()
        manifest.write_bytes(content[:-9])
        manifest.write_text("spoiled")
        window.wait_for_selector("#status:has-text('The page says: ')")
        window.keyboard.press("1")
        window.wait_for_timeout(500)
        assert "The page says: " in window.inner_text("#status")
        manifest.write_bytes(content)
        window.wait_for_selector("#status", state="hidden")
        assert f"{len(told)} of 6 of round 1" in window.inner_text("#progress")
        label_rightly(window, told)
        page.stop(signal.SIGKILL)
        assert {row["image_id"]: row["label"] for row in rows_of(manifest) if row["label"]} == told
        window.keyboard.press("0")
        window.wait_for_selector("text=The page does not answer")
    with serving(start, run, "--label") as page:
        window = opened(chrome, page, errors)
        assert f"{len(told)} of 6 of round 1" in window.inner_text("#progress")
        while image := shown_in(window):
            assert image not in told
            if len(told) == 5:
                press(window, "0")
                cannot = image
            else:
                label_rightly(window, told)
        window.wait_for_selector("text=Round 1 is complete.")
        window.keyboard.press("Enter")
        ready(window)
        assert window.inner_text("#progress") == "0 of 6 of round 2, 9 labels in all"
        assert shown_in(window) not in {*told, cannot}
        # while the models are trained, the next round goes on
        label_rightly(window, told)
        window.wait_for_selector("#figures:has-text('of 9 ')", timeout=240_000)
        assert wait(page, lambda current: not current["doing"])["trouble"] == ""
        rows = rows_of(manifest)
        assert {row["image_id"]: row["label"] for row in rows if row["label"]} == told
        assert [row["image_id"] for row in rows if row["cannot_be_told"]] == [cannot]
        assert [row["image_id"] for row in rows if row["suggested"]] == [suggested]
        assert state(page)["labels"] == 4 + len(told) == 10
        assert window.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert errors == []
