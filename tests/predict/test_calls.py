"""Calls that know the shares of classes in training: one rule in every output, beside what it calls from."""

import json
from dataclasses import replace

import numpy as np
import pytest
from bchisto.boost import BoostSettings, Bundle, train
from bchisto.core.formats import read_json
from bchisto.core.jobs import Work
from bchisto.core.models import bundle_view
from bchisto.evaluate import (
    PredictionTable,
    TwoClassView,
    called,
    equalised,
    measure,
    read_predictions,
)
from bchisto.predict import PredictSettings, view_of
from bchisto.predict.table import answers_of
from written_tables import rows_of as rows

CLASSES = ("quiet", "zornig")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two classes with a stranger's names, 40 of 200 images of the rarer one; one that is called plainly."""
    folder = tmp_path_factory.mktemp("calls")
    rng = np.random.default_rng(0)
    labels = np.where(np.arange(200) % 5 == 0, CLASSES[1], CLASSES[0])
    numbers = rng.normal(size=(200, 8)).astype(np.float32)
    numbers[labels == CLASSES[1], :3] += 0.8
    names = [f"image {k}" for k in range(200)]
    np.savez(folder / "e.npz", features=numbers, image_ids=names, labels=labels)
    for name, call in {"run": "share", "plain": "plain"}.items():
        train(
            folder / name,
            features=folder / "e.npz",
            settings=BoostSettings(heads=("logistic", "prototype"), call=call),
            folds="4",
            view=TwoClassView(CLASSES[1]),
            work=Work(jobs=1),
        )
    return folder


def table_beside(folder, head="logistic"):
    return rows(folder / "boost" / f"4-{head}" / "predictions.csv")


def test_the_rule_by_hand():
    """0.35 over 0.3 is more than 0.65 over 0.7; of a class without training images nothing is called."""
    shares = [0.7, 0.3]
    scores = np.array([[0.65, 0.35], [0.71, 0.29], [0.7, 0.3]])
    assert called(scores, shares).tolist() == [1, 0, 0]
    assert called(scores).tolist() == [0, 0, 0]
    odds = scores / shares
    np.testing.assert_allclose(equalised(scores, shares), odds / odds.sum(axis=1, keepdims=True))
    assert called(np.array([[0.1, 0.2, 0.7]]), [0.5, 0.5, 0.0]).tolist() == [1]


def test_each_call_has_the_share_of_its_fold_beside_it(run):
    predictions = table_beside(run / "run")
    moved = 0
    for row in predictions:
        others = [other["label"] for other in predictions if other["fold"] != row["fold"]]
        share = others.count(CLASSES[1]) / len(others)
        score = float(row[f"p_{CLASSES[1]}"])
        assert (row["predicted"] == CLASSES[1]) == (score >= share)
        expected = share if row["predicted"] == CLASSES[1] else 1 - share
        assert float(row["called_from"]) == pytest.approx(expected)
        moved += share <= score < 0.5
    assert moved  # else both rules would call alike


def test_plain_calls_are_of_the_most_probable_class_with_the_same_probabilities(run):
    for row, known in zip(table_beside(run / "plain"), table_beside(run / "run"), strict=True):
        assert "called_from" not in row
        assert [row[f"p_{name}"] for name in CLASSES] == [known[f"p_{name}"] for name in CLASSES]
        assert row["predicted"] == max(CLASSES, key=lambda name: float(row[f"p_{name}"]))
    facts = [read_json(run / name / "run.json") for name in ("run", "plain")]
    assert ['"call": "share"' in json.dumps(one) for one in facts] == [True, False]
    assert ['"call": "plain"' in json.dumps(one) for one in facts] == [False, True]


def test_the_rule_is_an_option_and_a_named_preset_calls_as_published(run, tmp_path, completed):
    quick = "--folds 2 --jobs 1 --seeds 1 --param num_iterations=2 --param min_data_in_leaf=2"
    for number, (options, rule) in enumerate(
        (("", "share"), ("--call plain", "plain"), ("--preset published", "plain"))
    ):
        completed(f"boost --out T/{number} --features {run}/e.npz {quick} {options}")
        table = rows(tmp_path / str(number) / "boost" / "2-lightgbm" / "predictions.csv")
        assert ("called_from" in table[0]) == (rule == "share")
        assert f'"call": "{rule}"' in (tmp_path / str(number) / "run.json").read_text()


def test_class_means_take_classes_as_equal_and_are_called_plainly(run):
    """Their probabilities do not follow the shares, so that dividing by these would correct twice."""
    known, plain = (table_beside(run / name, "prototype") for name in ("run", "plain"))
    assert known == plain


def test_the_model_file_keeps_the_shares_and_predicts_by_them(run, tmp_path, completed):
    model = run / "run" / "boost" / "4-logistic" / "model.bchisto"
    bundle = Bundle.load(model)
    assert bundle.shares == pytest.approx([0.8, 0.2])
    assert bundle_view(model)[2] == bundle.shares
    point = PredictSettings().point(model)
    assert str(point) == "zornig at 0.2, its share in training"
    printed, _ = completed(f"predict {model} --features {run}/e.npz --out T/p.csv")
    assert "zornig at 0.2, its share in training" in printed
    for row in rows(tmp_path / "p.csv"):
        is_called = float(row["p_zornig"]) >= bundle.shares[1]
        assert (row["predicted"] == "zornig") == (row["called"] == "positive") == is_called
        assert float(row[f"p_{row['predicted']}"]) >= float(row["called_from"])
    (table,) = read_predictions(tmp_path / "p.csv")
    np.testing.assert_allclose(table.shares, np.tile(bundle.shares, (200, 1)))
    metrics = measure(table, TwoClassView(CLASSES[1]))
    assert metrics["confusion"] == metrics["two_class"]["thresholds"][0]["confusion"]


def test_a_model_file_without_shares_calls_plainly(run):
    model = run / "plain" / "boost" / "4-logistic" / "model.bchisto"
    assert Bundle.load(model).shares is None
    assert str(PredictSettings().point(model)) == "zornig at 0.5"


def test_a_threshold_that_is_typed_is_as_it_is_typed(run):
    model = run / "run" / "boost" / "4-logistic" / "model.bchisto"
    point = PredictSettings(threshold=0.5).point(model)
    scores = np.array([[0.6, 0.4], [0.4, 0.6]])
    assert point.is_positive(scores, np.array([1, 1])).tolist() == [False, True]
    assert str(point) == "zornig at 0.5"
    other = PredictSettings(positive=CLASSES[0]).point(model)
    assert other.threshold == pytest.approx(0.8)
    assert view_of(CLASSES, None, (), [0.8, 0.2])["thresholds"] == []


def test_evaluating_a_run_again_gives_its_figures(run, tmp_path, completed):
    folder = run / "run" / "boost" / "4-logistic"
    printed, _ = completed(f"evaluate {folder}/predictions.csv --out T/e -v")
    assert "zornig is called from 0.2, its share in training" in " ".join(printed.split())
    (again,) = read_json(tmp_path / "e" / "metrics.json")["tables"].values()
    first = next(iter(read_json(folder / "metrics.json")["tables"].values()))
    for name in ("accuracy", "balanced_accuracy", "two_class", "confusion"):
        assert again[name] == first[name]
    assert first["two_class"]["thresholds"][0]["threshold"] == pytest.approx(0.2)
    report = (tmp_path / "e" / "report.html").read_text()
    assert "whose probability over its share in training" in report
    assert "Saerens" in report


def test_uncertain_follows_the_call(run):
    """What is barely called is uncertain, whichever class it is; a low confidence by itself is not."""
    bundle = Bundle.load(run / "run" / "boost" / "4-logistic" / "model.bchisto")
    bundle = replace(bundle, temperature=None, unsure={**bundle.unsure, "below": 0.55})
    _, answers = answers_of(
        bundle, np.array([[0.79, 0.21], [0.81, 0.19], [0.6, 0.4], [0.99, 0.01]])
    )
    assert answers.predicted == ["zornig", "quiet", "zornig", "quiet"]
    assert answers.unsure.tolist() == [True, True, False, False]
    assert answers.called_from.tolist() == pytest.approx([0.2, 0.8, 0.2, 0.8])


def test_a_table_names_a_class_that_is_neither_largest_nor_called(tmp_path, refused):
    lines = [
        "image_id,label,p_a,p_b,called_from,predicted",
        "x,a,0.8,0.2,{},b",
        "y,b,0.3,0.7,0.3,b",
    ]
    for share, is_refused in (("0.1", False), ("0.3", True), ("nan", True), ("", True)):
        path = tmp_path / f"t{share}.csv"
        path.write_text("\n".join(lines).format(share) + "\n")
        if is_refused:
            assert "predicted is b" in refused(f"evaluate {path} --out {tmp_path}/e{share}")
        else:
            assert read_predictions(path)[0].predicted.tolist() == [1, 1]


def test_equal_classes_are_called_as_ever():
    scores = np.random.default_rng(0).dirichlet((1, 1, 1), 200)
    table = PredictionTable.from_probabilities(
        classes=("a", "b", "c"), labels=["a"] * 200, probabilities=scores
    )
    np.testing.assert_array_equal(called(scores, [1 / 3] * 3), table.predicted)
    assert "call" not in measure(table)
