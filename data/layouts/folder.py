"""A layout for the user's own images: folders of classes, perhaps below or above those of a split, sets or patients.

What the folders of a path mean is seen from the names, and from whether the same names recur below several folders, as
those of classes do below patients.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...core import Message, Names, Pairs, counted, few
from ...core.formats import PART
from ..dataset import ImageRecord, part_of
from ..findings import Finding, Findings
from ..findings import Level as Severity
from ..path_rules import PathRule
from ..walk import list_images
from .registry import LayoutReading, LayoutSpec, known_classes, patient_in

_CLASS = re.compile(
    r"benign|malignant|norm(al)?|healthy|tum(ou?rs?)?|cancer(ous)?|(adeno)?carcinoma|idc|ilc|dcis|insitu|invasive|"
    r"neg(ative)?|pos(itive)?|controls?|stroma|necrosis|class|label|grade|score|stage"
)
_FOLD = r"(k?-?folds?|cv|cross[\s_-]?val\w*|split|round|run)"
_GAPS = re.compile(r"[\W\d_]+")
"""Signs that separate the words of a name."""

_SET = re.compile(
    rf"({_FOLD}|partition|part|set|subset|cohort|batch|sites?|cent(re|er)|hospital|scanner|lab)"
    r"([\s_-]*\d+|[\s_-]+[a-z])|\d+(\.\d+)?[\s_-]?x|x[\s_-]?\d+|40|100|200|400|(19|20)\d\d"
)
"""Names of folds, sites, magnifications and years."""

_PATIENT = re.compile(
    r"(p|pat|patient|case|slide|subject|donor|specimen|wsi|id)s?([\s_#-]*\d[\w.-]*|[\s_-]+[a-z])|"
    r"\d{3,}[\w.-]*|\d+-\d+[\w-]*|tcga\W.*"
)

# the kinds of levels, which are what their folders are taken for, in the words of the messages
SPLIT = "parts of a split"
"""``train``, ``test``; also ``lung_val``."""

FOLDS = "folds"
"""``fold_0``, ``cv3``."""

SETS = "sets"
"""Sites, magnifications and years: ``site_A``, ``40X``, ``2019``."""

PATIENTS = "patients"
"""``P01``, ``case 7``, ``14-2523``."""

AROUND = "one folder around all"
"""The only folder of its level, if its name means nothing there: ``my study``."""

_OUTER = (SPLIT, FOLDS, SETS, PATIENTS, AROUND)
"""Kinds of levels above the classes; the first level of another kind has the labels."""

CLASSES = "classes"
"""``benign``, ``grade1``, ``0``; in the end also the labels of any other name, if no other level may be the classes."""

_MIXED = "parts beside classes"
"""``train`` and ``control``: one part of a split, or parts without folders in them, beside other names."""

_NUMBERS = "numbers"
"""Other names that all hold two digits, as numbers of slides do: ``he01``."""

_OTHER = ""
"""Names that tell nothing."""

UNCLEAR = "perhaps classes"
"""Each of the two levels that may be the classes."""


class Level(NamedTuple):
    """The folders at one level of a tree.

    Attributes
    ----------
    number : int
        1 is the first folder below the root.
    names : tuple of str
        Sorted.
    kind : str
        What they are taken for, one of the constants above: as judged by the names, or as `levels_of` settles it.
    recurs : bool
        Whether at least half of two or more names are those of folders below several others, as those of classes are
        below patients: ``P1/benign``, ``P1/malignant``, ``P2/benign``.
    parts : mapping of str to str
        Folder to the part of a split that it names.
    """

    number: int
    names: tuple[str, ...]
    kind: str
    recurs: bool
    parts: Mapping[str, str]


def levels_of(paths: Iterable[str], *, known: Iterable[str], grouped: bool = False) -> list[Level]:
    """Return the levels of the folders in the paths of images, down to the classes, and the parts of a split below.

    Known class names decide which level the classes are. Without them it is the only one that may be, or two are
    unclear.

    Parameters
    ----------
    paths : iterable of str
        POSIX paths.
    known : iterable of str
        Class names of known data sets.
    grouped : bool
        Whether the user says how paths name groups, so that folders below classes of unknown names may be these.

    Examples
    --------
    >>> levels = levels_of(["train/P1/benign/1.png", "test/P2/benign/2.png"], known=["benign"])
    >>> [(level.number, level.kind) for level in levels]
    [(1, 'parts of a split'), (2, 'patients'), (3, 'classes')]
    """
    class_words = _words(known)
    folders = [path.split("/")[:-1] for path in paths]
    levels: list[Level] = []
    # the deepest first, since a folder around others depends on these
    for number in range(max(map(len, folders), default=0), 0, -1):
        levels.insert(0, _level_at(number, folders, class_words, deeper=levels))
    label = _label_level(levels)
    if label is None:
        return levels
    outer = levels[: label.number - 1]
    deeper = levels[label.number :]
    rival = next((level for level in deeper if _may_be_classes(level, label, grouped)), None)
    if rival is None and label.kind != CLASSES and outer and _is_doubtful(label, outer[-1]):
        rival = label
        label = outer.pop()
    if rival is not None:
        return [*outer, label._replace(kind=UNCLEAR), rival._replace(kind=UNCLEAR)]
    if label.kind != _MIXED:
        label = label._replace(kind=CLASSES, parts={})
    # benign/train/: of what is below the classes, only a split matters
    return [*outer, label, *[level for level in deeper if level.kind == SPLIT][:1]]


def _words(names: Iterable[str]) -> frozenset[str]:
    return frozenset("".join(_GAPS.split(name.casefold())) for name in names)


def _label_level(levels: Iterable[Level]) -> Level | None:
    """Return the first level that is not of a kind above the classes."""
    return next((level for level in levels if level.kind not in _OUTER), None)


def _may_be_classes(level: Level, label: Level, grouped: bool) -> bool:
    """Whether a level may be the classes, although one above it is taken for them."""
    if label.kind == CLASSES:
        # tumor/0/, tumor/1/, normal/0/, normal/1/; not malignant/ductal_carcinoma/, a subtype of only one class
        return level.kind == CLASSES and level.recurs
    if level.kind == CLASSES:
        return True
    return level.kind == _OTHER and len(level.names) > 1 and (level.recurs or not grouped)


def _is_doubtful(label: Level, above: Level) -> bool:
    """Whether folders of unknown names, taken for classes, may be slides or lesions, with the classes above them."""
    are_below_one = not label.recurs and len(above.names) > 1
    if above.kind == SPLIT:  # a class may be missing in a part
        return are_below_one and label.kind == _NUMBERS
    return above.kind != AROUND and (are_below_one or label.kind == _NUMBERS)


def _level_at(
    number: int,
    folders: Sequence[Sequence[str]],
    class_words: Container[str],
    *,
    deeper: Sequence[Level],
) -> Level:
    """Return what a level is taken for by the names of its folders, and by those below it."""
    parents: dict[str, set[tuple[str, ...]]] = {}
    for folder in folders:
        if len(folder) >= number:
            parents.setdefault(folder[number - 1], set()).add(tuple(folder[: number - 1]))
    names = tuple(sorted(parents))
    parts = _parts(names)
    filled = (folder[number - 1] in parts for folder in folders if len(folder) > number)
    if not parts:
        kind = _kind(names, class_words)
    # train/a/, test/b/, also beside masks/: what is next to two parts with folders is left out
    elif len(parts) == len(names) or (len(set(parts.values())) > 1 and any(filled)):
        kind = SPLIT
    else:
        # train/a/, control/b/: one part beside others is no split
        kind = _MIXED
    if len(names) == 1 and _is_around(kind, number, deeper):
        kind = AROUND
    repeated = sum(len(folders_above) > 1 for folders_above in parents.values())
    # half are enough: a class may be missing below some folders
    return Level(number, names, kind, len(names) > 1 and 2 * repeated >= len(names), parts)


def _is_around(kind: str, number: int, deeper: Sequence[Level]) -> bool:
    """Whether the only folder of a level is just around others, or around all images."""
    if not deeper:
        # P01/crops/, P02/crops/; but in crops/1.png the folder is a class
        return number > 1 and kind == _OTHER
    # cancer/benign/, cancer/malignant/; but if there is only benign/grade1/, benign is the class
    if kind == CLASSES:
        return deeper[0].kind == CLASSES and len(deeper[0].names) > 1
    # my study/benign/; P01/benign/, where all images are of one patient
    return kind in (_OTHER, _NUMBERS, PATIENTS)


def _parts(names: Iterable[str]) -> dict[str, str]:
    """Return the parts of a split that folders name; with further words, as in lung_train, if such parts differ."""
    plain = {}
    with_words = {}
    for name in names:
        words = {*filter(None, map(part_of, _GAPS.split(name.casefold())))}
        if len(words) == 1:
            with_words[name] = words.pop()
        part = part_of(name)
        if part is not None:
            plain[name] = part
    with_words |= plain
    if len({*with_words.values()}) > 1:
        return with_words
    return plain


def _kind(names: Iterable[str], class_words: Container[str]) -> str:
    """Return the first kind that the names of a level fit, if none of them names a part of a split."""
    plain = [name.strip().casefold() for name in names]
    if all(map(_SET.fullmatch, plain)):
        return FOLDS if all(re.match(_FOLD, name) for name in plain) else SETS
    classes = 0
    for name in plain:
        words = _GAPS.split(name)
        joined = "".join(words)
        classes += joined in class_words or any(map(_CLASS.fullmatch, (*words, joined)))
    # classes that are numbers begin with 0; 1, 2, 7 may be anything
    digits = "0" in plain and all(re.fullmatch(r"\d", name) for name in plain)
    # benign, hyperplasia: half are enough, since not all names of classes are known
    if digits or 2 * classes >= len(plain):
        return CLASSES
    if all(map(_PATIENT.fullmatch, plain)):
        return PATIENTS
    return _NUMBERS if all(re.search(r"\d.*\d", name) for name in plain) else _OTHER


def path_rules(*, group_from: str | None, label_from: str | None) -> dict[str, PathRule]:
    """Return the rules that a user gave for ``group`` and ``label``."""
    texts = {"group": group_from, "label": label_from}
    return {
        name: PathRule.of(text, name=f"{name}_from")
        for name, text in texts.items()
        if text is not None
    }


def read_folder(
    root: Path, *, group_from: str | None = None, label_from: str | None = None
) -> LayoutReading:
    """Read a folder of images, in which one level of folders names the classes, see `levels_of`.

    Images directly in `root` have no label, and are used only if there are no class folders. Folders above the classes
    may be patients, which become groups; parts of a split, folds or sets, which are stored in the columns ``part``,
    ``fold`` and ``set``. If two levels may be the classes, a finding of level error names both.

    Parameters
    ----------
    root : Path
    group_from, label_from : str, optional
        Rules that find group and label in the path below `root`, see `PathRule`. With ``label_from``, images directly
        in `root` are used, too. An image that a rule does not fit has no label or group.

    Returns
    -------
    list of ImageRecord, list of Finding

    Raises
    ------
    InputError
        There is no image file below `root` although all folders could be read, or a rule is invalid.
    """
    rules = path_rules(group_from=group_from, label_from=label_from)
    findings = Findings()
    files = list_images(root, findings)
    class_names = [*itertools.chain.from_iterable(known_classes())]
    levels = levels_of(files, known=class_names, grouped="group" in rules)
    first = {level.kind: level for level in reversed(levels)}
    split = first.get(SPLIT)
    label = _label_level(levels)
    number = 0 if label is None else label.number
    if "label" in rules:
        # the user says which level it is: only a split is still seen from the names
        first = {}
        label = None
        number = rules["label"].level
    elif any("/" in name for name in files):
        for name, message in _left_out(files, split).items():
            findings.warning(name, message)
            del files[name]
        if [level.kind for level in levels] != [CLASSES]:
            findings += _meaning(root, levels)
    if "group" not in rules:
        findings += _deeper(files, number, split, label)
        findings += _perhaps_patients(root, files, label, _words(class_names))
    values = {
        "group": {name: _folder(name, first.get(PATIENTS)) for name in files},
        "label": {name: _label(name, label) for name in files},
    }
    for role, rule in rules.items():
        values[role] = rule.applied(files, root=root, what=role, findings=findings)
    labels = values["label"]
    groups = values["group"]
    records = [
        ImageRecord(name, path, labels[name], groups[name], columns=_columns(name, first, split))
        for name, path in files.items()
    ]
    return records, findings


def _perhaps_patients(
    root: Path, files: Iterable[str], label: Level | None, class_words: Container[str]
) -> list[Finding]:
    """Return a warning of classes that may be patients: all have numbers, or there are more than images in any.

    Folders of one image each tell nothing.
    """
    if label is None:
        return []
    kind = _kind(label.names, class_words)
    images = Counter(_folder(name, label) for name in files)
    largest = max(images.values())
    many = len(label.names) > largest > 1
    if kind != _NUMBERS and (kind == CLASSES or not many):
        return []
    message = Message(
        "{} folders are taken for classes{}, the largest of {}",
        len(label.names),
        Names(f" ({few(label.names)})"),
        counted(largest, "image"),
        remedies=[
            Message(
                "if they are patients, {labels:TABLE} {group_from:{}} takes classes from a table",
                label.number,
            )
        ],
    )
    return [Finding("warning", str(root), message, labels_only=True)]


def _left_out(files: Iterable[str], split: Level | None) -> dict[str, str]:
    """Return images next to the folders, and those next to the parts of a split, with the reason."""
    reasons = {}
    for name in files:
        if "/" not in name:
            reasons[name] = "is next to the class folders and has no label; skipped"
        elif split is not None and _folder(name, split) not in (None, *split.parts):
            reasons[name] = "next to the parts of a split, and none; left out"
    return reasons


def _label(name: str, label: Level | None) -> str | None:
    folder = _folder(name, label)
    if label is not None and folder in label.parts:
        return None
    return folder


def _columns(name: str, first: Mapping[str, Level], split: Level | None) -> Pairs:
    """Return the fold, the set and the part of a split that the folders of an image name."""
    folders = {"fold": _folder(name, first.get(FOLDS)), "set": _folder(name, first.get(SETS))}
    if split is not None:
        folders[PART.name] = split.parts.get(_folder(name, split) or "")
    return tuple((column, folder) for column, folder in folders.items() if folder)


def _folder(name: str, level: Level | None) -> str | None:
    """Return the folder at a level of a path; None if there is none."""
    if level is None or level.number > name.count("/"):
        return None
    return name.split("/")[level.number - 1]


def _meaning(root: Path, levels: Sequence[Level]) -> list[Finding]:
    """Return a finding on what folders are taken for: an error if unclear, a warning without classes, else a note."""
    unclear = [level for level in levels if level.kind == UNCLEAR]
    if unclear:
        first, second = unclear
        message = Message(
            "folders at level {}{} may be the classes, or those at level {}{}",
            first.number,
            Names(f" ({few(first.names)})"),
            second.number,
            Names(f" ({few(second.names)})"),
            remedies=[
                Message("{label_from:{}} takes the first", first.number),
                Message(
                    "{label_from:{}} the second (and {group_from:{}} if the first are patients)",
                    second.number,
                    first.number,
                ),
            ],
        )
        return [Finding("error", str(root), message, labels_only=True)]
    roles = [
        Message(
            "{} at level {}{}",
            level.kind,
            level.number,
            Names(f" ({few(level.parts or level.names)})"),
        )
        for level in levels
    ]
    text = f"folders are taken for {', '.join(['{}'] * len(roles))}"
    outside = [level.number for level in levels if level.kind not in (CLASSES, AROUND)]
    remedies = [
        Message("{label_from:{}} takes level {} for the classes", number, number)
        for number in outside[:1]
    ]
    severity: Severity = "note"
    if not any(level.kind == CLASSES for level in levels):
        severity = "warning"
        text += ", not for classes, so images have no label"
        remedies = [
            Message("make a folder for each class"),
            Message("{labels:TABLE} takes them from a table"),
            *remedies,
        ]
    message = Message(text, *roles, remedies=remedies)
    return [Finding(severity, str(root), message, labels_only=True)]


def _deeper(
    names: Iterable[str], level: int, split: Level | None, label: Level | None
) -> list[Finding]:
    """Return a note on folders below the class folders, unless it is unclear which these are, or a split is below."""
    if label is not None and label.kind == UNCLEAR:
        return []
    if split is not None and split.number >= level:
        return []
    deep = [name for name in names if name.count("/") > level > 0]
    deeper = dict.fromkeys(
        "/".join(name.split("/")[: level + 1]) for name in deep if not patient_in(name)[1]
    )
    if not deeper:
        return []
    text = "if folders at level {} are patients, use {group_from:{}}"
    remedy = Message(text, level + 1, level + 1)
    message = Message(
        "these folders below the classes are not taken for patients", remedies=[remedy]
    )
    return [Finding("note", few(deeper), message, perhaps=remedy)]


LAYOUT = LayoutSpec(
    name="folder", read=read_folder, options=frozenset({"group_from", "label_from"}), fallback=True
)
