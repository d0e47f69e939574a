"""Limits that a shell, a scheduler or a container sets: each is named, and nothing else is blamed."""

import shutil
import signal
import sys

import pytest
from conftest import typed
from own_process import run_process

pytestmark = pytest.mark.slow


@pytest.mark.skipif(
    shutil.which("bash") is None, reason="ulimit -f counts in blocks of 1024 bytes in bash"
)
def test_a_limit_on_the_size_of_files(described, run_copy):
    """What fits is kept, the limit is named, and the command goes on without it."""
    run = run_copy(described)
    command = typed(
        "{} -m bchisto boost --out {} --folds 2 --seeds 1 --head logistic --jobs 1 --quiet",
        sys.executable,
        run,
    )
    limited = typed("bash -c {} bash", 'ulimit -f 2; exec "$@"', *command)
    done = run_process(*limited)
    assert done.returncode == 1, done.stderr
    assert (
        "(File too large); what is done is kept, allow larger files (ulimit -f) and run the command again"
        in (done.stderr.splitlines()[-1])
    )
    done = run_process(*command)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_store_is_not_called_damaged_for_want_of_processes(
    described, run_copy, cli, tmp_path, monkeypatch, number
):
    """OpenBLAS ends a process that may start no thread by SIGINT, the kernel one without memory by SIGKILL.

    The process that reads a store first is a real one, which ends itself: RLIMIT_NPROC does not bind root.
    """
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\nif 'import visit' in str(sys.orig_argv):\n"
        "    signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    features = run_copy(described) / "features"
    code, _, shown = cli("boost --out T/run --features {} --folds 2 --head logistic", features)
    assert code == 1
    assert "error: out of memory, or of processes (ulimit -v, -u); what is done is kept" in shown
    assert "damaged" not in shown


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a disk of its own")
def test_worker_processes_without_shared_memory(on_small_disk, tmp_path):
    """What /dev/shm holds is real: 64 KiB, all of them taken."""
    fill = 'head -c 65536 /dev/zero > /dev/shm/full; exec "$@"'
    for jobs, code in ((2, 1), (1, 0)):
        make = typed("{} -m bchisto data make --out {} --jobs {}", sys.executable, tmp_path, jobs)
        small = typed("--images-per-class 1 --size 64x64")
        command = on_small_disk("/dev/shm", "64k", "sh", "-c", fill, "sh", *make, *small)
        done = run_process(*command, timeout=120)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        if code:
            assert done.stderr == (
                "error: worker processes cannot be started (No space left on device); free /dev/shm, or allow more "
                "(ulimit -u), or use --jobs 1\n"
            )
    assert len(list(tmp_path.rglob("*.tif"))) == 4
