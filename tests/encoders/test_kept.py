"""Networks that were converted once: what other processes read, and what they refuse to read."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bchisto.encoders import Encoder, kept_networks, trim_networks
from bchisto.encoders.geometry import Geometry
from bchisto.encoders.kept import KeptNetwork, kept_key
from conftest import write_tissue
from page_server import serving

FACTS, A = {"name": "doubling", "parts": [3]}, "a" * 64


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BCHISTO_CACHE", str(tmp_path / "ein Zwischenspeicher"))
    return tmp_path / "ein Zwischenspeicher" / "networks"


def doubling():
    """Return a network that doubles three numbers."""
    from openvino import Model, opset13

    numbers = opset13.parameter([1, 3], np.float32)
    return Model(
        [opset13.multiply(numbers, opset13.constant(np.full((1, 3), 2, np.float32)))], [numbers]
    )


def graph(key, convert=doubling, form="crops"):
    return KeptNetwork(key * 64).graph(form, facts=FACTS, convert=convert)


def refuse():
    raise AssertionError("converted again")


def result(model):
    import openvino

    return openvino.Core().compile_model(model, "CPU")([np.ones((1, 3), np.float32)])[0].tolist()


def test_a_network_is_converted_once(folder):
    assert KeptNetwork(A).facts() is None
    assert result(graph("a")) == result(graph("a", refuse)) == [[2.0, 2.0, 2.0]]
    assert KeptNetwork(A).facts() == FACTS
    assert KeptNetwork("b" * 64).facts() is None
    with pytest.raises(AssertionError, match="converted again"):
        graph("a", refuse, form="windows")
    assert [path.name for path, _ in kept_networks()] == [f"{A}-crops"]
    assert {oct(path.stat().st_mode)[-3:] for path in (folder, folder / f"{A}-crops")} == {"700"}


@pytest.mark.parametrize("name", ["network.xml", "network.bin", "record.json"])
@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data.replace(b'"parts"', b'"p"') + b" ",
        lambda _: b"[" * 200_000,
        None,
    ],
)
def test_what_is_damaged_is_converted_again(folder, name, change, caplog):
    graph("a")
    file = folder / f"{A}-crops" / name
    file.unlink() if change is None else file.write_bytes(change(file.read_bytes()))
    with caplog.at_level(logging.DEBUG, logger="bchisto"):
        assert KeptNetwork(A).facts() is None
        assert result(graph("a")) == [[2.0, 2.0, 2.0]]
    assert any("built anew" in message for message in caplog.messages)
    assert result(graph("a", refuse)) == [[2.0, 2.0, 2.0]]


def test_a_folder_in_which_others_write_is_not_used(folder, caplog):
    graph("a")
    folder.chmod(0o777)
    with caplog.at_level(logging.DEBUG, logger="bchisto"):
        assert KeptNetwork(A).facts() is None
        assert result(graph("b")) == [[2.0, 2.0, 2.0]]
    assert "others can write to this folder" in caplog.text
    assert [path.name for path in folder.iterdir()] == [f"{A}-crops"]


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BCHISTO_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.DEBUG, logger="bchisto"):
        assert result(graph("a")) == [[2.0, 2.0, 2.0]]
    assert "not kept for the next process" in caplog.text


def test_the_longest_unused_go_first(folder, monkeypatch, cli):
    for number, key in enumerate("abc"):
        graph(key)
        os.utime(folder / f"{key * 64}-crops", (number, number))
    graph("a", refuse)  # was used
    (_, size), *_ = kept_networks()
    # OpenVINO numbers its nodes, so that files differ by some letters
    monkeypatch.setattr("bchisto.encoders.kept.MOST_BYTES", 5 * size // 2)
    graph("d")
    assert {path.name for path, _ in kept_networks()} == {f"{A}-crops", f"{'d' * 64}-crops"}
    (folder / f".{A}-windows-0123abcd").mkdir()  # of a killed process
    others = [folder / f"{'e' * 64}-crops", folder / f"{'f' * 64}-crops", folder / "mine"]
    others[0].symlink_to(folder.parent)
    for other in others[1:]:
        other.mkdir()
        (other / "thesis.txt").write_text("mine")
    code, out, err = cli("encoder", "clear")
    assert (code, out) == (0, "removed: 3 networks\n"), err
    assert sorted(folder.iterdir()) == sorted(others)
    assert kept_networks() == []
    assert trim_networks(0) == 0


def test_the_folder_follows_the_usual_variables(tmp_path, monkeypatch):
    from bchisto.encoders import kept_folder

    monkeypatch.delenv("BCHISTO_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kept_folder() == tmp_path / "bchisto" / "networks"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert kept_folder() == tmp_path / "home" / ".cache" / "bchisto" / "networks"


def test_a_key_is_of_all_that_decides_a_network():
    ways = [("keras", "a", "1"), ("keras", "a", "2"), ("keras", "b", "1"), ("torch", "a", "1")]
    keys = {kept_key((library,), name=name, weights=weights) for library, name, weights in ways}
    assert len(keys) == 4


@pytest.mark.parametrize("name", ["convs", "efficientnetb0", "xception"])
def test_geometry_returns_from_json(name):
    geometry = Encoder(name, weights="random").geometry
    back = Geometry.from_plain(json.loads(json.dumps(geometry.plain)))
    for axis in (0, 1):
        for size in (96, 131, 400):
            assert back.axes(size=size, axis=axis) == geometry.axes(size=size, axis=axis)


TOLD = """
import atexit, os, sys
def tell():
    names = [name for name in ("tensorflow", "keras", "torch") if name in sys.modules]
    if "bchisto" in sys.modules:
        with open(os.path.join({folder!r}, str(os.getpid())), "w") as file:
            file.write(" ".join(names))
atexit.register(tell)
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["dense", "exact"])
def test_no_process_loads_tensorflow_once_a_network_is_kept(folder, start, tmp_path, mode):
    images = write_tissue(tmp_path / "images", per_class=40, size=(160, 160))
    told = tmp_path / "told"
    told.mkdir()
    (tmp_path / "sitecustomize.py").write_text(TOLD.format(folder=str(told)))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(tmp_path), os.environ["PYTHONPATH"])),
    }

    def run(*words):
        for file in told.iterdir():
            file.unlink()
        command = [sys.executable, "-m", "bchisto", *map(str, words)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [file.read_text() for file in told.iterdir()]

    options = (
        "--encoder",
        "mobilenetv2",
        "--weights",
        "random",
        "--view",
        "1.0:128",
        "--augmentations",
        1,
    )
    options += ("--crops", 2, "--mode", mode, "--jobs", 2)
    first, second = tmp_path / "eins", tmp_path / "zwei"
    assert any(
        "tensorflow" in names
        for names in run("featurize", "--images", images, "--out", first, *options)
    )
    processes = run("featurize", "--images", images, "--out", second, *options)
    assert len(processes) > 1
    assert set(processes) == {""}
    run(
        "boost",
        "--out",
        second,
        "--preset",
        "quick",
        "--head",
        "logistic",
        "--folds",
        2,
        "--jobs",
        1,
    )
    (model,) = second.glob("boost/*/model.bchisto")
    table = tmp_path / "predicted.csv"
    picture = images / "benign" / "benign00.png"
    assert set(
        run(
            "predict", model, "--images", images, "--out", table, "--weights", "random", "--jobs", 2
        )
    ) == {""}
    assert run(
        "explain", model, "--images", picture, "--method", "map", "--out", tmp_path / "why"
    ) == [""]
    for file in told.iterdir():
        file.unlink()
    with serving(start, model, "--weights", "random", env=environment) as page:
        page.add("a.png", picture.read_bytes())
        (image,) = page.wait().values()
        assert page.client.get(f"/api/images/{image['number']}/map.jpg").status_code == 200
    assert {file.read_text() for file in told.iterdir()} == {""}
    cached = table.read_bytes()
    trim_networks(0)
    run(
        "predict",
        model,
        "--images",
        images,
        "--out",
        table,
        "--weights",
        "random",
        "--jobs",
        1,
        "--overwrite",
    )
    assert table.read_bytes() == cached
    assert same_features(first, second)


def same_features(one, two):
    import h5py

    (left,), (right,) = (list(Path(run).glob("features/*.h5")) for run in (one, two))
    with h5py.File(left) as a, h5py.File(right) as b:
        return np.array_equal(a["features"][:], b["features"][:])
