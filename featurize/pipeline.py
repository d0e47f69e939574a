"""Feature extraction as a whole: check the input, compute missing features, and write the feature files."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core import (
    ImageError,
    Message,
    OutputError,
    OverwrittenError,
    PathInput,
    StoreError,
    converted,
    plain_options,
)
from ..core.jobs import (
    Shard,
    Share,
    Work,
    ask_workers,
    do_missing,
    remove_leftovers,
    remove_tree,
    set_aside,
    write_or_remove,
)
from ..core.runs import ImageChange, RunRecord, record_run, write_listing
from ..data import (
    FACTS_FILE,
    Fingerprint,
    ImageFiles,
    ImageSelection,
    OpenedImages,
    pixel_findings,
    report_findings,
)
from ..encoders import Encoder, check_encoder_name
from ..stains import stain_notes
from .plan import StorePlan, describing_resources, encoder_of, executed_settings, plan_stores
from .presets import seen_scales
from .settings import FeaturizeSettings, images_per_block
from .store import StainOutcome, open_store, write_store
from .stream import rehearse, time_describing
from .units import (
    Finished,
    Unit,
    bundle_units,
    describe_units,
    find_finished,
    make_units,
    pack_path,
    read_kept,
    read_rows,
    row_keys,
    take_over,
)

_log = logging.getLogger(__name__)

_SELECTING = ("magnifications", "lesions", "only")
"""Options that select a part of the images."""


@dataclass(frozen=True)
class FeaturizeResult:
    """Result of feature extraction.

    Attributes
    ----------
    stores : tuple of Path
        Paths of the feature files, finished or not.
    merged : bool
        Whether the feature files are finished. A shard leaves this to a later call without a shard.
    images : int
        Number of requested images.
    failures : tuple of (image_id, message)
        Images left out; also in ``RUN/failures.csv``.
    share : Share or None
        For a shard, its share of the work, and how much is done.
    trainable : bool
        Whether there are labels of at least two classes, which training needs.
    """

    stores: tuple[Path, ...]
    merged: bool
    images: int
    failures: tuple[tuple[str, str], ...]
    share: Share | None = None
    trainable: bool = True


def featurize(
    images: ImageSelection | PathInput,
    *,
    out: PathInput,
    settings: FeaturizeSettings | None = None,
    work: Work | None = None,
) -> FeaturizeResult:
    """Extract features of images into feature files in ``out/features``. Finished features are not computed again.

    Parameters
    ----------
    images : ImageSelection or path
        Images, and how to read them. For a path, all its images, with the layout detected automatically.
    out : str or Path
        The run folder.
    settings : FeaturizeSettings, optional
        Settings of feature extraction; the published settings by default.
    work : Work, optional
        How the work is distributed; a unit is a block of images. By default one process per core, or one per GPU if
        Keras's backend finds any.

    Returns
    -------
    FeaturizeResult

    Raises
    ------
    InputError
        The dataset has errors, images are smaller than a crop, or `out` has other settings. Checked before any work.
    ImageError
        An image cannot be decoded or used. Finished blocks are kept.
    """
    run, selection = converted(out, "out", Path), ImageSelection.of(images)
    settings, work = settings or FeaturizeSettings(), work or Work()
    for choice in settings.encoders:
        check_encoder_name(choice)
    selection.refuse_as_run(run)
    settings = executed_settings(settings, run / "run.json", anew=work.overwrite)
    config = {"out": str(run), **plain_options(selection, settings, work)}
    with record_run(run, command="featurize", config=config, work=work) as record:
        folder = run / "features"
        size = images_per_block(settings)
        opened, plans, keys, finished = _look(folder, selection, settings, work, record, size=size)
        unique = opened.unique
        units = make_units(unique.dataset.records, finished, keys, size=size)
        record.note(
            images=len(unique.dataset.records),
            images_sha256=unique.digest,
            synthetic=unique.dataset.synthetic,
            blocks=sum(map(bool, units)),
            images_per_block=size,
            weights_sha256={
                own["encoder"]: own["weights_sha256"]
                for own in (plan.parts.settings for plan in plans)
            },
        )
        if finished:
            _describe(units, plans, settings, keys, size=size, work=work)
        else:
            complete = (
                "the feature file is" if len(plans) == 1 else f"all {len(plans)} feature files are"
            )
            _log.info("%s complete already", complete)
        failures: dict[str, str] = dict(opened.refused)
        share = None
        if work.shard is None:
            failures = _finish(plans, finished, units, keys, opened, record, stain=settings.stain)
        else:
            share = _share(work.shard, units, plans)
        written, listed = (
            not work.checks or opened.is_settled(folder / FACTS_FILE),
            run / "failures.csv",
        )
        # only a merge knows all failures
        if (
            (failures or listed.exists())
            and not work.checks
            and (work.shard is None or not listed.is_file())
        ):
            paths = {image.image_id: str(image.path) for image in opened.source.records}
            rows = [(image, paths.get(image, ""), text) for image, text in failures.items()]
            write_or_remove(listed, ("image_id", "path", "error"), rows)
        record.note(
            stores=[str(plan.path.relative_to(run)) for plan in plans], failures=len(failures)
        )
    return FeaturizeResult(
        tuple(plan.path for plan in plans),
        share is None and written,
        len(unique.dataset.records) + len(opened.refused),
        tuple(failures.items()),
        share,
        not unique.dataset.untrainable,
    )


def _look(
    folder: Path,
    selection: ImageSelection,
    settings: FeaturizeSettings,
    work: Work,
    record: RunRecord,
    *,
    size: int,
) -> tuple[OpenedImages, list[StorePlan], dict[str, dict[str, str]], dict[str, Finished]]:
    """Open the images, plan the feature files, and find which of their rows are finished, before any work.

    Changes of the images since a feature file was finished are logged and recorded.

    Returns
    -------
    OpenedImages
    list of StorePlan
    dict of str to dict of str to str
        Name of a feature file to a mapping from image id to the key of its rows.
    dict of str to Finished
        The finished rows of each incomplete feature file. A shard does not open packs; the call that merges them does.
    """
    opened = selection.open(
        cache=folder / "images.csv",
        stain=settings.stain,
        colours=settings.color_range != (1.0, 1.0),
        colours_off=Message("{color_range:1 1}"),
        needs=settings.needs,
        skip_errors=work.skip_errors,
    )
    unique = opened.unique
    records = unique.dataset.records
    if any(view.unit for view in settings.views) or all(
        record.mpp is not None for record in records
    ):
        for seen in seen_scales(records, settings):
            if seen.warning:
                _log.warning("%s", seen.warning)
    chosen = {name: value for name, value in plain_options(selection).items() if name in _SELECTING}
    plans = plan_stores(
        unique, settings=settings, folder=folder, selection=chosen, skip_errors=work.skip_errors
    )
    mpp = {record.image_id: record.mpp for record in records}
    keys: dict[str, dict[str, str]] = {}
    finished: dict[str, Finished] = {}
    changes: dict[str, ImageChange] = {}
    for plan in plans:
        if work.overwrite:
            set_aside(plan.path)
            set_aside(plan.parts.folder)
        keys[plan.name] = row_keys(
            plan.parts.settings, unique.sha256, augmentations=plan.augmentations, mpp=mpp
        )
        images = () if work.shard is None else list(keys[plan.name].values())
        blocks = [images[start : start + size] for start in range(0, len(images), size)]
        if (state := find_finished(plan, unique, blocks=blocks)) is not None:
            finished[plan.name], change = state
            if change != ImageChange():
                changes[plan.name] = change
    for change in dict.fromkeys(changes.values()):
        names = ", ".join(name for name, own in changes.items() if own == change)
        _log.log(logging.WARNING if change.removed else logging.INFO, "%s: %s", names, change)
    if changes:
        record.note(grown={name: change.json() for name, change in changes.items()})
    return opened, plans, keys, finished


def _describe(
    units: Sequence[Unit],
    plans: Sequence[StorePlan],
    settings: FeaturizeSettings,
    keys: Mapping[str, Mapping[str, str]],
    *,
    size: int,
    work: Work,
) -> None:
    resources = describing_resources(settings, work.jobs)
    lacking = {name for unit in units for alike in unit for name in alike.keys}
    open_plans = [plan for plan in plans if plan.name in lacking]
    for plan in plans:
        remove_leftovers(plan.path)

    for encoder in {encoder_of(plan.choice, settings) for plan in open_plans}:
        if isinstance(encoder, Encoder):
            encoder.prepare(dense=settings.mode == "dense")
    if work.checks:  # `submit` asks for the memory that this process takes
        records = [record for unit in units for alike in unit for record in alike.records]
        targets = {plan.name: (encoder_of(plan.choice, settings), plan.view) for plan in open_plans}
        describe = functools.partial(time_describing, settings=settings, targets=targets)
        rehearse(records, describe, files=ImageFiles(plans[0].path.with_name("images.csv")))

    def begin() -> None:
        environments: list[dict[str, str]] = [{}]  # of this process
        if work.dask is not None:
            packages = {name for plan in open_plans for name in plan.parts.made_with}
            environments = ask_workers(work.dask, folder=plans[0].path.parent, packages=packages)
        for plan in open_plans:
            plan.parts.begin()
            plan.parts.note_work(environments)
            images, files = iter(keys[plan.name].values()), []
            for unit in units:
                whole = pack_path(plan.parts.folder, list(itertools.islice(images, size)))
                own = [alike.keys[plan.name] for alike in unit if plan.name in alike.keys]
                packs = [pack_path(plan.parts.folder, lacking_keys).name for lacking_keys in own]
                # the name is empty if an earlier feature file contains the rows
                files.append(packs or [whole.name if whole.is_file() else ""])
            write_listing(plan.parts.folder, "blocks", files)

    bundled = (
        functools.partial(bundle_units, resources=resources, size=size) if resources.gpus else None
    )
    do_missing(
        functools.partial(
            describe_units,
            plans={plan.name: plan for plan in plans},
            settings=settings,
            # this count only determines the helpers, so it assumes that all units are missing
            helpers=resources.helpers(len(bundled(units))) if bundled else 1,
        ),
        units,
        read=lambda unit: None if unit else True,
        steps=lambda unit: sum(len(alike.records) for alike in unit) * settings.augmentations,
        label="featurize",
        finished="blocks are done",
        step_name="augmentations",
        bundled=bundled,
        work=work,
        resources=resources,
        begin=begin,
        cost=functools.partial(_cost, plans={plan.name: plan for plan in plans}, settings=settings),
    )


def _cost(unit: Unit, *, plans: Mapping[str, StorePlan], settings: FeaturizeSettings) -> float:
    """Return the seconds of a unit, as the first of its images takes them in this process."""
    seconds = 0.0
    for alike in unit:
        targets = {
            name: (encoder_of(plans[name].choice, settings), plans[name].view)
            for name in alike.keys
        }
        with contextlib.suppress(ImageError):  # raised in its turn
            cost = time_describing(alike.records[0], settings=settings, targets=targets)
            seconds += cost.seconds * len(alike.records)
    return seconds


def _share(shard: Shard, units: Sequence[Unit], plans: Sequence[StorePlan]) -> Share | None:
    """Return how many blocks all shards have finished; None if another process finished all feature files."""
    missing = {plan.name: plan for plan in plans if not plan.is_finished()}
    done = sum(
        all(
            pack_path(missing[name].parts.folder, keys).is_file()
            for alike in unit
            for name, keys in alike.keys.items()
            if name in missing
        )
        for unit in units
    )
    return Share(shard, len(shard.select(units)), done, len(units), "blocks") if missing else None


def _merge(
    plan: StorePlan,
    finished: Finished,
    units: Sequence[Unit],
    keys: Mapping[str, str],
    opened: OpenedImages,
) -> dict[str, Fingerprint]:
    """Write a feature file from earlier rows and the packs of the units; return the fingerprints in these, by image."""
    for alike in (alike for unit in units for alike in unit if plan.name in alike.keys):
        path = pack_path(plan.parts.folder, alike.keys[plan.name])
        if (pack := read_kept(path, augmentations=plan.augmentations, dim=plan.dim)) is not None:
            take_over(finished, path, pack)
    files = {key: path for key, path in finished.items() if isinstance(path, Path)}
    whole = [record for record in opened.unique.dataset.records if keys[record.image_id] in files]
    failed = [
        (image, text) for image, key in keys.items() if isinstance(text := finished.get(key), str)
    ]
    if lacking := len(keys) - len(whole) - len(failed):
        raise StoreError(
            f"{plan.path}: {lacking} of {len(keys)} images are missing; run the same command again"
        )
    if plan.parts.begun:
        plan.parts.hold()
    described, kept = [keys[record.image_id] for record in whole], dict[str, Fingerprint]()
    write_store(
        plan.path,
        whole,
        read_rows(
            files, described, augmentations=plan.augmentations, dim=plan.dim, fingerprints=kept
        ),
        keys=keys,
        contents=opened.unique.sha256,
        settings=plan.parts.settings,
        origin=plan.origin,
        dim=plan.dim,
        failures=[*opened.refused, *failed],
    )
    return {image: kept[key] for image, key in keys.items() if key in kept}


def _finish(
    plans: Sequence[StorePlan],
    finished: Mapping[str, Finished],
    units: Sequence[Unit],
    keys: Mapping[str, Mapping[str, str]],
    opened: OpenedImages,
    record: RunRecord,
    *,
    stain: str,
) -> dict[str, str]:
    """Write the feature files that lack images, remove their packs, and warn of what the images show.

    Returns
    -------
    dict of str to str
        Image id to the reason why it is left out.
    """
    failures = dict(opened.refused)
    outcomes, fingerprints = list[StainOutcome](), dict[str, Fingerprint]()
    for plan in plans:
        try:
            if plan.name in finished:
                fingerprints |= _merge(plan, finished[plan.name], units, keys[plan.name], opened)
        except (OutputError, OverwrittenError, StoreError):
            if not plan.is_finished():
                raise  # otherwise another process has meanwhile finished the file and removed its packs
        with open_store(plan.path) as store:
            failures |= dict(store.header["failures"])
            outcomes.append(store.stain_outcome())
        try:
            remove_tree(plan.parts.folder)
        except (
            OutputError
        ) as error:  # harmless: the feature file is complete, and packs are no longer read
            _log.warning("%s", error)
    lost = len(failures) - len(opened.refused)
    known = opened.settle(
        plans[0].path.with_name(FACTS_FILE), failed=lost, fingerprints=fingerprints
    )
    record.note(flow={**known.flow})
    images = opened.unique.dataset.records
    facts = {image.image_id: (image.label, image.group) for image in images}
    foreign: dict[str, float] = {}
    for outcome in outcomes:
        report_findings(pixel_findings(outcome.pixels, outcome.blank, facts))
        foreign |= {
            image: max(share, foreign.get(image, 0.0)) for image, share in outcome.foreign.items()
        }
    skipped = dict.fromkeys(image for outcome in outcomes for image in outcome.skipped)
    doubtful = dict.fromkeys(image for outcome in outcomes for image in outcome.doubtful)
    for text in stain_notes(skipped, doubtful, foreign, images=len(images), stain=stain):
        _log.warning("%s", text)
    return failures
