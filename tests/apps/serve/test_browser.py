"""The page in a browser: images in, results, maps, errors; by keyboard, on a phone, for a screen reader."""

import contextlib
import http.server
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest
from page_server import serving

pytestmark = pytest.mark.slow

PICTURES = os.environ.get("BCHISTO_PICTURES")
"""A folder for what the documents show."""


@pytest.fixture
def tab(chrome, page):
    """Return a function that opens the page in a window of that width; at the end nothing may be on its console."""
    contexts, said, kinds = [], [], ("error", "warning")

    def opened(width=1200, height=900, served=None, **options):
        contexts.append(chrome.new_context(viewport={"width": width, "height": height}, **options))
        window = contexts[-1].new_page()
        window.on(
            "console", lambda message: said.append(message.text) if message.type in kinds else None
        )
        window.on("pageerror", lambda error: said.append(str(error)))
        window.goto((served or page).address)
        window.wait_for_selector("#files", state="attached")
        window.wait_for_load_state()  # with its script
        assert "token" not in window.url
        return window

    yield opened
    for context in contexts:
        context.close()
    # the browser also tells that somebody else's label stands there, and that there is no network
    expected = ("status of 409 (Conflict)", "net::ERR_INTERNET_DISCONNECTED")
    assert [text for text in said if not any(words in text for words in expected)] == []


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    from bchisto.data.synthetic import make_tissue
    from PIL import Image

    folder = tmp_path_factory.mktemp("slides")
    for number, kind in enumerate(("Normal", "Benign", "InSitu", "Invasive")):
        Image.fromarray(make_tissue(kind, seed=3, index=number, size=(512, 384))).save(
            folder / f"slide {number}.tif"
        )
    return sorted(folder.iterdir())


def send(window, paths, *, expected):
    window.set_input_files("#files", [str(path) for path in paths])
    listed(window, expected)


def listed(window, count):
    """Wait until so many images are in the table."""
    from playwright.sync_api import expect

    expect(window.locator("#images tbody tr")).to_have_count(count, timeout=120_000)


def shown(window):
    """Wait until every picture is there."""
    eager = "Promise.all([...document.images].map(image => { image.loading = 'eager'; return image.decode(); }))"
    window.evaluate(eager)


def confidences(window):
    """Of the rows that are shown, in their order."""
    cells = window.locator("#images tr:not([hidden]) td:nth-child(3)").all_inner_texts()
    return [float(text.split()[-2 if ":" in text else 0]) for text in cells]


def serious(window):
    """What axe finds that keeps somebody out."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(window).response["violations"]
    return [
        (fault["id"], [node["html"] for node in fault["nodes"]])
        for fault in found
        if fault["impact"] != "minor"
    ]


def fits(window):
    window.wait_for_load_state()  # with its styles
    return window.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def keep(window, name, scheme):
    if PICTURES and scheme == "light":
        window.screenshot(path=str(Path(PICTURES) / name), full_page=True, quality=52)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_from_files_to_a_map(tab, files, tmp_path, scheme):
    window = tab(color_scheme=scheme)
    assert not serious(window)
    bad = tmp_path / "bad.tif"
    bad.write_text("not an image")
    send(window, [*files, bad], expected=len(files))
    window.wait_for_selector("#failed-head")
    assert "bad.tif: not a TIFF, PNG or JPEG image" in window.inner_text("#results")
    assert f"{len(files)} of {len(files) + 1} predicted, 1 could not be used" in window.inner_text(
        "#progress"
    )
    assert confidences(window) == sorted(confidences(window))
    shown(window)
    assert not serious(window)
    keep(window, "serve.jpg", scheme)
    with window.expect_download() as download:
        window.click("text=Table (CSV)")
    assert Path(download.value.path()).read_text().count("\n") == len(files) + 1
    window.locator("#images a").first.click()
    window.click("#draw")
    window.wait_for_selector("text=Limitations:")
    shown(window)
    assert not serious(window)
    window.select_option("select[name=target]", label="malignant")
    window.click("#draw")
    window.wait_for_selector("text=Map of malignant")
    assert not serious(window)
    with window.expect_popup() as opened:
        window.click("a:has(img[alt='The image'])")
    opened.value.wait_for_load_state()
    pixels = "[document.images[0].naturalWidth, document.images[0].naturalHeight]"
    assert opened.value.evaluate(pixels) == [512, 384]


def test_with_the_keyboard_only(tab, files):
    window = tab()

    def to(wanted, key="Tab"):
        for _ in range(40):
            window.keyboard.press(key)
            if window.evaluate(f"document.activeElement.matches({wanted!r})"):
                return
        raise AssertionError(f"no way to {wanted}")

    window.keyboard.press("Tab")
    assert window.evaluate("document.activeElement.className") == "skip"
    window.keyboard.press("Enter")
    assert window.evaluate("document.activeElement.id") == "content"
    to("#files")
    # the dialog is the browser's own
    window.set_input_files("#files", [str(path) for path in files])
    listed(window, len(files))
    to("#images a")
    window.keyboard.press("Enter")
    window.wait_for_selector("#draw")
    to("#draw")
    window.keyboard.press("Enter")
    window.wait_for_selector("text=Limitations:")


def dropped(window, *paths, at=(5, 5)):
    """Drop files and folders as a desktop does."""
    session = window.context.new_cdp_session(window)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send(
            "Input.dispatchDragEvent", {"type": kind, "x": at[0], "y": at[1], "data": data}
        )


def folders_of(files, root, count):
    """Folders of patients whose images have the same names, and the names that the page gives them."""
    names = [
        f"patient{patient}/deep/img{number}.png" for patient in range(count) for number in range(2)
    ]
    for at, name in enumerate(names):
        (root / name).parent.joinpath("__MACOSX").mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(files[at % len(files)].read_bytes())
        for other in ("Thumbs.db", ".hidden.png", "__MACOSX/c.png"):
            (root / name).parent.joinpath(other).write_bytes(b"no image")
    return sorted(names)


@pytest.mark.parametrize("together", [True, False])
def test_dropped_folders_keep_their_names(tab, files, page, tmp_path, together):
    """Wherever on the page they are dropped; dropping them again adds nothing."""
    names = folders_of(files, tmp_path, 2)
    window, folders = tab(), sorted(tmp_path.iterdir())
    for _ in range(2):
        for some in [folders] if together else [[folder] for folder in folders]:
            dropped(window, *some)
            window.wait_for_selector("#status:has-text('sent')")
            window.evaluate("document.getElementById('status').textContent = ''")
        listed(window, len(names))
    assert sorted(window.locator("#images th span").all_inner_texts()) == names
    assert sorted(page.wait()) == names
    assert window.inner_text("#refused") == ""
    window.set_input_files("#folder", str(folders[0]))
    window.wait_for_selector("text=2 images were sent")
    assert sorted(page.wait()) == names


def test_without_the_network(tab, files, page):
    """What was not stored is told, and can be stored later; a filter stays as it was chosen."""
    window, other = tab(), tab()
    opened_image(window, page, files, 2)
    listed(other, 2)
    other.check("#new")
    window.select_option("#label", "malignant")
    window.context.set_offline(True)
    window.click("#review")
    window.wait_for_selector("text=The page does not answer")
    assert chosen(window) == "malignant"
    window.context.set_offline(False)
    window.click("#review")
    window.wait_for_selector("text=Reviewed.")
    other.wait_for_selector("text=1 of 2 images, by confidence, ascending.")
    assert other.is_checked("#new")


def test_without_javascript(chrome, page, files):
    """A person can read everything, and no class is chosen for her."""
    number = page.add(files[0].name, files[0].read_bytes()).json()["number"]
    page.wait()
    context = chrome.new_context(java_script_enabled=False)
    window = context.new_page()
    window.goto(page.address)
    needed = "Adding, removing, labelling, filtering and sorting images needs JavaScript."
    assert needed in window.locator("noscript p").inner_text()
    assert window.locator("noscript p").is_visible()
    assert window.locator("#filters").is_hidden()
    window.click("text=Table (CSV)")
    window.click("#images a")
    window.click("#draw")
    window.wait_for_selector("text=Limitations:")
    needed = window.locator("noscript p")
    assert (needed.inner_text(), needed.is_visible()) == (
        "Labelling and removing images needs JavaScript.",
        True,
    )
    assert window.locator("#label option").all_inner_texts() == [
        "choose ...",
        "benign",
        "malignant",
        "none of these",
    ]
    page.review(number, label="malignant")
    window.reload()
    assert window.locator("#label option[selected]").all_inner_texts() == ["malignant"]
    window.click("summary:has-text('cautions')")
    assert window.locator("text=RANDOM WEIGHTS: tiny").is_visible()
    context.close()


def test_leaving_while_images_are_sent(tab, files, page, tmp_path):
    """The page warns before it loses anything; what was sent stays on the server."""
    names = folders_of(files, tmp_path, 30)
    window, asked = tab(), []
    window.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    window.route("**/api/images?*", lambda route: (time.sleep(0.05), route.continue_()))
    dropped(window, *sorted(tmp_path.iterdir()))
    window.wait_for_selector("text=more to send")
    with contextlib.suppress(Exception):
        window.goto("about:blank", timeout=2000)
    assert asked == ["beforeunload"]
    window.wait_for_selector("text=60 images were sent", timeout=120_000)
    window.goto("about:blank")
    assert asked == ["beforeunload"]
    window.go_back()
    listed(window, len(names))
    assert sorted(page.wait()) == names


@pytest.mark.parametrize(("typed", "taken"), [("0,5", 0.5), ("25", None), ("0,5,5", None)])
def test_micrometres_as_people_type_them(tab, files, page, typed, taken):
    window = tab()
    window.locator("#mpp").press_sequentially(typed)
    assert window.input_value("#mpp") == typed
    window.set_input_files("#files", str(files[0]))
    if taken is None:
        window.wait_for_selector(
            "text=Nothing was added: give micrometres per pixel from 0.02 to 20"
        )
        assert page.images() == []
        return
    listed(window, 1)
    assert page.wait()[files[0].name]["mpp"] == taken
    window.locator("#images a").click()
    assert window.locator("tr", has_text="Micrometres per pixel").locator("td").inner_text() == str(
        taken
    )


def test_a_review_from_image_to_image(tab, files, page):
    """Label, next and previous, removal of one image; another tab sees all of it."""
    window, other = tab(), tab()
    assert window.locator("#drop").bounding_box()["y"] < 400
    send(window, files, expected=len(files))
    listed(other, len(files))
    window.locator("#images a").first.click()
    assert "1 of 4" in window.inner_text("nav")
    assert window.locator("text=Previous").count() == 0
    first = window.inner_text("h1")
    for label in ("malignant", ""):
        window.select_option("#label", label)
        window.click("#review")
        window.wait_for_selector("text=Reviewed.")
        assert page.wait()[window.inner_text("h1")]["label"] == label
        window.click("text=Next")
    window.click("text=Previous")
    window.click("#unreview")
    window.wait_for_selector("text=Mark as reviewed")
    window.click("text=Previous")
    assert window.inner_text("h1") == first
    window.click("text=All images")
    assert (
        window.locator("#images tr", has_text=first)
        .locator("[data-head='Your label']")
        .inner_text()
        == "malignant"
    )
    window.check("#new")
    assert len(confidences(window)) == 3
    window.on("dialog", lambda dialog: dialog.accept())
    window.locator("#images tbody tr:not([hidden]) button").first.click()
    listed(window, 3)
    listed(other, 3)
    other.wait_for_selector("text=malignant")
    assert len(page.wait()) == 3


def test_removing_all_asks_again_if_a_label_was_given_meanwhile(tab, files, page):
    """As here while the question is open; who then says no has removed nothing."""
    window, asked = tab(), []
    send(window, files[:2], expected=2)
    number = page.images()[0]["number"]

    def answer(dialog):
        asked.append(dialog.message)
        if len(asked) == 1:
            page.review(number, label="malignant")
        dialog.accept() if len(asked) != 2 else dialog.dismiss()

    window.on("dialog", answer)
    window.click("#remove")
    window.wait_for_selector("[data-head='Your label']:has-text('malignant')")
    assert asked == [
        "Remove all images of this model from the page?",
        "labels were given or images removed since this page was opened. Remove all images?",
    ]
    assert len(page.wait()) == 2
    window.click("#remove")
    window.wait_for_selector("text=None yet.")
    assert len(asked) == 3
    assert page.wait() == {}


def test_a_filter_of_a_class_whose_last_image_goes(tab, files, page):
    """It stays as it was chosen, and the table says that it shows none."""
    window = tab()
    send(window, files, expected=len(files))
    found = page.wait()
    first = next(iter(found.values()))["predicted"]
    rest = [image for image in found.values() if image["predicted"] != first]
    if not rest:  # this model knows one of its classes here: nothing is left to be shown
        pytest.skip("all images are of one class")
    window.select_option("#class", first)
    for image in found.values():
        if image["predicted"] == first:
            page.client.delete(f"/api/images/{image['number']}")
    listed(window, len(rest))
    assert window.input_value("#class") == first
    assert confidences(window) == []
    caption = window.locator("#images caption")
    assert caption.inner_text() == f"0 of {len(rest)} images, by confidence, ascending."
    window.click("text=Show all")
    window.wait_for_selector(f"#images caption:has-text('{len(rest)} of {len(rest)} images')")
    assert len(confidences(window)) == len(rest)
    window.click("#heads button:has-text('Image')")
    window.locator("#find").press_sequentially("TIF")
    page.add("another.tif", files[0].read_bytes())
    listed(window, len(rest) + 1)
    window.keyboard.type("F")  # where she was
    assert window.input_value("#find") == "TIFF"
    assert confidences(window) == []
    window.keyboard.press("Backspace")
    assert len(confidences(window)) == len(rest) + 1
    assert caption.inner_text().endswith(" images, by image, ascending.")
    names = window.locator("#images th span").all_inner_texts()
    assert names == sorted(names)


@pytest.mark.parametrize("width", [360, 1280])
def test_results_stand_above_what_adds_images(tab, files, page, width):
    """Once there are some: that is one line then, and files that are dropped or chosen are taken as before."""
    window = tab(width=width, height=844)
    assert fits(window)
    assert window.locator("#files").is_visible()
    send(window, files[:2], expected=2)
    window.reload()
    shown(window)
    assert window.locator("#files").is_hidden()
    assert window.locator("#drop").bounding_box()["height"] < 90
    assert not serious(window)
    assert fits(window)
    dropped(window, files[2])
    listed(window, 3)
    window.click("summary:has-text('Add images')")
    assert window.locator("#files").is_visible()
    send(window, files[3:], expected=4)


def opened_image(window, page, files, count=1):
    """Open the least confident of the first images."""
    send(window, files[:count], expected=count)
    window.locator("#images a").first.click()
    window.wait_for_selector("#label")
    window.wait_for_load_state()


def chosen(window):
    """The label that the page shows as chosen."""
    return window.locator("#label").evaluate("label => label.selectedOptions[0].text")


def test_a_label_is_only_what_a_person_chooses(tab, files, page):
    """Neither the model's class nor what another state of the page had is chosen; keys choose, and store nothing."""
    window = tab()
    opened_image(window, page, files)
    number = page.images()[0]["number"]

    def stored():
        (image,) = page.images()
        return image["reviewed"] and image["label"]

    assert chosen(window) == "choose ..."
    assert window.inner_text("#keys") == "Keys: 1 = benign, 2 = malignant, 0 = none of these"
    window.click("#review")
    assert window.inner_text("#status") == "Choose your label first."
    assert window.evaluate("document.activeElement.id") == "label"
    assert stored() is False
    for key, name, label in (
        ("1", "benign", "benign"),
        ("2", "malignant", "malignant"),
        ("0", "none of these", ""),
    ):
        window.keyboard.press("3")
        window.keyboard.press("Control+1")
        window.keyboard.press(key)
        assert chosen(window) == name
        assert window.inner_text("#status") == f"Chosen, not stored yet: {name}"
        assert stored() != label
        window.keyboard.press("Enter")
        window.wait_for_selector("text=Reviewed.")
        window.wait_for_load_state()
        assert (stored(), chosen(window)) == (label, name)
    window.select_option("#label", "benign")
    window.reload()
    assert chosen(window) == "none of these"
    window.focus("select[name=target]")
    window.keyboard.press("1")
    assert chosen(window) == "none of these"
    window.select_option("#label", "benign")
    window.goto("about:blank")
    page.review(number, label="malignant")
    window.go_back()
    window.wait_for_selector("text=Reviewed.")
    assert chosen(window) == "malignant"
    window.click("#unreview")
    window.wait_for_selector("text=Mark as reviewed")
    assert (stored(), chosen(window)) == (False, "choose ...")


def test_two_browsers_label_one_image(tab, files, page):
    """The later one is told what stands there and asked; who says no sees it, and has changed nothing."""
    window, other = tab(), tab()
    opened_image(window, page, files)
    other.goto(window.url)
    asked, answers = [], []

    def answer(dialog):
        asked.append(dialog.message)
        dialog.accept() if answers.pop() else dialog.dismiss()

    other.on("dialog", answer)

    def label(tab, name):
        tab.select_option("#label", name)
        tab.click("#review")

    def stands():
        return page.images()[0]["label"]

    def until(found, expected):
        end = time.monotonic() + 20
        while found() != expected:
            assert time.monotonic() < end
            window.wait_for_timeout(50)  # which answers dialogs, as `time.sleep` does not

    label(window, "malignant")
    window.wait_for_selector("text=Reviewed.")
    answers[:] = [False]
    label(other, "benign")
    other.wait_for_selector("text=Reviewed.")
    said = f"{files[0].name}: has the label malignant since this page was opened. "
    assert asked == [f"{said}Replace it by benign?"]
    assert (stands(), chosen(other)) == ("malignant", "malignant")
    label(other, "benign")  # which this one has seen now
    until(lambda: chosen(other), "benign")
    until(stands, "benign")
    other.wait_for_load_state()
    assert len(asked) == 1
    label(window, "benign")  # the same
    window.wait_for_load_state()
    label(window, "malignant")
    until(stands, "malignant")
    answers[:] = [False]
    other.click("#unreview")
    until(lambda: chosen(other), "malignant")
    assert asked[1:] == [f"{said}Not reviewed?"]
    label(window, "")
    until(stands, "")
    answers[:] = [True]
    label(other, "benign")
    until(stands, "benign")
    assert asked[2:] == [f"{said.replace('malignant', 'none of these')}Replace it by benign?"]
    window.reload()
    label(window, "malignant")
    until(stands, "malignant")
    answers[:] = [False, True]
    other.click("text=Remove this image")
    until(lambda: chosen(other), "malignant")
    assert asked[3:] == [f"Remove {files[0].name}?", f"{said}Remove this image?"]
    assert stands() == "malignant"


def test_actions_after_the_skip_link(tab, files, page):
    """The fragment of the address changes nothing: the page shows what was stored, and an image that is predicted."""
    window = tab()
    opened_image(window, page, files, 2)
    for button, said in (("#review", "Reviewed."), ("#unreview", "Mark as reviewed")):
        window.focus(".skip")
        window.keyboard.press("Enter")
        assert window.url.endswith("#content")
        window.keyboard.press("2")
        window.click(button)
        window.wait_for_selector(f"text={said}", timeout=10_000)
    window.on("dialog", lambda dialog: dialog.accept())
    window.focus(".skip")
    window.keyboard.press("Enter")
    window.click("text=Remove this image")
    listed(window, 1)
    worker = page.worker()
    os.kill(worker, signal.SIGSTOP)
    number = page.add("waits.tif", files[3].read_bytes()).json()["number"]
    window.goto(f"{window.url.partition('?')[0]}image?number={number}#content")
    window.wait_for_selector("text=This image is waiting.")
    os.kill(worker, signal.SIGCONT)
    window.wait_for_selector("#label", timeout=20_000)


ODD = (
    "a b  c",
    'it\'s "quoted"',
    "<b>x<&y",
    "\u00dcbergang \u00df \u764c",
    "grade 2",
    "grade 3",
    "L" * 120,
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory, tiny_settings):
    """A page whose classes have odd names."""
    from bchisto.core.jobs import Work
    from bchisto.featurize import featurize
    from conftest import write_tissue
    from packs import train_small

    root = tmp_path_factory.mktemp("odd")
    write_tissue(root / "images", per_class=3, classes=ODD)
    featurize(root / "images", out=root / "run", settings=tiny_settings, work=Work(jobs=1))
    (result,) = train_small(root / "run", seeds=1)
    return result.model


@pytest.mark.parametrize("width", [360, 1280])
def test_odd_names_of_classes(tab, start, odd, files, width):
    """Each can be chosen, is stored as it is, and makes the page no wider than a phone."""
    with serving(start, odd) as page:
        window = tab(width=width, served=page)
        opened_image(window, page, files)
        assert fits(window)
        for name in ODD:
            window.select_option("#label", name)
            window.click("#review")
            window.wait_for_selector("text=Reviewed.")
            window.wait_for_load_state()
            (image,) = page.images()
            assert (image["label"], fits(window)) == (name, True)
            assert window.evaluate("document.getElementById('label').value") == name
        for key, name in (("3", "grade 3"), ("2", "grade 2"), ("0", "")):
            window.keyboard.press("1")
            window.keyboard.press(key)
            assert window.evaluate("document.getElementById('label').value") == name
        window.click("#draw")
        window.wait_for_selector("text=Limitations:")
        assert fits(window)
        assert not serious(window)
        window.click("text=All images")
        listed(window, 1)
        assert fits(window)


class Proxy(http.server.BaseHTTPRequestHandler):
    """A reverse proxy as clusters and hospitals have them: below a path that it removes, and with another Host."""

    def passed_on(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.server.instead:
            self.send_response(200 if self.path == "/login" else self.server.instead)
            for name, value in (
                ("location", "/login"),
                ("content-type", "text/html"),
                ("content-length", "0"),
            ):
                self.send_header(name, value)
            self.end_headers()
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        path = self.path.removeprefix("/node/me%40uni/8600") if self.server.strips else self.path
        target = self.server.target
        answer = httpx.request(
            self.command, target + path, headers=headers, content=body, timeout=60
        )
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_PUT = do_DELETE = passed_on

    def log_message(self, *_):
        """Say nothing."""


@pytest.mark.parametrize("strips", [True, False])
def test_behind_a_proxy_and_below_a_path(tab, chrome, start, served_model, files, tmp_path, strips):
    """No image is lost if the page, the network, a login of the proxy or a file goes while images are sent."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        proxy.strips, proxy.instead = strips, 0
        public = f"http://localhost:{proxy.server_port}/node/me%40uni/8600"
        typed = public.replace("localhost", "LocalHost")
        with serving(start, served_model, "--public-url", typed) as page:
            assert page.address.startswith(typed + "/?token=")
            connections = subprocess.check_output(["ss", "-ltnpH"], text=True)
            (port,) = {*re.findall(rf":(\d+) .*pid={page.process.pid},", connections)}
            proxy.target = f"http://127.0.0.1:{port}"
            window = tab(served=page)
            assert window.url.startswith(f"{public}/")
            # they go only below a path that nobody can guess
            assert window.context.cookies(public + "/") == []
            send(window, files[:2], expected=2)
            window.locator("#images a").first.click()
            window.click("#draw")
            window.wait_for_selector("text=Limitations:")
            shown(window)
            window.select_option("#label", "benign")
            window.click("#review")
            window.wait_for_selector("text=Reviewed.")
            window.goto("about:blank")
            window, names, gone = (
                chrome.new_page(),
                folders_of(files, tmp_path / "sent", 2),
                tmp_path / "gone.png",
            )
            window.goto(page.address)
            listed(window, 2)
            window.wait_for_load_state()  # with its script
            gone.write_bytes(b"no image")
            proxy.instead = 502
            dropped(window, *sorted((tmp_path / "sent").iterdir()), gone)
            for proxy.instead in (502, 302, 200):
                window.evaluate("document.getElementById('status').textContent = ''")
                window.wait_for_selector("text=its proxy logged in? 5 still to send")
            window.context.set_offline(True)
            gone.unlink()
            proxy.instead = 0
            window.context.set_offline(False)
            window.wait_for_selector(
                "text=4 images were sent. Files left out, by their names not images: 6."
            )
            listed(window, 2 + len(names))
            assert (
                window.inner_text("#refused") == "gone.png: cannot be read any more; add it again"
            )
            proxy.instead = 413
            window.set_input_files("#files", str(files[3]))
            window.wait_for_selector("text=status 413 of a proxy")
            window.close()
        proxy.shutdown()


def test_a_page_that_was_started_again(chrome, start, served_model, files, tmp_path):
    """An open tab is told so, and the token of a file, typed in, opens the page: no address holds it."""
    token = tmp_path / "token"
    token.write_text("a-token-of-24-characters")
    token.chmod(0o600)
    window = chrome.new_page()

    def enter(page):
        assert window.goto(page.address).status == 401
        window.fill("input[name=token]", token.read_text())
        window.click("button")
        window.wait_for_selector("#files", state="attached")

    with serving(start, served_model, "--token-file", token) as page:
        enter(page)
        port = page.base.rpartition(":")[2]
    with serving(
        lambda *words: start(*words[:-1], port), served_model, "--token-file", token
    ) as page:
        window.set_input_files("#files", str(files[0]))
        window.wait_for_selector(
            "text=The page was started again: open the address", timeout=60_000
        )
        enter(page)
    window.close()


def test_the_server_that_is_gone(chrome, start, served_model, files):
    """The page tells so."""
    with serving(start, served_model) as page:
        window = chrome.new_page()
        window.goto(page.address)
        window.wait_for_selector("#files", state="attached")
        page.stop()
        window.set_input_files("#files", str(files[0]))
        window.wait_for_selector("text=does not answer", timeout=120_000)
        window.close()
