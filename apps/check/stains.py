"""Checks the planned stain normalisation on a sample of the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...core import ImageError, Message, TissueError
from ...core.jobs import Progress, in_threads
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


def survey_stains(records: Sequence[ImageRecord], settings: FeaturizeSettings) -> StainSurvey | None:
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
    if settings.stain not in CHECKED:
        return None
    normalizer = make_normalizer(settings.stain)
    count = min(_MOST_CHECKED, len(records))
    sample = [records[index * len(records) // count] for index in range(count)]

    def check(record: ImageRecord) -> tuple[tuple[str, ...], float] | None:
        """Return reasons for doubt, and the share of pixels that are not tissue; None if it cannot be decoded."""
        try:
            image = decode_record(record)
            factors = dict.fromkeys(shown_factor(view, record) for view in settings.views)
            scaled = [resize_image(image, factor) for factor in factors]
            if any(map(is_grey, scaled)):
                return (GREY_PICTURE,), 0.0
            checks = [check_stains(before, *normalizer.normalize_with_estimate(before)) for before in scaled]
        except TissueError:
            return (_TOO_LITTLE,), 0.0
        except ImageError:
            return None
        reasons = dict.fromkeys(reason for check in checks for reason in check.reasons)
        return tuple(reasons), max(check.foreign for check in checks)

    checked: dict[str, tuple[tuple[str, ...], float]] = {}
    with Progress(total=count, label="checking stains", unit="images") as progress:
        for done, (record, result) in enumerate(zip(sample, in_threads(check, sample), strict=True), start=1):
            if result is not None:
                checked[record.image_id] = result
            progress.update_to(done)
    skipped = tuple(image for image, (reasons, _) in checked.items() if reasons == (_TOO_LITTLE,))
    doubtful = {image: reasons for image, (reasons, _) in checked.items() if reasons and image not in skipped}
    foreign = {image: share for image, (_, share) in checked.items() if share}
    return StainSurvey(settings.stain, len(checked), skipped, doubtful, foreign)


def doubt_findings(survey: StainSurvey | None, root: str) -> list[Finding]:
    """Return a finding with causes and remedies if a tenth of the images or more are doubtful.

    It is a warning, but a note if only pale tissue is the cause in most of them, in fewer than half of the images.
    """
    if survey is None or len(survey.doubtful) < max(1, _MANY * survey.checked):
        return []
    causes = doubt_causes(survey.doubtful.values(), stain=survey.stain)
    pale = causes.get(PALE, (0, ""))[0]
    mild = len(survey.doubtful) - pale < _MANY * survey.checked and 2 * pale < survey.checked
    parts = [Message("{} ({}): {}", cause, count, remedy) for cause, (count, remedy) in causes.items()]
    text = "{stain:{}} gives doubtful stains in {} of {} images. " + "; ".join(["{}"] * len(parts))
    message = Message(text, survey.stain, len(survey.doubtful), survey.checked, *parts)
    return [Finding("note" if mild else "warning", root, message)]
