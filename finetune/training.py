"""Fine-tune a network over the folds of one or more cross-validation schemes.

A scheme is a `bchisto.crossval.Training` whose units are folds.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..core import (
    Banner,
    Content,
    InputError,
    Kind,
    Many,
    Message,
    Pairs,
    PathInput,
    TextInput,
    WeightsError,
    as_banner,
    converted,
    counted,
    has_kind,
    plain_options,
)
from ..core.formats import file_sha256
from ..core.jobs import Resources, Work, key_of, prepare_backend, visible_gpus, write_or_remove
from ..core.runs import FolderSettings, record_run, versions_of
from ..crossval import CrossValidation, LabelledImages, Training, cross_validate
from ..data import (
    FACTS_FILE,
    SYNTHETIC_BANNER,
    Dataset,
    FoldChoice,
    FoldPlan,
    ImageSelection,
    inner_splits,
    warn_left_out,
)
from ..encoders import EMBEDDED, PUBLISHED
from ..evaluate import TwoClassView
from .batches import Source
from .fit import TrainingPlan
from .images import ImageBank, prepare_images
from .model import network_of, resolved, untrained_notice
from .outputs import write_outputs
from .settings import FinetuneSettings, class_factors
from .units import FoldUnit, fit_batch_size, read_fold, release_network, train_fold

_log = logging.getLogger(__name__)

FOLD_KIND = "fold 3"
"""Prefix of the key of a fold. Its number changes whenever training or predicting changes."""

_VALIDATION_FOLDS = 8
"""Number of parts of the training images, one of which validates if the fold list has no validation images."""


@dataclass(frozen=True)
class CnnTraining(Training):
    """One cross-validation scheme with one network.

    Attributes
    ----------
    networks : Path
        ``RUN/finetune``.
    dataset : Dataset
        All images, in the order of the file `bank`.
    bank : Path
        File of the decoded images, see `prepare_images`.
    settings : FinetuneSettings
    reading : dict
        How the dataset was read, for the model file.
    tensorboard : bool
    """

    networks: Path
    dataset: Dataset
    bank: Path
    settings: FinetuneSettings
    reading: Content
    tensorboard: bool

    unit = "folds"
    finished_clause = "folds are trained"
    step_name = "epochs"
    command = "finetune"

    def with_fitting_batches(self) -> CnnTraining:
        """Return the training with its warnings, and a batch size that fits its images. Nothing is written.

        Raises
        ------
        InputError
            A fold cannot be trained, see `fit_batch_size`, or has no images to validate.
        """
        # these folds only give the batch size: it is part of the settings, on which folder and keys of folds depend
        folds = self._folds(self.networks, workers=1)
        settings = fit_batch_size(self.settings, folds)
        return replace(self, settings=settings, notes=(*self.notes, *self.banners()))

    @functools.cached_property
    def deciding(self) -> Content:
        """Settings that determine the training, for JSON. A weights file is given by its checksum, not by its path."""
        names = plain_options(self.settings, deciding=True)
        values = {name: getattr(self.settings, name) for name in names}
        values |= resolved(self.settings)
        weights = Path(self.settings.weights)
        if weights.is_file():
            values["weights"] = file_sha256(weights)
        elif values["weights"] == "embedded":
            values["weights"] = EMBEDDED.get(self.settings.network, "")
        return {**values, "backend": prepare_backend()}

    @functools.cached_property
    def folder_settings(self) -> FolderSettings:
        """The folder, with the settings that determine its networks."""
        versions = versions_of(("bchisto", "keras", "numpy", prepare_backend()))
        settings = self.settings
        name = "-".join(filter(None, (self.plan.name, settings.network, settings.name)))
        return FolderSettings(
            folder=self.networks / name,
            settings={**self.deciding, **self.image_settings()},
            work=("models/*", "predictions.csv"),
            made_with=versions | {"device": "GPU" if visible_gpus() else "CPU"},
            otherwise=Message("another {name} or {out}"),
        )

    @functools.cached_property
    def resources(self) -> Resources:
        """The resources of the folds. A folder that was begun continues with the same number of threads."""
        recorded = self.checked_folder.begun_with("threads")
        threads = None
        if recorded is not None:
            threads = int(recorded) if recorded.isdecimal() else 1
        resources = self.work.training(len(self.plan.folds), begun=threads)
        if resources.threads and resources.threads > 1:
            _log.info(
                "%s: each fold trains with %d threads, as settings.json notes; results differ by it",
                self.folder.name,
                resources.threads,
            )
        return resources

    @functools.cached_property
    def all_units(self) -> Sequence[FoldUnit]:
        """All folds."""
        return self._folds(self.folder, workers=self.resources.helpers(len(self.plan.folds)))

    do = staticmethod(train_fold)
    read = staticmethod(read_fold)
    finish = write_outputs

    def steps(self, unit: FoldUnit) -> int:
        """Return the largest number of epochs."""
        return unit.plan.settings.epochs

    def banners(self) -> Sequence[Banner]:
        """Return warnings about the images, the initial weights and the validation."""
        notes = []
        if self.dataset.synthetic:
            notes.append(SYNTHETIC_BANNER)
        # a recipe whose source trains from scratch says so itself
        if not has_kind(map(as_banner, self.notes), Kind.RANDOM_START):
            untrained = untrained_notice(self.settings)
            if untrained is not None:
                notes.append(untrained)
        if not self.settings.validation:
            text = (
                f"trained for {counted(self.settings.epochs, 'epoch')} on every training image; nothing but the last "
                "epoch chose the weights."
            )
            notes.append(Banner(Kind.NO_VALIDATION, text, epochs=self.settings.epochs))
        return notes

    def _folds(self, folder: Path, *, workers: int) -> list[FoldUnit]:
        records = self.dataset.records
        settings = self.settings
        classes = self.dataset.classes
        labels = tuple(classes.index(record.label_text) for record in records)
        source = Source.of(settings, ImageBank.open(self.bank), np.array(labels))
        factors = class_factors(settings.copies, classes)

        def names(positions: Sequence[int]) -> Pairs:
            """Return image and patch of each prediction of these images."""
            return tuple(
                (records[position].image_id, settings.rule.name(number, corner))
                for position in positions
                for number, corner in enumerate(source.corners(position))
            )

        units = []
        for fold in self.plan.folds:
            train, validate, test = self._parts(fold, labels)
            test_names = names(test)
            units.append(
                FoldUnit(
                    plan=TrainingPlan(
                        settings,
                        np.array(train, dtype=np.int64),
                        np.array(validate, dtype=np.int64),
                        len(classes),
                        factors,
                    ),
                    fold=fold,
                    images=self.bank,
                    labels=labels,
                    test=tuple(test),
                    test_names=test_names,
                    held_names=names(validate),
                    folder=folder,
                    workers=workers,
                    tensorboard=self.tensorboard,
                    key=self._key(fold, train, validate, test_names),
                )
            )
        return units

    def _parts(self, fold: int, labels: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
        """Return the positions of training, validation and test images of a fold."""
        position = {record.image_id: number for number, record in enumerate(self.dataset.records)}
        train, validate, test = (
            [position[image] for image in self.plan.images(fold, part)]
            for part in ("train", "val", "test")
        )
        if not self.settings.validation:
            return train + validate, [], test
        if not validate:
            train, validate = self._split(train, labels, fold)
        return train, validate, test

    def _key(
        self,
        fold: int,
        train: Sequence[int],
        validate: Sequence[int],
        names: Sequence[tuple[str, str]],
    ) -> str:
        """Return the key of a fold, a checksum of its settings and of the contents and labels of its images."""
        files = self.images.files

        def content(positions: Sequence[int]) -> list[tuple[str, str, str | None]]:
            selected = [self.dataset.records[position] for position in positions]
            return [(record.image_id, files[record.image_id], record.label) for record in selected]

        return key_of(
            FOLD_KIND,
            settings=self.deciding,
            reading=self.reading,
            classes=self.dataset.classes,
            fold=fold,
            train=content(train),
            validate=content(validate),
            tests=[(image, patch, files[image]) for image, patch in names],
        )

    def _split(
        self, train: Sequence[int], labels: Sequence[int], fold: int
    ) -> tuple[list[int], list[int]]:
        """Set an eighth of the training images aside to validate. Groups stay whole, and no class is lost for training.

        Of eight divisions it uses the first one with all classes in the validation part, if there is one. The loss on a
        single class would fall as long as the network predicts everything as that class.
        """
        training_labels = np.array([labels[position] for position in train], dtype=np.int64)
        records = [self.dataset.records[position] for position in train]
        groups = self.plan.kept_whole(
            [record.image_id for record in records], [record.group for record in records]
        )
        splits = inner_splits(
            training_labels, groups, count=_VALIDATION_FOLDS, seed=self.settings.seed
        )
        if not splits:
            raise InputError(
                "fold {}: no images (patients) can be set aside to validate without taking a whole class out of "
                "training; add images of other patients, use more {folds}, a list with val parts, or "
                "{validation:False}",
                fold,
            )
        classes = set(training_labels)
        complete_splits = [split for split in splits if set(training_labels[split[1]]) == classes]
        kept, held = next(iter(complete_splits), splits[0])
        return [train[number] for number in kept], [train[number] for number in held]


def finetune(
    images: ImageSelection | PathInput,
    *,
    out: PathInput,
    settings: FinetuneSettings,
    folds: FoldChoice | Many[TextInput] = (),
    work: Work | None = None,
    view: TwoClassView | None = None,
    notes: Many[TextInput] = (),
    tensorboard: bool = False,
) -> list[CrossValidation]:
    """Train a network on the folds of each cross-validation scheme. Finished folds are skipped.

    Parameters
    ----------
    images : ImageSelection or path
        The images and how they are read. A path means all its images, in the layout that is recognised.
    out : str or Path
        The run folder.
    settings : FinetuneSettings
    folds : FoldChoice or sequence of str
        Cross-validation schemes, see `bchisto.data.FoldChoice`; 10 folds by default. If a scheme has validation images,
        they decide when training stops. Otherwise an eighth of each training part does, with patients kept together.
    work : Work, optional
        How the work is done; a unit is a fold. The default is a process per core, or one per GPU if Keras's backend
        finds any. If its `skip_errors` is True, images that cannot be used are listed in ``RUN/finetune/failures.csv``.
    view : TwoClassView, optional
        As in `bchisto.boost.train`.
    notes : sequence of str
        Notes that every output shows first.
    tensorboard : bool
        Whether to write curves, histograms of weights and the graph to ``logs/tensorboard/``.

    Returns
    -------
    list of CrossValidation
        One result per cross-validation scheme.

    Raises
    ------
    InputError
        Images, folds or settings do not fit together, or the folder contains results of others.
    ImageError
        An image cannot be used and `Work.skip_errors` is False.
    ReportError
        A report could not be written. Networks, predictions, metrics and model files are complete, and the attribute
        ``results`` of the error holds the list.
    """
    run = converted(out, "out", Path)
    selection = ImageSelection.of(images)
    choice = FoldChoice.of(folds)
    work = Work.of(work)
    view = TwoClassView.of(view)
    remarks = converted(notes, "notes", tuple[str, ...])
    selection.refuse_as_run(run)
    network_of(settings.network)
    weights = resolved(settings)["weights"]
    if weights not in (*PUBLISHED, "random") and not Path(weights).is_file():
        raise WeightsError("{}: no such weights file; give one with {weights}, or random", weights)
    config = {
        "out": str(run),
        **plain_options(selection, settings, choice, view, work),
        "tensorboard": tensorboard,
    }
    config["folds"] = list(choice.folds or ("10",))
    folder = run / "finetune"
    with record_run(run, command="finetune", config=config, work=work) as record:
        dataset, bank, labelled, plans = _prepare(selection, settings, choice, view, folder, work)
        record.note(flow=dict(labelled.facts.flow), failures=len(labelled.failures))
        trainings = [
            # refuses settings that do not fit before anything is written
            CnnTraining(
                plan=plan,
                images=labelled,
                view=view,
                notes=remarks,
                work=work,
                networks=folder,
                dataset=dataset,
                bank=bank,
                settings=settings,
                reading=selection.reading,
                tensorboard=tensorboard,
            ).with_fitting_batches()
            for plan in plans
        ]
        try:
            return cross_validate(trainings, run=run, record=record)
        finally:
            release_network()


def _prepare(
    selection: ImageSelection,
    settings: FinetuneSettings,
    choice: FoldChoice,
    view: TwoClassView,
    folder: Path,
    work: Work,
) -> tuple[Dataset, Path, LabelledImages, list[FoldPlan]]:
    """Read and decode the images, and divide them into folds; refuse what cannot be trained before they are decoded.

    Returns
    -------
    tuple
        The dataset of the labelled images, the file of their pixels, the facts about them for training, and their
        folds.
    """
    skip_errors = work.skip_errors
    opened = selection.open(
        cache=folder / "images.csv",
        stain=settings.stain,
        colours="stain" in settings.augmentations,
        colours_off=Message("no {augmentations:stain}"),
        needs=(settings.rule,),
        skip_errors=skip_errors,
        keep_refused=True,
    )
    unique = opened.unique
    classes = unique.dataset.classes
    view.check(classes)
    class_factors(settings.copies, classes)
    records = unique.dataset.records
    labelled = tuple(record for record in records if record.label is not None)
    dataset = replace(unique.dataset, records=labelled)
    if not labelled:
        raise InputError(
            f"{selection.images}: none of the {len(records)} images has a label to train on"
        )
    # refuse fold lists that do not fit before images are decoded
    choice.plans_of(records, seed=settings.seed, known=opened.known(failed=0))
    bank, pixels, failures = prepare_images(
        labelled, settings, digest=unique.digest, folder=folder, skip_errors=skip_errors
    )
    facts = opened.settle(folder / FACTS_FILE, failed=len(failures))
    facts_of_run = replace(facts, failed=tuple(failures))
    plans = choice.plans_of(records, seed=settings.seed, known=facts_of_run)
    warn_left_out(failures)
    write_or_remove(folder / "failures.csv", ["image_id", "error"], failures.items())
    images = LabelledImages(
        digest=unique.digest,
        dataset=dataset.name,
        classes=classes,
        labels={record.image_id: record.label_text for record in labelled},
        groups={record.image_id: record.group for record in labelled},
        failures=tuple(failures.items()),
        facts=facts,
        pixels=pixels,
        files=unique.sha256,
        looks={record.image_id: record.look for record in labelled},
        by_share=settings.by_share,
    )
    return dataset, bank, images, plans
