"""A run folder in place of a bundle, and weights files that the run has recorded."""

import hashlib
import shutil
from dataclasses import replace

import numpy as np
import pytest
from bchisto.boost import BoostSettings, train
from bchisto.commands.train import prediction_with
from bchisto.core import InputError, MissingInputError, WeightsError
from bchisto.core.jobs import Work
from bchisto.featurize import featurize
from bchisto.predict import find_bundle, predict
from bchisto_tiny import tiny_weights
from packs import ONE_JOB, predict_here

SMALL = BoostSettings(seeds=1, params={"num_iterations": 2, "min_data_in_leaf": 2})


def trained_on(tmp_path, shift, *heads):
    """Train in a run folder on features of which one class differs by so much; return their file and the results."""
    rng = np.random.default_rng(3)
    labels = np.repeat(["gut", "böse"], 20)
    features = rng.normal(size=(40, 5)) + shift * (labels == "gut")[:, None]
    file = tmp_path / "Merkmale.npz"
    np.savez(file, features=features, image_id=[f"i{number}" for number in range(40)], label=labels)
    settings = BoostSettings(heads=heads)
    return file, train(
        out=tmp_path / "run 1", features=file, folds="4", settings=settings, work=ONE_JOB
    )


def test_a_run_folder_stands_for_its_model_if_that_is_better_than_chance(tmp_path, completed):
    file, (result,) = trained_on(tmp_path, 3.0, "logistic")
    completed("predict {} --features {} --out T/p.csv", tmp_path / "run 1", file)
    for place in (result.model, result.folder, result.folder.parent):
        predict(place, features=file, out=tmp_path / "q.csv", work=Work(overwrite=True))
        assert (tmp_path / "q.csv").read_bytes() == (tmp_path / "p.csv").read_bytes()


@pytest.mark.parametrize(
    "words",
    [
        "predict {} x.png --out T/out",
        "explain {} x.png --method map --out T/out",
        "serve {}",
        "export {} --to T/out",
    ],
)
def test_the_only_model_of_a_folder_is_refused_if_it_is_not(
    boosted, boosted_model, tmp_path, refused, words
):
    """One whose figures stayed elsewhere is taken."""
    assert refused(words, boosted).endswith(
        f"{boosted}: its model is not shown to be better than chance for new patients; to use it all the same, "
        f"give it: {boosted_model}\n"
    )
    assert not (tmp_path / "out").exists()
    shutil.copy(boosted_model, tmp_path)
    assert find_bundle(tmp_path) == tmp_path / boosted_model.name


def test_of_several_models_one_is_to_be_named(boosted, tissue, tmp_path):
    run = shutil.copytree(boosted, tmp_path / "my run")
    shutil.copytree(run / "boost" / "3-lightgbm", run / "boost" / "4-svm")
    with pytest.raises(
        InputError, match=r"my run: holds 2 models, and no single .*, give it: .*3-lightgbm/model"
    ) as e:
        predict(run, tissue, out=tmp_path / "p.csv")
    assert "boost/4-svm/model.bchisto" in str(e.value)
    assert "\n" not in str(e.value)
    with pytest.raises(MissingInputError, match=r"features: no model\.bchisto in this folder"):
        predict(run / "features", tissue, out=tmp_path / "p.csv")
    assert not (tmp_path / "p.csv").exists()


@pytest.mark.parametrize(("shift", "is_best"), [(3.0, True), (0.0, False)])
def test_of_several_models_the_best_is_taken_if_it_beats_chance(tmp_path, caplog, shift, is_best):
    file, trained = trained_on(tmp_path, shift, "logistic", "knn")
    run = tmp_path / "run 1"
    if not is_best:
        with pytest.raises(
            InputError, match="2 models, and no single one is the highest and better than chance"
        ):
            predict(run, features=file, out=tmp_path / "p.csv")
        return
    with caplog.at_level("INFO"):
        predict(run, features=file, out=tmp_path / "p.csv")
    (best,) = (each for each in trained if each.folder.name in caplog.text)
    assert f"the highest of its 2 models, {best.model}" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        command = prediction_with(run, trained[0].model)
    assert str(best.model) in command
    assert not caplog.text  # it only proposes a command
    highest = max(each.metrics["balanced_accuracy"]["value"] for each in trained)
    assert best.metrics["balanced_accuracy"]["value"] == highest


@pytest.fixture(scope="module")
def weighted(tissue, tiny_settings, tmp_path_factory):
    """Two runs whose descriptors come from a weights file, given by a relative path.

    The figures of their models are elsewhere: nothing is known of these, so they are taken of their folders.
    """
    root = tmp_path_factory.mktemp("weighted runs")
    tiny_weights(root / "tiny.weights.h5", seed=7)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        settings = replace(tiny_settings, augmentations=1, weights=("tiny=tiny.weights.h5",))
        featurize(tissue, out="run", settings=settings, work=ONE_JOB)
        train(out="run", folds="3", settings=SMALL, work=ONE_JOB)
        train(out="apart", features="run/features", folds="3", settings=SMALL, work=ONE_JOB)
    for path in root.glob("*/boost/*/metrics.json"):
        path.unlink()
    return root


def test_a_report_names_the_hash_that_sha256sum_prints(weighted, boosted_result):
    sha256 = hashlib.sha256((weighted / "tiny.weights.h5").read_bytes()).hexdigest()[:12]
    page = (weighted / "run" / "boost" / "3-lightgbm" / "report.html").read_text()
    assert f"weights file (sha256 {sha256}" in page  # the settings
    assert f"with weights from a file (sha256 {sha256})" in page  # the methods
    page = (boosted_result / "report.html").read_text()
    assert "weights random (sha256 " in page


@pytest.mark.parametrize("run", ["run", "apart"])
def test_recorded_weights_are_used_while_they_hold(weighted, tmp_path, caplog, run, one_file):
    one, file = one_file, weighted / "tiny.weights.h5"
    with caplog.at_level("INFO", logger="bchisto"):
        predict_here(weighted / run, one, tmp_path / "p.csv")
    assert f"tiny: weights {file}, as the run of" in caplog.text
    predict_here(weighted / run, one, tmp_path / "q.csv", weights=f"tiny={file}")
    assert (tmp_path / "p.csv").read_bytes() == (tmp_path / "q.csv").read_bytes()
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    kept = file.read_bytes()
    try:
        with pytest.raises(InputError, match="would overwrite .*tiny.weights.h5, which is read"):
            predict(weighted / run, one, out=file, work=Work(jobs=1, overwrite=True))
        assert file.read_bytes() == kept
        tiny_weights(file, seed=8)
        with pytest.raises(
            WeightsError,
            match=rf"tiny was trained with weights from a file \(sha256 {sha256}\); give",
        ):
            predict_here(weighted / run, one, tmp_path / "r.csv")
        other = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
        with pytest.raises(
            WeightsError, match=rf"of sha256 {sha256}, .* has {other}; give the right"
        ):
            predict_here(weighted / run, one, tmp_path / "r.csv", weights=str(file))
    finally:
        file.write_bytes(kept)


def test_a_bundle_that_left_its_run_asks_for_them(weighted, tissue, tmp_path, monkeypatch):
    """For a network of Keras building it would begin with a download."""
    monkeypatch.setattr(
        "bchisto.predict.boosted.cached_encoder",
        lambda *_, **__: pytest.fail("a network was built"),
    )
    away = shutil.copy(
        weighted / "run" / "boost" / "3-lightgbm" / "model.bchisto", tmp_path / "model.bchisto"
    )
    with pytest.raises(WeightsError, match='give them with `weights="tiny=PATH"`'):
        predict_here(away, tissue, tmp_path / "p.csv")
