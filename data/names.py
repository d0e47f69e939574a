"""Labels, groups and parts from the names of images, and lists of images."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ..core import InputError, Message, MissingInputError, Parameter, few
from ..core.formats import IMAGE, read_csv, visible
from .dataset import IMAGE_SUFFIXES, Dataset
from .findings import Finding

_LONGEST = 200
"""Largest number of characters of a pattern."""


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
                "{}: give a level such as 2, or a pattern of 1 to {} characters", Parameter(name), _LONGEST
            )
        if re.fullmatch(r"[+-]?[0-9]+", text):
            if int(text) == 0:
                raise InputError("{} 0: level 1 is the first folder, -1 the one that holds the image", Parameter(name))
            return cls(name, int(text))
        try:
            return cls(name, pattern=re.compile(unicodedata.normalize("NFC", text)))
        except (re.error, OverflowError, RecursionError) as error:
            raise InputError("{} {}: no level, and no regular expression ({})", Parameter(name), text, error) from error

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

    def findings(self, root: Path, values: Mapping[str, str | None], what: str) -> list[Finding]:
        """Return a finding that names the paths that the rule does not fit; an error if it fits none.

        Parameters
        ----------
        root : Path
            Folder of the images, for the message.
        values : mapping
            Path to what the rule found in it.
        what : {"label", "group"}
            What the rule finds, for the message.
        """
        without = [path for path, value in values.items() if value is None]
        if not without:
            return []
        if len(without) == len(values):
            message = Message(
                "{} fits none of the {} paths, such as {}; correct it", Parameter(self.name), len(values), without[0]
            )
            return [Finding("error", str(root), message, labels_only=True)]
        fits = Message(
            "{} fits {} of {} paths; the others have no {}, so",
            Parameter(self.name), len(values) - len(without), len(values), what,
        )  # fmt: skip
        so = "folds cannot keep patients whole" if what == "group" else "they are neither trained nor tested"
        return [Finding("warning", few(without), Message("{} {}", fits, so))]


_SUFFIXES = IMAGE_SUFFIXES | {".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".svslide", ".czi"}
"""Suffixes of pictures and whole slides, by which names in tables may differ from those of images."""


def read_image_list(path: Path, *, option: str) -> frozenset[str]:
    """Return the images that a CSV lists in its column ``image_id``.

    Parameters
    ----------
    path : Path
        UTF-8, with a header; further columns are ignored.
    option : str
        The parameter that named the file, for messages.

    Raises
    ------
    InputError
        There is no such file or column, or the list is empty.
    """
    if not path.is_file():
        raise MissingInputError("{} {}: no such file", Parameter(option), path)
    table = read_csv(path, needed=(IMAGE,), expected="image_id")
    ids = table.choose(IMAGE)
    table.log_columns({IMAGE: ids})
    listed = frozenset(row[ids] for _, row in table.rows)
    if not listed:
        raise InputError("{} {}: lists no image; name one below the header", Parameter(option), path)
    return listed


def only_listed(dataset: Dataset, path: Path) -> Dataset:
    """Return the dataset with only the images that a CSV lists.

    Raises
    ------
    InputError
        See `read_image_list`; or a listed image is not in the dataset.
    """
    listed = read_image_list(path, option="only")
    names, findings = match_names(sorted(listed), (record.image_id for record in dataset.records), where=str(path))
    if absent := sorted(listed - names.keys()):
        raise InputError(
            "{only} {}: {} of its {} images are missing, first {}; correct these names, or remove the rows",
            path, len(absent), len(listed), absent[0],
        )  # fmt: skip
    chosen = {*names.values()}
    records = tuple(record for record in dataset.records if record.image_id in chosen)
    return replace(dataset, records=records, findings=(*dataset.findings, *findings))


def match_names(rows: Iterable[str], images: Iterable[str], *, where: str) -> tuple[dict[str, str], list[Finding]]:
    r"""Return the image that each name of a table means: with or without folder and suffix, if only one fits.

    Unicode forms, characters that nobody sees, and ``\`` in place of ``/`` do not matter.

    Parameters
    ----------
    rows : iterable of str
        Names in a table, such as ``a.svs``.
    images : iterable of str
        Names of images, such as ``a`` or ``train/a.png``.
    where : str
        The table, for the finding.

    Returns
    -------
    dict of str to str
        Name in the table to name of the image; without names that fit no image, or several.
    list of Finding
        A note on names that are not those of the images.
    """
    rows, images = list(dict.fromkeys(rows)), set(images)
    names = {row: row for row in rows if row in images}
    for short in (_plain, _bare, _last, lambda name: _bare(_last(name))):
        left = _alone(images.difference(names.values()), short)
        names |= {row: left[key] for key, row in _alone(set(rows) - names.keys(), short).items() if key in left}
    other = [row for row in rows if _plain(names.get(row, row)) != _plain(row)]
    message = f"{len(other)} of {len(rows)} rows name the image with another folder or suffix"
    return names, [Finding("note", where, f"{message}, such as {row} for {names[row]}") for row in other[:1]]


def _plain(name: str) -> str:
    return visible(unicodedata.normalize("NFC", name)).replace("\\", "/")


def _bare(name: str) -> str:
    """Return a name without the suffix of a picture or slide."""
    stem, dot, suffix = _plain(name).rpartition(".")
    return stem if f"{dot}{suffix}".casefold() in _SUFFIXES and stem else _plain(name)


def _last(name: str) -> str:
    return _plain(name).rpartition("/")[2]


def _alone(names: Collection[str], short: Callable[[str], str]) -> dict[str, str]:
    """Return a dict from short name to name, without those that several names share."""
    counts = Counter(map(short, names))
    return {short(name): name for name in names if counts[short(name)] == 1}
