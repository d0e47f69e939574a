"""Feature extraction as a whole: check the input, compute missing features, and write the feature files."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..core import (
    ImageError,
    Message,
    OutputError,
    Pairs,
    PathInput,
    StoreError,
    by_key,
    converted,
    plain_options,
)
from ..core.jobs import (
    Computation,
    Resources,
    Share,
    Ticker,
    Work,
    compute,
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
    warn_left_out,
)
from ..encoders import CropEncoder, Encoder, check_encoder_names
from ..stains import StainNotes
from .plan import StorePlan, describing_resources, encoder_of, executed_settings, plan_stores
from .presets import seen_scales
from .settings import FeaturizeSettings, View, images_per_block
from .store import StainOutcome, open_store, write_store
from .stream import rehearse, time_describing
from .units import (
    Finished,
    RowReader,
    Unit,
    bundle_units,
    describe_units,
    find_finished,
    make_units,
    pack_path,
    read_kept,
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
    failures: Pairs
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
    run = converted(out, "out", Path)
    selection = ImageSelection.of(images)
    settings = FeaturizeSettings.of(settings)
    work = Work.of(work)
    check_encoder_names(settings.encoders, settings.weights)
    selection.refuse_as_run(run)
    settings = executed_settings(settings, run / "run.json", anew=work.overwrite)
    config = {"out": str(run), **plain_options(selection, settings, work)}
    with record_run(run, command="featurize", config=config, work=work) as record:
        description = FeatureExtraction.open(run, selection, settings, work=work, record=record)
        computed = compute(description)
        failures = computed.result
        if failures is None:
            failures = dict(description.opened.refused)
        share = computed.share
        if computed.unchanged:
            share = None  # another process may have finished all feature files
        record.note(
            stores=[str(plan.path.relative_to(run)) for plan in description.plans],
            failures=len(failures),
        )
    dataset = description.opened.unique.dataset
    return FeaturizeResult(
        tuple(plan.path for plan in description.plans),
        computed.result is not None or computed.unchanged,
        len(dataset.records) + len(description.opened.refused),
        tuple(failures.items()),
        share,
        not dataset.untrainable,
    )


Failures = dict[str, str]
"""Image id to the reason why the image is left out."""


@dataclass
class FeatureExtraction(Computation[Unit, bool, None, Failures]):
    """The features of images, in blocks whose rows are kept in packs, until the feature files are written.

    Attributes
    ----------
    run : Path
        The run folder.
    settings : FeaturizeSettings
    work : Work
    record : RunRecord
    opened : OpenedImages
    plans : sequence of StorePlan
        The feature files.
    keys : dict of str to dict of str to str
        Name of a feature file to a mapping from image id to the key of its rows.
    finished : dict of str to Finished
        The finished rows of each feature file that is not complete.
    blocks : sequence of Unit
        The blocks of images, each with the rows that it lacks.
    """

    run: Path
    settings: FeaturizeSettings
    work: Work
    record: RunRecord
    opened: OpenedImages
    plans: Sequence[StorePlan]
    keys: dict[str, dict[str, str]]
    finished: dict[str, Finished] = field(default_factory=dict)
    blocks: Sequence[Unit] = ()

    label = "featurize"
    unit = "blocks"
    step_name = "augmentations"
    finished_clause = "blocks are done"

    @classmethod
    def open(
        cls,
        run: Path,
        selection: ImageSelection,
        settings: FeaturizeSettings,
        *,
        work: Work,
        record: RunRecord,
    ) -> FeatureExtraction:
        """Open the images and the encoders, and plan the feature files. Nothing is written but a cache.

        Raises
        ------
        InputError, WeightsError
            Images, encoders or weights are refused.
        """
        folder = run / "features"
        skip_errors = work.skip_errors
        opened = selection.open(
            cache=folder / "images.csv",
            stain=settings.stain,
            colours=settings.changes_colours,
            colours_off=Message("{color_range:1 1}"),
            needs=settings.needs,
            skip_errors=skip_errors,
        )
        unique = opened.unique
        records = unique.dataset.records
        in_micrometres = any(view.unit for view in settings.views)
        if in_micrometres or all(record.mpp is not None for record in records):
            for scale in seen_scales(records, settings):
                if scale.warning:
                    _log.warning("%s", scale.warning)
        options = plain_options(selection)
        plans = plan_stores(
            unique,
            settings=settings,
            folder=folder,
            selection={name: value for name, value in options.items() if name in _SELECTING},
            skip_errors=skip_errors,
        )
        mpp = {record.image_id: record.mpp for record in records}
        keys = {
            plan.name: row_keys(
                plan.parts.settings, unique.sha256, augmentations=plan.augmentations, mpp=mpp
            )
            for plan in plans
        }
        return cls(run, settings, work, record, opened, plans, keys)

    @property
    def folder(self) -> Path:
        """The folder of the feature files."""
        return self.run / "features"

    @functools.cached_property
    def size(self) -> int:
        """Number of images in a block."""
        return images_per_block(self.settings)

    def discard(self) -> None:
        """Set aside feature files and packs."""
        for plan in self.plans:
            set_aside(plan.path)
            set_aside(plan.parts.folder)

    def begin(self) -> None:
        """Remove the leftovers of interrupted processes."""
        for plan in self.plans:
            remove_leftovers(plan.path)

    def units(self, *, merges: bool) -> Sequence[Unit]:
        """Return the blocks of images, each with the rows that it lacks; none if all feature files are complete.

        This sets `finished` and, also if all are complete, `blocks`.

        Parameters
        ----------
        merges : bool
            Whether the packs are merged. Otherwise a pack is trusted by its name, and not opened.
        """
        self._find_finished(merges=merges)
        unique = self.opened.unique
        records = unique.dataset.records
        self.blocks = make_units(records, self.finished, self.keys, size=self.size)
        self.record.note(
            images=len(records),
            images_sha256=unique.digest,
            synthetic=unique.dataset.synthetic,
            blocks=sum(map(bool, self.blocks)),
            images_per_block=self.size,
            weights_sha256={
                plan.parts.settings["encoder"]: plan.parts.settings["weights_sha256"]
                for plan in self.plans
            },
        )
        if self.finished:
            return self.blocks
        subject = "the feature file is"
        if len(self.plans) > 1:
            subject = f"all {len(self.plans)} feature files are"
        _log.info("%s complete already", subject)
        return []

    def _find_finished(self, *, merges: bool) -> None:
        """Set `finished`; log and record how the images changed since feature files were finished."""
        changes = {}
        for plan in self.plans:
            blocks = [] if merges else self._keys_of_blocks(plan)
            state = find_finished(plan, self.opened.unique, blocks=blocks)
            if state is not None:
                self.finished[plan.name], change = state
                if change != ImageChange():
                    changes[plan.name] = change
        for change, names in by_key(changes, changes.__getitem__).items():
            level = logging.INFO
            if change.removed:
                level = logging.WARNING
            _log.log(level, "%s: %s", ", ".join(names), change)
        if changes:
            self.record.note(grown={name: change.json() for name, change in changes.items()})

    def _keys_of_blocks(self, plan: StorePlan) -> list[list[str]]:
        """Return the keys of the images of each block."""
        keys = list(self.keys[plan.name].values())
        return [keys[start : start + self.size] for start in range(0, len(keys), self.size)]

    def end_shard(self) -> None:
        """List the images that are refused already; only a merge knows all failures."""
        if self.opened.refused and not self._failures_file.is_file():
            self._write_failures(dict(self.opened.refused))

    def read(self, unit: Unit) -> bool | None:
        """Return True for a block that lacks nothing, else None."""
        return None if unit else True

    def count_finished(self, units: Sequence[Unit]) -> int:
        """Return the number of blocks whose packs are there, for the feature files that are not complete."""
        folders = {plan.name: plan.parts.folder for plan in self.plans if not plan.is_finished()}
        return sum(
            all(
                pack_path(folders[name], keys).is_file()
                for alike in unit
                for name, keys in alike.keys.items()
                if name in folders
            )
            for unit in units
        )

    @property
    def do(self) -> Callable[[tuple[Unit, ...], Ticker], None]:
        """Describes blocks, and keeps the rows in packs."""
        helpers = 1
        if self.resources.gpus:
            # processes that prepare images for one with a GPU, as many as if all blocks were missing
            helpers = self.resources.helpers(len(self.bundles(self.blocks)))
        return functools.partial(
            describe_units,
            plans=self._plans_by_name,
            settings=self.settings,
            helpers=helpers,
        )

    @functools.cached_property
    def _plans_by_name(self) -> dict[str, StorePlan]:
        return {plan.name: plan for plan in self.plans}

    @functools.cached_property
    def resources(self) -> Resources:
        """Processes of a thread each, or one for each GPU."""
        return describing_resources(self.settings, self.work.jobs)

    def steps(self, unit: Unit) -> int:
        """Return the number of augmentations that the block lacks."""
        return sum(len(alike.records) for alike in unit) * self.settings.augmentations

    def bundles(self, units: Sequence[Unit]) -> Sequence[tuple[Unit, ...]]:
        """Return blocks in groups; a GPU gets several at a time."""
        if self.resources.gpus:
            return bundle_units(units, resources=self.resources, size=self.size)
        return self.groups(units)

    def seconds(self, unit: Unit) -> float:
        """Return the seconds that this process would take for a block, by one image of each `Alike` in it."""
        seconds = 0.0
        for alike in unit:
            targets = self._targets(alike.keys)
            with contextlib.suppress(ImageError):  # the work itself reports it
                cost = time_describing(alike.records[0], settings=self.settings, targets=targets)
                seconds += cost.seconds * len(alike.records)
        return seconds

    def _targets(self, names: Iterable[str]) -> dict[str, tuple[CropEncoder, View]]:
        """Return the encoder and the view of feature files."""
        return {name: self._plans_by_name[name].target(self.settings) for name in names}

    @property
    def packages(self) -> Iterable[str]:
        """The packages that compute the features."""
        return {name for plan in self.plans for name in plan.parts.made_with}

    def _incomplete(self, units: Sequence[Unit]) -> list[StorePlan]:
        """Return the feature files that lack rows of units."""
        names = {name for unit in units for alike in unit for name in alike.keys}
        return [plan for plan in self.plans if plan.name in names]

    def note_work(self, units: Sequence[Unit], environments: Sequence[Mapping[str, str]]) -> None:
        """Compile the networks, and write the settings of the folders of packs."""
        plans = self._incomplete(units)
        for encoder in {encoder_of(plan.choice, self.settings) for plan in plans}:
            if isinstance(encoder, Encoder):
                encoder.prepare(dense=self.settings.mode == "dense")
        for plan in plans:
            plan.parts.begin()
            plan.parts.note_work(environments)

    def list_units(self, units: Sequence[Unit]) -> None:
        """Write the list of the packs of each feature file."""
        for plan in self._incomplete(units):
            files = []
            for unit, keys in zip(units, self._keys_of_blocks(plan), strict=True):
                missing = [alike.keys[plan.name] for alike in unit if plan.name in alike.keys]
                packs = [pack_path(plan.parts.folder, pack_keys).name for pack_keys in missing]
                if not packs:
                    pack = pack_path(plan.parts.folder, keys)
                    # the name is empty if an earlier feature file contains the rows
                    packs = [pack.name if pack.is_file() else ""]
                files.append(packs)
            write_listing(plan.parts.folder, self.unit, files)

    def rehearse(self, units: Sequence[Unit] | None) -> None:
        """Describe the largest images in this process."""
        if units is None:
            no_rows: dict[str, Finished] = {plan.name: {} for plan in self.plans}
            images = self.opened.unique.dataset.records
            units = make_units(images, no_rows, self.keys, size=self.size)
        records = [record for unit in units for alike in unit for record in alike.records]
        targets = self._targets(plan.name for plan in self._incomplete(units))
        describe = functools.partial(time_describing, settings=self.settings, targets=targets)
        rehearse(records, describe, files=ImageFiles(self.folder / "images.csv"))

    def is_written(self, kept: Sequence[bool | None]) -> bool:
        """Return whether all feature files are complete, and the facts of their images are known."""
        complete = all(plan.is_finished() for plan in self.plans)
        return complete and self.opened.is_settled(self.folder / FACTS_FILE)

    def write(self, kept: Sequence[bool | None], made: Sequence[None]) -> Failures:
        """Write the feature files that lack images, remove their packs, and warn of what the images show.

        Returns
        -------
        dict of str to str
            Image id to the reason why it is left out; also in ``RUN/failures.csv``.
        """
        failures = dict(self.opened.refused)
        outcomes = []
        fingerprints: dict[str, Fingerprint] = {}
        for plan in self.plans:
            if plan.name in self.finished:
                with plan.unless_finished():
                    fingerprints |= self._merge(plan)
            with open_store(plan.path) as store:
                failures |= dict(store.header["failures"])
                outcomes.append(store.stain_outcome())
            try:
                remove_tree(plan.parts.folder)
            except OutputError as error:
                # harmless: the feature file is complete, and packs are no longer read
                _log.warning("%s", error)
        facts = self.opened.settle(
            self.folder / FACTS_FILE,
            failed=len(failures) - len(self.opened.refused),
            fingerprints=fingerprints,
        )
        self.record.note(flow={**facts.flow})
        self._report(outcomes)
        warn_left_out(failures, dict(self.opened.refused))
        self._write_failures(failures)
        return failures

    def _merge(self, plan: StorePlan) -> dict[str, Fingerprint]:
        """Write a feature file from earlier rows and packs; return the fingerprints in these, by image."""
        finished = self.finished[plan.name]
        keys = self.keys[plan.name]
        self._take_over_packs(plan)
        files = {key: path for key, path in finished.items() if isinstance(path, Path)}
        reasons = {key: reason for key, reason in finished.items() if isinstance(reason, str)}
        records = [
            record
            for record in self.opened.unique.dataset.records
            if keys[record.image_id] in files
        ]
        failed = [(image, reasons[key]) for image, key in keys.items() if key in reasons]
        missing = len(keys) - len(records) - len(failed)
        if missing:
            raise StoreError(
                f"{plan.path}: {missing} of {len(keys)} images are missing; run the same command again"
            )
        if plan.parts.begun:
            plan.parts.hold()
        reader = RowReader(files, plan)
        write_store(
            plan.path,
            records,
            reader.read([keys[record.image_id] for record in records]),
            keys=keys,
            contents=self.opened.unique.sha256,
            settings=plan.parts.settings,
            origin=plan.origin,
            dim=plan.dim,
            failures=[*self.opened.refused, *failed],
        )
        prints = reader.fingerprints
        return {image: prints[key] for image, key in keys.items() if key in prints}

    def _take_over_packs(self, plan: StorePlan) -> None:
        """Add the packs of the blocks, which this process or another wrote, to the finished rows."""
        for alike in itertools.chain.from_iterable(self.blocks):
            if plan.name in alike.keys:
                path = pack_path(plan.parts.folder, alike.keys[plan.name])
                pack = read_kept(path, plan)
                if pack is not None:
                    take_over(self.finished[plan.name], path, pack)

    def _report(self, outcomes: Sequence[StainOutcome]) -> None:
        """Warn of what the pixels and the stains of the images show."""
        images = self.opened.unique.dataset.records
        owners = {image.image_id: (image.label, image.group) for image in images}
        notes = StainNotes(self.settings.stain)
        for outcome in outcomes:
            report_findings(pixel_findings(outcome.pixels, outcome.blank, owners))
            notes.skipped |= dict.fromkeys(outcome.skipped)
            notes.doubtful |= dict.fromkeys(outcome.doubtful)
            for image, share in outcome.foreign.items():
                notes.foreign[image] = max(share, notes.foreign.get(image, 0.0))
        notes.warn(len(images))

    @property
    def _failures_file(self) -> Path:
        return self.run / "failures.csv"

    def _write_failures(self, failures: Mapping[str, str]) -> None:
        """Write the list of images that are left out, or remove an earlier one if there are none."""
        if not failures and not self._failures_file.exists():
            return
        paths = {image.image_id: str(image.path) for image in self.opened.source.records}
        rows = [(image, paths.get(image, ""), reason) for image, reason in failures.items()]
        write_or_remove(self._failures_file, ("image_id", "path", "error"), rows)
