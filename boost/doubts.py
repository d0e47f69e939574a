"""Pictures for a report of images whose normalised stains are in doubt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt

from ..core import BchistoError
from ..data import resize_image
from ..evaluate import Sample
from ..report import thumbnail
from ..stains import make_normalizer
from .sources import Sources

_SHOWN = 3
"""Images that are shown."""

_SIDE = 480
"""Width of a picture, the image and the normalised image side by side, pixels."""


def doubtful_samples(sources: Sources, show: Callable[[str], npt.NDArray[np.uint8] | None]) -> list[Sample]:
    """Return the first images of any store whose normalised stains are in doubt, each before and after.

    Parameters
    ----------
    sources : Sources
    show : callable
        Returns the pixels of an image, None if it is not there.
    """
    return list(islice(_samples(sources, show), _SHOWN))


def _samples(sources: Sources, show: Callable[[str], npt.NDArray[np.uint8] | None]) -> Iterator[Sample]:
    first = {image: name for name, outcome in reversed(sources.stains.items()) for image in outcome.doubtful}
    for image, name in first.items():
        header = sources.headers[name]
        try:
            if (pixels := show(image)) is None:
                continue
            before = resize_image(pixels, header["scale"])
            after, _ = make_normalizer(header["stain"]).normalize_with_estimate(before)
        except BchistoError:  # it has moved or changed since; the report does without
            continue
        picture = thumbnail(np.concatenate([before, after], axis=1), side=_SIDE)
        yield Sample(image, picture, sources.images.labels[image], "", None)
