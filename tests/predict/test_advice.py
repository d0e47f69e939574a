"""Whatever predict says names only options that it has."""

import re
import sys
from pathlib import Path

import bchisto
import pytest
from archives import altered
from bchisto.cli import cli as group
from bchisto.commands.flags import as_flags, invoked
from bchisto.crossval import bundle_stores
from bchisto.jobs import Work
from bchisto.predict import predict
from bchisto.predict.advice import in_our_words
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "house"))
from test_names import NAMED, strings

ROOT = Path(bchisto.__file__).parent

REACHED = (
    "data/images/*.py", "data/layouts/*.py", "data/findings.py", "data/read.py",
    "data/dataset.py", "stains/*.py", "encoders/*.py", "featurize/prepare.py", "featurize/stream.py",
    "featurize/device.py", "featurize/crops.py", "featurize/settings.py", "finetune/predict.py", "finetune/images.py",
    "finetune/patches.py", "finetune/networks/registry.py", "data/selection.py",
    "crossval/bundles.py", "jobs/*.py", "predict/*.py",
)  # fmt: skip
"""What a prediction runs through."""

ELSEWHERE = {
    "`classes` {}: names": "of a list of classes that a user gives; those of a bundle were checked",
    "name every class in `classes`": "the same",
    "`classes` names {}": "the same",
    "`dataset` {}: no such layout": "of a layout that a user names",
    "reads a {}": "the same",
    "recognised as": "a word, and no advice",
    "`encoders` {}: write NAME": "of an encoder that a user names",
    "`hematoxylin` and `eosin`": "of bchisto stain",
    "`method` {}: no such method": "of a method that a user names",
    "`shard`": "of Python alone; the command has no shards",
    "`threads`": "of training",
    "models are more than": "of writing a bundle",
    "models of {} GiB": "the same",
    "input_shape": "of Keras",
    "`crops` {}: give at least 2": "of a check of an encoder",
    "no such picture; `image`": "the same",
    "`engine` {}:": "of settings that `featurize` refuses before there is a bundle",
    "`precision` {}:": "the same",
    "`encoders`: no output": "the same",
    "`context` {}": "of a context that a user names",
}
"""Parts of messages that a prediction never says, and why."""

SETTINGS = ("featurize/settings.py", "finetune/patches.py", "finetune/settings.py")
"""Whose other messages are about settings that a user gives."""


def messages():
    for pattern in REACHED:
        files = sorted(ROOT.glob(pattern))
        assert files, pattern
        for file in files:
            for line, text in strings(file):
                if NAMED.search(text) and not any(part in text for part in ELSEWHERE):
                    place = file.relative_to(ROOT).as_posix()
                    if place == "predict/advice.py":  # the patterns
                        continue
                    if place not in SETTINGS or "{}: {}x{}" in text or "is smaller" in text:
                        yield f"{place}:{line}", text


def test_every_message_names_options_of_predict():
    command = invoked(group, ["predict"])
    seen = list(messages())
    assert len(seen) > 10
    for where, text in seen:
        left = NAMED.findall(as_flags(in_our_words(text.replace("={}", "=x")), command))
        assert not left, f"{where}: {text}"
        assert not re.search(r"(?:views|patches|stain_fallback|context)=", in_our_words(text)), f"{where}: {text}"


def test_images_that_are_too_small(boosted, tmp_path, cli):
    Image.new("RGB", (40, 40), (200, 100, 150)).save(tmp_path / "a.png")
    model = boosted / "boost" / "3-lightgbm" / "model.bchisto"
    code, _, err = cli("predict", model, tmp_path / "a.png", "--out", tmp_path / "p.csv", "--jobs", 1)
    assert code == 2
    assert "a.png: 40x40 at scale 1.0 is smaller than the crop of 64; this model needs larger images" in err


def test_an_image_without_tissue(boosted, tmp_path, cli):
    Image.new("RGB", (96, 96), (255, 255, 255)).save(tmp_path / "white.png")
    source = boosted / "boost" / "3-lightgbm" / "model.bchisto"
    stores = {name: {**header, "stain_fallback": "error"} for name, header in bundle_stores(source).items()}
    model = altered(source, tmp_path / "strict.bchisto", stores=stores)
    code, _, err = cli("predict", model, tmp_path / "white.png", "--out", tmp_path / "p.csv", "--jobs", 1)
    assert code == 1
    assert "white.png" in err
    assert err.strip().endswith("; leave it out")


def test_labels_that_the_model_does_not_know(boosted, tissue, tmp_path, caplog):
    files = sorted(tissue.rglob("*.png"))[:3]
    lines = [f"{path},{label}" for path, label in zip(files, ("Benign", "odd", "odd"), strict=True)]
    (tmp_path / "m.csv").write_text("path,label\n" + "\n".join(lines) + "\n")
    model = boosted / "boost" / "3-lightgbm" / "model.bchisto"
    with caplog.at_level("INFO", logger="bchisto"):
        predict(model, tmp_path / "m.csv", out=tmp_path / "p.csv", work=Work(jobs=1))
    assert "2 of 3 images have labels that are no class of the model and are left out of the table: odd" in caplog.text


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ("`encoders` blob: no such encoder; choose one of a, b", "the encoder blob of this model is not known here"),
        ('x: its mask is not here; copy it, or use `context="tight"`', "x: its mask is not here; copy it"),
        (
            '`stain="staintools-macenko"` needs StainTools: pip',
            "the stain method staintools-macenko of this model needs",
        ),
    ],
)
def test_advice_in_our_words(said, instead):
    assert in_our_words(said).startswith(instead)
    assert "`" not in in_our_words(said)
