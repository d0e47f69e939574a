"""The pages as a whole: the answer on the first screen, one folded box below it, and no table without a row."""

import re
import shutil

import pytest
from conftest import empty_tables, typed
from outlines import drawn
from packs import train_small

SCREENS = ((1280, 800), (390, 844))
"""Of a laptop and a phone, in CSS pixels."""
PAPER = (718, 1047)
"""The text of an A4 page with margins of 10 mm, in CSS pixels."""


@pytest.fixture(scope="module")
def pages(every_head, tissue, tmp_path_factory):
    run, results = every_head
    return make_pages(tmp_path_factory.mktemp("pages"), run, results.values(), tissue)


@pytest.fixture(scope="module")
def drawn_pages(described, tissue, tmp_path_factory):
    """As `pages`, with the pictures of reports."""
    out = tmp_path_factory.mktemp("drawn")
    run = shutil.copytree(described, out / "run")
    with drawn():
        results = train_small(run, seeds=2, settings={"heads": ("lightgbm", "logistic", "svm")})
        return make_pages(out, run, results, tissue)


def make_pages(out, run, results, images):
    """Reports of a folder, a run of several, an evaluation and a comparison, and the pages of the other commands."""
    from bchisto.cli import main

    folders = [result.folder for result in results]
    model = folders[0] / "model.bchisto"
    for line, *given in (
        ("evaluate {} --bootstrap 0 --out {}", folders[0], out / "one"),
        ("evaluate {} --bootstrap 0 --out {}", run, out / "several"),
        ("predict {} {} --out {} --html {}", model, images, out / "p.csv", out / "p.html"),
        ("explain {} {} --method map --out {}", model, images, out / "maps"),
        ("data check --no-timing --images {} --html {}", images, out / "check.html"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(typed(line, *given))
        assert ended.value.code in (0, 1), line
    return {
        "folder": folders[0] / "report.html",
        "run": run / "report.html",
        "of a head": folders[1] / "report.html",
        "evaluation": out / "one" / "report.html",
        "comparison": out / "several" / "report.html",
        "predictions": out / "p.html",
        "heat maps": out / "maps" / "map" / "index.html",
        "check": out / "check.html",
    }


def test_tables_without_a_row_are_found():
    head = "<table><thead><tr><th>x</th></tr></thead><tbody>"
    assert empty_tables(f"{head}</tbody></table>")
    assert not empty_tables(f"{head}<tr><td>1</td></tr></tbody></table>")


def test_no_table_of_any_page_is_empty(pages):
    for name, page in pages.items():
        text = page.read_text()
        assert empty_tables(text) == [], name
        assert "<table" in text or name in ("heat maps", "check"), name


def test_the_box_of_cautions_stands_below_the_title_and_is_folded(pages):
    for name, page in pages.items():
        text = page.read_text()
        assert text.count('id="cautions"') <= 1, name
        assert text.count('class="banner"') == text.count('id="cautions"'), name
        head = text.partition('id="cautions"')[0]
        assert "<h1>" in head, name
        assert "<details open" not in text, name
    assert re.search(
        "<li>RANDOM WEIGHTS.*<li>PATIENTS UNKNOWN.*<details>", pages["folder"].read_text(), re.S
    )


ANSWERS = {
    "folder": ".answer > div:first-child",
    "of a head": ".answer > div:first-child",
    "evaluation": ".answer > div:first-child",
    "run": ".answer > div:first-child",
    "comparison": ".answer > div:first-child",
    "predictions": ".lead",
    "heat maps": ".lead",
}
"""The element that ends with the answer of each page."""


def check_first_screen(tab, name, answer):
    """Check that the answer ends on the first screen, and that cautions, if there are any, come after it."""
    box = tab.locator(answer).first.bounding_box()
    height = tab.viewport_size["height"]
    assert box["y"] + box["height"] <= height, (name, box, height)
    cautions = tab.locator("#cautions")
    assert cautions.count() <= 1
    if cautions.count():
        assert cautions.bounding_box()["y"] >= box["y"] + box["height"], name


@pytest.fixture(params=SCREENS)
def tab(chrome, request):
    """A tab on a screen of each size."""
    width, height = request.param
    with chrome.new_page(viewport={"width": width, "height": height}) as opened:
        yield opened


@pytest.mark.slow
def test_the_answer_is_on_the_first_screen(drawn_pages, tab):
    for name, answer in ANSWERS.items():
        tab.goto(drawn_pages[name].as_uri())
        check_first_screen(tab, name, answer)


@pytest.mark.slow
def test_the_page_of_the_server_answers_first(page, tab, tissue_files):
    for path in tissue_files[:3]:
        page.add(path.name, path.read_bytes())
    page.wait()
    tab.goto(page.address)
    tab.wait_for_selector("#images")
    check_first_screen(tab, "serve", "#results table")
    assert empty_tables(tab.content()) == []
    tab.locator("#images a").first.click()
    tab.wait_for_selector(".lead")
    check_first_screen(tab, "image", ".lead")
    assert empty_tables(tab.content()) == []


@pytest.mark.slow
def test_what_a_pathologist_reads_is_one_printed_page(drawn_pages, chrome):
    width, height = PAPER
    for name in ("folder", "run", "of a head", "evaluation", "comparison"):
        tab = chrome.new_page(viewport={"width": width, "height": height})
        tab.emulate_media(media="print")
        tab.goto(drawn_pages[name].as_uri())
        methods = tab.locator(".methods")
        assert methods.bounding_box()["y"] <= height, name
        assert methods.evaluate("one => getComputedStyle(one).breakBefore") == "page"
        tab.close()
