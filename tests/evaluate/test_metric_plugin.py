"""A metric of another package is in every output; what is wrong with one costs nobody else's numbers."""

import re
from pathlib import Path

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.evaluate import MetricSpec, measure, read_predictions
from offers import offer
from written_tables import read_json, rows_of, write_lines

HERE = Path(__file__).parent
SPEC = "from bchisto.evaluate import MetricSpec\n"
FOLDS, CALLED = HERE / "golden" / "folds.csv", HERE / "golden" / "called.csv"


@pytest.fixture
def matthews(monkeypatch):
    """The package is installed."""
    monkeypatch.syspath_prepend(HERE / "packages")


def test_it_is_in_every_output_of_evaluate(matthews, completed, tmp_path):
    from sklearn.metrics import matthews_corrcoef

    completed("evaluate {} {} --out {} --bootstrap 100", FOLDS, CALLED, tmp_path)
    tables = read_json(tmp_path / "metrics.json")["tables"]
    (table,) = read_predictions(FOLDS)
    mcc, (low, high) = (tables["folds"]["mcc"][key] for key in ("value", "interval"))
    assert mcc == pytest.approx(matthews_corrcoef(table.labels, table.predicted))
    assert low < mcc < high
    per_fold = tables["folds"]["mcc_per_fold"]
    assert len(per_fold) == 4
    assert tables["folds"]["mcc_mean"] == np.mean(per_fold)
    assert tables["folds"]["mcc_std"] == np.std(per_fold)
    first, second = rows_of(tmp_path / "tables.csv")
    columns = ["table", "protocol", "n"]
    for name in [
        "accuracy",
        "balanced_accuracy",
        "auc",
        "patient_recognition_rate",
        "mcc",
        "sureness",
    ]:
        columns += [name, f"{name}_low", f"{name}_high"]
        if name in ("accuracy", "mcc"):
            columns += [f"{name}_mean", f"{name}_std"]
    assert list(first) == columns
    assert [float(first[name]) for name in ("mcc", "mcc_low", "mcc_high")] == [mcc, low, high]
    # this table has no probabilities
    assert second["sureness"] == second["sureness_low"] == ""
    assert tables["called"]["sureness"] is None
    rows = rows_of(tmp_path / "per-fold.csv")
    assert [float(row["mcc"]) for row in rows[:4]] == per_fold
    report = (tmp_path / "report.html").read_text()
    assert '<th scope="col">Matthews &lt;correlation&gt;</th>' in report
    assert "mean ± SD over folds</th>" not in report
    assert f"<td>{mcc:.3f} ({low:.3f}\u00a0to\u00a0{high:.3f})</td>" in report
    line = f"Matthews &lt;correlation&gt; {mcc:.3f} ({low:.3f} to {high:.3f}); Matthews &lt;correlation&gt;, mean "
    assert line in report
    sure = tables["folds"]["sureness"]["value"]
    assert f"confidence (lower is better) {100 * sure:.1f} % (" in report


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "MCC"}, "its name must be lower-case letters"),
        ({"name": "two_class.auc"}, "its name must be lower-case letters"),
        ({"unit": "points"}, "its unit 'points' is none of percent, number"),
        ({}, "it has neither compute nor parts"),
    ],
)
def test_a_metric_that_does_not_fit(change, message):
    with pytest.raises(InputError, match=re.escape(message)):
        MetricSpec(**{"name": "mcc", "title": "MCC", "compute": None, **change})


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        (
            "loss",
            "import nothing_of_this_name",
            "metric loss: its entry point cannot be loaded (ModuleNotFoundError",
        ),
        ("loss", "metric = 3", "metric loss: its entry point cannot be loaded (TypeError"),
        (
            "loss",
            "metric = lambda: 3",
            "metric loss: its entry point gives no MetricSpec; report this to its package",
        ),
        (
            "loss",
            "metric = MetricSpec('gain', 'g', len)",
            "metric loss: its entry point gives one called gain",
        ),
        (
            "accuracy",
            "metric = MetricSpec('accuracy', 'a', len)",
            "metric accuracy: accuracy is taken already",
        ),
        (
            "confusion",
            "metric = MetricSpec('confusion', 'c', len)",
            "metric confusion: confusion is taken already",
        ),
        (
            "accuracy_mean",
            "metric = MetricSpec('accuracy_mean', 'c', len)",
            "accuracy_mean is taken already",
        ),
        ("mcc", "metric = MetricSpec('mcc', 'c', len)", "metric mcc: several packages offer it ("),
    ],
)
def test_one_that_cannot_be_used_is_left_out_and_said(
    matthews, tmp_path, monkeypatch, caplog, name, code, message
):
    package = "left_out_" + re.sub(r"\W", "_", tmp_path.name)
    offer(tmp_path, "metrics", package, SPEC + code, **{name: f"{package}:metric"})
    monkeypatch.syspath_prepend(tmp_path)
    (table,) = read_predictions(FOLDS)
    found = measure(table, bootstrap=5)
    assert caplog.text.count(message) == 1, caplog.text
    assert "; it is left out" in caplog.text
    assert found["accuracy"]["value"] == float((table.predicted == table.labels).mean())
    assert "loss" not in found
    assert "sureness" in found


@pytest.mark.parametrize(
    ("code", "interval"),
    [
        ("metric = MetricSpec('loss', 'loss', lambda table: 1 / 0)", None),
        ("metric = MetricSpec('loss', 'loss', lambda table: 'much')", None),
        ("metric = MetricSpec('loss', 'loss', lambda table: 1.0, lambda table: 1 / 0)", [1.0, 1.0]),
    ],
)
def test_one_that_fails_costs_nothing_else(tmp_path, monkeypatch, completed, code, interval):
    package = "failing_" + re.sub(r"\W", "_", tmp_path.name)
    offer(tmp_path, "metrics", package, SPEC + code, loss=f"{package}:metric")
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "out"
    _, err = completed("evaluate {} --out {} --bootstrap 20", FOLDS, out)
    assert "metric loss: failed on folds and is left out there" in err
    found = read_json(out / "metrics.json")["tables"]["folds"]
    assert found["loss"] == (
        interval and {"value": 1.0, "interval": None, "method": "", "reason": None}
    )
    assert found["accuracy"]["interval"]


def test_an_interval_is_refused_by_the_rule_of_built_in_ones(matthews, tmp_path):
    """If one patient holds most of the rows, of no metric; else of all."""
    for largest, refused in ((30, True), (10, False)):
        lines = ["image_id,group,label,predicted"]
        for number in range(40):
            group = "p" if number < largest else f"q{number % 8}"
            label = "ab"[number % 2]
            lines.append(f"{number},{group},{label},{label if number % 5 else 'a'}")
        write_lines(tmp_path / "table.csv", *lines)
        metrics = measure(*read_predictions(tmp_path / "table.csv"), bootstrap=50)
        for name in ("accuracy", "mcc"):
            assert (metrics[name].interval is None) == refused, name
        assert metrics["mcc"].reason == metrics["accuracy"].reason
    assert metrics["mcc"].method == "percentile bootstrap"
