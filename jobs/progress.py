"""Progress with a rate and the time left: a bar on a terminal, lines in a log otherwise."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Progress", "Ticker", "format_seconds"]

_log = logging.getLogger(__name__)

_LINE_SECONDS = 15.0
"""Seconds between two lines in a log: rare enough to read, often enough to see that it lives."""

_NOTE = ".note"
"""Suffix of the file in which a process leaves words for the bar."""


def format_seconds(seconds: float) -> str:
    """Write a duration as ``h:mm:ss``.

    Examples
    --------
    >>> format_seconds(3725)
    '1:02:05'
    """
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


class Ticker:
    """Counts finished steps from any process: each process appends one byte per step to a file of its own.

    Needs no lock and no open channel. A worker that cannot see the folder (another host) counts nothing, and
    the bar then moves when its unit is finished.

    Parameters
    ----------
    folder : Path or None
        Where the counts are kept; ``None`` counts nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def tick(self, steps: int = 1, *, note: str = "") -> None:
        """Add finished steps, with a few words on how it goes (a loss, a metric), of which the latest are shown."""
        if self._folder is None or not self._folder.is_dir():
            return
        # a full disk must not cost the unit for the sake of the bar
        with contextlib.suppress(OSError):
            with (self._folder / str(os.getpid())).open("ab") as handle:
                handle.write(b"." * steps)
            if note:
                (self._folder / f"{os.getpid()}{_NOTE}").write_text(note, encoding="utf-8")

    def count(self) -> int:
        """Return the steps finished by all processes."""
        if self._folder is None or not self._folder.is_dir():
            return 0
        return sum(entry.stat().st_size for entry in self._folder.iterdir() if entry.suffix != _NOTE)

    def note(self) -> str:
        """Return the latest words of any process."""
        if self._folder is None:
            return ""
        notes = list(self._folder.glob(f"*{_NOTE}"))
        return max(notes, key=lambda path: path.stat().st_mtime_ns).read_text(encoding="utf-8") if notes else ""


class Progress:
    """A bar on a terminal, a line every 15 seconds in a log; silent when the log level hides it.

    Parameters
    ----------
    total : int or None
        Steps in all; None where that is not known, then no time left is shown.
    label : str
        What is being done, e.g. ``"featurize"``.
    unit : str
        What a step is, e.g. ``"descriptors"``.
    """

    def __init__(self, *, total: int | None, label: str, unit: str) -> None:
        self._total, self._label, self._unit = total, label, unit
        self._started = self._last_line = time.monotonic()
        self._done = 0
        self._bar: Any = None
        if total != 0 and sys.stderr.isatty() and _log.isEnabledFor(logging.INFO):
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=label, unit=f" {unit}", file=sys.stderr, dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def update_to(self, done: int, *, note: str = "") -> None:
        """Show that `done` steps are finished, and `note` behind them; never goes backwards."""
        done = done if self._total is None else min(done, self._total)
        if done <= self._done:
            return
        step, self._done = done - self._done, done
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(step)
            return
        now = time.monotonic()
        if now - self._last_line >= _LINE_SECONDS:
            self._last_line = now
            rate = self._done / (now - self._started)
            said = f"; {note}" if note else ""
            if self._total is None:
                _log.info("%s: %d %s, %.2f/s%s", self._label, self._done, self._unit, rate, said)
                return
            left = format_seconds((self._total - self._done) / rate)
            _log.info(
                "%s: %d/%d %s, %.2f/s, %s left%s", self._label, self._done, self._total, self._unit, rate, left, said
            )
