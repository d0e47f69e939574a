"""The steps of a variant: feature extraction, training of classifiers, and training of networks.

The `kind` of a step is the name of the corresponding command. `check` refuses unsuitable images before any work. `run`
does the missing work and returns what was trained, or raises a `ReportError` if only a report could not be written.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeAlias

import numpy as np

from ...boost import BoostSettings, train
from ...core import Banner, Entries, InputError, Kind, Settings, option
from ...core.jobs import Work
from ...crossval import CrossValidation
from ...data import FoldChoice, FoldPlan, unique_images, write_fold_rows
from ...evaluate import TwoClassView
from ...featurize import (
    FeaturizeSettings,
    defaults_text,
    featurize,
    is_described,
    open_store,
    settings_from,
)
from ...finetune import FinetuneSettings, finetune, sample_training
from .image_sets import FoldRow, ImageSet, Reading, write_list

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeaturizeStep:
    """Extract features with frozen encoders.

    Attributes
    ----------
    reading : mapping
        How images are read: options of `ImageSelection`.
    settings : FeaturizeSettings
    fresh : bool
        Whether each feature file has its own seed, and so its own colours and crops.
    brought : mapping
        Settings that are defaults of the measured encoder.
    """

    reading: Reading
    settings: FeaturizeSettings
    fresh: bool
    brought: Entries

    kind = "featurize"
    remarks: ClassVar[tuple[str, ...]] = ()

    def check(self, image_set: ImageSet) -> None:
        """Do nothing, since `featurize` itself checks all images first."""

    def run(
        self, image_set: ImageSet, *, work: Work, notes: Sequence[str]
    ) -> Sequence[CrossValidation]:
        """Extract features, with a shard only its share; the last shard combines the results into feature files."""
        if self.brought:
            _log.info("%s", defaults_text(self.brought, self.settings))
        images = image_set.selection(self.reading)
        for settings in self._drawn():
            share = featurize(images, out=image_set.run, settings=settings, work=work).share
            if share is not None and share.done == share.units and not work.checks:
                # this was the last shard
                whole_work = replace(work, shard=None)
                featurize(images, out=image_set.run, settings=settings, work=whole_work)
        return []

    def _drawn(self) -> Iterator[FeaturizeSettings]:
        """Yield the settings for all feature files or, if `fresh`, those for each, with a seed made from its name."""
        if not self.fresh:
            yield self.settings
            return
        for choice, view in product(self.settings.encoders, self.settings.views):
            offset = int(hashlib.sha256(f"{choice} {view}".encode()).hexdigest()[:7], 16)
            seed = self.settings.seed + 1000 * offset
            yield replace(self.settings, encoders=(choice,), views=(view,), seed=seed)


@dataclass(frozen=True)
class BoostStep:
    """Train classifiers on the features of the previous step.

    Attributes
    ----------
    reading : mapping
    settings : BoostSettings
    features : FeaturizeSettings
        Settings of the previous step.
    folds : FoldChoice
    view : TwoClassView
    """

    reading: Reading
    settings: BoostSettings
    features: FeaturizeSettings
    folds: FoldChoice
    view: TwoClassView

    kind = "boost"
    remarks: ClassVar[tuple[str, ...]] = ()
    brought: ClassVar[Entries] = {}

    def check(self, image_set: ImageSet) -> None:
        """Refuse images that do not fit the folds."""
        image_set.plans(self.folds, reading=self.reading, seed=self.settings.seed)

    def run(
        self, image_set: ImageSet, *, work: Work, notes: Sequence[str]
    ) -> Sequence[CrossValidation]:
        """Train classifiers. A shard trains its share; it trains nothing while other shards still extract features."""
        if work.shard is not None and not is_described(image_set.run):
            return []
        return train(
            out=image_set.run,
            features=self._stores_in(image_set.run / "features"),
            settings=self.settings,
            folds=image_set.folds(self.folds),
            work=work,
            view=self.view,
            notes=notes,
        )

    def _stores_in(self, folder: Path) -> list[Path]:
        """Return the feature files of the previous step; there may also be files of other variants."""
        targets = set(
            product((choice.label for choice in self.features.encoders), self.features.views)
        )
        stores = []
        for path in sorted(folder.glob("*.h5")):
            with open_store(path) as store:
                if (store.header["encoder"], *settings_from(store.header).views) in targets:
                    stores.append(path)
        return stores


class FixedTest(NamedTuple):
    """A fixed test list: one part of a split, on which no fold trains; the other parts are the folds.

    Attributes
    ----------
    fold : int
        Number of the test part.
    split : FoldChoice
        The split, with one part more than there are folds.
    folder : Path
        Folder for the lists, relative to the run folder.
    seed : int
        Seed of the split. It does not depend on the seed of the networks, so that all are tested on the same images.
    """

    fold: int
    split: FoldChoice
    folder: Path
    seed: int

    def plan(self, image_set: ImageSet, reading: Reading) -> FoldPlan:
        """Return the split of a set of images; refuse it if it has no such part."""
        (plan,) = image_set.plans(self.split, reading=reading, seed=self.seed)
        if self.fold not in plan.folds:
            raise InputError(
                f"test_fold {self.fold}: choose one of {', '.join(map(str, plan.folds))}"
            )
        return plan

    def write_lists(
        self, image_set: ImageSet, folds: FoldChoice, *, reading: Reading, held: bool
    ) -> FoldChoice:
        """Write the lists of a set of images, and return the cross-validation scheme that reads them.

        Parameters
        ----------
        image_set : ImageSet
        folds : FoldChoice
            ``none`` trains one network on all other images; any other value trains one network per fold, and is
            replaced by a fold list.
        reading : mapping
        held : bool
            Whether the images that a fold leaves out of its training part are its validation part.
        """
        plan = self.plan(image_set, reading)
        folder = image_set.run / self.folder
        test_images = plan.images(self.fold, "test")
        list_file = write_list(folder / "test-list.csv", test_images)
        if folds.folds == ("none",):
            return replace(folds, test_list=list_file)
        other_parts = [part for part in plan.folds if part != self.fold]
        rows: list[FoldRow] = []
        for number, held_out in enumerate(other_parts, start=1):
            rows += [(image, number, "test") for image in test_images]
            if held:
                rows += [(image, number, "val") for image in plan.images(held_out, "test")]
            for part in other_parts:
                if part != held_out:
                    rows += [(image, number, "train") for image in plan.images(part, "test")]
        name = f"{len(other_parts)}-fixed-test"
        if not held:
            name += "-unvalidated"
        path = folder / f"{name}.csv"
        write_fold_rows(path, rows)
        return FoldChoice((str(path),))


FIXED = (
    "fixed test list: every network is tested on the same images, set aside before anything is trained, patients kept "
    "together if they are known"
)

BALANCED = Banner(
    Kind.BALANCED,
    "random images of the larger classes were removed until all were as large as the smallest, also in the test "
    "sets; every result is of a balanced set, not of classes as they occur.",
)


@dataclass(frozen=True)
class NetworkExtras(Settings):
    """Settings of ``finetune`` that only recipes have."""

    tensorboard: bool = option(
        False, help="Whether curves of training are written for TensorBoard."
    )
    test_fold: int | None = option(None, help="The part of a split that tests every network.")
    pretrained: bool = option(False, help="Whether the source starts from pretrained weights.")
    undersample_first: bool = option(
        False, help="Whether the whole set is undersampled before it is split."
    )


@dataclass(frozen=True)
class FinetuneStep:
    """Train a network.

    Attributes
    ----------
    reading : mapping
    settings : FinetuneSettings
    folds : FoldChoice
    view : TwoClassView
    extras : NetworkExtras
    remarks : tuple of str
        Caveats on the settings for readers of the results.
    test : FixedTest, optional
        A fixed test part for all networks; without it, each fold has its own.
    """

    reading: Reading
    settings: FinetuneSettings
    folds: FoldChoice
    view: TwoClassView
    extras: NetworkExtras
    remarks: tuple[str, ...]
    test: FixedTest | None

    kind = "finetune"
    brought: ClassVar[Entries] = {}

    def check(self, image_set: ImageSet) -> None:
        """Refuse images that do not fit the folds, and a split without the fixed test part."""
        if self.test is None:
            image_set.plans(self.folds, reading=self.reading, seed=self.settings.seed)
        else:
            self.test.plan(image_set, self.reading)

    def run(
        self, image_set: ImageSet, *, work: Work, notes: Sequence[str]
    ) -> Sequence[CrossValidation]:
        """Train the networks of all folds; a shard trains its share."""
        folds = image_set.folds(self.folds)
        remarks = [*notes, *self.remarks]
        if self.extras.undersample_first:
            image_set = replace(image_set, only=self._undersampled(image_set))
        if self.test is not None:
            folds = self.test.write_lists(
                image_set, folds, reading=self.reading, held=self.settings.validation
            )
            remarks.append(FIXED)
        return finetune(
            image_set.selection(self.reading),
            out=image_set.run,
            settings=self.settings,
            folds=folds,
            work=work,
            view=self.view,
            notes=remarks,
            tensorboard=self.extras.tensorboard,
        )

    def _undersampled(self, image_set: ImageSet) -> Path:
        """Write the list of images that are left when random ones of the larger classes are removed."""
        records = [
            record
            for record in unique_images(image_set.read(self.reading)).dataset.records
            if record.label
        ]
        labels = np.unique([record.label for record in records], return_inverse=True)[1]
        rows = sample_training(labels, method="under", seed=self.settings.seed)
        return write_list(
            image_set.run / "reproduce" / "undersampled.csv",
            [records[row].image_id for row in rows],
        )


RecipeStep: TypeAlias = FeaturizeStep | BoostStep | FinetuneStep
"""A step of a variant, with all its settings."""
