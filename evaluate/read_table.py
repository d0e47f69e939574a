"""Reading a prediction table from anywhere: every row is checked, and what is wrong is named with its line."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
    _bounded(path, len(table.columns), limits.EVALUATED_COLUMNS, "columns")
    scores = [column for column in table.columns if column.startswith("p_")]
    chosen = dict.fromkeys((IMAGE, LABEL, PREDICTED, FOLD, GROUP), "")
    for role in chosen:  # a column has one role
        chosen[role] = table.choose(
            role, cure=f"call one {role.name}, or remove one", without=[*chosen.values()]
        )
    table.log_columns(chosen, *scores)
    if not scores and not chosen[PREDICTED]:
        raise InputError(
            f"{path}: expected the columns {_EXPECTED}; found {few(table.columns.values(), most=10)}; call the "
            "probabilities of a class p_ and its name"
        )
    named = [column.removeprefix("p_") for column in scores]
    mentioned: dict[str, Sequence[str]] = {
        role.name: [row[column] for _, row in table.rows if row[column]]
        for role, column in chosen.items()
        if role in (LABEL, PREDICTED) and column
    }
    if not mentioned["label"]:
        raise InputError(
            f"{path}: no row has a label, so nothing can be evaluated; fill in the column label"
        )
    for names in (named, *mentioned.values()):
        _bounded(path, len(set(names)), limits.EVALUATED_CLASSES, "classes")
        _bounded(path, max(map(len, names), default=0), limits.CLASS_LETTERS, "letters of a class")
    for what, names in mentioned.items():
        if missing := missing_labels(names, (*classes, *named)):
            text = "{}: the {} {} means unknown; leave the cell empty, or name {} in {classes}"
            raise InputError(text, path, what, missing[0], missing[0])
    order = tuple(classes) or _class_order(path, mentioned, named)
    _bounded(path, len(order), limits.EVALUATED_CLASSES, "classes")
    prescribed = order if named or classes or order in known_classes() else ()
    spelled = join_labels(itertools.chain(*mentioned.values()), classes=prescribed)[1]
    report_findings([replace(finding, file=f"{path}: {finding.file}") for finding in spelled])
    places = {
        column: _places(path, names, order)
        for column, names in {**mentioned, "column p_": named}.items()
    }
    groups, joined = join_groups(
        (row.get(chosen[GROUP]) or None for _, row in table.rows), where=str(path)
    )
    report_findings(joined)
    parsed: dict[str, list[_Row]] = {}
    unlabelled: Counter[str] = Counter()
    uneven = {*table.overlong, *table.short}
    for number, row in table.rows:
        if number in uneven:
            raise InputError(
                f"{path}:{number}: has another number of cells than the header; correct the row"
            )
        cells = row | {role.name: row.get(column, "") for role, column in chosen.items()}
        cells["group"] = groups.get(cells["group"]) or ""
        model = row.get("model", "")
        lines = parsed.setdefault(model, [])
        if cells["label"]:
            lines.append(_parse(f"{path}:{number}", cells, order, places, scores))
        else:
            unlabelled[model] += 1
    _bounded(path, len(parsed), limits.EVALUATED_MODELS, "models")
    _refuse_two_patients(itertools.chain.from_iterable(parsed.values()))
    stem = name or path.stem
    return [
        _table(path, f"{stem}: {model}" if model else stem, order, lines, unlabelled[model])
        for model, lines in parsed.items()
    ]


def _key(column: str) -> str:
    """Return the name of a column as `column_key`, but of one of probabilities with its class as it is written."""
    score = re.fullmatch(r"p_(.+)", column.strip(), re.IGNORECASE | re.DOTALL)
    return f"p_{score[1]}" if score else column_key(column)


def _refuse_two_patients(rows: Iterable[_Row]) -> None:
    """Refuse an image whose rows name two groups."""
    first: dict[str, _Row] = {}
    for row in rows:
        image, group = row["image_id"], row["group"]
        if group and (other := first.setdefault(image, row))["group"] != group:
            raise InputError(
                f"{row['where']}: {image} is of {group} here, and of {other['group']} in line "
                f"{other['where'].rpartition(':')[2]}; an image has one patient"
            )


def _bounded(path: Path, count: int, most: int, what: str) -> None:
    if count > most:
        raise InputError(f"{path}: {count:,} {what} are more than the {most:,} that are evaluated")


def _class_order(
    path: Path, mentioned: Mapping[str, Iterable[str]], named: Sequence[str]
) -> tuple[str, ...]:
    """Return the order of a known dataset, else of the ``p_`` columns, else sorted."""
    for known in known_classes():
        try:
            spelled = [
                spell_labels(names, known) for names in ([named] if named else mentioned.values())
            ]
        except InputError:  # two names are one class
            continue
        if {name for spellings in spelled for name in spellings.values()} == set(known):
            return known
    names, findings = join_labels(
        named or [name for column in mentioned.values() for name in column]
    )
    if named and len(set(names.values())) < len(named):
        message = (
            findings[0].message
            if findings
            else next(name for name in named if named.count(name) > 1)
        )
        raise InputError(f"{path}: two columns p_ name one class ({message}); keep one")
    return tuple(names[name] for name in named) or tuple(sorted(set(names.values())))


def _places(path: Path, names: Iterable[str], classes: Sequence[str]) -> dict[str, int]:
    """Return the position of the class of each name that is one."""
    try:
        spelled = spell_labels(names, classes)
    except InputError as error:
        raise InputError("{}: {}", path, error) from error
    return {name: classes.index(known) for name, known in spelled.items() if known is not None}


_Row = dict[str, Any]
"""Cells of a row by the name of their role: label and predicted as numbers of classes, fold as a number or None."""


def _parse(
    where: str,
    row: dict[str, str],
    classes: tuple[str, ...],
    places: Mapping[str, Mapping[str, int]],
    scores: list[str],
) -> _Row:
    def position(text: str, column: str) -> int:
        row = places[column].get(text)
        if row is None:
            raise InputError(
                f"{where}: {column} {text!r} is not among the classes {', '.join(classes)}"
            )
        return row

    label = position(row["label"], "label")
    probabilities = None
    if scores:
        values = [0.0] * len(classes)
        for column in scores:
            try:
                value = decimal_of(row[column])
            except ValueError:
                raise InputError(f"{where}: {column} is {row[column]!r}, not a number") from None
            if not 0.0 <= value <= 1.0 + _SUM_TOLERANCE:
                raise InputError(f"{where}: {column} is {value}, not a probability between 0 and 1")
            values[position(column.removeprefix("p_"), "column p_")] = value
        if not math.isclose(sum(values), 1.0, abs_tol=_SUM_TOLERANCE):
            raise InputError(
                f"{where}: the probabilities of {row['image_id']} sum to {sum(values):.4g}, not 1"
            )
        probabilities = tuple(values)
        predicted = int(np.argmax(values))
        if row["predicted"]:
            called = position(row["predicted"], "predicted")
            if values[called] != max(values):
                raise InputError(
                    f"{where}: predicted is {classes[called]} (probability {values[called]:g}), but "
                    f"{classes[predicted]} has the largest, {values[predicted]:g}; remove the column predicted, or "
                    "those of probabilities"
                )
            predicted = called  # it settles a tie of probabilities
    else:
        predicted = position(row["predicted"], "predicted")
    fold = row["fold"]
    if fold and not (fold.isascii() and fold.isdecimal() and len(fold) <= limits.FOLD_DIGITS):
        raise InputError(f"{where}: fold {fold!r} is not a whole number")
    numbers = {"label": label, "predicted": predicted, "fold": int(fold) if fold else None}
    return row | numbers | {"where": where, "probabilities": probabilities}


def _table(
    path: Path, name: str, classes: tuple[str, ...], rows: list[_Row], unlabelled: int
) -> PredictionTable:
    if not rows:
        raise InputError(
            f"{path}: no row of {name} has a label, so nothing can be evaluated; fill in the column label"
        )
    seen: set[tuple[str, str, int | None]] = set()
    for row in rows:
        key = image, patch, fold = row["image_id"], row.get("patch", ""), row["fold"]
        if key in seen:
            within = f" in fold {fold}" if fold is not None else ""
            of = f", patch {patch}," if patch else ""
            raise InputError(f"{row['where']}: {image}{of} is listed twice{within}; keep one row")
        seen.add(key)
    folds = {row["fold"] for row in rows}
    _bounded(path, len(folds), limits.EVALUATED_FOLDS, "folds")
    patches = tuple(row.get("patch", "") for row in rows)
    return PredictionTable(
        name=name,
        classes=classes,
        image_ids=tuple(row["image_id"] for row in rows),
        labels=np.array([row["label"] for row in rows], dtype=np.int64),
        probabilities=None
        if rows[0]["probabilities"] is None
        else np.array([row["probabilities"] for row in rows]),
        predicted=np.array([row["predicted"] for row in rows], dtype=np.int64),
        folds=tuple(row["fold"] for row in rows),
        groups=tuple(row["group"] or None for row in rows),
        patches=patches if any(patches) else None,
        protocol=f"{counted(len(folds - {None}), 'fold')} of the table"
        if folds - {None}
        else "no folds",
        not_new=frozenset(row["image_id"] for row in rows if row.get("trained") == "yes"),
        unlabelled=unlabelled,
    )
