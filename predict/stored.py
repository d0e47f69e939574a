"""What a bundle says of the stores that its models were trained on: read as the words of a stranger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core import BundleError, printable
from ..featurize import FeaturizeSettings, settings_from
from ..formats import DAMAGE, limits


def stored_settings(path: Path, stores: Mapping[str, Mapping[str, Any]]) -> dict[str, FeaturizeSettings]:
    """Return what made the descriptors of each store.

    Parameters
    ----------
    path : Path
        The bundle.
    stores : mapping
        Store name to the settings in its manifest.

    Raises
    ------
    BundleError
        Something is missing, of another kind, or would take an image past all bounds.
    """
    settings = {name: _settings(path, name, header) for name, header in stores.items()}
    crops = sum(one.augmentations * one.crops for one in settings.values())
    if crops > limits.CROPS:
        raise BundleError(
            f"{path}: asks for {crops:,} crops of every image, more than {limits.CROPS:,}; the bundle was altered"
        )
    return settings


def _settings(path: Path, store: str, header: Mapping[str, Any]) -> FeaturizeSettings:
    shown = printable(store[:100])
    try:
        if not isinstance(header["weights"], str):
            raise TypeError("its weights are no text")
        return settings_from(header)
    except DAMAGE as error:
        why = f"no {error}" if isinstance(error, KeyError) else printable((str(error).splitlines() or ["?"])[0][:160])
        raise BundleError(
            f"{path}: the settings of its store {shown} do not fit ({why}); the bundle was altered"
        ) from error
