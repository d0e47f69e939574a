"""One model as a work unit: train, save the text, predict the images that the fold tests."""

from __future__ import annotations

import csv
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..featurize import open_store
from ..jobs import Ticker, atomic_output, write_rows
from .lightgbm_head import fit_text, is_model_text, parse_model, predict_proba

__all__ = ["ModelUnit", "read_unit", "train_unit"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelUnit:
    """A model to train.

    Attributes
    ----------
    store : str
        Name of the descriptor store.
    path : Path
        The store.
    seed, fold : int
        Member of the ensemble (from 0) and fold (as in folds.csv).
    train, test : tuple of int
        Positions of images in the store.
    labels : tuple of int
        Class of each training image.
    test_ids : tuple of str
    params : dict
        For LightGBM.
    rounds : int
    model : Path
        The text file; the predictions of its test images lie beside it as CSV.
    """

    store: str
    path: Path
    seed: int
    fold: int
    train: tuple[int, ...]
    test: tuple[int, ...]
    labels: tuple[int, ...]
    test_ids: tuple[str, ...]
    params: dict[str, Any]
    rounds: int
    model: Path

    @property
    def predictions(self) -> Path:
        """The predictions of the test images."""
        return self.model.with_suffix(".csv")


def train_unit(unit: ModelUnit, ticker: Ticker) -> None:
    """Train and save the model, then predict from the saved text."""
    with open_store(unit.path) as store:
        text = fit_text(
            store.features(unit.train),
            np.array(unit.labels, dtype=np.int64),
            params=unit.params,
            rounds=unit.rounds,
        )
        with atomic_output(unit.model) as temporary:
            temporary.write_text(text, encoding="utf-8")
        probabilities = predict_proba(parse_model(text), store.features(unit.test))
    rows = ([image, *map(repr, row)] for image, row in zip(unit.test_ids, probabilities.tolist(), strict=True))
    classes = probabilities.shape[1]
    write_rows(unit.predictions, ["image_id", *(f"p{place}" for place in range(classes))], rows)
    ticker.tick()


def read_unit(unit: ModelUnit) -> npt.NDArray[np.float64] | None:
    """Return the predictions of a finished unit, float64 of shape (test images, classes); None if not finished.

    A file that is there and does not hold is named in a warning, and the unit counts as not finished.
    """
    if not (unit.model.is_file() and unit.predictions.is_file()):
        return None
    with unit.predictions.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.reader(handle))[1:]
    try:
        values = np.array([[float(cell) for cell in row[1:]] for row in rows])
    except ValueError:
        values = np.empty((0, 0))
    whole = (
        tuple(row[0] for row in rows if row) == unit.test_ids
        and values.shape == (len(unit.test_ids), unit.params["num_class"])
        and bool(np.isfinite(values).all())
        and is_model_text(unit.model.read_text(encoding="utf-8", errors="replace"))
    )
    if not whole:
        _log.warning("%s: does not hold a whole model; trained again", unit.model)
        return None
    return values
