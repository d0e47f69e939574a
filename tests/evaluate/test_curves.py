"""ROC per fold, temperature: against scikit-learn, scipy and by hand."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from bchisto.evaluate import TwoClassView, apply_temperature, evaluate, fold_curves, measure
from bchisto.evaluate.calibration import fold_temperatures, shrunk_temperature
from bchisto.evaluate.report import PublishedFigure, write_evaluation, write_published
from bchisto.evaluate.report.tables import PublishedTable
from numpy.testing import assert_allclose
from written_tables import predictions, read_json, rows_of, saved


def random_table(rng, n=300, folds=5, sure=1.0):
    labels = rng.integers(0, 2, n)
    logits = rng.normal(0, 1, (n, 2)) + 1.5 * np.eye(2)[labels]
    probabilities = apply_temperature(
        np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), 1 / sure
    )
    return predictions(
        probabilities, labels, folds=[1 + k % folds if folds else None for k in range(n)]
    )


def test_fold_curves_are_scikit_learns(rng):
    from sklearn.metrics import auc, roc_auc_score

    table = random_table(rng)
    truth, scores = table.labels == 1, table.probabilities[:, 1]
    folds = np.array(table.folds)
    expected = [roc_auc_score(truth[folds == fold], scores[folds == fold]) for fold in range(1, 6)]
    assert_allclose([auc(x, y) for x, y in fold_curves(table, truth, scores)], expected)
    view = measure(table, TwoClassView("malignant"))["two_class"]
    assert_allclose(view["auc_per_fold"], expected)
    assert view["auc_mean"] == pytest.approx(np.mean(expected))
    assert view["auc_std"] == pytest.approx(np.std(expected))


def test_a_label_missing_from_a_fold_leaves_that_auc_out(rng, tmp_path):
    table = random_table(rng, n=40, folds=4)
    folds = np.where(table.labels == 1, np.minimum(np.array(table.folds), 3), table.folds)
    path = saved(replace(table, folds=tuple(folds.tolist())), tmp_path / "t.csv")
    view = write_evaluation(evaluate(path, out=tmp_path / "out", bootstrap=0))["tables"]["t"][
        "two_class"
    ]
    assert view["auc_per_fold"][3] is None
    assert None not in view["auc_per_fold"][:3]
    assert view["auc_mean"] == pytest.approx(np.mean(view["auc_per_fold"][:3]))
    cells = [row["two_class_auc"] for row in rows_of(tmp_path / "out" / "per-fold.csv")]
    assert cells == [*map(repr, view["auc_per_fold"][:3]), ""]


def test_temperature_is_the_minimum_that_scipy_finds(rng, monkeypatch):
    from scipy.optimize import minimize

    table = random_table(rng, n=2000, sure=3.0)

    def loss(t):
        scaled = apply_temperature(table.probabilities, float(t[0]))
        return -np.log(scaled[np.arange(2000), table.labels]).mean()

    best = minimize(loss, [1.0], method="Nelder-Mead")
    monkeypatch.setattr("bchisto.evaluate.calibration.PENALTY", 0.0)
    assert shrunk_temperature(table) == pytest.approx(best.x[0], rel=1e-3)
    assert best.x[0] > 1.5


def test_the_temperature_of_a_fold_does_not_see_its_images(rng):
    table = random_table(rng, n=100)
    before, _ = fold_temperatures(table)
    inside = np.array(table.folds) == 2
    after, _ = fold_temperatures(
        replace(table, labels=np.where(inside, 1 - table.labels, table.labels))
    )
    assert after[2] == before[2]
    for fold in (1, 3, 4, 5):
        assert after[fold] != before[fold], fold


def test_one_fold_has_no_temperature(rng):
    for folds in (0, 1):
        assert fold_temperatures(random_table(rng, n=20, folds=folds)) is None


def test_every_table_is_written_as_csv(tmp_path):
    tables = [
        saved(random_table(np.random.default_rng(0), n=60), tmp_path / f"{name}.csv")
        for name in "ab"
    ]
    result = write_evaluation(evaluate(tables, out=tmp_path / "out", bootstrap=20))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    for stem in ("tables", "per-fold", "confusion", "figures", "comparisons"):
        assert f"{stem}.csv" in names
        with (tmp_path / "out" / f"{stem}.csv").open() as handle:
            assert len({len(row) for row in csv.reader(handle)}) == 1
    total = sum(int(row["n"]) for row in rows_of(tmp_path / "out" / "confusion.csv"))
    assert total == 120
    assert read_json(tmp_path / "out" / "metrics.json") == result
    write_evaluation(evaluate(tables[:1], out=tmp_path / "out", bootstrap=0))
    assert not (tmp_path / "out" / "comparisons.csv").exists()


@pytest.mark.parametrize(
    ("published", "obtained", "interval", "cells"),
    [
        (87.2, 85.0, (81.0, 88.5), ["87.2", "85.0", "81.0 to 88.5", "-2.2", "–"]),
        (93.8, 85.0, (81.0, 88.5), ["93.8", "85.0", "81.0 to 88.5", "-8.8", "–"]),
        (88.54, 85.0, (81.0, 88.5), ["88.5", "85.0", "81.0 to 88.5", "-3.5", "–"]),
        (None, 85.0, None, ["not printed", "85.0", "–", "–", "–"]),
        (87.2, None, None, ["87.2", "–", "–", "–", "–"]),
    ],
)
def test_published_beside_obtained(published, obtained, interval, cells):
    assert PublishedFigure("x", published, obtained, interval=interval).cells() == cells


def test_published_tables_are_written(tmp_path):
    figure = PublishedFigure("ResNet_400", 84.2, 83.0, 4.2, 3.9, (80.0, 86.0))
    table = PublishedTable(
        "accuracy", "Accuracy", "Table 1", (figure, PublishedFigure("x", None, None))
    )
    (path,) = write_published(tmp_path, [table])
    rows = rows_of(path)
    assert float(rows[0]["difference"]) == pytest.approx(-1.2)
    assert rows[1]["published"] == "not printed"
    assert table.text().splitlines()[0] == "Accuracy (Table 1)"
