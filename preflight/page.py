"""Writes a pre-flight as text for a terminal, and as an HTML page."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..core import PathInput, aligned, as_path, counted, plural
from ..data import SYNTHETIC_BANNER
from ..jobs import Progress, refuse_overwriting, write_rows
from ..report import Block, Figure, Section, write_page
from .pictures import ContactPicture, chosen_of, contact_sheet
from .run import Preflight
from .sections import Say, findings_section, findings_text, next_section, preflight_sections, short_section

_DOUBTFUL_SHOWN = 5
"""Number of images with doubtful stains on the page."""

_GROUPS_SHOWN = 10
"""Number of patients that are listed on a terminal."""


def preflight_text(result: Preflight, *, say: Say = str) -> str:
    """Return the tables and findings of a pre-flight as text, without the commands to run next.

    Parameters
    ----------
    result : Preflight
    say : callable
        Writes a message of the library with the caller's names of options.
    """
    sections = preflight_sections(result, say=say, names=True, most_groups=_GROUPS_SHOWN)
    tables = "\n\n".join("\n".join(_lines(section, say)) for section in sections if section.blocks)
    return f"{tables}\n\nFINDINGS\n{findings_text(result, say=say)}".rstrip()


def _lines(section: Section, say: Say) -> Iterator[str]:
    yield section.title.upper()
    for block in section.blocks:
        if text := " ".join(map(say, filter(None, (block.lead, block.text, block.note)))):
            yield text
        if block.grid is not None:
            yield f"{block.grid.caption}:"
            yield from (f"  {line}" for line in aligned([block.grid.header, *block.grid.rows]))


def write_preflight(path: PathInput, result: Preflight, *, commands: Sequence[str], say: Say = str) -> list[Path]:
    """Write a pre-flight as one HTML page, with a contact sheet of each class.

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
    path = as_path(path, "path")
    key = path.with_name(f"{path.stem}-pictures.csv")
    read = (result.dataset.root, *(record.path for record in result.dataset.records))
    refuse_overwriting([path, key], read, name="html")
    pictures = _contact(result)
    contact = Section("Contact sheet", list(_sheet(result, pictures)))
    root = result.dataset.root
    sections = preflight_sections(result, say=say, names=False)
    views = next(index for index, section in enumerate(sections) if section.title == "Views")
    doubtful = _doubtful(result)
    stains = next((index for index, section in enumerate(sections) if section.title == "Stains"), views)
    if doubtful:
        shown = Block(
            heading="Stains in doubt", pictures=list(_doubtful_figures(result, doubtful, first=len(pictures)))
        )
        sections[stains] = Section("Stains", [*sections[stains].blocks, shown])
        pictures = [*pictures, *doubtful]
    sections.insert(views, contact)
    first = [short_section(result), next_section(result, commands), findings_section(result, say=say)]
    sections = [*first, *sections]
    write_page(
        path,
        title=f"Data check: {root.name or result.dataset.name}",
        banners=[SYNTHETIC_BANNER] if result.dataset.synthetic else [],
        sections=[_written(section, say) for section in sections],
        renamed=_without_folders(root),
        hidden=set(result.groups()),
    )
    if not pictures:
        return [path]
    rows = [(number, picture.image_id, picture.label or "") for number, picture in enumerate(pictures, start=1)]
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


def _written(section: Section, say: Say) -> Section:
    blocks = [replace(block, text=say(block.text), note=say(block.note)) for block in section.blocks]
    return Section(section.title, blocks)


def _contact(result: Preflight) -> list[ContactPicture]:
    broken, done = result.survey.broken, itertools.count(1)
    with Progress(total=len(chosen_of(result.dataset, broken)), label="drawing images", unit="images") as progress:
        return contact_sheet(
            result.dataset, settings=result.planned, broken=broken, on_picture=lambda: progress.update_to(next(done))
        )


def _sheet(result: Preflight, pictures: Sequence[ContactPicture]) -> Iterator[Block]:
    if not pictures:
        return
    stain = result.planned.stain
    beneath = (
        ""
        if stain == "none"
        else f" Above, each image as it is; below, as featurize would normalise it (stain {stain}): stains that differ "
        "above should be alike beneath, and nothing else should change."
    )
    groups = any(record.group is not None for record in result.dataset.records)
    whose = f", from as many {plural(result.group_is)} as there are" if groups else ""
    yield Block(text=f"Some {plural(result.image_is)} of each class{whose}.{beneath}")
    figures: dict[str, list[Figure]] = {}
    for number, picture in enumerate(pictures, start=1):
        name = picture.label or "no label"
        alt = f"Image {number}, {name}: the image, {picture.caption}"
        aside = f": {picture.caption}" if picture.caption.startswith("too little") else ""
        figures.setdefault(name, []).append(Figure(picture.source, alt, f"Image {number}{aside}"))
    totals = Counter(record.label or "no label" for record in result.dataset.records)
    for name, shown in figures.items():
        heading = f"{name}: {len(shown)} of {counted(totals[name], result.image_is)}"
        yield Block(heading=heading, pictures=shown)
    hidden = len(totals) - len(figures)
    if hidden > 0:
        yield Block(note=f"{counted(hidden, 'further class')} without images here.")


def _doubtful(result: Preflight) -> list[ContactPicture]:
    """Return pictures of the first images whose normalised stains are doubtful."""
    doubtful = {} if result.stains is None else result.stains.doubtful
    chosen = [record for record in result.dataset.records if record.image_id in doubtful][:_DOUBTFUL_SHOWN]
    return contact_sheet(result.dataset, settings=result.planned, chosen=chosen)


def _doubtful_figures(result: Preflight, pictures: Sequence[ContactPicture], *, first: int) -> Iterator[Figure]:
    assert result.stains is not None
    for number, picture in enumerate(pictures, start=first + 1):
        why = "; ".join(result.stains.doubtful[picture.image_id])
        text = f"Image {number}, {picture.label or 'no label'}: {why}"
        yield Figure(picture.source, f"{text}. The image, {picture.caption}", text)
