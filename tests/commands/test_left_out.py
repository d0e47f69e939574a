"""Images left out by ``--skip-errors``, and lists of one's own, through the commands."""

import os
import shutil

import numpy as np
import pytest
from bchisto.core import banners_of
from conftest import typed
from PIL import Image
from refusals import refusing
from written_tables import read_json

BOOST = typed("--seeds 1 --param min_data_in_leaf=2 --param num_iterations=4 --jobs 1")


def write_list(path, images, *, folds=2):
    rows = "".join(f"{image},{place % folds + 1}\n" for place, image in enumerate(sorted(images)))
    path.write_text(f"image_id,fold\n{rows}")
    return path


@pytest.fixture(scope="module")
def broken(tissue, tmp_path_factory):
    """Twelve good images, one that cannot be decoded and one whose header says that it is too small."""
    images = tmp_path_factory.mktemp("broken") / "images"
    shutil.copytree(tissue, images)
    whole = (tissue / "benign" / "benign00.png").read_bytes()
    (images / "benign" / "truncated.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.full((20, 20, 3), 99, np.uint8)).save(images / "malignant" / "small.png")
    return images


def ids(images):
    return [path.relative_to(images).as_posix() for path in images.rglob("*.png")]


def test_boost_goes_on_without_images_that_failed_and_says_so(
    broken, tmp_path, cli, tiny_options, completed, refused
):
    run = tmp_path / "run"
    code, _, _ = cli("featurize --images {} --out {}", broken, run, *tiny_options, "--skip-errors")
    assert code == 1
    listed = write_list(tmp_path / "mine.csv", ids(broken))
    said = (
        "2 images could not be used and are in no fold: benign/truncated.png, malignant/small.png"
    )
    _, err = completed("boost --out {} --folds {}", run, listed, *BOOST)
    assert said in err
    folder = run / "boost" / "mine-lightgbm"
    counted = said.partition(":")[0]  # what is passed on names no image
    assert counted in banners_of(read_json(folder / "metrics.json")["run"])
    report = (folder / "report.html").read_text()
    assert f"{counted}<" in report
    assert "truncated" not in report
    assert len((folder / "predictions.csv").read_text().splitlines()) == 13
    _, err = completed("boost --out {} --folds 2", run, *BOOST)
    assert said in err
    write_list(tmp_path / "mine.csv", [*ids(broken), "benign/gone.png"])
    err = refused("boost --out {} --folds {}", run, listed, *BOOST)
    assert "1 of its 15 rows name images that are missing, first benign/gone.png" in err


def test_names_that_are_not_utf_8_are_refused_everywhere(
    tissue, tmp_path, cli, tiny_options, refused
):
    images = tmp_path / "images"
    shutil.copytree(tissue, images)
    strange = os.fsdecode(os.fsencode(images) + b"/benign/caf\xe9.png")
    shutil.copy(tissue / "benign" / "benign00.png", strange)
    shown = r"benign/caf\xe9.png: this name is not UTF-8; rename the file or its folder"
    for command in (
        ("data check --table - --images {}", images),
        ("featurize --images {} --out T/run", images, *tiny_options),
        ("finetune --images {} --out T/run --network patch-resnet", images),
        ("stain {} --out T/stained", images),
    ):
        code, out, err = cli(*command)
        assert code == 2, err
        assert out == "", err
        assert shown in err
    for options in ((), ("--json",)):
        code, out, _ = cli("data check --no-timing --images {}", images, *options)
        assert code == 1
        assert "xe9.png" in out
    err = refused("featurize --images {} --out T/run", strange)
    assert r"caf\xe9.png: this name is not UTF-8; rename the file or its folder" in err


def test_a_terminal_without_utf_8_ends_nothing(tissue, tmp_path, start):
    images = tmp_path / "images"
    shutil.copytree(tissue / "benign", images / "Be\u0301nin")
    shutil.copytree(tissue / "malignant", images / "\u2265 2")
    (images / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    process = start("data check --table - --images {}", images, env=environment)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert len(out.splitlines()) == 13
    assert r"caf\xe9.txt: not a picture, left out" in err
    environment |= {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    _, err = start(
        "data check --table - --images {}", images / "\u2265 2", env=environment
    ).communicate(timeout=120)
    assert "this locale does not read names as UTF-8; export PYTHONUTF8=1" in err


def test_python_gets_one_line_too(tmp_path):
    from bchisto.core import OutputError
    from bchisto.core.jobs import write_json, write_rows

    name = os.fsdecode(b"caf\xe9.png")
    with refusing(r"t\.csv: cannot hold a name that is not UTF-8 \(caf\\xe9\.png,1\)", OutputError):
        write_rows(tmp_path / "t.csv", ["a", "b"], [[name, 1]])
    with refusing(r"t\.json: cannot hold a name that is not UTF-8 .*caf\\xe9\.png", OutputError):
        write_json(tmp_path / "t.json", {"images": name})
    assert list(tmp_path.iterdir()) == []
