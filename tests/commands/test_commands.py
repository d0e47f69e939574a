import json
import re
import shutil

import numpy as np
import pytest
from bchisto import __version__
from conftest import typed
from packs import model_file
from PIL import Image
from written_tables import read_json


def test_what_is_listed(cli, completed):
    code, out, _ = cli("-h")
    titles = [line for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert code == 0
    assert titles == ["Options:", "Start here:", "Data:", "Train:", "Use:", "Look:"]
    assert cli("--version")[1].strip() == f"bchisto, version {__version__}"
    out, _ = completed("encoder")
    assert {"resnet50", "inceptionv3", "vgg16", "tiny"} <= set(out.split())
    code, _, err = cli("data")
    assert code == 2
    assert err.startswith("Usage: bchisto data")


def test_the_main_road(cli, completed, tissue, tmp_path, tiny_options):
    run = tmp_path / "run"
    code, out, err = cli("featurize --images {} --out {}", tissue, run, *tiny_options)
    assert (code, out) == (0, "12 images with features in 1 file\n")
    assert f"wrote {run}/features/tiny-1.0-64.h5" in err
    assert f"next: bchisto boost --out {run}" in err
    boost = typed(
        "--folds 3 --seeds 2 --param min_data_in_leaf=2 --param num_iterations=8 --jobs 1"
    )
    out, _ = completed("boost -v --out {}", run, *boost)
    assert re.search(r"^3-lightgbm: \d+ of 12 images right: ", out, flags=re.MULTILINE)
    assert "  RANDOM WEIGHTS" in out
    assert "Protocol: 3 stratified image-level folds (seed 0); " in out
    model = run / "boost" / "3-lightgbm" / "model.bchisto"
    out, _ = completed("predict {} --images {} --out T/p.csv --jobs 1", model, tissue)
    assert "12 images predicted: benign" in out
    out, _ = completed("evaluate {} T/p.csv --out T/e --bootstrap 100 --threshold 0.4", run)
    assert re.search("3-lightgbm at 0.4  .*\n  p at 0.4  ", out)
    assert {"3-lightgbm", "p"} == set(read_json(tmp_path / "e" / "metrics.json")["tables"])


def test_shards_assemble_by_the_same_command(
    cli, tissue, tmp_path, tiny_options, completed, refused
):
    run = tmp_path / "run"
    completed("featurize --images {} --out {}", tissue, run, *tiny_options, "--shard", "1/1")
    err = refused("boost --out {} --folds 3", run)
    assert "feature extraction is not finished" in err
    completed("featurize --images {} --out {}", tissue, run, *tiny_options)
    boost = typed("boost --out {} --folds 3 --seeds 1 --param num_iterations=2 --jobs 1", run)
    code, out, _ = cli(*boost, "--shard", "1/4")
    assert (code, out) == (0, "3-lightgbm: shard 1/4 has 1 of 3 models; 1 of 3 done\n")
    code, out, _ = cli(*boost, "--shard", "4/4")
    empty = "is empty, since there is no more work than 3 models; 1 of 3 done"
    assert (code, out) == (0, f"3-lightgbm: shard 4/4 {empty}\n")
    assert "\nboost: ok, shard 4/4, " in cli("status {} --history", run)[1]
    for model in (run, run / "boost", run / "boost" / "3-lightgbm"):
        err = refused("predict {} --images {} --out T/p.csv", model, tissue)
        assert "bchisto boost and finetune write one, after shards in one more call" in err
    completed(*boost)
    assert "\nboost: ok, 20" in cli("status {} --history", run)[1]
    completed("predict {} --images {} --out T/p.csv --jobs 1", model_file(run), tissue)


def test_an_option_in_a_file_that_the_command_does_not_have(tissue, tmp_path, refused):
    (tmp_path / "bad.yaml").write_text("crop: 3\n")
    err = refused("featurize --config T/bad.yaml --images {} --out T/x", tissue)
    assert "no option crop in `bchisto featurize`; it takes" in err


# what bad input gets: one line, an exit code, nothing lost


def featurize(cli, images, tmp_path, *options, tiny):
    code, _, err = cli("featurize --images {} --out T/run", images, *tiny, *options)
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return code, lines[0]


@pytest.fixture
def images(tissue, tmp_path):
    return shutil.copytree(tissue, tmp_path / "images")


def test_images_that_cannot_be_used(cli, images, tmp_path, tiny_options):
    (images / "benign" / "a.tif").write_text("text")
    code, line = featurize(cli, images, tmp_path, tiny=tiny_options)
    assert code == 2
    assert "a.tif: not a TIFF, PNG or JPEG image" in line
    code, out, err = cli(
        "featurize --images {} --out T/run", images, *tiny_options, "--skip-errors"
    )
    assert (code, out) == (1, "12 images with features in 1 file\n")
    assert f"1 image was left out, listed in {tmp_path}/run/failures.csv" in err
    Image.new("RGB", (40, 40)).save(images / "benign" / "a.tif")
    code, line = featurize(cli, images, tmp_path / "again", tiny=tiny_options)
    assert code == 2
    assert "a.tif: 40x40 at scale 1.0 is smaller than the crop of 64; --view 1.0:40 fits" in line
    for path in images.rglob("*.png"):
        Image.new("RGB", (40, 40)).save(path)
    code, line = featurize(cli, images, tmp_path / "none", tiny=tiny_options)
    assert code == 2
    assert "--view 1.0:40 fits, or --pad reflect (nor can the 12 others be used)" in line
    Image.new("RGB", (50, 12)).save(images / "benign" / "a.tif")
    code, line = featurize(cli, images, tmp_path / "none", tiny=tiny_options)
    assert code == 2
    # no view of fewer than 32 pixels is accepted
    assert "a.tif: 50x12 at scale 1.0 is smaller than the crop of 64; --pad reflect (nor" in line


def test_a_bug_is_one_line_too(cli, images, tmp_path, tiny_options, monkeypatch):
    def broken(*arguments, **options):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("bchisto.featurize.pipeline.compute", broken)
    code, line = featurize(cli, images, tmp_path, tiny=tiny_options)
    assert code == 1
    assert line.startswith("error: unexpected ZeroDivisionError: by zero; this is a bug")


def test_data_make_list_check_folds(cli, completed, tmp_path, refused):
    code, _, err = cli("data make --out {} --images-per-class 3 --size 128x96 --jobs 1", tmp_path)
    root = tmp_path / "ICIAR2018_BACH_Challenge"
    assert code == 0
    assert f"wrote {root}" in err
    out, err = completed("data check --table - --images {}", root)
    assert out.splitlines()[0] == "image_id,path,label,group,magnification,mpp,source"
    assert len(out.splitlines()) == 13
    assert "12 images: Normal 3, Benign 3, InSitu 3, Invasive 3" in err
    code, out, _ = cli("data check --no-timing --images {} --decode", root)
    assert code == 1  # the size is not that of BACH
    assert "bach: 12 images, 12 findings (synthetic)" in out
    code, out, _ = cli("data check --no-timing --images {} --json", root)
    content = json.loads(out)
    assert content["dataset"] == "bach"
    assert content["images"] == 12
    assert content["synthetic"]
    assert content["findings"][0]["message"] == "128x96, published images are 2048x1536"
    completed("data check --images {} --folds 3 --write-folds T/f.csv", root)
    assert len((tmp_path / "f.csv").read_text().splitlines()) == 13
    err = refused("data make --out T/x --size big")
    assert "write WIDTHxHEIGHT" in err


def test_stain_writes_images_and_a_sheet(cli, completed, images, tmp_path, refused):
    (tmp_path / "more.yaml").write_text("hematoxylin: 1.2")
    (tmp_path / "none.yaml").write_text("eosin: 0")
    completed("stain {} --out T/out --config T/more.yaml", images)
    assert len(list((tmp_path / "out").glob("*.png"))) == 13
    sheet = np.array(Image.open(tmp_path / "out" / "before-after.png"))
    assert sheet.shape == (12 * 324, 648, 3)
    assert len((tmp_path / "out" / "stains.csv").read_text().splitlines()) == 13
    Image.new("RGB", (96, 96), "white").save(images / "blank.png")
    code, _, err = cli("stain {} --out T/out2", images)
    assert code == 1
    assert "blank.png: too little tissue" in err
    code, _, err = cli("stain {} --out T/out3 --skip-errors", images)
    assert code == 1
    assert "1 image was left out" in err
    (images / "blank.png").unlink()
    shutil.copytree(images / "benign", tmp_path / "twin")
    for arguments, message in (
        (["none"], "no such image or folder"),
        ([images, "--stain", "magic"], "no such method"),
        ([images, "--config", tmp_path / "none.yaml"], "give positive factors"),
        ([images / "benign", tmp_path / "twin"], "both would be written as"),
    ):
        err = refused("stain", *arguments, "--out", tmp_path / "out4")
        assert message in err
