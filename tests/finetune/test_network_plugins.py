"""Networks of other packages: found, listed, trained, predicting; and what is wrong with one that is not right."""

import json
import sys

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.core.jobs import Work
from bchisto.finetune import NETWORKS, FinetuneSettings, finetune, get_network, list_networks, network_of
from bchisto.predict import predict
from offers import offer

pytestmark = pytest.mark.slow


def test_it_is_listed_beside_ours():
    assert "speck" in list_networks()
    assert list_networks() == sorted({*NETWORKS, "speck"})
    assert "speck" not in NETWORKS
    assert (get_network("speck").size, network_of("speck").batch_size) == (32, 4)
    said = r"`network` vgg: .*hoose one of alexnet, .*speck"
    for refused in (get_network, network_of):
        with pytest.raises(InputError, match=said):
            refused("vgg")


def test_it_trains_and_predicts(tissue, tmp_path):
    settings = FinetuneSettings("speck", epochs=2, augmentations=())
    (result,) = finetune(tissue, out=tmp_path / "run", settings=settings, folds=["3"], work=Work(jobs=1))
    assert result.folder.name == "3-speck"
    assert result.finished
    assert not any("RANDOM" in banner for banner in result.banners)  # as a network of ours that starts so by its source
    tables = json.loads((result.folder / "metrics.json").read_text())["tables"]
    assert len(tables) == 1
    found = predict(result.folder / "model.bchisto", [tissue], out=tmp_path / "p.csv", work=Work(jobs=1))
    assert found.images == 12


def test_its_weights_come_from_a_file(tmp_path):
    from bchisto.finetune.model import build_model

    model = build_model(FinetuneSettings("speck", seed=3), classes=2, fold=1)
    names = {f"{layer.name}/{v.name}": np.array(v) for layer in model.layers for v in layer.weights}
    np.savez(tmp_path / "w.npz", **names)
    found = build_model(FinetuneSettings("speck", weights=str(tmp_path / "w.npz")), classes=2, fold=2)
    for one, two in zip(model.get_weights(), found.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_one_in_the_place_of_ours(tmp_path, monkeypatch):
    """As with encoders, a package that is installed wins."""
    code = "from bchisto.finetune import NetworkSpec\nspec = NetworkSpec('alexnet', lambda **_: None, 99)\n"
    offer(tmp_path, "networks", "instead", code, alexnet="instead:spec")
    monkeypatch.syspath_prepend(tmp_path)
    assert network_of("alexnet").size == 99
    sys.modules.pop("instead", None)
