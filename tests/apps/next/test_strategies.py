"""The strategies of `bchisto next`, against scikit-activeml, which was written by others."""

import numpy as np
import pytest
from bchisto.apps.next.strategies import STRATEGIES, Candidates, least_confidence, narrow_margin


@pytest.fixture
def shares(rng):
    """Probabilities of 60 images and 4 classes, no two alike."""
    scores = rng.random((60, 4))
    return scores / scores.sum(axis=1, keepdims=True)


def candidates(rows, covered, probabilities=None):
    free = [place for place in range(len(rows)) if place not in covered]
    return Candidates(rows, covered, free, probabilities)


@pytest.mark.parametrize(
    ("name", "utility", "method"),
    [
        ("doubt", least_confidence, "least_confident"),
        ("margin", narrow_margin, "margin_sampling"),
    ],
)
def test_utilities_are_those_of_scikit_activeml(name, utility, method, shares):
    pool = pytest.importorskip("skactiveml.pool")
    expected = pool.uncertainty_scores(shares, method=method)
    found = utility(shares)
    # theirs of the margin is one minus the difference, ours minus the difference
    np.testing.assert_allclose(found - found.max(), expected - expected.max(), atol=1e-12)
    ranked = [*STRATEGIES[name].rank(candidates(np.zeros((60, 2)), [], shares))]
    assert ranked == np.argsort(-expected, kind="stable").tolist()


def test_doubt_and_margin_differ_with_more_than_two_classes(shares):
    given = candidates(np.zeros((60, 2)), [], shares)
    doubt, margin = ([*STRATEGIES[name].rank(given)] for name in ("doubt", "margin"))
    assert sorted(doubt) == sorted(margin)
    assert doubt != margin
    of_two = candidates(np.zeros((60, 2)), [], np.stack([shares[:, 0], 1 - shares[:, 0]], axis=1))
    doubt, margin = ([*STRATEGIES[name].rank(of_two)] for name in ("doubt", "margin"))
    assert doubt == margin


def test_diversity_is_the_k_centre_of_scikit_activeml(rng):
    pool = pytest.importorskip("skactiveml.pool")
    # standardised and turned to its axes already, so that both see the same distances
    rows, _ = np.linalg.qr(rng.normal(size=(50, 3)) - 0.0)
    rows -= rows.mean(axis=0)
    rows /= rows.std(axis=0)
    covered = [4, 17]
    labels = np.full(50, np.nan)
    labels[covered] = 0
    expected = pool.CoreSet(random_state=0).query(rows, labels, batch_size=12)
    ranked = STRATEGIES["diversity"].rank(candidates(rows, covered))
    assert [place for place, _ in zip(ranked, range(12), strict=False)] == expected.tolist()


def test_diversity_begins_without_a_label_and_ends_with_all(rng):
    rows = rng.normal(size=(20, 3)).astype(np.float32)
    rows[7] = 100.0
    ranked = [*STRATEGIES["diversity"].rank(candidates(rows, []))]
    assert ranked[0] == 7
    assert sorted(ranked) == [*range(20)]


def test_equal_images_and_constant_features_are_no_trouble():
    rows = np.ones((6, 4), np.float32)
    ranked = [*STRATEGIES["diversity"].rank(candidates(rows, [2]))]
    assert sorted(ranked) == [0, 1, 3, 4, 5]


def test_random_is_the_order_that_the_seed_drew():
    assert [*STRATEGIES["random"].rank(Candidates(np.zeros((3, 1)), [], [2, 0, 1], None))] == [
        2,
        0,
        1,
    ]
