"""Any encoder by name: one with feature maps, one of the catalogue, or one that you bring."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

from ..errors import BchistoError, InputError
from ..extensions import extension_names
from .card import CropEncoder
from .catalogue import CATALOGUE
from .choice import EncoderChoice
from .encoder import Encoder
from .hub import open_hub, open_named
from .locating import content_of
from .onnx_encoder import open_onnx
from .timm_encoder import open_timm
from .vectors import VECTOR_GROUP, open_vectors, vector_spec
from .weights import content_key


def gives_maps(choice: EncoderChoice) -> bool:
    """Whether an encoder has feature maps, which dense mode needs; no network is built to know."""
    return not choice.runner and choice.name not in (*CATALOGUE, *extension_names(VECTOR_GROUP))


def open_encoder(
    choice: EncoderChoice,
    *,
    weights: str = "imagenet",
    precision: str = "float32",
    engine: str = "keras",
    seed: int = 0,
) -> CropEncoder:
    """Build an encoder of any kind.

    Parameters
    ----------
    choice : EncoderChoice
    weights : str
        As in `Encoder`. A named encoder takes the folder or file of its weights; ``hub:`` and ``onnx:`` bring theirs,
        and this is not looked at.
    precision : {"float32", "bfloat16"}
    engine : str
        Of `ENGINES`.
    seed : int
        Of random weights.

    Returns
    -------
    CropEncoder

    Raises
    ------
    InputError
        No such encoder, layer or output; a network that this engine does not run.
    WeightsError
        Weights that cannot be had, or belong to another network.
    DependencyError
        A package is missing; the line names it.
    """
    with _in_one_line():
        return _opened(choice, weights, precision, engine, seed)


@contextlib.contextmanager
def _in_one_line() -> Iterator[None]:
    """Let messages stay lines, whatever names the file of a stranger holds."""
    try:
        yield
    except BchistoError as error:
        if not str(error).isprintable():
            error.args = ("".join(one if one.isprintable() else "?" for one in str(error)), *error.args[1:])
        raise


def _opened(choice: EncoderChoice, weights: str, precision: str, engine: str, seed: int) -> CropEncoder:
    name, outputs = choice.label, choice.layers
    if choice.runner == "hub":
        return open_hub(Path(choice.source), name=name, outputs=outputs, precision=precision, engine=engine)
    if choice.runner == "onnx":
        return open_onnx(Path(choice.source), name=name, outputs=outputs, precision=precision, engine=engine)
    if choice.runner == "timm":
        return open_timm(
            choice.source, weights=weights, name=name, outputs=outputs, precision=precision, engine=engine, seed=seed
        )
    if choice.name in CATALOGUE:
        return open_named(CATALOGUE[choice.name], weights, outputs=outputs, precision=precision, engine=engine)
    if (offered := vector_spec(choice.name)) is not None:
        return open_vectors(offered, outputs=outputs, weights=weights, precision=precision, engine=engine)
    if engine not in ("keras", "openvino"):
        raise InputError(f"`engine` {engine}: does not run {choice.name}; leave it out, or use openvino")
    return Encoder(choice.name, layers=outputs, weights=weights, precision=precision, engine=engine, seed=seed)


def cached_encoder(choice: EncoderChoice, *, weights: str, precision: str, engine: str, seed: int) -> CropEncoder:
    """Return an encoder, built once per process and content of its weights: units of a worker share it."""
    own = choice.runner in ("hub", "onnx")
    if own or not gives_maps(choice):
        content = content_of(Path(choice.source if own else weights))
    else:
        content = content_key(weights)
    return _built(choice, weights, content, precision, engine, seed)


@functools.lru_cache(maxsize=16)
def _built(choice: EncoderChoice, weights: str, content: str, precision: str, engine: str, seed: int) -> CropEncoder:
    return open_encoder(choice, weights=weights, precision=precision, engine=engine, seed=seed)
