"""Maps of networks: against finite differences, plain NumPy and sums, on a planted cause, and what is refused."""

import math

import keras
import numpy as np
import pytest
from bchisto.apps.explain import Graph, activation_and_gradient, pull_back
from bchisto.apps.explain.gradient_maps import (
    gradcam,
    gradient,
    input_gradient,
    occlusion,
    to_numpy,
)
from bchisto.apps.explain.methods import feature_maps
from bchisto.apps.recipes.pictures import RECIPE_METHODS
from bchisto.apps.recipes.taylor import _shared, check_rules, taylor
from bchisto.apps.recipes.unit_pictures import check_switches, deconvnet, excite, masks
from bchisto.core import InputError
from bchisto.finetune import FinetuneSettings, build_network
from bchisto.finetune.model import build_model
from bchisto.finetune.networks.layers import local_response
from keras import layers

pytestmark = pytest.mark.slow

SIZE = 48


def randomise(model, seed=0):
    """Give every variable values by NumPy, moving statistics too."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        shape = tuple(variable.shape)
        if "variance" in variable.path or "gamma" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, shape))
        elif len(shape) > 1:
            variable.assign(rng.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape))
        else:
            variable.assign(rng.normal(0, 0.1, shape))
    return model


def small(biased=True, classes=3):
    """A network with every kind of layer that ours have."""
    images = keras.Input((16, 16, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(images)
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, name="first")(x)
    x = layers.ReLU(name="first_relu")(layers.BatchNormalization(name="first_norm")(x))
    y = layers.Conv2D(6, 3, padding="same", activation="relu", use_bias=biased, name="second")(x)
    x = local_response(layers.Add(name="join")([x, y]), name="response")
    x = layers.MaxPooling2D(2, name="pool")(x)
    a = layers.Conv2D(4, 1, activation="relu", use_bias=biased, name="left")(x)
    b = layers.ZeroPadding2D(((0, 1), (1, 0)), name="pad")(x)
    b = layers.DepthwiseConv2D(2, use_bias=biased, name="right")(b)
    b = layers.ReLU(6.0, name="right_relu")(layers.BatchNormalization(name="right_norm")(b))
    b = layers.SeparableConv2D(
        5, 3, padding="same", use_bias=biased, activation="relu", name="apart"
    )(b)
    b = layers.LayerNormalization(name="layer_norm")(
        layers.Dense(6, use_bias=biased, name="pointwise")(b)
    )
    x = layers.Concatenate(name="both")([a, b])
    x = layers.AveragePooling2D(2, name="mean")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(8, activation="relu", use_bias=biased, name="fc")(x)
    x = layers.Dropout(0.5, name="drop")(x)
    return randomise(
        keras.Model(images, layers.Dense(classes, activation="softmax", name="classes")(x))
    )


@pytest.fixture(scope="module")
def graph():
    return Graph(small())


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).uniform(0, 255, (2, 16, 16, 3)).astype(np.float32)


def scores(graph, images):
    return to_numpy(graph.scores(graph.run(images)))


def softmax(graph, images):
    found = scores(graph, images)
    powers = np.exp(found - found.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_steps_give_what_the_network_gives(graph, images):
    np.testing.assert_allclose(
        softmax(graph, images), graph.model.predict_on_batch(images), rtol=1e-4
    )


def test_one_of_our_networks():
    """Residual blocks with strides and projections; its relevance sums to the score of the class that is likelier."""
    model = randomise(build_network("patch-resnet", classes=2, size=32))
    x = np.random.default_rng(1).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    graph = Graph(model)
    np.testing.assert_allclose(softmax(graph, x), model.predict_on_batch(x), rtol=2e-3, atol=1e-6)
    check_rules(graph)
    likelier = int(scores(graph, x)[0].argmax())
    np.testing.assert_allclose(
        taylor(graph, x, likelier).sum(), scores(graph, x)[0, likelier], rtol=0.02, atol=0.02
    )


@pytest.mark.parametrize("name", ["googlenet", "breakhis-resnet-two-pools"])
def test_relevance_has_a_rule_for_every_layer_of_ours(name):
    check_rules(Graph(build_network(name, classes=2, size=64)))


def test_relevance_has_a_rule_for_every_layer_of_an_encoder():
    settings = FinetuneSettings("convnexttiny", weights="random", size=64)
    check_rules(Graph(build_model(settings, classes=2, fold=0)))


def test_a_separable_convolution_is_two(images):
    """Keras's own result, and a feature map under the name of the layer."""
    source = keras.Input((16, 16, 3))
    options = {"strides": 2, "depth_multiplier": 2, "activation": "relu", "name": "apart"}
    x = layers.SeparableConv2D(4, 3, padding="same", **options)(source)
    model = randomise(
        keras.Model(source, layers.Dense(2, activation="softmax")(layers.Flatten()(x)))
    )
    graph = Graph(model)
    assert [(step.kind, step.part) for step in graph.steps][:3] == [
        ("DepthwiseConv2D", "linear"),
        ("Conv2D", "linear"),
        ("Conv2D", "activation"),
    ]
    inner = keras.Model(source, x)
    values = graph.run(images)[graph.tensor_of("apart", method="gradcam")]
    np.testing.assert_allclose(values, inner.predict_on_batch(images), rtol=1e-4, atol=1e-4)
    positive = np.maximum(scores(graph, images)[:, 0], 0)
    np.testing.assert_allclose(taylor(graph, images, 0).sum(axis=(1, 2)), positive, rtol=1e-3)


def test_a_scaled_sum_shares_by_what_is_added(images):
    """By hand, of Inception-ResNet: x + 0.25 f(x), so that what the branch brings counts by a quarter."""
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    source = keras.Input((16, 16, 3))
    left, right = (
        layers.Conv2D(3, 1, use_bias=False, name=name)(source) for name in ("left", "right")
    )
    x = layers.Flatten()(CustomScaleLayer(0.25)([left, right]))
    model = randomise(keras.Model(source, layers.Dense(2, activation="softmax")(x)))
    graph = Graph(model)
    (step,) = [one for one in graph.steps if one.kind == "CustomScaleLayer"]
    values = graph.run(images)
    ahead = np.ones(values[step.results[0]].shape, np.float32)
    found = _shared(step, values, ahead, None, None)
    a, b = (np.abs(np.asarray(values[number])) for number in step.sources)
    np.testing.assert_allclose(found[0], a / (a + 0.25 * b), rtol=1e-4)
    np.testing.assert_allclose(found[1], 0.25 * b / (a + 0.25 * b), rtol=1e-4)


def test_a_network_within_a_network():
    """An encoder with a top, whose layers are called as in a fresh process."""
    model = build_model(FinetuneSettings("convs", weights="random", size=64), classes=2, fold=0)
    graph = Graph(model)
    assert list(graph.maps) == ["conv2d", "batch_normalization", "middle", "conv2d_1"]
    x = np.random.default_rng(1).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    np.testing.assert_allclose(softmax(graph, x), model.predict_on_batch(x), rtol=1e-4)
    assert graph.tensor_of("", method="gradcam") == graph.maps["conv2d_1"]
    with pytest.raises(
        InputError,
        match=r"`layer` midle: no .* name; did you mean middle\? Choose one of conv2d_1, middle, .*, conv2d$",
    ):
        graph.tensor_of("midle", method="gradcam")


def check_slopes(found, image, rng, score):
    """Check a gradient by finite differences along random directions, with steps small enough for pieces of lines."""
    for _ in range(5):
        way = rng.normal(size=image.shape).astype(np.float32)
        slope = (score(image + 0.02 * way) - score(image - 0.02 * way)) / 0.04
        assert (found * way).sum() == pytest.approx(slope, rel=0.03, abs=2e-3)


def test_gradients_are_finite_differences(graph, images, rng):
    found = input_gradient(graph, images[:1], 1)
    check_slopes(found, images[:1], rng, lambda batch: scores(graph, batch)[0, 1])
    np.testing.assert_allclose(gradient(graph, images[:1], 1), np.abs(found).max(axis=-1))


def test_saliency_is_the_gradient_of_the_raw_score(graph, images, rng):
    """That of the input of the softmax, which the mean over classes is not subtracted from."""
    saliency = RECIPE_METHODS["saliency"].values(graph, images[:1], 1, None)
    found = input_gradient(graph, images[:1], 1, raw=True)
    check_slopes(
        found,
        images[:1],
        rng,
        lambda batch: float(np.asarray(graph.run(batch)[graph.logits])[0, 1]),
    )
    np.testing.assert_allclose(saliency, np.abs(found).max(axis=-1))
    assert not np.allclose(saliency, gradient(graph, images[:1], 1))


def test_pull_back_is_the_transposed_matrix(rng):
    from keras import ops

    matrix = rng.normal(size=(4, 3)).astype(np.float32)
    x, signal = (
        rng.normal(size=(2, 4)).astype(np.float32),
        rng.normal(size=(2, 3)).astype(np.float32),
    )
    found, nothing = pull_back(lambda a, b: ops.matmul(a, matrix), [x, x], signal)
    np.testing.assert_allclose(found, signal @ matrix.T, rtol=1e-5)
    assert not nothing.any()


def test_grad_cam_by_its_formula(graph, images):
    """The gradient behind the last map of a network that ends in average and dense is that of its kernel."""
    source = keras.Input((16, 16, 3))
    x = layers.Conv2D(5, 3, activation="relu", name="only")(source)
    x = layers.GlobalAveragePooling2D()(x)
    model = randomise(keras.Model(source, layers.Dense(2, activation="softmax", name="classes")(x)))
    plain = Graph(model)
    tensor = plain.tensor_of("only", method="gradcam")
    active, found = activation_and_gradient(plain, images, 0, tensor)
    kernel = model.get_layer("classes").kernel.numpy()
    weights = (kernel[:, 0] - kernel.mean(axis=1)) / 14**2
    np.testing.assert_allclose(found, np.broadcast_to(weights, found.shape), rtol=1e-4)
    expected = np.maximum((active * weights).sum(axis=-1), 0)
    np.testing.assert_allclose(gradcam(plain, images, 0, tensor), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("biased", [False, True])
def test_relevance_sums_to_the_score(images, biased):
    plain = Graph(small(biased))
    expected = scores(plain, images)
    for target in range(3):
        found = taylor(plain, images, target)
        assert found.min() >= -1e-6
        wanted = np.maximum(expected[:, target], 0)
        np.testing.assert_allclose(found.sum(axis=(1, 2)), wanted, rtol=1e-3, atol=1e-4)


def test_deconvnet_goes_back_through_the_switches():
    """By hand: of a 1x1 kernel and a maximum of four, all that comes back is at the largest of them."""
    source = keras.Input((2, 2, 3))
    x = layers.MaxPooling2D(2)(
        layers.Conv2D(1, 1, activation="relu", use_bias=False, name="one")(source)
    )
    model = keras.Model(
        source, layers.Dense(2, activation="softmax", name="classes")(layers.Flatten()(x))
    )
    model.get_layer("one").set_weights([np.array([1.0, 2.0, -1.0], np.float32).reshape(1, 1, 3, 1)])
    model.get_layer("classes").set_weights(
        [np.array([[3.0, -3.0]], np.float32), np.zeros(2, np.float32)]
    )
    pixels = np.array([[[[1, 1, 0], [0, 5, 0]], [[2, 1, 1], [0, 0, 0]]]], np.float32)
    graph = Graph(model)
    assert list(graph.maps) == ["one"]
    # the unit at the top right is 10 and its kernel is largest in green
    np.testing.assert_allclose(deconvnet(graph, pixels, 0, graph.maps["one"])[0], [[0, 20], [0, 0]])
    after = next(step.results[0] for step in graph.steps if step.kind == "MaxPooling2D")
    np.testing.assert_allclose(deconvnet(graph, pixels, 0, after)[0], [[0, 20], [0, 0]])


def test_a_deconvnet_without_max_pooling_is_refused(finder):
    """It would draw the same of every image: what comes back then depends on the weights alone."""
    assert check_switches(finder, finder.maps["more"]) is None
    with pytest.raises(
        InputError,
        match="`method` deconvnet: there is no max pooling between this layer and the im",
    ):
        check_switches(finder, finder.maps["bright"])
    x, _ = disc_images(np.random.default_rng(2), 2)
    values = [deconvnet(finder, one[None], 1, finder.maps["bright"])[0] for one in x]
    strongest = [np.unravel_index(one.argmax(), one.shape) for one in values]
    shifted = [
        np.roll(one, (24 - place[0], 24 - place[1]), axis=(0, 1))
        for one, place in zip(values, strongest, strict=True)
    ]
    np.testing.assert_allclose(*(one / one.max() for one in shifted), atol=1e-4)


def disc_images(rng, count, *, size=SIZE, radius=7):
    pixels = rng.normal(90, 12, (count, size, size, 3))
    places = rng.integers(radius, size - radius, (count, 2))
    inside = np.stack(
        [np.hypot(*(np.indices((size, size)) - place[:, None, None])) < radius for place in places]
    )
    pixels[inside] += 110
    return pixels.clip(0, 255).astype(np.float32), inside


@pytest.fixture(scope="module")
def finder():
    """A network with weights by hand: its class `disc` adds up what is brighter than the background."""
    images = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(images)
    x = layers.Conv2D(2, 3, padding="same", activation="relu", name="bright")(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Conv2D(2, 3, padding="same", activation="relu", name="more")(x)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    model = keras.Model(images, layers.Dense(2, activation="softmax", name="classes")(x))
    first = np.full((3, 3, 3, 2), 1 / 27, np.float32) * np.array([1, -1], np.float32)
    model.get_layer("bright").set_weights([first, np.array([-0.1, -0.3], np.float32)])
    second = np.zeros((3, 3, 2, 2), np.float32)
    second[1, 1] = np.eye(2)
    model.get_layer("more").set_weights([second, np.zeros(2, np.float32)])
    model.get_layer("classes").set_weights(
        [np.array([[0, 100.0], [4.0, 0]], np.float32), np.array([1, -1], np.float32)]
    )
    return Graph(model)


def large(values, size=SIZE):
    import cv2

    return np.stack(
        [cv2.resize(one, (size, size), interpolation=cv2.INTER_LINEAR) for one in values]
    )


HEAT = {
    "gradient": gradient,
    "gradcam": lambda graph, x, target: gradcam(
        graph, x, target, graph.tensor_of("", method="gradcam")
    ),
    "occlusion": occlusion,
    "deconvnet": lambda graph, x, target: deconvnet(
        graph, x, target, graph.tensor_of("", method="deconvnet")
    ),
    "taylor": taylor,
}


@pytest.mark.parametrize("method", HEAT)
def test_the_mass_falls_on_a_planted_cause(finder, method):
    """The pointing game on twelve images with a disc of 7 % of the picture, and the share of the mass in it."""
    rng = np.random.default_rng(11)
    x, inside = disc_images(rng, 12)
    assert (finder.model.predict_on_batch(x).argmax(axis=1) == 1).all()
    found = large(HEAT[method](finder, x, 1))
    mass = np.maximum(found, 0)
    hits = sum(
        bool(place[np.unravel_index(one.argmax(), one.shape)])
        for one, place in zip(found, inside, strict=True)
    )
    chance = inside.mean()
    surprise = sum(math.comb(12, k) * chance**k * (1 - chance) ** (12 - k) for k in range(hits, 13))
    assert surprise < 1e-6, f"{hits} of 12 in the disc"
    assert (mass * inside).sum() / mass.sum() > 5 * chance


def test_units(finder):
    x, inside = disc_images(np.random.default_rng(2), 1)
    tensor = finder.tensor_of("bright", method="activations")
    made = feature_maps(finder, x, 1, tensor)
    tiles, active = made.tiles, made.arrays["activations"]
    assert active.shape == (SIZE, SIZE, 2)
    np.testing.assert_array_equal(tiles[0][1], x[0].round())
    top = active.max()
    assert tiles[1][0] == f"black 0, white {top:.3g}"
    first = 1 if active[..., 1].mean() > active[..., 0].mean() else 0
    assert tiles[2][0] == f"channel {first} (mean {active[..., first].mean():.3g})"
    np.testing.assert_allclose(tiles[2][1][..., 0], 255 * active[..., first] / top, atol=0.51)
    before = next(
        step.sources[0]
        for step in finder.steps
        if step.name == "bright" and step.part == "activation"
    )
    made = feature_maps(finder, x, 1, before)
    tiles, active = made.tiles, made.arrays["activations"]
    assert active.min() < 0
    top = np.abs(active).max()
    assert tiles[1][0] == f"black {-top:.3g}, grey 0, white {top:.3g}"
    made = masks(finder, x, 1, tensor)
    shown, kept, units = made.tiles, made.values, made.arrays["units"]
    assert units[0] == 0
    active, mean = np.asarray(finder.run(x)[tensor])[0], x[0].mean(axis=(0, 1))
    masked = np.where(active[..., :1] >= active[..., 0].max() / 2, x[0], mean)
    each = finder.model.predict_on_batch(
        np.stack([x[0], np.broadcast_to(mean, x[0].shape), masked])
    )[:, 1]
    wanted = ("all of it: ", "mean colour: ", "only unit 0: ")
    for (caption, _), name, share in zip(shown[:3], wanted, each, strict=True):
        assert caption.startswith(name)
        assert float(caption.removeprefix(name)) == pytest.approx(float(share), abs=2e-3)
    np.testing.assert_array_equal(shown[2][1], masked.round())  # what the network saw, and no black
    by_hand = np.mean([active[..., unit] >= active[..., unit].max() / 2 for unit in units], axis=0)
    np.testing.assert_allclose(kept, by_hand)
    assert (kept[inside[0]] > 0).mean() > 3 * (kept[~inside[0]] > 0).mean()


def test_what_excites_a_class_raises_its_score(graph):
    found = excite(graph, tensor=graph.logits, units=[0, 2])
    assert found.shape == (2, 16, 16, 3)
    assert found.min() >= 0
    assert found.max() <= 255
    noise = np.random.default_rng(0).normal(128, 8, found.shape).astype(np.float32)
    for place, unit in enumerate((0, 2)):
        assert scores(graph, found)[place, unit] > scores(graph, noise)[:, unit].max() + 0.1


def test_a_layer_without_a_rule_is_named():
    source = keras.Input((8, 8, 3))
    x = layers.GroupNormalization(1, name="odd")(layers.Conv2D(2, 3, name="one")(source))
    model = keras.Model(
        source, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    )
    with pytest.raises(
        InputError, match=r"`method` taylor: has no rule for the layer odd \(GroupNormalization\)"
    ):
        check_rules(Graph(model))
