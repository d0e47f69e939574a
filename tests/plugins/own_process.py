"""Commands and scripts of tests in a process of their own."""

import importlib.util
import os
import subprocess
import sys


def run_process(*command, **options):
    """Run a command; return its process, which has ended, with what it printed as text."""
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)


def printed_by(script, *arguments, **environment):
    """Return what a script prints that interrupts its own process, which must not be the one of the tests."""
    command = (sys.executable, "-c", script, *arguments)
    done = run_process(*command, env={**os.environ, **environment})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def load_script(path):
    """Return a script of the repository as a module of this process."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
