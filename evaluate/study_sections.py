"""What a report says of the study: question, images, protocol, published figures, methods, settings and versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..runs import versions_of
from .cohort import cohort_blocks, flow_blocks
from .methods import cite, methods_text
from .page import Block, Grid
from .panel import Panel
from .paper import ProtocolGap
from .published import PublishedTable
from .wording import called, listed, name_of

_PURPOSES = {
    "boost": "bchisto boost trained classifiers on descriptors of the images, fold by fold, and had each image "
    "predicted by those that did not train on it.",
    "finetune": "bchisto finetune trained a network in each fold, and had each image predicted by those that did not "
    "train on it.",
    "": "bchisto evaluate read finished predictions and trained nothing.",
}


def question_blocks(panels: Sequence[Panel]) -> Iterator[Block]:
    """Say what is told apart, what a prediction and an interval are about, and which command ran."""
    for classes in dict.fromkeys(tuple(panel.metrics["classes"]) for panel in panels):
        rows = dict.fromkeys(name_of(p.metrics, "row") for p in panels if tuple(p.metrics["classes"]) == classes)
        yield Block(
            text=f"How well can {listed(classes)} be told apart? A prediction is about one {' or one '.join(rows)}, "
            "and is right where the predicted class is the true one."
        )
    views = [panel.metrics["two_class"] for panel in panels if panel.metrics.get("two_class")]
    for positive in dict.fromkeys(" + ".join(view["positive"]) for view in views):
        yield Block(text=f"The two-class view asks for {positive} against the rest.")
    for command in dict.fromkeys(str(panel.run.get("command", "")) for panel in panels):
        if command in _PURPOSES and (command or not any(panel.run for panel in panels)):
            yield Block(text=called(panels[0].metrics, _PURPOSES[command]))
    estimands = [called(p.metrics, (p.metrics.get("intervals") or {}).get("estimand", "")) for p in panels]
    for estimand in filter(None, dict.fromkeys(estimands)):
        yield Block(text=f"Intervals are about {estimand}.")


def image_blocks(panels: Sequence[Panel]) -> Iterator[Block]:
    """Show the flow of each run and the classes of each set of images, once."""
    for flow in {repr(panel.run.get("flow")): panel.run.get("flow") for panel in panels}.values():
        yield from flow_blocks(flow or {})
    sets: dict[frozenset[str], Panel] = {}
    for panel in panels:
        if name_of(panel.metrics, "row") != name_of(panel.metrics, "group"):
            sets.setdefault(frozenset(panel.table.image_ids), panel)
    for panel in sets.values():
        if len(sets) > 1:
            yield Block(heading=f"Images of {panel.table.name}")
        yield from cohort_blocks(panel.table)


def protocol_blocks(panels: Sequence[Panel], gap: ProtocolGap | None) -> Iterator[Block]:
    """Say how folds were made, and what several protocols make of the same descriptors."""
    for protocol in dict.fromkeys(panel.metrics["protocol"] for panel in panels):
        yield Block(text=f"{protocol or 'Unknown'}.")
    if gap is not None:
        yield Block(heading="What the protocol makes of it")
        for name, sentence in gap.protocols.items():
            yield Block(lead=f"{name}:", text=sentence)
        caption = "Accuracy in percent, mean ± spread over folds, of the same descriptors under each protocol"
        yield Block(grid=Grid(caption, gap.header(), gap.cells()))


def published_blocks(table: PublishedTable) -> Iterator[Block]:
    """Show a table of published figures and the obtained ones."""
    for line in (f"Published: {table.source}.", *table.note.splitlines(), table.left_out()):
        if line:
            yield Block(text=line)
    yield Block(grid=Grid(f"{table.title}: published and obtained", table.header(), table.rows()))


def method_blocks(panels: Sequence[Panel], pairs: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    """Write the paragraph of methods and its references."""
    if panels:
        runs = [panel.run or {"versions": versions_of(("bchisto", "numpy", "scikit-learn"))} for panel in panels]
        text, references = cite(methods_text([panel.metrics for panel in panels], runs=runs, pairs=pairs))
        yield Block(text=text, items=references)


def setting_blocks(panels: Sequence[Panel], settings: Mapping[str, str]) -> Iterator[Block]:
    """Show what was set, the settings of several runs apart, and the versions that computed."""
    if settings:
        yield Block(grid=_pairs("Settings", settings))
    seen: list[Any] = [dict(settings)]
    for panel in panels:
        recorded = panel.run.get("settings") or {}
        if recorded and recorded not in seen:
            seen.append(recorded)
            yield Block(grid=_pairs(f"Settings of {panel.table.name}", recorded))
    for versions in {repr(found): found for panel in panels if (found := panel.run.get("versions"))}.values():
        yield Block(grid=_pairs("Versions that computed", versions))


def _pairs(caption: str, values: Mapping[str, str]) -> Grid:
    return Grid(caption, ("name", "value"), list(values.items()), words=(1,))
