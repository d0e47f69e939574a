"""From patches to images to patients: one prediction per group of rows."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..core import InputError, Settings, Texts, counted, option
from ..data import NOT_DRAWN
from .predictions import Integers, PredictionTable, Values, called, take_rows
from .two_class import default_positive, positive_mask

AGGREGATIONS = ("average", "sum", "vote", "exist", "exist-n")
"""Rules: the mean or the sum of the probabilities, the plurality of predicted classes, and for two classes: positive if
one row, or at least n rows, are called positive. The rules published for patches of BreakHis images."""

LEVELS = ("row", "image", "group")
"""What a prediction is about: a row of the table (a patch, if the table names patches), an image, or a group
(patient or slide)."""

EXIST_N = 3
"""Rows that make a group positive under ``exist-n``, as published with the rules."""

_NEEDED = {"exist": 1, "exist-n": EXIST_N}


@dataclass(frozen=True)
class Aggregation(Settings):
    """The levels at which a table is evaluated, and the rules that make one prediction of several rows."""

    levels: Texts = option(
        ("row",),
        group="Evaluation",
        flag="level",
        choices=LEVELS,
        help="One prediction per row (patch), image, or group (patient, slide); each makes tables of its own.",
    )
    rules: Texts = option(
        ("average",),
        flag="aggregate",
        choices=AGGREGATIONS,
        help="How rows become one at the levels above the row; each makes tables of its own.",
    )

    def steps(self) -> list[tuple[str, str]]:
        """Return each level with each rule; the level of rows has the rule ``""``."""
        pairs: dict[tuple[str, str], None] = {}
        for level in self.levels:
            rules = ("",) if level == "row" else self.rules
            pairs |= dict.fromkeys((level, rule) for rule in rules)
        return list(pairs)


def aggregate(
    table: PredictionTable,
    *,
    rule: str = "average",
    level: str = "group",
    positive: Sequence[str] = (),
) -> PredictionTable:
    """Make one row per image, or per group, and fold.

    Patches are joined into images and these into groups, by the same rule at each step. Only ``sum`` joins patches into
    groups in one step, so that an image with more patches weighs more.

    Parameters
    ----------
    table : PredictionTable
    rule : str
        One of `AGGREGATIONS`. ``average`` gives the mean probability of the members, ``sum`` that of all their rows.
        ``vote`` gives the shares of votes and settles a tie by the mean probability.
    level : {"image", "group"}
    positive : sequence of str
        The positive class of ``exist`` and ``exist-n``, which know two sides only; by default that of a known dataset.

    Returns
    -------
    PredictionTable
        At the level of groups, the group is the image id, and of rows that a strategy chose none counts beside others
        that were drawn at random. ``exist`` and ``exist-n`` give no probabilities.

    Raises
    ------
    InputError
        A row without a group, a group with two labels, an unknown rule or level, or no two sides for ``exist``.
    """
    if rule not in AGGREGATIONS:
        raise InputError("{rule} {}: no such rule; choose one of {}", rule, ", ".join(AGGREGATIONS))
    levels = LEVELS[1:]
    if level not in levels:
        raise InputError("{levels} {}: no such level; choose one of {}", level, ", ".join(levels))
    if rule in ("average", "sum") and table.probabilities is None:
        raise InputError(
            "{}: {rule:{}} needs probabilities; this table holds predicted classes only",
            table.name,
            rule,
        )
    join = functools.partial(_join, rule=rule, positive=positive, protocol=table.protocol)
    if level == "image":
        if table.patches is None:
            return table
        return join(table, table.image_ids, "image")
    ungrouped = [
        image for image, group in zip(table.image_ids, table.groups, strict=True) if group is None
    ]
    if ungrouped:
        raise InputError(
            "{}: {} without a group, first {}; the level group needs them",
            table.name,
            counted(len(ungrouped), "row"),
            ungrouped[0],
        )
    drawn = table.drawn
    images = drawn
    if table.patches is not None and rule != "sum":
        images = join(images, images.image_ids, "image")
    joined = join(images, [str(group) for group in images.groups], "group")
    if drawn is not table:
        return replace(joined, protocol=f"{joined.protocol}, of rows drawn at random")
    if images.is_drawn is None:
        return joined
    return replace(joined, marks=(NOT_DRAWN,) * len(joined))


def _join(
    table: PredictionTable,
    owners: Sequence[str],
    level: str,
    *,
    rule: str,
    positive: Sequence[str],
    protocol: str,
) -> PredictionTable:
    """Make one row per owner and fold; `protocol` names the scheme that tested the rows."""
    members: dict[tuple[str, int | None], list[int]] = {}
    for row, key in enumerate(zip(owners, table.folds, strict=True)):
        members.setdefault(key, []).append(row)
    for (owner, _), rows in members.items():
        labels = np.unique(table.labels[rows])
        if len(labels) > 1:
            names = ", ".join(table.classes[label] for label in labels)
            raise InputError(
                f"{table.name}: {level} {owner} has rows of several classes ({names}); it cannot be one row"
            )
    first = take_rows(table, np.array([rows[0] for rows in members.values()]))
    probabilities, predicted = _predict(table, list(members.values()), rule, positive)
    if (
        rule == "vote"
    ):  # shares of votes are no probabilities to be compared with shares in training
        first = replace(first, shares=None)
    return replace(
        first,
        image_ids=tuple(owner for owner, _ in members),
        probabilities=probabilities,
        predicted=predicted,
        protocol=f"{protocol}; by {level}, rule {rule}".lstrip("; "),
        patches=None,
        not_new=frozenset(
            owner
            for (owner, _), rows in members.items()
            if any(table.image_ids[row] in table.not_new for row in rows)
        ),
        votes=probabilities is not None and (rule == "vote" or table.votes),
    )


def _predict(
    table: PredictionTable, members: list[list[int]], rule: str, positive: Sequence[str]
) -> tuple[Values | None, Integers]:
    if rule in _NEEDED:
        # positive if enough rows are predicted positive
        mask = positive_mask(table.classes, tuple(positive) or default_positive(table.classes))
        if mask.sum() != 1 or len(mask) != 2:
            raise InputError("{rule:{}}: needs two classes, one of them {positive}", rule)
        yes = int(np.flatnonzero(mask)[0])
        is_positive = [(table.predicted[rows] == yes).sum() >= _NEEDED[rule] for rows in members]
        return None, np.where(is_positive, yes, 1 - yes).astype(np.int64)
    classes = len(table.classes)
    votes = np.array(
        [np.bincount(table.predicted[rows], minlength=classes) / len(rows) for rows in members]
    )
    if table.probabilities is None:
        return votes, votes.argmax(axis=1)
    means = np.array([table.probabilities[rows].mean(axis=0) for rows in members])
    if rule == "vote":
        # A tie in votes goes to the higher mean probability, which is too small to overturn a vote.
        return votes, (votes + 1e-9 * means).argmax(axis=1)
    shares = table.shares
    if shares is not None:
        shares = shares[[rows[0] for rows in members]]
    # a tie of means goes to the class that more rows are predicted as
    return means, called(means + 1e-9 * votes, shares)
