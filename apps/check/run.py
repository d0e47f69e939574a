"""Pre-flight of a dataset: all checks that are possible before features are extracted."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from ...core import Message, PathInput
from ...core.jobs import Progress, Work
from ...data import (
    GIVEN,
    PUBLISHED_FOLDS,
    Dataset,
    DatasetSurvey,
    Finding,
    FoldChoice,
    ImageRecord,
    ImageSelection,
    find_layout,
    survey_dataset,
)
from ...featurize import FeaturizeSettings
from .plan import DescribingEstimate, estimate_describing, fitted, measured, preset_seconds
from .protocols import ProtocolCheck, check_protocols
from .views import PlannedViews, StainSurvey, ViewFit, doubt_finding, fit_views, survey_stains


@dataclass(frozen=True)
class Preflight:
    """The result of a pre-flight.

    Attributes
    ----------
    dataset : Dataset
    survey : DatasetSurvey
    requested : FeaturizeSettings
        The settings that were requested.
    planned : FeaturizeSettings
        The same, but with views that fit, without encoders that need larger crops, and without stain normalisation if
        the images have no stain.
    views, planned_views : tuple of ViewFit
        How the requested and the planned views fit.
    fitting : PlannedViews or None
        The planned views; None if the images are too small for any.
    protocols : tuple of ProtocolCheck
    estimate : DescribingEstimate or None
        Estimate for the planned settings; None if no image can be used.
    presets : mapping of str to float
        Seconds of the feature extraction with each preset.
    used : tuple of ImageRecord
        Images that can be used; of identical files only one.
    """

    dataset: Dataset
    survey: DatasetSurvey
    requested: FeaturizeSettings
    planned: FeaturizeSettings
    views: tuple[ViewFit, ...]
    planned_views: tuple[ViewFit, ...]
    fitting: PlannedViews | None
    protocols: tuple[ProtocolCheck, ...]
    estimate: DescribingEstimate | None
    presets: Mapping[str, float] = field(default_factory=dict)
    used: tuple[ImageRecord, ...] = ()

    @functools.cached_property
    def stains(self) -> StainSurvey | None:
        """Check of the planned stain normalisation on a sample, which this decodes; None without normalisation."""
        return survey_stains(self.used, settings=self.planned)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, with one on doubtful stains if many images have them."""
        doubt = doubt_finding(self.stains, root=self.dataset.root)
        return (*self.survey.findings, *((doubt,) if doubt else ()))

    @property
    def image_is(self) -> str:
        """The word for an image: image or patch."""
        return getattr(find_layout(self.dataset.name), "image_is", "image")

    @property
    def group_is(self) -> str:
        """The word for a group: patient, slide or group."""
        return getattr(find_layout(self.dataset.name), "group_is", "group")

    @property
    def wrong(self) -> list[Finding]:
        """Findings that are more than notes."""
        return [finding for finding in self.findings if finding.level != "note"]

    @property
    def refused(self) -> list[Finding]:
        """Errors with which the dataset cannot be used at all, even if unreadable images are left out."""
        broken = self.survey.broken
        return [finding for finding in self.survey.findings if finding.level == "error" and finding.file not in broken]

    @property
    def skips(self) -> bool:
        """Whether images must be left out for the others to be used."""
        return bool(self.survey.broken or (self.fitting is not None and self.fitting.left_out))

    @property
    def refitted(self) -> bool:
        """Whether other views than the requested ones are planned."""
        return self.fitting is not None and self.fitting.views != self.requested.views

    @property
    def protocol(self) -> ProtocolCheck | None:
        """The recommended scheme: the split in which the images came, else one with every class in every part.

        Folds for comparison, and schemes whose folds all lack a class, are never recommended. Published lists of slides
        that have a warning come last, since they may list more images than there are; after these, folds by site that
        put images of one patient into training and test sets.
        """
        usable = [check for check in self.protocols if not (check.refused or check.compared or check.hopeless)]

        def rank(check: ProtocolCheck) -> tuple[bool, bool, bool, bool]:
            # a published list of slides can be used with some of them, unlike a list of images
            of_slides = check.kept == "published" and check.folds not in PUBLISHED_FOLDS
            came = check.folds == GIVEN or (check.folds == "site:fold" and not (check.splits_patients or check.lacking))
            return not came, check.splits_patients, bool(check.lacking), of_slides and bool(check.warnings)

        return min(usable, key=rank, default=None)

    @property
    def unfoldable(self) -> str:
        """The reason why no scheme is recommended; empty if one is, or none was tried."""
        if not self.protocols or self.protocol is not None:
            return ""
        counts = ", ".join(f"{name}: {count}" for name, count in self.dataset.class_counts().items())
        reason = self.protocols[-1].refused or (
            "each class needs images in training and test sets, of different patients if they are known"
        )
        return Message("no folds that were tried can be used ({}): {}", counts, reason)

    def groups(self) -> dict[str, Counter[str]]:
        """Return the number of images of each class in each known group."""
        counts: dict[str, Counter[str]] = {}
        for record in self.dataset.records:
            if record.group is not None:
                counts.setdefault(record.group, Counter())[record.label or ""] += 1
        return counts

    def distinct_sizes(self) -> list[tuple[tuple[int, int], int]]:
        """Return each size (width, height in pixels) with its number of images, the most frequent first."""
        return sorted(Counter(self.survey.sizes.values()).items(), key=lambda item: (-item[1], item[0]))


def preflight(
    images: ImageSelection | PathInput,
    *,
    settings: FeaturizeSettings | None = None,
    folds: FoldChoice | None = None,
    work: Work | None = None,
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
    work : Work, optional
        Sets the number of processes that will extract features.
    decode : bool
        Also decode every image, which finds truncated files.
    copies : bool
        Search for near-duplicates, for which every image is decoded.
    timed : bool
        Load the networks and time them on one image, instead of an estimate from recorded speeds.
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
    selection = ImageSelection.of(images)
    requested, choice, work = settings or FeaturizeSettings(), folds or FoldChoice(), work or Work()
    dataset = selection.table()
    done = itertools.count(1)
    with Progress(total=len(dataset), label="checking images", unit="images") as progress:
        survey = survey_dataset(dataset, decode=decode, copies=copies, on_image=lambda: progress.update_to(next(done)))
    if dataset.untrainable:
        untrainable = Finding("warning", str(dataset.root), dataset.untrainable)
        survey = replace(survey, findings=(*survey.findings, untrainable))
    dataset, _ = measured(dataset, survey.headers)
    mpp = {record.image_id: record.mpp for record in dataset.records}
    usable = {image: size for image, size in survey.sizes.items() if image not in survey.broken}
    planned, fitting = fitted(dataset, usable, requested, keep=keep)
    fits = tuple(fit_views(usable, settings=requested, mpp=mpp))
    planned_fits = tuple(fit_views(usable, settings=planned, mpp=mpp)) if fitting is not None else ()
    result = Preflight(dataset, survey, requested, planned, fits, planned_fits, fitting, (), None)
    left_out = survey.broken.union((image for image, _ in survey.repeated), *(fit.too_small for fit in planned_fits))
    once = replace(dataset, records=tuple(image for image in dataset.records if image.image_id not in left_out))
    protocols = check_protocols(
        once,
        folds=choice.folds,
        group_by=choice.group_by,
        copies=survey.copies or (),
        image_is=result.image_is,
        group_is=result.group_is,
        seed=requested.seed,
    )
    result = replace(result, protocols=tuple(protocols), used=once.records)
    if result.unfoldable and not dataset.untrainable:
        unfoldable = Finding("warning", str(dataset.root), result.unfoldable)
        result = replace(result, survey=replace(survey, findings=(*survey.findings, unfoldable)))
    if fitting is None:
        return result
    estimate = estimate_describing(once.records, usable, planned, work, timed=timed)
    return replace(result, estimate=estimate, presets=dict(preset_seconds(once, usable, work)))
