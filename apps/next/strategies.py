"""In which order images are to be labelled: each strategy is a specification.

Doubt is the least confidence of Lewis and Gale 1994 (SIGIR), margin that of Scheffer et al. 2001 (IDA), and diversity
the greedy k-centre of Sener and Savarese 2018 (ICLR).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...boost import AXES
from ...core.formats import Floats, Floats32


@dataclass(frozen=True)
class Candidates:
    """The images that a strategy ranks.

    Attributes
    ----------
    rows : ndarray of float32, shape (images, d)
        Mean features of all images of a run.
    covered : sequence of int
        Positions of images that have a label, or were chosen already.
    free : sequence of int
        Positions of images that may be chosen, in an order that the seed draws.
    probabilities : ndarray of float64, shape (free images, classes)
        Probability of each class; no column without a model.
    """

    rows: Floats32
    covered: Sequence[int]
    free: Sequence[int]
    probabilities: Floats


@dataclass(frozen=True)
class Strategy:
    """A way to rank images.

    Attributes
    ----------
    name : str
        The word by which users choose it, which the column ``chosen`` records.
    rank : callable
        ``rank(candidates)`` yields the positions of free images; the first is to be labelled first.
    reason : str
        Why an image was chosen, for people.
    asks_model : bool
        Whether it needs the probabilities of a model.
    """

    name: str
    rank: Callable[[Candidates], Iterator[int]]
    reason: str
    asks_model: bool = False


def least_confidence(probabilities: Floats) -> Floats:
    """Return one minus the largest probability of each row."""
    return np.asarray(1 - probabilities.max(axis=1))


def narrow_margin(probabilities: Floats) -> Floats:
    """Return minus the difference of the two largest probabilities of each row."""
    largest = np.sort(probabilities, axis=1)[:, -2:]
    return np.asarray(largest[:, 0] - largest[:, 1])


def _by_model(utility: Callable[[Floats], Floats]) -> Callable[[Candidates], Iterator[int]]:
    """Return the ranking by a number that is larger for images that come earlier."""

    def rank(candidates: Candidates) -> Iterator[int]:
        for position in np.argsort(-utility(candidates.probabilities), kind="stable"):
            yield candidates.free[position]

    return rank


def farthest_first(candidates: Candidates) -> Iterator[int]:
    """Yield the free image that is farthest from all covered ones; it then counts as covered, and so on.

    Distances are Euclidean, along the first principal components of the standardised features of all images. If
    nothing is covered, the first is farthest from the mean.
    """
    points = _components(candidates.rows)
    free = points[candidates.free]
    centres = points[candidates.covered]
    if not len(centres):
        centres = points.mean(axis=0, keepdims=True)
    gaps = np.full(len(free), np.inf)
    for centre in centres:
        gaps = np.minimum(gaps, np.linalg.norm(free - centre, axis=1))
    for _ in candidates.free:
        farthest = int(gaps.argmax())
        yield candidates.free[farthest]
        gaps = np.minimum(gaps, np.linalg.norm(free - free[farthest], axis=1))
        gaps[farthest] = -1.0


def _components(rows: Floats32) -> Floats:
    """Return the standardised rows, as coordinates along their first principal components."""
    from sklearn.decomposition import PCA

    spread = rows.std(axis=0)
    scaled = (rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1)
    components = PCA(min(AXES, *rows.shape), random_state=0)
    with np.errstate(invalid="ignore"):  # 0/0 if all images are equal
        return np.asarray(components.fit_transform(scaled), dtype=np.float64)


DOUBT = Strategy("doubt", _by_model(least_confidence), "unsure: ", asks_model=True)
MARGIN = Strategy("margin", _by_model(narrow_margin), "unsure: ", asks_model=True)
DIVERSITY = Strategy("diversity", farthest_first, "unlike anything with a label")
RANDOM = Strategy("random", lambda candidates: iter(candidates.free), "drawn at random")

STRATEGIES = {strategy.name: strategy for strategy in (DOUBT, MARGIN, DIVERSITY, RANDOM)}
"""All strategies by name."""
