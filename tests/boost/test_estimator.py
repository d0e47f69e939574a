"""`HeadClassifier`: bchisto's classifiers as a classifier of scikit-learn."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from bchisto.boost import BoostSettings, HeadClassifier, train
from bchisto.core import InputError
from bchisto.core.formats import read_rows
from bchisto.data import read_splits
from bchisto.predict import predict
from conftest import refuses
from numpy.testing import assert_allclose, assert_array_equal
from packs import ONE_JOB


@pytest.fixture(scope="module")
def arrays():
    """Embeddings of 30 patients with two images each, which are nearly the same; three classes."""
    random = np.random.default_rng(0)
    y = np.array(["benign", "in situ", "invasive"]).repeat(20)
    groups = np.arange(60) // 2
    patients = random.normal(size=(30, 40))
    X = patients[groups] + 0.05 * random.normal(size=(60, 40))
    X[:, 0] += 2 * np.arange(60) // 20
    return X.astype(np.float32), y, groups.astype(str)


@pytest.mark.filterwarnings("ignore:Skipping check check_array_api_input")
@pytest.mark.parametrize("head", ["lda", "lightgbm"])
def test_scikit_learns_own_checks_pass(head):
    from sklearn.utils.estimator_checks import check_estimator

    check_estimator(HeadClassifier(head, preset="quick", seeds=1))


@pytest.mark.parametrize("head", ["lightgbm", "svm"])
def test_it_is_the_models_of_a_fold(head, arrays, tmp_path):
    """Of the first: the seeds of others follow from their position."""
    X, y, groups = arrays
    names = np.array([f"image{number}" for number in range(60)])
    np.savez(tmp_path / "mine.npz", features=X, image_id=names, label=y, group=groups)
    settings = BoostSettings(heads=head, preset="quick", seeds=2)
    (result,) = train(
        tmp_path / "run",
        features=tmp_path / "mine.npz",
        folds=3,
        settings=settings,
        work=ONE_JOB,
    )
    classifier = HeadClassifier(head, preset="quick", seeds=2)
    # in the order of the fold list, by which inner folds are drawn
    order = np.array([int(row["image_id"][5:]) for row in read_rows(result.folder / "folds.csv")])
    X, y, groups, names = X[order], y[order], groups[order], names[order]
    fitted, tested = read_splits(result.folder, names.tolist())[0]
    classifier.fit(X[fitted], y[fitted], groups[fitted])
    assert len(classifier.models_) == 2 - (head == "svm")
    rows = {row["image_id"]: row for row in read_rows(result.folder / "predictions.csv")}
    stored = [
        [float(rows[name][f"p_{label}"]) for label in classifier.classes_] for name in names[tested]
    ]
    assert_allclose(classifier.predict_proba(X[tested]), stored, atol=2e-6)
    again = pickle.loads(pickle.dumps(classifier))
    assert_array_equal(again.predict(X[tested]), classifier.predict(X[tested]))
    # and the model file predicts arrays that are a file
    np.savez(tmp_path / "new.npz", features=X[:3], image_id=names[:3])
    predict(result.model, features=tmp_path / "new.npz", out=tmp_path / "new.csv", work=ONE_JOB)
    assert [row["image_id"] for row in read_rows(tmp_path / "new.csv")] == names[:3].tolist()


def test_patients_stay_together_in_the_inner_folds(arrays):
    """Else an image of a patient is held out while its twin trains, and the weakest regularisation looks best."""
    X, y, groups = arrays
    random = np.random.default_rng(1)
    y = y[random.permutation(30).repeat(2) * 2]  # labels say nothing beyond the patient
    by_image = HeadClassifier("logistic").fit(X, y).models_[0].arrays["strength"]
    by_patient = HeadClassifier("logistic").fit(X, y, groups).models_[0].arrays["strength"]
    assert by_patient < by_image


@pytest.mark.parametrize("gap", [None, float("nan")])
def test_unknown_patients_are_apart(gap, arrays):
    """Not one patient, which an inner fold would hold out as a whole."""
    X, y, groups = arrays
    known = np.where(np.arange(60) % 3 > 0, groups, None)
    alone = [group or f"image{number}" for number, group in enumerate(known)]
    given = [gap if group is None else group for group in known]
    of_gaps, of_names = (
        HeadClassifier("logistic").fit(X, y, patients) for patients in (given, alone)
    )
    assert_array_equal(of_gaps.predict_proba(X), of_names.predict_proba(X))


def test_scikit_learn_hands_patients_on(arrays):
    import sklearn
    from sklearn.model_selection import GroupKFold, cross_val_predict

    X, y, groups = arrays
    folds = GroupKFold(3)
    with sklearn.config_context(enable_metadata_routing=True):
        asked = HeadClassifier("logistic").set_fit_request(groups=True)
        p = cross_val_predict(
            asked, X, y, cv=folds, params={"groups": groups}, method="predict_proba"
        )
    fitted, tested = next(folds.split(X, y, groups))
    expected = HeadClassifier("logistic").fit(X[fitted], y[fitted], groups[fitted])
    assert_allclose(p[tested], expected.predict_proba(X[tested]))


@pytest.mark.parametrize(
    ("classifier", "labels", "message"),
    [
        (HeadClassifier("forest"), None, "`heads` forest: "),
        (HeadClassifier(preset="fast"), None, "`preset` fast: "),
        (HeadClassifier(params={"num_class": 3}), None, "num_class"),
        (
            HeadClassifier("svm", params={"num_leaves": 3}),
            None,
            "`params` num_leaves: a parameter of LightGBM, which `heads` svm does not take",
        ),
        (HeadClassifier("logistic"), ["benign"] * 60, "all images are of 1 class"),
    ],
)
def test_what_is_refused(classifier, labels, message, arrays):
    X, y, _ = arrays
    refuses(InputError, message, classifier.fit, X, y if labels is None else labels)


def test_a_patient_for_each_image(arrays):
    X, y, groups = arrays
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        HeadClassifier("logistic").fit(X, y, groups[:5])


def test_boost_loads_scikit_learn_only_for_it():
    code = "import bchisto.boost, sys; print('sklearn' in sys.modules, 'HeadClassifier' in dir(bchisto.boost))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "True"]
