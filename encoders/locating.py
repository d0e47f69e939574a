"""Networks of your own, found again: what a store names of a folder or file, and where a run says that it lay."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data import content_sha256
from ..errors import BchistoError, BundleError
from .catalogue import CATALOGUE
from .choice import EncoderChoice, parse_encoder
from .folder import read_folder
from .onnx_file import read_onnx


def source_sha256(path: Path) -> str:
    """Return the hash of weights as stores name it: of a file, or over those of a folder or of an ONNX file.

    Raises
    ------
    BchistoError
        They cannot be read.
    """
    if path.is_dir():
        return read_folder(path, config=False).sha256()
    return read_onnx(path).sha256() if path.suffix == ".onnx" else content_sha256(path)


def content_of(path: Path) -> str:
    """Return what tells whether a folder or file, and the JSON beside it, are those of before; empty if unreadable."""
    try:
        found = [source_sha256(path)]
        folder = path if path.is_dir() else path.parent
        beside = [one for one in sorted(folder.glob("*.json")) if path.is_dir() or one.stem in (path.stem, "config")]
        found += [content_sha256(one) for one in beside]
    except (BchistoError, OSError):
        return ""
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def header_choice(header: Mapping[str, Any], source: str) -> EncoderChoice:
    """Return the encoder that a store names, at the folder or file where it is now.

    Raises
    ------
    BundleError
        It names a place: those come from the user alone.
    """
    layers, runner = tuple(header["layers"]), header.get("runner", "keras")
    network = str(header.get("network", "")) if runner == "timm" else str(header["encoder"])
    if (":" in network) != (runner == "timm") or not network.removeprefix("timm:"):
        raise BundleError(f"{network[:60]}: is no name of an encoder that a bundle could hold; it was altered")
    if runner == "timm":
        return EncoderChoice(f"timm:{network.removeprefix('timm:')}", layers)
    if runner in ("hub", "onnx") and header["encoder"] not in CATALOGUE:
        return EncoderChoice(f"{runner}:{source}", layers)
    return EncoderChoice(header["encoder"], layers)


def recorded_source(text: str, folder: Path) -> tuple[str, Path] | None:
    """Return the name and place of an encoder that the options of a run named; None where it brings no file.

    Parameters
    ----------
    text : str
        As in ``--encoder``.
    folder : Path
        Where the command ran.
    """
    try:
        choice = parse_encoder(text)
    except BchistoError:
        return None
    return (choice.label, folder / choice.source) if choice.runner in ("hub", "onnx") else None
