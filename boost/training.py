"""Training of classifiers with each cross-validation scheme: units, shards, outputs."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..core import (
    ImageError,
    InputError,
    Many,
    Message,
    PathInput,
    SettingsConflictError,
    TextInput,
    converted,
    plain_options,
)
from ..core.formats import check_archive_size, read_rows
from ..core.jobs import Resources, Work, cpu_resources, write_or_remove
from ..core.models import BundleFacts, Member
from ..core.runs import FolderSettings, record_run, versions_of
from ..crossval import CrossValidation, Outputs, Training, cross_validate
from ..data import FoldChoice, decode_image
from ..evaluate import TwoClassView
from ..featurize import import_features
from .bundle import Bundle
from .head import HeadSpec, TrainingTerms
from .heads import get_head
from .methods import methods_of, shown_store
from .presets import Preset
from .reference import TRAINING_NAMES, fit_reference
from .settings import BoostSettings, FeatureChoice
from .sources import Sources, read_sources
from .units import (
    FittedUnit,
    FoldPart,
    ModelUnit,
    gather,
    group_units,
    learning_banner,
    models_without_split,
    read_model,
    read_unit,
    train_group,
)

_log = logging.getLogger(__name__)

_BACH_IMAGES = 400

_ONLY_TRAINING = {
    "failures",
    "images_sha256",
    "classes",
    "backend",
    "device",
    "selection",
    "mpp_sha256",
}
"""Entries of the header of a feature file that `predict` does not need."""


@dataclass(frozen=True)
class BoostTraining(Training):
    """Training of one classifier with one cross-validation scheme.

    Attributes
    ----------
    run : Path
        The run folder.
    sources : Sources
    spec : HeadSpec
        The classifier.
    settings : BoostSettings
    preset : Preset
        The preset of the settings, with checked parameters.
    """

    run: Path
    sources: Sources
    spec: HeadSpec
    settings: BoostSettings
    preset: Preset

    unit: ClassVar[str] = "models"
    step_name: ClassVar[str] = "models"
    command: ClassVar[str] = "boost"
    tables: ClassVar[tuple[str, ...]] = ("predictions-by-model.csv", "table.csv")

    def check(self) -> FolderSettings:
        """Refuse a folder with other folds or parameters, or with a larger result, see `Training.check`.

        Raises
        ------
        InputError
            There are more models than a model file can hold.
        SettingsConflictError
            The folder has other settings, or more seeds or feature files. Adding seeds or feature files is allowed.
        """
        stores, seeds = self.sources.paths, self.settings.seeds
        check_archive_size(
            members=len(stores) * len(self.plan.folds) * (seeds if self.spec.seeded else 1)
        )
        folder = super().check()
        made = () if self.overwrite else read_rows(folder.folder / "predictions-by-model.csv")
        held = {(row["store"], int(row["seed"])) for row in made}
        more = max((seed for _, seed in held), default=-1) + 1
        lost = sorted({name for name, _ in held}.difference(stores))
        if lost or more > seeds:
            has = [f"{len(lost)} more feature files ({', '.join(lost)})"] if lost else []
            has += [f"{more} seeds, not {seeds}"] if more > seeds else []
            raise SettingsConflictError(
                "{}: holds a larger result: {}; ask for all of it, or use another {out}, or {overwrite} "
                "to replace it by this smaller one",
                folder.folder,
                " and ".join(has),
            )
        return folder

    def folder(self) -> FolderSettings:
        """Return the folder with the settings of its models. Further feature files extend it."""
        name = "-".join(filter(None, (self.plan.name, self.spec.name, self.settings.name)))
        return FolderSettings(
            folder=self.run / self.command / name,
            settings={
                "head": self.spec.name,
                "seed": self.settings.seed,
                **self.image_settings(),
                **self.spec.settings(self.terms),
                "stores": self.sources.settings,
            },
            work=("models/*/*", "predictions.csv"),
            made_with=versions_of(["bchisto", "numpy", *self.spec.packages]),
        )

    @functools.cached_property
    def terms(self) -> TrainingTerms:
        """Settings that all classifiers share."""
        largest = max(len(self.plan.images(fold, "train")) for fold in self.plan.folds)
        return TrainingTerms(
            self.preset.for_classes(len(self.images.classes)), self.settings.seed, largest
        )

    def resources(self, work: Work, folder: FolderSettings) -> Resources:
        """Return one process per core, because no network runs."""
        return cpu_resources(work.jobs)

    def units(self, folder: Path, resources: Resources) -> Sequence[ModelUnit]:
        """Return all models, ordered by feature file, seed and fold."""
        head, classes, units = self.spec, len(self.images.classes), []
        seeds = self.settings.seeds if head.seeded else 1
        for store in self.sources.paths:
            for seed, (fold_position, part) in product(range(seeds), enumerate(self._parts[store])):
                params = head.params(
                    self.terms, classes=classes, seed=seed, fold_position=fold_position
                )
                units.append(ModelUnit(part, head.name, seed, self.terms, params, folder))
        return units

    @functools.cached_property
    def _parts(self) -> dict[str, list[FoldPart]]:
        """Training and test images of each fold, by feature file."""
        images, plan = self.images, self.plan
        parts: dict[str, list[FoldPart]] = {}
        for (store, path), fold in product(self.sources.paths.items(), plan.folds):
            train, test = plan.images(fold, "train"), plan.images(fold, "test")
            parts.setdefault(store, []).append(
                FoldPart(
                    store=store,
                    path=path,
                    fold=fold,
                    labels=tuple(images.classes.index(images.labels[image]) for image in train),
                    groups=plan.kept_whole(train, [images.groups[image] for image in train]),
                    train_ids=tuple(train),
                    test_ids=tuple(test),
                    classes=images.classes,
                    rows=tuple(self.sources.keys[store][image] for image in (*train, *test)),
                )
            )
        return parts

    groups = staticmethod(group_units)
    train = staticmethod(train_group)
    read = staticmethod(read_unit)

    def finish(
        self, result: CrossValidation, units: Sequence[ModelUnit], fitted: Sequence[FittedUnit]
    ) -> CrossValidation:
        """Combine the models and write all outputs."""
        folder, sources = result.folder, self.sources
        fusion, of_stores, by_seed, paper = gather(
            units, fitted, images=self.images, protocol=result.protocol, folder=folder
        )
        augmentations = {
            name: int(header["augmentations"]) for name, header in sources.headers.items()
        }
        facts: dict[str, Any] = {"head": self.spec.name, "paper": asdict(paper)}
        notices = [notice] if (notice := self.spec.notice(self.terms)) else []
        if learning := models_without_split(units, fitted, augmentations=augmentations):
            facts["learning"] = learning
            notices.append(learning_banner(learning))
        paths = {
            row["sha256"]: Path(row["path"])
            for row in read_rows(self.run / "features" / "images.csv")
        }

        def show(image: str) -> npt.NDArray[np.uint8] | None:
            if not paths:  # embeddings have no images
                return None
            path = paths.get(self.images.files[image])
            if path is None:
                raise ImageError(f"{image}: its file is not known")
            return decode_image(path)

        outputs = Outputs(
            self,
            tables=(fusion, *of_stores.values()),
            members=by_seed,
            shown=1,
            facts=facts,
            paper=paper,
            methods=methods_of(sources.headers, spec=self.spec, units=units, stains=sources.stains),
            settings={
                "protocol": result.protocol,
                "head": self.spec.name,
                "models": str(len(units)),
                **self.spec.shown(self.terms),
                **{name: shown_store(header) for name, header in sources.headers.items()},
            },
            picture=show,
        )
        result = replace(result, banners=(*result.banners, *notices))
        done = outputs.write(result, bundle=functools.partial(self._save, result.model, units))
        assert done.panel is not None  # the fusion is a table
        named = replace(done.panel, table=replace(done.panel.table, name=folder.name))
        return replace(done, panel=named)

    def _save(self, path: Path, units: Sequence[ModelUnit], facts: BundleFacts) -> BundleFacts:
        """Write the model file."""
        models: dict[str, list[Member]] = {}
        for unit in units:
            name = f"seed{unit.seed}-fold{unit.part.fold}{self.spec.suffix}"
            models.setdefault(unit.part.store, []).append(
                (name, functools.partial(read_model, unit))
            )
        stores = {
            name: {key: value for key, value in header.items() if key not in _ONLY_TRAINING}
            for name, header in self.sources.headers.items()
        }
        reference = self._reference(path.parent)
        return Bundle.save(
            path, facts, stores=stores, models=models, head=self.spec.name, reference=reference
        )

    def _reference(self, folder: Path) -> bytes | None:
        """Return the summary of the training images for the model file, and write their names to a separate file.

        The names are separate because users may pass the model file on to others.
        """
        images, plan = self.images, self.plan
        hashes = images.pixels or images.files
        trained = {image for fold in plan.folds for image in plan.images(fold, "train")}
        reference = None
        if trained <= hashes.keys():
            units = {
                image: str(images.groups[image] or plan.units.get(image, image))
                for image in trained
            }
            described = [
                (position, images.classes.index(label), hashes[image], units[image])
                for position, (image, label) in enumerate(images.labels.items())
                if image in trained
            ]
            reference = fit_reference(
                self.sources.paths.values(), described, seed=self.settings.seed
            )
        rows = (
            [(image, hashes[image]) for image in images.labels if image in trained]
            if reference
            else []
        )
        write_or_remove(folder / TRAINING_NAMES, ["image_id", "sha256"], rows)
        return reference


def train(
    *,
    out: PathInput,
    features: FeatureChoice | Many[PathInput] = (),
    settings: BoostSettings | None = None,
    folds: FoldChoice | Many[TextInput] = (),
    work: Work | None = None,
    view: TwoClassView | None = None,
    notes: Many[TextInput] = (),
) -> list[CrossValidation]:
    """Train cross-validated ensembles on the feature files of a run. Finished models are not trained again.

    Parameters
    ----------
    out : str or Path
        The run folder.
    features : FeatureChoice, or path or sequence of them
        Feature files, folders of them or embeddings of other programs, with their labels and the class order. By
        default the feature files in ``out/features``.
    settings : BoostSettings, optional
        Settings of training; the published settings by default.
    folds : FoldChoice or sequence of str
        Cross-validation schemes: a number of folds, a published list, or a fold list. By default ``rakhlin10`` for the
        400 BACH images, otherwise 10.
    work : Work, optional
        How the work is distributed. By default one process per core, each with one LightGBM thread. A unit is the
        models of one feature file and fold.
    view : TwoClassView, optional
        The two-class view of every table. By default the positive classes of a known dataset and the rule ``sum``.
    notes : sequence of str
        Further notices that must appear in every output.

    Returns
    -------
    list of CrossValidation
        One per cross-validation scheme and classifier.

    Raises
    ------
    InputError
        Feature files, folds or parameters are invalid, or an existing folder has other folds or parameters.
    StoreError
        A feature file is damaged or not merged.
    ReportError
        A report could not be written. Models, predictions, metrics and model files are written, and the attribute
        ``results`` of the error is the list of results.
    """
    run = converted(out, "out", Path)
    chosen = FeatureChoice.of(features)
    remarks = converted(notes, "notes", tuple[str, ...])
    settings, choice, work = settings or BoostSettings(), FoldChoice.of(folds), work or Work()
    view = TwoClassView() if view is None else view
    if "none" in choice.folds:
        raise InputError(
            Message(
                "{folds:none}: boost averages fold models; bchisto finetune trains on all images"
            )
        )
    if not chosen.features and not (run / "features").is_dir():
        what = "a folder without features" if run.is_dir() else "no such run folder"
        raise InputError(f"{run}: {what}; run bchisto featurize --images DIR --out {run} first")
    preset = settings.lightgbm
    config = {"out": str(run), **plain_options(chosen, settings, choice, view)}
    with record_run(run, command="boost", config=config, work=work) as record:
        stores: Sequence[Path] = chosen.features
        if stores or chosen.labels is not None:
            stores = import_features(
                stores,
                folder=run / "features",
                labels=chosen.labels,
                classes=chosen.classes,
                overwrite=work.overwrite,
            )
        sources = read_sources(stores or [run / "features"], classes=chosen.classes)
        images = sources.images
        view.check(images.classes)
        plans = choice.plans(
            list(images.labels),
            labels=list(images.labels.values()),
            groups=list(images.groups.values()),
            seed=settings.seed,
            default="10" if choice.folds else _default_folds(sources),
            failed=sources.failed,
            known=images.known,
        )
        remarks = (*remarks, *sources.banners())
        trainings: list[BoostTraining] = []
        for plan, head in product(plans, settings.heads):
            trainings.append(
                BoostTraining(
                    plan=plan,
                    images=images,
                    view=view,
                    notes=remarks,
                    overwrite=work.overwrite,
                    run=run,
                    sources=sources,
                    spec=get_head(head),
                    settings=settings,
                    preset=preset,
                )
            )
        return cross_validate(trainings, run=run, work=work, record=record)


def _default_folds(sources: Sources) -> str:
    bach = all(
        header["dataset"] == "bach" and not header["synthetic"]
        for header in sources.headers.values()
    )
    if bach and len(sources.images.labels) + len(sources.failed) == _BACH_IMAGES:
        _log.info(Message("the 400 BACH images: using the published folds, {folds:rakhlin10}"))
        return "rakhlin10"
    return "10"
