"""Restain image files, and write them as PNG with a before/after sheet (``bchisto stain``)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
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
    files = _files(converted(sources, "sources", tuple[Path, ...]))
    normalizer = make_normalizer(stain)
    refuse_overwriting(
        [folder / name for name in (*(f"{path.stem}.png" for path in files), *_TABLES)], files
    )
    ensure_folder(folder)
    failures = []
    restained = _Restained(folder, StainNotes(stain))
    records = [ImageRecord(image_id=path.name, path=path, label=None) for path in files]
    report_findings(header_findings(with_headers(records)))
    with Progress(total=len(files), label="treating stains", unit="images") as progress:
        for number, path in enumerate(files, start=1):
            try:
                before = decode_image(path)
                after, estimate = normalizer.normalize_with_estimate(before)
            except ImageError as error:
                message = message_of(error)
                if str(path) not in message:
                    message = Message("{}: {}", path, message)
                if not skip_errors:
                    raise type(error)(message) from error
                _log.warning("left out: %s", message)
                failures.append((str(path), message))
                continue
            if get_stain(stain).checked:
                restained.check(path, before, after, estimate)
            if (hematoxylin, eosin) != (1.0, 1.0):
                after = augment_he(after, hematoxylin=hematoxylin, eosin=eosin)
            restained.save(path, before, after)
            progress.update_to(number)
    if not restained.written:
        raise InputError(none_usable([reason for _, reason in failures]))
    restained.write_table()
    if failures:
        write_rows(folder / _TABLES[1], ["path", "error"], failures)
    sheet = folder / _TABLES[2]
    _save(sheet, np.concatenate(restained.pairs))
    return RestainResult(tuple(restained.written), sheet, tuple(failures))


@dataclass(frozen=True)
class _Restained:
    """Images that were restained, with the rows of their table, and the pairs of the sheet before and after."""

    folder: Path
    notes: StainNotes
    written: list[Path] = field(default_factory=list)
    rows: list[list[object]] = field(default_factory=list)
    pairs: list[RgbImage] = field(default_factory=list)

    def check(
        self,
        path: Path,
        before: RgbImage,
        after: RgbImage,
        estimate: StainEstimate | None,
    ) -> None:
        """Check the stains of an image, and note them for the table."""
        check = check_stains(before, after, estimate)
        self.notes.add(path.name, check)
        if estimate is not None:
            numbers = (*estimate.stains.T.ravel(), estimate.tissue, estimate.residual)
            numbers += (check.whitened, check.basis, check.foreign)
            rounded = [round(float(value), 4) for value in numbers]
            self.rows.append([path.name, *rounded, "; ".join(check.reasons)])

    def save(self, path: Path, before: RgbImage, after: RgbImage) -> None:
        """Write an image, and keep it for the sheet."""
        target = self.folder / f"{path.stem}.png"
        _save(target, after)
        self.written.append(target)
        if is_blank(before):
            report_findings(pixel_findings({}, [path.name], {}))
        if len(self.pairs) < _SHEET_ROWS:
            self.pairs.append(np.concatenate([_shrink(before), _shrink(after)], axis=1))

    def write_table(self) -> None:
        """Warn of stains in doubt, and write ``stains.csv``."""
        self.notes.warn(len(self.written))
        channels = [
            f"{name}_{channel}"
            for name in ("hematoxylin", "eosin")
            for channel in ("red", "green", "blue")
        ]
        columns = ["tissue", "residual", "whitened", "basis", "foreign", "doubt"]
        write_rows(self.folder / _TABLES[0], ["image", *channels, *columns], self.rows)


def _files(sources: Sequence[Path]) -> list[Path]:
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
