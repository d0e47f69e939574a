"""One protocol with one head over the stores of a run, as a training of `bchisto.experiment`."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..data import decode_image
from ..errors import SettingsConflictError
from ..evaluate import choose_samples, measure_gains
from ..experiment import BundleFacts, CrossValidation, Outputs, Tested, Training, Work
from ..featurize import ABSENT_SETTINGS, compared_settings
from ..jobs import Resources, read_records, write_rows
from ..runs import Claim, Mark, versions_of
from .bundle import Bundle
from .ensemble import count_models, gather, plan_units
from .head import TrainingTerms
from .heads import ABSENT_HEAD_SETTINGS, STACK_MEMBERS, head_packages, head_settings, members_of
from .learning import learning_banner, models_without_split
from .methods import methods_of, shown_settings
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
        if self.each:
            facts["each"] = measure_gains(ensemble.fused, list(sources.paths), view=self.view)
        paths = _paths(self.run / "features" / "images.csv")

        def show(image: str) -> npt.NDArray[np.uint8] | None:
            path = paths.get(sources.sha256[image])
            return None if path is None else decode_image(path)

        def bundle(found: BundleFacts) -> None:
            models: dict[str, list[tuple[str, Path]]] = {}
            for unit in units:
                models.setdefault(unit.store, []).append((unit.model.name, unit.model))
            stores = {name: _portable(header) for name, header in sources.headers.items()}
            Bundle.save(result.model, found, stores=stores, models=models, head=self.head, blend=ensemble.weights)
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
            methods=methods_of(sources.headers, head=self.head, units=units, blended=bool(ensemble.weights)),
            settings=shown_settings(
                sources.headers, head=self.head, terms=self.terms, protocol=result.protocol, models=len(units)
            ),
            samples=lambda: choose_samples(ensemble.fusion, show),
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


def _portable(header: dict[str, Any]) -> dict[str, Any]:
    """Return what `predict` needs of a store's attributes."""
    dropped = {"kind", "failures", "images_sha256", "classes", "backend", "road", "selection"}
    return {key: value for key, value in header.items() if key not in dropped}


def _paths(table: Path) -> dict[str, Path]:
    """Read where images lay, by the hash of their content."""
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as handle:
        return {row["sha256"]: Path(row["path"]) for row in read_records(handle)}
