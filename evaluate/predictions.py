"""Tables of predictions, and warnings about them: models that learnt nothing, and uneven training sets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core import Banner, Content, InputError, Kind, converted, counted, listed, option
from ..core.formats import Flags, Floats, Integers, as_frame
from ..core.jobs import write_rows
from ..data import CHOSEN, DRAWN, NOT_DRAWN, chosen_notes

Mask = Flags
Values = Floats

Shares = Sequence[float] | Values | None
"""Share of each class in training, by which classes are called; None if the most probable class is."""

LEAST = 1e-12
"""Least probability: the logarithm of 0 has no temperature."""

SUM_TOLERANCE = 1e-3
"""How far the probabilities of a row may be from 1: tables are often rounded to four decimals."""


@dataclass(frozen=True, eq=False)  # arrays have no single answer
class PredictionTable:
    """Predictions of one model or ensemble.

    Attributes
    ----------
    name : str
    classes : tuple of str
        Order of the probabilities.
    image_ids : tuple of str
    labels : ndarray of int, shape (n,)
        Position of the true class.
    probabilities : ndarray of float64, shape (n, classes), or None
        None where the table only names the predicted class.
    predicted : ndarray of int, shape (n,)
        Position of the predicted class.
    folds : tuple of int or None per row
    groups : tuple of str or None per row
    protocol : str
        How folds were made; empty where unknown.
    patches : tuple of str, optional
        Patch of its image that each row is about; None for a table of whole images.
    image_is, group_is : str
        What an image and a group are called, see `LayoutSpec`.
    trained : tuple of tuple of int
        Images of each class that each fold trained on, in the order of folds and classes; empty where that is not
        known.
    votes : bool
        Whether the probabilities are shares of votes.
    not_new : frozenset of str
        Images that trained the models, by the column ``trained`` of `predict`; where rows are groups, those that hold
        such images.
    groups_of_training : frozenset of str
        Groups that are named as those of images that trained the models.
    unlabelled : int
        Rows of the file that are left out, since their label is missing.
    unread : tuple of str
        Columns that end with a class, if none is read as probabilities.
    shares : ndarray of float64, shape (n, classes), optional
        Share of each class in the training part of the models of each row, by which it is called, see `called`; None
        if the largest probability decides.
    doubts : tuple of str
        Why patients may be others than a column of the file names.
    marks : tuple of str, optional
        Whether the image of each row was drawn for labelling, ``random`` or ``not random``; any other text if that is
        not known.
    ordered : bool
        Whether the classes are grades in this order.
    """

    name: str
    classes: tuple[str, ...]
    image_ids: tuple[str, ...]
    labels: Integers
    probabilities: Values | None
    predicted: Integers
    folds: tuple[int | None, ...]
    groups: tuple[str | None, ...]
    protocol: str = ""
    patches: tuple[str, ...] | None = None
    image_is: str = "image"
    group_is: str = "patient"
    trained: tuple[tuple[int, ...], ...] = ()
    votes: bool = False
    not_new: frozenset[str] = frozenset()
    groups_of_training: frozenset[str] = frozenset()
    unlabelled: int = 0
    unread: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    shares: Values | None = None
    ordered: bool = False

    def __len__(self) -> int:
        return len(self.image_ids)

    def __repr__(self) -> str:
        return (
            f"PredictionTable({self.name!r}, {counted(len(self), 'row')}, classes={self.classes})"
        )

    @property
    def keys(self) -> list[tuple[str, str, int | None]]:
        """Image, patch (empty for whole images) and fold of each row; each stands once in a table."""
        return list(zip(self.image_ids, self.patches or [""] * len(self), self.folds, strict=True))

    @property
    def first_rows(self) -> Integers:
        """The first row about each image and patch, shape (distinct,), int64; repeated folds test all several times."""
        last_to_first = {key[:2]: row for row, key in reversed([*enumerate(self.keys)])}
        return np.array(sorted(last_to_first.values()), np.int64)

    @property
    def tested(self) -> dict[str, int]:
        """How many images, or patches of them, there are (``n``), and ``least`` and ``most`` rows about one."""
        times = Counter(key[:2] for key in self.keys).values()
        return {"n": len(times), "least": min(times, default=0), "most": max(times, default=0)}

    @property
    def divided(self) -> int:
        """Number of groups of which a fold tests some images but not all; the others may have trained its model.

        Hold-outs that keep groups whole test all images of a group wherever they test one, however often.
        """
        images: dict[str, set[str]] = {}
        tested: dict[tuple[str, int], set[str]] = {}
        for image, group, fold in zip(self.image_ids, self.groups, self.folds, strict=True):
            if group is not None and fold is not None:
                images.setdefault(group, set()).add(image)
                tested.setdefault((group, fold), set()).add(image)
        return len({group for (group, _), seen in tested.items() if seen != images[group]})

    @property
    def is_drawn(self) -> Mask | None:
        """Whether each row was drawn at random, bool of shape (n,); None if no strategy chose any of them."""
        if NOT_DRAWN not in self.marks:
            return None
        return np.char.equal(self.marks, DRAWN)

    @property
    def drawn(self) -> PredictionTable:
        """The rows that were drawn at random, if a strategy chose others; all rows if none was, or all were."""
        inside = self.is_drawn
        if inside is None or not inside.any():
            return self
        # of folds without such rows nothing is known to be uneven
        return take_rows(replace(self, trained=()), np.flatnonzero(inside))

    @property
    def ungrouped(self) -> int:
        """Number of images that name no patient or slide."""
        return sum(self.groups[row] is None for row in self.first_rows)

    @property
    def cautions(self) -> list[Banner]:
        """Why figures of these rows may be too high for new patients, or their intervals too narrow."""
        banners = []
        marks = dict(zip(self.image_ids, self.marks, strict=False))
        images = len(self.first_rows)
        if 0 < self.ungrouped < images:
            text = (
                f"{self.ungrouped} of {images} images name no patient or slide; each counts as a unit of its own, "
                "which makes intervals too narrow if images share a patient"
            )
            banner = Banner(
                Kind.PATIENTS_PARTLY_UNKNOWN, text, unknown=self.ungrouped, images=images
            )
            banners.append(banner)
        if not any(group is not None for group in self.groups):
            text = (
                "no row names its patient or slide, so each image counts as a unit of its own, which makes intervals "
                "too narrow if images share a patient"
            )
            banners.append(Banner(Kind.PATIENTS_UNKNOWN, text))
        if self.divided:
            patients = counted(self.divided, self.group_is)
            text = f"{patients} in both training and test sets; these results are too high for new patients"
            banners.append(Banner(Kind.PATIENTS_MIXED, text))
        if self.not_new:
            text = (
                f"{len(self.not_new)} of {len(set(self.image_ids))} images trained the models (column trained); "
                "these numbers are too high for new images"
            )
            banners.append(Banner(Kind.SEEN, text))
        if self.groups_of_training:
            groups = counted(len({*self.groups} - {None}), self.group_is)
            text = (
                f"{len(self.groups_of_training)} of {groups} named as those that trained the models (column "
                "group_trained); if they are the same, these numbers are too high for new ones"
            )
            banners.append(Banner(Kind.PATIENTS_SEEN, text))
        return [*banners, *chosen_notes(marks, marks)]

    @property
    def row_is(self) -> str:
        """What a row is about (a patch of an image, an image, or a group, whose name is then that of its image)."""
        if self.patches is not None:
            return "patch"
        if self.image_ids == self.groups:
            return self.group_is
        return self.image_is

    @property
    def fold_numbers(self) -> list[int]:
        """The folds in ascending order; empty where rows name none."""
        return sorted({fold for fold in self.folds if fold is not None})

    @property
    def fold_array(self) -> Integers:
        """The fold of each row, -1 where it names none."""
        return np.array([-1 if fold is None else fold for fold in self.folds], np.int64)

    def fold_rows(self) -> Iterator[tuple[int, Mask]]:
        """Yield each fold in ascending order and its rows, bool of shape (n,)."""
        folds = self.fold_array
        for fold in self.fold_numbers:
            yield fold, folds == fold

    @property
    def trained_shares(self) -> Values:
        """Share of each class in the training part of each row's fold, of `trained`, float64 of shape (n, classes)."""
        counts = np.array(self.trained, np.float64)
        of_folds = counts / counts.sum(axis=1, keepdims=True)
        return np.asarray(of_folds[np.searchsorted(self.fold_numbers, self.fold_array)])

    @property
    def hits(self) -> Mask:
        """Whether the predicted class of each row is the true one, bool of shape (n,)."""
        return np.asarray(self.predicted == self.labels)

    @property
    def confidence(self) -> Values | None:
        """The probability of the predicted class of each row; None without probabilities."""
        if self.probabilities is None:
            return None
        return self.probabilities[np.arange(len(self)), self.predicted]

    @classmethod
    def from_probabilities(
        cls,
        *,
        classes: Iterable[Any],
        labels: Iterable[Any],
        probabilities: Any,
        name: str = "predictions",
        image_ids: Iterable[Any] | None = None,
        folds: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
        patches: Iterable[Any] | None = None,
    ) -> PredictionTable:
        """Make a table; the predicted class is the one of the highest probability, the first of equals.

        Parameters
        ----------
        classes : sequence of str
            In the order of the columns of `probabilities`.
        labels : sequence of str, n of them
            The true class of each row.
        probabilities : array of float, shape (n, classes)
            Columns of a data frame are taken by their names.
        name : str
        image_ids : sequence of str, optional
            By default the number of each row, from 0.
        folds : sequence of (int or None), optional
            The fold that tested each row: the AUC is of pairs within folds. By default all rows are one test set.
        groups : sequence of (str or None), optional
            Patient or slide of each row, by which intervals are made. By default each image counts as a unit.
        patches : sequence of str, optional
            The patch of its image that each row is about. By default rows are about whole images.

        Raises
        ------
        InputError
            Another number of rows than `probabilities` has, an image or patch twice in a fold, an image of two groups,
            an unknown label, a probability that is not a number or negative, or probabilities of a row that do not add
            up to 1.
        """
        names = converted(classes, "classes", tuple[str, ...])
        if hasattr(probabilities, "columns"):
            columns = list(map(str, probabilities.columns))
            if sorted(columns) != sorted(names):
                text = "`probabilities`: columns {} in the data frame, not those of the classes {}"
                raise InputError(text, ", ".join(columns), ", ".join(names))
            probabilities = np.asarray(probabilities)[:, list(map(columns.index, names))]
        try:
            shares = np.asarray(probabilities, np.float64)
        except (TypeError, ValueError) as error:
            raise InputError("`probabilities`: not rows of numbers ({})", error) from error
        if shares.shape[1:] != (len(names),) or not shares.size:
            text = "`probabilities`: give a row per image and a column for each of {}, not the shape {}"
            raise InputError(text, counted(len(names), "class"), shares.shape)
        given = {
            "labels": (labels, tuple[str | None, ...]),
            "image_ids": (range(len(shares)) if image_ids is None else image_ids, tuple[str, ...]),
            "folds": (folds, tuple[int | None, ...]),
            "groups": (groups, tuple[str | None, ...]),
        }
        if patches is not None:
            given["patches"] = (patches, tuple[str, ...])
        rows: Content = {}
        for parameter, (values, kind) in given.items():
            if values is None:
                values = [None] * len(shares)
            rows[parameter] = converted(values, parameter, kind)
            count = len(rows[parameter])
            if count != len(shares):
                raise InputError(
                    f"`{parameter}`: {counted(count, 'value')} for {counted(len(shares), 'row')} of `probabilities`"
                )
        true = rows.pop("labels")
        for row, (label, row_shares) in enumerate(zip(true, shares.tolist(), strict=True)):
            where = f"{name}, in row {row}"
            if label not in names:
                text = "{}: label {!r} is not among the classes {}"
                raise InputError(text, where, label, ", ".join(names))
            check_shares(where, dict(zip(names, row_shares, strict=True)))
        table = cls(
            name=name,
            classes=names,
            labels=np.array([*map(names.index, true)], np.int64),
            probabilities=shares,
            predicted=shares.argmax(axis=1),
            **rows,
        )
        key, count = Counter(table.keys).most_common(1)[0]
        if count > 1:
            raise InputError(
                "`image_ids`: {} is listed twice in one test set; keep one row", key[0]
            )
        _refuse_two_groups(table)
        return table

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` that `evaluate` takes: image_id, label, predicted, p_CLASS, and group.

        Columns ``fold`` and ``patch`` are there if rows name any, ``trained`` and ``group_trained`` if any trained,
        ``chosen`` if `marks` has any.

        Raises
        ------
        DependencyError
            pandas is not installed.
        """
        names = np.array(self.classes)
        columns: Content = {
            "image_id": self.image_ids,
            "label": names[self.labels],
            "predicted": names[self.predicted],
        }
        if self.probabilities is not None:
            columns |= {
                f"p_{name}": self.probabilities[:, k] for k, name in enumerate(self.classes)
            }
        optional = {
            "patch": self.patches,
            "fold": self.folds,
            "group": self.groups,
            "trained": [image in self.not_new for image in self.image_ids],
            "group_trained": [group in self.groups_of_training for group in self.groups],
            CHOSEN: self.marks,
        }
        columns |= {name: values for name, values in optional.items() if values and any(values)}
        return as_frame(columns)


def check_shares(where: str, shares: Mapping[str, float]) -> None:
    """Refuse the probabilities of a row, by column, if one is not between 0 and 1, or they do not sum to 1."""
    for column, share in shares.items():
        if not 0.0 <= share <= 1.0 + SUM_TOLERANCE:
            raise InputError(f"{where}: {column} is {share}, not a probability between 0 and 1")
    total = sum(shares.values())
    if not math.isclose(total, 1.0, abs_tol=SUM_TOLERANCE):
        raise InputError(
            f"{where}: the probabilities sum to {total:.4g}, not 1; give more digits, or divide each row by its sum"
        )


def _refuse_two_groups(table: PredictionTable) -> None:
    """Refuse an image that rows give two groups."""
    group_of: dict[str, str] = {}
    for image, group in zip(table.image_ids, table.groups, strict=True):
        if group is not None and group_of.setdefault(image, group) != group:
            raise InputError(
                "`groups`: {} has {} and {}; give it one", image, group_of[image], group
            )


CALLED_FROM = "called_from"
"""Column of the share in training from which the predicted class of a row is called."""


def call_option() -> Any:
    """Return the option ``call`` of what trains."""
    return option(
        "share",
        choices=("share", "plain"),
        decides=False,
        help="Call the class whose probability over its share in training is largest, or (plain) the most probable.",
    )


def called(probabilities: Values, shares: Shares = None) -> Integers:
    """Return the position of the class that each row is called: of the largest of `equalised`, the first of equals."""
    return np.asarray(equalised(probabilities, shares).argmax(axis=-1))


def equalised(probabilities: Values, shares: Shares) -> Values:
    """Return the probabilities that rows would have if the classes had been equal in training.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (n, classes)
    shares : sequence of float64, shape (classes,) or (n, classes), or None
        Share of each class in training; None for equal ones. A class without images is never called.

    References
    ----------
    Saerens, Latinne & Decaestecker 2002, eq. 2.4, with equal new shares.

    Examples
    --------
    >>> equalised(np.array([[0.6, 0.4]]), np.array([0.75, 0.25])).round(3)
    array([[0.333, 0.667]])
    """
    if shares is None:
        return probabilities
    odds = np.zeros_like(probabilities)
    np.divide(probabilities, shares, out=odds, where=np.asarray(shares) > 0)
    return np.asarray(odds / np.maximum(odds.sum(axis=-1, keepdims=True), LEAST))


class Answers(NamedTuple):
    """What the models say of each row beside the probabilities: one answer for all outputs.

    Attributes
    ----------
    classes : sequence of str
    numbers : ndarray of int, shape (n,)
        Position of the predicted class.
    confidence : ndarray of float64, shape (n,)
        Its calibrated probability.
    unsure : ndarray of bool, shape (n,), or None
        Whether the row is uncertain; None if there is no rule for it.
    called_from : ndarray of float64, shape (n,), or None
        The share in training of the predicted class, from which it is called; None if the largest probability decides.
    """

    classes: Sequence[str]
    numbers: Integers
    confidence: Values
    unsure: Mask | None
    called_from: Values | None = None

    @property
    def predicted(self) -> list[str]:
        """The predicted classes."""
        return [self.classes[number] for number in self.numbers]

    @property
    def columns(self) -> list[tuple[str, list[str]]]:
        """Names and cells of the columns of a table."""
        marks = [""] * len(self.numbers)
        if self.unsure is not None:
            marks = ["yes" if unsure else "no" for unsure in self.unsure]
        limits = []
        if self.called_from is not None:
            # beside the probabilities, of which it is one; the confidence may be scaled
            limits = [(CALLED_FROM, list(map(repr, self.called_from.tolist())))]
        return [
            *limits,
            ("predicted", self.predicted),
            ("confidence", list(map(repr, self.confidence.tolist()))),
            ("uncertain", marks),
        ]


def write_predictions(
    path: Path,
    *,
    classes: Sequence[str],
    rows: Sequence[tuple[str, str, str | None, int | str]],
    probabilities: Values,
    extra: Sequence[tuple[str, Sequence[Any]]] = (),
) -> None:
    """Write ``image_id,label,group,fold,p_<class>...`` and further columns; probabilities in full precision.

    Parameters
    ----------
    path : Path
        The CSV file.
    classes : sequence of str
        One ``p_`` column each.
    rows : sequence of (image_id, label, group, fold)
    probabilities : ndarray of float64, shape (rows, classes)
    extra : sequence of (str, sequence)
        Further columns at the end.
    """
    header = ["image_id", "label", "group", "fold"]
    header += [f"p_{name}" for name in classes]
    header += [name for name, _ in extra]

    def cells() -> Iterator[list[Any]]:
        numbered = enumerate(zip(rows, probabilities.tolist(), strict=True))
        for number, ((image, label, group, fold), values) in numbered:
            further = [column[number] for _, column in extra]
            yield [image, label, group or "", fold, *map(repr, values), *further]

    write_rows(path, header, cells())


def sampling_units(table: PredictionTable) -> tuple[str, Integers]:
    """Return what is drawn, ``group`` where rows name one and else ``image``, and the unit of each row from 0.

    A row without a group in a table that has groups is drawn with the other rows of its image.
    """
    keys = [
        (group is None, group or image)
        for group, image in zip(table.groups, table.image_ids, strict=True)
    ]
    places = {key: number for number, key in enumerate(sorted(set(keys)))}
    unit = "group" if any(group is not None for group in table.groups) else "image"
    return unit, np.array([places[key] for key in keys], np.int64)


def fold_rest(table: PredictionTable) -> Iterator[tuple[int, Mask, Mask]]:
    """Yield each fold, its rows, and the rows of the other folds whose images it does not test; bool of shape (n,)."""
    names, image = np.unique(np.array(table.image_ids), return_inverse=True)
    for fold, inside in table.fold_rows():
        tested = np.zeros(len(names), bool)
        tested[image[inside]] = True
        yield fold, inside, ~tested[image]


def known_groups(tables: Iterable[PredictionTable]) -> dict[str, str]:
    """Return image to group, of all images whose group one of the tables names."""
    groups: dict[str, str] = {}
    for table in tables:
        groups |= {
            image: group
            for image, group in zip(table.image_ids, table.groups, strict=True)
            if group
        }
    return groups


_OF_ROWS = (
    "image_ids",
    "labels",
    "probabilities",
    "predicted",
    "folds",
    "groups",
    "patches",
    "marks",
    "shares",
)
"""What a table has of each row."""


def take_rows(table: PredictionTable, rows: Integers) -> PredictionTable:
    """Return a table of some rows of another, in this order; a row may stand in it several times.

    Parameters
    ----------
    table : PredictionTable
    rows : ndarray of int, shape (n,)
        Positions.
    """
    taken: Content = {}
    for name in _OF_ROWS:
        values = getattr(table, name)
        if isinstance(values, np.ndarray):
            taken[name] = values[rows]
        elif values:
            taken[name] = tuple(map(values.__getitem__, rows.tolist()))
    return replace(table, **taken)


_SAME = 1e-9
"""Probabilities that differ by less than this differ only by rounding."""


def nothing_learnt(models: str) -> Banner:
    """Return the banner for every output.

    Examples
    --------
    >>> print(nothing_learnt("3 of 3 models"))
    NOTHING LEARNT: 3 of 3 models give all images the same probabilities
    """
    return Banner(Kind.NOTHING_LEARNT, f"{models} give all images the same probabilities")


def constant_folds(table: PredictionTable) -> Banner | None:
    """Return the banner for a table in which every image of a fold, of several, has the same probabilities."""
    if table.probabilities is None:
        return None
    learnt = folds_that_learnt(table)
    if all(learnt):
        return None
    if len(learnt) == 1:
        return nothing_learnt("the models")
    return nothing_learnt(f"the models of {learnt.count(False)} of {len(learnt)} folds")


def folds_that_learnt(table: PredictionTable) -> list[bool]:
    """Return of each fold whether its images differ in their probabilities, or calls without these.

    A fold that tests one image cannot tell, and counts as one that learnt.
    """
    scores = table.probabilities
    if scores is None:
        scores = table.predicted[:, np.newaxis].astype(np.float64)
    images = np.array(table.image_ids)
    folds = table.fold_array
    learnt = []
    for fold in np.unique(folds):
        rows = folds == fold
        differ = bool((np.ptp(scores[rows], axis=0) > _SAME).any())
        learnt.append(differ or len(set(images[rows])) == 1)
    return learnt


FEW_IMAGES = 5
"""With fewer training images of a class, a fold hardly learns it: they are of at most as many patients."""

FAR = 0.2
"""Total variation between the classes of training images and of all images above which a fold is named. The odds of a
class are then at least 2.25 times too high or too low, and so are the scores."""

_MOST = 3


def fold_notes(table: PredictionTable) -> list[str]:
    """Return what to know of folds whose training set nearly lacks a class, or has very different shares of classes.

    The shares are compared with those of all images, not of the test set, which differ for every fold that tests a few
    patients. What matters is whether the models of a fold learnt another prevalence.

    Parameters
    ----------
    table : PredictionTable
        With ``trained``; otherwise there is no sentence.
    """
    scarce: dict[int, str] = {}
    uneven: dict[int, str] = {}
    few: dict[str, None] = {}
    label_of_image = dict(zip(table.image_ids, table.labels.tolist(), strict=True))
    counts_of_all = np.bincount(list(label_of_image.values()), minlength=len(table.classes))
    shares = counts_of_all / max(len(label_of_image), 1)
    for (fold, inside), counts in zip(table.fold_rows(), table.trained, strict=False):
        scant = {
            name: f"{counted(count, 'image')} of {name}"
            for name, count in zip(table.classes, counts, strict=True)
            if count < FEW_IMAGES
        }
        if scant:
            few |= dict.fromkeys(scant)
            right = 100 * float(table.hits[inside].mean())
            scarce[fold] = (
                f"Fold {fold} trained on {listed([*scant.values()][:_MOST])}, fewer than {FEW_IMAGES}: "
                f"its {right:.1f} % means little"
            )
            continue
        away = np.array(counts) / max(sum(counts), 1) - shares
        if table.row_is != table.group_is and np.abs(away).sum() / 2 > FAR:
            k = int(np.abs(away).argmax())
            uneven[fold] = (
                f"Fold {fold} trained on {100 * (shares + away)[k]:.0f} % {table.classes[k]}, while "
                f"{100 * shares[k]:.0f} % of all images are: its scores do not compare with those of other folds"
            )
    classes = " or ".join(few)
    if len(few) > _MOST:
        classes = "a class"
    return [
        *_joined(
            scarce,
            f"trained on fewer than {FEW_IMAGES} images of {classes}; their results mean little",
        ),
        *_joined(uneven, "trained on shares of classes far from those of all images"),
    ]


def _joined(notes: Mapping[int, str], together: str) -> list[str]:
    """Return the notes of folds; of several folds one that says what they share."""
    if len(notes) < 2:
        return [*notes.values()]
    if len(notes) > _MOST:
        return [f"{len(notes)} folds {together}"]
    return [f"Folds {listed([str(fold) for fold in notes])} {together}"]


def apply_temperature(probabilities: Values, temperature: float | Values) -> Values:
    """Divide the logarithms of probabilities by a temperature and normalise again; keeps the predicted class.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (n, classes)
    temperature : float, or ndarray of float64, shape (n, 1)
        Above 1 makes them less sure.

    Examples
    --------
    >>> apply_temperature(np.array([[0.8, 0.2]]), 2.0).round(3)
    array([[0.667, 0.333]])
    """
    from scipy.special import softmax

    return np.asarray(softmax(np.log(np.maximum(probabilities, LEAST)) / temperature, axis=1))
