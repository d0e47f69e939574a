"""What does not fit a dataset's layout: one treatment for every command that reads images."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..core import InputError, few, readable_name

_log = logging.getLogger(__name__)

_NAMED = 3
"""Files that are named of those with the same finding."""

_LINES = 10
"""Lines of warnings, and of notes, before the rest is only counted."""


Level = Literal["note", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    r"""Something in a dataset that does not fit its layout.

    Attributes
    ----------
    level : {"note", "warning", "error"}
        A note is known debris or a fact worth saying; an error keeps the dataset from being used.
    file : str
        The file or row it is about; bytes of a name that are not UTF-8 stand as ``\xe9``.
    message : str
        What is wrong, and how to mend it.
    labels_only : bool
        Whether it concerns labels and groups only, so that work without them can go on.
    kind : str
        What several findings print together whose messages differ, since each names another file.
    """

    level: Level
    file: str
    message: str
    labels_only: bool = False
    kind: str = ""

    def __post_init__(self) -> None:
        # A name that is not UTF-8 can be neither printed nor written.
        object.__setattr__(self, "file", readable_name(self.file))
        object.__setattr__(self, "message", readable_name(self.message))

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


def pairs_alike(number: int) -> str:
    """Say how many pairs of copies there seem to be.

    Examples
    --------
    >>> pairs_alike(1)
    '1 pair of images seems to show the same pixels'
    """
    return f"{number:,} {'pair of images seems' if number == 1 else 'pairs of images seem'} to show the same pixels"


def grouped(findings: Iterable[Finding]) -> list[tuple[str, str, list[str]]]:
    """Return level, message and files of findings, those of one level and kind or message together; errors first."""
    together: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        together.setdefault((finding.level, finding.kind or finding.message), []).append(finding)
    order = ("error", "warning", "note")
    return [
        (level, text if len(same) > 1 else same[0].message, [finding.file for finding in same])
        for (level, text), same in sorted(together.items(), key=lambda group: order.index(group[0][0]))
    ]


def raise_errors(findings: Iterable[Finding]) -> None:
    """Refuse findings of level error.

    Raises
    ------
    InputError
        The first such finding, and how many more there are.
    """
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        more = f" ({len(errors) - 1} more; see `bchisto data check`)" if len(errors) > 1 else ""
        raise InputError("{}: {}{}", errors[0].file, errors[0].message, more)


def report_findings(findings: Sequence[Finding], *, labels: bool = True) -> None:
    """Refuse findings of level error, and log all others: files with the same finding in one line.

    Parameters
    ----------
    findings : sequence of Finding
        Of `read_dataset`.
    labels : bool
        Whether labels matter; without them an error that concerns only labels is a warning, and a warning nothing.

    Raises
    ------
    InputError
        See `raise_errors`.
    """
    findings = [
        candidate for candidate in findings if labels or not candidate.labels_only or candidate.level == "error"
    ]
    raise_errors(finding for finding in findings if labels or not finding.labels_only)
    for levels, log in ((("error", "warning"), _log.warning), (("note",), _log.info)):
        lines = [(names, message) for level, message, names in grouped(findings) if level in levels]
        for names, message in lines[:_LINES]:
            log("%s: %s", few(names), message)
        if len(lines) > _LINES:
            log("%d further %ss; `bchisto data check` shows them all", len(lines) - _LINES, levels[-1])
