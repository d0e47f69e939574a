"""A head that another package adds trains, is bundled and predicts; what is wrong with one is said in a line."""

import re
import shutil

import numpy as np
import pytest
from bchisto.boost import (
    HEADS,
    PRESETS,
    BoostSettings,
    Bundle,
    FittedModel,
    HeadSpec,
    TrainingTerms,
    get_head,
    heads,
    train,
)
from bchisto.core import InputError, banners_of
from bchisto.featurize import open_store
from conftest import refuses
from packs import ONE_JOB, packs_in
from written_tables import read_json


@pytest.fixture(scope="module")
def nearest(tmp_path_factory, described):
    """A run folder that the head was trained in."""
    run = tmp_path_factory.mktemp("nearest") / "run"
    shutil.copytree(described, run)
    train(out=run, folds=["3"], settings=BoostSettings(["nearest"], seeds=2), work=ONE_JOB)
    return run


def test_it_is_trained_as_one_of_ours(nearest):
    folder = nearest / "boost" / "3-nearest"
    models = list(packs_in(folder / "models" / "tiny-1.0-64"))
    assert models == [f"seed{seed}-fold{fold}" for seed in (0, 1) for fold in (1, 2, 3)]
    notice = "The head nearest knows class means only, of up to 8 images."
    metrics = read_json(folder / "metrics.json")
    assert notice in banners_of(metrics["run"])
    assert metrics["run"]["head"] == "nearest"
    settings = read_json(folder / "settings.json")
    assert settings["settings"]["share"] == 2
    assert settings["made_with"][0]["bchisto-nearest"] == "1.0"
    report = (folder / "report.html").read_text()
    assert "features of a seed" in report
    assert "LightGBM parameters" not in report


def test_its_bundle_predicts(nearest, tmp_path, tissue, completed):
    path = nearest / "boost" / "3-nearest" / "model.bchisto"
    bundle = Bundle.load(path)
    with open_store(nearest / "features" / "tiny-1.0-64.h5") as store:
        features = store.features()
    each = [model.predict_proba(features) for model in bundle.models["tiny-1.0-64"]]
    assert len(each) == 6
    assert bundle.head == "nearest"
    np.testing.assert_allclose(
        bundle.predict({"tiny-1.0-64": features}), np.mean(each, axis=0), rtol=1e-12
    )
    completed("predict {} --images {} --out T/p.csv --jobs 1", path, tissue)
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 13


def test_what_decides_the_content_of_ours():
    preset = PRESETS["quick"]
    small, large = TrainingTerms(preset, 7, 3000), TrainingTerms(preset, 7, 3001)
    trees = {"rounds": 70, **preset.params}
    assert get_head("lightgbm").settings(large) == trees
    assert get_head("logistic").settings(large) == {"inner_seed": 7}
    assert get_head("svm").settings(large) == {"inner_seed": 7, "svm_images": 3000}
    notices = {head: get_head(head).notice(large) for head in HEADS}
    said = "The head svm was fitted on 3,000 of up to 3,001 training images of a fold."
    kept = "The head knn kept 3,000 of up to 3,001 training images of a fold."
    assert notices == {
        **dict.fromkeys(HEADS),
        "svm": said,
        "knn": kept,
        "lda": said.replace("svm", "lda"),
    }
    assert get_head("svm").notice(small) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Nearest"}, "its name must be lower-case letters"),
        ({"name": "a" * 33}, "at most 32"),
        ({"suffix": ".inner.npz"}, "must be a dot and up to 8 lower-case letters"),
    ],
)
def test_names_and_suffixes_that_no_bundle_could_hold(change, message):
    fields = {"name": "nearest", "suffix": ".json", "fit": None, "parse": None, **change}
    refuses(InputError, re.escape(message), HeadSpec, **fields)


class Wrong:
    """A classifier whose `predict_proba` returns what a test gives it."""

    def __init__(self, probabilities):
        self.probabilities = probabilities

    def predict_proba(self, features):
        return self.probabilities(len(features))


def failing(part, params):
    yield FittedModel(b"")
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize(
    ("fit", "probabilities", "message"),
    [
        (failing, lambda n: np.full((n, 2), 0.5), "nearest: ZeroDivisionError: division by zero"),
        (lambda part, params: iter(()), None, "nearest: fit yields fewer models"),
        (None, lambda n: np.full((n, 2), np.nan), "nearest: predict_proba does not return prob"),
        (None, lambda n: np.tile([1.5, -0.5], (n, 1)), "nearest: predict_proba does not return"),
        (None, lambda n: np.full((n, 3), 1 / 3), r"probabilities of shape \(\d+, 2\)"),
        (None, lambda n: [["no"]] * n, "nearest: ValueError"),
    ],
)
def test_what_a_classifier_does_wrong_is_said(
    fit, probabilities, message, described, tmp_path, monkeypatch
):
    shutil.copytree(described, tmp_path / "run")
    spec = HeadSpec(
        name="nearest",
        suffix=".bin",
        fit=fit or (lambda part, params: (FittedModel(b"") for _ in params)),
        parse=lambda data: Wrong(probabilities),
        seeded=True,
    )
    of_ours = heads._find
    monkeypatch.setattr(heads, "_find", lambda name: spec if name == "nearest" else of_ours(name))
    settings = BoostSettings(["nearest"], seeds=2)
    with pytest.raises(InputError, match=f"tiny-1.0-64, fold 1: .*{message}"):
        train(out=tmp_path / "run", folds=["3"], settings=settings, work=ONE_JOB)
