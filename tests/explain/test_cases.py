"""Cases with maps in reports: which they are, by which models, that the page names none, and what is refused."""

import csv
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from bchisto.boost import BoostSettings, train
from bchisto.core import InputError
from bchisto.data import ImageRecord
from bchisto.evaluate import read_predictions
from bchisto.explain.boosted import map_of_places
from bchisto.explain.cases import _as_it_was, _hashes, _of_fold, case_samples
from bchisto.explain.explanation import shown_picture
from bchisto.jobs import Work, write_rows
from bchisto.predict import ready_model
from bchisto.recipes import reproduce
from onnx_files import write_onnx


def rows(path):
    with path.open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def by_hand(predictions, count):
    """The surest wrong and then right images of each class, by sorting."""
    chosen = []
    for hit in (False, True):
        for name in ("benign", "malignant"):
            found = []
            for row in rows(predictions):
                shares = {key[2:]: float(value) for key, value in row.items() if key.startswith("p_")}
                said = max(shares, key=shares.get)
                if row["label"] == name and (said == name) == hit:
                    found.append((shares[said], row["image_id"]))
            chosen += [image for _, image in sorted(found, reverse=True)[:count]]
    return chosen


def test_boost_shows_the_surest_cases_of_each_class(boosted, run_copy, cli):
    run = run_copy(boosted)
    folder = run / "boost" / "3-lightgbm"
    code, said, err = cli("boost", "--out", run, "--folds", 3, "--seeds", 2, "--param", "min_data_in_leaf=2", "--param",
                          "num_iterations=8", "--jobs", 1, "--explain", 2)  # fmt: skip
    assert code == 0, err
    assert said.startswith("3-lightgbm: ")
    shown = rows(folder / "pictures.csv")
    assert [row["image_id"] for row in shown] == by_hand(folder / "predictions.csv", 2)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("Map: probability of malignant, by 2 models of fold") == 2 * len(shown)  # the caption and the alt
    assert page.count("Limitations: Each position shows what the model would predict") == 1
    assert page.count(": the prediction without any feature; mean of the map ") == len(
        shown
    )  # the alt; the picture has it
    whole = {row["image_id"]: float(row["p_malignant"]) for row in rows(folder / "predictions.csv")}
    assert all(f", of the whole image {whole[row['image_id']]:.3f}" in page for row in shown)
    assert not any(Path(row["image_id"]).stem in page for row in rows(folder / "predictions.csv"))
    fold = {row["image_id"]: row["fold"] for row in rows(folder / "predictions.csv")}
    for row in shown:
        said = f"Image {row['picture']}: true {row['label']}, predicted {row['predicted']}"
        line = page.partition(f'alt="{said}')[2].partition('"')[0]
        assert f"by 2 models of fold {fold[row['image_id']]}, which did not train on it" in line
    # evaluating shows the same, and without the option a resumed command shows no map
    code, _, err = cli("evaluate", folder / "predictions.csv", "--out", run / "ev", "--explain", 2)
    assert code == 0, err
    assert rows(run / "ev" / "pictures.csv") == shown
    assert (run / "ev" / "report.html").read_text(encoding="utf-8").count("data:image/jpeg") == len(shown)


def test_networks_too(tissue, tmp_path, cli):
    code, _, err = cli("finetune", "--images", tissue, "--out", tmp_path, "--network", "speck", "--epochs", 1,
                       "--batch-size", 4, "--folds", 2, "--jobs", 1, "--explain", 1)  # fmt: skip
    assert code == 0, err
    folder = tmp_path / "finetune" / "2-speck"
    shown = rows(folder / "pictures.csv")
    assert [row["image_id"] for row in shown] == by_hand(folder / "predictions.csv", 1)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count(", by 1 model of fold") == 2 * len(shown)
    assert all(f"Map: Grad-CAM of {row['predicted']}, by 1 model" in page for row in shown)


@pytest.mark.parametrize("head", ["lightgbm", "svm"])
def test_the_maps_of_the_folds_average_to_that_of_all_models(head, described, run_copy, tissue):
    """Each fold holds as many models, so its own map and those of the others make up the bundle's."""
    run = run_copy(described)
    params = {"min_data_in_leaf": 2, "num_iterations": 8}
    train(out=run, folds=["3"], settings=BoostSettings(head, seeds=2, params=params), work=Work(jobs=1))
    _, whole = ready_model(run / "boost" / f"3-{head}" / "model.bchisto")
    record = ImageRecord("i", sorted(tissue.rglob("*.png"))[0], None)
    picture = shown_picture(record)
    folds = sorted({one.fold for models in whole.bundle.models.values() for one in models})
    maps = []
    for fold in folds:
        explainer, count = _of_fold(whole, fold, "map")
        assert count * len(folds) == sum(map(len, whole.bundle.models.values()))
        maps.append(explainer(record, picture, 1).values)
    np.testing.assert_allclose(np.mean(maps, axis=0), map_of_places(whole, record, picture, 1).values, rtol=1e-5)
    assert any(np.abs(maps[0] - one).max() > 1e-3 for one in maps[1:])


def test_images_that_have_gone_or_changed(boosted, tissue, run_copy, tmp_path, caplog):
    """The run recorded where they lay; a file with other content since is another image."""
    run, images = run_copy(boosted), tmp_path / "moved"
    shutil.copytree(tissue, images)
    for name in ("run.json", "features/images.csv"):
        path = run / name
        path.write_text(path.read_text(encoding="utf-8").replace(str(tissue), str(images)), encoding="utf-8")
    predictions = run / "boost" / "3-lightgbm" / "predictions.csv"
    (table,) = read_predictions(predictions)
    right, wrong = case_samples(predictions, table, explain=1)
    first = (*right, *wrong)[0].image_id
    shutil.copy(images / (*right, *wrong)[1].image_id, images / first)
    kept = case_samples(predictions, table, explain=1)
    assert {one.image_id for side in kept for one in side if not one.picture} == {first}  # which the report counts
    assert "1 of " in caplog.text
    shutil.rmtree(images)
    with pytest.raises(InputError, match="none of the .* images of its cases is unchanged and in its place"):
        case_samples(predictions, table, explain=1)


@pytest.mark.parametrize("name", ["=näme.png", "+a.png", "-a.png", "@a.png"])
def test_changed_images_of_names_that_are_written_with_an_apostrophe(tmp_path, monkeypatch, name):
    """What a spreadsheet would take for a formula stands in the table with an apostrophe before it."""
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"new")
    write_rows(Path("images.csv"), ["path", "sha256"], [(name, hashlib.sha256(b"old").hexdigest())])
    assert f"'{name}" in Path("images.csv").read_text(encoding="utf-8")
    record = ImageRecord("i", Path(name), None)
    assert not _as_it_was(record, _hashes(Path("images.csv")))
    Path(name).write_bytes(b"old")
    assert _as_it_was(record, _hashes(Path("images.csv")))


def test_what_is_refused(boosted, tmp_path, cli):
    table = tmp_path / "odd näme.csv"
    table.write_text("image_id,label,p_a,p_b\nx,a,0.9,0.1\ny,b,0.2,0.8\n", encoding="utf-8")
    out = tmp_path / "out"
    for words, said in (
        (("evaluate", table, "--out", out, "--explain", 1), "odd näme.csv: no model.bchisto next to it"),
        (("evaluate", boosted, "--out", out, "--explain", 11), "11 is not in the range 1<=x<=10"),
        (("boost", "--out", tmp_path / "none", "--explain", 0), "0 is not in the range 1<=x<=10"),
    ):
        code, _, err = cli(*words)
        assert code == 2, err
        assert said in err
    with pytest.raises(InputError, match="`explain` 11: give 1 to 10"):
        reproduce("breakhis-resnet", tmp_path, out=out, explain=11)
    whole = ready_model(boosted / "boost" / "3-lightgbm" / "model.bchisto")[1]
    with pytest.raises(InputError, match="the model file has no model of fold 7"):
        _of_fold(whole, 7, "map")


def test_encoders_that_give_vectors_have_the_map(tissue, tmp_path, cli):
    """Of an encoder without feature maps every window is a crop of its own, in the report and by the command."""
    pytest.importorskip("onnx", reason="needs onnx: pip install 'bchisto[onnx]'")
    pytest.importorskip("onnxruntime", reason="needs onnx: pip install 'bchisto[onnx]'")
    encoder = write_onnx(tmp_path, side=16)
    for words in (
        ("featurize", "--images", tissue, "--out", tmp_path, "--encoder", encoder, "--view", "1.0:64",
         "--augmentations", 1, "--crops", 2, "--jobs", 1),
        ("boost", "--out", tmp_path, "--folds", 2, "--seeds", 1, "--param", "min_data_in_leaf=2", "--param",
         "num_iterations=4", "--jobs", 1, "--explain", 1),
        ("explain", tmp_path, sorted(tissue.rglob("*.png"))[0], "--method", "map", "--out", tmp_path / "why"),
    ):  # fmt: skip
        code, _, err = cli(*words)
        assert code == 0, err
    page = next(tmp_path.glob("boost/*/report.html")).read_text(encoding="utf-8")
    assert "Map: probability of malignant, by 1 model of fold" in page
    assert len(list((tmp_path / "why" / "map" / "arrays").glob("*.npz"))) == 1
