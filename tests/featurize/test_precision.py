"""What OpenVINO's processes do on which cores, and in which precision: asked of the system and of the networks."""

import json
import os
import subprocess
import sys

import h5py
import pytest
from bchisto.featurize import open_store
from conftest import typed
from packs import model_file

pytestmark = pytest.mark.slow

pytest.importorskip("onnx", reason="needs onnx: pip install 'bchisto[test]'")

NO_BFLOAT16 = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
SMALL = typed("--view 1.0:64 --augmentations 2 --crops 4 --engine openvino")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, openvino):
    from onnx_files import write_onnx

    return write_onnx(tmp_path_factory.mktemp("encoder"), side=64)


@pytest.fixture(scope="module")
def limited(encoder):
    """Without it OpenVINO cannot be kept from bfloat16 on this CPU: on some with AVX-512 it does not start so."""
    script = "from bchisto.encoders import executed_precision; executed_precision('bfloat16', engine='openvino')"
    done = without_bfloat16("-c", script)
    if "object is not initialized" in done.stderr:
        pytest.skip("OpenVINO does not start on this CPU where ONEDNN_MAX_CPU_ISA is AVX2")


def without_bfloat16(*words):
    """Run Python where the CPU has no bfloat16."""
    command = [sys.executable, *words]
    return subprocess.run(command, capture_output=True, text=True, env=NO_BFLOAT16, timeout=120)


def described(tissue, run, encoder, *more):
    line = "-m bchisto featurize --images {} --out {} --encoder {}"
    return without_bfloat16(*typed(line, tissue, run, encoder, *SMALL, *more))


def store_of(run):
    return run / "features" / "onnx-patches-1.0-64.h5"


def set_precision(run, value):
    """Let the store be of another CPU."""
    with h5py.File(store_of(run), "a") as file:
        file.attrs["settings"] = json.dumps(
            {**json.loads(file.attrs["settings"]), "precision": value}
        )


def test_a_store_says_in_which_precision_it_was_computed(tissue, tmp_path, encoder, limited):
    asked, plain = tmp_path / "asked", tmp_path / "plain"
    done = described(tissue, asked, encoder, "--precision", "bfloat16", "--jobs", 2)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("--precision bfloat16: OpenVINO computes in float32 here") == 1
    assert described(tissue, plain, encoder, "--jobs", 1).returncode == 0
    with open_store(store_of(asked)) as one, open_store(store_of(plain)) as other:
        assert (one.features() == other.features()).all()
        assert one.header["precision"] == other.header["precision"] == "float32"
    # both ask for the same in effect
    assert described(tissue, plain, encoder, "--precision", "bfloat16").returncode == 0


def test_no_store_mixes_precisions(tissue, tmp_path, encoder, limited):
    run = tmp_path / "run"
    assert described(tissue, run, encoder, "--precision", "bfloat16").returncode == 0
    set_precision(run, "bfloat16")  # as a CPU that has it, and 0.2 on any, write it
    for more in ((), ("--augmentations", 3), ("--shard", "1/2")):
        refused = described(tissue, run, encoder, "--precision", "bfloat16", *more)
        assert refused.returncode == 2, more
        assert "made with other settings: " in refused.stderr
        assert "precision bfloat16 -> float32" in refused.stderr


def test_a_prediction_in_another_precision_says_so(tissue, tmp_path, encoder, completed, limited):
    run = tmp_path / "run"
    assert described(tissue, run, encoder).returncode == 0
    set_precision(run, "bfloat16")
    completed("boost --out {} --folds 2 --head logistic --jobs 1", run)
    line = "-m bchisto predict {} --images {} --out {} --jobs 2"
    done = without_bfloat16(*typed(line, model_file(run), tissue, tmp_path / "p.csv"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("features in bfloat16, which are computed in float32 here") == 1


def test_an_encoder_does_not_take_a_precision_that_it_does_not_have(encoder, limited):
    script = (
        "import sys; from bchisto.encoders import EncoderChoice, open_encoder\n"
        "open_encoder(EncoderChoice.parse(sys.argv[1]), engine='openvino', precision='bfloat16')"
    )
    done = without_bfloat16("-c", script, encoder)
    assert (
        "InputError: `precision` bfloat16: OpenVINO computes in float32 on this CPU; use float32"
        in done.stderr
    )


@pytest.mark.parametrize("limit", ["AVX2", "AVX512_CORE", "DEFAULT"])
def test_a_small_network_tells_what_a_large_one_does(limit, encoder, request):
    """The precision is asked of one convolution; those of a network of Keras are looked at one by one."""
    if limit == "AVX2":
        request.getfixturevalue("limited")
    script = """
import numpy as np
from bchisto.encoders import Encoder, executed_precision
from bchisto.encoders.engines import _openvino_core
executed = executed_precision("bfloat16", engine="openvino")
encoder = Encoder("convs", weights="random", engine="openvino", precision=executed)
encoder.encode(np.zeros((1, 64, 64, 3), np.uint8))
network = encoder._compiled.crops.ready(((1, 64, 64, 3),))
facts = [node.get_rt_info() for node in network.get_runtime_model().get_ops()]
print(executed, {one["runtimePrecision"].astype(str) for one in facts if "Conv" in one["layerType"].astype(str)})
"""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": limit}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.stdout.strip() in ("bfloat16 {'bf16'}", "float32 {'f32'}"), done.stderr
