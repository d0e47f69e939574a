"""Rules that find the label or the patient of an image in its path."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..core import InputError, Message, Parameter, few
from .findings import Findings

_LONGEST = 200
"""Largest number of characters of a pattern."""

NO_GROUPS = "none"
"""Value of the option ``group_from`` with which no patient is taken from paths."""


@dataclass(frozen=True)
class PathRule:
    """A rule that finds the label or the group of an image in its path.

    Attributes
    ----------
    name : str
        The parameter that set the rule, for messages.
    level : int
        Level of the folder: 1 is the first folder, -1 the one that contains the file; 0 if there is a pattern.
    pattern : re.Pattern or None
        Regular expression that is searched in the path. The result is its first group, or the whole match if it has no
        groups.
    """

    name: str
    level: int = 0
    pattern: re.Pattern[str] | None = None

    @classmethod
    def of(cls, text: str, *, name: str) -> PathRule:
        r"""Create a rule from a text: a whole number is a level, anything else a regular expression.

        Parameters
        ----------
        text : str
        name : str
            The parameter, for messages.

        Raises
        ------
        InputError
            Level 0, an empty or too long text, or an invalid regular expression.

        Examples
        --------
        >>> PathRule.of("-1", name="group_from").find(["benign/P07/a.png"])
        {'benign/P07/a.png': 'P07'}
        >>> PathRule.of(r"P(\d+)/", name="group_from").find(["benign/P07/a.png"])
        {'benign/P07/a.png': '07'}
        """
        if not text or len(text) > _LONGEST:
            raise InputError(
                "{}: give a level such as 2, or a pattern of 1 to {} characters",
                Parameter(name),
                _LONGEST,
            )
        if re.fullmatch(r"[+-]?[0-9]+", text):
            if int(text) == 0:
                raise InputError(
                    "{} 0: level 1 is the first folder, -1 the one that holds the image",
                    Parameter(name),
                )
            return cls(name, int(text))
        try:
            return cls(name, pattern=re.compile(unicodedata.normalize("NFC", text)))
        except (re.error, OverflowError, RecursionError) as error:
            raise InputError(
                "{} {}: no level, and no regular expression ({})", Parameter(name), text, error
            ) from error

    def find(self, paths: Iterable[str]) -> dict[str, str | None]:
        """Return a dict from each POSIX path to what the rule finds in it; None if it finds nothing.

        Paths are searched in Unicode's composed form (NFC).
        """
        composed = {path: unicodedata.normalize("NFC", path) for path in paths}
        return {path: self._part(text) for path, text in composed.items()}

    def _part(self, path: str) -> str | None:
        if self.pattern is not None:
            match = self.pattern.search(path)
            return None if match is None else match[1 if self.pattern.groups else 0] or None
        folders = [part for part in PurePosixPath(path).parts[:-1] if part != "/"]
        index = self.level - 1 if self.level > 0 else self.level
        return folders[index] if -len(folders) <= index < len(folders) else None

    def applied(
        self, paths: Iterable[str], *, root: Path, what: str, findings: Findings
    ) -> dict[str, str | None]:
        """Return the result of `find`, and add a finding on paths that the rule does not fit, an error if it fits none.

        Parameters
        ----------
        paths : iterable of str
        root : Path
            Folder of the images, for the message.
        what : {"label", "group"}
            What the rule finds, for the message.
        findings : Findings
            Gets the finding.
        """
        values = self.find(paths)
        unmatched = [path for path, value in values.items() if value is None]
        if not unmatched:
            return values
        if len(unmatched) == len(values):
            message = Message(
                "{} fits none of the {} paths, such as {}; correct it",
                Parameter(self.name),
                len(values),
                unmatched[0],
            )
            findings.error(str(root), message, labels_only=True)
            return values
        count_text = Message(
            "{} fits {} of {} paths; the others have no {}, so",
            Parameter(self.name),
            len(values) - len(unmatched),
            len(values),
            what,
        )
        effect = "they are neither trained nor tested"
        if what == "group":
            effect = "each counts as a patient of its own"
        findings.warning(few(unmatched), Message("{} {}", count_text, effect))
        return values
