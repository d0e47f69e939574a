"""The panel of a report for one table, and the table of a paper: folds, means and spread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core import Banner, Kind, banners_of, counted, plural
from ..core.formats import as_frame, file_sha256, read_json
from .intervals import Entry, Figure, Metrics, with_figures
from .metrics import fold_accuracies, list_metrics, metrics_of
from .predictions import PredictionTable
from .two_class import TwoClassView

METRICS = "metrics.json"

CHOICE = "choice.json"
"""File of what the choice of the best result of a run adds to the metrics of each; it changes with each new result."""


TESTED = ("p", "p_holm", "verdict")
"""Entries of a comparison that are of the test of its accuracies."""


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


def variance_split(members: Sequence[PredictionTable], *, splits: int = 1) -> Entry | None:
    """Split the spread of an accuracy into the parts of the seed, the fold, and the split of the images.

    Parameters
    ----------
    members : sequence of PredictionTable
        The same images and folds, predicted by models of one seed each.
    splits : int
        Number of splits of repeated cross-validation; each has as many folds, in the order of their numbers.

    Returns
    -------
    dict or None
        ``seeds``, ``folds`` (of a split) and ``splits``; ``seed``, the standard deviation of the accuracy over all
        folds from one seed to another; ``fold``, that of a fold's accuracy within a split; ``split``, that of the
        accuracy over all folds from one split to another. The last two are without the noise that seeds leave in a
        mean over them. Each is None if there is only one of its kind; the result is None for tables without folds.

    References
    ----------
    Searle, Casella & McCulloch 1992, ch. 3 (components by their expected mean squares); Bouthillier et al. 2021 for the
    sources.
    """
    first = members[0]
    numbers = first.fold_numbers
    if not numbers or len(numbers) % splits:
        return None
    fold = np.searchsorted(numbers, first.fold_array)
    right = np.array([np.bincount(fold, table.hits) for table in members])
    rows = np.bincount(fold)
    seeds, folds = len(members), len(numbers) // splits
    fold_accuracy = (right / rows).reshape(seeds, splits, folds)
    split_accuracy = right.reshape(seeds, splits, folds).sum(axis=2) / rows.reshape(
        splits, folds
    ).sum(axis=1)
    noise_of_fold = 0.0
    noise_of_split = 0.0
    if seeds > 1:
        noise_of_fold = fold_accuracy.var(axis=0, ddof=1).mean()
        noise_of_split = split_accuracy.var(axis=0, ddof=1).mean()

    def without_noise(variance: float, noise: float) -> float:
        """Return the standard deviation without the noise that seeds leave in a mean over them."""
        return float(np.sqrt(max(0.0, variance - noise / seeds)))

    split: Entry = {"seeds": seeds, "folds": folds, "splits": splits}
    split |= {"seed": None, "fold": None, "split": None}
    if seeds > 1:
        split["seed"] = float(np.sqrt(noise_of_split))
    if folds > 1:
        variance = fold_accuracy.mean(axis=0).var(axis=1, ddof=1).mean()
        split["fold"] = without_noise(variance, noise_of_fold)
    if splits > 1:
        split["split"] = without_noise(split_accuracy.mean(axis=0).var(ddof=1), noise_of_split)
    return split


_PARTS = {
    "per_class": "of a class: ",
    "two_class": "two classes: ",
    "calibration": "calibration: ",
    "thresholds": "operating points: ",
    "wanted": "operating points: ",
    "at_prevalence": "another prevalence: ",
    "subgroups": "subgroups: ",
}
"""Parts of the metrics of a table that have figures, and the beginnings of their names."""


def figures_of(metrics: Metrics) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of a table that pages show, those of its parts too, by name."""
    hidden = {spec.name for spec in list_metrics() if not spec.shown}
    for name, figure in _named_figures(metrics, ""):
        *part, figure_name = name.split()
        if figure_name not in hidden:
            begin = [_PARTS[word] for word in part if word in _PARTS]
            yield "".join(begin[-1:]) + figure_name.replace("_", " "), figure


def joined_versions(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the versions of each package, several of them side by side."""
    versions: dict[str, dict[str, None]] = {}
    for record in records:
        for name, version in record.items():
            versions.setdefault(name, {})[str(version)] = None
    return {name: " and ".join(several) for name, several in versions.items()}


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
    """Return a row for each difference of `compare_pairs`; only that of accuracy is tested."""
    rows = []
    for pair in pairs:
        for metric, figure in pair["differences"].items():
            row = {"first": pair["first"], "second": pair["second"], "metric": metric}
            row |= vars(figure) | dict.fromkeys(TESTED)
            if metric == "accuracy":
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
        return replace(
            table,
            protocol=str(protocol),
            trained=tuple(map(tuple, self.metrics.get("trained_per_fold") or ())),
            **nouns,
        )


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
