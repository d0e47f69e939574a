"""The steps of a variant: what each trains or describes, whether the images fit it, what it would take."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from ..boost import BoostSettings, train
from ..evaluate import TwoClassView
from ..experiment import CrossValidation, FoldChoice, Work
from ..featurize import FeaturizeSettings, featurize
from ..finetune import FinetuneSettings, finetune
from ..jobs import ensure_folder, write_rows
from .estimate import Estimate, ImagesAhead, estimate_boost, estimate_featurize, estimate_finetune
from .parts import Part
from .work import reported_later

__all__ = ["BoostStep", "FeaturizeStep", "FinetuneStep", "FixedTest", "Step"]


@dataclass(frozen=True)
class Step(ABC):
    """A step of a variant, with all its settings.

    Attributes
    ----------
    reading : mapping
        How images are read, by the options of `ImageSelection`.
    """

    reading: Mapping[str, Any]

    kind: ClassVar[str]
    """Its name in a recipe: the command that does the same."""

    @abstractmethod
    def check(self, part: Part) -> None:
        """Refuse images that do not fit, before anything is done.

        Raises
        ------
        InputError
            With what does not fit.
        """

    @abstractmethod
    def run(self, part: Part, *, how: Work, notes: Sequence[str], failed: list[str]) -> list[CrossValidation]:
        """Do what is missing of it.

        Parameters
        ----------
        part : Part
        how : Work
        notes : sequence of str
            What a reader of any number must know first.
        failed : list of str
            Gets a line for each report that could not be written.

        Returns
        -------
        list of CrossValidation
            What was trained.
        """

    @abstractmethod
    def estimate(self, ahead: ImagesAhead) -> Estimate:
        """Return what it would take."""


@dataclass(frozen=True)
class FeaturizeStep(Step):
    """Describe the images with frozen encoders.

    Attributes
    ----------
    settings : FeaturizeSettings
    """

    settings: FeaturizeSettings

    kind = "featurize"

    def check(self, part: Part) -> None:
        """Refuse nothing: `featurize` reads every header first."""

    def run(self, part: Part, *, how: Work, notes: Sequence[str], failed: list[str]) -> list[CrossValidation]:
        """Describe the images; a shard describes its share."""
        featurize(part.selection(self.reading), out=part.run, settings=self.settings, work=how)
        return []

    def estimate(self, ahead: ImagesAhead) -> Estimate:
        """Time a few augmentations of an image."""
        return estimate_featurize(ahead, self.settings, reading=self.reading)


@dataclass(frozen=True)
class BoostStep(Step):
    """Train classifiers on the descriptors of the step before.

    Attributes
    ----------
    settings : BoostSettings
    features : FeaturizeSettings
        Of the step before.
    folds : FoldChoice
    view : TwoClassView
    """

    settings: BoostSettings
    features: FeaturizeSettings
    folds: FoldChoice
    view: TwoClassView

    kind = "boost"

    def check(self, part: Part) -> None:
        """Refuse images that do not fit the folds."""
        part.plans(self.folds, reading=self.reading, seed=self.settings.seed)

    def run(self, part: Part, *, how: Work, notes: Sequence[str], failed: list[str]) -> list[CrossValidation]:
        """Train; a shard leaves that to the run without ``--shard``, since the stores are not yet whole."""
        if how.shard is not None:
            return []
        return reported_later(
            failed, train, out=part.run, settings=self.settings, folds=part.folds(self.folds), work=how, view=self.view,
            notes=notes,
        )  # fmt: skip

    def estimate(self, ahead: ImagesAhead) -> Estimate:
        """Time a few rounds of a model."""
        return estimate_boost(
            ahead, self.settings, features=self.features, reading=self.reading, folds=self.folds.folds
        )


@dataclass(frozen=True)
class FixedTest:
    """A test list that is fixed: what the folds of another variant test in one of them.

    Attributes
    ----------
    fold : int
    folds : FoldChoice
        Of the other variant.
    folder : Path
        Below the run folder; gets ``test-list.csv``.
    """

    fold: int
    folds: FoldChoice
    folder: Path

    def write(self, part: Part, *, reading: Mapping[str, Any], seed: int) -> Path:
        """Write the list of a part, and return its path."""
        (plan,) = part.plans(self.folds, reading=reading, seed=seed)
        path = ensure_folder(part.run / self.folder) / "test-list.csv"
        write_rows(path, ["image_id"], [[image] for image in plan.images(self.fold, "test")])
        return path


@dataclass(frozen=True)
class FinetuneStep(Step):
    """Train a network.

    Attributes
    ----------
    settings : FinetuneSettings
    folds : FoldChoice
    view : TwoClassView
    tensorboard : bool
    said : tuple of str
        What must be said of the settings.
    test : FixedTest, optional
        With the protocol ``none``.
    """

    settings: FinetuneSettings
    folds: FoldChoice
    view: TwoClassView
    tensorboard: bool = False
    said: tuple[str, ...] = ()
    test: FixedTest | None = None

    kind = "finetune"

    def check(self, part: Part) -> None:
        """Refuse images that do not fit the folds."""
        for choice in (self.folds, *([] if self.test is None else [self.test.folds])):
            part.plans(choice, reading=self.reading, seed=self.settings.seed)

    def run(self, part: Part, *, how: Work, notes: Sequence[str], failed: list[str]) -> list[CrossValidation]:
        """Train; a shard trains its share of the folds."""
        folds = part.folds(self.folds)
        if self.test is not None:
            tested = self.test.write(part, reading=self.reading, seed=self.settings.seed)
            folds = replace(folds, test_list=tested)
        return reported_later(
            failed, finetune, part.selection(self.reading), out=part.run, settings=self.settings, folds=folds, work=how,
            view=self.view, notes=[*notes, *self.said], tensorboard=self.tensorboard,
        )  # fmt: skip

    def estimate(self, ahead: ImagesAhead) -> Estimate:
        """Time a few steps of training."""
        return estimate_finetune(ahead, self.settings, reading=self.reading, folds=self.folds.folds)
