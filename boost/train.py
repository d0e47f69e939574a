"""Stage 2 as a whole: the stores of a run, the folds of each protocol, one training for each of them and each head."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from ..core import InputError, Many, Message, PathInput, TextInput, as_path, as_texts, plain_options
from ..crossval import CrossValidation, cross_validate
from ..data import FoldChoice
from ..evaluate import TwoClassView
from ..featurize import import_features
from ..jobs import Work
from ..runs import record_run
from .settings import BoostSettings, FeatureChoice
from .sources import Sources, read_sources
from .training import BoostTraining

_log = logging.getLogger(__name__)

_BACH_IMAGES = 400


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
    """Train cross-validated ensembles on the stores of a run; does only what is missing.

    Parameters
    ----------
    out : str or Path
        The run folder.
    features : FeatureChoice, or path or sequence of them
        Stores, folders of them or embeddings of other programs, their labels and the class order; the stores in
        ``out/features`` by default.
    settings : BoostSettings, optional
        What is trained; the published settings by default.
    folds : FoldChoice or sequence of str
        Protocols: a number, a published list, or a fold list; by default ``rakhlin10`` for the 400 BACH images and
        10 else.
    work : Work, optional
        How it is done: a process per core by default, one LightGBM thread each. A unit is a store and fold.
    view : TwoClassView, optional
        Positive classes, rule and operating points of the two-class view of every table; by default the positive
        classes of a known dataset and the rule ``sum``.
    notes : sequence of str
        What a reader of any number must know, beside what the stores say: put into every output.

    Returns
    -------
    list of CrossValidation
        One per protocol and head.

    Raises
    ------
    InputError
        Stores, folds or parameters that do not fit; an existing folder of other folds or parameters.
    StoreError
        A damaged or unmerged store.
    ReportError
        A report could not be written; models, predictions, metrics and bundles are, and ``results`` holds the list.
    """
    run = as_path(out, "out")
    chosen = FeatureChoice.of(features)
    remarks = as_texts(notes, "notes")
    settings, choice, work = BoostSettings.of(settings), FoldChoice.of(folds), Work.of(work)
    view = TwoClassView() if view is None else view
    if "none" in choice.folds:
        raise InputError(Message("{folds:none}: boost averages fold models; bchisto finetune trains on all images"))
    if not chosen.features and not run.is_dir():
        raise InputError(f"{run}: no such run folder; run bchisto featurize --out {run} first")
    preset = settings.lightgbm
    config = {"out": str(run), **plain_options(chosen, settings, choice, view)}
    with record_run(run, command=work.recorded_as("boost"), config=config, shard=work.shard) as record:
        stores: Sequence[Path] = chosen.features
        if stores or chosen.labels is not None:
            stores = import_features(
                stores, folder=run / "features", labels=chosen.labels, classes=chosen.classes, overwrite=work.overwrite
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
        trainings = [
            BoostTraining(
                plan=plan,
                images=images,
                view=view,
                notes=remarks,
                overwrite=work.overwrite,
                run=run,
                sources=sources,
                head=head,
                settings=settings,
                preset=preset,
            )
            for plan, head in product(plans, settings.heads)
        ]
        return cross_validate(trainings, run=run, work=work, record=record)


def _default_folds(sources: Sources) -> str:
    bach = all(header["dataset"] == "bach" for header in sources.headers.values())
    if bach and len(sources.images.labels) + len(sources.failed) == _BACH_IMAGES and not sources.synthetic:
        _log.info(Message("the 400 BACH images: using the published folds, {folds:rakhlin10}"))
        return "rakhlin10"
    return "10"
