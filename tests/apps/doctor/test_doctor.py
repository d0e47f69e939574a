"""Each check of `bchisto doctor` in its failing state, the lines that are printed, and the exit code."""

import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from bchisto.apps.doctor import Check, as_lines, machine, named
from bchisto.apps.doctor.check import _outcome, private_texts, run_checks
from bchisto.core import InputError, in_python
from bchisto.encoders import get_spec, published_file


def statuses(checks):
    return {check.name: check.status for check in checks}


def only(checks):
    (check,) = checks
    return check


def package(folder, name, version):
    """Put a package of this name and version before all others, as a second installation does."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_packages_that_are_too_old_or_do_not_load(on_path, monkeypatch, start):
    package(on_path, "click", "7.0")
    for module in ("lightgbm", "openpyxl"):  # as with a library of the system that is not there
        (on_path / f"{module}.py").write_text(
            "raise OSError('libgomp.so.1: cannot open shared object file')\n"
        )
        monkeypatch.delitem(sys.modules, module, raising=False)
    checks = list(machine.check_packages())
    old, lightgbm = sorted(
        (c for c in checks if c.name == "packages"), key=lambda check: check.finding
    )
    assert old.finding.startswith("click 7.0; needs click>=")
    assert old.remedy.startswith("pip install 'click>=")
    assert lightgbm.finding.startswith("lightgbm does not load: OSError: libgomp.so.1")
    assert (
        lightgbm.remedy == "install the system's library libgomp (Debian: apt-get install libgomp1)"
    )
    assert {check.status for check in (old, lightgbm)} == {"failure"}
    (excel,) = (check for check in checks if check.name == "extra excel")
    assert excel.status == "warning"
    assert "libgomp" in excel.finding
    (on_path / "click.py").touch()
    tried = start(
        "doctor", env={**os.environ, "PYTHONPATH": f"{on_path}:{os.environ['PYTHONPATH']}"}
    )
    err = tried.communicate(timeout=60)[1]
    assert tried.returncode == 1
    assert err.startswith("error: click 7.0; needs click>=8")
    assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_with_too_little_memory_all_is_still_said(tmp_path):
    """TensorFlow ends the process that loads it under such a limit, or fails in one of many ways."""
    limited = [
        "sh",
        "-c",
        'ulimit -v 1500000 && exec "$@"',
        "sh",
        sys.executable,
        "-m",
        "bchisto",
        "doctor",
    ]
    ended = subprocess.run(
        [*limited, "--out", str(tmp_path)], capture_output=True, text=True, check=False
    )
    lines = ended.stdout.splitlines()
    assert (ended.returncode, lines[0].split()[:2]) == (1, ["failure", "memory"])
    assert "--encoder mobilenetv2 --jobs 1" in lines[1]
    assert "-v lists it all" in lines[-1]


def test_a_check_that_ends_its_process():
    checks = {"a": os.abort, "b": machine.check_python}
    outcomes = run_checks(checks, apart=("a", "b"), hide={}, write=in_python)
    assert statuses(outcomes) == {"a": "failure", "Python": "ok"}
    assert "SIGABRT" in outcomes[0].finding


def test_a_check_that_never_ends(monkeypatch):
    """As of a library that tries for ever to start a thread, without memory for it, or to read a damaged file."""
    monkeypatch.setattr("bchisto.apps.doctor.check._MOST_SECONDS", 0.2)
    (outcome,) = run_checks({"a": signal.pause}, apart=("a",), hide={}, write=in_python)
    assert (outcome.status, outcome.finding) == ("failure", "no result in 0.2 s")
    assert "more memory" in outcome.remedy


def test_a_second_opencv(on_path):
    package(on_path, "opencv-python", "4.10.0")
    check = only(machine.check_opencv())
    assert check.status == "warning"
    assert "opencv-python and opencv-python-headless" in check.finding
    assert check.remedy.startswith("pip uninstall -y opencv-python && ")


def test_memory_for_fewer_processes_than_cores():
    code = "from bchisto.apps.doctor.machine import *; from resource import *\n"
    code += "setrlimit(RLIMIT_AS, ({0}, {0})); (c,) = check_memory(); print(c.status, c.remedy)"

    def limited(size):
        return subprocess.check_output([sys.executable, "-c", code.format(size)], text=True).strip()

    assert limited(1 << 30).startswith("failure more memory")
    if (cores := machine.default_jobs()) > 1:
        assert limited((2 * cores - 1) << 30) == f"warning bchisto featurize --jobs {cores - 1}"


@pytest.mark.parametrize("name", ["disk", "temporary files", "/dev/shm", "/dev"])
def test_little_room(tmp_path, on_small_disk, name):
    small, name = (name, "shared memory") if name.startswith("/") else (tmp_path, name)
    code = "import sys; from pathlib import Path; from bchisto.apps.doctor import machine\n"
    code += "for check in machine.check_folder(Path(sys.argv[1])): print(check.name, check.status)"
    command = on_small_disk(
        small, "9m", sys.executable, "-c", code, str(tmp_path if name == "disk" else ".")
    )
    environment = (
        {**os.environ, "TMPDIR": str(tmp_path)} if name == "temporary files" else os.environ
    )
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert {"folder ok", f"{name} warning"} <= {*ended.stdout.splitlines()}


def test_temporary_files_need_less_room_than_results(tmp_path, monkeypatch):
    room = SimpleNamespace(free=500_000_000)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: room)
    found = statuses(machine.check_folder(tmp_path))
    assert (found["disk"], found["temporary files"]) == ("warning", "ok")


def test_a_device_that_computes_wrong_numbers(monkeypatch):
    keras = pytest.importorskip("keras")
    assert only(named.check_backend()).status == "ok"
    # No broken device is here: the operation is replaced by one that gives zeros.
    monkeypatch.setattr(keras.ops, "conv", lambda crops, kernel, padding: 0 * crops @ kernel[0, 0])
    assert only(named.check_backend()).status == "failure"


def test_weights_that_are_missing_whole_and_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("BCHISTO_ENCODERS", str(tmp_path / "encoders"))
    assert only(named.check_weights()).status == "note"
    files = [
        tmp_path / "models" / f"{name}_weights_tf_dim_ordering_tf_kernels_notop.h5"
        for name in (*named._OF_PRESETS, "mobilenetv2")
    ]
    files[0].parent.mkdir(exist_ok=True)
    for path in files:
        with h5py.File(path, "w") as file:
            file["kernel"] = np.zeros((64, 64), np.float32)
    assert only(named.check_weights()).status == "ok"
    files[0].write_bytes(files[0].read_bytes()[:10_000])
    files[1].write_bytes(b"")
    files[2].write_text("<html>a page of a login</html>")
    files[3].unlink()
    files[3].symlink_to("/dev/zero")
    (fetched := tmp_path / "encoders" / "dinov2-small" / "model.safetensors").parent.mkdir(
        parents=True
    )
    fetched.write_bytes(b"cut")
    fetched.with_name("fetched.json").write_text(
        '{"files": {"model.safetensors": "0"}, "revision": "main"}'
    )
    cut, *checks = named.check_weights()
    assert (cut.status, cut.remedy) == ("failure", "bchisto encoder dinov2-small --fetch")
    assert [check.status for check in checks] == ["failure"] * 4
    assert {check.finding.partition(":")[0] for check in checks} == {*map(str, files)}


def test_a_cache_that_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("BCHISTO_CACHE", str(tmp_path))
    assert only(named.check_kept()).status == "ok"
    (tmp_path / "networks").chmod(0o777)
    assert "others can write to this folder" in only(named.check_kept()).finding
    (tmp_path / "networks").chmod(0o700)
    (tmp_path / "compiled").mkdir(mode=0o700)
    (tmp_path / "compiled" / f"jit_crops-{'a' * 64}-cache").write_bytes(bytes(3_000_000))
    networks, functions = named.check_kept()
    assert (networks.status, functions.status) == ("ok", "ok")
    assert functions.finding == f"1 compiled function, 3 MB in {tmp_path / 'compiled'}"
    (tmp_path / "compiled").chmod(0o702)
    networks, functions = named.check_kept()
    assert (networks.status, functions.status) == ("ok", "warning")
    assert "(others can write to this folder): each process compiles" in functions.finding
    monkeypatch.setenv("BCHISTO_CACHE", "/dev/null/x")
    assert only(named.check_kept()).status == "warning"


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
@pytest.mark.parametrize(
    "name", ["convnexttiny", "efficientnetv2b0", "mobilenet", "resnet50-keras213", "xception"]
)
def test_the_published_files_are_those_that_keras_fetches(tmp_path, monkeypatch, name):
    """Of each way in which Keras writes their names."""

    def asked(fname, *_, **__):
        raise LookupError(fname)

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", asked)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(LookupError) as raised:
        get_spec(name).build(weights="imagenet")
    (file := tmp_path / "models" / str(raised.value)).parent.mkdir()
    assert published_file(name) is None
    file.touch()
    assert published_file(name) == file


@pytest.mark.parametrize("module", ["h5py", pytest.param("numpy", marks=pytest.mark.slow)])
def test_a_package_that_everything_needs_is_broken(tmp_path, described, run_copy, start, module):
    (folder := tmp_path / "site-packages").mkdir()
    (folder / f"{module}.py").write_text("raise ImportError('libhdf5.so.200: cannot open')")
    environment = {
        **os.environ,
        "PYTHONPATH": f"{folder}:{os.environ['PYTHONPATH']}",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "KERAS_BACKEND": "nonsense",
    }
    _, err = start("boost --out", run_copy(described), env=environment).communicate(timeout=120)
    assert "a package does not load (libhdf5.so.200: cannot open); `bchisto doctor` names" in err
    for other in ("tensorflow", "dask", "lightgbm", "matplotlib", "openvino", "scipy", "sklearn"):
        (folder / f"{other}.py").write_text("raise ImportError('not looked at here')")
    out, _ = start("doctor", env=environment).communicate(timeout=120)
    assert f"{module} does not load: ImportError: libhdf5" in out
    assert "file names beyond ascii are refused" in out  # no check stops another
    assert "failure  networks" in out
    if module == "h5py":
        (folder / "h5py.py").write_text("import os; os.abort()")  # as of a library that was cut
        out, _ = start("doctor", env=environment).communicate(timeout=120)
        assert "its process ended with SIGABRT in h5py" in out


def test_a_dataset(tissue, tmp_path):
    assert only(named.check_dataset(tissue)).status == "ok"
    (tmp_path / "m.csv").write_text(f"path,label\n{tmp_path / 'gone.png'},benign\n")
    check = only(named.check_dataset(tmp_path / "m.csv"))
    assert check.status == "failure"
    assert "1 error, first" in check.finding


def change_records(run, **values):
    content = json.loads((run / "run.json").read_text())
    for entry in content["records"]:
        entry |= values
    (run / "run.json").write_text(json.dumps(content))


@pytest.mark.parametrize(("status", "expected"), [("interrupted", "warning"), ("error", "failure")])
def test_a_run_that_was_interrupted_or_failed(described, run_copy, status, expected):
    assert statuses(named.check_run(described)) == {"run": "ok"}
    run = run_copy(described)
    change_records(run, status=status, error="a disk was full")
    check = only(named.check_run(run))
    assert check.status == expected
    assert "a disk was full" in check.finding


def test_files_of_a_run(described, run_copy):
    run = run_copy(described)
    store = next((run / "features").glob("*.h5"))
    with h5py.File(store, "r") as file:
        begins = file["features"].id.get_chunk_info(0).byte_offset
    content = bytearray(store.read_bytes())
    content[begins + 40 : begins + 60] = b"\xff" * 20
    store.unlink()
    store.write_bytes(content)
    change_records(run, config={"weights": [f"mobilenetv2={run / 'gone.weights.h5'}"]})
    done, weights, damaged = named.check_run(run)
    assert [check.status for check in (done, weights, damaged)] == ["ok", "failure", "failure"]
    assert (
        "gone.weights.h5: not a whole HDF5 file, or not readable (No such file or directory)"
        in weights.finding
    )
    assert damaged.finding.startswith(f"{store}: damaged, ")
    store.unlink()
    assert str(store) in list(named.check_run(run))[-1].finding
    with pytest.raises(InputError, match="nope: no such folder"):
        list(named.check_run(run / "nope"))


def test_a_model(boosted_model, tmp_path):
    assert only(named.check_model(boosted_model)).status == "ok"
    (damaged := tmp_path / "model.bchisto").write_bytes(b"PK not a zip")
    checks = run_checks({"model": lambda: named.check_model(damaged)}, hide={}, write=in_python)
    assert statuses(checks) == {"model": "failure"}


@pytest.fixture
def in_this_process(monkeypatch):
    """Return a function after which no check has a process of its own, which would load TensorFlow once more."""
    return lambda: monkeypatch.setattr("bchisto.apps.doctor.check._apart", _outcome)


def test_the_command(cli, tmp_path, monkeypatch, in_this_process):
    (private := tmp_path / "Dr Müller").mkdir()
    monkeypatch.chdir(private)
    monkeypatch.setenv("BCHISTO_THREADS", "many")
    in_this_process()
    code, out, _ = cli("doctor --out {} --images {}", private / "run", private / "none")
    lines = out.splitlines()
    failed = [line.split()[1] for line in lines if line.startswith("failure ")]
    assert (code, failed) == (1, ["networks", "dataset"])  # the backend reads the variable
    assert "check --images" in out
    assert "Müller" not in out
    assert lines[-1].endswith("2 failures; -v lists it all"), out
    monkeypatch.delenv("BCHISTO_THREADS")
    code, out, _ = cli("doctor -v --json")
    content = json.loads(out)
    assert code == 0
    assert content["failed"] is False
    assert {check["name"]: check["status"] for check in content["checks"]}["packages"] == "ok"


def test_a_check_that_breaks_stops_no_other():
    def breaks():
        raise RuntimeError("x")

    both = {"a": breaks, "b": lambda: [Check("b", "note", "in /home/me/x")]}
    checks = run_checks(both, hide={"/home/me": "~"}, write=in_python)
    assert statuses(checks) == {"a": "failure", "b": "note"}
    assert as_lines(checks)[::2] == [
        "failure  a  RuntimeError: x",
        "2 checks, 1 failure; -v lists it all",
    ]
    assert as_lines(checks, every=True)[2] == "note     b  in ~/x"


def test_nothing_names_a_person(tmp_path, monkeypatch, tissue, cli, in_this_process):
    """Neither a user's folder on another disk nor a patient after whom a file or a folder is named."""
    in_this_process()
    for kind in ("Anna Meier/benign", "Anna Meier/malign", "b/benign"):
        (tmp_path / kind).mkdir(parents=True)
        (tmp_path / kind / "1.png").touch()
    for name in ("BCHISTO_CACHE", "BCHISTO_ENCODERS", "KERAS_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "Anna Meier" / name))
    code, out, _ = cli("doctor -v --images {} --out {}", tmp_path, tmp_path / "Anna Meier/new/run")
    assert code == 1
    assert "Anna" not in out
    assert "renamed in DIR/../.." in out
    for text in (
        "level 1 may be the classes",
        "--label-from 1 takes",
        "not in KERAS_HOME/models",
    ):
        assert text in out
    monkeypatch.setattr("getpass.getuser", lambda: "mueller")
    monkeypatch.setenv("TMPDIR", "~nobody-here/x")
    monkeypatch.setenv("HOME", "/home/mueller")
    hide = private_texts({"IMAGES": tissue, "RUN": tmp_path / "run", "DIR": tmp_path / "JD"})
    texts = (
        "/scratch/mueller/keras is full",
        "cannot read Anna_Meier-01.TIF: damaged",
        f"{tissue}/x",
        "onnxruntime; run boost again",
        f"{tmp_path}/run/run.json, {tmp_path}/JD/a: damaged",
        "/home/mueller/.keras, /home/muellerin",
    )
    findings = [Check("a", "note", text) for text in texts]
    checks = run_checks({"a": lambda: findings}, hide=hide, write=in_python)
    assert [check.finding for check in checks] == [
        "/scratch/USER/keras is full",
        "cannot read IMAGE: damaged",
        "IMAGES/x",
        "onnxruntime; run boost again",
        "RUN/run.json, DIR/a: damaged",
        "~/.keras, /home/muellerin",
    ]


def test_a_disk_that_does_not_flush(tmp_path, monkeypatch):
    # There is no such disk here, so the call fails as it would.
    def fails(number):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(machine.os, "fsync", fails)
    check = only(machine.check_folder(tmp_path))
    assert check.status == "failure"
    assert "Input/output error" in check.finding


def test_another_system_and_an_untried_python(monkeypatch):
    # There is neither here, so what Python tells of itself is replaced.
    monkeypatch.setattr(machine.platform, "system", lambda: "Windows")
    assert only(machine.check_python()).status == "warning"
    monkeypatch.undo()
    assert only(machine.check_python()).status == "ok"
    monkeypatch.setattr(machine, "_NEWEST", (3, 9))
    assert "Python up to 3.9" in only(machine.check_python()).remedy
