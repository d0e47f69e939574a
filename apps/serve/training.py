"""What trains a run between two rounds, in a process of its own, see `Engine`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...boost import BoostSettings, FeatureChoice, train
from ...core import InputError, from_options
from ...core.jobs import Work
from ...core.runs import load_config
from ...crossval import summary_of
from ...data import Dataset, FoldChoice, ImageSelection
from ...evaluate import TwoClassView
from ...featurize import FeaturizeSettings, featurize
from ..check import check_protocols, recommended
from ..next import ALL_IMAGES, OPTIONS

_FOR_FEW = "logistic"
"""The classifier for few labels: of two patients of a class it leaves none to choose its settings by."""


def take_labels(run: Path, folder: Path) -> Dataset:
    """Take the labels that `bchisto.apps.next` wrote to a folder into a run, and return its images.

    Raises
    ------
    InputError
        Nothing can be trained on them.
    """
    options = load_config(folder / OPTIONS, command="featurize")
    selection = from_options(ImageSelection, options, images=folder / ALL_IMAGES)
    settings = from_options(FeaturizeSettings, options)
    featurize(selection, out=run, settings=settings, work=from_options(Work, options))
    dataset = selection.table()
    if dataset.untrainable:
        raise InputError(dataset.untrainable)
    return dataset


def train_models(run: Path, store: Path, dataset: Dataset) -> str:
    """Train as `boost` did before, or else as the labels recommend; return the figures.

    Parameters
    ----------
    run, store : Path
        A run, and the feature file of which images were chosen.
    dataset : Dataset
        The return value of `take_labels`.
    """
    labels = _recommended(dataset)
    options = labels
    if (run / "boost").is_dir():
        options = load_config(run / "run.json", command="boost")
    elif len([*store.parent.glob("*.h5")]) > 1:
        options = {**labels, "features": [store]}
    results = train(
        run,
        features=from_options(FeatureChoice, options),
        settings=from_options(BoostSettings, options),
        folds=from_options(FoldChoice, options),
        work=from_options(Work, options),
        view=from_options(TwoClassView, options),
    )
    return "\n".join(summary_of(results))


def _recommended(dataset: Dataset) -> dict[str, Any]:
    """Return options of `boost` that suit the labels: folds, and a classifier if labels are few."""
    protocol = recommended(check_protocols(dataset, FoldChoice()))
    if protocol is None:
        return {}
    options: dict[str, Any] = {"folds": [protocol.folds], "group_by": protocol.group_by}
    if 2 * sum(dataset.class_counts().values()) < len(dataset) and protocol.folds != "2":
        options["heads"] = [_FOR_FEW]
    return options
