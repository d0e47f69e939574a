"""Read weights and folders of pretrained networks, never code or pickled files."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core import (
    DAMAGE,
    BchistoError,
    Content,
    DependencyError,
    Entries,
    InputError,
    MissingInputError,
    WeightsError,
    how_to_install,
    is_out_of_memory,
    printable,
)
from ..core.formats import Array, content_sha256, limits, number_of, open_zip, plausible_mpp
from ..core.jobs import hushed_start, prepare_torch

WeightArrays = dict[str, Array]
"""Arrays of a weights file, by name."""


def short_reason(error: BaseException) -> str:
    """Return the first line of an error's message, at most 200 characters."""
    return printable((str(error).strip().splitlines() or [type(error).__name__])[0][:200])


def import_library(name: str, source: object, *, extra: str = "torch") -> Any:
    """Import a library of an extra.

    Parameters
    ----------
    name : str
        A module, such as ``timm``.
    source : path or str
        File or name that needs it, for messages.
    extra : str
        See `bchisto.core.how_to_install`. For ``torch``, bchisto sets the number of threads.

    Returns
    -------
    module

    Raises
    ------
    DependencyError
        It is not installed, or cannot be loaded, as PyTorch and torchvision of different releases.
    """
    try:
        if extra == "torch":
            prepare_torch()
        with hushed_start():
            return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        reason = short_reason(error)
        raise DependencyError(
            f"{source}: {name} cannot be loaded ({reason}); {how_to_install(extra)}"
        ) from error


@contextlib.contextmanager
def refused(kind: type[BchistoError], text: str) -> Iterator[None]:
    """Turn any exception of a library into an error of bchisto in one line, except a lack of memory."""
    try:
        yield
    except BchistoError:
        raise
    except Exception as error:
        # libraries raise exceptions of their own, which cannot be named without importing them
        if is_out_of_memory(error):
            raise
        message = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        reason = printable(" ".join(message.split()))[:200]
        raise kind(f"{text} ({reason or type(error).__name__})") from error


def joint_sha256(files: Iterable[Path]) -> str:
    """Return the SHA-256 of a file; of several files, one over their checksums."""
    hashes = [content_sha256(file) for file in files]
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


@contextlib.contextmanager
def unchanged(files: Sequence[Path]) -> Iterator[str]:
    """Give the SHA-256 of weights files (see `joint_sha256`) to a block that reads them; refuse files that changed."""
    sha256 = joint_sha256(files)
    yield sha256
    if joint_sha256(files) != sha256:
        raise WeightsError(f"{files[0]}: changed while it was read; run the command again")


def read_weight_arrays(path: Path, *, values: bool = True) -> WeightArrays:
    """Return the arrays of a ``.npz`` or ``.safetensors`` file by name.

    Parameters
    ----------
    path : Path
    values : bool
        If false, return only the names, each with an empty array; this is fast.

    Raises
    ------
    WeightsError
        The file is missing, damaged, of another format, or unpacks to more than a network can hold.
    """
    if not path.is_file():
        raise WeightsError(
            "{}: no such weights file; give a .npz or .safetensors file, or {weights:random}", path
        )
    try:
        arrays = _read(path, values=values)
    except WeightsError:
        raise
    except DAMAGE as error:
        raise WeightsError(
            f"{path}: not a weights file, or damaged ({short_reason(error)}); copy it again"
        ) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
            content = array.dtype if isinstance(array, np.ndarray) else "bytes"
            raise WeightsError(
                f"{path}: {printable(name[:100])} holds {content}, not numbers that are weights"
            )
    return arrays


def _read(path: Path, *, values: bool) -> WeightArrays:
    """Return the content of a weights file, unchecked."""
    if path.suffix == ".npz":
        most = max(limits.WEIGHTS_SMALL, limits.WEIGHTS_RATIO * path.stat().st_size)
        most = min(limits.WEIGHTS_BYTES, most)
        open_zip(path, members=limits.WEIGHTS_ARRAYS, size=most).close()
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] if values else np.empty(0) for name in file.files}
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        damaged = f"{path}: not a safetensors file, or damaged"
        with refused(WeightsError, damaged), safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) if values else np.empty(0) for name in file.keys()}  # noqa: SIM118
    raise WeightsError(f"{path}: give weights as .npz or .safetensors")


_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack")

_LICENCES = re.compile(r"^license(?:_name)?:((?:\s*^[ \t]*-[^\n]*)+|[^\n]*)", re.MULTILINE)
"""Licences in the header of a model card: ``license`` or ``license_name`` with a value or a list."""


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


def _bounded(digits: str) -> float:
    """Return a whole number; one that is too large for any network as a float, with which none can be built."""
    return int(digits) if len(digits) < 6 else float(digits)


def read_json_object(path: Path) -> Content:
    """Read a JSON file that contains a mapping.

    Raises
    ------
    InputError
        The file is too large, is not JSON, or does not contain a mapping.
    """
    if path.stat().st_size > limits.CONFIG_BYTES:
        raise InputError(f"{path}: too large for a config")
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_int=_bounded)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no JSON, or damaged ({str(error)[:80]})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object; is it the configuration of a network?")
    return content


def side_of(size: Any) -> Any:
    """Return the side of a square that is written as a number, a list or a mapping of equal numbers.

    Raises
    ------
    ValueError
        The numbers are not equal.
    """
    sides = [size]
    if isinstance(size, dict):
        sides = list(size.values())
    elif isinstance(size, list):
        sides = size
    lengths = {side for side in sides if side is not None}
    if len(lengths) > 1:
        raise ValueError("the sides of its images differ")
    return lengths.pop() if lengths else None


def stated_mpp(config: Entries, where: Path) -> tuple[float, ...]:
    """Return the micrometres per pixel that a config states for its network, as WSInfer's do; empty if it states none.

    Raises
    ------
    InputError
        The value is not a plausible number.
    """
    stated = config.get("spacing_um_px")
    if stated is None:
        return ()
    mpp = plausible_mpp(number_of(stated))
    if mpp is None:
        raise InputError(
            f"{where}: spacing_um_px {str(stated)[:40]}: give {limits.LEAST_MPP:g} to {limits.MOST_MPP:g} micrometres"
        )
    return (mpp,)


class WeightsFolder(NamedTuple):
    """Content of a folder with a network.

    Attributes
    ----------
    path : Path
    config : dict
        Content of ``config.json``; empty for a single weights file.
    files : tuple of Path
        Weights files.
    """

    path: Path
    config: Content
    files: tuple[Path, ...]

    def licence(self, *licences: object) -> str:
        """Return the licences in the configs and in the header of the model card (``README.md``), without repeats.

        Parameters
        ----------
        *licences : object
            Values of ``license`` in configs. Values that are not text are ignored.
        """
        texts = [text for text in licences if isinstance(text, str)]
        for value in _LICENCES.findall(self._card_header()):
            texts += re.split(r"\n[ \t]*-|,", value)
        plain = (printable(text).strip(" -[]'\"\t")[:100] for text in texts)
        return ", ".join({text.casefold(): text for text in plain if text}.values())

    def _card_header(self) -> str:
        """Return the header of the model card; empty without one."""
        try:
            with (self.path / "README.md").open(encoding="utf-8", errors="replace") as card:
                text = card.read(limits.CARD_HEADER)
        except OSError:
            return ""
        # it stands between the first two lines of three dashes, with nothing before it
        parts = re.split(r"^---[ \t]*$", text, maxsplit=2, flags=re.MULTILINE)
        if len(parts) < 3 or parts[0].strip():
            return ""
        return parts[1]


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
            raise InputError(
                f"{path}: give the folder with config.json and .safetensors, and not a file of it"
            )
        return WeightsFolder(path, {}, (path,))
    if not path.is_dir():
        raise MissingInputError(
            f"{path}: no such folder; give one with config.json and .safetensors"
        )
    if config and not (path / "config.json").is_file():
        raise InputError(
            f"{path}: no config.json in this folder; it takes config.json and .safetensors"
        )
    contents = []
    for name in ("config.json", "preprocessor_config.json"):
        file = path / name
        contents.append(read_json_object(file) if file.is_file() else {})
    # without a config, the network is built as bchisto knows it
    if config and any(content.get("auto_map") for content in contents):
        raise InputError(
            f"{path}: its config asks for code that comes with the model (auto_map), and bchisto never runs it; "
            "export the network to ONNX and use onnx:FILE"
        )
    return WeightsFolder(path, contents[0], _weights(path))


def _weights(path: Path) -> tuple[Path, ...]:
    """Return the weights files, sorted by name."""
    index = path / "model.safetensors.index.json"
    single = path / "model.safetensors"
    if index.is_file():
        weight_map = read_json_object(index).get("weight_map")
        names = weight_map.values() if isinstance(weight_map, dict) else ()
        files = sorted({path / str(name) for name in names})
    elif single.is_file():
        files = [single]
    else:
        files = sorted(path.glob("*.safetensors"))
        if len(files) > 1:
            raise WeightsError(
                f"{path}: holds {len(files)} .safetensors files and no index; remove all but model.safetensors"
            )
    if not files:
        for file in sorted(path.iterdir()):
            refuse_pickled(file)
        raise WeightsError(
            f"{path}: no .safetensors in this folder; fetch the weights of the model too"
        )
    for file in files:
        if file.parent != path or file.suffix != ".safetensors":
            raise WeightsError(
                f"{index}: names {file.name[:60]}, which is not a .safetensors file of this folder"
            )
        if not file.is_file():
            raise WeightsError(
                f"{path}: {file.name[:60]} is missing, which its index names; fetch all files"
            )
    return tuple(files)
