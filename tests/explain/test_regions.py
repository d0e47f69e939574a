"""The hottest regions as GeoJSON: by hand, and of an image larger than it is shown."""

import json

import numpy as np
from bchisto.data import ImageRecord
from bchisto.explain import Explanation
from bchisto.explain.explanation import shown_picture
from bchisto.explain.regions import hottest_regions, write_regions
from PIL import Image


def a_map(values, **options):
    return Explanation("i", "map", "malignant", "malignant", 0.9, "", values=values.astype(np.float32), **options)


def test_two_rectangles_by_hand():
    values = np.zeros((20, 30))
    values[2:6, 3:8] = 1.0
    values[10:15, 20:27] = 2.0
    found = hottest_regions(a_map(values), width=60, height=40)
    first, second = found["features"]
    assert first["properties"]["measurements"]["mean"] == 2.0
    assert sorted(map(tuple, first["geometry"]["coordinates"][0][:-1])) == [(41, 21), (41, 29), (53, 21), (53, 29)]
    assert sorted(map(tuple, second["geometry"]["coordinates"][0][:-1])) == [(7, 5), (7, 11), (15, 5), (15, 11)]
    for one in (first, second):
        ring = one["geometry"]["coordinates"][0]
        assert ring[0] == ring[-1]
        assert one["properties"]["objectType"] == "annotation"
        assert one["properties"]["classification"]["name"] == "map malignant"


def test_nothing_is_hot_on_the_cold_side():
    values = np.linspace(0, 0.4, 400).reshape(20, 20)
    assert hottest_regions(a_map(values, signed=True, centre=0.5), width=20, height=20)["features"] == []
    assert hottest_regions(a_map(np.zeros((20, 20))), width=20, height=20)["features"] == []


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
    np.testing.assert_allclose(ring.min(axis=0), [1024 + 401, 100 + 201])
    np.testing.assert_allclose(ring.max(axis=0), [1024 + 599, 100 + 299])
