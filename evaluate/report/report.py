"""The report of tables, of a run, and of an evaluation."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ...core import BchistoError, ImageError, ReportError, few
from ...core.formats import Pixels, file_sha256, read_rows
from ...core.jobs import is_set_aside, refuse_overwriting, write_json, write_rows
from .. import (
    CHOICE,
    Entry,
    Evaluation,
    Facts,
    Mask,
    Metrics,
    Panel,
    PaperTable,
    PredictionTable,
    Sample,
    as_json,
    choices_of,
    compare_pairs,
    known_groups,
    rankings,
    read_facts,
    read_predictions,
    unlike_pairs,
    with_figures,
)
from .answer import warnings
from .drawings import learning_drawing
from .methods import method_blocks
from .page import Block, Section, write_page
from .sections import (
    answer_block,
    first_block,
    first_learnt,
    glance_section,
    image_blocks,
    panel_sections,
    picture_blocks,
)
from .tables import TABLES, PublishedTable, write_tables

_log = logging.getLogger(__name__)

FORM = "tripod.html"
"""File name of the reporting form beside a report."""

_FORM_TITLE = "Reporting form (TRIPOD+AI)"
_TABLE = "predictions.csv"
"""The table beside the report of a result."""

_THUMBNAIL = 240
"""Longest side of a thumbnail, in pixels."""

_SAMPLES = 8
"""Right images that are shown, the most confident of each class."""

_ERRORS = 5
"""Wrong images that are shown, the most confident of all: a row on the first printed page."""


@contextmanager
def reporting(path: Path, failed: list[str]) -> Iterator[None]:
    """Continue if a report or a table for reading cannot be written, and note that in one line.

    Nothing depends on a report, so its failure must not cost what was trained: callers write what matters first, and
    raise `ReportError` once all is written.

    Parameters
    ----------
    path : Path
        What is written inside the block.
    failed : list of str
        Gets the line.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in a figure
        _log.debug("%s", path, exc_info=True)
        is_known = isinstance(error, BchistoError)
        reason = str(error) if is_known else f"{path}: {type(error).__name__}: {error}"
        failed.append(f"this report could not be written: {' '.join(reason.split())}")


def thumbnail(image: Pixels, *, side: int = _THUMBNAIL) -> str:
    """Return a small JPEG of an image, of at most `side` pixels on its longest side, as a data address."""
    from PIL import Image

    small = Image.fromarray(image)
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def choose_samples(table: PredictionTable, show: Callable[[str], Pixels]) -> list[Sample]:
    """Choose right and wrong images of a table with probabilities; none of any other.

    Parameters
    ----------
    table : PredictionTable
    show : callable
        Returns the pixels of an image; may raise `ImageError` for one that has moved or changed since, which the report
        then counts as missing.
    """
    confidence = table.confidence
    if confidence is None:
        return []
    rows = []
    per_class = max(1, _SAMPLES // len(table.classes))
    for k in range(len(table.classes)):
        rows += surest(table, table.hits & (table.labels == k))[:per_class]
    rows += surest(table, ~table.hits)[:_ERRORS]
    samples = []
    for row in rows:
        try:
            picture = thumbnail(show(table.image_ids[row]))
        except ImageError:
            picture = ""
        samples.append(
            Sample(
                table.image_ids[row],
                table.classes[table.labels[row]],
                table.classes[table.predicted[row]],
                float(confidence[row]),
                picture,
            )
        )
    return samples


def surest(table: PredictionTable, rows: Mask) -> list[int]:
    """Return some rows of a table with probabilities, the most confident first; only the first of each image.

    Parameters
    ----------
    table : PredictionTable
    rows : ndarray of bool, shape (rows,)
    """
    confidence = table.confidence
    if confidence is None:
        return []
    order = np.argsort(-confidence, kind="stable")
    first: dict[str, int] = {}  # repeated folds test an image several times
    for row in order[rows[order]].tolist():
        first.setdefault(table.image_ids[row], row)
    return list(first.values())


def write_report(
    path: Path,
    *,
    title: str,
    panels: Sequence[Panel],
    banners: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    pairs: Sequence[Metrics] = (),
    external: Sequence[Metrics] = (),
    published: Sequence[PublishedTable] = (),
    sources: Sequence[Path] = (),
    of_run: str = "",
) -> None:
    """Write a report, which may be passed on: no patient, image or folder of this machine is named in it.

    Parameters
    ----------
    path : Path
        The HTML file; holds styles, figures and pictures itself and loads nothing. Where pictures are shown,
        ``pictures.csv`` in the same folder names the images. ``tripod.html`` there is the reporting form.
    title : str
    panels : sequence of Panel
        One section each, in the order of `rankings`; several are also compared.
    banners : sequence of str
        What a reader must know first: synthetic images, random weights, leaking folds.
    settings : mapping, optional
        Name to value, shown at the end, beside those that the panels' runs recorded.
    pairs : sequence of mapping
        Tests of two tables: results of `compare_pairs`.
    external : sequence of mapping
        Results of `external_validation`: tables against those of the images that their models come from.
    published : sequence of PublishedTable
        Published figures beside the obtained ones.
    sources : sequence of Path
        The files that were read, of which the foot has the SHA-256; by default the predictions beside the report.
    of_run : str
        Address of the report of the run, which compares this result with others.
    """
    panels = [panel for ranking in rankings(panels) for panel in ranking.panels]
    if len(panels) > 1:
        panels = _with_errors(panels)
    values = {"panels": panels, "settings": settings, "external": external, "pairs": pairs}

    def section(title: str, template: str, *, shown: bool) -> Section:
        """Return the section that a template makes of all tables; an empty one, which is left out, if not shown."""
        return Section(title, [Block(template=template, values=values)] if shown else [])

    errors, pictures, keys = picture_blocks(panels)
    if keys:
        write_rows(path.with_name("pictures.csv"), ("number", *Sample._fields), keys)
    subgroups = any(panel.metrics.get("subgroups") for panel in panels)
    recorded = any(panel.run.get("settings") or panel.run.get("versions") for panel in panels)
    sections = [
        *(
            Section(table.title, [Block(template="published.html", values={"table": table})])
            for table in published
        ),
        *_table_sections(panels, pictures),
        section("Comparisons", "comparisons.html", shown=bool(pairs)),
        *_learning_sections(panels),
        section("Subgroups", "subgroups.html", shown=subgroups),
        section("Against other tables", "external.html", shown=bool(external)),
        Section("Images", list(image_blocks(panels))),
        Section("Methods", list(method_blocks(panels, pairs, external)) if panels else []),
        section(_FORM_TITLE, "form.html", shown=bool(panels)),
        section("Settings and versions", "settings.html", shown=bool(settings) or recorded),
    ]
    glance = []
    if panels:
        form = Section(_FORM_TITLE, [Block(template="tripod.html", values=values)])
        write_page(path.with_name(FORM), title=title, sections=[form])
        links = _links(panels, path.parent)
        glance = [glance_section(panels, errors, of_run, links=links, pairs=pairs)]
    write_page(
        path,
        title=title,
        first=[
            Block(template="drops.html", values=values),
            first_block(panels, pairs),
        ],
        banners=warnings(panels, banners),
        glance=glance,
        sections=sections,
        digests=[(file.name, file_sha256(file)) for file in sources or path.parent.glob(_TABLE)],
    )


def _with_errors(panels: list[Panel]) -> list[Panel]:
    """Return the panels; if none has pictures, the first that learnt something gets the errors of its own report."""
    row = first_learnt(panels)
    if row is None or any(panel.samples for panel in panels):
        return panels
    panels[row] = replace(panels[row], samples=tuple(_own_errors(panels[row])))
    return panels


def _own_errors(panel: Panel) -> Iterator[Sample]:
    """Yield the wrong images that the report in the folder of a table shows, as far as they are in the table."""
    table = panel.table
    names = np.array(table.classes)
    calls = set(zip(table.image_ids, names[table.labels], names[table.predicted], strict=True))
    for row in read_rows(panel.folder / "pictures.csv"):
        call = (row["image_id"], row["label"], row["predicted"])
        # no other address, which a reader's browser would load
        is_picture = row["picture"].startswith("data:image/jpeg")
        if row["label"] != row["predicted"] and call in calls and is_picture:
            yield Sample(*call, float(row["confidence"]), row["picture"])


def _links(panels: Sequence[Panel], folder: Path) -> dict[str, str]:
    """Return the addresses of the tables' own reports below the folder of a report: it names no other folder."""
    addresses = {}
    root = folder.absolute()
    for panel in panels:
        report = panel.folder.absolute() / "report.html"
        if root in panel.folder.absolute().parents and report.is_file():
            addresses[panel.table.name] = quote(report.relative_to(root).as_posix())
    return addresses


def _table_sections(
    panels: Sequence[Panel], pictures: Sequence[Sequence[Block]]
) -> Iterator[Section]:
    """Yield the sections of a table; of several one each, so that the list of sections stays short."""
    if len(panels) == 1:
        yield from panel_sections(panels[0], pictures[0])
        return
    for panel, shown in zip(panels, pictures, strict=True):
        blocks = [answer_block(panel)]
        for section in panel_sections(panel, shown, folded=panel is not panels[0]):
            first, *others = section.blocks
            blocks += [replace(first, heading=section.title), *others]
        yield Section(panel.table.name, blocks)


def _learning_sections(panels: Sequence[Panel]) -> Iterator[Section]:
    """Yield a section with the learning curves of the networks of each run."""
    panels = [panel for panel in panels if panel.run.get("curves")]
    panel_of_curves = {repr(panel.run["curves"]): panel for panel in panels}
    for panel in panel_of_curves.values():
        name = panel.table.name if len(panel_of_curves) > 1 else "the network"
        drawings = [learning_drawing(panel.run["curves"])]
        yield Section(f"How {name} learnt", [Block(drawings=drawings)])


def write_run_report(run: Path, *, images: str, made: Mapping[Path, Panel]) -> None:
    """Compare all finished folders of a run about the same images, in ``RUN/report.html``.

    It does not matter which call made a folder: its files hold what a panel does. Results that were made before groups
    of the images were known are measured anew with them. What the choice of the best among all of them adds
    to the metrics of each is in ``RUN/choice.json``, see `choice_in_run`.

    Parameters
    ----------
    run : Path
        The run folder.
    images : str
        Identity of the images of the calling command; folders about other images are named and not compared.
    made : mapping of Path to Panel
        Folders that the calling command has made, which need not be read.
    """
    panels, banners = _finished(run, made)
    digests = {name: str(panel.run["images_sha256"]) or images for name, panel in panels.items()}
    here = [name for name, digest in digests.items() if digest == images]
    groups = known_groups(panels[name].table for name in here)
    panels |= {name: panels[name].with_groups(groups) for name in here}
    panels = _chosen(panels, [*digests.values()])
    results = {
        name: {"predictions_sha256": file_sha256(panel.folder / _TABLE), **panel.choice}
        for name, panel in panels.items()
        if panel.choice
    }
    write_json(run / CHOICE, as_json({"schema_version": 1, "results": results}))
    shown = [panels[name] for name in here]
    read_as = dict.fromkeys(panel.run.get("dataset") for panel in shown)
    title = ", read as ".join(filter(None, ("All results of this run", *read_as)))
    tables = [panel.table for panel in shown]
    pairs = compare_pairs(tables, views=[panel.view for panel in shown])
    banners += [
        f"{name} is not shown: it is about other images" for name in panels if name not in here
    ]
    banners += unlike_pairs(tables, rows=False)
    write_report(run / "report.html", title=title, panels=shown, banners=banners, pairs=pairs)


def _chosen(panels: Mapping[str, Panel], images: Sequence[str]) -> dict[str, Panel]:
    """Return panels with what the choice of the best adds to each."""
    choices = choices_of(
        [panel.table for panel in panels.values()],
        [panel.metrics for panel in panels.values()],
        images=images,
    )
    return {name: panels[name].chosen(choice) for name, choice in zip(panels, choices, strict=True)}


def _finished(run: Path, made: Mapping[Path, Panel]) -> tuple[dict[str, Panel], list[str]]:
    """Return the panels of the finished folders of a run by their paths below it, and why others are not shown."""
    panels = {}
    banners = []
    for path in sorted((*run.glob(f"boost/*/{_TABLE}"), *run.glob(f"finetune/*/{_TABLE}"))):
        if is_set_aside(path):
            continue
        panel = made.get(path.parent) or _read(path, run)
        if isinstance(panel, Panel):
            table = replace(panel.table, name=path.parent.name)
            panels[_name(path, run)] = replace(panel, table=table, samples=(), folder=path.parent)
        elif panel:
            banners.append(f"{_name(path, run)} is not shown: {panel}")
    return panels, banners


def _name(path: Path, run: Path) -> str:
    return path.parent.relative_to(run).as_posix()


def _read(path: Path, run: Path) -> Panel | str:
    """Return the panel of a folder, or why none is shown; empty if the folder is unfinished, or not of bchisto."""
    try:
        facts = read_facts(path)
        if not facts.metrics:
            return ""
        _ = facts.run["images_sha256"]
        return _panel(path, facts, name=path.parent.name)
    except (BchistoError, KeyError, TypeError, ValueError) as error:
        report = run / "report.html"
        _log.warning("%s is left out of %s: %s", _name(path, run), report, error)
        return "its files cannot be read"


def _panel(path: Path, facts: Facts, *, name: str) -> Panel:
    """Return the panel of a table of a finished folder, from the facts that the run records about it."""
    (table,) = read_predictions(path, classes=facts.run["classes"], name=name)
    paper = PaperTable(**facts.run["paper"]) if "paper" in facts.run else None
    return Panel(facts.described(table), facts.metrics, paper, run=facts.run, view=facts.view)


def write_evaluation(evaluation: Evaluation) -> Entry:
    """Write ``report.html`` beside the ``metrics.json`` of an evaluation, and every table of it as CSV.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    dict
        What is in ``metrics.json``.

    Raises
    ------
    InputError
        A file would replace one of the tables that were read.
    ReportError
        The report or a table of it could not be written; ``results`` holds what is in ``metrics.json``.
    """
    folder = evaluation.folder
    unwritten: list[str] = []
    report = folder / "report.html"
    refuse_overwriting(
        [report, folder / FORM, *(folder / f"{name}.csv" for name in TABLES)], evaluation.sources
    )
    result = with_figures(evaluation.result)
    with reporting(folder / "tables.csv", unwritten):
        write_tables(folder, tables=result["tables"], pairs=result["comparisons"])
    with reporting(report, unwritten):
        write_report(
            report,
            title=f"bchisto evaluation: {few(result['tables'])}",
            panels=evaluation.panels,
            banners=evaluation.notes,
            pairs=result["comparisons"],
            external=result.get("external", ()),
            sources=evaluation.sources,
        )
    if unwritten:
        text = f"{'; '.join(unwritten)}; {folder / 'metrics.json'} is written"
        raise ReportError(text, evaluation.result)
    return evaluation.result
