"""Names that are mistyped, and what a refused command leaves."""

import numpy as np
import pytest
from conftest import typed
from PIL import Image


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for label in ("benigne", "tumeur é"):
        (tmp_path / "mes images" / label).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "mes images" / label / f"{number}.png")
    return tmp_path / "mes images"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("featurise", "featurize"),
        ("boost --out RUN --head ligtgbm", "lightgbm"),
        (
            "featurize --images IMAGES --out RUN --view 1:32 --encoder resnet-5o",
            "resnet50",
        ),
        ("featurize --images IMAGES --out RUN --dataset foldr", "folder"),
        ("finetune --images IMAGES --out RUN --network ResNet-50", "resnet50"),
        ("featurize --images IMAGES --out RUN --stain macenco", "macenko"),
        ("reproduce rakhlin --images IMAGES --out RUN", "rakhlin2018"),
    ],
)
def test_what_may_be_meant_is_named_and_nothing_is_left(images, tmp_path, refused, words, meant):
    places = {"IMAGES": images, "RUN": tmp_path / "run"}
    err = refused(*(places.get(word, word) for word in words.split()))
    assert f"id you mean {meant}?" in err
    if "--encoder" not in words:  # the headers of images were read before, and that is kept
        assert not (tmp_path / "run").exists()


def test_a_refused_command_leaves_no_folder_and_keeps_one_that_was_there(images, tmp_path, refused):
    small = typed("--encoder resnet50 --view 1:400 --weights random")
    err = refused("featurize --images {} --out {}", images, images / "run", *small)
    assert "smaller than the crop" in err
    assert sorted(path.name for path in images.iterdir()) == ["benigne", "tumeur é"]
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "notes.txt").write_text("mine")
    refused("featurize --images {} --out T/there", images, *small)
    assert (tmp_path / "there" / "notes.txt").read_text() == "mine"
    assert len(list((tmp_path / "there" / "records").iterdir())) == 1


def test_a_run_folder_among_the_images_is_no_class(images, completed):
    run = images / "run"
    (run / "records").mkdir(parents=True)
    (run / "run.json").write_text("{}")
    Image.new("RGB", (64, 64)).save(run / "sheet.png")
    out, err = completed("data check --table - --images {}", images)
    assert "sheet.png" not in out
    assert "6 images: benigne 3, tumeur é 3" in err
    assert "run: a run folder of bchisto, left out" in err


def test_all_weights_that_are_missing_are_named_at_once(images, tmp_path, refused):
    err = refused(
        "featurize --images {} --out T/run --view 1:32 --encoder resnet50 --weights {} "
        "--encoder vgg16 --weights {}",
        images,
        f"resnet50={tmp_path / 'a.h5'}",
        f"vgg16={tmp_path / 'b.h5'}",
    )
    line = next(line for line in err.splitlines() if line.startswith("error: "))
    assert "a.h5: no such weights file" in line
    assert "b.h5: no such weights file" in line


def test_paths_in_the_next_command_are_quoted(tmp_path, completed):
    _, err = completed(
        "data make --out {} --images-per-class 1 --size 64x64 --jobs 1", tmp_path / "mon tissu"
    )
    assert (
        f"next: bchisto trial --images '{tmp_path / 'mon tissu' / 'ICIAR2018_BACH_Challenge'}'"
        in err
    )


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("bchisto fea", "featurize"),
        ("bchisto boost --hea", "--head"),
        ("bchisto boost --head log", "logistic"),
    ],
)
def test_a_shell_completes_commands_options_and_values(cli, monkeypatch, words, offered):
    monkeypatch.setenv("_BCHISTO_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert f"plain,{offered}\n" in cli()[1]


@pytest.mark.parametrize("command", ["featurize --encoder resnet50", "finetune --network alexnet"])
def test_a_run_is_not_mixed_with_its_images(images, refused, command):
    err = refused(f"{command} --images {{}} --out {{}}", images, images)
    assert (
        f"--out {images}: the images are there; name another folder, which may be inside this one"
        in err
    )
    assert sorted(path.name for path in images.iterdir()) == ["benigne", "tumeur é"]
    before = sorted(images.rglob("*"))
    err = refused(f"{command} --images {{}} --out {{}}", images, images / "benigne")
    assert f"--out {images / 'benigne'}: the images are there" in err
    assert sorted(images.rglob("*")) == before
