"""How often the interval of an external drop covers it: accuracy of a table less that of a table from elsewhere.

Images are right independently, or patients have accuracies of their own (Beta, concentration 8).

    python tools/benchmarks/external.py --replicates 2000          # a minute on one core
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np
from bchisto.evaluate import PredictionTable, Units
from bchisto.evaluate.external import independent_difference


class Design(NamedTuple):
    """Patients (or images), images of each, and the accuracy."""

    units: int
    each: int
    accuracy: float


DESIGNS = (
    (Design(100, 1, 0.9), Design(60, 1, 0.8)),
    (Design(400, 1, 0.85), Design(100, 1, 0.75)),
    (Design(200, 1, 0.98), Design(50, 1, 0.95)),
    (Design(40, 10, 0.9), Design(30, 10, 0.8)),
    (Design(80, 25, 0.85), Design(20, 10, 0.7)),
)


def draw(rng: np.random.Generator, design: Design) -> dict[str, Any]:
    """Return the accuracy of a table."""
    units, each, accuracy = design
    own = rng.beta(8 * accuracy, 8 * (1 - accuracy), units) if each > 1 else np.full(units, accuracy)
    hits = (rng.random((units, each)) < own[:, np.newaxis]).ravel()
    labels = np.arange(len(hits)) % 2
    table = PredictionTable(
        name="t", classes=("a", "b"), image_ids=tuple(map(str, range(len(hits)))), labels=labels, probabilities=None,
        predicted=np.where(hits, labels, 1 - labels), folds=(None,) * len(hits),
        groups=tuple(str(k // each) if each > 1 else None for k in range(len(hits))),
    )  # fmt: skip
    found = Units.of(table).share(hits)
    assert found is not None  # a table has rows
    return found.json()


def coverage(internal: Design, external: Design, *, replicates: int, seed: int = 0) -> tuple[float, float]:
    """Return the share of intervals that cover the drop, and their mean width."""
    rng = np.random.default_rng(seed)
    drop = internal.accuracy - external.accuracy
    intervals = []
    for _ in range(replicates):
        low, high = independent_difference(draw(rng, internal), draw(rng, external))["interval"]
        intervals.append((low <= drop <= high, high - low))
    covered, width = np.mean(intervals, axis=0)
    return float(covered), float(width)


def main() -> None:
    """Print the table of `docs/evaluation.md`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=2000)
    replicates = parser.parse_args().replicates
    for internal, external in DESIGNS:
        covered, width = coverage(internal, external, replicates=replicates)
        print(tuple(internal), tuple(external), f"covers {100 * covered:.1f} %, width {100 * width:.1f} points")


if __name__ == "__main__":
    main()
