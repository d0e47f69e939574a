"""New images of other micrometres per pixel than those of training."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
from bchisto.core.jobs import Ticker
from bchisto.data import ImageRecord, ImageSelection
from bchisto.featurize import View, describe_images, featurize
from bchisto.predict import Predictor, PredictSettings
from bchisto.predict.model_file import ModelFile, load_model
from numpy.testing import assert_array_equal
from packs import ONE_JOB, predict_here, train_small
from written_tables import rows_of


def trained(run, images, settings):
    featurize(images, out=run, settings=settings, work=ONE_JOB)
    few = {"min_data_in_leaf": 2, "num_iterations": 8}
    (result,) = train_small(run, "2", params=few)
    return result.model


@pytest.fixture(scope="module")
def models(tmp_path_factory, tissue, tiny_settings, tissue_files):
    """A model of a view in micrometres, one of a view in pixels, and one of images of two scales. Read only."""
    root = tmp_path_factory.mktemp("models")
    half = ImageSelection(tissue, mpp=0.5)
    um = replace(tiny_settings, views=(View(0.5, 32, "um"),), stain="none")
    mixed = root / "mixed.csv"
    rows = [(path, path.parent.name, 0.5 if "0" in path.stem[-1] else 0.4) for path in tissue_files]
    with mixed.open("w", newline="") as handle:
        csv.writer(handle).writerows([("path", "label", "mpp"), *rows])
    return {
        "um": trained(root / "um", half, um),
        "pixels": trained(root / "pixels", half, replace(um, views=(View(1.0, 32),))),
        "mixed": trained(root / "mixed", mixed, um),
    }


def predicted(cli, model, images, out, *more):
    code, _, err = cli("predict {} --images {} --out {} --jobs 1", model, images, out, *more)
    assert code == 0, err
    rows = [[float(row["p_benign"]), float(row["p_malignant"])] for row in rows_of(out)]
    return np.array(rows), err


def test_images_of_other_micrometres_are_rescaled(models, tissue):
    model = load_model(ModelFile.of(models["um"]))
    (store,) = model.settings
    path = next(tissue.rglob("benign00.png"))
    record = ImageRecord(image_id="a", path=path, label=None, mpp=0.25)
    ((_, descriptors, *_),) = model.describe([record], ticker=Ticker(None), skip_errors=False)
    settings, encoder = model.settings[store], model.encoders[store]
    targets = {"half": (encoder, View(0.5, 32))}
    (expected,) = describe_images(
        [record], settings=settings, targets=targets, ticker=Ticker(None), crop_seed="pixels"
    )
    assert_array_equal(descriptors[store][0], expected.features["half"])


def test_the_option_decides_and_unknown_ones_are_those_of_training(
    cli, models, tissue, tmp_path, tissue_files
):
    fine, err = predicted(cli, models["um"], tissue, tmp_path / "fine.csv", "--mpp", 0.25)
    assert "micrometres" not in err
    same, err = predicted(cli, models["um"], tissue, tmp_path / "same.csv", "--mpp", 0.5)
    assert "micrometres" not in err
    sheet = tmp_path / "unknown.html"
    unknown, err = predicted(cli, models["um"], tissue, tmp_path / "unknown.csv", "--html", sheet)
    assert "(0.5); the option mpp gives them</li>" in sheet.read_text()
    assert (
        "12 of 12 images, such as benign/benign00.png: micrometres per pixel are not known, and are taken for those of "
        "training (0.5); --mpp gives them" in err
    )
    assert_array_equal(unknown, same)
    assert not np.array_equal(fine, same)
    predictor = Predictor(models["um"])
    images = tissue_files
    assert_array_equal(predictor.predict(images, mpp=0.25).probabilities, fine)


def test_a_model_of_several_scales_needs_to_be_told(cli, models, tissue, tmp_path, refused):
    err = refused("predict {} --images {} --out T/p.csv --jobs 1", models["mixed"], tissue)
    assert "benign00.png: its micrometres per pixel are not known, which" in err
    assert "--mpp gives them" in err
    predicted(cli, models["mixed"], tissue, tmp_path / "p.csv", "--mpp", 0.5)
    # of the two images of this table, one is refused and the other turns out to be damaged
    whole = next(tissue.rglob("benign00.png"))
    (tmp_path / "half.png").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "table.csv").write_text(f"path,mpp\n{whole},\n{tmp_path / 'half.png'},0.5\n")
    for command in (
        "explain {} --images {} --out T/out --method map",
        "predict {} --images {} --out T/u.csv --update --jobs 1",
    ):
        code, _, err = cli(command, models["mixed"], tmp_path / "table.csv", "--skip-errors")
        assert code == 1
        assert re.search("none of .*2 images can be used; first: .*; --mpp gives them", err)


def test_a_model_of_pixels_warns(cli, models, tissue, tmp_path):
    far, err = predicted(cli, models["pixels"], tissue, tmp_path / "a.csv", "--mpp", 0.25)
    text = "benign00.png: other micrometres per pixel than those of training (0.5): 0.25; the model"
    assert f"12 of 12 images, such as benign/{text} sees another scale; train with" in err
    _, err = predicted(cli, models["pixels"], tissue, tmp_path / "b.csv", "--mpp", 0.42)
    assert "micrometres" not in err
    unknown, err = predicted(cli, models["pixels"], tissue, tmp_path / "c.csv")
    assert (
        "are not known, so the scale cannot be compared with that of training (0.5); --mpp" in err
    )
    assert "taken for" not in err
    # since nothing is rescaled
    assert_array_equal(unknown, far)


def test_the_table_tells_what_the_option_changes(models, tissue, tmp_path):
    """Though probabilities are kept, the warnings of each image are those of this call."""
    out = tmp_path / "p.csv"
    update = PredictSettings(update=True)
    for mpp, text in ((None, "are not known"), (0.25, "other micrometres"), (0.5, None)):
        result = predict_here(models["pixels"], tissue, out, settings=replace(update, mpp=mpp))
        assert not result.unchanged
        cells = [row.get("warnings") for row in rows_of(out)]
        if text is None:
            assert cells == [None] * 12
        else:
            assert all(text in cell for cell in cells)
            assert "`" not in str(cells)
