"""One protocol with one head over the stores of a run, as a training of `bchisto.crossval`."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..crossval import BundleFacts, CrossValidation, Outputs, Training
from ..data import decode_image
from ..errors import ImageError, SettingsConflictError
from ..evaluate import choose_samples, measure_gains
from ..featurize import ABSENT_SETTINGS, compared_settings
from ..jobs import Resources, Work, read_rows, write_rows
from ..runs import Claim, Mark, versions_of
from .arrays import Probabilities
from .bundle import Bundle
from .doubts import doubtful_samples
from .ensemble import gather
from .head import HeadSpec, TrainingTerms
from .heads import ABSENT_HEAD_SETTINGS, STACK, STACK_MEMBERS, head_packages, head_settings, members_of
from .learning import learning_banner, models_without_split
from .methods import methods_of, shown_settings
from .presets import Preset
from .settings import BoostSettings
from .sources import Sources
from .units import ModelUnit, group_units, read_unit, train_group


@dataclass(frozen=True)
class BoostTraining(Training[ModelUnit, Probabilities]):
    """One protocol with one head.

    Attributes
    ----------
    run : Path
    sources : Sources
    head : str
    settings : BoostSettings
    preset : Preset
        That of the settings, with its parameters checked.
    """

    run: Path
    sources: Sources
    head: str
    settings: BoostSettings
    preset: Preset

    unit: ClassVar[str] = "models"
    step_name: ClassVar[str] = "models"
    road: ClassVar[str] = "boost"

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
        stores = self.sources.paths
        per_fold = sum(self._seeds_of(base) for base in members_of(self.head))
        Bundle.check(stores=list(stores), models=len(stores) * len(self.plan.folds) * per_fold)
        super().check(claim)
        if not self.overwrite:
            _refuse_fewer(claim.folder, stores=stores, seeds=self.settings.seeds)

    def claim(self) -> Claim:
        """Return the claim of the folder; the stores are claimed one by one, so that further ones extend it."""
        name = "-".join(filter(None, (self.plan.name, self.head, self.settings.name)))
        return Claim(
            self.run / self.road / name,
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
        return TrainingTerms(self.preset, self.settings.seed, largest)

    def resources(self, how: Work, claim: Claim) -> Resources:
        """Return a process per core, as no network is run."""
        return how.cpu()

    def units(self, claim: Claim, resources: Resources) -> Sequence[ModelUnit]:
        """Return all models, ordered by member, seed and fold; a stack has one of each member per store and fold."""
        images, plan, stacked = self.images, self.plan, self.head == STACK
        position = {image: place for place, image in enumerate(images.labels)}
        order = {label: place for place, label in enumerate(images.classes)}
        units = []
        for (store, path), base in product(self.sources.paths.items(), members_of(self.head)):
            for seed, (fold_position, fold) in product(range(self._seeds_of(base)), enumerate(plan.folds)):
                train, test = plan.images(fold, "train"), plan.images(fold, "test")
                params = base.params(self.terms, classes=len(order), seed=seed, fold_position=fold_position)
                name = f"seed{seed}-fold{fold}{base.suffix}"
                units.append(
                    ModelUnit(
                        store=store,
                        path=path,
                        head=base.name,
                        member=f"{store} {base.name}" if stacked else store,
                        seed=seed,
                        fold=fold,
                        train=tuple(position[image] for image in train),
                        test=tuple(position[image] for image in test),
                        labels=tuple(order[images.labels[image]] for image in train),
                        groups=plan.kept_whole(train, [images.groups[image] for image in train]),
                        train_ids=tuple(train),
                        test_ids=tuple(test),
                        classes=len(order),
                        terms=self.terms,
                        params=params,
                        inner=stacked,
                        mark=claim.mark(store),
                        model=claim.folder / "models" / store / (f"{base.name}-{name}" if stacked else name),
                    )
                )
        return units

    def _seeds_of(self, base: HeadSpec) -> int:
        return self.settings.seeds if base.seeded and self.head != STACK else 1

    together = staticmethod(group_units)
    train = staticmethod(train_group)
    read = staticmethod(read_unit)

    def marks(self, units: Sequence[ModelUnit]) -> Sequence[Mark]:
        """Return a mark per store."""
        return list({unit.store: unit.mark for unit in units}.values())

    def banners(self) -> Sequence[str]:
        """Say what the stores are of."""
        return self.sources.banners()

    def finish(
        self, result: CrossValidation, units: Sequence[ModelUnit], found: Sequence[Probabilities]
    ) -> CrossValidation:
        """Put the models together and write the outputs."""
        folder, sources = result.folder, self.sources
        ensemble = gather(
            units, found, images=self.images, stores=sources.paths, protocol=result.protocol, folder=folder
        )
        augmentations = {name: int(header["augmentations"]) for name, header in sources.headers.items()}
        facts: dict[str, Any] = {"head": self.head, "paper": ensemble.paper.content()}
        notices = [notice for spec in members_of(self.head) if (notice := spec.notice(self.terms))]
        if learning := models_without_split(units, augmentations=augmentations):
            facts["learning"] = learning
            notices.append(learning_banner(learning))
        if self.settings.each:
            facts["each"] = measure_gains(ensemble.fused, list(sources.paths), view=self.view)
        described = read_rows(self.run / "features" / "images.csv")
        paths = {row["sha256"]: Path(row["path"]) for row in described}

        def show(image: str) -> npt.NDArray[np.uint8] | None:
            if not paths:  # of embeddings there are no images
                return None
            path = paths.get(self.images.files[image])
            if path is None:
                raise ImageError(f"{image}: where its file is, is not known")
            return decode_image(path)

        def bundle(kept: BundleFacts) -> None:
            models: dict[str, list[tuple[str, Path]]] = {}
            for unit in units:
                models.setdefault(unit.store, []).append((unit.model.name, unit.model))
            stores = {name: _portable(header) for name, header in sources.headers.items()}
            Bundle.save(result.model, kept, stores=stores, models=models, head=self.head, blend=ensemble.weights)
            if blend := ensemble.weights:
                shares = [[fold, name, share] for fold, each in blend.items() for name, share in each.items()]
                write_rows(folder / "blend.csv", ("fold", "member", "weight"), shares)

        outputs = Outputs(
            self,
            tables=(ensemble.fusion, *ensemble.stores.values()),
            members=ensemble.by_seed,
            shown=1,
            facts=facts,
            paper=ensemble.paper,
            methods=methods_of(
                sources.headers, head=self.head, units=units, blended=bool(ensemble.weights), stains=sources.stains
            ),
            settings=shown_settings(
                sources.headers, head=self.head, terms=self.terms, protocol=result.protocol, models=len(units)
            ),
            samples=lambda: choose_samples(ensemble.fusion, show),
            doubtful=lambda: doubtful_samples(sources, show),
        )
        done = outputs.write(replace(result, banners=(*result.banners, *notices)), bundle=bundle)
        assert done.panel is not None  # the fusion is a table
        named = replace(done.panel, table=replace(done.panel.table, name=folder.name))
        return replace(done, panel=named, table=ensemble.fusion.name)


def _refuse_fewer(folder: Path, *, stores: Collection[str], seeds: int) -> None:
    """Refuse to replace the result of more stores or seeds by one of fewer.

    Raises
    ------
    SettingsConflictError
        The message names what the result holds.
    """
    held = {(row["store"], int(row["seed"])) for row in read_rows(folder / "predictions-by-model.csv")}
    more = max((seed for _, seed in held), default=-1) + 1
    # the rows of a stack are named "<store> <head>"
    asked = {*stores, *(f"{store} {head}" for store in stores for head in STACK_MEMBERS)}
    lost = sorted({name for name, _ in held} - asked)
    if lost or more > seeds:
        has = [f"{len(lost)} more stores ({', '.join(lost)})"] if lost else []
        has += [f"{more} seeds, not {seeds}"] if more > seeds else []
        raise SettingsConflictError(
            f"{folder}: holds a larger result: {' and '.join(has)}; ask for all of it, or use another `out`, or "
            "`overwrite` to replace it by this smaller one"
        )


def _portable(header: dict[str, Any]) -> dict[str, Any]:
    """Return what `predict` needs of a store's attributes."""
    dropped = {"kind", "failures", "images_sha256", "classes", "backend", "road", "selection"}
    return {key: value for key, value in header.items() if key not in dropped}
