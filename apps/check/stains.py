"""Checks the planned stain normalisation on a sample of the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ...core import DependencyError, ImageError, Message, TissueError
from ...core.jobs import Progress, default_jobs
from ...data import Finding, ImageRecord, decode_record, resize_image
from ...featurize import FeaturizeSettings
from ...stains import CHECKED, GREY_PICTURE, PALE, check_stains, doubt_causes, is_grey, make_normalizer
from .views import shown_factor

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
    with (
        Progress(total=count, label="checking stains", unit="images") as progress,
        ThreadPoolExecutor(default_jobs()) as pool,
    ):
        for done, (record, reasons) in enumerate(zip(sample, pool.map(check, sample), strict=True), start=1):
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
