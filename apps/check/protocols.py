"""Checks which cross-validation schemes can be used, and which classes would be missing from their folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...boost import default_folds
from ...core import BchistoError, Message, message_of
from ...data import (
    GIVEN,
    PUBLISHED_FOLDS,
    Copy,
    Dataset,
    FoldChoice,
    FoldPlan,
    dataset_plan,
    facts_of,
    given_parts,
    split_groups,
    unit_names,
)

_PUBLISHED = {
    "bach": ("rakhlin10", "eva", "thunder"),
    "breakhis": ("official", "official-corrected"),
    "cbis-ddsm": ("official",),
    "idc": ("idc-published",),
}
"""Published fold lists for each layout."""

_SPLIT = ("10", "5")
"""Numbers of folds to try, the default first."""

_FEWER = ("3", "2")
"""Numbers of folds to try if no other scheme has every class in every part."""

_MOST_SITES = 20
"""Largest number of values for which a column is treated as sites."""

_KEPT = {
    "given": "as they came",
    "site": "one site out",
    "published": "published",
    "file": "given list",
}
"""How images are kept together, by the origin of folds that are not drawn."""


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
        How images are kept together: ``by patient``, ``by image``, ``published``, ...; empty if it cannot be used.
    refused : str
        The reason why it cannot be used; empty if it can.
    parts : tuple of dict
        For each fold its number as ``fold``; as ``images`` the number of images in ``train``, ``val`` and ``test``; and
        as ``missing`` the classes that a part lacks. Parts without images, or with all classes, are left out.
    warnings : tuple of str
        Caveats for readers of its results.
    compared : bool
        Whether it is included only for comparison: folds by image, although patients are known.
    splits_patients : bool
        Whether it tests one value of a column at a time, and patients have images of several values.
    """

    folds: str
    group_by: str | None
    kept: str = ""
    refused: str = ""
    parts: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    compared: bool = False
    splits_patients: bool = False

    def __str__(self) -> str:
        return self.folds if self.group_by is None else f"{self.folds}, group by {self.group_by}"

    @property
    def lacking(self) -> list[dict[str, Any]]:
        """Folds in which a part lacks a class."""
        return [fold for fold in self.parts if fold["missing"]]

    @property
    def hopeless(self) -> bool:
        """Whether no fold has every class in both its training and its test part."""
        return bool(self.parts) and all(
            {"train", "test"} & fold["missing"].keys() for fold in self.parts
        )


def check_protocols(
    dataset: Dataset, choice: FoldChoice, *, copies: Sequence[Copy] = (), seed: int = 0
) -> list[ProtocolCheck]:
    """Make the folds of cross-validation schemes, and count the images and classes of each part.

    Parameters
    ----------
    dataset : Dataset
    choice : FoldChoice
        Schemes to try. By default all that may fit: the split in which the images were published, the published lists
        of the layout, and 10 and 5 folds. If patients are known, these folds keep patients together, and folds by image
        are added for comparison. Columns of a manifest are tried as sites, and kept if a site has every class. Without
        schemes, ``group_by`` is used for 10 and 5 folds only.
    copies : sequence of Copy
        Near-duplicates.
    seed : int

    Returns
    -------
    list of ProtocolCheck
        For the images that have a label; empty if there are none.
    """
    records = tuple(record for record in dataset.records if record.label)
    if not records:
        return []
    trial = _Trial(replace(dataset, records=records), copies, seed)
    if choice.folds or choice.group_by is not None:
        return [
            trial.check(name, choice.group_by) for name in dict.fromkeys(choice.folds or _SPLIT)
        ]
    return trial.protocols()


@dataclass(frozen=True)
class _Trial:
    """Images of which schemes are tried; all have a label.

    Attributes
    ----------
    dataset : Dataset
    copies : sequence of Copy
        Near-duplicates.
    seed : int
    """

    dataset: Dataset
    copies: Sequence[Copy]
    seed: int

    def protocols(self) -> list[ProtocolCheck]:
        """Try what may fit, and fewer folds if none of it has every class in every part."""
        protocols = []
        for name, group_by in self.schemes():
            protocol = self.check(name, group_by, compared=group_by == "none")
            # a column whose folds all lack a class is probably none of sites
            if not (name.startswith("site:") and protocol.hopeless):
                protocols.append(protocol)
        by_default = [
            protocol
            for protocol in protocols
            if protocol.group_by is None and not protocol.splits_patients
        ]
        if all(protocol.refused or protocol.lacking for protocol in by_default):
            protocols += [self.check(name, None) for name in _FEWER]
        return protocols

    def schemes(self) -> list[tuple[str, str | None]]:
        """Return what may fit: values of the options ``folds`` and ``group_by``."""
        facts = facts_of(self.dataset)
        split = given_parts(facts)
        names = [*_PUBLISHED.get(self.dataset.name, ()), *_SPLIT]
        if split:
            names.insert(0, GIVEN)
        schemes: list[tuple[str, str | None]] = [(name, None) for name in names]
        group_of = {
            record.image_id: record.group
            for record in self.dataset.records
            if record.group is not None
        }
        if group_of:  # also with the setting that is not the default
            other = "none" if len(group_of) == len(self.dataset.records) else "group"
            schemes.append((_SPLIT[0], other))
        # the place of a tile, and the split, are not sites
        not_sites = {"x", "y", *(split or ())[:1]}
        for name, values in facts.columns.items():
            several = 2 <= len(set(values.values())) <= _MOST_SITES
            if several and values != group_of and name not in not_sites:
                schemes.append((f"site:{name}", None))
        return schemes

    def check(self, name: str, group_by: str | None, *, compared: bool = False) -> ProtocolCheck:
        """Make the folds of a scheme, and say how they keep images together and what they lack."""
        dataset = self.dataset
        try:
            plan = dataset_plan(
                dataset, name, copies=self.copies, group_by=group_by, seed=self.seed
            )
        except BchistoError as error:
            return ProtocolCheck(name, group_by, refused=message_of(error))
        splits_patients = False
        if plan.origin == "site":
            owner = {record.image_id: record.group for record in dataset.records}
            splits_patients = bool(split_groups(plan, owner))
        return ProtocolCheck(
            name,
            group_by,
            self._kept_together(plan),
            parts=_parts(plan, dataset),
            warnings=plan.warnings,
            compared=compared,
            splits_patients=splits_patients,
        )

    def _kept_together(self, plan: FoldPlan) -> str:
        """Return how a plan keeps images together, as `ProtocolCheck.kept` has it."""
        if plan.origin in _KEPT:
            return _KEPT[plan.origin]
        names = unit_names(self.dataset.name, facts_of(self.dataset))
        if plan.name.endswith("-grouped"):
            return f"by {names['group']}"
        return f"by {names['image']}"


def _parts(plan: FoldPlan, dataset: Dataset) -> tuple[dict[str, Any], ...]:
    """Return the folds of a plan, with the images and missing classes of each part."""
    label_of = {record.image_id: record.label for record in dataset.records}
    counts = Counter((fold, part, label_of[image]) for image, fold, part in plan.rows)
    present = [name for name in dataset.classes if name in label_of.values()]
    parts = []
    for fold in plan.folds:
        images = {}
        missing = {}
        for part in ("train", "val", "test"):
            lacking = [name for name in present if not counts[fold, part, name]]
            if lacking == present:
                continue
            images[part] = sum(counts[fold, part, name] for name in present)
            if lacking:
                missing[part] = lacking
        parts.append({"fold": fold, "images": images, "missing": missing})
    return tuple(parts)


def recommended(protocols: Sequence[ProtocolCheck]) -> ProtocolCheck | None:
    """Return the recommended scheme: the split in which the images came, else one with every class in every part.

    Folds for comparison, and schemes whose folds all lack a class, are never recommended. Published lists of slides
    that have a warning come last, since they may list more images than there are; after these, folds by site that put
    images of one patient into training and test sets.
    """
    usable = [
        check for check in protocols if not (check.refused or check.compared or check.hopeless)
    ]

    def rank(check: ProtocolCheck) -> tuple[bool, ...]:
        # a published list of slides can be used with some of them, unlike a list of images
        of_slides = check.kept == "published" and check.folds not in PUBLISHED_FOLDS
        came = check.folds == GIVEN or (
            check.folds == "site:fold" and not (check.splits_patients or check.lacking)
        )
        return (
            not came,
            check.splits_patients,
            bool(check.lacking),
            of_slides and bool(check.warnings),
        )

    return min(usable, key=rank, default=None)


def unfoldable(dataset: Dataset, protocols: Sequence[ProtocolCheck]) -> str:
    """Return the reason why no scheme is recommended; empty if one is, or none was tried."""
    if not protocols or recommended(protocols) is not None:
        return ""
    counts = ", ".join(f"{name}: {count}" for name, count in dataset.class_counts().items())
    reason = protocols[-1].refused or (
        "each class needs images in training and test sets, of different patients if they are known"
    )
    return Message("no folds that were tried can be used ({}): {}", counts, reason)


def to_label(dataset: Dataset, run: str, *, files: int) -> list[str]:
    """Return the command that chooses what to label if most images have no label; it takes one feature file."""
    labelled = sum(dataset.class_counts().values())
    if files > 1 or 2 * labelled >= len(dataset):
        return []
    return [f"bchisto next {run}"]


def training_options(
    dataset: Dataset, protocol: ProtocolCheck | None, *, linear: bool, few: bool
) -> dict[str, str]:
    """Return the options of boost that a protocol and the features need, and that boost does not take by itself.

    Parameters
    ----------
    dataset : Dataset
    protocol : ProtocolCheck or None
        The recommended one.
    linear : bool
        Whether the settings of the features are defaults of the encoder, for which a linear probe is usual.
    few : bool
        Whether most images have no label: a linear classifier, unless a class is of two patients, which leave none to
        choose its settings by.
    """
    options = {}
    folds = default = default_folds(dataset.name, len(dataset), synthetic=dataset.synthetic)
    if protocol is not None:
        folds = protocol.folds
        if folds != default:
            options["folds"] = folds
        if protocol.group_by:
            options["group_by"] = protocol.group_by
    if linear or (few and folds != "2"):
        options["heads"] = "logistic"
    return options
