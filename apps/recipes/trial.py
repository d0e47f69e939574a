"""``bchisto trial`` on your own images, and ``bchisto demo``, all main steps on synthetic tissue."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ...boost import PRESET_OPTIONS, BoostSettings, train
from ...core import (
    InputError,
    Many,
    Message,
    PathInput,
    ReportError,
    SettingsConflictError,
    TextInput,
    WeightsError,
    converted,
    from_options,
)
from ...core.jobs import Work, cpu_resources
from ...crossval import CrossValidation, in_order
from ...data import FoldChoice, ImageSelection, make_bach
from ...encoders import (
    EncoderChoice,
    cached_encoder,
    check_encoder_names,
    gives_maps,
    weight_options,
)
from ...featurize import (
    FeaturizeSettings,
    best_engine,
    choose_settings,
    featurize,
    preset_options,
)
from ..check import Preflight, preflight, unscaled

_log = logging.getLogger(__name__)

_SETTINGS = from_options(
    FeaturizeSettings,
    {"encoders": ("resnet50", "vgg16"), "views": ("0.5:224",)},
    augmentations=4,
    crops=2,
)
"""A small version of the paper: two of its encoders, one of its scales, fewer augmentations and crops."""

_SIZE = (1024, 768)
"""Half the width and height of BACH's images, which would take longer to draw than to encode."""

_FOLDS = "5"
_SEEDS = 2


class DemoResult(NamedTuple):
    """The result of the demo.

    Attributes
    ----------
    images : Path
        The synthetic dataset.
    weights : str
        ``imagenet``, or ``random`` if Keras could not download these.
    boost : CrossValidation
    """

    images: Path
    weights: str
    boost: CrossValidation


def demo(
    out: PathInput, *, images_per_class: int = 6, seed: int = 0, work: Work | None = None
) -> DemoResult:
    """Draw a synthetic BACH dataset, extract its features, and train classifiers on them.

    Parameters
    ----------
    out : str or Path
        The run folder; images are written to ``out/images``.
    images_per_class : int
        At least 5, the number of folds.
    seed : int
    work : Work, optional
        Settings of processes and shards; by default each stage uses as many processes as it can.

    Returns
    -------
    DemoResult

    Raises
    ------
    InputError
        Fewer than five images per class.
    """
    run = converted(out, "out", Path)
    work = Work.of(work)
    _log.info("1/3 drawing synthetic tissue, %d images of each of four classes", images_per_class)
    jobs = cpu_resources(work.jobs).processes
    images = make_bach(
        run / "images", images_per_class=images_per_class, seed=seed, size=_SIZE, jobs=jobs
    )
    weights = _weights(seed)
    _log.info("2/3 extracting features with %s weights", weights)
    extraction = featurize(
        images, out=run, settings=replace(_SETTINGS, weights=(weights,), seed=seed), work=work
    )
    _log.info("3/3 training the cross-validated ensemble")
    (result,) = train(
        out=run,
        features=extraction.stores,
        settings=BoostSettings(seeds=_SEEDS, seed=seed),
        folds=_FOLDS,
        work=work,
    )
    return DemoResult(images, weights, result)


def _weights(seed: int) -> str:
    """Return ``imagenet`` if Keras has all weights or can download them, else (with a warning) ``random``."""
    try:
        engine = best_engine(_SETTINGS.encoders)
        for choice in _SETTINGS.encoders:
            cached_encoder(
                choice, weights="imagenet", precision="float32", engine=engine, seed=seed
            )
    except WeightsError as error:
        _log.warning("%s", error)
        _log.warning(
            "going on with seeded RANDOM weights: the demo shows the software, not the accuracy of the method"
        )
        return "random"
    return "imagenet"


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
    """

    check: Preflight
    results: tuple[CrossValidation, ...]


def trial(
    images: ImageSelection | PathInput,
    *,
    out: PathInput,
    encoders: Many[TextInput] = (),
    weights: Many[TextInput] = (),
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
    work : Work, optional
        Settings of processes and of what is skipped.

    Returns
    -------
    TrialResult

    Raises
    ------
    InputError
        Images cannot be used, or are too few for any folds. A few images that are too small for a view that fits the
        others do not raise; they are left out.
    ReportError
        A report could not be written; its ``results`` is the result.
    """
    run = converted(out, "out", Path)
    selection = ImageSelection.of(images).read_once()
    work = Work.of(work)
    selection.refuse_as_run(run)
    quick_settings, keep = _quick_settings(encoders, weights)
    _log.info("1/3 checking the images")
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
        fit = functools.partial(train, out=run, features=extraction.stores, folds=folds, work=work)
        return TrialResult(check, in_order(_train(fit)))
    except ReportError as error:
        raise ReportError(str(error), TrialResult(check, in_order(error.results))) from error


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
    settings, _, _ = choose_settings(options, keep=keep)
    return settings, keep


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
        raise InputError("{}: {}", findings[0].file, findings[0].message)
    scale_problem = unscaled(check.dataset.records, check.requested.views)
    if scale_problem is not None:
        raise InputError("{}", scale_problem)
    if not check.planned_views:
        raise InputError("{}: every image is too small for any view", check.dataset.root)
    if check.protocol is None:
        raise InputError("{}: {}", check.dataset.root, check.untrainable)
    return FoldChoice((check.protocol.folds,), group_by=check.protocol.group_by)
