"""What a bundle says of the stores that its models were trained on: read as the words of a stranger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..encoders import EncoderChoice
from ..errors import BundleError, printable
from ..featurize import FeaturizeSettings, View
from ..jobs import DAMAGE

__all__ = ["stored_settings"]

_MOST_CROPS = 200_000
"""Bound on the crops of an image (ours): the published experiment takes 6,000."""

_LEAST_SCALE, _MOST_SCALE = 0.01, 16.0
_LEAST_CROP, _MOST_CROP = 32, 8192
_MOST_BATCH = 4096
_MOST_POOL = 1000.0
_MOST_FACTOR = 100.0
"""Bounds on what made the descriptors of a bundle (ours), so that one image fits into memory."""


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
    if crops > _MOST_CROPS:
        raise BundleError(
            f"{path}: asks for {crops:,} crops of every image, more than {_MOST_CROPS:,}; the bundle was altered"
        )
    return settings


def _settings(path: Path, store: str, header: Mapping[str, Any]) -> FeaturizeSettings:
    shown = printable(store[:100])
    try:
        for name in ("encoder", "weights", "weights_sha256"):
            if not isinstance(header[name], str):
                raise TypeError(f"its {name} is no text")
        settings = _as_settings(header)
        (view,) = settings.views
    except DAMAGE as error:
        why = f"no {error}" if isinstance(error, KeyError) else printable((str(error).splitlines() or ["?"])[0][:160])
        raise BundleError(
            f"{path}: the settings of its store {shown} do not fit ({why}); the bundle was altered"
        ) from error
    within = {
        "scale": (_LEAST_SCALE <= view.scale <= _MOST_SCALE),
        "crop": (_LEAST_CROP <= view.crop <= _MOST_CROP),
        "batch_size": settings.batch_size <= _MOST_BATCH,
        "pool": settings.pool <= _MOST_POOL,
        "color_range": settings.color_range[1] <= _MOST_FACTOR,
        "seed": settings.seed < 2**63,
    }
    if wrong := [name for name, fits in within.items() if not fits]:
        raise BundleError(f"{path}: the {wrong[0]} of its store {shown} is past all use; the bundle was altered")
    return settings


def _as_settings(header: Mapping[str, Any]) -> FeaturizeSettings:
    if not all(isinstance(layer, str) for layer in header["layers"]):
        raise TypeError("its layers are no names")
    return FeaturizeSettings(
        encoders=(EncoderChoice(header["encoder"], tuple(header["layers"])),),
        views=(View(float(header["scale"]), int(header["crop"])),),
        augmentations=int(header["augmentations"]),
        crops=int(header["crops"]),
        pool=float(header["pool"]),
        color_range=(float(header["color_range"][0]), float(header["color_range"][1])),
        stain=header["stain"],
        stain_fallback=header["stain_fallback"],
        precision=header["precision"],
        mode=header["mode"],
        engine=header["engine"],
        batch_size=int(header["batch_size"]),
        seed=int(header["seed"]),
        geometry=int(header.get("geometry", 1)),  # 0.1 named none
        pad=header.get("pad", "none"),
    )
