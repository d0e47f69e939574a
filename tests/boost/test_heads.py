"""Heads against scikit-learn and by their effect; none of them sees a test row."""

import numpy as np
import pytest
from bchisto.boost import TrainingPart
from bchisto.boost.fitting import few_images, inner_folds, spaced_augmentations, standardisation
from bchisto.boost.heads import fit_head, known_head
from bchisto.boost.kernel_head import fit_probabilities, fit_svm
from bchisto.core import InputError
from numpy.testing import assert_allclose, assert_array_equal
from packs import packs_in, train_small
from refusals import refuses
from written_tables import HEADER


def blobs(rng, images=60, augmentations=3, d=12, classes=3, spread=1.2):
    """Descriptors around a centre per class; augmentations of an image lie close together."""
    labels = np.arange(images) % classes
    centres = rng.normal(0, 1, (classes, d))
    middles = centres[labels] + spread * rng.normal(0, 1, (images, d))
    features = middles[:, None] + 0.1 * rng.normal(0, 1, (images, augmentations, d))
    return (5 + 3 * features).astype(np.float32), labels.astype(np.int64)


def fit(head, features, labels):
    """Fit one model: its bytes."""
    params = {
        "objective": "multiclass",
        "num_class": int(labels.max()) + 1,
        "num_threads": 1,
        "verbosity": -1,
        "min_data_in_leaf": 2,
        "deterministic": True,
        "force_row_wise": True,
    }
    part = TrainingPart(features, labels, [None] * len(labels), int(labels.max()) + 1, 0, 20)
    (model,) = fit_head(head, part, params=[params])
    return model.data


def fitted(head, features, labels):
    """Fit one model: what predicts."""
    return known_head(head).parse(fit(head, features, labels))


@pytest.mark.parametrize("head", ["lightgbm", "logistic", "svm", "knn", "prototype", "lda"])
@pytest.mark.parametrize("classes", [2, 4])
def test_a_head_learns_and_repeats(rng, head, classes):
    features, labels = blobs(rng, images=80, classes=classes, spread=0.6)
    data = fit(head, features[:60], labels[:60])
    assert data == fit(head, features[:60], labels[:60])
    found = known_head(head).parse(data).predict_proba(features[60:])
    assert found.shape == (20, classes)
    assert_allclose(found.sum(axis=1), 1.0)
    assert (found.argmax(axis=1) == labels[60:]).mean() > 0.85


def test_logistic_is_scikit_learns(rng):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features, labels = blobs(rng)
    model = fitted("logistic", features, labels)
    rows = StandardScaler().fit(features.reshape(-1, 12))
    reference = LogisticRegression(C=float(model.arrays["strength"]), max_iter=300)
    reference.fit(rows.transform(features.reshape(-1, 12)), np.repeat(labels, 3))
    decisions = (
        reference.decision_function(rows.transform(features.reshape(-1, 12)))
        .reshape(60, 3, 3)
        .mean(axis=1)
    )
    powers = np.exp(decisions - decisions.max(axis=1, keepdims=True))
    expected = powers / powers.sum(axis=1, keepdims=True)
    assert_allclose(model.predict_proba(features), expected, atol=2e-3)


@pytest.mark.parametrize("classes", [2, 4])
def test_svm_decisions_are_scikit_learns(rng, classes):
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    features, labels = blobs(rng, classes=classes)
    model = fitted("svm", features, labels)
    rows = StandardScaler().fit(features.reshape(-1, 12))
    machine = SVC(
        C=float(model.arrays["cost"]),
        gamma=float(model.arrays["gamma"]),
        decision_function_shape="ovo",
    )
    machine.fit(rows.transform(features.reshape(-1, 12)), np.repeat(labels, 3))
    fresh = features[:7] + rng.normal(0, 1, (7, 3, 12)).astype(np.float32)
    expected = machine.decision_function(rows.transform(fresh.reshape(-1, 12)))
    assert_allclose(model._decisions(fresh), expected.reshape(7, 3, -1).mean(axis=1), atol=2e-3)


def test_hyperparameters_do_not_see_groups_on_both_sides(rng):
    labels = np.repeat([0, 1], 20)
    groups = [f"p{i // 4}" for i in range(40)]
    for train_part, held in inner_folds(labels, groups, seed=0):
        assert {groups[i] for i in train_part}.isdisjoint({groups[i] for i in held})
    assert sorted(i for _, held in inner_folds(labels, groups, seed=0) for i in held) == list(
        range(40)
    )


def test_a_class_of_one_group_is_never_without_training_images():
    labels = np.array([0] * 10 + [1] * 10)
    groups = [f"p{i}" for i in range(10)] + ["q"] * 10
    folds = inner_folds(labels, groups, seed=0)
    assert folds
    for train_part, held in folds:
        assert set(labels[train_part]) == {0, 1}
        assert not set(held) & set(range(10, 20))
    with pytest.raises(
        InputError, match='a class is left with no image to train on; use `heads="lightgbm"`'
    ):
        inner_folds(np.array([0] * 10 + [1]), [None] * 11, seed=0)


def test_svm_needs_every_class_among_what_is_held_out(rng):
    """All images of a class are of one patient, who always trains: no decision about the class can be learnt from."""
    labels = np.array([0] * 6 + [1] * 18)
    groups = ["a"] * 6 + [f"b{number // 3}" for number in range(18)]
    part = TrainingPart(rng.normal(size=(24, 2, 5)).astype(np.float32), labels, groups, 2, 0, 1)
    refuses(
        InputError, 'hold out no image of one of the classes; use `heads="lightgbm"`', fit_svm, part
    )
    (fitted,) = known_head("logistic").fit(part, [{}])
    assert known_head("logistic").parse(fitted.data).predict_proba(part.features).shape == (24, 2)


@pytest.mark.parametrize(
    ("most", "kept"), [(10, [0, 12, 24, 37, 49]), (1, [0]), (1000, list(range(50)))]
)
def test_rows_are_thinned_evenly(most, kept, monkeypatch):
    monkeypatch.setattr("bchisto.boost.fitting.MOST_ROWS", most)
    features = np.arange(2 * 50)[None].reshape(2, 50, 1).astype(np.float32)
    thinned = spaced_augmentations(features)
    assert thinned.shape[::2] == (2, 1)
    assert thinned[0, :, 0].tolist() == kept


def test_constant_features_do_not_divide_by_zero(rng):
    features = rng.normal(0, 1, (20, 2, 3)).astype(np.float32)
    features[:, :, 1] = 7.25
    mean, scale = standardisation(features)
    assert scale[1] == 1.0
    assert_allclose((mean, scale)[0][1], 7.25)
    for head in ("logistic", "svm"):
        data = fit(head, features, np.arange(20) % 2)
        assert np.isfinite(known_head(head).parse(data).predict_proba(features)).all()


HEADS = ["lightgbm", "logistic", "svm"]


def test_heads_share_folds_and_tables(every_head):
    run, results = every_head
    folders = {head: run / "boost" / f"3-{head}" for head in results}
    folds = {(folder / "folds.csv").read_bytes() for folder in folders.values()}
    assert len(folds) == 1
    for head, folder in folders.items():
        lines = (folder / "predictions.csv").read_text().splitlines()
        assert lines[0] == HEADER
        assert len(lines) == 13
        assert results[head].models == {"lightgbm": 6, "logistic": 3, "svm": 3}[head]
    report = (run / "report.html").read_text()
    for head in results:
        assert f"3-{head}" in report
    assert "Paired tests" in report


def test_the_features_of_test_images_change_no_model(every_head, run_copy):
    """Overwrite the descriptors of the images that fold 1 tests: its models stay as they are."""
    import h5py

    run, _ = every_head
    copy = run_copy(run)
    with (copy / "boost" / "3-svm" / "folds.csv").open() as handle:
        tested = [line.split(",")[0] for line in handle if line.rstrip().endswith(",1")]
    with h5py.File(copy / "features" / "tiny-1.0-64.h5", "r+") as file:
        ids = [value.decode() for value in file["image_id"][:]]
        rows = [place for place, name in enumerate(ids) if name in tested]
        file["features"][rows] = file["features"][rows] * 3 + 1
    train_small(copy, seeds=2, settings={"heads": HEADS}, overwrite=True)
    for head in HEADS:
        ours, theirs = (packs_in(root / "boost" / f"3-{head}") for root in (copy, run))
        same = {
            name
            for name in theirs
            if np.array_equal(*(np.load(some[name])["model"] for some in (ours, theirs)))
        }
        assert same == {name for name in theirs if name.endswith("fold1")}


def test_few_images_keep_classes_and_groups(monkeypatch):
    labels = np.array([0] * 900 + [1] * 90 + [2] * 3)
    groups = [f"p{place % 30}" for place in range(900)] + [None] * 93
    assert_array_equal(few_images(labels, groups, seed=0), np.arange(993))
    monkeypatch.setattr("bchisto.boost.fitting.MOST_ROWS", 100)
    found = few_images(labels, groups, seed=0)
    assert_array_equal(found, few_images(labels, groups, seed=0))
    assert not np.array_equal(found, few_images(labels, groups, seed=1))
    assert np.bincount(labels[found]).tolist() == [90, 9, 2]
    assert {groups[place] for place in found if place < 900} == {f"p{place}" for place in range(30)}


def test_svm_sees_no_more_rows_than_its_limit(rng, monkeypatch):
    """Of images whose classes lie in one another most are vectors."""
    features, labels = blobs(rng, images=250, augmentations=1, d=4, classes=2, spread=9)
    counts = []
    for limit in (3000, 100):
        monkeypatch.setattr("bchisto.boost.fitting.MOST_ROWS", limit)
        model = fitted("svm", features, labels)
        counts.append(len(model.arrays["vectors"]))
    assert counts[0] > 150 > 100 >= counts[1]


def unit(features, mean):
    """Centred mean descriptors of length 1, written anew."""
    rows = features.astype(np.float64).mean(axis=1) - mean
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_knn_is_scikit_learns(rng):
    from sklearn.neighbors import KNeighborsClassifier

    features, labels = blobs(rng, images=90, classes=4)
    model = fitted("knn", features[:60], labels[:60])
    mean = features[:60].astype(np.float64).mean(axis=(0, 1))
    count = int(model.arrays["neighbours"])
    theirs = KNeighborsClassifier(count, algorithm="brute").fit(
        unit(features[:60], mean), labels[:60]
    )
    votes = theirs.predict_proba(unit(features[60:], mean)) * count
    assert_allclose(model.predict_proba(features[60:]), (votes + 1) / (count + 4), atol=1e-12)


def test_prototypes_are_scikit_learns(rng):
    from sklearn.neighbors import NearestCentroid

    features, labels = blobs(rng, images=90, classes=4)
    model = fitted("prototype", features[:60], labels[:60])
    mean = features[:60].astype(np.float64).mean(axis=(0, 1))
    theirs = NearestCentroid().fit(unit(features[:60], mean), labels[:60])
    probabilities = model.predict_proba(features[60:])
    assert_array_equal(probabilities.argmax(axis=1), theirs.predict(unit(features[60:], mean)))
    assert_allclose(model.arrays["prototypes"], theirs.centroids_, atol=1e-6)
    far = np.square(unit(features[60:], mean)[:, None] - theirs.centroids_).sum(axis=2)
    weights = np.exp(-float(model.arrays["temperature"]) * far)
    assert_allclose(probabilities, weights / weights.sum(axis=1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize(("classes", "d"), [(2, 12), (4, 12), (3, 200)])
def test_lda_is_scikit_learns(rng, classes, d):
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.preprocessing import StandardScaler

    features, labels = blobs(rng, images=90, classes=classes, d=d)
    model = fitted("lda", features[:60], labels[:60])
    scaler = StandardScaler().fit(features[:60].reshape(-1, d).astype(np.float64))
    train, test = (
        scaler.transform(rows.mean(axis=1, dtype=np.float64))
        for rows in (features[:60], features[60:])
    )
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=float(model.arrays["shrinkage"]))
    expected = theirs.fit(train, labels[:60]).predict_proba(test)
    assert_allclose(model.predict_proba(features[60:]), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("head", ["knn", "prototype", "lda"])
def test_a_class_without_a_training_image_has_probability_zero(rng, head):
    features, labels = blobs(rng, images=40, classes=2)
    part = TrainingPart(features, labels, [None] * 40, 3, 0, 20)
    (model,) = fit_head(head, part, params=[{}])
    probabilities = known_head(head).parse(model.data).predict_proba(features)
    assert probabilities[:, 2].max() < 1e-12


def test_no_decision_of_a_support_vector_machine_speaks_against_its_class(rng):
    """Held-out decisions that are wrong more often than right, as of one patient who outweighs the others."""
    labels = np.repeat([0, 1], [30, 10])
    wrong = rng.normal(size=(40, 1)) - 2.0 * labels[:, None]
    weights, intercepts = fit_probabilities(wrong, labels, classes=3)
    assert not weights.any()
    assert_allclose(np.exp(intercepts), [0.75, 0.25, 0.0], atol=1e-12)
    weights, _ = fit_probabilities(-wrong, labels, classes=3)
    assert weights[1, 0] > 0 > weights[0, 0]

    three = np.arange(60) % 3  # pairs (0, 1), (0, 2), (1, 2): a positive decision is for the first
    decisions = rng.normal(size=(60, 3)) * 0.3
    decisions[:, 0] += (three == 1) * 1.0 - (three == 0)  # against its class
    decisions[:, 1] += (three == 0) * 1.0 - (three == 2)
    decisions[:, 2] += (three == 1) * 1.0 - (three == 2)
    weights, _ = fit_probabilities(decisions, three, classes=3)
    assert not weights[:, 0].any()
    assert weights[0, 1] > weights[2, 1]
    assert weights[1, 2] > weights[2, 2]
