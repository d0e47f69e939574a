"""What an interval rests on: rows, or groups of rows, each figure on its own."""

import numpy as np
import pytest
from bchisto.evaluate import PredictionTable, measure
from bchisto.evaluate.predictions import sampling_units


def table(hits, *, groups=None, labels=None, folds=None):
    hits = np.asarray(hits)
    labels = np.zeros(len(hits), int) if labels is None else np.asarray(labels)
    called = np.where(hits, labels, 1 - labels)
    return PredictionTable.from_probabilities(
        name="t", classes=("a", "b"), image_ids=[f"i{k}" for k in range(len(hits))], labels=["ab"[k] for k in labels],
        probabilities=np.where(called[:, None], [[0.1, 0.9]], [[0.9, 0.1]]),
        folds=folds or [None] * len(hits), groups=groups or [None] * len(hits),
    )  # fmt: skip


def test_one_row_without_a_group_changes_next_to_nothing(rng):
    hits = np.repeat(rng.random(40) < 0.8, 10)
    groups = [f"g{k // 10}" for k in range(400)]
    whole = measure(table(hits, groups=groups), bootstrap=50)
    blank = measure(table(hits, groups=[None, *groups[1:]]), bootstrap=50)
    assert [whole["units"][key] for key in ("kind", "count", "ungrouped")] == ["group", 40, 0]
    assert [blank["units"][key] for key in ("kind", "count", "ungrouped")] == ["group", 41, 1]
    np.testing.assert_allclose(blank["accuracy"]["interval"], whole["accuracy"]["interval"], atol=0.01)
    alone = measure(table(hits), bootstrap=50)
    assert [alone["units"][key] for key in ("kind", "count", "ungrouped")] == ["image", 400, 0]
    assert np.ptp(whole["accuracy"]["interval"]) > 2 * np.ptp(alone["accuracy"]["interval"])


def test_a_row_without_a_group_is_drawn_with_its_image():
    t = table([True] * 4, groups=["g", None, None, "g"])
    unit, member = sampling_units(t)
    assert (unit, len(set(member.tolist())), member[0] == member[3]) == ("group", 3, True)
    # a group that is called like an image is another unit
    assert len(set(sampling_units(table([True] * 3, groups=["i1", None, None]))[1].tolist())) == 3


def test_all_right_is_not_certain():
    found = measure(table([True] * 20, labels=[0, 1] * 10), bootstrap=50)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "auc", "cohen_kappa", "matthews_corrcoef"):
        low, high = found[name]["interval"]
        assert 0.6 < low < (0.96 if name == "auc" else 0.87), name
        assert high == 1.0, name
    np.testing.assert_allclose(found["accuracy"]["interval"], [0.8315666, 1.0], atol=1e-6)  # Clopper & Pearson 1934
    np.testing.assert_allclose(found["per_class"]["a"]["recall"]["interval"], [0.6915029, 1.0], atol=1e-6)


def test_an_agreement_of_swapped_classes_is_in_its_interval(rng):
    """Of four classes, images of two alone, each taken for the other: kappa and Matthews' correlation reach -1."""
    labels = np.arange(40) % 2
    called = np.r_[0, 1 - labels[1:]]
    swapped = PredictionTable.from_probabilities(
        name="t", classes=tuple("abcd"), image_ids=[str(k) for k in range(40)], labels=["ab"[k] for k in labels],
        probabilities=np.eye(4)[called], folds=[None] * 40, groups=[None] * 40,
    )  # fmt: skip
    found = measure(swapped, bootstrap=300)
    for name in ("cohen_kappa", "matthews_corrcoef"):
        assert found[name]["interval"][0] < -0.95 < found[name]["interval"][1] < -0.6, name


def test_an_agreement_of_four_classes_is_no_less_sure_than_its_accuracy(rng):
    """In classes of one size, and wrong answers that spread evenly, kappa is a line of the accuracy."""
    labels = np.arange(400) % 4
    called = np.where(rng.random(400) < 0.8, labels, (labels + rng.integers(1, 4, 400)) % 4)
    even = PredictionTable.from_probabilities(
        name="t", classes=tuple("abcd"), image_ids=[str(k) for k in range(400)], labels=["abcd"[k] for k in labels],
        probabilities=np.eye(4)[called], folds=[None] * 400, groups=[None] * 400,
    )  # fmt: skip
    found = measure(even, bootstrap=500)
    assert np.ptp(found["cohen_kappa"]["interval"]) == pytest.approx(
        np.ptp(found["accuracy"]["interval"]) * 4 / 3, rel=0.08
    )


def test_several_folds_widen_every_interval(rng):
    hits, labels = rng.random(200) < 0.8, rng.integers(0, 2, 200)
    once = measure(table(hits, labels=labels), bootstrap=200)
    crossed = measure(table(hits, labels=labels, folds=[k % 5 for k in range(200)]), bootstrap=200)
    for name in ("accuracy", "balanced_accuracy", "auc", "macro_f1", "cohen_kappa"):
        assert 1.1 < np.ptp(crossed[name]["interval"]) / np.ptp(once[name]["interval"]) < 1.2, name
    assert crossed["accuracy"]["method"] == "Clopper-Pearson; variance times 1.35 for folds"


def test_each_figure_that_one_patient_outweighs_has_a_reason(rng):
    """A class of four patients in a table of forty, one of whom holds 60 % of its images."""
    labels = np.r_[np.ones(100, int), np.zeros(360, int)]
    groups = [f"p{max(0, k - 59) // 14}" if k < 100 else f"q{k // 10}" for k in range(460)]
    found = measure(table(rng.random(460) < 0.9, labels=labels, groups=groups))
    assert found["per_class"]["b"]["recall"]["interval"] is None
    assert found["per_class"]["b"]["recall"]["reason"] == "one group holds 73 % of the 100 images"
    assert found["accuracy"]["interval"] is not None is not found["auc"]["interval"]
    assert found["units"]["largest"] == pytest.approx(73 / 460)


def test_images_without_a_patient_do_not_make_a_patient_recognition_rate_sure(rng):
    """Five patients of ten images among 500 of nobody."""
    hits = np.repeat([1, 1, 0, 1, 0], 10) * (rng.random(50) < 0.9)
    groups = [f"g{k // 10}" for k in range(50)]
    alone = measure(table(hits, groups=groups))
    among = measure(table(np.r_[hits, rng.random(500) < 0.9], groups=groups + [None] * 500))
    name = "patient_recognition_rate"
    np.testing.assert_allclose(among[name]["interval"], alone[name]["interval"], atol=0.01)
    assert np.ptp(alone[name]["interval"]) > 0.4
