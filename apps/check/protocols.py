"""Checks which cross-validation schemes can be used, and which classes would be missing from their folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...core import BchistoError, message_of
from ...core.jobs import Progress
from ...data import GIVEN, Copy, Dataset, DatasetFacts, FoldPlan, fold_plan, further_columns, given_parts, split_groups

_PUBLISHED = {
    "bach": ("rakhlin10", "eva", "thunder"),
    "breakhis": ("official", "official-corrected"),
    "cbis-ddsm": ("official",),
    "idc": ("idc-published",),
}
"""Published fold lists for each layout."""

_SPLIT, _FEWER = ("10", "5"), ("3", "2")
"""Numbers of folds to try, the default first; `_FEWER` only if no other scheme has every class in every part."""

_MOST_SITES = 20
"""Largest number of values for which a column is treated as sites."""

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class FoldParts:
    """A fold: its number, the number of images in each part, and the classes that a part lacks.

    Attributes
    ----------
    fold : int
    images : mapping of str to int
        Number of images in ``train``, ``val`` and ``test``; parts without images are left out.
    missing : mapping of str to (tuple of str)
        Part to its missing classes; parts with all classes, or without images, are left out.
    """

    fold: int
    images: Mapping[str, int]
    missing: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class ProtocolCheck:
    """The result of trying a cross-validation scheme on the images.

    Attributes
    ----------
    folds : str
        Value of the option ``folds``.
    group_by : str or None
        Value of the option ``group_by``; None for its default.
    kept : str
        How images are kept together: ``by patient``, ``by image``, ``published``, ...
    refused : str
        The reason why it cannot be used; empty if it can.
    parts : tuple of FoldParts
    warnings : tuple of str
        Caveats for readers of its results.
    compared : bool
        Whether it is included only for comparison: folds by image, although patients are known.
    splits_patients : bool
        Whether it tests one value of a column at a time, and patients have images of several values.
    """

    folds: str
    group_by: str | None
    kept: str
    refused: str = ""
    parts: tuple[FoldParts, ...] = ()
    warnings: tuple[str, ...] = ()
    compared: bool = False
    splits_patients: bool = False

    def __str__(self) -> str:
        return f"{self.folds} {self.kept}"

    @property
    def lacking(self) -> list[FoldParts]:
        """Folds in which a part lacks a class."""
        return [fold for fold in self.parts if fold.missing]

    @property
    def hopeless(self) -> bool:
        """Whether no fold has every class in both its training and its test part."""
        return bool(self.parts) and all({"train", "test"} & fold.missing.keys() for fold in self.parts)


def check_protocols(
    dataset: Dataset,
    *,
    folds: Sequence[str] = (),
    group_by: str | None = None,
    copies: Sequence[Copy] = (),
    image_is: str = "image",
    group_is: str = "group",
    seed: int = 0,
) -> list[ProtocolCheck]:
    """Make the folds of cross-validation schemes, and count the images and classes of each part.

    Parameters
    ----------
    dataset : Dataset
    folds : sequence of str
        Schemes, as for `fold_plan`. By default all that may fit: the split in which the images were published, the
        published lists of the layout, and 10 and 5 folds. If patients are known, these folds keep patients together,
        and folds by image are added for comparison. Columns of a manifest are tried as sites, and kept if a site has
        every class.
    group_by : {"group", "none"}, optional
        Whether groups are kept together; without `folds`, it is used for 10 and 5 folds only.
    copies : sequence of Copy
        Near-duplicates.
    image_is, group_is : str
        Words for an image and a group, such as patch, patient or slide.
    seed : int

    Returns
    -------
    list of ProtocolCheck
        For the images that have a label; empty if there are none.
    """
    records = tuple(record for record in dataset.records if record.label)
    if not records:
        return []
    dataset = replace(dataset, records=records)
    columns = further_columns(dataset)
    known = DatasetFacts(columns=columns, copies=tuple((copy.first, copy.second) for copy in copies))
    groups = [record.group for record in records]
    named = sum(group is not None for group in groups)
    given = dict.fromkeys(folds or (() if group_by is None else _SPLIT))
    schemes: list[tuple[str, str | None]] = [(name, group_by) for name in given]
    if not schemes:
        split = given_parts(known)
        schemes = [(name, None) for name in (*([GIVEN] if split else []), *_PUBLISHED.get(dataset.name, ()), *_SPLIT)]
        if named:  # also with the setting that is not the default
            schemes.append((_SPLIT[0], "none" if named == len(groups) else "group"))
        owner = {record.image_id: record.group for record in records if record.group is not None}
        schemes += [
            (f"site:{name}", None)
            for name, of in columns.items()
            if of != owner and 2 <= len(set(of.values())) <= _MOST_SITES and (split is None or name != split[0])
        ]
    label_of = {record.image_id: record.label or "" for record in records}
    ids, labels = list(label_of), list(label_of.values())
    group_of = dict(zip(ids, groups, strict=True))

    def check(name: str, by: str | None) -> ProtocolCheck:
        kept = _kept(name, by, image_is, group_is, named, len(groups))
        try:
            plan = fold_plan(name, image_ids=ids, labels=labels, groups=groups, group_by=by, seed=seed, known=known)
        except BchistoError as error:
            return ProtocolCheck(name, by, kept, message_of(error))
        compared = by == "none" and group_by is None
        parts = _parts(plan, label_of, dataset.classes)
        splits = name.startswith("site:") and bool(split_groups(plan, group_of))
        return ProtocolCheck(name, by, kept, "", parts, plan.warnings, compared, splits)

    protocols = []
    with Progress(total=len(schemes), label="checking folds", unit="protocols") as progress:
        for done, (name, by) in enumerate(schemes, start=1):
            protocol = check(name, by)
            if given or not (name.startswith("site:") and protocol.hopeless):  # probably not a column of sites
                protocols.append(protocol)
            progress.update_to(done)
    whole = [outcome for outcome in protocols if outcome.group_by is None and not outcome.splits_patients]
    if not given and all(outcome.refused or outcome.lacking for outcome in whole):
        protocols += [check(name, None) for name in _FEWER]
    return protocols


def _kept(name: str, group_by: str | None, image_is: str, group_is: str, named: int, images: int) -> str:
    if name.startswith("site:"):
        return "one site out"
    if name == GIVEN:
        return "as they came"
    if not (name.isdecimal() or "/" in name):
        return "given list" if "." in name else "published"
    whole = named == images > 0 if group_by is None else group_by == "group"
    if not whole:
        return f"by {image_is}"
    return f"by {group_is}" if named == images else f"by {group_is} if known"


def _parts(plan: FoldPlan, label_of: Mapping[str, str], classes: Sequence[str]) -> tuple[FoldParts, ...]:
    """Return the folds of a plan, with the images and missing classes of each part."""
    counts: dict[int, dict[str, Counter[str]]] = {}
    for image, fold, part in plan.rows:
        counts.setdefault(fold, {}).setdefault(part, Counter())[label_of[image]] += 1
    present = [name for name in classes if name in set(label_of.values())]
    folds = []
    for fold, of in sorted(counts.items()):
        parts = {part: of[part] for part in PARTS if part in of}
        lacking = {part: tuple(name for name in present if not of[part][name]) for part in parts}
        missing = {part: names for part, names in lacking.items() if names}
        folds.append(FoldParts(fold, {part: images.total() for part, images in parts.items()}, missing))
    return tuple(folds)
