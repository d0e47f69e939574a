"""A metric of another package is in every output; what is wrong with one costs nobody else's numbers."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.evaluate import MetricSpec, PredictionTable, list_metrics, measure, read_predictions
from bchisto.evaluate.predictions import take_rows
from offers import offer

HERE = Path(__file__).parent
SPEC = "from bchisto.evaluate import MetricSpec\n"
FOLDS, CALLED = HERE / "golden" / "folds.csv", HERE / "golden" / "called.csv"


@pytest.fixture
def matthews(monkeypatch):
    """The package is installed."""
    monkeypatch.syspath_prepend(HERE / "packages")


def test_it_is_in_every_output_of_evaluate(matthews, cli, tmp_path):
    from sklearn.metrics import matthews_corrcoef

    code, _, err = cli("evaluate", FOLDS, CALLED, "--out", tmp_path, "--bootstrap", 100)
    assert code == 0, err
    tables = json.loads((tmp_path / "metrics.json").read_text())["tables"]
    (table,) = read_predictions(FOLDS)
    mcc, (low, high) = (tables["folds"]["mcc"][key] for key in ("value", "interval"))
    assert mcc == pytest.approx(matthews_corrcoef(table.labels, table.predicted))
    assert low < mcc < high
    per_fold = tables["folds"]["mcc_per_fold"]
    assert len(per_fold) == 4
    assert (tables["folds"]["mcc_mean"], tables["folds"]["mcc_std"]) == (np.mean(per_fold), np.std(per_fold))
    with (tmp_path / "tables.csv").open(newline="") as handle:
        first, second = csv.DictReader(handle)
    assert list(first)[:8] == ["table", "protocol", "n", "accuracy", "low", "high", "accuracy_mean", "accuracy_std"]
    assert list(first)[8:11] == ["balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high"]
    assert list(first)[11:14] == ["auc", "auc_low", "auc_high"]
    assert list(first)[14:17] == [f"patient_recognition_rate{end}" for end in ("", "_low", "_high")]
    assert list(first)[17:] == ["mcc", "mcc_low", "mcc_high", "mcc_mean", "mcc_std", "sureness", "sureness_low",
                                "sureness_high"]  # fmt: skip
    assert [float(first[name]) for name in ("mcc", "mcc_low", "mcc_high")] == [mcc, low, high]
    assert (second["sureness"], second["sureness_low"]) == ("", "")  # this table has no probabilities
    assert tables["called"]["sureness"] is None
    with (tmp_path / "per-fold.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [float(row["mcc"]) for row in rows[:4]] == per_fold
    report = (tmp_path / "report.html").read_text()
    for heading in ("", ", mean ± SD over folds"):
        assert f'<th scope="col">Matthews &lt;correlation&gt;{heading}</th>' in report
    assert f"<td>{mcc:.3f}\n({low:.3f} to {high:.3f})</td>" in report
    line = f"Matthews &lt;correlation&gt; {mcc:.3f} ({low:.3f} to {high:.3f}), mean over folds "
    assert line in report
    sure = tables["folds"]["sureness"]["value"]
    assert f"confidence (lower is better) {100 * sure:.1f} % (" in report


def test_ours_stay_what_they_are_beside_it(matthews):
    (table,) = read_predictions(FOLDS)
    beside = measure(table, bootstrap=50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bchisto.evaluate.known_metrics._plug_ins", lambda path: ())
        alone = measure(table, bootstrap=50)
    assert {key: beside[key] for key in alone} == alone
    assert [key for key in beside if key in alone] == list(alone)
    assert [spec.name for spec in list_metrics()][:4] == ["accuracy", "balanced_accuracy", "macro_f1", "auc"]


@pytest.mark.slow
def test_the_report_of_a_run_shows_it(matthews, run_copy, described):
    from bchisto.boost import BoostSettings, train
    from bchisto.core.jobs import Work

    run = run_copy(described)
    (result,) = train(out=run, folds=["2"], settings=BoostSettings(heads=["logistic"]), work=Work(jobs=1))
    assert "mcc" in json.loads((result.folder / "metrics.json").read_text())["tables"]["fusion"]
    for report in (result.folder / "report.html", run / "report.html"):
        assert "Matthews &lt;correlation&gt; " in report.read_text()


def test_influences_give_an_interval(tmp_path, monkeypatch):
    """That of a share, as ours have."""
    code = (
        SPEC
        + """import numpy as np
from bchisto.evaluate import Part
def parts(table):
    wrong = (table.predicted != table.labels) * 2.0
    everywhere = np.ones(len(table), dtype=bool)
    return [Part(float(wrong.mean()), (wrong - wrong.mean()) / len(wrong), (everywhere,))]
metric = MetricSpec("loss", "loss", lambda table: parts(table)[0].value, parts, limits=lambda table: (0.0, 2.0))"""
    )
    offer(tmp_path, "metrics", "influences", code, loss="influences:metric")
    monkeypatch.syspath_prepend(tmp_path)
    found = measure(read_predictions(FOLDS)[0], bootstrap=1)
    low, high = found["accuracy"]["interval"]
    assert found["loss"]["interval"] == pytest.approx([2 - 2 * high, 2 - 2 * low])


def test_rows_are_taken_with_all_that_belongs_to_them():
    (table,) = read_predictions(FOLDS)
    found = take_rows(table, np.array([3, 3, 0]))
    assert found.image_ids == ("i03", "i03", "i00")
    assert found.folds == (4, 4, 1)
    assert found.groups == ("patient3", "patient3", "patient0")
    np.testing.assert_array_equal(found.probabilities, table.probabilities[[3, 3, 0]])
    np.testing.assert_array_equal(found.labels, table.labels[[3, 3, 0]])
    assert (found.name, found.classes, len(found)) == (table.name, table.classes, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "MCC"}, "its name must be lower-case letters"),
        ({"name": "two_class.auc"}, "its name must be lower-case letters"),
        ({"unit": "points"}, "its unit 'points' is none of percent, number"),
    ],
)
def test_a_metric_that_does_not_fit(change, message):
    with pytest.raises(InputError, match=re.escape(message)):
        MetricSpec(**{"name": "mcc", "title": "MCC", "compute": None, **change})


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("loss", "import nothing_of_this_name", "metric loss: its entry point cannot be loaded (ModuleNotFoundError"),
        ("loss", "metric = 3", "metric loss: its entry point cannot be loaded (TypeError"),
        ("loss", "metric = lambda: 3", "metric loss: its entry point gives no MetricSpec; report this to its package"),
        ("loss", "metric = MetricSpec('gain', 'g', len)", "metric loss: its entry point gives one called gain"),
        ("accuracy", "metric = MetricSpec('accuracy', 'a', len)", "metric accuracy: accuracy is taken already"),
        ("confusion", "metric = MetricSpec('confusion', 'c', len)", "metric confusion: confusion is taken already"),
        ("fold", "metric = MetricSpec('fold', 'f', len)", "metric fold: fold is taken already"),
        ("two_class_auc", "metric = MetricSpec('two_class_auc', 'f', len)", "two_class_auc is taken already"),
        ("accuracy_mean", "metric = MetricSpec('accuracy_mean', 'c', len)", "accuracy_mean is taken already"),
        ("mcc", "metric = MetricSpec('mcc', 'c', len)", "metric mcc: several packages offer it ("),
    ],
)
def test_one_that_cannot_be_used_is_left_out_and_said(matthews, tmp_path, monkeypatch, caplog, name, code, message):
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
def test_one_that_fails_costs_nothing_else(tmp_path, monkeypatch, caplog, cli, code, interval):
    package = "failing_" + re.sub(r"\W", "_", tmp_path.name)
    offer(tmp_path, "metrics", package, SPEC + code, loss=f"{package}:metric")
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "out"
    status, _, err = cli("evaluate", FOLDS, "--out", out, "--bootstrap", 20)
    assert status == 0, err
    assert "metric loss: failed on folds and is left out there" in err
    found = json.loads((out / "metrics.json").read_text())["tables"]["folds"]
    assert found["loss"] == (interval and {"value": 1.0, "interval": None, "method": "", "reason": None})
    assert found["accuracy"]["interval"]


def test_what_is_not_finite_is_not_defined(tmp_path, monkeypatch):
    code = SPEC + "metric = MetricSpec('loss', 'loss', lambda table: float('nan'))"
    offer(tmp_path, "metrics", "not_finite", code, loss="not_finite:metric")
    monkeypatch.syspath_prepend(tmp_path)
    (table,) = read_predictions(FOLDS)
    found = measure(table, bootstrap=20)
    assert (found["loss"], found["loss_per_fold"], found["loss_mean"]) == (None, [None] * 4, None)


def test_one_fold_has_no_spread(matthews):
    from bchisto.evaluate.report.tables import other_figures, summary_cells

    table = PredictionTable.from_probabilities(
        name="t", classes=("a", "b"), image_ids=list("wxyz"), labels=list("abab"),
        probabilities=np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]]), folds=[1] * 4, groups=[None] * 4,
    )  # fmt: skip
    found = measure(table, bootstrap=0)
    specs = [spec for spec in list_metrics() if spec.name in ("accuracy", "mcc")]
    assert [cell.partition("\n")[0] for _, cell in summary_cells(specs, found)] == ["75.0 %", "–", "0.577", "–"]
    assert "Matthews <correlation> 0.577" in other_figures(found)
