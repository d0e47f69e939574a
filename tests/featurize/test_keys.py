"""What changes the key of the rows of an image: everything that changes the rows, and nothing else."""

from dataclasses import fields, replace
from types import SimpleNamespace

import pytest
from bchisto.featurize import FeaturizeSettings, View, open_store, settings_from
from bchisto.featurize.stored import store_settings
from bchisto.featurize.units import row_keys

BEFORE = FeaturizeSettings(engine="keras", batch_size=4)
OF_A_STORE = {"encoders", "weights", "views"}
"""In their place a store has its encoder, the hash of its weights and its view."""

CHANGED = {
    "crops": 21,
    "pool": 4.0,
    "color_range": (0.8, 1.3),
    "stain": "none",
    "stain_fallback": "error",
    "precision": "bfloat16",
    "mode": "dense",
    "engine": "openvino",
    "batch_size": 8,
    "seed": 1,
    "pad": "reflect",
    "augmentations": 3,
}


def network(**changes):
    facts = {
        "name": "resnet50",
        "layers": ("a", "b"),
        "weights_sha256": "0" * 64,
        "engine": "keras",
        "backend": "x",
    }
    return SimpleNamespace(**facts | {"weights": "file", "weights_file_sha256": "1"} | changes)


def key(
    settings=BEFORE,
    encoder=None,
    view=BEFORE.views[0],
    device="cpu",
    image="a.png",
    content="0",
    mpp=None,
):
    own = store_settings(settings, encoder or network(engine=settings.engine), view, device=device)
    return row_keys(own, {image: content}, augmentations=settings.augmentations, mpp={image: mpp})[
        image
    ]


@pytest.mark.parametrize("name", [field.name for field in fields(FeaturizeSettings)])
def test_each_field_of_the_settings(name):
    if name in OF_A_STORE:
        assert key(replace(BEFORE, weights=("random",), views=(View(1.0, 48),))) == key()
    else:
        assert key(replace(BEFORE, **{name: CHANGED[name]})) != key()


def test_what_is_of_one_store_or_image():
    others = [
        key(encoder=network(name="other")),
        key(encoder=network(layers=("a",))),
        key(encoder=network(weights_sha256="1" * 64)),
        key(encoder=network(backend="y")),
        key(view=View(0.5, 401)),
        key(view=View(0.6, 400)),
        key(device="gpu"),
        key(image="b.png"),
        key(content="1"),
    ]
    assert len({key(), *others}) == 10
    assert key(encoder=network(weights="imagenet", weights_file_sha256="2")) == key()
    assert key(replace(BEFORE, pool=3)) == key()


def test_settings_come_back_from_what_a_store_says():
    settings = replace(BEFORE, views=BEFORE.views[:1], encoders=BEFORE.encoders[:1])
    own = store_settings(settings, network(), settings.views[0], device="cpu")
    back = settings_from({**own, "augmentations": 50})
    assert replace(back, encoders=settings.encoders) == settings


def test_a_store_holds_the_keys_of_its_settings(described):
    with open_store(described / "features" / "tiny-1.0-64.h5") as store:
        contents = {
            image: sha.decode()
            for image, sha in zip(store.image_ids, store.images("sha256"), strict=True)
        }
        assert store.keys == row_keys(
            store.settings, contents, augmentations=store.augmentations, mpp={}
        )
