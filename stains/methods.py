"""Stain methods by name, as the parameter ``stain`` accepts them, of bchisto and of other packages.

Another package adds a method through the entry-point group ``bchisto.stains``, see `StainSpec`. It cannot replace one
of bchisto, because existing feature files and models refer to that name.
"""

from __future__ import annotations

from pathlib import Path

from ..core import BchistoError, InputError, extension_names, load_extension, one_of
from .macenko import MACENKO, PUBLISHED, ROBUST
from .spec import Normalizer, StainSpec
from .treatments import NONE, STAINTOOLS, TREATED

ENTRY_POINT_GROUP = "bchisto.stains"

_BUILT_IN = {spec.name: spec for spec in (MACENKO, NONE, ROBUST, PUBLISHED, *STAINTOOLS, *TREATED)}

STAIN_METHODS = tuple(_BUILT_IN)
"""Names of bchisto's own stain methods, which the parameter ``stain`` accepts beside those of other packages."""


def list_stains() -> list[str]:
    """Return the names of all stain methods: those of bchisto, then those of other packages, sorted."""
    return list(dict.fromkeys((*STAIN_METHODS, *extension_names(ENTRY_POINT_GROUP))))


def get_stain(name: str) -> StainSpec:
    """Return the stain method of a name.

    Raises
    ------
    InputError
        There is no such method, and the message lists all; or that of another package cannot be loaded.
    """
    spec = _find(name)
    if spec is None:
        raise InputError("{stain} {}: no such method; {}", name, one_of(name, list_stains()))
    return spec


def known_stain(name: str, file: Path, *, kind: type[BchistoError]) -> StainSpec:
    """Return the stain method that a feature file or a model file names.

    Parameters
    ----------
    name : str
    file : Path
    kind : type
        Error of such a file.

    Raises
    ------
    BchistoError
        An error of this kind: there is no such method here, or that of another package cannot be loaded.
    """
    try:
        spec = _find(name)
    except InputError as error:
        raise kind(f"{file}: {error}") from error
    if spec is None:
        raise kind(
            f"{file}: needs the stain method {name[:40]!r}, which this version does not know; update bchisto, or "
            "install the package that adds it"
        )
    return spec


def make_normalizer(stain: str) -> Normalizer:
    """Return the normaliser of the given name.

    Parameters
    ----------
    stain : str
        One of `STAIN_METHODS`, or a method of another package.

    Raises
    ------
    InputError
        There is no such method; the message lists all methods. Or it is of another package, and cannot be loaded.
    DependencyError
        A StainTools method, but StainTools is not installed.
    """
    return get_stain(stain).make()


def _find(name: str) -> StainSpec | None:
    return _BUILT_IN.get(name) or load_extension(
        ENTRY_POINT_GROUP, name, StainSpec, what="stain method"
    )
