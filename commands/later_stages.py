"""Checks of stages of ``bchisto submit`` whose inputs an earlier stage makes: of options and paths, without inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..core import InputError, Message, MissingInputError, from_options

if TYPE_CHECKING:
    from ..data import Dataset

_TABLE = f"{__name__}.table"


def is_made(path: Path, outputs: Iterable[Path]) -> bool:
    """Return whether a path is the output of an earlier stage, or lies in it."""
    return any(path.absolute().is_relative_to(output.absolute()) for output in outputs)


def refuse_missing(paths: Iterable[Path], outputs: Sequence[Path]) -> None:
    """Refuse paths that do not exist and that no earlier stage makes.

    Raises
    ------
    MissingInputError
        The message names the path.
    """
    for path in paths:
        if not path.exists() and not is_made(path, outputs):
            raise MissingInputError(f"{path}: no such file or folder, and no earlier stage makes it; check the path")


def waits_for(run: Path, out: Path, features: Sequence[Path]) -> bool:
    """Return whether models of a run need features that the stage `featurize` of `run` has not made yet."""
    from ..apps.submit import stores_of
    from ..featurize import is_described

    stores = stores_of(run)
    return not is_described(run) and any(path.absolute() in stores for path in features or [out / "features"])


def images_of(context: click.Context) -> Dataset:
    """Return the table of images that a command selects, which is read once."""
    from ..data import ImageSelection

    if _TABLE not in context.meta:
        context.meta[_TABLE] = from_options(ImageSelection, context.params).table()
    table: Dataset = context.meta[_TABLE]
    return table


def check_boost(options: dict[str, Any], describing: click.Context) -> int:
    """Check options of boost for images without features yet, and return the number of pieces of its work."""
    from ..apps.submit import stores_of
    from ..boost import BoostSettings, FeatureChoice
    from ..data import FoldChoice
    from ..evaluate import TwoClassView
    from ..featurize import resolve_settings

    settings, chosen = from_options(BoostSettings, options), from_options(FeatureChoice, options)
    _ = settings.lightgbm  # refuses parameters
    if "none" in from_options(FoldChoice, options).folds:
        raise InputError(Message("{folds:none}: boost averages fold models; bchisto finetune trains on all images"))
    stores = stores_of(Path(describing.params["out"]))
    labels = [] if chosen.labels is None else [chosen.labels]
    refuse_missing([*(path for path in chosen.features if path.absolute() not in stores), *labels], ())
    table = images_of(describing)
    records = [record for record in table.records if record.label is not None]
    from_options(TwoClassView, options).check(table.classes)
    plans = from_options(FoldChoice, options).plans(
        [record.image_id for record in records],
        labels=[record.label or "" for record in records],
        groups=[record.group for record in records],
        seed=settings.seed,
        default="10",
    )
    features, _ = resolve_settings(describing.params)
    number = len(chosen.features) or len(features.encoders) * len(features.views)
    return number * max(len(plan.folds) for plan in plans)


def check_single(name: str, options: dict[str, Any], outputs: Sequence[Path], selecting: click.Context | None) -> None:
    """Check paths and options of a single job, as far as possible without the output of the stages before it.

    Parameters
    ----------
    name : {"evaluate", "predict", "explain"}
    options : dict
    outputs : sequence of Path
        Outputs of the stages before it.
    selecting : click.Context, optional
        The stage before it that takes labelled images.
    """
    from ..apps.explain import settings_of
    from ..evaluate import Aggregation, TableChoice, TwoClassView, read_predictions
    from ..predict import PredictSettings

    if name == "evaluate":
        sources, view = [*options["sources"], *options["against"]], from_options(TwoClassView, options)
        refuse_missing(sources, outputs)
        from_options(Aggregation, options)
        choice = from_options(TableChoice, options)
        for path in (source for source in sources if source.is_file() and not is_made(source, outputs)):
            for table in read_predictions(path, classes=choice.classes, predicted_from=choice.predicted_from):
                view.check(table.classes)
        if selecting is not None and all(is_made(source, outputs) for source in options["sources"]):
            view.check(images_of(selecting).classes)
        return
    refuse_missing([options["model"], *map(Path, (*options["images"], *options["more_images"]))], outputs)
    if name == "predict":
        refuse_missing(map(Path, options["features"]), outputs)
        from_options(PredictSettings, options)
    elif options["method"]:
        settings_of(options["method"], **{name: options[name] for name in ("layer", "target", "mpp", "window")})
