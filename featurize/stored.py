"""The header of a feature file: the settings that determine its rows, and its origin, which does not affect them.

Each is one JSON, in the attributes ``settings`` and ``origin``.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..core import Content, Entries, InputError, StoreError, converted, printable
from ..core.formats import checked_dataset, fits, is_text, limits, parse_json
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
    "weights": is_text,
    "weights_file_sha256": is_text,
    "dataset": is_text,
    "images_sha256": is_text,
    "selection": dict,
    "bchisto_version": is_text,
    "runner": is_text,
    "card": lambda text: is_text(text, limits.CARD_LETTERS),
    "network": is_text,
    "synthetic": bool,
    "augmentations": lambda rows: type(rows) is int and 1 <= rows <= limits.AUGMENTATIONS,
    "classes": lambda names: fits(names, [is_text]) and len({*names}) == len(names),
    "mpp_sha256": is_text,
}
"""Facts on the origin of a feature file, and their forms; others are not read."""

_NOT_ALWAYS = ("runner", "card", "network", "mpp_sha256")
"""Optional facts: those of encoders other than Keras networks, and those on micrometres per pixel."""

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
) -> Content:
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
    plain: Content = json.loads(json.dumps(values))
    return plain


def settings_from(header: Entries) -> FeaturizeSettings:
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


def scale_of(header: Entries) -> float | None:
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


def read_header(file: Any, path: Path) -> tuple[Content, Content]:
    """Return the checked settings and origin of an open feature file.

    Raises
    ------
    StoreError, or an error in `bchisto.core.DAMAGE`
        An entry is missing, of another type, too long or out of range; the message names it. Or the stain method is one
        of another package, which is not installed; then nothing is damaged, and the message begins with `path`.
    """
    settings = _read_json(file, "settings")
    if not all(is_text(value) for value in settings.values() if isinstance(value, str)):
        raise StoreError("a text of the attribute settings is too long")
    stored = _read_json(file, "origin")
    origin = {
        name: stored.get(name) for name in _ORIGIN if name in stored or name not in _NOT_ALWAYS
    }
    for name, value in origin.items():
        if not fits(value, _ORIGIN[name]):
            raise StoreError(f"{name} of its origin does not fit: {printable(str(value)[:40])}")
    stain = settings.get("stain")
    if isinstance(stain, str) and settings.get("mode") != IMPORTED:
        known_stain(stain, path, kind=StoreError)
    try:
        if settings.get("mode") == IMPORTED:
            check_imported(settings)
        else:
            settings_from({**settings, **origin})
    except InputError as error:
        raise StoreError(f"its settings do not fit: {printable(str(error)[:200])}") from error
    except KeyError as error:
        raise StoreError(f"its settings have no {error}") from error
    return settings, {**origin, "failures": _read_failures(file)}


def _read_json(file: Any, name: str) -> Content:
    """Return the mapping in an attribute with JSON; its entries are not checked."""
    text = file.attrs.get(name)
    if not is_text(text, 2 * limits.CARD_LETTERS):
        raise StoreError(f"there is no attribute {name}, or it is too long")
    content = parse_json(text, most=limits.SETTINGS_VALUES)
    if not isinstance(content, dict):
        raise StoreError(f"the attribute {name} holds none")
    return content


def _read_failures(file: Any) -> list[list[str]]:
    """Return the images that could not be used, each with its message."""
    text = checked_dataset(file, "failures", holds="text", shape=())[()].decode()
    if len(text) > limits.FAILURES_LETTERS:
        raise StoreError("its failures are too long")
    failures = parse_json(text)
    if not fits(failures, [lambda entry: fits(entry, [str]) and len(entry) == 2]):
        raise StoreError("its failures are not a list of images and messages")
    return list(failures)
