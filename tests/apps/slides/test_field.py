"""`bchisto slides map`: tiles have the scale and side of the training images, which model files of any kind tell."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from archives import altered
from bchisto.apps.slides.tiles import MapSettings, tile_settings
from bchisto.core import InputError
from bchisto.core.jobs import Work
from bchisto.data import ImageSelection
from bchisto.featurize import featurize, open_store
from bchisto.finetune import FinetuneSettings, finetune
from bchisto.predict.model_file import load_bundle, ready_model
from packs import LINEAR, ONE_JOB, featurize_here, model_file, train_small
from slide_files import NAMES, stained, write_images, write_slide

pytest.importorskip("openslide")

KNOWN = {
    "one": [(64, 0.5)],
    "alike": [(64, 0.4992), (64, 0.5003)],
    "width": [(64, 0.5), (128, 0.25)],
}
"""Shorter sides in pixels and micrometres per pixel of the images of each model, in turn."""

SEVERAL = {"scales": [(64, 0.5), (64, 0.25)], "sides": [(64, 0.5), (96, 0.5)]}
UNKNOWN = {"unknown": [(64, "")], "partly": [(64, 0.5), (64, "")]}
NETWORK = pytest.param("network", marks=pytest.mark.slow)


@pytest.fixture(scope="session")
def boosted(tmp_path_factory, tiny_settings):
    """Return a function that gives a model file by the name of its images; that of a CNN is `network`."""
    root = tmp_path_factory.mktemp("boosted")

    def run_of(name):
        run = root / name / "run"
        if name == "network" and not run.exists():
            images = ImageSelection(write_images(root / name, wider=8), classes=NAMES)
            settings = FinetuneSettings(network="speck", epochs=1, batch_size=4)
            finetune(images, out=run, folds=["2"], settings=settings, work=ONE_JOB)
        if not run.exists():
            kinds = {**KNOWN, **SEVERAL, **UNKNOWN}[name]
            views = ("0.5um:64",) if name == "width" else tiny_settings.views
            settings = replace(tiny_settings, views=views, stain="none")
            images = ImageSelection(write_images(root / name, kinds=kinds, wider=8), classes=NAMES)
            featurize_here(images, run, settings)
            train_small(run, "2", **LINEAR)
        return model_file(run)

    return run_of


@pytest.fixture
def tiles_of(caplog):
    """Return a function that gives side, scale and pixels of the tiles of a model, and what is warned of."""

    def of(run, **options):
        model = ready_model(run)[1]
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            fields = tile_settings(model, MapSettings(**options))
        return fields.field, fields.scale, fields.pixels, " ".join(caplog.messages)

    return of


@pytest.mark.parametrize("name", ["one", "alike", NETWORK])
def test_nothing_is_warned_of_if_scale_and_side_are_known(boosted, tiles_of, name):
    """Whatever the other side of the images is."""
    run = boosted(name)
    for options in ({}, {"field": 32}, {"scale": 0.5}, {"scale": 0.509}, {"field": 32.5}):
        field, scale, pixels, warned = tiles_of(run, **options)
        assert warned == ""
        assert scale == options.get("scale", 0.5)
        assert field == pytest.approx(options.get("field", 64 * scale))
        assert pixels == round(field / scale)


@pytest.mark.parametrize(
    ("name", "scale", "known"),
    [
        ("one", 0.25, "0.5"),
        ("one", 0.48, "0.5"),
        ("one", 0.52, "0.5"),
        ("alike", 1, "0.499 to 0.5"),
        pytest.param("network", 0.25, "0.5", marks=pytest.mark.slow),
        pytest.param("network", 1, "0.5", marks=pytest.mark.slow),
        ("width", 0.24, "0.25 to 0.5"),
        ("width", 0.52, "0.25 to 0.5"),
        ("scales", 1, "0.25 to 0.5"),
    ],
)
def test_another_scale_than_of_training_is_refused(boosted, tiles_of, name, scale, known):
    with pytest.raises(InputError) as refused:
        tiles_of(boosted(name), field=64, scale=scale)
    place, told = str(refused.value).split(": ")
    assert place in {f"`scale={scale}`", f'`scale="{scale}"`'}
    assert told == (
        f"the training images have {known} micrometres a pixel; leave it out, or train on fields of this `scale`"
    )


def test_the_command_refuses_in_one_line_before_it_writes(boosted, tmp_path, refused, completed):
    slide = write_slide(
        tmp_path / "S 1 ü.tif", (640, 640), {(0, 0): stained(NAMES[0], 640, 640)}, mpp=0.25
    )
    words = ("slides map {} {} --out {} --jobs 1", boosted("one"), slide, tmp_path / "maps ä")
    told = refused(*words, "--field", 32, "--scale", 0.25)
    assert (
        "--scale 0.25: the training images have 0.5 micrometres a pixel; leave it out, or train on"
        in told
    )
    assert "training images" not in completed(*words, "--tissue", 0.1)[1]


@pytest.mark.parametrize("name", ["one", NETWORK, "width"])
def test_another_side_than_of_training_is_warned_of(boosted, tiles_of, name):
    """Also if the model rescales, and at any scale of training."""
    run = boosted(name)
    for field, scale in ((64, 0.5), (33, 0.5), (64, 0.49)):
        *_, warned = tiles_of(run, field=field, scale=scale)
        assert warned == (
            f"tiles have {round(field / scale) * scale:.3g} micrometres a side, and the training images 32; "
            "leave `field` out, or train on such fields"
        )


def test_of_several_scales_or_sides_the_message_tells_which(boosted, tiles_of):
    """One that is known is no guess, and one that is given neither."""
    guess = "a guess (training images: {} micrometres a side, {} a pixel); give those of slides cut"
    field, scale, _, warned = tiles_of(boosted("width"))
    assert (field, scale) == (32, 0.35)
    assert warned.endswith(guess.format("32", "0.25 to 0.5"))
    for scale in (0.25, 0.5):
        assert tiles_of(boosted("width"), scale=scale) == (32, scale, round(32 / scale), "")
        assert tiles_of(boosted("scales"), scale=scale) == (64 * scale, scale, 64, "")
    for between in ({}, {"scale": 0.4}):
        warned = tiles_of(boosted("scales"), **between)[-1]
        assert warned.endswith(guess.format("16 to 32", "0.25 to 0.5"))
    assert tiles_of(boosted("scales"), scale=0.4, field=28)[-1] == ""
    assert tiles_of(boosted("sides"))[-1].endswith(guess.format("32 to 48", "0.5"))
    for field in (32, 40, 48):
        assert tiles_of(boosted("sides"), field=field)[-1] == ""
    assert (
        "have 56 micrometres a side, and the training images 32 to 48;"
        in tiles_of(boosted("sides"), field=56)[-1]
    )


@pytest.mark.parametrize("name", UNKNOWN)
def test_without_micrometres_pixels_are_compared(boosted, tiles_of, name):
    field, scale, _, warned = tiles_of(boosted(name))
    assert (field, scale) == (32, 0.5)
    assert warned.endswith(
        "(training images: unknown micrometres a side, unknown a pixel); give those of slides cut"
    )
    assert tiles_of(boosted(name), scale=0.25) == (16, 0.25, 64, "")
    assert tiles_of(boosted(name), field=32, scale=0.25)[-1] == (
        "tiles have 128 pixels a side, and the training images 64; leave `field` out, or train on such fields"
    )


def test_older_model_files_are_read_as_before(boosted, tiles_of, tmp_path):
    """Without the side in micrometres, and without all that training images look like."""
    file = boosted("one")
    looks = [look for look in load_bundle(file).looks if look["what"] != "field"]
    older = altered(file, tmp_path / "older.bchisto", looks=looks)
    assert tiles_of(older) == (32, 0.5, 64, "")
    assert (
        "tiles have 128 pixels a side, and the training images 64;" in tiles_of(older, field=64)[-1]
    )
    oldest = altered(file, tmp_path / "oldest.bchisto", looks=[])
    assert "a guess (training images: unknown" in tiles_of(oldest)[-1]
    assert tiles_of(oldest, field=64, scale=0.25) == (64, 0.25, 256, "")


def test_feature_files_that_shards_and_growth_write_know_every_image(tmp_path, tiny_settings):
    """Also of those that were described before."""
    settings = replace(tiny_settings, stain="none")
    kinds = [(64, 0.5), (96, 0.25)]
    for count in (6, 12):
        images = ImageSelection(
            write_images(tmp_path, kinds=kinds, count=count, wider=8), classes=NAMES
        )
        for shard in ("1/2", "2/2", None):
            featurize(
                images, out=tmp_path / "run", settings=settings, work=Work(jobs=1, shard=shard)
            )
    (path,) = (tmp_path / "run" / "features").glob("*.h5")
    with open_store(path) as store:
        looks = dict(zip(store.image_ids, store.images("look"), strict=True))
    assert len(looks) == 12
    for number, (_, look) in enumerate(sorted(looks.items())):
        side, mpp = kinds[number // 2 % 2]
        np.testing.assert_array_equal(look, [side, side + 8, 8, mpp])
    train_small(tmp_path / "run", "2", **LINEAR)
    ends = {}
    for look in load_bundle(model_file(tmp_path / "run")).looks:
        ends.setdefault(look["what"], set()).update((look["least"], look["most"]))
    assert ends == {
        "short": {64, 96},
        "long": {72, 104},
        "bits": {8},
        "mpp": {0.25, 0.5},
        "field": {24, 32},
    }
