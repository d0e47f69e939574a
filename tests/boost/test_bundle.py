import re
import shutil
import zipfile

import pytest
from bchisto.boost import BoostSettings, Bundle, train
from bchisto.core import InputError, OutputError
from bchisto.core.models import BundleFacts
from bchisto.featurize import open_store
from bchisto.predict import predict
from conftest import typed
from packs import ONE_JOB, models_in, train_small
from refusals import refuses

PAIR = "boost/3-lightgbm"


@pytest.fixture
def path(boosted_model):
    return boosted_model


def test_holds_nothing_but_arrays_and_a_manifest(path):
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            assert name == "manifest.json" or name.endswith(".npz")


def test_the_text_beside_a_model_governs_nothing(boosted, run_copy, completed):
    run = run_copy(boosted)
    before = (
        (run / PAIR / "predictions.csv").read_bytes(),
        (run / PAIR / "model.bchisto").read_bytes(),
    )
    for text in (run / PAIR / "models").rglob("*.txt"):
        text.write_text("tree\n")
    options = typed(
        "--folds 3 --seeds 2 --param min_data_in_leaf=2 --param num_iterations=8 --jobs 1"
    )
    _, err = completed("boost --out {}", run, *options)
    assert "6 of 6 models are trained already" in err
    assert (
        (run / PAIR / "predictions.csv").read_bytes(),
        (run / PAIR / "model.bchisto").read_bytes(),
    ) == before


NAMES = ("my store (1)", "a\u0308lter \u00e4", "a b", "a-b")


def test_stores_of_any_name_make_a_bundle_that_predicts(described, tmp_path, tissue):
    """Spaces, brackets and combining accents: names that a member of a bundle does not have."""
    run = tmp_path / "run"
    (run / "features").mkdir(parents=True)
    for name in NAMES:
        shutil.copy(described / "features" / "tiny-1.0-64.h5", run / "features" / f"{name}.h5")
    settings = BoostSettings(
        heads=["lightgbm", "svm"], seeds=1, params={"min_data_in_leaf": 2, "num_iterations": 2}
    )
    lightgbm, svm = train(out=run, folds=["2"], settings=settings, work=ONE_JOB)
    with open_store(described / "features" / "tiny-1.0-64.h5") as store:
        features = dict.fromkeys(NAMES, store.features())
    for result in (lightgbm, svm):
        bundle = Bundle.load(result.model)
        assert {name: len(found) for name, found in bundle.models.items()} == dict.fromkeys(
            NAMES, 2
        )
        assert bundle.predict(features).shape == (12, 2)
        with zipfile.ZipFile(result.model) as archive:
            assert all(re.fullmatch(r"[A-Za-z0-9_./+-]+", name) for name in archive.namelist())
    table = predict(lightgbm.model, [tissue], out=tmp_path / "p.csv", work=ONE_JOB)
    assert table.images == 12


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "caf\udce9",
            r"caf\\udce9\.h5: the name of this feature file cannot name a folder; rename",
        ),
        ("..", "cannot name a folder"),
    ],
)
def test_names_that_no_bundle_can_hold_are_refused_before_training(
    described, tmp_path, name, message
):
    run = tmp_path / "run"
    (run / "features").mkdir(parents=True)
    shutil.copy(described / "features" / "tiny-1.0-64.h5", run / "features" / f"{name}.h5")
    refuses(InputError, message, train_small, run, "2")
    assert not models_in(run / "boost")


def test_more_models_than_a_bundle_reads_are_refused_before_training(
    described, run_copy, monkeypatch
):
    run = run_copy(described)
    monkeypatch.setattr("bchisto.core.formats.limits.ARCHIVE_MEMBERS", 6)
    with pytest.raises(InputError, match=r"6 models are more than a model file can hold; use"):
        train_small(run, seeds=2)
    assert not models_in(run / "boost")


def test_what_cannot_be_read_is_not_written(boosted, tmp_path, monkeypatch):
    text = models_in(boosted / PAIR)["seed0-fold1"]
    facts, stores = BundleFacts(classes=("a", "b"), protocol="p"), {"s": {"encoder": "tiny"}}
    path = tmp_path / "m.bchisto"
    with pytest.raises(
        OutputError, match=r"m\.bchisto: not written, since it could not be read back \(.*seed0"
    ):
        Bundle.save(
            path, facts, stores=stores, models={"s": [("seed0-fold1.pickle", lambda: text)]}
        )
    monkeypatch.setattr("bchisto.core.formats.limits.ARCHIVE_BYTES", 1000)
    with pytest.raises(InputError, match=r"are more than a model file can hold"):
        Bundle.save(path, facts, stores=stores, models={"s": [("seed0-fold1.npz", lambda: text)]})
    assert not list(tmp_path.iterdir())
