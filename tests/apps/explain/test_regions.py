"""The hottest regions as GeoJSON: by hand, against SciPy's labels, and of an image larger than it is shown."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest
from bchisto.apps.explain import Explanation
from bchisto.apps.explain.explanation import shown_picture
from bchisto.apps.explain.regions import hottest_regions, write_regions
from bchisto.data import ImageRecord
from PIL import Image
from scipy import ndimage


def a_map(values, method="map", **options):
    return Explanation(
        "i", method, "malignant", "malignant", 0.9, "", values=values.astype(np.float32), **options
    )


def regions_of(values, method="map", **options):
    features = hottest_regions(a_map(values, method, **options), (0, 0, *values.shape[::-1]))
    return [feature["geometry"]["coordinates"] for feature in features]


def area(ring):
    """Signed area by Gauss's formula."""
    x, y = np.array(ring).T
    return 0.5 * float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))


def drawn(rings, shape):
    """The pixels whose centres lie within, by the rule of even and odd crossings."""
    rows, columns = np.indices(shape) + 0.5
    crossed = np.zeros(shape, np.int64)
    for ring in rings:
        for (x, y0), (_, y1) in itertools.pairwise(ring):
            if y0 != y1:
                crossed += (columns > x) & (rows > min(y0, y1)) & (rows < max(y0, y1))
    return crossed % 2 == 1


def check_validity(rings):
    """The rules of OGC for rings of level and upright lines: closed, no corner twice, nothing crossed or shared."""
    edges = Counter()
    for place, ring in enumerate(rings):
        assert ring[0] == ring[-1]
        assert len(ring) >= 5
        corners = []
        for (x0, y0), (x1, y1) in itertools.pairwise(ring):
            assert (x0 == x1) != (y0 == y1)
            length = int(abs(x1 - x0) + abs(y1 - y0))
            steps = np.linspace((x0, y0), (x1, y1), length + 1)
            corners += map(tuple, steps[:-1].tolist())
            edges.update(frozenset(map(tuple, pair)) for pair in itertools.pairwise(steps.tolist()))
        assert max(Counter(corners).values()) == 1  # the ring touches itself nowhere
        assert (area(ring) > 0) == (place == 0)  # holes run the other way
    assert max(edges.values()) == 1  # no line belongs to two rings, or to one twice


def test_two_rectangles_by_hand():
    values = np.zeros((20, 30))
    values[2:6, 3:8] = 1.0
    values[10:15, 20:27] = 2.0
    first, second = hottest_regions(a_map(values), (0, 0, 60, 40))
    assert first["properties"]["measurements"]["mean"] == 2.0
    assert sorted(map(tuple, first["geometry"]["coordinates"][0][:-1])) == [
        (40, 20),
        (40, 30),
        (54, 20),
        (54, 30),
    ]
    assert sorted(map(tuple, second["geometry"]["coordinates"][0][:-1])) == [
        (6, 4),
        (6, 12),
        (16, 4),
        (16, 12),
    ]
    for one in (first, second):
        ring = one["geometry"]["coordinates"][0]
        assert ring[0] == ring[-1]
        assert one["properties"]["objectType"] == "annotation"
        assert one["properties"]["classification"]["name"] == "map malignant"


@pytest.mark.parametrize("blur", [0, 1, 3])
def test_rings_of_noise_are_valid_few_and_a_tenth_at_most(blur):
    """Maps by pixel are mostly specks and necks; the pixels are those that SciPy joins by their edges."""
    values = np.random.default_rng(blur).random((130, 200)) ** 8
    values = ndimage.gaussian_filter(values, blur) if blur else values
    found = regions_of(values)
    assert 0 < len(found) <= 25
    inside = np.zeros(values.shape, np.int64)
    for rings in found:
        check_validity(rings)
        one = drawn(rings, values.shape)
        assert one.sum() == round(sum(map(area, rings)))
        assert one.sum() >= 0.001 * values.size
        assert ndimage.label(one)[1] == 1
        inside += one
    assert inside.max() == 1
    assert inside.mean() <= 0.1
    smooth = ndimage.gaussian_filter(
        values.astype(np.float32).astype(np.float64), 2.0, mode="mirror"
    )
    assert smooth[inside > 0].min() > np.quantile(smooth, 0.9) - 2e-3 * np.ptp(smooth)


def test_a_flat_map_has_no_region():
    """One value everywhere, or nearly: of a model that learnt nothing, whose map lies above the centre."""
    flat = np.full((60, 80), 0.2857)
    probability = {"signed": True, "centre": 0.2, "limits": (0.0, 1.0)}
    assert regions_of(flat, **probability) == []
    assert regions_of(flat + np.linspace(0, 0.005, 80), **probability) == []
    assert regions_of(flat, "gradcam") == []
    assert len(regions_of(flat + np.linspace(0, 0.5, 80), **probability)) == 1


def test_ties_do_not_take_more_than_a_tenth():
    """Values that go on to the edge: the highest fifth of the picture is one value."""
    values = np.clip(np.linspace(0, 1, 100), 0, 0.8)[np.newaxis].repeat(50, axis=0)
    assert sum(area(ring) for rings in regions_of(values) for ring in rings) <= 0.1 * values.size
    steps = np.floor(np.linspace(0, 8.99, 180))[np.newaxis].repeat(120, axis=0) / 9
    assert (
        sum(area(ring) for rings in regions_of(steps, "masking") for ring in rings)
        <= 0.1 * steps.size
    )


def test_nothing_is_hot_on_the_cold_side():
    values = np.linspace(0, 0.4, 400).reshape(20, 20)
    assert hottest_regions(a_map(values, signed=True, centre=0.5), (0, 0, 20, 20)) == []
    assert hottest_regions(a_map(np.zeros((20, 20))), (0, 0, 20, 20)) == []


def test_regions_are_in_pixels_of_the_image(tmp_path):
    path = tmp_path / "large.png"
    Image.fromarray(np.zeros((600, 2048, 3), np.uint8)).save(path)
    record = ImageRecord("large.png", path, None, box=(1024, 100, 2048, 600))
    assert shown_picture(record).shape == (500, 1024, 3)
    assert shown_picture(ImageRecord("large.png", path, None)).shape == (300, 1024, 3)
    values = np.zeros((250, 512))
    values[100:150, 200:300] = 1.0
    write_regions(tmp_path / "r.geojson", a_map(values), record)
    (one,) = json.loads((tmp_path / "r.geojson").read_text())["features"]
    ring = np.array(one["geometry"]["coordinates"][0])
    np.testing.assert_allclose(ring.min(axis=0), [1024 + 400, 100 + 200])
    np.testing.assert_allclose(ring.max(axis=0), [1024 + 600, 100 + 300])
