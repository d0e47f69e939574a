"""Which images the planned stain normalisation would not suit: counted on a sample before the first is described."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..core import DependencyError, ImageError, TissueError, counted
from ..data import ImageRecord, decode_record, resize_image
from ..featurize import FeaturizeSettings
from ..jobs import Progress, default_jobs
from ..report import Block
from ..stains import CHECKED, check_stains, make_normalizer, stain_notes
from .views import shown_factor

_TOO_LITTLE = "too little tissue"

_MOST_CHECKED = 100
"""Images that are normalised to see: some 20 seconds of a core for images of BACH."""


@dataclass(frozen=True)
class StainSurvey:
    """What the planned normalisation makes of a sample of the images.

    Attributes
    ----------
    stain : str
        The method.
    checked : int
        Images of the sample that could be decoded.
    skipped : tuple of str
        Ids of those with too little tissue.
    doubtful : dict of str to tuple of str
        Ids of those whose normalised stains are in doubt, each with why.
    """

    stain: str
    checked: int
    skipped: tuple[str, ...]
    doubtful: dict[str, tuple[str, ...]]


def survey_stains(records: Sequence[ImageRecord], *, settings: FeaturizeSettings) -> StainSurvey | None:
    """Normalise a sample of images, taken evenly, at the scales of the views, and check what comes of it.

    Parameters
    ----------
    records : sequence of ImageRecord
    settings : FeaturizeSettings
        Stain and views.

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

    def check(record: ImageRecord) -> tuple[str, ...] | None:
        try:
            image = decode_record(record)
        except ImageError:
            return None
        reasons: dict[str, None] = {}
        for scale in dict.fromkeys(shown_factor(view, record) for view in settings.views):
            before = resize_image(image, scale)
            try:
                after, estimate = normalizer.normalize_with_estimate(before)
            except TissueError:
                return (_TOO_LITTLE,)
            reasons |= dict.fromkeys(check_stains(before, after, estimate).reasons)
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
    return StainSurvey(settings.stain, len(reasons_of), skipped, doubtful)


def stain_blocks(survey: StainSurvey | None, *, images: int, image_is: str) -> Iterator[Block]:
    """Say how many images the planned normalisation does not suit; images are named only in notes of the survey."""
    if survey is None or not survey.checked:
        return
    of = "" if survey.checked == images else f", a sample of {images:,}"
    yield Block(text=f"{counted(survey.checked, image_is)} checked{of}, with the stain method {survey.stain}.")
    notes = stain_notes(survey.skipped, survey.doubtful, images=survey.checked, stain=survey.stain)
    for note in notes:
        yield Block(note=f"{note}.")
