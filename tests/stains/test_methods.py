"""Stain methods by name: each is a specification, and other packages add their own."""

import json

import numpy as np
import pytest
from bchisto.core import BundleError, InputError
from bchisto.stains import STAIN_METHODS, StainSpec, get_stain, known_stain, list_stains
from numpy.testing import assert_array_equal
from offers import offer

TREATED = {"clahe", "whitening", "demean", "gaussian-clahe", "clahe-whitening", "whitening-clahe"}

INVERTED = """
from bchisto.stains import StainSpec


class Inverted:
    def normalize_with_estimate(self, image):
        return 255 - image, None


{name} = StainSpec("{stain}", Inverted, checked=False, method="Colours were inverted [@ke2017].")
"""


@pytest.fixture
def inverted(tmp_path, monkeypatch):
    """A package is installed that adds the method ``inverted``."""
    site = tmp_path / "site"
    site.mkdir()
    code = INVERTED.format(name="INVERTED", stain="inverted")
    offer(site, "stains", "bchisto_inverted", code, inverted="bchisto_inverted:INVERTED")
    monkeypatch.syspath_prepend(site)


def test_every_method_has_a_specification_of_its_name():
    for name in STAIN_METHODS:
        assert get_stain(name).name == name


def test_treatments_and_none_are_not_checked():
    unchecked = {name for name in STAIN_METHODS if not get_stain(name).checked}
    assert unchecked == {"none", *TREATED}


def test_sentences_cite_their_source():
    assert get_stain("none").method == "Stains were not normalised."
    assert get_stain("clahe").method == "Images were treated by clahe."
    assert get_stain("clahe").cited == "clahe"
    assert get_stain("macenko-robust").cited == "macenko-robust [@macenko2009]"
    assert "at least 0.15." in get_stain("macenko-robust").method
    assert get_stain("staintools-reinhard").cited == "staintools-reinhard [@reinhard2001]"


def test_a_name_that_no_key_should_hold_is_refused():
    with pytest.raises(InputError, match="stain method 'My Stain': its name must be lower-case"):
        StainSpec("My Stain", print)


def test_a_method_of_another_package_is_listed_and_made(inverted):
    assert list_stains() == [*STAIN_METHODS, "inverted"]
    spec = get_stain("inverted")
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    changed, estimate = spec.make().normalize_with_estimate(image)
    assert_array_equal(changed, 255 - image)
    assert estimate is None
    assert spec.cited == "inverted [@ke2017]"


def test_it_cannot_replace_one_of_ours(tmp_path, monkeypatch):
    code = INVERTED.format(name="TAKER", stain="macenko")
    offer(tmp_path, "stains", "bchisto_stain_taker", code, macenko="bchisto_stain_taker:TAKER")
    monkeypatch.syspath_prepend(tmp_path)
    assert list_stains() == list(STAIN_METHODS)
    assert get_stain("macenko").checked


def test_commands_take_it(inverted, tmp_path, completed, he_image):
    from PIL import Image

    image = tmp_path / "a.png"
    Image.fromarray(he_image).save(image)
    completed("stain {} --out T/out --stain inverted", image)
    written = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert_array_equal(written, 255 - he_image)


def test_settings_take_it_and_hold_its_name(inverted):
    from bchisto.core import plain_options
    from bchisto.featurize import FeaturizeSettings
    from bchisto.finetune import FinetuneSettings

    settings = (FeaturizeSettings(stain="inverted"), FinetuneSettings("alexnet", stain="inverted"))
    for value in settings:
        assert json.loads(json.dumps(plain_options(value)))["stain"] == "inverted"


def test_without_its_package_settings_refuse_it_and_files_name_it(tmp_path):
    from bchisto.featurize import FeaturizeSettings

    with pytest.raises(InputError, match="`stain` inverted: choose one of macenko"):
        FeaturizeSettings(stain="inverted")
    file = tmp_path / "model.bchisto"
    message = f"{file}: needs the stain method 'inverted', which this version does not know"
    with pytest.raises(BundleError) as caught:
        known_stain("inverted", file, kind=BundleError)
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith("install the package that adds it")


def test_of_a_package_that_is_broken_files_name_the_file(tmp_path, monkeypatch):
    offer(tmp_path, "stains", "bchisto_stain_gone", "", gone="bchisto_stain_gone:lost")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BundleError, match=r"^model\.bchisto: stain method gone: its entry point"):
        known_stain("gone", "model.bchisto", kind=BundleError)
