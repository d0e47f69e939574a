"""Networks of other packages: found, listed, trained, predicting; and what is wrong with one that is not right."""

import json
import sys

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.core.jobs import Work
from bchisto.finetune import (
    NETWORKS,
    FinetuneSettings,
    build_network,
    finetune,
    get_network,
    list_networks,
    network_of,
)
from bchisto.predict import predict

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


def offer(folder, package, *lines):
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(["[bchisto.networks]", *lines]) + "\n")


def test_those_that_are_not_right_are_named_when_asked_for(tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text("number = 3\ndef none():\n    return 4\n")
    offer(
        tmp_path,
        "theirs",
        "absent = theirs_gone:spec",
        "lost = theirs:spec",
        "odd = theirs:none",
        "Speck = theirs:none",
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert {"absent", "lost", "odd", "speck"} <= set(list_networks())
    for name, message in [
        (
            "absent",
            r"network absent: its entry point cannot be loaded .*theirs_gone.*report this to its package, theirs",
        ),
        ("lost", r"network lost: its entry point cannot be loaded .*spec"),
        ("odd", r"network odd: its entry point gives no NetworkSpec; report this to its package, theirs"),
        ("speck", r"network speck: several packages offer it \(theirs and bchisto-speck\)"),
    ]:
        for use in (network_of, lambda name: build_network(name, classes=2)):
            with pytest.raises(InputError, match=message):
                use(name)
    sys.modules.pop("theirs", None)
    assert get_network("alexnet") is NETWORKS["alexnet"]  # the others go on


def test_one_in_the_place_of_ours(tmp_path, monkeypatch):
    """As with encoders, a package that is installed wins."""
    (tmp_path / "instead.py").write_text(
        "from bchisto.finetune import NetworkSpec\nspec = NetworkSpec('alexnet', lambda **_: None, 99)\n"
    )
    offer(tmp_path, "instead", "alexnet = instead:spec")
    monkeypatch.syspath_prepend(tmp_path)
    assert network_of("alexnet").size == 99
    sys.modules.pop("instead", None)


def test_one_under_another_name(tmp_path, monkeypatch):
    (tmp_path / "crossed.py").write_text(
        "from bchisto.finetune import NetworkSpec\nspec = NetworkSpec('mote', lambda **_: None, 99)\n"
    )
    offer(tmp_path, "crossed", "grain = crossed:spec")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="grain: its entry point gives one called mote; report this to its package, "):
        network_of("grain")
    sys.modules.pop("crossed", None)
