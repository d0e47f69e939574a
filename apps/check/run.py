"""Pre-flight of a dataset: all checks that are possible before features are extracted."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from ...core import ImageError, Message, PathInput, TissueError, by_key, plural, written
from ...core.jobs import Progress, in_threads
from ...data import (
    Dataset,
    DatasetSurvey,
    Finding,
    FoldChoice,
    ImageRecord,
    ImageSelection,
    decode_record,
    facts_of,
    resize_image,
    survey_dataset,
    unit_names,
)
from ...featurize import FeaturizeSettings, View
from ...stains import (
    GREY_PICTURE,
    PALE,
    Normalizer,
    StainNotes,
    check_stains,
    doubt_causes,
    get_stain,
    is_grey,
    make_normalizer,
)
from .plan import (
    DescribingEstimate,
    ProtocolCheck,
    ViewFit,
    check_protocols,
    fit_views,
    fitted,
    measure_describing,
    reading_lines,
    recommended,
    shown_factor,
    unfoldable,
)

_TOO_LITTLE = "too little tissue"

_MOST_CHECKED = 100
"""Largest number of images in the sample: 20 seconds of a core for images of BACH."""

_MANY = 0.1
"""Share of doubtful images from which they are a finding: below it, the other images outweigh them."""


@dataclass(frozen=True)
class StainSurvey:
    """The result of checking the planned stain normalisation on a sample.

    Attributes
    ----------
    stain : str
        The stain method.
    checked : int
        Number of images in the sample that could be decoded.
    skipped : tuple of str
        IDs of images with too little tissue.
    doubtful : dict of str to tuple of str
        IDs of images whose normalised stains are doubtful, each with the reasons.
    foreign : dict of str to float
        IDs of images with pixels that are not tissue, and their share of the pixels, 0 to 1.
    """

    stain: str
    checked: int
    skipped: tuple[str, ...]
    doubtful: dict[str, tuple[str, ...]]
    foreign: Mapping[str, float]

    @property
    def notes(self) -> list[Message]:
        """A note on the images of each kind."""
        names = (dict.fromkeys(self.skipped), dict.fromkeys(self.doubtful), {**self.foreign})
        return StainNotes(self.stain, *names).texts(self.checked)


def survey_stains(
    records: Sequence[ImageRecord], settings: FeaturizeSettings
) -> StainSurvey | None:
    """Normalise an evenly spaced sample of images, at the scales of the views, and check the result.

    Parameters
    ----------
    records : sequence of ImageRecord
    settings : FeaturizeSettings
        The stain method and the views.

    Returns
    -------
    StainSurvey or None
        None if the method normalises no stains.
    """
    if not get_stain(settings.stain).checked:
        return None
    normalizer = make_normalizer(settings.stain)
    count = min(_MOST_CHECKED, len(records))
    sample = [records[index * len(records) // count] for index in range(count)]
    check = functools.partial(_check_stains, normalizer=normalizer, views=settings.views)
    checked = 0
    skipped = []
    doubtful = {}
    foreign = {}
    with Progress(total=count, label="checking stains", unit="images") as progress:
        results = zip(sample, in_threads(check, sample), strict=True)
        for done, (record, result) in enumerate(results, start=1):
            progress.update_to(done)
            if result is None:
                continue
            checked += 1
            reasons, share = result
            if _TOO_LITTLE in reasons:
                skipped.append(record.image_id)
            elif reasons:
                doubtful[record.image_id] = reasons
            if share:
                foreign[record.image_id] = share
    return StainSurvey(
        settings.stain,
        checked=checked,
        skipped=tuple(skipped),
        doubtful=doubtful,
        foreign=foreign,
    )


def _check_stains(
    record: ImageRecord, *, normalizer: Normalizer, views: Sequence[View]
) -> tuple[tuple[str, ...], float] | None:
    """Normalise an image at the scale of each view; None if it cannot be decoded.

    Returns
    -------
    tuple of (tuple of str, float)
        Reasons for doubt in its stains, and the share of its pixels that are not tissue.
    """
    try:
        image = decode_record(record)
        factors = dict.fromkeys(shown_factor(view, record) for view in views)
        scaled = [resize_image(image, factor) for factor in factors]
        if any(map(is_grey, scaled)):
            return (GREY_PICTURE,), 0.0
        checks = [
            check_stains(before, *normalizer.normalize_with_estimate(before)) for before in scaled
        ]
    except TissueError:
        return (_TOO_LITTLE,), 0.0
    except ImageError:
        return None
    reasons = dict.fromkeys(reason for check in checks for reason in check.reasons)
    return tuple(reasons), max(check.foreign for check in checks)


def doubt_findings(survey: StainSurvey | None, root: str) -> list[Finding]:
    """Return a finding with causes and remedies if a tenth of the images or more are doubtful.

    It is a warning, but a note if only pale tissue is the cause in most of them, in fewer than half of the images.
    """
    if survey is None or len(survey.doubtful) < max(1, _MANY * survey.checked):
        return []
    tissue = survey.checked - len(survey.skipped)
    causes = doubt_causes(survey.doubtful.values(), images=tissue, stain=survey.stain)
    pale = causes.get(PALE, (0, ""))[0]
    mild = len(survey.doubtful) - pale < _MANY * survey.checked and 2 * pale < survey.checked
    parts = [
        Message("{} ({}): {}", cause, count, remedy) for cause, (count, remedy) in causes.items()
    ]
    text = "{stain:{}} gives doubtful stains in {} of {} images. " + "; ".join(["{}"] * len(parts))
    message = Message(text, survey.stain, len(survey.doubtful), survey.checked, *parts)
    options: dict[str, str] = {}
    for _, remedy in causes.values():
        # of several values of an option, the one that helps most images comes first
        written(remedy, options.setdefault)
    return [Finding("note" if mild else "warning", root, message, options=tuple(options.items()))]


def share_findings(dataset: Dataset) -> list[Finding]:
    """Return a warning of each class of which one of several groups has more than half of the images."""
    unit = unit_names(dataset.name, facts_of(dataset))["group"]
    findings = []
    for label, records in by_key(dataset.records, lambda record: record.label).items():
        images = Counter(record.group for record in records if record.group is not None)
        for group, most in images.most_common(1):
            if label is None or len(images) < 2 or 2 * most <= images.total():
                continue
            message = (
                f"{most} of the {images.total()} images of {label} are of a single {unit}, {group}: what is measured "
                f"of this class is mostly that {unit}; read the figures over {plural(unit)}, or add images of others"
            )
            findings.append(Finding("warning", str(dataset.root), message))
    return findings


def scale_findings(dataset: Dataset) -> list[Finding]:
    """Return a note if micrometres per pixel differ in their first two digits, as of several magnifications."""
    scales = [record.mpp for record in dataset.records if record.mpp is not None]
    if not scales:
        return []
    least, most = f"{min(scales):.2g}", f"{max(scales):.2g}"
    if least == most:
        return []
    text = (
        "micrometres per pixel go from {} to {}, so a view in pixels shows tissue of several magnifications; train on "
        "those of one ({featurize.only:LIST.csv}), or give views in micrometres ({views:112um:224})"
    )
    return [Finding("note", str(dataset.root), Message(text, least, most))]


@dataclass(frozen=True)
class Preflight:
    """The result of a pre-flight, which text, JSON and the page show.

    Attributes
    ----------
    dataset : Dataset
        With micrometres per pixel from the headers.
    survey : DatasetSurvey
    requested : FeaturizeSettings
        The settings that were requested.
    planned : FeaturizeSettings
        The same, but with views that fit, without encoders that need larger crops, and without stain normalisation if
        the images have no stain.
    views, planned_views : tuple of ViewFit
        How the requested and the planned views fit; no planned views if the images are too small for any.
    stains : StainSurvey or None
        Check of the planned stain normalisation on a sample; None without normalisation.
    protocols : tuple of ProtocolCheck
    protocol : ProtocolCheck or None
        The recommended one.
    estimate : DescribingEstimate or None
        Estimate for the planned settings; None if none was asked for, or no image can be used.
    untrainable : str
        The reason why nothing can be trained; empty if something can.
    findings : tuple of Finding
        Those of the survey, then those on labels, folds and stains.
    given : collection of str
        The options for reading the images that the user chose.
    """

    dataset: Dataset
    survey: DatasetSurvey
    requested: FeaturizeSettings
    planned: FeaturizeSettings
    views: tuple[ViewFit, ...]
    planned_views: tuple[ViewFit, ...]
    stains: StainSurvey | None
    protocols: tuple[ProtocolCheck, ...]
    protocol: ProtocolCheck | None
    estimate: DescribingEstimate | None
    untrainable: str
    findings: tuple[Finding, ...]
    given: Collection[str]

    @property
    def reading(self) -> list[str]:
        """How the images are read, see `reading_lines`."""
        return reading_lines(self.dataset, self.planned, self.given)

    @property
    def wrong(self) -> list[Finding]:
        """Findings that are more than notes."""
        return [finding for finding in self.findings if finding.level != "note"]

    @property
    def refused(self) -> list[Finding]:
        """Errors with which the dataset cannot be used at all, even if unreadable images are left out."""
        return [f for f in self.findings if f.level == "error" and f.file not in self.survey.broken]

    @property
    def left_out(self) -> set[str]:
        """Images that are too small for the planned views."""
        return {image for fit in self.planned_views for image in fit.too_small}

    @property
    def skips(self) -> bool:
        """Whether images must be left out for the others to be used."""
        return bool(self.survey.broken or self.left_out)

    def groups(self) -> dict[str, Counter[str]]:
        """Return the number of images of each class in each known group, the largest group first."""
        of_group = by_key(self.dataset.records, lambda record: record.group)
        counts = {
            group: Counter(record.label_text for record in records)
            for group, records in of_group.items()
            if group is not None
        }
        return dict(sorted(counts.items(), key=lambda item: (-item[1].total(), item[0])))

    @property
    def sizes(self) -> list[dict[str, int]]:
        """Each width and height in pixels, with the number of its images, the most frequent first."""
        sizes = Counter(
            record.sides(record.header) for record in self.dataset.records if record.header
        )
        return [
            {"width": width, "height": height, "images": images}
            for (width, height), images in sorted(
                sizes.items(), key=lambda item: (-item[1], item[0])
            )
        ]


def preflight(
    images: ImageSelection | PathInput,
    *,
    settings: FeaturizeSettings | None = None,
    folds: FoldChoice | None = None,
    decode: bool = False,
    copies: bool = True,
    timed: bool = False,
    keep: Collection[str] = (),
) -> Preflight:
    """Check a dataset, and find the views and cross-validation schemes that can be used with it.

    Parameters
    ----------
    images : ImageSelection or path
    settings : FeaturizeSettings, optional
        Planned settings of the features; those of the paper by default.
    folds : FoldChoice, optional
        Schemes to try; by default all that may fit, see `check_protocols`.
    decode : bool
        Also decode every image, which finds truncated files.
    copies : bool
        Search for near-duplicates, for which every image is decoded.
    timed : bool
        Open the encoders, and measure the time of an image.
    keep : collection of str
        As for `plan_describing`.

    Returns
    -------
    Preflight

    Raises
    ------
    MissingInputError, InputError
        There are no images, or the layout does not exist. Problems of images do not raise; they are findings.
    """
    requested = FeaturizeSettings.of(settings)
    selection = ImageSelection.of(images)
    dataset = selection.table()
    survey = survey_dataset(dataset, decode=decode, copies=copies)
    dataset = survey.dataset
    usable = tuple(
        record
        for record in dataset.records
        if record.header and record.image_id not in survey.broken
    )
    planned, fits = fitted(replace(dataset, records=usable), requested, keep=keep)
    left_out = survey.broken.union(
        (image for image, _ in survey.repeated), *(fit.too_small for fit in fits)
    )
    once = replace(
        dataset, records=tuple(image for image in dataset.records if image.image_id not in left_out)
    )
    protocols = check_protocols(
        once, folds or FoldChoice(), copies=survey.copies or (), seed=requested.seed
    )
    root = str(dataset.root)
    findings = [*survey.findings, *share_findings(dataset), *scale_findings(dataset)]
    untrainable = dataset.untrainable or unfoldable(dataset, protocols)
    if untrainable:
        findings.append(Finding("warning", root, untrainable))
    stain_survey = survey_stains(once.records, planned)
    findings += doubt_findings(stain_survey, root)
    estimate = None
    if timed and fits and once.records:
        estimate = measure_describing(once.records, planned)
    return Preflight(
        dataset=dataset,
        survey=survey,
        requested=requested,
        planned=planned,
        views=fit_views(usable, requested),
        planned_views=fits,
        stains=stain_survey,
        protocols=tuple(protocols),
        protocol=recommended(protocols),
        estimate=estimate,
        untrainable=untrainable,
        findings=tuple(findings),
        given=selection.given,
    )
