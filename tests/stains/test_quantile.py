import numpy as np
import pytest
from bchisto.stains.macenko import upper_percentile


@pytest.mark.parametrize("count", [1, 2, 65, 100_003])
@pytest.mark.parametrize("percent", [0.0, 99.0, 100.0])
def test_equals_numpy(rng, count, percent):
    values = rng.normal(size=count).astype(np.float32)
    assert upper_percentile(values, percent) == pytest.approx(np.percentile(values.astype(float), percent), rel=1e-6)


def test_equals_numpy_where_the_sample_misleads():
    """Every 64th value is tiny or huge, so that the guessed tail is far too long or far too short."""
    for sign in (-1, 1):
        values = np.linspace(0, 1, 10_000, dtype=np.float32)
        values[::64] = 1e6 * sign
        expected = np.percentile(values.astype(float), [1, 99])
        np.testing.assert_allclose(
            (-upper_percentile(-values, 99.0), upper_percentile(values, 99.0)), expected, rtol=1e-5
        )


def test_equal_values():
    assert upper_percentile(np.full(500, 2.5, np.float32), 99.0) == 2.5
