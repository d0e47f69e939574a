from typing import ClassVar

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.featurize import FeaturizeSettings, norm_pool
from conftest import refuses
from numpy.testing import assert_allclose, assert_array_equal


@pytest.mark.parametrize("p", [1, 2, 3, 7.5])
def test_equals_numpys_norm_for_non_negative_descriptors(rng, p):
    d = rng.random((20, 50)) * 4
    expected = np.linalg.norm(d, ord=p, axis=0) / 20 ** (1 / p)
    assert_allclose(norm_pool(d, p), expected, rtol=1e-6)


def test_negative_values_have_a_defined_answer(rng):
    d = rng.normal(size=(20, 30))
    m = np.mean(np.sign(d) * np.abs(d) ** 3, axis=0)
    assert_allclose(norm_pool(d), np.sign(m) * np.abs(m) ** (1 / 3), rtol=1e-5)
    assert_allclose(norm_pool(-d), -norm_pool(d))


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e15, 1e30, 3e38])
def test_no_magnitude_overflows_or_vanishes(scale):
    d = np.array([[1.0, 0.5], [0.5, 0.25]], np.float64) * scale
    found = norm_pool(d.astype(np.float32))
    expected = (np.array([[1.0, 0.5], [0.5, 0.25]]) ** 3).mean(axis=0) ** (1 / 3) * scale
    assert_allclose(found, expected, rtol=1e-5)


def test_zeros_one_crop_and_values_that_are_not_finite():
    assert_array_equal(norm_pool(np.zeros((5, 3))), np.zeros(3))
    assert_allclose(norm_pool(np.array([[1.5, -2.0]])), [1.5, -2.0])
    found = norm_pool(np.array([[np.nan, 1.0], [1.0, 1.0]]))
    assert np.isnan(found[0])
    assert found[1] == 1.0


def test_what_does_not_fit():
    for p in (0.5, 0, -1, np.inf, np.nan):
        refuses(InputError, "give a finite exponent of at least 1", norm_pool, np.ones((2, 2)), p)
    for shape in ((0, 4), (4,)):
        refuses(InputError, r"expected features of shape \(crops, d\)", norm_pool, np.ones(shape))


def test_arrays_and_tensors_are_pooled_alike():
    from keras import ops

    crops = np.random.default_rng(0).normal(size=(2, 5, 7)).astype(np.float32)
    description = FeaturizeSettings(pool=2.5).description
    pooled = ops.convert_to_numpy(description.pool_tensors(ops.convert_to_tensor(crops)))
    for rows, found in zip(crops, pooled, strict=True):
        assert_allclose(found, description.pool(rows), rtol=1e-5)


def test_crops_are_encoded_in_batches():
    class Counting:
        seen: ClassVar[list[int]] = []

        def encode(self, crops):
            self.seen.append(len(crops))
            return crops.reshape(len(crops), -1).astype(np.float32)

    crops = [np.full((2, 2, 3), number, np.uint8) for number in range(5)]
    features = FeaturizeSettings(batch_size=2).description.encode(Counting(), crops)
    assert Counting.seen == [2, 2, 1]
    assert features[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_an_option_that_no_words_tell_is_listed_in_a_report(monkeypatch):
    from bchisto.boost import methods

    monkeypatch.setattr(methods, "_TOLD", methods._TOLD - {"pad"})
    assert methods._further(FeaturizeSettings(pad="reflect")) == ", pad reflect"
    assert methods._further(FeaturizeSettings()) == ""
