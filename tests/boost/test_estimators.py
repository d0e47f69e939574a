"""Heads as classifiers of scikit-learn: its own checks, and that they are the heads that `train` fits."""

import numpy as np
import pytest
from bchisto.boost import PRESETS, HeadClassifier, fit_text, get_head, model_params
from bchisto.boost.head import TrainingPart
from bchisto.core import InputError
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

SMALL = {"num_iterations": 5, "min_data_in_leaf": 2, "num_leaves": 4}
ESTIMATORS = {
    "lightgbm": HeadClassifier(params=SMALL),
    "logistic": HeadClassifier("logistic"),
    "svm": HeadClassifier("svm"),
    "stack": HeadClassifier("stack", params=SMALL),
}


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(90, 8, n_informative=5, n_classes=3, class_sep=2.0, random_state=0)
    return X.astype(np.float32), np.array(["Benign", "In situ", "Ängstlich"])[y]


@pytest.mark.parametrize(
    "head", ["lightgbm", *(pytest.param(n, marks=pytest.mark.slow) for n in ("logistic", "svm", "stack"))]
)
def test_what_scikit_learn_asks_of_a_classifier(head, monkeypatch):
    if head == "stack":  # its members have been asked alone, with all that they try
        monkeypatch.setattr("bchisto.boost.kernel_head._WIDTHS", (1.0,))
        monkeypatch.setattr("bchisto.boost.kernel_head._COSTS", (1.0,))
        monkeypatch.setattr("bchisto.boost.linear_head._TRIED_C", (1e-2,))
    found = check_estimator(ESTIMATORS[head], on_fail=None, on_skip=None)
    assert len(found) > 40
    failed = {one["check_name"]: one["exception"] for one in found if one["status"] not in ("passed", "skipped")}
    assert not failed
    # what needs an environment of its own
    assert {one["check_name"] for one in found if one["status"] == "skipped"} <= {"check_array_api_input"}


def test_lightgbm_is_the_head_s_own_model(data):
    import lightgbm

    X, y = data
    found = HeadClassifier(params=SMALL, seeds=2).fit(X, y)
    labels = np.unique(y, return_inverse=True)[1]
    preset = PRESETS["published"].with_params(SMALL)
    expected = [
        lightgbm.Booster(
            model_str=fit_text(
                X[:, None], labels, params=model_params(preset, classes=3, seed=seed, fold_position=0), rounds=5
            )
        ).predict(X, num_threads=1)
        for seed in (0, 1)
    ]
    np.testing.assert_allclose(found.predict_proba(X), np.mean(expected, axis=0), rtol=1e-12)
    assert found.classes_.tolist() == ["Benign", "In situ", "Ängstlich"]


def test_groups_reach_the_folds_inside(data):
    X, y = data
    labels = np.unique(y, return_inverse=True)[1]
    groups = [f"P{number // 3}" for number in range(len(y))]
    part = TrainingPart(X[:, None], labels, groups, 3, 0, 1)
    (expected,) = get_head("logistic").fit(part, [{}])
    found = HeadClassifier("logistic").fit(X, y, groups=np.array(groups))
    assert found.models_ == (("logistic", expected.data),)


def test_a_stack_is_weighted(data):
    X, y = data
    found = HeadClassifier("stack", params=SMALL).fit(X, y)
    assert list(found.weights_) == ["lightgbm", "logistic", "svm"]
    assert sum(found.weights_.values()) == pytest.approx(1)
    assert (found.predict(X) == y).mean() > 0.9


def test_in_pipelines_searches_and_cross_validation(data):
    X, y = data
    pipeline = make_pipeline(StandardScaler(), HeadClassifier("lightgbm", params=SMALL))
    shares = cross_val_predict(pipeline, X, y, groups=np.arange(90) // 3, cv=GroupKFold(3), method="predict_proba")
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    search = GridSearchCV(HeadClassifier(params=SMALL), {"preset": ["quick", "published"], "seeds": [1, 2]}, cv=2)
    assert search.fit(X, y).best_score_ > 0.5
    assert clone(search.best_estimator_).get_params() == search.best_estimator_.get_params()
    again = [HeadClassifier(params=SMALL).fit(X, y).models_ for _ in range(2)]
    assert again[0] == again[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "forest"}, "`heads` forest: choose one of lightgbm, logistic, svm, knn, prototype, lda, stack"),
        ({"preset": "slow"}, "`preset` slow: choose one of published, standard, quick"),
        ({"seeds": 0}, "`seeds` 0: give at least 1"),
        ({"params": {"trees": 3}}, "`params` trees: LightGBM has no parameter of this name"),
    ],
)
def test_what_is_refused(data, options, message):
    with pytest.raises(InputError, match=message):
        HeadClassifier(**options).fit(*data)
    with pytest.raises(InputError, match="groups: 2 for 90 images"):
        HeadClassifier().fit(*data, groups=["a", "b"])
