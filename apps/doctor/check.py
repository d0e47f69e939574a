"""The outcome of a check (name, status, finding, remedy), and lists of checks as text and JSON."""

from __future__ import annotations

import contextlib
import faulthandler
import getpass
import multiprocessing
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, TypeAlias

from ... import __version__
from ...core import BchistoError, Content, Write, counted, message_of, public, written

Status = Literal["ok", "note", "warning", "failure"]
"""A note is a fact that some users want to change; with a failure, commands will fail."""

_MOST_SECONDS = 180
"""Maximum wait for a check in a process of its own. Libraries on a slow network disk take a minute to load."""

_CURE = (
    "more memory (ulimit -v); if there is enough, install the package again that is named here, or copy the files "
    "again that are checked"
)
"""The remedy if a check raises an unexpected error, does not end, or ends its process."""

_ORDER: Sequence[Status] = ("failure", "warning", "note", "ok")


_FOLDERS = ("BCHISTO_CACHE", "BCHISTO_ENCODERS", "KERAS_HOME", "TMPDIR", "XDG_CACHE_HOME")
"""Variables of the environment that name a user's folders."""

_IMAGE = re.compile(r"[^\s:;,()'\"]+\.(tiff?|png|jpe?g|dcm|dicom|ljpeg)\b", re.IGNORECASE)
"""Matches file names of images, which may contain the name of a patient."""


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes
    ----------
    name : str
        What was checked.
    status : {"ok", "note", "warning", "failure"}
    finding : str or Message
        What was found.
    remedy : str or Message
        What to type or do; empty if there is nothing to fix.
    """

    name: str
    status: Status
    finding: str
    remedy: str = ""


Examination: TypeAlias = Callable[[], Iterable[Check]]
"""A function that does one check, which may have several outcomes."""


def run_checks(
    checks: Mapping[str, Examination],
    *,
    apart: Collection[str] = (),
    hide: Mapping[str, str],
    write: Write,
) -> list[Check]:
    """Run checks; a check that raises an exception, or ends its process, is a failure, and the others still run.

    Parameters
    ----------
    checks : mapping of str to callable
        Name of a check to the function that does it.
    apart : collection of str
        Names of the checks that run in a process of their own. Messages of the others must not name parameters, since
        writing these needs packages that may be broken.
    hide : mapping of str to str
        Private text, such as a path with a person's name, to its replacement in findings and remedies.
    write : callable
        Writes names of parameters in messages, see `bchisto.core.written`.

    Returns
    -------
    list of Check
        Failures first, then warnings, notes, and checks without a problem.
    """
    outcomes: list[Check] = []
    for name, check in checks.items():
        runner = _apart if name in apart else _outcome
        outcomes += runner(name, check, write)
    # a folder inside the home folder is replaced first
    longest_first = sorted(hide.items(), key=lambda pair: -len(pair[0]))

    def anonymous(text: str) -> str:
        for secret, word in longest_first:
            text = re.sub(re.escape(secret) + r"(?![\w-])", word, text)
        return " ".join(_IMAGE.sub("IMAGE", text).split())

    cleaned = [
        replace(check, finding=anonymous(check.finding), remedy=anonymous(check.remedy))
        for check in outcomes
    ]
    return sorted(cleaned, key=lambda check: _ORDER.index(check.status))


def _outcome(name: str, check: Examination, write: Write) -> list[Check]:
    try:
        outcomes = [*check()]
    except BchistoError as error:
        outcomes = [Check(name, "failure", message_of(error))]
    except Exception as error:  # noqa: BLE001 - a broken package may raise anything
        outcomes = [Check(name, "failure", f"{type(error).__name__}: {error}", _CURE)]
    return [
        replace(
            check,
            finding=written(public(check.finding), write),
            remedy=written(public(check.remedy), write),
        )
        for check in outcomes
    ]


def _apart(name: str, check: Examination, write: Write) -> list[Check]:
    """Run a check in a new process, since a library such as TensorFlow may end the process that loads it."""
    context = multiprocessing.get_context("spawn")
    outcomes, sender = context.Pipe(duplex=False)
    traces, tracer = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, tracer, name, check, write))
    process.start()
    sender.close()
    tracer.close()
    if not outcomes.poll(_MOST_SECONDS):  # without memory a library may also try for ever
        process.kill()
        return [Check(name, "failure", f"no result in {_MOST_SECONDS} s", _CURE)]
    with contextlib.suppress(EOFError):
        return [*outcomes.recv()]
    process.join()
    trace = os.read(traces.fileno(), 1 << 16).decode(errors="replace")
    code = process.exitcode or 0
    end = signal.Signals(-code).name if code < 0 else f"code {code}"
    finding = f"its process ended with {end}"
    package = re.search(r"(?:site|dist)-packages/(\w+)", trace)
    if package is not None:
        finding += f" in {package[1]}"
    return [Check(name, "failure", finding, _CURE)]


def _send(
    sender: Connection, tracer: Connection, name: str, check: Examination, write: Write
) -> None:
    """Do a check in this process, and send its outcome to the parent, or a trace if the process crashes."""
    faulthandler.enable(tracer.fileno())
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries write there from C
    sender.send(_outcome(name, check, write))


def as_lines(checks: Sequence[Check], *, every: bool = False) -> list[str]:
    """Return lines of text for a terminal: the checks that need attention (or all), and a summary.

    Examples
    --------
    >>> as_lines([Check("Python", "ok", "3.11.7")])
    ['1 check, nothing to correct; -v lists it all']
    """
    shown = [check for check in checks if every or check.status in ("failure", "warning")]
    width = max((len(check.name) for check in shown), default=0)
    lines = []
    for check in shown:
        lines.append(f"{check.status:<7}  {check.name:<{width}}  {check.finding}")
        if check.remedy:
            lines.append(f"{'':<7}  {'':<{width}}  -> {check.remedy}")
    counts = Counter(check.status for check in checks)
    trouble = ", ".join(counted(counts[status], status) for status in _ORDER[:2] if counts[status])
    hint = "" if every else "; -v lists it all"
    return [*lines, f"{counted(len(checks), 'check')}, {trouble or 'nothing to correct'}{hint}"]


def as_json(checks: Sequence[Check]) -> Content:
    """Return checks JSON-ready: the version of bchisto, whether a check failed, and each check."""
    return {
        "bchisto": __version__,
        "failed": any(check.status == "failure" for check in checks),
        "checks": [asdict(check) for check in checks],
    }


def private_texts(paths: Mapping[str, Path]) -> dict[str, str]:
    """Return the texts that `run_checks` hides, and what replaces each: user, home, `paths`, folders in variables.

    A folder above a path, but not one at the root such as ``/tmp``, is written as the path and ``/..``.
    """
    hidden: dict[str, str] = {}
    with contextlib.suppress(OSError, KeyError):  # a container may run as a user without a name
        hidden[f"/{getpass.getuser()}"] = "/USER"

    def expanded(value: str) -> Path:
        # `Path.expanduser` fails for a user without a name
        return Path(os.path.expanduser(value)).absolute()  # noqa: PTH111

    home = expanded("~")
    if home.name:
        hidden[str(home)] = "~"
    folders = {name: expanded(os.environ[name]) for name in _FOLDERS if os.environ.get(name)}
    for word, path in {**paths, **folders}.items():
        for form in (path, path.resolve()):
            for steps, folder in enumerate((form, *form.parents)):
                if len(folder.parts) > 1 + (steps > 0):
                    hidden.setdefault(str(folder), word + "/.." * steps)
    return hidden
