"""The card of a model: what stands beside it where models are published."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .answer import sentences, warnings_of
from .methods import cite
from .page import render

_TODO = "**to be filled in by the author**"


def model_card(
    *,
    name: str,
    file: str,
    note: str,
    classes: Sequence[str],
    licences: Sequence[str],
    facts: Sequence[tuple[str, str]],
    banners: Sequence[str],
    metrics: Mapping[str, Any] | None,
) -> str:
    """Write the card of a model as Markdown, with the header that hubs of models read.

    What only the author knows is a marked blank.

    Parameters
    ----------
    name, file : str
        What the model and its file are called.
    note : str
        What it is not made for.
    classes : sequence of str
    licences : sequence of str
        Of the weights that the model holds or needs, a line each.
    facts : sequence of (str, str)
        Description of the models.
    banners : sequence of str
        What a reader of predictions must know.
    metrics : mapping or None
        What ``metrics.json`` beside the model holds.
    """
    run: Mapping[str, Any] = (metrics or {}).get("run", {})
    text, sources = cite(" ".join(run.get("methods", ())))
    return render(
        "card.md",
        name=name,
        file=file,
        note=note,
        todo=_TODO,
        classes=classes,
        licences=licences,
        facts=facts,
        banners=[re.sub(r"\s+", " ", banner) for banner in banners],
        **measured(name, metrics),
        methods=text,
        sources=sources,
    )


def measured(name: str, metrics: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what is known of how good a model is, and of the images that it was trained on.

    Parameters
    ----------
    name : str
        What the model is called.
    metrics : mapping or None
        What ``metrics.json`` beside it holds.

    Returns
    -------
    dict
        ``lines``, sentences; ``protocol``, how it was measured; ``used``, how many images; ``dataset``; ``counts``, of
        each class.
    """
    run: Mapping[str, Any] = (metrics or {}).get("run", {})
    tables: Mapping[str, Any] = (metrics or {}).get("tables", {})
    table = tables.get("fusion") or next(iter(tables.values()), None)
    return {
        "lines": [] if table is None else sentences(name, table, warnings_of(table)),
        "protocol": run.get("protocol"),
        "used": run.get("flow", {}).get("used"),
        "dataset": run.get("dataset"),
        "counts": [] if table is None else list(zip(table["classes"], map(sum, table["confusion"]), strict=True)),
    }
