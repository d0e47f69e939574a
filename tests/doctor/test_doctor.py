"""Each check of `bchisto doctor` in its failing state, the lines that are printed, and the exit code."""

import http.server
import json
import os
import subprocess
import sys
import threading

import h5py
import numpy as np
import pytest
from bchisto.apps.doctor import Check, as_lines, examine, machine, named, run_checks
from bchisto.apps.doctor.check import private_texts
from bchisto.core import InputError, in_python


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
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def named_checks(checks, name):
    return [check for check in checks if check.name == name]


def test_packages_that_are_too_old_or_do_not_load(on_path, monkeypatch):
    package(on_path, "click", "7.0")
    for module in ("lightgbm", "openpyxl"):  # as with a library of the system that is not there
        (on_path / f"{module}.py").write_text("raise OSError('libxyz.so.1: cannot open shared object file')\n")
        monkeypatch.delitem(sys.modules, module, raising=False)
    checks = list(machine.check_packages())
    old, lightgbm = sorted(named_checks(checks, "packages"), key=lambda check: check.finding)
    assert old.finding.startswith("click 7.0; needs click>=")
    assert old.remedy.startswith("pip install 'click>=")
    assert lightgbm.finding.startswith("lightgbm does not load: OSError: libxyz.so.1")
    assert lightgbm.remedy == "install the system's library libxyz"
    assert {check.status for check in (old, lightgbm)} == {"failure"}
    (excel,) = named_checks(checks, "extra excel")
    assert (excel.status, "libxyz" in excel.finding) == ("warning", True)


def test_a_machine_without_openmp(tmp_path, on_small_disk):
    """The library is hidden from this command alone; scikit-learn brings its own, LightGBM does not."""
    known = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    library = next(line.rpartition(" ")[2] for line in known.splitlines() if "libgomp.so.1" in line)
    script = f'mount --bind /dev/null {library} && exec "$@"'
    words = ["sh", "-c", script, "sh", sys.executable, "-m", "bchisto", "doctor", "--out", str(tmp_path), "--json"]
    ended = subprocess.run(on_small_disk(tmp_path, "9m", *words), capture_output=True, text=True, check=False)
    failed = [check for check in json.loads(ended.stdout)["checks"] if check["status"] == "failure"]
    assert ended.returncode == 1
    assert [check["finding"].partition(":")[0] for check in failed] == ["lightgbm does not load"]
    assert failed[0]["remedy"] == "install the system's library libgomp (Debian: apt-get install libgomp1)"


def test_with_too_little_memory_all_is_still_said(tmp_path):
    """TensorFlow ends the process that loads it under such a limit, or fails in one of many ways."""
    limited = ["sh", "-c", 'ulimit -v 1500000 && exec "$@"', "sh", sys.executable, "-m", "bchisto", "doctor"]
    ended = subprocess.run([*limited, "--out", str(tmp_path)], capture_output=True, text=True, check=False)
    lines = ended.stdout.splitlines()
    assert (ended.returncode, lines[0].split()[:2]) == (1, ["failure", "memory"])
    assert "--encoder mobilenetv2 and --jobs 1" in lines[1]
    assert "-v lists it all" in lines[-1]


def test_a_check_that_ends_its_process():
    checks = {"a": os.abort, "b": machine.check_python}
    outcomes = run_checks(checks, apart=("a", "b"), hide={}, write=in_python)
    assert statuses(outcomes) == {"a": "failure", "Python": "ok"}
    assert "SIGABRT" in outcomes[0].finding


def test_a_second_opencv(on_path):
    package(on_path, "opencv-python", "4.10.0")
    check = only(machine.check_opencv())
    assert (check.status, "opencv-python and opencv-python-headless" in check.finding) == ("warning", True)
    assert check.remedy.startswith("pip uninstall -y opencv-python && ")


def test_memory_for_fewer_processes_than_cores():
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, ({0}, {0}))\n"
    code += "from bchisto.apps.doctor import machine\n"
    code += "print(*(check.status + ' ' + check.remedy for check in machine.check_memory()))"

    def limited(size):
        command = [sys.executable, "-c", code.format(size)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert limited(1 << 30).startswith("failure more memory")
    cores = machine.default_jobs()
    if cores > 1:
        assert limited((2 * cores - 1) << 30) == f"warning `jobs={cores - 1}`"


def test_a_small_disk(tmp_path, on_small_disk):
    code = "import sys; from pathlib import Path; from bchisto.apps.doctor import machine\n"
    code += "for check in machine.check_folder(Path(sys.argv[1])): print(check.name, check.status)"
    ended = subprocess.run(
        on_small_disk(tmp_path, "9m", sys.executable, "-c", code, str(tmp_path)),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "disk warning" in ended.stdout.splitlines()
    assert "folder ok" in ended.stdout.splitlines()


def test_a_backend_that_is_not_there(start):
    out, _ = start("doctor", "--json", env={**os.environ, "KERAS_BACKEND": "nonsense"}).communicate(timeout=120)
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    assert checks["networks"]["status"] == "failure"
    assert checks["packages"]["status"] == "ok"  # no check stops another


def test_a_device_that_computes_wrong_numbers(monkeypatch):
    keras = pytest.importorskip("keras")
    assert only(named.check_backend()).status == "ok"
    # No broken device is here: the operation is replaced by one that gives zeros.
    monkeypatch.setattr(keras.ops, "conv", lambda crops, kernel, padding: 0 * crops @ kernel[0, 0])
    assert only(named.check_backend()).status == "failure"


def test_weights_that_are_missing_and_those_that_can_be_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert only(named.check_weights(online=False)).status == "note"

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200 if "vgg16" in self.path else 404)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(named, "ADDRESS", f"http://127.0.0.1:{server.server_port}")
        found = list(named.check_weights(online=True))
        server.shutdown()
    assert sorted(check.status for check in found) == ["failure", "failure", "failure", "ok"]
    assert f"put it into {tmp_path / 'models'}" in found[0].remedy


def test_weights_that_are_whole_and_those_that_are_not(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    files = [tmp_path / "models" / file.rpartition("/")[2] for file in named.PUBLISHED.values()]
    for path in files:
        with h5py.File(path, "w") as file:
            file["kernel"] = np.zeros((64, 64), np.float32)
    assert only(named.check_weights(online=False)).status == "ok"
    files[0].write_bytes(files[0].read_bytes()[:10_000])
    files[1].write_bytes(b"")
    files[2].write_text("<html>a page of a login</html>")
    checks = list(named.check_weights(online=False))
    assert [check.status for check in checks] == ["failure"] * 3
    assert {check.finding.partition(":")[0] for check in checks} == {*map(str, files[:3])}


def test_the_published_files_are_those_that_keras_fetches():
    from keras.src.applications import inception_v3, mobilenet_v2, resnet, vgg16

    told = {
        "inceptionv3": inception_v3.WEIGHTS_PATH_NO_TOP,
        "mobilenetv2": mobilenet_v2.BASE_WEIGHT_PATH
        + "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        "resnet50": f"{resnet.BASE_WEIGHTS_PATH}resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "vgg16": vgg16.WEIGHTS_PATH_NO_TOP,
    }
    assert {name: f"{named.ADDRESS}/{file}" for name, file in named.PUBLISHED.items()} == told


def test_a_dataset(tissue, tmp_path):
    assert only(named.check_dataset(tissue)).status == "ok"
    (tmp_path / "m.csv").write_text(f"path,label\n{tmp_path / 'gone.png'},benign\n")
    check = only(named.check_dataset(tmp_path / "m.csv"))
    assert (check.status, "1 error, first" in check.finding) == ("failure", True)


def test_a_run_that_was_interrupted(described, run_copy):
    assert statuses(named.check_run(described)) == {"run": "ok"}
    run = run_copy(described)
    for path in (run / "run.json", *(run / "records").glob("*.json")):
        record = json.loads(path.read_text())
        for entry in record.get("records", [record]):
            entry["status"] = "interrupted"
        path.write_text(json.dumps(record))
    assert only(named.check_run(run)).status == "warning"


def test_files_of_a_run(described, run_copy):
    run = run_copy(described)
    store = next((run / "features").glob("*.h5"))
    with h5py.File(store, "r") as file:
        begins = file["features"].id.get_offset()
    content = bytearray(store.read_bytes())
    content[begins + 40 : begins + 60] = b"\xff" * 20
    store.unlink()
    store.write_bytes(content)
    for path in (run / "run.json", *(run / "records").glob("*.json")):
        record = json.loads(path.read_text())
        for entry in record.get("records", [record]):
            entry["config"]["weights"] = [f"mobilenetv2={run / 'gone.weights.h5'}"]
        path.unlink()
        path.write_text(json.dumps(record))
    done, weights, damaged = named.check_run(run)
    assert [check.status for check in (done, weights, damaged)] == ["ok", "failure", "failure"]
    assert weights.finding.endswith("gone.weights.h5: no such file")
    assert damaged.finding.startswith(f"{store}: a feature of ")
    with pytest.raises(InputError, match="nope: no such folder"):
        list(named.check_run(run / "nope"))


def test_a_model(boosted, tmp_path):
    assert only(named.check_model(boosted)).status == "ok"
    damaged = tmp_path / "model.bchisto"
    damaged.write_bytes(b"PK not a zip")
    checks = run_checks({"model": lambda: named.check_model(damaged)}, hide={}, write=in_python)
    assert statuses(checks) == {"model": "failure"}


def test_no_slurm_and_one_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no sbatch" in only(named.check_slurm()).finding
    for name in ("sbatch", "squeue", "scancel", "sinfo"):  # a controller that is down answers so
        (tmp_path / name).write_text("#!/bin/sh\necho 'slurm_load_partitions: Unable to contact' >&2; exit 1\n")
        (tmp_path / name).chmod(0o755)
    check = only(named.check_slurm())
    assert (check.status, "Unable to contact" in check.finding) == ("failure", True)


def test_a_slurm_that_answers(slurm):
    assert only(named.check_slurm()).status == "ok"


@pytest.mark.slow
def test_a_dask_scheduler_that_is_not_there(dask, tmp_path):
    checks = run_checks({"Dask": lambda: named.check_dask("127.0.0.1:9", tmp_path)}, hide={}, write=in_python)
    assert (only(checks).status, "no Dask scheduler answers" in only(checks).finding) == ("failure", True)


def test_dask_workers(dask, tmp_path):
    import distributed

    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        assert only(named.check_dask(cluster.scheduler_address, tmp_path)).status == "ok"


def test_the_command(cli, tmp_path, monkeypatch):
    private = tmp_path / "Dr Müller"
    private.mkdir()
    monkeypatch.chdir(private)
    monkeypatch.setenv("BCHISTO_THREADS", "many")
    code, out, _ = cli("doctor", "--out", private / "run", "--images", private / "none", "--json")
    content = json.loads(out)
    assert (code, content["failed"]) == (1, True)
    failed = [check["name"] for check in content["checks"] if check["status"] == "failure"]
    assert failed == ["networks", "dataset"]  # the backend reads the variable
    assert "Müller" not in out
    code, out, _ = cli("doctor", "--images", private / "none")
    lines = out.splitlines()
    assert (code, lines[0].split()[:2]) == (1, ["failure", "networks"])
    assert "check --images" in out
    assert lines[-1].endswith("2 failures; -v lists it all")
    monkeypatch.delenv("BCHISTO_THREADS")
    code, out, _ = cli("doctor", "-v")
    assert (code, "\nok       packages " in out) == (0, True), out


def test_a_check_that_breaks_stops_no_other():
    def breaks():
        raise RuntimeError("x")

    both = {"a": breaks, "b": lambda: [Check("b", "note", "in /home/me/x")]}
    checks = run_checks(both, hide={"/home/me": "~"}, write=in_python)
    assert statuses(checks) == {"a": "failure", "b": "note"}
    assert as_lines(checks) == ["failure  a  RuntimeError: x", "2 checks, 1 failure; -v lists it all"]
    assert as_lines(checks, every=True)[1] == "note     b  in ~/x"


def test_nothing_names_a_person(tmp_path, monkeypatch, tissue):
    """Neither a user's folder on another disk nor a patient after whom a file is named."""
    monkeypatch.setattr("getpass.getuser", lambda: "mueller")
    monkeypatch.setattr("pathlib.Path.home", lambda: named.Path("/home/mueller"))
    hide = private_texts({"IMAGES": tissue, "RUN": named.Path("run")})
    texts = (
        "/scratch/mueller/keras is full", "cannot read Anna_Meier-01.TIF: damaged", f"{tissue}/x",
        "onnxruntime; run boost again", "run/run.json: damaged", "/home/mueller/.keras, /home/muellerin",
    )  # fmt: skip
    findings = [Check("a", "note", text) for text in texts]
    checks = run_checks({"a": lambda: findings}, hide=hide, write=in_python)
    assert [check.finding for check in checks] == [
        "/scratch/USER/keras is full", "cannot read IMAGE: damaged", "IMAGES/x", "onnxruntime; run boost again",
        "RUN/run.json: damaged", "~/.keras, /home/muellerin",
    ]  # fmt: skip


def test_a_run_that_failed(described, run_copy):
    run = run_copy(described)
    for path in (run / "run.json", *(run / "records").glob("*.json")):
        record = json.loads(path.read_text())
        for entry in record.get("records", [record]):
            entry |= {"status": "error", "error": "a disk was full"}
        path.write_text(json.dumps(record))
    check = only(named.check_run(run))
    assert (check.status, "a disk was full" in check.finding) == ("failure", True)


def test_little_room_for_temporary_files(tmp_path, on_small_disk):
    code = "from pathlib import Path; from bchisto.apps.doctor import machine\n"
    code += "print(*(f'{c.name} {c.status}' for c in machine.check_folder(Path('.'))), sep='\\n')"
    command, environment = on_small_disk(tmp_path, "9m", sys.executable, "-c", code), {"TMPDIR": str(tmp_path)}
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    assert "temporary files warning" in ended.stdout.splitlines()


def test_little_shared_memory(on_small_disk):
    code = "from pathlib import Path; from bchisto.apps.doctor import machine\n"
    code += "print(*(f'{c.name} {c.status}' for c in machine.check_folder(Path('.'))), sep='\\n')"
    command = on_small_disk("/dev/shm", "9m", sys.executable, "-c", code)
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "shared memory warning" in ended.stdout.splitlines()


def test_no_network_unless_asked(tmp_path, monkeypatch):
    """Whoever opens a connection fails here."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: pytest.fail("the network was used"))
    assert {check.name for check in examine(tmp_path)} >= {"weights", "Python", "disk"}


def test_a_slurm_without_a_partition_that_is_up(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name in ("sbatch", "squeue", "scancel", "sinfo"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'normal* down 4 idle'\n")
        (tmp_path / name).chmod(0o755)
    assert only(named.check_slurm()).status == "warning"
    (tmp_path / "sinfo").write_text("#!/bin/sh\nsleep 60\n")
    monkeypatch.setattr(named, "_SECONDS", 0.2)
    assert "no answer" in only(named.check_slurm()).finding


def test_a_disk_that_does_not_flush(tmp_path, monkeypatch):
    # There is no such disk here, so the call fails as it would.
    def fails(number):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(machine.os, "fsync", fails)
    check = only(machine.check_folder(tmp_path))
    assert (check.status, "Input/output error" in check.finding) == ("failure", True)


def test_another_system_and_an_untried_python(monkeypatch):
    # There is neither here, so what Python tells of itself is replaced.
    monkeypatch.setattr(machine.platform, "system", lambda: "Windows")
    assert only(machine.check_python()).status == "warning"
    monkeypatch.undo()
    assert only(machine.check_python()).status == "ok"
    monkeypatch.setattr(machine, "_TRIED", ((3, 8), (3, 9)))
    assert "use Python 3.8 to 3.9 on Linux" in only(machine.check_python()).remedy
