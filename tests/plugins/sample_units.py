"""Work for the executor tests; in a module of its own so that worker processes can import it."""

import os
import signal

from bchisto.errors import ImageError


def square(unit, ticker):
    ticker.tick()
    return unit * unit, os.getpid()


def fail_on_three(unit, ticker):
    if unit == 3:
        raise ImageError("b003.tif: truncated")
    return unit


def killed_on_three(unit, ticker):
    if unit == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return unit
