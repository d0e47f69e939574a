"""A page of sections in HTML that a screen reader and a printer can use, and how figures are written in it."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from ... import __version__
from ...core import Entries, as_banner, counted, few, listed, plural, public
from ...core.jobs import atomic_output
from .. import (
    Figure,
    figures_of,
    images_tested,
    informs,
    pooled_auc,
    positives_needed,
    power_note,
    rows_of,
)

NOTHING = "–"

Value = float | Sequence[float | None] | Figure | None


def written(value: Value, form: str, *, times: int = 1, unit: str = "") -> str:
    """Write a number, that of a figure, or the two ends of an interval.

    Examples
    --------
    >>> percent(0.8125), percent([0.7, 0.92]), percent(None), points(-0.01), number(Figure(0.5))
    ('81.2 %', '70.0 to 92.0 %', '–', '-1.0', '0.500')
    """
    if isinstance(value, Figure):
        return written(value["value"], form, times=times, unit=unit)
    if value is None:
        return NOTHING
    ends = value if isinstance(value, Sequence) else [value]
    return " to ".join("∞" if end is None else format(times * end, form) for end in ends) + unit


percent = functools.partial(written, form="z.1f", times=100, unit=" %")
"""Writes a share in percent."""

span = functools.partial(written, form="z.1f", times=100)
"""Writes a share in percent, without the sign."""

points = functools.partial(written, form="+z.1f", times=100)
"""Writes a difference of two shares in percentage points."""

number = functools.partial(written, form="z.3f")
"""Writes a number."""

whole = functools.partial(written, form=",")
"""Writes a count."""

_UNITS = {
    "percent": percent,
    "number": number,
    "points": points,
    "change": functools.partial(written, form="+z.3f"),
}


def cell(
    figure: Figure | None, unit: str = "percent", *, mark: str = "*", between: str = "\n"
) -> str:
    """Write a figure and, if it has one, its interval in brackets on a line of its own.

    Parameters
    ----------
    figure : Figure or None
    unit : {"percent", "number", "points", "change"}
        ``points`` is for a difference of shares, ``change`` for one of numbers.
    mark : str
        Sign after a value whose interval cannot be estimated.
    between : str
    """
    form = _UNITS[unit]
    if figure is None:
        return NOTHING
    text = form(figure)
    if figure.interval:
        text += f"{between}({form(figure.interval)})"
    if figure.reason and figure["value"] is not None:
        text += mark
    return text


def p_value(p: float, sign: bool = True) -> str:
    """Write a p value with three decimals, the smallest as less than 0.001.

    Examples
    --------
    >>> p_value(0.0341), p_value(0.0341, sign=False), p_value(0.00004, sign=False)
    ('= 0.034', '0.034', '< 0.001')
    """
    if p < 0.001:
        return "< 0.001"
    if not sign:
        return f"{p:.3f}"
    return f"= {p:.3f}"


def widened(factor: float) -> str:
    """Write the factor of a variance; nothing for 1."""
    return "" if factor == 1 else f", variance times {factor:g}"


def sentence(text: str) -> str:
    """Begin a text with a capital and end it with a full stop.

    Examples
    --------
    >>> sentence("one fold"), sentence("Two folds.")
    ('One fold.', 'Two folds.')
    """
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."


def in_words(share: float) -> str:
    """Return a share as a number out of a few, which is easier to imagine.

    Examples
    --------
    >>> in_words(0.74), in_words(2 / 3), in_words(0.81), in_words(0.97)
    ('about 3 of 4', 'about 2 of 3', 'about 8 of 10', 'over 9 of 10')
    """
    if share > 0.95:
        return "over 9 of 10"
    if 0.725 <= share < 0.775:
        return "about 3 of 4"
    if 0.64 <= share < 0.69:
        return "about 2 of 3"
    return f"about {round(10 * share)} of 10"


def template_text(package: str | None, name: str) -> str:
    """Return a file of the folder ``templates`` of a package; nothing without a name."""
    if not name:
        return ""
    return (resources.files(str(package)) / "templates" / name).read_text(encoding="utf-8")


def named(figure: str, names: Mapping[str, str] | None = None) -> str:
    """Return the title of a figure in a table; `names` are the nouns of the units of the table."""
    if figure == "by_unit" and names:
        return f"accuracy by {names['group']}"
    if figure == "patient_recognition_rate" and names:
        return f"mean over {plural(names['group'])}"
    return figure.replace("_", " ").replace("auc", "AUC")


def headings(texts: Sequence[str]) -> list[str]:
    """Return the headings of cautions, which are seen while the cautions are folded.

    Examples
    --------
    >>> from bchisto.core import Banner, Kind
    >>> headings([Banner(Kind.PATIENTS_UNKNOWN, "no patient", "a"), "20 pairs: see data check"])
    ['PATIENTS UNKNOWN', '20 pairs']
    """
    names: dict[str, None] = {}
    for banner in map(as_banner, texts):
        name = banner.heading
        if not name:
            name = re.split("[:;(]", public(banner.text))[0].strip()  # its first words
        names[name] = None
    return list(names)


def count_units(count: int, kind: str, ungrouped: int, names: Mapping[str, str]) -> str:
    """Return how many units there are; images of no known patient are units of their own, and not patients."""
    text = counted(count - ungrouped, names[kind])
    if ungrouped:
        text += f" and {counted(ungrouped, names['image'])} of no known {names['group']}"
    return text


_NAMED: tuple[Callable[..., Any], ...] = (
    counted,
    count_units,
    few,
    listed,
    plural,
    sentence,
    in_words,
    cell,
    named,
    rows_of,
    images_tested,
    figures_of,
    pooled_auc,
    power_note,
    positives_needed,
    widened,
    headings,
    informs,
)

FORMS: dict[str, Callable[..., Any]] = {
    "percent": percent,
    "span": span,
    "points": points,
    "number": number,
    "whole": whole,
    "p": p_value,
    **{form.__name__: form for form in _NAMED},
}
"""The filters of templates."""


_PATH = re.compile(r"(?<![\w.:/])/(?:[^\s/,;()\"']+/)+([^\s/,;()\"']*)")
"""An absolute path, of which its last part is kept."""


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes
    ----------
    caption : str
        Content of the table; printed above it, and read first by a screen reader.
    header : sequence of str
        Titles of its columns.
    rows : sequence of sequence of str
        Cells; the first of a row names it. A line break in a cell is kept. The last row sums up all others.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Drawing:
    """A drawing or a picture.

    Attributes
    ----------
    source : str
        A data address.
    alt : str
        Its description, with its numbers, for those who cannot see it.
    caption : str
    """

    source: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Block:
    """A part of a section: whichever of these is set, in this order.

    Attributes
    ----------
    heading : str
    lead : str
        The words that a paragraph begins with.
    text, note : str
        A paragraph; one that qualifies what stands before it.
    items : sequence of str
        A numbered list.
    grid : Grid, optional
    drawings, pictures : sequence of Drawing
        Drawings at their size; small pictures side by side.
    template : str
        A file of the folder ``templates``, which sees `values` as ``it``.
    values : mapping
    folded : bool
        Whether only the heading is seen without a click.
    """

    text: str = ""
    heading: str = ""
    lead: str = ""
    note: str = ""
    items: Sequence[str] = ()
    grid: Grid | None = None
    drawings: Sequence[Drawing] = ()
    pictures: Sequence[Drawing] = ()
    template: str = ""
    values: Entries = field(default_factory=dict)
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A section of a page."""

    title: str
    blocks: Sequence[Block]


def write_page(
    path: Path,
    *,
    title: str,
    sections: Sequence[Section],
    banners: Sequence[str] = (),
    renamed: Mapping[str, str] | None = None,
    first: Sequence[Block] = (),
    glance: Sequence[Section] = (),
    digests: Sequence[tuple[str, str]] = (),
) -> None:
    """Write a page that may be passed on: it names no folder of this machine, and nobody whom a message names.

    Parameters
    ----------
    path : Path
        The HTML file; holds styles and figures itself and loads nothing.
    title : str
    sections : sequence of Section
        Those without a block are left out.
    banners : sequence of str
        What a reader must know, folded below the answer.
    renamed : mapping of str to str, optional
        Texts to what replaces them on this page.
    first : sequence of Block
        The answer.
    glance : sequence of Section
        Sections before the list of sections, on the first page that is printed.
    digests : sequence of (str, str)
        Name and SHA-256 of each file that was read, for the foot.
    """
    longest_first = sorted((renamed or {}).items(), key=lambda pair: -len(pair[0]))
    render_page(
        path,
        "blocks.html",
        package=__package__,
        passed_on=True,
        renamed=longest_first,
        title=title,
        goal="content",
        banners=banners,
        first=first,
        glance=glance,
        digests=digests,
        day=datetime.now(UTC).date(),
        version=__version__,
        sections=[section for section in sections if section.blocks],
    )


def _passed_on(context: Entries, value: Any) -> Any:
    """Return a text as it may be passed on; drawings, and what is HTML, as they are."""
    if isinstance(value, str):
        value = public(value)
    if type(value) is not str or value.startswith("data:"):
        return value
    for name, other in context["renamed"]:
        value = value.replace(name, other)
    return _PATH.sub(r"\1", value)


def render_page(
    path: Path,
    template: str,
    *,
    package: str | None,
    style: str = "",
    script: str | None = None,
    passed_on: bool = False,
    **values: Any,
) -> None:
    """Render a template that extends ``page.html``, and write it whole.

    Parameters
    ----------
    path : Path
    template : str
        A file of the folder ``templates`` of `package`.
    package : str or None
        As ``__package__`` of the caller.
    style : str
        A file there, added to the style of reports.
    script : str, optional
        A file there. With it, or empty, a content security policy allows what is within the page and nothing else;
        without, there is none.
    passed_on : bool
        Whether all texts are changed so that they may be passed on, see `write_page`.
    **values
        Among them ``title`` and ``banners``.
    """
    sheet = style_of(package, style)
    code = template_text(package, script or "")
    policy = ""
    if script is not None:
        policy = f"default-src 'none'; img-src data:; style-src {_source(sheet)}"
        if code:
            policy += f"; script-src {_source(code)}"
    page = page_templates(package, passed_on=passed_on).get_template(template)
    html = page.render(**values, style=sheet, script=code, policy=policy)
    with atomic_output(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def style_of(package: str | None, style: str) -> str:
    """Return the style of reports, with a file of the folder ``templates`` of a package behind it."""
    return template_text(__package__, "report.css") + template_text(package, style)


def render(template: str, **values: Any) -> str:
    """Render a template of text of this room."""
    return str(
        page_templates(__package__, autoescape=False).get_template(template).render(**values)
    )


@functools.cache
def page_templates(package: str | None, *, autoescape: bool = True, passed_on: bool = False) -> Any:
    """Return the `jinja2.Environment` of the folder ``templates`` of a package, with the filters of reports.

    It is always the same one, because compiling the templates of a report takes longer than filling them. Of templates
    that the package lacks, those of this room are taken.
    """
    from jinja2 import ChainableUndefined, ChoiceLoader, Environment, PackageLoader, pass_context

    packages = dict.fromkeys((package, __package__))
    finalize = pass_context(_passed_on) if passed_on else None
    environment = Environment(  # nosec B701 - only texts are not escaped; the page escapes what they become
        loader=ChoiceLoader([PackageLoader(str(name)) for name in packages]),
        autoescape=autoescape,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    environment.filters |= FORMS
    return environment


def _source(text: str) -> str:
    """Return what a content security policy calls an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
