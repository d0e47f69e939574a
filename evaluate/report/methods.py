"""The paragraph of methods that a report offers, from what was run and from nothing else; and whom it cites."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...core import counted, plural
from ...core.runs import versions_of
from .. import ESTIMAND, Panel, joined_versions
from .page import Block, render, template_text

_PACKAGES = {"bchisto": "bchisto", "numpy": "NumPy", "scikit-learn": "scikit-learn", "lightgbm": "LightGBM",
             "keras": "Keras", "tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}  # fmt: skip


def methods_text(
    metrics: Sequence[Mapping[str, Any]], *, runs: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]
) -> str:
    """Write the paragraph, with ``[@key]`` where it cites.

    Parameters
    ----------
    metrics : sequence of mapping
        Of the tables.
    runs : sequence of mapping
        ``run`` of ``metrics.json`` for each of them; empty for a table from elsewhere. Each has its sentences on what
        was trained as ``methods``; what is missing is left out.
    pairs : sequence of mapping
        Of `compare_pairs`.
    """
    kinds = [m["names"][m["units"]["kind"]] for m in metrics]
    versions = {"bchisto": "", **joined_versions(run.get("versions") or {} for run in runs)}
    text = render(
        "methods.txt",
        tables=metrics,
        trained=[sentence for run in runs for sentence in run.get("methods", ())],
        units=list(dict.fromkeys(counted(m["units"]["count"], kind) for m, kind in zip(metrics, kinds, strict=True))),
        about=list(dict.fromkeys(ESTIMAND.format(units=plural(kind)) for kind in kinds)),
        pairs=pairs,
        software=[f"{_PACKAGES[name]} {which}".strip() for name, which in versions.items() if name in _PACKAGES],
    )
    return " ".join(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


def method_blocks(panels: Sequence[Panel], pairs: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    """Write the paragraph of methods and its references, and how the interval of each figure was made."""
    metrics = [panel.metrics for panel in panels]
    runs = [panel.run or {"versions": versions_of(("bchisto", "numpy", "scikit-learn"))} for panel in panels]
    text, references = cite(methods_text(metrics, runs=runs, pairs=pairs))
    yield Block(text=text, items=references)
    yield Block(template="intervals.html", values={"tables": metrics, "references": REFERENCES})


REFERENCES = dict(line.split(" ", 1) for line in template_text(__package__, "references.txt").splitlines())
"""What a methods section cites: one entry each, by the key that stands in a sentence as ``[@key]``."""

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
    for cited in _KEYS.findall(text):
        keys = [key for key in cited.replace("@", "").split() if key in REFERENCES]
        numbers = [str(order.setdefault(key, len(order) + 1)) for key in keys]
        text = text.replace(f"[@{cited}]", f"[{', '.join(numbers)}]" if numbers else "")
    return text.replace(" .", "."), [REFERENCES[key] for key in order]
