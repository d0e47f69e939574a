"""bchisto: breast-tissue image classification from a few hundred labelled images.

The rooms (``bchisto.stains``, ``bchisto.data``, ``bchisto.featurize``, ``bchisto.boost``, ...) are imported
on first use, so that ``import bchisto`` and ``bchisto --help`` stay fast.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__version__ = "0.3.0"

_ROOMS = (
    "apps",
    "boost",
    "core",
    "crossval",
    "data",
    "encoders",
    "evaluate",
    "featurize",
    "finetune",
    "predict",
    "stains",
)

__all__ = ["__version__", *_ROOMS]
__dir__ = __all__.copy


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
