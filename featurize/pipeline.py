"""Stage 1 as a whole: check the input, describe what is missing, put the stores together."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core import Message, OutputError, PathInput, StoreError, as_path, plain_options
from ..data import PARTICULARS, Dataset, ImageChange, ImageSelection, UniqueImages, stain_notes
from ..encoders import check_encoder_name, executed_precision, gives_maps, imitates_bfloat16
from ..jobs import (
    Resources,
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
from ..runs import RunRecord, record_run
from .blocks import images_per_block
from .merge import copied_rows, write_store
from .parts import Finished, row_keys
from .plan import StorePlan, plan_stores, read_finished
from .settings import FeaturizeSettings
from .store import StainOutcome, look_first, open_store
from .unit import Unit, describe_units, in_one_go, make_units, unless_finished

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
        plans = plan_stores(unique, settings=settings, folder=folder, device=_device(settings), selection=chosen)
        if how.overwrite:
            for plan in plans:
                set_aside(plan.path)
                set_aside(plan.folder)
        keys = {plan.name: row_keys(plan.settings, unique.sha256) for plan in plans}
        look_first(plan.path for plan in plans)
        finished, changes = _finished(plans, unique, how)
        size = images_per_block(settings)
        cut = functools.partial(
            make_units, unique.dataset.records, keys=keys, size=size, augmentations=settings.augmentations,
            skip_errors=how.skip_errors,
        )  # fmt: skip
        units = cut(finished)
        record.note(
            images=len(unique.dataset),
            images_sha256=unique.digest,
            synthetic=unique.dataset.synthetic,
            blocks=sum(bool(unit.lacking) for unit in units),
            images_per_block=size,
            weights_sha256={plan.settings["encoder"]: plan.settings["weights_sha256"] for plan in plans},
        )
        _say_changes(record, changes)
        if not finished:
            _log.info("%s complete already", "the store is" if len(plans) == 1 else f"all {len(plans)} stores are")
        else:
            # OpenVINO runs on the CPU, whatever Keras sees
            resources = how.networks() if settings.on_keras else how.cpu()
            _describe(units, plans, settings, how=how, resources=resources)
        failures, merged = refused, True
        skipped: tuple[str, ...] = ()
        share = None
        doubtful: tuple[str, ...] = ()
        if how.shard is not None:
            finished, _ = _finished(plans, unique, how)
            merged = not finished
            if not merged:
                done = sum(not unit.lacking for unit in cut(finished))
                share = Share(how.shard, len(how.shard.select(units)), done, len(units), "blocks")
                record.note(share=share.content())
        else:
            for plan in plans:
                if plan.name in finished:
                    _merge(plan, keys[plan.name], unique=unique, refused=refused, skip_errors=how.skip_errors)
                found, outcome = _close(plan)
                failures = tuple({**dict(failures), **found}.items())
                skipped = tuple(dict.fromkeys((*skipped, *outcome.skipped)))
                doubtful = tuple(dict.fromkeys((*doubtful, *outcome.doubtful)))
            for text in stain_notes(skipped, doubtful, images=len(unique.dataset), stain=settings.stain):
                _log.warning("%s", text)
            known = opened.settle(folder / PARTICULARS, failed=len(failures) - len(refused))
            record.note(flow={**known.flow})
        _write_failures(run, failures, source=opened.source, keep=how.shard is not None)
        record.note(stores=[str(plan.path.relative_to(run)) for plan in plans], failures=len(failures))
    return FeaturizeResult(
        tuple(plan.path for plan in plans),
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


def _device(settings: FeaturizeSettings) -> str:
    """Say where colours, crops and pooling are worked out, see `describe_images`: ``gpu`` or ``cpu``."""
    able = settings.mode == "exact" and settings.engine == "keras" and all(map(gives_maps, settings.encoders))
    return "gpu" if able and visible_gpus() else "cpu"


def _finished(
    plans: Sequence[StorePlan], unique: UniqueImages, how: Work
) -> tuple[dict[str, Finished], dict[str, ImageChange]]:
    """Return what is finished, and what changed, of each store that is not whole."""
    finished, changes = {}, {}
    for plan in plans:
        # a shard leaves numbers to the call that puts all together
        state = read_finished(plan, unique, skip_errors=how.skip_errors, values=how.shard is None)
        if state is not None:
            finished[plan.name], changes[plan.name] = state
    return finished, changes


def _say_changes(record: RunRecord, changes: Mapping[str, ImageChange]) -> None:
    """Say what changed since stores were finished, and keep it in the record."""
    changed = {name: change for name, change in changes.items() if change}
    for change in dict.fromkeys(changed.values()):
        names = ", ".join(name for name, own in changed.items() if own == change)
        _log.log(logging.WARNING if change.removed else logging.INFO, "%s: %s", names, change)
    if changed:
        record.note(grown={name: change.json() for name, change in changed.items()})


def _describe(
    units: Sequence[Unit],
    plans: Sequence[StorePlan],
    settings: FeaturizeSettings,
    *,
    how: Work,
    resources: Resources,
) -> None:
    lacking = {name for unit in units for batch in unit.lacking for name in batch.keys}
    folders = [plan.parts for plan in plans if plan.name in lacking]
    for plan in plans:
        remove_leftovers(plan.path)

    def begin() -> None:
        packages = {name for folder in folders for name in folder.made_with}
        environments = how.environments(plans[0].path.parent, packages)
        for folder in folders:
            folder.begin()
            folder.note_work(environments)

    bundled = functools.partial(in_one_go, resources=resources)
    do_missing(
        functools.partial(
            describe_units,
            plans={plan.name: plan for plan in plans},
            settings=settings,
            skip_errors=how.skip_errors,
            # as many at once as there would be if all were missing: it decides about helpers alone
            helpers=resources.helpers(len(bundled(units))) if resources.gpus else 1,
        ),
        units,
        read=lambda unit: None if unit.lacking else True,
        steps=lambda unit: unit.steps(settings.augmentations),
        label="featurize",
        finished="blocks are done",
        step_name="augmentations",
        bundled=bundled,
        work=how,
        resources=resources,
        begin=begin,
    )


def _merge(
    plan: StorePlan,
    keys: Mapping[str, str],
    *,
    unique: UniqueImages,
    refused: Sequence[tuple[str, str]],
    skip_errors: bool,
) -> None:
    """Put a store together, unless another process does meanwhile."""
    with unless_finished(plan, skip_errors=skip_errors):
        if (state := read_finished(plan, unique, skip_errors=skip_errors, values=False)) is None:
            return
        finished, _ = state
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


def _write_failures(run: Path, failures: Sequence[tuple[str, str]], *, source: Dataset, keep: bool) -> None:
    path = run / "failures.csv"
    if failures:
        paths = {record.image_id: str(record.path) for record in source.records}
        write_rows(path, ("image_id", "path", "error"), [(i, paths.get(i, ""), text) for i, text in failures])
    elif not keep:
        remove_output(path)
