"""The card of a model, which stands beside it where models are published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.formats import file_sha256
from ...core.jobs import atomic_output
from ...core.models import BundleFacts, bundle_lines
from .answer import sentences, warnings_of
from .methods import cite
from .page import render

_TODO = "**to be filled in by the author**"


_NOTE = (
    "Made with bchisto, for research only. It is not a medical device, and nothing that it predicts is a diagnosis. "
    "It was not tested on images of other laboratories unless the sections below state it."
)


def write_card(path: Path, *, model: Path, bundle: BundleFacts, metrics: Mapping[str, Any] | None) -> None:
    """Write the card of a model as Markdown, with the header that hubs of models read.

    What only the author knows is a marked blank.

    Parameters
    ----------
    path : Path
        The card to write.
    model : Path
        The model file.
    bundle : BundleFacts
        Facts from the model file.
    metrics : mapping or None
        Content of the ``metrics.json`` next to it.
    """
    run: Mapping[str, Any] = (metrics or {}).get("run", {})
    text, sources = cite(" ".join(run.get("methods", ())))
    name = model.absolute().parent.name or model.stem
    card = render(
        "card.md",
        name=name,
        file=model.name,
        note=_NOTE,
        todo=_TODO,
        classes=bundle.classes,
        licences=list(bundle.licences()),
        facts=bundle_lines(bundle, file_sha256(model)),
        banners=[" ".join(banner.split()) for banner in bundle.banners],
        **measured(name, metrics),
        methods=text,
        sources=sources,
    )
    with atomic_output(path) as temporary:
        temporary.write_text(card, encoding="utf-8")


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
