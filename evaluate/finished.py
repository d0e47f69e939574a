"""What finished folders of a run record of their tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core.formats import read_json
from .predictions import PredictionTable
from .two_class import TwoClassView
from .words import joined_versions

_OURS = ("predictions.csv", "predictions-by-patch.csv")
"""Tables of a run; ``metrics.json`` in the same folder has what a reader must know of them."""


@dataclass(frozen=True)
class Facts:
    """What a run records of one of its tables; all empty for a table from elsewhere.

    Attributes
    ----------
    run : dict
        ``run`` of ``metrics.json``: ``protocol``, ``classes``, ``banners`` and more; with ``versions``, of the packages
        that worked on the folder by its ``settings.json``.
    metrics : dict
        Those of the table.
    """

    run: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def view(self) -> TwoClassView:
        """The two-class view that the run used."""
        record = self.run.get("two_class")
        return TwoClassView(**record) if record else TwoClassView()

    def described(self, table: PredictionTable) -> PredictionTable:
        """Return the table with its protocol and the folds to be noted."""
        if not self.run:
            return table
        protocol = self.metrics.get("protocol") or self.run.get("protocol") or table.protocol
        names = {f"{what}_is": name for what, name in self.run.get("names", {}).items()}
        trained = tuple(map(tuple, self.metrics.get("trained_per_fold") or ()))
        return replace(table, protocol=str(protocol), trained=trained, **names)


def read_facts(path: Path) -> Facts:
    """Read what the run records of a predictions file.

    Parameters
    ----------
    path : Path
        ``predictions.csv`` or ``predictions-by-patch.csv``; beside any other file nothing is looked for.

    Raises
    ------
    InputError
        A ``metrics.json`` that is not JSON.
    """
    metrics = path.parent / "metrics.json"
    content = read_json(metrics) if path.name in _OURS and metrics.is_file() else {}
    run, tables = (content.get(key) if isinstance(content, dict) else None for key in ("run", "tables"))
    if not isinstance(run, dict) or not isinstance(tables, dict):
        return Facts({}, {})
    settings = path.with_name("settings.json")
    content = read_json(settings) if settings.is_file() else {}
    if versions := joined_versions(content.get("made_with", ())):
        run = {**run, "versions": versions}
    names = [name for name in tables if name.endswith(" (patch)") == (path.name == _OURS[1])]
    return Facts(run, tables[names[0]] if names else {})
