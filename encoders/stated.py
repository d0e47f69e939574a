"""Read from an encoder's files, without building it, which images it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core import BchistoError
from .card import EncoderCard
from .catalogue import CATALOGUE
from .choice import EncoderChoice
from .folder import read_json_object, stated_mpp
from .onnx_encoder import read_sidecar
from .vectors import vector_spec


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
        spec = vector_spec(choice.name)
        return None if spec is None else spec.card
    try:
        if choice.runner == "onnx":
            return read_sidecar(Path(choice.source))[0]
        folder = Path(choice.source if choice.runner == "hub" else weights)
        config = read_json_object(folder / "config.json")
        return EncoderCard(size=_stated_size(folder, config), mpp=stated_mpp(config, folder))
    except (BchistoError, OSError):
        return None


def _stated_size(folder: Path, config: Mapping[str, Any]) -> int | None:
    """Return the side in pixels of the images of a folder's network, from a config of timm or from its processor."""
    size = (config.get("pretrained_cfg") or config).get("input_size")
    if size is None and (path := folder / "preprocessor_config.json").is_file():
        processor = read_json_object(path)
        size = processor.get("crop_size" if processor.get("do_center_crop") else "size")
        size = list(size.values()) if isinstance(size, dict) else [size]
    side = size[-1] if isinstance(size, list) and size else None
    return side if isinstance(side, int) else None
