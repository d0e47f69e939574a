"""Augmentations against the published formulas; treatments against scikit-learn, OpenCV and by their effect."""

import numpy as np
import pytest
from bchisto.core import ImageError, InputError
from bchisto.stains import (
    STAIN_METHODS,
    TREATMENTS,
    augment_he,
    make_normalizer,
    optical_density,
    treat,
)
from bchisto.stains.colours import RUIFROK_FROM_HED, RUIFROK_TO_HED
from bchisto.stains.foreign import _colours_apart, _fills_side
from numpy.testing import assert_allclose, assert_array_equal


def literal(image, h, e):
    """The published formulas in float64, pixels as rows."""
    od = -np.log10((image.reshape(-1, 3).astype(float) + 1) / 240)
    c = od @ RUIFROK_TO_HED.T
    out = 240 * 10 ** -((c * [h, e, 1.0]) @ RUIFROK_FROM_HED) - 1
    return np.clip(out, 0, 255).astype(np.uint8).reshape(image.shape)


def test_matrices_are_the_published_ones():
    assert_array_equal(
        RUIFROK_TO_HED, [[1.88, -0.07, -0.60], [-1.02, 1.13, -0.48], [-0.55, -0.13, 1.57]]
    )
    assert_array_equal(
        RUIFROK_FROM_HED, [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]]
    )


@pytest.mark.parametrize(("h", "e"), [(1.0, 1.0), (0.7, 1.3), (1.3, 0.7), (0.85, 1.01)])
def test_equals_the_formulas_written_out(he_image, h, e):
    found, expected = augment_he(he_image, hematoxylin=h, eosin=e), literal(he_image, h, e)
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.999


def test_every_colour_of_a_coarse_cube_and_its_extremes(rng):
    levels = np.array([0, 1, 2, 50, 100, 150, 200, 238, 239, 240, 254, 255], np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 12, 3)
    for h, e in rng.uniform(0.5, 1.5, (5, 2)):
        difference = np.abs(
            augment_he(cube, hematoxylin=h, eosin=e).astype(int) - literal(cube, h, e)
        )
        assert difference.max() <= 1


def test_the_darkest_pixels_are_0_as_published(rng):
    """Values from -1 to 0 are clipped to 0; their absolute value would round to 1."""
    dark = rng.integers(0, 12, (64, 64, 3)).astype(np.uint8)
    for h, e in [(1.3, 1.3), (1.3, 0.7), (1.0, 1.0)]:
        expected = literal(dark, h, e)
        assert (expected == 0).mean() > 0.01
        found = augment_he(dark, hematoxylin=h, eosin=e)
        assert (found == expected).mean() > 0.9999
        assert found[expected == 0].max() == 0


def test_optical_density_of_known_levels():
    image = np.array([[[239, 119, 0]]], np.uint8)
    assert_allclose(optical_density(image)[0, 0], [0.0, np.log(2), np.log(240)], rtol=1e-6)


def test_every_treatment_is_a_stain_method(he_image):
    assert set(TREATMENTS) < set(STAIN_METHODS)
    for method in TREATMENTS:
        before = he_image.copy()
        found, estimate = make_normalizer(method).normalize_with_estimate(he_image)
        assert estimate is None
        assert (found.shape, found.dtype) == (he_image.shape, np.uint8)
        assert_array_equal(he_image, before)
        assert_array_equal(found, treat(he_image, method))
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
    assert_allclose(treat(dark, "demean").reshape(-1, 3).mean(axis=0), 128, atol=1)


def test_clahe_raises_local_contrast_and_keeps_colours(rng):
    import cv2

    flat = np.clip(rng.normal(120, 3, (128, 128, 1)) + np.zeros(3), 0, 255).astype(np.uint8)
    found = treat(flat, "clahe")
    assert found.std() > 1.5 * flat.std()
    pink = np.clip(flat + np.array([60, -20, 30]), 0, 255).astype(np.uint8)
    before, after = (
        cv2.cvtColor(x, cv2.COLOR_RGB2LAB)[:, :, 1:].mean(axis=(0, 1))
        for x in (pink, treat(pink, "clahe"))
    )
    assert_allclose(after, before, atol=2)


def test_gaussian_subtraction_removes_slow_shading():
    ramp = np.repeat(np.linspace(20, 220, 256).astype(np.uint8)[None, :, None], 128, axis=0).repeat(
        3, axis=2
    )
    found = treat(ramp, "gaussian-clahe").astype(float)
    middle = found[:, 64:192]
    assert abs(middle[:, :20].mean() - middle[:, -20:].mean()) < 10


def test_orders_are_what_they_say(he_image):
    one, two = treat(he_image, "clahe-whitening"), treat(he_image, "whitening-clahe")
    assert_array_equal(one, treat(treat(he_image, "clahe"), "whitening"))
    assert_array_equal(two, treat(treat(he_image, "whitening"), "clahe"))
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
    with pytest.raises(
        InputError, match="sepia: no such treatment; choose one of clahe, whitening"
    ):
        treat(he_image, "sepia")
    with pytest.raises(ImageError):
        treat(he_image[:, :, 0], "clahe")


def test_treatments_on_the_command_line(tissue, tmp_path, completed, tiny_options):
    completed("stain {} --out T/out --stain clahe", tissue)
    completed("featurize --images {} --out T/run", tissue, *tiny_options, "--stain", "demean")


@pytest.mark.parametrize(
    ("box", "fills"),
    [
        ((0, 90, 100, 10), True),
        ((0, 0, 100, 10), True),
        ((0, 45, 100, 10), False),
        ((1, 90, 99, 10), False),
        ((90, 0, 10, 80), True),
        ((0, 0, 10, 80), True),
        ((45, 0, 10, 80), False),
    ],
)
def test_padding_lies_along_a_whole_side(box, fills):
    """Left, top, width and height of an area in an image that is 80 or 100 pixels high, and 100 wide."""
    height = 80 if box[3] == 80 else 100
    assert _fills_side(np.array(box), (height, 100)) == fills


def test_few_pixels_of_a_colour_are_no_ink_in_a_large_image():
    for side, sets in ((60, 1), (600, 0)):
        image = np.full((side, side, 3), 230, np.uint8)
        image[:4, :5] = (20, 60, 140)
        assert len(_colours_apart(image)) == sets
