"""Restain image files, and write them as PNG with a before/after sheet (``bchisto stain``)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...core import (
    NOT_UTF_8,
    ImageError,
    InputError,
    Many,
    Message,
    MissingInputError,
    Pairs,
    PathInput,
    converted,
    message_of,
    none_usable,
    readable_name,
)
from ...core.formats import decode_image
from ...core.jobs import Progress, atomic_output, ensure_folder, refuse_overwriting, write_rows
from ...stains import (
    StainEstimate,
    StainNotes,
    augment_he,
    check_stains,
    get_stain,
    make_normalizer,
)
from ..dataset import ImageRecord
from ..findings import Finding, report_findings
from ..walk import list_images
from .content import is_blank, pixel_findings
from .decode import RgbImage, header_findings, with_headers

_log = logging.getLogger(__name__)
_SHEET_SIDE = 320
_SHEET_ROWS = 24
"""Side of an image in the sheet in pixels, and the largest number of rows of the sheet."""

_TABLES = ("stains.csv", "failures.csv", "before-after.png")
"""Files that are written in addition to the images."""


_COLUMNS = (
    "image",
    "hematoxylin_red",
    "hematoxylin_green",
    "hematoxylin_blue",
    "eosin_red",
    "eosin_green",
    "eosin_blue",
    "tissue",
    "residual",
    "whitened",
    "basis",
    "foreign",
    "doubt",
)
"""Columns of ``stains.csv``."""


class RestainResult(NamedTuple):
    """Results of `stain_images`.

    Attributes
    ----------
    written : tuple of Path
        The images that were written.
    sheet : Path
        The sheet of images before and after.
    failures : tuple of (str, str)
        File and message of each image that failed.
    """

    written: tuple[Path, ...]
    sheet: Path
    failures: Pairs


def stain_images(
    sources: Many[PathInput],
    *,
    out: PathInput,
    stain: str = "macenko",
    hematoxylin: float = 1.0,
    eosin: float = 1.0,
    skip_errors: bool = False,
) -> RestainResult:
    """Normalise images, optionally scale their stains, and write them as PNG.

    Parameters
    ----------
    sources : sequence of path
        Image files, or folders of them.
    out : str or Path
        Folder for one PNG per image, ``stains.csv`` (stain vectors, tissue, residual and reasons for doubt, see
        `bchisto.stains.check_stains`) and ``before-after.png``.
    stain : str
        One of `bchisto.stains.STAIN_METHODS`.
    hematoxylin, eosin : float
        Factors of the stain concentrations; with 1 they are not changed after normalisation.
    skip_errors : bool
        Leave out images that cannot be used, instead of raising an error.

    Returns
    -------
    RestainResult

    Raises
    ------
    InputError
        There are no images, two have the same name, the method is unknown, a factor is not positive, or an image would
        be overwritten.
    ImageError
        An image cannot be decoded or has too little tissue; the images before it were written.
    """
    folder = converted(out, "out", Path)
    if min(hematoxylin, eosin) <= 0:
        raise InputError(Message("{hematoxylin} and {eosin}: give positive factors"))
    normalizer = make_normalizer(stain)
    files = _files(converted(sources, "sources", tuple[Path, ...]), folder)
    failures = []
    notes = StainNotes(stain)
    written = []
    rows = []
    pairs: list[RgbImage] = []  # before and after
    records = [ImageRecord(path.name, path, None) for path in files]
    report_findings(header_findings(with_headers(records)))
    with Progress(total=len(files), label="treating stains", unit="images") as progress:
        for number, path in enumerate(files, start=1):
            try:
                before = decode_image(path)
                after, estimate = normalizer.normalize_with_estimate(before)
            except ImageError as error:
                failures.append(_left_out(path, error, skip_errors=skip_errors))
                continue
            if get_stain(stain).checked:
                rows.append(_row(path, before, after, estimate, notes))
            if (hematoxylin, eosin) != (1.0, 1.0):
                after = augment_he(after, hematoxylin=hematoxylin, eosin=eosin)
            written.append(folder / f"{path.stem}.png")
            _save(written[-1], after)
            if is_blank(before):
                report_findings(pixel_findings({}, [path.name], {}))
            if len(pairs) < _SHEET_ROWS:
                pairs.append(np.concatenate([_shrink(before), _shrink(after)], axis=1))
            progress.update_to(number)
    if not written:
        raise InputError(none_usable([reason for _, reason in failures]))
    notes.warn(len(written))
    write_rows(folder / _TABLES[0], _COLUMNS, filter(None, rows))
    if failures:
        write_rows(folder / _TABLES[1], ["path", "error"], failures)
    sheet = folder / _TABLES[2]
    _save(sheet, np.concatenate(pairs))
    return RestainResult(tuple(written), sheet, tuple(failures))


def _row(
    path: Path,
    before: RgbImage,
    after: RgbImage,
    estimate: StainEstimate | None,
    notes: StainNotes,
) -> list[object]:
    """Check the stains of an image, note them, and return its row of ``stains.csv``; empty without an estimate."""
    check = check_stains(before, after, estimate)
    notes.add(path.name, check)
    if estimate is None:
        return []
    numbers = (*estimate.stains.T.ravel(), estimate.tissue, estimate.residual)
    numbers += (check.whitened, check.basis, check.foreign)
    rounded = [round(float(value), 4) for value in numbers]
    return [path.name, *rounded, "; ".join(check.reasons)]


def _left_out(path: Path, error: ImageError, *, skip_errors: bool) -> tuple[str, str]:
    """Return an image that failed, and why; raise the error, with the path of the image, unless such are left out."""
    message = message_of(error)
    if str(path) not in message:
        message = Message("{}: {}", path, message)
    if not skip_errors:
        raise type(error)(message) from error
    _log.warning("left out: %s", message)
    return str(path), message


def _files(sources: Sequence[Path], folder: Path) -> list[Path]:
    """Return the images of files and folders; refuse those that cannot be written into the new folder."""
    files: dict[Path, None] = {}
    for source in sources:
        if source.is_dir():
            findings: list[Finding] = []
            files |= dict.fromkeys(list_images(source, findings).values())
            report_findings(findings)
        elif source.exists():
            files[source] = None
        else:
            raise MissingInputError(f"{source}: no such image or folder")
    stems: dict[str, Path] = {}
    for path in files:
        if readable_name(str(path)) != str(path):
            raise InputError(f"{readable_name(str(path))}: {NOT_UTF_8}")
        if f"{path.stem}.png" == _TABLES[2]:
            raise InputError(f"{path}: has the name of the contact sheet, {_TABLES[2]}; rename it")
        if stems.setdefault(path.stem, path) != path:
            raise InputError(
                f"{path} and {stems[path.stem]}: both would be written as {path.stem}.png; rename one"
            )
    names = (*(f"{stem}.png" for stem in stems), *_TABLES)
    refuse_overwriting([folder / name for name in names], files)
    ensure_folder(folder)
    return list(files)


def _shrink(image: RgbImage) -> RgbImage:
    """Fit an image into a white square."""
    from PIL import Image, ImageOps

    small = ImageOps.pad(Image.fromarray(image), (_SHEET_SIDE, _SHEET_SIDE), color="white")
    return np.asarray(ImageOps.expand(small, 2, "white"))


def _save(path: Path, image: RgbImage) -> None:
    from PIL import Image

    with atomic_output(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG", compress_level=1)
