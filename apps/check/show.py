"""Shows a pre-flight as text for a terminal, as JSON, and as a page with images before and after normalisation."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...core import (
    ImageError,
    Message,
    PathInput,
    TissueError,
    aligned,
    by_key,
    converted,
    counted,
    few,
    public,
)
from ...core.formats import Pixels
from ...core.jobs import json_text, refuse_overwriting, rough_duration, write_rows
from ...data import (
    SYNTHETIC_BANNER,
    ImageRecord,
    decode_record,
    facts_of,
    get_layout,
    grouped,
    resize_image,
    unit_names,
    unknown_groups,
)
from ...evaluate.report import (
    Block,
    Drawing,
    Section,
    class_grid,
    page_templates,
    thumbnail,
    write_page,
)
from ...featurize import View, seen_scales
from ...stains import Normalizer, make_normalizer
from .plan import shown_factor, unscaled
from .run import Preflight

Say = Callable[[str], str]
"""Writes a message of the library with the caller's names of options."""


_NO_LABEL = "no label"

_MOST_FINDINGS = 100
"""Largest number of findings that a page lists, errors first."""

_MOST_FILES = 6
"""Largest number of files that a page names for a finding."""

_MOST_CLASSES = 12
"""Largest number of classes that are shown, in class order."""

_MOST = 5
"""Largest number of pictures of a class, or of images with doubtful stains."""

_SIDE = 320
"""Longest side of a picture in pixels."""

_GAP = 6
"""Gap between a picture and the one below, in pixels."""


def preflight_text(result: Preflight, *, say: Say) -> str:
    """Return the tables and findings of a pre-flight for a terminal."""
    records = result.dataset.records
    labels = list(result.dataset.classes)
    if any(record.label is None for record in records):
        labels.append(_NO_LABEL)
    label_of = {record.image_id: labels.index(record.label or _NO_LABEL) for record in records}
    group_of = {record.image_id: record.group for record in records}
    words = unit_names(result.dataset.name, facts_of(result.dataset))
    template = page_templates(__package__, autoescape=False).get_template("check.txt")
    return str(
        template.render(
            it=result,
            say=say,
            aligned=aligned,
            few=few,
            Message=Message,
            **words,
            classes=class_grid(labels, label_of, group_of, **words),
            unknown=unknown_groups(list(group_of.values())),
            seen=seen_scales(records, result.planned),
            unscaled=unscaled(records, result.requested.views),
            rough_duration=rough_duration,
            findings=grouped(result.findings),
        )
    ).rstrip()


def preflight_json(result: Preflight, *, say: Say, then: Sequence[str]) -> str:
    """Return all of a pre-flight as JSON, with the commands to run next."""
    dataset = result.dataset
    content = {
        "dataset": dataset.name,
        "images": len(dataset),
        "classes": dataset.class_counts(),
        "synthetic": dataset.synthetic,
        "findings": [
            {"level": finding.level, "file": finding.file, "message": say(finding.message)}
            for finding in result.findings
        ],
        "class_by_patient": {"patients": result.groups()},
        "sizes": result.sizes,
        "views": result.views,
        "planned_views": result.planned_views,
        "copies": {
            "same_file": result.survey.repeated,
            "same_pixels": result.survey.copies,
        },
        "protocols": [
            {
                **vars(protocol),
                "feasible": not protocol.refused,
                "refused": say(protocol.refused),
                "warnings": list(map(say, protocol.warnings)),
            }
            for protocol in result.protocols
        ],
        "estimate": result.estimate,
        "stains": result.stains,
        "next": then,
    }
    return json_text(content, vars)


def write_preflight(path: PathInput, result: Preflight, *, say: Say = str) -> list[Path]:
    """Write the findings of a pre-flight as one HTML page, with images before and after normalisation.

    Parameters
    ----------
    path : path
        The HTML file. It contains no folders of this machine and no patients, and image names only in findings.
        ``<name>-pictures.csv`` next to it lists the images that are shown.
    result : Preflight
    say : callable
        Writes a message with the caller's names of options.

    Returns
    -------
    list of Path
        The files that were written.
    """
    path = converted(path, "path", Path)
    root = result.dataset.root
    key = path.with_name(f"{path.stem}-pictures.csv")
    refuse_overwriting(
        [path, key], (root, *(record.path for record in result.dataset.records)), name="html"
    )
    replacements = {}
    for name in (root, root.resolve()):
        replacements[str(name)] = name.name
        folder = name.parent if name.is_file() else name
        # the name of a single folder could be any word of the page
        if len(folder.parts) > 1:
            replacements[f"{folder}/"] = ""
    shown: list[ImageRecord] = []
    write_page(
        path,
        title=f"Data check: {root.name or result.dataset.name}",
        banners=[SYNTHETIC_BANNER] if result.dataset.synthetic else [],
        sections=[
            Section("Read as", [Block(text=say(line)) for line in result.reading]),
            Section("Findings", list(_finding_blocks(result, say))),
            # a class without a readable image is left out
            Section(
                "Contact sheet",
                [block for block in _contact_sheet(result, shown) if block.pictures or block.note],
            ),
        ],
        renamed=replacements,
    )
    rows = [
        (number, record.image_id, record.label_text) for number, record in enumerate(shown, start=1)
    ]
    write_rows(key, ("picture", "image_id", "label"), rows)
    return [path, key]


def _finding_blocks(result: Preflight, say: Say) -> Iterator[Block]:
    groups = grouped(result.findings)
    for level, message, names in groups[:_MOST_FINDINGS]:
        yield Block(
            lead=f"{level.capitalize()}, {few(names, most=_MOST_FILES)}:",
            text=say(public(message)),
        )
    rest = len(groups) - _MOST_FINDINGS
    if rest > 0:
        yield Block(note=f"And {rest:,} further ones, which `bchisto data check` prints.")
    if not groups:
        yield Block(text="Nothing was found that does not fit the layout.")


def _contact_sheet(result: Preflight, shown: list[ImageRecord]) -> Iterator[Block]:
    """Yield pictures of each class and of images with doubtful stains, and append their images to `shown`."""
    by_label = by_key(result.dataset.records, lambda record: record.label or _NO_LABEL)
    stain = result.planned.stain
    normalizer = None if stain == "none" else make_normalizer(stain)
    draw = functools.partial(_pictures, result.planned.views[0], normalizer, shown)
    names = dict.fromkeys((*result.dataset.classes, _NO_LABEL))
    classes = [name for name in names if name in by_label]
    for name in classes[:_MOST_CLASSES]:
        total = counted(len(by_label[name]), get_layout(result.dataset.name).image_is)
        readable = [
            record for record in by_label[name] if record.image_id not in result.survey.broken
        ]
        pictures = draw(one_of_each(readable)[:_MOST])
        yield Block(heading=f"{name}: {len(pictures)} of {total}", pictures=pictures)
    if result.stains is not None:
        doubtful = result.stains.doubtful
        records = [record for record in result.dataset.records if record.image_id in doubtful]
        yield Block(heading="Stains in doubt", pictures=draw(records[:_MOST], reasons=doubtful))
    rest = classes[_MOST_CLASSES:]
    if rest:
        yield Block(note=f"{counted(len(rest), 'further class')} without images here.")


def _pictures(
    view: View,
    normalizer: Normalizer | None,
    shown: list[ImageRecord],
    records: Sequence[ImageRecord],
    *,
    reasons: Mapping[str, Sequence[str]] | None = None,
) -> list[Drawing]:
    """Return pictures of the images that can be read, with what was done to them, or reasons for doubt.

    Their numbers continue those of `shown`, to which their images are appended.
    """
    pictures = []
    for record in records:
        try:
            image = resize_image(decode_record(record), min(1.0, shown_factor(view, record)))
            source, caption = _normalized(image, normalizer)
        except ImageError:
            continue
        if reasons is not None:
            caption = "; ".join(reasons[record.image_id])
        shown.append(record)
        text = f"Image {len(shown)}, {record.label or _NO_LABEL}: {caption}"
        pictures.append(Drawing(source, text, text))
    return pictures


def one_of_each(records: Iterable[ImageRecord]) -> list[ImageRecord]:
    """Return one image of each patient, then a second of each, and so on."""
    by_group = by_key(records, lambda record: record.group or record.image_id)
    turns = itertools.zip_longest(*by_group.values())
    return [record for turn in turns for record in turn if record is not None]


def _normalized(image: Pixels, normalizer: Normalizer | None) -> tuple[str, str]:
    """Return the data address of a picture (the image, and below it the normalised one), and its caption."""
    if normalizer is None:
        return thumbnail(image, side=_SIDE), "the image, as it is"
    try:
        normalised, _ = normalizer.normalize_with_estimate(image)
    except TissueError:
        return thumbnail(image, side=_SIDE), "too little tissue to normalise its stain"
    pair = np.concatenate([image, np.full((_GAP, image.shape[1], 3), 255, np.uint8), normalised])
    return thumbnail(pair, side=2 * _SIDE), "the image, and beneath it with its stain normalised"
