"""The panel of a report for one table, its figures as rows, and the table of a paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core import Banner, Kind, banners_of, counted, plural
from ..core.formats import as_frame
from .intervals import Entry, Figure, Metrics
from .metrics import fold_accuracies, list_metrics, metrics_of
from .predictions import PredictionTable
from .two_class import TwoClassView

TESTED = ("p", "p_holm", "verdict")
"""Entries of a comparison that are of its test."""


@dataclass(frozen=True)
class PaperTable:
    """The table of a paper: its rows and folds.

    Attributes
    ----------
    folds : list of int
    rows : list of dict
        Accuracies as shares: ``name``; ``per_fold``, the accuracy of each fold, for a store the mean over seeds, as
        published, and for the fusion, the last row, its own; ``averaged``, the accuracy of each fold of the prediction
        averaged over seeds, None for the fusion.
    """

    folds: list[int]
    rows: list[Entry]

    def lines(self) -> list[list[str]]:
        """Return the header, and cells in percent, one list a row; one fold has no spread."""
        lines = [["model", *(f"f{fold}" for fold in self.folds), "mean", "std", "seed avg"]]
        for row in self.rows:
            shares = row["per_fold"]
            cells = [f"{100 * value:.1f}" for value in (*shares, float(np.mean(shares)))]
            std = f"{100 * np.std(shares):.1f}" if len(self.folds) > 1 else ""
            averaged = ""
            if row["averaged"] is not None:
                averaged = f"{100 * np.mean(row['averaged']):.1f}"
            lines.append([row["name"], *cells, std, averaged])
        return lines


def paper_table(
    by_seed: Mapping[str, Sequence[PredictionTable]],
    averaged: Mapping[str, PredictionTable],
    fusion: PredictionTable,
) -> PaperTable:
    """Make the table of a paper.

    Parameters
    ----------
    by_seed : dict
        Store name to one table per seed.
    averaged : dict
        Store name to the table of the seed average.
    fusion : PredictionTable
        Mean over stores, seeds and augmentations.

    Returns
    -------
    PaperTable

    References
    ----------
    Rakhlin et al. 2018, Table 1.
    """
    rows = []
    for name, tables in by_seed.items():
        mean = np.mean([fold_accuracies(table) for table in tables], axis=0).tolist()
        rows.append({"name": name, "per_fold": mean, "averaged": fold_accuracies(averaged[name])})
    rows.append({"name": "Model fusion", "per_fold": fold_accuracies(fusion), "averaged": None})
    return PaperTable(fusion.fold_numbers, rows)


_PARTS = {
    "per_class": "of a class: ",
    "two_class": "two classes: ",
    "calibration": "calibration: ",
    "thresholds": "operating points: ",
    "wanted": "operating points: ",
    "at_prevalence": "another prevalence: ",
    "subgroups": "subgroups: ",
    "alone": "subgroups: ",
    "drawn": "drawn at random: ",
}
"""Parts of the metrics of a table that have figures, and the beginnings of their names."""


def decisive(metrics: Metrics) -> Entry:
    """Return the metrics that conclusions rest on: of the rows drawn at random, if a strategy chose others.

    If it chose all of them, figures have no interval. What a choice of the best adds, and subgroups, stay.
    """
    others = {name: value for name, value in metrics.items() if name != "drawn"}
    return {**others, **metrics.get("drawn", {})}


def figures_of(metrics: Metrics) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of a table that pages show, those of its parts too, by name."""
    hidden = {spec.name for spec in list_metrics() if not spec.shown}
    for name, figure in _named_figures(metrics, ""):
        *part, figure_name = name.split()
        if figure_name not in hidden:
            titles = [_PARTS[word] for word in part if word in _PARTS]
            title = "".join(titles[-1:])
            if part[:1] == ["drawn"] and titles[1:]:
                title = titles[0] + title
            yield title + figure_name.replace("_", " "), figure


def rows_of(metrics: Metrics) -> str:
    """Return the noun for rows: what they are about, or ``predictions`` if several are about one image."""
    if metrics["tested"]["most"] > 1:
        return "predictions"
    return plural(metrics["names"]["row"])


def images_tested(metrics: Metrics, part: Metrics | None = None) -> str:
    """Return as text how many images, or other subjects of rows, were tested, and how often.

    Parameters
    ----------
    metrics : mapping
        Metrics of a table.
    part : mapping, optional
        Metrics of a subgroup of it.

    Examples
    --------
    >>> names = {"row": "image"}
    >>> images_tested({"names": names, "n": 48, "tested": {"n": 24, "least": 2, "most": 2}})
    '48 predictions of 24 images, each tested 2 times'
    >>> images_tested({"names": names, "n": 40, "tested": {"n": 24, "least": 1, "most": 3}})
    '40 predictions of 24 images, tested 1 to 3 times'
    """
    rows = part or metrics
    times = rows["tested"]
    images = counted(times["n"], metrics["names"]["row"])
    if times["most"] == 1:
        return images
    tests = f"tested {times['least']} to {times['most']} times"
    if times["least"] == times["most"]:
        tests = f"each tested {times['most']} times"
    return f"{counted(rows['n'], 'prediction')} of {images}, {tests}"


class Sample(NamedTuple):
    """An image shown in a report: its thumbnail, and its true and predicted class.

    Attributes
    ----------
    image_id : str
    label, predicted : str
    confidence : float
    picture : str
        A data address; empty if the image could not be read, which the report says.
    """

    image_id: str
    label: str
    predicted: str
    confidence: float
    picture: str


@dataclass(frozen=True)
class Panel:
    """One prediction table in a report.

    Attributes
    ----------
    table : PredictionTable
    metrics : dict
        Result of `measure`: what ``metrics.json`` holds of the table, but with each estimate as a `Figure`.
    paper : PaperTable, optional
        The per-fold table of the paper.
    samples : sequence of Sample
        The report numbers them; which images they are stands in ``pictures.csv`` beside it.
    run : mapping
        ``run`` of ``metrics.json`` as `read_facts` gives it: what the run that made the table records, such as
        ``flow``, ``methods``, ``settings``, ``curves`` and ``versions``; empty for a table from elsewhere.
    view : TwoClassView
        The two-class view of its metrics.
    drawn : dict
        Drawings of the table that a report has made already, by name.
    folder : Path
        Folder of the file that `evaluate` read.
    choice : mapping
        What a choice of the best added to the metrics, or is to add, see `choices_of`.
    """

    table: PredictionTable
    metrics: Entry
    paper: PaperTable | None = None
    samples: Sequence[Sample] = ()
    run: Metrics = field(default_factory=dict)
    view: TwoClassView = TwoClassView()
    drawn: Entry = field(default_factory=dict, compare=False)
    folder: Path = Path()
    choice: Metrics = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Panel({self.table})"

    def chosen(self, choice: Metrics) -> Panel:
        """Return the panel with what a choice adds to its metrics, in place of an older choice."""
        others = {name: value for name, value in self.metrics.items() if name not in self.choice}
        return replace(self, metrics={**others, **choice}, choice=choice)

    def with_groups(self, groups: Mapping[str, str]) -> Panel:
        """Return the panel, measured anew if groups of images are known by now that were not when it was made."""
        known = tuple(
            group or groups.get(image)
            for image, group in zip(self.table.image_ids, self.table.groups, strict=True)
        )
        if known == self.table.groups:
            return self
        table = replace(self.table, groups=known)
        banners = [banner.json() for banner in self.banners if banner.kind != Kind.PATIENTS_UNKNOWN]
        return replace(
            self,
            table=table,
            metrics=metrics_of(table, self.view),
            run={**self.run, "banners": banners},
            drawn={},
        )

    @property
    def banners(self) -> list[Banner]:
        """What a reader must know of the run that made the table."""
        return banners_of(self.run)

    @property
    def decisive(self) -> Panel:
        """The panel of the rows that conclusions rest on, see the function `decisive`."""
        return replace(self, table=self.table.drawn, metrics=decisive(self.metrics))

    @property
    def figures(self) -> dict[str, Figure]:
        """Each figure by its name, which begins with the part of the metrics that it is in.

        Names are such as ``accuracy``, ``per_class malignant recall``, ``two_class thresholds 0.5 sensitivity`` and
        ``subgroups site A accuracy``.
        """
        return dict(_named_figures(self.metrics, ""))

    def rows(self) -> list[Entry]:
        """Return a row for each figure.

        Its entries are ``table``, ``part`` (empty for the whole table), ``metric``, ``units`` (patients, or else
        images, of the whole table), ``value``, ``low`` and ``high`` (of the 95 % interval), ``method``, and
        ``reason`` (why there is no interval).
        """
        return figure_rows(self.table.name, self.metrics)

    def to_pandas(self) -> Any:
        """Return `rows` as a `pandas.DataFrame`.

        Raises
        ------
        DependencyError
            pandas is not installed.
        """
        return as_frame(self.rows())


def figure_rows(table: str, metrics: Metrics) -> list[Entry]:
    """Return a row for each figure of the metrics of a table, see `Panel.rows`."""
    rows = []
    for name, figure in _named_figures(metrics, ""):
        part, _, metric = name.rpartition(" ")
        row = {"table": table, "part": part, "metric": metric}
        rows.append({**row, "units": metrics["units"]["count"], **vars(figure)})
    return rows


def comparison_rows(pairs: Sequence[Metrics]) -> list[Entry]:
    """Return a row for each difference of `compare_pairs`; only one is tested."""
    rows = []
    for pair in pairs:
        for metric, figure in pair["differences"].items():
            row = {"first": pair["first"], "second": pair["second"], "metric": metric}
            row |= vars(figure) | dict.fromkeys(TESTED)
            if metric == pair["tested"]:
                row |= {name: pair[name] for name in TESTED}
            rows.append(row)
    return rows


def _named_figures(value: Any, part: str) -> Iterator[tuple[str, Figure]]:
    """Yield the figures inside a value of `Panel.metrics` with their names; items of lists go by their first value."""
    if isinstance(value, Figure):
        yield part.lstrip(), value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _named_figures(inner, f"{part} {name}")
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, Mapping):
                yield from _named_figures(inner, f"{part} {next(iter(inner.values()))}")
