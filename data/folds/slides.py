"""Published fold lists of whole slides, BreakHis and IDC, and the split that CBIS-DDSM writes into its names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from ...errors import InputError
from ..csvtable import published_rows
from ..layouts.breakhis import BREAKHIS_NAME
from ..layouts.cbis_ddsm import CBIS_NAME
from ..layouts.idc import IDC_NAME
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
    cbis = {image: match[2] for image in group_of if (match := CBIS_NAME.fullmatch(image))}
    if spec == "official" and group_of and len(cbis) == len(group_of):
        return _fit_cbis(cbis)
    rows_of_slides = published_rows(__package__, SLIDE_FOLDS[spec])
    listed = [(row["slide"], int(row["fold"]), row["part"]) for row in rows_of_slides]
    by_slide: dict[str, list[str]] = {}
    for image in group_of:
        by_slide.setdefault(_slide(image), []).append(image)
    rows = [(image, fold, part) for slide, fold, part in listed for image in by_slide.get(slide, [])]
    if not rows:
        name = "IDC" if spec.startswith("idc") else "BreakHis and CBIS-DDSM" if spec == "official" else "BreakHis"
        raise InputError(f"`spec` {spec}: none of its slides is here; it is for the images of {name}")
    known = {slide for slide, _, _ in listed}
    warnings = []
    if strange := sorted(by_slide.keys() - known):
        count = sum(len(by_slide[slide]) for slide in strange)
        names = ", ".join(strange[:5]) + (" ..." if len(strange) > 5 else "")
        warnings.append(f"{count} images of {len(strange)} slides in no published list are left out ({names})")
    if known - by_slide.keys():
        warnings.append(f"{len(known & by_slide.keys())} of the {len(known)} published slides are here")
    if spec == "official-corrected":
        tested = {(group_of[image], fold) for image, fold, part in rows if part == "test"}
        rows = [row for row in rows if row[2] == "test" or (group_of[row[0]], row[1]) not in tested]
    return FoldPlan(spec, tuple(rows), partition=False, warnings=tuple(warnings), origin="published", source=spec)


def _fit_cbis(part_of: Mapping[str, str]) -> FoldPlan:
    if missing := {"Training", "Test"} - set(part_of.values()):
        raise InputError(
            f'`spec="official"`: no image of the {missing.pop().casefold()} part of CBIS-DDSM is here; copy it, or '
            "split anew"
        )
    rows = tuple((image, 1, "test" if part == "Test" else "train") for image, part in part_of.items())
    return FoldPlan("official", rows, partition=False, origin="published", source="official")


def _slide(image: str) -> str:
    """Return the slide that an official file name of BreakHis or IDC carries; empty for any other name."""
    name = PurePosixPath(image).name
    if match := BREAKHIS_NAME.fullmatch(name):
        return "-".join(match.group(2, 3, 4))
    return match[1] if (match := IDC_NAME.fullmatch(name)) else ""
