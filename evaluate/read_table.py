"""Reading a prediction table from anywhere: every row is checked, and what is wrong is named with its line."""

from __future__ import annotations

import csv
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..arguments import Many, PathInput, TextInput, as_path, as_texts
from ..data import column_key, known_classes, settle_labels, spell_labels
from ..errors import InputError, MissingInputError
from ..jobs import read_records
from .predictions import PredictionTable

PREDICTED_FROM = ("column", "probabilities")
"""What the predicted class of a row is taken from, where a table says it twice and differently."""

_log = logging.getLogger(__name__)

_MOST_CLASSES, _MOST_FOLDS, _MOST_COLUMNS, _MOST_MODELS = 100, 5000, 1000, 100
"""Bounds on a table (ours): each class and fold costs figures of its own, and rows are as many as there are."""

_MOST_LINES = 3_000_000
"""Bound on lines (ours): a row takes some 400 bytes of memory."""

_MOST_DIGITS, _MOST_LETTERS = 9, 1000
"""Of a fold, and of a class (ours)."""

_SUM_TOLERANCE = 1e-3
"""How far the probabilities of a row may be from 1: tables are often rounded to four decimals."""


@dataclass(frozen=True)
class TableChoice:
    """How tables are read and compared.

    Attributes
    ----------
    classes : tuple of str
        Class order; by default that of the run, of a known dataset, or of the table.
    predicted_from : {"column", "probabilities"}, optional
        Which of them holds where the column ``predicted`` is not a class of the largest probability; without it such a
        table is refused.
    primary : str, optional
        The comparison that was named beforehand, ``FIRST:SECOND`` by the names of the tables; by default the first.
    by : tuple of str
        Columns of a table, or of the manifest of its run, whose values make subgroups.
    """

    classes: tuple[str, ...] = ()
    predicted_from: str | None = None
    primary: str | None = None
    by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("classes", "by"):
            object.__setattr__(self, name, as_texts(getattr(self, name), name))
        once: dict[str, str] = {}
        for name in self.by:
            once.setdefault(column_key(name), name.strip())
        object.__setattr__(self, "by", tuple(once.values()))

    @classmethod
    def of(cls, value: TableChoice | None) -> TableChoice:
        """Return what was passed, or the default."""
        return cls() if value is None else value

    def check(self) -> None:
        """Refuse a choice that there is not.

        Raises
        ------
        InputError
        """
        if self.predicted_from not in (None, *PREDICTED_FROM):
            raise InputError(f"`predicted_from` {self.predicted_from}: choose one of {', '.join(PREDICTED_FROM)}")


def read_predictions(
    path: PathInput,
    *,
    classes: Many[TextInput] = (),
    name: str | None = None,
    predicted_from: str | None = None,
) -> list[PredictionTable]:
    """Read a predictions CSV from anywhere.

    Parameters
    ----------
    path : str or Path
        Columns ``image_id`` and ``label``, and ``p_<class>`` columns or ``predicted``; ``fold``, ``group``, ``patch``,
        ``trained`` (``yes`` or ``no``) and ``model`` are optional. With ``model`` the rows make one table per model.
        Rows whose label is missing are left out and counted.
    classes : sequence of str
        Class order; by default that of a known dataset, else of the ``p_`` columns, else sorted.
    name : str, optional
        Name of the table; by default the file's stem.
    predicted_from : {"column", "probabilities"}, optional
        See `TableChoice`.

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
    path = Path(as_path(path, "path"))
    classes = as_texts(classes, "classes")
    if not path.is_file():
        raise MissingInputError(f"{path}: no such predictions file")
    try:
        with path.open("rb") as content:
            counts = [(piece.count(b"\n"), piece.count(b"\r")) for piece in iter(lambda: content.read(2**20), b"")]
        _bounded(path, max(map(sum, zip(*counts, strict=True)), default=0), _MOST_LINES, "lines")
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = read_records(handle)
            columns = [column.strip() for column in reader.fieldnames or ()]
            reader.fieldnames = columns  # blanks around a name would lose the column, and with it the patients
            _bounded(path, len(columns), _MOST_COLUMNS, "columns")
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a UTF-8 CSV file ({error}); save it as UTF-8") from error
    scores = [column for column in columns if column.startswith("p_")]
    if not {"image_id", "label"} <= set(columns) or not (scores or "predicted" in columns):
        raise InputError(
            f"{path}: expected the columns image_id, label and p_<class>... or predicted; found {', '.join(columns)}"
        )
    if not rows:
        raise InputError(f"{path}: the table has no rows")
    named = [column.removeprefix("p_") for column in scores]
    mentioned: dict[str, Sequence[str]] = {
        column: [text for row in rows if (text := (row[column] or "").strip())]
        for column in ("label", "predicted")
        if column in columns
    }
    if not mentioned["label"]:
        raise InputError(f"{path}: no row has a label, so nothing can be evaluated; fill in the column label")
    for names in (named, *mentioned.values()):
        _bounded(path, len(set(names)), _MOST_CLASSES, "classes")
        _bounded(path, max(map(len, names), default=0), _MOST_LETTERS, "letters of a class")
    order = tuple(classes) or _class_order(path, mentioned, named)
    _bounded(path, len(order), _MOST_CLASSES, "classes")
    places = {column: _places(path, names, order) for column, names in {**mentioned, "column p_": named}.items()}
    parsed: dict[str, list[_Row]] = {}
    unlabelled: Counter[str] = Counter()
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(f"{path}:{number}: has another number of cells than the header; write the row anew")
        model = row.get("model") or ""
        found = parsed.setdefault(model, [])
        if row["label"].strip():
            found.append(_parse(f"{path}:{number}", row, order, places, scores, predicted_from))
        else:
            unlabelled[model] += 1
    _bounded(path, len(parsed), _MOST_MODELS, "models")
    stem = name or path.stem
    return [
        _table(path, f"{stem}: {model}" if model else stem, order, lines, unlabelled[model])
        for model, lines in parsed.items()
    ]


def _bounded(path: Path, count: int, most: int, what: str) -> None:
    if count > most:
        raise InputError(f"{path}: {count:,} {what} are more than the {most:,} that are evaluated")


def _class_order(path: Path, mentioned: Mapping[str, Iterable[str]], named: Sequence[str]) -> tuple[str, ...]:
    """Return the order of a known dataset, else of the ``p_`` columns, else sorted."""
    for known in known_classes():
        found = [_spell_loosely(names, known) for names in ([named] if named else mentioned.values())]
        if all(found) and {name for spelled in found for name in spelled.values()} == set(known):
            return known
    names, findings = settle_labels(named or [name for column in mentioned.values() for name in column])
    if named and len(set(names.values())) < len(named):
        said = findings[0].message if findings else next(name for name in named if named.count(name) > 1)
        raise InputError(f"{path}: two columns p_ name one class ({said}); keep one")
    for finding in findings:
        _log.warning("%s: %s", path, finding)
    return tuple(named) or tuple(sorted(set(names.values())))


def _spell_loosely(names: Iterable[str], classes: Sequence[str]) -> dict[str, str]:
    """Return the class of each name; nothing where a name is no class, or two names are one."""
    try:
        spelled = spell_labels(names, classes)
    except InputError:
        return {}
    return {name: known for name, known in spelled.items() if known is not None} if all(spelled.values()) else {}


def _places(path: Path, names: Iterable[str], classes: Sequence[str]) -> dict[str, int]:
    """Return the position of the class of each name that is one."""
    try:
        spelled = spell_labels(names, classes)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return {name: classes.index(known) for name, known in spelled.items() if known is not None}


@dataclass(frozen=True)
class _Row:
    where: str
    image: str
    label: int
    predicted: int
    probabilities: tuple[float, ...] | None
    fold: int | None
    group: str | None
    patch: str
    trained: bool


def _parse(
    where: str,
    row: dict[str, str],
    classes: tuple[str, ...],
    places: Mapping[str, Mapping[str, int]],
    scores: list[str],
    predicted_from: str | None,
) -> _Row:
    def position(text: str, column: str) -> int:
        found = places[column].get(text if column == "column p_" else text.strip())
        if found is None:
            raise InputError(f"{where}: {column} {text!r} is none of the classes {', '.join(classes)}")
        return found

    label = position(row["label"], "label")
    probabilities = None
    if scores:
        values = [0.0] * len(classes)
        for column in scores:
            try:
                value = _number(row[column])
            except ValueError:
                raise InputError(f"{where}: {column} is {row[column]!r}, not a number") from None
            if not 0.0 <= value <= 1.0 + _SUM_TOLERANCE:
                raise InputError(f"{where}: {column} is {value}, not a probability between 0 and 1")
            values[position(column.removeprefix("p_"), "column p_")] = value
        if not math.isclose(sum(values), 1.0, abs_tol=_SUM_TOLERANCE):
            raise InputError(f"{where}: the probabilities of {row['image_id']} sum to {sum(values):.4g}, not 1")
        probabilities = tuple(values)
        predicted = int(np.argmax(values))
        if (row.get("predicted") or "").strip():
            called = position(row["predicted"], "predicted")
            if values[called] == max(values) or predicted_from == "column":  # it settles a tie of probabilities
                predicted = called
            elif predicted_from != "probabilities":
                raise InputError(
                    f"{where}: predicted is {classes[called]} (probability {values[called]:g}), but "
                    f"{classes[predicted]} has the largest, {values[predicted]:g}: give "
                    '`predicted_from="column"` to evaluate what was called, or `predicted_from="probabilities"`'
                )
    else:
        predicted = position(row["predicted"], "predicted")
    fold = (row.get("fold") or "").strip()
    if fold and not (fold.isascii() and fold.isdecimal() and len(fold) <= _MOST_DIGITS):
        raise InputError(f"{where}: fold {fold!r} is not a whole number")
    return _Row(
        where,
        row["image_id"],
        label,
        predicted,
        probabilities,
        int(fold) if fold else None,
        (row.get("group") or "").strip() or None,
        row.get("patch") or "",
        row.get("trained") == "yes",
    )


def _number(text: str) -> float:
    """Read a number as tables hold it: Python also takes the digits of every script, and ``1_0`` for 10."""
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    return float(text)


def _table(path: Path, name: str, classes: tuple[str, ...], rows: list[_Row], unlabelled: int) -> PredictionTable:
    if not rows:
        raise InputError(f"{path}: no row of {name} has a label, so nothing can be evaluated; fill in the column label")
    seen: set[tuple[str, str, int | None]] = set()
    for row in rows:
        if (row.image, row.patch, row.fold) in seen:
            fold = f" in fold {row.fold}" if row.fold is not None else ""
            patch = f", patch {row.patch}," if row.patch else ""
            raise InputError(f"{row.where}: {row.image}{patch} is listed twice{fold}; keep one row")
        seen.add((row.image, row.patch, row.fold))
    folds = {row.fold for row in rows}
    _bounded(path, len(folds), _MOST_FOLDS, "folds")
    given = [row.probabilities for row in rows if row.probabilities is not None]
    return PredictionTable(
        name=name,
        classes=classes,
        image_ids=tuple(row.image for row in rows),
        labels=np.array([row.label for row in rows], dtype=np.int64),
        probabilities=np.array(given, dtype=np.float64) if given else None,
        predicted=np.array([row.predicted for row in rows], dtype=np.int64),
        folds=tuple(row.fold for row in rows),
        groups=tuple(row.group for row in rows),
        patches=tuple(row.patch for row in rows) if any(row.patch for row in rows) else None,
        protocol=f"{len(folds - {None})} folds of the table" if folds - {None} else "no folds",
        not_new=frozenset(row.image for row in rows if row.trained),
        unlabelled=unlabelled,
    )
