"""Work that loses what it needs of a machine: one line, and what is done is kept."""

import re
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
                "error: worker processes cannot be started (No space left on device): /dev/shm, which they need, is "
                "full or not writable; free some of it or use --jobs 1\n"
            )
    assert len(list(tmp_path.rglob("*.tif"))) == 4


RESUMED = """
import sys
from pathlib import Path
from bchisto.cli import main

disk, room, *arguments = sys.argv[1:]
filler = Path(disk, "filler")
for _ in range(2):
    try:
        with filler.open("wb") as handle:
            for _ in range(100_000):
                handle.write(bytes(1024))
                handle.flush()
    except OSError:
        pass
    with filler.open("r+b") as handle:
        handle.truncate(filler.stat().st_size - int(room))
    try:
        main(arguments)
    except SystemExit as ended:
        print(ended.code, len(list(Path(disk).rglob("*.parts/*.npz"))), flush=True)
    filler.unlink()
    room = 2_000_000
"""
"""Fill a disk but for some bytes, run a command, make room, run it again."""


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a disk of its own")
def test_describing_on_a_full_disk(on_small_disk, tissue, tiny_options, tmp_path):
    """The disk is real, with room for some of twelve parts."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = [sys.executable, "-c", RESUMED, disk, 120_000, "featurize", "--images", tissue, "--out", disk / "run"]
    command = on_small_disk(disk, "4m", *script, *tiny_options, "--augmentations", 60, "--crops", 1)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "HDF5" not in done.stderr
    first, *rest = done.stdout.splitlines()
    code, parts = map(int, first.split())
    assert code == 1
    assert 1 <= parts < 12
    assert rest == ["12 images with features in 1 file", "0 0"]
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert line.endswith(
        ".h5: cannot be written (No space left on device); what is done is kept, free some space and run the command "
        "again"
    )
    assert re.search(rf"^featurize: {parts} of \d+ blocks are done already$", done.stderr, flags=re.MULTILINE)
