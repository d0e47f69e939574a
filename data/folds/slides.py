"""Published fold lists of whole slides, BreakHis and IDC, and the split that CBIS-DDSM writes into its names."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from importlib import resources
from pathlib import PurePosixPath

from ...errors import InputError
from ..layouts import BREAKHIS_NAME, CBIS_NAME, IDC_NAME
from .plans import FoldPlan

SLIDE_FOLDS = {
    "official": "breakhis_official.csv",
    "official-corrected": "breakhis_official.csv",
    "idc-published": "idc_published.csv",
}
"""Lists of slides that ship with the package. ``official-corrected`` takes a patient who tests in a fold out of its
training part."""


def fit_slides(spec: str, group_of: dict[str, str | None]) -> FoldPlan:
    """Bring a published list of slides to these images.

    Parameters
    ----------
    spec : str
        Of `SLIDE_FOLDS`.
    group_of : dict
        Image id to its patient or slide.

    Returns
    -------
    FoldPlan
        Images of slides in no list are left out; they are counted and named in its warnings.

    Raises
    ------
    InputError
        No image of a listed slide.
    """
    if spec == "official" and group_of and all(map(CBIS_NAME.fullmatch, group_of)):
        return _fit_cbis(group_of)
    source = resources.files(__package__) / "published" / SLIDE_FOLDS[spec]
    lines = source.read_text(encoding="utf-8").splitlines()
    listed = [(row["slide"], int(row["fold"]), row["part"]) for row in csv.DictReader(lines)]
    slides = {image: _slide(image) for image in group_of}
    by_slide: dict[str, list[str]] = {}
    for image, slide in slides.items():
        by_slide.setdefault(slide or "", []).append(image)
    rows = [(image, fold, part) for slide, fold, part in listed for image in by_slide.get(slide, [])]
    if not rows:
        name = "IDC" if spec.startswith("idc") else "BreakHis and CBIS-DDSM" if spec == "official" else "BreakHis"
        raise InputError(f"`spec` {spec}: none of its slides is here; it is for the images of {name}")
    known = {slide for slide, _, _ in listed}
    warnings = []
    strange = sorted(slide for slide in by_slide if slide not in known)
    if strange:
        count = sum(len(by_slide[slide]) for slide in strange)
        names = ", ".join(strange[:5]) + (" ..." if len(strange) > 5 else "")
        warnings.append(f"{count} images of {len(strange)} slides in no published list are left out ({names})")
    missing = len(known - set(by_slide))
    if missing:
        warnings.append(f"{len(known) - missing} of the {len(known)} published slides are here")
    if spec == "official-corrected":
        tested = {(group_of[image], fold) for image, fold, part in rows if part == "test"}
        rows = [row for row in rows if row[2] == "test" or (group_of[row[0]], row[1]) not in tested]
    return FoldPlan(spec, tuple(rows), partition=False, warnings=tuple(warnings), origin="published", source=spec)


def _fit_cbis(images: Iterable[str]) -> FoldPlan:
    rows = []
    for image in images:
        match = CBIS_NAME.fullmatch(image)
        if match is not None:
            rows.append((image, 1, "test" if match[2] == "Test" else "train"))
    if {part for _, _, part in rows} != {"train", "test"}:
        missing = "test" if all(part == "train" for _, _, part in rows) else "training"
        raise InputError(
            f'`spec="official"`: no image of the {missing} part of CBIS-DDSM is here; copy it, or split anew'
        )
    return FoldPlan("official", tuple(rows), partition=False, origin="published", source="official")


def _slide(image: str) -> str | None:
    """Return the slide that an official file name of BreakHis or IDC carries."""
    name = PurePosixPath(image).name
    if match := BREAKHIS_NAME.fullmatch(name):
        return f"{match[2]}-{match[3]}-{match[4]}"
    if match := IDC_NAME.fullmatch(name):
        return match[1]
    return None
