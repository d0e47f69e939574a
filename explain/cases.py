"""Heat maps of the most confident correct and wrong predictions of a cross-validation.

The models that draw the map of an image did not train on it.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core import BchistoError, ImageError, InputError, as_whole, counted, from_options
from ..crossval import CrossValidation
from ..data import ImageRecord, ImageSelection
from ..evaluate import PredictionTable, Sample
from ..finetune import CnnModel
from ..formats import file_sha256, read_rows
from ..jobs import Progress
from ..predict import BoostedModel, Model, advised, ready_model, recorded_runs
from ..report import sample_of, surest, thumbnail
from .boosted import map_of_places
from .draw import beside
from .explanation import Explanation, Picture, shown_picture
from .methods import METHODS, ExplainSettings, class_of
from .networks import NetworkExplainer
from .page import where_highest

_log = logging.getLogger(__name__)

_MOST = 10
"""Largest number of correct and of wrong cases per class. With eight classes, 160 pictures add 7 MB to a report."""

_SIDE = 224
"""Longest side of an image and of its map in a report, in pixels."""


def check_count(explain: int) -> int:
    """Return a number of cases as an int.

    Raises
    ------
    InputError
        The number is out of range.
    """
    if not 1 <= as_whole(explain, "explain") <= _MOST:
        raise InputError("{explain} {}: give 1 to {} cases of each class", explain, _MOST)
    return int(explain)


def show_cases(results: Sequence[CrossValidation], *, explain: int, failed: list[str]) -> list[CrossValidation]:
    """Add heat maps of the most confident correct and wrong cases of each class to the reports of several results.

    Parameters
    ----------
    results : sequence of CrossValidation
        Results of `bchisto.boost.train` or `bchisto.finetune.finetune` in this process. Results of a shard, and those
        without tested images, are not changed.
    explain : int
        Number of correct cases per class, and of wrong cases per class.
    failed : list of str
        Gets a line for each result whose maps cannot be drawn; its report is not changed.

    Returns
    -------
    list of CrossValidation
        The results with the cases in their panels.

    Raises
    ------
    InputError
        `explain` is out of range.
    """
    check_count(explain)
    shown = []
    for result in results:
        if result.panel is not None and result.show is not None:
            try:
                right, wrong = case_samples(result.folder / "predictions.csv", result.panel.table, explain=explain)
                result.show(right, wrong)
                result = replace(result, panel=replace(result.panel, right=right, wrong=wrong))
            except BchistoError as error:
                failed.append(f"{result.report} has no maps: {error}")
        shown.append(result)
    return shown


def case_samples(predictions: Path, table: PredictionTable, *, explain: int) -> tuple[list[Sample], list[Sample]]:
    """Return the most confident correct and wrong cases of each class, each with a heat map by the models of its fold.

    The method is ``map`` for boosted ensembles and networks of patches, and ``gradcam`` for other networks.

    Parameters
    ----------
    predictions : Path
        ``predictions.csv`` in a run, in a folder of `boost` or `finetune`, next to its model file.
    table : PredictionTable
        Content of `predictions`.
    explain : int
        Number of correct cases per class, and of wrong cases per class.

    Returns
    -------
    list of Sample, list of Sample
        Correct and wrong cases, in the order of classes.

    Raises
    ------
    InputError
        There is no model file next to the table, its models are of other folds, or none of the images can be read.
    BundleError, WeightsError
        See `bchisto.predict.predict`.
    """
    check_count(explain)
    bundle = predictions.with_name("model.bchisto")
    if predictions.name != "predictions.csv" or not bundle.is_file():
        raise InputError(f"{predictions}: no model.bchisto next to it, which is needed for heat maps")
    hits = table.predicted == table.labels
    sides = [
        [row for label in range(len(table.classes))
         for row in surest(table, (table.labels == label) & (hits == hit))[:explain]]
        for hit in (True, False)
    ]  # fmt: skip
    rows = [*sides[0], *sides[1]]
    cases = {table.image_ids[row] for row in rows}
    images = {record.image_id: record for record in _images(predictions.parent, cases)}
    with advised():
        _, model = ready_model(bundle)
        drawn = dict(_drawn(model, table, rows, images))
    if len(drawn) < len(cases):
        _log.warning("%s: %d of %d cases have no map", predictions, len(cases) - len(drawn), len(cases))
    if cases and not drawn:
        raise InputError(f"{predictions}: none of the {len(cases)} images of its cases is unchanged and in its place")
    right, wrong = ([drawn.get(row) or sample_of(table, row) for row in side] for side in sides)
    return right, wrong


def _drawn(
    model: Model, table: PredictionTable, rows: Collection[int], images: Mapping[str, ImageRecord]
) -> Iterator[tuple[int, Sample]]:
    """Draw the rows of a table whose images are available, fold by fold, so that each network is prepared once."""
    whole = isinstance(model, CnnModel) and model.bundle.settings.rule.kind == "resize"
    method, classes = "gradcam" if whole else "map", model.bundle.classes
    positive = class_of(ExplainSettings(method), classes, model.bundle.two_class)
    available = sorted((row for row in rows if table.image_ids[row] in images), key=lambda row: table.fold_array[row])
    of_fold = functools.lru_cache(maxsize=1)(functools.partial(_of_fold, model, method=method))
    with Progress(total=len(available), label="drawing maps", unit="cases") as progress:
        for number, row in enumerate(available, start=1):
            fold, record = table.folds[row], images[table.image_ids[row]]
            explainer, count = of_fold(fold)
            predicted = table.classes[table.predicted[row]]
            settings = ExplainSettings(method, target=predicted)
            target = class_of(settings, classes, None) if positive is None else positive
            assert target is not None
            try:
                explanation = explainer(record, shown_picture(record), target)
            except ImageError as error:
                _log.warning("no map: %s", error)
            else:
                by = f"{explanation.unit}, by {counted(count, 'model')} of fold {fold}, which did not train on it"
                sure, shares = table.confidence, table.probabilities
                if math.isnan(explanation.score) and shares is not None:
                    score = float(shares[row, table.classes.index(classes[target])])
                    explanation = replace(explanation, score=score, predicted=predicted)
                yield row, Sample(
                    record.image_id, thumbnail(np.asarray(beside(explanation, side=_SIDE)), side=4 * _SIDE),
                    table.classes[table.labels[row]], predicted, None if sure is None else float(sure[row]),
                    map=f"Map: {by}", seen=". ".join(["; ".join(explanation.margin[1:]), where_highest(explanation)]),
                    caution=f"Limitations: {explanation.caution}",
                )  # fmt: skip
            progress.update_to(number)


def _of_fold(
    model: Model, fold: int | None, method: str
) -> tuple[Callable[[ImageRecord, Picture, int], Explanation], int]:
    """Return a function that explains an image by the models of one fold, and the number of these models.

    Raises
    ------
    InputError
        The model file has no model of the fold.
    """
    if isinstance(model, CnnModel):
        networks = {number: network for number, network in model.bundle.models.items() if number == fold}
        if networks:
            fold_model = CnnModel(
                replace(model.bundle, models=networks, training=None)
            )  # these models did not train on the image
            return NetworkExplainer(fold_model, METHODS[method], ExplainSettings(method)).of_image, len(networks)
    elif isinstance(model, BoostedModel):
        ensembles = {
            store: [model_of_fold for model_of_fold in models if model_of_fold.fold == fold]
            for store, models in model.bundle.models.items()
        }
        if any(ensembles.values()):
            part = replace(model, bundle=replace(model.bundle, models=ensembles))
            return functools.partial(map_of_places, part), sum(map(len, ensembles.values()))
    raise InputError(f"the model file has no model of fold {fold} to draw heat maps of its images")


def _images(folder: Path, wanted: Set[str]) -> Iterator[ImageRecord]:
    """Yield the images that are still in their place and unchanged since a run read them.

    The places are recorded in the run, and in other runs whose feature files it used, by `featurize` or `finetune`.
    """
    yielded = set[str]()
    command = "finetune" if folder.parent.name == "finetune" else "featurize"
    for run, records in recorded_runs(folder.absolute().parents[1]):
        hashes = _hashes(run / ("finetune" if command == "finetune" else "features") / "images.csv")
        for _, config, folder_then in reversed([entry for entry in records if entry[0] == command]):
            for record in _selected(config, folder_then):
                if record.image_id in wanted - yielded and _as_it_was(record, hashes):
                    yielded.add(record.image_id)
                    yield record


def _selected(config: Mapping[str, Any], folder: Path) -> Sequence[ImageRecord]:
    """Return the images of an earlier command, by its recorded options; empty if they can no longer be read."""
    paths = {name: folder / str(config[name]) for name in ("images", "labels", "only") if config.get(name)}
    try:
        return from_options(ImageSelection, {**config, **paths, "classes": ()}).table().records
    except (BchistoError, TypeError, ValueError) as error:
        _log.warning("the images of an earlier command cannot be read: %s", error)
        return ()


def _hashes(table: Path) -> dict[str, str]:
    return {row["path"]: row["sha256"] for row in read_rows(table)}


def _as_it_was(record: ImageRecord, hashes: Mapping[str, str]) -> bool:
    """Whether a file exists with the checksum that the run recorded, if it recorded one."""
    recorded = hashes.get(str(record.path))
    return record.path.is_file() and recorded in (None, file_sha256(record.path))
