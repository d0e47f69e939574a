"""Fewer images than a batch: the defaults fit, what was typed is answered, and nothing is left in the way."""

import json

import pytest
from bchisto.finetune import CnnBundle, FinetuneSettings
from bchisto.finetune.model import resolved

pytestmark = pytest.mark.slow

COMMAND = ("--network", "convs", "--weights", "random", "--size", 32, "--epochs", 1, "--folds", 2, "--jobs", 1)


def test_defaults_fit_twelve_images(tissue, tmp_path, cli):
    """Six train in each of two folds, one or two of which validate; the network's own batch is larger."""
    run = tmp_path / "run"
    typed = ("finetune", "--images", tissue, "--out", run, *COMMAND)
    assert resolved(FinetuneSettings("convs"))["batch_size"] > 6
    code, _, err = cli(*typed, "--batch-size", 64)
    assert code == 2
    assert "fold 1: --batch-size 64: more than the 4 samples that train; lower it" in err
    folder = run / "finetune" / "2-convs"
    assert not (folder / "settings.json").exists()
    code, _, err = cli(*typed)
    assert code == 0, err
    assert json.loads((folder / "settings.json").read_text())["settings"]["batch_size"] == 4
    assert CnnBundle.load(folder / "model.bchisto").settings.batch_size == 4
    code, _, err = cli(*typed, "--batch-size", 3)
    assert code == 2
    assert "batch size 4 -> 3" in err
