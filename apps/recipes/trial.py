"""``bchisto trial`` on your own images, and ``bchisto demo``, all of it on images of the package."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...boost import PRESET_OPTIONS, BoostSettings, train
from ...core import (
    InputError,
    Many,
    Message,
    PathInput,
    RefusedImageError,
    ReportError,
    SettingsConflictError,
    TextInput,
    converted,
)
from ...core.jobs import Work
from ...crossval import CrossValidation, in_order
from ...data import FoldChoice, ImageSelection, with_headers
from ...encoders import EncoderChoice, check_encoder_names, gives_maps, weight_options
from ...evaluate import TwoClassView
from ...featurize import (
    FeaturizeSettings,
    choose_settings,
    featurize,
    preset_options,
    ready_targets,
)
from ...predict import PredictSettings, predict
from ..check import Preflight, fitted, log_reading, preflight, unscaled
from ..explain import ExplainSettings, explain, write_image

_log = logging.getLogger(__name__)

_AUGMENTATIONS = 4
"""Augmentations of an image: a third of the time of the preset quick, for about a point of accuracy on BACH.
See ``docs/settings.md``.
"""

_CROPS = 6
"""Crops per augmentation for encoders without feature maps, whose time is proportional to the number of crops."""


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial.

    Attributes
    ----------
    check : Preflight
        Pre-flight of the images.
    results : tuple of CrossValidation
        One for each classifier, in the order of the report. If there are too few patients for folds within the training
        part, only those of classifiers that need no such folds.
    patients : str
        The line on patients of `reading_lines`.
    """

    check: Preflight
    results: tuple[CrossValidation, ...]
    patients: str


def trial(
    images: ImageSelection | PathInput,
    *,
    out: PathInput,
    encoders: Many[TextInput] = (),
    weights: Many[TextInput] = (),
    view: TwoClassView | None = None,
    work: Work | None = None,
) -> TrialResult:
    """Check images, extract features with the preset ``quick``, and train three classifiers on suitable folds.

    A second call with the same `out` resumes.

    Parameters
    ----------
    images : ImageSelection or path
    out : str or Path
        The run folder.
    encoders : str or sequence of str
        Encoders that replace those of the preset; encoders without feature maps get six crops of each augmentation.
    weights : str, sequence of str, or mapping
        As in `bchisto.featurize.FeaturizeSettings`; by default ImageNet weights.
    view : TwoClassView, optional
        As in `bchisto.boost.train`; it changes no model.
    work : Work, optional
        Settings of processes and of what is skipped.

    Returns
    -------
    TrialResult

    Raises
    ------
    InputError
        Images cannot be used, or are too few for any folds, or a positive class is not theirs. A few images that are
        too small for a view that fits the others do not raise; they are left out.
    ReportError
        A report could not be written; its ``results`` is the result.
    """
    run = converted(out, "out", Path)
    selection = ImageSelection.of(images).read_once()
    work = Work.of(work)
    view = TwoClassView.of(view)
    selection.refuse_as_run(run)
    quick_settings, keep = _quick_settings(encoders, weights)
    _log.info("1/3 checking the images")
    dataset = selection.table()
    dataset = replace(dataset, records=tuple(with_headers(dataset.records)))
    view.check(dataset.classes)
    planned, _ = fitted(dataset, quick_settings, keep=keep)
    reading = log_reading(dataset, planned, selection.given, view)
    dataset.raise_errors()
    if dataset.untrainable:
        raise InputError("{}: {}", dataset.root, dataset.untrainable)
    # weights that are missing are refused before any image is decoded
    ready_targets(quick_settings)
    # only a sample is decoded here: featurize decodes every image anyway, and prints its findings
    check = preflight(selection, settings=quick_settings, copies=False, keep=keep)
    folds = _usable(check, work)
    if check.left_out:
        # too small for a view that fits the others; `featurize` names them
        work = replace(work, skip_errors=True)
    _log.info(
        "2/3 extracting features of %d images, view %s", len(check.dataset), *check.planned.views
    )
    extraction = featurize(selection, out=run, settings=check.planned, work=work)
    _log.info("3/3 training")
    try:
        fit = functools.partial(
            train, out=run, features=extraction.stores, folds=folds, view=view, work=work
        )
        return TrialResult(check, in_order(_train(fit)), reading[2])
    except ReportError as error:
        raise ReportError(
            str(error), TrialResult(check, in_order(error.results), reading[2])
        ) from error


def _quick_settings(
    encoders: Many[TextInput], weights: Many[TextInput]
) -> tuple[FeaturizeSettings, list[str]]:
    """Return the settings of a trial, and the names of those that an encoder's defaults do not replace."""
    options = {**preset_options("quick"), "augmentations": _AUGMENTATIONS}
    keep = []
    if encoders:
        keep.append("encoders")
        choices = converted(encoders, "encoders", tuple[EncoderChoice, ...])
        options["encoders"] = choices
        check_encoder_names(choices)
        if not all(map(gives_maps, choices)):
            options |= {"mode": "exact", "crops": _CROPS}
    if weights:
        options["weights"] = weight_options(weights)
        check_encoder_names((), options["weights"])
    return choose_settings(options, keep=keep).settings, keep


def _train(fit: Callable[..., list[CrossValidation]]) -> list[CrossValidation]:
    """Train the classifiers of the preset, and logistic regression."""
    settings = BoostSettings(preset="quick", **PRESET_OPTIONS["quick"])
    try:
        return fit(settings=replace(settings, heads=("logistic", *settings.heads)))
    except SettingsConflictError:
        raise
    except InputError as error:
        # too few patients for folds within the training part, which LightGBM does not need
        _log.warning(Message("{}; going on with lightgbm only", error).limited(()))
        return fit(settings=replace(settings, heads=("lightgbm",)))


def _usable(check: Preflight, work: Work) -> FoldChoice:
    """Return suitable folds, or refuse the images if they cannot be used."""
    findings = [*check.refused]
    if not work.skip_errors:
        findings += [finding for finding in check.wrong if finding.level == "error"]
    if findings:
        error = RefusedImageError("{}: {}", findings[0].file, findings[0].message)
        if findings[0].file in check.survey.broken:
            raise error.skippable()
        raise error
    scale_problem = unscaled(check.dataset.records, check.requested.views)
    if scale_problem is not None:
        raise InputError("{}", scale_problem)
    if not check.planned_views:
        raise InputError("{}: every image is too small for any view", check.dataset.root)
    if check.protocol is None:
        raise InputError("{}: {}", check.dataset.root, check.untrainable)
    return FoldChoice((check.protocol.folds,), group_by=check.protocol.group_by)


_SAMPLES = Path(__file__).parents[2] / "data" / "samples" / "idc"
"""Patches of breast tissue, which ``tools/pick_samples.py`` picked: those to train on, and those of a field."""

_FIELD = (500, 350)
"""Width and height of the field in pixels."""

_CORNER = (1051, 701)
"""Left and top of the field in its slide."""


class DemoResult(NamedTuple):
    """The result of the demo.

    Attributes
    ----------
    trial : TrialResult
    predictions : Path
        Page of predictions.
    maps : Path
        Page of the heat map.
    """

    trial: TrialResult
    predictions: Path
    maps: Path


def demo(out: PathInput, *, work: Work | None = None) -> DemoResult:
    """Run a trial on patches of breast tissue that come with bchisto; predict and map a slide that is not among them.

    Patches of a slide are in one fold. The patches and the field that are predicted and mapped are of another slide.

    Parameters
    ----------
    out : str or Path
        The run folder, which also gets ``field.png``, ``predictions.csv``, ``predictions.html`` and ``heat-map/``.
    work : Work, optional
        Settings of processes.

    Returns
    -------
    DemoResult
    """
    from PIL import Image

    run = converted(out, "out", Path)
    work = Work.of(work)
    outcome = trial(_SAMPLES / "training" / "images.csv", out=run, work=work)
    model = outcome.results[0].model
    patches = _SAMPLES / "field"
    page = run / "predictions.html"
    settings = PredictSettings(html=page, update=True)
    predict(model, patches, out=run / "predictions.csv", settings=settings, work=work)
    field = Image.new("RGB", _FIELD, "white")  # stays where the dataset has no patch
    for path in patches.rglob("*.png"):
        x, y = re.findall(r"_[xy](\d+)", path.name)
        with Image.open(path) as patch:
            field.paste(patch, (int(x) - _CORNER[0], int(y) - _CORNER[1]))
    write_image(run / "field.png", np.asarray(field))
    (maps,) = explain(
        model,
        run / "field.png",
        out=run / "heat-map",
        settings=ExplainSettings("map"),
        work=work,
    )
    return DemoResult(outcome, page, maps.page)
