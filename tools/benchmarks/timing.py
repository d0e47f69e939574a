"""Timing two ways of the same work, side by side."""

import os
import platform
import statistics
import time
from importlib import metadata


def pin_one_thread():
    """Hold every library to one thread; call before NumPy or OpenCV are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def interleaved(ways, *, rounds, warm=True):
    """Run each of `ways` (name to function) in turn, `rounds` times, and return the CPU seconds of each run.

    CPU time of this process, in one run, one after the other: a busy machine slows all of them alike.
    """
    for function in ways.values() if warm else ():
        function()
    seconds = {name: [] for name in ways}
    for _ in range(rounds):
        for name, function in ways.items():
            started = time.process_time()
            function()
            seconds[name].append(time.process_time() - started)
    return seconds


def table(seconds, *, baseline):
    """Return lines of a Markdown table: median, spread, and how many times faster than the baseline."""
    base = statistics.median(seconds[baseline])
    lines = ["| way | median ms | min to max ms | times faster |", "| --- | --- | --- | --- |"]
    for name, values in seconds.items():
        median = statistics.median(values)
        spread = f"{1e3 * min(values):.1f} to {1e3 * max(values):.1f}"
        lines.append(f"| {name} | {1e3 * median:.1f} | {spread} | {base / median:.1f} |")
    return lines


def machine(*packages):
    """Return one line on the machine and the versions."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as handle:
            model = next(
                line.partition(":")[2].strip() for line in handle if line.startswith("model name")
            )
    except (OSError, StopIteration):
        pass
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"
