"""The time left: none before it can be trusted, then within a factor of two; and what Ctrl-C costs."""

import logging
import re
import time

import pytest
from bchisto.core.jobs import Progress
from own_process import printed_by

LEFT = re.compile(r"(\d+):(\d\d):(\d\d) left")


def shown(record):
    """The time left by a line of a log, seconds; None where it has none."""
    match = LEFT.search(record.getMessage())
    return match and 3600 * int(match[1]) + 60 * int(match[2]) + int(match[3])


@pytest.mark.parametrize("at_once", [1, 2, 7])
@pytest.mark.parametrize("start", [0.0, 400.0])
def test_the_time_left_is_right_within_a_factor_of_two_from_the_tenth_step(
    caplog, monkeypatch, start, at_once
):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    total, each = 420, 20.0
    with (
        caplog.at_level(logging.INFO, "bchisto"),
        Progress(total=total, label="work", unit="images") as progress,
    ):
        now[0] = start
        for done in range(at_once, total, at_once):
            now[0] += each * at_once
            before = len(caplog.records)
            progress.update_to(done)
            if len(caplog.records) == before:
                continue
            left, truth = shown(caplog.records[-1]), (total - done) * each
            if done < 8:
                assert left is None
            if done >= max(10, 3 * at_once):
                assert truth / 2 <= left <= truth * 2, done


INTERRUPTED = """
import logging, signal, sys
from bchisto.core.jobs import Resources, run_units

def stops(unit, ticker):
    ticker.tick(kept=sys.argv[1] == "each")
    if unit == 3:
        signal.raise_signal(signal.SIGINT)
    ticker.tick(kept=sys.argv[1] == "each")

logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    run_units(stops, range(5), steps=lambda _: 2, resources=Resources(1, 1), label="w", step_name="models")
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize(("keeps", "kept"), [("each", 7), ("units", 6)])
def test_an_interrupt_says_what_is_kept(keeps, kept):
    *_, said, last = printed_by(INTERRUPTED, keeps).splitlines()
    assert (said, last) == (f"w: kept {kept} of 10 models", "interrupted")
