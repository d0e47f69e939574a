"""Download weights of published encoders from the Hugging Face hub, check them, and keep them in a local folder."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..core import Content, InputError, WeightsError, counted
from ..core.formats import content_sha256, file_sha256
from ..core.jobs import write_json
from .catalogue import CATALOGUE, NamedEncoder
from .kept import cache_folder
from .loading import import_library, read_json_object, short_reason

_log = logging.getLogger(__name__)

RECORD = "fetched.json"
"""File written once all others are complete: the repository, the revision, and each file's SHA-256."""

_INDEX = "model.safetensors.index.json"
_CONFIGS = ("config.json", "preprocessor_config.json", _INDEX, "README.md")
_WEIGHTS = re.compile(r"[\w.-]+\.safetensors", re.ASCII)


def encoders_folder() -> Path:
    """Return the folder of fetched weights: ``BCHISTO_ENCODERS``, or ``encoders`` below `cache_folder`."""
    return Path(os.environ.get("BCHISTO_ENCODERS") or cache_folder() / "encoders")


def fetched_folder(name: str) -> Path | None:
    """Return the folder of a published encoder's weights if all its files were fetched and are there, else None."""
    folder = encoders_folder() / name
    files = _record(folder).get("files", {})
    return folder if files and all((folder / file).is_file() for file in files) else None


def refuse_altered(path: Path) -> None:
    """Refuse a fetched folder, or a file in one, if a file of it was altered or removed since it was fetched.

    Raises
    ------
    WeightsError
        A file was altered or removed.
    """
    folder = path.parent if path.is_file() else path
    file = _altered_file(folder)
    if file is not None:
        raise WeightsError(
            f"{file}: altered or removed since it was fetched; run `bchisto encoder NAME --fetch` again"
        )


def _altered_file(folder: Path) -> Path | None:
    """Return the first file of a fetched folder that was altered or removed since; None if there is none."""
    parents = (folder.absolute().parent.resolve(), folder.resolve().parent)
    if encoders_folder().resolve() not in parents:
        return None
    for name, sha256 in _record(folder).get("files", {}).items():
        file: Path = folder / name
        if not _is_same(file, sha256):
            return file
    return None


def _is_same(file: Path, sha256: str) -> bool:
    return file.is_file() and content_sha256(file) == sha256


def _record(folder: Path) -> Content:
    """Return the record of what was fetched into a folder; empty if missing or damaged: it is fetched again."""
    with contextlib.suppress(InputError, OSError):
        record = read_json_object(folder / RECORD)
        if isinstance(record.get("files"), dict) and isinstance(record.get("revision"), str):
            return record
    return {}


def fetch(name: str, *, agrees: Callable[[str], bool], revision: str | None = None) -> Path:
    """Download the weights of an encoder, unless they are there, and compare each file with its published checksum.

    Parameters
    ----------
    name : str
        A name in `CATALOGUE`.
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
    published = CATALOGUE.get(name)
    if published is None:
        raise InputError(
            f"{name}: can be fetched are {', '.join(CATALOGUE)}; of others give hub:DIR, a folder that `hf download "
            "OWNER/NAME --local-dir DIR` makes; Keras fetches the weights of its own networks when they are first used"
        )
    folder = encoders_folder() / name
    record = _record(folder)
    commit = record.get("revision")
    files_before = record.get("files", {})
    if files_before and _altered_file(folder) is None and revision in (None, commit):
        return folder
    hub = _import_hub(name)
    with _explained(hub, published.repository, folder):
        info = hub.HfApi().model_info(
            published.repository, revision=revision or commit, files_metadata=True
        )
        files = _needed(published, info.siblings or ())
        size = sum(file.size or 0 for file in files) / 1e6
    if commit not in (None, info.sha):
        raise InputError(
            f"{name}: its commit {commit} is in {folder}; remove this folder to fetch {info.sha}"
        )
    terms = f"{published.title}: {published.card.terms()}"
    if not agrees(f"{terms}; {counted(len(files), 'file')}, {size:,.1f} MB, commit {info.sha}"):
        raise WeightsError(f"{name}: not fetched, since you did not agree")
    hashes = {}
    for file in files:
        _log.info("%s: fetching %s, %s MB", name, file.rfilename, f"{(file.size or 0) / 1e6:,.1f}")
        path = folder / file.rfilename
        earlier_sha256 = files_before.get(file.rfilename)
        with _explained(hub, published.repository, folder):
            # the hub would take a file that was altered here for the one that it sent
            hub.hf_hub_download(
                published.repository,
                file.rfilename,
                revision=info.sha,
                local_dir=folder,
                force_download=earlier_sha256 is not None and not _is_same(path, earlier_sha256),
            )
        hashes[file.rfilename] = _published_sha256(hub, path, file, published.repository)
    record = {"repository": published.repository, "revision": info.sha, "files": hashes}
    write_json(folder / RECORD, record)
    # no later fetch continues the parts of one that was killed
    for part in (folder / ".cache").rglob("*.incomplete"):
        part.unlink(missing_ok=True)
    return folder


def _import_hub(name: str) -> Any:
    """Import huggingface_hub, and silence messages that repeat those of bchisto."""
    for module in ("errors", "hf_api", "utils.sha"):
        import_library(f"huggingface_hub.{module}", name, extra="huggingface-hub")
    import huggingface_hub

    # only now, since these imports set the level of its log
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", "Not enough free disk space", UserWarning)
    return huggingface_hub


def _published_sha256(hub: Any, path: Path, file: Any, repository: str) -> str:
    """Return the SHA-256 of a fetched file; remove and refuse one of another checksum than the published one."""
    sha256 = file_sha256(path)
    if file.lfs:
        is_published = sha256 == file.lfs.sha256
    else:  # small files are known by their name in Git
        is_published = file.blob_id == hub.utils.sha.git_hash(path.read_bytes())
    if not is_published:
        path.unlink()
        raise WeightsError(
            f"{path}: {repository} publishes another checksum; it was removed, fetch it again"
        )
    return sha256


def _needed(published: NamedEncoder, siblings: Iterable[Any]) -> list[Any]:
    """Return the files of a repository that its network needs, in the order of their names."""
    files = {file.rfilename: file for file in siblings}
    weights = [name for name in files if _WEIGHTS.fullmatch(name)]
    if "model.safetensors" in files:
        weights = ["model.safetensors"]
        files.pop(_INDEX, None)  # it is about the same weights in several files
    if not weights:
        raise WeightsError("{}: has no .safetensors; {}", published.repository, published.convert())
    if len(weights) > 1 and _INDEX not in files:
        raise WeightsError(
            f"{published.repository}: has {len(weights)} .safetensors, and no index that says which ones are its "
            "network; fetch the files of one network yourself, and give hub:DIR"
        )
    return [files[name] for name in sorted([*weights, *_CONFIGS]) if name in files]


@contextlib.contextmanager
def _explained(hub: Any, repository: str, folder: Path) -> Iterator[None]:
    """Turn errors of the hub into one-line errors that name a remedy."""
    try:
        yield
    except WeightsError:
        raise
    except KeyboardInterrupt:
        _log.warning(
            "%s: what is fetched of the last file is lost; files before it are kept", repository
        )
        raise
    except Exception as error:
        reason = error
        if isinstance(error, hub.errors.LocalEntryNotFoundError) and error.__cause__ is not None:
            reason = error.__cause__  # its own text is general
        remedy = (
            "check the network and the folder (BCHISTO_ENCODERS), "
            "or fetch it on another machine and copy the folder"
        )
        if isinstance(reason, hub.errors.GatedRepoError):
            remedy = f"accept the terms at https://huggingface.co/{repository}, run `hf auth login`, and fetch again"
        raise WeightsError(
            f"{repository}: cannot be fetched into {folder} ({short_reason(reason)}); {remedy}"
        ) from error
