"""Work for the executor tests; in a module of its own so that worker processes can import it."""

import os
import signal
import time
from pathlib import Path

from bchisto.core import ImageError


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


def killed_elsewhere(unit, ticker=None):
    """Be killed, but for the process of this number, which only takes time."""
    if unit != os.getpid():
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.5)


def nap(unit, ticker=None):
    time.sleep(unit)
    return os.getpid()


def card(unit, ticker):
    import os
    import time

    time.sleep(0.2)
    return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")


def opencv_threads(unit, ticker):
    import cv2

    return cv2.getNumThreads()


def network_threads(unit, ticker):
    from bchisto.core.jobs import prepare_backend

    prepare_backend()
    import tensorflow as tf

    return os.getpid(), tf.config.threading.get_intra_op_parallelism_threads()


def sleep(folder, ticker):
    Path(folder, str(os.getpid())).touch()
    time.sleep(60)


def where(item):
    """Return the process that computes an item; refuse a negative one."""
    if item < 0:
        raise ImageError(f"{item}: truncated")
    return item, os.getpid()
