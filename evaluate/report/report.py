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
    unlike_pairs,
)
from .figures import learning_figure
from .methods import method_blocks
from .page import Block, Section, write_page
from .sections import answer_block, first_block, image_blocks, panel_sections, picture_blocks
from .tables import TABLES, PublishedTable, write_tables

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
        why = (
            str(error)
            if isinstance(error, BchistoError)
            else f"{path}: {type(error).__name__}: {error}"
        )
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
) -> list[Sample]:
    """Choose right and wrong images of a table with probabilities; none of any other.

    Parameters
    ----------
    table : PredictionTable
    show : callable
        Returns the pixels of an image, None if there are no images, as of imported embeddings; may raise `ImageError`
        for one that has moved or changed since, which the report then counts as missing.
    """
    sure, hits, samples = table.confidence, table.predicted == table.labels, list[Sample]()
    if sure is None:
        return samples
    per_class = max(1, _SAMPLES // len(table.classes))
    of_classes = (
        surest(table, hits & (table.labels == k))[:per_class] for k in range(len(table.classes))
    )
    for row in (*chain.from_iterable(of_classes), *surest(table, ~hits)[:_SAMPLES]):
        try:
            pixels = show(table.image_ids[row])
        except ImageError:
            picture = ""
        else:
            if pixels is None:
                return []
            picture = thumbnail(pixels)
        label, predicted = (
            table.classes[classes[row]] for classes in (table.labels, table.predicted)
        )
        samples.append(Sample(table.image_ids[row], picture, label, predicted, float(sure[row])))
    return samples


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
    form = {"panels": panels, "settings": settings, "external": external, "pairs": pairs}
    pictures, keys = picture_blocks(panels)
    if keys:
        header = ("picture", "image_id", "label", "predicted", "confidence")
        write_rows(path.with_name("pictures.csv"), header, keys)
    sections = [
        Section(each.title, [Block(template="published.html", values={"table": each})])
        for each in published
    ]
    if pairs:
        sections.append(Section("Comparisons", [Block(template="comparisons.html", values=form)]))
    for number, panel in enumerate(panels):
        parts = list(panel_sections(panel, pictures[number]))
        if len(panels) > 1:  # one section a table, so that the list of sections stays short
            blocks = [
                block for part in parts for block in (Block(heading=part.title), *part.blocks)
            ]
            parts = [Section(panel.table.name, [answer_block(panel), *blocks])]
        sections += parts
    learnt = {repr(curves): panel for panel in panels if (curves := panel.run.get("curves"))}
    for panel in learnt.values():
        name = "the network" if len(learnt) == 1 else panel.table.name
        sections.append(
            Section(f"How {name} learnt", [Block(figures=[learning_figure(panel.run["curves"])])])
        )
    parted = any(panel.metrics.get("subgroups") for panel in panels)
    recorded = settings or any(
        panel.run.get(what) for panel in panels for what in ("settings", "versions")
    )
    sections += [
        Section("Subgroups", [Block(template="subgroups.html", values=form)] if parted else []),
        Section(
            "External validation",
            [Block(template="external.html", values=form)] if external else [],
        ),
        Section("Images", list(image_blocks(panels))),
        Section("Methods", list(method_blocks(panels, pairs)) if panels else []),
        Section(
            "Reporting form (TRIPOD+AI)",
            [Block(template="tripod.html", values=form)] if panels else [],
        ),
        Section(
            "Settings and versions",
            [Block(template="settings.html", values=form)] if recorded else [],
        ),
    ]
    write_page(path, title=title, first=[first_block(panels, banners)], sections=sections)


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
    panels, others = list[Panel](), list[str]()
    for path in sorted(
        path for road in ("boost", "finetune") for path in (run / road).glob("*/predictions.csv")
    ):
        name, known = path.parent.relative_to(run).as_posix(), (made or {}).get(path.parent)
        if is_set_aside(path):
            continue
        try:
            panel, about = (known, images) if known else _read(path)
        except (BchistoError, KeyError, TypeError, ValueError) as error:
            _log.warning("%s is left out of %s: %s", name, run / "report.html", error)
            others.append(f"{name} is not shown: its files cannot be read")
            continue
        if panel is not None and about in ("", images):
            table = replace(panel.table, name=path.parent.name)
            panels.append(
                replace(panel, table=table, samples=())
            )  # pictures stand in the folder's own report
        elif panel is not None:
            others.append(f"{name} is not shown: it is about other images")
    tables = [panel.table for panel in panels]
    title = f"Results of {tables[0].name}" if len(tables) == 1 else "All results of this run"
    pairs = compare_pairs(tables, views=[panel.view for panel in panels]) if tables[1:] else []
    others += unlike_pairs(tables, rows=False) if tables[1:] else []
    write_report(run / "report.html", title=title, panels=panels, banners=others, pairs=pairs)


def _read(path: Path) -> tuple[Panel | None, str]:
    """Read a folder and the identity of its images; None without metrics: it is not finished, or not ours."""
    facts = read_facts(path)
    if not facts.metrics:
        return None, ""
    (table,) = read_predictions(path, classes=facts.run["classes"], name=path.parent.name)
    paper = PaperTable(**facts.run["paper"]) if "paper" in facts.run else None
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
        more = {
            "banners": result["notes"],
            "pairs": result["comparisons"],
            "external": result.get("external", ()),
        }
        write_report(report, title="bchisto evaluation", panels=evaluation.panels, **more)
    if failed:
        raise ReportError(f"{'; '.join(failed)}; {folder / 'metrics.json'} is written", result)
    return result
