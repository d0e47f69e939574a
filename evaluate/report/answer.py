"""The answers of tables of predictions: how much is right, how sure that is, for whom; and which of several is best."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from itertools import chain, islice, zip_longest
from os.path import commonprefix
from typing import Any

from ...core import Banner, Kind, aligned, as_banner, by_key, has_kind, printable
from .. import (
    Metrics,
    Panel,
    Ranking,
    conclude,
    rankings,
    with_figures,
)
from .page import headings, render
from .tables import further_figures

_WIDTH = 100
"""Characters of a line that does not go to a narrower terminal."""

_LINES = 11
"""Most lines of a table, apart from warnings and operating points."""


def warnings_of(metrics: Metrics, banners: Sequence[Banner] = (), doubts: Any = None) -> list[str]:
    """Return what a reader must know of the figures of a table, apart from what its banners tell."""
    is_told = has_kind(banners, Kind.PATIENTS_PARTLY_UNKNOWN)
    conclusion = conclude(metrics)
    texts = sentences("cautions.txt", a=conclusion, doubts=doubts, is_told=is_told)
    exchanged = sentences("exchanged.txt", a=conclusion)
    banners = [Banner(Kind.LABELS_EXCHANGED, text) for text in exchanged]
    return [*banners, *texts, *metrics["fold_notes"]]


def headline(name: str, metrics: Metrics, *, banners: Sequence[Banner] = ()) -> list[str]:
    """Return a table as lines for a terminal: the answer first, then warnings and what it means.

    Parameters
    ----------
    name : str
        Name of the table.
    metrics : mapping
        Result of `measure`, or as ``metrics.json`` holds it.
    banners : sequence of Banner
        What a reader must know first, the most important first; none of it is left out.

    Returns
    -------
    list of str
        Eleven lines of 100 signs, more only for warnings, operating points and subgroups; the report has the rest.
    """
    metrics = with_figures(metrics)
    warned = [*dict.fromkeys([*banners, *warnings_of(metrics, banners)])]
    conclusion = conclude(metrics)
    required = {*warned, *sentences("operating.txt", a=conclusion)}
    lines: list[str] = []
    indent = ""
    subgroups = in_lines(_rows("subgroups.txt", panels=[{"metrics": metrics}]))
    for sentence in sentences("terminal.txt", name=name, a=conclusion, warnings=warned):
        new_lines = wrapped(sentence, indent)
        indent = "  "
        if len(lines) + len(new_lines) <= _LINES or sentence in required:
            lines += new_lines
    return lines + subgroups


def sentences(template: str, **values: Any) -> list[str]:
    """Return the lines of a template as sentences."""
    return [line.strip() for line in render(template, **values).splitlines() if line.strip()]


def terminal_width() -> int:
    """Return how many characters a line of stdout has, if it is a terminal."""
    if not sys.stdout.isatty():
        return _WIDTH
    return shutil.get_terminal_size().columns


def wrapped(sentence: str, indent: str = "") -> list[str]:
    """Return a sentence in lines for a terminal, of 100 characters at most."""
    lines = textwrap.wrap(
        sentence.replace(" %", "\u00a0%"),
        min(_WIDTH, max(terminal_width(), 40)),
        initial_indent=indent,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\u00a0", " ") for line in lines]


def _shared(names: Sequence[str], is_cut: bool = True) -> tuple[str, list[str]]:
    """Return the common beginning of names, up to a hyphen, and the rest of each, without signs that end a cell.

    If they are not cut, the beginning is empty, and the names are whole.
    """
    names = [printable(name).replace("\t", " ") for name in names]
    if not is_cut or len(names) < 2:
        return "", names
    begin, hyphen, _ = commonprefix(names).rpartition("-")  # noqa: RUF071 - these are no paths
    return begin, [name.removeprefix(begin + hyphen) for name in names]


def side_by_side(
    ranked: Sequence[Ranking], *, brief: bool = False, comparisons: int = 0
) -> list[list[str]]:
    """Return the figures of tables as rows of cells.

    Parameters
    ----------
    ranked : sequence of Ranking
        Of the tables that are compared with each other.
    brief : bool
        Leave out what a terminal has no room for: figures whose chance is not known, those corrected for the choice,
        verdicts, and the common beginning of the names of a protocol.
    comparisons : int
        The number that p is corrected for.

    Returns
    -------
    list of list of str
        First the header. For each protocol, a row of one cell that describes it, a row for each table, whose first
        cell marks the highest, and a row of what chance reaches.
    """
    tables = [panel.metrics for ranking in ranked for panel in ranking.panels]
    answers = [conclude(metrics) for metrics in tables]
    return _rows(
        "side_by_side.txt",
        rankings=ranked,
        answers=answers,
        further={} if brief else further_figures([answer.m for answer in answers]),
        shared=_shared,
        brief=brief,
        comparisons=comparisons,
    )


def _rows(template: str, **values: Any) -> list[list[str]]:
    """Return the lines of a template as rows of the cells between tabs."""
    return [line.split("\t") for line in render(template, **values).split("\n") if line]


def leading(ranked: Sequence[Ranking]) -> list[str]:
    """Return which table is the highest of each protocol, by which figure, and what limits that."""
    texts: list[str] = []
    for ranking in ranked:
        first = conclude(ranking.panels[0].metrics)
        texts += sentences("ranking.txt", ranking=ranking, a=first)
    return list(dict.fromkeys(texts))


def findings(
    ranked: Sequence[Ranking], *, brief: bool = False, comparisons: int = 0
) -> list[Banner]:
    """Return what the figures of several tables mean, each sentence once; which is the highest is in `leading`.

    Parameters
    ----------
    ranked : sequence of Ranking
        Of the tables that are compared with each other.
    brief : bool
        For the table of a terminal, whose columns have no verdicts.
    comparisons : int
        The number that p is corrected for.
    """
    pairs: list[tuple[str, Banner]] = []
    for ranking in ranked:
        for panel in ranking.panels:
            texts = sentences(
                "several.txt",
                a=conclude(panel.metrics),
                ranking=ranking,
                first=panel is ranking.panels[0],
                comparisons=comparisons,
                brief=brief,
            )
            pairs += [(panel.table.name, as_banner(text)) for text in texts]
    return _once(pairs, ranked)


def warnings(panels: Sequence[Panel], notes: Iterable[str] = ()) -> list[Banner]:
    """Return what a reader must know of tables, the most important first, each sentence once.

    Parameters
    ----------
    panels : sequence of Panel
    notes : iterable of str
        Further banners and sentences.
    """
    pairs = [(panel.table.name, banner) for panel in panels for banner in panel.banners]
    banners = {banner for _, banner in pairs}
    pairs += [(note.about, note.of("")) for note in map(as_banner, notes) if note not in banners]
    pairs.sort(key=lambda pair: pair[1].rank)
    pairs += [
        (panel.table.name, as_banner(text))
        for panel in panels
        for text in warnings_of(panel.metrics, panel.banners, panel.run.get("doubts"))
    ]
    return _once(pairs, rankings(panels))


def _once(pairs: Iterable[tuple[str, Banner]], ranked: Sequence[Ranking]) -> list[Banner]:
    """Return each sentence once, after the names of the tables that it is about unless these are all.

    Parameters
    ----------
    pairs : iterable of (str, Banner)
        The name of a table, empty for all of them, and what is printed of it.
    ranked : sequence of Ranking
        All tables.
    """
    tables_of: dict[Banner, dict[str, None]] = {}
    for name, text in pairs:
        tables_of.setdefault(text, {})[name] = None
    names_of = [[panel.table.name for panel in ranking.panels] for ranking in ranked]
    everything = set(chain.from_iterable(names_of))
    texts = []
    for text, names in tables_of.items():
        if "" in names or names.keys() >= everything:
            texts.append(text)
        else:
            texts.append(text.of(", ".join(_joined(names, names_of))))
    return texts


def _joined(names: Iterable[str], protocols: Sequence[Sequence[str]]) -> list[str]:
    """Return names of tables; all tables of a protocol together are named by their common beginning."""
    names = list(names)
    for protocol in protocols:
        begin, _ = _shared(protocol)
        if begin and set(names).issuperset(protocol):
            names = [*(name for name in names if name not in protocol), begin]
    return list(dict.fromkeys(names))


def answer_lines(
    panels: Sequence[Panel],
    pairs: Sequence[Metrics],
    warned: Sequence[Banner] = (),
    *,
    room: int = 0,
) -> list[str]:
    """Return tables as lines for a terminal.

    Parameters
    ----------
    panels : sequence of Panel
    pairs : sequence of mapping
        Results of `compare_pairs`.
    warned : sequence of Banner
        Result of `warnings`, of which the lines tell.
    room : int
        Most lines; operating points and subgroups that were asked for, and tables from the fifth on, are not counted.
        0 for all that there is to say: of a table its `headline`, of several their figures, with the highest marked,
        and what these mean.
    """
    ranked = rankings(panels, pairs)
    if room:
        return _brief(ranked, panels, warned, room)
    if len(panels) == 1:
        (panel,) = panels
        return headline(panel.table.name, panel.metrics, banners=warned)
    lines = [line for text in leading(ranked) for line in wrapped(text)]
    lines += in_lines(side_by_side(ranked, brief=True))
    lines += _asked(panels)
    texts = [*findings(ranked, brief=True, comparisons=len(pairs)), *warned]
    return lines + [line for text in texts for line in wrapped(text, "  ")]


def _brief(
    ranked: Sequence[Ranking], panels: Sequence[Panel], warned: Sequence[str], room: int
) -> list[str]:
    """Return tables in a few lines: a verdict of one sentence for each protocol, the figures, and cautions."""
    lines = []
    reasons = []
    for ranking in ranked:
        # one protocol has its names as in the rows below
        _, names = _shared([panel.table.name for panel in ranking.panels], len(ranked) == 1)
        answers = [conclude(panel.metrics) for panel in ranking.panels]
        verdict, *starred = sentences("brief.txt", ranking=ranking, answers=answers, names=names)
        lines += wrapped(verdict)
        reasons += starred
    lines += in_lines(side_by_side(ranked, brief=True))
    room -= len(lines) - max(0, len(panels) - 4)
    lines += _asked(panels)
    return lines + _in_kinds([*reasons, *warned], max(1, min(room, 3)))


def _asked(panels: Sequence[Panel]) -> list[str]:
    """Return operating points and subgroups that were asked for as lines."""
    shown = [panel.decisive for panel in panels]
    points = _rows("points.txt", panels=shown)
    return in_lines(points) + in_lines(_rows("subgroups.txt", panels=shown))


def _in_kinds(texts: Sequence[str], most: int) -> list[str]:
    """Return cautions as lines of 100 signs, by rank: the first of each kind, with the number of others."""
    kinds = by_key(
        sorted(map(as_banner, dict.fromkeys(texts)), key=lambda banner: banner.rank),
        lambda banner: re.sub(r"[\d,.]*\d", "#", headings([banner])[0]),
    )
    groups = [*kinds.values()]
    last = [*chain.from_iterable(groups[most - 1 :])]
    lines = []
    for first, *others in filter(None, [*groups[: most - 1], last]):
        end = f" ({len(others)} more in the report)" if others else ""
        line = f"caution: {first}"
        width = _WIDTH - len(end)
        if len(line) > width:
            # at the end of a clause
            clause = re.match(rf".{{40,{width - 4}}}(?=[:;,] )", line)
            line = textwrap.shorten(line, width, placeholder=" ...")
            if clause:
                line = f"{clause[0]} ..."
        lines.append(line + end)
    return lines


def drops(external: Sequence[Metrics]) -> list[str]:
    """Return a sentence on each `external_validation`: how far a table is from that of the images of training."""
    return sentences("drops.txt", external=with_figures([*external]))


def comparison_lines(
    result: Metrics, panels: Sequence[Panel] = (), *, few: bool = False
) -> list[str]:
    """Return comparisons of tables, with one another and with those of the images of training, as lines for a terminal.

    Parameters
    ----------
    result : mapping
        What ``metrics.json`` holds.
    panels : sequence of Panel
        The tables. Of several comparisons, only those with the highest of them are shown.
    few : bool
        A line for each of these, in place of a table.
    """
    lines = []
    result = with_figures(result)
    pairs = result["comparisons"]
    if few or len(pairs) > 1:
        ranked = rankings(panels)
        highest = {ranking.panels[0].table.name for ranking in ranked}
        top_pairs = [pair for pair in pairs if {pair["first"], pair["second"]} & highest]
        values = {
            "pairs": top_pairs,
            "result": result,
            "shared": _shared,
            "rankings": ranked,
        }
        if few:
            lines = sentences("pairs.txt", **values)
        else:
            lines = in_lines(_rows("compared.txt", **values))
        result = {**result, "comparisons": [], "shown": top_pairs}
    return lines + [line for text in sentences("lines.txt", **result) for line in wrapped(text)]


def in_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines of a terminal, in columns; a row of one cell is a sentence.

    In a narrow terminal, intervals stand below their figures, and names are broken, after 12 characters or more.
    """
    if not rows:
        return []
    header, *body = (row for row in rows if len(row) > 1)
    blocks = _laid([[textwrap.fill(title, 20) for title in header], *body])
    if _width(blocks) > terminal_width():
        blocks = _laid(_narrowed(header, body))
    lines = []
    for row in rows:
        lines += blocks.pop(0) if len(row) > 1 else wrapped(row[0])
    return [line.replace("\u00a0", " ") for line in lines]


def _narrowed(header: Sequence[str], body: Iterable[Sequence[str]]) -> list[list[str]]:
    """Return rows for a narrow terminal: the second cell, a name, gets the room that the others leave."""
    rows = [[textwrap.fill(title, 14) for title in header]]
    rows += [[cell.replace(" (", "\n(") for cell in row] for row in body]
    others = _width(_laid([mark, *cells] for mark, _, *cells in rows))
    room = max(terminal_width() - 2 - others, 12)
    return [[mark, textwrap.fill(name, room), *cells] for mark, name, *cells in rows]


def _laid(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    """Return the lines of each row, whose cells may have several, with columns that are aligned over all rows."""
    blocks = [[*zip_longest(*(cell.split("\n") for cell in row), fillvalue="")] for row in rows]
    lines = iter(aligned([*chain.from_iterable(blocks)]))
    return [[*islice(lines, len(block))] for block in blocks]


def _width(blocks: Iterable[Iterable[str]]) -> int:
    return max(map(len, chain.from_iterable(blocks)))
