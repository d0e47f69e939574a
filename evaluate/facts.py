"""What a run records of its prediction tables, for those who read them later."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..core import Banner, Entries, banners_of
from ..core.formats import file_sha256, read_json
from .intervals import Entry, with_figures
from .predictions import PredictionTable
from .two_class import TwoClassView

METRICS = "metrics.json"

CHOICE = "choice.json"
"""File of what the choice of the best result of a run adds to the metrics of each; it changes with each new result."""


def joined_versions(records: Iterable[Entries]) -> dict[str, str]:
    """Return the versions of each package, several of them side by side."""
    versions: dict[str, dict[str, None]] = {}
    for record in records:
        for name, version in record.items():
            versions.setdefault(name, {})[str(version)] = None
    return {name: " and ".join(several) for name, several in versions.items()}


_OURS = ("predictions.csv", "predictions-by-patch.csv")
"""Tables of a run; ``metrics.json`` in the same folder has what a reader must know of them."""


class Facts(NamedTuple):
    """What a run records of one of its tables; all empty for a table from elsewhere.

    Attributes
    ----------
    run : dict
        ``run`` of ``metrics.json``: ``protocol``, ``classes``, ``banners`` and more; with ``versions``, of the packages
        that worked on the folder by its ``settings.json``.
    metrics : dict
        Metrics of the table, as `measure` returns them.
    choice : dict
        Result of `choice_in_run`.
    """

    run: Entry
    metrics: Entry
    choice: Entry

    @property
    def banners(self) -> list[Banner]:
        """What a reader must know of the run."""
        return banners_of(self.run)

    @property
    def view(self) -> TwoClassView:
        """The two-class view that the run used."""
        return TwoClassView(**(self.run.get("two_class") or {}))

    def described(self, table: PredictionTable) -> PredictionTable:
        """Return the table with its protocol, its numbers of training images, and the nouns of the run."""
        if not self.run:
            return table
        protocol = self.metrics.get("protocol") or self.run.get("protocol") or table.protocol
        nouns = {f"{noun}_is": name for noun, name in self.run.get("names", {}).items()}
        described = replace(
            table,
            protocol=str(protocol),
            trained=tuple(map(tuple, self.metrics.get("trained_per_fold") or ())),
            **nouns,
        )
        if "call" in self.metrics:
            return replace(described, shares=described.trained_shares)
        return described


def read_facts(path: Path) -> Facts:
    """Read the facts that a run records about a predictions file.

    Parameters
    ----------
    path : Path
        ``predictions.csv`` or ``predictions-by-patch.csv``; beside any other file nothing is looked for.

    Raises
    ------
    InputError
        A ``metrics.json`` that is not JSON.
    """
    content = _read_if_there(path.with_name(METRICS)) if path.name in _OURS else {}
    match content:
        case {"run": dict(run), "tables": dict(tables)}:
            settings = _read_if_there(path.with_name("settings.json"))
            versions = joined_versions(settings.get("made_with", ()))
            if versions:
                run = {**run, "versions": versions}
            # the table of images is the first, that of patches the second
            of_files = dict(zip(_OURS, tables.values(), strict=False))
            metrics = with_figures(of_files.get(path.name, {}))
            return Facts(run, metrics, choice_in_run(path))
    return Facts({}, {}, {})


def choice_in_run(path: Path) -> Entry:
    """Return what the choice in a run added to the metrics of a table, see `choices_of`; empty if nothing did.

    Parameters
    ----------
    path : Path
        ``RUN/boost/NAME/predictions.csv``, or that of a network; if it has changed since, the result is empty.
    """
    folder = path.absolute().parent
    content = _read_if_there(folder.parent.parent / CHOICE)
    match content:
        case {"results": dict(results)} if path.is_file():
            match results.get(f"{folder.parent.name}/{folder.name}"):
                case {"predictions_sha256": digest, **added} if digest == file_sha256(path):
                    return dict(with_figures(added))
    return {}


def _read_if_there(path: Path) -> Any:
    if not path.is_file():
        return {}
    return read_json(path)
