"""A network ready to train: built, seeded or pretrained, frozen, and compiled with per-layer learning rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ..featurize import Encoder, canonical_names, get_spec, list_encoders
from .networks import NETWORKS, Network, build_network
from .settings import FinetuneSettings

__all__ = ["build_model", "network_of", "resolved"]

_ENCODER_SIZE = 224
"""Side of the input of an encoder with a head, pixels (ours: that of ImageNet)."""


def network_of(name: str) -> Network:
    """Return how a network is trained by default.

    Raises
    ------
    InputError
        Neither a network of ours nor an encoder.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    if name in list_encoders():
        return Network(build_network, _ENCODER_SIZE, rate=1e-4)
    raise InputError(
        f"--network {name}: no such network; choose one of {', '.join(NETWORKS)}, or an encoder of "
        "bchisto featurize --list-encoders"
    )


def resolved(settings: FinetuneSettings) -> dict[str, Any]:
    """Return size, batch size, optimiser and rate, from the network where they are not set."""
    network = network_of(settings.network)
    return {
        "size": settings.size or network.size,
        "batch_size": settings.batch_size or network.batch_size,
        "optimizer": settings.optimizer or network.optimizer,
        "rate": settings.rate or network.rate,
    }


def build_model(settings: FinetuneSettings, *, classes: int, fold: int) -> Any:
    """Build and compile a model; the same settings and fold give the same weights.

    Raises
    ------
    InputError
        No such network, layer, or prefix.
    WeightsError
        Weights of an encoder that cannot be had.
    """
    chosen = resolved(settings)
    options = {name: value for name in ("dropout", "l2") if (value := getattr(settings, name)) is not None}
    if settings.network in NETWORKS:
        if settings.freeze:
            raise InputError(f"--freeze {settings.freeze}: {settings.network} starts untrained, so nothing is frozen")
        model = build_network(settings.network, classes=classes, size=chosen["size"], **options)
        _seed(model, [settings.seed, fold])
    else:
        model = _encoder_with_head(settings, classes=classes, fold=fold, size=chosen["size"])
    model.compile(
        optimizer=_optimizer(model, chosen["optimizer"], chosen["rate"], settings.multipliers),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        # one step after the other on every backend alike
        jit_compile=False,
    )
    return model


def _seed(model: Any, entropy: Sequence[int]) -> None:
    """Draw kernels by NumPy: Glorot-uniform (Glorot & Bengio 2010), the same in every process."""
    for number, variable in enumerate(model.trainable_variables):
        if variable.name != "kernel":
            continue
        shape = tuple(variable.shape)
        field = int(np.prod(shape[:-2]))
        limit = np.sqrt(6.0 / (field * (shape[-2] + shape[-1])))
        rng = np.random.default_rng(np.random.SeedSequence([*entropy, number]))
        variable.assign(rng.uniform(-limit, limit, shape).astype(np.float32))


def _encoder_with_head(settings: FinetuneSettings, *, classes: int, fold: int, size: int) -> Any:
    import keras
    from keras import layers

    from .networks.layers import finish

    encoder = Encoder(settings.network, weights=settings.weights, seed=settings.seed)
    base = encoder.model
    base.trainable = True
    names = canonical_names(base)
    if settings.freeze:
        if settings.freeze != "all" and settings.freeze not in names:
            raise InputError(f"--freeze {settings.freeze}: {settings.network} has no such layer")
        for layer in base.layers:
            layer.trainable = False
            if settings.freeze != "all" and layer.name == names[settings.freeze]:
                break
    images = keras.Input((size, size, 3), name="image")
    x = base(get_spec(settings.network).preprocess(images))
    x = layers.GlobalAveragePooling2D(name="average")(x[-1] if isinstance(x, (list, tuple)) else x)
    if settings.dropout:
        x = layers.Dropout(settings.dropout, seed=1, name="dropout")(x)
    model = finish(x, images, classes=classes, name=settings.network)
    _seed(keras.Model(x, model.output), [settings.seed, fold])
    return model


def _optimizer(model: Any, name: str, rate: float, multipliers: Sequence[tuple[str, float]]) -> Any:
    """Return an optimiser that scales the rate of each variable by the longest prefix of its layer's path."""
    import keras

    # TensorFlow hands its own variable to the optimiser, the other backends Keras's
    factors: dict[int, float] = {}
    used: set[str] = set()
    for variable in model.trainable_variables:
        parts = variable.path.split("/")
        fitting = [pair for pair in multipliers if any(part.startswith(pair[0]) for part in parts)]
        used |= {prefix for prefix, _ in fitting}
        if fitting:
            factor = max(fitting, key=lambda pair: len(pair[0]))[1]
            factors |= {id(variable): factor, id(variable.value): factor}
    for prefix, _ in multipliers:
        if prefix not in used:
            raise InputError(f"--rate-multiplier {prefix}: no trained layer begins so")
    kind: Any = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[name]

    class Scaled(kind):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(gradient, variable, learning_rate * factors.get(id(variable), 1.0))

    return Scaled(learning_rate=rate)
