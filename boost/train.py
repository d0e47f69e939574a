"""Stage 2 as a whole: for each protocol train what is missing, put it together, report."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, SupportsIndex

from ..arguments import Many, PathInput, TextInput, as_path, as_paths, as_texts, as_whole
from ..data import fold_plans
from ..errors import InputError, ReportError
from ..evaluate import TwoClassView, reporting, write_run_report
from ..jobs import Shard, cpu_resources
from ..runs import RunRecord, record_run
from .heads import members_of
from .presets import PRESETS
from .protocol import BoostResult, Workshop
from .sources import Sources, read_sources

__all__ = ["train"]

_log = logging.getLogger(__name__)

_BACH_IMAGES = 400


def train(
    *,
    out: PathInput,
    features: Many[PathInput] = (),
    folds: Many[TextInput] = (),
    group_by: str | None = None,
    heads: Many[TextInput] = ("lightgbm",),
    seeds: SupportsIndex = 5,
    preset: str = "rakhlin2018",
    params: Mapping[str, Any] | None = None,
    classes: Many[TextInput] = (),
    seed: SupportsIndex = 0,
    jobs: int | None = None,
    shard: Shard | None = None,
    dask: str | None = None,
    overwrite: bool = False,
    notes: Many[TextInput] = (),
    view: TwoClassView | None = None,
) -> list[BoostResult]:
    """Train cross-validated ensembles on the stores of a run; does only what is missing.

    Parameters
    ----------
    out : str or Path
        The run folder.
    features : sequence of path
        Stores or folders of them; ``out/features`` by default.
    folds : sequence of str
        Protocols: a number, a published list, or a fold list; by default ``rakhlin10`` for the 400 BACH images and
        10 else.
    group_by : {"group", "none"}, optional
        Whether split folds keep groups whole; by default where groups are known.
    heads : sequence of str
        Of `list_heads`: ``lightgbm``; ``logistic`` and ``svm`` (scikit-learn's, on standardised descriptors);
        ``stack``, which blends one model of each of these over all stores by weights fitted inside the training part;
        and heads that other packages add.
    seeds : int
        Ensemble members per fold, of LightGBM; ``logistic`` and ``svm`` have no seed.
    preset : str
        Of `PRESETS`.
    params : mapping, optional
        LightGBM parameters on top of the preset.
    classes : sequence of str
        Class order; by default that of the stores.
    seed : int
        Moves split folds, not the seeds of LightGBM.
    jobs : int, optional
        Processes, one LightGBM thread each; one per core by default.
    shard : Shard, optional
        Train this share of the models and do not put together.
    dask : str, optional
        Address of a Dask scheduler.
    overwrite : bool
        Remove what is in the folders of these protocols first.
    notes : sequence of str
        What a reader of any number must know, beside what the stores say: put into every output.
    view : TwoClassView, optional
        Positive classes, rule and set points of the two-class view of every table; by default the positive classes of
        a known dataset and the rule ``sum``.

    Returns
    -------
    list of BoostResult
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
    features = as_paths(features, "features")
    folds = as_texts(folds, "folds")
    heads = as_texts(heads, "heads")
    classes = as_texts(classes, "classes")
    notes = as_texts(notes, "notes")
    seeds = as_whole(seeds, "seeds")
    seed = as_whole(seed, "seed")
    out = as_path(out, "out")
    run = Path(out)
    view = TwoClassView() if view is None else view
    view.check()
    if seeds < 1:
        raise InputError(f"--seeds {seeds}: give at least 1")
    if preset not in PRESETS:
        raise InputError(f"--preset {preset}: no such preset; choose one of {', '.join(PRESETS)}")
    for head in heads:
        members_of(head)  # refuses what is no head
    if overwrite and shard is not None:
        raise InputError("--overwrite with --shard would remove the models of other shards; overwrite without --shard")
    if not features and not run.is_dir():
        raise InputError(f"{run}: no such run folder; run bchisto featurize --out {run} first")
    chosen = PRESETS[preset].with_params(params or {})
    config = {
        "out": str(out),
        "features": [str(path) for path in features],
        "folds": list(folds),
        "group_by": group_by,
        "head": list(heads),
        "seeds": seeds,
        "preset": preset,
        "param": [f"{key}={json.dumps(value)}" for key, value in (params or {}).items()],
        "classes": ",".join(classes) or None,
        "seed": seed,
        "positive": list(view.positive),
        "two_class": view.rule,
        "thresholds": list(view.thresholds),
    }
    with record_run(run, command="boost", config=config) as record:
        sources = read_sources(features or [run / "features"], classes=classes)
        view.check([name for name in sources.classes if name in sources.labels])
        specs = list(dict.fromkeys(folds)) or [_default_folds(sources)]
        if "none" in specs:
            raise InputError("--folds none: boost averages fold models; bchisto finetune trains on all images")
        plans = fold_plans(
            specs,
            image_ids=sources.image_ids,
            labels=sources.labels,
            groups=sources.groups,
            group_by=group_by,
            seed=seed,
            failed=sources.failed,
        )
        processes = cpu_resources(jobs).processes
        workshop = Workshop(run, sources, chosen, seeds, seed, overwrite, tuple(notes), view)
        for plan, head in product(plans, heads):  # refuses before any of them is trained
            workshop.check(plan, head)
        done = [
            workshop.protocol(plan, head, jobs=processes, shard=shard, dask=dask) for plan in plans for head in heads
        ]
        _note(record, done, run)
        failed = [line for result in done for line in result.unreported]
        if all(result.panel is not None for result in done):
            images = next(iter(sources.headers.values()))["images_sha256"]
            with reporting(run / "report.html", failed):
                write_run_report(run, images=images)
        if failed:
            wrote = ", ".join(str(result.folder) for result in done if result.panel is not None)
            raise ReportError(
                f"{'; '.join(failed)}; models, predictions.csv, metrics.json and model.bchisto are written in {wrote}",
                done,
            )
    return done


def _default_folds(sources: Sources) -> str:
    bach = all(header["dataset"] == "bach" for header in sources.headers.values())
    if bach and len(sources.image_ids) + len(sources.failed) == _BACH_IMAGES and not sources.synthetic:
        _log.info("the 400 BACH images: using the published folds, --folds rakhlin10")
        return "rakhlin10"
    return "10"


def _note(record: RunRecord, results: Sequence[BoostResult], run: Path) -> None:
    record.note(
        results={
            str(result.folder.relative_to(run)): {
                "protocol": result.protocol,
                "models": result.models,
                "finished": result.finished,
                "accuracy": None if result.metrics is None else result.metrics["accuracy"],
            }
            for result in results
        }
    )
