"""Writes a pre-flight as text for a terminal, and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from ...core import Message, aligned, few, plural
from ...data import grouped, unknown_groups
from ...encoders import encoder_facts
from ...evaluate.report import class_grid, page_templates
from ...featurize import seen_scales
from ...stains import stain_notes
from .plan import duration
from .protocols import ProtocolCheck
from .run import Preflight
from .views import ViewFit, unscaled

_MOST_SIZES = 8
"""Largest number of image sizes that are listed, the most frequent first."""

_MOST_GROUPS = 10
"""Largest number of patients that are listed, those with most images first."""

_MOST_FOLDS = 30
"""Largest number of folds that are listed as lacking the same class."""

_LONG = 600
"""Estimated seconds above which a faster way is suggested."""

Say = Callable[[str], str]


def preflight_text(result: Preflight, *, say: Say = str) -> str:
    """Return the tables and findings of a pre-flight as text, without the commands to run next.

    Parameters
    ----------
    result : Preflight
    say : callable
        Writes a message of the library with the caller's names of options.
    """
    dataset, survey, planned, stains = result.dataset, result.survey, result.planned, result.stains
    records, cost = dataset.records, result.estimate
    labels = [*dataset.classes, *(["no label"] if any(record.label is None for record in records) else [])]
    owner = {record.image_id: record.group for record in records}
    groups = sorted(result.groups().items(), key=lambda item: (-item[1].total(), item[0]))
    seen = seen_scales(records, planned)
    warnings: dict[str, list[str]] = {}
    for protocol in result.protocols:
        for text in protocol.warnings:
            warnings.setdefault(text, []).append(str(protocol))
    environment = page_templates(__package__)
    environment.autoescape = False
    return str(
        environment.get_template("check.txt").render(
            it=result,
            say=say,
            table=_table,
            few=few,
            duration=duration,
            Message=Message,
            most_sizes=_MOST_SIZES,
            most_groups=_MOST_GROUPS,
            long=_LONG,
            classes=class_grid(
                labels,
                {record.image_id: labels.index(record.label or "no label") for record in records},
                owner,
                image=result.image_is,
                group=result.group_is,
            ),
            sizes=result.distinct_sizes(),
            kinds=Counter(f"{header.format} {header.mode}" for header in survey.headers.values()).most_common(),
            unknown=unknown_groups(list(owner.values())),
            several=sum(len(of) > 1 for _, of in groups),
            groups=[(name, *(of[label] for label in dataset.classes), of.total()) for name, of in groups],
            views=[_view_row(fit, "") for fit in result.views]
            + [_view_row(fit, ", planned") for fit in result.planned_views if result.refitted],
            seen=seen,
            scales=[
                (of.encoder, of.view, of.seen, ", ".join(f"{mpp:g}" for mpp in of.trained) or "not stated")
                for of in seen
            ],
            unscaled=unscaled(records, result.requested.views),
            dropped=[str(choice) for choice in result.requested.encoders if choice not in planned.encoders],
            notes=stains
            and stain_notes(stains.skipped, stains.doubtful, stains.foreign, images=stains.checked, stain=stains.stain),
            copies=_copy_rows(result),
            protocols=[_protocol_row(protocol) for protocol in result.protocols],
            lacking=[row for protocol in result.protocols for row in _lacking_rows(protocol)],
            warnings=warnings,
            disk=cost and _disk(cost.bytes),
            presets=[
                (f"time of preset {name}", f"about {duration(seconds)}") for name, seconds in result.presets.items()
            ],
            unrecorded=[choice.name for choice in planned.encoders if not encoder_facts(choice).recorded],
            findings=grouped_findings(result),
        )
    ).rstrip()


def _table(caption: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    return "\n  ".join([f"{caption}:", *aligned([header, *cells])])


def _view_row(fit: ViewFit, suffix: str) -> tuple[str, ...]:
    fits = f"{fit.fits:,} of {fit.fits + len(fit.too_small):,}" if fit.too_small else "all"
    return f"{fit.view}{suffix}", fit.problem or fits, "–" if fit.single is None else f"{fit.single:.0%}"


def _copy_rows(result: Preflight) -> list[tuple[str, int]]:
    copies, group = result.survey.copies, result.group_is
    rows = [("the same file again, used once", len(result.survey.repeated) + result.dataset.repeated)]
    if copies is None:
        return rows
    by_id = {record.image_id: record for record in result.dataset.records}
    kinds: Counter[str] = Counter()
    for copy in copies:
        first, other = by_id[copy.first], by_id[copy.second]
        kinds["of two classes"] += first.label != other.label
        kinds[f"of one {group}"] += first.group is not None and first.group == other.group
        kinds[f"of two {plural(group)}"] += None not in (first.group, other.group) and first.group != other.group
    rows.append(("pairs that seem to show the same pixels", len(copies)))
    return rows + [(f"  of these {kind}", count) for kind, count in kinds.items() if count]


def _protocol_row(protocol: ProtocolCheck) -> tuple[str, ...]:
    name = protocol.folds if protocol.group_by is None else f"{protocol.folds}, group by {protocol.group_by}"
    if protocol.refused:
        return name, protocol.kept, "no", "–", "–", "–"
    tested = [fold.images.get("test", 0) for fold in protocol.parts]
    spread = " to ".join(dict.fromkeys((f"{min(tested):,}", f"{max(tested):,}")))
    lacking = f"{len(protocol.lacking)} of {len(protocol.parts)} folds" if protocol.lacking else "none"
    return name, protocol.kept, "yes", str(len(protocol.parts)), spread, lacking


def _lacking_rows(protocol: ProtocolCheck) -> list[tuple[str, ...]]:
    """Return a row for each part and set of missing classes, with the folds."""
    folds: dict[tuple[str, str], list[str]] = {}
    for fold in protocol.lacking:
        for part, classes in fold.missing.items():
            folds.setdefault((part, ", ".join(classes)), []).append(str(fold.fold))
    return [(str(protocol), *key, few(numbers, most=_MOST_FOLDS)) for key, numbers in folds.items()]


def _disk(number: int | None) -> str:
    if number is None:
        return "not known before the network is built"
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{max(1, round(number / 1e6)):,} MB"


def grouped_findings(result: Preflight) -> list[tuple[str, str, list[str]]]:
    """Return level, message and files of findings, grouped by message; messages are without the paths of files."""
    paths = {record.image_id: f"{record.path}: " for record in result.dataset.records}
    return grouped(
        replace(finding, message=finding.message.removeprefix(path))
        if finding.message.startswith(path := paths.get(finding.file, "\n"))
        else finding
        for finding in result.findings
    )


def preflight_content(result: Preflight, *, say: Say = str) -> dict[str, Any]:
    """Return the whole result, JSON-ready.

    Parameters
    ----------
    result : Preflight
    say : callable
        Writes a message of the library with the caller's names of options.
    """
    return {
        "dataset": result.dataset.name,
        "images": len(result.dataset),
        "classes": result.dataset.class_counts(),
        "synthetic": result.dataset.synthetic,
        "findings": [{"level": f.level, "file": f.file, "message": say(f.message)} for f in result.findings],
        "class_by_patient": {"patients": result.groups()},
        "sizes": [{"width": width, "height": height, "images": count}
                  for (width, height), count in result.distinct_sizes()],
        "views": [vars(fit) | {"view": str(fit.view)} for fit in result.views],
        "planned_views": [vars(fit) | {"view": str(fit.view)} for fit in result.planned_views],
        "copies": {
            "same_file": result.survey.repeated,
            "same_pixels": None if result.survey.copies is None else list(map(asdict, result.survey.copies)),
        },
        "protocols": [
            asdict(protocol)
            | {"feasible": not protocol.refused, "refused": say(protocol.refused)}
            | {"warnings": list(map(say, protocol.warnings))}
            for protocol in result.protocols
        ],
        "estimate": result.estimate and asdict(result.estimate),
        "presets": result.presets,
        "stains": result.stains and asdict(result.stains),
    }  # fmt: skip
