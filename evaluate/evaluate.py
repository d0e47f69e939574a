"""``bchisto evaluate``: prediction tables from anywhere, and those of finished folders, to metrics and a report."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..core import InputError, Many, PathInput, converted, counted
from ..core.formats import read_json
from ..core.jobs import ensure_folder, is_set_aside, refuse_overwriting, write_json
from ..data import facts_files
from .aggregate import Aggregation, aggregate
from .compare import compare_pairs, selection_notes, unlike_pairs
from .external import column_values, external_validations, of_groups, subgroups
from .metrics import TwoClassView, measure
from .panel import Panel, joined_versions
from .predictions import NOTHING_LEARNT, PredictionTable, constant_folds
from .read_table import TableChoice, read_predictions

_OURS = ("predictions.csv", "predictions-by-patch.csv")
"""Tables of a run; ``metrics.json`` in the same folder has what a reader must know of them."""


class Facts(NamedTuple):
    """What a run records of one of its tables; all empty for a table from elsewhere.

    Attributes
    ----------
    run : dict
        ``run`` of ``metrics.json``: ``protocol``, ``classes``, ``banners`` and more; with ``versions``, of the packages
        that worked on the folder by its ``settings.json``.
    metrics : dict
        Those of the table.
    """

    run: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def view(self) -> TwoClassView:
        """The two-class view that the run used."""
        return TwoClassView(**(self.run.get("two_class") or {}))

    def described(self, table: PredictionTable) -> PredictionTable:
        """Return the table with its protocol and the folds to be noted."""
        if not self.run:
            return table
        protocol = self.metrics.get("protocol") or self.run.get("protocol") or table.protocol
        names = {f"{what}_is": name for what, name in self.run.get("names", {}).items()}
        trained = tuple(map(tuple, self.metrics.get("trained_per_fold") or ()))
        return replace(table, protocol=str(protocol), trained=trained, **names)


def read_facts(path: Path) -> Facts:
    """Read what the run records of a predictions file.

    Parameters
    ----------
    path : Path
        ``predictions.csv`` or ``predictions-by-patch.csv``; beside any other file nothing is looked for.

    Raises
    ------
    InputError
        A ``metrics.json`` that is not JSON.
    """
    metrics = path.parent / "metrics.json"
    content = read_json(metrics) if path.name in _OURS and metrics.is_file() else {}
    run, tables = (
        content.get(key) if isinstance(content, dict) else None for key in ("run", "tables")
    )
    if not isinstance(run, dict) or not isinstance(tables, dict):
        return Facts({}, {})
    settings = path.with_name("settings.json")
    content = read_json(settings) if settings.is_file() else {}
    if versions := joined_versions(content.get("made_with", ())):
        run = {**run, "versions": versions}
    names = [name for name in tables if name.endswith(" (patch)") == (path.name == _OURS[1])]
    return Facts(run, tables[names[0]] if names else {})


METRICS, SCHEMA = "metrics.json", 2


@dataclass(frozen=True)
class Evaluation:
    """Tables that were evaluated.

    Attributes
    ----------
    folder : Path
        Holds ``metrics.json``.
    sources : tuple of Path
        The tables that were read, and what their runs record of them.
    panels : list of Panel
    result : dict
        What is in ``metrics.json``: ``{"schema_version": 2, "tables": {name: metrics}, "comparisons": [...], "notes":
        [...]}``, and of an external validation ``external``.
    """

    folder: Path
    sources: tuple[Path, ...]
    panels: list[Panel] = field(repr=False)
    result: dict[str, Any] = field(repr=False)


_MOST_DRAWS = 100_000
"""Maximum number of bootstrap draws: percentiles of that many are known to a thousandth."""

_MOST_NOTES = 3
"""Maximum number of pairs of tables that are named as not comparable."""


def evaluate(
    sources: Many[PathInput],
    *,
    out: PathInput,
    view: TwoClassView | None = None,
    bootstrap: int = 2000,
    tables: TableChoice | None = None,
    aggregation: Aggregation | None = None,
    against: Many[PathInput] = (),
) -> Evaluation:
    """Evaluate prediction tables side by side.

    Parameters
    ----------
    sources : sequence of path
        Predictions CSV files, or run folders, of which every ``predictions.csv`` is taken.
    out : str or Path
        Gets ``metrics.json``; `bchisto.evaluate.report.write_evaluation` adds what people read.
    view : TwoClassView, optional
        The two-class view; what is left open in it is as the run of a table had it.
    bootstrap : int
        Draws of units for the intervals of metrics of other packages that give no influences, to 100,000; 0 for none.
    tables : TableChoice, optional
        How tables are read.
    aggregation : Aggregation, optional
        Whether predictions are of rows, images or groups, and how rows become one; by default rows as they stand.
    against : sequence of path
        Tables or run folders of the images that the models come from: the sources are an external validation, and are
        compared with these, see `external_validations`. They need none of the columns that make subgroups.

    Returns
    -------
    Evaluation
        Paired tests are made between tables that hold the same images in the same folds, and the notes say which do
        not.

    Raises
    ------
    InputError
        A table that does not fit, see `read_predictions`; no table in a run folder.
    """
    sources, others = (
        converted(sources, "sources", tuple[Path, ...]),
        converted(against, "against", tuple[Path, ...]),
    )
    folder = Path(converted(out, "out", Path))
    choice, tables = view or TwoClassView(), tables or TableChoice()
    if not 0 <= bootstrap <= _MOST_DRAWS:
        raise InputError("{bootstrap} {}: give 0 to {:,} draws", bootstrap, _MOST_DRAWS)
    steps = (aggregation or Aggregation()).steps()
    inputs = inputs_of((*others, *sources))
    refuse_overwriting([folder / METRICS], inputs)
    refuse_overwriting(
        [folder], [source for source in (*others, *sources) if Path(source).is_dir()]
    )
    ensure_folder(folder)
    banners: dict[str, None] = {}
    read = functools.partial(
        _measured, choice=choice, steps=steps, bootstrap=bootstrap, banners=banners
    )
    internal = read(tables_of(others), reading=replace(tables, by=()))
    panels = read(tables_of(sources), reading=tables)
    result: dict[str, Any] = {
        "schema_version": SCHEMA,
        "tables": {panel.table.name: panel.metrics for panel in panels},
    }
    if len(result["tables"]) < len(panels):
        raise InputError("two tables have the same name; rename one of the files")
    compared = [panel.table for panel in panels]
    margin = None if tables.margin is None else tables.margin / 100
    result["comparisons"] = compare_pairs(
        compared, views=[panel.view for panel in panels], margin=margin
    )
    apart: list[str] = []
    if others:
        result["external"], apart = external_validations(panels, internal, steps=len(steps))
    unlike = unlike_pairs(compared, rows=len(steps) == 1)
    if len(unlike) > _MOST_NOTES:
        unlike[_MOST_NOTES:] = [
            f"{len(unlike) - _MOST_NOTES} further pairs of tables are not compared either"
        ]
    result["notes"] = [*banners, *apart, *selection_notes(compared), *unlike]
    write_json(folder / METRICS, result)
    return Evaluation(folder, inputs, panels, result)


def inputs_of(sources: Sequence[Path]) -> tuple[Path, ...]:
    """Return the tables, and what their runs know of them, which decide the results: no output may replace them."""
    tables = [path for path, _ in tables_of(sources)]
    ours = [path for path in tables if read_facts(path).run]
    known = {
        file
        for path in ours
        for file in (*map(path.with_name, (METRICS, "settings.json")), *facts_files(path))
    }
    return (*tables, *sorted(filter(Path.is_file, known)))


def _measured(
    tables: Sequence[tuple[Path, str]],
    *,
    choice: TwoClassView,
    reading: TableChoice,
    steps: Sequence[tuple[str, str]],
    bootstrap: int,
    banners: dict[str, None],
) -> list[Panel]:
    """Read tables and measure each at every level; what a reader must know of them goes into `banners`."""
    panels = []
    for path, name in tables:
        facts = read_facts(path)
        banners.update(dict.fromkeys(facts.run.get("banners", ())))
        told = choice.over(facts.view)
        classes = reading.classes or facts.run.get("classes", ())
        for predictions in read_predictions(path, classes=classes, name=name):
            table = facts.described(predictions)
            banners.update(dict.fromkeys(_notes(table, facts)))
            digest = str(facts.run.get("images_sha256", ""))
            values = {
                column: column_values(path, column, images_sha256=digest) for column in reading.by
            }
            for level, rule in steps:
                made = (
                    table
                    if level == "row"
                    else aggregate(table, rule=rule, level=level, positive=told.positive)
                )
                if len(steps) > 1:
                    made = replace(
                        made, name=f"{table.name} ({', '.join(filter(None, (level, rule)))})"
                    )
                metrics = measure(made, told, bootstrap=bootstrap)
                for column, cells in values.items():
                    of = of_groups(table, cells) if level == "group" else cells
                    metrics.setdefault("subgroups", {})[column] = subgroups(made, of, column=column)
                panels.append(Panel(made, metrics, run=facts.run, view=told))
    return panels


def _notes(table: PredictionTable, facts: Facts) -> Iterator[str]:
    """Yield what a reader must know of a table: rows left out, and leaks between its folds."""
    if table.unlabelled:
        unlabelled = counted(table.unlabelled, "row")
        yield f"{table.name}: {unlabelled} without a label left out; these numbers are about the other {len(table)}"
    known = any(NOTHING_LEARNT in banner for banner in facts.run.get("banners", ()))
    if not known and (constant := constant_folds(table)):
        yield f"{table.name}: {constant}"
    if facts.run:
        return
    if not any(group is not None for group in table.groups):
        yield (
            f"{table.name}: PATIENTS UNKNOWN: no row names its patient or slide, so each image counts as a unit of its "
            "own, which makes intervals too narrow if images share a patient"
        )
    if divided := table.divided:
        where = f"{divided} groups are in both training and test sets"
        yield f"{table.name}: image-level folds on grouped data, {where}; these results are too high for new patients"
    if table.not_new:
        yield (
            f"{table.name}: SEEN IN TRAINING: {len(table.not_new)} of {len(set(table.image_ids))} images trained the "
            "models (column trained); these numbers are too high for new images"
        )


def tables_of(sources: Sequence[Path]) -> list[tuple[Path, str]]:
    """Return every table with its name: a file's stem, or the folder of its protocol.

    Where these are not unique, it is the path below the folder that holds all of them.
    """
    files: list[tuple[Path, Path]] = []
    for source in sources:
        inside = [
            path for path in sorted(source.glob("**/predictions.csv")) if not is_set_aside(path)
        ]
        if source.is_dir() and not inside:
            raise InputError(
                f"{source}: no predictions.csv in this folder; give a run folder of bchisto boost, or a table"
            )
        files += (
            [(path, path.parent) for path in inside]
            if source.is_dir()
            else [(source, source.with_suffix(""))]
        )
    above = os.path.commonpath([named.absolute().parent for _, named in files]) if files else ""
    short = Counter(named.name for _, named in files)
    return [
        (
            path,
            named.name
            if short[named.name] == 1
            else named.absolute().relative_to(above).as_posix(),
        )
        for path, named in files
    ]
