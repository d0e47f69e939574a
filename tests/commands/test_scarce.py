"""Work that loses what it needs of a machine or cluster: one line, and what is done is kept."""

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

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


@pytest.fixture
def cluster(dask, tmp_path):
    """The address of a scheduler, its process, and that of its one worker."""
    address = tmp_path / "scheduler.json"
    options = ["--scheduler-file", address, "--no-dashboard"]
    more = {"scheduler": ["--port", "0"], "worker": ["--nthreads", "1", "--no-nanny", "--local-directory", tmp_path]}
    with contextlib.ExitStack() as stack:
        processes = []
        for name in more:
            command = [sys.executable, "-m", f"distributed.cli.dask_{name}", *map(str, [*options, *more[name]])]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes.append(process)
            until = time.monotonic() + 60
            while not address.is_file() and time.monotonic() < until:
                time.sleep(0.05)
        yield json.loads(address.read_text())["address"], *processes


def test_a_dask_scheduler_that_is_lost_during_work(cluster, described, run_copy, cli, tmp_path):
    """A real kill of the scheduler, when the first models are there; the worker is held so that it makes no more."""
    address, scheduler, worker = cluster
    run = run_copy(described)
    command = ["--folds", 6, "--seeds", 1, "--param", "min_data_in_leaf=2", "--param", "num_iterations=300"]
    kept = {}

    def finished():
        return list(run.glob("boost/*/models/*/*.npz"))

    def lose():
        until = time.monotonic() + 120
        while not (done := finished()) and time.monotonic() < until:
            time.sleep(0.002)
        worker.send_signal(signal.SIGSTOP)
        kept.update({path: path.stat().st_mtime_ns for path in done})
        scheduler.kill()

    thread = threading.Thread(target=lose)
    thread.start()
    code, _, err = cli("boost", "--out", run, *command, "--dask", address)
    thread.join()
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    said = "the scheduler is gone; what is done is kept, start it and run the command again"
    assert (code, lines) == (1, [f"error: --dask {address}: {said}"])
    assert "Traceback" not in err
    assert 1 <= len(kept) < 6
    code, _, err = cli("boost", "--out", run, *command, "--jobs", 1)
    assert code == 0, err
    assert "of 6 models are trained already" in err
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    whole = shutil.copytree(described, tmp_path / "whole")
    assert cli("boost", "--out", whole, *command, "--jobs", 1)[0] == 0
    for name in ("predictions.csv", "predictions-by-model.csv", "model.bchisto"):
        assert (run / "boost/6-lightgbm" / name).read_bytes() == (whole / "boost/6-lightgbm" / name).read_bytes(), name


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
