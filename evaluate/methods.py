"""The paragraph of methods that a report offers, from what was run and from nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .shares import CROSS_VALIDATION
from .wording import called, counted, listed, name_of, plural, predicted

_FACTOR = "; variance times "

_METHODS = {
    "Clopper-Pearson": "Clopper and Pearson's of independent shares [@clopper1934]",
    "Wilson, effective rows, t": "Wilson's with the effective number of rows and Student's quantile [@korn1998]",
    "percentile bootstrap": "percentiles of the bootstrap [@efron1993]",
}
"""Methods of intervals in words, and whom they cite."""

_TESTS = {
    "mcnemar": "McNemar's test [@mcnemar1947]",
    "sign_flip": "a randomisation test that flips the sign of the difference of whole units",
}

_RULES = {
    "sum": ", scored by the sum of their probabilities",
    "max": ", scored by the largest of them against the largest of the rest",
}

_PACKAGES = {"bchisto": "bchisto", "numpy": "NumPy", "scikit-learn": "scikit-learn", "lightgbm": "LightGBM",
             "keras": "Keras", "tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}  # fmt: skip


def methods_text(
    metrics: Sequence[Mapping[str, Any]], *, runs: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]
) -> str:
    """Write the paragraph, with ``[@key]`` where it cites.

    Parameters
    ----------
    metrics : sequence of mapping
        Of the tables.
    runs : sequence of mapping
        ``run`` of ``metrics.json`` for each of them; empty for a table from elsewhere. Each has its sentences on what
        was trained as ``methods``; what is not there is not told.
    pairs : sequence of mapping
        Of `compare_pairs`.
    """
    trained = [sentence for run in runs for sentence in run.get("methods", ())]
    protocols = [f"{one['protocol']}" for one in metrics if one["protocol"]]
    said = [*trained]
    if protocols:
        distinct = list(dict.fromkeys(protocols))
        said.append(f"The {'protocol was' if len(distinct) == 1 else 'protocols were'} {', and '.join(distinct)}.")
    said += [
        *_scores(metrics),
        *_intervals(metrics),
        *_comparisons(pairs),
        *_calibration(metrics),
        *_points(metrics),
    ]
    versions: dict[str, dict[str, None]] = {"bchisto": {}}
    for name, version in ((name, version) for run in runs for name, version in (run.get("versions") or {}).items()):
        versions.setdefault(name, {})[version] = None
    software = [
        f"{_PACKAGES[name]} {' and '.join(found)}".strip() for name, found in versions.items() if name in _PACKAGES
    ]
    said.append(f"{'Models and metrics' if trained else 'Metrics'} were computed with {listed(software)}.")
    return " ".join(dict.fromkeys(said))


def _scores(metrics: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rows = list(dict.fromkeys(plural(predicted(one)) for one in metrics))
    if metrics:
        yield (
            f"Accuracy is the share of {listed(rows)} whose predicted class is the true one; balanced accuracy is "
            "the mean over classes of the share that is recognised."
        )
    if any(len(one["folds"]) > 1 for one in metrics):
        yield "Figures are pooled over the test parts of all folds; spreads over folds are population deviations."
    if any(one.get("auc") is not None for one in metrics):
        yield "The area under the ROC curve (AUC) is the mean over classes of one class against the rest."


def _intervals(metrics: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say the methods of all tables once, over the units of each."""
    methods: dict[str, None] = {}
    units: dict[str, None] = {}
    about: dict[str, None] = {}
    widened = False
    for one in metrics:
        intervals = one.get("intervals") or {}
        if not intervals:
            continue
        named = intervals.get("methods") or {"accuracy": "percentile bootstrap"}
        for name in ("accuracy", "balanced_accuracy", "auc"):
            if name in named:
                method, _, factor = named[name].partition(_FACTOR)
                methods[_METHODS.get(method, method)] = None
                widened |= bool(factor)
        units[counted(intervals["units"], name_of(one, intervals["unit"]))] = None
        about[called(one, intervals.get("estimand") or "the trained models, and take them as they are")] = None
    if not methods:
        return
    yield f"Intervals are 95 % confidence intervals ({listed(list(methods))}), over {listed(list(units))} as units."
    yield f"They are about {'; and '.join(about)}."
    if widened:
        yield f"Over several folds variances were multiplied by {CROSS_VALIDATION:g}, since training parts overlap."


def _comparisons(pairs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not pairs:
        return
    tests = list(dict.fromkeys(_TESTS[pair.get("test", "mcnemar")] for pair in pairs))
    holm = (
        ", with Holm's correction over all comparisons [@holm1979]" if any("p_holm" in pair for pair in pairs) else ""
    )
    yield f"Tables of the same images were compared in pairs by {listed(tests)}{holm}."
    factors = {pair.get("variance_factor", 1.0) for pair in pairs}
    if 1.0 in factors:
        yield f"{'Where a table has one test part, p' if len(factors) > 1 else 'Their p'} is exact."
    if factors - {1.0}:
        yield (
            f"Over several folds the variance behind their p was raised likewise (by {max(factors):g}), by way of a "
            "normal deviate; such a p is approximate."
        )
    if any(pair.get("corrected_t") for pair in pairs):
        yield "Differences over folds were tested by the corrected resampled t test [@nadeau2003]."


def _calibration(metrics: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    found = [one["calibration"] for one in metrics if one.get("calibration")]
    if not found:
        return
    said = "Calibration was judged by the expected calibration error over 15 bins of the confidence [@guo2017]"
    if any(one.get("ece_expected") is not None for one in found):
        said += ", beside its expectation under perfect calibration"
    if any(one.get("slope") is not None for one in found):
        said += ", and by the slope and intercept of a logistic recalibration [@vancalster2019]"
    yield f"{said}."


def _points(metrics: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    views = [one["two_class"] for one in metrics if one.get("two_class")]
    for positive, rule in dict.fromkeys((" + ".join(view["positive"]), view["rule"]) for view in views):
        score = _RULES.get(rule, "")
        yield f"The two-class view takes {positive} against the rest{score}."
    fixed = sorted({point["threshold"] for view in views for point in view["thresholds"]})
    if fixed:
        yield f"Operating points at scores of {listed([f'{one:g}' for one in fixed])} were given, not fitted."
    for wanted, fitted in dict.fromkeys((p["wanted"], p["fitted"]) for view in views for p in view.get("wanted", ())):
        yield f"Thresholds for a sensitivity of {100 * wanted:g} % were fitted on the {fitted}."
    if any(view.get("decision_curve") for view in views):
        yield "Net benefit was computed over thresholds by decision curve analysis [@vickers2006]."
