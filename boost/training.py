"""Training of classifiers with each cross-validation scheme: units, shards, outputs."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from ..core import (
    ImageError,
    InputError,
    Many,
    Message,
    MissingInputError,
    PathInput,
    SettingsConflictError,
    TextInput,
    as_banner,
    converted,
    counted,
    items_of,
    plain_options,
)
from ..core.formats import Pixels, read_rows
from ..core.jobs import Work, write_or_remove
from ..core.models import BundleFacts, Member, check_archive_size
from ..core.runs import FolderSettings, record_run, versions_of
from ..crossval import CrossValidation, Outputs, Training, cross_validate
from ..data import DatasetFacts, FoldChoice, FoldPlan, ImageRecord, decode_image, write_fold_rows
from ..evaluate import TwoClassView
from ..featurize import import_features, load_features
from .bundle import Bundle
from .head import HeadSpec, TrainingTerms
from .heads import get_head
from .methods import methods_of, shown_store
from .reference import TRAINING_NAMES, TrainingImage, fit_reference
from .settings import BoostSettings, FeatureChoice
from .sources import Sources, read_sources
from .units import (
    FittedUnit,
    FoldPart,
    ModelUnit,
    gather,
    group_units,
    learning_banner,
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
    """

    run: Path
    sources: Sources
    spec: HeadSpec
    settings: BoostSettings

    unit = "models"
    finished_clause = "models are trained"
    step_name = "models"
    command = "boost"
    tables = ("predictions-by-model.csv", "table.csv")

    def check_size(self) -> None:
        """Refuse more models than a model file can hold.

        Raises
        ------
        InputError
        """
        check_archive_size(members=len(self.sources.stores) * len(self.plan.folds) * self.seeds)

    @property
    def seeds(self) -> int:
        """Number of models for each feature file and fold."""
        return self.settings.seeds if self.spec.seeded else 1

    def check(self) -> None:
        """Refuse a folder with other folds or parameters, or with a larger result, see `Training.check`.

        Raises
        ------
        SettingsConflictError
            The folder has other settings, or more seeds or feature files. Adding seeds or feature files is allowed.
        """
        super().check()
        _refuse_larger(self.folder, self.sources.stores, self.settings)

    @functools.cached_property
    def folder_settings(self) -> FolderSettings:
        """The folder with the settings of its models. Further feature files extend it."""
        return FolderSettings(
            folder=_folder_of(self.run, self.plan, self.spec.name, self.settings),
            settings={
                "head": self.spec.name,
                "seed": self.settings.seed,
                **self.image_settings(),
                **self.spec.settings(self.terms),
                "stores": {name: store.settings for name, store in self.sources.stores.items()},
            },
            work=("models/*/*", "predictions.csv"),
            made_with=versions_of(["bchisto", "numpy", *self.spec.packages]),
            otherwise=Message("another {name} or {out}"),
        )

    @functools.cached_property
    def terms(self) -> TrainingTerms:
        """Settings that all classifiers share."""
        largest = max(len(self.plan.images(fold, "train")) for fold in self.plan.folds)
        return TrainingTerms(
            self.settings.lightgbm.for_classes(len(self.images.classes)),
            self.settings.seed,
            largest,
        )

    @functools.cached_property
    def all_units(self) -> Sequence[ModelUnit]:
        """All models, ordered by feature file, seed and fold."""
        units = []
        for store in self.sources.stores:
            for seed, (position, part) in product(range(self.seeds), enumerate(self._parts[store])):
                params = self.spec.params(
                    self.terms,
                    classes=len(self.images.classes),
                    seed=seed,
                    fold_position=position,
                )
                units.append(ModelUnit(part, self.spec.name, seed, self.terms, params, self.folder))
        return units

    @functools.cached_property
    def _parts(self) -> dict[str, list[FoldPart]]:
        """Training and test images of each fold, by feature file."""
        images = self.images
        parts: dict[str, list[FoldPart]] = {}
        for (name, store), fold in product(self.sources.stores.items(), self.plan.folds):
            train = self.plan.images(fold, "train")
            test = self.plan.images(fold, "test")
            parts.setdefault(name, []).append(
                FoldPart(
                    store=name,
                    path=store.path,
                    fold=fold,
                    labels=tuple(images.classes.index(images.labels[image]) for image in train),
                    groups=self.plan.kept_whole(train, [images.groups[image] for image in train]),
                    train_ids=tuple(train),
                    test_ids=tuple(test),
                    classes=images.classes,
                    rows=tuple(store.keys[image] for image in (*train, *test)),
                )
            )
        return parts

    groups = staticmethod(group_units)
    do = staticmethod(train_group)
    read = staticmethod(read_unit)

    def finish(
        self, result: CrossValidation, units: Sequence[ModelUnit], fitted: Sequence[FittedUnit]
    ) -> CrossValidation:
        """Combine the models and write all outputs."""
        headers = self.sources.headers
        tables, members, paper = gather(
            units, fitted, images=self.images, protocol=result.protocol, folder=result.folder
        )
        notice = self.spec.notice(self.terms)
        notices = [as_banner(notice)] if notice else []
        augmentations = {name: int(header["augmentations"]) for name, header in headers.items()}
        stains = {name: store.stains for name, store in self.sources.stores.items()}
        learning = learning_banner(units, fitted, augmentations=augmentations)
        if learning is not None:
            notices.append(learning)
        outputs = Outputs(
            self,
            tables=tables,
            members=members,
            shown=1,
            facts={
                "head": self.spec.name,
                "paper": asdict(paper),
                "doubts": self.sources.doubts,
            },
            paper=paper,
            methods=methods_of(headers, spec=self.spec, units=units, stains=stains),
            settings={
                "protocol": result.protocol,
                "head": self.spec.name,
                "models": str(len(units)),
                **self.spec.shown(self.terms),
                **{name: shown_store(header) for name, header in headers.items()},
            },
            picture=self._pictures(),
        )
        result = outputs.write(
            replace(result, banners=(*result.banners, *notices)),
            save=functools.partial(self._save, result.model, units),
        )
        assert result.panel is not None  # the fusion is a table
        table = replace(result.panel.table, name=result.folder.name)
        return replace(result, panel=replace(result.panel, table=table))

    def _pictures(self) -> Callable[[str], Pixels] | None:
        """Return a function that decodes an image for the report; None for embeddings, which have no images."""
        paths = {
            row["sha256"]: Path(row["path"])
            for row in read_rows(self.run / "features" / "images.csv")
        }
        if not paths:
            return None

        def picture(image: str) -> Pixels:
            path = paths.get(self.images.files[image])
            if path is None:
                raise ImageError(f"{image}: its file is not known")
            return decode_image(path)

        return picture

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
        return Bundle.save(
            path,
            facts,
            stores=stores,
            models=models,
            head=self.spec.name,
            reference=self._reference(path.parent),
        )

    def _reference(self, folder: Path) -> bytes | None:
        """Return the summary of the training images for the model file, and write their names to a separate file.

        The names are separate because users may pass the model file on to others.
        """
        images = self._training_images()
        paths = [store.path for store in self.sources.stores.values()]
        reference = fit_reference(paths, images, seed=self.settings.seed)
        names = [(image.image_id, image.sha256) for image in images] if reference else []
        write_or_remove(folder / TRAINING_NAMES, ["image_id", "sha256"], names)
        return reference

    def _training_images(self) -> list[TrainingImage]:
        """Return the images that train a fold; none of them if the checksum of one is not known."""
        images = self.images
        plan = self.plan
        training_ids = {image for fold in plan.folds for image in plan.images(fold, "train")}
        if not training_ids <= images.hashes.keys():
            return []
        return [
            TrainingImage(
                image,
                position,
                images.classes.index(label),
                images.hashes[image],
                str(images.groups[image] or plan.units.get(image, image)),
            )
            for position, (image, label) in enumerate(images.labels.items())
            if image in training_ids
        ]


def _folder_of(run: Path, plan: FoldPlan, head: str, settings: BoostSettings) -> Path:
    """Return the folder of a classifier and its folds."""
    return run / "boost" / "-".join(filter(None, (plan.name, head, settings.name)))


def _refuse_larger(folder: Path, stores: Container[str], settings: BoostSettings) -> None:
    """Refuse a folder that holds a result of other feature files, or of more seeds."""
    rows = list(read_rows(folder / "predictions-by-model.csv"))
    seeds = 1 + max((int(row["seed"]) for row in rows), default=-1)
    missing_stores = sorted({row["store"] for row in rows if row["store"] not in stores})
    surplus = []
    if missing_stores:
        surplus.append(
            f"{counted(len(missing_stores), 'more feature file')} ({', '.join(missing_stores)})"
        )
    if seeds > settings.seeds:
        surplus.append(f"{seeds} seeds, not {settings.seeds}")
    if surplus:
        raise SettingsConflictError(
            "{}: holds what was not asked for: {}",
            folder,
            " and ".join(surplus),
            remedies=[
                "ask for all of it",
                Message("use another {name}"),
                Message("another {out}"),
                Message("{overwrite} to replace it"),
            ],
        )


def _check(settings: BoostSettings, schemes: FoldChoice) -> None:
    """Refuse training without folds, and parameters that LightGBM does not take."""
    if "none" in schemes.folds:
        raise InputError(
            Message(
                "{folds:none}: boost averages fold models; bchisto finetune trains on all images"
            )
        )
    _ = settings.lightgbm


def check_before_features(
    run: Path,
    records: Iterable[ImageRecord],
    stores: Container[str],
    *,
    settings: BoostSettings,
    folds: FoldChoice,
) -> None:
    """Refuse what `train` would refuse, as far as images and settings show it before there are features.

    Parameters
    ----------
    run : Path
    records : iterable of ImageRecord
    stores : container of str
        Names of the feature files to come; none if they are not known.
    settings : BoostSettings
    folds : FoldChoice
    """
    _check(settings, folds)
    labelled = [record for record in records if record.label is not None]
    plans = folds.plans_of(labelled, seed=settings.seed, known=DatasetFacts())
    if stores:
        for plan, head in product(plans, settings.heads):
            _refuse_larger(_folder_of(run, plan, head, settings), stores, settings)


def train(
    out: PathInput,
    *,
    features: FeatureChoice | Many[PathInput] = (),
    settings: BoostSettings | None = None,
    folds: FoldChoice | Any = (),
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
    folds : FoldChoice or sequence of str, or a splitter of scikit-learn, or a sequence of (train, test)
        Cross-validation schemes: a number of folds, a published list, or a fold list. By default ``rakhlin10`` for the
        400 BACH images, otherwise 10. A splitter is given the arrays of `load_features`, whose positions a sequence
        has; both are written to the run as a fold list.
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
    choice = FeatureChoice.of(features)
    schemes = _schemes(folds, run, choice.features)
    remarks = converted(notes, "notes", tuple[str, ...])  # refused before anything is read
    settings = BoostSettings.of(settings)
    work = Work.of(work)
    view = TwoClassView.of(view)
    _check(settings, schemes)
    if not choice.features and not (run / "features").is_dir():
        gap = "a folder without features" if run.is_dir() else "no such run folder"
        raise MissingInputError("{}: {}; run {featurize.images:DIR --out {}} first", run, gap, run)
    config = {"out": str(run), **plain_options(choice, settings, schemes, view)}
    with record_run(run, command="boost", config=config, work=work) as record:
        stores: Sequence[Path] = choice.features
        if stores or choice.labels is not None:
            stores = import_features(
                stores,
                folder=run / "features",
                labels=choice.labels,
                classes=choice.classes,
                overwrite=work.overwrite,
            )
            imported = [f"features/{path.name}" for path in stores if path not in choice.features]
            if imported:
                record.note(stores=imported)
        sources = read_sources(stores or [run / "features"], classes=choice.classes)
        images = sources.images
        view.check(images.classes)
        plans = schemes.plans(
            list(images.labels),
            labels=list(images.labels.values()),
            groups=list(images.groups.values()),
            seed=settings.seed,
            default="10" if schemes.folds else _default_folds(sources),
            known=replace(images.facts, failed=sources.failed),
        )
        trainings = []
        for plan, head in product(plans, settings.heads):
            spec = get_head(head)
            training = BoostTraining(
                plan=plan,
                images=replace(images, by_share=settings.by_share(spec)),
                view=view,
                notes=(*remarks, *sources.banners()),
                work=work,
                run=run,
                sources=sources,
                spec=spec,
                settings=settings,
            )
            training.check_size()
            trainings.append(training)
        return cross_validate(trainings, run=run, record=record)


def _schemes(folds: Any, run: Path, features: Sequence[Path]) -> FoldChoice:
    """Return the choice of folds; those of scikit-learn are written as a fold list, which is then read."""
    splits = items_of(folds)
    is_splitter = hasattr(folds, "get_n_splits")
    if not is_splitter and not (splits and isinstance(splits[0], tuple)):
        return FoldChoice.of(splits[0] if len(splits) == 1 else splits)
    matrix = load_features(features[0] if features else run)
    if is_splitter:
        splits = tuple(folds.split(matrix.X, matrix.y, matrix.groups))
    rows = [
        (image, fold, part)
        for fold, pair in enumerate(splits, start=1)
        for part, positions in zip(("train", "test"), pair, strict=True)
        for image in matrix.names[list(positions)]
    ]
    path = run / f"{type(folds).__name__}-{len(splits)}.csv"
    write_fold_rows(path, rows)
    return FoldChoice((path,))


def default_folds(dataset: str, images: int, *, synthetic: bool) -> str:
    """Return the protocol for this number of images of a dataset if the user names none."""
    if dataset == "bach" and images == _BACH_IMAGES and not synthetic:
        return "rakhlin10"
    return "10"


def _default_folds(sources: Sources) -> str:
    images = len(sources.images.labels) + len(sources.failed)
    protocols = {
        default_folds(header["dataset"], images, synthetic=header["synthetic"])
        for header in sources.headers.values()
    }
    if protocols != {"rakhlin10"}:
        return "10"
    _log.info(Message("the 400 BACH images: using the published folds, {folds:rakhlin10}"))
    return "rakhlin10"
