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

from ..core import InputError, WeightsError
from ..core.formats import content_sha256, file_sha256
from ..core.jobs import write_json
from .catalogue import CATALOGUE, NamedEncoder
from .kept import cache_folder
from .loading import first_line, import_library, read_json_object

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
    """Refuse a fetched folder, or a file of one, of which a file is no longer as it was fetched.

    Raises
    ------
    WeightsError
        A file was altered or removed.
    """
    if (file := _altered_file(path.parent if path.is_file() else path)) is not None:
        raise WeightsError(
            f"{file}: altered or removed since it was fetched; run `bchisto encoder fetch` again"
        )


def _altered_file(folder: Path) -> Path | None:
    """Return the first file of a fetched folder that is no longer as it was fetched, if any."""
    if encoders_folder().resolve() not in (
        folder.absolute().parent.resolve(),
        folder.resolve().parent,
    ):
        return None
    files = _record(folder).get("files", {})
    return next((folder / name for name in files if not _is_same(folder / name, files[name])), None)


def _is_same(file: Path, sha256: str) -> bool:
    return file.is_file() and content_sha256(file) == sha256


def _record(folder: Path) -> dict[str, Any]:
    """Return what was fetched into a folder; nothing if the file is missing or damaged, so that it is fetched again."""
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
    if (named := CATALOGUE.get(name)) is None:
        raise InputError(
            f"{name}: can be fetched are {', '.join(CATALOGUE)}; of others give hub:DIR, a folder that `hf download "
            "OWNER/NAME --local-dir DIR` makes; Keras fetches the weights of its own networks when they are first used"
        )
    folder, repository = encoders_folder() / name, named.repository
    earlier = _record(folder)
    fetched, before = earlier.get("revision"), earlier.get("files", {})
    if before and _altered_file(folder) is None and revision in (None, fetched):
        return folder
    for module in ("huggingface_hub.errors", "huggingface_hub.utils.sha"):
        import_library(module, name, extra="huggingface-hub")
    import huggingface_hub as hub

    api, hashes = hub.HfApi(), {}
    logging.getLogger("huggingface_hub").setLevel(
        logging.ERROR
    )  # its log, which that import set, repeats our messages
    warnings.filterwarnings("ignore", "Not enough free disk space", UserWarning)  # as does this
    with _explained(hub, repository, folder):
        info = api.model_info(repository, revision=revision or fetched, files_metadata=True)
        files = _needed(named, info.siblings or ())
        size = sum(file.size or 0 for file in files) / 1e6
    if fetched not in (None, info.sha):
        raise InputError(
            f"{name}: its commit {fetched} is in {folder}; remove this folder to fetch {info.sha}"
        )
    if not agrees(
        f"{named.title}: {named.card.terms()}; {len(files)} files, {size:,.1f} MB, commit {info.sha}"
    ):
        raise WeightsError(f"{name}: not fetched, since you did not agree")
    for file in files:
        _log.info(
            "%s: fetching %s, %s MB", named.name, file.rfilename, f"{(file.size or 0) / 1e6:,.1f}"
        )
        with _explained(hub, repository, folder):
            forced = file.rfilename in before and not _is_same(
                folder / file.rfilename, before[file.rfilename]
            )
            wanted = {"local_dir": folder, "force_download": forced}
            path = Path(
                hub.hf_hub_download(repository, file.rfilename, revision=info.sha, **wanted)
            )
        hashes[file.rfilename] = file_sha256(path)
        published = (
            file.lfs.sha256 if file.lfs else file.blob_id
        )  # small files are known by their name in Git
        if published != (
            hashes[file.rfilename] if file.lfs else hub.utils.sha.git_hash(path.read_bytes())
        ):
            path.unlink()
            raise WeightsError(
                f"{path}: {repository} publishes another checksum; it was removed, fetch it again"
            )
    write_json(folder / RECORD, {"repository": repository, "revision": info.sha, "files": hashes})
    for part in (folder / ".cache").rglob(
        "*.incomplete"
    ):  # of a fetch that was killed; it is never gone on with
        part.unlink(missing_ok=True)
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
    if len(weights) > 1 and _INDEX not in files:
        raise WeightsError(
            f"{named.repository}: has {len(weights)} .safetensors, and no index that says which ones are its network; "
            "fetch the files of one network yourself, and give hub:DIR"
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
        # of a file that cannot be looked up, the reason is behind a general text
        reason = (
            isinstance(error, hub.errors.LocalEntryNotFoundError) and error.__cause__
        ) or error
        remedy = (
            "check the network and the folder (BCHISTO_ENCODERS), "
            "or fetch it on another machine and copy the folder"
        )
        if isinstance(reason, hub.errors.GatedRepoError):
            remedy = f"accept the terms at https://huggingface.co/{repository}, run `hf auth login`, and fetch again"
        raise WeightsError(
            f"{repository}: cannot be fetched into {folder} ({first_line(reason)}); {remedy}"
        ) from error
