"""Which protocols the images can be split by, and which class each fold would lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..core import BchistoError, message_of
from ..data import (
    GIVEN,
    PUBLISHED_FOLDS,
    Copy,
    Dataset,
    DatasetFacts,
    FoldPlan,
    fold_plan,
    further_columns,
    given_parts,
)
from ..jobs import Progress

_PUBLISHED = {
    "bach": ("rakhlin10", "eva", "thunder"),
    "breakhis": ("official", "official-corrected"),
    "cbis-ddsm": ("official",),
    "idc": ("idc-published",),
}
"""Published lists of each layout."""

_SPLIT, _FEWER = ("10", "5"), ("3", "2")
"""Numbers of folds that are tried, the default first; and where none of them gives every part every class."""

_MOST_SITES = 20
"""Values of a column up to which one site is left out after the other: beyond, it is no column of sites."""

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class FoldParts:
    """A fold: its number, the images of each part, and the classes that a part lacks.

    Attributes
    ----------
    fold : int
    images : mapping of str to int
        Of ``train``, ``val`` and ``test``.
    missing : mapping of str to (tuple of str)
        Part to the classes of which it has no image; parts without images are left out.
    """

    fold: int
    images: Mapping[str, int]
    missing: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class ProtocolCheck:
    """Whether a protocol can be run on the images.

    Attributes
    ----------
    folds : str
        What ``folds`` takes.
    group_by : str or None
        What ``group_by`` takes; None for the default.
    kept : str
        What is kept whole: ``by patient``, ``by image``, ``published``, ...
    refused : str
        Why it cannot be run; empty where it can.
    parts : tuple of FoldParts
    warnings : tuple of str
        What a reader of its numbers must know.
    compared : bool
        Whether it is here for comparison alone: folds by image where patients are known.
    """

    folds: str
    group_by: str | None
    kept: str
    refused: str = ""
    parts: tuple[FoldParts, ...] = ()
    warnings: tuple[str, ...] = ()
    compared: bool = False

    @property
    def of_slides(self) -> bool:
        """Whether it is a published list of slides, of which some may be here; a list of images fits whole or not."""
        return self.kept == "published" and self.folds not in PUBLISHED_FOLDS

    @property
    def lacking(self) -> list[FoldParts]:
        """Folds in which a part lacks a class."""
        return [fold for fold in self.parts if fold.missing]

    @property
    def hopeless(self) -> bool:
        """Whether there is no fold in which every class trains and is tested."""
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
    """Make the folds of protocols and see what each fold holds.

    Parameters
    ----------
    dataset : Dataset
    folds : sequence of str
        As `fold_plan` takes them; by default those that may fit: the split in which the images came, the published
        lists of the layout, 10 and 5 folds, by patient if patients are known, by image for comparison, and each column
        of a manifest that may name sites, if there is a site that has every class.
    group_by : {"group", "none"}, optional
        Whether they keep groups whole; of 10 and 5 folds without `folds`.
    copies : sequence of Copy
    image_is, group_is : str
        What these are called: patch, patient, slide.
    seed : int

    Returns
    -------
    list of ProtocolCheck
        Of the images that have a label; empty if there are none.
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
    wanted: list[tuple[str, str | None]] = [(name, group_by) for name in given]
    if not wanted:
        came = given_parts(known)
        wanted = [(name, None) for name in (*([GIVEN] if came else []), *_PUBLISHED.get(dataset.name, ()), *_SPLIT)]
        if named:  # as well the other way than by default
            wanted.append((_SPLIT[0], "none" if named == len(groups) else "group"))
        owner = {record.image_id: record.group for record in records if record.group is not None}
        wanted += [
            (f"site:{name}", None)
            for name, of in columns.items()
            if of != owner and 2 <= len(set(of.values())) <= _MOST_SITES and (came is None or name != came[0])
        ]
    label_of = {record.image_id: record.label or "" for record in records}
    ids, labels = list(label_of), list(label_of.values())

    def check(name: str, by: str | None) -> ProtocolCheck:
        kept = _kept(name, by, image_is, group_is, named, len(groups))
        try:
            plan = fold_plan(name, image_ids=ids, labels=labels, groups=groups, group_by=by, seed=seed, known=known)
        except BchistoError as error:
            return ProtocolCheck(name, by, kept, message_of(error))
        compared = by == "none" and group_by is None
        return ProtocolCheck(name, by, kept, "", _parts(plan, label_of, dataset.classes), plan.warnings, compared)

    protocols = []
    with Progress(total=len(wanted), label="checking folds", unit="protocols") as progress:
        for done, (name, by) in enumerate(wanted, start=1):
            protocol = check(name, by)
            if given or not (name.startswith("site:") and protocol.hopeless):  # a column that names no sites
                protocols.append(protocol)
            progress.update_to(done)
    if not given and all(outcome.refused or outcome.lacking for outcome in protocols if outcome.group_by is None):
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
    return f"by {group_is}" if named == images else f"by {group_is} where known"


def _parts(plan: FoldPlan, label_of: Mapping[str, str], classes: Sequence[str]) -> tuple[FoldParts, ...]:
    """Count, in one pass, the images of each class in each part of each fold."""
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
