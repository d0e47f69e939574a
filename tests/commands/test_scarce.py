"""Work that loses what it needs of a machine: one line, and what is done is kept."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a disk of its own")
def test_worker_processes_without_shared_memory(on_small_disk, tmp_path):
    """What /dev/shm holds is real: 64 KiB, all of them taken."""
    fill = 'head -c 65536 /dev/zero > /dev/shm/full; exec "$@"'
    for jobs, code in ((2, 1), (1, 0)):
        make = [sys.executable, "-m", "bchisto", "data", "make", "--out", tmp_path, "--jobs", jobs]
        small = ["--images-per-class", 1, "--size", "64x64"]
        command = on_small_disk("/dev/shm", "64k", "sh", "-c", fill, "sh", *make, *small)
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        if code:
            assert done.stderr == (
                "error: worker processes cannot be started (No space left on device); free /dev/shm, allow more "
                "(ulimit -u) or use --jobs 1\n"
            )
    assert len(list(tmp_path.rglob("*.tif"))) == 4
