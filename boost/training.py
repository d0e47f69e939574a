"""One protocol with one head over the stores of a run, as a training of `bchisto.experiment`."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from ..errors import SettingsConflictError
from ..experiment import Finished, Tested, Training, Work
from ..featurize import ABSENT_SETTINGS, compared_settings
from ..jobs import Resources, Ticker, read_records
from ..runs import Claim, Mark, versions_of
from .bundle import Bundle
from .ensemble import count_models, gather, plan_units
from .head import TrainingTerms
from .heads import ABSENT_HEAD_SETTINGS, STACK_MEMBERS, head_packages, head_settings, members_of
from .learning import learning_banner, models_without_split
from .outputs import write_outputs
from .presets import Preset
from .sources import Sources
from .units import ModelUnit, Probabilities, group_units, read_unit, train_group


def tested_of(sources: Sources) -> Tested:
    """Return the images of the stores."""
    datasets = {header["dataset"] for header in sources.headers.values()}
    return Tested(
        digest=next(iter(sources.headers.values()))["images_sha256"],
        dataset="".join(datasets) if len(datasets) == 1 else "",
        classes=tuple(name for name in sources.classes if name in sources.labels),
        labels=dict(zip(sources.image_ids, sources.labels, strict=True)),
        groups=dict(zip(sources.image_ids, sources.groups, strict=True)),
        known=sources.known,
        pixels=sources.pixels,
        files=sources.sha256,
    )


@dataclass(frozen=True)
class BoostTraining(Training[ModelUnit, Probabilities]):
    """One protocol with one head.

    Attributes
    ----------
    run : Path
    sources : Sources
    head : str
    preset : Preset
    seeds : int
        Ensemble members.
    each : bool
        Whether stores are compared with each other.
    name : str
        Of `BoostSettings`.
    """

    run: Path
    sources: Sources
    head: str
    preset: Preset
    seeds: int
    each: bool
    name: str

    unit: ClassVar[str] = "models"
    step_name: ClassVar[str] = "models"
    road: ClassVar[str] = "boost"

    @property
    def folder(self) -> Path:
        """Where it works."""
        return self.run / self.road / "-".join(filter(None, (self.plan.name, self.head, self.name)))

    def check(self, claim: Claim) -> None:
        """Refuse a folder of other folds, parameters or descriptors, or of a larger result; writes nothing.

        Parameters
        ----------
        claim : Claim
            That of `claim`.

        Raises
        ------
        InputError
            See `Bundle.check`.
        SettingsConflictError
            The message lists the differences. Further seeds and stores extend a folder, fewer are refused.
        """
        count = count_models(len(self.sources.paths), len(self.plan.folds), head=self.head, seeds=self.seeds)
        Bundle.check(stores=list(self.sources.paths), models=count)
        super().check(claim)
        if not self.overwrite:
            _refuse_fewer(self.folder, stores=self.sources.paths, seeds=self.seeds)

    def claim(self) -> Claim:
        """Return the claim of the folder; the stores are claimed one by one, so that further ones extend it."""
        return Claim(
            self.folder,
            settings={
                "folds_sha256": self.plan.sha256,
                "classes": list(self.images.classes),
                **head_settings(self.head, self.terms),
            },
            stores={name: compared_settings(header) for name, header in self.sources.headers.items()},
            work=("models/*/*", "predictions.csv"),
            overwrite=self.overwrite,
            absent={**ABSENT_SETTINGS, **ABSENT_HEAD_SETTINGS},
            made_with=versions_of(["bchisto", "numpy", *head_packages(self.head)]),
        )

    @functools.cached_property
    def terms(self) -> TrainingTerms:
        """What the heads are trained under."""
        largest = max(len(self.plan.images(fold, "train")) for fold in self.plan.folds)
        return TrainingTerms(self.preset, self.seed, largest)

    def resources(self, how: Work, claim: Claim) -> Resources:
        """Return a process per core, as no network is run."""
        return how.cpu()

    def units(self, claim: Claim, resources: Resources) -> Sequence[ModelUnit]:
        """Return all models."""
        return plan_units(
            self.sources,
            self.plan,
            head=self.head,
            terms=self.terms,
            seeds=self.seeds,
            classes=self.images.classes,
            marks={name: claim.mark(name) for name in self.sources.paths},
            folder=claim.folder,
        )

    def together(self, units: Sequence[ModelUnit]) -> Sequence[tuple[ModelUnit, ...]]:
        """Return the models of one store and fold, which share the bins."""
        return group_units(units)

    @staticmethod
    def train(units: tuple[ModelUnit, ...], ticker: Ticker) -> None:
        """Train models of one store and fold."""
        train_group(units, ticker)

    def read(self, unit: ModelUnit) -> Probabilities | None:
        """Return the predictions of a finished model."""
        return read_unit(unit)

    def marks(self, units: Sequence[ModelUnit]) -> Sequence[Mark]:
        """Return a mark per store."""
        return list({unit.store: unit.mark for unit in units}.values())

    def banners(self) -> Sequence[str]:
        """Say what the stores are of."""
        return self.sources.banners()

    def finish(
        self,
        folder: Path,
        units: Sequence[ModelUnit],
        found: Sequence[Probabilities],
        *,
        banners: tuple[str, ...],
        protocol: str,
        failed: list[str],
    ) -> Finished:
        """Put the models together and write the outputs."""
        ensemble = gather(
            units, found, sources=self.sources, classes=self.images.classes, protocol=protocol, folder=folder
        )
        augmentations = {name: int(header["augmentations"]) for name, header in self.sources.headers.items()}
        learning = models_without_split(units, augmentations=augmentations)
        banners = (*banners, *self._notices(learning))
        panel, show = write_outputs(
            folder,
            ensemble=ensemble,
            units=units,
            sources=self.sources,
            terms=self.terms,
            images=self.images,
            banners=banners,
            plan=self.plan,
            pictures=self.run / "features" / "images.csv",
            head=self.head,
            view=self.view,
            failed=failed,
            learning=learning,
            each=self.each,
        )
        named = replace(panel, table=replace(panel.table, name=folder.name))
        return Finished(named, banners, table=panel.table.name, show=show)

    def _notices(self, learning: Mapping[str, Any]) -> list[str]:
        """Say what turned out in training."""
        said = [notice for spec in members_of(self.head) if (notice := spec.notice(self.terms))]
        return [*said, learning_banner(learning)] if learning else said


def _refuse_fewer(folder: Path, *, stores: Collection[str], seeds: int) -> None:
    """Refuse to replace the result of more stores or seeds by one of fewer.

    Raises
    ------
    SettingsConflictError
        The message names what the result holds.
    """
    table = folder / "predictions-by-model.csv"
    if not table.is_file():
        return
    with table.open(newline="", encoding="utf-8") as handle:
        held = {(row["store"], int(row["seed"])) for row in read_records(handle)}
    more = max((seed for _, seed in held), default=-1) + 1
    # the rows of a stack are named "<store> <head>"
    lost = sorted({name for name, _ in held if not any(name in (one, *_members(one)) for one in stores)})
    if lost or more > seeds:
        has = [f"{len(lost)} more stores ({', '.join(lost)})"] if lost else []
        has += [f"{more} seeds, not {seeds}"] if more > seeds else []
        raise SettingsConflictError(
            f"{folder}: holds a larger result: {' and '.join(has)}; ask for all of it, or use another `out`, or "
            "`overwrite` to replace it by this smaller one"
        )


def _members(store: str) -> list[str]:
    return [f"{store} {head}" for head in STACK_MEMBERS]
