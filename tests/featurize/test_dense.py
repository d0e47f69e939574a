"""Dense mode and OpenVINO: windows by hand, engines against each other, and what is never mixed."""

import builtins
from types import SimpleNamespace

import numpy as np
import pytest
from bchisto.boost import train
from bchisto.core import DependencyError, ImageError, InputError
from bchisto.core.jobs import Ticker
from bchisto.data import ImageRecord, decode_image
from bchisto.encoders import Encoder, EncoderChoice, executed_precision
from bchisto.encoders.engines import OpenvinoFunction
from bchisto.featurize import (
    FeaturizeSettings,
    View,
    best_engine,
    describe_images,
    open_store,
)
from bchisto.featurize.crops import draw_augmentation
from bchisto.featurize.pooling import norm_pool
from bchisto.featurize.stream import _encode_frames
from conftest import typed
from numpy.testing import assert_allclose
from packs import featurize_here, train_small

DENSE = FeaturizeSettings(
    encoders=("convs",),
    weights=("random",),
    views=("1.0:64", "1.0:48", "0.5:40"),
    augmentations=2,
    crops=3,
    mode="dense",
    stain="none",
    color_range=(1.0, 1.0),
)


@pytest.fixture(scope="module")
def encoder():
    return Encoder("convs", weights="random")


def maps_of(encoder, frame):
    """The feature map of a frame, by the plain model."""
    from bchisto.encoders.registry import get_spec

    prepared = get_spec(encoder.name).preprocess(frame[np.newaxis].astype(np.float32))
    outputs = encoder.model(prepared)
    return np.asarray(outputs[0] if isinstance(outputs, list) else outputs)[0]


def test_the_whole_frame_as_a_window_is_the_global_average(encoder, he_image):
    height, width = he_image.shape[:2]
    found = encoder.encode_windows(he_image, np.array([[0, 0, height, width]]))
    assert_allclose(found, encoder.encode(he_image[np.newaxis]), rtol=1e-5)


def test_a_window_on_whole_strides_is_the_crop_of_a_network_that_does_not_pad(encoder, he_image):
    """Its cells are those of the crop, by their centres: 16 pixels apart, the first at 7.5 + 0.5 + 4."""
    corners = [(0, 0), (16, 32), (96, 128), (128, 112)]
    windows = np.array([(top, left, top + 64, left + 64) for top, left in corners])
    crops = np.stack([he_image[top : top + 64, left : left + 64] for top, left in corners])
    assert_allclose(
        encoder.encode_windows(he_image, windows), encoder.encode(crops), rtol=1e-4, atol=1e-6
    )


def test_windows_between_strides_weigh_cells_by_the_share_inside(encoder, he_image):
    cells = maps_of(encoder, he_image)
    (rows,) = encoder.geometry.axes(size=192, axis=0)
    (crop,) = encoder.geometry.axes(size=64, axis=0)
    for top, left in [(5, 16), (31, 100), (128, 128)]:
        total, weight = 0.0, 0.0
        for r in range(rows.cells):
            for c in range(rows.cells):
                share = 1.0
                for number, start in ((r, top), (c, left)):
                    low = rows.first + (number - 0.5) * rows.stride
                    inside = min(start + crop.edges[1], low + rows.stride) - max(
                        start + crop.edges[0], low
                    )
                    share *= max(0.0, inside)
                total, weight = total + share * cells[r, c], weight + share
        found = encoder.encode_windows(he_image, np.array([[top, left, top + 64, left + 64]]))
        assert_allclose(found[0], total / weight, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("window", [(0, 0, 5, 5), (187, 187, 192, 192), (190, 0, 192, 192)])
def test_windows_too_small_for_a_cell_get_the_next_one(encoder, he_image, window):
    assert np.isfinite(encoder.encode_windows(he_image, np.array([window]))).all()


def test_other_frames_are_refused(encoder):
    with pytest.raises(ImageError, match="expected a uint8 frame"):
        encoder.encode_windows(np.zeros((10, 10), np.uint8), np.array([[0, 0, 5, 5]]))


def test_dense_descriptors_are_those_of_the_turned_frame(encoder, tissue):
    path = sorted(tissue.rglob("*.png"))[0]
    record = ImageRecord(image_id=path.name, path=path, label=None)
    targets = {f"{view.scale}-{view.crop}": (encoder, view) for view in DENSE.views}
    (found,) = describe_images([record], settings=DENSE, targets=targets, ticker=Ticker(None))
    image = decode_image(path)
    seen = set()
    for number in range(2):
        drawn = draw_augmentation(record.image_id, number, seed=0, color_range=(1.0, 1.0))
        frame = drawn.turn_frame(image)
        seen.add(frame.tobytes())
        rng = np.random.default_rng(np.random.SeedSequence(drawn.entropy, spawn_key=(64,)))
        corners = []
        for _ in range(3):
            top, left = int(rng.integers(96 - 64 + 1)), int(rng.integers(96 - 64 + 1))
            rng.integers([4, 2, 2])
            corners.append((top, left, top + 64, left + 64))
        expected = norm_pool(encoder.encode_windows(frame, np.array(corners)), 3.0)
        assert_allclose(found.features["1.0-64"][number], expected, rtol=1e-5)
    assert len(seen) == 2
    assert {name: values.shape for name, values in found.features.items()} == dict.fromkeys(
        targets, (2, 16)
    )


def test_frames_are_turned_in_all_eight_ways():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    ways = {
        draw_augmentation("x", n, seed=0, color_range=(1, 1)).turn_frame(image).tobytes()
        for n in range(100)
    }
    assert len(ways) == 8


@pytest.fixture(scope="module")
def both(tmp_path_factory, tissue):
    run = tmp_path_factory.mktemp("dense") / "run"
    from dataclasses import replace

    featurize_here(tissue, run, DENSE)
    featurize_here(tissue, run, replace(DENSE, mode="exact", views=DENSE.views[:1]))
    return run


def test_modes_are_never_mixed_in_a_model(both):
    with pytest.raises(
        InputError, match=r"\(dense\) and convs-1\.0-64 \(exact\): do not mix features"
    ):
        train(out=both, features=sorted((both / "features").glob("*.h5")), folds=["3"])


def test_a_dense_bundle_predicts_by_frames(both, tissue, tmp_path, completed, monkeypatch):
    stores = [path for path in (both / "features").glob("*.h5") if path.stem != "convs-1.0-64"]
    (result,) = train_small(tmp_path / "run", params={"min_data_in_leaf": 2}, features=stores)
    table = tmp_path / "p.csv"
    # new images are seeded by their pixels; the images of training by their ids
    monkeypatch.setattr(
        "bchisto.featurize.prepare.crop_key", lambda record, image, crop_seed: record.image_id
    )
    completed("predict {} --images {} --out {} --jobs 1", result.model, tissue, table)
    from bchisto.boost import Bundle

    features = {}
    for path in stores:
        with open_store(path) as store:
            features[store.name] = store.features()
            order = store.image_ids
    expected = dict(zip(order, Bundle.load(result.model).predict(features), strict=True))
    lines = table.read_text().splitlines()[1:]
    assert len(lines) == 12
    for line in lines:
        cells = line.split(",")
        assert_allclose([float(cells[4]), float(cells[5])], expected[cells[0]], rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 3e-2)])
def test_openvino_gives_the_same_descriptors(openvino, encoder, he_image, precision, tolerance):
    if executed_precision(precision, engine="openvino") != precision:
        pytest.skip("needs bfloat16: OpenVINO computes in float32 on this CPU")
    other = Encoder("convs", weights="random", engine="openvino", precision=precision)
    assert other.weights_sha256 == encoder.weights_sha256
    assert other.backend == "openvino"
    windows = np.array([[0, 0, 100, 100], [20, 30, 101, 88]])
    for expected, found in [
        (
            encoder.encode(he_image[np.newaxis, :64, :64]),
            other.encode(he_image[np.newaxis, :64, :64]),
        ),
        (
            encoder.encode(he_image[np.newaxis, :48, :64]),
            other.encode(he_image[np.newaxis, :48, :64]),
        ),
        (encoder.encode_windows(he_image, windows), other.encode_windows(he_image, windows)),
    ]:
        assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def test_openvino_that_is_missing_says_so(monkeypatch):
    real = builtins.__import__
    monkeypatch.setattr(
        builtins,
        "__import__",
        lambda name, *a, **k: real("no_such_module" if name == "openvino" else name, *a, **k),
    )
    with pytest.raises(ImportError, match=r"OpenVINO is missing; pip install 'openvino>=\S+'"):
        Encoder("convs", weights="random", engine="openvino")


AUTO = "bchisto.featurize.plan"


@pytest.mark.parametrize(
    ("encoders", "gpus", "backend", "engine"),
    [
        (("vgg16", "mobilenetv2:block_6_expand_relu"), (), "tensorflow", "openvino"),
        (("vgg16",), ("0",), "tensorflow", "keras"),
        (("vgg16",), (), "jax", "keras"),
        (("vgg16", "convs"), (), "tensorflow", "keras"),  # of another package
        (("onnx:a.onnx",), (), "tensorflow", "keras"),
        (("uni",), (), "tensorflow", "keras"),
    ],
)
def test_openvino_is_the_default_for_networks_of_keras_on_a_cpu(
    openvino, encoders, gpus, backend, engine, monkeypatch, caplog
):
    monkeypatch.setattr(f"{AUTO}.visible_gpus", lambda: gpus)
    monkeypatch.setattr(f"{AUTO}.named_backend", lambda: backend)
    assert best_engine([EncoderChoice.parse(name) for name in encoders]) == engine
    assert caplog.text == ""


def test_keras_runs_them_if_openvino_cannot_be_loaded(monkeypatch, caplog):
    def refuse(_):
        raise DependencyError("OpenVINO is missing; pip install it")

    monkeypatch.setattr(f"{AUTO}.openvino_core", refuse)
    assert best_engine([EncoderChoice("vgg16")]) == "keras"
    assert (
        'OpenVINO is missing; pip install it; `engine="keras"` takes up to 3 times the time'
        in caplog.text
    )


def test_a_run_goes_on_with_the_engine_that_it_began_with(
    openvino, tissue, tmp_path, refused, completed
):
    words = typed(
        "featurize --images {} --out {} --encoder mobilenetv2:block_1_expand_relu --weights random "
        "--view 1.0:64 --augmentations 1 --crops 2",
        tissue / "benign",
        tmp_path,
    )
    completed(*words, "--engine", "keras")
    assert "is complete already" in completed(*words)[1]
    assert "engine keras -> openvino" in refused(*words, "--engine", "openvino")
    completed(*words, "--overwrite")
    (path,) = (tmp_path / "features").glob("*.h5")
    with open_store(path) as store:
        assert store.header["engine"] == "openvino"


def test_each_encoder_encodes_the_frames_of_its_own_views():
    view = View(1.0, 64)
    boxes = np.array([[0, 0, 64, 64], [8, 8, 72, 72]])
    item = SimpleNamespace(windows={view: boxes}, frames={view.level: np.zeros((80, 80, 3))})

    def encoder(number):
        return SimpleNamespace(
            encode_windows=lambda frame, windows: np.full((len(windows), number), number)
        )

    found = _encode_frames({"one": (encoder(1), view), "two": (encoder(2), view)}, item)
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "one": [[1]] * 2,
        "two": [[2, 2]] * 2,
    }


def test_memory_that_runs_out_is_no_fault_of_the_network(openvino):
    for error, raised in ((MemoryError(), MemoryError), (RuntimeError("no Foo"), DependencyError)):

        def convert(error=error):
            raise error

        function = OpenvinoFunction(None, {}, convert)
        with pytest.raises(raised):
            function(np.zeros((1, 3), np.float32))
