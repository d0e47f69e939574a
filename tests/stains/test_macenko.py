import numpy as np
import pytest
from bchisto.core import ImageError, TissueError
from bchisto.stains import TRANSMITTED_LIGHT, MacenkoNormalizer, make_normalizer
from bchisto.stains.macenko import (
    MACENKO_ALPHA,
    MACENKO_BETA,
    REFERENCE_MAXIMA,
    REFERENCE_STAINS,
    upper_percentile,
)
from conftest import refuses
from numpy.testing import assert_allclose, assert_array_equal


def literal(image):
    """The published formulas, written out in float64 without any shortcut."""
    od = -np.log((image.reshape(-1, 3).astype(float) + 1) / 240)
    tissue = od[(od >= 0.15).all(axis=1)]
    values, vectors = np.linalg.eigh(np.cov(tissue.T))
    plane = vectors[:, np.argsort(values)[::-1][:2]]
    if (tissue @ plane[:, 0]).mean() < 0:
        plane[:, 0] *= -1
    projected = tissue @ plane
    angle = np.arctan2(projected[:, 1], projected[:, 0])
    ends = [plane @ [np.cos(a), np.sin(a)] for a in np.percentile(angle, [1, 99])]
    ends.sort(key=lambda v: -v[0])
    stains = np.stack(ends, axis=1)
    c = np.linalg.lstsq(stains, od.T, rcond=None)[0]
    maxima = np.percentile(c, 99, axis=1)
    c *= (np.array([1.9705, 1.0308]) / maxima)[:, None]
    out = 240 * np.exp(-(np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]]) @ c))
    return np.clip(out, 0, 255).astype(np.uint8).T.reshape(image.shape), stains, maxima


def literal_robust(image):
    """The robust estimate written out: pixels of a mean density of at least 0.15, and no negative component."""
    od = -np.log((image.reshape(-1, 3).astype(float) + 1) / 240)
    tissue = od[od.mean(axis=1) >= 0.15]
    values, vectors = np.linalg.eigh(np.cov(tissue.T))
    plane = vectors[:, np.argsort(values)[::-1][:2]]
    plane = plane * np.where((tissue @ plane).mean(axis=0) < 0, -1, 1)
    angle = np.arctan2(*(tissue @ plane).T[::-1])
    ends = [np.maximum(plane @ [np.cos(a), np.sin(a)], 0) for a in np.percentile(angle, [1, 99])]
    stains = np.stack(
        sorted((end / np.linalg.norm(end) for end in ends), key=lambda v: -v[0]), axis=1
    )
    c = np.linalg.lstsq(stains, od.T, rcond=None)[0]
    c *= (np.array([1.9705, 1.0308]) / np.percentile(c, 99, axis=1))[:, None]
    out = 240 * np.exp(-(np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]]) @ c))
    return np.clip(out, 0, 255).astype(np.uint8).T.reshape(image.shape), stains


def near(a, b, share=0.999):
    assert (np.abs(a.astype(int) - b.astype(int)) <= 1).mean() >= share


def test_constants_are_the_published_ones():
    assert (TRANSMITTED_LIGHT, MACENKO_BETA, MACENKO_ALPHA) == (240.0, 0.15, 1.0)
    assert_array_equal(REFERENCE_STAINS, [[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]])
    assert_array_equal(REFERENCE_MAXIMA, [1.9705, 1.0308])


def test_equals_the_formulas_written_out(he_image):
    expected, stains, maxima = literal(he_image)
    found = MacenkoNormalizer().estimate(he_image)
    assert_allclose(found.stains, stains, atol=1e-5)
    assert_allclose(found.maxima, maxima, rtol=1e-5)
    near(MacenkoNormalizer().normalize(he_image), expected, share=1.0)


def test_the_robust_estimate_equals_the_formulas_written_out(he_image, pale_image):
    for image in (he_image, pale_image):
        expected, stains = literal_robust(image)
        normalised, estimate = make_normalizer("macenko-robust").normalize_with_estimate(image)
        assert_allclose(estimate.stains, stains, atol=1e-4)
        near(normalised, expected)


@pytest.mark.parametrize("step", [26, pytest.param(4, marks=pytest.mark.slow)])
def test_agrees_with_torchstain_on_real_images(shared, step):
    torchstain = pytest.importorskip("torchstain")
    from bchisto.data import decode_image

    reference = torchstain.normalizers.MacenkoNormalizer(backend="numpy")
    paths = sorted((shared / "data" / "breakhis").rglob("*.png"))
    assert len(paths) == 104
    for path in paths[::step]:
        image = decode_image(path)
        near(MacenkoNormalizer().normalize(image), reference.normalize(image, stains=False)[0])


def test_haematoxylin_comes_first_and_vectors_have_length_one(he_image):
    estimate = MacenkoNormalizer().estimate(he_image)
    assert estimate.stains[0, 0] > estimate.stains[0, 1]
    assert_allclose(np.linalg.norm(estimate.stains, axis=0), 1.0)
    assert 0.3 < estimate.tissue <= 1.0
    od = -np.log((he_image.reshape(-1, 3).astype(float) + 1) / 240)
    rest = od - od @ np.linalg.pinv(estimate.stains).T @ estimate.stains.T
    assert estimate.residual == pytest.approx(np.sqrt(np.mean(rest**2)), rel=1e-3)


def test_glass_around_the_tissue_does_not_move_the_stains(he_image):
    framed = np.full((400, 500, 3), 255, np.uint8)
    framed[100:292, 100:356] = he_image
    inside = MacenkoNormalizer().estimate(he_image)
    around = MacenkoNormalizer().estimate(framed)
    assert_allclose(around.stains, inside.stains, atol=1e-6)
    assert around.tissue == pytest.approx(inside.tissue * he_image.size / framed.size)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((50, 50, 3), 255, np.uint8), "0 tissue pixels, at least 100 needed"),
        (np.zeros((50, 50, 3), np.uint8), "0 tissue pixels, at least 100 needed"),
        (np.full((50, 50, 3), 120, np.uint8), "0 tissue pixels, at least 100 needed"),
        (
            np.repeat(np.arange(0, 200, dtype=np.uint8)[:, None, None], 3, axis=2).repeat(
                4, axis=1
            ),
            "one colour line",
        ),
    ],
)
def test_too_little_tissue_is_a_named_condition(image, message):
    refuses(TissueError, message, MacenkoNormalizer().normalize, image)


def test_ninety_nine_tissue_pixels_are_too_few_and_a_hundred_do(he_image):
    tissue = he_image[(he_image < 200).all(axis=2)]
    image = np.full((40, 40, 3), 255, np.uint8)
    image.reshape(-1, 3)[:99] = tissue[:: len(tissue) // 100][:99]
    refuses(TissueError, "99 tissue pixels", MacenkoNormalizer().estimate, image)
    image.reshape(-1, 3)[99] = tissue[-1]
    # their concentrations are no 99th percentile of 1,600 pixels that are nearly all glass, so both may be small
    assert MacenkoNormalizer().estimate(image).tissue == 100 / 1600


@pytest.mark.parametrize(
    "image", [np.zeros((5, 5, 3)), np.zeros((5, 5), np.uint8), np.zeros((5, 5, 4), np.uint8)]
)
def test_other_arrays_are_refused(image):
    refuses(ImageError, "expected a uint8 RGB image", MacenkoNormalizer().normalize, image)


def test_methods_by_name(he_image):
    image, estimate = make_normalizer("none").normalize_with_estimate(he_image)
    assert image is he_image
    assert estimate is None
    with pytest.raises(
        ValueError, match=r"no such method; did you mean macenko\? Choose one of macenko, none"
    ):
        make_normalizer("macenco")


@pytest.mark.parametrize("count", [1, 2, 65, 100_003])
@pytest.mark.parametrize("percent", [0.0, 99.0, 100.0])
def test_the_percentile_equals_that_of_numpy(rng, count, percent):
    values = rng.normal(size=count).astype(np.float32)
    assert upper_percentile(values, percent) == pytest.approx(
        np.percentile(values.astype(float), percent), rel=1e-6
    )


def test_the_percentile_where_the_sample_misleads():
    """Every 64th value is tiny or huge, so that the guessed tail is far too long or far too short."""
    for sign in (-1, 1):
        values = np.linspace(0, 1, 10_000, dtype=np.float32)
        values[::64] = 1e6 * sign
        expected = np.percentile(values.astype(float), [1, 99])
        assert_allclose(
            (-upper_percentile(-values, 99.0), upper_percentile(values, 99.0)), expected, rtol=1e-5
        )
