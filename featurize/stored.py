"""The header of a feature file: the settings that determine its rows, and its origin.

The settings are JSON in the attribute ``settings``. bchisto reads only this attribute; it writes each setting as a
separate attribute too, for other programs. All other attributes describe the origin, and do not affect the rows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core import InputError, StoreError, converted, printable
from ..core.formats import checked_dataset, limits, parse_json
from ..encoders import CropEncoder, Encoder, EncoderChoice
from ..stains import known_stain
from .crops import GRID
from .embeddings.facts import IMPORTED, check_imported
from .settings import FeaturizeSettings, View

TEXT = np.dtype("O", metadata={"vlen": str})
"""Texts in UTF-8, as `h5py.string_dtype` gives them; h5py is only loaded where a file is opened."""

_OF_MANY = ("encoders", "weights", "views", "augmentations")
"""Fields that cover several feature files, or do not change a row (`augmentations`). A header has its own values."""

_ORIGIN = {
    "weights": str,
    "weights_file_sha256": str,
    "dataset": str,
    "images_sha256": str,
    "selection": str,
    "bchisto_version": str,
    "runner": str,
    "card": str,
    "network": str,
    "synthetic": bool,
    "schema_version": int,
    "augmentations": int,
    "classes": list,
    "mpp_sha256": str,
}
"""Attributes that describe the origin of a feature file, and their types; others are not read."""

_WORDS = {
    str: "text",
    float: "a number",
    bool: "true or false",
    int: "a whole number",
    list: "a list of texts",
}

_NOT_ALWAYS = ("runner", "card", "network", "mpp_sha256")
"""Optional attributes: those of encoders other than Keras networks, and those on micrometres per pixel."""


_BOUNDS = {
    "scale": (0.01, limits.MOST_MPP),
    "crop": (32, 8192),
    "crops": (GRID, limits.CROPS),
    "batch_size": (1, 4096),
    "pool": (1.0, 1000.0),
    "color_range": (0.0, 100.0),
    "seed": (0, 2**63 - 1),
}
"""Limits of settings in a header, so that one image fits into memory."""


def store_settings(
    settings: FeaturizeSettings, encoder: CropEncoder, view: View, *, device: str
) -> dict[str, Any]:
    """Return all settings that determine the rows of one feature file, JSON-ready.

    Parameters
    ----------
    settings : FeaturizeSettings
    encoder : CropEncoder
    view : View
    device : {"cpu", "gpu"}
        Where colours, crops and pooling are computed. Pixels differ by at most one grey level between them.
    """
    values = {
        "encoder": encoder.name,
        "layers": encoder.layers,
        "weights_sha256": encoder.weights_sha256,
        "scale": view.scale,
        "crop": view.crop,
    }
    if view.unit:
        values["unit"] = view.unit
    values |= {name: value for name, value in vars(settings).items() if name not in _OF_MANY}
    values |= {
        "engine": encoder.engine,
        "backend": encoder.backend,
        "device": device,
        "batch_size": settings.crops_at_once,
    }
    if isinstance(encoder, Encoder) and encoder.scale:
        values["float16_scale"] = encoder.scale
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def settings_from(header: Mapping[str, Any]) -> FeaturizeSettings:
    """Return the settings of feature extraction from the header of a feature file or model file.

    Raises
    ------
    InputError
        A setting is invalid or out of range.
    KeyError, TypeError, ValueError
        A setting is missing or of another type.
    """
    for name in ("encoder", "weights_sha256"):
        if not isinstance(header[name], str):
            raise TypeError(f"{name} is not text")
    if not all(isinstance(layer, str) for layer in header["layers"]):
        raise TypeError("layers are not names")
    for name, (least, most) in _BOUNDS.items():
        value = header[name]
        ends = value if isinstance(value, list | tuple) else [value]
        if not all(least <= end <= most for end in ends):
            raise InputError(f"{name} is {str(value)[:40]}, out of range")
    scale_of(header)
    if header.get("unit", "") not in ("", "um"):
        raise InputError(f"unit {str(header['unit'])[:40]!r} is not a unit")
    names = {field.name for field in dataclasses.fields(FeaturizeSettings)}.difference(_OF_MANY)
    return FeaturizeSettings(
        encoders=(EncoderChoice(header["encoder"], tuple(header["layers"])),),
        views=(
            View(
                float(header["scale"]),
                converted(header["crop"], "crop", int),
                str(header.get("unit", "")),
            ),
        ),
        augmentations=header["augmentations"],
        **{name: header[name] for name in names} | {"crops": header["crops"] or GRID},
    )


def scale_of(header: Mapping[str, Any]) -> float | None:
    """Return the factor of the features of a network that computed in float16; None for another precision.

    Raises
    ------
    InputError
        It is not a number from 2**-40 to 2**40.
    KeyError
        It is missing.
    """
    if header["precision"] != "float16":
        return None
    scale = header["float16_scale"]
    if not isinstance(scale, float) or not 2.0**-40 <= scale <= 2.0**40:
        raise InputError(f"float16_scale is {str(scale)[:40]}, out of range")
    return scale


def write_header(file: Any, settings: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
    """Write the settings as JSON, and each setting and fact of the origin as an attribute."""
    file.attrs["settings"] = json.dumps(settings, sort_keys=True)
    for name, value in {**settings, **origin}.items():
        if isinstance(value, list):
            numbers = value and not isinstance(value[0], str)
            dtype = np.float64 if numbers else TEXT
            file.attrs.create(name, value, dtype=dtype, shape=(len(value),))
        elif not isinstance(value, dict):
            file.attrs[name] = value


def read_header(file: Any, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the checked settings and origin of an open feature file.

    Raises
    ------
    StoreError, or an error in `bchisto.core.DAMAGE`
        An entry is missing, of another type, too long or out of range; the message names it. Or the stain method is one
        of another package, which is not installed; then nothing is damaged, and the message begins with `path`.
    """
    settings = _read_settings(file)
    origin = _read_origin(file)
    stain = settings.get("stain")
    if isinstance(stain, str) and settings.get("mode") != IMPORTED:
        known_stain(stain, path, kind=StoreError)
    _check_settings(settings, origin)
    return settings, {**origin, "failures": _read_failures(file)}


def _read_settings(file: Any) -> dict[str, Any]:
    """Return the settings, of which only types and lengths are checked."""
    text = file.attrs.get("settings")
    if not isinstance(text, str) or len(text) > limits.CARD_LETTERS:
        raise StoreError("there is no attribute settings, or it is too long")
    settings = parse_json(text, most=limits.SETTINGS_VALUES)
    if not isinstance(settings, dict):
        raise StoreError("the attribute settings holds none")
    texts = [value for value in settings.values() if isinstance(value, str)]
    if any(len(text) > limits.ID_LETTERS for text in texts):
        raise StoreError("the attribute settings holds none")
    return settings


def _read_origin(file: Any) -> dict[str, Any]:
    """Return the checked attributes of `_ORIGIN`."""
    origin = {
        name: _attribute(file, name)
        for name in _ORIGIN
        if name in file.attrs or name not in _NOT_ALWAYS
    }
    if not 1 <= origin["augmentations"] <= limits.AUGMENTATIONS:
        raise StoreError(f"the attribute augmentations is {origin['augmentations']}")
    if not isinstance(json.loads(origin["selection"]), dict):
        raise StoreError("the attribute selection has no options")
    # an invalid card is ignored, but endless nesting is an error
    with contextlib.suppress(ValueError):
        json.loads(origin.get("card", "{}"))
    return origin


def _check_settings(settings: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
    """Refuse settings that no feature file has; `origin` holds its number of augmentations and its weights."""
    try:
        if settings.get("mode") == IMPORTED:
            check_imported(settings)
        else:
            settings_from({**settings, **origin})
    except InputError as error:
        raise StoreError(f"its settings do not fit: {printable(str(error)[:200])}") from error
    except KeyError as error:
        raise StoreError(f"its settings have no {error}") from error


def _read_failures(file: Any) -> list[list[str]]:
    """Return the images that could not be used, each with the message why."""
    text = checked_dataset(file, "failures", holds="text", shape=())[()].decode()
    if len(text) > limits.FAILURES_LETTERS:
        raise StoreError("its failures are too long")
    failures = parse_json(text)
    if not isinstance(failures, list) or not all(map(_is_failure, failures)):
        raise StoreError("its failures are not a list of images and messages")
    return failures


def _is_failure(entry: Any) -> bool:
    match entry:
        case [str(), str()]:
            return True
    return False


def _attribute(file: Any, name: str) -> Any:
    """Return an attribute of `_ORIGIN` in the types of JSON, checked."""
    if name not in file.attrs:
        raise StoreError(f"there is no attribute {name}")
    value = file.attrs[name]
    if _is_short_list(value):
        value = value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    kind = _ORIGIN[name]
    items = value if isinstance(value, list) else [value]
    if type(value) is not kind or (kind is list and not all(isinstance(v, str) for v in items)):
        raise StoreError(f"the attribute {name} is not {_WORDS[kind]}")
    longest = limits.CARD_LETTERS if name == "card" else limits.ID_LETTERS
    if any(isinstance(text, str) and len(text) > longest for text in items):
        raise StoreError(f"the attribute {name} is too long")
    if len(set(items)) < len(items):
        raise StoreError(f"the attribute {name} names one twice")
    return value


def _is_short_list(value: Any) -> bool:
    """Return whether an attribute is an array of texts that is short enough to be a list of names."""
    return (
        isinstance(value, np.ndarray)
        and value.ndim == 1
        and value.dtype.kind in "OSU"
        and len(value) <= limits.SETTINGS_VALUES
    )
