"""The crash benchmark in short: an ensemble killed twice, resumed, and compared with one that was let alone."""

import signal
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="needs the repository")
def test_a_killed_run_resumes_to_equal_results(described, tissue, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import crash

    ways = [(signal.SIGKILL, "parent"), (signal.SIGTERM, "group")]
    tally = crash.campaign("boost", described, tissue, tmp_path, kills=2, ways=ways, moments=(0.4, 0.8), seed=3)
    assert tally.faults() == []
    assert tally.kills == 2
    assert tally.resumed >= 1
