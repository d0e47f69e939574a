"""Progress with a rate and the time left: a bar on a terminal, lines in a log otherwise."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .. import counted

_log = logging.getLogger(__name__)

_LINE_SECONDS = 15.0
"""Seconds between two lines in a log: rare enough to read, and often enough to see that the command still works."""

_HONEST = 8
"""Least number of steps from which a rate is computed: the first steps of a process load networks, so they are slow."""

_WORTH_KEEPING = 5.0
"""Seconds from which a line replaces the progress bar when it is full."""

_KEPT = b"+"
"""The byte for a step whose result is kept even if its unit is interrupted."""

_NOTE = ".note"
"""Suffix of the file in which a process writes its note for the progress bar."""


def format_seconds(seconds: float) -> str:
    """Return a duration as ``h:mm:ss``.

    Examples
    --------
    >>> format_seconds(3725)
    '1:02:05'
    """
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def rough_duration(seconds: float) -> str:
    """Return a duration as text, rounded as roughly as an estimate.

    Examples
    --------
    >>> rough_duration(50), rough_duration(5000), rough_duration(50_000), rough_duration(500_000)
    ('50 seconds', '83 minutes', '14 hours', '6 days')
    """
    for unit, length, most in (("second", 1, 90), ("minute", 60, 90), ("hour", 3600, 48)):
        if seconds < most * length:
            return counted(max(1, round(seconds / length)), unit)
    return counted(round(seconds / 86400), "day")


@dataclass(frozen=True)
class Ticker:
    """Counts finished steps of several processes: each process appends one byte per step to its own file.

    This needs no lock and no open connection. A worker that does not see the folder (another host) counts nothing, and
    the bar then moves only when its unit is finished.

    Attributes
    ----------
    folder : Path or None
        Folder for the counts; ``None`` counts nothing.
    """

    folder: Path | None

    def tick(self, steps: int = 1, *, note: str = "", kept: bool = False) -> None:
        """Add finished steps, with a note (such as a loss or a metric); the bar shows the latest note.

        Steps that are `kept` are not repeated if the unit is interrupted.
        """
        if self.folder is None or not self.folder.is_dir():
            return
        # a unit must not fail because a full disk has no room for the progress bar
        with contextlib.suppress(OSError):
            with (self.folder / str(os.getpid())).open("ab") as handle:
                handle.write((_KEPT if kept else b".") * steps)
            if note:
                (self.folder / f"{os.getpid()}{_NOTE}").write_text(note, encoding="utf-8")

    def read(self) -> tuple[int, int, str]:
        """Return the number of steps that all processes finished, of those that are kept, and the latest note."""
        if self.folder is None or not self.folder.is_dir():
            return 0, 0, ""
        entries = list(self.folder.iterdir())
        steps = b"".join(entry.read_bytes() for entry in entries if entry.suffix != _NOTE)
        notes = [entry for entry in entries if entry.suffix == _NOTE]
        latest = ""
        if notes:
            newest = max(notes, key=lambda path: path.stat().st_mtime_ns)
            latest = newest.read_text(encoding="utf-8")
        return len(steps), steps.count(_KEPT), latest


class Progress(contextlib.AbstractContextManager["Progress"]):
    """Shows progress: a bar on a terminal, a line every 15 seconds in a log, and nothing if the log level hides it.

    The rate is that of the later half of the finished steps, so that a slow start counts little; the time before the
    first step (start of processes, loading of networks) is not counted. The time left is shown as soon as the rate is
    known well enough.

    Parameters
    ----------
    total : int or None
        Total number of steps; None if unknown, then no time left is shown.
    label : str
        Name of the task, e.g. ``"featurize"``.
    unit : str
        Name of a step, in the plural, e.g. ``"descriptors"``.
    """

    def __init__(self, *, total: int | None, label: str, unit: str) -> None:
        self._total = total
        self._label = label
        self._unit = unit
        self._began = self._last_line = time.monotonic()
        self._done = 0
        self._looks: list[tuple[float, int]] = []
        self._bar = None
        if total != 0 and sys.stderr.isatty() and _log.isEnabledFor(logging.INFO):
            from tqdm import tqdm

            # tqdm's own rate counts from the start of the command, so a slow start affects it for long
            layout = "{desc}: {n_fmt} {unit} [{elapsed}{postfix}]"
            if total is not None:
                layout = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit} [{elapsed}{postfix}]"
            self._bar = tqdm(
                total=total,
                desc=label,
                unit=unit,
                file=sys.stderr,
                dynamic_ncols=True,
                bar_format=layout,
                leave=False,
            )

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
            seconds = time.monotonic() - self._began
            if seconds >= _WORTH_KEEPING:
                _log.info(
                    "%s: %d %s in %s", self._label, self._done, self._unit, format_seconds(seconds)
                )

    def update_to(self, done: int, *, note: str = "") -> None:
        """Show that `done` steps are finished, with a note; a smaller number than before is ignored."""
        if self._total is not None:
            done = min(done, self._total)
        if done <= self._done:
            return
        step = done - self._done
        self._done = done
        now = time.monotonic()
        looks = self._looks
        looks.append((now, done))
        while len(looks) > 2 and looks[1][1] <= done - max(_HONEST, done / 2):
            del looks[0]
        state = "; ".join(filter(None, (self._speed(), note)))
        if self._bar is not None:
            self._bar.set_postfix_str(state, refresh=False)
            self._bar.update(step)
        elif now - self._last_line >= _LINE_SECONDS:
            self._last_line = now
            total = ""
            if self._total is not None:
                total = f"/{self._total}"
            if state:
                state = f", {state}"
            _log.info("%s: %d%s %s%s", self._label, done, total, self._unit, state)

    def _speed(self) -> str:
        """Return the rate of the later steps as text, and the time left if the rate is known well enough."""
        start, first = self._looks[0]
        end, last = self._looks[-1]
        if last == first or end <= start:
            return ""
        rate = (last - first) / (end - start)
        speed = f"{rate:.2f}/s"
        if rate < 0.1:
            speed = f"{1 / rate:.0f} s each"
        if last - first < _HONEST or self._total is None:
            return speed
        return f"{speed}, {format_seconds((self._total - self._done) / rate)} left"
