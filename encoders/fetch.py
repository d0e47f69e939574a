"""Download weights of published encoders from the Hugging Face hub, check them, and keep them in a local folder."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import DependencyError, InputError, Message, WeightsError, how_to_install
from ..core.formats import file_sha256
from .card import card_by_licence
from .catalogue import CATALOGUE, NamedEncoder

RECORD = "fetched.json"
"""File written once all others are complete: the repository, the revision, and each file's SHA-256."""

HF_HUB = "timm:hf-hub:"
"""Prefix for the repository of a network of timm or transformers: ``timm:hf-hub:OWNER/NAME``, as in timm."""

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

_CONFIGS = ("config.json", "preprocessor_config.json", "model.safetensors.index.json", "README.md")


@dataclass(frozen=True)
class Offer:
    """The files of a repository at one revision.

    Attributes
    ----------
    named : NamedEncoder
    revision : str
        The commit.
    files : tuple of (str, int, str)
        Name, bytes and SHA-256 of each file that is needed. The SHA-256 is empty for small text files, because the hub
        publishes none for them.
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
    """Return the folder of an encoder's weights if they were fetched completely, else None; see `kept_in`."""
    folder = kept_in(name)
    return folder if folder is not None and (folder / RECORD).is_file() else None


def unfetched_name(folder: Path) -> str | None:
    """Return the name, for ``encoder fetch``, of the repository that belongs in a folder but was not fetched yet."""
    if folder.parent != encoders_folder() or "--" not in folder.name or (folder / RECORD).is_file():
        return None
    return HF_HUB + folder.name.replace("--", "/", 1)


def look_up(name: str, *, revision: str | None = None) -> Offer:
    """List the files of an encoder's repository on the hub.

    Parameters
    ----------
    name : str
        See `kept_in`.
    revision : str, optional
        A commit, a branch or a tag; by default the newest commit.

    Raises
    ------
    InputError
        There is no encoder of this name that can be fetched.
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
    hub = _hub()
    with _explained(hub, named):
        info = hub.HfApi().model_info(named.repository, revision=revision, files_metadata=True)
    if name not in CATALOGUE:
        named = _unnamed(folder.name, named.repository, licence=str((info.card_data or {}).get("license") or ""))
    files = tuple(
        (file.rfilename, int(file.size or 0), str(file.lfs.sha256) if file.lfs else "") for file in info.siblings or ()
    )
    weights = [file for file in files if file[0].endswith(".safetensors") and "/" not in file[0]]
    if not weights:
        raise WeightsError("{}: has no .safetensors; {}", named.repository, named.convert())
    whole = [file for file in weights if file[0] == "model.safetensors"]
    texts = [file for file in files if file[0] in _CONFIGS]
    return Offer(named, str(info.sha), tuple(sorted([*texts, *(whole or weights)])))


def fetch(offer: Offer) -> Path:
    """Download the files of an offer that are missing or incomplete, and check each published SHA-256.

    Returns
    -------
    Path
        The folder, which `fetched_folder` now finds.

    Raises
    ------
    WeightsError
        The hub does not answer, it refuses this user, or a file differs from its published SHA-256.
    """
    hub, folder = _hub(), encoders_folder() / offer.named.name
    hashes = {}
    for file, _, published in offer.files:
        with _explained(hub, offer.named):
            path = Path(hub.hf_hub_download(offer.named.repository, file, revision=offer.revision, local_dir=folder))
        hashes[file] = file_sha256(path)
        if published and hashes[file] != published:
            path.unlink()
            raise WeightsError(
                f"{path}: its SHA-256 is {hashes[file]}, and {offer.named.repository} publishes {published}; it was "
                "removed, fetch it again"
            )
    record = {"repository": offer.named.repository, "revision": offer.revision, "files": hashes}
    partial = folder / f"{RECORD}.part"
    partial.write_text(json.dumps(record, indent=2), encoding="utf-8")
    partial.replace(folder / RECORD)
    return folder


def _unnamed(name: str, repository: str, *, licence: str) -> NamedEncoder:
    """Return an encoder for a repository that is not in the catalogue."""
    card = card_by_licence(licence, source=f"https://huggingface.co/{repository}")
    return NamedEncoder(name, repository, card, architecture="", arguments={}, outputs=(), parameters=0)


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise DependencyError("fetching needs the package huggingface_hub: {}", how_to_install("torch")) from error
    logging.getLogger(huggingface_hub.__name__).setLevel(logging.ERROR)  # its log repeats our messages
    return huggingface_hub


@contextlib.contextmanager
def _explained(hub: Any, named: NamedEncoder) -> Iterator[None]:
    """Turn errors of the hub into one-line errors that name a remedy."""
    try:
        yield
    except hub.errors.GatedRepoError as error:
        raise WeightsError(
            f"{named.name}: its authors ask for consent; accept the terms at {named.card.source}, run `hf auth login`, "
            "and fetch again"
        ) from error
    except (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError) as error:
        raise WeightsError(
            f"{named.repository}: no such repository or revision on the hub, or it is hidden from you; log in with "
            "`hf auth login` if it is gated"
        ) from error
    except hub.errors.EntryNotFoundError as error:
        raise WeightsError(f"{named.repository}: a file is gone from the hub; fetch again") from error
    except Exception as error:  # from httpx or requests, depending on the version of huggingface_hub
        raise WeightsError(
            Message(
                "{}: the hub does not answer ({}); fetch on a machine with a network, and copy {} to this one, or give "
                "{weights:{}=DIR}",
                named.repository, (str(error).splitlines() or [type(error).__name__])[0][:160],
                encoders_folder() / named.name, named.name,
            )
        ) from error  # fmt: skip
