"""The benchmark of a GPU in its smallest form, on the CPU: that it runs to its end, not what it measures."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "tools" / "benchmarks"


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="needs the repository")
def test_the_benchmark_of_a_gpu_runs_on_a_cpu(monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu

    monkeypatch.setattr("sys.argv", ["gpu.py", "--encoders", "convs", "--networks", "convs"])
    gpu.main()
    out = capsys.readouterr().out
    assert out.startswith(("No GPU was found by Keras", "GPU: "))
    for words in ("images a second", "share of the encoders alone", "steps a second", "share of the network alone"):
        assert len(re.findall(rf"^  {words} +[0-9.]+", out, flags=re.MULTILINE)) == 1, out
    assert out.count("device waits") == out.count(" minutes on this machine") == 2
