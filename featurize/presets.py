"""Settings of stage 1 by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core import InputError, one_of
from .settings import DEFAULT_VIEWS

AUTO = {"auto": DEFAULT_VIEWS, "auto:1": DEFAULT_VIEWS[:1]}
"""What ``--view`` takes instead of views: the published ones, or others that fit the images."""

_INCEPTION = "inceptionv3:mixed5+mixed7+mixed8"

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {"encoders": (_INCEPTION,), "views": ("auto:1",), "augmentations": 4, "mode": "dense"},
    "standard": {"encoders": (_INCEPTION, "mobilenetv2"), "views": ("auto",), "augmentations": 12, "mode": "dense"},
    "published": {},
}
"""Options that a name stands for. ``standard`` is the most accurate that was measured on real BACH, and ``quick``
one of its four stores with a third of the augmentations, see ``docs/settings.md``; ``published`` is Rakhlin et al.
2018."""


def preset_options(name: str) -> dict[str, Any]:
    """Return the options that a preset sets, in the words of `FeaturizeSettings`.

    ``views`` may be a name of `AUTO`, for which `bchisto.preflight.fit_settings` puts views that fit the images.

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
