"""A layout for the user's own images: folders of classes, perhaps below or above those of a split, sets or patients.

What the folders of a path mean is seen from the names, and from whether the same names recur below several folders, as
those of classes do below patients.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...core import Message, Names, few
from ...core.formats import PART
from ..dataset import ImageRecord, part_of
from ..findings import Finding, Findings
from ..findings import Level as Severity
from ..names import PathRule
from ..walk import list_images
from .registry import LayoutReading, LayoutSpec, known_classes, patient_in

_CLASS = re.compile(
    r"benign|malignant|norm(al)?|healthy|tum(ou?rs?)?|cancer(ous)?|(adeno)?carcinoma|idc|ilc|dcis|insitu|invasive|"
    r"neg(ative)?|pos(itive)?|controls?|stroma|necrosis|class|label|grade|score|stage"
)
_FOLD = r"(k?-?folds?|cv|cross[\s_-]?val\w*|split|round|run)"
_GAPS = re.compile(r"[\W\d_]+")
"""What separates the words of a name."""

_SET = re.compile(
    rf"({_FOLD}|partition|part|set|subset|cohort|batch|sites?|cent(re|er)|hospital|scanner|lab)"
    r"([\s_-]*\d+|[\s_-]+[a-z])|\d+(\.\d+)?[\s_-]?x|x[\s_-]?\d+|40|100|200|400|(19|20)\d\d"
)
"""Names of folds, sites, magnifications and years."""

_PATIENT = re.compile(
    r"(p|pat|patient|case|slide|subject|donor|specimen|wsi|id)s?([\s_#-]*\d[\w.-]*|[\s_-]+[a-z])|"
    r"\d{3,}[\w.-]*|\d+-\d+[\w-]*|tcga\W.*"
)
_COLLECTION = frozenset({"set", "sets", "dataset", "datasets", "cohort", "images", "data"})

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
"""What is above the classes; the first level of another kind is the labels."""

CLASSES = "classes"
"""``benign``, ``grade1``, ``0``; in the end also the labels of any other name, if no other level may be the classes."""

_MIXED = "parts beside classes"
"""``train`` and ``control``: one part of a split, or parts without folders in them, beside other names."""

_PERHAPS_SETS = "perhaps sets"
"""Names with a word for images or their sets: ``lung_images``."""

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


def levels_of(paths: Iterable[str], *, known: Iterable[str]) -> list[Level]:
    """Return the levels of the folders in the paths of images, down to the classes, and the parts of a split below.

    Parameters
    ----------
    paths : iterable of str
        POSIX paths.
    known : iterable of str
        Class names of known data sets.

    Examples
    --------
    >>> levels = levels_of(["train/P1/benign/1.png", "test/P2/benign/2.png"], known=["benign"])
    >>> [(level.number, level.kind) for level in levels]
    [(1, 'parts of a split'), (2, 'patients'), (3, 'classes')]
    """
    class_words = frozenset("".join(_GAPS.split(name.casefold())) for name in known)
    levels = _levels([path.split("/")[:-1] for path in paths], class_words)
    label = _label_level(levels)
    if label is None:
        return levels
    outer = levels[: label.number - 1]
    deeper = levels[label.number :]
    other = next((level for level in deeper if _may_be_classes(level, label)), None)
    if other is None and label.kind != CLASSES and outer and _rivals(outer[-1], label):
        other = label
        label = outer.pop()
    if other is not None:
        return [*outer, label._replace(kind=UNCLEAR), other._replace(kind=UNCLEAR)]
    if label.kind != _MIXED:
        label = label._replace(kind=CLASSES, parts={})
    # benign/train/: of what is below the classes, only a split matters
    return [*outer, label, *[level for level in deeper if level.kind == SPLIT][:1]]


def _label_level(levels: Iterable[Level]) -> Level | None:
    """Return the first level that is not of a kind above the classes."""
    return next((level for level in levels if level.kind not in _OUTER), None)


def _may_be_classes(level: Level, label: Level) -> bool:
    """Whether a level may be the classes, although one above it is taken for them."""
    if label.kind == CLASSES:
        # tumor/0/, tumor/1/, normal/0/, normal/1/; not malignant/ductal_carcinoma/, a subtype of only one class
        return level.kind == CLASSES and level.recurs
    if level.kind == CLASSES:
        # Ann/benign/, Bob/malignant/: a known name is the better reason
        return True
    # A/ADI/, A/LYM/, B/ADI/, B/LYM/; or lung_images/aca/, colon_images/scc/; or train/a/ beside control/b/
    return level.kind == _OTHER and (level.recurs or label.kind in (_MIXED, _PERHAPS_SETS))


def _rivals(above: Level, label: Level) -> bool:
    """Whether the level above unclear classes may be the classes instead: two of three signs.

    A single sign does not tell: a class may be missing in a part (train/x/, test/y/), classes may have numbers
    (train/he01/, train/he02/, test/he01/, test/he02/), and sets may hold them (site_A/x/, site_A/y/, site_B/x/).
    """
    signs = (
        # P1/x/, P1/y/, P2/z/: most are below only one folder, as patients or lesions are below their class
        not label.recurs and len(above.names) > 1,
        # P1/he01/, P2/he01/: named as slides are
        label.kind == _NUMBERS,
        # the names of a split are hardly those of classes
        above.kind != SPLIT,
    )
    return above.kind != AROUND and sum(signs) >= 2


def _levels(folders: Sequence[Sequence[str]], class_words: Container[str]) -> list[Level]:
    """Return what each level is taken for; the deepest is judged first, since others depend on those below."""
    levels: list[Level] = []
    for number in range(max(map(len, folders), default=0), 0, -1):
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
        if len(names) == 1 and _means_nothing(kind, number, levels):
            kind = AROUND
        repeated = sum(len(folders_above) > 1 for folders_above in parents.values())
        # half are enough: a class may be missing below some folders
        recurs = len(names) > 1 and 2 * repeated >= len(names)
        levels.insert(0, Level(number, names, kind, recurs, parts))
    return levels


def _parts(names: Iterable[str]) -> dict[str, str]:
    """Return the parts of a split that folders name; with further words, as in lung_train, if such parts differ."""
    parts = {}
    with_words = {}
    for name in names:
        part = part_of(name)
        if part is not None:
            parts[name] = part
        parts_of_words = {*filter(None, map(part_of, _GAPS.split(name.casefold())))}
        if len(parts_of_words) == 1:
            with_words[name] = parts_of_words.pop()
    if len(set(with_words.values())) > 1:
        return with_words | parts
    return parts


def _means_nothing(kind: str, number: int, deeper: Sequence[Level]) -> bool:
    """Whether the only folder of a level is just around others, or around all images."""
    if not deeper:
        # P01/crops/, P02/crops/; but in crops/1.png the folder is a class
        return number > 1 and kind == _OTHER
    if kind in (_OTHER, _PERHAPS_SETS, _NUMBERS, PATIENTS):
        # my study/benign/; P01/benign/, where all images are of one patient
        return True
    # cancer/benign/, cancer/malignant/; but if there is only benign/grade1/, benign is the class
    return kind == deeper[0].kind == CLASSES and len(deeper[0].names) > 1


def _kind(names: Iterable[str], class_words: Container[str]) -> str:
    """Return the kind that the names of a level tell, if none is a part of a split; the first that fits."""
    plain = [name.strip().casefold() for name in names]
    if all(map(_SET.fullmatch, plain)):
        return FOLDS if all(re.match(_FOLD, name) for name in plain) else SETS
    words = [_words(name) for name in plain]
    classes = sum(parts[-1] in class_words or any(map(_CLASS.fullmatch, parts)) for parts in words)
    # classes that are numbers begin with 0; 1, 2, 7 may be anything
    digits = "0" in plain and all(re.fullmatch(r"\d", name) for name in plain)
    # benign, hyperplasia: half are enough, since not all names of classes are known
    if digits or 2 * classes >= len(plain):
        return CLASSES
    if all(map(_PATIENT.fullmatch, plain)):
        return PATIENTS
    # lung_images, colon_images: such a word is in each name
    if not any(map(_COLLECTION.isdisjoint, words)):
        return _PERHAPS_SETS
    return _NUMBERS if all(re.search(r"\d.*\d", name) for name in plain) else _OTHER


def _words(name: str) -> list[str]:
    """Return the words of a name, then all of them as one."""
    words = _GAPS.split(name)
    return [*words, "".join(words)]


class _Reading(NamedTuple):
    """What the folders of the images mean; a meaning that none has is None.

    Attributes
    ----------
    number : int
        Of the level of the labels, also if the user gives it; 0 if unknown.
    split, label, patients, folds, sets : Level or None
    """

    number: int
    split: Level | None
    label: Level | None = None
    patients: Level | None = None
    folds: Level | None = None
    sets: Level | None = None


def _reading(levels: Sequence[Level], rule: PathRule | None) -> _Reading:
    """Return what levels mean, of a kind the first; `rule` is that of the user for labels."""
    first: dict[str, Level] = {}
    for level in levels:
        first.setdefault(level.kind, level)
    split = first.get(SPLIT)
    if rule is not None:
        # the user says which level it is: only a split is still seen from the names
        return _Reading(rule.level, split)
    label = _label_level(levels)
    number = 0 if label is None else label.number
    return _Reading(number, split, label, *map(first.get, (PATIENTS, FOLDS, SETS)))


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
    """Read a folder of images, of which a level of folders is the class, see `levels_of`.

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
    levels = levels_of(files, known=itertools.chain.from_iterable(known_classes()))
    reading = _reading(levels, rules.get("label"))
    if "label" not in rules and any("/" in name for name in files):
        for name, message in _left_out(files, reading.split).items():
            findings.warning(name, message)
            del files[name]
        if [level.kind for level in levels] != [CLASSES]:
            findings += _meaning(root, levels)
    if "group" not in rules:
        findings += _deeper(files, reading)
    values = {
        "group": {name: _folder(name, reading.patients) for name in files},
        "label": {name: _label(name, reading.label) for name in files},
    }
    for role, rule in rules.items():
        values[role] = rule.find(files)
        findings.extend(rule.findings(root, values[role], role))
    labels = values["label"]
    groups = values["group"]
    records = [
        ImageRecord(name, path, labels[name], groups[name], columns=_columns(name, reading))
        for name, path in files.items()
    ]
    return records, findings


def _left_out(files: Iterable[str], split: Level | None) -> dict[str, str]:
    """Return images next to the folders, and those next to the parts of a split, with the reason."""
    reasons = {}
    for name in files:
        if "/" not in name:
            reasons[name] = "is next to the class folders and has no label; skipped"
    if split is not None:
        for name in files:
            if _folder(name, split) not in (None, *split.parts):
                reasons[name] = "next to the parts of a split, and none; left out"
    return reasons


def _label(name: str, label: Level | None) -> str | None:
    folder = _folder(name, label)
    if label is not None and folder in label.parts:
        return None
    return folder


def _columns(name: str, reading: _Reading) -> tuple[tuple[str, str], ...]:
    """Return the fold, the set and the part of a split that the folders of an image name."""
    folders = {"fold": _folder(name, reading.folds), "set": _folder(name, reading.sets)}
    if reading.split is not None:
        folders[PART.name] = reading.split.parts.get(_folder(name, reading.split) or "")
    return tuple((column, folder) for column, folder in folders.items() if folder)


def _folder(name: str, level: Level | None) -> str | None:
    """Return the folder at a level of a path; None if there is none."""
    if level is None or level.number > name.count("/"):
        return None
    return name.split("/")[level.number - 1]


def _meaning(root: Path, levels: Sequence[Level]) -> list[Finding]:
    """Return what the folders are taken for, if not only for classes: a note, both readings, or that none is one."""
    unclear = [level for level in levels if level.kind == UNCLEAR]
    if unclear:
        return [Finding("error", str(root), _both_readings(*unclear), labels_only=True)]
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


def _both_readings(first: Level, second: Level) -> Message:
    text = "folders at level {}{} may be the classes, or those at level {}{}"
    either = "{label_from:{}} the second (and {group_from:{}} if the first are patients)"
    return Message(
        text,
        first.number,
        Names(f" ({few(first.names)})"),
        second.number,
        Names(f" ({few(second.names)})"),
        remedies=[
            Message("{label_from:{}} takes the first", first.number),
            Message(either, second.number, first.number),
        ],
    )


def _deeper(names: Iterable[str], reading: _Reading) -> list[Finding]:
    """Return a note on folders below the class folders, unless it is unclear which these are, or a split is below."""
    label = reading.label
    split = reading.split
    level = reading.number
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
