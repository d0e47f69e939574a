"""Stage 1 as a whole: check the input, describe what is missing, put the stores together."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core import Message, OutputError, PathInput, StoreError, as_path, plain_options
from ..data import FACTS_FILE, Dataset, ImageSelection, UniqueImages
from ..encoders import check_encoder_name, executed_precision, imitates_bfloat16
from ..jobs import (
    Shard,
    Share,
    Work,
    do_missing,
    remove_leftovers,
    remove_output,
    remove_tree,
    set_aside,
    visible_gpus,
    write_rows,
)
from ..runs import ImageChange, RunRecord, record_run, write_listing
from ..stains import stain_notes
from .parts import Finished, copied_rows, part_path, row_keys, write_store
from .plan import StorePlan, plan_stores, read_finished
from .scales import seen_scales
from .settings import FeaturizeSettings, images_per_block
from .store import StainOutcome, look_first, open_store
from .unit import Unit, bundle_units, describe_units, make_units

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
    settings, work = settings or FeaturizeSettings(), Work.of(work)
    for choice in settings.encoders:
        check_encoder_name(choice)
    config = {"out": str(run), **plain_options(selection, settings, work)}
    selection.refuse_as_run(run)
    settings = _executed(settings)
    with record_run(run, command=work.recorded_as("featurize"), config=config, shard=work.shard) as record:
        folder = run / "features"
        opened = selection.open(
            cache=folder / "images.csv",
            stain=settings.stain,
            colours=settings.color_range != (1.0, 1.0),
            colours_off=Message("{color_range:1 1}"),
            needs=settings.needs,
            skip_errors=work.skip_errors,
        )
        unique = opened.unique
        for seen in seen_scales(unique.dataset.records, settings):
            if seen.warning:
                _log.warning("%s", seen.warning)
        plans = plan_stores(
            unique,
            settings=settings,
            folder=folder,
            device=_device(settings),
            selection={name: value for name, value in plain_options(selection).items() if name in _SELECTING},
            skip_errors=work.skip_errors,
        )
        if work.overwrite:
            for plan in plans:
                set_aside(plan.path)
                set_aside(plan.folder)
        look_first(plan.path for plan in plans)
        size = images_per_block(settings)
        mpp = {record.image_id: record.mpp for record in unique.dataset.records}
        keys = {plan.name: row_keys(plan.settings, unique.sha256, mpp=mpp) for plan in plans}
        finished = _read_finished(record, plans, unique, keys, size=size, opened=work.shard is None)
        units = make_units(unique.dataset.records, finished, keys, augmentations=settings.augmentations, size=size)
        record.note(
            images=len(unique.dataset),
            images_sha256=unique.digest,
            synthetic=unique.dataset.synthetic,
            blocks=sum(map(bool, units)),
            images_per_block=size,
            weights_sha256={plan.settings["encoder"]: plan.settings["weights_sha256"] for plan in plans},
        )
        if not finished:
            _log.info(
                "%s complete already",
                "the feature file is" if len(plans) == 1 else f"all {len(plans)} feature files are",
            )
        else:
            _describe(units, plans, settings, keys, size=size, work=work)
        failures = dict(opened.refused)
        outcomes: list[StainOutcome] = []
        share = None
        if work.shard is not None:
            if (share := _share(work.shard, units, plans)) is not None:
                record.note(share=share.content())
        else:
            for plan in plans:
                if plan.name in finished:
                    _merge(plan, finished[plan.name], units, keys[plan.name], unique=unique, refused=opened.refused)
                left_out, outcome = _close(plan)
                failures |= left_out
                outcomes.append(outcome)
            known = opened.settle(folder / FACTS_FILE, failed=len(failures) - len(opened.refused))
            record.note(flow={**known.flow})
        skipped = tuple(dict.fromkeys(image for outcome in outcomes for image in outcome.skipped))
        doubtful = tuple(dict.fromkeys(image for outcome in outcomes for image in outcome.doubtful))
        for text in stain_notes(skipped, doubtful, images=len(unique.dataset), stain=settings.stain):
            _log.warning("%s", text)
        _write_failures(run, failures, source=opened.source, keep=work.shard is not None)
        record.note(stores=[str(plan.path.relative_to(run)) for plan in plans], failures=len(failures))
    return FeaturizeResult(
        tuple(plan.path for plan in plans),
        share is None,
        len(unique.dataset) + len(opened.refused),
        tuple(failures.items()),
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


def _device(settings: FeaturizeSettings) -> str:
    """Say where colours, crops and pooling are worked out, see `describe_images`: ``gpu`` or ``cpu``."""
    return "gpu" if settings.on_device and visible_gpus() else "cpu"


def _read_finished(
    record: RunRecord,
    plans: Sequence[StorePlan],
    unique: UniqueImages,
    keys: Mapping[str, Mapping[str, str]],
    *,
    size: int,
    opened: bool,
) -> dict[str, Finished]:
    """Return what is finished of each store that is not whole; log and record what changed since stores were finished.

    Parts are not `opened` in a shard, which leaves them to the call that puts all together.
    """
    finished: dict[str, Finished] = {}
    changes: dict[str, ImageChange] = {}
    for plan in plans:
        images = () if opened else list(keys[plan.name].values())
        blocks = [images[start : start + size] for start in range(0, len(images), size)]
        if (state := read_finished(plan, unique, blocks=blocks)) is not None:
            finished[plan.name], change = state
            if change:
                changes[plan.name] = change
    for change in dict.fromkeys(changes.values()):
        names = ", ".join(name for name, own in changes.items() if own == change)
        _log.log(logging.WARNING if change.removed else logging.INFO, "%s: %s", names, change)
    if changes:
        record.note(grown={name: change.json() for name, change in changes.items()})
    return finished


def _describe(
    units: Sequence[Unit],
    plans: Sequence[StorePlan],
    settings: FeaturizeSettings,
    keys: Mapping[str, Mapping[str, str]],
    *,
    size: int,
    work: Work,
) -> None:
    # OpenVINO runs on the CPU, whatever Keras sees
    resources = work.networks() if settings.on_keras else work.cpu()
    lacking = {name for unit in units for batch in unit for name in batch.keys}
    open_plans = [plan for plan in plans if plan.name in lacking]
    for plan in plans:
        remove_leftovers(plan.path)

    def begin() -> None:
        packages = {name for plan in open_plans for name in plan.parts.made_with}
        environments = work.environments(plans[0].path.parent, packages)
        for plan in open_plans:
            plan.parts.begin()
            plan.parts.note_work(environments)
            write_listing(plan.folder, "blocks", _files(plan, units, list(keys[plan.name].values()), size=size))

    bundled = functools.partial(bundle_units, resources=resources, size=size)
    do_missing(
        functools.partial(
            describe_units,
            plans={plan.name: plan for plan in plans},
            settings=settings,
            # as many at once as there would be if all were missing: it decides about helpers alone
            helpers=resources.helpers(len(bundled(units))) if resources.gpus else 1,
        ),
        units,
        read=lambda unit: None if unit else True,
        steps=lambda unit: sum(batch.steps for batch in unit),
        label="featurize",
        finished="blocks are done",
        step_name="augmentations",
        bundled=bundled,
        work=work,
        resources=resources,
        begin=begin,
    )


def _files(plan: StorePlan, units: Sequence[Unit], keys: Sequence[str], *, size: int) -> list[list[str]]:
    """Return the parts of each block; of one that lacks nothing its part, or none if an earlier store has its rows."""
    files = []
    for number, unit in enumerate(units):
        parts = [batch.part(plan) for batch in unit if plan.name in batch.keys]
        whole = part_path(plan.folder, keys[number * size : (number + 1) * size], first=0, count=plan.augmentations)
        files.append([part.name for part in parts] or [whole.name if whole.is_file() else ""])
    return files


def _share(shard: Shard, units: Sequence[Unit], plans: Sequence[StorePlan]) -> Share | None:
    """Return how much of all blocks is done by whichever shard; None if another process finished all stores."""
    missing = {plan.name: plan for plan in plans if not plan.is_finished()}
    done = sum(
        all(batch.part(missing[name]).is_file() for batch in unit for name in batch.keys if name in missing)
        for unit in units
    )
    return Share(shard, len(shard.select(units)), done, len(units), "blocks") if missing else None


def _merge(
    plan: StorePlan,
    finished: Finished,
    units: Sequence[Unit],
    keys: Mapping[str, str],
    *,
    unique: UniqueImages,
    refused: Sequence[tuple[str, str]],
) -> None:
    """Put a store together from what was finished before and the parts of the units, unless another process did."""
    with plan.unless_finished():
        if plan.is_finished():
            return
        for batch in (batch for unit in units for batch in unit if plan.name in batch.keys):
            finished.add_part(batch.part(plan), dim=plan.dim)
        rows = {image: finished.of(key, plan.augmentations) for image, key in keys.items()}
        whole = [record for record in unique.dataset.records if rows[record.image_id][1] == plan.augmentations]
        there = {record.image_id for record in whole}
        failed = [(image, finished.failures[key]) for image, key in keys.items()
                  if image not in there and key in finished.failures]  # fmt: skip
        if lacking := len(keys) - len(whole) - len(failed):
            raise StoreError(f"{plan.path}: {lacking} of {len(keys)} images are missing; run the same command again")
        if plan.parts.begun:
            plan.parts.hold()
        images = [(keys[record.image_id], rows[record.image_id][0]) for record in whole]
        write_store(
            plan.path,
            whole,
            copied_rows(images, augmentations=plan.augmentations, dim=plan.dim),
            keys=keys,
            contents=unique.sha256,
            settings=plan.settings,
            origin=plan.origin,
            dim=plan.dim,
            failures=[*refused, *failed],
        )


def _close(plan: StorePlan) -> tuple[dict[str, str], StainOutcome]:
    """Remove the parts of a finished store; return its failures, and what became of stains."""
    with open_store(plan.path) as store:
        failures, outcome = dict(store.header["failures"]), store.stain_outcome()
    try:
        remove_tree(plan.folder)
    except OutputError as error:  # the store is whole, and nothing reads them any more
        _log.warning("%s", error)
    return failures, outcome


def _write_failures(run: Path, failures: Mapping[str, str], *, source: Dataset, keep: bool) -> None:
    path = run / "failures.csv"
    if failures:
        paths = {record.image_id: str(record.path) for record in source.records}
        write_rows(path, ("image_id", "path", "error"), [(i, paths.get(i, ""), text) for i, text in failures.items()])
    elif not keep:
        remove_output(path)
