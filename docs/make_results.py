"""Writes the figures of the documents from the rows of `docs/results`.

A page says which figure stands where by a comment, and this script writes what is between the two:

    <!--{eva-svm: accuracy, percent with interval}-->63.6 % (45.3 to 78.7)<!--/-->

After the colon come the figure and its form, see `FORMS`. `{table: NAME}` is a table of `table`, by default of the rows
whose names begin with NAME and a colon, with a column for each figure. If a row rests on another science than that of
the code (`tools/benchmarks/science.py`), the version that measured it is written behind the figure.

    python docs/make_results.py            # writes
    python docs/make_results.py --check    # exits with 1 if a page is not as the rows are
"""

from __future__ import annotations

import argparse
import csv
import functools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bchisto.apps.recipes import list_recipes, load_recipe
from bchisto.apps.recipes.tables import rows_of
from bchisto.core.runs import science

DOCS = Path(__file__).parent
RESULTS = DOCS / "results"
REFERENCE = RESULTS / "reference.csv"
MADE = RESULTS / "made.csv"
"""What made tables of predictions that are kept, if no run beside them records it: settings, version and science."""

PAGES = (
    DOCS.parent / "README.md",
    *(DOCS / f"{name}.md" for name in ("results", "encoders", "performance", "settings", "next")),
)

Row = Mapping[str, Any]
"""A row of a ledger: column to text, and ``made``, the row of `MADE` of its predictions."""

Ledger = Mapping[tuple[str, str], Row]
"""Name and figure to the last row that has them."""

MARK = re.compile(r"(<!--\{([^}]*)\}-->)(.*?)(<!--/-->)", re.DOTALL)


def read_ledger(folder: Path = RESULTS) -> dict[tuple[str, str], Row]:
    """Return the last row of each name and figure in a file; a later row is a later measurement.

    Raises
    ------
    SystemExit
        Two files have rows of one name and figure, or two rows of them are of other settings.
    """
    rows: dict[tuple[str, str], Row] = {}
    for path in sorted({*folder.glob("*.csv")} - {MADE}):
        of_file: dict[tuple[str, str], Row] = {}
        for row in records(path):
            key = (row["name"], row["figure"])
            before = of_file.setdefault(key, row)
            if before.get("settings") != row.get("settings"):
                sys.exit(f"{path}: {key} is of two settings; give one another name")
            of_file[key] = row
        twice = rows.keys() & of_file.keys()
        if twice:
            sys.exit(f"{path}: {min(twice)} is in another file, too; give one another name")
        rows |= of_file
    made = {row["name"]: row for row in records(MADE)}
    for (name, _), row in rows.items():
        for part in name.split(" against "):
            if part in made:
                row["made"] = made[part]
    return rows


def records(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def percent(value: str, form: str = ".1f") -> str:
    """Return a share in percent."""
    return f"{100 * float(value):{form}}"


def interval(row: Row, form: str = ".1f") -> str:
    """Return the interval of a share: ``81.9 to 91.6``."""
    return f"{percent(row['low'], form)} to {percent(row['high'], form)}"


def verdict(row: Row) -> str:
    """Return what a difference shows, by its interval and Holm's p."""
    if float(row["p"]) >= 0.05 or float(row["low"]) <= 0 <= float(row["high"]):
        return "not shown to be better"
    return "better" if float(row["value"]) > 0 else "worse"


def neither(row: Row) -> str:
    """Return what a difference shows of the two."""
    if verdict(row) == "not shown to be better":
        return "neither is shown to be better"
    return f"the first is {verdict(row)}"


def share_with_interval(row: Row) -> str:
    """Return a share as a cell has it: ``87.5 (81.9 to 91.6)``."""
    if not row["low"]:
        return percent(row["value"])
    return f"{percent(row['value'])} ({interval(row)})"


def gain(row: Row) -> str:
    """Return a difference in points, bold if its interval leaves out 0."""
    text = percent(row["value"], "+.1f")
    if float(row["low"]) <= 0 <= float(row["high"]):
        return text
    return f"**{text}**"


FORMS: dict[str, Callable[[Row], str]] = {
    "value": lambda row: row["value"],
    "images": lambda row: row["images"],
    "units": lambda row: row["units"],
    "cell": lambda row: percent(row["value"]),
    "cell with interval": share_with_interval,
    "percent": lambda row: f"{percent(row['value'])} %",
    "whole percent": lambda row: f"{percent(row['value'], '.0f')} %",
    "percent with interval": lambda row: f"{percent(row['value'])} % ({interval(row)})",
    "right": lambda row: f"{float(row['value']) * int(row['images']):.0f} of {row['images']}",
    "points": lambda row: f"{percent(row['value'])} points",
    "points with interval": lambda row: (
        f"{percent(row['value'], '+.1f')} points (95 % CI {interval(row, '+.1f')})"
    ),
    "gain": gain,
    "p": lambda row: f"Holm's p = {float(row['p']):.2f}",
    "verdict": verdict,
    "neither": neither,
}
"""Ways to write a row."""

COUNTS = ("images", "units")
"""Forms of what no science changes."""


class Book:
    """The rows, and the versions of those that were taken and whose science has changed.

    Attributes
    ----------
    old : list of str
        Versions of rows taken since `begin` that rest on another science than that of the code.
    """

    def __init__(self, rows: Ledger, current: Mapping[str, str]) -> None:
        self.rows = rows
        self._current = current
        self.old: list[str] = []

    def row(self, name: str, figure: str) -> Row:
        """Take a row.

        Raises
        ------
        SystemExit
            There is none.
        """
        if (name, figure) not in self.rows:
            sys.exit(f"docs/results: no row {name!r} with the figure {figure!r}")
        row = self.rows[name, figure]
        for measured in (row, row.get("made", {})):
            parts = dict(part.split(":") for part in measured.get("science", "").split())
            if any(self._current.get(part) != digest for part, digest in parts.items()):
                self.old.append(measured["version"])
        return row

    def written(self, text: str) -> str:
        """Return a text of the rows that were taken, with the versions of those that are old; and forget these."""
        versions = sorted(set(self.old))
        self.old.clear()
        if not versions:
            return text
        return f"{text} (of version {', '.join(versions)})"


HEADS = ("svm", "lda", "logistic", "lightgbm", "knn")
ENCODERS = (
    *("UNI2-h", "Midnight-12k", "Virchow2", "kaiko ViT-B/8", "UNI", "Lunit", "GigaPath"),
    *("H-optimus-0", "Phikon-v2"),
)
ON_JAX = "JAX, between 8 and 24 images, 40 crops at once"
EVA = "Balanced accuracy on the 132 images of eva, percent"
PUBLISHED = (
    "Accuracy over the ten folds of Rakhlin et al. 2018, percent; patients are in several folds"
)

SAME = {
    ("settings: **standard** with 4: both networks and views", "published folds"): (
        "rakhlin10-svm: accuracy, cell"
    ),
    ("settings: **standard** with 4: both networks and views", "new patients"): (
        "eva-svm: accuracy, cell"
    ),
    ("settings: **published**, seconds estimated", "published folds"): (
        f"bach-encoder: rakhlin10: three encoders of natural images, LightGBM: {PUBLISHED}, value"
    ),
}
"""Cells of tables that are figures of other rows."""


LABELLED = {
    "idc": ("IDC, MobileNetV2", 100),
    "idc by hand": ("IDC, colour and texture", 100),
    "breakhis": ("BreakHis, MobileNetV2", 30),
    "synthetic": ("synthetic", 100),
}
"""Samples of `tools/benchmarks/next.py`: their labels, and how many images get one."""
STRATEGIES = ("doubt", "diversity", "typiclust", "probcover")
"""What is compared with random there."""


def gain_row(book: Book, sample: str, strategy: str, figure: str) -> Row:
    """Return the row of what a strategy gains over random."""
    count = LABELLED[sample][1]
    return book.row(
        f"{sample} next {strategy} against random", f"difference of {figure} at {count}"
    )


def ranks_as_random(book: Book, strategy: str) -> bool:
    """Return whether a strategy may be the default of `next`: by AUC on no sample worse than random, nor on average."""
    rows = [gain_row(book, sample, strategy, "AUC") for sample in LABELLED]
    mean = sum(float(row["value"]) for row in rows) / len(rows)
    return mean >= 0 and all(float(row["high"]) >= 0 for row in rows)


def points_lost(book: Book) -> str:
    """Return by how many points the classifiers are worse on new patients."""
    lost = []
    for head in HEADS:
        mixed = book.row(f"rakhlin10-{head}", "accuracy")
        new = book.row(f"eva-{head}", "accuracy")
        lost.append(100 * (float(mixed["value"]) - float(new["value"])))
    return f"{min(lost):.0f} to {max(lost):.0f}"


def published_by(book: Book, name: str) -> list[str]:
    """Return what eva's leaderboard and Midnight's model card give an encoder, in percent."""
    return [
        book.row(f"bach-encoder: eva: {name}, linear", EVA)["value"],
        book.row(name, "Midnight's model card")["value"],
    ]


def pathology_encoders(book: Book) -> str:
    """Return the least and the largest published figure of Phikon-v2 and UNI2-h."""
    texts = [*published_by(book, "Phikon-v2"), *published_by(book, "UNI2-h")]
    values = list(map(float, texts))
    return f"{min(values):.0f} to {max(values):.0f} %"


def number(row: Row) -> float:
    """Return the value of a row, such as ``2,670``."""
    return float(row["value"].replace(",", ""))


def times_as_fast(book: Book, *, views: str) -> str:
    """Return how many times as fast dense mode is, by the table of encoders."""
    names = dict.fromkeys(name for name, _ in book.rows if name.startswith("encoder: "))
    ratios = [
        number(book.row(name, f"exact, {views}")) / number(book.row(name, f"dense, {views}"))
        for name in names
    ]
    return f"{min(ratios):.1f} to {max(ratios):.1f}"


def share_on_gpu(book: Book, *, way: str, of: str) -> str:
    """Return how fast a GPU described crops in one way, relative to another."""
    table = "mode, precision: exact, float32"
    crops = number(book.row(f"{table}: {way}", "crops a second"))
    return f"{100 * crops / number(book.row(f'{table}: {of}', 'crops a second')):.0f} %"


def all_right(book: Book) -> str:
    """Return the lower end of the exact 95 % interval of 20 images that are all right."""
    return f"{100 * 0.025 ** (1 / 20):.0f}"


def best_on_new_patients(book: Book) -> str:
    """Return the largest balanced accuracy on new patients."""
    rows = [book.row(f"eva-{head}", "balanced_accuracy") for head in HEADS]
    return percent(max(rows, key=lambda row: float(row["value"]))["value"])


def shown_on_new_patients(book: Book) -> str:
    """Return whether a difference between two classifiers on new patients is shown."""
    pairs = [
        book.row(f"eva-{second} against eva-{first}", "difference")
        for first in HEADS
        for second in HEADS
        if (f"eva-{second} against eva-{first}", "difference") in book.rows
    ]
    assert len(pairs) == 10
    if all(verdict(pair) == "not shown to be better" for pair in pairs):
        return "No classifier is shown to be better than another here"
    return "Some classifiers are shown to be better than others here"


DERIVED: dict[str, Callable[[Book], str]] = {
    "points lost on new patients": points_lost,
    "pathology encoders": pathology_encoders,
    "dense mode, times as fast, one view": functools.partial(times_as_fast, views="1 view"),
    "dense mode, times as fast, two views": functools.partial(times_as_fast, views="2 views"),
    "share of the encoders on a GPU": functools.partial(
        share_on_gpu, way=ON_JAX, of="JAX, the encoders only"
    ),
    "share of JAX that PyTorch has": functools.partial(share_on_gpu, way="PyTorch", of=ON_JAX),
    "all of 20 right": all_right,
    "best balanced accuracy on new patients": best_on_new_patients,
    "differences on new patients": shown_on_new_patients,
}
"""What several rows say together."""

_COLUMNS = (
    ("accuracy", share_with_interval),
    ("balanced_accuracy", share_with_interval),
    ("macro_f1", FORMS["cell"]),
    ("auc", FORMS["cell"]),
    ("patient_recognition_rate", share_with_interval),
    ("two-class accuracy", FORMS["cell"]),
)


def _bach_row(book: Book, label: str, name: str) -> list[str]:
    """Return the cells of a table of predictions of BACH."""
    cells = []
    for figure, form in _COLUMNS:
        cells.append("–")
        if (name, figure) in book.rows:
            cells[-1] = form(book.row(name, figure))
    last = "two-class auc"
    if (name, "two-class auc_pooled") in book.rows:
        last = "two-class auc_pooled"
    row = book.row(name, last)
    cells.append(FORMS["cell"](row))
    if "source" in row:
        cells[-1] += ", by the paper"
    return [book.written(label), *cells]


def bach_table(book: Book, names: Mapping[str, str]) -> Iterator[Sequence[str]]:
    """Yield the rows of a table of predictions of BACH, by label."""
    yield (
        *("`--head`", "accuracy", "balanced accuracy", "F1", "AUC", "by patient"),
        *("carcinoma: accuracy", "carcinoma: AUC"),
    )
    for label, name in names.items():
        yield _bach_row(book, label, name)


def encoders_table(book: Book) -> Iterator[Sequence[str]]:
    """Yield published balanced accuracies of encoders, by source."""
    yield ("encoder", "eva's leaderboard", "Midnight's model card")
    for name in ENCODERS:
        yield [name, *published_by(book, name)]
    small = "kaiko ViT-S/16"
    yield [small, book.row(f"bach-encoder: eva: {small}, linear", EVA)["value"], ""]
    natural = "DINOv2-giant of natural images"
    yield [natural, "", book.row(f"bach-encoder: eva: {natural}, linear", EVA)["value"]]


def rows_table(book: Book, begin: str) -> Iterator[Sequence[str]]:
    """Yield a row for each name that begins so, with a column for each figure."""
    keys = [key for key in book.rows if key[0].startswith(f"{begin}: ")]
    if not keys:
        sys.exit(f"docs/results: no row that begins with {begin!r}")
    figures = list(dict.fromkeys(figure for _, figure in keys))
    yield [begin, *figures]
    for name in dict.fromkeys(name for name, _ in keys):
        cells = [""] * len(figures)
        for column, figure in enumerate(figures):
            if (name, figure) in SAME:
                cells[column] = text_of(book, SAME[name, figure])
            elif (name, figure) in book.rows:
                cells[column] = book.row(name, figure)["value"]
        yield [book.written(name.removeprefix(f"{begin}: ")), *cells]


def gains_table(book: Book) -> Iterator[Sequence[str]]:
    """Yield what each strategy gains over random in AUC, by sample."""
    yield ["", *(label for label, _ in LABELLED.values())]
    for strategy in STRATEGIES:
        gains = [gain_row(book, sample, strategy, "AUC") for sample in LABELLED]
        yield [book.written(f"`{strategy}`"), *map(FORMS["gain"], gains)]


def table(book: Book, name: str) -> str:
    """Return a table as Markdown, by its name."""
    if name == "published folds":
        published = {"published": "crossvalidation"}
        names = published | {f"`{head}`": f"rakhlin10-{head}" for head in HEADS}
        rows = list(bach_table(book, names))
    elif name == "new patients":
        rows = list(bach_table(book, {f"`{head}`": f"eva-{head}" for head in HEADS}))
    elif name == "gains of strategies":
        rows = list(gains_table(book))
    elif name == "encoders":
        rows = list(encoders_table(book))
    else:
        rows = list(rows_table(book, name))
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def text_of(book: Book, mark: str) -> str:
    """Return the figure that a mark names, in its form."""
    name, _, rest = mark.rpartition(": ")
    figure, _, form = rest.rpartition(", ")
    if form not in FORMS:
        sys.exit(f"{mark!r}: no such form; choose one of {', '.join(FORMS)}")
    text = FORMS[form](book.row(name, figure))
    if form in COUNTS:
        book.old.clear()
    return text


def figure_text(book: Book, mark: str) -> str:
    """Return what a mark stands for."""
    kind, _, name = mark.partition(": ")
    if kind == "table":
        return f"\n\n{table(book, name)}\n\n"
    if mark in DERIVED:
        return book.written(DERIVED[mark](book))
    return book.written(text_of(book, mark))


def filled(text: str, book: Book) -> str:
    """Return a page with what its marks stand for."""
    return MARK.sub(lambda match: match[1] + figure_text(book, match[2]) + match[4], text)


def published_rows() -> Iterator[dict[str, object]]:
    """Yield the printed figures of the published systems, from the recipes; half of the last digit is the tolerance."""
    for name in list_recipes():
        recipe = load_recipe(name)
        for part in recipe.published:
            rows = {**part.get("rows", {}), **part.get("others", {})}
            for label, row in rows_of({**part, "rows": rows}):
                for figure, suffix in (("value", ""), ("std", ": std")):
                    if isinstance(row.get(figure), (int, float)):
                        yield {
                            "name": f"{name}: {part['key']}: {label}{suffix}",
                            "figure": part["title"],
                            "value": row[figure],
                            "tolerance": 0.5 * 10.0 ** -row["digits"],
                            "protocol": recipe.title,
                            "source": f"{recipe.citation}; {part['source']}",
                        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    rows = list(published_rows())
    if not arguments.check:
        with REFERENCE.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    book = Book(read_ledger(), science())
    stale = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        made = filled(text, book)
        if made != text:
            stale.append(page.name)
            if not arguments.check:
                page.write_text(made, encoding="utf-8")
    sys.stdout.write(f"changed: {', '.join(stale) or 'none'}\n")
    sys.exit(arguments.check and bool(stale))


if __name__ == "__main__":
    main()
