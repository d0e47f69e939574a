"""``bchisto predict``: blocks of images as work units, one table at the end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import Many, PathInput, TextInput, as_path, as_paths, as_texts
from ..boost import Bundle
from ..crossval import bundle_view
from ..data import ImageRecord, check_headers
from ..errors import BundleError, InputError, OutputError
from ..evaluate import NOTHING_LEARNT, apply_temperature
from ..featurize import files_of
from ..finetune import CnnBundle
from ..jobs import (
    Work,
    ensure_folder,
    named_files,
    refuse_among,
    refuse_overwriting,
    remove_output,
    set_aside,
    write_rows,
)
from ..options import plain_options
from ..runs import record_table, unfinished_record
from .advice import advised, said_of_training
from .blocks import Block, Workshop, claim, do_blocks
from .calls import Calls, OperatingPoint
from .embedded import embeddings_digest, is_embedded, load_embedded, predict_embedded
from .locate import find_bundle, recorded_weights
from .model import load_model, model_identity, other_precisions
from .page import import_openpyxl, write_html, write_xlsx
from .records import images_digest, new_images
from .settings import PredictSettings
from .sheet import make_sheet
from .table import Table, to_pandas

_GPU_BLOCK = 32
"""Images in a unit of work on a GPU at least (ours)."""

_BESIDE = ("run.json", "failures.csv")
"""What lies beside a table, by the ends of their names."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictResult:
    """What was predicted.

    Attributes
    ----------
    path : Path
        The table.
    images : int
        Images predicted.
    counts : dict of str to int
        Images per predicted class.
    failures : tuple of (image_id, message)
        Images left out; also in ``<out>.failures.csv``.
    banners : tuple of str
        What a reader must know first.
    trained : int or None
        Images that trained a model of the bundle; None where it does not know which did.
    called : str
        How many are called positive at which operating point; empty where nothing is called.
    sheets : tuple of Path
        Sheets that were written.
    unsure : int or None
        Images that a sheet marks as unsure; None without a sheet or a rule.
    labelled : int
        Images with a label that the model knows.
    """

    path: Path
    images: int
    counts: dict[str, int]
    failures: tuple[tuple[str, str], ...]
    banners: tuple[str, ...]
    trained: int | None = None
    called: str = ""
    sheets: tuple[Path, ...] = ()
    unsure: int | None = None
    labelled: int = 0

    def to_pandas(self) -> Any:
        """Return the table as a `pandas.DataFrame`, a row per image.

        Raises
        ------
        DependencyError
            pandas is not installed.
        """
        return to_pandas(self.path)


def predict(
    model: PathInput,
    images: Many[PathInput] = (),
    *,
    features: Many[PathInput] = (),
    out: PathInput,
    weights: Many[TextInput] = (),
    settings: PredictSettings | None = None,
    calls: Calls | None = None,
    work: Work | None = None,
) -> PredictResult:
    """Predict new images with a model bundle, resuming an interrupted run.

    Parameters
    ----------
    model : str or Path
        A ``model.bchisto``, or the folder of a run that holds one.
    images : sequence of path
        Folders, manifests or image files.
    features : sequence of path
        Embeddings in the place of images, see `bchisto.featurize.read_embeddings`: for each store of the bundle a file
        or folder that is called as it. They must be of the kind that trained the models.
    out : str or Path
        The CSV table to write.
    weights : sequence of str
        ``imagenet``, a path, or ``ENCODER=`` one of these. A file that the run of the bundle has recorded is found
        without, as long as it is what it was.
    settings : PredictSettings, optional
        What is written: by default the table alone, of probabilities that are not calibrated.
    calls : Calls, optional
        At which operating point images are called positive, in the column ``called``; by default see `Calls.point`.
    work : Work, optional
        How it is done; by default a process per core, or one per GPU where Keras's backend sees any. It has no shards.

    Returns
    -------
    PredictResult

    Raises
    ------
    BundleError, WeightsError
        The bundle does not hold, or the encoder weights are not the ones it was trained with.
    InputError
        Images that are refused before any work.
    ImageError
        An image that cannot be decoded or used; finished blocks are kept.
    """
    sources, options = as_paths(images, "images"), as_texts(weights, "weights")
    embedded = as_paths(features, "features")
    settings = PredictSettings.of(settings)
    sheets = settings.sheets
    _check_sources(sources, embedded, weights=options, sheet=next(iter(sheets), ""))
    bundle, path = as_path(model, "model"), as_path(out, "out")
    how, calls = Work.of(work), calls or Calls()
    if how.shard is not None:
        raise InputError(
            f"`shard` {how.shard}: a table of predictions has no shards; give one to each part of the images"
        )
    config = {
        "model": str(bundle), "images": [str(source) for source in sources], "out": str(path), "weights": list(options),
        **plain_options(settings, calls, how),
    }  # fmt: skip
    if embedded:
        config["features"] = [str(file) for file in embedded]
    config |= {name: config.pop(name) for name in sheets}  # the last in the record, as they always were
    left = unfinished_record(path, command="predict", config=config)
    written = {"out": path, **sheets}
    for name, place in written.items():
        if name != "out" and place.absolute() == path.absolute():
            raise InputError(f"`{name}` {place}: is the table of `out`; give the sheet another name")
        if place.exists() and not how.overwrite and left is None:
            raise OutputError(f"{place}: exists already; use `overwrite` or another `{name}`")
    if settings.xlsx is not None:
        import_openpyxl()
    bundle = find_bundle(bundle)
    for name, place in written.items():
        beside = [place.with_name(f"{place.name}.{end}") for end in _BESIDE] if name == "out" else []
        refuse_overwriting([place, *beside], [bundle, *sources, *files_of(embedded), *named_files(options)], name=name)
        if not path.with_name(f"{path.name}.{_BESIDE[0]}").exists():  # else they are of an earlier call
            refuse_among(place, sources, name=name)
    for place in written.values():
        ensure_folder(place.parent)
    replaced = how.overwrite or bool(left and left.get("overwrite"))
    with record_table(path, command="predict", config=config, overwrite=replaced) as record, advised():
        if calls != Calls():  # what the bundle cannot say is refused before its encoders are loaded
            classes, view = bundle_view(bundle)
            calls.point(view, classes=classes, bundle=bundle)
        held: Bundle | CnnBundle
        if embedded:
            given = load_embedded(bundle, embedded)
            identity, held = model_identity(bundle, ()), given[0]
        else:
            for encoder, file in recorded_weights(bundle, options):
                options = (*options, f"{encoder}={file}")
                for name, place in written.items():
                    refuse_overwriting([place], named_files(file), name=name)
                _log.info("%s: weights %s, as the run of %s recorded them", encoder, file, bundle)
            identity = model_identity(bundle, options)
            ready = load_model(bundle, options, identity)
            held = ready.bundle
        if settings.calibrated and held.temperature is None:
            raise BundleError(
                f"{bundle}: holds no temperature, since it was trained in a single fold; leave out `calibrated`"
            )
        point = calls.point(held.two_class, classes=tuple(held.classes), bundle=bundle)
        usable: Sequence[ImageRecord]
        refused: Sequence[tuple[str, str]] = ()
        parts = path.with_name(f"{path.name}.parts")
        if embedded:  # takes seconds: all at once, in this process
            usable, rows = predict_embedded(*given)
            digest = embeddings_digest(given[1])
            record.note(model_sha256=identity[0], features_sha256=digest, images=len(usable))
        else:
            records = new_images(sources, reading=ready.reading, classes=held.classes)
            for name, place in written.items():
                refuse_overwriting([place], [image.path for image in records], name=name)
            usable, refused = check_headers(records, needs=ready.fits, skip_errors=how.skip_errors)
            basis: dict[str, Any] = {"model_sha256": identity[0], "images_sha256": images_digest(usable)}
            if precisions := other_precisions(bundle, ready):
                basis["precisions"] = precisions
            record.note(**basis, images=len(usable))
            claim(parts, basis, overwrite=how.overwrite)
            resources = how.networks() if ready.on_keras else how.cpu()
            # beside a GPU images are prepared ahead, which takes several in a block
            size = max(ready.images_per_block, _GPU_BLOCK) if resources.gpus else ready.images_per_block
            blocks = [Block(place, usable[at : at + size]) for place, at in enumerate(range(0, len(usable), size))]
            helpers = resources.helpers(len(blocks)) if resources.gpus else 1
            workshop = Workshop(bundle, options, identity, parts, basis, how.skip_errors, helpers)
            rows = do_blocks(workshop, blocks, resources=resources, how=how, model=ready)
        result = _finish(
            path, [*refused, *rows], usable, held, settings, point=point, overwrite=replaced, sha256=identity[0]
        )  # fmt: skip
        if not embedded:
            set_aside(parts)
        record.note(
            predicted=result.images, failures=len(result.failures), trained=result.trained, called=result.called
        )
    return result


def _check_sources(images: Sequence[Path], features: Sequence[Path], *, weights: Sequence[str], sheet: str) -> None:
    """Refuse what does not go together."""
    if features and images:
        raise InputError(f"`features` {features[0]}: stands for images; leave out {images[0]}")
    if not features and not images:
        raise InputError("give `images`, or embeddings as `features`")
    if features and weights:
        raise InputError(f"`weights` {weights[0]}: embeddings are made already; leave it out")
    if features and sheet:
        raise InputError(f"`{sheet}`: a sheet shows images, which embeddings are not; leave it out")


def _finish(
    path: Path,
    rows: Sequence[Sequence[str]],
    usable: Sequence[ImageRecord],
    bundle: Bundle | CnnBundle,
    settings: PredictSettings,
    *,
    point: OperatingPoint | None,
    overwrite: bool,
    sha256: str,
) -> PredictResult:
    """Write the table of all blocks, the list of images that failed, and the sheets."""
    failures = {row[0]: row[1] for row in rows if row[1]}
    good = [row for row in rows if not row[1]]
    ends = 2 + len(bundle.classes)
    probabilities = np.array([[float(cell) for cell in row[2:ends]] for row in good]).reshape(-1, len(bundle.classes))
    raw = probabilities
    if settings.calibrated and bundle.temperature:
        probabilities = apply_temperature(probabilities, bundle.temperature)
    further: list[tuple[str, list[str]]] = []
    trained, called, banners = None, "", said_of_training(bundle.banners)
    if bundle.training is not None:
        cells = ["".join(row[ends:]) for row in good]  # empty in parts that another version left
        further.append(("trained", cells))
        trained = cells.count("yes")
        banners = (*banners, *_known_again(trained, len(cells), bundle))
    if idle := [banner for banner in banners if banner.startswith(NOTHING_LEARNT)]:
        # how many models, since the others may have learnt
        further.append(("note", [idle[0].replace(NOTHING_LEARNT, NOTHING_LEARNT.lower())] * len(good)))
    if point is not None:
        positive = point.call(probabilities if point.sensitivity is None else raw)
        further.append(("called", ["positive" if one else "negative" for one in positive]))
        called = f"called positive: {int(positive.sum())} of {len(positive)}, {point}"
    known = {record.image_id: record for record in usable}
    table = Table(settings.output_format, [known[row[0]] for row in good], probabilities, bundle.classes, further)
    table.finish(path, overwrite=overwrite)
    problems = path.with_name(f"{path.name}.failures.csv")
    if failures:
        write_rows(problems, ["image_id", "error"], failures.items())
    else:
        remove_output(problems)
    predicted = table.predicted
    counts = {name: predicted.count(name) for name in bundle.classes}
    labelled = sum(record.label in bundle.classes for record in table.records)
    result = PredictResult(
        path, len(predicted), counts, tuple(failures.items()), banners, trained, called, labelled=labelled
    )
    if not settings.sheets:
        return result
    sheet = make_sheet(table, raw, bundle=bundle, sha256=sha256, banners=banners, failures=failures, title=path.name)
    for name, place in settings.sheets.items():
        {"html": write_html, "xlsx": write_xlsx}[name](sheet, place)
    return replace(result, sheets=tuple(settings.sheets.values()), unsure=sheet.unsure)


def _known_again(trained: int, images: int, bundle: Bundle | CnnBundle) -> list[str]:
    """Say which images are not new to the models."""
    said = []
    if trained:
        said.append(
            f"NOT NEW: {trained} of {images} images trained models of this bundle (column trained); what it says of "
            "them does not show what it would say of new ones"
        )
    training = bundle.training
    if training and training.files and trained < images and not is_embedded(bundle):
        said.append(
            f"of {len(training.files)} of the {training.count} training images only the file is known: a copy in "
            "another format is not recognised"
        )
    return said
