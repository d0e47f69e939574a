"""Download weights of published encoders from the Hugging Face hub, check them, and keep them in a local folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..core import DependencyError, InputError, WeightsError, how_to_install, printable
from ..core.formats import content_sha256, file_sha256
from .card import card_by_licence
from .catalogue import CATALOGUE, NamedEncoder
from .kept import cache_folder
from .loading import first_line, read_json_object

_log = logging.getLogger(__name__)

RECORD = "fetched.json"
"""File written once all others are complete: the repository, the revision, and each file's SHA-256."""

HF_HUB = "timm:hf-hub:"
"""Prefix for the repository of a network of timm or transformers: ``timm:hf-hub:OWNER/NAME``, as in timm."""

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

_INDEX = "model.safetensors.index.json"
_CONFIGS = ("config.json", "preprocessor_config.json", _INDEX, "README.md")
_WEIGHTS = re.compile(r"[\w.-]+\.safetensors", re.ASCII)
_MOST_WEIGHTS = 256
"""Most files of weights of a network; published ones have up to a few dozen."""


def encoders_folder() -> Path:
    """Return the folder of fetched weights: ``BCHISTO_ENCODERS``, or ``encoders`` below `cache_folder`."""
    given = os.environ.get("BCHISTO_ENCODERS")
    return Path(given) if given else cache_folder() / "encoders"


def kept_in(name: str) -> Path | None:
    """Return the folder for an encoder's weights, fetched or not; None if the encoder cannot be fetched.

    Parameters
    ----------
    name : str
        A name in `CATALOGUE`, or ``timm:hf-hub:OWNER/NAME``.

    Raises
    ------
    InputError
        The text after ``timm:hf-hub:`` is not the name of a repository.
    """
    if name in CATALOGUE:
        return encoders_folder() / name
    if not name.startswith(HF_HUB):
        return None
    repository = name.removeprefix(HF_HUB)
    if not _REPOSITORY.fullmatch(repository):
        raise InputError("{}: write timm:hf-hub:OWNER/NAME", name)
    return encoders_folder() / repository.replace("/", "--")


def fetched_folder(name: str) -> Path | None:
    """Return the folder of an encoder's weights if all its files were fetched and are there, else None."""
    folder = kept_in(name)
    return folder if folder is not None and _is_complete(folder) else None


def altered_file(folder: Path) -> Path | None:
    """Return the first weights file of a fetched folder that is no longer as it was fetched, if any."""
    if folder.parent != encoders_folder():
        return None
    for name, sha256 in _record(folder).get("files", {}).items():
        file = folder / str(name)
        if file.suffix == ".safetensors" and file.is_file() and content_sha256(file) != sha256:
            return file
    return None


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    return read_json_object(path) if path.is_file() else {}


def _is_complete(folder: Path) -> bool:
    files = _record(folder).get("files", {})
    return bool(files) and all((folder / name).is_file() for name in files)


def unfetched_name(folder: Path) -> str | None:
    """Return the name, for ``encoder fetch``, of the repository that belongs in a folder but was not fetched yet."""
    if folder.parent != encoders_folder() or "--" not in folder.name or _is_complete(folder):
        return None
    return HF_HUB + folder.name.replace("--", "/", 1)


def fetch(name: str, *, agrees: Callable[[str], bool], revision: str | None = None) -> Path:
    """Download the weights of an encoder, unless they are there, and compare each file with its published checksum.

    Parameters
    ----------
    name : str
        See `kept_in`.
    agrees : callable
        Decides by one line on licence, size and commit.
    revision : str, optional
        A commit, a branch or a tag; by default the commit that was fetched, or the newest one.

    Returns
    -------
    Path
        The folder, which `fetched_folder` now finds.

    Raises
    ------
    InputError
        There is no encoder of this name that can be fetched, or another commit of it was fetched.
    WeightsError
        The hub does not answer or refuses this user, the repository or revision is gone or contains no safetensors, a
        file has another checksum than the published one, or the user does not agree.
    DependencyError
        The package huggingface_hub is not installed.
    """
    if (folder := kept_in(name)) is None:
        raise InputError(
            f"{name}: can be fetched are {', '.join(CATALOGUE)} and timm:hf-hub:OWNER/NAME; of others "
            "give hub:DIR; Keras fetches the weights of its own networks (resnet50, ...) when they are first used"
        )
    fetched, altered = _record(folder).get("revision"), altered_file(folder) is not None
    if _is_complete(folder) and not altered and revision in (None, fetched):
        return folder
    named, hub = CATALOGUE.get(name) or _unnamed(folder.name, name.removeprefix(HF_HUB), licence=""), _hub()
    repository, hashes = named.repository, {}
    with _explained(hub, named):
        info = hub.HfApi().model_info(repository, revision=revision or fetched, files_metadata=True)
    if fetched not in (None, info.sha):
        raise InputError(f"{name}: its commit {fetched} is in {folder}; remove this folder to fetch {info.sha}")
    if name not in CATALOGUE:
        licence = str((info.card_data or {}).get("license") or "")
        named = _unnamed(folder.name, repository, licence=printable(licence)[:100])
    files = _needed(named, info.siblings or ())
    size = sum(file.size or 0 for file in files) / 1e6
    if not agrees(f"{named.title}: {named.card.terms()}; {len(files)} files, {size:,.1f} MB, commit {info.sha}"):
        raise WeightsError(f"{name}: not fetched, since you did not agree")
    for file in files:
        _log.info("%s: fetching %s, %s MB", named.name, file.rfilename, f"{(file.size or 0) / 1e6:,.1f}")
        with _explained(hub, named):
            wanted = {"revision": info.sha, "local_dir": folder, "force_download": altered}
            path = Path(hub.hf_hub_download(repository, file.rfilename, **wanted))
        hashes[file.rfilename] = file_sha256(path)
        checksum, published = (hashes[file.rfilename], file.lfs.sha256) if file.lfs else (_git_sha1(path), file.blob_id)
        if checksum != published:
            path.unlink()
            raise WeightsError(
                f"{path}: its checksum is {checksum}, and {repository} publishes {published}; it was removed, fetch it "
                "again"
            )
    record = {"repository": repository, "revision": info.sha, "files": hashes}
    partial = folder / f"{RECORD}.part"
    partial.write_text(json.dumps(record, indent=2), encoding="utf-8")
    partial.replace(folder / RECORD)
    return folder


def _needed(named: NamedEncoder, siblings: Iterable[Any]) -> list[Any]:
    """Return the files of a repository that its network needs, in the order of their names."""
    files = {file.rfilename: file for file in siblings}
    weights = [name for name in files if _WEIGHTS.fullmatch(name)]
    if "model.safetensors" in files:
        weights = ["model.safetensors"]
        files.pop(_INDEX, None)  # of the same weights in several files
    if not weights:
        raise WeightsError("{}: has no .safetensors; {}", named.repository, named.convert())
    if len(weights) > (_MOST_WEIGHTS if _INDEX in files else 1):
        raise WeightsError(
            f"{named.repository}: has {len(weights)} .safetensors, and no index that says which ones are its network; "
            "fetch the files of one network yourself, and give hub:DIR"
        )
    return [files[name] for name in sorted([*weights, *_CONFIGS]) if name in files]


def _git_sha1(path: Path) -> str:
    """Return the hash that Git, and so the hub, gives to a file."""
    header = b"blob %d\0" % path.stat().st_size
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.sha1(header, usedforsecurity=False)).hexdigest()


def _unnamed(name: str, repository: str, *, licence: str) -> NamedEncoder:
    """Return an encoder for a repository that is not in the catalogue."""
    card = card_by_licence(licence, source=f"https://huggingface.co/{repository}")
    return NamedEncoder(name, repository, card, architecture="", arguments={}, outputs=(), parameters=0)


def _hub() -> Any:
    try:
        import huggingface_hub.errors
    except ImportError as error:
        raise DependencyError("fetching needs the package huggingface_hub: {}", how_to_install("torch")) from error
    logging.getLogger(huggingface_hub.__name__).setLevel(logging.ERROR)  # its log repeats our messages
    return huggingface_hub


@contextlib.contextmanager
def _explained(hub: Any, named: NamedEncoder) -> Iterator[None]:
    """Turn errors of the hub into one-line errors that name a remedy."""
    repository, folder, errors = named.repository, encoders_folder() / named.name, hub.errors
    try:
        yield
    except Exception as error:
        # of a file that cannot be looked up, the reason is behind a general text
        reason = (error.__cause__ or error) if isinstance(error, errors.LocalEntryNotFoundError) else error
        if isinstance(reason, errors.GatedRepoError):
            advice = (
                f"{named.name}: its authors ask for consent; accept the terms at {named.card.source}, run "
                "`hf auth login`, and fetch again"
            )
        elif isinstance(reason, (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)):
            advice = (
                f"{repository}: no such repository or revision on the hub, or it is hidden from you; log in with "
                "`hf auth login` if it is gated"
            )
        elif isinstance(reason, (errors.HfHubHTTPError, errors.OfflineModeIsEnabled, ValueError)):
            advice = f"{repository}: cannot be fetched ({first_line(reason)})"
        elif isinstance(reason, OSError) and reason.strerror:
            advice = f"{folder}: cannot be written ({reason.strerror}); make room, or set BCHISTO_ENCODERS to another"
        else:
            advice = (
                f"{repository}: the hub does not answer ({first_line(reason)}); fetch on a machine with a network, and "
                f"copy {folder} to this one"
            )
        raise WeightsError(advice) from error
