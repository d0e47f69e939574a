"""Results that are made once and kept on this machine: converted networks, and functions that JAX compiled for a GPU.

A network is kept as OpenVINO's files in two forms, for crops and for windows of a frame, each in a folder of its own:
the graph and its weights in float32, and ``record.json`` with facts about the encoder. They hold no code.

The name of a folder is a key of all that decides its content: the content of the weights, the network, its layers, and
the versions of bchisto's encoders, of the library that built it, and of OpenVINO. So nothing kept is ever outdated, and
what is damaged or cannot be written is only built again.

Functions are written and read by JAX, whose key is of the computation, the versions, the device and all settings. They
are code, so JAX gets their folder only if nobody else can write to it. JAX writes them in place, does not replace what
is damaged, and checks nothing but the compression. So each gets a checksum once it is written, and before JAX reads the
folder, those are removed that do not have their checksum.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import multiprocessing
import os
import re
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import BchistoError, Content, Entries
from ..core.formats import content_sha256
from ..core.jobs import key_of
from ..core.runs import versions_of

_log = logging.getLogger(__name__)

FORMS = ("crops", "windows")
"""Functions of a network: of whole crops, and of the windows of a frame."""

MOST_BYTES = 2_000_000_000
"""Largest size of all that is kept; beyond it, what was unused for the longest time is removed."""

_GRAPH = ("network.xml", "network.bin")
_RECORD = "record.json"

_OWN = re.compile(
    rf"\.?[0-9a-f]{{64}}-({'|'.join(FORMS)})(-[0-9a-f]{{8}})?|[\w.)( -]+-[0-9a-f]{{64}}-cache"
)
"""Names of folders that are written here, and of files that JAX writes. Folders with a dot are not finished, or were
left by a killed process."""


def cache_folder() -> Path:
    """Return the folder for what can be made again: ``BCHISTO_CACHE``, or ``bchisto`` below ``XDG_CACHE_HOME``."""
    cache = os.environ.get("BCHISTO_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    # unlike Path.home(), this raises nothing if there is no home folder; /~ takes no files of such a user
    return Path(cache or os.path.join("/", base or os.path.expanduser("~/.cache"), "bchisto"))  # noqa: PTH111, PTH118


def kept_folder() -> Path:
    """Return the folder of kept networks."""
    return cache_folder() / "networks"


def compiled_folder() -> Path:
    """Return the folder of functions that JAX has compiled."""
    return cache_folder() / "compiled"


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

    def facts(self) -> Content | None:
        """Return the facts about the encoder that are kept with the network; None if the network is not kept."""
        for form in FORMS:
            facts = self._read(form)
            if facts is not None:
                return facts
        if self.key:
            _is_usable(kept_folder())
        return None

    def graph(self, form: str, convert: Callable[[], Any], *, facts: Entries) -> Any:
        """Return the graph of a form, as an ``openvino.Model``; if it is not kept, convert it, and keep it.

        Parameters
        ----------
        form : str
            One of `FORMS`.
        convert : callable
            Makes the graph.
        facts : mapping
            Facts about the encoder, JSON-ready.
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

    def _read(self, form: str) -> Content | None:
        """Return the facts of a form if its files are whole, and remember that they were used."""
        folder = self._folder(form)
        if not self.key or not folder.is_dir():
            return None
        try:
            _refuse_shared(folder.parent)
            record = json.loads((folder / _RECORD).read_bytes())
            facts = dict(record["facts"])
            is_whole = record["sha256"] == _hashes(folder, facts)
        except (BchistoError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            _log.debug("%s: cannot be used (%s); built anew", folder, error)
            return None
        if not is_whole:
            _log.debug("%s: damaged; built anew", folder)
            return None
        with contextlib.suppress(OSError):
            os.utime(folder)
        return facts

    def _write(self, form: str, graph: Any, facts: Entries) -> None:
        import openvino

        folder = self._folder(form)
        _made_folder(folder.parent)
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


NOT_KEPT = KeptNetwork("")
"""A network of which nothing is kept."""


def _hashes(folder: Path, facts: Entries) -> dict[str, str]:
    """Return the checksums of a network's files, and of the facts about its encoder."""
    facts_sha256 = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return {_RECORD: facts_sha256, **{name: content_sha256(folder / name) for name in _GRAPH}}


def _refuse_shared(folder: Path) -> None:
    """Refuse a folder to which others could write."""
    state = folder.stat()
    if hasattr(os, "geteuid") and (state.st_uid != os.geteuid() or state.st_mode & 0o022):
        raise OSError("others can write to this folder")


def kept_trouble(folder: Path) -> str:
    """Return why nothing can be kept in a folder: it cannot be made or written, or others can write to it."""
    try:
        with tempfile.TemporaryFile(dir=_made_folder(folder)) as file:
            file.write(bytes(10**6))
    except OSError as error:
        return str(error.strerror or error)
    return ""


@functools.cache
def _is_usable(folder: Path) -> bool:
    """Return whether something can be kept in a folder; if not, warn of it once, and not in each worker."""
    trouble = kept_trouble(folder)
    if trouble and multiprocessing.parent_process() is None:
        _log.warning(
            "%s: nothing is kept there (%s), so every process starts slowly; set BCHISTO_CACHE to a folder that only "
            "you can write",
            folder,
            trouble,
        )
    return not trouble


def _made_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    _refuse_shared(folder)
    return folder


def keep_compiled() -> None:
    """Let JAX keep in `compiled_folder` what it compiles for a GPU in this process.

    What the user has set for JAX is left as it is. Code for a CPU is not kept: it may stop on another one that has the
    same home folder, and on many, XLA reads none of its own files and prints an error for each.
    """
    import jax

    if jax.config.jax_compilation_cache_dir is not None or jax.default_backend() == "cpu":
        return
    folder = compiled_folder()
    if not _is_usable(folder):
        return
    _remove_damaged(folder)
    # a file may go, or still be in writing by another process; JAX then compiles the function, as without one
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    with contextlib.suppress(AttributeError):  # JAX 0.4.35 has no such setting
        # files of XLA's own, whose folder would be part of the key of a function
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.monitoring.register_event_duration_secs_listener(_note_checksums)


def _note_checksums(event: str, *_: Any, **__: Any) -> None:
    """Write the checksums of functions that JAX has written, after each that it compiled."""
    if not event.endswith("backend_compile_duration"):
        return
    with contextlib.suppress(BchistoError, OSError):  # another process removes what is read here
        files = set(compiled_folder().iterdir())
        for file in files:
            if _OWN.fullmatch(file.name) and _checksum(file) not in files:
                _checksum(file).write_text(content_sha256(file))
                trim(MOST_BYTES)


def _checksum(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _remove_damaged(folder: Path) -> None:
    """Remove functions that are not as JAX wrote them, and note when it last used the others."""
    for _, file, _ in kept_in(folder):
        with contextlib.suppress(BchistoError, OSError, ValueError):
            status = file.stat()
            last_use = max(status.st_atime_ns, status.st_mtime_ns)
            if _checksum(file).read_text() == content_sha256(file):
                # reading it here did not use it; many systems note the next use only if both times are equal
                os.utime(file, ns=(last_use, last_use))
                continue
        _remove(file)


def kept_in(folder: Path) -> list[tuple[float, Path, int]]:
    """Return last use, path and bytes of each kept network or function; files of others are ignored."""
    entries = []
    for path in folder.glob("*"):
        if not _OWN.fullmatch(path.name) or path.is_symlink():
            continue
        with contextlib.suppress(OSError):  # another process removes it
            files = [*path.glob("*")]
            if {file.name for file in files} <= {*_GRAPH, _RECORD}:
                size = sum(file.lstat().st_size for file in (path, *files))
                entries.append((path.stat().st_mtime, path, size))
    return entries


def trim(most: int) -> list[str]:
    """Remove kept networks and functions, longest unused first, until the others take at most so many bytes.

    Returns
    -------
    list of str
        For each network or function that was removed, the name of the folder that held it.
    """
    entries = sorted([*kept_in(kept_folder()), *kept_in(compiled_folder())])
    total = sum(size for _, _, size in entries)
    removed = []
    for _, path, size in entries:
        # with 0, all is removed, also what takes no bytes
        if total <= most > 0:
            break
        _remove(path)
        if not path.exists():
            total -= size
            removed.append(path.parent.name)
    return removed


def _remove(path: Path) -> None:
    """Remove the folder of a network, or the file of a function with what belongs to it."""
    shutil.rmtree(path, ignore_errors=True)
    for file in path.parent.glob(f"{path.name.removesuffix('cache')}*"):
        with contextlib.suppress(OSError):
            file.unlink()
