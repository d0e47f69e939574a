"""The surest right and wrong cases of a cross-validation with maps, each by the models that did not train on it."""

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
"""Cases of each class and side: of eight classes 160 pictures, some 7 MB in the report."""

_SIDE = 224
"""Longest side of an image and of its map in a report, pixels."""


def check_count(explain: int) -> int:
    """Return a number of cases; refuse one out of range before any work.

    Raises
    ------
    InputError
    """
    if not 1 <= as_whole(explain, "explain") <= _MOST:
        raise InputError("{explain} {}: give 1 to {} cases of each class", explain, _MOST)
    return int(explain)


def show_cases(results: Sequence[CrossValidation], *, explain: int, failed: list[str]) -> list[CrossValidation]:
    """Put the surest right and wrong cases of each class into the reports of some results, with maps.

    Parameters
    ----------
    results : sequence of CrossValidation
        Of `bchisto.boost.train` or `bchisto.finetune.finetune`, in this process; a share of the work, and one that
        tested no image, are left as they are.
    explain : int
        Of each class right ones and as many wrong ones.
    failed : list of str
        Gets a line for each result without maps; its report stays as it is.

    Returns
    -------
    list of CrossValidation
        With the cases in their panels.

    Raises
    ------
    InputError
        `explain` out of range.
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
    """Return the surest right and the surest wrong cases of each class, each beside a map of the models of its fold.

    Of boosted ensembles and networks of patches the map is that of the method ``map``, of other networks ``gradcam``.

    Parameters
    ----------
    predictions : Path
        ``predictions.csv`` of a folder of `boost` or `finetune`, with its bundle beside it and its run above it.
    table : PredictionTable
        What is in it.
    explain : int

    Returns
    -------
    list of Sample, list of Sample
        Right ones and wrong ones, class after class.

    Raises
    ------
    InputError
        No bundle beside the table, models that are not those of its folds, or no image at hand.
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
    wanted = {table.image_ids[row] for row in rows}
    images = {record.image_id: record for record in _images(predictions.parent, wanted)}
    with advised():
        _, model = ready_model(bundle)
        drawn = dict(_drawn(model, table, rows, images))
    if len(drawn) < len(wanted):
        _log.warning("%s: %d of %d cases have no map", predictions, len(wanted) - len(drawn), len(wanted))
    if wanted and not drawn:
        raise InputError(f"{predictions}: none of the {len(wanted)} images of its cases is unchanged and in its place")
    right, wrong = ([drawn.get(row) or sample_of(table, row) for row in side] for side in sides)
    return right, wrong


def _drawn(
    model: Model, table: PredictionTable, rows: Collection[int], images: Mapping[str, ImageRecord]
) -> Iterator[tuple[int, Sample]]:
    """Draw rows of a table whose images are at hand, fold after fold, so that each network is laid out once."""
    whole = isinstance(model, CnnModel) and model.bundle.settings.rule.kind == "resize"
    method, classes = "gradcam" if whole else "map", model.bundle.classes
    positive = class_of(ExplainSettings(method), classes, model.bundle.two_class)
    at_hand = sorted((row for row in rows if table.image_ids[row] in images), key=lambda row: table.fold_array[row])
    of_fold = functools.lru_cache(maxsize=1)(functools.partial(_of_fold, model, method=method))
    with Progress(total=len(at_hand), label="drawing maps", unit="cases") as progress:
        for number, row in enumerate(at_hand, start=1):
            fold, record = table.folds[row], images[table.image_ids[row]]
            explainer, count = of_fold(fold)
            predicted = table.classes[table.predicted[row]]
            asked = ExplainSettings(method, target=predicted)
            target = class_of(asked, classes, None) if positive is None else positive
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
    """Return what explains an image by the models of one fold, and how many these are.

    Raises
    ------
    InputError
        The bundle holds no model of the fold.
    """
    if isinstance(model, CnnModel):
        mine = {number: network for number, network in model.bundle.models.items() if number == fold}
        if mine:
            alone = CnnModel(replace(model.bundle, models=mine, training=None))  # of this image none did
            return NetworkExplainer(alone, METHODS[method], ExplainSettings(method)).of_image, len(mine)
    elif isinstance(model, BoostedModel):
        held = {
            store: [model_of_fold for model_of_fold in models if model_of_fold.fold == fold]
            for store, models in model.bundle.models.items()
        }
        if any(held.values()):
            part = replace(model, bundle=replace(model.bundle, models=held))
            return functools.partial(map_of_places, part), sum(map(len, held.values()))
    raise InputError(f"the model file has no model of fold {fold} to draw heat maps of its images")


def _images(folder: Path, wanted: Set[str]) -> Iterator[ImageRecord]:
    """Yield those of some images that still lie where a run read them, with the content that it read.

    Where they lay is what the run recorded of `featurize` or `finetune`, also of runs that it took stores from.
    """
    seen = set[str]()
    command = "finetune" if folder.parent.name == "finetune" else "featurize"
    for run, records in recorded_runs(folder.absolute().parents[1]):
        hashes = _hashes(run / ("finetune" if command == "finetune" else "features") / "images.csv")
        for _, config, folder_then in reversed([entry for entry in records if entry[0] == command]):
            for record in _selected(config, folder_then):
                if record.image_id in wanted - seen and _as_it_was(record, hashes):
                    seen.add(record.image_id)
                    yield record


def _selected(config: Mapping[str, Any], folder: Path) -> Sequence[ImageRecord]:
    """Return the images that a command was given; none where they cannot be read any more."""
    paths = {name: folder / str(config[name]) for name in ("images", "only") if config.get(name)}
    try:
        return from_options(ImageSelection, {**config, **paths, "classes": ()}).table().records
    except (BchistoError, TypeError, ValueError) as error:
        _log.warning("the images of an earlier command cannot be read: %s", error)
        return ()


def _hashes(table: Path) -> dict[str, str]:
    return {row["path"]: row["sha256"] for row in read_rows(table)}


def _as_it_was(record: ImageRecord, hashes: Mapping[str, str]) -> bool:
    """Whether a file is there, with the content that the run noted, where it did."""
    known = hashes.get(str(record.path))
    return record.path.is_file() and known in (None, file_sha256(record.path))
