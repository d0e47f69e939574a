"""Reading a prediction table from anywhere: every row is checked, and what is wrong is named with its line."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core import (
    InputError,
    Many,
    MissingInputError,
    PathInput,
    Settings,
    TextInput,
    converted,
    counted,
    few,
    option,
)
from ..core.formats import (
    FOLD,
    GROUP,
    IMAGE,
    LABEL,
    PREDICTED,
    CsvTable,
    column_key,
    decimal_of,
    limits,
    read_csv,
)
from ..data import (
    join_groups,
    join_labels,
    known_classes,
    missing_labels,
    report_findings,
    spell_labels,
)
from .predictions import PredictionTable

_EXPECTED = "image_id, label, and p_<class>... or predicted; perhaps group, fold, patch, model"

_SUM_TOLERANCE = 1e-3
"""How far the probabilities of a row may be from 1: tables are often rounded to four decimals."""


@dataclass(frozen=True)
class TableChoice(Settings):
    """How tables are read and compared."""

    classes: tuple[str, ...] = option(
        (),
        commas=True,
        help="Class order; default: that of the run, of a known dataset, or of the table.",
    )
    margin: float | None = option(
        None,
        least=0,
        most=100,
        help="Loss of accuracy, in percentage points, that would not matter: each comparison states whether the second "
        "table is shown to lose less.",
    )
    by: tuple[str, ...] = option(
        (),
        group="Evaluation",
        metavar="COLUMN",
        distinct=True,
        help="Column of the tables, or of the manifest of their run, such as site: exploratory results for each of "
        "its values.",
    )


def read_predictions(
    path: PathInput, *, classes: Many[TextInput] = (), name: str | None = None
) -> list[PredictionTable]:
    """Read a predictions CSV from anywhere.

    Parameters
    ----------
    path : str or Path
        A table, see `bchisto.core.formats.read_csv`: columns ``image_id`` and ``label``, and ``p_<class>`` columns or
        ``predicted``; ``fold``, ``group``, ``patch``, ``trained`` (``yes`` or ``no``) and ``model`` are optional. Other
        names that the columns may have are those of manifests, see `bchisto.core.formats.columns`. With ``model`` the
        rows make one table per model.
        Rows whose label is missing are left out and counted.
    classes : sequence of str
        Class order; by default that of a known dataset, else of the ``p_`` columns, else sorted.
    name : str, optional
        Name of the table; by default the file's stem.

    Returns
    -------
    list of PredictionTable
        In the order in which models first appear.

    Raises
    ------
    InputError
        A missing column, no label at all, an unknown class, a probability that is NaN, negative or does not add up to
        1, a row twice, a prediction that is not of the largest probability, a file that is not UTF-8; the message names
        the file and the row.
    """
    path = Path(converted(path, "path", Path))
    classes = converted(classes, "classes", tuple[str, ...])
    if not path.is_file():
        raise MissingInputError(f"{path}: no such predictions file")
    table = read_csv(path, needed=(IMAGE, LABEL), expected=_EXPECTED, key=_key)
    _refuse_more(path, len(table.columns), limits.EVALUATED_COLUMNS, "columns")
    columns = _Columns.of(path, table)
    names_by_role = columns.names_by_role(table)
    _check_names(path, columns, names_by_role, classes)
    order = classes or _class_order(path, names_by_role, columns.class_names)
    _refuse_more(path, len(order), limits.EVALUATED_CLASSES, "classes")
    _report_spellings(path, names_by_role, order, fixed=bool(columns.scores or classes))
    places = {
        what: _places(path, names, order)
        for what, names in {**names_by_role, "column p_": columns.class_names}.items()
    }
    parser = _Parser(path, order, places, columns.scores)
    rows_of_model, unlabelled = _parse_rows(table, columns, parser)
    _refuse_more(path, len(rows_of_model), limits.EVALUATED_MODELS, "models")
    _refuse_two_patients(itertools.chain.from_iterable(rows_of_model.values()))
    stem = name or path.stem
    tables = []
    for model, rows in rows_of_model.items():
        title = f"{stem}: {model}" if model else stem
        tables.append(_table(path, title, order, rows, unlabelled[model]))
    return tables


class _Columns(NamedTuple):
    """Which columns of a file are what.

    Attributes
    ----------
    by_role : dict of str to str
        The column of each role by its name; empty where there is none.
    scores : list of str
        Columns of probabilities, ``p_<class>``.
    """

    by_role: dict[str, str]
    scores: list[str]

    @classmethod
    def of(cls, path: Path, table: CsvTable) -> _Columns:
        """Choose the columns of a table, of which each has one role, and log them."""
        column_of = dict.fromkeys((IMAGE, LABEL, PREDICTED, FOLD, GROUP), "")
        for role in column_of:
            cure = f"call one {role.name}, or remove one"
            column_of[role] = table.choose(role, cure=cure, without=[*column_of.values()])
        scores = [column for column in table.columns if column.startswith("p_")]
        table.log_columns(column_of, *scores)
        if not scores and not column_of[PREDICTED]:
            raise InputError(
                f"{path}: expected the columns {_EXPECTED}; found {few(table.columns.values(), most=10)}; call the "
                "probabilities of a class p_ and its name"
            )
        return cls({role.name: column for role, column in column_of.items()}, scores)

    @property
    def class_names(self) -> list[str]:
        """The classes that columns of probabilities are named after."""
        return [column.removeprefix("p_") for column in self.scores]

    def names_by_role(self, table: CsvTable) -> dict[str, Sequence[str]]:
        """Return the names of classes in the columns of labels and of predicted classes."""
        return {
            role: [row[column] for _, row in table.rows if row[column]]
            for role, column in self.by_role.items()
            if role in (LABEL.name, PREDICTED.name) and column
        }


def _check_names(
    path: Path,
    columns: _Columns,
    names_by_role: Mapping[str, Sequence[str]],
    classes: Sequence[str],
) -> None:
    """Refuse a file without labels, names beyond the limits, and names that mean that a label is missing."""
    if not names_by_role["label"]:
        raise InputError(
            f"{path}: no row has a label, so nothing can be evaluated; fill in the column label"
        )
    for names in (columns.class_names, *names_by_role.values()):
        _refuse_more(path, len(set(names)), limits.EVALUATED_CLASSES, "classes")
        letters = max(map(len, names), default=0)
        _refuse_more(path, letters, limits.CLASS_LETTERS, "letters of a class")
    for what, names in names_by_role.items():
        missing = missing_labels(names, (*classes, *columns.class_names))
        if missing:
            text = "{}: the {} {} means unknown; leave the cell empty, or name {} in {classes}"
            raise InputError(text, path, what, missing[0], missing[0])


def _report_spellings(
    path: Path, names_by_role: Mapping[str, Sequence[str]], order: tuple[str, ...], *, fixed: bool
) -> None:
    """Report spellings of one class, and names that are like one of a fixed order of classes."""
    prescribed: Sequence[str] = ()
    if fixed or order in known_classes():
        prescribed = order
    _, findings = join_labels(itertools.chain(*names_by_role.values()), classes=prescribed)
    report_findings([replace(finding, file=f"{path}: {finding.file}") for finding in findings])


def _parse_rows(
    table: CsvTable, columns: _Columns, parser: _Parser
) -> tuple[dict[str, list[_Row]], Counter[str]]:
    """Return the rows with a label of each model, and how many without one it has."""
    group_column = columns.by_role["group"]
    groups, joined = join_groups(
        (row.get(group_column) or None for _, row in table.rows), where=str(parser.path)
    )
    report_findings(joined)
    rows_of_model: dict[str, list[_Row]] = {}
    unlabelled: Counter[str] = Counter()
    uneven = {*table.overlong, *table.short}
    for number, row in table.rows:
        where = f"{parser.path}:{number}"
        if number in uneven:
            raise InputError(
                f"{where}: has another number of cells than the header; correct the row"
            )
        cells = row | {role: row.get(column, "") for role, column in columns.by_role.items()}
        cells["group"] = groups.get(cells["group"]) or ""
        model = row.get("model", "")
        rows = rows_of_model.setdefault(model, [])
        if cells["label"]:
            rows.append(parser.parse(where, cells))
        else:
            unlabelled[model] += 1
    return rows_of_model, unlabelled


def _key(column: str) -> str:
    """Return the name of a column as `column_key`, but of one of probabilities with its class as it is written."""
    score = re.fullmatch(r"p_(.+)", column.strip(), re.IGNORECASE | re.DOTALL)
    if score is None:
        return column_key(column)
    return f"p_{score[1]}"


def _refuse_two_patients(rows: Iterable[_Row]) -> None:
    """Refuse an image whose rows name two groups."""
    first: dict[str, _Row] = {}
    for row in rows:
        image = row["image_id"]
        group = row["group"]
        if not group:
            continue
        other = first.setdefault(image, row)
        if other["group"] != group:
            raise InputError(
                f"{row['where']}: {image} is of {group} here, and of {other['group']} in line "
                f"{other['where'].rpartition(':')[2]}; an image has one patient"
            )


def _refuse_more(path: Path, count: int, most: int, what: str) -> None:
    if count > most:
        raise InputError(f"{path}: {count:,} {what} are more than the {most:,} that are evaluated")


def _class_order(
    path: Path, names_by_role: Mapping[str, Iterable[str]], class_names: Sequence[str]
) -> tuple[str, ...]:
    """Return the order of a known dataset, else of the ``p_`` columns, else sorted."""
    columns: list[Iterable[str]] = list(names_by_role.values())
    if class_names:
        columns = [class_names]
    for classes in known_classes():
        if _are_named(columns, classes):
            return classes
    spelling, findings = join_labels(itertools.chain(*columns))
    classes = tuple(dict.fromkeys(spelling.values()))
    if not class_names:
        return tuple(sorted(classes))
    if len(classes) < len(class_names):
        message = findings[0].message if findings else _first_twice(class_names)
        raise InputError(f"{path}: two columns p_ name one class ({message}); keep one")
    return tuple(spelling[name] for name in class_names)


def _are_named(columns: Sequence[Iterable[str]], classes: tuple[str, ...]) -> bool:
    """Return whether columns name just these classes, whatever their spelling."""
    try:
        spellings = [spell_labels(names, classes) for names in columns]
    except InputError:  # two names are one class
        return False
    return {name for spelling in spellings for name in spelling.values()} == set(classes)


def _first_twice(names: Sequence[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


def _places(path: Path, names: Iterable[str], classes: Sequence[str]) -> dict[str, int]:
    """Return the position of the class of each name that is one."""
    try:
        spelled = spell_labels(names, classes)
    except InputError as error:
        raise InputError("{}: {}", path, error) from error
    return {name: classes.index(label) for name, label in spelled.items() if label is not None}


_Row = dict[str, Any]
"""Cells of a row by the name of their role: label and predicted as numbers of classes, fold as a number or None."""


class _Parser(NamedTuple):
    """Checks rows and reads their cells.

    Attributes
    ----------
    path : Path
    classes : tuple of str
    places : mapping
        What a name is in ("label", "predicted", "column p_") to the position of the class of each name.
    scores : list of str
        Columns of probabilities.
    """

    path: Path
    classes: tuple[str, ...]
    places: Mapping[str, Mapping[str, int]]
    scores: list[str]

    def parse(self, where: str, row: dict[str, str]) -> _Row:
        """Return a row with numbers for its classes and its fold."""
        label = self._place(where, row["label"], "label")
        probabilities = None
        if self.scores:
            probabilities = self._probabilities(where, row)
            predicted = self._largest(where, row["predicted"], probabilities)
        else:
            predicted = self._place(where, row["predicted"], "predicted")
        fold = row["fold"]
        if fold and not (fold.isascii() and fold.isdecimal() and len(fold) <= limits.FOLD_DIGITS):
            raise InputError(f"{where}: fold {fold!r} is not a whole number")
        return row | {
            "label": label,
            "predicted": predicted,
            "fold": int(fold) if fold else None,
            "where": where,
            "probabilities": probabilities,
        }

    def _place(self, where: str, name: str, column: str) -> int:
        """Return the position of a class."""
        position = self.places[column].get(name)
        if position is None:
            raise InputError(
                f"{where}: {column} {name!r} is not among the classes {', '.join(self.classes)}"
            )
        return position

    def _probabilities(self, where: str, row: dict[str, str]) -> tuple[float, ...]:
        """Return the probability of each class; 0 for one without a column."""
        values = [0.0] * len(self.classes)
        for column in self.scores:
            try:
                value = decimal_of(row[column])
            except ValueError:
                raise InputError(f"{where}: {column} is {row[column]!r}, not a number") from None
            if not 0.0 <= value <= 1.0 + _SUM_TOLERANCE:
                raise InputError(f"{where}: {column} is {value}, not a probability between 0 and 1")
            values[self._place(where, column.removeprefix("p_"), "column p_")] = value
        if not math.isclose(sum(values), 1.0, abs_tol=_SUM_TOLERANCE):
            raise InputError(
                f"{where}: the probabilities of {row['image_id']} sum to {sum(values):.4g}, not 1"
            )
        return tuple(values)

    def _largest(self, where: str, name: str, probabilities: tuple[float, ...]) -> int:
        """Return the position of the largest probability; of equals, that of the class that is named as predicted."""
        largest = int(np.argmax(probabilities))
        if not name:
            return largest
        predicted = self._place(where, name, "predicted")
        if probabilities[predicted] != max(probabilities):
            raise InputError(
                f"{where}: predicted is {self.classes[predicted]} (probability {probabilities[predicted]:g}), but "
                f"{self.classes[largest]} has the largest, {probabilities[largest]:g}; remove the column predicted, or "
                "those of probabilities"
            )
        return predicted


def _table(
    path: Path, name: str, classes: tuple[str, ...], rows: list[_Row], unlabelled: int
) -> PredictionTable:
    if not rows:
        raise InputError(
            f"{path}: no row of {name} has a label, so nothing can be evaluated; fill in the column label"
        )
    _refuse_repeated(rows)
    folds = {row["fold"] for row in rows}
    _refuse_more(path, len(folds), limits.EVALUATED_FOLDS, "folds")
    folds.discard(None)
    protocol = "no folds"
    if folds:
        protocol = f"{counted(len(folds), 'fold')} of the table"
    probabilities = None
    if rows[0]["probabilities"] is not None:
        probabilities = np.array([row["probabilities"] for row in rows])
    patches = None
    if any(row.get("patch") for row in rows):
        patches = tuple(row.get("patch", "") for row in rows)
    return PredictionTable(
        name=name,
        classes=classes,
        image_ids=tuple(row["image_id"] for row in rows),
        labels=np.array([row["label"] for row in rows], dtype=np.int64),
        probabilities=probabilities,
        predicted=np.array([row["predicted"] for row in rows], dtype=np.int64),
        folds=tuple(row["fold"] for row in rows),
        groups=tuple(row["group"] or None for row in rows),
        patches=patches,
        protocol=protocol,
        not_new=frozenset(row["image_id"] for row in rows if row.get("trained") == "yes"),
        unlabelled=unlabelled,
    )


def _refuse_repeated(rows: Iterable[_Row]) -> None:
    """Refuse two rows about one image, or one patch of it, in one fold."""
    keys: set[tuple[str, str, int | None]] = set()
    for row in rows:
        patch = row.get("patch", "")
        fold = row["fold"]
        key = (row["image_id"], patch, fold)
        if key in keys:
            of_patch = f", patch {patch}," if patch else ""
            in_fold = f" in fold {fold}" if fold is not None else ""
            raise InputError(
                f"{row['where']}: {row['image_id']}{of_patch} is listed twice{in_fold}; keep one row"
            )
        keys.add(key)
