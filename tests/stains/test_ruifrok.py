import numpy as np
import pytest
from bchisto.stains import HeAugmenter, augment_he, optical_density
from bchisto.stains.colours import RUIFROK_FROM_HED, RUIFROK_TO_HED


def literal(image, h, e):
    """The published formulas in float64, pixels as rows."""
    od = -np.log10((image.reshape(-1, 3).astype(float) + 1) / 240)
    c = od @ RUIFROK_TO_HED.T
    out = 240 * 10 ** -((c * [h, e, 1.0]) @ RUIFROK_FROM_HED) - 1
    return np.clip(out, 0, 255).astype(np.uint8).reshape(image.shape)


def test_matrices_are_the_published_ones():
    np.testing.assert_array_equal(RUIFROK_TO_HED, [[1.88, -0.07, -0.60], [-1.02, 1.13, -0.48], [-0.55, -0.13, 1.57]])
    np.testing.assert_array_equal(RUIFROK_FROM_HED, [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])


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
        difference = np.abs(augment_he(cube, hematoxylin=h, eosin=e).astype(int) - literal(cube, h, e))
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


def test_factors_of_one_are_nearly_the_identity(he_image):
    same = augment_he(he_image, hematoxylin=1.0, eosin=1.0).astype(int) - he_image
    assert 0 < np.abs(same).max() <= 6


def test_more_haematoxylin_is_darker_in_red(he_image):
    more = augment_he(he_image, hematoxylin=1.3, eosin=1.0)
    less = augment_he(he_image, hematoxylin=0.7, eosin=1.0)
    assert more[..., 0].mean() < he_image[..., 0].mean() < less[..., 0].mean()


def test_an_augmenter_makes_the_same_as_the_function(he_image):
    augmenter = HeAugmenter(he_image)
    for h, e in ((0.8, 1.2), (1.2, 0.8)):
        np.testing.assert_array_equal(
            augmenter.augment(hematoxylin=h, eosin=e), augment_he(he_image, hematoxylin=h, eosin=e)
        )


def test_optical_density_of_known_levels():
    image = np.array([[[239, 119, 0]]], np.uint8)
    np.testing.assert_allclose(optical_density(image)[0, 0], [0.0, np.log(2), np.log(240)], rtol=1e-6)


def test_blank_and_black_images_stay_finite():
    for level in (0, 255):
        image = np.full((8, 8, 3), level, np.uint8)
        assert augment_he(image, hematoxylin=0.7, eosin=1.3).shape == image.shape
