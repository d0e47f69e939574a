import gc
import http.server
import importlib.util
import os
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from bchisto.core import ImageError, WeightsError
from bchisto.encoders import (
    EMBEDDED,
    Encoder,
    get_spec,
    kept_folder,
    kept_in,
    list_encoders,
    weights_of,
)
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from refusals import refusing


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def mobilenet(shared):
    return Encoder(
        "mobilenetv2", weights=str(shared / "data" / "weights" / "mobilenetv2_imagenet.weights.h5")
    )


def test_weights_of_the_package_give_nearly_the_same_features(mobilenet, shared):
    """Of images of BreakHis and IDC."""
    embedded = Encoder("mobilenetv2", weights="embedded")
    for path in sorted((shared / "data").glob("[bi]*/**/*.png"))[::40]:
        image = np.asarray(Image.open(path).convert("RGB"))[None]
        expected = mobilenet.encode(image)
        error = np.linalg.norm(embedded.encode(image) - expected)
        assert error <= 5e-3 * np.linalg.norm(expected)


def test_weights_of_keras_win_over_those_of_the_package(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert weights_of((), "mobilenetv2") == "embedded"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / PUBLISHED).touch()
    assert weights_of((), "mobilenetv2") == "imagenet"
    monkeypatch.setitem(EMBEDDED, "mobilenetv2", "0")
    with refusing("mobilenetv2.npz: altered or damaged; install", WeightsError):
        Encoder("mobilenetv2", weights="embedded")


def applications(encoder, name, module):
    """The same network by keras.applications alone, with the weights of `encoder` copied over."""
    import keras

    reference = getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=(None, None, 3), pooling="avg"
    )
    bare = keras.Model(reference.input, reference.layers[-2].output)
    bare.set_weights(encoder.model.get_weights())
    preprocess = getattr(keras.applications, module).preprocess_input
    return lambda x: reference.predict(preprocess(x.astype(np.float32)), verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "function", "module", "dim"),
    [
        ("resnet50", "ResNet50", "resnet", 2048),
        ("inceptionv3", "InceptionV3", "inception_v3", 2048),
    ],
)
def test_equals_keras_applications_with_average_pooling(crops, name, function, module, dim):
    encoder = Encoder(name, weights="random")
    assert (encoder.dim, encoder.default_layers) == (dim, True)
    found = encoder.encode(crops)
    assert (found.shape, found.dtype) == ((3, dim), np.float32)
    expected = applications(encoder, function, module)(crops)
    assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_vgg16_is_four_blocks_after_relu_before_pooling(crops):
    import keras

    encoder = Encoder("vgg16", weights="random")
    assert encoder.layers == ("block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3")
    assert encoder.dim == 1408
    reference = keras.applications.VGG16(
        include_top=False, weights=None, input_shape=(None, None, 3)
    )
    reference.set_weights(encoder.model.get_weights())
    maps = keras.Model(
        reference.input, [reference.get_layer(name).output for name in encoder.layers]
    )
    outputs = maps.predict(
        keras.applications.vgg16.preprocess_input(crops.astype(np.float32)), verbose=0
    )
    expected = np.concatenate([output.mean(axis=(1, 2)) for output in outputs], axis=1)
    assert_allclose(encoder.encode(crops), expected, rtol=1e-3, atol=1e-4 * expected.max())
    assert encoder.encode(crops).min() >= 0


def test_is_built_no_deeper_than_asked():
    whole, part = (
        Encoder("vgg16", weights="random"),
        Encoder("vgg16", layers=["block2_conv2"], weights="random"),
    )
    assert [layer.name for layer in part.model.layers][-1] == "block2_conv2"
    assert part.model.count_params() < whole.model.count_params() / 10


def test_random_weights_follow_the_seed_alone(crops):
    one, same, other = (Encoder("convs", weights="random", seed=seed) for seed in (0, 0, 1))
    assert one.weights_sha256 == same.weights_sha256 != other.weights_sha256
    assert_array_equal(one.encode(crops), same.encode(crops))


def test_bfloat16_is_close_and_restores_the_policy(crops):
    import keras

    before = keras.config.dtype_policy().name
    exact, rough = (
        Encoder("convs", weights="random"),
        Encoder("convs", weights="random", precision="bfloat16"),
    )
    assert keras.config.dtype_policy().name == before
    assert exact.weights_sha256 == rough.weights_sha256
    a, b = exact.encode(crops), rough.encode(crops)
    assert b.dtype == np.float32
    assert 0 < np.abs(a - b).max() < 0.05 * np.abs(a).max()


def test_batches_give_what_single_crops_give(crops):
    encoder = Encoder("convs", weights="random")
    whole = encoder.encode(crops)
    single = np.concatenate([encoder.encode(crops[k : k + 1]) for k in range(3)])
    assert_allclose(whole, single, rtol=1e-5, atol=1e-6)


def test_threads_each_get_the_features_of_their_crops():
    """A service answers in threads, with one encoder for all."""
    encoder = Encoder("convs", weights="random", engine="openvino")
    crops = np.random.default_rng(0).integers(0, 256, (24, 1, 224, 224, 3), dtype=np.uint8)
    expected = [encoder.encode(each) for each in crops]
    with ThreadPoolExecutor(4) as threads:
        obtained = list(threads.map(encoder.encode, crops))
    assert_array_equal(obtained, expected)


@pytest.mark.parametrize("bad", [np.zeros((1, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8)])
def test_other_arrays_are_refused(bad):
    with refusing("expected uint8 crops", ImageError):
        Encoder("convs", weights="random").encode(bad)


def test_names():
    names = list_encoders()
    assert {"resnet50", "inceptionv3", "vgg16", "mobilenetv2", "efficientnetb0", "convs"} <= set(
        names
    )
    assert not [name for name in names if "nasnet" in name]  # Keras builds it for one size
    with refusing(
        r"`encoders` resnet51: no such encoder; did you mean resnet50\? `bchisto encoder`"
    ):
        get_spec("resnet51")
    for layer, hint in [
        ("block3_conv33", r"did you mean block3_conv3\? Choose one of input_layer, block5_pool, "),
        ("x", "choose one of input_layer, block5_pool, block5_conv3, .* more"),
    ]:
        with refusing(f"no layer {layer}; {hint}"):
            Encoder("vgg16", layers=[layer], weights="random")


def test_weights_of_the_wrong_network(shared):
    path = shared / "data" / "weights" / "mobilenetv2_imagenet.weights.h5"
    with refusing(
        r"mobilenetv2_imagenet.*: these are not the weights of convs .*; give its own file",
        WeightsError,
    ):
        Encoder("convs", weights=str(path))


def test_files_that_hold_no_weights(tmp_path):
    with refusing(r"none\.h5: no such weights file", WeightsError):
        Encoder("convs", weights=str(tmp_path / "none.h5"))
    (tmp_path / "page.weights.h5").write_text("<html>")
    with refusing("not a whole HDF5 file, .*, so no Keras weights could be read", WeightsError):
        Encoder("convs", weights=str(tmp_path / "page.weights.h5"))
    (tmp_path / "a.pkl").write_bytes(b"x")
    with refusing(r"a\.pkl: not Keras weights", WeightsError):
        Encoder("convs", weights=str(tmp_path / "a.pkl"))


def legacy(path, model):
    """Write a model's weights in the layout of Keras's published .h5 files."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


@pytest.mark.slow
def test_both_file_formats_whole_part_and_with_classifier(tmp_path, crops):
    import keras
    from bchisto.encoders.weights import randomize

    # of VGG-16 each would take 1 GB
    whole = keras.applications.MobileNet(include_top=True, weights=None)
    randomize(whole, seed=7)
    headless = keras.applications.MobileNet(
        include_top=False, weights=None, input_shape=(None, None, 3)
    )
    headless.set_weights(whole.get_weights()[: len(headless.weights)])
    part = keras.Model(headless.input, headless.get_layer("conv_pw_5_relu").output)
    headless.save_weights(tmp_path / "headless.weights.h5")
    part.save_weights(tmp_path / "part.weights.h5")
    legacy(tmp_path / "headless.h5", headless)
    legacy(tmp_path / "part.h5", part)
    legacy(tmp_path / "whole.h5", whole)
    names = ("headless.weights.h5", "part.weights.h5", "headless.h5", "part.h5", "whole.h5")
    encoders = [
        Encoder("mobilenet", layers=["conv_pw_5_relu"], weights=str(tmp_path / name))
        for name in names
    ]
    assert len({encoder.weights_sha256 for encoder in encoders}) == 1
    assert len({encoder.weights_file_sha256 for encoder in encoders}) == len(names)
    assert_array_equal(encoders[0].encode(crops), encoders[-1].encode(crops))
    # too short for the deepest block
    with refusing("these are not the weights of mobilenet", WeightsError):
        Encoder("mobilenet", weights=str(tmp_path / "part.h5"))


@pytest.fixture
def keras_server(tmp_path, monkeypatch):
    """A server on this machine in the place of Keras's, and an empty cache."""
    import keras.src.applications.mobilenet_v2 as module

    files = tmp_path / "server"
    files.mkdir()
    handler = type(
        "Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None}
    )
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *a, **k: handler(*a, directory=str(files), **k)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(module, "BASE_WEIGHT_PATH", f"http://127.0.0.1:{server.server_port}/")
    # Keras reads KERAS_HOME once, on import, and this process has imported it already.
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path / "cache"))
    yield files, tmp_path / "cache" / "models"
    server.shutdown()
    server.server_close()
    # Keras leaves the answer of a server that refuses open, of which Python 3.13 warned in the middle of another test
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


PUBLISHED = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


@pytest.mark.slow
def test_imagenet_weights_are_fetched_and_cached_by_keras(
    keras_server, mobilenet, crops, capsys, monkeypatch
):
    files, cache = keras_server
    legacy(files / PUBLISHED, mobilenet.model)
    fetched = Encoder("mobilenetv2")
    assert (fetched.weights, fetched.weights_sha256) == ("imagenet", mobilenet.weights_sha256)
    assert capsys.readouterr().out == ""
    assert (cache / PUBLISHED).is_file()
    (files / PUBLISHED).unlink()
    assert_array_equal(Encoder("mobilenetv2").encode(crops), mobilenet.encode(crops))
    monkeypatch.setenv("BCHISTO_CACHE", str(cache / "kept"))
    other = Encoder("mobilenetv2", weights="random", seed=5)
    for encoder in (mobilenet, other, other, mobilenet):
        legacy(cache / PUBLISHED, encoder.model)  # replaced in its place
        converted = Encoder("mobilenetv2", engine="openvino")
        converted.prepare(dense=False)
        assert converted.weights_sha256 == encoder.weights_sha256
    assert len(kept_in(kept_folder())) == 2
    (cache / PUBLISHED).unlink()
    (cache / PUBLISHED).mkdir()
    with refusing("not a file, but weights of this name are fetched there", WeightsError):
        Encoder("mobilenetv2")


def test_no_network_names_file_address_place_and_parameter(keras_server):
    _, cache = keras_server
    with pytest.raises(WeightsError) as failed:
        Encoder("mobilenetv2")
    text = str(failed.value)
    assert f"put {PUBLISHED} from http://127.0.0.1" in text
    assert str(cache) in text
    assert 'give `weights="mobilenetv2=PATH"`' in text


def test_without_a_home_folder_the_advice_names_a_place_that_stays(keras_server, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", "/dev/null/keras")
    with refusing(
        "into DIR/models, set KERAS_HOME=DIR since the home folder cannot be written", WeightsError
    ):
        Encoder("mobilenetv2")


def test_a_damaged_cached_file_is_named(keras_server):
    _, cache = keras_server
    cache.mkdir()
    (cache / PUBLISHED).write_bytes(b"broken")
    with refusing("cannot be loaded .*remove the cached file", WeightsError):
        Encoder("mobilenetv2")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_gives_the_same_descriptors(tmp_path, crops, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs the Keras backend {backend}: pip install {backend}")
    np.save(tmp_path / "crops.npy", crops)
    script = (
        "import numpy as np; from bchisto.encoders import Encoder; import sys\n"
        "for name in ('convs', 'mobilenetv2'):\n"
        "    e = Encoder(name, weights='random')\n"
        f"    assert e.backend == '{backend}'\n"
        "    np.savez(sys.argv[2] + name, e.encode(np.load(sys.argv[1])), e.weights_sha256)\n"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "crops.npy"), str(tmp_path / "out-")]
    subprocess.run(arguments, env={**os.environ, "KERAS_BACKEND": backend}, check=True, timeout=240)
    for name in ("convs", "mobilenetv2"):
        found = np.load(tmp_path / f"out-{name}.npz")
        here = Encoder(name, weights="random")
        assert str(found["arr_1"]) == here.weights_sha256
        expected = here.encode(crops)
        assert_allclose(found["arr_0"], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
