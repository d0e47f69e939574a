"""Masking: an image reduced to the areas where the most important units for a class are active."""

from __future__ import annotations

import numpy as np

from ...explain import Floats, Graph, Method, UnitPictures, activation_and_gradient, mean_colour

_MASKED = 9
"""Number of units whose masks are shown."""

_KEPT = 0.5
"""A mask keeps positions with at least this fraction of the unit's largest activation. The source
``inbreast-inception`` uses a constant below 1; a half is bchisto's choice."""


def masks(graph: Graph, images: Floats, target: int, tensor: int | None) -> UnitPictures:
    """Return the first image, masked by the most important units for a class.

    A mask keeps the positions where a unit has at least half of its largest activation. Units are ranked by the sum of
    activation times gradient of the class score.

    Returns
    -------
    UnitPictures
        Pictures with the probability of the class: the image, its mean colour, and the image under each mask, with the
        mean colour outside. Also the fraction of masks that include each pixel, and the units.

    References
    ----------
    Zhou et al. 2015, "Object detectors emerge in deep scene CNNs", sec. 3.2 (images masked by a unit's activation).
    """
    import cv2

    assert tensor is not None
    image = images[:1]
    active, slope = activation_and_gradient(graph, image, target, tensor)
    effect = (active * slope).sum(axis=(0, 1, 2))
    units = [int(unit) for unit in np.argsort(-effect, kind="stable")[:_MASKED]]
    size = image.shape[1:3]
    kept = []
    for unit in units:
        large = cv2.resize(active[0, :, :, unit], size[::-1], interpolation=cv2.INTER_LINEAR)
        greatest = float(large.max())
        kept.append(large >= min(_KEPT * greatest, greatest))
    mean = mean_colour(image)[0]
    seen = np.stack([image[0], mean, *(np.where(mask[..., np.newaxis], image[0], mean) for mask in kept)])
    shares = np.asarray(graph.model.predict_on_batch(seen))[:, target]
    names = ["all of it", "mean colour", *(f"only unit {unit}" for unit in units)]
    tiles = tuple(
        (f"{name}: {share:.3f}", picture.round().astype(np.uint8))
        for name, share, picture in zip(names, shares, seen, strict=True)
    )
    return UnitPictures(tiles, {"units": np.array(units)}, np.mean(kept, axis=0).astype(np.float32))


MASKING = Method(
    "masking",
    "share of the masks",
    "The image where single units of the first model that raise the score are at least half as active as they "
    "become; a unit need not have one meaning, and the probabilities are of images that the network never "
    "saw: compare them with that of only the mean colour.",
    layered=True,
    default_layer=True,
    of_patch=masks,
)
