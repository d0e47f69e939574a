"""The folds that a user chooses, and each of their protocols."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...core import (
    InputError,
    Message,
    MissingInputError,
    Names,
    OptionalPath,
    PathInput,
    Settings,
    TextInput,
    Texts,
    converted,
    counted,
    few,
    option,
    public,
)
from ...core.formats import FOLD, IMAGE, PART, Integers, read_csv
from ...core.jobs import write_rows
from ..dataset import GIVEN, PARTS, Dataset, DatasetFacts, ImageRecord, facts_of, part_of
from ..findings import report_findings
from ..images import Copy
from ..names import match_names, read_image_list
from .plans import (
    FoldPlan,
    GroupOf,
    Groups,
    Row,
    ScarceError,
    group_warnings,
    repeat_folds,
    split_copies,
    spread,
)
from .protocols import (
    PUBLISHED_FOLDS,
    SITES,
    SLIDE_FOLDS,
    fit_slides,
    given_plan,
    mixed_parts,
    name_of_list,
    published_folds,
    site_plan,
)
from .refusal import first_drawn, scarce
from .split import HOLDOUT, Pool, draw_folds

GROUPINGS = ("group", "none")
"""Choices of `group_by`: whether drawn folds keep groups together."""


def fold_plan(
    folds: TextInput,
    *,
    image_ids: Sequence[str],
    labels: Sequence[str],
    groups: Groups,
    group_by: str | None = None,
    seed: int = 0,
    test_list: Path | None = None,
    known: DatasetFacts | None = None,
) -> FoldPlan:
    """Create the folds of a protocol for these images.

    Parameters
    ----------
    folds : str
        A number of folds, shares such as ``70/30`` or ``80/10/10``, ``folder`` (the split that came with the images, in
        folders or a column), ``site:COLUMN`` (one fold for each value of a column of the manifest), a published list,
        the path of a fold list, or ``none`` (all images train except those of `test_list`).
    image_ids, labels, groups : sequence
        One entry per image; a group is None if unknown. Images with an empty label are left out.
    group_by : {"group", "none"}, optional
        Whether drawn folds keep groups together; by default if any is known. An image whose group is unknown is then a
        group of its own.
    seed : int
        Seed of folds that are drawn.
    test_list : Path, optional
        A CSV with a column ``image_id``; only with ``none``.
    known : DatasetFacts, optional
        Further columns of the manifest, near-duplicates, and failed images. Drawn folds keep near-duplicates together;
        lists and sites are not changed, but near-duplicates in different parts cause a warning. A fold list may
        contain images that failed or have no label, but no other missing images.

    Returns
    -------
    FoldPlan

    Raises
    ------
    InputError
        A class has fewer images (or groups) than folds, a list does not fit the images, a training part lacks a class,
        or a group is in two parts under ``group_by="group"``.
    """
    folds = converted(folds, "folds", str)
    if test_list is not None and folds != "none":
        raise InputError("{test_list} {}: goes with {folds:none}, not {}", test_list, folds)
    facts = known or DatasetFacts()
    unlabelled = [image for image, label in zip(image_ids, labels, strict=True) if not label]
    absent = (
        *_absent(facts.failed, "could not be used and"),
        *_absent(unlabelled, "without a label"),
    )
    if unlabelled:
        labelled = [row for row in zip(image_ids, labels, groups, strict=True) if row[1]]
        if not labelled:
            raise InputError("no image has a label; folds need labels")
        image_ids, labels, groups = zip(*labelled, strict=True)
    images = set(image_ids)
    pool = Pool(
        image_ids,
        labels,
        groups,
        grouped=_grouped(groups, group_by),
        copies=[pair for pair in facts.copies or () if images.issuperset(pair)],
        seed=seed,
        failed={*facts.failed, *unlabelled},
    )
    try:
        plan = _plan(folds, pool, facts, test_list)
        _check_parts(plan, pool.label_of)
    except ScarceError as error:
        raise scarce(error, folds, pool) from error
    leaks = group_warnings(plan, pool.group_of, facts.group_is)
    if leaks and group_by == "group":
        raise InputError(
            "{folds} {}: {}; correct the list, or use {group_by:none}", plan.name, leaks[0]
        )
    further = (
        *mixed_parts(plan, facts),
        *_ranked_together(plan, pool),
        *map(public, leaks),
        *split_copies(plan, pool.copies),
    )
    return replace(plan, warnings=(*absent, *plan.warnings, *further))


def _plan(folds: str, pool: Pool, facts: DatasetFacts, test_list: Path | None) -> FoldPlan:
    """Draw, look up or read the folds of a protocol."""
    if folds == "none":
        return _all_train(pool, test_list)
    if (folds.isdecimal() and len(folds) < 10) or HOLDOUT.fullmatch(folds):
        return draw_folds(folds, pool)
    if folds == GIVEN:
        return given_plan(image_ids=pool.image_ids, facts=facts)
    if folds.startswith(SITES):
        return site_plan(folds.removeprefix(SITES), image_ids=pool.image_ids, facts=facts)
    if folds in PUBLISHED_FOLDS:
        rows = published_folds(folds)
        plan = _fit(folds, rows, pool, where=Message("{folds} {}", folds))
        return replace(plan, origin="published")
    if folds in SLIDE_FOLDS:
        return fit_slides(folds, pool.group_of)
    path = Path(folds)
    if path.is_file():
        return _fit(name_of_list(path), read_fold_list(path), pool, where=folds)
    names = ", ".join((GIVEN, f"{SITES}COLUMN", *PUBLISHED_FOLDS, *SLIDE_FOLDS))
    text = (
        "{folds} {}: neither a number, nor shares like 70/30 or 80/10/10, nor one of {}, nor a file"
    )
    raise MissingInputError(text, folds, names)


def dataset_plan(
    dataset: Dataset, folds: str, *, copies: Iterable[Copy], group_by: str | None, seed: int
) -> FoldPlan:
    """Create the folds of a protocol for the images of a dataset, with its near-duplicates; see `FoldChoice`."""
    facts = facts_of(dataset, copies=tuple((copy.first, copy.second) for copy in copies))
    return FoldChoice((folds,), group_by=group_by).plans_of(
        dataset.records, seed=seed, known=facts
    )[0]


def _ranked_together(plan: FoldPlan, pool: Pool) -> tuple[str, ...]:
    """Return a warning, with what can be done instead, if each of several folds tests only one class; else nothing.

    References
    ----------
    Forman & Scholz 2010; Airola et al. 2011.
    """
    tested = plan.classes_in("test", pool.label_of).values()
    if len(set().union(*tested)) < 2 or max(map(len, tested)) > 1:
        return ()
    drawn = first_drawn(("10", "5", "3", "2"), pool)
    remedies = [Message("use {folds:{}}", drawn)] * bool(drawn)
    text = (
        "each fold tests only one class: scores of different models are ranked together, and AUC and accuracy may be "
        "far too low"
    )
    return (Message(text, remedies=remedies),)


def _absent(images: Collection[str], why: str) -> tuple[str, ...]:
    """Return a warning that names images that are in no fold; nothing if there are none."""
    if not images:
        return ()
    text = f"{len(images)} images {why} are"
    if len(images) == 1:
        text = f"1 image {why} is"
    return (Message("{} in no fold{}", text, Names(f": {few(sorted(images))}")),)


def _grouped(groups: Groups, group_by: str | None) -> bool:
    missing = sum(group is None for group in groups)
    if group_by == "group" and missing == len(groups):
        raise InputError(
            "{group_by:group}: {} of {} images name no patient; use {group_by:none}",
            missing,
            len(groups),
        )
    if group_by is None:
        return missing < len(groups)
    return group_by == "group"


def _all_train(pool: Pool, test_list: Path | None) -> FoldPlan:
    """Create one fold that tests the images of a list and trains on all others."""
    tested = set()
    if test_list is not None:
        rows = [
            (image, 1, "test") for image in sorted(read_image_list(test_list, option="test_list"))
        ]
        fitted = _fit("none", rows, pool, where=Message("{test_list} {}", test_list))
        tested = set(fitted.image_ids)
    parts = tuple((image, 1, "test" if image in tested else "train") for image in pool.image_ids)
    return FoldPlan("none", parts, partition=False, origin="none")


def read_fold_list(path: Path) -> list[Row]:
    """Read a fold list: ``image_id,fold`` (a partition) or ``image_id,fold,part``.

    Parameters
    ----------
    path : Path
        UTF-8 CSV with a header; further columns are ignored.

    Returns
    -------
    list of (image_id, fold, part)
        In a partition every image is listed once, in the fold that tests it, and the part is empty.

    Raises
    ------
    InputError
        A column is missing, a fold is not an integer, a part is unknown, or an image is listed twice in a fold.
    """
    table = read_csv(path, needed=(IMAGE, FOLD), expected="image_id,fold[,part]")
    columns = {role: table.choose(role) for role in (IMAGE, FOLD, PART)}
    table.log_columns(columns)
    part_column = columns[PART]
    rows = []
    keys = set()
    for number, row in table.rows:
        image = row[columns[IMAGE]]
        text = row[columns[FOLD]].removesuffix(".0")
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise InputError(
                f"{path}:{number}: fold {text!r} is not a whole number; write the number of the fold"
            )
        cell = row.get(part_column) or "test"
        part = part_of(cell) or cell
        if part not in PARTS:
            raise InputError(
                f"{path}:{number}: part {part!r} is none of {', '.join(PARTS)}; write one of these"
            )
        fold = int(text)
        key = (image, fold if part_column else None)
        if key in keys:
            raise InputError(f"{path}:{number}: {image} is listed twice; keep one row")
        keys.add(key)
        rows.append((image, fold, part if part_column else ""))
    if not rows:
        raise InputError(f"{path}: the fold list has no rows; add one for each image")
    return rows


def read_splits(folder: PathInput, image_ids: Sequence[str]) -> list[tuple[Integers, Integers]]:
    """Return the positions of the images that train and that test in each fold of a result: scikit-learn's ``cv``.

    Parameters
    ----------
    folder : str or Path
        The folder of a result, such as ``run/boost/10-grouped-lightgbm``, whose ``folds.csv`` is read.
    image_ids : sequence of str
        The images in their order; those of no fold are in no split.

    Raises
    ------
    MissingInputError
        There is no such file.
    InputError
        It names an image that is not among these.
    """
    path = converted(folder, "folder", Path) / "folds.csv"
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file; give the folder of a result")
    plan = FoldPlan("", spread(read_fold_list(path)), partition=False)
    absent = set(plan.image_ids).difference(image_ids)
    if absent:
        raise InputError(f"{path}: {min(absent)} is not among these images; give those of its run")

    def places(fold: int, part: str) -> Integers:
        return np.flatnonzero(np.isin(image_ids, plan.images(fold, part)))

    return [(places(fold, "train"), places(fold, "test")) for fold in plan.folds]


def _fit(name: str, listed: Sequence[Row], pool: Pool, *, where: str) -> FoldPlan:
    """Match the rows of a fold list to the images, see `match_names`, and return their plan."""
    names, findings = match_names(
        (image for image, _, _ in listed), [*pool.image_ids, *pool.failed], where=where
    )
    report_findings(findings)
    partition = listed[0][2] == ""
    absent = [image for image, _, _ in listed if image not in names]
    if absent:
        cure = (
            "correct these names, each of which must fit one image of its own, or remove the rows"
        )
        if name in PUBLISHED_FOLDS:
            cure = "use the full dataset"
        text = "{}: {} of its {} rows name images that are missing, first {} (here they are named {}); {}"
        raise ScarceError(
            text, where, len(absent), len(listed), absent[0], next(iter(pool.image_ids), ""), cure
        )
    rows = [
        (names[image], fold, part)
        for image, fold, part in listed
        if names[image] not in pool.failed
    ]
    unlisted = sorted(set(pool.image_ids) - {image for image, _, _ in rows})
    if unlisted and partition:
        raise InputError(
            "{}: {} in no fold, first {}; add them to the list",
            where,
            counted(len(unlisted), "image"),
            unlisted[0],
        )
    plan = FoldPlan(name, spread(rows), partition)
    if not unlisted:
        return plan
    warning = f"{counted(len(unlisted), 'image')} in no fold of {name} left out"
    return replace(plan, warnings=(warning,))


_CURES = {
    "given": "move images between its parts",
    "site": "add images of this class from another site",
    "none": "{test_list} holds all of them; take some off it",
    "file": "correct the list",
}
"""What to do if fixed folds lack images, by the origin of the plan; for published lists: use the full dataset."""


def _check_parts(plan: FoldPlan, classes: dict[str, str]) -> None:
    """Refuse fixed folds in which a class does not train, or no image tests."""
    gaps = [
        (f"no image of class {', '.join(names)} trains in", fold)
        for fold, names in plan.untrained(classes).items()
    ]
    gaps += [
        ("no image tests in", fold)
        for fold, tested in plan.classes_in("test", classes).items()
        if not tested and plan.name != "none"
    ]
    if gaps:
        cure = Message(_CURES.get(plan.origin, "use the full dataset"))
        raise ScarceError("{folds} {}: {} fold {}; {}", plan.name, *gaps[0], cure)


FOLD_COLUMNS = ("image_id", "label", "group", "fold", "part")
"""Columns of a fold list; the last is left out of a partition."""


def write_fold_list(path: Path, plan: FoldPlan, *, labels: dict[str, str], groups: GroupOf) -> None:
    """Write a fold list ``image_id,label,group,fold[,part]``; a partition has only the fold that tests each image."""
    columns: Sequence[str] = FOLD_COLUMNS
    if plan.partition:
        columns = columns[:-1]
    body = [
        (image, labels[image], groups[image] or "", fold, part)[: len(columns)]
        for image, fold, part in sorted(plan.rows, key=lambda row: (row[1], row[0]))
        if part == "test" or not plan.partition
    ]
    write_rows(path, columns, body)


def write_fold_rows(path: Path, rows: Collection[Row]) -> None:
    """Write rows as `read_fold_list` returns them, so that it reads them again."""
    columns = ["image_id", "fold", "part"]
    if not any(part for _, _, part in rows):
        columns.remove("part")
    write_rows(path, columns, [row[: len(columns)] for row in rows])


@dataclass(frozen=True)
class FoldChoice(Settings):
    """A choice of cross-validation schemes (protocols), with options for folds that are drawn."""

    folds: Texts = option(
        (),
        group="Evaluation",
        help="A number, shares (70/30, 80/10/10), folder (the split the images came in), site:COLUMN of the manifest, "
        f"a published list ({', '.join((*PUBLISHED_FOLDS, *SLIDE_FOLDS))}), a file, or none: train on all; default: "
        "10, or in boost rakhlin10 for BACH.",
    )
    test_list: OptionalPath = option(
        None,
        file="input",
        help="With folds none: CSV with a column image_id; these images test, all others train.",
    )
    repeats: int = option(
        1, least=1, help="Number of splits: cross-validation is repeated with newly drawn folds."
    )
    group_by: str | None = option(
        None,
        group="Evaluation",
        choices=GROUPINGS,
        help="Keep patients (groups) in one part; default: if they are known.",
    )

    def plans_of(
        self, records: Iterable[ImageRecord], *, seed: int, known: DatasetFacts
    ) -> list[FoldPlan]:
        """Create the folds of the images that have not failed, by default ten; see `plans`."""
        usable = [record for record in records if record.image_id not in known.failed]
        return self.plans(
            [record.image_id for record in usable],
            labels=[record.label_text for record in usable],
            groups=[record.group for record in usable],
            seed=seed,
            known=known,
        )

    def plans(
        self,
        image_ids: Sequence[str],
        *,
        labels: Sequence[str],
        groups: Groups,
        seed: int,
        default: str = "10",
        known: DatasetFacts | None = None,
    ) -> list[FoldPlan]:
        """Create the folds of each protocol.

        Parameters
        ----------
        image_ids, labels, groups : sequence
            One entry per usable image.
        seed : int
            Seed of folds that are drawn.
        default : str
            The protocol if none is named.
        known : DatasetFacts, optional
            Further columns and near-duplicates of these images, and images that could not be used.

        Returns
        -------
        list of FoldPlan
            One of each protocol, in the order in which they were named.

        Raises
        ------
        InputError
            A scheme does not fit the images; `repeats` is above 1 with fixed folds; or two fold lists have the same
            name but different folds.
        """
        draw = functools.partial(
            fold_plan,
            image_ids=image_ids,
            labels=labels,
            groups=groups,
            group_by=self.group_by,
            test_list=self.test_list,
            known=known,
        )
        plans: dict[str, tuple[str, FoldPlan]] = {}
        for typed in dict.fromkeys(self.folds or [default]):
            seeds = range(seed, seed + self.repeats)
            plan = repeat_folds([draw(typed, seed=number) for number in seeds])
            typed_earlier, earlier = plans.setdefault(plan.name, (typed, plan))
            if earlier.sha256 != plan.sha256:
                raise InputError(
                    "{folds} {} and {}: both would be named {}; rename one of the files",
                    typed_earlier,
                    typed,
                    plan.name,
                )
        return [plan for _, plan in plans.values()]
