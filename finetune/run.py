"""Fine-tuning as a whole: the folds of a protocol with one network, to the same tables as the boosted road."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, SupportsIndex

from ..arguments import Many, PathInput, TextInput, as_path, as_texts, as_wholes
from ..data import check_stain, fold_plans, only_listed, read_dataset, report_findings, unique_images
from ..errors import InputError, ReportError, WeightsError
from ..evaluate import TwoClassView, reporting, write_run_report
from ..featurize import check_headers
from ..jobs import Shard, ensure_folder, network_resources, write_rows
from ..runs import record_run
from .images import prepare_images
from .model import network_of, resolved
from .protocol import FinetuneResult, Workshop
from .settings import FinetuneSettings

__all__ = ["finetune"]


def finetune(
    images: PathInput,
    *,
    out: PathInput,
    settings: FinetuneSettings,
    folds: Many[TextInput] = ("10",),
    test_list: str | Path | None = None,
    group_by: str | None = None,
    only: str | Path | None = None,
    dataset: str | None = None,
    classes: Many[TextInput] = (),
    label_level: str = "class",
    magnifications: Many[SupportsIndex] = (),
    lesions: Many[TextInput] = (),
    context: str = "tight",
    tensorboard: bool = False,
    jobs: int | None = None,
    shard: Shard | None = None,
    dask: str | None = None,
    overwrite: bool = False,
    skip_errors: bool = False,
    notes: Many[TextInput] = (),
    view: TwoClassView | None = None,
) -> list[FinetuneResult]:
    """Train a network on the folds of each protocol; does only what is missing.

    Parameters
    ----------
    images : str or Path
        A folder or manifest, see `bchisto.data.read_dataset`.
    out : str or Path
        The run folder.
    settings : FinetuneSettings
    folds : sequence of str
        Protocols, see `bchisto.data.fold_plan`. A validation part of the protocol is used; else an eighth of each
        training part, groups whole, stops the training.
    test_list : str or Path, optional
        With the protocol ``none``: the images to test; all others train.
    group_by, dataset, classes, label_level, magnifications, lesions, context
        See `bchisto.data.fold_plan` and `bchisto.data.read_dataset`.
    only : str or Path, optional
        A CSV with a column ``image_id``: use these images alone.
    tensorboard : bool
        Write curves to ``logs/tensorboard/``.
    jobs, shard, dask, overwrite
        As in `bchisto.boost.train`; a unit is a fold. By default a process per core, or one per GPU where Keras's
        backend sees any.
    skip_errors : bool
        Leave out images that cannot be used, and list them in ``RUN/finetune/failures.csv``.
    notes : sequence of str
        Shown in every output, before anything else.
    view : TwoClassView, optional
        As in `bchisto.boost.train`.

    Returns
    -------
    list of FinetuneResult
        One per protocol.

    Raises
    ------
    InputError
        Images, folds or settings that do not fit; an existing folder of others.
    ImageError
        An image that cannot be used, without `skip_errors`.
    ReportError
        A report could not be written; networks, predictions, metrics and bundles are, and ``results`` holds the list.
    """
    images = as_path(images, "images")
    out = as_path(out, "out")
    folds = as_texts(folds, "folds")
    classes = as_texts(classes, "classes")
    magnifications = as_wholes(magnifications, "magnifications")
    lesions = as_texts(lesions, "lesions")
    notes = as_texts(notes, "notes")
    run = Path(out)
    view = TwoClassView() if view is None else view
    view.check()
    if overwrite and shard is not None:
        raise InputError("--overwrite with --shard would remove the folds of other shards; overwrite without --shard")
    network_of(settings.network)
    weights = resolved(settings)["weights"]
    if weights not in ("imagenet", "random") and not Path(weights).is_file():
        raise WeightsError(f"{weights}: no such weights file; give one with --weights, or random")
    reading = {"label_level": label_level, "context": context}
    config = {
        "images": str(images), "out": str(out), "folds": list(folds), "group_by": group_by, "dataset": dataset,
        "test_list": None if test_list is None else str(test_list), "only": None if only is None else str(only),
        "classes": ",".join(classes) or None, "magnification": list(magnifications), "lesion": list(lesions),
        "positive": list(view.positive), "two_class": view.rule, "thresholds": list(view.thresholds),
        "tensorboard": tensorboard, "skip_errors": skip_errors, **reading, **_config(settings),
    }  # fmt: skip
    with record_run(run, command="finetune", config=config) as record:
        source = read_dataset(
            images, dataset=dataset, classes=classes, label_level=label_level, magnifications=magnifications,
            lesions=lesions, context=context,
        )  # fmt: skip
        report_findings(source.findings)
        view.check(source.classes)
        check_stain(source, stain=settings.stain, colours="stain" in settings.augmentations, off="no --augment stain")
        if only is not None:
            source = only_listed(source, Path(only))
        folder = ensure_folder(run / "finetune")
        unique = unique_images(source, cache=folder / "images.csv")
        records = unique.dataset.records
        if any(item.label is None for item in records):
            raise InputError(f"{images}: finetune needs a label for every image")

        def plan_all(failed: dict[str, str]) -> list[Any]:
            usable = [item for item in records if item.image_id not in failed]
            return fold_plans(
                folds,
                image_ids=[item.image_id for item in usable],
                labels=[item.label or "" for item in usable],
                groups=[item.group for item in usable],
                group_by=group_by,
                seed=settings.seed,
                test_list=None if test_list is None else Path(test_list),
                failed=failed,
            )

        plans = plan_all({})  # refuses lists that do not fit before images are decoded
        if not skip_errors:
            check_headers(records, views=(settings.rule,), skip_errors=False)
        array, failures = prepare_images(
            records,
            digest=unique.digest,
            size=resolved(settings)["size"],
            stain=settings.stain,
            rule=settings.rule,
            folder=folder,
            skip_errors=skip_errors,
        )
        if failures:
            plans = plan_all(failures)
            write_rows(folder / "failures.csv", ["image_id", "error"], failures.items())
        workshop = Workshop(
            folder=folder,
            dataset=unique.dataset,
            digest=unique.digest,
            images=array,
            settings=settings,
            reading=reading,
            failures=failures,
            notes=tuple(notes),
            overwrite=overwrite,
            tensorboard=tensorboard,
            view=view,
        )
        resources = network_resources(jobs)
        shops = [workshop.fitted(plan) for plan in plans]  # refuses what does not fit before anything is written
        for shop, plan in zip(shops, plans, strict=True):  # refuses before any of them is trained
            shop.check(plan)
        results = [
            shop.protocol(plan, resources=resources, shard=shard, dask=dask)
            for shop, plan in zip(shops, plans, strict=True)
        ]
        record.note(results={r.folder.name: r.metrics["accuracy"] if r.metrics else None for r in results})
        failed = [line for result in results for line in result.unreported]
        if shard is None and any(result.panel is not None for result in results):
            with reporting(run / "report.html", failed):
                write_run_report(run, images=unique.digest)
        if failed:
            wrote = ", ".join(str(result.folder) for result in results if result.finished)
            raise ReportError(
                f"{'; '.join(failed)}; models, predictions.csv, metrics.json and model.bchisto are written in {wrote}",
                results,
            )
    return results


def _config(settings: FinetuneSettings) -> dict[str, Any]:
    """Return the settings under the names of the command's options."""
    plain = asdict(settings)
    plain["rate_multiplier"] = [f"{name}={factor}" for name, factor in plain.pop("multipliers")]
    plain["augment"] = list(plain.pop("augmentations"))
    plain["class_weights"], plain["no_validation"] = plain.pop("weighted"), not plain.pop("validation")
    chosen = {name: plain[name] or None for name in ("optimizer", "convention")}
    return {**plain, **chosen, "fresh": list(settings.fresh)}
