"""``bchisto demo``: all main steps, from images to a cross-validated ensemble, on synthetic tissue."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from ...boost import BoostSettings, train
from ...core import PathInput, WeightsError, as_path
from ...core.jobs import Work
from ...crossval import CrossValidation
from ...data import make_bach
from ...encoders import Encoder, EncoderChoice
from ...featurize import FeaturizeSettings, View, featurize

_log = logging.getLogger(__name__)

_SETTINGS = FeaturizeSettings(
    encoders=(EncoderChoice("resnet50"), EncoderChoice("vgg16")),
    views=(View(0.5, 224),),
    augmentations=4,
    crops=2,
)
"""A small version of the paper: two of its encoders, one of its scales, fewer augmentations and crops."""

_SIZE = 1024, 768
"""Half the width and height of BACH's images, which would take longer to draw than to encode."""

_FOLDS, _SEEDS = "5", 2


@dataclass(frozen=True)
class DemoResult:
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


def demo(out: PathInput, *, images_per_class: int = 6, seed: int = 0, work: Work | None = None) -> DemoResult:
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
    run, work = as_path(out, "out"), Work.of(work)
    _log.info("1/3 drawing synthetic tissue, %d images of each of four classes", images_per_class)
    jobs = work.cpu().processes
    images = make_bach(run / "images", images_per_class=images_per_class, seed=seed, size=_SIZE, jobs=jobs)
    weights = _weights()
    _log.info("2/3 extracting features with %s weights", weights)
    featurize(images, out=run, settings=replace(_SETTINGS, weights=(weights,), seed=seed), work=work)
    _log.info("3/3 training the cross-validated ensemble")
    (result,) = train(out=run, settings=BoostSettings(seeds=_SEEDS, seed=seed), folds=_FOLDS, work=work)
    return DemoResult(images, weights, result)


def _weights() -> str:
    """Return ``imagenet`` if Keras has all weights or can download them, else (with a warning) ``random``."""
    try:
        for choice in _SETTINGS.encoders:
            Encoder(choice.name, layers=choice.layers)
    except WeightsError as error:
        _log.warning("%s", error)
        _log.warning("going on with seeded RANDOM weights: the demo shows the software, not the accuracy of the method")
        return "random"
    return "imagenet"
