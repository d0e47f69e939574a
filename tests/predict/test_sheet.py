"""The sheet of a prediction: what stands on it, that it holds what it needs, and that it works in a browser."""

import base64
import hashlib
import html
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from archives import RULE, altered
from bchisto.boost import Bundle
from bchisto.core.jobs import Work
from bchisto.predict import PredictSettings, predict
from bchisto.predict.outputs import measured_at
from bchisto.predict.settings import OperatingPoint
from conftest import typed
from packs import ONE_JOB, predict_here
from page_probe import probe
from PIL import Image
from written_tables import read_json, visible
from written_tables import rows_of as rows

EVIL = "<img src=x onerror=alert(1)>&amp; é'\".png"


@pytest.fixture(scope="module")
def model(tmp_path_factory, boosted_model):
    return altered(boosted_model, tmp_path_factory.mktemp("model") / "model.bchisto", unsure=RULE)


@pytest.fixture(scope="module")
def images(tmp_path_factory, tissue_files):
    folder = tmp_path_factory.mktemp("new images")
    for number, path in enumerate(tissue_files[::2]):
        shutil.copy(path, folder / (EVIL if number == 0 else f"slide {number}.png"))
    (folder / "zz.tif").write_text("not an image")
    return folder


@pytest.fixture(scope="module")
def made(model, images, tmp_path_factory):
    out = tmp_path_factory.mktemp("made")
    work = Work(jobs=1, skip_errors=True)
    sheet = PredictSettings(html=out / "sheets" / "s.html")
    return out, predict(model, images, out=out / "p.csv", settings=sheet, work=work)


@pytest.fixture
def moved(tmp_path, boosted_model):
    """A model file that stands by itself."""
    return Path(shutil.copy(boosted_model, tmp_path))


def cells(page):
    """The rows of the table of images: name, class, confidence, unsure."""
    body = page.partition('<table id="images">')[2]
    found = re.findall(
        r"<tr[^>]*><th scope=\"row\">.*?<span>(.*?)</span></th><td.*?>(.*?)</td><td.*?>(.*?)&nbsp;%</td>"
        r"<td.*?>(.*?)</td>",
        body,
    )
    return [(html.unescape(name), kind, float(sure), mark) for name, kind, sure, mark in found]


def test_what_stands_on_the_sheet(made, model):
    out, result = made
    page = (out / "sheets" / "s.html").read_text()
    table = rows(out / "p.csv")
    raw = np.array([[float(row["p_benign"]), float(row["p_malignant"])] for row in table])
    scaled = raw ** (1 / Bundle.load(model).temperature)
    sure = (scaled / scaled.sum(axis=1, keepdims=True)).max(axis=1)
    order = np.argsort(sure, kind="stable")
    found = cells(page)
    assert [name for name, *_ in found] == [table[place]["image_id"] for place in order]
    assert [kind for _, kind, *_ in found] == [table[place]["predicted"] for place in order]
    assert [value for *_, value, _ in found] == pytest.approx(
        (100 * sure[order]).tolist(), abs=0.051
    )
    assert ["uncertain" in mark for *_, mark in found] == (sure[order] < 0.6).tolist()
    assert result.unsure == int((sure < 0.6).sum())
    assert result.sheet == out / "sheets" / "s.html"
    for said in (
        f">6 images predicted by lightgbm and tiny, {sum(bool(mark) for *_, mark in found)} to check</h2>",
        "marked uncertain if its confidence is below 60.0 %, as for 20 of 100 predictions",
        "Correct of those at or above it: 90.0 % (95 % CI 81.0 to 95.0); of those below it: 55.0 % (95 % CI 32.0 to",
        "RANDOM WEIGHTS",
        "SEEN IN TRAINING: 6 of 6 images",
        "not a medical device",
        "1 image not predicted",
        "<strong>zz.tif</strong>: not a TIFF, PNG or JPEG image",
        hashlib.sha256(model.read_bytes()).hexdigest(),
    ):
        assert said in page


def test_an_image_that_shows_nothing_is_marked_where_its_class_stands(model, images, tmp_path):
    """Kept predictions know it too: the table is made again from these."""
    folder = tmp_path / "new"
    folder.mkdir()
    (tissue, *_) = sorted(images.glob("slide*.png"))
    shutil.copy(tissue, folder / "a.png")
    with Image.open(tissue) as picture:
        Image.new("RGB", picture.size, "white").save(folder / "white.png")
    page = tmp_path / "s.html"
    sheet = PredictSettings(html=page)
    for work in (ONE_JOB, Work(jobs=1, overwrite=True)):
        result = predict(model, folder, out=tmp_path / "p.csv", settings=sheet, work=work)
        blank = {row["image_id"]: row["blank"] for row in rows(tmp_path / "p.csv")}
        assert blank == {"a.png": "no", "white.png": "yes"}
        assert any(
            banner.startswith("NO TISSUE: 1 of 2 images show nothing") for banner in result.banners
        )
        text = page.read_text()
        marks = {name: mark for name, _, _, mark in cells(text)}
        assert next(iter(marks)) == "white.png"
        assert "shows nothing" in marks["white.png"]
        assert "shows nothing" not in marks["a.png"]
    predict_here(model, folder / "a.png", tmp_path / "q.csv")
    assert "blank" not in rows(tmp_path / "q.csv")[0]


def test_it_holds_all_that_it_needs_and_runs_nothing_else(made):
    page = (made[0] / "sheets" / "s.html").read_text()
    assert page.count('src="data:image/jpeg;base64,') == len(re.findall(r"<img ", page)) == 6
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert EVIL not in page
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', page)
    for tag, name in (("style", "style-src"), ("script", "script-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in html.unescape(policy)


def test_a_model_without_a_rule_says_so(tmp_path, one_file, boosted_model):
    old = altered(
        boosted_model,
        tmp_path / "old.bchisto",
        unsure=None,
        training=None,
    )
    sheet = PredictSettings(html=tmp_path / "s.html")
    result = predict_here(old, one_file, tmp_path / "p.csv", settings=sheet)
    assert Bundle.load(boosted_model).unsure["calibrated"] is True
    assert result.unsure is None
    assert "uncertain" not in str(result.summary())
    assert {row["uncertain"] for row in rows(tmp_path / "p.csv")} == {""}
    page = (tmp_path / "s.html").read_text()
    assert "No image is marked uncertain: this model has no rule" in page
    assert [mark for *_, mark in cells(page)] == [""]
    assert "only uncertain" not in page


def test_what_a_model_means_for_new_patients_is_that_of_its_card(
    tmp_path, completed, one_file, boosted_result
):
    """The report, the terminal and the heat maps take it from the run, and say so if the model stands by itself."""
    folder = boosted_result
    card = re.findall(r"^- (.*)$", (folder / "model-card.md").read_text(), flags=re.MULTILINE)
    start = next(place for place, line in enumerate(card) if " right: " in line)
    answer, meaning = card[start : start + 2]
    verdict = re.search(r"(?:On these images, the|The) calls are .*?\.(?= |$)", meaning)[0]
    assert "calls are not shown to be better than chance" in meaning
    moved = tmp_path / "moved" / "model.bchisto"
    moved.parent.mkdir()
    shutil.copy(folder / "model.bchisto", moved)
    for model in (folder / "model.bchisto", moved):
        out = tmp_path / model.parent.name
        terminal, _ = completed(
            "predict {} --images {} --out {} --html {}",
            model,
            one_file,
            f"{out}.csv",
            f"{out}.html",
        )
        completed("explain {} --images {} --out {} --method map", model, one_file, f"{out}-maps")
        assert (f"the model's training: {meaning}" in terminal) == (model != moved)
        for file in (Path(f"{out}.html"), tmp_path / f"{out}-maps" / "map" / "index.html"):
            text = html.unescape(file.read_text())
            meaning_here = meaning
            if file.name != "index.html":
                # what was predicted stands first, and how good the model is before other figures
                begin = text.find(f"<strong>How good the model is: {verdict}</strong>")
                heading = text.index(" predicted by lightgbm and tiny, 1 to check</h2>")
                assert heading < text.index("by predicted class") < text.index("Predicted positive")
                assert (0 < begin < text.index("Predicted positive")) == (model != moved)
                assert ("<strong>The model: not shown to be better" in text) == (model != moved)
                meaning_here = meaning.replace(verdict, "").replace("  ", " ").strip()
                ece = "of the others, it was off by"
                calibration = read_json(folder / "metrics.json")["tables"]["fusion"]["calibration"]
                if model != moved and calibration["temperature"]:
                    assert (
                        f"{ece} {100 * calibration['temperature']['ece']:.1f} % on average" in text
                    )
                    assert f"unscaled by {100 * calibration['ece']:.1f} %; perfect" in text
                assert "calibrated by" not in text
            assert (answer in text, meaning_here in text) == (model != moved, model != moved)
            assert ("on new patients is not known" in text) == (model == moved)


def test_what_was_measured_at_the_operating_point_stands_beside_its_count(
    tmp_path, one_file, boosted_result, moved
):
    """As metrics.json has it; another threshold, a calibrated score and a model that stands by itself have nothing."""
    folder = boosted_result
    metrics = read_json(folder / "metrics.json")["tables"]["fusion"]
    (point,) = metrics["two_class"]["thresholds"]

    def figure(name, values=point):
        rate = values[name]
        text = f"{100 * rate['value']:.1f} %"
        if rate["interval"]:
            return f"{text} ({' to '.join(f'{100 * end:.1f}' for end in rate['interval'])})"
        return f"{text} (no CI)"

    unit = metrics["names"][metrics["units"]["kind"]]
    measured = (
        f"malignant at 0.5. Measured there in cross-validation, with 95 % CI by {unit}: sensitivity "
        f"{figure('sensitivity')}, specificity {figure('specificity')}; accuracy of the predicted classes "
        f"{figure('accuracy', metrics)}. Of those predicted positive there, {figure('ppv')} truly were (PPV), at a "
        f"prevalence of {100 * metrics['two_class']['prevalence']:.1f} %; here the prevalence may differ"
    )
    # as if it was measured at 0.4, by probabilities that are not calibrated
    other = tmp_path / "other" / "model.bchisto"
    other.parent.mkdir()
    shutil.copy(moved, other)
    text = (folder / "metrics.json").read_text().replace('"threshold": 0.5', '"threshold": 0.4')
    other.with_name("metrics.json").write_text(text)
    nothing = "Sensitivity and specificity at this operating point were not measured."
    for number, (model, options, told) in enumerate(
        (
            (folder / "model.bchisto", {}, True),
            (folder / "model.bchisto", {"calibrated": True}, True),  # called by its class
            (folder / "model.bchisto", {"threshold": 0.4}, False),
            (moved, {}, False),
            (other, {"threshold": 0.4}, True),
            (other, {"threshold": 0.4, "calibrated": True}, False),
        )
    ):
        sheet = tmp_path / f"{number}.html"
        out = tmp_path / f"{number}.csv"
        settings = PredictSettings(html=sheet, **options)
        predict_here(model, one_file, out, settings=settings)
        text = visible(sheet.read_text())
        expected = measured.replace("at 0.5.", f"at {options.get('threshold', 0.5)}.")
        assert (expected in text) == told
        assert (nothing in text) != told


def test_a_threshold_of_a_sensitivity_is_told_by_its_own_point():
    point = OperatingPoint(("a", "b"), ("b",), "sum", 0.3, sensitivity=0.9)
    fitted = {"wanted": 0.9, "threshold": 0.3}
    table = {"two_class": {"thresholds": [{"threshold": 0.3}], "wanted": [fitted]}}
    assert measured_at(table, point) is fitted
    assert measured_at(table, replace(point, sensitivity=None)) == {"threshold": 0.3}
    assert measured_at(table, replace(point, threshold=0.2)) is None
    assert measured_at({"two_class": None}, point) is None
    assert measured_at(table, None) is None


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"tables": 3}', '{"tables": {"fusion": {"n": 1}}}']
)
def test_damaged_metrics_are_named(tmp_path, completed, refused, content, one_file, moved):
    (tmp_path / "metrics.json").write_text(content)
    words = typed("predict {} --images {} --out T/p.csv --jobs 1", moved, one_file)
    assert f"{tmp_path / 'metrics.json'}: not " in refused(*words)
    (tmp_path / "metrics.json").unlink()
    completed(*words)


@pytest.mark.parametrize("command", ["explain", "export"])
def test_damaged_metrics_stop_a_command_before_it_writes(
    tmp_path, refused, command, one_file, moved
):
    (tmp_path / "metrics.json").write_text("[]")
    out = tmp_path / "out"
    options = {
        "explain": ("--images", one_file, "--out", out, "--method", "map"),
        "export": ("--to", out),
    }
    assert f"{tmp_path / 'metrics.json'}: not " in refused(command, moved, *options[command])
    assert not list(out.rglob("*.png")) + list(out.rglob("*.bchisto"))


def test_more_images_than_are_shown(made, model, images, tmp_path, monkeypatch):
    monkeypatch.setattr("bchisto.predict.outputs._MOST_ROWS", 4)
    sheet = PredictSettings(html=tmp_path / "s.html")
    predict(
        model, images, out=tmp_path / "p.csv", settings=sheet, work=Work(jobs=1, skip_errors=True)
    )
    page = (tmp_path / "s.html").read_text()
    assert len(cells(page)) == 4
    assert page.count("<img ") == 4
    assert "The last 2 images are not on this page" in page


PROBE = """
const f = document.getElementById('f'), d = f.contentDocument, said = {};
const all = (what) => [...d.querySelectorAll(what)], one = (what) => d.querySelector(what);
const shown = () => all('#images tbody tr').filter(e => !e.hidden).map(e => e.querySelector('span').textContent);
const change = (what, value) => { Object.assign(one(what), value);
  one(what).dispatchEvent(new Event('input', { bubbles: true })); };
said.wide = d.documentElement.scrollWidth;
said.beyond = all('body *').filter(e => !e.closest('.scroll, .skip')
  && e.getBoundingClientRect().right > f.clientWidth + 1).length;
said.decoded = all('#images img').filter(e => e.naturalWidth > 0).length;
said.first = shown();
one('#images thead button').click();
said.byname = shown();
said.sorted = all('#images th[aria-sort]').map(e => e.textContent + ' ' + e.getAttribute('aria-sort'));
one('#images thead button').click();
said.backwards = shown();
change('#find', { value: 'SLIDE 3' });
said.found = shown();
said.count = one('#images caption').textContent;
change('#find', { value: '' });
change('#marked', { checked: true });
said.unsure = shown();
change('#marked', { checked: false });
change('#class', { value: 'malignant' });
said.malignant = shown();
said.unlabelled = all('input, select').filter(e => !e.labels.length).length;
said.unscoped = all('th').filter(e => !e.scope).length;
said.alerts = all('[onerror]').length;
document.title = 'probe ' + JSON.stringify(said) + ' end';
"""


@pytest.mark.parametrize("width", [1280, 400])
def test_in_a_browser(made, browser, tmp_path, width):
    page = (made[0] / "sheets" / "s.html").read_text()
    said = probe(
        page.replace('loading="lazy"', ""), PROBE, browser=browser, width=width, folder=tmp_path
    )
    known = cells(page)
    names = {name for name, *_ in known}
    assert said["wide"] <= width
    assert said["beyond"] == said["unlabelled"] == said["unscoped"] == said["alerts"] == 0
    assert said["decoded"] == 6
    assert said["first"] == [name for name, *_ in known]
    assert said["byname"] == [EVIL, *(f"slide {number}.png" for number in range(1, 6))]
    assert said["sorted"] == ["Image ascending"]
    assert said["backwards"] == said["byname"][::-1]
    assert said["found"] == ["slide 3.png"]
    assert said["count"] == "1 of 6 images, by image, descending."
    assert set(said["unsure"]) == {name for name, *_, mark in known if mark}
    assert set(said["malignant"]) == {name for name, kind, *_ in known if kind == "malignant"}
    assert set(said["first"]) == names
