"""Figures of the documents are those of the rows in `docs/results`, and rows of BACH those of the measured tables."""

import dataclasses
import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from bchisto.apps.next import NextSettings
from bchisto.core.runs import science
from bchisto.evaluate import (
    answers_by_fold,
    apply_temperature,
    evaluate,
    read_predictions,
    shrunk_temperature,
)
from conftest import REPOSITORY, needs_repository
from documented import text_of
from own_process import load_script, run_process
from written_tables import read_json, rows_of

SHARED = Path(os.environ.get("BCHISTO_SHARED", REPOSITORY.parent / "shared")) / "reference"
BACH = SHARED / "bach"
PREDICTIONS = REPOSITORY / "docs" / "results" / "bach"
PUBLISHED = PREDICTIONS / "crossvalidation.csv"
HEADS = ("svm", "lda", "logistic", "lightgbm", "knn")


pytestmark = needs_repository
needs_tables = pytest.mark.skipif(
    not BACH.is_dir() or not (REPOSITORY / "README.md").is_file(),
    reason="needs the repository and the measurements in ../shared",
)


TOOLS = REPOSITORY / "tools" / "benchmarks"


@needs_tables
def test_the_tables_of_the_documents_are_those_that_were_measured():
    originals = {"crossvalidation.csv": SHARED / "rakhlin2018" / "crossvalidation.csv"}
    originals |= {path.name: path for path in (BACH / "predictions").glob("*.csv")}
    copies = {path.name: path for path in PREDICTIONS.glob("*.csv")}
    assert {name: path.read_bytes() for name, path in copies.items()} == {
        name: path.read_bytes() for name, path in originals.items()
    }


@pytest.fixture(scope="module")
def made():
    return load_script(REPOSITORY / "docs" / "make_results.py")


def book_of(made, changes=(), current=None):
    """Return the book of the rows, with changes of some: name, figure, column and text."""
    rows = {key: dict(row) for key, row in made.read_ledger().items()}
    for name, figure, column, text in changes:
        rows[name, figure][column] = text
    return made.Book(rows, science() if current is None else current)


def test_pages_have_the_figures_of_the_rows(made):
    for path in made.PAGES:
        text = path.read_text()
        assert made.filled(text, book_of(made)) == text, f"{path}: python docs/make_results.py"


def test_a_changed_row_changes_its_pages(made):
    changes = [("rakhlin10-svm", "accuracy", "value", "0.88"), ("eva-lda", "auc", "value", "0.5")]
    book = book_of(made, changes)
    readme, results = (
        made.filled(text_of(name), book) for name in ("README.md", "docs/results.md")
    )
    assert "-->352 of 400<!--/-->" in readme
    assert "| `svm` | 88.0 (" in results
    assert re.search(r"\| `lda` \|.* 50\.0 \|", results)


def test_what_a_difference_shows_follows_its_row(made):
    name = "rakhlin10-svm against crossvalidation"
    text = text_of("README.md")
    assert "not shown to be better<!--/-->" in text
    shown = [(name, "difference", "low", "0.001"), (name, "difference", "p", "0.01")]
    assert "-->better<!--/-->" in made.filled(text, book_of(made, shown))
    untested = [(name, "difference", "low", "0.001"), (name, "difference", "p", "0.2")]
    assert "not shown to be better<!--/-->" in made.filled(text, book_of(made, untested))


def test_rows_of_changed_science_name_their_version(made):
    """As if the stains of the synthetic images had changed: rows that rest on them are marked, others are not."""
    current = {**science(), "stains": "00000000"}
    text = text_of("README.md")
    results = text_of("docs/results.md")
    assert "of version" not in text
    version = made.read_ledger()["rakhlin10-svm", "accuracy"]["made"]["version"]
    marked = made.filled(text, book_of(made, current=current))
    assert f"350 of 400 (of version {version})<!--/-->" in marked
    assert "349 of 400<!--/-->" in marked  # the published predictions have no stains of ours
    assert "-->132<!--/--> images of" in marked  # a count rests on nothing
    table = made.filled(results, book_of(made, current=current))
    assert f"| `svm` (of version {version}) | 87.5 (" in table


def test_rows_of_changed_metrics_name_the_version_that_measured(made):
    current = {**science(), "metrics": "00000000"}
    text = text_of("README.md")
    version = made.read_ledger()["rakhlin10-svm", "accuracy"]["version"]
    marked = made.filled(text, book_of(made, current=current))
    assert f"350 of 400 (of version {version})<!--/-->" in marked
    assert f"349 of 400 (of version {version})<!--/-->" in marked


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": ["x,accuracy,1,,"], "b": ["x,accuracy,2,,"]}, "is in another file"),
        ({"a": ["x,accuracy,1,one,", "x,accuracy,2,other,"]}, "of two settings"),
    ],
)
def test_a_name_is_of_one_result(made, tmp_path, files, message):
    """A sample never stands for what was measured of all, nor one encoder for another."""
    for name, lines in files.items():
        text = "\n".join(["name,figure,value,settings,science", *lines])
        (tmp_path / f"{name}.csv").write_text(text)
    with pytest.raises(SystemExit, match=message):
        made.read_ledger(tmp_path)


FIGURE = re.compile(r"(?<![\w.-])[+-]?\d[\d,]*(?:\.\d+)?(?![\w-])")
COUNTED = (
    "augmentations?|(?:CPU )?cores|crops|folds|seeds?|bins|leaves|pixels|micrometres|registers"
)
UNMEASURED = (
    r"et al\. \d{4}",
    r"CC BY\s+4\.0",
    r"(?:Python|TensorFlow|Keras|JAX|PyTorch|Zen) \d[\d.]*(?: to 3\.\d+)?",
    r"[98][50] % (?:CI|confidence intervals|of such studies)",
    r"Apache-2\.0",
    rf"\d[\d,]*(?: more)?\s+(?:{COUNTED})\b",
    r"(?:preset|standard) `?\w*`?, \d+ augmentations",
    r"\d{4}-\d\d-\d\d",
)
"""Numbers that are no figures: years, licences, versions, the name of an interval, settings."""

SETTINGS = {
    "README.md": (),
    "results.md": (),
    "encoders.md": (
        *(r"\(n, [^)]*\)", r"\(1; with four registers 5; without a class token 0\)"),
        *(r"resizes to 256 and takes the middle 224", r"shows 0\.5", r"(?:at most|the same) 2 GB"),
        *(
            r"22 million weights, 87 MB",
            r"of 16 bits",
            r"at most 0\.3 %",
            r"BACH's 132 images",
            r"within 1e-4",
        ),
    ),
    "performance.md": (
        *(r"104 BreakHis images", r"2 quiet cores", r"\bafter 500 and after 5,000"),
        *(r"at scale 0\.5, of 400 pixels \(one view\), or 400 and 650", r"on 400 TIFF"),
        *(r"20,000 x 20,000 pixels at 0\.5", r"On 1,248 vectors", r"18,000 vectors of 2,048"),
        *(r"400 images of BACH with 50", r"is 100, 40 or 20", r"is 4, and 40 with", r"1 KiB"),
    ),
    "settings.md": (
        *(r"the 400 images of BACH", r"for 104 BreakHis images", r"20 right of 20", r"to 100 %"),
        *(r"fewer than 50", r"50 to 1,000", r"1,000 to 20,000", r"more than 20,000"),
    ),
    "next.md": (r"round 2\b", r"95 % intervals?", r"leaves out 0", r"Decaestecker 2002"),
}
"""Settings and sizes of what was measured, and rules of thumb, of each page."""


def figures_by_hand(made, text, settings=()):
    """Return the numbers of a page that no row holds: outside of blocks of code, code, links and marks."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = made.MARK.sub("", text)
    for pattern in (r"\]\([^)]*\)", *settings, *UNMEASURED, r"`[^`]*`"):
        text = re.sub(pattern, "", text)
    return FIGURE.findall(text)


def test_no_page_has_a_figure_by_hand(made):
    assert [path.name for path in made.PAGES] == [*SETTINGS]
    for path in made.PAGES:
        text = path.read_text()
        settings = SETTINGS[path.name]
        assert figures_by_hand(made, text, settings) == [], path
        added = f"{text}\nIt has 93.1 % right, of 1,200 in 15 seconds."
        assert figures_by_hand(made, added, settings) == ["93.1", "1,200", "15"]


def measured_rows(made):
    """Return the rows of what was measured, not of what is cited."""
    return [row for row in made.read_ledger().values() if "version" in row]


def test_a_row_holds_a_number(made):
    rows = measured_rows(made)
    assert len(rows) > 300
    for row in rows:
        assert re.fullmatch(r"-?\d[\d,]*(?:\.\d+)?(?:e-\d+)?(?: %)?", row["value"]), row
        assert row["command"], row


def test_recorded_figures_name_what_they_rest_on(made):
    for name in ("measured.csv", "samples.csv"):
        rows = made.records(made.RESULTS / name)
        assert len(rows) > 80
        for row in rows:
            assert "metrics:" in row["science"], row


def git(*words):
    """Return what git prints of the repository; None if it fails."""
    done = run_process("git", "-C", REPOSITORY, *words)
    return None if done.returncode else done.stdout.strip()


def test_a_row_is_of_a_version_that_could_measure_it(made):
    """The commit is not younger than the row, and has the script that the row names."""
    facts = {(row["version"], row["date"], row["command"]) for row in measured_rows(made)}
    is_whole = git("rev-parse", "--is-shallow-repository") == "false"
    if not is_whole or all(git("log", "-1", version) is None for version, _, _ in facts):
        pytest.skip("needs the history of the repository")
    for version, date, command in facts:
        day = git("log", "-1", "--format=%cd", "--date=format:%Y-%m-%d", version)
        assert day is not None, f"{version}: no such commit"
        assert day <= date, (version, date)
        for script in re.findall(r"python (\S+\.py)", command):
            assert git("cat-file", "-e", f"{version}:{script}") is not None, (version, script)


def test_earlier_rows_of_accuracy_are_marked(made):
    """What they rest on was not recorded, so nobody knows whether it has changed."""
    for name, count in {"results.md": 4, "settings.md": 5, "performance.md": 4}.items():
        text = text_of(f"docs/{name}")
        assert text.count("(of version ") == count, name
    text = text_of("docs/settings.md")
    current = {**science(), "stains": "00000000"}
    version = made.read_ledger()["rakhlin10-svm", "accuracy"]["made"]["version"]
    row = f"| **standard** with 4: both networks and views (of version {version}) |"
    assert row in made.filled(text, book_of(made, current=current))


def test_no_difference_of_settings_is_wider_than_the_intervals(made):
    rows = made.read_ledger()
    for figure, name in (("published folds", "rakhlin10-svm"), ("new patients", "eva-svm")):
        accuracy = rows[name, "accuracy"]
        values = [float(row["value"]) for (_, kind), row in rows.items() if kind == figure]
        values.append(100 * float(accuracy["value"]))
        width = 100 * (float(accuracy["high"]) - float(accuracy["low"]))
        assert len(values) > 4
        assert max(values) - min(values) < width


def test_reference_rows_are_those_of_the_recipes(made):
    rows = [(row["name"], row["value"]) for row in rows_of(made.REFERENCE)]
    assert rows == [(row["name"], str(row["value"])) for row in made.published_rows()]
    assert ("rakhlin2018: accuracy: Model fusion", "87.2") in rows


@pytest.mark.parametrize(
    ("column", "text"), [("high", "-0.001"), ("value", "-1"), ("high", "0.001")]
)
def test_a_default_of_next_ranks_as_random(made, column, text):
    """On no sample shown to be worse, nor on average."""
    gain = ("idc next diversity against random", "difference of AUC at 100")
    assert made.ranks_as_random(book_of(made), "diversity")
    changed = book_of(made, [(*gain, column, text)])
    assert made.ranks_as_random(changed, "diversity") == (text == "0.001")


SHARES = (
    "share of the rarer class among the labels",
    "share of the chosen that the model had called wrong",
)


def test_what_the_page_concludes_of_strategies(made):
    book = book_of(made)
    text = page("docs/next.md")
    default = NextSettings().strategy
    assert default == "random" or made.ranks_as_random(book, default)
    assert f"`--strategy {default}`, the default," in text
    assert f"So the default is `{default}`" in text

    def gains(strategy, figure):
        return {sample: made.gain_row(book, sample, strategy, figure) for sample in made.LABELLED}

    corrected = "balanced accuracy, corrected for the labels"
    failing = [name for name in made.STRATEGIES if not made.ranks_as_random(book, name)]
    assert f"{' and '.join(f'`{name}`' for name in failing)} are worse on average" in text
    for name in made.STRATEGIES:
        assert all(float(row["high"]) >= 0 for row in gains(name, "AUC").values()), name
    better = [key for key, row in gains("diversity", "AUC").items() if float(row["low"]) > 0]
    worse = [key for key, row in gains("diversity", corrected).items() if float(row["high"]) < 0]
    assert (better, worse) == (["idc"], ["idc by hand"])
    assert "balanced accuracy is lower on every sample" in text
    assert all(float(row["value"]) < 0 for row in gains("doubt", corrected).values())
    assert all(float(row["low"]) <= 0 for row in gains("doubt", "AUC").values())
    claim = "balances the classes, and shows first what a model gets wrong; "
    assert f"`doubt` {claim}[it is not shown to rank better than random]" in text
    shown = " ".join(text_of("docs/commands/train.md").split())
    assert f"Doubt {claim}it is not shown to rank better than random." in shown
    for sample, (_, count) in made.LABELLED.items():
        for figure in SHARES:
            chosen, drawn = (
                float(book.row(f"{sample} next {name}", f"{figure} at {count}")["value"])
                for name in ("doubt", "random")
            )
            assert chosen > drawn, (sample, figure)


@pytest.mark.slow
def test_the_science_is_that_of_the_code():
    """If this fails by intention: `python tools/benchmarks/science.py --write`, then `python docs/make_results.py`."""
    tool = load_script(TOOLS / "science.py")
    kept = read_json(tool.FILE)
    assert tool.differing(tool.measure_science(), kept) == []


def test_a_changed_stain_changes_its_part_of_the_science(monkeypatch):
    tool = load_script(TOOLS / "science.py")
    kept = read_json(tool.FILE)
    assert tool.differing({"stains": tool.values_of_stains()}, kept) == []
    darker = tool.make_normalizer

    def changed(name):
        normalizer = darker(name)
        if name == "macenko":
            normalizer = dataclasses.replace(normalizer, alpha=3.0)
        return normalizer

    monkeypatch.setattr(tool, "make_normalizer", changed)
    assert tool.differing({"stains": tool.values_of_stains()}, kept) == ["stains"]


@needs_tables
def test_rows_of_bach_are_those_of_the_tables(made, measured):
    rows = made.read_ledger()
    for result in (measured.mixed, measured.new):
        for name, table in result["tables"].items():
            row = rows[name, "accuracy"]
            assert float(row["value"]) == pytest.approx(table["accuracy"]["value"], abs=1e-6)
            assert [float(row["low"]), float(row["high"])] == pytest.approx(
                table["accuracy"]["interval"], abs=1e-6
            )
            assert (row["images"], row["units"]) == (
                str(table["n"]),
                str(table["units"]["count"]),
            )
        for pair in result["comparisons"]:
            row = rows[f"{pair['second']} against {pair['first']}", "difference"]
            difference = pair["differences"]["accuracy"]
            assert float(row["value"]) == pytest.approx(difference["value"], abs=1e-6)
            assert float(row["p"]) == pytest.approx(pair["p_holm"], abs=1e-6)


class Measured(NamedTuple):
    """What `evaluate` finds in the tables, and the page that describes how they were made."""

    mixed: dict
    """The published system (`crossvalidation`) and ours on the published folds."""
    new: dict
    """Ours on patients that trained nothing."""
    described: str


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    def result(name, *tables):
        return evaluate(tables, out=tmp_path_factory.mktemp(name)).result

    return Measured(
        mixed=result("mixed", PUBLISHED, *sorted(PREDICTIONS.glob("rakhlin10-*.csv"))),
        new=result("new", *sorted(PREDICTIONS.glob("eva-*.csv"))),
        described=(BACH / "measured.md").read_text(),
    )


def page(name):
    """Return the text of a page, in one line a paragraph, without what is no prose: blocks of code and links."""
    text = text_of(name)
    if name == "README.md":
        text = text.partition("## How good is it?")[2].partition("## Cite")[0]
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return " ".join(text.split())


def right(table):
    """Return how many images are right, and of how many."""
    return f"{round(table['accuracy']['value'] * table['n'])} of {table['n']}"


def against_published(measured):
    """Return the comparison of `svm` with the published predictions, which come first."""
    (pair,) = (
        pair
        for pair in measured.mixed["comparisons"]
        if (pair["first"], pair["second"]) == ("crossvalidation", "rakhlin10-svm")
    )
    return pair


def points_lost(measured):
    """Return by how many points the classifiers are worse on new patients: `18 to 27`."""
    mixed, new = measured.mixed["tables"], measured.new["tables"]
    lost = [
        100 * (mixed[f"rakhlin10-{head}"]["accuracy"]["value"])
        - 100 * new[f"eva-{head}"]["accuracy"]["value"]
        for head in HEADS
    ]
    return f"{min(lost):.0f} to {max(lost):.0f}"


def right_of_the_sure(folds):
    """Return the least and the largest percentage right among images of a confidence of 90 % or more.

    New patients are calibrated by the temperature that the published folds give a model for new images.
    """
    found = []
    for head in ("svm", "lightgbm", "logistic"):
        (mixed,) = read_predictions(PREDICTIONS / f"rakhlin10-{head}.csv")
        (table,) = read_predictions(PREDICTIONS / f"{folds}-{head}.csv")
        confidence = answers_by_fold(table).confidence
        if folds == "eva":
            temperature = shrunk_temperature(mixed, averaged=True)
            confidence = apply_temperature(table.probabilities, temperature).max(axis=1)
        found.append(100 * table.hits[confidence >= 0.9].mean())
    return f"{min(found):.0f} to {max(found):.0f}"


def claims_elsewhere(measured):
    """Pages that print some of these figures, each with its claims."""
    mixed, new = measured.mixed["tables"], measured.new["tables"]
    svm, new_svm = mixed["rakhlin10-svm"]["accuracy"], new["eva-svm"]["accuracy"]
    lost = points_lost(measured)
    value, new_value = 100 * svm["value"], 100 * new_svm["value"]
    return {
        "docs/own-images.md": [f"on BACH by [{lost} percentage points]"],
        "docs/faq.md": [f"[by {lost} points on BACH]"],
        "docs/predict.md": [
            f"with a confidence of at least 90 %, {right_of_the_sure('rakhlin10')} % are right in the published folds, "
            f"which mix patients, and {right_of_the_sure('eva')} % of new patients'"
        ],
        "docs/report.md": [
            f"{value:.0f} % are right if patients are mixed, and {new_value:.0f} % on new patients"
        ],
        "docs/settings.md": [f"| {value:.1f} | {new_value:.1f} |"],
        "docs/tutorial.md": [f"[{lost} points more]"],
        "tools/benchmarks/presets.py": [f'--augmentations 4", {value:.1f}, "{new_value:.1f}")'],
    }


@needs_tables
def test_other_pages_print_the_same_figures(measured):
    for name, claims in claims_elsewhere(measured).items():
        for claim in claims:
            assert claim in page(name), name


def test_the_picture_draws_the_accuracies_of_its_page():
    """Those of results.md, which are those of the rows."""
    pytest.importorskip("playwright")
    drawn = load_script(REPOSITORY / "docs" / "make_pictures.py").draw_results()
    assert text_of("docs/images/results.svg") == drawn


@needs_tables
def test_what_the_pages_conclude_holds(measured):
    """Neither is shown to be better than the other on the published folds, and no classifier on new patients."""
    pair = against_published(measured)
    low, high = pair["differences"]["accuracy"]["interval"]
    assert low < 0 < high
    assert pair["p"] >= 0.05
    pairs = measured.new["comparisons"]
    assert len(pairs) == 10
    assert [pair for pair in pairs if pair["p_holm"] < 0.05] == []
