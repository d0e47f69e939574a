"""Images that a tag turns: all eight orientations, as JPEG, PNG and TIFF. Outlines are in pixels as stored."""

import cv2
import numpy as np
import pytest
import tifffile
from bchisto.apps.explain import Explanation, write_regions
from bchisto.core.formats import read_header
from bchisto.data import ImageRecord
from PIL import Image, ImageOps
from written_tables import read_json

HEIGHT, WIDTH = 80, 128
SPOT = slice(8, 24), slice(96, 120)
"""Rows and columns of the bright spot in the image as stored."""


def stored():
    """Pixels as a file stores them: dark with a bright spot near the top right corner."""
    image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    image[SPOT] = 220
    return image


def write_turned(path, orientation, image):
    """Write an image with a tag of its orientation."""
    if path.suffix == ".tif":
        tifffile.imwrite(path, image, extratags=[(274, "H", 1, orientation, True)])
    else:
        exif = Image.Exif()
        exif[274] = orientation
        options = {"quality": 95, "subsampling": 0} if path.suffix == ".jpg" else {}
        Image.fromarray(image).save(path, exif=exif, **options)


def inside(content, shape):
    """Return a mask of the pixels inside the outlines of a GeoJSON."""
    mask = np.zeros(shape, np.uint8)
    rings = [ring for feature in content["features"] for ring in feature["geometry"]["coordinates"]]
    for ring in rings:
        assert ring[0] == ring[-1]
        cv2.fillPoly(mask, [np.rint(np.array(ring) - 0.5).astype(np.int32)], 1)
    return mask.astype(bool)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_outlines_lie_where_the_file_has_the_spot(tmp_path, orientation, suffix):
    path = tmp_path / f"field{suffix}"
    write_turned(path, orientation, stored())
    # Pillow turns the picture, apart from bchisto; the map of it is highest on its spot
    shown = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("L")).astype(np.float32)
    header = read_header(path)
    assert (header.height, header.width) == shown.shape
    explanation = Explanation(
        image_id=path.name,
        method="map",
        target="t",
        predicted="t",
        score=0.5,
        calibrated=float("nan"),
        values=shown,
        picture=np.repeat(shown[..., None], 3, axis=2).astype(np.uint8),
        caution="",
        signed=False,
        centre=100.0,
    )
    out = tmp_path / "regions.geojson"
    write_regions(out, explanation, ImageRecord(path.name, path, None))
    content = read_json(out)
    mask, spot = inside(content, (HEIGHT, WIDTH)), np.zeros((HEIGHT, WIDTH), bool)
    spot[SPOT] = True
    assert (mask & spot).sum() / (mask | spot).sum() > 0.8
    frames = {feature["properties"].get("frame") for feature in content["features"]}
    assert frames == (
        {None}
        if orientation == 1
        else {f"pixels as stored, without the EXIF orientation {orientation}"}
    )
