"""The figures on BACH that README and the results page print are those of this version."""

import os
from pathlib import Path

import pytest
from bchisto.evaluate import evaluate

HOUSE = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("BCHISTO_SHARED", HOUSE.parent / "shared")) / "reference"
PUBLISHED = SHARED / "rakhlin2018" / "crossvalidation.csv"


def written(figure, form=".1f"):
    """A figure in percent, with its interval if it has one."""
    value, low, high = (
        f"{100 * each:{form}}" for each in (figure["value"], *(figure["interval"] or (0, 0)))
    )
    return f"{value} ({low} to {high})" if figure["interval"] else value


def row(name, m):
    """The row of a table of predictions on the results page."""
    two, plain = m["two_class"], m["auc"] is None
    figures = [
        m["accuracy"],
        m["balanced_accuracy"],
        m["macro_f1"],
        m["auc"],
        m["patient_recognition_rate"],
    ]
    cells = [
        f and (written(f) if place in (0, 1, 4) else f"{100 * f['value']:.1f}")
        for place, f in enumerate(figures)
    ]
    auc = (
        "97.3, by the paper"
        if plain
        else f"{100 * (two.get('auc_pooled') or two['auc']['value']):.1f}"
    )
    return f"| {' | '.join(cell or '–' for cell in [name, *cells, written(two['accuracy']).split()[0], auc])} |"


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="needs the predictions in ../shared")
@pytest.mark.parametrize(("folds", "before"), [("rakhlin10", [PUBLISHED]), ("eva", [])])
def test_every_figure_is_that_of_evaluate(folds, before, tmp_path):
    tables = [*before, *sorted((SHARED / "bach" / "predictions").glob(f"{folds}-*.csv"))]
    metrics = evaluate(tables, out=tmp_path).result
    page, readme = (
        (HOUSE / name).read_text(encoding="utf-8") for name in ("docs/results.md", "README.md")
    )
    for name, table in metrics["tables"].items():
        assert (
            row(
                "published" if name == "crossvalidation" else f"`{name.removeprefix(folds + '-')}`",
                table,
            )
            in page
        )
    wanted = written(metrics["tables"][f"{folds}-svm"]["accuracy"]).replace(" (", " % (")
    for pair in metrics["comparisons"]:
        if (pair["first"], pair["second"]) == ("crossvalidation", "rakhlin10-svm"):
            wanted = written(pair["differences"]["accuracy"], form="+.1f").replace(
                " (", " points (95 % CI "
            )
    assert all(wanted in " ".join(text.split()) for text in (page, readme))
