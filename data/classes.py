"""Class names: join spellings of one class, and match loosely written names."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from difflib import SequenceMatcher

from ..core import InputError, Message, counted, few
from ..core.formats import is_missing, limits, visible
from .findings import Finding, Findings, Level

_NUMBER = re.compile(r"[+-]?[0-9]{1,40}([.,][0-9]{0,40})?(e[+-]?[0-9]{1,2})?", re.IGNORECASE)

_PART = re.compile(r"[^\W\d_]+|\d+|[^\w\s*?!#.,;:'\"()\[\]{}^~-]|^-|(?<=\w)-(?!\w)|-$")
"""A word, a number or a sign of a name; by the last two names differ on purpose: T1 and T2, ER+ and ER-."""

_MARKS = (
    r"(?i:^\W*(?:(?:old|copy of|kopie von|probably|possibly|prob)[\s_-]+)+|(?:[\s_-]+\W?(?:v\d+|new|old|copy|final|"
    r"fixed|corrected|revised|reviewed|edited|backup|checked?|todo|tbd|unsure|uncertain|probable|aug|augmented|te?mp|"
    r"neu|kopie|nuevo|bis)\W*(?:\(\d+\)\W*)?)+$)"
)
"""What people add to the name of a class."""

_LANGUAGES = """
benign benigne benigno benigna gutartig gutartiger benin godartet goedaardig łagodny 良性 양성 доброкачественный
benign gutartige gutartiges benigner benins benignes доброкачественная
malignant malign maligne maligno maligna bosartig bosartige boesartig malin kwaadaardig złośliwy 恶性 惡性 悪性
malignant bosartiger bosartiges maligner malins malignes злокачественный злокачественная 악성
normal normalgewebe normale normaux normaal normalny norma норма 正常 정상
healthy gesund gesunde sain saine sano sana saludable saudavel gezond zdrowy здоровый 健康
tumor guz tumour tumeur tumore опухоль 肿瘤 腫瘤 腫瘍 종양
cancer kanser krebs cancro kanker kreft rak рак 癌 癌症
carcinoma karzinom carcinome karcinom carcinoom карцинома
adenoma adenom adenome аденома 腺瘤
invasive invasiv invasif invasivo invasiva infiltrierend infiltrant infiltrante 浸润性 浸潤性
necrosis nekrose necrose necrosi nekros nekroza некроз 坏死 壊死
inflammation entzundung entzuendung inflamacion inflamacao infiammazione ontsteking воспаление 炎症
negative negativ negatif negativo negativa negatief 阴性 陰性
positive positiv positif positivo positiva positief 阳性 陽性
abnormal anormal anormale anomalo anomala
diseased krank malade enfermo malato ziek chory больной
stroma estroma bindegewebe
fat adipose fett fettgewebe graisse grasa grasso gordura vet
background hintergrund fond fondo fundo achtergrond 背景
control kontrolle kontroll controle temoin controllo
grade grad grado stopien
low niedrig faible bajo basso baixo
high hoch eleve alto
mild leicht leger leve lieve
severe schwer grave severo
yes ja oui si да 是
no nein non nao kein keine not nicht without ohne sans sin sem senza geen zonder без нет 否 无 無
unknown unbekannt inconnu desconocido sconosciuto onbekend
"""
"""Words of one meaning in several languages, without accents, a meaning a line."""

_ILL, _WELL = (
    {*words.split()}
    for words in (
        "malignant cancer carcinoma tumor invasive positive abnormal diseased yes",
        "benign normal healthy negative control background no",
    )
)
"""Meanings by which one class is the positive one, and by which another is not."""

_APART = """
benign malign
dcis lcis
idc ilc
luma lumb
luad lusc
hsil lsil
hypo hyper
micro macro
inter intra extra infra ultra
endo exo ecto
pre pro post peri
uni bi
anti ante
homo hetero
male female
man woman
men women
interior exterior anterior inferior
internal external
increas decreas
induc reduc
ventral central
tubul lobul
papillary capillary maxillary
endotheli mesotheli epitheli
blast clast
monocyte myocyte
myoma myxoma myeloma
angioma glioma lipoma
hepatoma hematoma
chondroma chordoma
arteritis arthritis
hepatitis keratitis
neuritis nephritis
ureter urethr
parotid carotid
perineal peroneal
ileum ilium
mucus mucous mucosa
stomal stromal
cyst cystic
duct ductal
gland glandular
lymph lymphoma lymphoid
horse house mouse
nuclear unclear
us ous osis oma oid
ule ular
mitosis meiosis
nucleus nucleolus
mucinous mucous mucosa
serous serosa
stroma stromal
tumor tumoral tumorous
colon colonic
papilla papillary papilloma
basal nasal
renal penal
stroma struma sarcoma
"""
"""Words, and parts of words, that differ in few letters and are not one; what separates them is a line."""

_GRADES = re.compile(
    r"(?i)(grade?|g|gg|gleason|isup|who|stage|p?[tn]|score|level|bi-?rads|her2|stufe|cin|nottingham)[\s_-]*([0-9]\+?|i{1,3}|iv|v)[abc]?"
    r"|0|[1-5]\+|(i{1,3}|iv|v)[abc]?"
    r"|(none|negative|weak|strong|mild|moderate|severe|low|intermediate|medium|high|(well|moderately|poorly|un)[\s_-]?differentiated)"
    r"([\s_-]?(grade|risk|dysplasia|atypia))?"
)
_LIST = re.compile(r"\[.*\]|\{.*\}|\(\s*['\"].*\)|.*\w\W*[|;]\W*\w.*", re.DOTALL)
"""A list, or JSON of an annotation program, or labels between | or ;."""

_BETWEEN = (
    r"\s*[,/&+\\、；，]\s*|<br>|\s+(?:->?|and|or|with|vs\.?|und|oder|mit|et|ou|avec|y|con|e)\s+"
)
"""What stands between several labels in a cell."""

_AROUND = r"^[<>=~\s\u2264\u2265]+|(?<=\d)\s*[^\W\d_]{0,8}[.%\s]*$"
"""What stands before a number in a cell, and its unit."""

_NAMED = Message("if each is a class of its own, name all classes in {classes}")

_DIGITS = 10
"""Number of classes that may be numbers of any kind."""


def _spelling(name: str, *, cased: bool = False) -> str:
    """Return what all spellings of a class share; numbers that are equal are one class, as ``0`` and ``0.0``.

    If `cased`, only blanks and characters that nobody sees are removed.
    """
    text = visible(unicodedata.normalize("NFC", name))
    if cased:
        return text
    text = visible(unicodedata.normalize("NFC", text.casefold()))
    if _NUMBER.fullmatch(text):
        text = f"{Decimal(text.replace(',', '.')):f}"
        if "." in text:
            text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def loosely(name: str) -> str:
    """Remove spaces, ``_`` and ``-``, except signs and separators of digits: -1 is not 1, ER- not ER, 1-0 not 10."""
    text = re.sub(r"(?<=\d)[\s_-]+(?=\d)", "\0", _spelling(name).strip())
    return re.sub(r"(?!^-\s*\d|-$)[\s_-]+", "", text)


def match_class(name: str, classes: Sequence[str]) -> str | None:
    """Return the class that ``name`` means, ignoring case, spaces, ``_`` and ``-`` unless a class matches exactly.

    Unicode is compared in its composed form (NFC). Signs and separators between digits matter.

    Parameters
    ----------
    name : str
    classes : sequence of str

    Returns
    -------
    str or None
        None if no class matches.

    Raises
    ------
    InputError
        No class matches exactly, and several match loosely.

    Examples
    --------
    >>> match_class("in_situ", ["Normal", "InSitu"])
    'InSitu'
    >>> match_class("-1", ["0", "1"])
    """
    if name in classes:
        return name
    for simplified in (functools.partial(_spelling, cased=True), _spelling, loosely):
        key = simplified(name)
        fitting = [candidate for candidate in classes if key and simplified(candidate) == key]
        if len(fitting) > 1:
            raise InputError(
                f"{name!r} fits two classes, {fitting[0]} and {fitting[1]}; write one of them exactly"
            )
        if fitting:
            return fitting[0]
    return None


def spell_labels(labels: Iterable[str], classes: Sequence[str]) -> dict[str, str | None]:
    """Return a dict from each label to its class, spelled as in `classes`; None if it is not one of them.

    Raises
    ------
    InputError
        Two labels fit one class, or a label fits two.
    """
    spelled = {}
    first: dict[str, str] = {}
    for label in sorted(set(labels)):
        name = match_class(label, classes)
        spelled[label] = name
        if name is not None and _spelling(first.setdefault(name, label)) != _spelling(label):
            raise InputError(
                f"the labels {first[name]!r} and {label!r} both fit the class {name}; rename one, or name both where "
                "classes are given"
            )
    return spelled


def not_among(labels: Sequence[str], classes: Sequence[str]) -> Message:
    """Return the refusal of labels that are not among the classes that the caller named."""
    further = f" (nor are {', '.join(labels[1:])})" if len(labels) > 1 else ""
    return Message(
        "label {!r} is not among the classes {}{}; name every class in {classes}",
        labels[0],
        ", ".join(classes),
        further,
    )


def missing_labels(labels: Iterable[str], classes: Sequence[str]) -> list[str]:
    """Return the labels that mean an unknown class, such as ``NA``, unless they are names of classes."""
    return [
        label
        for label in sorted(set(labels))
        if label and is_missing(label) and match_class(label, classes) is None
    ]


def check_order(classes: Sequence[str]) -> None:
    """Refuse a class order that names a class twice.

    Raises
    ------
    InputError
        Two names differ only in case or Unicode form.
    """
    counts = Counter(map(_spelling, classes))
    twice = [name for name in classes if counts[_spelling(name)] > 1]
    if twice:
        raise InputError(
            "{classes} {}: names {} twice; name each class once", ",".join(classes), twice[0]
        )


def join_labels(
    labels: Iterable[str], *, classes: Sequence[str] = ()
) -> tuple[dict[str, str], list[Finding]]:
    """Join labels that are equal as numbers, or differ only in case, Unicode form or characters that nobody sees.

    The most frequent spelling becomes the class name; whole numbers lose their decimals.

    Parameters
    ----------
    labels : iterable of str
        One per image.
    classes : sequence of str
        Spellings that the user or a known dataset prescribes.

    Returns
    -------
    dict of str to str
        Each spelling to its class name in Unicode's composed form (NFC). Ties are resolved alphabetically.
    list of Finding
        Spellings that were joined, and similar names that stay separate classes.
    """
    counts = Counter(labels)
    spellings: dict[str, Counter[str]] = {}
    for label, count in counts.items():
        spellings.setdefault(_spelling(label), Counter())[_spelling(label, cased=True)] += count
    best = {
        key: min(forms_of, key=lambda name: (-forms_of[name], name))
        for key, forms_of in spellings.items()
    }
    # whole numbers lose the decimals that programs add to them
    names = {key: re.sub(r"^([+-]?[0-9]+)[.,]0*$", r"\1", name) for key, name in best.items()}
    prescribed = {_spelling(name): name for name in classes}
    names |= {key: prescribed[key] for key in names.keys() & prescribed.keys()}
    findings = Findings()
    for key, forms_of in sorted(spellings.items()):
        name = names[key]
        if len(forms_of) > 1:
            texts = (
                f"{form} ({counted(count, 'image')})" for form, count in sorted(forms_of.items())
            )
            message = f"one class in several spellings: {', '.join(texts)}; named {name}"
            findings.warning(name, message)
        elif name not in forms_of and _NUMBER.fullmatch(key):
            level: Level = "warning" if prescribed else "note"
            findings.append(Finding(level, name, f"the class of {min(forms_of)}"))
    totals = {name: spellings[key].total() for key, name in names.items()}
    findings += _similar(totals, classes)
    return {label: names[_spelling(label)] for label in counts}, findings


def _similar(counts: Mapping[str, int], classes: Collection[str]) -> list[Finding]:
    """Return a warning of each two classes whose names are nearly equal, unless both are among `classes`."""
    findings = Findings()
    for pair in itertools.combinations(sorted(counts)[: limits.EVALUATED_CLASSES], 2):
        rarer = min(map(counts.__getitem__, pair))
        why = likeness(*pair, rare=rarer * len(counts) < sum(counts.values()))
        if not why or {*pair} <= {*classes}:
            continue
        cures = ["if they are one class, give both one name in the table or the folders"]
        common = re.match(r"(\w[\w -]+\w).*\n\1", "\n".join(pair), re.IGNORECASE)
        others = counts.keys() - {*pair}
        if common and common[1].casefold() not in map(str.casefold, others):
            # an expression that joins them
            texts = sorted({*others, common[1]}, key=lambda name: (-len(name), name))
            text = "{label_from:{}} (of a table with {label_column}, and of folders {group_from}) joins them as {}"
            pattern = f"(?i)(?:^|/)({'|'.join(map(re.escape, texts))})"
            cures.append(Message(text, pattern, common[1]))
        both = [f"{name} ({counted(counts[name], 'image')})" for name in pair]
        why += f" (did you mean {max(pair, key=counts.__getitem__)}?); they stay separate classes"
        findings.warning(" and ".join(both), Message("{}", why, remedies=[*cures, _NAMED]))
    return findings


def _parts(name: str) -> list[str]:
    """Return the words, numbers and signs of a name, in small letters and without accents and marks."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", re.sub(_MARKS, "", name)).casefold()
    text = re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFD", text))
    return _PART.findall(unicodedata.normalize("NFC", text))


_MEANINGS = {part: words.split()[0] for words in _LANGUAGES.splitlines() for part in _parts(words)}
"""The first word of its line for each word of `_LANGUAGES`."""


def meaning(name: str) -> list[str]:
    """Return the words of a name; those of known meaning in English, whatever their language.

    Examples
    --------
    >>> meaning("kein maligner Tumor"), meaning("InSitu")
    (['no', 'malignant', 'tumor'], ['in', 'situ'])
    """
    return [_MEANINGS.get(part, part) for part in _parts(name)]


def positive_by_meaning(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the positive classes by what all names mean; empty if these do not tell.

    A name tells by the words that the others do not all have. One without such words is positive beside the same
    name with a word such as "no" or "benign", unless it means itself that nothing is wrong.

    Examples
    --------
    >>> positive_by_meaning(["gutartig", "bösartig"]), positive_by_meaning(["IDC", "no IDC"])
    (('bösartig',), ('IDC',))
    >>> positive_by_meaning(["A", "B"]), positive_by_meaning(["normal", "not normal"])
    ((), ())
    """
    meanings = [{*meaning(name)} for name in classes]
    shared = set.intersection(*meanings or [set()])
    own = [words - shared for words in meanings]
    tells = all(words & (_ILL | _WELL) or not (words or shared & _WELL) for words in own)
    positive = tuple(itertools.compress(classes, [not words & _WELL for words in own]))
    return positive if tells and len(positive) < len(classes) else ()


def likeness(first: str, second: str, *, rare: bool) -> str:
    """Return how two names are nearly one; empty if they are not."""
    short, long = sorted((_parts(first), _parts(second)), key=lambda parts: len("".join(parts)))
    if short == long or loosely(first) == loosely(second):
        return "differ only in spaces, _ or -, or in a mark"
    are_words = "".join(short + long).isalpha()
    if are_words and sorted(short) == sorted(long):
        return "differ only in the order of words"
    if are_words and len(long) > 1 and "".join(part[0] for part in long) == "".join(short):
        return "one may be an abbreviation of the other"
    if len(short) != len(long):
        return ""
    pairs = zip(short, long, strict=True)
    return min(_alike(*pair, rare=rare) for pair in pairs if len({*pair}) > 1)


def _alike(first: str, second: str, *, rare: bool) -> str:
    """Return how two words are nearly one; empty if they are not, or if both are known terms."""
    short, long = sorted((first, second), key=len)
    if any(
        short.replace(*pair) == long
        for terms in _APART.splitlines()
        for pair in itertools.permutations(terms.split(), 2)
    ):
        return ""
    if _MEANINGS.get(short, "") == _MEANINGS.get(long):
        return "may be one word in two languages"
    added = long.removeprefix(short)
    if len(short) > 2 and added in ("s", "es", "e", "en"):
        return "one may be the plural of the other"
    if len(short) == 1 and added != long and len(long) > 4:
        return "one may be an abbreviation of the other"
    # a typing error, or an abbreviation in one place, is rarer than the other classes; atypical is another word
    if not rare or not long.isalpha() or long.removesuffix(short) in ("a", "e", "de", "re"):
        return ""
    if added != long and len(long) > 4 and len(short) < max(6, 1 + len(added)):
        return "one may be an abbreviation of the other"
    return _typing(short, long)


def _typing(short: str, long: str) -> str:
    """Return that words may differ by a typing error: in two letters if they are long, in two that change places."""
    common = SequenceMatcher(None, short, long).ratio() * len(short + long) / 2
    if len(short) == len(long) and short[0] != long[0]:
        return ""
    is_long = len(long) > 6 and short[0] == long[0]
    if round(len(long) - common) > 1 + is_long or len(long) < 4:
        return ""
    if len(long) == 4 and sorted(short) != sorted(long):
        return ""
    return "differ in one or two letters, perhaps by a typing error"


def cell_findings(labels: Iterable[str], where: str, classes: Collection[str]) -> list[Finding]:
    """Return what cells hold that is not one label, except names in `classes`.

    These are warnings of values of a measurement, or of several labels or JSON in a cell, and a note on grades.
    """
    counts = Counter(label for label in labels if label not in classes)
    findings = Findings()
    values = measured(counts)
    if values:
        values = Message("{}", values, remedies=[_NAMED])
        findings.warning(where, values, labels_only=True)
    names = {*map(loosely, counts)} - {""}
    several = [
        f"{label[:60]} ({counted(number, 'image')})"
        for label, number in counts.items()
        if _LIST.fullmatch(label)
        # or labels between other signs, if all are known by themselves
        or (
            re.search(_BETWEEN, label) and names.issuperset(map(loosely, re.split(_BETWEEN, label)))
        )
    ]
    if several:
        part = Message("{label_column} with {label_from:PATTERN} takes a part of each")
        text = "cells that hold more than a label are classes of their own: {}"
        message = Message(text, few(several), remedies=["write one label a cell", part, _NAMED])
        findings.warning(where, message, labels_only=True)
    if len(counts) > 2 and all(map(_GRADES.fullmatch, counts)):
        text = f"the order of grades ({few(sorted(counts))}) is not used; each is a class like any other"
        findings.note(where, text, labels_only=True)
    return findings


def measured(labels: Iterable[str]) -> str:
    """Return a message on labels that are values of a measurement, not classes; empty if they are not."""
    texts = (re.sub(_AROUND, "", label).replace(",", ".") for label in labels)
    values = sorted({Decimal(text) for text in texts if _NUMBER.fullmatch(text)})
    if len(values) <= _DIGITS:
        return ""
    least, middle, most = values[0], values[len(values) // 2], values[-1]
    # all whole numbers from 0 or 1: names of classes
    if least < 2 and most - least == len(values) - 1 < limits.EVALUATED_CLASSES:
        return ""
    text = (
        "the labels are {} different numbers ({:f} to {:f}), and only classes are predicted; write ranges, such as "
        "below {:f} and from {:f}"
    )
    return Message(text, len(values), least, most, middle, middle)
