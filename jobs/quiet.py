"""Keeping what a C++ library prints while it starts out of the user's terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator

_log = logging.getLogger(__name__)


def hush_readers() -> None:
    """Let the packages that read images print nothing in this process, which is ours; we refuse what matters.

    Pillow warns of damaged tags just before the error that we report with the file's name. pydicom quotes what it finds
    strange, which may be a patient's name.
    """
    warnings.filterwarnings("ignore", module="PIL")
    warnings.filterwarnings("ignore", module="pydicom")
    logging.getLogger("pydicom").propagate = False  # its level is set anew when it is imported


@contextlib.contextmanager
def hushed_start() -> Iterator[None]:
    """Catch what is written to file descriptor 2 inside the block; it is logged at debug level, or shown on an error.

    TensorFlow 2.21 writes a dozen lines there on import, before any of its log-level variables is read.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        terminal = os.dup(2)
    except OSError:  # no stderr at all (a daemon): nothing to keep quiet
        yield
        return
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(terminal, 2)
            caught.seek(0)
            os.write(2, caught.read())
            raise
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
        caught.seek(0)
        for line in caught.read().decode(errors="replace").splitlines():
            _log.debug("start-up: %s", line)
