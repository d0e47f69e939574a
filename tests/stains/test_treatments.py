"""Treatments against scikit-learn's whitening, OpenCV's parts, and by their effect."""

import numpy as np
import pytest
from bchisto.core import ImageError, InputError
from bchisto.stains import STAIN_METHODS, TREATMENTS, make_normalizer, treat


def test_every_treatment_is_a_stain_method(he_image):
    assert set(TREATMENTS) < set(STAIN_METHODS)
    for method in TREATMENTS:
        before = he_image.copy()
        found, estimate = make_normalizer(method).normalize_with_estimate(he_image)
        assert estimate is None
        assert (found.shape, found.dtype) == (he_image.shape, np.uint8)
        np.testing.assert_array_equal(he_image, before)
        np.testing.assert_array_equal(found, treat(he_image, method))
        assert (found != he_image).any()


def test_whitening_is_the_zca_of_the_channels(he_image):
    from sklearn.decomposition import PCA

    rows = he_image.reshape(-1, 3).astype(np.float64)
    pca = PCA(whiten=True).fit(rows)
    scale = np.sqrt(len(rows) / (len(rows) - 1))  # scikit-learn divides by n - 1
    expected = np.clip(np.rint(128 + 42 * scale * pca.transform(rows) @ pca.components_), 0, 255)
    found = treat(he_image, "whitening").reshape(-1, 3)
    assert np.abs(found - expected).max() <= 1
    inside = ((found > 0) & (found < 255)).all(axis=1)
    correlation = np.corrcoef(found[inside].T.astype(float))
    assert np.abs(correlation - np.eye(3)).max() < 0.1
    assert np.abs(np.corrcoef(rows.T) - np.eye(3)).max() > 0.5


def test_demean_centres_the_colour(he_image):
    dark = (he_image // 3).astype(np.uint8)
    np.testing.assert_allclose(treat(dark, "demean").reshape(-1, 3).mean(axis=0), 128, atol=1)


def test_clahe_raises_local_contrast_and_keeps_colours(rng):
    import cv2

    flat = np.clip(rng.normal(120, 3, (128, 128, 1)) + np.zeros(3), 0, 255).astype(np.uint8)
    found = treat(flat, "clahe")
    assert found.std() > 1.5 * flat.std()
    pink = np.clip(flat + np.array([60, -20, 30]), 0, 255).astype(np.uint8)
    before, after = (
        cv2.cvtColor(x, cv2.COLOR_RGB2LAB)[:, :, 1:].mean(axis=(0, 1)) for x in (pink, treat(pink, "clahe"))
    )
    np.testing.assert_allclose(after, before, atol=2)


def test_gaussian_subtraction_removes_slow_shading():
    ramp = np.repeat(np.linspace(20, 220, 256).astype(np.uint8)[None, :, None], 128, axis=0).repeat(3, axis=2)
    found = treat(ramp, "gaussian-clahe").astype(float)
    middle = found[:, 64:192]
    assert abs(middle[:, :20].mean() - middle[:, -20:].mean()) < 10


def test_orders_are_what_they_say(he_image):
    one, two = treat(he_image, "clahe-whitening"), treat(he_image, "whitening-clahe")
    np.testing.assert_array_equal(one, treat(treat(he_image, "clahe"), "whitening"))
    np.testing.assert_array_equal(two, treat(treat(he_image, "whitening"), "clahe"))
    assert (one != two).any()


@pytest.mark.parametrize("method", TREATMENTS)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank_and_grey_images_stay_finite(method, level):
    blank = np.full((40, 50, 3), level, np.uint8)
    assert treat(blank, method).shape == blank.shape
    grey = np.random.default_rng(0).integers(0, 256, (40, 50, 1)).repeat(3, axis=2).astype(np.uint8)
    found = treat(grey, method)
    assert np.abs(found.astype(int) - found[:, :, :1]).max() <= 3


def test_what_is_refused(he_image):
    with pytest.raises(InputError, match="sepia: no such treatment; choose one of clahe, whitening"):
        treat(he_image, "sepia")
    with pytest.raises(ImageError):
        treat(he_image[:, :, 0], "clahe")


def test_treatments_on_the_command_line(tissue, tmp_path, cli, tiny_options):
    code, _, err = cli("stain", tissue, "--out", tmp_path / "out", "--stain", "clahe")
    assert code == 0, err
    code, _, err = cli("featurize", "--images", tissue, "--out", tmp_path / "run", *tiny_options, "--stain", "demean")
    assert code == 0, err
