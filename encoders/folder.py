"""Read a folder with a pretrained network: its config and its weights, but never code or pickled files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import InputError, MissingInputError, WeightsError, printable
from ..core.formats import content_sha256, limits, number_of, plausible_mpp
from .fetch import unfetched_name

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack")


_LICENCES = re.compile(r"^license(?:_name)?:((?:\s*^[ \t]*-[^\n]*)+|[^\n]*)", re.MULTILINE)
"""Licences in the header of a model card: ``license`` or ``license_name`` with a value or a list."""


SPACING = "spacing_um_px"
"""Key of a config for micrometres per pixel, as in the JSON of WSInfer's models."""


def refuse_pickled(path: Path) -> None:
    """Refuse a weights file that could run code when it is read.

    Raises
    ------
    WeightsError
        It is a pickled file.
    """
    if path.suffix.casefold() in _PICKLED:
        raise WeightsError(
            f"{path}: a pickled checkpoint can run code when it is read, so bchisto reads none; save it as "
            ".safetensors, as docs/encoders.md shows"
        )


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that contains a mapping.

    Raises
    ------
    InputError
        The file is too large, is not JSON, or does not contain a mapping.
    """
    if path.stat().st_size > limits.CONFIG_BYTES:
        raise InputError(f"{path}: too large for a config")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no JSON, or damaged ({str(error)[:80]})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object; is it the configuration of a network?")
    return content


def stated_mpp(config: Mapping[str, Any], where: Path) -> tuple[float, ...]:
    """Return the micrometres per pixel that a config states for its network; empty if it states none.

    Raises
    ------
    InputError
        The value is not a plausible number.
    """
    if (stated := config.get(SPACING)) is None:
        return ()
    if (mpp := plausible_mpp(number_of(stated))) is None:
        raise InputError(
            f"{where}: {SPACING} {str(stated)[:40]}: give {limits.LEAST_MPP:g} to {limits.MOST_MPP:g} micrometres"
        )
    return (mpp,)


@dataclass(frozen=True)
class WeightsFolder:
    """Content of a folder with a network.

    Attributes
    ----------
    path : Path
    config : dict
        Content of ``config.json``; empty for a single weights file.
    processor : dict
        Content of ``preprocessor_config.json``, if there is one.
    files : tuple of Path
        Weights files.
    """

    path: Path
    config: dict[str, Any]
    processor: dict[str, Any]
    files: tuple[Path, ...]

    def sha256(self) -> str:
        """Return the SHA-256 of the weights file; for several files, one over their checksums."""
        hashes = [content_sha256(file) for file in self.files]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()

    def licence(self, *licences: object) -> str:
        """Return the licences in the configs and in the header of the model card (``README.md``), without repeats.

        Parameters
        ----------
        *licences : object
            Values of ``license`` in configs. Values that are not text are ignored.
        """
        texts = [text for text in licences if isinstance(text, str)]
        with contextlib.suppress(OSError), (self.path / "README.md").open(encoding="utf-8", errors="replace") as card:
            before, *header = re.split(r"^---[ \t]*$", card.read(limits.CARD_HEADER), maxsplit=2, flags=re.MULTILINE)
            for value in _LICENCES.findall(header[0] if len(header) == 2 and not before.strip() else ""):
                texts += re.split(r"\n[ \t]*-|,", value)
        plain = (printable(text).strip(" -[]'\"\t")[:100] for text in texts)
        return ", ".join({text.casefold(): text for text in plain if text}.values())


def read_folder(path: Path, *, config: bool = True) -> WeightsFolder:
    """Read a folder, or a single ``.safetensors`` file if no config is needed.

    Parameters
    ----------
    path : Path
    config : bool
        Whether ``config.json`` is required.

    Raises
    ------
    MissingInputError
        There is no such folder.
    InputError
        The folder has no config, or one that requires its own code.
    WeightsError
        The folder has no weights that can be read without running code.
    """
    if path.is_file():
        refuse_pickled(path)
        if config or path.suffix != ".safetensors":
            raise InputError(f"{path}: give the folder with config.json and .safetensors, and not a file of it")
        return WeightsFolder(path, {}, {}, (path,))
    if (name := unfetched_name(path)) is not None:
        raise WeightsError(f"{name}: not fetched yet; run `bchisto encoder fetch {name}`")
    if not path.is_dir():
        raise MissingInputError(f"{path}: no such folder; give one with config.json and .safetensors")
    content = {}
    if (path / "config.json").is_file():
        content = read_json_object(path / "config.json")
    elif config:
        raise InputError(f"{path}: no config.json in this folder; it takes config.json and .safetensors")
    if content.get("auto_map"):
        raise InputError(
            f"{path}: its config asks for code that comes with the model (auto_map), and bchisto never runs it; "
            "export the network to ONNX and use onnx:FILE"
        )
    processor = path / "preprocessor_config.json"
    return WeightsFolder(path, content, read_json_object(processor) if processor.is_file() else {}, _weights(path))


def _weights(path: Path) -> tuple[Path, ...]:
    """Return the weights files, sorted by name."""
    index = path / "model.safetensors.index.json"
    if index.is_file():
        named = read_json_object(index).get("weight_map")
        names = sorted({str(name) for name in named.values()}) if isinstance(named, dict) else []
        for name in names:
            if Path(name).name != name or not name.endswith(".safetensors"):
                raise WeightsError(f"{index}: names {name[:60]}, which is not a .safetensors file of this folder")
            if not (path / name).is_file():
                raise WeightsError(f"{path}: {name} is missing, which its index names; fetch all files of the model")
        if names:
            return tuple(path / name for name in names)
    if (path / "model.safetensors").is_file():
        return (path / "model.safetensors",)
    files = sorted(path.glob("*.safetensors"))
    if len(files) > 1:
        raise WeightsError(
            f"{path}: holds {len(files)} .safetensors files and no index; remove all but model.safetensors"
        )
    if not files:
        for file in sorted(path.iterdir()):
            refuse_pickled(file)
        raise WeightsError(f"{path}: no .safetensors in this folder; fetch the weights of the model too")
    return tuple(files)
