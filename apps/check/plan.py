"""Plans what follows: views that fit the images, the disk space of features, and folds without a missing class."""

from __future__ import annotations

import functools
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...boost import default_folds
from ...core import (
    BchistoError,
    Content,
    InputError,
    Message,
    PathInput,
    message_of,
    plain_options,
    plural,
)
from ...core.jobs import rough_duration
from ...data import (
    GIVEN,
    PUBLISHED_FOLDS,
    Copy,
    Dataset,
    FoldChoice,
    FoldPlan,
    ImageRecord,
    ImageSelection,
    dataset_plan,
    facts_of,
    get_layout,
    given_parts,
    part_of_names,
    scaled_side,
    shared_groups,
    unit_names,
    with_headers,
)
from ...encoders import EncoderChoice, encoder_facts, has_weights
from ...evaluate import TwoClassView, default_positive
from ...featurize import (
    FeaturizeSettings,
    View,
    begun_configs,
    choose_settings,
    estimate_describing,
    preset_options,
)

_log = logging.getLogger(__name__)

_SHARES = (400 / 768, 650 / 768)
"""Side of a crop divided by the short side of the image, for the published views of an image of BACH."""

_SCALES = (0.5, 1.0)
"""Scales to try, the published one first. A scale above 1 would cost time without showing more."""

_WANTED = 128
"""Side in pixels that the smaller crop should at least have, since networks were trained on images of 224 pixels."""

_SMALLEST = 32
"""Side in pixels of the smallest possible crop."""

_ODD_ONES = 0.05
"""Fraction of images that may be left out so that two views fit the others; otherwise one view is enough."""

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

_LONG_SECONDS = 12 * 3600
"""Time above which the default settings must be typed."""

_KEPT = {
    "given": "as they came",
    "site": "one site out",
    "published": "published",
    "file": "given list",
}
"""How images are kept together, by the origin of folds that are not drawn."""


@dataclass(frozen=True)
class ViewFit:
    """How a view fits the images.

    Attributes
    ----------
    view : str
        Scale and crop, written as in the option.
    fits : int
        Number of images that are large enough at its scale.
    too_small : tuple of str
        IDs of the other images, in the order of the dataset; empty if the scale is unknown.
    problem : str
        The reason why it cannot be used at all; empty if it can.
    """

    view: str
    fits: int
    too_small: tuple[str, ...]
    problem: str


def fit_views(records: Sequence[ImageRecord], settings: FeaturizeSettings) -> tuple[ViewFit, ...]:
    """Return how each view fits the images, whose headers must be known, and the encoders of the settings."""
    least = {choice.name: encoder_facts(choice).least for choice in settings.encoders}
    fits = []
    for view in settings.views:
        sides = _short_sides(view, records)
        if sides is None:
            fits.append(
                ViewFit(str(view), 0, (), "needs micrometres per pixel, which are not known")
            )
            continue
        too_small = tuple(image for image, side in sides.items() if side < view.crop)
        problems = (
            f"{name} takes no crop under {side} pixels"
            for name, side in least.items()
            if side > view.crop
        )
        fits.append(ViewFit(str(view), len(sides) - len(too_small), too_small, next(problems, "")))
    return tuple(fits)


def _short_sides(view: View, records: Sequence[ImageRecord]) -> dict[str, int] | None:
    """Return the shorter side of each image at the scale of a view; None if an image has no micrometres for it."""
    if unscaled(records, [view]):
        return None
    return {
        record.image_id: scaled_side(int(record.look.short), view.factor(record.mpp))
        for record in records
    }


def shown_factor(view: View, record: ImageRecord) -> float:
    """Return the factor by which a view resizes an image; 1 if it depends on micrometres per pixel that are unknown."""
    if view.unscaled(record):
        return 1.0
    return view.factor(record.mpp)


def unscaled(records: Iterable[ImageRecord], views: Sequence[View]) -> str | None:
    """Return a message on the first image without micrometres per pixel, if a view needs them; else None."""
    for view, record in itertools.product(views, records):
        message = view.unscaled(record)
        if message:
            return message
    return None


def fitting_views(records: Sequence[ImageRecord], settings: FeaturizeSettings) -> tuple[View, ...]:
    """Return the views unchanged if they fit all images, else at most two smaller ones.

    Views in micrometres keep their scale, and get the largest crop that fits all images. Others are made for the short
    side of an image, and do not fit smaller images: for the shortest side that gives two views, if hardly any image is
    smaller, else for the shortest that gives one.

    Returns
    -------
    tuple of View
        Empty if all images are too small for any view. For views in micrometres also if one image is too small for a
        crop that the encoders take, or has no micrometres per pixel.
    """
    if not records:
        return ()
    if not any(fit.too_small or fit.problem for fit in fit_views(records, settings)):
        return settings.views
    least = max(_SMALLEST, *(encoder_facts(choice).least for choice in settings.encoders))
    if any(view.unit for view in settings.views):
        smaller: dict[View, None] = {}
        for view in settings.views:
            short_sides = _short_sides(view, records)
            if short_sides is None:
                return ()
            smaller[replace(view, crop=min(view.crop, *short_sides.values()))] = None
        if min(view.crop for view in smaller) < least:
            return ()
        return tuple(smaller)
    sides = sorted(int(record.look.short) for record in records)
    # two views that fit all but the odd ones, else those that fit as many images as any can
    odd_sides = sides[: int(_ODD_ONES * len(sides)) + 1]
    for view_count, candidates in ((2, odd_sides), (1, sides)):
        for side in dict.fromkeys(candidates):
            views = _made_for(side, least)
            if len(views) >= view_count:
                return views
    return ()


def _made_for(side: int, least: int) -> tuple[View, ...]:
    """Return views with the published fractions of a short side, at the first scale with crops of sufficient size."""
    for scale in _SCALES:
        crops = [int(share * scaled_side(side, scale)) // 10 * 10 for share in _SHARES]
        if crops[0] >= _WANTED:
            break
    return tuple(View(scale, crop) for crop in dict.fromkeys(crops) if crop >= least)


def fitted(
    dataset: Dataset, requested: FeaturizeSettings, *, keep: Collection[str]
) -> tuple[FeaturizeSettings, tuple[ViewFit, ...]]:
    """Return settings with views that fit, encoders for them, and no stain normalisation for images without stain.

    Parameters
    ----------
    dataset : Dataset
        Images without a header are left out.
    requested : FeaturizeSettings
        If no view fits its encoders, only encoders for the smallest crops remain, or MobileNetV2 if there are none.
    keep : collection of str
        Fields that must not change: ``encoders``, ``stain``.

    Returns
    -------
    FeaturizeSettings
        With at most as many views.
    tuple of ViewFit
        How these fit; empty if no view does.
    """
    settings = requested
    records = [record for record in with_headers(dataset.records) if record.header]
    views = fitting_views(records, requested)
    if not views and "encoders" not in keep:
        small_encoders = tuple(
            choice for choice in requested.encoders if encoder_facts(choice).least <= _SMALLEST
        )
        reduced = replace(requested, encoders=small_encoders or (EncoderChoice("mobilenetv2"),))
        views = fitting_views(records, reduced)
        if views:
            settings = reduced
    settings = replace(settings, views=views[: len(requested.views)] or requested.views)
    fits = fit_views(records, settings) if views else ()
    if not get_layout(dataset.name).stained and "stain" not in keep:
        settings = replace(settings, stain="none", color_range=(1.0, 1.0))
    return settings, fits


@dataclass(frozen=True)
class DescribingEstimate:
    """Estimated size of a feature extraction.

    Attributes
    ----------
    images, stores : int
        Numbers of images and of feature files.
    bytes : int or None
        Size of the feature files; None if an encoder cannot be opened, or the first image cannot be used.
    seconds : float or None
        Elapsed time, estimated from the first image; None if the size is.
    """

    images: int
    stores: int
    bytes: int | None = None
    seconds: float | None = None


def measure_describing(
    records: Sequence[ImageRecord], settings: FeaturizeSettings
) -> DescribingEstimate:
    """Measure the time and the size of the features of images, see `bchisto.featurize.estimate_describing`."""
    estimate = DescribingEstimate(len(records), len(settings.encoders) * len(settings.views))
    try:
        cost = estimate_describing(records, settings)
    except BchistoError as error:
        _log.info("%s", error)
        return estimate
    return replace(estimate, bytes=4 * cost.numbers, seconds=cost.seconds)


def refuse_long(images: ImageSelection, *, run: Path) -> None:
    """Refuse to begin features with the published settings, which are the default, if they take over twelve hours.

    A run that has begun with their encoders goes on.

    Raises
    ------
    InputError
        The message has the times of the presets ``published`` and ``standard``.
    """
    records = images.table().records
    encoders = plain_options(FeaturizeSettings())["encoders"]
    begun = [config.get("encoders") for config in begun_configs(run / "run.json")]
    if not records or encoders in begun:
        return
    random = ("random",)  # needs no file
    published = measure_describing(records, FeaturizeSettings(weights=random)).seconds or 0
    if published <= _LONG_SECONDS:
        return
    settings = choose_settings({**preset_options("standard"), "weights": random}).settings
    standard = measure_describing(records, plan_describing(images, settings)).seconds or 0
    text = (
        "{}: features take about {} with {preset:published}, which is the default, and {} with {preset:standard}; give "
        "one of them"
    )
    raise InputError(text, images.images, rough_duration(published), rough_duration(standard))


def plan_describing(
    images: ImageSelection | PathInput, settings: FeaturizeSettings, *, keep: Collection[str] = ()
) -> FeaturizeSettings:
    """Return settings with views that fit the images; this reads all image headers.

    Parameters
    ----------
    images : ImageSelection or path
    settings : FeaturizeSettings
        See `fitted`.
    keep : collection of str
        Fields that must not change: ``encoders``, ``stain``.

    Raises
    ------
    InputError
        The size of no image can be read, or no view fits, see `fitting_views`.
    """
    dataset = ImageSelection.of(images).table()
    records = with_headers(dataset.records)
    if not any(record.header for record in records):
        raise InputError("{}: the size of no image can be read", dataset.root)
    result, fits = fitted(replace(dataset, records=tuple(records)), settings, keep=keep)
    if not fits:
        text = "{}: no view fits these images: some or all are too small for {encoders}"
        message = Message(text, dataset.root)
        raise InputError("{}", unscaled(records, settings.views) or message)
    return result


def reading_lines(
    dataset: Dataset,
    settings: FeaturizeSettings,
    given: Collection[str],
    view: TwoClassView | None = None,
) -> list[str]:
    """Return in six lines how images are read: classes, positive class, patients, scale, views and encoders.

    Only headers of images are read, and no weights.

    Parameters
    ----------
    dataset : Dataset
    settings : FeaturizeSettings
    given : collection of str
        The options for reading the images that the user chose.
    view : TwoClassView, optional
        As in `bchisto.boost.train`, for a command that has its options.
    """
    encoders = []
    for choice in settings.encoders:
        state = "here" if has_weights(choice, settings.weights) else "not here yet"
        encoders.append(f"{choice.label} (weights {state})")
    return [
        *content_lines(dataset, given, view),
        _scale(with_headers(dataset.records)),
        f"view: {', '.join(map(str, settings.views))}",
        f"encoder: {', '.join(encoders)}",
    ]


def log_reading(*arguments: Any) -> list[str]:
    """Log how images are read, and return it, see `reading_lines`."""
    lines = reading_lines(*arguments)
    for line in lines:
        _log.info("%s", line)
    return lines


def content_lines(
    dataset: Dataset, given: Collection[str], view: TwoClassView | None = None
) -> list[str]:
    """Return the first three of `reading_lines`, which need no headers."""
    return [dataset.counts_text, _positive(dataset, view), _patients(dataset, given)]


def _positive(dataset: Dataset, view: TwoClassView | None) -> str:
    """Return the line on the positive class."""
    if dataset.untrainable:
        return "positive class: none, since training needs two classes"
    positive = default_positive(dataset.classes)
    command = "boost"
    if view is not None:
        positive = view.positive or positive
        command = "trial"
    if not positive:
        return Message(f"positive class: none is known; {{{command}.positive:CLASS}} names it")
    return f"positive class: {', '.join(positive)}"


def _patients(dataset: Dataset, given: Collection[str]) -> str:
    """Return the line on patients, with the option that finds them if names of files may hold them."""
    records = dataset.records
    named = [record for record in records if record.group]
    if not named:
        unknown = "patients: not known"
        takes_rule = "group_from" in get_layout(dataset.name).options
        if takes_rule and not {"group_from", "group_column"} & {*given}:
            return part_of_names(records) or unknown
        return unknown
    source = "names of files"
    if "group_from" in given:
        source = Message("{group_from}")
    elif named[0].line:
        source = "the table"
    elif not get_layout(dataset.name).options:
        source = f"the data set {dataset.name}"
    elif named[0].group in named[0].image_id.split("/"):
        source = "folders"
    unit = unit_names(dataset.name, facts_of(dataset))["group"]
    groups = len({record.group for record in named})
    text = "{}: {} (from {}; {} of {} images)"
    return Message(text, plural(unit), groups, source, len(named), len(records))


def _scale(records: Sequence[ImageRecord]) -> str:
    """Return the line on micrometres per pixel."""
    scales = [record.mpp for record in records if record.mpp is not None]
    if not scales:
        return Message("micrometres per pixel: not known; {mpp} gives them")
    bounds = dict.fromkeys(f"{bound:.3g}" for bound in (min(scales), max(scales)))
    return f"micrometres per pixel: {' to '.join(bounds)} ({len(scales)} of {len(records)} images)"


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
    parts: tuple[Content, ...] = ()
    warnings: tuple[str, ...] = ()
    compared: bool = False
    splits_patients: bool = False

    def __str__(self) -> str:
        return self.folds if self.group_by is None else f"{self.folds}, group by {self.group_by}"

    @property
    def lacking(self) -> list[Content]:
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
        One for each scheme, tried on the images that have a label; empty if no image has one.
    """
    records = tuple(record for record in dataset.records if record.label)
    if not records:
        return []
    dataset = replace(dataset, records=records)
    check = functools.partial(_checked, dataset, copies=copies, seed=seed)
    if choice.folds or choice.group_by is not None:
        return [check(name, choice.group_by) for name in dict.fromkeys(choice.folds or _SPLIT)]
    protocols = _fitting(dataset, check)
    if all(
        protocol.refused or protocol.lacking
        for protocol in protocols
        if protocol.group_by is None and not protocol.splits_patients
    ):
        protocols += [check(name, None) for name in _FEWER]
    return protocols


def _fitting(
    dataset: Dataset, check: Callable[[str, str | None], ProtocolCheck]
) -> list[ProtocolCheck]:
    """Try the schemes that may fit: those of the layout, folds by patient or image, and folds by site."""
    facts = facts_of(dataset)
    split = given_parts(facts)
    names = [*_PUBLISHED.get(dataset.name, ()), *_SPLIT]
    if split:
        names.insert(0, GIVEN)
    schemes: list[tuple[str, str | None]] = [(name, None) for name in names]
    if facts.groups:  # also with the value of group_by that is not the default
        other_grouping = "none" if len(facts.groups) == len(dataset) else "group"
        schemes.append((_SPLIT[0], other_grouping))
    # the place of a tile, and the split, are not sites
    not_sites = {"x", "y", *(split or ())[:1]}
    for name, values in facts.columns.items():
        several = 2 <= len(set(values.values())) <= _MOST_SITES
        if several and values != facts.groups and name not in not_sites:
            schemes.append((f"site:{name}", None))
    # a column whose folds all lack a class probably does not name sites
    return [
        replace(protocol, compared=protocol.group_by == "none" and not protocol.refused)
        for protocol in itertools.starmap(check, schemes)
        if not (protocol.folds.startswith("site:") and protocol.hopeless)
    ]


def _checked(
    dataset: Dataset, name: str, group_by: str | None, *, copies: Sequence[Copy], seed: int
) -> ProtocolCheck:
    """Make the folds of a scheme, and return how they keep images together and which classes they lack."""
    try:
        plan = dataset_plan(dataset, name, copies=copies, group_by=group_by, seed=seed)
    except BchistoError as error:
        return ProtocolCheck(name, group_by, refused=message_of(error))
    facts = facts_of(dataset)
    kind = "group" if plan.name.endswith("-grouped") else "image"
    return ProtocolCheck(
        name,
        group_by,
        _KEPT.get(plan.origin) or f"by {unit_names(dataset.name, facts)[kind]}",
        parts=_parts(plan, dataset),
        warnings=plan.warnings,
        splits_patients=plan.origin == "site" and any(shared_groups(plan, facts.groups)),
    )


def _parts(plan: FoldPlan, dataset: Dataset) -> tuple[Content, ...]:
    """Return the folds of a plan, with the images and missing classes of each part."""
    label_of = {record.image_id: record.label_text for record in dataset.records}
    counts = Counter((fold, part) for _, fold, part in plan.rows)
    classes = {part: plan.classes_in(part, label_of) for part in ("train", "val", "test")}
    present = [name for name in dataset.classes if name in label_of.values()]
    parts = []
    for fold in plan.folds:
        images = {part: counts[fold, part] for part in classes if counts[fold, part]}
        gaps = {
            part: [name for name in present if name not in classes[part][fold]] for part in images
        }
        missing = {part: names for part, names in gaps.items() if names}
        parts.append({"fold": fold, "images": images, "missing": missing})
    return tuple(parts)


def recommended(protocols: Sequence[ProtocolCheck]) -> ProtocolCheck | None:
    """Return the recommended scheme: the split in which the images came, else one with every class in every part.

    Folds for comparison, and schemes whose folds all lack a class, are never recommended. Published lists of slides
    that have a warning come last, since they may list more images than there are; after these, folds by site that put
    images of one patient into training and test sets.
    """
    candidates = [
        check for check in protocols if not (check.refused or check.compared or check.hopeless)
    ]

    def rank(check: ProtocolCheck) -> tuple[bool, ...]:
        # a published list of slides can be used with some of them, unlike a list of images
        is_of_slides = check.kept == "published" and check.folds not in PUBLISHED_FOLDS
        as_given = check.folds == GIVEN or (
            check.folds == "site:fold" and not (check.splits_patients or check.lacking)
        )
        return (
            not as_given,
            check.splits_patients,
            bool(check.lacking),
            is_of_slides and bool(check.warnings),
        )

    return min(candidates, key=rank, default=None)


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
    """Return the command that chooses images to label; none if at least half have a label, or with several files."""
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
        Whether most images have no label. Then a linear classifier is chosen, except for 2 folds, in which a class of
        two patients leaves none to choose its settings by.
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
