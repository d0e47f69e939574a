"""A model file ready to predict: its networks built, whatever kind of model it holds."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..boost import Bundle
from ..core import BchistoError, InputError
from ..crossval import bundle_kind
from ..formats import file_sha256
from .boosted import BoostedModel, open_boosted
from .locate import recorded_weights

if TYPE_CHECKING:
    from ..finetune import CnnBundle, CnnModel

_log = logging.getLogger(__name__)


Model: TypeAlias = "BoostedModel | CnnModel"
"""What predicts images."""


@dataclass(frozen=True)
class ModelFile:
    """A model file with weights for it, by their content: one that was replaced is read again.

    Attributes
    ----------
    path : Path
    weights : tuple of str
        As in `bchisto.predict.predict`; encoders that were seeded random are made so again.
    sha256 : str
    weights_sha256 : tuple of str
        Of each weights file that is named.
    """

    path: Path
    weights: tuple[str, ...]
    sha256: str
    weights_sha256: tuple[str, ...]

    @classmethod
    def of(cls, path: Path, weights: Sequence[str] = ()) -> ModelFile:
        """Return a model file with its hashes."""
        named = [Path(text) for option in weights for text in dict.fromkeys((option, option.partition("=")[2])) if text]
        hashes = tuple(file_sha256(file) for file in named if file.is_file())
        return cls(path, tuple(weights), file_sha256(path), hashes)


def load_bundle(path: Path) -> Bundle | CnnBundle:
    """Read a model file, whatever kind of model it holds; its networks are not built.

    Raises
    ------
    BundleError
        See `Bundle.load` and `CnnBundle.load`.
    """
    if bundle_kind(path) == "boosted":
        return Bundle.load(path)
    from ..finetune import CnnBundle  # who predicts with boosted models does without

    return CnnBundle.load(path)


@functools.lru_cache(maxsize=2)
def load_model(file: ModelFile) -> Model:
    """Load a model file and build its networks, once per process.

    Raises
    ------
    BundleError
        See `load_bundle`.
    InputError
        Weights for a file that holds its own, or models of embeddings.
    WeightsError
        Weights that cannot be had, or differ from those that the models were trained with.
    """
    bundle = load_bundle(file.path)
    if isinstance(bundle, Bundle):
        return open_boosted(bundle, file.path, file.weights)
    if file.weights:
        raise InputError("{weights} {}: {} holds the weights of its networks; leave it out", file.weights[0], file.path)
    from ..finetune import CnnModel

    return CnnModel(bundle)


def load_alike(file: ModelFile, computed_by: Mapping[str, Any]) -> Model:
    """Load a model file in a worker, which must compute as the process that sends it work.

    Raises
    ------
    BchistoError
        It computes in another precision, or with another backend; and see `load_model`.
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
    """Load a model file, with the weights that its run recorded where none are given; warn of another precision."""
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
