"""The report of tables, of a run, and of an evaluation."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core import BchistoError, ImageError, ReportError
from ...core.jobs import is_set_aside, refuse_overwriting, write_rows
from .. import (
    Evaluation,
    Panel,
    PaperTable,
    PredictionTable,
    Sample,
    compare_pairs,
    read_facts,
    read_predictions,
    rows_of,
    selection_notes,
    unlike_pairs,
)
from .answer import LOUD, answer, warnings_of
from .figures import learning_figure
from .methods import method_blocks
from .page import Block, Figure, Section, percent, write_page
from .sections import (
    answer_block,
    comparison_block,
    form_block,
    image_blocks,
    panel_sections,
    published_blocks,
    setting_blocks,
)
from .tables import TABLES, PublishedTable, side_by_side, write_tables

_log = logging.getLogger(__name__)

_THUMBNAIL = 240
"""Longest side of a thumbnail, in pixels."""

_SAMPLES = 8
"""Images shown per heading: the most confident right ones of each class, and the most confident wrong ones of all."""


@contextmanager
def reporting(path: Path, failed: list[str]) -> Iterator[None]:
    """Go on where a report or a table for reading cannot be written, and note that in one line.

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
        why = str(error) if isinstance(error, BchistoError) else f"{path}: {type(error).__name__}: {error}"
        failed.append(f"this report could not be written: {' '.join(why.split())}")


def thumbnail(image: npt.NDArray[np.uint8], *, side: int = _THUMBNAIL) -> str:
    """Return a small JPEG of an image, of at most `side` pixels on its longest side, as a data address."""
    from PIL import Image

    small = Image.fromarray(image)
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def choose_samples(
    table: PredictionTable, show: Callable[[str], npt.NDArray[np.uint8] | None]
) -> tuple[list[Sample], list[Sample]]:
    """Choose right and wrong images of a table with probabilities; none of any other.

    Parameters
    ----------
    table : PredictionTable
    show : callable
        Returns the pixels of an image, None if there are no images, as of imported embeddings; may raise `ImageError`
        for one that has moved or changed since, which the report then counts as missing.
    """
    sure = table.confidence
    if sure is None:
        return [], []
    hits = table.predicted == table.labels
    per_class = max(1, _SAMPLES // len(table.classes))
    of_classes = (surest(table, hits & (table.labels == k))[:per_class] for k in range(len(table.classes)))
    right: list[Sample] = []
    wrong: list[Sample] = []
    for row in (*chain.from_iterable(of_classes), *surest(table, ~hits)[:_SAMPLES]):
        try:
            picture = show(table.image_ids[row])
        except ImageError:
            address = ""
        else:
            if picture is None:
                continue
            address = thumbnail(picture)
        label, predicted = (table.classes[labels[row]] for labels in (table.labels, table.predicted))
        sample = Sample(table.image_ids[row], address, label, predicted, float(sure[row]))
        (right if hits[row] else wrong).append(sample)
    return right, wrong


def surest(table: PredictionTable, rows: npt.NDArray[np.bool_]) -> list[int]:
    """Return some rows of a table with probabilities, the most confident first; only the first of each image.

    Parameters
    ----------
    table : PredictionTable
    rows : ndarray of bool, shape (rows,)
    """
    sure = table.confidence
    if sure is None:
        return []
    order = np.argsort(-sure, kind="stable")
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
    pairs: Sequence[Mapping[str, Any]] = (),
    external: Sequence[Mapping[str, Any]] = (),
    published: Sequence[PublishedTable] = (),
) -> None:
    """Write a report, which may be passed on: no patient, image or folder of this machine is named in it.

    Parameters
    ----------
    path : Path
        The HTML file; holds styles, figures and pictures itself and loads nothing. Where pictures are shown,
        ``pictures.csv`` in the same folder names the images.
    title : str
    panels : sequence of Panel
        One section each; several are also compared.
    banners : sequence of str
        What a reader must know first: synthetic images, random weights, leaking folds.
    settings : mapping, optional
        Name to value, shown at the end, beside those that the panels' runs recorded.
    pairs : sequence of mapping
        Tests of two tables, of `compare_pairs`.
    external : sequence of mapping
        Of `external_validation`: tables against those of the images that their models come from.
    published : sequence of PublishedTable
        Published figures beside the obtained ones.
    """
    pictures, keys = _pictures(panels)
    if keys:
        header = ("picture", "image_id", "label", "predicted", "confidence")
        write_rows(path.with_name("pictures.csv"), header, keys)
    paths = [panel.table.name for panel in panels if panel.table.name.startswith("/")]
    parted = [(panel.table.name, panel.metrics) for panel in panels if panel.metrics.get("subgroups")]
    sections = [Section(table.title, list(published_blocks(table))) for table in published]
    if len(panels) > 1:
        sections.append(Section("Side by side", [Block(grid=side_by_side(panels))]))
    if pairs:
        sections.append(Section("Comparisons", [comparison_block(pairs, panels)]))
    if len(panels) == 1:
        first = answer_block(panels[0], warnings_of(panels[0].metrics, banners), single=True)
        sections += panel_sections(panels[0], pictures[0])
    else:
        first, warned = _answers_block(panels, banners)
        for panel, shown, warnings in zip(panels, pictures, warned, strict=True):
            # one section a table, so that the list of sections stays short
            blocks = [answer_block(panel, warnings, single=False)]
            for part in panel_sections(panel, shown):
                blocks += (Block(heading=part.title), *part.blocks)
            sections.append(Section(panel.table.name, blocks))
    learnt = {repr(curves): panel for panel in panels if (curves := panel.run.get("curves"))}
    for panel in learnt.values():
        name = "the network" if len(learnt) == 1 else panel.table.name
        sections.append(Section(f"How {name} learnt", [Block(figures=[learning_figure(panel.run["curves"])])]))
    subgroups = Block(template="subgroups.html", values={"tables": parted, "rows_of": rows_of})
    elsewhere = Block(template="external.html", values={"validations": external})
    sections += [
        Section("Subgroups", [subgroups] if parted else []),
        Section("External validation", [elsewhere] if external else []),
        Section("Images", list(image_blocks(panels))),
        Section("Methods", list(method_blocks(panels, pairs)) if panels else []),
        Section(
            "Reporting form (TRIPOD+AI)",
            [form_block(panels, settings or {}, external=bool(external))] if panels else [],
        ),
        Section("Settings and versions", list(setting_blocks(panels, settings or {}))),
    ]
    write_page(
        path, title=title, banners=(), first=[first], sections=sections, renamed=_short_names(paths) if paths else {}
    )


def _answers_block(panels: Sequence[Panel], banners: Sequence[str]) -> tuple[Block, list[list[str]]]:
    """Return the answers of several tables, with the warnings that they share, and the others of each table."""
    warned = [warnings_of(panel.metrics) for panel in panels]
    tables = [(panel.table.name, answer(panel.metrics)) for panel in panels]
    shared = [note for note in (warned[0] if warned else ()) if all(note in others for others in warned)]
    about = [
        (a["rows"], a["m"]["units"]["groups"], a["by_unit"] is None, sorted(a["m"]["classes"]), a["m"]["chance"])
        for _, a in tables
    ]
    alike = bool(about) and about[1:] == about[:-1]
    loud_first = sorted(banners, key=lambda text: not LOUD.search(text))
    values = {"tables": tables, "alike": alike, "warnings": [*loud_first, *shared]}
    left = [[note for note in notes if note not in shared] for notes in warned]
    return Block(template="answers.html", values=values), left


def _short_names(paths: Sequence[str]) -> dict[str, str]:
    """Return what tables that are called by their paths are called in a report: the part in which they differ."""
    above = Path(paths[0]).parent
    while not all(Path(name).is_relative_to(above) for name in paths):
        above = above.parent
    return {name: Path(name).relative_to(above).as_posix() for name in paths}


def _pictures(panels: Sequence[Panel]) -> tuple[list[list[Block]], list[list[Any]]]:
    """Return the pictures of each panel, numbered, and what they are."""
    shown: list[list[Block]] = []
    keys: list[list[Any]] = []
    for panel in panels:
        blocks: list[Block] = []
        for heading, samples in (("Wrongly classified", panel.wrong), ("Correctly classified", panel.right)):
            figures = []
            there = [sample for sample in samples if sample.picture]
            for sample in there:
                caption = f"true {sample.label}, predicted {sample.predicted}"
                caption += "" if sample.confidence is None else f" ({percent(sample.confidence)})"
                keys.append([len(keys) + 1, sample.image_id, sample.label, sample.predicted, sample.confidence])
                caption = f"Image {len(keys)}: {caption}"
                figures.append(Figure(sample.picture, caption, caption))
            without = len(samples) - len(there)
            missing = f"{without} of {len(samples)} images could not be read." if without else ""
            if samples:
                blocks.append(
                    Block(heading=heading, text="The most confident of them.", note=missing, pictures=figures)
                )
        shown.append(blocks)
    return shown, keys


_ROADS = ("boost", "finetune")
"""Folders of a run that hold a folder per finished table."""


def write_run_report(run: Path, *, images: str, made: Mapping[Path, Panel] | None = None) -> None:
    """Compare all finished folders of a run about the same images, in ``RUN/report.html``.

    It does not matter which call made a folder: its files hold what a panel does.

    Parameters
    ----------
    run : Path
        The run folder.
    images : str
        Identity of the images of the call that asks; folders about others are named and left out.
    made : mapping of Path to Panel, optional
        Folders that the call that asks has made, which need not be read.
    """
    panels: list[Panel] = []
    others: list[str] = []
    tables = sorted(path for road in _ROADS for path in (run / road).glob("*/predictions.csv"))
    for path in (path for path in tables if not is_set_aside(path)):
        name = path.parent.relative_to(run).as_posix()
        if made and path.parent in made:
            known = made[path.parent]
            table = replace(known.table, name=path.parent.name)
            panels.append(replace(known, table=table, right=(), wrong=()))  # pictures stand in the folder's own report
            continue
        try:
            panel, about = _read(path)
        except (BchistoError, KeyError, TypeError, ValueError) as error:
            _log.warning("%s is left out of %s: %s", name, run / "report.html", error)
            others.append(f"{name} is not shown: its files cannot be read")
            continue
        if panel is None:
            continue
        if about not in ("", images):
            others.append(f"{name} is not shown: it is about other images")
            continue
        panels.append(panel)
    compared = [panel.table for panel in panels]
    banners = list(dict.fromkeys(banner for panel in panels for banner in panel.run.get("banners", ())))
    if len(compared) == 1:
        title, pairs = f"Results of {compared[0].name}", list[dict[str, Any]]()
        banners += others
    else:
        title, pairs = "All results of this run", compare_pairs(compared, views=[panel.view for panel in panels])
        banners += [*selection_notes(compared), *others, *unlike_pairs(compared, rows=False)]
    write_report(run / "report.html", title=title, panels=panels, banners=banners, pairs=pairs)


def _read(path: Path) -> tuple[Panel | None, str]:
    """Read a folder and the identity of its images; None without metrics: it is not finished, or not ours."""
    facts = read_facts(path)
    if not facts.metrics:
        return None, ""
    (table,) = read_predictions(path, classes=facts.run["classes"], name=path.parent.name)
    paper = PaperTable.read(facts.run["paper"]) if "paper" in facts.run else None
    panel = Panel(facts.described(table), facts.metrics, paper, run=facts.run, view=facts.view)
    return panel, str(facts.run["images_sha256"])


def write_evaluation(evaluation: Evaluation) -> dict[str, Any]:
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
    folder, result, failed = evaluation.folder, evaluation.result, list[str]()
    report = folder / "report.html"
    refuse_overwriting([report, *(folder / f"{name}.csv" for name in TABLES)], evaluation.sources)
    with reporting(folder / "tables.csv", failed):
        write_tables(folder, tables=result["tables"], pairs=result["comparisons"])
    with reporting(report, failed):
        write_report(
            report,
            title="bchisto evaluation",
            panels=evaluation.panels,
            banners=result["notes"],
            pairs=result["comparisons"],
            external=result.get("external", ()),
        )
    if failed:
        raise ReportError(f"{'; '.join(failed)}; {folder / 'metrics.json'} is written", result)
    return result
