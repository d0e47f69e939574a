"""Augmentation by its effect: grey stays grey, ranges are what was asked for, and old names mean what they meant."""

import re
from dataclasses import replace

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.finetune import AUGMENTATIONS, FinetuneSettings
from bchisto.finetune.outputs import methods_of
from bchisto.finetune.samples import make_augmenter


def drawn(name, image, count=60):
    augment = make_augmenter([name], size=image.shape[0])
    return np.stack(
        [augment(image, np.random.SeedSequence([9, number])) for number in range(count)]
    )


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "stain"])
def test_equal_channels_stay_equal(rng, name):
    grey = np.repeat(rng.integers(0, 256, (48, 48, 1), dtype=np.uint8), 3, axis=2)
    found = drawn(name, grey, count=20)
    np.testing.assert_array_equal(found, np.repeat(found[..., :1], 3, axis=-1))
    assert len({one.tobytes() for one in found}) > 1


def test_noise_of_a_grey_image_is_as_strong_as_that_of_a_coloured_one():
    grey = np.full((64, 64, 3), 128, dtype=np.uint8)
    tinted = grey.copy()
    tinted[0, 0, 0] = 129
    for image in (grey, tinted):
        spread = drawn("noise", image)[:, 1:, 1:].astype(float).std(axis=(1, 2)) / 255
        assert 0.009 < spread.min() < 0.02
        assert 0.04 < spread.max() < 0.051
    one = drawn("noise", tinted, count=1)[0].astype(int)
    assert (one[..., 0] != one[..., 1]).mean() > 0.5  # of colour, as before


def bar(size=101):
    """A bright bar along the middle row."""
    image = np.zeros((size, size, 3), dtype=np.uint8)
    image[size // 2 - 3 : size // 2 + 4, size // 5 : -size // 5] = 250
    return image


def moments(image):
    """Return the middle (row, column), the angle in degrees and the area of what is bright."""
    weights = image[..., 0].astype(float) / 250
    rows, columns = np.indices(weights.shape)
    middle = [(weights * axis).sum() / weights.sum() for axis in (rows, columns)]
    y, x = rows - middle[0], columns - middle[1]
    angle = 0.5 * np.degrees(
        np.arctan2(2 * (weights * x * y).sum(), (weights * (x * x - y * y)).sum())
    )
    return *middle, angle, weights.sum()


def disc(size=101, radius=25):
    rows, columns = np.indices((size, size))
    inside = (rows - size // 2) ** 2 + (columns - size // 2) ** 2 <= radius**2
    return np.repeat((inside * 250).astype(np.uint8)[..., None], 3, axis=2)


def reached(values, most, *, slack):
    """Both ways, nearly as far as asked, and no farther."""
    assert np.abs(values).max() <= most + slack
    assert values.max() > 0.8 * most
    assert values.min() < -0.8 * most


@pytest.mark.parametrize(
    ("name", "most"), [("rotation", 15), ("rotation:10", 10), ("rotation:40", 40)]
)
def test_rotation_goes_as_far_as_asked(name, most):
    reached(np.array([moments(one)[2] for one in drawn(name, bar())]), most, slack=0.5)


@pytest.mark.parametrize(("name", "most"), [("translation", 0.1), ("translation:0.2", 0.2)])
def test_translation_goes_as_far_as_asked_both_ways(name, most):
    for axis in (0, 1):
        shift = np.array([moments(one)[axis] for one in drawn(name, disc(radius=6))]) - 50
        reached(shift, most * 101, slack=0)


@pytest.mark.parametrize(("name", "most"), [("magnification", 0.1), ("magnification:0.3", 0.3)])
def test_magnification_enlarges_and_reduces_and_keeps_the_shape(name, most):
    found = drawn(name, disc())
    reached(
        np.sqrt(np.array([moments(one)[3] for one in found]) / moments(disc())[3]) - 1,
        most,
        slack=0.01,
    )
    heights, widths = ((found[..., 0] > 125).any(axis=axis).sum(axis=1) for axis in (2, 1))
    assert np.abs(heights - widths).max() <= 1


def test_what_moves_pixels_is_interpolated_once_and_mirrored_at_the_edge():
    """A white image stays white, though turned, shifted and reduced; one warp of all three."""
    white = np.full((40, 40, 3), 255, dtype=np.uint8)
    names = ["rotation:90", "translation:0.3", "magnification:0.5"]
    augment = make_augmenter(names, size=40)
    assert all(
        (augment(white, np.random.SeedSequence([number])) == 255).all() for number in range(20)
    )
    import albumentations

    calls = []
    warp = albumentations.Affine.apply

    def watched(self, *arguments, **options):
        calls.append(type(self).__name__)
        return warp(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(albumentations.Affine, "apply", watched)
        make_augmenter(names, size=40)(white, np.random.SeedSequence([1]))
    assert calls == ["Affine"]


def test_other_ranges_reach_what_they_name():
    flat = np.full((64, 64, 3), 100, dtype=np.uint8)
    levels = drawn("brightness:0.05", flat)[:, 0, 0, 0] / 255 - 100 / 255
    # brightness, and contrast about zero
    assert 0.03 < np.abs(levels).max() < 0.05 + 0.05 * 100 / 255 + 0.005
    assert drawn("noise:0.2", flat)[..., 0].astype(float).std(axis=(1, 2)).max() / 255 > 0.15
    rows = np.repeat(
        np.repeat(np.arange(64, dtype=np.uint8)[:, None, None] * 4, 64, axis=1), 3, axis=2
    )
    spans = [float(np.ptp(one[..., 0])) / 252 for one in drawn("crop:0.2", rows)]
    assert min(spans) < 0.6  # a fifth of the area, between 3:4 and 4:3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "rotation:x",
            "rotation:x: write rotation:RANGE with a number above 0 and up to 180, such as rotation:15",
        ),
        ("rotation:nan", "rotation:nan: write rotation:RANGE"),
        ("translation:0.6", "up to 0.5, such as translation:0.1"),
        ("noise:0", "with a number above 0 and up to 1, such as noise:0.05"),
        (
            "mirror:2",
            "mirror:2: mirror takes no range; those that do are rotation, translation, magnification,",
        ),
        ("turn:2", "choose one of isometries, mirror, rotation"),
    ],
)
def test_ranges_that_are_refused(text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        FinetuneSettings("speck", augmentations=(text,))


def test_methods_count_one_in_the_singular():
    settings = FinetuneSettings("speck", epochs=1, patience=1, rotations=1, crops=1)
    offline = replace(settings, augmentations=("rotations-crops",))
    copied = replace(settings, copies=(("a", 1.0), ("b", 2.5)))
    texts = {text for one in (offline, copied) for _, text in methods_of(one, folds=1, inner=True)}
    text = " ".join(texts)
    assert "by 1 rotation of each by any angle and 1 crop of each rotation" in text
    assert "after 1 epoch without" in text
    assert "or after 1 epoch, and" in text
    several = " ".join(
        text for _, text in methods_of(FinetuneSettings("speck"), folds=1, inner=True)
    )
    assert "after 8 epochs without" in several
    assert "once for a and 2.5 times for b" in text
