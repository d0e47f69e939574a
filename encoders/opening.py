"""Open any encoder, and read from its files on which images it was trained.

For a user's network, a feature file records only the checksum. Its location comes from the user, or from the record of
the run that wrote the feature file.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from ..core import (
    DAMAGE,
    BchistoError,
    BundleError,
    InputError,
    WeightsError,
    extension_names,
    load_extension,
)
from ..core.formats import content_sha256
from .card import EncoderCard
from .catalogue import CATALOGUE
from .encoder import Encoder
from .fetch import encoders_folder, refuse_altered
from .hub import open_hub
from .kept import KeptNetwork, kept_key
from .loading import joint_sha256, read_folder, read_json_object, side_of, stated_mpp
from .onnx_encoder import open_onnx, read_onnx, read_sidecar
from .registry import VECTOR_GROUP, EncoderChoice
from .timm_encoder import open_timm
from .torch_network import openvino_run
from .vectors import EncoderRequest, VectorEncoder, VectorSpec, from_facts, open_vectors

CropEncoder: TypeAlias = Encoder | VectorEncoder
"""Every encoder, as feature extraction, `predict` and `explain` use it."""

_ENGINES = {
    "keras": ("keras", "openvino"),
    "onnx": ("onnxruntime", "openvino"),
    "hub": ("torch", "openvino"),
    "timm": ("torch", "openvino"),
    "package": ("keras",),
}
"""Engines that run each kind of encoder. ``keras``, the default of feature extraction, means the first."""


def stated_card(choice: EncoderChoice, weights: str) -> EncoderCard | None:
    """Return the card of an encoder without feature maps, without building it; None if nothing is known.

    For a folder the card contains only the size and the micrometres per pixel. If files cannot be read the result is
    None, and `open_encoder` reports the reason.

    Parameters
    ----------
    choice : EncoderChoice
    weights : str
        Weights as `weights_of` returns them.
    """
    if choice.name in CATALOGUE:
        return CATALOGUE[choice.name].card
    if not choice.runner:
        spec = load_extension(VECTOR_GROUP, choice.name, VectorSpec, what="encoder")
        return None if spec is None else spec.card
    try:
        if choice.runner == "onnx":
            return read_sidecar(Path(choice.source))[0]
        folder = Path(choice.source if choice.runner == "hub" else weights)
        config = read_json_object(folder / "config.json")
        return EncoderCard(size=_stated_size(folder, config), mpp=stated_mpp(config, folder))
    except DAMAGE:
        return None


def _stated_size(folder: Path, config: Mapping[str, Any]) -> int | None:
    """Return the side in pixels of the images of a folder's network, from a config of timm or from its processor."""
    size = (config.get("pretrained_cfg") or config).get("input_size", [None])[-1]
    if size is None and (path := folder / "preprocessor_config.json").is_file():
        processor = read_json_object(path)
        size = side_of(processor.get("crop_size" if processor.get("do_center_crop") else "size"))
    return size if isinstance(size, int) else None


def gives_maps(choice: EncoderChoice) -> bool:
    """Return whether an encoder has feature maps, which dense mode needs, without building it."""
    return not choice.runner and choice.name not in (*CATALOGUE, *extension_names(VECTOR_GROUP))


def open_encoder(
    choice: EncoderChoice,
    *,
    weights: str = "imagenet",
    precision: str = "float32",
    engine: str = "keras",
    seed: int = 0,
) -> CropEncoder:
    """Build an encoder.

    Parameters
    ----------
    choice : EncoderChoice
    weights : str
        As in `Encoder`. For an encoder of the catalogue, the folder or file of its weights. Ignored for ``hub:`` and
        ``onnx:``, which contain their weights.
    precision : {"float32", "bfloat16"}
    engine : str
        One of `ENGINES`.
    seed : int
        Seed of random weights.

    Returns
    -------
    CropEncoder

    Raises
    ------
    InputError
        There is no such encoder, layer or output, or the engine cannot run the network.
    WeightsError
        The weights are not available, or belong to another network.
    DependencyError
        A package is missing; the message names it.
    """
    named, offered = CATALOGUE.get(choice.name), None
    if not choice.runner and named is None:
        offered = load_extension(VECTOR_GROUP, choice.name, VectorSpec, what="encoder")
    kind = choice.runner or ("hub" if named else "package" if offered else "keras")
    engines = _ENGINES[kind]
    if engine not in ("keras", *engines):
        raise InputError(
            "{engine} {}: does not run {}; leave it out, or use {}",
            engine,
            choice.name,
            engines[-1],
        )
    engine = engines[0] if engine == "keras" else engine
    if precision != "float32" and (engine == "onnxruntime" or offered is not None):
        raise InputError(
            "{precision} {}: {} is computed as it is; leave it out", precision, choice.name
        )
    if kind == "keras":
        name, layers = choice.name, choice.layers
        return Encoder(
            name, layers=layers, weights=weights, precision=precision, engine=engine, seed=seed
        )
    request = EncoderRequest(choice, weights, precision, engine)
    if offered is not None:
        return open_vectors(offered, request)
    if kind in ("hub", "timm"):
        path = Path(choice.source if choice.runner == "hub" else weights)
        # of weights that were fetched and are not found, a file is missing
        refuse_altered(encoders_folder() / choice.name if weights == "imagenet" and named else path)
        if engine == "openvino":
            request = replace(request, kept=KeptNetwork(_kept_key(choice, path)))
            if (facts := request.kept.facts()) is not None:
                return from_facts(facts, openvino_run(request, facts, _is_gone), engine=engine)
    return (
        {"onnx": open_onnx, "timm": open_timm}[kind](request)
        if kind != "hub"
        else open_hub(request, named=named)
    )


def _kept_key(choice: EncoderChoice, path: Path) -> str:
    """Return the key under which a network of PyTorch is kept; empty if its files cannot be read."""
    content = _content_of(path)
    network = "hub" if choice.runner == "hub" else choice.name
    decisive = {
        "name": choice.label,
        "network": network,
        "layers": choice.layers,
        "content": content,
    }
    return kept_key(("torch", "timm", "transformers"), **decisive) if content else ""


def _is_gone() -> Any:
    raise WeightsError("a kept network was removed meanwhile; run the command again")


def cached_encoder(choice: EncoderChoice, *, weights: str, **how: Any) -> CropEncoder:
    """Return an encoder; a process builds it only once for the same content of its weights. See `open_encoder`."""
    own = choice.runner in ("hub", "onnx")
    of_file = own or weights not in ("imagenet", "random")
    content = _content_of(Path(choice.source if own else weights)) if of_file else ""
    return _built(content, choice, weights=weights, **how)


@functools.lru_cache(maxsize=16)
def _built(content: str, choice: EncoderChoice, **how: Any) -> CropEncoder:
    return open_encoder(choice, **how)


def source_sha256(path: Path) -> str:
    """Return the checksum of a weights file, a folder or an ONNX file, as recorded in feature files.

    Raises
    ------
    BchistoError
        The weights cannot be read.
    """
    if path.is_dir():
        return joint_sha256(read_folder(path, config=False).files)
    return joint_sha256(read_onnx(path).files if path.suffix == ".onnx" else [path])


def _content_of(path: Path) -> str:
    """Return a checksum of a folder or file, of the JSON files next to it, and of the model card, with the licence.

    It is empty if they cannot be read.
    """
    try:
        hashes = [source_sha256(path)]
        folder = path if path.is_dir() else path.parent
        texts = [
            file
            for file in (*sorted(folder.glob("*.json")), folder / "README.md")
            if file.is_file()
        ]
        beside = [file for file in texts if path.is_dir() or file.stem in (path.stem, "config")]
        hashes += [file.name + content_sha256(file) for file in beside]
    except (BchistoError, OSError):
        return ""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def header_choice(header: Mapping[str, Any], source: str) -> EncoderChoice:
    """Return the encoder that a feature file names.

    Parameters
    ----------
    header : mapping
        Header of the feature file.
    source : str
        Folder or file where a ``hub:`` or ``onnx:`` network is now.

    Raises
    ------
    BundleError
        The header names a location. Locations must come from the user.
    """
    runner, name = header.get("runner", "keras"), str(header["encoder"])
    if runner == "timm":
        name = f"timm:{str(header.get('network', '')).removeprefix('timm:')}"
    if name == "timm:" or (":" in name) != (runner == "timm"):
        raise BundleError(
            f"{name[:60]}: is not the name of an encoder that a model file could name; it was altered"
        )
    own = runner in ("hub", "onnx") and name not in CATALOGUE
    return EncoderChoice(f"{runner}:{source}" if own else name, tuple(header["layers"]))


def recorded_source(text: str, folder: Path) -> tuple[str, Path] | None:
    """Return the label and path of an encoder from the options of a run; None if it is not a folder or file.

    Parameters
    ----------
    text : str
        As in ``--encoder``.
    folder : Path
        Working folder of the run, for relative paths.
    """
    try:
        choice = EncoderChoice.parse(text)
    except BchistoError:
        return None
    return (choice.label, folder / choice.source) if choice.runner in ("hub", "onnx") else None
