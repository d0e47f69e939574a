"""The paragraph of methods that a report offers, from what was run and from nothing else; and whom it cites."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..evaluate import CROSS_VALIDATION, called, counted, joined_versions, listed, name_of, rows_of

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
    said = [*trained]
    if protocols := list(dict.fromkeys(one["protocol"] for one in metrics if one["protocol"])):
        said.append(f"The {'protocol was' if len(protocols) == 1 else 'protocols were'} {', and '.join(protocols)}.")
    said += _scores(metrics)
    said += [*_intervals(metrics), *_comparisons(pairs), *_calibration(metrics), *_points(metrics)]
    versions = {"bchisto": "", **joined_versions(run.get("versions") or {} for run in runs)}
    software = [f"{_PACKAGES[name]} {found}".strip() for name, found in versions.items() if name in _PACKAGES]
    said.append(f"{'Models and metrics' if trained else 'Metrics'} were computed with {listed(software)}.")
    return " ".join(dict.fromkeys(said))


def _scores(metrics: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rows = list(dict.fromkeys(rows_of(one) for one in metrics))
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
    methods, units, about = [], [], []
    for one in metrics:
        if intervals := one.get("intervals"):
            named = intervals.get("methods") or {"accuracy": "percentile bootstrap"}
            shown = [named[name] for name in ("accuracy", "balanced_accuracy", "auc") if name in named]
            methods += [method.partition(_FACTOR) for method in shown]
            units.append(counted(intervals["units"], name_of(one, intervals["unit"])))
            about.append(called(one, intervals.get("estimand") or "the trained models, and take them as they are"))
    if not methods:
        return
    said = listed(list(dict.fromkeys(_METHODS.get(method, method) for method, _, _ in methods)))
    yield f"Intervals are 95 % confidence intervals ({said}), over {listed(list(dict.fromkeys(units)))} as units."
    yield f"They are about {'; and '.join(dict.fromkeys(about))}."
    if any(factor for _, _, factor in methods):
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


REFERENCES = {
    "clopper1934": "Clopper CJ, Pearson ES. The use of confidence or fiducial limits illustrated in the case of the "
    "binomial. Biometrika 1934;26:404-413.",
    "cortes1995": "Cortes C, Vapnik V. Support-vector networks. Machine Learning 1995;20:273-297.",
    "deng2009": "Deng J, Dong W, Socher R, et al. ImageNet: a large-scale hierarchical image database. CVPR 2009.",
    "efron1993": "Efron B, Tibshirani RJ. An introduction to the bootstrap. Chapman & Hall 1993.",
    "guo2017": "Guo C, Pleiss G, Sun Y, Weinberger KQ. On calibration of modern neural networks. ICML 2017.",
    "he2016": "He K, Zhang X, Ren S, Sun J. Deep residual learning for image recognition. CVPR 2016.",
    "holm1979": "Holm S. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics "
    "1979;6:65-70.",
    "ke2017": "Ke G, Meng Q, Finley T, et al. LightGBM: a highly efficient gradient boosting decision tree. NIPS 2017.",
    "kingma2015": "Kingma DP, Ba J. Adam: a method for stochastic optimization. ICLR 2015.",
    "korn1998": "Korn EL, Graubard BI. Confidence intervals for proportions with small expected number of positive "
    "counts estimated from complex survey data. Survey Methodology 1998;24:193-201.",
    "krizhevsky2012": "Krizhevsky A, Sutskever I, Hinton GE. ImageNet classification with deep convolutional neural "
    "networks. NIPS 2012.",
    "macenko2009": "Macenko M, Niethammer M, Marron JS, et al. A method for normalizing histology slides for "
    "quantitative analysis. ISBI 2009.",
    "mcnemar1947": "McNemar Q. Note on the sampling error of the difference between correlated proportions or "
    "percentages. Psychometrika 1947;12:153-157.",
    "nadeau2003": "Nadeau C, Bengio Y. Inference for the generalization error. Machine Learning 2003;52:239-281.",
    "reinhard2001": "Reinhard E, Ashikhmin M, Gooch B, Shirley P. Color transfer between images. IEEE Computer "
    "Graphics and Applications 2001;21:34-41.",
    "ruifrok2001": "Ruifrok AC, Johnston DA. Quantification of histochemical staining by color deconvolution. "
    "Analytical and Quantitative Cytology and Histology 2001;23:291-299.",
    "sandler2018": "Sandler M, Howard A, Zhu M, Zhmoginov A, Chen LC. MobileNetV2: inverted residuals and linear "
    "bottlenecks. CVPR 2018.",
    "simonyan2015": "Simonyan K, Zisserman A. Very deep convolutional networks for large-scale image recognition. ICLR "
    "2015.",
    "szegedy2015": "Szegedy C, Liu W, Jia Y, et al. Going deeper with convolutions. CVPR 2015.",
    "szegedy2016": "Szegedy C, Vanhoucke V, Ioffe S, Shlens J, Wojna Z. Rethinking the Inception architecture for "
    "computer vision. CVPR 2016.",
    "vahadane2016": "Vahadane A, Peng T, Sethi A, et al. Structure-preserving color normalization and sparse stain "
    "separation for histological images. IEEE Transactions on Medical Imaging 2016;35:1962-1971.",
    "vancalster2019": "Van Calster B, McLernon DJ, van Smeden M, et al. Calibration: the Achilles heel of predictive "
    "analytics. BMC Medicine 2019;17:230.",
    "vickers2006": "Vickers AJ, Elkin EB. Decision curve analysis: a novel method for evaluating prediction models. "
    "Medical Decision Making 2006;26:565-574.",
}
"""What a methods section cites: one entry each, by the key that stands in a sentence as ``[@key]``."""

_KEYS = re.compile(r"\[@(\w+(?: @\w+)*)\]")


def cite(text: str) -> tuple[str, Sequence[str]]:
    """Number the references of a text in the order in which it names them.

    Parameters
    ----------
    text : str
        Cites by ``[@key]`` or ``[@key @key]``; keys that are not known, as those of a later release, are left out.

    Returns
    -------
    str, sequence of str
        The text with numbers in brackets, and the entries in their order.

    Examples
    --------
    >>> cite("Trees [@ke2017] of trees [@ke2017].")[0]
    'Trees [1] of trees [1].'
    """
    order: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        keys = [key for key in found[1].replace("@", "").split() if key in REFERENCES]
        numbers = [order.setdefault(key, len(order) + 1) for key in keys]
        return f"[{', '.join(map(str, numbers))}]" if numbers else ""

    numbered = _KEYS.sub(number, text).replace(" .", ".")
    return numbered, [REFERENCES[key] for key in order]
