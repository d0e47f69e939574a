"""CPU time of tests, of this process and of those it started and waited for: in all, by file, and of the dearest tests.

::

    python tools/benchmarks/suite.py tests/boost                                   # some tests
    python tools/benchmarks/suite.py tests -m "not slow and not hostile"           # those of `make test`
    python tools/benchmarks/suite.py --top 60 --table times.csv tests/evaluate

What is not known here is handed to pytest. Wall times of a machine at work say little; CPU times change by a tenth.
"""

import argparse
import csv
import os
import sys
from collections import defaultdict

import pytest


def cpu_seconds() -> float:
    """Return the CPU time used so far, user and system, with that of processes that have ended."""
    return sum(os.times()[:4])


class Meter:
    """Measure every test with the fixtures made for it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> object:
        """Add up what a test, its setup and its teardown use."""
        start = cpu_seconds()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = cpu_seconds() - start


def main() -> int:
    """Run pytest and print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--top", type=int, default=20, help="how many of the dearest tests to print")
    parser.add_argument("--table", help="CSV of all tests")
    known, others = parser.parse_known_args()
    meter = Meter()
    start = cpu_seconds()
    code = pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", *others], plugins=[meter])
    total = cpu_seconds() - start
    files: dict[str, float] = defaultdict(float)
    for name, seconds in meter.seconds.items():
        files[name.partition("::")[0]] += seconds
    for title, times in (("files", files), ("tests", meter.seconds)):
        print(f"\n{title}, CPU seconds")
        for name, seconds in sorted(times.items(), key=lambda pair: -pair[1])[: known.top]:
            print(f"{seconds:8.1f}  {name}")
    print(f"\n{len(meter.seconds)} tests, {total:.0f} CPU seconds with collection ({total / 60:.1f} minutes)")
    if known.table:
        with open(known.table, "w", newline="") as file:
            csv.writer(file).writerows(meter.seconds.items())
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
