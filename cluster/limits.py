"""The time limit of a task, and how long before it the task gets the signal to stop, by the time of a unit."""

from __future__ import annotations

import re

from ..core import InputError

SEVERAL = 3
"""Number of units that must fit between the start of a task and its signal: the unit in progress is lost then."""

_START_SECONDS = 120
"""Time of a task before its first unit: libraries and weights from a shared disk."""

_LEADS = (60, 120)
"""How long before its limit a task gets the signal: the first if its units are shorter than that, else the second. The
task does not finish its unit, so more is not needed; Slurm is up to a minute early."""

_SLOWER = 3.0
"""By how much a task may be slower than estimated: cores differ, and disks are shared."""

_MOST_SECONDS = 4 * 3600
"""Longest limit, unless several units need more: partitions refuse long jobs, and a task continues in another
round."""

_LEAST_SECONDS = 1800
"""Shortest limit: a merge has the same, and its time does not follow from units, since it reads and writes all parts.
At 50 MB/s half an hour is enough for 90 GB."""

_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<parts>\d+(?::\d+){0,2})")


def lead_seconds(unit: float | None) -> int:
    """Return how long before its limit a task gets the signal; the longer one if the time of a unit is not known."""
    return _LEADS[0] if unit is not None and unit < _LEADS[0] else _LEADS[1]


def check_time(time: str, command: str, unit: float | None) -> None:
    """Refuse a limit in which not `SEVERAL` units of a command fit between start and signal.

    Parameters
    ----------
    time : str
        As ``sbatch --time`` takes it.
    command : str
    unit : float or None
        Seconds of a unit; None if not known.

    Raises
    ------
    InputError
        The limit is too short, and the message gives one that is enough.
    """
    match = _TIME.fullmatch(time.strip())
    if match is None:
        raise InputError("{time} {}: write it as sbatch takes it, for example 4:00:00 or 1-12", time)
    numbers = [int(number) for number in match["parts"].split(":")]
    if match["days"] is None:  # minutes, minutes:seconds, hours:minutes:seconds
        numbers = [0] * (len(numbers) < 3) + numbers
    days, (hours, minutes, seconds) = int(match["days"] or 0), [*numbers, 0, 0][:3]
    needed = least_seconds(unit)
    if (86400 * days + 3600 * hours + 60 * minutes + seconds) < needed:
        raise InputError(
            "{time} {}: between its start and its signal a task of {} does not do {} units of about {:.0f} s; give {}",
            time, command, SEVERAL, unit or 0.0, written(needed),
        )  # fmt: skip


def least_seconds(unit: float | None) -> float:
    """Return the shortest useful limit in seconds."""
    return 0.0 if unit is None else _START_SECONDS + lead_seconds(unit) + SEVERAL * unit


def limit_of(unit: float, units: int, *, most_known: bool = False) -> str:
    """Return the limit of a task that does so many units one after the other, as Slurm writes it.

    With `most_known`, `unit` is only an upper bound, such as the time of a core for the work of a GPU. Then units do
    not lengthen the limit beyond the usual.
    """
    whole = _START_SECONDS + lead_seconds(unit) + _SLOWER * unit * units
    several = 0.0 if most_known else least_seconds(_SLOWER * unit)
    return written(max(_LEAST_SECONDS, several, min(whole, _MOST_SECONDS)))


def written(seconds: float) -> str:
    """Return a time as Slurm writes it, in whole minutes.

    Examples
    --------
    >>> written(5000), written(90000)
    ('1:24:00', '25:00:00')
    """
    minutes = -int(-seconds // 60)
    return f"{minutes // 60}:{minutes % 60:02}:00"
