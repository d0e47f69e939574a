"""What an interval rests on: rows, or groups of rows, each figure on its own."""

import numpy as np
from bchisto.evaluate import measure
from written_tables import predictions


def table(hits, *, groups=None):
    return predictions(
        np.where(hits, 0.1, 0.9), "a" * len(hits), "ab", groups=groups or [None] * len(hits)
    )


def test_one_row_without_a_group_changes_next_to_nothing(rng):
    hits = np.repeat(rng.random(40) < 0.8, 10)
    groups = [f"g{k // 10}" for k in range(400)]
    whole = measure(table(hits, groups=groups), bootstrap=50)
    blank = measure(table(hits, groups=[None, *groups[1:]]), bootstrap=50)
    assert [whole["units"][key] for key in ("kind", "count", "ungrouped")] == ["group", 40, 0]
    assert [blank["units"][key] for key in ("kind", "count", "ungrouped")] == ["group", 41, 1]
    np.testing.assert_allclose(
        blank["accuracy"]["interval"], whole["accuracy"]["interval"], atol=0.01
    )
    alone = measure(table(hits), bootstrap=50)
    assert [alone["units"][key] for key in ("kind", "count", "ungrouped")] == ["image", 400, 0]
    assert np.ptp(whole["accuracy"]["interval"]) > 2 * np.ptp(alone["accuracy"]["interval"])


def test_an_agreement_of_swapped_classes_is_in_its_interval():
    """Of four classes, images of two alone, each taken for the other: kappa and Matthews' correlation reach -1."""
    labels = np.arange(40) % 2
    called = np.r_[0, 1 - labels[1:]]
    found = measure(predictions(np.eye(4)[called], labels, "abcd"))
    for name in ("cohen_kappa", "matthews_corrcoef"):
        assert found[name]["interval"][0] < -0.95 < found[name]["interval"][1] < -0.6, name


def test_images_without_a_patient_do_not_make_a_patient_recognition_rate_sure(rng):
    """Five patients of ten images among 500 of nobody."""
    hits = np.repeat([1, 1, 0, 1, 0], 10) * (rng.random(50) < 0.9)
    groups = [f"g{k // 10}" for k in range(50)]
    alone = measure(table(hits, groups=groups))
    among = measure(table(np.r_[hits, rng.random(500) < 0.9], groups=groups + [None] * 500))
    name = "patient_recognition_rate"
    np.testing.assert_allclose(among[name]["interval"], alone[name]["interval"], atol=0.01)
    assert np.ptp(alone[name]["interval"]) > 0.4
