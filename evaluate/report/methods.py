"""The paragraph of methods that a report offers, from what was run and from nothing else; and whom it cites."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...core import counted, plural
from ...core.runs import versions_of
from .. import ESTIMAND, Panel, figures_of, joined_versions, rows_of
from .page import NOTHING, Block, Grid, render

_SOURCES = {
    "Clopper-Pearson, effective": "korn1998",
    "Clopper-Pearson of each class": "zou2008",
    "Clopper-Pearson": "clopper1934",
    "Wilson": "wilson1927",
    "percentile bootstrap": "efron1993",
}
"""What a method of intervals begins with, and whom it cites."""

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
        was trained as ``methods``; what is missing is left out.
    pairs : sequence of mapping
        Of `compare_pairs`.
    """
    kinds = [m["names"][m["units"]["kind"]] for m in metrics]
    versions = {"bchisto": "", **joined_versions(run.get("versions") or {} for run in runs)}
    text = render(
        "methods.txt",
        tables=metrics,
        rows=list(dict.fromkeys(rows_of(m) for m in metrics)),
        trained=[sentence for run in runs for sentence in run.get("methods", ())],
        protocols=list(dict.fromkeys(m["protocol"] for m in metrics if m["protocol"] and m["folds"])),
        units=list(dict.fromkeys(counted(m["units"]["count"], kind) for m, kind in zip(metrics, kinds, strict=True))),
        about=list(dict.fromkeys(ESTIMAND.format(units=plural(kind)) for kind in kinds)),
        pairs=pairs,
        views=[m["two_class"] for m in metrics if m.get("two_class")],
        software=[f"{_PACKAGES[name]} {which}".strip() for name, which in versions.items() if name in _PACKAGES],
    )
    return " ".join(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


def method_blocks(panels: Sequence[Panel], pairs: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    """Write the paragraph of methods and its references, and how the interval of each figure was made."""
    metrics = [panel.metrics for panel in panels]
    runs = [panel.run or {"versions": versions_of(("bchisto", "numpy", "scikit-learn"))} for panel in panels]
    text, references = cite(methods_text(metrics, runs=runs, pairs=pairs))
    yield Block(text=text, items=references)
    figures: dict[str, dict[str, None]] = {}  # those of one method together
    for name, figure in (pair for table in metrics for pair in figures_of(table)):
        if figure["interval"]:
            figures.setdefault(figure["method"], {})[name] = None
    rows = []
    for method, names in figures.items():
        source = next((REFERENCES[key] for name, key in _SOURCES.items() if method.startswith(name)), NOTHING)
        rows.append([method, ", ".join(names), source])
    if rows:
        caption = "How each 95 % CI was computed"
        yield Block(grid=Grid(caption, ["method", "figures", "source"], rows, words=(1, 2)))


REFERENCES = {
    "agresti1998": "Agresti A, Coull BA. Approximate is better than exact for interval estimation of binomial "
    "proportions. The American Statistician 1998;52:119-126.",
    "agresti2005": "Agresti A, Min Y. Simple improved confidence intervals for comparing matched proportions. "
    "Statistics in Medicine 2005;24:729-740.",
    "bell2002": "Bell RM, McCaffrey DF. Bias reduction in standard errors for linear regression with multi-stage "
    "samples. Survey Methodology 2002;28:169-181.",
    "clopper1934": "Clopper CJ, Pearson ES. The use of confidence or fiducial limits illustrated in the case of the "
    "binomial. Biometrika 1934;26:404-413.",
    "cortes1995": "Cortes C, Vapnik V. Support-vector networks. Machine Learning 1995;20:273-297.",
    "delong1988": "DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more correlated receiver "
    "operating characteristic curves: a nonparametric approach. Biometrics 1988;44:837-845.",
    "deng2009": "Deng J, Dong W, Socher R, et al. ImageNet: a large-scale hierarchical image database. CVPR 2009.",
    "efron1993": "Efron B, Tibshirani RJ. An introduction to the bootstrap. Chapman & Hall 1993.",
    "guo2017": "Guo C, Pleiss G, Sun Y, Weinberger KQ. On calibration of modern neural networks. ICML 2017.",
    "he2016": "He K, Zhang X, Ren S, Sun J. Deep residual learning for image recognition. CVPR 2016.",
    "holm1979": "Holm S. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics "
    "1979;6:65-70.",
    "ke2017": "Ke G, Meng Q, Finley T, et al. LightGBM: a highly efficient gradient boosting decision tree. NIPS 2017.",
    "kingma2015": "Kingma DP, Ba J. Adam: a method for stochastic optimization. ICLR 2015.",
    "korn1998": "Korn EL, Graubard BI. Confidence intervals for proportions with small expected number of positive "
    "counts estimated from survey data. Survey Methodology 1998;24:193-201.",
    "krizhevsky2012": "Krizhevsky A, Sutskever I, Hinton GE. ImageNet classification with deep convolutional neural "
    "networks. NIPS 2012.",
    "ledoit2004": "Ledoit O, Wolf M. A well-conditioned estimator for large-dimensional covariance matrices. Journal "
    "of Multivariate Analysis 2004;88:365-411.",
    "macenko2009": "Macenko M, Niethammer M, Marron JS, et al. A method for normalizing histology slides for "
    "quantitative analysis. ISBI 2009.",
    "mcnemar1947": "McNemar Q. Note on the sampling error of the difference between correlated proportions or "
    "percentages. Psychometrika 1947;12:153-157.",
    "obuchowski1997": "Obuchowski NA. Nonparametric analysis of clustered ROC curve data. Biometrics 1997;53:567-578.",
    "pan2002": "Pan W, Wall MM. Small-sample adjustments in using the sandwich variance estimator in generalized "
    "estimating equations. Statistics in Medicine 2002;21:1429-1441.",
    "reinhard2001": "Reinhard E, Ashikhmin M, Gooch B, Shirley P. Color transfer between images. IEEE Computer "
    "Graphics and Applications 2001;21:34-41.",
    "ruifrok2001": "Ruifrok AC, Johnston DA. Quantification of histochemical staining by color deconvolution. "
    "Analytical and Quantitative Cytology and Histology 2001;23:291-299.",
    "sandler2018": "Sandler M, Howard A, Zhu M, Zhmoginov A, Chen LC. MobileNetV2: inverted residuals and linear "
    "bottlenecks. CVPR 2018.",
    "simonyan2015": "Simonyan K, Zisserman A. Very deep convolutional networks for large-scale image recognition. ICLR "
    "2015.",
    "spanhol2016": "Spanhol FA, Oliveira LS, Petitjean C, Heutte L. A dataset for breast cancer histopathological "
    "image classification. IEEE Transactions on Biomedical Engineering 2016;63:1455-1462.",
    "szegedy2015": "Szegedy C, Liu W, Jia Y, et al. Going deeper with convolutions. CVPR 2015.",
    "szegedy2016": "Szegedy C, Vanhoucke V, Ioffe S, Shlens J, Wojna Z. Rethinking the Inception architecture for "
    "computer vision. CVPR 2016.",
    "vahadane2016": "Vahadane A, Peng T, Sethi A, et al. Structure-preserving color normalization and sparse stain "
    "separation for histological images. IEEE Transactions on Medical Imaging 2016;35:1962-1971.",
    "vancalster2019": "Van Calster B, McLernon DJ, van Smeden M, et al. Calibration: the Achilles heel of predictive "
    "analytics. BMC Medicine 2019;17:230.",
    "wang2019": "Wang Y, Chao WL, Weinberger KQ, van der Maaten L. SimpleShot: revisiting nearest-neighbor "
    "classification for few-shot learning. arXiv 1911.04623, 2019.",
    "wilson1927": "Wilson EB. Probable inference, the law of succession, and statistical inference. Journal of the "
    "American Statistical Association 1927;22:209-212.",
    "zou2008": "Zou GY, Donner A. Construction of confidence intervals about effect measures: a general approach. "
    "Statistics in Medicine 2008;27:1693-1702.",
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
    for cited in _KEYS.findall(text):
        keys = [key for key in cited.replace("@", "").split() if key in REFERENCES]
        numbers = [str(order.setdefault(key, len(order) + 1)) for key in keys]
        text = text.replace(f"[@{cited}]", f"[{', '.join(numbers)}]" if numbers else "")
    return text.replace(" .", "."), [REFERENCES[key] for key in order]
