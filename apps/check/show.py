"""Shows a pre-flight as text for a terminal, as JSON, and as a page with images before and after normalisation."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ...core import (
    ImageError,
    Message,
    PathInput,
    TissueError,
    aligned,
    converted,
    counted,
    few,
    public,
)
from ...core.jobs import json_text, refuse_overwriting, rough_duration, write_rows
from ...data import (
    SYNTHETIC_BANNER,
    ImageRecord,
    decode_record,
    get_layout,
    grouped,
    resize_image,
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
from ...featurize import seen_scales
from ...stains import Normalizer, make_normalizer, stain_notes
from .plan import shown_factor, unscaled
from .run import Preflight

Say = Callable[[str], str]
"""Writes a message of the library with the caller's names of options."""


def preflight_text(
    result: Preflight, *, say: Say = str, form: str = "txt", then: Sequence[str] = ()
) -> str:
    """Return a pre-flight as text.

    Parameters
    ----------
    result : Preflight
    say : callable
    form : {"txt", "json"}
        Tables and findings for a terminal, or everything as JSON.
    then : sequence of str
        The commands to run next, for JSON.
    """
    records, requested, planned = result.dataset.records, result.requested, result.planned
    labels = [
        *result.dataset.classes,
        *(["no label"] if any(record.label is None for record in records) else []),
    ]
    group_of = {record.image_id: record.group for record in records}
    layout = get_layout(result.dataset.name)
    words = {"image": layout.image_is, "group": layout.group_is}
    environment = page_templates(__package__, autoescape=False)
    environment.filters["json"] = lambda value: json.dumps(value, default=asdict)
    text = environment.get_template(f"check.{form}").render(
        it=result,
        say=say,
        then=then,
        aligned=aligned,
        few=few,
        Message=Message,
        **words,
        classes=class_grid(
            labels,
            {record.image_id: labels.index(record.label or "no label") for record in records},
            group_of,
            **words,
        ),
        unknown=unknown_groups(list(group_of.values())),
        seen=seen_scales(records, planned),
        unscaled=unscaled(records, requested.views),
        dropped=[choice.label for choice in requested.encoders if choice not in planned.encoders],
        stain_notes=stain_notes,
        rough_duration=rough_duration,
        findings=grouped(result.findings),
    )
    return json_text(json.loads(text)) if form == "json" else str(text).rstrip()


_MOST_FINDINGS, _MOST_FILES = 100, 6
"""Largest number of findings that a page lists, errors first, and of files that it names for one of them."""

_MOST_CLASSES, _MOST = 12, 5
"""Largest number of classes that are shown, in class order, and of pictures of a class or with doubtful stains."""

_SIDE, _GAP = 320, 6
"""Longest side of a picture, and the gap between it and the picture below, in pixels."""


def write_preflight(path: PathInput, result: Preflight, *, say: Say = str) -> list[Path]:
    """Write the findings of a pre-flight as one HTML page, with images before and after normalisation.

    Parameters
    ----------
    path : path
        The HTML file. It contains no folders of this machine and no patients, and image names only in findings.
        ``<name>-pictures.csv`` next to it lists the images that are shown.
    result : Preflight
    say : callable

    Returns
    -------
    list of Path
        The files that were written.
    """
    path = converted(path, "path", Path)
    root, key = result.dataset.root, path.with_name(f"{path.stem}-pictures.csv")
    refuse_overwriting(
        [path, key], (root, *(record.path for record in result.dataset.records)), name="html"
    )
    groups = grouped(result.findings)
    findings = [
        Block(
            lead=f"{level.capitalize()}, {few(names, most=_MOST_FILES)}:", text=say(public(message))
        )
        for level, message, names in groups[:_MOST_FINDINGS]
    ]
    if len(groups) > _MOST_FINDINGS:
        further = len(groups) - _MOST_FINDINGS
        findings.append(
            Block(note=f"And {further:,} further ones, which `bchisto data check` prints.")
        )
    shown: list[ImageRecord] = []
    renamed: dict[str, str] = {}
    for name in (root, root.resolve()):
        folder = name.parent if name.is_file() else name
        # the name of a single folder could be any word of the page
        renamed |= {str(name): name.name} | ({f"{folder}/": ""} if len(folder.parts) > 1 else {})
    write_page(
        path,
        title=f"Data check: {root.name or result.dataset.name}",
        banners=[SYNTHETIC_BANNER] if result.dataset.synthetic else [],
        sections=[
            Section(
                "Findings",
                findings or [Block(text="Nothing was found that does not fit the layout.")],
            ),
            Section("Contact sheet", list(_contact_sheet(result, shown))),
        ],
        renamed=renamed,
    )
    rows = [
        (number, record.image_id, record.label or "")
        for number, record in enumerate(shown, start=1)
    ]
    write_rows(key, ("picture", "image_id", "label"), rows)
    return [path, key]


def _contact_sheet(result: Preflight, shown: list[ImageRecord]) -> Iterator[Block]:
    """Yield pictures of each class and of images with doubtful stains, and append their images to `shown`."""
    planned, image_is = result.planned, get_layout(result.dataset.name).image_is
    doubtful = {} if result.stains is None else result.stains.doubtful
    totals = Counter(record.label or "no label" for record in result.dataset.records)
    sound = [
        record for record in result.dataset.records if record.image_id not in result.survey.broken
    ]
    classes = [name for name in (*result.dataset.classes, "no label") if totals[name]]
    rows = {
        name: choose_records([r for r in sound if (r.label or "no label") == name])
        for name in classes
    }
    rows = dict(itertools.islice(rows.items(), _MOST_CLASSES))
    rows["Stains in doubt"] = [record for record in sound if record.image_id in doubtful][:_MOST]
    normalizer = None if planned.stain == "none" else make_normalizer(planned.stain)
    for name, records in rows.items():
        pictures = []
        for record in records:
            source, about = _draw(
                record, normalizer, min(1.0, shown_factor(planned.views[0], record))
            )
            if source:
                shown.append(record)
                about = about if name in totals else "; ".join(doubtful[record.image_id])
                text = f"Image {len(shown)}, {record.label or 'no label'}: {about}"
                pictures.append(Drawing(source, text, text))
        of = f": {len(pictures)} of {counted(totals[name], image_is)}" if name in totals else ""
        if pictures:
            yield Block(heading=f"{name}{of}", pictures=pictures)
    if len(classes) > _MOST_CLASSES:
        yield Block(
            note=f"{counted(len(classes) - _MOST_CLASSES, 'further class')} without images here."
        )


def choose_records(records: Sequence[ImageRecord]) -> list[ImageRecord]:
    """Choose images of one class, from as many different patients as possible; the choice is deterministic."""
    by_group: dict[str, list[ImageRecord]] = {}
    for record in sorted(records, key=lambda member: member.image_id):
        by_group.setdefault(record.group or record.image_id, []).append(record)
    turns = itertools.zip_longest(*by_group.values())  # one of each patient, then a second of each
    return [record for turn in turns for record in turn if record is not None][:_MOST]


def _draw(record: ImageRecord, normalizer: Normalizer | None, scale: float) -> tuple[str, str]:
    """Return an image, with its stain normalised below it, as a data URI and a caption; empty if it is unreadable."""
    try:
        image = resize_image(decode_record(record), scale)
        if normalizer is None:
            return thumbnail(image, side=_SIDE), "the image, as it is"
        after, _ = normalizer.normalize_with_estimate(image)
    except TissueError:
        return thumbnail(image, side=_SIDE), "too little tissue to normalise its stain"
    except ImageError:
        return "", ""
    pair = np.concatenate([image, np.full((_GAP, image.shape[1], 3), 255, np.uint8), after])
    return thumbnail(pair, side=2 * _SIDE), "the image, and beneath it with its stain normalised"
