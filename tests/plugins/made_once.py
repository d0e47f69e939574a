"""Folders that one test process makes, and all processes of the run read."""

import fcntl
import os
import shutil


def made_once(tmp_path_factory, name, make):
    """Return a folder that `make(folder)` filled, in this process or in another one.

    Tests only read it: another process may be reading it too.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / name
    complete = root / f"{name}.complete"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            # of a process that failed in the middle
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            complete.touch()
    return folder
