"""What commands contact and leave behind, with every engine and extra: their system calls, and a fresh home folder."""

import importlib.util
import os
import re
import shutil
import sys

import pytest
from conftest import need, typed
from onnx_files import write_onnx
from own_process import run_process
from packs import model_file
from torch_folders import need_torch, write_dinov2, write_timm

pytestmark = pytest.mark.slow


STATED = re.compile(r"\.keras/keras\.json|\.cache/matplotlib/[^/]+|\.config/dask/[^/]+")
"""Files in the home folder that SECURITY.md names: settings and lists of fonts, which libraries write."""

DESCRIBE = typed("--view 1.0:64 --stain none --augmentations 1 --crops 2")
TRAIN = typed("--folds 2 --seeds 1 --param min_data_in_leaf=2 --param num_iterations=3 --jobs 1")
CALLS = "trace=connect,sendto,sendmsg,sendmmsg"


def contacted(trace):
    """The lines of a trace in which something else than this machine is connected or sent to, or a name is asked for.

    A UDP socket that is connected sends nothing by that; Dask learns the address of this machine so.
    """
    found = []
    for line in trace.read_text(errors="replace").splitlines():
        local = re.search(r'"127\.|"::1"|->127\.|->\[::1\]', line)
        if re.search(r"htons\(53\)|:53\]", line) or (
            not local and ("<TCP" in line or ("<UDP" in line and "connect(" not in line))
        ):
            found.append(line)
    return found


def traced(trace, command, environment):
    strace = typed("strace -f -yy --seccomp-bpf -qq -e {} -e signal=none -o {}", CALLS, str(trace))
    return run_process(*strace, *command, env=environment, timeout=300)


@pytest.fixture(scope="module")
def strace(tmp_path_factory):
    """Let strace show what it has to: a connection, and a question for a name."""
    trace = tmp_path_factory.mktemp("strace") / "trace"
    script = (
        "import socket; one = socket.socket(); one.settimeout(0.01)\n"
        "try: one.connect(('192.0.2.1', 9))\nexcept OSError: pass\n"
        "try: socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))\nexcept OSError: pass"
    )
    able = shutil.which("strace") is not None
    if able:
        traced(trace, [sys.executable, "-c", script], dict(os.environ))
        able = trace.is_file() and len(contacted(trace)) == 2
    need("strace", able, "install strace, and let processes be traced")


@pytest.fixture
def watched(strace, tmp_path):
    """Run a command in a home folder and a folder for temporary files of its own, and look at what it did."""
    places = {"HOME": tmp_path / "home", "TMPDIR": tmp_path / "temporary"}
    for place in places.values():
        place.mkdir()
    hidden = ("ORT_DISABLE_TELEMETRY", "NO_ALBUMENTATIONS_UPDATE", "XDG_CACHE_HOME", "MPLCONFIGDIR")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}

    def run(*words, **more):
        trace = tmp_path / "trace"
        environment = {**kept, **{name: str(place) for name, place in places.items()}, **more}
        done = traced(trace, [sys.executable, "-m", "bchisto", *typed(*words)], environment)
        assert done.returncode == 0, done.stderr
        assert contacted(trace) == []
        left = [path for place in places.values() for path in place.rglob("*") if not path.is_dir()]
        names = [
            str(path.relative_to(tmp_path / "home"))
            for path in left
            if path.is_relative_to(tmp_path / "home")
        ]
        assert [path for path in left if path.is_relative_to(places["TMPDIR"])] == []
        assert [name for name in names if not STATED.fullmatch(name)] == []
        return done.stderr

    return run


def installed(*names):
    return all(importlib.util.find_spec(name) is not None for name in names)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_run_with_an_onnx_file(engine, watched, tissue, tmp_path):
    pytest.importorskip("onnx", reason="needs onnx: pip install 'bchisto[test]'")
    if not installed(engine):
        pytest.skip(f"needs {engine}")
    run, encoder = tmp_path / "run", write_onnx(tmp_path, side=64)
    watched(
        "featurize --images {} --out {} --encoder {}",
        tissue,
        run,
        encoder,
        *DESCRIBE,
        "--engine",
        engine,
    )
    if engine == "openvino":
        return
    watched("doctor")
    watched("boost --out {}", run, *TRAIN)
    watched(
        "predict {} --images {} --out {} --jobs 2 --html {}",
        model_file(run),
        tissue,
        tmp_path / "p.csv",
        tmp_path / "p.html",
    )
    watched(
        "explain {} --images {} --method map --out {}", model_file(run), tissue, tmp_path / "why"
    )
    watched(
        "evaluate {} --out {}",
        run / "boost" / "2-lightgbm" / "predictions.csv",
        tmp_path / "evaluated",
    )


def test_a_run_with_networks_of_keras(watched, tissue, tmp_path):
    run = tmp_path / "run"
    encoder = typed("--encoder convs --weights random", *DESCRIBE, "--jobs", 2)
    watched("featurize --images {} --out {}", tissue, run, *encoder)
    if installed("openvino"):
        watched(
            "featurize --images {} --out {}",
            tissue,
            tmp_path / "other",
            *encoder,
            "--engine",
            "openvino",
        )
    if installed("jax"):
        watched(
            "featurize --images {} --out {}",
            tissue,
            tmp_path / "jax",
            *encoder,
            KERAS_BACKEND="jax",
        )


def test_a_run_with_networks_of_pytorch(watched, tissue, tmp_path):
    need_torch()
    write_dinov2(tmp_path / "dinov2")
    own = ("--encoder", f"hub:{tmp_path / 'dinov2'}", *DESCRIBE)
    watched("featurize --images {} --out {}", tissue, tmp_path / "hub", *own)
    write_timm(tmp_path / "resnet", "resnet18")
    own = typed("--encoder timm:resnet18 --weights {}", tmp_path / "resnet", *DESCRIBE)
    watched("featurize --images {} --out {}", tissue, tmp_path / "timm", *own)


def test_a_network_that_is_trained(watched, tissue, tmp_path):
    run = tmp_path / "run"
    watched(
        "finetune --images {} --out {} --network speck --folds 2 --epochs 1 --jobs 1 "
        "--augmentation noise",
        tissue,
        run,
    )
    said = watched(
        "predict {} --images {} --out {} --jobs 1", model_file(run), tissue, tmp_path / "p.csv"
    )
    said += watched(
        "explain {} --images {} --method gradcam --out {}",
        model_file(run),
        tissue,
        tmp_path / "why",
    )
    # the log of TensorFlow is not the user's
    assert re.findall("absl|cuda|rebuild TensorFlow", said) == []


def test_tables_of_other_packages(watched, tmp_path, tissue_files):
    """Excel and lossless JPEG."""
    if not installed("openpyxl", "imagecodecs"):
        pytest.skip("needs openpyxl and imagecodecs: pip install 'bchisto[test]'")
    import openpyxl
    from miniatures import write_ddsm

    book = openpyxl.Workbook()
    book.active.append(["path", "label"])
    for path in tissue_files:
        book.active.append([str(path), path.parent.name])
    book.save(tmp_path / "manifest.xlsx")
    watched("data check --no-timing --images {}", tmp_path / "manifest.xlsx")
    write_ddsm(tmp_path / "ddsm" / "cases" / "case0001", "A-0001-1", {"LEFT_CC": None})
    watched("data check --table - --images {} --dataset ddsm", tmp_path / "ddsm")


def test_a_client_of_dask(watched, dask, tissue, tmp_path):
    from distributed import LocalCluster

    encoder = ("--encoder", write_onnx(tmp_path, side=64), *DESCRIBE)
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        dashboard_address=None,
        protocol="tcp",
        host="127.0.0.1",
    ) as cluster:
        watched(
            "featurize --images {} --out {}",
            tissue,
            tmp_path / "run",
            *encoder,
            "--dask",
            cluster.scheduler_address,
        )
