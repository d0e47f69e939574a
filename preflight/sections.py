"""A pre-flight in sections of blocks: one content for the terminal and for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from ..core import Message, few
from ..data import Finding, grouped, unknown_groups
from ..encoders import encoder_facts
from ..evaluate import counted, listed, plural
from ..report import Block, Grid, Section, class_grid
from .protocols import ProtocolCheck
from .run import Preflight
from .stains import stain_blocks
from .views import ViewFit

_MOST_SIZES = 8
"""Sizes that are listed, the most frequent first."""

_MOST_GROUPS = 40
"""Patients that are listed, those of most images first."""

_MOST_PAIRS = 50
"""Pairs of copies that are listed."""

_MOST_FOLDS = 30
"""Folds that are listed as lacking the same class."""

_LONG = 600
"""Seconds from which shorter ways are named."""

_MOST_FINDINGS = 100
"""Findings that a page lists, errors first."""

_MOST_FILES = 6
"""Files that a page names of those with the same finding."""

Say = Callable[[str], str]


def preflight_sections(found: Preflight, *, say: Say, names: bool, most_groups: int = _MOST_GROUPS) -> list[Section]:
    """Return all but findings, pictures and what to run next.

    Parameters
    ----------
    found : Preflight
    say : callable
        Gives a message of the library in the caller's words.
    names : bool
        Whether patients are named, as on a terminal, where findings name the copies; else patients are numbered, and
        copies listed.
    most_groups : int
        Patients that are listed.
    """
    return [
        Section("Images", list(_image_blocks(found))),
        Section(f"{plural(found.group_is).capitalize()}", list(_group_blocks(found, names, most_groups))),
        Section("Views", list(_view_blocks(found))),
        Section("Stains", list(stain_blocks(found.stains, images=len(found.dataset), image_is=found.image_is))),
        Section("Copies", list(_copy_blocks(found, pairs=not names))),
        Section("Protocols", list(_protocol_blocks(found, say))),
        Section("Time and disk", list(_estimate_blocks(found))),
    ]


def _image_blocks(found: Preflight) -> Iterator[Block]:
    records, image = found.dataset.records, found.image_is
    unlabelled = any(record.label is None for record in records)
    classes = [*found.dataset.classes, *(["no label"] if unlabelled else [])]
    labels = {record.image_id: classes.index(record.label or "no label") for record in records}
    owner = {record.image_id: record.group for record in records}
    yield Block(grid=class_grid(classes, labels, owner, image=image, group=found.group_is))
    if not (sizes := found.survey.sizes):
        return
    rows = []
    for name, side in (("width", 0), ("height", 1)):
        values = sorted(size[side] for size in sizes.values())
        rows.append([name, *(f"{values[at]:,}" for at in (0, len(values) // 2, -1))])
    yield Block(grid=Grid("Sizes in pixels", ("", "smallest", "median", "largest"), rows))
    distinct = found.distinct_sizes()
    shown = ", ".join(f"{w}x{h} ({counted(count, image)})" for (w, h), count in distinct[:_MOST_SIZES])
    more = f" and {len(distinct) - _MOST_SIZES:,} more" if len(distinct) > _MOST_SIZES else ""
    kinds = Counter(f"{header.format} {header.mode}" for header in found.survey.headers.values())
    formats = ", ".join(f"{kind} ({count:,})" for kind, count in kinds.most_common())
    yield Block(text=f"{counted(len(distinct), 'size')}: {shown}{more}. Files: {formats}.")


def _group_blocks(found: Preflight, names: bool, most: int) -> Iterator[Block]:
    group = found.group_is
    for text in unknown_groups([record.group for record in found.dataset.records]):
        yield Block(note=f"{text[0].upper()}{text[1:]}.")
    if not (by_group := found.groups()):
        return
    if several := sum(len(of) > 1 for of in by_group.values()):
        verb = "has" if several == 1 else "have"
        yield Block(text=f"{counted(several, group)} {verb} {plural(found.image_is)} of more than one class.")
    ranked = sorted(by_group.items(), key=lambda item: (-item[1].total(), item[0]))
    classes = found.dataset.classes
    rows = [
        [name if names else f"{number}", *(f"{of[label]:,}" for label in classes), f"{of.total():,}"]
        for number, (name, of) in enumerate(ranked[:most], start=1)
    ]
    which = f"the {most} largest of {len(ranked)}" if len(ranked) > most else "the largest first"
    caption = f"{plural(found.image_is).capitalize()} of each {group} by class ({which}"
    caption += ")" if names else "; numbered, without names)"
    yield Block(grid=Grid(caption, [group, *classes, "all"], rows))


def _view_blocks(found: Preflight) -> Iterator[Block]:
    if not found.survey.sizes:
        return
    images = plural(found.image_is)
    other = found.fitting is not None and found.fitting.views != found.requested.views
    rows = [_view_row(fit, "") for fit in found.views]
    if other:
        rows += [_view_row(fit, ", planned") for fit in found.planned_views]
    crops = counted(found.requested.crops, "crop")
    header = ("view", f"fits {images}", "one crop sees", f"{crops} of an augmentation see")
    a = "an" if found.image_is[0] in "aeiou" else "a"
    caption = f"Views (scale:crop), and the share of the area of {a} {found.image_is} of median size that they see"
    yield Block(grid=Grid(caption, header, rows))
    for fit in found.planned_views if other else found.views:
        if fit.too_small and fit.fits:
            yield Block(text=f"Too small for {fit.view}: {few(fit.too_small)}.")
    if found.fitting is None:
        yield Block(
            note=Message("No view fits these {}: they are smaller than any crop that these {encoders} take.", images)
        )
    elif other:
        said = listed([str(view) for view in found.fitting.views])
        left = found.fitting.left_out
        but = f" but {left:,}, which are left out" if left > 1 else " but one, which is left out" if left else ""
        dropped = [f"{choice}" for choice in found.requested.encoders if choice not in found.planned.encoders]
        without = f" and without {listed(dropped)}, which takes no crop so small" if dropped else ""
        yield Block(text=f"Views that fit all {images}{but}: {said}. What follows is planned with them{without}.")


def _view_row(fit: ViewFit, said: str) -> list[str]:
    fits = f"{fit.fits:,} of {fit.fits + len(fit.too_small):,}" if fit.too_small else "all"
    shares = ("–" if share is None else f"{share:.0%}" for share in (fit.one, fit.together))
    return [f"{fit.view}{said}", fit.problem or fits, *shares]


def _copy_blocks(found: Preflight, *, pairs: bool) -> Iterator[Block]:
    copies, group = found.survey.copies, found.group_is
    rows = [["the same file again, used once", f"{len(found.survey.repeated) + found.dataset.repeated:,}"]]
    if copies is not None:
        by_id = {record.image_id: record for record in found.dataset.records}
        kinds: Counter[str] = Counter()
        for copy in copies:
            one, other = by_id[copy.first], by_id[copy.second]
            kinds["of two classes"] += one.label != other.label
            kinds[f"of one {group}"] += one.group is not None and one.group == other.group
            kinds[f"of two {plural(group)}"] += None not in (one.group, other.group) and one.group != other.group
        rows.append(["pairs that seem to show the same pixels", f"{len(copies):,}"])
        rows += [[f"  of these {kind}", f"{count:,}"] for kind, count in kinds.items() if count]
    yield Block(grid=Grid(f"Copies among the {plural(found.image_is)}", ("what", "number"), rows))
    if copies is None:
        yield Block(note="Pictures that show the same pixels were not looked for.")
    if not copies:
        return
    yield Block(text="Folds that bchisto makes keep both of a pair in one part.")
    if pairs:
        shown = [[one.first, one.second, f"{one.correlation:.2f}", f"{one.share:.0%}"] for one in copies[:_MOST_PAIRS]]
        more = f" (the first {_MOST_PAIRS} of {len(copies):,})" if len(copies) > _MOST_PAIRS else ""
        caption = f"Pairs that seem to show the same pixels{more}"
        yield Block(grid=Grid(caption, ("first", "second", "correlation", "of the smaller"), shown, words=(1,)))


def _protocol_blocks(found: Preflight, say: Say) -> Iterator[Block]:
    if not found.protocols:
        yield Block(note="No folds can be made: no image has a label.")
        return
    tested = f"{plural(found.image_is)} tested in a fold"
    header = ("protocol", "kept whole", "possible", "folds", tested, "lack a class")
    yield Block(grid=Grid("Protocols", header, [_protocol_row(one) for one in found.protocols]))
    for one in found.protocols:
        if one.refused:
            yield Block(lead=f"{one.folds} {one.how}:", text=f"not possible. {say(one.refused)}.")
    if lines := [line for one in found.protocols for line in _lacking_rows(one)]:
        caption = "Folds in which a part has no image of a class: their figures say nothing of it"
        yield Block(grid=Grid(caption, ("protocol", "part", "missing classes", "folds"), lines, words=(3,)))
    said: dict[str, list[str]] = {}
    for one in found.protocols:
        for text in one.warnings:
            said.setdefault(text, []).append(f"{one.folds} {one.how}")
    for text, names in said.items():
        yield Block(lead=f"{', '.join(names)}:", text=f"{say(text)}.")


def _protocol_row(one: ProtocolCheck) -> list[str]:
    name = one.folds if one.group_by is None else f"{one.folds}, group by {one.group_by}"
    if one.refused:
        return [name, one.how, "no", "–", "–", "–"]
    tested = [fold.images.get("test", 0) for fold in one.parts]
    least, most = min(tested), max(tested)
    spread = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    lacking = f"{len(one.lacking)} of {len(one.parts)} folds" if one.lacking else "none"
    return [name, one.how, "yes", f"{len(one.parts)}", spread, lacking]


def _lacking_rows(one: ProtocolCheck) -> list[Sequence[str]]:
    """Return a row for each set of classes that a part lacks in some folds."""
    folds: dict[tuple[str, str], list[str]] = {}
    for fold in one.lacking:
        for part, classes in fold.missing.items():
            folds.setdefault((part, ", ".join(classes)), []).append(f"{fold.fold}")
    return [[f"{one.folds} {one.how}", *key, few(numbers, most=_MOST_FOLDS)] for key, numbers in folds.items()]


def _estimate_blocks(found: Preflight) -> Iterator[Block]:
    cost = found.estimate
    if cost is None:
        return
    size = "not known before the network is built" if cost.bytes is None else _bytes(cost.bytes)
    where = f"{counted(cost.gpus, 'GPU')}" if cost.gpus else f"{counted(cost.processes, 'process')} of this machine"
    rows = [
        ["images", f"{cost.images:,}"],
        ["stores", f"{cost.stores:,}"],
        ["units", f"{cost.units:,}"],
        ["time", f"about {_duration(cost.seconds)}"],
        ["between", f"{_duration(cost.shortest)} and {_duration(cost.longest)}"],
        ["disk", size],
    ]
    yield Block(grid=Grid(f"bchisto featurize on {where}, estimated", ("what", "number"), rows))
    how = (
        "Timed on one image here and now; other images, and other work on this machine, take their share."
        if cost.timed
        else Message(
            "Reckoned from recorded speeds of CPU cores, of which yours may do a quarter or four times; "
            "a GPU is far faster. {timed:True} loads the networks and times them here."
        )
    )
    yield Block(note=how)
    strange = [choice.name for choice in found.planned.encoders if not encoder_facts(choice).recorded]
    if strange and not cost.timed:
        said = f"The speed of {listed(strange)} is not recorded, and was taken for that of a middling network."
        yield Block(note=said)
    if cost.dense is not None and cost.seconds > _LONG and cost.dense < cost.seconds / 2:
        yield Block(
            text=Message(
                "{mode:dense}, which makes other descriptors, would take about {}; fewer {augmentations} "
                "and one of the {encoders} make a first trial short.",
                _duration(cost.dense),
            )
        )


def _duration(seconds: float) -> str:
    """Write a time no finer than an estimate is.

    Examples
    --------
    >>> _duration(50), _duration(5000), _duration(50_000), _duration(500_000)
    ('50 seconds', '83 minutes', '14 hours', '6 days')
    """
    for unit, length, most in (("second", 1, 90), ("minute", 60, 90), ("hour", 3600, 48)):
        if seconds < most * length:
            return counted(max(1, round(seconds / length)), unit)
    return counted(round(seconds / 86400), "day")


def _bytes(number: int) -> str:
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{max(1, round(number / 1e6)):,} MB"


def short_section(found: Preflight) -> Section:
    """Return what it all comes to, in a few sentences."""
    dataset, image = found.dataset, found.image_is
    groups = found.groups()
    of = f" of {counted(len(groups), found.group_is)}" if groups else ""
    classes = counted(len(dataset.classes), "class")
    said = [f"{counted(len(dataset), image)}{of} in {classes}, read as {dataset.name}."]
    if found.wrong:
        said.append(f"{counted(len(found.wrong), 'finding')} to look at.")
    if found.fitting is not None:
        said.append(f"Views that can be used: {listed([str(view) for view in found.fitting.views])}.")
    if (protocol := found.protocol) is not None:
        lacking = f", though {len(protocol.lacking)} of them lack a class in a part" if protocol.lacking else ""
        said.append(f"Folds that can be used: {protocol.folds}, {protocol.how}{lacking}.")
    elif found.protocols:
        said.append("No protocol that was tried can be used.")
    if (cost := found.estimate) is not None:
        said.append(f"Describing the {plural(image)} takes about {_duration(cost.seconds)} here.")
    return Section("In short", [Block(text=" ".join(said))])


def grouped_findings(found: Preflight, findings: Iterable[Finding]) -> list[tuple[str, str, list[str]]]:
    """Return level, message and files of findings, those with the same message together, without the paths of files."""
    paths = {record.image_id: f"{record.path}: " for record in found.dataset.records}
    named = [(one, paths.get(one.file, "\n")) for one in findings]
    return grouped(
        replace(one, message=one.message.removeprefix(path)) if one.message.startswith(path) else one
        for one, path in named
    )


def findings_text(found: Preflight, *, say: Say) -> str:
    """Write all findings for a terminal, files with the same one in one line."""
    ranked = grouped_findings(found, found.survey.findings)
    lines = [f"{level:8}{few(names)}: {say(message)}" for level, message, names in ranked]
    if any(", ".join(names) != few(names) for _, _, names in ranked):
        lines.append("all of it as JSON names every file")
    return "\n".join(lines)


def findings_section(found: Preflight, *, say: Say) -> Section:
    """Return the findings, files with the same one together; notes of copies stand in their own section."""
    first_of: dict[str, list[str]] = {}
    for copy in found.survey.copies or ():
        first_of.setdefault(copy.second, []).append(copy.first)

    def is_shown(finding: Finding) -> bool:
        copies = first_of.get(finding.file, ())
        return finding.level != "note" or not any(f" {one} (" in finding.message for one in copies)

    ranked = grouped_findings(found, filter(is_shown, found.survey.findings))
    if not ranked:
        return Section("Findings", [Block(text="Nothing was found that does not fit the layout.")])
    blocks = [
        Block(lead=f"{level.capitalize()}, {few(names, most=_MOST_FILES)}:", text=say(message))
        for level, message, names in ranked[:_MOST_FINDINGS]
    ]
    if (further := len(ranked) - _MOST_FINDINGS) > 0:
        blocks.append(Block(note=f"And {further:,} further ones, which `bchisto data check` prints."))
    return Section("Findings", blocks)


def next_section(found: Preflight, commands: Sequence[str]) -> Section:
    """Return what to run next."""
    blocks = []
    if found.refused:
        what = "this error" if len(found.refused) == 1 else f"these {len(found.refused)} errors"
        blocks.append(Block(note=f"First mend {what}, for which the other commands refuse the dataset."))
    blocks.append(Block(items=commands))
    return Section("What to run next", blocks)
