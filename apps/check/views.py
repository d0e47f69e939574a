"""Finds views that fit the images, and checks the planned stain normalisation on a sample of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from ...core import DependencyError, ImageError, Message, TissueError
from ...core.jobs import Progress, in_threads
from ...data import Finding, ImageRecord, decode_record, resize_image, scaled_side
from ...encoders import EncoderChoice, encoder_facts
from ...featurize import FeaturizeSettings, View
from ...stains import CHECKED, GREY_PICTURE, PALE, check_stains, doubt_causes, is_grey, make_normalizer

_SHARES = (400 / 768, 650 / 768)
"""Side of a crop divided by the short side of the image, for the published views of an image of BACH."""

_SCALES = (0.5, 1.0)
"""Scales to try, the published one first. A scale above 1 would cost time without showing more."""

_WANTED = 128
"""Side in pixels that the smaller crop should at least have, since networks were trained on images of 224 pixels."""

_SMALLEST = 32
"""Side in pixels of the smallest possible crop."""

_ODD_ONES = 0.05
"""Fraction of images that may be left out so that two views fit the others; otherwise one view is used."""

NO_SCALE = "needs micrometres per pixel, which are not known"
"""Problem of a view in micrometres, if the scale of an image is unknown."""

Sizes = Mapping[str, tuple[int, int]]
"""Image id to width and height."""

Scales = Mapping[str, float | None]
"""Image id to micrometres per pixel."""


@dataclass(frozen=True)
class ViewFit:
    """How a view fits the images.

    Attributes
    ----------
    view : View
    fits : int
        Number of images that are large enough at its scale.
    too_small : tuple of str
        Ids of the other images.
    single : float or None
        Fraction of the area of an image of median size that one crop sees. None if no image is large enough.
    problem : str
        The reason why it cannot be used at all; empty if it can.
    """

    view: View
    fits: int
    too_small: tuple[str, ...]
    single: float | None
    problem: str = ""

    @property
    def whole(self) -> bool:
        """Whether it can be used with all images."""
        return not self.too_small and not self.problem


@dataclass(frozen=True)
class PlannedViews:
    """Views that fit the images.

    Attributes
    ----------
    views : tuple of View
    left_out : int
        Number of images that are too small even for these.
    """

    views: tuple[View, ...]
    left_out: int


def fit_views(sizes: Sizes, *, settings: FeaturizeSettings, mpp: Scales = MappingProxyType({})) -> list[ViewFit]:
    """Return for each view how many images it fits, and the fraction of an image that a crop sees.

    Parameters
    ----------
    sizes : mapping of str to (int, int)
        Image id to width and height in pixels.
    settings : FeaturizeSettings
        Its views and encoders are used.
    mpp : mapping of str to float or None
        Image id to micrometres per pixel, which views in micrometres need.
    """
    return [_fit(view, sizes, settings, mpp) for view in settings.views]


def _fit(view: View, sizes: Sizes, settings: FeaturizeSettings, mpp: Scales) -> ViewFit:
    large: list[tuple[int, int]] = []
    small: list[str] = []
    if view.unit and any(mpp.get(image) is None for image in sizes):
        return ViewFit(view, 0, (), None, NO_SCALE)
    for image, (width, height) in sizes.items():
        across, down = (scaled_side(side, view.factor(mpp.get(image))) for side in (width, height))
        if min(across, down) < view.crop:
            small.append(image)
        else:
            large.append((across, down))
    least = {choice.name: encoder_facts(choice).least for choice in settings.encoders}
    problems = [f"{name} takes no crop under {side} pixels" for name, side in least.items() if side > view.crop]
    share = None
    if large:
        width, height = sorted(large, key=lambda size: (size[0] * size[1], size))[len(large) // 2]
        share = view.crop**2 / (width * height)
    return ViewFit(view, len(large), tuple(sorted(small)), share, next(iter(problems), ""))


def shown_factor(view: View, record: ImageRecord) -> float:
    """Return the factor by which a view resizes an image; 1 if it depends on micrometres per pixel that are unknown."""
    return 1.0 if view.unit and record.mpp is None else view.factor(record.mpp)


def unscaled(records: Iterable[ImageRecord], views: Sequence[View]) -> str | None:
    """Return a message on the first image without micrometres per pixel, if a view needs them; else None."""
    lacking = (record for record in records if record.mpp is None)
    view = next((view for view in views if view.unit), None)
    return next((view.misfit(record, width=1, height=1) for record in lacking), None) if view else None


def fitting_views(
    sizes: Sizes, *, settings: FeaturizeSettings, mpp: Scales = MappingProxyType({})
) -> PlannedViews | None:
    """Return the views unchanged if they fit all images, else two views that fit the smallest image.

    Views in micrometres keep their scale, and get the largest crop that fits all images.

    Parameters
    ----------
    sizes : mapping of str to (int, int)
    settings : FeaturizeSettings
    mpp : mapping of str to float or None
        As in `fit_views`.

    Returns
    -------
    PlannedViews or None
        None if the images are too small for any view. If only the smallest images are too small, a few percent of the
        images are left out.
    """
    if not sizes:
        return None
    if all(fit.whole for fit in fit_views(sizes, settings=settings, mpp=mpp)):
        return PlannedViews(settings.views, 0)
    least = max(_SMALLEST, *(encoder_facts(choice).least for choice in settings.encoders))
    if any(view.unit for view in settings.views):
        return _largest_fields(sizes, settings, mpp, least)
    short = sorted(min(size) for size in sizes.values())
    for views_wanted, most_left in ((2, _ODD_ONES * len(short)), (1, len(short))):
        for left, side in enumerate(short):
            if left and short[left - 1] == side:
                continue
            if left > most_left:
                break
            if len(views := _made_for(side, least=least)) >= views_wanted:
                fits = fit_views(sizes, settings=replace(settings, views=views))
                return PlannedViews(views, len({image for fit in fits for image in fit.too_small}))
    return None


def _largest_fields(sizes: Sizes, settings: FeaturizeSettings, mpp: Scales, least: int) -> PlannedViews | None:
    if any(mpp.get(image) is None for image in sizes):
        return None
    views = []
    for view in settings.views:
        short = min(scaled_side(min(size), view.factor(mpp[image])) for image, size in sizes.items())
        views.append(replace(view, crop=min(view.crop, short)))
    return PlannedViews(tuple(dict.fromkeys(views)), 0) if all(view.crop >= least for view in views) else None


def encoders_for_small(settings: FeaturizeSettings) -> FeaturizeSettings:
    """Return the settings with only the encoders that accept the smallest crops; with MobileNetV2 if none does."""
    small = tuple(choice for choice in settings.encoders if encoder_facts(choice).least <= _SMALLEST)
    return replace(settings, encoders=small or (EncoderChoice("mobilenetv2"),))


def _made_for(side: int, *, least: int) -> tuple[View, ...]:
    """Return views with the published fractions of a short side, at the first scale with crops of sufficient size."""

    def crops(scale: float) -> list[int]:
        return [int(share * scaled_side(side, scale)) // 10 * 10 for share in _SHARES]

    scale = next((candidate for candidate in _SCALES if crops(candidate)[0] >= _WANTED), _SCALES[-1])
    sides = [crop for crop in dict.fromkeys(crops(scale)) if crop >= least]
    return tuple(View(scale, crop) for crop in sides)


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
        Ids of images with too little tissue.
    doubtful : dict of str to tuple of str
        Ids of images whose normalised stains are doubtful, each with the reasons.
    foreign : dict of str to float
        Ids of images with pixels that are not tissue, and their share of the pixels, 0 to 1.
    """

    stain: str
    checked: int
    skipped: tuple[str, ...]
    doubtful: dict[str, tuple[str, ...]]
    foreign: Mapping[str, float] = field(default_factory=dict)


def survey_stains(records: Sequence[ImageRecord], *, settings: FeaturizeSettings) -> StainSurvey | None:
    """Normalise an evenly spaced sample of images, at the scales of the views, and check the result.

    Parameters
    ----------
    records : sequence of ImageRecord
    settings : FeaturizeSettings
        The stain method and the views.

    Returns
    -------
    StainSurvey or None
        None if the method normalises no stains, or its package is not installed.
    """
    if settings.stain not in CHECKED:
        return None
    try:
        normalizer = make_normalizer(settings.stain)
    except DependencyError:
        return None
    count = min(_MOST_CHECKED, len(records))
    sample = [records[index * len(records) // count] for index in range(count)]

    foreign: dict[str, float] = {}

    def check(record: ImageRecord) -> tuple[str, ...] | None:
        try:
            image = decode_record(record)
        except ImageError:
            return None
        reasons: dict[str, None] = {}
        for scale in dict.fromkeys(shown_factor(view, record) for view in settings.views):
            before = resize_image(image, scale)
            if is_grey(before):
                return (GREY_PICTURE,)
            try:
                after, estimate = normalizer.normalize_with_estimate(before)
            except TissueError:
                return (_TOO_LITTLE,)
            result = check_stains(before, after, estimate)
            reasons |= dict.fromkeys(result.reasons)
            if result.foreign:
                foreign[record.image_id] = max(result.foreign, foreign.get(record.image_id, 0.0))
        return tuple(reasons)

    reasons_of: dict[str, tuple[str, ...]] = {}
    with Progress(total=count, label="checking stains", unit="images") as progress:
        for done, (record, reasons) in enumerate(zip(sample, in_threads(check, sample), strict=True), start=1):
            if reasons is not None:
                reasons_of[record.image_id] = reasons
            progress.update_to(done)
    skipped = tuple(image for image, reasons in reasons_of.items() if reasons == (_TOO_LITTLE,))
    doubtful = {image: reasons for image, reasons in reasons_of.items() if reasons and image not in skipped}
    shares = {image: foreign[image] for image in reasons_of if image in foreign}
    return StainSurvey(settings.stain, len(reasons_of), skipped, doubtful, shares)


def doubt_finding(survey: StainSurvey | None, *, root: Path) -> Finding | None:
    """Return a finding with causes and remedies if a tenth of the images or more are doubtful, else None.

    It is a warning, but a note if only pale tissue is the cause in most of them, in fewer than half of the images.
    """
    if survey is None or len(survey.doubtful) < max(1, _MANY * survey.checked):
        return None
    causes = doubt_causes(survey.doubtful.values(), stain=survey.stain)
    pale = causes.get(PALE, (0, ""))[0]
    mild = len(survey.doubtful) - pale < _MANY * survey.checked and 2 * pale < survey.checked
    parts = [Message("{} ({}): {}", cause, count, remedy) for cause, (count, remedy) in causes.items()]
    text = "{stain:{}} gives doubtful stains in {} of {} images. " + "; ".join(["{}"] * len(parts))
    message = Message(text, survey.stain, len(survey.doubtful), survey.checked, *parts)
    return Finding("note" if mild else "warning", str(root), message)
