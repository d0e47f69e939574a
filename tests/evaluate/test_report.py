"""The report as a reviewer reads it: whole, in order, on any screen, without names, and true to what was run."""

import re
from dataclasses import replace

import numpy as np
import pytest
from bchisto import __version__
from bchisto.core import Banner, Kind, Message, Names, as_banner
from bchisto.data import FoldPlan
from bchisto.data.folds.plans import group_warnings, split_copies
from bchisto.evaluate import (
    Panel,
    PredictionTable,
    Sample,
    TwoClassView,
    compare_pairs,
    conclude,
    evaluate,
    measure,
    rankings,
)
from bchisto.evaluate.report import headline, warnings, write_evaluation, write_report
from bchisto.evaluate.report.answer import side_by_side, warnings_of, wrapped
from bchisto.evaluate.report.methods import REFERENCES, methods_text
from bchisto.evaluate.report.page import Block, Section, write_page
from bchisto.evaluate.report.sections import cohort_blocks
from outlines import drawn
from page_probe import PAPER, probe, probe_page
from written_tables import panels_of, predictions, report_of, rows_of, saved, visible

SYNTHETIC = Banner(Kind.SYNTHETIC, "x")

CLASSES = ("Normal", "Benign", "InSitu", "Invasive")
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def table_of(rng, *, n=40, folds=5, groups=True, name="fusion", **changes):
    """Four classes; patients of four images, some images without one, who are called by their names."""
    labels = np.arange(n) % 4
    scores = rng.dirichlet(np.ones(4), n) + 1.2 * np.eye(4)[labels] * (rng.random((n, 1)) < 0.8)
    made = predictions(
        scores / scores.sum(axis=1, keepdims=True),
        labels,
        CLASSES,
        name=name,
        image_ids=[f"Jane Doe {k:02d}.png" for k in range(n)],
        folds=[k // 4 % folds + 1 if folds else None for k in range(n)],
        groups=[f"John Roe {k // 4}" if groups and k < n - 2 else None for k in range(n)],
        protocol="folds of a test",
    )
    return replace(made, **changes)


def text_of(page):
    """Return what a page says, without its figures."""
    return visible(page.read_text())


RUN = {
    "command": "boost",
    "methods": [("Images", "Trees were grown [@ke2017].")],
    "settings": {"head": "lightgbm", "weights": "/home/jane/secret/weights.h5"},
    "flow": {"found": 44, "refused": 1, "duplicates": 2, "failed": None, "used": 40},
    "curves": {
        "1": {
            "loss": [0.9, 0.5],
            "accuracy": [0.5, 0.8],
            "val_loss": [0.8, 0.9],
            "val_accuracy": [0.6, 0.6],
        }
    },
    "versions": {"bchisto": __version__, "lightgbm": "4.6.0"},
}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rng = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("page") / "report.html"
    first, second = (
        table_of(rng, name=f"{k}/predictions", image_is="patch", group_is="slide") for k in "ab"
    )
    view = TwoClassView(thresholds=(0.33, 0.5), sensitivities=(0.9,), prevalences=(0.1,))
    sample = Sample("Jane Doe 03.png", "Invasive", "Benign", 0.9, PIXEL)
    panels = [
        Panel(first, measure(first, view, bootstrap=100), samples=[sample], run=RUN),
        Panel(second, measure(second, view, bootstrap=100)),
    ]
    with drawn():
        write_report(
            path,
            title="A <report>",
            panels=panels,
            banners=[
                Banner(Kind.SYNTHETIC, "beware"),
                Message(
                    "2 slides both train and test in a fold{}, so these numbers are too high",
                    Names(" (John Roe 1)"),
                ),
                Message(
                    "3 images could not be used and are in no fold{}",
                    Names(": Max Poe.png, Max Poe 2.png and 1 more"),
                ),
                Message(
                    "a and b are not compared: 1 row only in the first{}",
                    Names(", for example Max Poe 3.png"),
                ),
            ],
            pairs=compare_pairs([first, second]),
        )
    return path


def test_it_is_read_from_the_answer_to_the_versions(page):
    titles = re.findall(r"<h2>(.*?)</h2>", page.read_text())
    assert titles == [
        "At a glance",
        "For the methods section",
        "a/predictions",
        "b/predictions",
        "Comparisons",
        "How the network learnt",
        "Images",
        "Methods",
        "Reporting form (TRIPOD+AI)",
        "Settings and versions",
    ]
    assert re.findall(r"<h3>(.*?)</h3>", page.read_text()) == [
        "Wrongly classified by a/predictions",
        "Classes and errors",
        "Calibration and operating points",
        "Classes and errors",
    ]
    assert "<summary>Calibration and operating points</summary>" in page.read_text()


def test_nobody_is_named_in_what_is_passed_on(page):
    text = page.read_text()
    for name in ("Jane", "John", "Max", "/home", str(page.parent)):
        assert name not in text
    assert "2 slides both train and test in a fold, so these numbers are too high" in text
    assert "3 images could not be used and are in no fold<" in text
    assert "weights.h5" in text  # which file it was is said, and not where it lay
    (row,) = rows_of(page.with_name("pictures.csv"))
    assert row == {
        "number": "1",
        "image_id": "Jane Doe 03.png",
        "label": "Invasive",
        "predicted": "Benign",
        "confidence": "0.9",
        "picture": PIXEL,
    }
    assert 'alt="Image 1: true Invasive, predicted Benign (90.0 %)"' in text


@pytest.mark.parametrize(
    "name", ["Müller, Hans 00", "Ann (Roe) and Bob", "first Zoë, so (x", "(é) and 2 more); these"]
)
def test_no_name_is_too_odd_to_be_left_out(rng, name):
    """Warnings as folds and tables make them, on images of which some only train."""
    parts = [
        *(("train", k) for k in range(4)),
        ("val", 4),
        ("val", 5),
        ("test", 6),
        ("test", 7),
        ("test", 8),
    ]
    rows = [(f"{name} {k}.png", 1, part) for part, k in parts]
    plan = FoldPlan("a", tuple(rows), partition=False)
    group_of = {
        image: f"{name} {(0, 1, 2, 3, 3, 2, 0, 1, 9)[place]}"
        for place, (image, *_) in enumerate(rows)
    }
    table = replace(
        table_of(rng, n=8), image_ids=tuple(image for image, *_ in rows[:8]), groups=(name,) * 8
    )
    banners = [
        *group_warnings(plan, group_of, ""),
        *split_copies(plan, [(rows[0][0], rows[6][0]), (rows[1][0], rows[7][0])]),
    ]
    assert [name in banner for banner in banners] == [True, True, True]
    _, text = report_of(panels_of(table, chosen=False), banners=banners)
    assert re.findall(r".{30}(?:Hans|Müller|Roe|Bob|Zoë|\(é|[.]png).{30}", text) == []
    for said in (
        "both train or validate and test in a fold, so these",
        "both the training and the validation part of a fold, so training",
        "in test sets; these results",
        "With 1 patient in both training and test sets",
    ):
        assert said in text


def answered(*, sizes=(2, 2, 2, 2)):
    """Return two classes in patients of so many images, the last image wrong, and what is measured of them."""
    owner = tuple(f"p{k}" for k, size in enumerate(sizes) for _ in range(size))
    labels = np.array([int(name[1:]) % 2 for name in owner])
    score = np.where(np.arange(len(labels)) == len(labels) - 1, 1 - labels, labels) * 0.8 + 0.1
    table = predictions(
        score,
        labels,
        folds=[1] * len(labels),
        groups=owner,
        protocol="one part",
        group_is="patient",
    )
    return table, measure(table, TwoClassView("malignant"), bootstrap=100)


@pytest.mark.parametrize(
    ("sizes", "first"),
    [((1,) * 6 + (2,), "patient"), ((2, 6, 2, 2), "patient"), ((2,) * 6, "image")],
)
def test_the_first_screen_holds_the_numbers(sizes, first):
    table, metrics = answered(sizes=sizes)
    n, units = sum(sizes), len(sizes)
    ends = {
        name: "{:.1f} to {:.1f}".format(*(100 * end for end in metrics[key]["interval"]))
        for name, key in (("image", "accuracy"), ("patient", "patient_recognition_rate"))
    }
    by_patient = 100 * (units - 1 / sizes[-1]) / units
    # named where no figure by patient stands beside it
    of_units = f" of {units} patients" * (first == "image")
    sentence = {
        "image": f"{n - 1} of {n} images{of_units} right: {100 * (n - 1) / n:.1f} % (95 % CI {ends['image']})",
        "patient": f"{by_patient:.1f} % right on average over {units} patients, each counting the same "
        f"(95 % CI {ends['patient']})",
    }
    page, _ = report_of([Panel(table, metrics)], banners=["a note", SYNTHETIC])
    screen = page[: page.index("<nav")]
    text = visible(screen.partition("<body>")[2])
    assert f"<strong>{sentence[first]}</strong>" in screen
    alike = len(set(sizes)) == 1  # then the accuracy by patient is the same number
    assert (sentence["image" if first == "patient" else "patient"] in text) != alike
    assert f"benign and malignant: {n} images of {units} patients" in text
    # chance is that of the figure beside it
    chance = metrics["chance"]
    majority = table.classes[int(np.argmax(np.sum(metrics["confusion"], axis=1)))]
    share, called = {
        "image": (chance["largest_class"], majority),
        "patient": (chance["by_group"], chance["class_by_group"]),
    }[first]
    assert re.search(
        rf"expect about \d+ % of the images of each right \({round(100 * share)} if all were called {called}\)",
        text,
    )
    view = metrics["two_class"]["thresholds"][0]
    assert f"malignant: sensitivity {100 * view['sensitivity'].value:.1f} %" in text
    assert f"specificity {100 * view['specificity'].value:.1f} %" in text
    assert f"{100 * metrics['balanced_accuracy'].value:.1f} %" in text
    # each class has fewer than five patients
    few = f"nly {(units + 1) // 2} patients of the class "
    assert "<ul><li>SYNTHETIC IMAGES: x</li><li>a note</li></ul>" in screen
    if conclude(metrics).verdict.kind == "better":
        assert f"This rests on o{few}" in text
    else:
        assert f"<summary>1 more: O{few}" in screen
        assert f"</summary><ul><li>O{few}" in screen
    assert screen.index(sentence[first]) < screen.index('id="cautions"')
    assert "On average over new patients like these, expect about " in text
    for count in np.ravel(metrics["confusion"]):
        assert f"<td>{count}</td>" in screen
    assert page.count(sentence[first]) == 1
    lines = headline("t", metrics, banners=[SYNTHETIC])
    assert lines[0] == f"t: {sentence[first]}"
    # more only for the cautions
    assert len(lines) <= 12 + sum(len(wrapped(text)) for text in warnings_of(metrics))
    assert max(map(len, lines)) <= 100


def test_what_is_not_known_is_said():
    table, metrics = answered()
    alone = replace(table, groups=(None,) * len(table))
    assert "No patient is known" in " ".join(headline("t", measure(alone, bootstrap=20)))
    held = metrics | {"units": metrics["units"] | {"largest": 0.64}}
    for name in ("accuracy", "patient_recognition_rate"):
        held[name] = replace(metrics[name], reason="one patient holds 64 % of the images")
    said = " ".join(map(str.strip, headline("t", held)))
    assert "(95 % CI not estimable: one patient holds 64 % of the images)" in said
    assert "on a new patient cannot be estimated" in said
    assert "None" not in report_of([Panel(table, held)])[1].replace("None.", "")


def test_several_are_told_at_a_glance():
    """Those of a protocol under its name, equal good ones both the best; a sentence once, with its tables."""
    panels = []
    for name, seed in {"5-ü%s": 1, "5-b\t{}": 1, "5-c": 2, "9-a": 3}.items():
        table = replace(table_of(np.random.default_rng(seed), name=name), protocol=name[0])
        panels.append(
            Panel(
                table,
                measure(table, bootstrap=0),
                run={"banners": [SYNTHETIC.json(), as_banner("odd").json()][: len(name) - 2]},
            )
        )
    _, *rows = side_by_side(rankings(panels), brief=True)
    assert [row[:2] if row[1:] else row[0][:4] for row in rows] == [
        "5: 5",
        ["highest", "ü%s"],
        ["highest", "b {}"],
        ["", "c"],
        ["", "chance"],
        "9, 4",
        ["", "9-a"],
        ["", "chance"],
    ]
    told = warnings(
        panels,
        [
            *(as_banner("leaks").of(name) for name in ("5-ü%s", "5-b\t{}", "5-c", "9-a")),
            Banner(Kind.QUICK, "z", "9-a"),
            "all: y",
        ],
    )
    assert told[:5] == [SYNTHETIC, "9-a: QUICK: z", "5-ü%s, 5-b\t{}: odd", "leaks", "all: y"]


def test_what_learnt_nothing_is_last_and_not_the_best():
    labels, folds = np.arange(8) % 2, (1,) * 4 + (2,) * 4
    scores = {"t-wrong": 0.2 + 0.6 * (1 - labels), "t-constant": np.full(8, 0.6)}
    tables = [predictions(score, labels, name=name, folds=folds) for name, score in scores.items()]
    panels = panels_of(*tables, chosen=False)
    rows = side_by_side(rankings(panels), brief=True)
    assert [row[:2] for row in rows[2:]] == [["", "wrong"], ["", "constant"], ["", "chance"]]


def test_classes_and_patients_are_counted_by_hand():
    ids = ["a1", "a2", "a3", "b1", "c1"]
    table = PredictionTable(
        "t",
        ("x", "y"),
        tuple(ids),
        np.array([0, 0, 1, 1, 0]),
        None,
        np.array([0, 1, 1, 1, 0]),
        (None,) * 5,
        ("A", "A", "A", "B", None),
        group_is="patient",
    )
    classes, both = cohort_blocks(table)
    assert classes.grid.rows == [
        ["x", "3", "1", "2 (2 to 2)", "1"],
        ["y", "2", "2", "1 (1 to 1)", "0"],
        ["all", "5", "2", "2 (1 to 3)", "1"],
    ]
    assert both.text == "Of more than one class: 1 patient."
    assert len(list(cohort_blocks(replace(table, groups=(None,) * 5)))) == 1
    run = {"flow": {"found": 9, "refused": 1, "duplicates": 0, "failed": None, "used": 5}}
    page, _ = report_of(panels_of(table, run=run, chosen=False))
    flow = page.partition("Flow of images")[2].partition("</table>")[0]
    # nobody needs a row of none left out
    assert re.findall("<td>(.*?)</td>", flow) == [
        "9",
        "1",
        "not known",
        "5",
    ]


def test_figures_carry_their_intervals_wherever_they_are_printed(rng, tmp_path):
    table = table_of(rng, groups=False)
    path = saved(table, tmp_path / "t.csv")
    metrics = write_evaluation(evaluate(path, out=tmp_path / "out", bootstrap=100))["tables"]["t"]
    low, high = metrics["accuracy"]["interval"]
    wanted = f"{100 * low:.1f} to {100 * high:.1f}"
    assert wanted in headline("t", metrics)[0]
    assert wanted in text_of(tmp_path / "out" / "report.html")
    point = metrics["two_class"]["thresholds"][0]
    ends = "{:.1f} to {:.1f}".format(*(100 * end for end in point["sensitivity"]["interval"]))
    wanted = f"sensitivity {100 * point['sensitivity']['value']:.1f} % ({ends})"
    assert wanted in " ".join(map(str.strip, headline("t", metrics)))
    (row,) = rows_of(tmp_path / "out" / "tables.csv")
    assert [float(row["balanced_accuracy_low"]), float(row["balanced_accuracy_high"])] == (
        metrics["balanced_accuracy"]["interval"]
    )
    rows = rows_of(tmp_path / "out" / "figures.csv")
    lows = {(row["part"], row["metric"]): row["low"] for row in rows}
    recall = metrics["per_class"]["Normal"]["recall"]["interval"][0]
    assert float(lows["per_class Normal", "recall"]) == recall
    at = f"two_class thresholds {point['threshold']}"
    assert float(lows[at, "sensitivity"]) == point["sensitivity"]["interval"][0]


def test_the_methods_are_those_that_were_run(rng, page):
    table = table_of(rng, folds=0)
    metrics = measure(replace(table, protocol=""), bootstrap=0)
    alone = methods_text([metrics], runs=[{}], pairs=[])
    for absent in (
        "several folds",
        "all folds",
        "McNemar",
        "Holm",
        "sign of",
        "normalised",
        "protocol",
    ):
        assert absent not in alone
    assert "Metrics were computed with bchisto." in alone
    without = methods_text(
        [{**metrics, "calibration": None, "two_class": None}], runs=[{}], pairs=[]
    )
    assert "alibration" not in without
    assert "two-class" not in without
    text = text_of(page)
    for present in (
        "Trees were grown [1].",
        "a randomisation test (mid-p) that flips the sign",
        f"Models and metrics were computed with bchisto {__version__}, LightGBM 4.6.0, NumPy ",
        "a sensitivity of 90 %",
    ):
        assert present in text
    assert "McNemar's exact test" not in text


def test_the_references_are_those_that_the_code_cites():
    from pathlib import Path

    import bchisto

    root = Path(bchisto.__file__).parent
    files = [
        file
        for room in ("boost", "crossval", "finetune", "evaluate/report", "stains")
        for file in (root / room).rglob("*.*")
        if file.suffix in (".py", ".txt", ".html")
    ]
    # the table itself cites nothing
    text = "".join(file.read_text().partition("\nREFERENCES = ")[0] for file in files)
    cited = {
        key
        for found in re.findall(r"\[@([\w @]+)\]", text)
        for key in found.replace("@", "").split()
    }
    assert {"ke2017", "holm1979"} <= cited
    assert cited - {"key"} <= set(REFERENCES)
    for key in REFERENCES:
        assert re.search(rf'[@"]{key}\b', text), key


@pytest.fixture(scope="module", params=[1280, 400, PAPER])
def seen(request, browser, page, tmp_path_factory):
    """What a browser makes of the page in a frame of that width, and on paper with the style for print."""
    return request.param, probe_page(
        page, browser=browser, width=request.param, folder=tmp_path_factory.mktemp("probe")
    )


def test_on_a_screen_and_on_a_phone(seen):
    """Nothing but a table in its own box is wider than the screen; every figure is drawn."""
    width, said = seen
    assert said["wide"] <= width
    assert said["beyond"] == 0
    assert said["pictures"] == said["decoded"] == 7
    if width == PAPER:
        assert said["tablewide"] == 0  # nobody can scroll on paper


NUMBERS = """
const d = document.getElementById('f').contentDocument, items = [...d.querySelectorAll('nav li')];
const pen = document.createElement('canvas').getContext('2d');
const boxes = items.map((item, k) => {
  const style = d.defaultView.getComputedStyle(item), box = item.getBoundingClientRect();
  pen.font = style.font;
  const number = style.listStylePosition == 'outside' ? pen.measureText((k + 1) + '. ').width : 0;
  return {left: box.left - number, top: box.top, right: item.firstChild.getBoundingClientRect().right};
});
const beside = (a, b) => a.left < b.left && Math.abs(a.top - b.top) < 10;
const touching = boxes.flatMap(b => boxes.filter(a => beside(a, b) && a.right + 4 > b.left));
document.title = 'probe ' + JSON.stringify({touching: touching.length, columns: new Set(boxes.map(b => b.left)).size})
  + ' end';
"""


@pytest.mark.parametrize("width", [620, 1280])
def test_numbers_of_sections_touch_no_title_beside_them(tmp_path, browser, width):
    titles = ["Calibration and operating points of all the tables" for _ in range(24)]
    sections = [Section(title, [Block(text="x")]) for title in titles]
    write_page(tmp_path / "r.html", title="t", sections=sections)
    found = probe(
        (tmp_path / "r.html").read_text(), NUMBERS, browser=browser, width=width, folder=tmp_path
    )
    assert found["columns"] > 1
    assert found["touching"] == 0


def test_by_keyboard_and_screen_reader(seen):
    _, said = seen
    assert said["landmarks"] == [1, 1, 1]
    assert said["named"] is True
    assert said["levels"][0] == 1
    assert said["levels"].count(1) == 1
    for before, after in zip(said["levels"], said["levels"][1:], strict=False):
        assert after - before <= 1
    assert said["captioned"] == said["tables"] == said["boxes"] > 8
    assert said["unscoped"] == said["links"] == 0
    assert said["skip"] == "skip"
    assert len(set(said["alts"])) == len(said["alts"])
    # a figure says its numbers
    for alt in said["alts"]:
        assert re.search(r"\d", alt), alt


def test_colours_have_the_contrast_that_wcag_asks_for(page):
    """4.5 for text, in the light and the dark scheme and in print (WCAG 2.2, 1.4.3)."""

    def luminance(colour):
        shares = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    schemes = re.findall(r":root \{(.*?)\}", page.read_text())
    assert len(schemes) >= 3
    colours = {}
    for scheme in schemes:
        for name, colour in re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", scheme):
            colours[name] = colour if len(colour) == 7 else "#" + "".join(2 * c for c in colour[1:])
        for front, back in (("ink", "paper"), ("link", "paper"), ("warn-ink", "warn")):
            dark, bright = sorted(luminance(colours[one]) for one in (front, back))
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, (front, back, scheme)


def test_the_form_says_which_figures_have_an_interval():
    """One patient with most of the images: only the mean over patients has one."""
    table, metrics = answered(sizes=(2, 20, 2, 2, 2))
    _, said = report_of([Panel(table, metrics)])
    form = said.partition("Model performance ")[2].partition("24 Model updating")[0]
    _, _, bare = form.partition("Without, at least in part: ")
    assert metrics["accuracy"].interval is None
    assert "accuracy by patient" not in bare
    # what no page shows is not listed, and nothing by its key
    for name in ("macro", "kappa", "atthews", "recognition", "_", "f1", "auc"):
        assert name not in form.replace("________", "")
    for name in (
        "accuracy",
        "balanced accuracy",
        "expected calibration error",
        "Brier score",
        "AUC",
    ):
        assert name in bare
    assert "throughout" not in form


def test_the_plot_tells_its_numbers():
    table, metrics = answered()
    with drawn():
        page, _ = report_of([Panel(table, metrics)])
    (alt,) = re.findall('alt="(Results: .*?)"', page)
    low, high = metrics["accuracy"].interval
    share = 100 * metrics["accuracy"].value
    assert f"accuracy {share:.1f} % ({100 * low:.1f} to {100 * high:.1f} %), chance 50.0 %" in alt


def test_a_temperature_is_said_as_it_is_used():
    table, metrics = answered()
    run = {"bundle": {"temperature": 1.772}}
    _, said = report_of([Panel(table, metrics, run=run)])
    assert (
        "For new images the temperature is 1.772: pages show the confidence that it gives" in said
    )
    assert "tables the probabilities without it, unless bchisto predict has --calibrated" in said
    assert "is scaled by a temperature of 1.772" not in said
