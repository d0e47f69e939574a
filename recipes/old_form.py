"""The form that recipes had in 0.1, which is read for one more release: a ``road`` in place of steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_STEPS = {"boosted": ["featurize", "boost"], "cnn": ["finetune"]}
_QUICK = {"augmentations": "featurize", "crops": "featurize", "seeds": "boost"}
"""Settings that a quick run of a boosted recipe changed, and the step of each."""


def has_road(content: Mapping[str, Any]) -> bool:
    """Return whether a recipe is written in the old form."""
    return content.get("road") in _STEPS and "steps" not in content


def without_road(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe in the form of today.

    Parameters
    ----------
    content : mapping
        For which `has_road` holds.
    """
    found = {key: value for key, value in content.items() if key != "road"}
    found["steps"] = _STEPS[content["road"]]
    if isinstance(content.get("variants"), Mapping):
        found["variants"] = {name: _variant(change) for name, change in content["variants"].items()}
    if isinstance(content.get("quick"), Mapping):
        found["quick"] = quick = {key: value for key, value in content["quick"].items() if key not in _QUICK}
        for key, step in _QUICK.items():
            if key in content["quick"]:
                quick[step] = {**quick.get(step, {}), key: content["quick"][key]}
    return found


def _variant(change: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in change.items() if key not in ("folds", "test_fold")}
    if "featurize" in change:  # frozen features beside a network
        found["steps"] = _STEPS["boosted"]
    if "folds" in change:
        found["boost"] = {**found.get("boost", {}), "folds": change["folds"]}
    if "test_fold" in change:
        found["finetune"] = {**found.get("finetune", {}), "test_fold": change["test_fold"]}
    return found
