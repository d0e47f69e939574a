"""How long a task may run, and how long before that it is told to stop, by what a unit takes."""

from __future__ import annotations

import re

from ..core import InputError

SEVERAL = 3
"""Units that must fit between the start of a task and its signal: what is under way at the signal is given up."""

_START_SECONDS = 120
"""What a task takes before its first unit: libraries and weights from a shared disk."""

_LEADS = (60, 120)
"""How long before its limit a task is told to stop, if its units are shorter than the first, and else. It gives up what
is under way, so it need not be longer; Slurm is up to a minute early."""

_SLOWER = 3.0
"""By how much a task may be slower than was reckoned: cores differ, and disks are shared."""

_MOST_SECONDS = 4 * 3600
"""No more is asked for unless several units need it: partitions refuse long jobs, and a task goes on in
another round."""

_LEAST_SECONDS = 1800
"""No less is asked for: a merge has the same limit, and it reads and writes all parts, which does not follow from
units. At 50 MB/s half an hour is enough for 90 GB."""

_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<parts>\d+(?::\d+){0,2})")


def lead_seconds(unit: float | None) -> int:
    """Return how long before its limit a task is told to stop; of units of unknown length the longer."""
    return _LEADS[0] if unit is not None and unit < _LEADS[0] else _LEADS[1]


def check_time(time: str, command: str, unit: float | None) -> None:
    """Refuse a limit between whose start and signal not several units of a command fit.

    Parameters
    ----------
    time : str
        As ``sbatch --time`` takes it.
    command : str
    unit : float or None
        Seconds that a unit takes; None if that is not known.

    Raises
    ------
    InputError
        The message gives a limit that is enough.
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
    """Return the shortest limit of use."""
    return 0.0 if unit is None else _START_SECONDS + lead_seconds(unit) + SEVERAL * unit


def limit_of(unit: float, units: int, *, most_known: bool = False) -> str:
    """Return the limit of a task that has so many units to do one after the other, as Slurm writes it.

    If `unit` is only known to be the most that one takes, as of a core for work of a GPU, not even several units
    lengthen the limit above the usual.
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
