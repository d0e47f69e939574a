"""Reading a prediction table from anywhere: every row is checked, and what is wrong is named with its line."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core import (
    Content,
    InputError,
    Many,
    MissingInputError,
    PathInput,
    Settings,
    TextInput,
    Texts,
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
    Floats,
    FramePath,
    column_key,
    decimal_of,
    limits,
    read_csv,
    row_in,
    unit_named,
)
from ..data import (
    CHOSEN,
    REPEATED,
    Finding,
    Frame,
    doubts_at_sites,
    drawn_or_not,
    join_groups,
    join_labels,
    known_classes,
    match_class,
    missing_labels,
    repeats_names,
    report_findings,
    spell_labels,
)
from .predictions import CALLED_FROM, SUM_TOLERANCE, PredictionTable, check_shares

_EXPECTED = "image_id, label, and p_<class>... or predicted; perhaps group, fold, patch, model"

_YES = ("yes", "True")
"""Cells that mean true, in tables of `predict` and in data frames."""


@dataclass(frozen=True)
class TableChoice(Settings):
    """How tables are read and compared."""

    classes: Texts = option(
        (),
        commas=True,
        help="Class order; default: that of the run, of a known dataset, or of the table.",
    )
    ordered: bool = option(
        False,
        help="Classes are grades in this order, for a weighted kappa; default: if names end in numbers, by these.",
    )
    margin: float | None = option(
        None,
        least=0,
        most=100,
        help="Loss of accuracy, in percentage points, that would not matter: each comparison states whether the second "
        "table is shown to lose less.",
    )
    by: Texts = option(
        (),
        group="Evaluation",
        metavar="COLUMN",
        distinct=True,
        help="Column of the tables, or of the manifest of their run, such as site: exploratory results for each of "
        "its values.",
    )


def read_predictions(
    path: PathInput | Frame, *, classes: Many[TextInput] = (), name: str | None = None
) -> list[PredictionTable]:
    """Read a predictions CSV from anywhere, or a data frame with the columns of one.

    Parameters
    ----------
    path : str, Path or pandas.DataFrame
        A table in UTF-8: columns ``image_id`` and ``label``, and ``p_<class>`` columns or ``predicted``; ``fold``,
        ``group``, ``patch``, ``trained`` and ``group_trained`` (``yes`` or ``no``; True or False), ``chosen`` (as
        ``bchisto next`` writes it), ``called_from`` (a share in training, from which `predicted` is called) and
        ``model`` are optional. Columns may have the other names that they may have in manifests, such as ``filename``
        or ``patient``.
        With ``model`` the rows make one table per model. Rows whose label is missing are left out and counted.
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
    classes = converted(classes, "classes", tuple[str, ...])
    if hasattr(path, "to_csv"):
        path = FramePath.of(path, "frame-1")
    path = converted(path, "path", Path)
    if not path.is_file():
        raise MissingInputError(
            f"{path}: no such predictions file; give the predictions.csv of a run, or a table like it"
        )
    table = read_csv(path, needed=(IMAGE, LABEL), expected=_EXPECTED, key=_key)
    _refuse_more(path, len(table.columns), limits.EVALUATED_COLUMNS, "columns")
    columns = _Columns.of(path, table)
    names_by_role = columns.names_by_role(table)
    _check_names(path, columns, names_by_role, classes)
    order = classes or _class_order(path, names_by_role, columns.class_names)
    _refuse_more(path, len(order), limits.EVALUATED_CLASSES, "classes")
    _report_spellings(path, names_by_role, order, fixed=bool(columns.scores or classes))
    parser = _Parser(
        path,
        order,
        columns,
        labels=_places(path, names_by_role["label"], order),
        predicted=_places(path, names_by_role.get("predicted", ()), order),
        scores=_places(path, columns.class_names, order),
    )
    others = [name for name in names_by_role["label"] if name not in parser.labels]
    if others and len(columns.scores) == 1 and not columns.predicted:
        score = columns.scores[0]
        raise InputError(
            f"{path}: {score} is the only column of probabilities, and {others[0]} is a label, too; add a column "
            f"p_{others[0]}, which is 1 - {score} if there are two classes"
        )
    labels = {*parser.labels.values()}
    if parser.predicted and len(labels) > 1 and labels.isdisjoint(parser.predicted.values()):
        raise InputError(
            "{}: no predicted class ({}) is a label ({}); write both in the same words, and probabilities in columns "
            "p_ and the class",
            path,
            few(parser.predicted),
            few(parser.labels),
        )
    rows_of_model, unlabelled, doubts = _parse_rows(table, parser)
    _refuse_more(path, len(rows_of_model), limits.EVALUATED_MODELS, "models")
    _refuse_two_patients(path, itertools.chain.from_iterable(rows_of_model.values()))
    stem = name or path.stem
    group_is = unit_named(table.columns.get(columns.group, ""))
    tables = []
    for model, rows in rows_of_model.items():
        title = f"{stem}: {model}" if model else stem
        result = _table(path, title, order, rows, unlabelled[model])
        unread = _unread(table, columns, order)
        tables.append(replace(result, group_is=group_is, unread=unread, doubts=doubts))
    return tables


def _unread(table: CsvTable, columns: _Columns, order: Sequence[str]) -> tuple[str, ...]:
    """Return the columns whose names end with a class, which may be probabilities, if no probabilities are read."""
    if columns.scores:
        return ()
    ends = tuple(f"_{column_key(name)}" for name in order)
    titles = table.columns.items()
    return tuple(title for key, title in titles if f"_{key}".endswith(ends) and key not in columns)


class _Columns(NamedTuple):
    """The columns of a file by their roles.

    Attributes
    ----------
    scores : list of str
        Columns of probabilities, ``p_<class>``.
    image, label, predicted, fold, group : str
        Names of columns; empty if there is none.
    """

    scores: list[str]
    image: str
    label: str
    predicted: str
    fold: str
    group: str

    @classmethod
    def of(cls, path: Path, table: CsvTable) -> _Columns:
        """Choose a column of a table for each role, none for two roles, and log them."""
        column_of = dict.fromkeys((IMAGE, LABEL, PREDICTED, FOLD, GROUP), "")
        for role in column_of:
            column_of[role] = table.choose(
                role,
                cure=f"call one {role.name}, or remove one",
                without=[*column_of.values()],
            )
        scores = [column for column in table.columns if column.startswith("p_")]
        table.log_columns(column_of, *scores)
        if not scores and not column_of[PREDICTED]:
            raise InputError(
                f"{path}: expected the columns {_EXPECTED}; found {few(table.columns.values(), most=10)}; call the "
                "probabilities of a class p_ and its name; those of a second class are 1 - those of the first"
            )
        return cls(scores, *column_of.values())

    @property
    def class_names(self) -> list[str]:
        """The classes that columns of probabilities are named after."""
        return [column.removeprefix("p_") for column in self.scores]

    def names_by_role(self, table: CsvTable) -> dict[str, Sequence[str]]:
        """Return the names of classes in the columns of labels and of predicted classes."""
        columns = {"label": self.label, "predicted": self.predicted}
        return {
            role: [row[column] for _, row in table.rows if row[column]]
            for role, column in columns.items()
            if column
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
    for role, names in names_by_role.items():
        missing = missing_labels(names, (*classes, *columns.class_names))
        if missing:
            raise InputError(
                "{}: the {} {} means unknown; leave the cell empty, or name {} in {classes}",
                path,
                role,
                missing[0],
                missing[0],
            )


def _report_spellings(
    path: Path, names_by_role: Mapping[str, Sequence[str]], order: tuple[str, ...], *, fixed: bool
) -> None:
    """Report spellings of one class, and names that are like one of a fixed order of classes."""
    names = [*itertools.chain(*names_by_role.values())]
    prescribed = order if fixed or order in known_classes() else ()
    _, findings = join_labels(names, classes=prescribed)
    report_findings([replace(finding, file=f"{path}: {finding.file}") for finding in findings])
    others = {name: match_class(name, prescribed) for name in sorted({*names} - {*order})}
    spelled = ", ".join(f"{name} as {label}" for name, label in others.items() if label)
    if spelled:
        report_findings([Finding("note", str(path), f"read as classes: {spelled}")])


def _parse_rows(
    table: CsvTable, parser: _Parser
) -> tuple[dict[str, list[_Row]], Counter[str], tuple[str, ...]]:
    """Return the labelled rows of each model, the number of its rows without a label, and doubts of patients."""
    columns = parser.columns
    rows = [cells for _, cells in table.rows]
    names = [cells.get(columns.group, "") for cells in rows]
    groups, joined = join_groups((name or None for name in names), where=str(parser.path))
    report_findings(joined)
    doubts: list[str] = [*doubts_at_sites(rows, columns.group)]
    owners = zip(map(groups.get, names), [cells[columns.image] for cells in rows], strict=True)
    if repeats_names([columns.group], owners):
        doubts.append(REPEATED)
        groups = {}
    rows_of_model: dict[str, list[_Row]] = {}
    unlabelled: Counter[str] = Counter()
    uneven = {*table.overlong, *table.short}
    for line, cells in table.rows:
        if line in uneven:
            raise InputError(
                f"{row_in(parser.path, line, full=True)}: has another number of cells than the header; correct the row"
            )
        model = cells.get("model", "")
        rows_of_model.setdefault(model, [])
        if cells[columns.label]:
            group = groups.get(cells.get(columns.group, ""))
            rows_of_model[model].append(parser.parse(line, cells, group))
        else:
            unlabelled[model] += 1
    return rows_of_model, unlabelled, tuple(doubts)


def _key(column: str) -> str:
    """Return the key of a column, see `column_key`; a column of probabilities keeps its class as it is written."""
    name = column.strip()
    if name[2:] and name[:2] in ("p_", "P_"):
        return f"p_{name[2:]}"
    return column_key(column)


def _refuse_two_patients(path: Path, rows: Iterable[_Row]) -> None:
    """Refuse an image whose rows name two groups."""
    first_of_image: dict[str, _Row] = {}
    for row in rows:
        if row.group is None:
            continue
        first = first_of_image.setdefault(row.image, row)
        if first.group != row.group:
            raise InputError(
                f"{row_in(path, row.line, full=True)}: {row.image} is of {row.group} here, and of {first.group} in "
                f"{row_in(path, first.line)}; an image has one patient"
            )


def _refuse_more(path: Path, count: int, limit: int, noun: str) -> None:
    if count > limit:
        raise InputError(f"{path}: {count:,} {noun} are more than the {limit:,} that are evaluated")


def _class_order(
    path: Path, names_by_role: Mapping[str, Iterable[str]], class_names: Sequence[str]
) -> tuple[str, ...]:
    """Return the order of a known dataset, else of the ``p_`` columns, else sorted."""
    columns = [class_names] if class_names else list(names_by_role.values())
    for classes in known_classes():
        if _are_named(columns, classes):
            return classes
    spelling, _ = join_labels(itertools.chain(*columns))
    classes = tuple(dict.fromkeys(spelling.values()))
    if not class_names:
        return tuple(sorted(classes))
    if len(classes) < len(class_names):
        raise InputError(
            f"{path}: two columns p_ name one class, among {few(class_names)}; keep one"
        )
    return tuple(spelling[name] for name in class_names)


def _are_named(columns: Sequence[Iterable[str]], classes: tuple[str, ...]) -> bool:
    """Return whether columns name just these classes, whatever their spelling."""
    try:
        spellings = [spell_labels(names, classes) for names in columns]
    except InputError:  # two names are one class
        return False
    return {name for spelling in spellings for name in spelling.values()} == set(classes)


def _places(path: Path, names: Iterable[str], classes: Sequence[str]) -> dict[str, int]:
    """Return the position of the class that each name means; names of no class are left out."""
    try:
        spelled = spell_labels(names, classes)
    except InputError as error:
        raise InputError("{}: {}", path, error) from error
    return {name: classes.index(label) for name, label in spelled.items() if label is not None}


class _Row(NamedTuple):
    """A row with a label.

    Attributes
    ----------
    line : int
        Its first line in the file.
    image : str
    label, predicted : int
        Positions of classes.
    fold : int or None
    group : str or None
    patch : str
        Empty if rows are about whole images.
    trained : bool
        Whether the image trained the model.
    group_trained : bool
        Whether images of its group did.
    chosen : str
        ``random`` or ``not random`` if ``bchisto next`` chose it; any other text as it is.
    probabilities : tuple of float, or None
        Probability of each class; None if rows only name the predicted one.
    called_from : float or None
        The share in training from which bchisto called the predicted class; None if the largest probability decided.
    """

    line: int
    image: str
    label: int
    predicted: int
    fold: int | None
    group: str | None
    patch: str
    trained: bool
    group_trained: bool
    chosen: str
    probabilities: tuple[float, ...] | None
    called_from: float | None


class _Parser(NamedTuple):
    """Checks rows and reads their cells.

    Attributes
    ----------
    path : Path
    classes : tuple of str
    columns : _Columns
    labels, predicted, scores : mapping of str to int
        The position of the class of each name in the column of labels, in that of predicted classes, and in the names
        of columns of probabilities.
    """

    path: Path
    classes: tuple[str, ...]
    columns: _Columns
    labels: Mapping[str, int]
    predicted: Mapping[str, int]
    scores: Mapping[str, int]

    def parse(self, line: int, cells: Mapping[str, str], group: str | None) -> _Row:
        """Return the content of a row of the file; `group` is the settled name of its group."""
        where = row_in(self.path, line, full=True)
        label = self._place(where, "label", cells[self.columns.label], self.labels)
        predicted_name = cells.get(self.columns.predicted, "")
        probabilities = None
        called_from = None
        if self.columns.scores:
            probabilities, called_from = self._probabilities(where, cells)
            predicted = self._called(where, predicted_name, probabilities, called_from)
        else:
            predicted = self._place(where, "predicted", predicted_name, self.predicted)
        fold = cells.get(self.columns.fold, "").removesuffix(".0")
        if fold and not (fold.isascii() and fold.isdecimal() and len(fold) <= limits.FOLD_DIGITS):
            raise InputError(
                f"{where}: fold {fold!r} is not a whole number; write the number of the fold"
            )
        return _Row(
            line,
            image=cells[self.columns.image],
            label=label,
            predicted=predicted,
            fold=int(fold) if fold else None,
            group=group or None,
            patch=cells.get("patch", ""),
            trained=cells.get("trained") in _YES,
            group_trained=cells.get("group_trained") in _YES,
            chosen=drawn_or_not(cells.get(CHOSEN, "")),
            probabilities=probabilities,
            called_from=called_from,
        )

    def _place(self, where: str, column: str, name: str, places: Mapping[str, int]) -> int:
        """Return the position of the class of a name."""
        if name not in places:
            raise InputError(
                f"{where}: {column} {name!r} is not among the classes {', '.join(self.classes)}; correct it"
            )
        return places[name]

    def _probabilities(
        self, where: str, cells: Mapping[str, str]
    ) -> tuple[tuple[float, ...], float | None]:
        """Return the probability of each class, 0 for one without a column, and that from which one is called."""
        shares = {}
        columns = [*self.columns.scores]
        if cells.get(CALLED_FROM):
            columns.append(CALLED_FROM)
        for column in columns:
            try:
                shares[column] = decimal_of(cells[column])
            except ValueError:
                raise InputError(
                    f"{where}: {column} is {cells[column]!r}, not a number; correct the cell"
                ) from None
        called_from = shares.pop(CALLED_FROM, None)
        check_shares(where, shares)
        values = [0.0] * len(self.classes)
        for column, share in shares.items():
            values[self._place(where, "column p_", column.removeprefix("p_"), self.scores)] = share
        return tuple(values), called_from

    def _called(
        self, where: str, name: str, probabilities: tuple[float, ...], called_from: float | None
    ) -> int:
        """Return the position of the class named as predicted, else that of the largest probability.

        The one that is named must have the largest probability, or that from which it is called.
        """
        largest = int(np.argmax(probabilities))
        if not name:
            return largest
        predicted = self._place(where, "predicted", name, self.predicted)
        least = max(probabilities)
        if called_from is not None:
            least = called_from - SUM_TOLERANCE  # of tables that were rounded
        if not probabilities[predicted] >= least:
            raise InputError(
                f"{where}: predicted is {self.classes[predicted]} (probability {probabilities[predicted]:g}), but "
                f"{self.classes[largest]} has the largest, {probabilities[largest]:g}; remove the column predicted, or "
                "those of probabilities"
            )
        return predicted


def _shares(rows: Sequence[_Row], classes: Sequence[str]) -> Floats | None:
    """Return the shares of two classes in training, float64 of shape (n, 2), if every row has one."""
    if len(classes) != 2 or any(row.called_from is None for row in rows):
        return None
    called_from = np.array([row.called_from for row in rows])
    is_called = np.eye(2)[[row.predicted for row in rows]]
    return np.asarray(np.abs(1.0 - is_called - called_from[:, np.newaxis]))


def _table(
    path: Path, name: str, classes: tuple[str, ...], rows: list[_Row], unlabelled: int
) -> PredictionTable:
    if not rows:
        raise InputError(
            f"{path}: no row of {name} has a label, so nothing can be evaluated; fill in the column label"
        )
    _refuse_repeated(path, rows)
    cells: Content = dict(zip(_Row._fields, zip(*rows, strict=True), strict=True))
    folds = {*cells["fold"]}
    _refuse_more(path, len(folds), limits.EVALUATED_FOLDS, "folds")
    numbers = folds - {None}
    probabilities = None
    if rows[0].probabilities is not None:
        probabilities = np.array(cells["probabilities"])
    return PredictionTable(
        name=name,
        classes=classes,
        image_ids=cells["image"],
        labels=np.array(cells["label"], np.int64),
        probabilities=probabilities,
        predicted=np.array(cells["predicted"], np.int64),
        folds=cells["fold"],
        groups=cells["group"],
        patches=cells["patch"] if any(cells["patch"]) else None,
        protocol=f"{counted(len(numbers), 'fold')} of the table"
        if numbers
        else "no column fold, so rows count as one test set",
        not_new=frozenset(row.image for row in rows if row.trained),
        groups_of_training=frozenset(row.group for row in rows if row.group and row.group_trained),
        unlabelled=unlabelled,
        marks=cells["chosen"],
        shares=_shares(rows, classes),
    )


def _refuse_repeated(path: Path, rows: Iterable[_Row]) -> None:
    """Refuse two rows about one image, or one patch of it, in one fold."""
    keys = set()
    for row in rows:
        key = (row.image, row.patch, row.fold)
        if key in keys:
            patch_text = f", patch {row.patch}," if row.patch else ""
            in_fold = f" in fold {row.fold}" if row.fold is not None else ""
            raise InputError(
                f"{row_in(path, row.line, full=True)}: {row.image}{patch_text} is listed twice{in_fold}; keep one row"
            )
        keys.add(key)
