"""StainTools run for real; it lives in an environment of its own, since it overwrites the headless OpenCV."""

import importlib.util

import numpy as np
import pytest
from bchisto.core import DependencyError, TissueError
from bchisto.stains import MacenkoNormalizer, augment_he, make_normalizer
from bchisto.stains.treatments import reference_ramp


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("method", ["macenko", "vahadane", "reinhard"])
def test_brings_two_laboratories_together(staintools, he_image, method):
    other = augment_he(he_image, hematoxylin=1.3, eosin=0.75)
    normalizer = make_normalizer(f"staintools-{method}")
    (a, estimate), (b, _) = (
        normalizer.normalize_with_estimate(image) for image in (he_image, other)
    )
    assert a.dtype == np.uint8
    assert a.shape == he_image.shape
    # what we estimate is not what Vahadane's method finds
    assert (estimate is None) == (method != "macenko")
    before = np.abs(he_image.mean(axis=(0, 1)) - other.mean(axis=(0, 1))).sum()
    after = np.abs(a.mean(axis=(0, 1), dtype=float) - b.mean(axis=(0, 1), dtype=float)).sum()
    assert after < 0.7 * before


@pytest.mark.filterwarnings("default")
def test_a_blank_image_is_the_same_named_condition(staintools):
    with pytest.raises(TissueError, match="too little tissue"):
        make_normalizer("staintools-vahadane").normalize_with_estimate(
            np.full((64, 64, 3), 255, np.uint8)
        )


def test_without_staintools_the_extra_is_named():
    if importlib.util.find_spec("staintools") is not None:
        pytest.skip("StainTools is installed here")
    with pytest.raises(DependencyError, match=r"pip install staintools==\S+ 'spams-bin>=\S+'"):
        make_normalizer("staintools-macenko")


def test_the_reference_ramp_holds_the_reference_stains():
    estimate = MacenkoNormalizer().estimate(reference_ramp())
    reference = MacenkoNormalizer().stains
    np.testing.assert_allclose(
        estimate.stains, reference / np.linalg.norm(reference, axis=0), atol=0.03
    )
