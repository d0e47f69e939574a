"""How long the networks of a recipe take to train, measured side by side on one machine."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..finetune import time_training
from ..jobs import DAMAGE, read_records, write_rows
from .parts import Part
from .recipe import Recipe
from .steps import FinetuneStep, Step

_log = logging.getLogger(__name__)

ROUNDS = 3
"""How often each network is timed (ours); in turns, so that other work on the machine meets all of them."""

_COLUMNS = ("variant", "round", "seconds")


def training_times(
    recipe: Recipe, variants: Mapping[str, Sequence[Step]], part: Part, *, folder: Path
) -> dict[str, list[float]]:
    """Time a step of training of each network that a table of kind ``time`` is about.

    Parameters
    ----------
    recipe : Recipe
    variants : mapping
        Those that were run, with their steps.
    part : Part
        Images, of which the first serves.
    folder : Path
        Gets ``training-time.csv``; a file there that has every network is believed.

    Returns
    -------
    dict of str to list of float
        Variant to the seconds that a sample took in each round; empty where no table asks for them.
    """
    rows = {name for table in recipe.published if table["kind"] == "time" for name in table["rows"]}
    steps = {
        name: step for name, found in variants.items() for step in found
        if name in rows and isinstance(step, FinetuneStep)
    }  # fmt: skip
    if not steps:
        return {}
    path = folder / "training-time.csv"
    known = _read(path)
    if steps.keys() <= known.keys():
        return known
    known = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            dataset = part.read(step.reading)
            cost = time_training(dataset.records[0], settings=step.settings, classes=len(dataset.classes))
            known[name].append(cost.step)
    write_rows(path, _COLUMNS, [(name, k + 1, value) for name, found in known.items() for k, value in enumerate(found)])
    return known


def _read(path: Path) -> dict[str, list[float]]:
    """Return what was timed before; nothing where there is no such table, or it is damaged."""
    found: dict[str, list[float]] = {}
    if not path.is_file():
        return found
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            for row in read_records(handle):
                found.setdefault(row["variant"], []).append(float(row["seconds"]))
    except DAMAGE as error:
        _log.warning("%s: no whole table of times (%s); timed again", path, str(error) or type(error).__name__)
        return {}
    return found
