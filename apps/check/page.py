"""Writes a pre-flight as an HTML page with images before and after stain normalisation."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ...core import ImageError, PathInput, TissueError, converted, counted, few, public
from ...core.jobs import Progress, refuse_overwriting, write_rows
from ...data import SYNTHETIC_BANNER, ImageRecord, decode_record, resize_image
from ...evaluate.report import Block, Figure, Section, thumbnail, write_page
from ...stains import Normalizer, make_normalizer
from .run import Preflight
from .text import Say, grouped_findings
from .views import shown_factor

_SIDE, _GAP = 320, 6
"""Longest side of a picture, and the gap between it and the picture below, in pixels."""

Pixels = npt.NDArray[np.uint8]


def choose_records(records: Sequence[ImageRecord], *, most: int) -> list[ImageRecord]:
    """Choose up to `most` images from as many different patients as possible; the choice is deterministic.

    Parameters
    ----------
    records : sequence of ImageRecord
        Images of one class.
    most : int
    """
    by_group: dict[str, list[ImageRecord]] = {}
    for record in sorted(records, key=lambda member: member.image_id):
        by_group.setdefault(record.group or record.image_id, []).append(record)
    firsts = [members[0] for members in by_group.values()]
    if len(firsts) >= most:
        return [firsts[number * len(firsts) // most] for number in range(most)]
    turns = itertools.zip_longest(*by_group.values())  # one of each patient, then a second of each
    chosen = [record for turn in turns for record in turn if record is not None]
    return sorted(chosen[:most], key=lambda member: member.image_id)


def draw(record: ImageRecord, normalizer: Normalizer | None, *, scale: float) -> tuple[str, str] | None:
    """Return an image, and below it the image with its stain normalised, as a data URI and a caption.

    Parameters
    ----------
    record : ImageRecord
    normalizer : Normalizer or None
        None for the image only.
    scale : float
        Factor of both sides at which the stain is normalised.

    Returns
    -------
    (str, str), or None
        None if the image cannot be decoded.
    """
    try:
        image = decode_record(record)
    except ImageError:
        return None
    above, caption = _small(image), "the image, as it is"
    if normalizer is not None:
        before = resize_image(image, scale)
        try:
            after, _ = normalizer.normalize_with_estimate(before)
        except TissueError:
            caption = "too little tissue to normalise its stain"
        else:
            above, caption = _small(before), "the image, and beneath it with its stain normalised"
            above = np.concatenate([above, np.full((_GAP, above.shape[1], 3), 255, np.uint8), _small(after)])
    return thumbnail(above, side=max(above.shape)), caption


def _small(image: Pixels) -> Pixels:
    """Resize an image so that its longest side is that of a thumbnail; small patches are enlarged."""
    height, width = image.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), dtype=np.uint8)


_MOST_FINDINGS = 100
"""Largest number of findings that a page lists, errors first."""

_MOST_FILES = 6
"""Largest number of files that a page names for one finding."""

_MOST = 5
"""Largest number of pictures of a class, and of images with doubtful stains: one row of the page."""

_MOST_CLASSES = 12
"""Largest number of classes that are shown, in class order."""


def write_preflight(path: PathInput, result: Preflight, *, commands: Sequence[str], say: Say = str) -> list[Path]:
    """Write the findings of a pre-flight as one HTML page, with a contact sheet of each class.

    Parameters
    ----------
    path : path
        The HTML file. It contains no folders of this machine and no patients, and image names only in findings.
        ``<name>-pictures.csv`` next to it lists the images of the contact sheet.
    result : Preflight
    commands : sequence of str
        Commands to run next.
    say : callable
        Writes a message of the library with the caller's names of options.

    Returns
    -------
    list of Path
        The files that were written.
    """
    path = converted(path, "path", Path)
    key = path.with_name(f"{path.stem}-pictures.csv")
    root = result.dataset.root
    refuse_overwriting([path, key], (root, *(record.path for record in result.dataset.records)), name="html")
    shown: list[ImageRecord] = []
    contact = list(_contact_sheet(result, shown))
    write_page(
        path,
        title=f"Data check: {root.name or result.dataset.name}",
        banners=[SYNTHETIC_BANNER] if result.dataset.synthetic else [],
        sections=[
            Section("What to run next", list(_next(result, commands))),
            Section("Findings", list(_findings(result, say))),
            Section("Contact sheet", contact),
        ],
        renamed=_without_folders(root),
    )
    if not shown:
        return [path]
    rows = [(number, record.image_id, record.label or "") for number, record in enumerate(shown, start=1)]
    write_rows(key, ("picture", "image_id", "label"), rows)
    return [path, key]


def _without_folders(root: Path) -> dict[str, str]:
    """Return replacements of paths for the page, so that it shows only paths relative to the dataset or manifest."""
    renamed = {}
    for path in (root, root.resolve()):
        renamed[str(path)] = path.name
        folder = path.parent if path.is_file() else path
        if len(folder.parts) > 1:  # the name of a single folder could be any word of the page
            renamed[f"{folder}/"] = ""
    return renamed


def _next(result: Preflight, commands: Sequence[str]) -> Iterator[Block]:
    if result.refused:
        what = "this error" if len(result.refused) == 1 else f"these {len(result.refused)} errors"
        yield Block(note=f"First correct {what}: until then, other commands refuse the dataset.")
    yield Block(items=commands)


def _findings(result: Preflight, say: Say) -> Iterator[Block]:
    ranked = grouped_findings(result)
    for level, message, names in ranked[:_MOST_FINDINGS]:
        yield Block(lead=f"{level.capitalize()}, {few(names, most=_MOST_FILES)}:", text=say(public(message)))
    if not ranked:
        yield Block(text="Nothing was found that does not fit the layout.")
    elif (further := len(ranked) - _MOST_FINDINGS) > 0:
        yield Block(note=f"And {further:,} further ones, which `bchisto data check` prints.")


def _contact_sheet(result: Preflight, shown: list[ImageRecord]) -> Iterator[Block]:
    """Yield pictures of each class and of images with doubtful stains, and append their images to `shown`."""
    planned, doubtful = result.planned, {} if result.stains is None else result.stains.doubtful
    totals = Counter(record.label or "no label" for record in result.dataset.records)
    sound = [record for record in result.dataset.records if record.image_id not in result.survey.broken]
    classes = [name for name in (*result.dataset.classes, "no label") if totals[name]]
    rows: list[tuple[str | None, ImageRecord]] = [
        (name, record)
        for name in classes[:_MOST_CLASSES]
        for record in choose_records([of for of in sound if (of.label or "no label") == name], most=_MOST)
    ]
    rows += [(None, record) for record in sound if record.image_id in doubtful][:_MOST]
    normalizer = None if planned.stain == "none" else make_normalizer(planned.stain)
    if normalizer is not None and rows:
        yield Block(
            text=f"Above, each image as it is; below, as featurize would normalise it (stain {planned.stain}): stains "
            "that differ above should be alike beneath, and nothing else should change."
        )
    figures: dict[str | None, list[Figure]] = {}
    with Progress(total=len(rows), label="drawing images", unit="images") as progress:
        for done, (name, record) in enumerate(rows, start=1):
            picture = draw(record, normalizer, scale=min(1.0, shown_factor(planned.views[0], record)))
            progress.update_to(done)
            if picture is not None:
                shown.append(record)
                source, about = picture
                about = about if name is not None else "; ".join(doubtful[record.image_id])
                text = f"Image {len(shown)}, {record.label or 'no label'}: {about}"
                figures.setdefault(name, []).append(Figure(source, text, text))
    for name, pictures in figures.items():
        of = f"{name}: {len(pictures)} of {counted(totals[name], result.image_is)}" if name is not None else ""
        yield Block(heading=of or "Stains in doubt", pictures=pictures)
    if len(classes) > _MOST_CLASSES:
        yield Block(note=f"{counted(len(classes) - _MOST_CLASSES, 'further class')} without images here.")
