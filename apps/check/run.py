"""Pre-flight of a dataset: all checks that are possible before features are extracted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from ...core import PathInput
from ...core.jobs import Work
from ...data import Dataset, DatasetSurvey, Finding, FoldChoice, ImageSelection, survey_dataset
from ...featurize import FeaturizeSettings
from .plan import DescribingEstimate, estimate_describing
from .protocols import ProtocolCheck, check_protocols, recommended, unfoldable
from .stains import StainSurvey, doubt_findings, survey_stains
from .views import ViewFit, fit_views, fitted, measured, too_small


@dataclass(frozen=True)
class Preflight:
    """The result of a pre-flight, which text, JSON and the page show.

    Attributes
    ----------
    dataset : Dataset
        With micrometres per pixel from the headers.
    survey : DatasetSurvey
    sizes : mapping of str to (int, int)
        Image ID to width and height in pixels; images without a readable header are left out.
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
        Estimate for the planned settings; None if no image can be used.
    untrainable : str
        The reason why nothing can be trained; empty if something can.
    findings : tuple of Finding
        Those of the survey, then those on labels, folds and stains.
    """

    dataset: Dataset
    survey: DatasetSurvey
    sizes: Mapping[str, tuple[int, int]]
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
        return too_small(self.planned_views)

    @property
    def skips(self) -> bool:
        """Whether images must be left out for the others to be used."""
        return bool(self.survey.broken or self.left_out)

    def groups(self) -> dict[str, Counter[str]]:
        """Return the number of images of each class in each known group, the largest group first."""
        counts: dict[str, Counter[str]] = {}
        for record in self.dataset.records:
            if record.group is not None:
                counts.setdefault(record.group, Counter())[record.label or ""] += 1
        return dict(sorted(counts.items(), key=lambda item: (-item[1].total(), item[0])))

    def distinct_sizes(self) -> list[tuple[tuple[int, int], int]]:
        """Return each size (width, height in pixels) with its number of images, the most frequent first."""
        return sorted(Counter(self.sizes.values()).items(), key=lambda item: (-item[1], item[0]))


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
    requested, work = settings or FeaturizeSettings(), work or Work()
    dataset = ImageSelection.of(images).table()
    survey = survey_dataset(dataset, decode=decode, copies=copies)
    dataset, sizes = measured(dataset, survey.headers)
    usable = {image: size for image, size in sizes.items() if image not in survey.broken}
    planned, fits = fitted(dataset, usable, requested, keep=keep)
    left_out = survey.broken.union((image for image, _ in survey.repeated), too_small(fits))
    once = replace(dataset, records=tuple(image for image in dataset.records if image.image_id not in left_out))
    protocols = check_protocols(once, folds or FoldChoice(), copies=survey.copies or (), seed=requested.seed)
    untrainable = dataset.untrainable or unfoldable(dataset, protocols)
    stains, root = survey_stains(once.records, planned), str(dataset.root)
    hindrance = [Finding("warning", root, untrainable)] if untrainable else []
    return Preflight(
        dataset=dataset,
        survey=survey,
        sizes=sizes,
        requested=requested,
        planned=planned,
        views=fit_views(dataset, usable, requested),
        planned_views=fits,
        stains=stains,
        protocols=tuple(protocols),
        protocol=recommended(protocols),
        estimate=estimate_describing(once.records, usable, planned, work, timed=timed) if fits else None,
        untrainable=untrainable,
        findings=(*survey.findings, *hindrance, *doubt_findings(stains, root)),
    )
