"""CNNs in Keras 3, found by name. Inputs are RGB in 0..255, outputs are probabilities.

The module of a network defines ``SPECS``, a tuple of `NetworkSpec`. Another package adds a network through the
entry-point group ``bchisto.networks``. The entry point has the name of the network, and is a `NetworkSpec` or a
function without arguments that returns one. It replaces a network of bchisto with the same name, as for encoders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any

from ...core import InputError, extension_names, load_extension, one_of
from ...core.jobs import prepare_backend
from .spec import NetworkSpec

ENTRY_POINT_GROUP = "bchisto.networks"


_MODULES = [
    import_module(f"{__name__}.{module.name}")
    for module in iter_modules([str(Path(__file__).parent)])
]

NETWORKS: Mapping[str, NetworkSpec] = MappingProxyType(
    {spec.name: spec for module in _MODULES for spec in getattr(module, "SPECS", ())}
)
"""The networks of bchisto by name."""


def list_networks() -> list[str]:
    """Return the sorted names of all networks, without encoders."""
    return sorted({*NETWORKS, *extension_names(ENTRY_POINT_GROUP)})


def get_network(name: str) -> NetworkSpec:
    """Return the network with this name.

    Raises
    ------
    InputError
        There is no such network (the message lists all), or the network of another package cannot be loaded.
    """
    if name not in list_networks():
        raise InputError("{network} {}: {}", name, one_of(name, list_networks()))
    if name not in NETWORKS:
        prepare_backend()  # another package may import Keras when it is loaded
    return load_extension(ENTRY_POINT_GROUP, name, NetworkSpec, what="network") or NETWORKS[name]


def build_network(name: str, *, classes: int, **options: Any) -> Any:
    """Build a network.

    Parameters
    ----------
    name : str
        One of `list_networks`.
    classes : int
        Number of classes.
    options
        ``size``, ``dropout``, ``l2``, ``norm_momentum``; by default those of the network. AlexNet and GoogLeNet also
        ``convention``: ``signed`` input in -1..1, or ``caffe``.

    Returns
    -------
    keras.Model
        Model from float RGB in 0..255, shape (n, size, size, 3), to probabilities (n, classes).

    Raises
    ------
    InputError
        There is no such network, or `size` is too small for it.
    """
    spec = get_network(name)
    prepare_backend()  # one thread a process, before anything runs
    options.setdefault("size", spec.size)
    with refuse_small(spec, options["size"]):
        return spec.build(classes=classes, **options)


@contextmanager
def refuse_small(spec: NetworkSpec, size: int) -> Iterator[None]:
    """Turn an error of Keras inside the block into one line, if images are smaller than those of the network."""
    try:
        yield
    except ValueError as error:
        if size >= spec.size or isinstance(error, InputError):
            raise
        raise InputError(
            "{size} {}: too small for {}, whose own size is {}; give a larger one",
            size,
            spec.name,
            spec.size,
        ) from error
