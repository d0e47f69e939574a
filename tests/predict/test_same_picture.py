"""The same picture gets the same answer, to the last bit: wherever it lies, whatever it is called, beside whatever."""

import shutil

import pytest
from bchisto.boost import BoostSettings, train
from bchisto.core import InputError
from bchisto.data import ImageRecord, crop_key, decode_image, pixels_sha256
from bchisto.data.images.content import CROP_SEEDS
from bchisto.encoders import EncoderChoice
from bchisto.featurize import FeaturizeSettings, View, featurize
from bchisto.finetune import FinetuneSettings, finetune
from packs import ONE_JOB, predict_here
from PIL import Image
from written_tables import rows_of, write_lines

BUNDLES = ("exact", "dense", pytest.param("patches", marks=pytest.mark.slow))


def bundle_of(kind, run, tissue):
    """Train a bundle of whole crops, of dense mode, or of a network on random patches."""
    if kind == "patches":
        settings = FinetuneSettings("speck", size=48, epochs=1, patches="random:40:3")
        (result,) = finetune(tissue, out=run, folds=["2"], settings=settings, work=ONE_JOB)
    else:
        view = View(1.0, 64) if kind == "exact" else View(1.0, 48)
        described = FeaturizeSettings(
            encoders=(EncoderChoice("convs" if kind == "dense" else "tiny"),),
            weights=("random",),
            views=(view,),
            augmentations=2,
            crops=3,
            mode=kind,
        )
        featurize(tissue, out=run, settings=described, work=ONE_JOB)
        settings = BoostSettings("svm")
        if kind == "dense":
            small = {"min_data_in_leaf": 2, "num_iterations": 4}
            settings = BoostSettings(seeds=1, params=small)
        (result,) = train(out=run, folds=["2"], settings=settings, work=ONE_JOB)
    return result.model


@pytest.fixture(scope="module")
def places(tmp_path_factory, tissue_files):
    """One picture among others: in two folders, under two names, as PNG, two TIFFs and alone."""
    root = tmp_path_factory.mktemp("places")
    first, *others = tissue_files[2:7]
    for name in ("Tissu sain", "Benin", "alone", "before"):
        (root / name).mkdir()
    shutil.copy(first, root / "Tissu sain" / "a.png")
    shutil.copy(first, root / "Benin" / "a.png")
    shutil.copy(first, root / "alone" / first.name)
    picture = Image.open(first)
    picture.save(root / "Benin" / "z.tif")
    picture.save(root / "before" / "k.tiff", compression="tiff_lzw")
    for number, path in enumerate(others):
        shutil.copy(path, root / "before" / f"{'ax'[number % 2]}{number}.png")
    return root


def answers(path):
    rows = rows_of(path)
    return {row["image_id"]: (row["p_benign"], row["p_malignant"]) for row in rows}


@pytest.mark.parametrize("kind", BUNDLES)
def test_wherever_it_lies(places, tissue, tmp_path, kind):
    model = bundle_of(kind, tmp_path / "run", tissue)
    predict_here(model, places, tmp_path / "all.csv")
    predict_here(model, [places / "alone"], tmp_path / "alone.csv")
    predict_here(model, [places / "before", places / "Benin" / "z.tif"], tmp_path / "some.csv")
    every, some = answers(tmp_path / "all.csv"), answers(tmp_path / "some.csv")
    (alone,) = answers(tmp_path / "alone.csv").values()
    same = ["Tissu sain/a.png", "Benin/a.png", "Benin/z.tif", "before/k.tiff", "alone/benign02.png"]
    assert {name: every[name] for name in same} == dict.fromkeys(same, alone)
    assert some["k.tiff"] == alone
    assert some["z.tif"] == alone
    names = [name for name in some if name != "z.tif"]
    assert {name: every[f"before/{name}"] for name in names} == {name: some[name] for name in names}
    assert len(set(every.values())) > 1


def test_the_key_is_that_of_shape_and_pixels(one_file):
    import hashlib

    image = decode_image(one_file)
    expected = hashlib.sha256(b"96x96x3\n" + image.tobytes()).hexdigest()
    assert pixels_sha256(image) == expected
    assert pixels_sha256(image[:, ::-1]) == pixels_sha256(image[:, ::-1].copy()) != expected
    assert pixels_sha256(image.reshape(48, 192, 3)) != expected
    record = ImageRecord("x", one_file, None)
    assert [crop_key(record, image, crop_seed=rule) for rule in CROP_SEEDS] == ["x", expected]
    with pytest.raises(InputError, match="crop_seed name: choose one of id, pixels"):
        crop_key(record, image, crop_seed="name")


def test_files_that_are_left_out_as_copies_are_in_the_result(boosted_model, tmp_path, tissue_files):
    """Of rows of one id, of which one is used."""
    files = tissue_files[:2]
    lines = ["path,image_id"]
    for name, file, image in (("a.png", 0, "x"), ("b.png", 0, "x"), ("c.png", 1, "y")):
        shutil.copy(files[file], tmp_path / name)
        lines.append(f"{name},{image}")
    write_lines(tmp_path / "images.csv", *lines)
    result = predict_here(boosted_model, tmp_path / "images.csv", tmp_path / "p.csv")
    copy = tmp_path / "b.png"
    assert result.duplicates == {str(copy): "x"}
    assert result.images == 2
    assert result.summary()[1] == "left out as copies: 1 file"
    result = predict_here(boosted_model, files, tmp_path / "q.csv")
    assert result.duplicates == {}
    assert "copies" not in str(result.summary())
