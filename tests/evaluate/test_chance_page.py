"""docs/chance.md is named by reports of results that are not better than chance, and holds words that are printed."""

import html
import re
from pathlib import Path

import numpy as np
import pytest
from written_tables import flat, write_lines

PAGE = Path(__file__).parents[2] / "docs" / "chance.md"
NAMED = 'What to look at, in which order: "{}" in the documentation of bchisto.'

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="needs the documents")


def title():
    """Return the title of the page."""
    return PAGE.read_text().partition("\n")[0].removeprefix("# ")


def predictions(path, *, right):
    """Write calls of two classes by patient; `right` is the fraction of patients that are called as they are."""
    rng = np.random.default_rng(0)
    rows = ["image_id,label,group,fold,p_benign,p_malignant"]
    for patient in range(12):
        malignant = patient % 2
        called = malignant if (patient // 2 + 1) / 6 <= right else 1 - malignant
        for image in range(4):
            p = (0.7 if called else 0.3) + rng.uniform(-0.1, 0.1)
            label = ("benign", "malignant")[malignant]
            rows.append(
                f"i{patient}-{image},{label},P{patient},{patient // 4 + 1},{1 - p:.3f},{p:.3f}"
            )
    return write_lines(path, *rows)


@pytest.mark.parametrize(
    ("right", "verdict"),
    [
        (1.0, "The calls are better than chance"),
        (0.5, "The calls are not shown to be better than chance"),
        (0.0, "The calls are worse than chance"),
    ],
)
def test_a_report_names_the_page_unless_calls_are_better(right, verdict, tmp_path, completed):
    table = predictions(tmp_path / "t.csv", right=right)
    out, _ = completed("evaluate -v {} --out T/out", table)
    assert verdict in flat(out)
    report = html.unescape((tmp_path / "out" / "report.html").read_text())
    assert verdict in report
    assert report.count(NAMED.format(title())) == ("are better" not in verdict)


@pytest.mark.parametrize(("right", "named"), [(1.0, 0), (0.5, 1)])
def test_a_report_of_several_names_it_once(right, named, tmp_path, completed):
    tables = [predictions(tmp_path / f"{name}.csv", right=right) for name in "ab"]
    completed("evaluate", *tables, "--out", tmp_path / "out")
    report = html.unescape((tmp_path / "out" / "report.html").read_text())
    assert report.count(NAMED.format(title())) == named


def test_what_the_page_quotes_is_printed(tissue, tmp_path, cli, completed):
    page = PAGE.read_text()
    _, out, _ = cli("data check --no-timing --images {} --html T/check.html", tissue)
    parts = re.findall(r"^\| `([A-Z -]+)` \|", page, re.MULTILINE)
    assert len(parts) == 6
    assert [part for part in parts if f"\n{part}" not in f"\n{out}"] == []
    table = predictions(tmp_path / "t.csv", right=0.5)
    out, _ = completed("evaluate -v {} --out T/out --positive malignant", table)
    begin, number, end = re.search(r'"(A 95 % CI.* about) (\d+) (such patients)"', page).groups()
    assert int(number) > 0
    begin = begin.replace("the mean over patients", "accuracy")  # of patients of equal size
    assert re.search(rf"{begin} \d+ {end}", flat(out))
