"""Download weights of published encoders from the Hugging Face hub, check them, and keep them in a local folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import DependencyError, InputError, WeightsError, how_to_install, printable
from ..core.formats import content_sha256, file_sha256
from .card import card_by_licence
from .catalogue import CATALOGUE, NamedEncoder
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


@dataclass(frozen=True)
class Offer:
    """The files of a repository at one revision.

    Attributes
    ----------
    named : NamedEncoder
    revision : str
        The commit.
    files : tuple of (str, int, str)
        Name, bytes and published checksum of each file that is needed: the SHA-256, or of small files Git's SHA-1.
    """

    named: NamedEncoder
    revision: str
    files: tuple[tuple[str, int, str], ...]

    @property
    def size(self) -> int:
        """Total size of the files, in bytes."""
        return sum(size for _, size, _ in self.files)


def encoders_folder() -> Path:
    """Return the folder of fetched weights: ``BCHISTO_ENCODERS``, or ``~/.cache/bchisto/encoders``."""
    given = os.environ.get("BCHISTO_ENCODERS")
    return Path(given) if given else Path.home() / ".cache" / "bchisto" / "encoders"


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


def fetched_revision(folder: Path) -> str | None:
    """Return the commit from which a folder was fetched; None if it was not fetched to its end."""
    return _record(folder).get("revision")


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


def look_up(name: str, *, revision: str | None = None) -> Offer:
    """List the files of an encoder's repository on the hub.

    Parameters
    ----------
    name : str
        See `kept_in`.
    revision : str, optional
        A commit, a branch or a tag; by default the commit that was fetched, or the newest one.

    Raises
    ------
    InputError
        There is no encoder of this name that can be fetched, or another commit of it was fetched.
    WeightsError
        The hub does not answer, the repository or revision is gone, or it contains no safetensors.
    DependencyError
        The package huggingface_hub is not installed.
    """
    if (folder := kept_in(name)) is None:
        raise InputError(
            f"{name}: can be fetched are {', '.join(CATALOGUE)} and timm:hf-hub:OWNER/NAME; of others "
            "give hub:DIR; Keras fetches the weights of its own networks (resnet50, ...) when they are first used"
        )
    named = CATALOGUE.get(name) or _unnamed(folder.name, name.removeprefix(HF_HUB), licence="")
    hub, fetched = _hub(), fetched_revision(folder)
    with _explained(hub, named):
        info = hub.HfApi().model_info(named.repository, revision=revision or fetched, files_metadata=True)
    if fetched not in (None, info.sha):
        raise InputError(f"{name}: its commit {fetched} is in {folder}; remove this folder to fetch {info.sha}")
    if name not in CATALOGUE:
        licence = str((info.card_data or {}).get("license") or "")
        named = _unnamed(folder.name, named.repository, licence=printable(licence)[:100])
    files = {
        file.rfilename: (file.rfilename, int(file.size or 0), str(file.lfs.sha256 if file.lfs else file.blob_id))
        for file in info.siblings or ()
    }
    weights = [files[file] for file in files if _WEIGHTS.fullmatch(file)]
    if "model.safetensors" in files:
        weights = [files["model.safetensors"]]
        files.pop(_INDEX, None)  # of the same weights in several files
    texts = [files[file] for file in _CONFIGS if file in files]
    if not weights:
        raise WeightsError("{}: has no .safetensors; {}", named.repository, named.convert())
    if len(weights) > (_MOST_WEIGHTS if _INDEX in files else 1):
        raise WeightsError(
            f"{named.repository}: has {len(weights)} .safetensors, and no index that says which ones are its network; "
            "fetch the files of one network yourself, and give hub:DIR"
        )
    return Offer(named, str(info.sha), tuple(sorted([*texts, *weights])))


def fetch(offer: Offer) -> Path:
    """Download the files of an offer that are missing or incomplete, and check each published checksum.

    Returns
    -------
    Path
        The folder, which `fetched_folder` now finds.

    Raises
    ------
    WeightsError
        The hub does not answer, it refuses this user, or a file has another checksum than the published one.
    """
    hub, folder, repository = _hub(), encoders_folder() / offer.named.name, offer.named.repository
    hashes, again = {}, altered_file(folder) is not None
    for file, size, published in offer.files:
        _log.info("%s: fetching %s, %s MB", offer.named.name, file, f"{size / 1e6:,.1f}")
        with _explained(hub, offer.named):
            wanted = {"revision": offer.revision, "local_dir": folder, "force_download": again}
            path = Path(hub.hf_hub_download(repository, file, **wanted))
        hashes[file] = file_sha256(path)
        checksum = hashes[file] if len(published) == 64 else _git_sha1(path)
        if checksum != published:
            path.unlink()
            raise WeightsError(
                f"{path}: its checksum is {checksum}, and {repository} publishes {published}; it was removed, fetch it "
                "again"
            )
    record = {"repository": repository, "revision": offer.revision, "files": hashes}
    partial = folder / f"{RECORD}.part"
    partial.write_text(json.dumps(record, indent=2), encoding="utf-8")
    partial.replace(folder / RECORD)
    return folder


def _git_sha1(path: Path) -> str:
    """Return the hash that Git, and so the hub, gives to a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.sha1(b"blob %d\0" % path.stat().st_size)).hexdigest()


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
