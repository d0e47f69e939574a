"""Interrupts of a pool of workers, with real signals: what is left, and who lives on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bchisto.core.jobs import is_running, scratch_folder, this_process
from own_process import printed_by

pytestmark = pytest.mark.slow
reads_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SLEEPERS = """
import logging, signal, sys
from bchisto.core import Terminated
from bchisto.core.jobs import Resources, run_units
from sample_units import sleep

def stop(number, frame):
    raise Terminated

signal.signal(signal.SIGTERM, stop)
resources = Resources(2, 2, start=0.1, here=sys.argv[2] == "here")
run_units(sleep, [sys.argv[1]] * 4, steps=lambda _: 1, resources=resources, label="test", step_name="units")
"""


@pytest.fixture(params=["here", "apart"])
def where(request):
    """Whether the process that starts workers does units too."""
    return request.param


def start_sleepers(folder, where):
    """Start two processes of work that write their numbers into ``units``; return the command's and these numbers."""
    units, temporary = folder / "units", folder / "tmp"
    units.mkdir()
    temporary.mkdir()
    with (folder / "stderr").open("w") as words:
        process = subprocess.Popen(
            [sys.executable, "-c", SLEEPERS, str(units), where],
            env={**os.environ, "TMPDIR": str(temporary)},
            stderr=words,
            start_new_session=True,
        )
    until = time.monotonic() + 30
    while len(list(units.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    workers = [int(path.name) for path in units.iterdir()]
    assert len(workers) == 2
    return process, workers


def lives(pid):
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def all_gone(pids, seconds=10):
    until = time.monotonic() + seconds
    while any(map(lives, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(lives, pids))


def semaphores(pid):
    return list(Path("/dev/shm").glob(f"sem.loky-{pid}-*"))


@reads_proc
def test_workers_end_with_a_parent_that_is_killed(tmp_path, where):
    process, workers = start_sleepers(tmp_path, where)
    process.kill()
    process.wait()
    assert all_gone(workers)


AHEAD = """
import time
from bchisto.core.jobs import map_ahead
from sample_units import where

print(*{pid for _, pid in list(map_ahead(where, range(9), processes=2))[1:]}, flush=True)
time.sleep(60)
"""


@reads_proc
def test_workers_that_wait_for_the_next_call_end_with_their_parent():
    process = subprocess.Popen([sys.executable, "-c", AHEAD], stdout=subprocess.PIPE)
    workers = list(map(int, process.stdout.readline().split()))
    assert workers
    assert any(map(lives, workers))
    process.kill()
    process.communicate()
    assert all_gone(workers, seconds=4)  # before they would end for want of work


@reads_proc
@pytest.mark.parametrize("group", [False, True], ids=["parent", "group"])
def test_a_signal_ends_all_at_once_and_leaves_nothing(tmp_path, where, group):
    process, workers = start_sleepers(tmp_path, where)
    if group:
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.send_signal(signal.SIGTERM)
    process.wait(timeout=20)
    err = (tmp_path / "stderr").read_text()
    assert "Terminated" in err
    assert "lack of memory" not in err
    assert "leaked" not in err
    assert all_gone(workers, seconds=1)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert semaphores(process.pid) == []


@reads_proc
def test_the_next_run_removes_what_a_killed_group_left(tmp_path, where, monkeypatch):
    process, workers = start_sleepers(tmp_path, where)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert all_gone(workers)
    left = list((tmp_path / "tmp").iterdir())
    assert len(left) == 1
    host, space, rest = left[0].name.removeprefix("bchisto-").split("-", 2)
    before_a_restart = f"bchisto-{host}-0badb007.{space.partition('.')[2]}-{rest}"
    # the second of another host
    others = {
        "bchisto-of-another-kind",
        f"bchisto-0123abcd-0badb007.f-{rest}",
    }
    for name in (*others, before_a_restart):
        (tmp_path / "tmp" / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    with scratch_folder() as own, scratch_folder() as second:
        assert {path.name for path in (tmp_path / "tmp").iterdir()} == {
            own.name,
            second.name,
            *others,
        }
    assert semaphores(process.pid) == []


HELD = """
import signal
from bchisto.core.jobs import hold_interrupts

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what it runs in the background without Ctrl-C
try:
    with hold_interrupts():
        signal.raise_signal(signal.SIGINT)
        print("went on")
except KeyboardInterrupt:
    print("interrupted", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_an_interrupt_waits_for_the_end_of_what_is_held():
    assert printed_by(HELD) == "went on\ninterrupted True\n"


def test_a_process_is_told_from_others_of_its_number():
    mine = this_process()
    assert is_running(mine) is True
    assert is_running({"host": mine["host"], "pid": mine["pid"]}) is True  # as 0.1 wrote it
    assert is_running({**mine, "host": "elsewhere"}) is None
    if mine["started"] is not None:
        assert is_running({**mine, "started": mine["started"] - 1}) is False
        boot, _, names = mine["space"].partition(".")
        assert is_running({**mine, "space": f"00000000.{names}"}) is False
        assert is_running({**mine, "space": f"{boot}.1"}) is None
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_running({**mine, "pid": ended.pid}) is False


SCRATCH = """
import shutil, signal, sys, tempfile
from bchisto.core.jobs import scratch_folder

module, name = {"mkdtemp": (tempfile, "mkdtemp"), "rmtree": (shutil, "rmtree")}[sys.argv[1]]
real = getattr(module, name)

def interrupted(*args, **options):
    found = real(*args, **options) if name == "mkdtemp" else None  # made, and its name not yet known
    signal.raise_signal(signal.SIGINT)
    return found or real(*args, **options)

setattr(module, name, interrupted)
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with scratch_folder():
        print("made")
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize(
    ("moment", "expected"), [("mkdtemp", "interrupted\n"), ("rmtree", "made\ninterrupted\n")]
)
def test_an_interrupt_leaves_no_folder_for_temporary_files(tmp_path, moment, expected):
    assert printed_by(SCRATCH, moment, TMPDIR=str(tmp_path)) == expected
    assert list(tmp_path.iterdir()) == []


def test_a_worker_without_a_home_folder_ends_in_silence(tmp_path):
    """Matplotlib, which Keras loads, would remove a folder at exit that the parent has removed already."""
    script = (
        "import os, shutil, sys; from bchisto.core.jobs.processes import prepare_worker\n"
        "prepare_worker(os.getppid(), sys.argv[1])\n"
        "import matplotlib\n"
        "shutil.rmtree(sys.argv[1])"
    )
    (tmp_path / "scratch").mkdir()
    assert printed_by(script, str(tmp_path / "scratch"), HOME="/dev/null/home") == ""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_worker_of_a_user_without_a_name_or_a_home_folder_starts(tmp_path):
    script = (
        "import os, sys; from bchisto.core.jobs.processes import prepare_worker\n"
        "del os.environ['HOME']\n"
        "os.setuid(54321)\n"
        "prepare_worker(os.getppid(), sys.argv[1])\n"
        "print(os.environ['MPLCONFIGDIR'])"
    )
    assert printed_by(script, str(tmp_path)) == f"{tmp_path}\n"
