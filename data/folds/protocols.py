"""Folds that were published, that came with the images, or that follow a column of the user's table."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence, Set
from pathlib import Path, PurePosixPath

from ...core import InputError, Message, Names, by_key, counted, few, one_of
from ...core.formats import PART, column_key, published_rows
from ..dataset import GIVEN, PARTS, DatasetFacts, given_parts
from ..layouts import BREAKHIS_NAME, IDC_NAME
from ..mammograms import CBIS_NAME
from .plans import FoldPlan, GroupOf, Row, ScarceError, spread

SITES = "site:"
"""Prefix of a leave-one-site-out protocol; the name of the column follows."""


def given_plan(*, image_ids: Sequence[str], facts: DatasetFacts) -> FoldPlan:
    """Create the plan of the split that came with the images.

    Parameters
    ----------
    image_ids : sequence of str
    facts : DatasetFacts

    Raises
    ------
    InputError
        No split came with the images, or the part of an image is unknown.
    """
    parts = given_parts(facts)
    if parts is None:
        raise ScarceError(
            "{folds} {}: no split came with these images; put their class folders below train and "
            "test, or name train, val or test in a column {} of a manifest",
            GIVEN,
            PART.name,
        )
    column, part_of = parts
    missing = [image for image in image_ids if image not in part_of]
    if missing:
        gap = f"{len(missing)} of {len(image_ids)} images name no part in the column {column}"
        raise ScarceError("{folds} {}: {}, first {}; fill it in", GIVEN, gap, missing[0])
    rows = tuple((image, 1, part_of[image]) for image in image_ids)
    return FoldPlan(GIVEN, rows, partition=False, origin="given", source=column)


def site_plan(column: str, *, image_ids: Sequence[str], facts: DatasetFacts) -> FoldPlan:
    """Create one fold for each value of a column (sorted), in which the images with this value test.

    Parameters
    ----------
    column : str
        Column of the manifest. Case does not matter, and ``_`` is the same as a space or hyphen.
    image_ids : sequence of str
    facts : DatasetFacts

    Raises
    ------
    InputError
        There is no such column, or an image has no value.
    """
    values = facts.columns.get(column_key(column))
    if values is None:
        present = "no further column is known"
        if facts.columns:
            present = f"there are {', '.join(facts.columns)}"
        text = "{folds} {}{}: no such column of the manifest, {}; add it, and run bchisto featurize again"
        raise ScarceError(text, SITES, column, present)
    column = column_key(column)
    missing = [image for image in image_ids if not values.get(image)]
    if missing:
        gap = f"{len(missing)} of {len(image_ids)} images have no value in this column"
        raise ScarceError("{folds} {}{}: {}, first {}; fill it in", SITES, column, gap, missing[0])
    sites = sorted({values[image] for image in image_ids})
    number = {site: fold for fold, site in enumerate(sites, start=1)}
    return FoldPlan(
        "site-" + re.sub(r"[^\w.-]+", "-", column),
        spread([(image, number[values[image]], "") for image in image_ids]),
        partition=True,
        origin="site",
        source=column,
        sites=tuple(sites),
    )


PUBLISHED_FOLDS = ("rakhlin10", "eva", "thunder")
"""Fold lists that ship with the package; ``published/SOURCES.md`` lists their sources."""

SLIDE_FOLDS = {
    "official": ("breakhis_official.csv", "BreakHis and CBIS-DDSM"),
    "official-corrected": ("breakhis_official.csv", "BreakHis"),
    "idc-published": ("idc_published.csv", "IDC"),
}
"""Lists of slides that ship with the package, each with its file and the datasets that it is for.
``official-corrected`` removes patients who test in a fold from its training part."""

_SPLIT_NAME = re.compile(
    r"(\d+|\d{1,2}-\d{1,2}(-\d{1,2})?)(-grouped)?(-repeated\d+)?|none|folder|site-.*"
)
"""Names of protocols that are neither published nor from a file."""


def published_folds(name: str) -> list[Row]:
    """Return the rows of a fold list that ships with the package; the part is empty in a partition.

    Raises
    ------
    InputError
        There is no such list.
    """
    if name not in PUBLISHED_FOLDS:
        raise InputError(
            "{name} {}: no published list of this name; {}", name, one_of(name, PUBLISHED_FOLDS)
        )
    return [
        (row["image_id"], int(row["fold"]), row.get("part") or "")
        for row in published_rows(__package__, f"{name}.csv")
    ]


def fit_slides(spec: str, group_of: GroupOf) -> FoldPlan:
    """Create the folds of a published list of slides for these images.

    Parameters
    ----------
    spec : str
        One of `SLIDE_FOLDS`.
    group_of : dict
        Image ID to patient or slide.

    Returns
    -------
    FoldPlan
        Images of slides that are not in the list are left out; a warning counts and names them.

    Raises
    ------
    InputError
        No image belongs to a listed slide.
    """
    if spec == "official" and group_of and all(map(CBIS_NAME.fullmatch, group_of)):
        parts = [(image, 1, "test" if "-Test_" in image else "train") for image in group_of]
        return FoldPlan(spec, tuple(parts), partition=False, origin="published", source="cbis-ddsm")
    file, datasets = SLIDE_FOLDS[spec]
    images_of = by_key(group_of, _slide)
    rows: list[Row] = []
    published = set()
    for row in published_rows(__package__, file):
        published.add(row["slide"])
        images = images_of.get(row["slide"], [])
        rows.extend((image, int(row["fold"]), row["part"]) for image in images)
    if not rows:
        raise ScarceError(
            "{folds} {}: none of its slides is in these images; it is for the images of {}",
            spec,
            datasets,
        )
    warnings = _slide_warnings(images_of, published)
    if spec == "official-corrected":
        pairs = {(group_of[image], fold) for image, fold, part in rows if part == "test"}
        rows = [row for row in rows if row[2] == "test" or (group_of[row[0]], row[1]) not in pairs]
    return FoldPlan(spec, tuple(rows), partition=False, warnings=warnings, origin="published")


def _slide_warnings(
    images_of: Mapping[str, Collection[str]], published: Set[str]
) -> tuple[str, ...]:
    """Return warnings of slides that a list does not name, and of those that are absent."""
    warnings: list[str] = []
    unlisted = sorted(images_of.keys() - published)
    if unlisted:
        count = sum(len(images_of[slide]) for slide in unlisted)
        numbers = f"{counted(count, 'image')} of {counted(len(unlisted), 'slide')}"
        text = "{} in no published list left out{}"
        warnings.append(Message(text, numbers, Names(f" ({few(unlisted, most=5)})")))
    present = len(published & images_of.keys())
    if present < len(published):
        warnings.append(f"{present} of the {len(published)} published slides are present")
    return tuple(warnings)


def _slide(image: str) -> str:
    """Return the slide from an official file name of BreakHis or IDC; empty for any other name."""
    name = PurePosixPath(image).name
    breakhis = BREAKHIS_NAME.fullmatch(name)
    if breakhis:
        return "-".join(breakhis.group(2, 3, 4))
    idc = IDC_NAME.fullmatch(name)
    return idc[1] if idc else ""


def mixed_parts(plan: FoldPlan, facts: DatasetFacts) -> tuple[str, ...]:
    """Return a warning if folds mix the parts of the split that came with the images, else nothing."""
    parts = given_parts(facts)
    if parts is None or plan.origin in ("given", "none"):
        return ()
    column, part_of = parts
    mixed = any(part_of.get(image, part) != part for image, _, part in plan.rows)
    if not mixed or len(set(part_of.values())) < 2:
        return ()
    names = ", ".join(part for part in PARTS if part in part_of.values())
    return (f"the images came split (column {column}: {names}), and these folds mix the parts",)


def name_of_list(path: Path) -> str:
    """Return the name of a list from a file: its stem, with ``-file`` if another protocol has that name."""
    if path.stem in (*PUBLISHED_FOLDS, *SLIDE_FOLDS) or _SPLIT_NAME.fullmatch(path.stem):
        return f"{path.stem}-file"
    return path.stem


def protocol_text(plan: FoldPlan, *, seed: int) -> str:
    """Describe a protocol in words.

    Parameters
    ----------
    plan : FoldPlan
    seed : int
        Seed of folds that were drawn.
    """
    name = plan.name.removesuffix(f"-repeated{plan.repeats}")
    seeds = f" (seed {seed})"
    if plan.repeats > 1:
        seeds = f", on {plan.repeats} splits (seeds {seed} to {seed + plan.repeats - 1})"
    sites = few((f"{fold} {site}" for fold, site in enumerate(plan.sites, start=1)), most=10)
    texts = {
        "site": f"one site left out after the other by the column {plan.source}, each fold tests one ({sites})",
        "given": f"the split that came with the images (column {plan.source}), tested once",
        "none": "trained on every image that is not tested",
        "file": "a given fold list",
    }
    if plan.origin in texts:
        return f"{name}: {texts[plan.origin]}"
    if plan.origin == "published":
        return f"{name}: {_PUBLISHED[plan.source or name]}"
    match = re.fullmatch(r"(\d+)-(\d+)(-\d+)?(-grouped)?", name)
    if match:
        grouping = "patients or slides kept together" if match[4] else "image-level"
        shares = "/".join(re.findall(r"\d+", name))
        if match[3]:
            return f"{shares} to train, validate and test once, {grouping}, validation and test balanced{seeds}"
        return f"{shares} to train and test once, {grouping}, stratified{seeds}"
    count, _, grouped = name.partition("-")
    kind = "folds that keep patients or slides whole" if grouped else "image-level folds"
    return f"{count} stratified {kind}{seeds}"


_HOLD_OUTS = "the five published hold-outs of BreakHis, by slide"
_PUBLISHED = {
    "rakhlin10": "the ten published stratified folds, image-level (patients of 145 of the 400 images known)",
    "eva": "the patient-disjoint 268/132 split, tested once",
    "thunder": "the 132 test images of eva, with 50 of its 268 training images set aside, tested once",
    "cbis-ddsm": "the training and test parts of CBIS-DDSM, patient-disjoint, tested once",
    "official": _HOLD_OUTS,
    "official-corrected": f"{_HOLD_OUTS}, patient 14-13412 taken out of training in folds that test it",
    "idc-published": "the 84/29/49 published slides, tested once",
}
"""Name of a published list, or of the dataset whose own it is, to its description."""
