"""Load a model file of any kind, and build its networks so that it can predict."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..boost import Bundle
from ..core import BchistoError, InputError
from ..core.formats import file_sha256
from ..core.models import bundle_kind
from .boosted import BoostedModel, open_boosted
from .locate import recorded_weights

if TYPE_CHECKING:
    from ..finetune import CnnBundle, CnnModel

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
    """

    path: Path
    weights: tuple[str, ...]
    sha256: str
    weights_sha256: tuple[str, ...]

    @classmethod
    def of(cls, path: Path, weights: Sequence[str] = ()) -> ModelFile:
        """Return a model file with its checksums."""
        files = [Path(text) for option in weights for text in dict.fromkeys((option, option.partition("=")[2])) if text]
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
    from ..finetune import CnnBundle  # boosted models do not need this import

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
        return open_boosted(bundle, file.path, file.weights)
    if file.weights:
        raise InputError("{weights} {}: {} holds the weights of its networks; leave it out", file.weights[0], file.path)
    from ..finetune import CnnModel

    return CnnModel(bundle)


def load_alike(file: ModelFile, computed_by: Mapping[str, Any]) -> Model:
    """Load a model file in a worker, which must compute in the same way as the process that started it.

    Raises
    ------
    BchistoError
        The worker uses another precision or backend. See also `load_model`.
    """
    model = load_model(file)
    if model.computed_by != computed_by:
        raise BchistoError(
            f"{file.path}: this worker computes in another precision, or with another backend, than the process that "
            "started it"
        )
    return model


def packages_of(model: Model) -> list[str]:
    """Return the packages that a model needs to predict."""
    computed = [model.computed_by] if "backend" in model.computed_by else model.computed_by.values()
    backends = {facts["backend"] for facts in computed}
    return ["numpy", "opencv-python-headless", *(["keras"] if model.on_keras else []), *sorted(backends)]


def ready_model(path: Path, weights: Sequence[str] = ()) -> tuple[ModelFile, Model]:
    """Load a model file, with the weights that its run recorded if none are given. Warn if the precision differs."""
    recorded = recorded_weights(path, weights)
    for encoder, file in recorded:
        _log.info("%s: weights %s, as the run of %s recorded them", encoder, file, path)
    model_file = ModelFile.of(path, (*weights, *(f"{encoder}={file}" for encoder, file in recorded)))
    model = load_model(model_file)
    if model.precisions:
        _log.warning(
            "%s: was trained on features in bfloat16, and OpenVINO computes them in float32 on this CPU: "
            "probabilities differ a little from those of a CPU with bfloat16",
            path,
        )
    return model_file, model
