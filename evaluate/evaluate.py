"""``bchisto evaluate``: prediction tables from anywhere, and those of finished folders, to metrics and a report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..core import (
    Banner,
    InputError,
    Kind,
    Many,
    PathInput,
    as_banner,
    converted,
    counted,
    few,
    has_kind,
    html_lines,
    html_table,
)
from ..core.formats import as_frame
from ..core.jobs import ensure_folder, is_set_aside, refuse_overwriting, write_json
from ..data import Frame, facts_files, with_files
from .aggregate import Aggregation, aggregate
from .compare import compare_pairs, named_alike, unlike_pairs
from .conclusions import choices_of, verdict_of
from .external import alone, column_values, external_validations, of_groups, subgroups
from .facts import CHOICE, METRICS, Facts, read_facts
from .intervals import Entry, Figure, as_json, with_figures
from .metrics import metrics_of
from .panel import TESTED, Panel, comparison_rows, decisive
from .predictions import PredictionTable, constant_folds
from .read_table import TableChoice, read_predictions
from .two_class import TwoClassView, default_positive

_Source: TypeAlias = PathInput | Frame | PredictionTable

_FIGURE = tuple(member.name for member in fields(Figure))

SCHEMA = 2
"""Version of what ``metrics.json`` holds."""


@dataclass(frozen=True)
class Evaluation:
    """Tables that were evaluated.

    Attributes
    ----------
    folder : Path
        Holds ``metrics.json``.
    sources : tuple of Path
        The tables that were read, and the files in which their runs record facts about them.
    panels : list of Panel
        The tables with their figures.
    result : dict
        What is in ``metrics.json``, in the types of JSON: ``{"schema_version": 2, "tables": {name: metrics},
        "comparisons": [...], "notes": [...]}``, and of an external validation ``external``.
    """

    folder: Path
    sources: tuple[Path, ...]
    panels: list[Panel] = field(repr=False)
    result: Entry = field(repr=False)

    def summary(self) -> list[str]:
        """Return a line for each table, with its figures, what they show and its folds, and then the notes."""
        lines = [f"{name}: accuracy {'; '.join(cells)}" for name, *cells in self._rows()]
        return [*lines, *self.notes]

    @property
    def notes(self) -> list[Banner]:
        """What a reader must know of the tables."""
        return list(map(Banner.read, self.result["notes"]))

    def _rows(self) -> Iterator[tuple[str, ...]]:
        """Yield the name of each table, its accuracy, what its figures show, and its folds."""
        for panel in self.panels:
            metrics = decisive(panel.metrics)
            verdict = verdict_of(metrics)
            metric = (verdict.by or "balanced_accuracy").replace("_", " ")
            words = f"{metric} {verdict.figure}, "
            if verdict.by and verdict.figure != metrics[verdict.by]:
                words = (
                    f"{metric} {metrics[verdict.by]}, corrected for the choice {verdict.figure}, "
                )
            words += _VERDICTS[verdict.kind]
            units = panel.metrics["units"]
            if units["ungrouped"]:
                words += f", with {counted(units['ungrouped'], 'image')} of no known patient"
            if units["divided"] or units["trained"] or units["trained_groups"]:
                words += ", but not of new patients"
            if panel.metrics.get("drawn", {}).get("n"):
                words += ", of those drawn at random only"
            yield panel.table.name, str(metrics["accuracy"]), words, panel.table.protocol

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with a row for each figure of each table, see `Panel.rows`.

        Raises
        ------
        DependencyError
            pandas is not installed.
        """
        return as_frame([row for panel in self.panels for row in panel.rows()])

    def comparisons_to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with a row for each difference between two tables, second minus first.

        Its columns are ``first``, ``second``, ``metric``, those of a `Figure`, and for the accuracy ``p``, ``p_holm``
        (corrected for the number of comparisons) and ``verdict``.

        Raises
        ------
        DependencyError
            pandas is not installed.
        """
        rows = comparison_rows(with_figures(self.result["comparisons"]))
        # also if no two tables are compared, as `Evaluation.notes` tell
        names = ("first", "second", "metric", *_FIGURE, *TESTED)
        return as_frame({name: [row[name] for row in rows] for name in names})

    def _repr_html_(self) -> str:
        header = ["table", "accuracy", "what is shown", "folds"]
        return html_table("evaluation", header, self._rows()) + html_lines(self.notes)


_VERDICTS = {
    "better": "shown to be better than chance",
    "not shown": "not shown to be better than chance",
    "worse": "shown to be worse than chance",
    "not estimable": "without an interval, so not compared with chance",
}
"""Phrase for each kind of `Verdict`."""


_MOST_DRAWS = 100_000
"""Maximum number of bootstrap draws: percentiles of that many are known to a thousandth."""

_MOST_NOTES = 3
"""Maximum number of pairs of tables that are named as not comparable."""


def evaluate(
    sources: Many[_Source] | Mapping[str, _Source],
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
    sources : sequence of path, pandas.DataFrame or PredictionTable
        Predictions CSV files, or run folders, of which every ``predictions.csv`` is taken. A data frame has the columns
        of such a file, and is written to `out` as one; a mapping gives tables the names of its keys.
    out : str or Path
        Gets ``metrics.json``; `bchisto.evaluate.report.write_evaluation` adds what people read. Those of an earlier
        call are overwritten.
    view : TwoClassView, optional
        The two-class view; what it leaves open is taken from the run of each table.
    bootstrap : int
        Draws of units, at most 100,000, for the intervals of other packages' metrics without influences; 0 for none.
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
        Paired tests are made between tables that hold the same images in the same folds (those without folds fit any),
        and the notes say which do not.

    Raises
    ------
    InputError
        A table that does not fit, see `read_predictions`; no table; thresholds or sensitivities without a positive
        class.
    """
    folder = converted(out, "out", Path)
    others = converted(against, "against", tuple[Path, ...])
    bootstrap = converted(bootstrap, "bootstrap", int)
    if not 0 <= bootstrap <= _MOST_DRAWS:
        raise InputError("{bootstrap} {}: give 0 to {:,} draws", bootstrap, _MOST_DRAWS)
    tables = TableChoice.of(tables)
    reader = _Reader(TwoClassView.of(view), Aggregation.of(aggregation).steps(), bootstrap)
    with with_files(sources, folder, reader.banners) as (paths, names):
        inputs = inputs_of((*others, *paths))
        refuse_overwriting([folder / METRICS], inputs)
        refuse_overwriting([folder], filter(Path.is_dir, (*others, *paths)))
        ensure_folder(folder)
        internal = reader.panels(tables_of(others), replace(tables, by=()))
        for panel in internal:
            reader.groups_of_training.update(filter(None, panel.table.groups))
        read_panels = reader.panels(
            [(path, names.get(path, name)) for path, name in tables_of(paths)], tables
        )
        compared = named_alike([panel.table for panel in read_panels])
        choices = choices_of(compared, [panel.metrics for panel in read_panels])
        panels = [
            # the choice in the run of a table, if it was among more, whose corrected figures are of that table
            replace(panel, table=table).chosen(
                max(choice, panel.choice, key=lambda added: added.get("choice", {}).get("count", 1))
            )
            for panel, table, choice in zip(read_panels, compared, choices, strict=True)
        ]
        result: Entry = {
            "schema_version": SCHEMA,
            "tables": {panel.table.name: panel.metrics for panel in panels},
        }
        if len(result["tables"]) < len(panels):
            raise InputError("two tables have the same name; rename one of the files")
        result["comparisons"] = compare_pairs(
            compared,
            views=[panel.view for panel in panels],
            margin=None if tables.margin is None else tables.margin / 100,
        )
        not_external: list[str] = []
        if others:
            result["external"], not_external = external_validations(
                panels, internal, steps=len(reader.steps)
            )
        unlike_notes = unlike_pairs(compared, rows=len(reader.steps) == 1)
        if len(unlike_notes) > _MOST_NOTES:
            further = len(unlike_notes) - _MOST_NOTES
            unlike_notes[_MOST_NOTES:] = [
                f"{further} further pairs of tables are not compared either"
            ]
        notes = map(as_banner, [*reader.banners, *not_external, *unlike_notes])
        result["notes"] = [banner.json() for banner in notes]
        result = as_json(result)
        write_json(folder / METRICS, result)
    return Evaluation(folder, inputs, panels, result)


def inputs_of(sources: Sequence[Path]) -> tuple[Path, ...]:
    """Return the tables, and the files of their runs that decide the results: no output may replace any of them."""
    tables = [path for path, _ in tables_of(sources)]
    facts: set[Path] = set()
    for path in tables:
        if read_facts(path).run:
            facts.update((path.with_name(METRICS), path.with_name("settings.json")))
            facts.add(path.absolute().parent.parent.parent / CHOICE)
            facts.update(facts_files(path))
    return (*tables, *sorted(filter(Path.is_file, facts)))


@dataclass(frozen=True)
class _Reader:
    """Reads tables and measures each at every level.

    Attributes
    ----------
    view : TwoClassView
        What it leaves open is taken from the run of each table.
    steps : list of (str, str)
        Levels and rules, see `Aggregation.steps`.
    bootstrap : int
    banners : dict of str to None
        What a reader must know of the tables read so far, each sentence once.
    groups_of_training : set of str
        Groups that trained the models of tables without folds.
    """

    view: TwoClassView
    steps: Sequence[tuple[str, str]]
    bootstrap: int
    banners: dict[str, None] = field(default_factory=dict)
    groups_of_training: set[str] = field(default_factory=set)

    def panels(self, tables: Sequence[tuple[Path, str]], choice: TableChoice) -> list[Panel]:
        """Return a panel for each table and level."""
        panels = []
        for path, name in tables:
            facts = read_facts(path)
            self.banners.update(dict.fromkeys(facts.banners))
            view = self.view.over(facts.view)
            classes = choice.classes or facts.run.get("classes", ())
            for predictions in read_predictions(path, classes=classes, name=name):
                table = replace(facts.described(predictions), ordered=choice.ordered)
                self.banners.update(dict.fromkeys(_notes(table, facts)))
                if not table.fold_numbers:
                    groups = self.groups_of_training.intersection(table.groups)
                    table = replace(table, groups_of_training=table.groups_of_training | groups)
                digest = str(facts.run.get("images_sha256", ""))
                columns = {
                    column: column_values(path, column, images_sha256=digest)
                    for column in choice.by
                }
                self._refuse_no_side(view, table)
                for level, rule in self.steps:
                    level_table = self._at_level(table, view, level=level, rule=rule)
                    metrics = metrics_of(level_table, view, bootstrap=self.bootstrap)
                    if columns:
                        metrics |= {"subgroups": {}, "alone": {}}
                    for column, values in columns.items():
                        if level == "group":
                            values = of_groups(table, values)
                        metrics["subgroups"][column] = subgroups(level_table, values, column=column)
                        metrics["alone"][column] = alone(level_table.drawn, values)
                    panels.append(
                        Panel(
                            level_table,
                            metrics,
                            run=facts.run,
                            view=view,
                            folder=path.parent,
                            choice=_choice_at_level(facts, table, level_table),
                        )
                    )
        return panels

    def _refuse_no_side(self, view: TwoClassView, table: PredictionTable) -> None:
        """Refuse operating points that are asked for, if no class of a table is known to be positive."""
        asked = self.view.thresholds or self.view.sensitivities
        if asked and not (view.positive or default_positive(table.classes)):
            raise InputError(
                "{}: no class is known to be positive, so it has no operating points; name one with {positive:CLASS}",
                table.name,
            )

    def _at_level(
        self, table: PredictionTable, view: TwoClassView, *, level: str, rule: str
    ) -> PredictionTable:
        """Return a table of one prediction per row, image or group, whose name says so if there are several."""
        level_table = table
        if level != "row":
            level_table = aggregate(table, rule=rule, level=level, positive=view.positive)
        if len(self.steps) == 1:
            return level_table
        return replace(level_table, name=f"{table.name} ({', '.join(filter(None, (level, rule)))})")


def _choice_at_level(facts: Facts, table: PredictionTable, at_level: PredictionTable) -> Entry:
    """Return what a choice in a run adds to a table at a level; its corrected figures hold only for the same hits."""
    if not facts.choice or np.array_equal(table.hits, at_level.hits):
        return facts.choice
    return {"choice": {**facts.choice["choice"], "uncorrected": True}}


def _notes(table: PredictionTable, facts: Facts) -> list[Banner]:
    """Return what a reader must know of a table: rows left out, and leaks between its folds."""
    texts: list[str | None] = [*table.doubts]
    if table.unlabelled:
        unlabelled = counted(table.unlabelled, "row")
        texts.append(
            f"{unlabelled} without a label left out; these numbers are about the other {len(table)}"
        )
    if table.unread:
        texts.append(
            f"columns that were not read: {few(table.unread)}; if these are probabilities, call them p_ and the "
            f"class, such as p_{table.classes[0]}"
        )
    if not has_kind(facts.banners, Kind.NOTHING_LEARNT):
        texts.append(constant_folds(table))
    if not facts.run:
        # reports tell of some unknown patients in words of their own
        texts += [
            caution for caution in table.cautions if caution.kind != Kind.PATIENTS_PARTLY_UNKNOWN
        ]
    return [as_banner(text).of(table.name) for text in texts if text is not None]


def tables_of(sources: Sequence[Path]) -> list[tuple[Path, str]]:
    """Return every table with its name: a file's stem, or the folder of its protocol.

    If these are not unique, the name is the path below the folder that holds all of them.
    """
    files = []
    for source in sources:
        if not source.is_dir():
            files.append((source, source.with_suffix("")))
            continue
        predictions = [
            path for path in sorted(source.glob("**/predictions.csv")) if not is_set_aside(path)
        ]
        if not predictions:
            raise InputError(
                f"{source}: no predictions.csv in this folder; give a run folder of bchisto boost, or a table"
            )
        files += [(path, path.parent) for path in predictions]
    if not files:
        return []
    root = os.path.commonpath([named_by.absolute().parent for _, named_by in files])
    uses = Counter(named_by.name for _, named_by in files)
    tables = []
    for path, named_by in files:
        name = named_by.name
        if uses[name] > 1:
            name = named_by.absolute().relative_to(root).as_posix()
        tables.append((path, name))
    return tables
