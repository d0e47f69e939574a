"""Write archives that `bchisto.core.formats.Archive` can read."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ... import __version__
from .. import DAMAGE, BchistoError, OutputError
from ..formats import Archive, check_archive_size
from ..jobs import atomic_output

_MANIFEST = "manifest.json"

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time stamp of every member, so that equal content gives equal archives."""


def write_archive(
    path: Path,
    *,
    kind: str,
    schema_version: int,
    members: Iterable[tuple[str, Callable[[], bytes]]],
    facts: Mapping[str, Any],
    check: Callable[[Archive], object],
) -> None:
    """Write an archive, and move it into place only after it was read back successfully.

    Parameters
    ----------
    path : Path
    kind : str
        Kind of the archive, stored in its manifest.
    schema_version : int
        Schema version of `facts` and the members.
    members : iterable of (name, callable)
        Each callable returns the bytes of its member. Only one member at a time is in memory.
    facts : mapping
        Further entries of the manifest.
    check : callable
        Called with the archive open for reading. It raises an error if the archive is invalid.

    Raises
    ------
    InputError
        There are more members than can be read, or they are too large.
    OutputError
        The archive cannot be written or cannot be read back.
    """
    chosen = list(members)
    check_archive_size(members=len(chosen))
    hashes: dict[str, str] = {}
    size = 0
    with atomic_output(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for name, read in chosen:
                data = read()
                size += len(data)
                check_archive_size(members=len(chosen), size=size)
                hashes[name] = hashlib.sha256(data).hexdigest()
                archive.writestr(_info(name), data)
            head = {"kind": kind, "schema_version": schema_version, "bchisto_version": __version__}
            archive.writestr(
                _info(_MANIFEST), json.dumps({**head, **facts, "members": hashes}, indent=2, ensure_ascii=False)
            )
        unreadable: tuple[type[Exception], ...] = (BchistoError, *DAMAGE)
        try:
            with Archive(temporary, kind=kind, schema_version=schema_version) as written:
                for name in written.members:
                    written.read(name)
                check(written)
        except unreadable as error:
            reason = str(error).replace(str(temporary), "it")
            raise OutputError(f"{path}: not written, since it could not be read back ({reason})") from error


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=_EPOCH)
    # network weights take long to compress and hardly become smaller
    info.compress_type = zipfile.ZIP_STORED if name.endswith(".h5") else zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info
