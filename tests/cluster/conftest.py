"""The run of one process, to which others are compared."""

import subprocess
import sys

import pytest
from job_chain import chain


@pytest.fixture(scope="session")
def alone(tmp_path_factory, tissue):
    """The run of one process."""
    run = tmp_path_factory.mktemp("alone") / "run"
    words = [str(word) for word in chain(tissue, run)]
    while words:
        end = words.index("then") if "then" in words else len(words)
        jobs = [] if words[0] == "evaluate" else ["--jobs", "1"]
        command = [sys.executable, "-m", "bchisto", *words[:end], *jobs]
        subprocess.run(command, check=True, capture_output=True)
        words = words[end + 1 :]
    return run
