"""The networks by name, with the optimiser and rate of their source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...errors import InputError
from ...jobs import prepare_backend
from . import alexnet, breakhis_residual, ddsm_baseline, googlenet, patch_densenet, patch_resnet

__all__ = ["NETWORKS", "Network", "build_network"]


@dataclass(frozen=True)
class Network:
    """A network and how its source trains it.

    Attributes
    ----------
    build : callable
        ``build(classes=..., size=..., dropout=..., l2=...)`` returns a Keras model.
    size : int
        Side of its input, pixels.
    optimizer : {"adam", "sgd"}
    rate : float
        Learning rate.
    batch_size : int
    source : str
        Where these stand; ``ours`` where the source is silent.
    """

    build: Callable[..., Any]
    size: int
    optimizer: str = "adam"
    rate: float = 1e-3
    batch_size: int = 32
    source: str = "ours"


NETWORKS: dict[str, Network] = {
    "ddsm-baseline": Network(ddsm_baseline.build, 224, batch_size=64, source="seed ddsm-masses, sec. 4.1"),
    "alexnet": Network(alexnet.build, 227, source="Krizhevsky et al. 2012; Adam 1e-3 of seed ddsm-masses, sec. 4.2"),
    "googlenet": Network(
        googlenet.build, 224, optimizer="sgd", rate=1e-2, source="Szegedy et al. 2015; seed ddsm-masses, sec. 4.2"
    ),
    "patch-resnet": Network(patch_resnet.build, 50),
    "patch-densenet": Network(patch_densenet.build, 50),
    **{
        "breakhis-residual" if variant == "plain" else f"breakhis-residual-{variant}": Network(
            partial(breakhis_residual.build, variant=variant), 128, source="seed breakhis-resnet; rates ours"
        )
        for variant in breakhis_residual.VARIANTS
    },
}
"""What ``--network`` takes."""


def build_network(name: str, *, classes: int, **options: Any) -> Any:
    """Build a network.

    Parameters
    ----------
    name : str
        Of `NETWORKS`.
    classes : int
    options
        ``size``, ``dropout``, ``l2``; by default those of the network. AlexNet and GoogLeNet also
        ``convention``: ``signed`` input in -1..1, or ``caffe``.

    Returns
    -------
    keras.Model
        From float RGB in 0..255, shape (n, size, size, 3), to probabilities (n, classes).

    Raises
    ------
    InputError
        No such network.
    """
    if name not in NETWORKS:
        raise InputError(f"--network {name}: no such network; choose one of {', '.join(NETWORKS)}")
    prepare_backend()  # one thread a process, before anything runs
    return NETWORKS[name].build(classes=classes, **options)
