"""What a report shows of one table, and the table of a paper: folds, means and spread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..core import counted, listed, plural
from .metrics import TwoClassView, fold_accuracies
from .predictions import PredictionTable


@dataclass(frozen=True)
class PaperTable:
    """Rows of the table and its folds.

    Attributes
    ----------
    folds : list of int
    rows : list of dict
        Accuracies as shares: ``name``; ``per_fold``, for a store the mean over seeds of the fold accuracy, as
        published, for the fusion, which is the last, its fold accuracy; ``averaged``, fold accuracies of the prediction
        averaged over seeds, None for the fusion.
    """

    folds: list[int]
    rows: list[dict[str, Any]]

    def lines(self) -> list[list[str]]:
        """Return the header, and cells in percent, one list a row; one fold has no spread."""
        lines = [["model", *(f"f{fold}" for fold in self.folds), "mean", "std", "seed avg"]]
        for row in self.rows:
            shares, averaged = row["per_fold"], row["averaged"]
            cells = [f"{100 * value:.1f}" for value in (*shares, float(np.mean(shares)))]
            spread = f"{100 * np.std(shares):.1f}" if len(self.folds) > 1 else ""
            lines.append(
                [
                    row["name"],
                    *cells,
                    spread,
                    "" if averaged is None else f"{100 * np.mean(averaged):.1f}",
                ]
            )
        return lines


def paper_table(
    by_seed: Mapping[str, Sequence[PredictionTable]],
    averaged: Mapping[str, PredictionTable],
    fusion: PredictionTable,
) -> PaperTable:
    """Make the table.

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
    rows: list[dict[str, Any]] = []
    for name, tables in by_seed.items():
        mean = np.mean([fold_accuracies(table) for table in tables], axis=0).tolist()
        rows.append({"name": name, "per_fold": mean, "averaged": fold_accuracies(averaged[name])})
    rows.append({"name": "Model fusion", "per_fold": fold_accuracies(fusion), "averaged": None})
    return PaperTable(fusion.fold_numbers, rows)


def variance_split(members: Sequence[PredictionTable], *, splits: int = 1) -> dict[str, Any] | None:
    """Split the spread of an accuracy into what the seed, the fold and the split of the images make.

    Parameters
    ----------
    members : sequence of PredictionTable
        The same images and folds, predicted by models of one seed each.
    splits : int
        Of repeated cross-validation; each has as many folds, in the order of their numbers.

    Returns
    -------
    dict or None
        ``seeds``, ``folds`` (of a split) and ``splits``; ``seed``, the standard deviation of the accuracy over all
        folds from one seed to another; ``fold``, that of a fold's accuracy within a split; ``split``, that of the
        accuracy over all folds from one split to another. From the last two the part that the seeds make in a mean
        over them is taken away. None where there is but one of something; None in place of all for tables without
        folds.

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
    right = np.array([np.bincount(fold, table.predicted == table.labels) for table in members])
    rows = np.bincount(fold)
    seeds, folds = len(members), len(numbers) // splits
    of_fold = (right / rows).reshape(seeds, splits, folds)
    of_split = right.reshape(seeds, splits, folds).sum(axis=2) / rows.reshape(splits, folds).sum(
        axis=1
    )
    noise_of_fold = of_fold.var(axis=0, ddof=1).mean() if seeds > 1 else 0.0
    noise_of_split = of_split.var(axis=0, ddof=1).mean() if seeds > 1 else 0.0

    def rest(total: float, noise: float) -> float:
        return float(np.sqrt(max(0.0, total - noise / seeds)))

    return {
        "seeds": seeds,
        "folds": folds,
        "splits": splits,
        "seed": float(np.sqrt(noise_of_split)) if seeds > 1 else None,
        "fold": rest(of_fold.mean(axis=0).var(axis=1, ddof=1).mean(), noise_of_fold)
        if folds > 1
        else None,
        "split": rest(of_split.mean(axis=0).var(ddof=1), noise_of_split) if splits > 1 else None,
    }


def fold_error(
    means: Sequence[float], sizes: Sequence[float], *, share: float
) -> tuple[float, float]:
    """Return the mean over folds, each weighed by its rows, and its standard error with k - 1 degrees of freedom.

    Parameters
    ----------
    means, sizes : sequence of float
        Of each of at least two folds.
    share : float
        Images tested to images trained on; 0 for folds that are independent, such as seeds.
    """
    values, weight = (
        np.array(means, dtype=np.float64),
        np.array(sizes, dtype=np.float64) / np.sum(sizes),
    )
    pooled = float(weight @ values)
    spread = float(weight @ np.square(values - pooled)) / (len(values) - 1)
    return pooled, (spread * (1.0 + len(values) * share)) ** 0.5


def spread_sentence(spread: Mapping[str, Any]) -> str:
    """Return the result of `variance_split` as text, in percentage points."""
    of = {
        "seed": f"one of {spread['seeds']} seeds to another",
        "fold": f"fold to fold of {spread['folds']}",
    }
    of["split"] = f"one of {spread['splits']} splits to another"
    parts = [
        f"{100 * spread[name]:.1f} from {text}"
        for name, text in of.items()
        if spread[name] is not None
    ]
    return f"The spread of the accuracy (standard deviation, points) is {listed(parts)}."


def figures_of(metrics: Mapping[str, Any], of: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the figures of a table, those of classes and of the two-class view too, with what they are called."""
    for name, value in metrics.items():
        if name == "per_class":
            for figures in value.values():
                yield from figures_of(figures, "of a class: ")
        elif name == "two_class":
            yield from figures_of({key: value[key] for key in ("accuracy", "auc")}, "two classes: ")
        elif isinstance(value, Mapping) and "interval" in value:
            yield of + name.replace("_", " "), value


def joined_versions(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the versions of each package, several of them side by side."""
    versions: dict[str, dict[str, None]] = {}
    for record in records:
        for name, version in record.items():
            versions.setdefault(name, {})[str(version)] = None
    return {name: " and ".join(several) for name, several in versions.items()}


def rows_of(metrics: Mapping[str, Any]) -> str:
    """Return what rows are called: what they are about, or predictions where several rows are about one image."""
    return plural(
        "prediction"
        if (metrics.get("tested") or {"most": 1})["most"] > 1
        else metrics["names"]["row"]
    )


def images_tested(metrics: Mapping[str, Any], part: Mapping[str, Any] | None = None) -> str:
    """Count what rows are about: each image once, however many folds test it.

    Parameters
    ----------
    metrics : mapping
        Of a table.
    part : mapping, optional
        Of a subgroup of it.

    Examples
    --------
    >>> names = {"row": "image"}
    >>> images_tested({"names": names, "n": 48, "tested": {"n": 24, "least": 2, "most": 2}})
    '48 predictions of 24 images, each tested 2 times'
    >>> images_tested({"names": names, "n": 40, "tested": {"n": 24, "least": 1, "most": 3}})
    '40 predictions of 24 images, tested 1 to 3 times'
    """
    of = part or metrics
    times = of.get("tested") or {"n": of["n"], "least": 1, "most": 1}
    images = counted(times["n"], metrics["names"]["row"])
    if times["most"] == 1:
        return images
    each, often = (
        ("each ", "") if times["least"] == times["most"] else ("", f"{times['least']} to ")
    )
    return (
        f"{counted(of['n'], 'prediction')} of {images}, {each}tested {often}{times['most']} times"
    )


class Sample(NamedTuple):
    """An image shown in a report: its thumbnail, and its true and predicted class.

    Attributes
    ----------
    image_id : str
    picture : str
        A data address; empty if the image could not be read, which the report says.
    label, predicted : str
    confidence : float
    """

    image_id: str
    picture: str
    label: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class Panel:
    """One prediction table in a report.

    Attributes
    ----------
    table : PredictionTable
    metrics : dict
        Of `measure`.
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
        Figures of the table that a report has drawn already, by what draws them.
    """

    table: PredictionTable
    metrics: dict[str, Any]
    paper: PaperTable | None = None
    samples: Sequence[Sample] = ()
    run: Mapping[str, Any] = field(default_factory=dict)
    view: TwoClassView = TwoClassView()
    drawn: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
