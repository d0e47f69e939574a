"""Fine-tune a network over the folds of one or more cross-validation schemes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from ..core import InputError, Many, Message, PathInput, TextInput, WeightsError, converted, plain_options
from ..core.jobs import Work, write_rows
from ..core.runs import record_run
from ..crossval import CrossValidation, LabelledImages, cross_validate
from ..data import FACTS_FILE, DatasetFacts, FoldChoice, FoldPlan, ImageRecord, ImageSelection
from ..evaluate import TwoClassView
from .images import prepare_images
from .model import network_of, resolved
from .settings import FinetuneSettings, class_factors
from .training import CnnTraining
from .units import release_network


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
        Cross-validation schemes, see `bchisto.data.fold_plan`; 10 folds by default. If a scheme has validation images,
        they decide when training stops. Otherwise an eighth of each training part does, with patients kept together.
    work : Work, optional
        How the work is done; a unit is a fold. The default is a process per core, or one per GPU if Keras's backend
        finds any. If its `skip_errors` is True, images that cannot be used are listed in ``RUN/finetune/failures.csv``.
    view : TwoClassView, optional
        As in `bchisto.boost.training`.
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
    run, selection = converted(out, "out", Path), ImageSelection.of(images)
    choice, work, view = FoldChoice.of(folds), work or Work(), view or TwoClassView()
    remarks = converted(notes, "notes", tuple[str, ...])
    selection.refuse_as_run(run)
    network_of(settings.network)
    weights = resolved(settings)["weights"]
    if weights not in ("imagenet", "random") and not Path(weights).is_file():
        raise WeightsError("{}: no such weights file; give one with {weights}, or random", weights)
    chosen = plain_options(selection, settings, choice, view, work) | {"folds": list(choice.folds or ("10",))}
    config = {"out": str(run), **chosen, "tensorboard": tensorboard}
    with record_run(run, command="finetune", config=config, work=work) as record:
        folder = run / "finetune"
        opened = selection.open(
            cache=folder / "images.csv", stain=settings.stain, colours="stain" in settings.augmentations,
            colours_off=Message("no {augmentations:stain}"), needs=(settings.rule,), skip_errors=work.skip_errors,
            keep_refused=True,
        )  # fmt: skip
        view.check(opened.unique.dataset.classes)
        class_factors(settings.copies, opened.unique.dataset.classes)
        records = opened.unique.dataset.records
        labelled = tuple(record for record in records if record.label is not None)
        dataset = replace(opened.unique.dataset, records=labelled)
        if not dataset.records:
            raise InputError(f"{selection.images}: none of the {len(records)} images has a label to train on")
        # refuse fold lists that do not fit before images are decoded
        _plans(choice, records, (), opened.known(failed=0), seed=settings.seed)
        bank, pixels, failures = prepare_images(
            dataset.records, settings, digest=opened.unique.digest, folder=folder, skip_errors=work.skip_errors
        )
        known = opened.settle(folder / FACTS_FILE, failed=len(failures))
        plans = _plans(choice, records, failures, known, seed=settings.seed)
        if failures:
            write_rows(folder / "failures.csv", ["image_id", "error"], failures.items())
        record.note(flow=dict(known.flow))
        known_images = LabelledImages(
            digest=opened.unique.digest, dataset=dataset.name, classes=dataset.classes,
            labels={record.image_id: record.label or "" for record in dataset.records},
            groups={record.image_id: record.group for record in dataset.records},
            failures=tuple(failures.items()), known=known, pixels=pixels, files=opened.unique.sha256,
        )  # fmt: skip
        trainings = [
            CnnTraining(
                plan=plan, images=known_images, view=view, notes=remarks, overwrite=work.overwrite, networks=folder,
                dataset=dataset, bank=bank, settings=settings, reading=selection.reading, tensorboard=tensorboard,
            ).fitted()  # refuses settings that do not fit before anything is written
            for plan in plans
        ]  # fmt: skip
        try:
            return cross_validate(trainings, run=run, work=work, record=record)
        finally:
            release_network()


def _plans(
    choice: FoldChoice, records: Sequence[ImageRecord], failed: Collection[str], facts: DatasetFacts, *, seed: int
) -> list[FoldPlan]:
    usable = [record for record in records if record.image_id not in failed]
    return choice.plans(
        [record.image_id for record in usable],
        labels=[record.label or "" for record in usable],
        groups=[record.group for record in usable],
        seed=seed, default="10", failed=failed, known=facts,
    )  # fmt: skip
