"""Findings: problems and notes about a dataset, which every command that reads images reports in the same way."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..core import (
    Banner,
    InputError,
    Kind,
    Message,
    Pairs,
    by_key,
    counted,
    few,
    has_kind,
    readable_name,
)

_log = logging.getLogger(__name__)

_LINES = 10
"""Number of warnings, and of notes, that are logged; further ones are only counted."""


Level = Literal["note", "warning", "error"]

LEAVE_OUT = (
    "move such pictures elsewhere",
    Message("list the others for {featurize.only:LIST.csv}"),
)
"""Remedies for pictures that are not images of the data set."""


@dataclass(frozen=True)
class Finding:
    r"""A problem in a dataset, or a note about it.

    Attributes
    ----------
    level : {"note", "warning", "error"}
        A note is information only. A dataset with an error cannot be used.
    file : str
        The file or row that has the problem. Bytes of its name that are not UTF-8 are shown as ``\xe9``.
    message : str
        The problem, and how to fix it.
    labels_only : bool
        Whether it concerns only labels and groups, so that work without them can continue.
    options : tuple of (str, str)
        Options that it recommends for the next commands, each with its value as typed.
    perhaps : str
        Advice for the next commands that depends on something only the user knows.
    kind : str
        Common message for several findings whose messages differ, such as in the names of files.
    copy : str
        Path of a file that is left out as a copy of the image.
    """

    level: Level
    file: str
    message: str
    labels_only: bool = False
    kind: str = ""
    options: Pairs = ()
    perhaps: str = ""
    copy: str = ""

    def __post_init__(self) -> None:
        # a name that is not UTF-8 cannot be printed or written
        object.__setattr__(self, "file", readable_name(self.file))
        object.__setattr__(self, "message", readable_name(self.message))

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


class Findings(list[Finding]):
    """Findings that are collected while a dataset is read; each method adds one, see `Finding`."""

    def note(self, file: str, message: str, **facts: Any) -> None:
        """Add information."""
        self.append(Finding("note", file, message, **facts))

    def warning(self, file: str, message: str, **facts: Any) -> None:
        """Add a problem with which work can go on."""
        self.append(Finding("warning", file, message, **facts))

    def error(self, file: str, message: str, **facts: Any) -> None:
        """Add a problem with which the dataset cannot be used."""
        self.append(Finding("error", file, message, **facts))


def pairs_alike(number: int) -> str:
    """Return a phrase with the number of pairs of near-duplicates.

    Examples
    --------
    >>> pairs_alike(1)
    '1 pair of images seems to show the same pixels'
    """
    return f"{number:,} {'pair of images seems' if number == 1 else 'pairs of images seem'} to show the same pixels"


def grouped(findings: Iterable[Finding]) -> list[tuple[str, str, list[str]]]:
    """Group findings of the same level and kind or message: return level, message and files of each, errors first."""
    groups = by_key(findings, lambda finding: (finding.level, finding.kind or finding.message))
    order = ("error", "warning", "note")
    return [
        (level, text if len(same) > 1 else same[0].message, [finding.file for finding in same])
        for (level, text), same in sorted(
            groups.items(), key=lambda group: order.index(group[0][0])
        )
    ]


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether a finding is an error."""
    return any(finding.level == "error" for finding in findings)


def raise_errors(findings: Iterable[Finding]) -> None:
    """Raise an error if there are findings of level error.

    Raises
    ------
    InputError
        Contains the first of these findings and the number of others.
    """
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        more = f" ({len(errors) - 1} more; see `bchisto data check`)" if len(errors) > 1 else ""
        raise InputError("{}: {}{}", errors[0].file, errors[0].message, more)


def report_findings(findings: Sequence[Finding], *, labels: bool = True) -> None:
    """Raise an error for findings of level error, and log all others, with one line for equal findings.

    Parameters
    ----------
    findings : sequence of Finding
    labels : bool
        Whether labels matter. If not, errors that concern only labels are logged as warnings, and such warnings are
        ignored.

    Raises
    ------
    InputError
        See `raise_errors`.
    """
    if not findings:
        return
    findings = [
        candidate
        for candidate in findings
        if labels or not candidate.labels_only or candidate.level == "error"
    ]
    raise_errors(finding for finding in findings if labels or not finding.labels_only)
    for levels, log in ((("error", "warning"), _log.warning), (("note",), _log.info)):
        lines = [(names, message) for level, message, names in grouped(findings) if level in levels]
        for names, message in lines[:_LINES]:
            log("%s: %s", few(names), message)
        if len(lines) > _LINES:
            log(
                "%s; `bchisto data check` shows them all",
                counted(len(lines) - _LINES, f"further {levels[-1]}"),
            )


def warn_left_out(failures: Mapping[str, str], logged: Container[str] = ()) -> None:
    """Log why images are left out, except those in `logged`; of many only the first, with the number of others."""
    reasons = [text for image, text in failures.items() if image not in logged]
    for text in reasons[:_LINES]:
        _log.warning("left out: %s", text)
    if len(reasons) > _LINES:
        _log.warning("left out: %s", counted(len(reasons) - _LINES, "further image"))


MIXED = frozenset({Kind.PATIENTS_MIXED, Kind.PATIENTS_PARTLY_UNKNOWN, Kind.PATIENTS_UNKNOWN})


def mixes_patients(banners: Iterable[Banner]) -> bool:
    """Return whether patients were, or may have been, in both training and test sets."""
    return has_kind(banners, *MIXED)
