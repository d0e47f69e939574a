"""Networks that were converted once: what other processes read, and what they refuse to read."""

import hashlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from bchisto.encoders import Encoder, compiled_folder, kept, kept_folder, kept_in, trim_kept
from bchisto.encoders.geometry import Geometry
from bchisto.encoders.kept import KeptNetwork, kept_key
from conftest import need_extra, typed, write_tissue
from own_process import run_process
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
    assert [path.name for _, path, _ in kept_in(folder)] == [f"{A}-crops"]
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


@pytest.mark.parametrize("trouble", ["Not a directory", "others can write to this folder"])
def test_a_folder_that_cannot_be_used_is_told_once(tmp_path, monkeypatch, caplog, trouble):
    cache = tmp_path / "cache"
    monkeypatch.setenv("BCHISTO_CACHE", str(cache))
    if trouble == "Not a directory":
        cache.write_text("")
    else:
        kept_folder().mkdir(parents=True)
        kept_folder().chmod(0o777)
    monkeypatch.setattr("multiprocessing.parent_process", lambda: 1)  # in a worker
    assert KeptNetwork(A).facts() is None
    assert caplog.text == ""
    kept._is_usable.cache_clear()
    monkeypatch.undo()
    monkeypatch.setenv("BCHISTO_CACHE", str(cache))
    for key in "aab":
        assert KeptNetwork(key * 64).facts() is None
        assert result(graph(key)) == [[2.0, 2.0, 2.0]]
    assert [record.getMessage() for record in caplog.records] == [
        f"{kept_folder()}: nothing is kept there ({trouble}), so every process starts slowly; set BCHISTO_CACHE to a "
        "folder that only you can write"
    ]
    # the remedy is one
    monkeypatch.setenv("BCHISTO_CACHE", str(tmp_path / "mine"))
    graph("a")
    assert KeptNetwork(A).facts() == FACTS
    assert len(caplog.records) == 1


def test_a_network_that_is_not_kept_is_not_told(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BCHISTO_CACHE", str(tmp_path / "file"))
    assert KeptNetwork("").facts() is None
    assert caplog.text == ""


def test_the_longest_unused_go_first(folder, monkeypatch, cli):
    for number, key in enumerate("abc"):
        graph(key)
        os.utime(folder / f"{key * 64}-crops", (number, number))
    graph("a", refuse)  # was used
    (_, _, size), *_ = kept_in(folder)
    # OpenVINO numbers its nodes, so that files differ by some letters
    monkeypatch.setattr("bchisto.encoders.kept.MOST_BYTES", 5 * size // 2)
    graph("d")
    assert {path.name for _, path, _ in kept_in(folder)} == {f"{A}-crops", f"{'d' * 64}-crops"}
    (folder / f".{A}-windows-0123abcd").mkdir()  # of a killed process
    others = [folder / f"{'e' * 64}-crops", folder / f"{'f' * 64}-crops", folder / "mine"]
    others[0].symlink_to(folder.parent)
    for other in others[1:]:
        other.mkdir()
        (other / "thesis.txt").write_text("mine")
    code, out, err = cli("encoder --clear")
    assert (code, out) == (0, "removed: 3 networks, 0 compiled functions\n"), err
    assert sorted(folder.iterdir()) == sorted(others)
    assert kept_in(folder) == []
    assert not trim_kept(0)


def compiled(name, used, size=1000):
    """Write a function as JAX does, with its checksum and what older versions of JAX leave."""
    file = compiled_folder() / f"jit_{name}-{name * 64}-cache"
    file.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    file.write_bytes(bytes(size))
    file.with_name(f"{file.name}.sha256").write_text(hashlib.sha256(bytes(size)).hexdigest())
    file.with_name(file.name.replace("-cache", "-atime")).write_bytes(bytes(8))
    os.utime(file, (used, used))
    return file


def test_functions_are_counted_with_the_networks(folder, monkeypatch, cli):
    graph("a")
    os.utime(folder / f"{A}-crops", (2, 2))
    one, two, three = (compiled(name, used) for name, used in (("a", 1), ("b", 3), ("c", 4)))
    mine = [one.with_name(name) for name in ("thesis.txt", "my-cache", f"{A}-cache")]
    for file in mine:
        file.write_text("mine")
    (linked := one.with_name(f"jit_d-{'d' * 64}-cache")).symlink_to(mine[0])
    assert [size for _, _, size in kept_in(compiled_folder())] == [1000] * 3
    assert trim_kept(2000) == ["compiled", "networks"]  # those that were last used at 1 and 2
    assert {file for _, file, _ in kept_in(compiled_folder())} == {two, three}
    graph("a")
    ((_, _, size),) = kept_in(folder)
    monkeypatch.setattr("bchisto.encoders.kept.MOST_BYTES", 2 * size + 1500)
    graph("b")
    assert [file for _, file, _ in kept_in(compiled_folder())] == [three]
    assert trim_kept(0) == ["compiled", "networks", "networks"]
    assert {*compiled_folder().iterdir()} == {*mine, linked}
    compiled("e", 1)
    assert cli("encoder --clear")[1] == "removed: 0 networks, 1 compiled function\n"
    assert {*compiled_folder().iterdir()} == {*mine, linked}


def test_the_folder_follows_the_usual_variables(tmp_path, monkeypatch):
    monkeypatch.delenv("BCHISTO_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kept_folder() == tmp_path / "bchisto" / "networks"
    assert compiled_folder() == tmp_path / "bchisto" / "compiled"
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
        command = [sys.executable, "-m", "bchisto", *typed(*words)]
        done = run_process(*command, env=environment)
        assert done.returncode == 0, done.stderr
        return [file.read_text() for file in told.iterdir()]

    options = typed(
        "--encoder mobilenetv2 --weights random --view 1.0:128 --augmentations 1 --crops 2 --mode {} "
        "--jobs 2",
        mode,
    )
    first, second = tmp_path / "eins", tmp_path / "zwei"
    processes = run("featurize --images {} --out {}", images, first, *options)
    assert any("tensorflow" in names for names in processes)
    processes = run("featurize --images {} --out {}", images, second, *options)
    assert len(processes) > 1
    assert set(processes) == {""}
    if mode == "exact":
        return
    run("boost --out {} --preset quick --head logistic --folds 2 --jobs 1", second)
    (model,) = second.glob("boost/*/model.bchisto")
    table = tmp_path / "predicted.csv"
    picture = images / "benign" / "benign00.png"
    predict = typed("predict {} --images {} --out {} --weights random", model, images, table)
    assert set(run(*predict, "--jobs", 2)) == {""}
    assert run("explain {} {} --method map --out {}", model, picture, tmp_path / "why") == [""]
    for file in told.iterdir():
        file.unlink()
    with serving(start, model, "--weights", "random", env=environment) as page:
        page.add("a.png", picture.read_bytes())
        (image,) = page.wait().values()
        assert page.client.get(f"/api/images/{image['number']}/map.jpg").status_code == 200
    assert {file.read_text() for file in told.iterdir()} == {""}
    cached = table.read_bytes()
    trim_kept(0)
    run(*predict, "--jobs", 1, "--overwrite")
    assert table.read_bytes() == cached
    assert same_features(first, second)


def same_features(one, two):
    import h5py

    (left,), (right,) = (list(Path(run).glob("features/*.h5")) for run in (one, two))
    with h5py.File(left) as a, h5py.File(right) as b:
        return np.array_equal(a["features"][:], b["features"][:])


ON_JAX = """
import collections, json, logging, os, pathlib, signal, sys, warnings
import jax
{before}
events = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: events.update([event]))
warnings.simplefilter("always")
logging.basicConfig(level=logging.INFO)
logging.getLogger("bchisto").setLevel(logging.DEBUG)
import numpy as np
from bchisto.encoders import Encoder
crops = np.arange(2 * 32 * 32 * 3, dtype=np.uint8).reshape(2, 32, 32, 3)
print(Encoder("convs", weights="random").encode(crops).tolist())
def mine(number):
    return number + 1
jax.jit(mine)(1)
print(json.dumps(events))
"""

ON_GPU = 'jax.default_backend = lambda: "gpu"'
"""No GPU is here: JAX compiles for the CPU and is told that it is a GPU, since nothing is kept for a CPU."""

DAMAGED_LATER = f"""{ON_GPU}
import bchisto.encoders.kept
bchisto.encoders.kept._remove_damaged = lambda folder: None
"""

KILLED = f"""{ON_GPU}
def killed(file, content, write=pathlib.Path.write_bytes):
    write(file, content[:len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
pathlib.Path.write_bytes = killed
"""


class OnJax(NamedTuple):
    features: str
    hits: int
    written: int
    said: str

    @classmethod
    def begin(cls, before=ON_GPU, **environment):
        return subprocess.Popen(
            [sys.executable, "-c", ON_JAX.format(before=before)],
            env={**os.environ, "KERAS_BACKEND": "jax", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @classmethod
    def end(cls, process):
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        features, events = out.splitlines()
        counts = (json.loads(events).get(f"/jax/compilation_cache/cache_{e}", 0) for e in _EVENTS)
        return cls(features, *counts, err)

    @classmethod
    def run(cls, before=ON_GPU, **environment):
        return cls.end(cls.begin(before, **environment))


_EVENTS = ("hits", "misses")


@pytest.fixture
def functions(folder):
    """The folder of functions."""
    need_extra("jax")
    return compiled_folder()


@pytest.mark.slow
def test_what_jax_compiled_for_a_gpu_is_read_by_the_next_process(functions):
    first = OnJax.run()
    assert first.hits == 0 < first.written
    assert oct(functions.stat().st_mode)[-3:] == "700"
    files = {*functions.iterdir()}
    kept = [file for _, file, _ in kept_in(functions)]
    assert files == {*kept, *(file.with_name(f"{file.name}.sha256") for file in kept)}
    names = [file.name for file in kept]
    for name in ("crops", "mine"):
        assert any(file.startswith(f"jit_{name}-") for file in names)
    for file in kept:
        os.utime(file, (1, 1))
    (unused := functions / f"jit_unused-{A}-cache").write_bytes(kept[0].read_bytes())
    checksum = hashlib.sha256(unused.read_bytes()).hexdigest()
    unused.with_name(f"{unused.name}.sha256").write_text(checksum)
    os.utime(unused, (2, 2))
    second = OnJax.run()
    assert (second.features, second.hits, second.written) == (first.features, first.written, 0)
    assert {*functions.iterdir()} == files | {unused, unused.with_name(f"{unused.name}.sha256")}
    assert unused.stat().st_atime == 2  # to compare a checksum is no use
    if kept[0].stat().st_atime == 1:
        pytest.skip("this file system does not record when a file was read")
    OnJax.run()  # records the use as the time that sorts
    assert min(kept_in(functions))[1] == unused


@pytest.mark.slow
def test_a_damaged_function_is_compiled_anew(functions):
    first = OnJax.run()
    for number, (_, file, _) in enumerate(kept_in(functions)):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 255
        changes = (content, content[:50], b"", b"[" * 10_000, bytes(content) + b" ")
        file.write_bytes(changes[number % len(changes)])
    second = OnJax.run()
    assert (second.features, second.hits, second.written) == (first.features, 0, first.written)
    assert "Warning" not in second.said
    for _, file, _ in kept_in(functions):
        file.write_bytes(file.read_bytes()[:50])
    late = OnJax.run(DAMAGED_LATER)
    assert (late.features, late.hits) == (first.features, 0)
    assert "Warning" not in late.said


@pytest.mark.slow
def test_a_killed_process_and_two_at_once_do_no_harm(functions):
    killed = OnJax.begin(KILLED)
    killed.communicate(timeout=240)
    assert killed.returncode == -signal.SIGKILL
    (half,) = functions.iterdir()
    assert half.name.endswith("-cache")
    left, right = map(OnJax.end, [OnJax.begin(), OnJax.begin()])
    assert left.features == right.features
    assert "Warning" not in left.said + right.said
    third = OnJax.run()
    assert third.features == left.features
    # whoever removed or read what the other one was writing only compiled anew
    assert third.hits + third.written == max(left.hits + left.written, right.hits + right.written)


@pytest.mark.slow
def test_jax_neither_reads_nor_writes_a_folder_in_which_others_write(functions):
    functions.mkdir(parents=True)
    functions.chmod(0o720)
    (planted := functions / f"jit_crops-{A}-cache").write_bytes(b"x")
    ran = OnJax.run()
    assert (ran.hits, ran.written) == (0, 0)
    assert re.search("nothing is kept there .*others can write to this folder", ran.said)
    assert [*functions.iterdir()] == [planted]


@pytest.mark.slow
def test_nothing_is_kept_for_a_cpu_or_besides_what_the_user_has_set(functions, tmp_path):
    assert OnJax.run(before="").written == 0
    own = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own"), **AT_ONCE}
    assert OnJax.run(**own).written > 0
    assert OnJax.run(JAX_ENABLE_COMPILATION_CACHE="0").written == 0
    assert not any(functions.glob("*"))
    assert any((tmp_path / "own").iterdir())


AT_ONCE = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
