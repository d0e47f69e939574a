"""Scripts of tests in a process of their own."""

import os
import subprocess
import sys


def printed_by(script, *arguments, **environment):
    """Return what a script prints that interrupts its own process, which must not be the one of the tests."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
