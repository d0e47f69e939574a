"""A head of another package, for the tests: the nearest class mean, in a seed's choice of features."""

import json
from dataclasses import dataclass

import numpy as np

_SHARE = 2


@dataclass(frozen=True)
class Nearest:
    means: np.ndarray
    chosen: list

    def predict_proba(self, features):
        rows = features[:, :, self.chosen].mean(axis=1, dtype=np.float64)
        far = np.square(rows[:, None] - self.means).mean(axis=2)
        scores = np.exp(-(far - far.min(axis=1, keepdims=True)))
        return scores / scores.sum(axis=1, keepdims=True)


def fit(part, params):
    from bchisto.boost import FittedModel

    d = part.features.shape[2]
    for one in params:
        rng = np.random.default_rng([one["seed"], one["fold_position"]])
        chosen = sorted(rng.permutation(d)[: max(1, d // _SHARE)].tolist())
        rows = part.features[:, :, chosen].mean(axis=1, dtype=np.float64)
        means = [rows[part.labels == label].mean(axis=0).tolist() for label in range(part.classes)]
        yield FittedModel(json.dumps({"means": means, "chosen": chosen}).encode())


def parse(data):
    from bchisto.core import BundleError

    try:
        found = json.loads(data)
        return Nearest(
            np.array(found["means"], dtype=np.float64), [int(place) for place in found["chosen"]]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError("not a complete model of class means; train it again") from error


def head():
    from bchisto.boost import HeadSpec

    return HeadSpec(
        name="nearest",
        suffix=".json",
        fit=fit,
        parse=parse,
        seeded=True,
        settings=lambda terms: {"share": _SHARE},
        shown=lambda terms: {"features of a seed": f"1 in {_SHARE}"},
        packages=("bchisto-nearest",),
        notice=lambda terms: (
            f"The head nearest knows class means only, of up to {terms.most_images} images."
        ),
    )
