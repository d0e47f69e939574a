"""What a report shows of one table, and what its rows are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core import counted, html_table, plural
from .paper import PaperTable
from .predictions import PredictionTable
from .two_class import TwoClassView


def nested(content: Mapping[str, Any], *path: str) -> Any:
    """Return what stands in metrics under these keys, one within the other; None where there is nothing."""
    value: Any = content
    for key in path:
        value = (value or {}).get(key)
    return value


def joined_versions(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the versions of each package, several of them side by side."""
    versions: dict[str, dict[str, None]] = {}
    for name, version in ((name, version) for record in records for name, version in record.items()):
        versions.setdefault(name, {})[str(version)] = None
    return {name: " and ".join(several) for name, several in versions.items()}


def name_of(metrics: Mapping[str, Any], what: str) -> str:
    """Return what a ``row``, an ``image`` or a ``group`` of a table is called: patch, image, patient, slide."""
    return str(metrics["names"][what])


def rows_of(metrics: Mapping[str, Any]) -> str:
    """Return what rows are called: what they are about, or predictions where several rows are about one image."""
    return plural("prediction" if (metrics.get("tested") or {"most": 1})["most"] > 1 else name_of(metrics, "row"))


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
    images = counted(times["n"], name_of(metrics, "row"))
    if times["most"] == 1:
        return images
    each, often = ("each ", "") if times["least"] == times["most"] else ("", f"{times['least']} to ")
    return f"{counted(of['n'], 'prediction')} of {images}, {each}tested {often}{times['most']} times"


def called(metrics: Mapping[str, Any], text: str) -> str:
    """Return a text on images and groups with what they are called in a table."""
    return re.sub(
        r"\b(image|group)(s?)\b",
        lambda word: plural(name_of(metrics, word[1])) if word[2] else name_of(metrics, word[1]),
        text,
    )


@dataclass(frozen=True)
class Sample:
    """An image shown in a report: its thumbnail, and its true and predicted class.

    Attributes
    ----------
    image_id : str
    picture : str
        A data address; empty if the image could not be read, which the report says.
    label, predicted : str
    confidence : float or None
    """

    image_id: str
    picture: str
    label: str
    predicted: str
    confidence: float | None


@dataclass(frozen=True)
class Panel:
    """One prediction table in a report.

    Attributes
    ----------
    table : PredictionTable
    metrics : dict
        Of `compute_metrics`, with ``intervals``.
    paper : PaperTable, optional
        The per-fold table of the paper.
    right, wrong : sequence of Sample
        The report numbers them; which images they are stands in ``pictures.csv`` beside it.
    run : mapping
        ``run`` of ``metrics.json`` as `read_facts` gives it: what the run that made the table records, such as
        ``flow``, ``methods``, ``settings``, ``curves`` and ``versions``; empty for a table from elsewhere.
    view : TwoClassView
        The two-class view of its metrics.
    """

    table: PredictionTable
    metrics: dict[str, Any]
    paper: PaperTable | None = None
    right: Sequence[Sample] = ()
    wrong: Sequence[Sample] = field(default_factory=tuple)
    run: Mapping[str, Any] = field(default_factory=dict)
    view: TwoClassView = TwoClassView()


def html_confusion(name: str, metrics: Mapping[str, Any]) -> str:
    """Return a confusion matrix of `bchisto.evaluate.measure` as HTML, labels down and predictions across."""
    interval = metrics.get("intervals", {}).get("accuracy")
    known = f" (95 % CI {100 * interval[0]:.1f} to {100 * interval[1]:.1f})" if interval else ""
    return html_table(
        f"{name}: {100 * metrics['accuracy']:.1f} % right{known}, n = {metrics['n']}",
        ["label", *(f"predicted {label}" for label in metrics["classes"])],
        ([label, *row] for label, row in zip(metrics["classes"], metrics["confusion"], strict=True)),
    )
