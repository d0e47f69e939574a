"""The methods section, made only from what was run, its references, and the card of a model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...core import InputError
from ...core.formats import file_sha256, read_json
from ...core.jobs import atomic_output
from ...core.models import BundleFacts, bundle_lines
from ...core.runs import versions_of
from .. import (
    Entry,
    IntervalMethod,
    Metrics,
    Panel,
    TwoClassView,
    as_json,
    choice_in_run,
    conclude,
    decisive,
    joined_versions,
    with_figures,
)
from .answer import sentences, warnings_of
from .page import Block, render, template_text

_PACKAGES = {
    "bchisto": "bchisto",
    "numpy": "NumPy",
    "scikit-learn": "scikit-learn",
    "lightgbm": "LightGBM",
    "keras": "Keras",
    "tensorflow": "TensorFlow",
    "torch": "PyTorch",
    "jax": "JAX",
}


def methods_text(
    metrics: Sequence[Metrics],
    *,
    runs: Sequence[Metrics],
    pairs: Sequence[Metrics],
) -> str:
    """Write the methods section: a line for each paragraph, which begins with its heading and cites by ``[@key]``.

    Parameters
    ----------
    metrics : sequence of mapping
        Metrics of the tables.
    runs : sequence of mapping
        ``run`` of ``metrics.json`` for each of them; empty for a table from elsewhere. Its ``methods`` are sentences on
        what was trained, each after the heading of its paragraph; what is missing is left out.
    pairs : sequence of mapping
        Results of `compare_pairs`.
    """
    versions = {"bchisto": "", **joined_versions(run.get("versions") or {} for run in runs)}
    text = render(
        "methods.txt",
        tables=metrics,
        runs=runs,
        usual_thresholds=lambda classes: TwoClassView().recorded(classes)["thresholds"],
        pairs=pairs,
        method=IntervalMethod,
        software=[
            f"{_PACKAGES[name]} {version}".strip()
            for name, version in versions.items()
            if name in _PACKAGES
        ],
    )
    paragraphs: dict[str, dict[str, None]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("# "):
            paragraph = paragraphs.setdefault(line[2:], {})
        else:
            paragraph[line] = None
    return "\n".join(f"{title}. {' '.join(lines)}" for title, lines in paragraphs.items() if lines)


def method_blocks(
    panels: Sequence[Panel], pairs: Sequence[Metrics], external: Sequence[Metrics]
) -> Iterator[Block]:
    """Write the paragraphs of methods and their references, and how the interval of each figure was made."""
    metrics = [panel.metrics for panel in panels]
    runs = [
        panel.run or {"versions": versions_of(("bchisto", "numpy", "scikit-learn"))}
        for panel in panels
    ]
    text, references = cite(methods_text(metrics, runs=runs, pairs=pairs))
    for paragraph in text.splitlines():
        lead, _, text = paragraph.partition(". ")
        yield Block(lead=f"{lead}.", text=text)
    yield Block(items=references)
    values = {
        "tables": metrics,
        "pairs": pairs,
        "external": external,
        "references": REFERENCES,
        "cited": references,
        "method": IntervalMethod,
    }
    yield Block(template="intervals.html", values=values)


REFERENCES = dict(
    line.split(" ", 1) for line in template_text(__package__, "references.txt").splitlines()
)
"""References of a methods section, by the key that stands in a sentence as ``[@key]``."""

_KEYS = re.compile(r"\[@(\w+(?: @\w+)*)\]")


def cite(text: str) -> tuple[str, Sequence[str]]:
    """Number the references of a text in the order in which it names them.

    Parameters
    ----------
    text : str
        Cites by ``[@key]`` or ``[@key @key]``; keys that are not known, as those of a later release, are left out.

    Returns
    -------
    str, sequence of str
        The text with numbers in brackets, and the entries in their order.

    Examples
    --------
    >>> cite("Trees [@ke2017] of trees [@ke2017].")[0]
    'Trees [1] of trees [1].'
    """
    order: dict[str, int] = {}
    for citation in _KEYS.findall(text):
        keys = [key for key in citation.replace("@", "").split() if key in REFERENCES]
        numbers = [str(order.setdefault(key, len(order) + 1)) for key in keys]
        brackets = f"[{', '.join(numbers)}]" if numbers else ""
        text = text.replace(f"[@{citation}]", brackets)
    return text.replace(" .", "."), [REFERENCES[key] for key in order]


CARD = "model-card.md"
"""File name of the model card."""


def write_card(path: Path, *, model: Path, bundle: BundleFacts, known: Entry) -> None:
    """Write the card of a model as Markdown, with the header that hubs of models read.

    Facts that only the author knows are marked blanks.

    Parameters
    ----------
    path : Path
        The card to write.
    model : Path
        The model file.
    bundle : BundleFacts
        Facts from the model file.
    known : dict
        What `measured` or `known_of` returned.
    """
    text, sources = cite(" ".join(text for _, text in known["methods"]))
    values = {
        **known,
        "file": model.name,
        "bundle": bundle,
        "facts": bundle_lines(bundle, file_sha256(model)),
        "methods": text,
        "sources": sources,
    }
    card = render("card.md", **values)
    with atomic_output(path) as temporary:
        temporary.write_text(card, encoding="utf-8")


def known_of(model: Path) -> Entry:
    """Return what ``metrics.json`` beside a model file, and the choice in its run, say about the model; see `measured`.

    Raises
    ------
    InputError
        The file is damaged, or of another version.
    """
    path = model.absolute().with_name("metrics.json")
    content = read_json(path) if path.is_file() else {}
    try:
        choice = choice_in_run(path.with_name("predictions.csv"))
        return measured(path.parent.name or model.stem, content, choice)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(
            "{}: not as this version of bchisto writes it; move it away, or train the model again",
            path,
        ) from None


def measured(name: str, metrics: Metrics, choice: Metrics | None = None) -> Entry:
    """Return what is known of how good a model is, and of the images that it was trained on.

    Parameters
    ----------
    name : str
        Name of the model.
    metrics : mapping
        What ``metrics.json`` beside it holds; empty if there is none.
    choice : mapping, optional
        Result of `choice_in_run`.

    Returns
    -------
    dict
        Its ``name``; ``table``, its metrics, None if there are none; ``lines``, sentences, first the answer and then
        what it means, with the ``verdict`` and its ``heading``; ``better``, whether calls are shown to be better than
        chance by folds that mix no patients which other results keep apart, None if there are no metrics; ``protocol``,
        how it was measured; ``used``, how many images; ``dataset``; ``methods``, sentences on what was trained, each
        after the heading of its paragraph.
    """
    run = metrics.get("run", {})
    tables = metrics.get("tables", {})
    facts = {
        "name": name,
        "table": None,
        "methods": run.get("methods", ()),
        "lines": [],
        "verdict": "",
        "better": None,
        "protocol": run.get("protocol"),
        "used": run.get("flow", {}).get("used"),
        "dataset": run.get("dataset"),
    }
    entry = tables.get("fusion") or next(iter(tables.values()), None)
    if entry:
        entry = {**entry, **as_json(choice or {})}
        table = with_figures(entry)
        conclusion = conclude(table)
        facts["table"] = decisive(entry)
        facts["lines"] = sentences(
            "terminal.txt", name=name, a=conclusion, warnings=warnings_of(table)
        )
        facts["heading"] = "".join(sentences("heading.txt", a=conclusion))
        facts["verdict"] = "".join(sentences("verdict.txt", a=conclusion))
        facts["better"] = conclusion.verdict.kind == "better" and not conclusion.refuted
    return facts
