"""Settings of stage 1 by name, and options that stand for what fits the images and the machine."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ..core import InputError, Message, from_options, how_to_install, one_of
from ..encoders import EncoderChoice, gives_maps
from ..jobs import prepare_backend, visible_gpus
from .settings import DEFAULT_VIEWS, FeaturizeSettings

_log = logging.getLogger(__name__)

AUTO = {"auto": DEFAULT_VIEWS, "auto:1": DEFAULT_VIEWS[:1]}
"""What ``--view`` takes: the published views, or others that fit the images; or only the smaller of the two."""

_DENSE = {"mode": "dense", "engine": "auto"}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {"encoders": ("mobilenetv2",), "views": ("auto:1",), "augmentations": 12, **_DENSE},
    "standard": {
        "encoders": ("inceptionv3:mixed5+mixed7+mixed8", "mobilenetv2"),
        "views": ("auto",),
        "augmentations": 12,
        **_DENSE,
    },
    "published": {},
}
"""Options that a name stands for: ``quick`` and ``standard`` lie on the upper hull of accuracy on real BACH against
CPU time, see ``docs/settings.md``; ``published`` is Rakhlin et al. 2018."""

_KERAS_TIMES = 2
"""CPU time of dense mode with Keras over that with OpenVINO (``benchmarks/presets.py``)."""


def preset_options(name: str) -> dict[str, Any]:
    """Return the options that a preset sets, for `resolve_settings`.

    Parameters
    ----------
    name : {"quick", "standard", "published"}

    Raises
    ------
    InputError
        There is no such preset.
    """
    if name not in PRESETS:
        raise InputError("{preset} {}: {}", name, one_of(name, PRESETS))
    return dict(PRESETS[name])


def resolve_settings(
    options: Mapping[str, Any], *, here: bool = True, brought: Mapping[str, Any] = MappingProxyType({})
) -> tuple[FeaturizeSettings, bool]:
    """Return settings, and whether their views are to be fitted to the images.

    Parameters
    ----------
    options : mapping
        Fields of `FeaturizeSettings`; others are left aside. ``views`` may be a name of `AUTO`, for which
        `bchisto.preflight.plan_describing` then puts views that fit. ``engine`` may be ``auto``: OpenVINO if it is
        installed, the encoders are networks of Keras on TensorFlow, and there is no GPU.
    here : bool
        Whether they are for work on this machine; else ``auto`` stays Keras, and no library is loaded to see.
    brought : mapping
        Options that encoders bring, see `bchisto.featurize.encoder_defaults`; ``auto`` then stands for their view.

    Raises
    ------
    InputError
        See `FeaturizeSettings`.
    """
    views = options.get("views", ())
    automatic = AUTO.get(views[0]) if len(views) == 1 else None
    engine = options.get("engine", "keras")
    chosen = {**options, "engine": "keras" if engine == "auto" else engine}
    chosen |= {**({"views": automatic} if automatic else {}), **brought}
    settings = from_options(FeaturizeSettings, chosen)
    if here and engine == "auto" and _openvino_suits(settings.encoders):
        settings = replace(settings, engine="openvino")
    return settings, automatic is not None


def _openvino_suits(encoders: tuple[EncoderChoice, ...]) -> bool:
    """Return whether OpenVINO is the fastest engine here; print what it costs that it is not installed."""
    if not all(map(gives_maps, encoders)) or prepare_backend() != "tensorflow" or visible_gpus():
        return False
    if importlib.util.find_spec("openvino") is not None:
        return True
    _log.warning(
        Message(
            "OpenVINO is not installed: {engine:keras} takes about {} times the CPU time; {}",
            _KERAS_TIMES, how_to_install("openvino"),
        )
    )  # fmt: skip
    return False
