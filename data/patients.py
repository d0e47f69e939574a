"""Patients: from barcodes and names of images; doubts about groups; and one name for each."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..core import Message, Names, by_key, counted, few, letters_of
from ..core.formats import GROUP, PATIENT, is_missing, may_hold_patients, visible
from .dataset import ImageRecord
from .findings import Finding, Findings
from .path_rules import PathRule

BARCODE = re.compile(
    r"(?<![A-Za-z0-9])TCGA[-_.]([A-Z0-9]{2})[-_.]([A-Z0-9]{4})(?![A-Za-z0-9])", re.IGNORECASE
)

_END = r"(?:[-_ .][A-Za-z]{0,6}\d{1,2}|[-_ .][A-Za-z]|(?<=\d)[A-Za-z])"
"""End of a name by which slides of one patient may differ."""

_MOST_SLIDES = 9
"""If more names differ only in their end, they are taken for numbered patients."""


def barcode_of(text: str) -> str | None:
    """Return the patient that the last TCGA barcode in a text names by its first 12 characters; None without one.

    Examples
    --------
    >>> barcode_of("benign/tcga-a1-a0sb-01Z-00-DX1.B34C_7.png")
    'TCGA-A1-A0SB'
    """
    codes = BARCODE.findall(text)
    return "-".join(("TCGA", *codes[-1])).upper() if codes else None


_PLACES = (
    r"(?:site|hospital|h[oô]pital|klini[ck]\w*|clini[cq]\w*|cent(?:re|er|ro|rum)|zentrum|krankenhaus|spital|ospedale|"
    r"ziekenhuis|standort|sjukhus|sykehus|institut\w*|univ(?:ersit\w*)?|lab(?:or|oratory)?|biobank|provider|einrichtung|"
    r"cohort\w*|kohorte|study|studie|country|city|source|dataset|医院|病院)"
)

SITES = re.compile(
    rf"(?!.*(?:primary|tumou?r|anatom|biopsy|metasta|lesion|body))(?:\w+_)?{_PLACES}s?(?:_?(?:id|name|code|no|nr|number))?"
)
"""Keys of columns that hold the hospital, the study or the data set, see `column_key`."""

_PLACE = re.compile(rf"(?<![^\W\d_]){_PLACES}(?![^\W\d_]{{2}})", re.IGNORECASE)

_COUNTED = re.compile(r"[^\W\d_]|[^\W\d_]*[\W_]*0*\d{1,3}")
"""Names of patients that may begin anew at each site: ``P1``, ``007``, ``A``."""

_DAY = r"(?:0[1-9]|[12]\d|3[01])"

_MONTH = r"(?:0[1-9]|1[0-2])"

_YEAR = r"(?:19|20)\d\d"

_NAMED_MONTH = "(?:jan|feb|mar|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)"

_NO_PATIENTS = {
    "dates": rf"{_YEAR}{_MONTH}({_DAY}(\d{{4,6}})?)?|\d{{2,4}}{_YEAR}|\d{{0,2}}{_NAMED_MONTH}[a-z]*{_YEAR}",
    "plates, arrays or batches": r"(platt?e|plaque|placa|piastra|tma|(tissue)?array|batch|charge|run|rack|chip)\w{1,3}",
    "arms of a study": r"(un)?treat(ed|ment)?|(un)?behandelt|trait[eé]s?|controls?|ctrl|kontrolle|contr[oô]le?|placebo|"
    r"vehicle|sham|wildtype|wt|ko|knockout|baseline|verum|drug|dmso|tamoxifen|(arm|dose|week|day|gruppe)\w{1,2}|"
    r"\d+mg|(low|mid|high)dose",
    "sites, parts of a split or magnifications": r"(site|hospital|fold)\w{1,2}|train(ing)?|test|val(idation)?|\d{2,3}x",
}
"""Names of groups that are not patients, as `letters_of` gives them."""

_NUMBERED = re.compile(r"([^\W\d_]+[ _.#=-]*)\d+(?![^\W_])")

_DATED = re.compile(rf"{_YEAR}([-_. ]\d\d){{2}}|(\d\d[-_. ]){{2}}{_YEAR}")

_NO_PARTS = (*_NO_PATIENTS.values(), rf"\D*{_YEAR}\D*", "[124]00|[12456]0|[45]")
"""Values of a part that are not patients, as `letters_of` gives them: also years, and powers of an objective."""

_MOST_TEXTS = 5
"""Texts before numbers that are tried, most frequent first; a name of a file has few."""

_NEARLY_ALL = 0.9
"""Share of the names that must hold a part (bchisto's choice)."""


def part_of_names(records: Sequence[ImageRecord]) -> str:
    r"""Return the line on the part of the names of files that may be the patient, by what recurs; empty without one.

    It is a number behind a text, or what is before a mark such as ``_``. Of several parts it is the one that divides
    the classes best, and then the first.

    Parameters
    ----------
    records : sequence of ImageRecord
        Images whose patients are not known.

    Examples
    --------
    >>> paths = [Path(f"{label}/Pat {n} - {i}.png") for label, n in ("a1", "a2", "b3") for i in (1, 2)]
    >>> print(part_of_names([ImageRecord(f"{path}", path, path.parts[0]) for path in paths]))
    patients: 6 of 6 names hold 'Pat N', 3 values: `group_from="Pat (\d+)"`
    >>> def pattern(form, patients=6):
    ...     numbers = [(n, i) for n in range(patients) for i in range(8)]
    ...     paths = [Path(form.format("ab"[n % 2], n, 8 * n + i, i)) for n, i in numbers]
    ...     line = part_of_names([ImageRecord(f"{path}", path, path.parts[0]) for path in paths])
    ...     return line and line.parts[-1]
    >>> pattern("{0}/B2021-{1:04}_{2}_HE.png"), pattern("{0}/Bild {3} P{1}.png"), pattern("{0}/{1}-{3}.png")
    ('([^/_]+)_[^/]*$', 'P(\\d+)', '([^/-]+)-[^/]*$')

    There is none in plain numbers, the class, magnifications, dates, batches, or numbers that begin anew in folders:

    >>> [pattern(f"{{0}}/{form}.png") for form in ("img_{2}", "{0}_{2}", "40X_{2}", "2021-03-1{1}_{2}", "batch{1}_{2}")]
    ['', '', '', '', '']
    >>> pattern("{0}/class{1}_{2}.png", patients=2), pattern("{0}/img_{3}.png", patients=2)
    ('', '')
    """
    names = (unicodedata.normalize("NFC", record.path.name) for record in records)
    counts = Counter(itertools.chain.from_iterable(map(_NUMBERED.findall, names)))
    texts = {rf"{text}(\d+)": text for text, _ in counts.most_common(_MOST_TEXTS)}
    for mark, place in itertools.product("_- ", range(3)):
        signs = f"[^/{mark}]+"
        texts[f"{signs}{mark}" * place + f"({signs}){mark}[^/]*$"] = ""
    # the path as a table has it is not known if another column names the image
    paths = [
        record.image_id if record.image_id.endswith(record.path.name) else record.path.name
        for record in records
    ]
    lines: dict[int, str] = {}
    for pattern, text in texts.items():
        value_of = PathRule.of(pattern, name="group_from").find(paths)
        owners = [
            (record.path.parent, record.label, value)
            for record, value in zip(records, map(value_of.get, paths), strict=True)
            if value and re.search(r"\d", value)
        ]
        in_classes = {(label, value) for _, label, value in owners}
        values = {value for _, value in in_classes}
        # numbers that begin anew in each folder recur, too, but once in each
        recurs = len(owners) >= max(_NEARLY_ALL * len(records), 2 * len({*owners}))
        is_finer = len(values) > len({label for label, _ in in_classes})
        if recurs and is_finer and not _is_no_patient(text, values, paths[0]):
            divided = round(len(in_classes) / len(values))
            example = re.sub(r"\d", "N", text + owners[0][2])
            line = "patients: {} of {} names hold '{}', {} values: {group_from:{}}"
            lines.setdefault(
                divided, Message(line, len(owners), len(records), example, len(values), pattern)
            )
    return lines.get(min(lines, default=0), "")


def _is_no_patient(text: str, values: Collection[str], path: str) -> bool:
    """Return whether values behind a text are not named as patients, but as dates or the like."""
    if not text and _DATED.search(path) and all(map(str.isdecimal, values)):
        return True
    return any(
        all(re.fullmatch(kind, letters_of(before + value)) for value in values)
        for kind, before in itertools.product(_NO_PARTS, {"", text})
    )


_Doubt = tuple[str, Sequence[str], Message]
"""Why groups are doubtful, the first of them, and a remedy if they are not what they are taken for."""


def settle_groups(
    records: Sequence[ImageRecord], *, root: Path, ruled: bool
) -> tuple[list[ImageRecord], list[Finding]]:
    """Join the groups, see `join_groups`.

    Parameters
    ----------
    records : sequence of ImageRecord
    root : Path
        The folder or manifest.
    ruled : bool
        Whether the user gave a rule for groups.

    Returns
    -------
    list of ImageRecord
    list of Finding
        Also warnings of groups that may be slides of one patient, patients of several sites, or not patients; names of
        files in a column of patients are left out.
    """
    findings = Findings()
    doubts = (_slides(records, ruled=ruled), _at_sites(records), _no_patients(records))
    for text, names, advice in filter(None, doubts):
        message = Message("{}{}; {}", text, Names(f" ({few(names)})"), advice)
        findings.warning(root.name, message, labels_only=True, perhaps=advice)
    group_of, joined = join_groups((record.group for record in records), where=root.name)
    settled = [
        record if record.group is None else replace(record, group=group_of[record.group])
        for record in records
    ]
    columns = {name for record in records for name, _ in record.columns}
    owners = ((record.group, record.image_id) for record in settled)
    if not ruled and repeats_names(columns, owners):
        findings.warning(root.name, REPEATED, labels_only=True)
        settled = [replace(record, group=None) for record in settled]
    return settled, findings + joined


def _slides(records: Iterable[ImageRecord], *, ruled: bool) -> _Doubt | None:
    """Warn of groups from paths or a column of slides that differ only in their end."""
    columns = []
    names = set()
    for record in records:
        cells = dict(record.columns)
        slides = [name for name in GROUP.matching(cells)[1] if cells[name] == record.group]
        if record.group and not barcode_of(record.group) and (slides or ruled or not record.line):
            columns += slides
            names.add(record.group)
    same_stem = _with_one_stem(names)
    if not same_stem:
        return None
    cure = Message("name the patients by {group_from}, or in the column group of a manifest")
    if columns:
        text = "{group_column:{}} with {group_from:{}} joins them"
        cure = Message(text, columns[0], f"^(.+?){_END}?$")
    advice = Message("if such groups are slides of one patient, {}", cure)
    return "names of groups differ only in their end", same_stem, advice


def _at_sites(records: Iterable[ImageRecord]) -> _Doubt | None:
    """Warn of names of patients that recur at several sites, if each site may number its own patients."""
    placed = [record for record in records if _COUNTED.fullmatch(record.group_text)]
    placed = [record for record in placed if _site(record)[1]]
    shared = _shared((record.group_text, _site(record)[1]) for record in placed)
    if not shared:
        return None
    return _AT_SITES, shared, Message("if each site has its own, {}", _apart(placed))


_AT_SITES = "the same names at several sites are taken for the same patients"


def _shared(places: Iterable[tuple[str, str]]) -> list[str]:
    """Return the patients of several sites, if half of those of a site or more are; each place is of an image."""
    sites_of: dict[str, set[str]] = {}
    for name, site in places:
        if site and _COUNTED.fullmatch(name):
            sites_of.setdefault(_key(name), set()).add(site)
    patients = Counter(itertools.chain.from_iterable(sites_of.values()))
    shared = [
        f"{name} at {' and '.join(sorted(sites))}"
        for name, sites in sorted(sites_of.items())
        if len(sites) > 1
    ]
    # in a column of names of files or slides, each value would have one patient
    if not 1 < min(patients.values(), default=0) <= 2 * len(shared):
        return []
    return shared


def doubts_at_sites(rows: Sequence[Mapping[str, str]], patient: str) -> Iterator[Message]:
    """Yield the warning of patients who are named alike at several sites, for each column of sites that shows it.

    Parameters
    ----------
    rows : sequence of mapping of str to str
        The cells of a table, by the keys of its columns.
    patient : str
        The column of patients; empty if there is none.
    """
    for column in filter(SITES.fullmatch, rows[0]):
        shared = _shared((row.get(patient, ""), row[column]) for row in rows)
        if shared:
            text = "{}{}; if each site has its own, name them apart"
            yield Message(text, _AT_SITES, Names(f" ({few(shared)})"))


REPEATED = (
    "the column of patients repeats the names of images, so patients count as unknown; if each image is of another "
    "patient, call the column group"
)
"""The warning of `repeats_names`."""


def repeats_names(columns: Collection[str], owners: Iterable[tuple[str | None, str]]) -> bool:
    """Return whether each patient of several is only the name of the one image, with its suffix or without.

    Parameters
    ----------
    columns : sequence of str
        Names of the column of patients. One called ``group``, or of slides, is taken as it is.
    owners : iterable of (str or None, str)
        The patient and the name of each image.

    Examples
    --------
    >>> files = [("a", "x/a.png"), ("b", "x/b.png")]
    >>> repeats_names(["patient"], files), repeats_names(["group"], files)
    (True, False)
    >>> repeats_names(["patient"], [("a", "a.png"), ("a", "b.png")])
    False
    """
    if GROUP.name in columns or not any(PATIENT.matching(columns)):
        return False
    pairs = set(owners)
    if len({group for group, _ in pairs}) < max(len(pairs), 2):
        return False
    return all(group in (name, Path(name).name, Path(name).stem) for group, name in pairs)


def _site(record: ImageRecord) -> tuple[str, str]:
    """Return the site of an image after its column; no column if a folder names it, and nothing if none does."""
    for column, cell in record.columns:
        if SITES.fullmatch(column):
            return column, cell
    return "", next(filter(_PLACE.search, record.image_id.split("/")[:-1]), "")


def _apart(records: Sequence[ImageRecord]) -> Message:
    """Return the advice by which patients of different sites are kept apart."""
    column, site = _site(records[0])
    above, separator, _ = records[0].image_id.partition(f"{site}/{records[0].group}/")
    if separator:
        levels = "[^/]+/" * above.count("/")
        return Message("{group_from:{}} keeps them apart", f"^{levels}([^/]+/[^/]+)/")
    for patients, _ in records[0].columns:
        if column and all((patients, record.group) in record.columns for record in records):
            return Message("{group_column:{}+{}} keeps them apart", column, patients)
    return Message("name them apart in the column group of a table")


def _no_patients(records: Collection[ImageRecord]) -> _Doubt | None:
    """Warn of groups that are named as dates, plates or arms, equal the classes, or may hold several patients."""
    rows = [(record.group, dict(record.columns)) for record in records if record.group]
    names = sorted({group for group, _ in rows})
    text = ""
    advice = Message("{group_from} finds these")
    column = _finer_column(rows)
    if column:
        advice = Message("{group_column:{}} takes these", column)
        if all(group == cells.get("group") for group, cells in rows):
            text = f"groups hold several values of the column {column}"
    owners = {(record.label, record.group) for record in records if record.label and record.group}
    if 1 < len(owners) == len(names) == len({label for label, _ in owners}) < len(rows):
        text = "each class is one group, as if groups were classes"
    for kind, pattern in _NO_PATIENTS.items():
        if all(re.fullmatch(pattern, letters_of(name)) for name in names):
            text = f"groups are named as {kind}"
    if not text:
        return None
    return text, names, Message("if they are not patients, {}", advice)


def _finer_column(rows: Sequence[tuple[str, Mapping[str, str]]]) -> str:
    """Return a column that may hold patients, and of which groups hold several values; empty if there is none."""
    groups = {group for group, _ in rows}
    for column in may_hold_patients(itertools.chain.from_iterable(cells for _, cells in rows)):
        if len({(group, cells.get(column)) for group, cells in rows}) > len(groups):
            return column
    return ""


def _with_one_stem(names: Iterable[str]) -> list[str]:
    """Return the first names that differ only in their end, unless these are numbered patients."""
    names_of = by_key(sorted(names), lambda name: re.sub(f"(?<=.){_END}$", "", name))
    shared = sorted(stem for stem, names in names_of.items() if len(names) > 1)
    if not shared or max(map(len, names_of.values())) > _MOST_SLIDES:
        return []
    last = {stem.rpartition("/")[2] for stem in shared}
    if len(last) == 1 and not re.search(r"\d", "".join(last)):
        return []
    return names_of[shared[0]]


def join_groups(
    groups: Iterable[str | None], *, where: str
) -> tuple[dict[str, str | None], list[Finding]]:
    """Join names of groups that differ only in case, Unicode form or zeros of a number, under the most frequent name.

    ``001``, ``1`` and ``1.0`` are joined, because spreadsheets convert one into another. In doubt, names are joined:
    one patient counted as two would make folds and intervals wrong, and two counted as one only makes them more
    cautious. TCGA barcodes become their first 12 characters. Names that mean an unknown patient (``NA``, ``nan``,
    ``unknown``) become None.

    Parameters
    ----------
    groups : iterable of str or None
        One per image.
    where : str
        Name of the table, for the findings.

    Returns
    -------
    dict of str to (str or None)
        Each name to the name that replaces it.
    list of Finding

    Examples
    --------
    >>> join_groups(["P1", "p1", "P1", "NA"], where="m.csv")[0]
    {'P1': 'P1', 'p1': 'P1', 'NA': None}
    """
    given = [group for group in groups if group is not None]
    plain = {name: barcode_of(name) or name for name in given}
    counts = Counter(map(plain.__getitem__, given))
    settled: dict[str, str | None] = {name: None for name in counts if is_missing(name)}
    findings = _replaced(plain, counts, where)
    joined = []
    for names in by_key((name for name in counts if name not in settled), _key).values():
        best = min(names, key=lambda name: (-counts[name], name))
        # a column of whole numbers with gaps, as pandas writes it
        settled |= dict.fromkeys(names, re.sub(r"^(\d+)\.0$", r"\1", best))
        if len(names) > 1:
            joined.append(" and ".join(sorted(names)))
    if joined:
        text = (
            "names of patients that differ only in case or in zeros are taken for one patient{}; "
            "give two patients different names"
        )
        findings.warning(where, Message(text, Names(f": {few(joined)}")))
    return {name: settled[code] for name, code in plain.items()}, findings


def _replaced(plain: Mapping[str, str], counts: Counter[str], where: str) -> Findings:
    """Return notes on barcodes that are shortened to patients, and on names that mean an unknown patient."""
    findings = Findings()
    slides = [name for name, code in plain.items() if name != code]
    if slides:
        patients = {plain[name] for name in slides}
        example = Names(f", such as {plain[slides[0]]} of {slides[0]}")
        numbers = f"{counted(len(patients), 'patient')} of {counted(len(slides), 'slide')}"
        text = "TCGA barcodes name the patient by their first 12 characters: {}{}"
        message = Message(text, numbers, example)
        findings.note(where, message)
    unknown = [
        f"{name} ({counted(count, 'row')})"
        for name, count in counts.items()
        if is_missing(name) and name
    ]
    if unknown:
        text = f"not taken for names of patients, but for unknown ones: {few(unknown)}"
        findings.note(where, text)
    return findings


def _key(name: str) -> str:
    name = visible(name)
    number = re.fullmatch(r"0*([0-9]+?)(\.0+)?", name)
    if number:
        return number[1]
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
