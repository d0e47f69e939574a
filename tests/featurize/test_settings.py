import re
from pathlib import Path

import pytest
from bchisto.core import InputError
from bchisto.data import ImageRecord
from bchisto.featurize import FeaturizeSettings, View
from conftest import refuses


def test_defaults_are_the_published_settings():
    settings = FeaturizeSettings()
    assert [str(choice) for choice in settings.encoders] == ["resnet50", "inceptionv3", "vgg16"]
    assert [str(view) for view in settings.views] == ["0.5:400", "0.5:650"]
    assert (settings.augmentations, settings.crops, settings.pool, settings.color_range) == (
        50,
        20,
        3.0,
        (0.7, 1.3),
    )
    assert (settings.stain, settings.precision, settings.mode) == ("macenko", "float32", "exact")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augmentations": 0}, "`augmentations` 0: give at least 1"),
        ({"crops": -1}, "`crops` -1"),
        ({"pool": 0.5}, "`pool` 0.5: give at least 1"),
        ({"color_range": (1.3, 0.7)}, "the lower one first"),
        ({"stain": "vahadane"}, "`stain` vahadane: choose one of macenko"),
        ({"stain_fallback": "x"}, "choose one of skip-normalisation, error"),
        ({"precision": "float64"}, "Choose one of float32, bfloat16, float16"),
        ({"seed": -1}, "`seed` -1"),
        ({"encoders": ()}, "give at least one of `encoders`"),
    ],
)
def test_settings_that_do_not_fit(changes, message):
    refuses(InputError, message, FeaturizeSettings, **changes)


@pytest.mark.parametrize("view", ["1.0:64", "0.5um:64"])
@pytest.mark.parametrize("side", [31, 32])
def test_a_view_that_is_said_to_fit_is_accepted(view, side):
    record = ImageRecord("a", Path("a.png"), None, None, mpp=0.5)
    text = str(View.parse(view).misfit(record, width=50, height=side))
    advised = re.findall(r'views="(.*?)"', text)
    assert [View.parse(value).crop for value in advised] == [side] * (side >= 32)
    assert '`pad="reflect"`' in text


def test_views_by_text():
    assert View.parse("1.0:800") == View(1.0, 800)
    for text in ("400", "0:400", "0.5:8", "a:b", "-1:400"):
        refuses(InputError, "write SCALE:CROP", View.parse, text)
