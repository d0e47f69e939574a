"""Features in float16, with a network whose features are scaled into its range.

No GPU is at hand: `seen_gpus` lets stage 1 see one, and Keras computes in float16 on the CPU.
"""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.core.jobs import Ticker
from bchisto.data import ImageRecord
from bchisto.encoders import Encoder
from bchisto.featurize import FeaturizeSettings, describe_images, open_store
from bchisto.featurize.plan import _recorded_scale
from bchisto.predict.model_file import load_model
from conftest import seen_gpus, typed
from packs import model_file

SETTINGS = FeaturizeSettings(
    encoders=("mobilenetv2",), weights=("random",), views=("1.0:64",), augmentations=2, crops=2
)
SMALL = typed(
    "--encoder mobilenetv2 --weights random --view 1.0:64 --augmentations 1 --crops 2 --jobs 1"
)


@pytest.fixture(scope="module")
def encoder():
    return Encoder("mobilenetv2", weights="random", precision="float16")


@pytest.fixture
def described(encoder, tissue):
    def features(scale=None, mode="exact", on_device=True):
        path = sorted(tissue.rglob("*.png"))[0]
        scaled = encoder if scale is None else encoder.in_float16(scale)
        with seen_gpus(on_device):
            (item,) = describe_images(
                [ImageRecord("0.png", path, None)],
                settings=dataclasses.replace(SETTINGS, mode=mode),
                targets={"a": (scaled, SETTINGS.views[0])},
                ticker=Ticker(None),
            )
        return item.features["a"]

    return features


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["exact", "dense"])
def test_features_are_those_of_float32_but_for_rounding(encoder, he_image, described, mode):
    scale = encoder.float16_scale(he_image[None, :64, :64])
    assert np.log2(scale) == round(np.log2(scale))
    expected = described(mode=mode)
    for found in (described(scale, mode), described(scale / 4, mode)):
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert 1e-5 < error < 1e-2


@pytest.mark.slow
def test_features_that_float16_cannot_hold_are_of_float32(described, caplog):
    expected = described(on_device=False)
    assert caplog.text == ""
    found = described(2.0**20)
    np.testing.assert_array_equal(found, expected)
    words = '1 of 1 images: `precision="float16"` cannot hold their features; computed again in float32 (0.png)'
    assert words in caplog.text


@pytest.fixture
def featurized(cli, tissue):
    def run(out, *options, gpu=True):
        with seen_gpus(gpu) as counts:
            code, _, err = cli("featurize --images {} --out {}", tissue, out, *SMALL, *options)
        return code, err, counts["started"]

    return run


def header(run):
    with open_store(run / "features" / "mobilenetv2-1.0-64.h5") as store:
        return store.header


@pytest.mark.slow
def test_the_factor_is_recorded_and_kept(featurized, tmp_path, monkeypatch):
    half = ("--precision", "float16")
    code, err, started = featurized(tmp_path / "run", *half)
    assert (code, started > 0) == (0, True), err
    facts = header(tmp_path / "run")
    assert (facts["precision"], facts["device"]) == ("float16", "gpu")
    assert facts["float16_scale"] > 0
    # another card, which would choose another one, goes on with it
    monkeypatch.setattr("bchisto.featurize.plan._chosen_scale", lambda *_: 2.0**-9)
    code, err, started = featurized(tmp_path / "run", *half)
    assert (code, started, "is complete already" in err) == (0, 0, True), err
    code, err, _ = featurized(tmp_path / "run", *half, "--augmentations", 2)
    assert code == 0, err
    assert header(tmp_path / "run")["float16_scale"] == facts["float16_scale"]


@pytest.mark.slow
def test_without_a_gpu_float32_is_computed_and_recorded(featurized, tmp_path):
    code, err, started = featurized(
        tmp_path, "--precision", "float16", "--engine", "keras", gpu=False
    )
    assert (code, started) == (0, 0), err
    assert (
        "--precision float16: without a GPU, Keras computes in float32 here; recorded as float32"
        in err
    )
    assert header(tmp_path)["precision"] == "float32"


@pytest.mark.parametrize("encoder", ["densenet121", "timm:vit_tiny", "resnet50-keras213:avg_pool7"])
def test_other_encoders_are_refused(encoder):
    with pytest.raises(InputError) as caught:
        dataclasses.replace(SETTINGS, encoders=(encoder,), precision="float16", views=("1.0:224",))
    assert str(caught.value) == (
        '`precision="float16"` goes with inceptionv3, mobilenetv2, resnet50, vgg16, and not with '
        f'{encoder}; use `precision="float32"`'
    )


def test_a_grid_of_crops_is_refused():
    with pytest.raises(InputError, match="goes with it only in"):
        dataclasses.replace(SETTINGS, precision="float16", crops="grid")


@pytest.mark.parametrize("scale", [0.0, 2.0**41, "1", float("nan"), None])
def test_a_factor_out_of_range_is_refused(scale):
    from bchisto.featurize import scale_of

    with pytest.raises((InputError, KeyError)):
        scale_of({"precision": "float16", **({"float16_scale": scale} if scale != None else {})})  # noqa: E711


@pytest.mark.slow
def test_predictions_take_the_recorded_precision_and_factor(
    featurized, completed, tissue, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    assert featurized(run, "--precision", "float16")[0] == 0
    train = typed("--folds 3 --seeds 1 --param min_data_in_leaf=2 --jobs 1")
    completed("boost --out {}", run, *train)
    scales = []
    in_float16 = Encoder.in_float16

    def seen(encoder, scale):
        scales.append(scale)
        return in_float16(encoder, scale)

    monkeypatch.setattr(Encoder, "in_float16", seen)

    def predicted(gpu):
        words = typed(
            "predict {} --images {} --out {} --jobs 1",
            model_file(run),
            tissue,
            tmp_path / f"{gpu}.csv",
        )
        with seen_gpus(gpu) as counts:
            _, err = completed(*words)
        return counts["started"], err

    started, err = predicted(True)
    assert (started > 0, "which are computed in float32 here" in err) == (True, False), err
    assert set(scales) == {header(run)["float16_scale"]}
    load_model.cache_clear()  # as another process
    started, err = predicted(False)
    assert started == 0
    text = "was trained on features in float16, which are computed in float32 here: probabilities differ a little"
    assert text in err


def test_the_recorded_factor_is_taken_for_the_same_weights(tmp_path):
    settings = {"weights_sha256": "a", "float16_scale": 2.0}
    (tmp_path / "settings.json").write_text(json.dumps({"settings": settings}))
    for weights, factor in (("a", 2.0), ("b", None)):
        encoder = SimpleNamespace(weights_sha256=weights)
        assert _recorded_scale(tmp_path / "none.h5", tmp_path, encoder) == factor
