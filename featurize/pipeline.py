"""Stage 1 as a whole: check the input, work the blocks, merge the stores."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

from ..arguments import Many, PathInput, TextInput, as_path, as_texts, as_wholes
from ..data import Dataset, UniqueImages, check_stain, only_listed, read_dataset, report_findings, unique_images
from ..errors import BchistoError, InputError, OutputError, StoreError
from ..jobs import (
    Resources,
    Shard,
    cpu_resources,
    ensure_folder,
    network_resources,
    remove_leftovers,
    remove_tree,
    run_units,
    set_aside,
    visible_gpus,
    write_rows,
)
from ..runs import RunRecord, record_run
from .intake import check_headers
from .plan import (
    Block,
    Target,
    check_conflicts,
    claim_parts,
    images_per_block,
    plan_blocks,
    plan_targets,
)
from .settings import FeaturizeSettings
from .store import merge_parts, open_store
from .workshop import Workshop, steps_of, stretches, unless_finished

__all__ = ["FeaturizeResult", "featurize"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeaturizeResult:
    """What stage 1 did.

    Attributes
    ----------
    stores : tuple of Path
        The finished stores, or where they will be.
    merged : bool
        Whether they are finished; a shard leaves that to the run without ``--shard``.
    images : int
        Images asked for.
    failures : tuple of (image_id, message)
        Images left out; also in ``RUN/failures.csv``.
    skipped_normalisation : tuple of str
        Images with too little tissue, described without normalisation.
    """

    stores: tuple[Path, ...]
    merged: bool
    images: int
    failures: tuple[tuple[str, str], ...]
    skipped_normalisation: tuple[str, ...]


def featurize(
    images: PathInput,
    *,
    out: PathInput,
    settings: FeaturizeSettings | None = None,
    dataset: str | None = None,
    classes: Many[TextInput] = (),
    label_level: str = "class",
    magnifications: Many[SupportsIndex] = (),
    lesions: Many[TextInput] = (),
    context: str = "tight",
    only: str | Path | None = None,
    jobs: int | None = None,
    shard: Shard | None = None,
    dask: str | None = None,
    overwrite: bool = False,
    skip_errors: bool = False,
) -> FeaturizeResult:
    """Turn images into descriptor stores below ``out/features``; does only what is missing.

    Parameters
    ----------
    images : str or Path
        A folder or manifest, see `bchisto.data.read_dataset`.
    out : str or Path
        The run folder.
    settings : FeaturizeSettings, optional
        What to compute; the published settings by default.
    dataset, classes, label_level, magnifications, lesions, context
        See `bchisto.data.read_dataset`.
    only : str or Path, optional
        A CSV with a column ``image_id``: describe these images alone.
    jobs : int, optional
        Processes; by default one per core, or one per GPU where Keras's backend sees any.
    shard : Shard, optional
        Do this share of the blocks and do not merge.
    dask : str, optional
        Address of a Dask scheduler whose workers are used; they must see the same files.
    overwrite : bool
        Remove existing stores and parts first.
    skip_errors : bool
        Leave out images that cannot be used instead of stopping.

    Returns
    -------
    FeaturizeResult

    Raises
    ------
    InputError
        Refused before any work: dataset errors, images smaller than a crop, other settings in `out`.
    ImageError
        An image that cannot be decoded or used; finished blocks are kept.
    """
    images = as_path(images, "images")
    out = as_path(out, "out")
    classes = as_texts(classes, "classes")
    magnifications = as_wholes(magnifications, "magnifications")
    lesions = as_texts(lesions, "lesions")
    settings = settings or FeaturizeSettings()
    if overwrite and shard is not None:
        raise InputError("--overwrite with --shard would remove the parts of other shards; overwrite without --shard")
    run = Path(out)
    config = {
        "images": str(images),
        "out": str(out),
        "dataset": dataset,
        "classes": ",".join(classes) or None,
        "label_level": label_level,
        "magnification": list(magnifications),
        "lesion": list(lesions),
        "context": context,
        "only": None if only is None else str(only),
        **_settings_config(settings),
        "skip_errors": skip_errors,
    }
    with record_run(run, command="featurize", config=config) as record:
        source = read_dataset(
            images,
            dataset=dataset,
            classes=classes,
            label_level=label_level,
            magnifications=magnifications,
            lesions=lesions,
            context=context,
        )
        report_findings(source.findings)
        check_stain(source, stain=settings.stain, colours=settings.color_range != (1.0, 1.0), off="--color-range 1 1")
        if only is not None:
            source = only_listed(source, Path(only))
        folder = ensure_folder(run / "features")
        usable, refused = check_headers(source.records, views=settings.views, skip_errors=skip_errors)
        unique = unique_images(dataclasses.replace(source, records=usable), cache=folder / "images.csv")
        targets = plan_targets(unique, settings=settings, folder=folder)
        if overwrite:
            for target in targets:
                set_aside(target.path)
                set_aside(target.parts)
        road = _road(settings)
        check_conflicts(targets, road=road)
        blocks = plan_blocks(unique, unique.dataset.records, size=images_per_block(settings))
        _note_plan(record, unique, targets, blocks)
        workshop = Workshop(tuple(targets), settings, skip_errors)
        if all(target.path.is_file() for target in targets):
            _log.info("all %d stores are complete already", len(targets))
        else:
            # OpenVINO runs on the CPU, whatever Keras sees
            resources = network_resources(jobs) if settings.engine == "keras" else cpu_resources(jobs)
            _work(workshop, blocks, road=road, resources=resources, shard=shard, dask=dask)
        if shard is not None:
            failures = refused
            merged = all(target.path.is_file() for target in targets)
            skipped: tuple[str, ...] = ()
        else:
            found, skipped = _merge(workshop, blocks, refused)
            failures, merged = tuple({**dict(refused), **dict(found)}.items()), True
        _write_failures(run, failures, source=source, keep=shard is not None)
        record.note(stores=[str(target.path.relative_to(run)) for target in targets], failures=len(failures))
    return FeaturizeResult(
        tuple(target.path for target in targets),
        merged,
        len(unique.dataset) + len(refused),
        failures,
        skipped,
    )


def _settings_config(settings: FeaturizeSettings) -> dict[str, Any]:
    """Return the settings under the names of the command-line options."""
    plain = dataclasses.asdict(settings)
    plain.pop("encoders")
    plain.pop("views")
    plain.pop("geometry")  # no option: what is made now has the present one
    return {
        "encoder": [str(choice) for choice in settings.encoders],
        "view": [str(view) for view in settings.views],
        **{key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()},
    }


def _note_plan(record: RunRecord, unique: UniqueImages, targets: Sequence[Target], blocks: Sequence[Block]) -> None:
    record.note(
        images=len(unique.dataset),
        images_sha256=unique.digest,
        synthetic=unique.dataset.synthetic,
        blocks=len(blocks),
        images_per_block=len(blocks[0].records),
        weights_sha256={target.header["encoder"]: target.header["weights_sha256"] for target in targets},
    )


def _road(settings: FeaturizeSettings) -> str:
    """Say where colours, crops and pooling are worked out, see `describe_images`: ``device`` or ``cpu``."""
    return "device" if settings.mode == "exact" and settings.engine == "keras" and visible_gpus() else "cpu"


def _work(
    workshop: Workshop,
    blocks: Sequence[Block],
    *,
    road: str,
    resources: Resources,
    shard: Shard | None,
    dask: str | None,
) -> None:
    for target in workshop.targets:
        remove_leftovers(target.path)
        if not target.path.is_file():
            with unless_finished(target):
                claim = claim_parts(target, road=road)
                claim.take()
                claim.note_versions()
    share = shard.select(blocks) if shard is not None else list(blocks)
    todo = [block for block in share if workshop.missing(block)]
    if len(todo) < len(share):
        _log.info("%d of %d blocks are done already", len(share) - len(todo), len(share))
    units = stretches(todo, resources)
    helpers = resources.helpers(len(units)) if resources.gpus else 1
    run_units(
        dataclasses.replace(workshop, helpers=helpers),
        units,
        steps=lambda blocks: steps_of(blocks, workshop.settings),
        jobs=resources.processes,
        gpus=resources.gpus,
        dask=dask,
        label="featurize",
        step_name="augmentations",
    )


def _merge(
    workshop: Workshop, blocks: Sequence[Block], refused: Sequence[tuple[str, str]]
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Merge every target that is not finished; return failures and images without normalisation."""
    failures: dict[str, str] = {}
    skipped: dict[str, None] = {}
    for target in workshop.targets:
        if not target.path.is_file():
            parts = [workshop.valid_part(target, block) for block in blocks]
            whole = [part for part in parts if part is not None]
            if len(whole) == len(blocks):
                with unless_finished(target):
                    merge_parts(target.path, whole, header=target.header, dim=target.dim, refused=refused)
            elif not target.path.is_file():
                raise BchistoError(
                    f"{target.parts}: {len(blocks) - len(whole)} of {len(blocks)} parts are missing; run the same "
                    "command again"
                )
        with open_store(target.path) as store:
            failures.update(json.loads(store.header["failures"]))
            flags = store.images("normalisation_skipped").tolist()
            skipped.update({i: None for i, flag in zip(store.image_ids, flags, strict=True) if flag})
        try:
            remove_tree(target.parts)
        except OutputError as error:  # the store is whole, and nothing reads them any more
            _log.warning("%s", error)
    if failures and not workshop.skip_errors:
        raise StoreError(
            f"{workshop.targets[0].path}: lacks {len(failures)} images that failed earlier; mend them and use "
            "--overwrite, or accept it with --skip-errors"
        )
    for image in skipped:
        _log.warning("%s: too little tissue, described without stain normalisation", image)
    return tuple(failures.items()), tuple(skipped)


def _write_failures(run: Path, failures: Sequence[tuple[str, str]], *, source: Dataset, keep: bool) -> None:
    path = run / "failures.csv"
    if failures:
        paths = {record.image_id: str(record.path) for record in source.records}
        write_rows(path, ("image_id", "path", "error"), [(i, paths.get(i, ""), text) for i, text in failures])
    elif not keep:
        path.unlink(missing_ok=True)
