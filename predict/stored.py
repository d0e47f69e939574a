"""What a bundle says of the stores that its models were trained on: read as the words of a stranger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..encoders import EncoderChoice
from ..errors import BundleError, printable
from ..featurize import MOST_CROPS, FeaturizeSettings, View, past_use
from ..formats import DAMAGE


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
    if crops > MOST_CROPS:
        raise BundleError(
            f"{path}: asks for {crops:,} crops of every image, more than {MOST_CROPS:,}; the bundle was altered"
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
    names = ("batch_size", "pool", "color_range", "seed")
    made = {"scale": view.scale, "crop": view.crop, **{name: getattr(settings, name) for name in names}}
    if wrong := past_use(made):
        raise BundleError(f"{path}: the {wrong} of its store {shown} is past all use; the bundle was altered")
    return settings


def _as_settings(header: Mapping[str, Any]) -> FeaturizeSettings:
    if not all(isinstance(layer, str) for layer in header["layers"]):
        raise TypeError("its layers are no names")
    named = {name: header[name] for name in ("stain", "stain_fallback", "precision", "mode", "engine")}
    counted: dict[str, Any] = {name: int(header[name]) for name in ("augmentations", "crops", "batch_size", "seed")}
    return FeaturizeSettings(
        encoders=(EncoderChoice(header["encoder"], tuple(header["layers"])),),
        views=(View(float(header["scale"]), int(header["crop"])),),
        pool=float(header["pool"]),
        color_range=(float(header["color_range"][0]), float(header["color_range"][1])),
        geometry=int(header.get("geometry", 1)),  # 0.1 named none
        pad=header.get("pad", "none"),
        **named,
        **counted,
    )
