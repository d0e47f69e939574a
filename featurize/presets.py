"""Presets of feature extraction, and options whose value ``auto`` depends on the images or the machine."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ..core import InputError, Message, from_options, how_to_install, one_of
from ..core.jobs import prepare_backend, visible_gpus
from ..encoders import EncoderChoice, gives_maps
from .settings import DEFAULT_VIEWS, FeaturizeSettings

_log = logging.getLogger(__name__)

AUTO = {"auto": DEFAULT_VIEWS, "auto:1": DEFAULT_VIEWS[:1]}
"""Automatic values of ``--view``: the published views, or others that fit the images; or only the smaller view."""

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
"""Options that each preset sets. ``published`` is Rakhlin et al. 2018.

``quick`` and ``standard`` are on the upper convex hull of accuracy on real BACH against CPU time, see
``docs/settings.md``.
"""

_KERAS_TIMES = 2
"""Ratio of the CPU times of dense mode with Keras and with OpenVINO (``tools/benchmarks/presets.py``)."""


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
    """Return settings, and whether their views must still be fitted to the images.

    Parameters
    ----------
    options : mapping
        Fields of `FeaturizeSettings`; others are ignored. ``views`` may be a name of `AUTO`, which
        `bchisto.apps.check.plan_describing` then replaces with views that fit. ``engine`` may be ``auto``: OpenVINO if
        it is installed, the encoders are networks of Keras on TensorFlow, and there is no GPU.
    here : bool
        Whether the work runs on this machine. Otherwise ``auto`` means Keras, and no library is loaded to decide.
    brought : mapping
        Defaults of encoders, see `bchisto.featurize.encoder_defaults`. With them, ``auto`` means the encoder's view.

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
    """Return whether OpenVINO is the best engine on this machine; warn if it would be but is not installed."""
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
