import pytest
from bchisto.core import InputError
from bchisto.featurize import FeaturizeSettings, View


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
        ({"batch_size": 0}, "`batch_size` 0"),
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
    with pytest.raises(InputError, match=message):
        FeaturizeSettings(**changes)


def test_views_by_text():
    assert View.parse("1.0:800") == View(1.0, 800)
    for text in ("400", "0:400", "0.5:8", "a:b", "-1:400"):
        with pytest.raises(InputError, match="write SCALE:CROP"):
            View.parse(text)
