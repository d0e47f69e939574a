"""Build a network for training: random or pretrained weights, frozen layers, and a learning rate per layer."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core import Banner, Content, InputError, Kind, Message, as_banner, one_of
from ..core.jobs import gpus_have_bfloat16, prepare_backend
from ..encoders import (
    build_backbone,
    canonical_names,
    keep_compiled,
    list_encoders,
    precision_policy,
    weights_of,
)
from .networks import build_network, get_network, list_networks, refuse_small
from .networks.layers import add_top
from .networks.spec import NetworkSpec
from .pretrained import CAFFE_LAYERS, input_convention, load_pretrained
from .settings import FinetuneSettings

_ENCODER_SIZE = 224
"""Input side of an encoder with a top, in pixels, as for ImageNet."""

_OF_BUILD = ("dropout", "l2", "norm_momentum")
"""Settings whose defaults are those of a network's function ``build``."""

_SEEDS = 10**9
"""Upper bound of the seed of a layer, as in Keras."""


def network_of(name: str) -> NetworkSpec:
    """Return the specification of a network, or of an encoder with a top and ImageNet weights.

    Raises
    ------
    InputError
        There is no such network or encoder, or the one of another package cannot be loaded.
    """
    if name in list_networks():
        return get_network(name)
    if name in list_encoders():
        # its options are those of its top, which `_encoder_with_top` adds
        return NetworkSpec(name, add_top, _ENCODER_SIZE, learning_rate=1e-4, weights="imagenet")
    raise InputError("{network} {}: {}", name, one_of(name, [*list_networks(), *list_encoders()]))


def resolved(settings: FinetuneSettings) -> Content:
    """Return the settings that have a default, with the default filled in if they are not set.

    These are size, batch size, optimiser, learning rate, weights, dropout, L2, momentum of batch normalisation (None if
    the network has none), convention and precision. The default of precision depends on the device; the others depend
    on the network.

    Raises
    ------
    InputError
        There is no such network, or the network has no batch normalisation whose momentum is set.
    WeightsError
        The weights file cannot be read.
    """
    network = network_of(settings.network)
    parameters = inspect.signature(network.build).parameters
    if settings.norm_momentum is not None and "norm_momentum" not in parameters:
        raise InputError(
            "{norm_momentum}: {} trains no batch normalisation with it; leave it out",
            settings.network,
        )
    names = ("size", "batch_size", "optimizer", "learning_rate", "weights")
    values = {name: getattr(settings, name) or getattr(network, name) for name in names}
    if values["weights"] == "imagenet":
        values["weights"] = weights_of((), settings.network)
    for name in _OF_BUILD:
        values[name] = getattr(settings, name)
        if values[name] is None and name in parameters:
            values[name] = parameters[name].default
    values["convention"] = settings.convention or "signed"
    is_caffe = network.caffe is not None and values["weights"] not in ("imagenet", "random")
    if is_caffe and not settings.convention:
        values["convention"] = input_convention(Path(values["weights"]))
    values["precision"] = settings.precision
    if not settings.precision:
        values["precision"] = "bfloat16" if gpus_have_bfloat16() else "float32"
    return values


def untrained_notice(settings: FinetuneSettings) -> Banner | None:
    """Return a note for every output if the network started untrained although published weights exist; else None."""
    network = network_of(settings.network)
    if resolved(settings)["weights"] != "random":
        return None
    if network.caffe is not None:
        # not a warning: the source may train from scratch, which a recipe knows
        return as_banner(f"{settings.network} began untrained; published weights were not given")
    if network.weights == "imagenet":
        text = f"{settings.network} began untrained."
        return Banner(Kind.RANDOM_WEIGHTS, text, network=settings.network)
    return None


def build_model(settings: FinetuneSettings, *, classes: int, fold: int) -> Any:
    """Build and compile a network. The same settings and fold give the same initial weights.

    Raises
    ------
    InputError
        There is no such network, layer or prefix.
    WeightsError
        Weights cannot be loaded, or belong to another network.
    """
    if prepare_backend() == "jax":  # one thread a process, before anything runs
        keep_compiled()
    import keras

    settings = replace(settings, **resolved(settings))
    build = _own_network if settings.network in list_networks() else _encoder_with_top
    with precision_policy(settings.precision):
        model = build(settings, classes=classes, fold=fold)
    model.compile(
        optimizer=_optimizer(model, settings),
        loss="sparse_categorical_crossentropy",
        # an object, not its name: variables created in the first step would make TensorFlow trace it twice
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        # compiles on JAX, and with XLA on TensorFlow with a GPU; on a CPU TensorFlow's own graph is as fast, and
        # PyTorch would need a compiler that not every machine has
        jit_compile="auto",
    )
    return model


def weights_bytes(settings: FinetuneSettings, *, classes: int) -> int:
    """Return the size in bytes of the float32 weights of a network that is not an encoder, without creating them."""
    prepare_backend()
    import keras
    from keras.src.backend.common import global_state

    # remove the uninitialised variables again, otherwise Keras creates them at the end of the next such scope
    uninitialised = list(global_state.get_global_attribute("uninitialized_variables") or [])
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = build_network(
                settings.network, classes=classes, size=resolved(settings)["size"]
            )
    finally:
        global_state.set_global_attribute("uninitialized_variables", uninitialised)
    return 4 * sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def _own_network(settings: FinetuneSettings, *, classes: int, fold: int) -> Any:
    network = get_network(settings.network)
    if settings.freeze or settings.top != "average":
        raise InputError(
            "{freeze} and {top} belong to encoders; {} is trained as a whole", settings.network
        )
    if settings.weights == "imagenet":
        raise InputError(
            "{weights:imagenet}: Keras has none of {}; give a .npz or .safetensors file, or random",
            settings.network,
        )
    options = {name: getattr(settings, name) for name in _OF_BUILD}
    options = {name: value for name, value in options.items() if value is not None}
    if settings.convention != "signed":
        if network.caffe is None:
            raise InputError(
                "{convention} {}: belongs to {}", settings.convention, ", ".join(CAFFE_LAYERS)
            )
        options["convention"] = settings.convention
    model = build_network(settings.network, classes=classes, size=settings.size, **options)
    _seed(model, [settings.seed, fold])
    if settings.weights != "random":
        load_pretrained(model, Path(settings.weights), network=network, fresh=settings.fresh)
    return model


def _seed(model: Any, entropy: Sequence[int]) -> None:
    """Initialise kernels with NumPy, Glorot-uniform (Glorot & Bengio 2010), the same in every process."""
    for number, variable in enumerate(model.trainable_variables):
        if variable.name != "kernel":
            continue
        shape = tuple(variable.shape)
        limit = np.sqrt(6.0 / (int(np.prod(shape[:-2])) * (shape[-2] + shape[-1])))
        rng = np.random.default_rng([*entropy, number])
        variable.assign(rng.uniform(-limit, limit, shape).astype(np.float32))


def _encoder_with_top(settings: FinetuneSettings, *, classes: int, fold: int) -> Any:
    """Build an encoder of pretrained or random weights, and a random top that makes probabilities of its last map."""
    import keras

    if settings.fresh:
        raise InputError(
            Message(
                "{fresh}: the top of an encoder is always fresh, and the rest comes from its weights"
            )
        )
    backbone = build_backbone(
        settings.network, weights=settings.weights, precision=settings.precision, seed=settings.seed
    )
    base = backbone.model
    base.trainable = True
    # else Keras seeds the random generators of an encoder at random, such as those that drop blocks during training
    states = [variable for variable in base.variables if variable.name == "seed_generator_state"]
    for number, state in enumerate(states):
        rng = np.random.default_rng([settings.seed, fold, number])
        state.assign(np.array([rng.integers(1, _SEEDS), 0]).astype(str(state.dtype)))
    _freeze(base, settings)
    images = keras.Input((settings.size, settings.size, 3), name="image")
    with refuse_small(network_of(settings.network), settings.size):
        features = base(backbone.spec.preprocess(images))
    if isinstance(features, (list, tuple)):
        features = features[-1]
    model = add_top(
        features,
        images,
        classes=classes,
        top=settings.top,
        dropout=settings.dropout or 0.0,
        l2=settings.l2 or 0.0,
        name=settings.network,
    )
    _seed(keras.Model(features, model.output), [settings.seed, fold])
    return model


def _freeze(base: Any, settings: FinetuneSettings) -> None:
    """Freeze the layers of an encoder that are not to be trained.

    Batch normalisation is always frozen, unless weights are random: a few hundred images give no statistics that fit
    the trained weights.
    """
    from keras import layers

    names = {"": "", "all": "", **canonical_names(base)}
    if settings.freeze not in names:
        raise InputError("{freeze} {}: {} has no such layer", settings.freeze, settings.network)
    frozen = settings.freeze != ""
    for layer in base.layers:
        if frozen:
            layer.trainable = False
        if settings.freeze == "all" and isinstance(layer, layers.Dropout):
            layer.rate = 0.0  # keeps features deterministic; Keras drops in frozen layers, too
        if settings.weights != "random" and isinstance(layer, layers.BatchNormalization):
            layer.trainable = False  # `training=False` has no effect in a nested model
        if layer.name == names[settings.freeze]:
            frozen = False


def _optimizer(model: Any, settings: FinetuneSettings) -> Any:
    """Return an optimiser that scales the learning rate of each variable by the longest matching prefix of its path."""
    import keras

    # TensorFlow passes its own variable to the optimiser, other backends pass that of Keras
    factors: dict[int, float] = {}
    for prefix, factor in sorted(
        settings.rate_multipliers, key=lambda pair: len(pair[0]), reverse=True
    ):
        matches = [
            variable
            for variable in model.trainable_variables
            if any(part.startswith(prefix) for part in variable.path.split("/"))
        ]
        if not matches:
            raise InputError("{rate_multipliers} {}: no trained layer begins so", prefix)
        for variable in matches:  # `setdefault` keeps the factor of a longer prefix
            factors.setdefault(id(variable), factor)
            factors.setdefault(id(variable.value), factor)
    kind: Any = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[settings.optimizer]

    class Scaled(kind):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(gradient, variable, learning_rate * factors.get(id(variable), 1.0))

    return Scaled(learning_rate=settings.learning_rate)
