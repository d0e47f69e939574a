"""Images smaller than the crop, mirrored at their edges."""

import dataclasses

import cv2
import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.core.jobs import Ticker
from bchisto.data import ImageRecord
from bchisto.encoders import Encoder
from bchisto.featurize import FeaturizeSettings, describe_images
from bchisto.featurize.crops import pad_image
from conftest import seen_gpus
from numpy.testing import assert_array_equal
from PIL import Image
from refusals import refuses

SETTINGS = FeaturizeSettings(
    encoders=("tiny",),
    weights=("random",),
    views=("1.0:64", "1.0:40"),
    augmentations=2,
    crops=3,
    stain="none",
    pad="reflect",
)


@pytest.mark.parametrize(
    "size", [(64, 64), (63, 64), (64, 40), (33, 32), (20, 90), (7, 5), (2, 64), (1, 3), (1, 1)]
)
def test_as_opencv_mirrors(rng, size):
    image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    short = [max(0, 64 - side) for side in size]
    edges = (short[0] // 2, short[0] - short[0] // 2, short[1] // 2, short[1] - short[1] // 2)
    expected = cv2.copyMakeBorder(image, *edges, cv2.BORDER_REFLECT_101)
    found = pad_image(image, crop=64)
    assert_array_equal(found, expected)
    assert min(found.shape[:2]) >= 64
    if min(size) >= 64:
        assert found is image


def described(path, settings, on_device=False):
    encoder = Encoder("convs", weights="random")
    with seen_gpus(on_device) as counts:
        (item,) = describe_images(
            [ImageRecord("one", path, None)],
            settings=settings,
            ticker=Ticker(None),
            targets={str(view.crop): (encoder, view) for view in settings.views},
        )
    assert counts == {"started": int(on_device)}
    return item.features


@pytest.fixture
def pictures(tmp_path, he_image):
    """An image of 50 x 45 pixels, and the same padded by hand to 64 x 64."""
    Image.fromarray(he_image[:45, :50]).save(tmp_path / "small.png")
    Image.fromarray(
        cv2.copyMakeBorder(he_image[:45, :50], 9, 10, 7, 7, cv2.BORDER_REFLECT_101)
    ).save(tmp_path / "padded.png")
    Image.fromarray(he_image[:80, :90]).save(tmp_path / "large.png")
    return tmp_path


@pytest.mark.parametrize("device", [False, True])
def test_a_padded_image_is_described_as_what_it_shows(pictures, device):
    small = described(pictures / "small.png", SETTINGS, device)
    padded = described(pictures / "padded.png", dataclasses.replace(SETTINGS, pad="none"), device)
    assert_array_equal(small["64"], padded["64"])
    # a crop that fits is cut from the image itself, whatever other crops need
    alone = described(
        pictures / "small.png", dataclasses.replace(SETTINGS, views=("1.0:40",), pad="none"), device
    )
    assert_array_equal(small["40"], alone["40"])
    assert not np.array_equal(small["40"], padded["40"])
    large = described(pictures / "large.png", SETTINGS, device)
    plain = described(pictures / "large.png", dataclasses.replace(SETTINGS, pad="none"), device)
    assert all(np.array_equal(large[name], plain[name]) for name in plain)


def test_settings_that_do_not_fit():
    with pytest.raises(InputError, match='`pad="reflect"` goes with `mode="exact"`'):
        FeaturizeSettings(mode="dense", pad="reflect")
    refuses(InputError, "`pad` zero: choose one of none, reflect", FeaturizeSettings, pad="zero")
