"""What a model answers of an image as a whole, which every explanation begins with."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ..data import ImageRecord
from ..evaluate import NOTHING_LEARNT, apply_temperature
from ..predict import Model
from .explanation import Explanation, Picture
from .methods import Method

_TRAINED = "NOT NEW: this picture trained models that draw it"


def answered(
    method: Method,
    model: Model,
    record: ImageRecord,
    picture: Picture,
    *,
    shares: npt.NDArray[np.float64],
    pixels: str,
    target: int | None,
) -> tuple[Explanation, int]:
    """Return an explanation that holds the answer and nothing else yet, and the index of the class.

    Parameters
    ----------
    method : Method
    model : Model
    record : ImageRecord
    picture : ndarray of uint8, shape (height, width, 3)
        As it is shown.
    shares : ndarray of float64, shape (classes,)
        Probabilities of the image.
    pixels : str
        Hash of its pixels; empty where the bundle does not know its training images.
    target : int or None
        The class; None for the likeliest.
    """
    bundle = model.bundle
    index = int(shares.argmax()) if target is None else target
    calibrated = math.nan
    if bundle.temperature is not None:
        calibrated = float(apply_temperature(shares[np.newaxis], bundle.temperature)[0, index])
    notes = [banner for banner in bundle.banners if banner.startswith(NOTHING_LEARNT)]
    if bundle.training is not None and pixels in bundle.training.hashes:
        notes.append(_TRAINED)
    blank = method.explanation(
        record.image_id, bundle.classes[index], predicted=bundle.classes[int(shares.argmax())],
        score=float(shares[index]), calibrated=calibrated, picture=picture, notes=tuple(notes),
    )  # fmt: skip
    return blank, index
