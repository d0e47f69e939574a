"""A bundle of networks predicts new images as a boosted one does."""

import numpy as np
import pytest
from archives import altered
from bchisto.apps.serve.worker import open_model
from bchisto.boost import Bundle
from bchisto.core import BundleError, ImageError
from bchisto.core.jobs import Ticker, Work
from bchisto.data import decode_image, read_dataset
from bchisto.evaluate import apply_temperature, read_predictions
from bchisto.finetune import CnnBundle, CnnModel, FinetuneSettings
from bchisto.predict import Predictor, predict
from PIL import Image
from refusals import refusing
from training_sources import finetune_here
from written_tables import rows_of

SETTINGS = FinetuneSettings("speck", epochs=1, batch_size=4)
CUT = FinetuneSettings("speck", epochs=1, batch_size=4, patches="random:48:3", stain="macenko")


of_whole_images = pytest.mark.parametrize("tuned", [SETTINGS], ids=["whole"], indirect=True)
of_patches = pytest.mark.parametrize("tuned", [CUT], ids=["patches"], indirect=True)


@pytest.fixture(scope="module", params=[SETTINGS, CUT], ids=["whole", "patches"])
def tuned(tmp_path_factory, tissue, request):
    run = tmp_path_factory.mktemp("tuned") / "run"
    return finetune_here(tissue, run, request.param).folder


def test_each_fold_model_says_what_it_said_of_the_images_it_tested(tuned, tissue, monkeypatch):
    """New images take the whole road again: decoded, treated, cut, predicted, averaged."""
    monkeypatch.setattr(
        "bchisto.finetune.bundle.crop_key", lambda record, image, crop_seed: record.image_id
    )
    bundle = CnnBundle.load(tuned / "model.bchisto")
    (table,) = read_predictions(tuned / "predictions.csv")
    records = read_dataset(tissue).records
    for fold, model in bundle.models.items():
        alone = CnnBundle(**{**vars(bundle), "models": {fold: model}})
        predicted = CnnModel(alone).predict(records, ticker=Ticker(None), skip_errors=False)
        found = {record.image_id: shares for record, shares, *_ in predicted}
        for image, number, expected in zip(
            table.image_ids, table.folds, table.probabilities, strict=True
        ):
            if number == fold:
                np.testing.assert_allclose(found[image], expected, rtol=1e-5)


@of_whole_images
def test_the_command_takes_either_bundle(tuned, tissue, tmp_path, refused, completed):
    options = ("predict", tuned / "model.bchisto", "--images", tissue, "--jobs", 1)
    out, _ = completed(*options, "--out", tmp_path / "p.csv")
    assert "12 images predicted: benign" in out
    (table,) = read_predictions(tmp_path / "p.csv")
    assert table.classes == ("benign", "malignant")
    err = refused(*options, "--out", tmp_path / "q.csv", "--weights", "imagenet")
    assert "holds the weights of its networks; leave it out" in err
    # another model beside it on a page may need them
    assert open_model(tuned / "model.bchisto", ("imagenet",), tmp_path / "copy").file.weights == ()
    softer = altered(
        tuned / "model.bchisto", tmp_path / "softer.bchisto", calibration={"temperature": 2.0}
    )
    completed("predict", softer, *options[2:], "--out", tmp_path / "c.csv", "--calibrated")
    (calibrated,) = read_predictions(tmp_path / "c.csv")
    np.testing.assert_array_equal(calibrated.predicted, table.predicted)
    np.testing.assert_allclose(
        calibrated.probabilities, apply_temperature(table.probabilities, 2.0)
    )


@of_patches
def test_blocks_processes_and_arrays_change_nothing(tuned, tmp_path, tissue_files):
    predict(tuned / "model.bchisto", tissue_files, out=tmp_path / "a.csv", work=Work(jobs=2))
    whole = {row["image_id"]: float(row["p_benign"]) for row in rows_of(tmp_path / "a.csv")}
    found = Predictor(tuned / "model.bchisto").predict(
        [decode_image(tissue_files[5]), tissue_files[4]]
    )
    expected = [whole[path.name] for path in (tissue_files[5], tissue_files[4])]
    np.testing.assert_allclose(found.probabilities[:, 0], expected, rtol=1e-5)
    assert found.trained.tolist() == [True, True]
    assert found.outlier is None
    white = np.full_like(decode_image(tissue_files[0]), 255)
    _, notes = Predictor(tuned / "model.bchisto").predict([tissue_files[4], white]).warnings
    assert "shows nothing" in " ".join(notes)


@of_whole_images
def test_bad_images_are_named_or_skipped(tuned, tmp_path, tissue_files):
    images = tmp_path / "images"
    images.mkdir()
    for path in tissue_files[:2]:
        (images / path.name).write_bytes(path.read_bytes())
    whole = (images / path.name).read_bytes()
    (images / "cut.png").write_bytes(whole[: len(whole) // 2])
    with refusing(r"cut\.png.*; `skip_errors` leaves it out", ImageError):
        predict(tuned / "model.bchisto", [images], out=tmp_path / "p.csv", work=Work(jobs=1))
    result = predict(
        tuned / "model.bchisto",
        [images],
        out=tmp_path / "p.csv",
        work=Work(jobs=1, skip_errors=True),
    )
    assert result.images == 2
    assert [*result.failures] == ["cut.png"]


@of_patches
def test_images_that_do_not_fit_the_patches(tuned, tmp_path, monkeypatch, tissue_files):
    Image.fromarray(np.full((40, 40, 3), 128, np.uint8)).save(tmp_path / "small.png")
    with refusing("40x40 is smaller than patches of 48"):
        predict(tuned / "model.bchisto", [tmp_path / "small.png"], out=tmp_path / "p.csv")
    monkeypatch.setattr("bchisto.finetune.bundle._MOST_PATCHES", 2)
    with refusing("3 patches, more than 2; give smaller images", ImageError):
        predict(
            tuned / "model.bchisto",
            tissue_files[0],
            out=tmp_path / "p.csv",
            work=Work(jobs=1),
        )


@of_whole_images
def test_each_road_names_a_bundle_of_the_other(tuned, boosted_model):
    with refusing("a model file of CNNs|newer than this", BundleError):
        Bundle.load(tuned / "model.bchisto")
    with refusing("a model file of boosted models, not of CNNs", BundleError):
        CnnBundle.load(boosted_model)
