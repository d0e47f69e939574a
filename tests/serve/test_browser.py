"""The page in a browser: images in, results, maps, errors; by keyboard, on a phone, for a screen reader."""

import os
from pathlib import Path

import pytest
from page_server import serving

pytestmark = pytest.mark.slow

PICTURES = os.environ.get("BCHISTO_PICTURES")
"""A folder for what the documents show."""


@pytest.fixture(scope="module")
def chrome(browser):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture
def tab(chrome, page):
    """Return a function that opens the page in a window of that width; at the end nothing may be on its console."""
    contexts, said = [], []

    def opened(width=1200, height=900, **options):
        contexts.append(chrome.new_context(viewport={"width": width, "height": height}, **options))
        window = contexts[-1].new_page()
        window.on(
            "console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None
        )
        window.on("pageerror", lambda error: said.append(str(error)))
        window.goto(page.address)
        window.wait_for_url(page.base + "/")
        window.wait_for_selector("#files")
        return window

    yield opened
    for context in contexts:
        context.close()
    assert not said


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    from bchisto.data.synthetic import make_tissue
    from PIL import Image

    folder = tmp_path_factory.mktemp("slides")
    for number, kind in enumerate(("Normal", "Benign", "InSitu", "Invasive")):
        Image.fromarray(make_tissue(kind, seed=3, index=number, size=(512, 384))).save(folder / f"slide {number}.tif")
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
    window.evaluate(
        "Promise.all([...document.images].map(image => { image.loading = 'eager'; return image.decode(); }))"
    )


def confidences(window):
    """Of the rows that are shown, in their order."""
    cells = window.locator("#images tr:not([hidden]) td:nth-child(3)").all_inner_texts()
    return [float(text.split()[-2 if ":" in text else 0]) for text in cells]


def serious(window):
    """What axe finds that keeps somebody out."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(window).response["violations"]
    return [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in found if fault["impact"] != "minor"]


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
    assert f"{len(files) + 1} of {len(files) + 1} done" in window.inner_text("#progress")
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
    keep(window, "serve-image.jpg", scheme)
    window.click("text=bottom right")
    shown(window)
    assert "map" in window.locator("figure img").nth(1).get_attribute("src")


def test_on_a_phone(tab, files):
    window = tab(width=360, height=740)
    assert fits(window)
    send(window, files, expected=len(files))
    assert fits(window)
    assert not serious(window)
    shown(window)
    window.locator("#images a").first.click()
    window.click("#draw")
    window.wait_for_selector("text=Limitations:")
    assert fits(window)
    window.goto(window.url.split("/images")[0] + "/runs")
    assert fits(window)
    assert not serious(window)


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
    window.set_input_files("#files", [str(path) for path in files])  # the dialog is the browser's own
    listed(window, len(files))
    to("#images a")
    window.keyboard.press("Enter")
    window.wait_for_selector("#draw")
    to("#draw")
    window.keyboard.press("Enter")
    window.wait_for_selector("text=Limitations:")


def test_the_server_that_is_gone(chrome, start, run_folders, files):
    """The page tells so."""
    with serving(start, run_folders / "first run") as page:
        window = chrome.new_page()
        window.goto(page.address)
        window.wait_for_selector("#files")
        page.stop()
        window.set_input_files("#files", str(files[0]))
        window.wait_for_selector("text=does not answer", timeout=120_000)
        window.close()
