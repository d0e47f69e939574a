"""Checks which cross-validation schemes can be used, and which classes would be missing from their folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...core import BchistoError, Message, message_of
from ...data import (
    GIVEN,
    PUBLISHED_FOLDS,
    Copy,
    Dataset,
    DatasetFacts,
    FoldChoice,
    FoldPlan,
    dataset_plan,
    further_columns,
    get_layout,
    given_parts,
    split_groups,
)

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

_KEPT = {"given": "as they came", "site": "one site out", "published": "published"}
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
    dataset = replace(dataset, records=tuple(record for record in dataset.records if record.label))
    label_of = {record.image_id: record.label or "" for record in dataset.records}
    owner = {
        record.image_id: record.group for record in dataset.records if record.group is not None
    }
    layout = get_layout(dataset.name)

    def check(name: str, group_by: str | None) -> ProtocolCheck:
        try:
            plan = dataset_plan(dataset, name, copies=copies, group_by=group_by, seed=seed)
        except BchistoError as error:
            return ProtocolCheck(name, group_by, refused=message_of(error))
        of = layout.group_is if plan.name.endswith("-grouped") else layout.image_is
        kept = _KEPT.get(plan.origin, "given list" if plan.origin == "file" else f"by {of}")
        splits = plan.origin == "site" and bool(split_groups(plan, dict.fromkeys(label_of) | owner))
        compared = group_by == "none" and choice.group_by is None
        parts = _parts(plan, label_of, dataset.classes)
        return ProtocolCheck(name, group_by, kept, "", parts, plan.warnings, compared, splits)

    given = dict.fromkeys(choice.folds or (() if choice.group_by is None else _SPLIT))
    schemes: list[tuple[str, str | None]] = [(name, choice.group_by) for name in given]
    if not label_of:
        return []
    if not schemes:
        columns = further_columns(dataset)
        split = given_parts(DatasetFacts(columns=columns))
        schemes = [
            (name, None)
            for name in (*([GIVEN] if split else []), *_PUBLISHED.get(dataset.name, ()), *_SPLIT)
        ]
        if owner:  # also with the setting that is not the default
            schemes.append((_SPLIT[0], "none" if len(owner) == len(label_of) else "group"))
        others = {
            "x",
            "y",
            *(split[:1] if split else ()),
        }  # the place of a tile, and the split, are not sites
        schemes += [
            (f"site:{name}", None)
            for name, of in columns.items()
            if of != owner and 2 <= len(set(of.values())) <= _MOST_SITES and name not in others
        ]
    checked = [check(*scheme) for scheme in schemes]
    # a column whose folds all lack a class is probably none of sites
    protocols = [
        scheme
        for scheme in checked
        if given or not (scheme.folds.startswith("site:") and scheme.hopeless)
    ]
    whole = [
        scheme for scheme in protocols if scheme.group_by is None and not scheme.splits_patients
    ]
    if not given and all(scheme.refused or scheme.lacking for scheme in whole):
        protocols += [check(name, None) for name in _FEWER]
    return protocols


def _parts(
    plan: FoldPlan, label_of: Mapping[str, str], classes: Sequence[str]
) -> tuple[dict[str, Any], ...]:
    """Return the folds of a plan, with the images and missing classes of each part."""
    counts = Counter((fold, part, label_of[image]) for image, fold, part in plan.rows)
    present = [name for name in classes if name in label_of.values()]
    parts = []
    for fold in plan.folds:
        of = {
            part: {name: counts[fold, part, name] for name in present}
            for part in ("train", "val", "test")
        }
        images = {part: sum(held.values()) for part, held in of.items() if any(held.values())}
        missing = {part: [name for name in present if not of[part][name]] for part in images}
        lacking = {part: names for part, names in missing.items() if names}
        parts.append({"fold": fold, "images": images, "missing": lacking})
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

    def rank(check: ProtocolCheck) -> tuple[bool, bool, bool, bool]:
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
