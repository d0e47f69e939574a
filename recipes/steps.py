"""The steps of a variant: what each trains or describes, and whether the images fit it.

Each has a `kind`, the command that does the same; `check` refuses images that do not fit before anything is done; `run`
does what is missing and returns what was trained, or raises a `ReportError` where only a report could not be written.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from ..boost import BoostSettings, train
from ..cluster import is_described
from ..core import InputError
from ..crossval import CrossValidation
from ..data import FoldChoice
from ..evaluate import TwoClassView
from ..featurize import FeaturizeSettings, View, defaults_text, featurize, open_store
from ..finetune import FinetuneSettings, finetune
from ..jobs import Work, ensure_folder, write_rows
from .parts import Part, write_list

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeaturizeStep:
    """Describe the images with frozen encoders.

    Attributes
    ----------
    reading : mapping
        How images are read, by the options of `ImageSelection`.
    settings : FeaturizeSettings
    fresh : bool
        Whether colours and crops are drawn anew for each store, by a seed of its own.
    brought : mapping
        Those of the settings that the encoder which is measured brings.
    """

    reading: Mapping[str, Any]
    settings: FeaturizeSettings
    fresh: bool = False
    brought: Mapping[str, Any] = field(default_factory=dict)

    kind = "featurize"

    def check(self, part: Part) -> None:
        """Refuse nothing: `featurize` reads every header first."""

    def run(self, part: Part, *, work: Work, notes: Sequence[str]) -> Sequence[CrossValidation]:
        """Describe the images; a shard describes its share, and the last one puts the stores together."""
        if self.brought:
            _log.info("%s", defaults_text(self.brought, self.settings))
        for settings in self._drawn():
            result = featurize(part.selection(self.reading), out=part.run, settings=settings, work=work)
            share = result.share
            if share is not None and share.done == share.units and not work.checks:  # the last of all shards
                featurize(part.selection(self.reading), out=part.run, settings=settings, work=replace(work, shard=None))
        return []

    def _drawn(self) -> Iterator[FeaturizeSettings]:
        """Yield what shares its draws: everything, or each store alone, whose name then moves the seed."""
        if not self.fresh:
            yield self.settings
            return
        for choice, view in product(self.settings.encoders, self.settings.views):
            moved = int(hashlib.sha256(f"{choice} {view}".encode()).hexdigest()[:7], 16)
            seed = self.settings.seed + 1000 * moved
            yield replace(self.settings, encoders=(choice,), views=(view,), seed=seed)


@dataclass(frozen=True)
class BoostStep:
    """Train classifiers on the descriptors of the step before.

    Attributes
    ----------
    reading : mapping
    settings : BoostSettings
    features : FeaturizeSettings
        Of the step before.
    folds : FoldChoice
    view : TwoClassView
    """

    reading: Mapping[str, Any]
    settings: BoostSettings
    features: FeaturizeSettings
    folds: FoldChoice
    view: TwoClassView

    kind = "boost"

    def check(self, part: Part) -> None:
        """Refuse images that do not fit the folds."""
        part.plans(self.folds, reading=self.reading, seed=self.settings.seed)

    def run(self, part: Part, *, work: Work, notes: Sequence[str]) -> Sequence[CrossValidation]:
        """Train; a shard trains its share, unless other shards still describe: then it must be called again."""
        if work.shard is not None and not is_described(part.run):
            return []
        return train(
            out=part.run, features=self._own(part.run / "features"), settings=self.settings,
            folds=part.folds(self.folds), work=work, view=self.view, notes=notes,
        )  # fmt: skip

    def _own(self, folder: Path) -> list[Path]:
        """Return the stores of the step before where another variant has left others beside them; else none."""
        paths = sorted(folder.glob("*.h5"))
        own = []
        for path in paths:
            with open_store(path) as store:
                made = store.header["encoder"], View.of(store.header)
            wanted = product(self.features.encoders, self.features.views)
            if made in {(choice.label, view) for choice, view in wanted}:
                own.append(path)
        return own if len(own) < len(paths) else []


@dataclass(frozen=True)
class FixedTest:
    """A test list that is fixed: one part of a split, which no fold trains on; the other parts are the folds.

    Attributes
    ----------
    fold : int
        The part that tests.
    split : FoldChoice
        Into as many parts as there are folds, and that one.
    folder : Path
        Below the run folder; gets the lists.
    seed : int
        Of the split: the same whatever networks are drawn by, so that every one is tested on the same images.
    """

    fold: int
    split: FoldChoice
    folder: Path
    seed: int

    DESCRIPTION: ClassVar[str] = (
        "fixed test list: every network is tested on the same images, set aside before anything is trained, patients "
        "kept together if they are known"
    )

    def choice(self, part: Part, folds: FoldChoice, *, reading: Mapping[str, Any], held: bool) -> FoldChoice:
        """Write the lists of a part, and return the protocol that tests on the fixed one.

        Parameters
        ----------
        part : Part
        folds : FoldChoice
            ``none`` trains one network on all the rest, any other one for each fold.
        reading : mapping
        held : bool
            Whether the images that a fold leaves out of its training part validate.
        """
        (plan,) = part.plans(self.split, reading=reading, seed=self.seed)
        if self.fold not in plan.folds:
            raise InputError(f"test_fold {self.fold}: choose one of {', '.join(map(str, plan.folds))}")
        folder = ensure_folder(part.run / self.folder)
        tested = plan.images(self.fold, "test")
        listed = write_list(folder / "test-list.csv", tested)
        if folds.folds == ("none",):
            return replace(folds, test_list=listed)
        rest = [fold for fold in plan.folds if fold != self.fold]
        rows: list[tuple[str, int, str]] = []
        for number, left_out in enumerate(rest, start=1):
            trained = [image for fold in rest if fold != left_out for image in plan.images(fold, "test")]
            listed_as = {"test": tested, "val": plan.images(left_out, "test") if held else (), "train": trained}
            rows += [(image, number, part_of) for part_of, images in listed_as.items() for image in images]
        path = folder / f"{len(rest)}-fixed-test{'' if held else '-unvalidated'}.csv"
        write_rows(path, ["image_id", "fold", "part"], rows)
        return FoldChoice((str(path),))


@dataclass(frozen=True)
class FinetuneStep:
    """Train a network.

    Attributes
    ----------
    reading : mapping
    settings : FinetuneSettings
    folds : FoldChoice
    view : TwoClassView
    tensorboard : bool
    remarks : tuple of str
        What a reader must know of the settings.
    test : FixedTest, optional
        What all its networks are tested on; without, each fold tests its own part.
    """

    reading: Mapping[str, Any]
    settings: FinetuneSettings
    folds: FoldChoice
    view: TwoClassView
    tensorboard: bool = False
    remarks: tuple[str, ...] = ()
    test: FixedTest | None = None

    kind = "finetune"

    def check(self, part: Part) -> None:
        """Refuse images that do not fit the folds."""
        folds, seed = (self.folds, self.settings.seed) if self.test is None else (self.test.split, self.test.seed)
        part.plans(folds, reading=self.reading, seed=seed)

    def run(self, part: Part, *, work: Work, notes: Sequence[str]) -> Sequence[CrossValidation]:
        """Train; a shard trains its share of the folds."""
        folds, remarks, settings = part.folds(self.folds), [*notes, *self.remarks], self.settings
        if self.test is not None:
            folds = self.test.choice(part, folds, reading=self.reading, held=settings.validation)
            remarks.append(self.test.DESCRIPTION)
        return finetune(
            part.selection(self.reading), out=part.run, settings=settings, folds=folds, work=work,
            view=self.view, notes=remarks, tensorboard=self.tensorboard,
        )  # fmt: skip


Step: TypeAlias = FeaturizeStep | BoostStep | FinetuneStep
"""A step of a variant, with all its settings."""
