"""Find the model file of a run and its weights, load it so that it can predict, and export it with a model card."""

from __future__ import annotations

import contextlib
import functools
import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..boost import Bundle
from ..core import BchistoError, Entries, InputError, MissingInputError, PathInput, converted, few
from ..core.formats import file_sha256
from ..core.jobs import (
    GPU_SECONDS,
    Resources,
    Work,
    atomic_output,
    cpu_resources,
    ensure_folder,
    is_set_aside,
    network_resources,
    rough_duration,
    visible_gpus,
    write_json,
)
from ..core.models import bundle_kind, bundle_stores
from ..core.runs import RunEntry, RunRecord, read_run
from ..data import ImageRecord
from ..encoders import PUBLISHED, recorded_source, short_reason, source_sha256, weights_of
from ..evaluate import SCHEMA
from ..evaluate.report import known_of, write_card
from .boosted import AS_TRAINED, BoostedModel, open_boosted

if TYPE_CHECKING:
    from ..finetune import CnnBundle, CnnModel

_BUNDLE = "model.bchisto"


def find_bundle(model: PathInput, *, quiet: bool = False) -> Path:
    """Return the model file itself, or of a folder the only one or the highest, if it is better than chance.

    Raises
    ------
    MissingInputError
        There is no such file or folder, or the folder contains no model file.
    InputError
        The only model file of the folder, or the highest of several, is not shown to be better than chance, or its
        folds mix patients that those of another result keep apart, or none is the highest. The message lists them.
    """
    model = converted(model, "model", Path)
    if not model.is_dir():
        if model.is_file():
            return model
        remedy = f"bchisto boost and finetune write one as {_BUNDLE}"
        others = []
        if model.name == _BUNDLE:
            # of the same run, if it has other results
            others = sorted(map(str, model.parent.parent.glob(f"*/{_BUNDLE}")))
        if others:
            remedy = f"there is {few(others)}"
        raise MissingInputError(f"{model}: no such run folder or model file; {remedy}")
    bundles = _bundles_in(model)
    if len(bundles) == 1:
        # nothing is known of a model whose metrics stayed elsewhere
        if known_of(bundles[0])["better"] is not False:
            return bundles[0]
        raise InputError(
            "{}: its model is not shown to be better than chance for new patients; to use it all the same, give it: {}",
            model,
            bundles[0],
        )
    best = list(filter(_is_best, bundles))
    if len(best) != 1:
        raise InputError(
            "{}: holds {} models, and no single one is the highest and better than chance; to use one all the same, "
            "give it: {}",
            model,
            len(bundles),
            ", ".join(map(str, bundles)),
        )
    if not quiet:
        _log.info("%s: the highest of its %d models, %s", model, len(bundles), best[0])
    return best[0]


def _bundles_in(folder: Path) -> list[Path]:
    """Return the model files of a run folder, or of the folder of one of its results.

    Raises
    ------
    MissingInputError
        There is none.
    """
    bundles = [
        path
        for depth in ("", "*/", "*/*/")
        for path in sorted(folder.glob(depth + _BUNDLE))
        if path.is_file() and not is_set_aside(path)
    ]
    if not bundles:
        raise MissingInputError(
            "{}: no {} in this folder; bchisto boost and finetune write one, after shards in one more call",
            folder,
            _BUNDLE,
        )
    return bundles


def _is_best(bundle: Path) -> bool:
    """Return whether a model is better than chance, and the highest of those in its run with which it is compared."""
    known = known_of(bundle)
    if not known["better"]:
        return False
    choice = {"kind": "best", "chosen": known["name"], **known["table"].get("choice", {})}
    return (choice["kind"], choice["chosen"]) == ("best", known["name"])


def recorded_weights(bundle: Path, options: Sequence[str]) -> list[tuple[str, Path]]:
    """Return the weights files that the run of a model file recorded, if they exist and are unchanged.

    Parameters
    ----------
    bundle : Path
        ``RUN/boost/<name>/model.bchisto``; a model file elsewhere has no run.
    options : sequence of str
        Weights that the caller gives; the encoders that they name are skipped.

    Returns
    -------
    list of (encoder, file)
        For feature files whose weights came from a file or folder with the same SHA-256.
    """
    needed: dict[str, set[str]] = {}
    for header in bundle_stores(bundle).values():
        if header.get("weights") == "file" and weights_of(options, header["encoder"]) in PUBLISHED:
            needed.setdefault(header["encoder"], set()).add(
                str(header.get("weights_file_sha256", ""))
            )
    files: dict[tuple[str, str], Path] = {}
    for encoder, hashes in needed.items():
        for option in _recorded_options(bundle):
            path = Path(weights_of([option], encoder))
            with contextlib.suppress(BchistoError):  # the file cannot be read
                if path.exists():
                    sha256 = source_sha256(path)
                    if sha256 in hashes:
                        files.setdefault((encoder, sha256), path)
    return [(encoder, path) for (encoder, _), path in files.items()]


def _recorded_options(bundle: Path) -> Iterator[str]:
    """Yield the recorded weights options of the run of a model file, and of the runs whose feature files it used."""
    runs = list(bundle.absolute().parents)[2:3]
    for run in runs:  # the list grows meanwhile
        entries = []
        with contextlib.suppress(BchistoError):  # missing, or damaged
            entries = read_run(run)
        for entry in entries:
            if entry.command == "featurize":
                yield from _weights_of(entry)
            elif entry.command == "boost":
                for store in entry.config.get("features") or ():
                    path = entry.folder / str(store)
                    other = path.parent
                    if path.suffix == ".h5":  # RUN/features/NAME.h5, or the folder RUN/features
                        other = other.parent
                    if other not in runs:
                        runs.append(other)


def _weights_of(entry: RunEntry) -> Iterator[str]:
    """Yield the weights options of a `featurize`, with paths from where it ran."""
    for option in entry.config.get("weights") or ():
        encoder, equals, path = str(option).rpartition("=")
        yield f"{encoder}{equals}{entry.folder / path}"
    for option in entry.config.get("encoders") or ():
        source = recorded_source(str(option), entry.folder)
        if source is not None:
            encoder, file = source
            yield f"{encoder}={file}"


_log = logging.getLogger(__name__)


Model: TypeAlias = "BoostedModel | CnnModel"
"""A model that predicts images."""


@dataclass(frozen=True)
class ModelFile:
    """A model file and the weights files for it, identified by their content.

    It is the key of a cache, so a file that was replaced is read again.

    Attributes
    ----------
    path : Path
    weights : tuple of str
        As in `bchisto.predict.predict`. Random weights of training are drawn again from their seed.
    sha256 : str
        Checksum of the model file.
    weights_sha256 : tuple of str
        Checksum of each named weights file.
    engine : str
        As in `bchisto.predict.boosted.open_boosted`.
    """

    path: Path
    weights: tuple[str, ...]
    sha256: str
    weights_sha256: tuple[str, ...]
    engine: str = AS_TRAINED

    @classmethod
    def of(cls, path: Path, weights: Sequence[str] = ()) -> ModelFile:
        """Return a model file with its checksums."""
        files = [
            Path(text)
            for option in weights
            for text in dict.fromkeys((option, option.partition("=")[2]))
            if text
        ]
        hashes = tuple(file_sha256(file) for file in files if file.is_file())
        return cls(path, tuple(weights), file_sha256(path), hashes)


def load_bundle(path: Path) -> Bundle | CnnBundle:
    """Read a model file of any kind, without building its networks.

    Raises
    ------
    BundleError
        See `Bundle.load` and `CnnBundle.load`.
    """
    if bundle_kind(path) == "boosted":
        return Bundle.load(path)
    from ..finetune import CnnBundle

    return CnnBundle.load(path)


@functools.lru_cache(maxsize=2)
def load_model(file: ModelFile) -> Model:
    """Load a model file and build its networks, once per process.

    Raises
    ------
    BundleError
        See `load_bundle`.
    InputError
        Weights are given although the file contains its own, or the models were trained on embeddings.
    WeightsError
        Weights cannot be loaded, or differ from those of training.
    """
    bundle = load_bundle(file.path)
    if isinstance(bundle, Bundle):
        return open_boosted(bundle, file.path, file.weights, file.engine)
    if file.weights:
        raise InputError(
            "{weights} {}: {} holds the weights of its networks; leave it out",
            file.weights[0],
            file.path,
        )
    from ..finetune import CnnModel

    return CnnModel(bundle)


def load_alike(file: ModelFile, computed_by: Entries) -> Model:
    """Load a model file in a worker, which must compute in the same way as the process that started it.

    Raises
    ------
    BchistoError
        The worker computes with another precision, backend or weights. See also `load_model`.
    """
    model = load_model(file)
    if model.computed_by != computed_by:
        raise BchistoError(
            f"{file.path}: this worker computes with another precision, backend or weights than the process that "
            "started it; use workers with the same packages and hardware"
        )
    return model


class WithModel:
    """What a `Computation` of images or tiles takes from the model that predicts them."""

    model: Model
    work: Work

    @property
    def step_name(self) -> str:
        """The steps of the model for an image or tile."""
        return self.model.step_name

    @property
    def packages(self) -> Iterable[str]:
        """The packages that predict."""
        computed_by = self.model.computed_by
        computed = [computed_by] if "backend" in computed_by else computed_by.values()
        packages = ["numpy", "opencv-python-headless"]
        if self.model.on_keras:
            packages.append("keras")
        return [*packages, *sorted({facts["backend"] for facts in computed})]

    @functools.cached_property
    def resources(self) -> Resources:
        """Processes of a thread each, or one for each GPU."""
        return network_resources(self.work.jobs, on_keras=self.model.on_keras)


def ready_model(path: Path, weights: Sequence[str] = ()) -> tuple[ModelFile, Model]:
    """Load a model file, with the weights that its run recorded if none are given. Warn if the precision differs."""
    recorded = recorded_weights(path, weights)
    for encoder, file in recorded:
        _log.info("%s: weights %s, as the run of %s recorded them", encoder, file, path)
    model_file = ModelFile.of(
        path, (*weights, *(f"{encoder}={file}" for encoder, file in recorded))
    )
    model = load_model(model_file)
    if model.precisions:
        _log.warning(
            "%s: was trained on features in %s, which are computed in float32 here: probabilities differ a little",
            path,
            ", ".join(sorted(set(model.precisions.values()))),
        )
    return model_file, model


def settled_model(
    file: ModelFile,
    records: Iterable[ImageRecord],
    *,
    images: int,
    begun: str,
    work: Work,
    record: RunRecord,
) -> tuple[ModelFile, Model]:
    """Load a model as this machine computes it: on a GPU, if that is worth its start and gives the same features.

    The engine is recorded at once, for a call that continues after a kill. If the GPU that Keras sees stays idle, a
    line says why.

    Parameters
    ----------
    file : ModelFile
    records : iterable of ImageRecord
        Images, of which the first that can be used is measured.
    images : int
        Number of images to predict.
    begun : str
        Recorded engine of earlier predictions, which computes the others too; empty if there are none.
    work : Work
    record : RunRecord
    """
    if begun:
        file = replace(file, engine=begun)
    model = load_model(file)
    if isinstance(model, BoostedModel) and not model.on_keras and visible_gpus():
        reason = "checks, shards, Dask and what was begun on the CPU stay there"
        if work.is_whole and not begun:
            reason = _reason_to_stay(file, model, records, images, work.jobs)
        if reason:
            _log.info("Keras leaves the GPU idle: %s", reason)
        else:
            file = replace(file, engine="keras")
            model = load_model(file)
    record.note(
        engine=file.engine,
        computed_by=model.computed_by,
        gpus=network_resources(on_keras=model.on_keras).gpus,
    )
    record.save()
    return file, model


def _reason_to_stay(
    file: ModelFile,
    model: BoostedModel,
    records: Iterable[ImageRecord],
    images: int,
    jobs: int | None,
) -> str:
    """Return why images are better computed on the CPU; empty if they are not."""
    seconds = 0.0
    for record in records:
        seconds = images * model.seconds(record)
        if seconds:
            break
    clock = cpu_resources(jobs).clock(seconds)
    if clock <= GPU_SECONDS:
        return f"the CPU takes {rough_duration(clock)}, and the GPU longer to start"
    try:
        return open_boosted(model.bundle, file.path, file.weights, "keras").unlike(model, record)
    except Exception as error:  # noqa: BLE001 - of any library of a GPU; the CPU can go on
        return f"it fails ({short_reason(error)})"


def export(model: PathInput, *, to: PathInput) -> Path:
    """Copy a model into a folder of its own, with a model card.

    The card has the header that model hubs read, and marked blanks for what only the author knows. Of ``metrics.json``
    only the figures are copied, for `Predictor.verdict` and prediction reports: the rest may name patients.

    Parameters
    ----------
    model : str or Path
        A model file, or a run folder that holds one.
    to : str or Path
        The new folder.

    Returns
    -------
    Path
        The card.

    Raises
    ------
    BundleError, MissingInputError
        The model is missing or damaged.
    InputError
        ``metrics.json`` beside the model is damaged, or the folder exists and contains other files.
    OutputError
        The folder cannot be written.
    """
    source = find_bundle(model)
    folder = converted(to, "to", Path)
    bundle = load_bundle(source)
    sha256 = file_sha256(source)
    copy = folder / source.name
    if folder.exists() and not copy.is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("{to} {}: holds other files; give a new folder", folder)
    if copy.is_file() and file_sha256(copy) != sha256:
        raise InputError("{to} {}: holds another model; give a new folder", folder)
    facts = known_of(source)
    ensure_folder(folder)
    with atomic_output(copy) as temporary:
        shutil.copyfile(source, temporary)
    if facts["table"] is not None:
        write_json(
            folder / "metrics.json",
            {"schema_version": SCHEMA, "tables": {"fusion": facts["table"]}},
        )
    card = folder / "README.md"  # model hubs show this file
    if not card.exists():  # the author may have filled in the blanks of an existing one
        write_card(card, model=source, bundle=bundle, known=facts)
    return card
