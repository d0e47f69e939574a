"""Training as a whole: read feature files, make folds, and train each classifier with each cross-validation scheme."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from ..core import InputError, Many, Message, PathInput, TextInput, as_path, as_texts, plain_options
from ..core.jobs import Work
from ..core.runs import record_run
from ..crossval import CrossValidation, cross_validate
from ..data import FoldChoice
from ..evaluate import TwoClassView
from ..featurize import import_features
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
        Positive classes, rule and operating points of the two-class view of every table. By default the positive
        classes of a known dataset and the rule ``sum``.
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
    run = as_path(out, "out")
    chosen = FeatureChoice.of(features)
    remarks = as_texts(notes, "notes")
    settings, choice, work = BoostSettings.of(settings), FoldChoice.of(folds), Work.of(work)
    view = TwoClassView() if view is None else view
    if "none" in choice.folds:
        raise InputError(Message("{folds:none}: boost averages fold models; bchisto finetune trains on all images"))
    if not chosen.features and not (run / "features").is_dir():
        what = "a folder without features" if run.is_dir() else "no such run folder"
        raise InputError(f"{run}: {what}; run bchisto featurize --images DIR --out {run} first")
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
