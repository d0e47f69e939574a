"""The content of a pre-flight as sections of blocks, for both the terminal and the HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from ..core import Message, counted, few, listed, plural
from ..data import Finding, grouped, unknown_groups
from ..encoders import encoder_facts
from ..featurize import seen_scales
from ..report import Block, Grid, Section, class_grid
from .estimate import duration
from .protocols import ProtocolCheck
from .run import Preflight
from .stains import stain_blocks
from .views import ViewFit, unscaled

_MOST_SIZES = 8
"""Largest number of image sizes that are listed, the most frequent first."""

_MOST_GROUPS = 40
"""Largest number of patients that are listed, those with most images first."""

_MOST_PAIRS = 50
"""Largest number of near-duplicate pairs that are listed."""

_MOST_FOLDS = 30
"""Largest number of folds that are listed as lacking the same class."""

_LONG = 600
"""Estimated seconds above which a faster way is suggested."""

_MOST_FINDINGS = 100
"""Largest number of findings that a page lists, errors first."""

_MOST_FILES = 6
"""Largest number of files that a page names for one finding."""

Say = Callable[[str], str]


def preflight_sections(result: Preflight, *, say: Say, names: bool, most_groups: int = _MOST_GROUPS) -> list[Section]:
    """Return all sections except findings, pictures and the commands to run next.

    Parameters
    ----------
    result : Preflight
    say : callable
        Writes a message of the library with the caller's names of options.
    names : bool
        True for a terminal: patients are named, and findings list the near-duplicates. False for a page: patients are
        numbered, and a table lists the near-duplicates.
    most_groups : int
        Largest number of patients that are listed.
    """
    return [
        Section("Images", list(_image_blocks(result))),
        Section(
            "Patients" if result.group_is == "group" else plural(result.group_is).capitalize(),
            list(_group_blocks(result, names, most_groups)),
        ),
        Section("Views", list(_view_blocks(result))),
        Section("Stains", list(stain_blocks(result.stains, images=len(result.dataset), image_is=result.image_is))),
        Section("Near-duplicates", list(_copy_blocks(result, pairs=not names))),
        Section("Cross-validation schemes", list(_protocol_blocks(result, say))),
        Section("Time and disk", list(_estimate_blocks(result))),
    ]


def _image_blocks(result: Preflight) -> Iterator[Block]:
    records, image = result.dataset.records, result.image_is
    unlabelled = any(record.label is None for record in records)
    classes = [*result.dataset.classes, *(["no label"] if unlabelled else [])]
    labels = {record.image_id: classes.index(record.label or "no label") for record in records}
    owner = {record.image_id: record.group for record in records}
    yield Block(grid=class_grid(classes, labels, owner, image=image, group=result.group_is))
    if not (sizes := result.survey.sizes):
        return
    rows = []
    for name, side in (("width", 0), ("height", 1)):
        values = sorted(size[side] for size in sizes.values())
        rows.append([name, *(f"{values[at]:,}" for at in (0, len(values) // 2, -1))])
    yield Block(grid=Grid("Sizes in pixels", ("", "smallest", "median", "largest"), rows))
    distinct = result.distinct_sizes()
    shown = ", ".join(f"{w}x{h} ({counted(count, image)})" for (w, h), count in distinct[:_MOST_SIZES])
    more = f" and {len(distinct) - _MOST_SIZES:,} more" if len(distinct) > _MOST_SIZES else ""
    kinds = Counter(f"{header.format} {header.mode}" for header in result.survey.headers.values())
    formats = ", ".join(f"{kind} ({count:,})" for kind, count in kinds.most_common())
    yield Block(text=f"{counted(len(distinct), 'size')}: {shown}{more}. Files: {formats}.")


def _group_blocks(result: Preflight, names: bool, most: int) -> Iterator[Block]:
    group = result.group_is
    for text in unknown_groups([record.group for record in result.dataset.records]):
        yield Block(note=f"{text[0].upper()}{text[1:]}.")
    if not (by_group := result.groups()):
        return
    if several := sum(len(of) > 1 for of in by_group.values()):
        verb = "has" if several == 1 else "have"
        yield Block(text=f"{counted(several, group)} {verb} {plural(result.image_is)} of more than one class.")
    ranked = sorted(by_group.items(), key=lambda item: (-item[1].total(), item[0]))
    classes = result.dataset.classes
    rows = [
        [name if names else f"{number}", *(f"{of[label]:,}" for label in classes), f"{of.total():,}"]
        for number, (name, of) in enumerate(ranked[:most], start=1)
    ]
    which = f"the {most} largest of {len(ranked)}" if len(ranked) > most else "the largest first"
    caption = f"{plural(result.image_is).capitalize()} of each {group} by class ({which}"
    caption += ")" if names else "; numbered, without names)"
    yield Block(grid=Grid(caption, [group, *classes, "all"], rows))


def _view_blocks(result: Preflight) -> Iterator[Block]:
    if not result.survey.sizes:
        return
    images = plural(result.image_is)
    other = result.fitting is not None and result.fitting.views != result.requested.views
    rows = [_view_row(fit, "") for fit in result.views]
    if other:
        rows += [_view_row(fit, ", planned") for fit in result.planned_views]
    header: tuple[str, ...] = ("view", f"fits {images}", "one crop sees")
    a = "an" if result.image_is[0] in "aeiou" else "a"
    caption = (
        f"Views (scale:crop), and the fraction of the area of {a} {result.image_is} of median size that a crop sees"
    )
    yield Block(grid=Grid(caption, header, rows))
    for fit in result.planned_views if other else result.views:
        if fit.too_small and fit.fits:
            yield Block(text=f"Too small for {fit.view}: {few(fit.too_small)}.")
    seen = seen_scales(result.dataset.records, result.planned)
    rows = [
        [scale.encoder, str(scale.view), scale.seen, ", ".join(f"{mpp:g}" for mpp in scale.trained) or "not stated"]
        for scale in seen
    ]
    header = ("encoder", "view", "sees", "trained at")
    yield Block(grid=Grid("Micrometres per pixel that each encoder sees, and was trained at", header, rows, words=(1,)))
    for scale in seen:
        if scale.warning:
            yield Block(note=Message("{}.", scale.warning))
    if (lacking := unscaled(result.dataset.records, result.requested.views)) is not None:
        yield Block(note=Message("{}.", lacking))
    elif result.fitting is None:
        yield Block(
            note=Message("No view fits these {}: they are smaller than any crop that these {encoders} take.", images)
        )
    elif other:
        views = listed([str(view) for view in result.fitting.views])
        left = result.fitting.left_out
        but = f" but {left:,}, which are left out" if left > 1 else " but one, which is left out" if left else ""
        dropped = [f"{choice}" for choice in result.requested.encoders if choice not in result.planned.encoders]
        without = f" and without {listed(dropped)}, which takes no crop so small" if dropped else ""
        yield Block(text=f"Views that fit all {images}{but}: {views}. What follows is planned with them{without}.")


def _view_row(fit: ViewFit, suffix: str) -> list[str]:
    fits = f"{fit.fits:,} of {fit.fits + len(fit.too_small):,}" if fit.too_small else "all"
    return [f"{fit.view}{suffix}", fit.problem or fits, "–" if fit.single is None else f"{fit.single:.0%}"]


def _copy_blocks(result: Preflight, *, pairs: bool) -> Iterator[Block]:
    copies, group = result.survey.copies, result.group_is
    rows = [["the same file again, used once", f"{len(result.survey.repeated) + result.dataset.repeated:,}"]]
    if copies is not None:
        by_id = {record.image_id: record for record in result.dataset.records}
        kinds: Counter[str] = Counter()
        for copy in copies:
            first, other = by_id[copy.first], by_id[copy.second]
            kinds["of two classes"] += first.label != other.label
            kinds[f"of one {group}"] += first.group is not None and first.group == other.group
            kinds[f"of two {plural(group)}"] += None not in (first.group, other.group) and first.group != other.group
        rows.append(["pairs that seem to show the same pixels", f"{len(copies):,}"])
        rows += [[f"  of these {kind}", f"{count:,}"] for kind, count in kinds.items() if count]
    yield Block(grid=Grid(f"Near-duplicates among the {plural(result.image_is)}", ("what", "number"), rows))
    if copies is None:
        yield Block(note="Near-duplicates were not searched for.")
    if not copies:
        return
    yield Block(text="Folds that bchisto makes keep both of a pair in one part.")
    if pairs:
        shown = [
            [first.first, first.second, f"{first.correlation:.2f}", f"{first.share:.0%}"]
            for first in copies[:_MOST_PAIRS]
        ]
        more = f" (the first {_MOST_PAIRS} of {len(copies):,})" if len(copies) > _MOST_PAIRS else ""
        caption = f"Pairs that seem to show the same pixels{more}"
        yield Block(grid=Grid(caption, ("first", "second", "correlation", "of the smaller"), shown, words=(1,)))


def _protocol_blocks(result: Preflight, say: Say) -> Iterator[Block]:
    if not result.protocols:
        yield Block(note=f"No folds can be made: no image {'has a label' if result.dataset.records else 'is left'}.")
        return
    tested = f"{plural(result.image_is)} tested in a fold"
    header = ("scheme", "kept whole", "possible", "folds", tested, "lack a class")
    yield Block(
        grid=Grid("Cross-validation schemes", header, [_protocol_row(protocol) for protocol in result.protocols])
    )
    for protocol in result.protocols:
        if protocol.refused:
            yield Block(lead=f"{protocol.folds} {protocol.kept}:", text=f"not possible. {say(protocol.refused)}.")
    if lines := [line for protocol in result.protocols for line in _lacking_rows(protocol)]:
        caption = "Folds in which a part has no image of a class; their results do not cover it"
        yield Block(grid=Grid(caption, ("scheme", "part", "missing classes", "folds"), lines, words=(3,)))
    protocols_of: dict[str, list[str]] = {}
    for protocol in result.protocols:
        for text in protocol.warnings:
            protocols_of.setdefault(text, []).append(f"{protocol.folds} {protocol.kept}")
    for text, names in protocols_of.items():
        yield Block(lead=f"{', '.join(names)}:", text=f"{say(text)}.")


def _protocol_row(protocol: ProtocolCheck) -> list[str]:
    name = protocol.folds if protocol.group_by is None else f"{protocol.folds}, group by {protocol.group_by}"
    if protocol.refused:
        return [name, protocol.kept, "no", "–", "–", "–"]
    tested = [fold.images.get("test", 0) for fold in protocol.parts]
    least, most = min(tested), max(tested)
    spread = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    lacking = f"{len(protocol.lacking)} of {len(protocol.parts)} folds" if protocol.lacking else "none"
    return [name, protocol.kept, "yes", f"{len(protocol.parts)}", spread, lacking]


def _lacking_rows(protocol: ProtocolCheck) -> list[Sequence[str]]:
    """Return a row for each part and set of missing classes, with the folds."""
    folds: dict[tuple[str, str], list[str]] = {}
    for fold in protocol.lacking:
        for part, classes in fold.missing.items():
            folds.setdefault((part, ", ".join(classes)), []).append(f"{fold.fold}")
    return [
        [f"{protocol.folds} {protocol.kept}", *key, few(numbers, most=_MOST_FOLDS)] for key, numbers in folds.items()
    ]


def _estimate_blocks(result: Preflight) -> Iterator[Block]:
    cost = result.estimate
    if cost is None:
        return
    size = "not known before the network is built" if cost.bytes is None else _bytes(cost.bytes)
    where = f"{counted(cost.gpus, 'GPU')}" if cost.gpus else f"{counted(cost.processes, 'process')} of this machine"
    rows = [
        ["images", f"{cost.images:,}"],
        ["feature files", f"{cost.stores:,}"],
        ["blocks of images", f"{cost.units:,}"],
        ["time", f"about {duration(cost.seconds)}"],
        ["between", f"{duration(cost.shortest)} and {duration(cost.longest)}"],
        ["disk", size],
    ]
    rows += [[f"time of preset {name}", f"about {duration(seconds)}"] for name, seconds in result.presets.items()]
    yield Block(grid=Grid(f"bchisto featurize on {where}, estimated", ("what", "number"), rows))
    note = (
        "Timed now on one image; other images and other work on this machine change it."
        if cost.timed
        else Message(
            "Estimated from benchmark CPUs; yours may be up to four times slower or faster; "
            "a GPU is far faster. {timed:True} loads the networks and times them on this machine."
        )
    )
    yield Block(note=note)
    strange = [choice.name for choice in result.planned.encoders if not encoder_facts(choice).recorded]
    if strange and not cost.timed:
        text = f"The speed of {listed(strange)} is not recorded, and was taken for that of a middling network."
        yield Block(note=text)
    if cost.dense is not None and cost.seconds > _LONG and cost.dense < cost.seconds / 2:
        yield Block(
            text=Message(
                "{mode:dense}, with different features, would take about {}; for a quick trial use fewer "
                "{augmentations} and one of the {encoders}.",
                duration(cost.dense),
            )
        )


def _bytes(number: int) -> str:
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{max(1, round(number / 1e6)):,} MB"


def short_section(result: Preflight) -> Section:
    """Return a summary in a few sentences."""
    dataset, image = result.dataset, result.image_is
    groups = result.groups()
    of = f" of {counted(len(groups), result.group_is)}" if groups else ""
    classes = counted(len(dataset.classes), "class")
    sentences = [f"{counted(len(dataset), image)}{of} in {classes}, read as {dataset.name}."]
    if result.wrong:
        sentences.append(f"{counted(len(result.wrong), 'finding')} to look at.")
    if result.fitting is not None:
        sentences.append(f"Views that can be used: {listed([str(view) for view in result.fitting.views])}.")
    if (protocol := result.protocol) is not None:
        lacking = f", though {len(protocol.lacking)} of them lack a class in a part" if protocol.lacking else ""
        sentences.append(f"Folds that can be used: {protocol.folds}, {protocol.kept}{lacking}.")
    elif result.protocols:
        sentences.append("No cross-validation scheme that was tried can be used.")
    if (cost := result.estimate) is not None:
        sentences.append(f"Extracting features of the {plural(image)} takes about {duration(cost.seconds)} here.")
    return Section("In short", [Block(text=" ".join(sentences))])


def grouped_findings(result: Preflight, findings: Iterable[Finding]) -> list[tuple[str, str, list[str]]]:
    """Return level, message and files of findings, grouped by message; messages are without the paths of files."""
    paths = {record.image_id: f"{record.path}: " for record in result.dataset.records}
    named = [(finding, paths.get(finding.file, "\n")) for finding in findings]
    return grouped(
        replace(finding, message=finding.message.removeprefix(path)) if finding.message.startswith(path) else finding
        for finding, path in named
    )


def findings_text(result: Preflight, *, say: Say) -> str:
    """Return all findings as text, with files of the same finding in one line."""
    ranked = grouped_findings(result, result.findings)
    return "\n".join(f"{level:8}{few(names)}: {say(message)}" for level, message, names in ranked)


def findings_section(result: Preflight, *, say: Say) -> Section:
    """Return the findings, grouped by message; near-duplicates within a class are only counted."""
    label_of = {record.image_id: record.label for record in result.dataset.records}
    pairs = [copy for copy in result.survey.copies or () if label_of[copy.first] == label_of[copy.second]]
    first_of: dict[str, list[str]] = {}
    for copy in pairs:
        first_of.setdefault(copy.second, []).append(copy.first)

    def is_shown(finding: Finding) -> bool:
        copies = first_of.get(finding.file, ())
        return not any(f" {original} (" in finding.message for original in copies)

    ranked = grouped_findings(result, filter(is_shown, result.findings))
    if not ranked and not pairs:
        return Section("Findings", [Block(text="Nothing was found that does not fit the layout.")])
    blocks = [
        Block(lead=f"{level.capitalize()}, {few(names, most=_MOST_FILES)}:", text=say(message))
        for level, message, names in ranked[:_MOST_FINDINGS]
    ]
    if (further := len(ranked) - _MOST_FINDINGS) > 0:
        blocks.append(Block(note=f"And {further:,} further ones, which `bchisto data check` prints."))
    if pairs:
        text = f"first {pairs[0].first} and {pairs[0].second}; see Near-duplicates."
        lead = f"Pairs of one class that seem to show the same pixels, {len(pairs)}:"
        blocks.append(Block(lead=lead, text=text))
    return Section("Findings", blocks)


def next_section(result: Preflight, commands: Sequence[str]) -> Section:
    """Return the commands to run next."""
    blocks = []
    if result.refused:
        what = "this error" if len(result.refused) == 1 else f"these {len(result.refused)} errors"
        blocks.append(Block(note=f"First correct {what}: until then, other commands refuse the dataset."))
    blocks.append(Block(items=commands))
    return Section("What to run next", blocks)
