"""Images whose normalised stains cannot be trusted: counted, named and shown wherever stains are normalised."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from bchisto.data import decode_image
from bchisto.featurize import open_store
from bchisto.stains import make_normalizer
from packs import featurize_here
from PIL import Image

STORE = "features/tiny-1.0-64.h5"
DOUBT = "1 of 14 images: macenko turned tissue white, or rests on few pixels or implausible stains: benign/pale.png"
SKIPPED = "1 of 14 images: too little tissue, used without stain normalisation: malignant/blank.png"


@pytest.fixture(scope="module")
def hard(tissue, pale_image, tmp_path_factory):
    """The twelve images, a pale one and a blank one. Read only."""
    root = shutil.copytree(tissue, tmp_path_factory.mktemp("hard") / "images")
    Image.fromarray(pale_image).save(root / "benign" / "pale.png")
    Image.new("RGB", (96, 96), (255, 255, 255)).save(root / "malignant" / "blank.png")
    return root


@pytest.fixture(scope="module")
def trained(hard, tiny_settings, tmp_path_factory):
    """A run folder of them, described and boosted by the public functions. Read only."""
    from packs import train_small

    run = tmp_path_factory.mktemp("trained") / "run"
    featurize_here(hard, run, tiny_settings)
    train_small(run, "2", params={"min_data_in_leaf": 2, "num_iterations": 2})
    return run


@pytest.mark.parametrize("mode", ["exact", "dense"])
def test_featurize_counts_and_names_them_in_one_line(completed, hard, tiny_options, tmp_path, mode):
    options = [
        {"tiny": "convs"}.get(option, option) if mode == "dense" else option
        for option in tiny_options
    ]
    _, err = completed("featurize --images {} --out T/run", hard, *options, "--mode", mode)
    assert DOUBT in err
    assert SKIPPED in err
    assert err.count("pale.png") == 1
    assert "malignant/blank.png: white, black or of another single colour" in err
    assert (
        "--stain macenko-robust takes all of the stained tissue, and --stain none is for other stains"
        in err
    )
    with open_store(next((tmp_path / "run" / "features").glob("*.h5"))) as store:
        outcome = store.stain_outcome()
        assert outcome.images == 14
        assert outcome.doubtful == ("benign/pale.png",)
        pale = store.image_ids.index("benign/pale.png")
        whitened = store.images("whitened")
        before = decode_image(hard / "benign" / "pale.png")
        stained = -np.log((before[..., 1] + 1.0) / 240) >= 0.15
        after = make_normalizer("macenko").normalize_with_estimate(before)[0][stained]
        assert whitened[pale] == pytest.approx((after >= 235).all(axis=1).mean())
        blank = store.image_ids.index("malignant/blank.png")
        assert np.isnan(whitened[blank])
        assert (np.delete(store.images("basis"), blank) > 0.05).all()
        assert store.images("normalisation_skipped").tolist() == [
            place == blank for place in range(14)
        ]
        assert np.isnan(store.images("stains")[blank]).all()
        assert store.images("tissue")[blank] == 0
        assert np.isfinite(store.features([blank])).all()


def test_the_robust_method_treats_them_and_is_a_setting_of_the_store(
    refused, completed, hard, tiny_options, tmp_path
):
    options = ("--images", hard, "--out", tmp_path / "run", *tiny_options)
    _, err = completed("featurize", *options, "--stain", "macenko-robust")
    assert "turned tissue white" not in err
    with open_store(tmp_path / "run" / STORE) as store:
        assert store.header["stain"] == "macenko-robust"
        assert store.stain_outcome().doubtful == ()
    err = refused("featurize", *options)
    assert "stain" in err


def test_a_device_checks_as_the_cpu_does(hard, tiny_settings, monkeypatch):
    from bchisto.core.jobs import Ticker
    from bchisto.data import read_dataset
    from bchisto.encoders import Encoder
    from bchisto.featurize import View, describe_images

    targets = {"tiny": (Encoder("convs", weights="random"), View(1.0, 64))}
    records = [record for record in read_dataset(hard).records if "pale" in record.image_id]
    monkeypatch.setattr("bchisto.featurize.stream.visible_gpus", lambda: ("0",))
    (found,) = describe_images(
        records, settings=tiny_settings, targets=targets, ticker=Ticker(None)
    )
    assert found.stain.doubtful
    assert found.stain.whitened > 0.2


def test_predict_names_them(trained, hard, completed, tmp_path):
    model = trained / "boost" / "2-lightgbm" / "model.bchisto"
    for image, said in (
        ("benign/pale.png", "turned tissue white"),
        ("malignant/blank.png", "too little tissue"),
    ):
        out = tmp_path / f"{Path(image).stem}.csv"
        _, err = completed("predict {} --images {} --out {} --jobs 1", model, hard / image, out)
        assert said in err
        assert "macenko-robust" not in err


def test_data_check_counts_and_shows_them(hard, cli, tmp_path):
    options = ("--images", hard, "--view", "1.0:64", "--no-copies")
    code, out, _ = cli("data check --no-timing", *options, "--html", tmp_path / "check.html")
    assert (code, "malignant/blank.png: white, black or of another" in " ".join(out.split())) == (
        1,
        True,
    )
    assert DOUBT in " ".join(out.split())
    assert SKIPPED in " ".join(out.split())
    page = (tmp_path / "check.html").read_text()
    assert "Stains in doubt" in page
    assert re.search(r"Image \d+, benign: \d+ % of the stained tissue turned white", page)
    code, out, _ = cli("data check --no-timing", *options, "--json")
    stains = json.loads(out)["stains"]
    assert (stains["checked"], list(stains["doubtful"])) == (14, ["benign/pale.png"])
    code, out, _ = cli("data check --no-timing", *options, "--stain", "none", "--json")
    assert json.loads(out)["stains"] is None


def test_finetune_names_them(hard, tmp_path, caplog):
    from bchisto.data import read_dataset
    from bchisto.finetune import FinetuneSettings
    from bchisto.finetune.images import prepare_images

    records = read_dataset(hard).records
    for stain, doubtful in (("macenko", True), ("macenko-robust", False)):
        caplog.clear()
        settings = FinetuneSettings(network="mobilenetv2", stain=stain)
        (tmp_path / stain).mkdir()
        prepare_images(records, settings, digest="x", folder=tmp_path / stain)
        assert SKIPPED in caplog.text
        assert (DOUBT in caplog.text) == doubtful
