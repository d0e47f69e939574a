"""Stage 1 as a whole: check the input, work the blocks, merge the stores."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..arguments import PathInput, as_path
from ..data import PARTICULARS, Dataset, ImageSelection, UniqueImages, stain_notes
from ..encoders import check_encoder_name, executed_precision, gives_maps, imitates_bfloat16
from ..errors import OutputError, OverwrittenError
from ..jobs import (
    Resources,
    Share,
    UnitSpec,
    Work,
    do_missing,
    remove_leftovers,
    remove_output,
    remove_tree,
    set_aside,
    visible_gpus,
    write_rows,
)
from ..messages import Message
from ..options import plain_options
from ..runs import Claim, RunRecord, record_run
from .blocks import Block, Target, choose_targets, claim_parts, images_per_block, make_blocks
from .growth import Growth, plan_growth
from .parts import Part, Rows, merge_rows
from .settings import FeaturizeSettings
from .store import open_store
from .workshop import Workshop, steps_of, stretches

_log = logging.getLogger(__name__)

_SELECTING = ("magnifications", "lesions", "only")
"""Options that leave images out."""


@dataclass(frozen=True)
class FeaturizeResult:
    """What stage 1 did.

    Attributes
    ----------
    stores : tuple of Path
        The finished stores, or where they will be.
    merged : bool
        Whether they are finished; a shard leaves that to the call without one.
    images : int
        Images asked for.
    failures : tuple of (image_id, message)
        Images left out; also in ``RUN/failures.csv``.
    skipped_normalisation : tuple of str
        Images with too little tissue, described without normalisation.
    share : Share or None
        Of a shard: what it has of the work, and how much is done.
    trainable : bool
        Whether there are labels of two classes or more, without which nothing can be trained.
    doubtful_stains : tuple of str
        Images whose normalised stains are in doubt, see `bchisto.stains.check_stains`.
    """

    stores: tuple[Path, ...]
    merged: bool
    images: int
    failures: tuple[tuple[str, str], ...]
    skipped_normalisation: tuple[str, ...]
    share: Share | None = None
    trainable: bool = True
    doubtful_stains: tuple[str, ...] = ()


def featurize(
    images: ImageSelection | PathInput,
    *,
    out: PathInput,
    settings: FeaturizeSettings | None = None,
    work: Work | None = None,
) -> FeaturizeResult:
    """Turn images into descriptor stores below ``out/features``; does only what is missing.

    Parameters
    ----------
    images : ImageSelection or path
        Which images, and how they are read; of a path all, as their layout is recognised.
    out : str or Path
        The run folder.
    settings : FeaturizeSettings, optional
        What to compute; the published settings by default.
    work : Work, optional
        How it is done; a unit is a block of images. By default a process per core, or one per GPU where Keras's backend
        sees any.

    Returns
    -------
    FeaturizeResult

    Raises
    ------
    InputError
        Refused before any work: dataset errors, images smaller than a crop, other settings in `out`.
    ImageError
        An image that cannot be decoded or used; finished blocks are kept.
    """
    run, selection = as_path(out, "out"), ImageSelection.of(images)
    settings, how = settings or FeaturizeSettings(), Work.of(work)
    for choice in settings.encoders:
        check_encoder_name(choice)
    config = {"out": str(run), **plain_options(selection, settings, how)}
    selection.refuse_as_run(run)
    settings = _executed(settings)
    with record_run(run, command="featurize", config=config) as record:
        folder = run / "features"
        opened = selection.open(
            cache=folder / "images.csv",
            stain=settings.stain,
            colours=settings.color_range != (1.0, 1.0),
            colours_off=Message("{color_range:1 1}"),
            needs=settings.needs,
            skip_errors=how.skip_errors,
        )
        unique, refused = opened.unique, opened.refused
        chosen = {name: value for name, value in plain_options(selection).items() if name in _SELECTING}
        targets = choose_targets(unique, settings=settings, folder=folder, road=_road(settings), selection=chosen)
        if how.overwrite:
            for target in targets:
                set_aside(target.path)
                set_aside(target.parts)
        growth = plan_growth(targets, unique=unique, skip_errors=how.skip_errors)
        size = images_per_block(settings)
        blocks = make_blocks(unique, growth.needs(unique.dataset.records), size=size)
        record.note(
            images=len(unique.dataset),
            images_sha256=unique.digest,
            synthetic=unique.dataset.synthetic,
            blocks=len(blocks),
            images_per_block=len(blocks[0].records) if blocks else size,
            weights_sha256={target.header["encoder"]: target.header["weights_sha256"] for target in targets},
        )
        _say_growth(record, growth)
        workshop = Workshop(growth.targets, settings, how.skip_errors)
        if not growth.rows:
            _log.info("%s complete already", "the store is" if len(targets) == 1 else f"all {len(targets)} stores are")
        else:
            # OpenVINO runs on the CPU, whatever Keras sees
            _work(workshop, blocks, how=how, resources=how.networks() if settings.on_keras else how.cpu())
        failures, merged = refused, True
        skipped: tuple[str, ...] = ()
        share = None
        doubtful: tuple[str, ...] = ()
        if how.shard is not None:
            merged = all(workshop.finished(target) for target in targets)
            if not merged:
                done = sum(map(workshop.has_parts, blocks))
                share = Share(how.shard, len(how.shard.select(blocks)), done, len(blocks), "blocks")
                record.note(share=share.content())
        else:
            found, skipped, doubtful = _merge(workshop, blocks, growth, unique, refused)
            failures = tuple({**dict(refused), **found}.items())
            known = opened.settle(folder / PARTICULARS, failed=len(failures) - len(refused))
            record.note(flow={**known.flow})
        _write_failures(run, failures, source=opened.source, keep=how.shard is not None)
        record.note(stores=[str(target.path.relative_to(run)) for target in targets], failures=len(failures))
    return FeaturizeResult(
        tuple(target.path for target in targets),
        merged,
        len(unique.dataset) + len(refused),
        failures,
        skipped,
        share,
        not unique.dataset.untrainable,
        doubtful,
    )


def _executed(settings: FeaturizeSettings) -> FeaturizeSettings:
    """Return the settings with the precision in which the engine computes here, which the stores record."""
    precision = executed_precision(settings.precision, engine=settings.engine)
    if precision != settings.precision:
        _log.warning(
            Message(
                "{precision} {}: OpenVINO computes in {} on this CPU; recorded as {}",
                settings.precision, precision, precision,
            )
        )  # fmt: skip
    elif settings.engine == "openvino" and precision == "bfloat16" and imitates_bfloat16():
        _log.warning(
            Message("{precision} bfloat16: this CPU has no bfloat16; OpenVINO imitates it, slower than float32")
        )
    return dataclasses.replace(settings, precision=precision)


def _road(settings: FeaturizeSettings) -> str:
    """Say where colours, crops and pooling are worked out, see `describe_images`: ``device`` or ``cpu``."""
    able = settings.mode == "exact" and settings.engine == "keras" and all(map(gives_maps, settings.encoders))
    return "device" if able and visible_gpus() else "cpu"


def _say_growth(record: RunRecord, growth: Growth) -> None:
    """Say what changed since stores were finished, and keep it in the record."""
    changes = {name: change for name, change in growth.changes.items() if change}
    for change in dict.fromkeys(changes.values()):
        names = ", ".join(name for name, found in changes.items() if found == change)
        _log.log(logging.WARNING if change.removed else logging.INFO, "%s: %s", names, change)
    if changes:
        record.note(grown={name: change.json() for name, change in changes.items()})
    for target in growth.targets:
        more = {rows.count for rows in growth.rows.get(target.name, {}).values()} - {target.header["augmentations"]}
        if more:
            _log.info("%s: %d augmentations are there, of %d", target.name, min(more), target.header["augmentations"])


def _work(workshop: Workshop, blocks: Sequence[Block], *, how: Work, resources: Resources) -> None:
    needed = {name for block in blocks for name in block.targets}
    claims: list[Claim] = []

    def begin() -> None:
        packages = {name for claim in claims for name in claim.made_with}
        environments = how.environments(workshop.targets[0].path.parent, packages)
        for claim in claims:
            claim.note_work(environments)

    for target in workshop.targets:
        remove_leftovers(target.path)
        if target.name in needed:
            with workshop.unless_finished(target):
                claim = claim_parts(target)
                claim.take()
                claims.append(claim)

    bundled = functools.partial(stretches, resources=resources)
    # as many at once as there would be if all were missing: it decides about helpers alone
    helpers = resources.helpers(len(bundled(blocks))) if resources.gpus else 1
    do_missing(
        dataclasses.replace(workshop, helpers=helpers),
        blocks,
        UnitSpec(
            read=lambda block: None if workshop.missing(block) else True,
            steps=lambda block: steps_of((block,), workshop.settings),
            label="featurize",
            said="blocks are done",
            step_name="augmentations",
            bundled=bundled,
        ),
        how=how,
        resources=resources,
        begin=begin,
    )


def _merge(
    workshop: Workshop,
    blocks: Sequence[Block],
    growth: Growth,
    unique: UniqueImages,
    refused: Sequence[tuple[str, str]],
) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    """Merge every target that is not finished; return failures, images without normalisation, and doubtful ones."""
    failures: dict[str, str] = {}
    skipped: dict[str, None] = {}
    doubtful: dict[str, None] = {}
    for target in workshop.targets:
        if not workshop.finished(target):
            if target.name not in growth.rows:
                raise OverwrittenError(f"{target.path}: overwritten meanwhile; run the same command again")
            if (parts := workshop.whole_parts(target, blocks)) is not None:
                with workshop.unless_finished(target):
                    _write_store(target, parts, growth.rows[target.name], unique, refused)
        with open_store(target.path) as store:
            failures.update(json.loads(store.header["failures"]))
            outcome = store.stain_outcome()
            skipped.update(dict.fromkeys(outcome.skipped))
            doubtful.update(dict.fromkeys(outcome.doubtful))
        try:
            remove_tree(target.parts)
        except OutputError as error:  # the store is whole, and nothing reads them any more
            _log.warning("%s", error)
    for text in stain_notes(skipped, doubtful, images=len(unique.dataset), stain=workshop.settings.stain):
        _log.warning("%s", text)
    return failures, tuple(skipped), tuple(doubtful)


def _write_store(
    target: Target,
    parts: Sequence[Part],
    kept: Mapping[str, Rows],
    unique: UniqueImages,
    refused: Sequence[tuple[str, str]],
) -> None:
    """Put a store together from the rows that stay and those that were described."""
    failed = dict(failure for part in parts for failure in part.failures)
    described = {image: rows for part in parts for image, rows in part.rows().items()}
    images = [
        (record, [rows[record.image_id] for rows in (kept, described) if record.image_id in rows])
        for record in unique.dataset.records
        if record.image_id not in failed
    ]
    merge_rows(target.path, images, header=target.header, dim=target.dim, failures=[*refused, *failed.items()])


def _write_failures(run: Path, failures: Sequence[tuple[str, str]], *, source: Dataset, keep: bool) -> None:
    path = run / "failures.csv"
    if failures:
        paths = {record.image_id: str(record.path) for record in source.records}
        write_rows(path, ("image_id", "path", "error"), [(i, paths.get(i, ""), text) for i, text in failures])
    elif not keep:
        remove_output(path)
