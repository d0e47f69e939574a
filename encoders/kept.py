"""Networks that were converted once, kept on this machine as OpenVINO's files, so that no process builds them again.

A network is kept in two forms, for crops and for windows of a frame, each in a folder of its own: the graph and its
weights in float32, and ``record.json`` with what an encoder tells of itself. The files hold no code.

The name of a folder is a key of all that decides its content: the content of the weights, the network, its layers, and
the versions of bchisto's encoders, of the library that built it, and of OpenVINO. So nothing kept is ever outdated, and
what is damaged or cannot be written is only built again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import BchistoError
from ..core.formats import content_sha256
from ..core.jobs import key_of
from ..core.runs import versions_of

_log = logging.getLogger(__name__)

FORMS = ("crops", "windows")
"""Functions of a network: of whole crops, and of the windows of a frame."""

MOST_BYTES = 2_000_000_000
"""Size of all kept networks together, above which those are removed that were not used for the longest time."""

_GRAPH = ("network.xml", "network.bin")
_RECORD = "record.json"

_OWN = re.compile(rf"\.?[0-9a-f]{{64}}-({'|'.join(FORMS)})(-[0-9a-f]{{8}})?")
"""Names of folders that are written here; those with a dot are not finished, or were left by a killed process."""


def cache_folder() -> Path:
    """Return the folder for what can be made again: ``BCHISTO_CACHE``, or ``bchisto`` below ``XDG_CACHE_HOME``."""
    cache = os.environ.get("BCHISTO_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    # unlike Path.home(), this raises nothing if there is no home folder; /~ takes no files of such a user
    return Path(cache or os.path.join("/", base or os.path.expanduser("~/.cache"), "bchisto"))  # noqa: PTH111, PTH118


def kept_folder() -> Path:
    """Return the folder of kept networks."""
    return cache_folder() / "networks"


def kept_key(libraries: tuple[str, ...], **decisive: Any) -> str:
    """Return the key of a network.

    Parameters
    ----------
    libraries : tuple of str
        Packages that build it.
    **decisive : JSON values
        Name, layers, the content of its weights.
    """
    return key_of(
        "network 1", code=_code(), versions=versions_of((*libraries, "openvino")), **decisive
    )


@functools.cache
def _code() -> str:
    """Return a checksum of the modules of this package, which decide what a network computes."""
    modules = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(module.read_bytes() for module in modules)).hexdigest()


@dataclass(frozen=True)
class KeptNetwork:
    """A network of a key, as this machine keeps it.

    Attributes
    ----------
    key : str
        See `kept_key`; empty for a network that is not kept.
    """

    key: str

    def facts(self) -> dict[str, Any] | None:
        """Return what an encoder told of itself when the network was kept; None if the network is not kept."""
        for form in FORMS:
            facts = self._read(form)
            if facts is not None:
                return facts
        return None

    def graph(self, form: str, convert: Callable[[], Any], *, facts: Mapping[str, Any]) -> Any:
        """Return the graph of a form, as an ``openvino.Model``; if it is not kept, convert it, and keep it.

        Parameters
        ----------
        form : str
            One of `FORMS`.
        convert : callable
            Makes the graph.
        facts : mapping
            What the encoder tells of itself, JSON-ready.
        """
        import openvino

        if self._read(form) is not None:
            try:
                return openvino.Core().read_model(str(self._folder(form) / _GRAPH[0]))
            except RuntimeError as error:
                _log.debug("%s: cannot be read (%s); built anew", self._folder(form), error)
        graph = convert()
        if self.key:
            try:
                self._write(form, graph, facts)
            except (BchistoError, OSError, RuntimeError) as error:
                _log.debug("%s: not kept for the next process (%s)", self._folder(form), error)
        return graph

    def _folder(self, form: str) -> Path:
        return kept_folder() / f"{self.key}-{form}"

    def _read(self, form: str) -> dict[str, Any] | None:
        """Return the facts of a form if its files are whole, and remember that they were used."""
        folder = self._folder(form)
        if not self.key or not folder.is_dir():
            return None
        try:
            _refuse_shared(folder.parent)
            record = json.loads((folder / _RECORD).read_bytes())
            facts = dict(record["facts"])
            unaltered = record["sha256"] == _hashes(folder, facts)
        except (BchistoError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            _log.debug("%s: cannot be used (%s); built anew", folder, error)
            return None
        if not unaltered:
            _log.debug("%s: damaged; built anew", folder)
            return None
        with contextlib.suppress(OSError):
            os.utime(folder)
        return facts

    def _write(self, form: str, graph: Any, facts: Mapping[str, Any]) -> None:
        import openvino

        folder = self._folder(form)
        _made_folder()
        unfinished = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
        unfinished.mkdir(mode=0o700)
        try:
            openvino.save_model(graph, str(unfinished / _GRAPH[0]), compress_to_fp16=False)
            if sum((unfinished / name).stat().st_size for name in _GRAPH) > MOST_BYTES:
                raise OSError("larger than all networks together may be")
            record = {"facts": facts, "sha256": _hashes(unfinished, facts)}
            (unfinished / _RECORD).write_text(json.dumps(record))
            if self._read(form) is None:  # otherwise another process has just written it
                shutil.rmtree(folder, ignore_errors=True)
                unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        trim(MOST_BYTES)


def _hashes(folder: Path, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the checksums of a network's files, and of what an encoder tells of itself."""
    of_facts = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return {_RECORD: of_facts, **{name: content_sha256(folder / name) for name in _GRAPH}}


def _refuse_shared(folder: Path) -> None:
    """Refuse a folder to which others could write."""
    state = folder.stat()
    if hasattr(os, "geteuid") and (state.st_uid != os.geteuid() or state.st_mode & 0o022):
        raise OSError("others can write to this folder")


def kept_trouble() -> str:
    """Return why networks cannot be kept: their folder cannot be made or written, or others can write to it."""
    try:
        with tempfile.TemporaryFile(dir=_made_folder()) as file:
            file.write(bytes(10**6))
    except OSError as error:
        return str(error.strerror or error)
    return ""


def _made_folder() -> Path:
    folder = kept_folder()
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    _refuse_shared(folder)
    return folder


def kept_networks() -> list[tuple[Path, int]]:
    """Return the folders of kept networks with their bytes, the longest unused first; not what others put there."""
    sizes = []
    for folder in kept_folder().glob("*"):
        if not _OWN.fullmatch(folder.name) or folder.is_symlink():
            continue
        with contextlib.suppress(OSError):  # another process removes it
            files = {file.name: file.lstat().st_size for file in folder.iterdir()}
            if files.keys() <= {*_GRAPH, _RECORD}:
                sizes.append((folder.stat().st_mtime, folder, sum(files.values())))
    return [(folder, size) for _, folder, size in sorted(sizes)]


def trim(most: int) -> int:
    """Remove kept networks, the longest unused first, until they take at most so many bytes; return how many went."""
    networks = kept_networks()
    total = sum(size for _, size in networks)
    removed = 0
    for folder, size in networks:
        if total <= most > 0:
            break
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            total -= size
            removed += 1
    return removed
