"""Published figures beside the obtained ones, with their difference; where folds are the same, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core import aligned
from ...core.jobs import check_file_name, write_rows

NOT_PRINTED = "not printed"


@dataclass(frozen=True)
class PublishedFigure:
    """One figure of a paper and ours.

    Attributes
    ----------
    name : str
    published : float or None
        None where the source shows the figure as a picture only, or not at all.
    obtained : float or None
        None where it was not computed in this run.
    published_spread, obtained_spread : float or None
        Over folds, as the paper gives it.
    interval : tuple of float, or None
        Our 95 % interval.
    digits : int
        Decimals of the printed values.
    paired : tuple of float, or None
        95 % interval of the difference, fold by fold, where the source gives its figure of the very folds.
    cited : bool
        Whether the source sets it beside its own figures, of others' work: shown though nothing here obtains it.
    printed : str
        What the source prints if that is not a single number, such as a range.
    """

    name: str
    published: float | None
    obtained: float | None
    published_spread: float | None = None
    obtained_spread: float | None = None
    interval: tuple[float, float] | None = None
    digits: int = 1
    paired: tuple[float, float] | None = None
    cited: bool = False
    printed: str = ""

    @property
    def difference(self) -> float | None:
        """Obtained minus published."""
        return None if self.published is None or self.obtained is None else self.obtained - self.published

    def cells(self) -> list[str]:
        """Published, obtained, its interval, the difference, and its interval."""
        return [
            self.printed or NOT_PRINTED
            if self.published is None
            else self._text(self.published, self.published_spread),
            "–" if self.obtained is None else self._text(self.obtained, self.obtained_spread),
            _ends(self.interval, f".{self.digits}f"),
            "–" if self.difference is None else f"{self.difference:+.{self.digits}f}",
            _ends(self.paired, f"+.{self.digits}f"),
        ]

    def _text(self, value: float, spread: float | None = None) -> str:
        text = f"{value:.{self.digits}f}"
        return text if spread is None else f"{text} ± {spread:.{self.digits}f}"


def _ends(interval: tuple[float, float] | None, form: str) -> str:
    return "–" if interval is None else " to ".join(format(end, form) for end in interval)


@dataclass(frozen=True)
class PublishedTable:
    """A table of published figures.

    Attributes
    ----------
    key : str
        File name of the table.
    title : str
    source : str
        Where the published figures stand.
    figures : tuple of PublishedFigure
    note : str
        What a reader must know before comparing: lines.
    """

    key: str
    title: str
    source: str
    figures: tuple[PublishedFigure, ...]
    note: str = ""

    @staticmethod
    def header() -> list[str]:
        """Column names of `rows`."""
        return ["figure", "published", "obtained", "95 % CI", "difference", "95 % CI, by folds"]

    def rows(self) -> list[list[str]]:
        """Cells as text, one list a figure that was obtained, or is cited."""
        return [
            [figure.name, *figure.cells()] for figure in self.figures if figure.obtained is not None or figure.cited
        ]

    def left_out(self) -> str:
        """Return how many published figures have no row, because no step gives them; empty if all have."""
        count = sum(figure.obtained is None and not figure.cited for figure in self.figures)
        were = "figure was" if count == 1 else "figures were"
        return f"{count} more published {were} not obtained, see {self.key}.csv." if count else ""

    def text(self) -> str:
        """The table for a terminal."""
        body = aligned([self.header(), *self.rows()], right=False)
        return "\n".join([f"{self.title} ({self.source})", *filter(None, (self.note, self.left_out())), *body])


def write_published(folder: Path, tables: Sequence[PublishedTable]) -> list[Path]:
    """Write each table as ``<key>.csv`` in full precision; returns the files."""
    header = ["figure", "published", "published_spread", "obtained", "obtained_spread", "difference", "low", "high",
              "difference_low", "difference_high"]  # fmt: skip
    wrote = []
    for table in tables:
        path = folder / f"{check_file_name(table.key, 'the table')}.csv"
        rows = []
        for figure in table.figures:
            low, high = figure.interval or (None, None)
            published = (figure.printed or NOT_PRINTED) if figure.published is None else figure.published
            values = [published, figure.published_spread, figure.obtained, figure.obtained_spread, figure.difference,
                      low, high, *(figure.paired or (None, None))]  # fmt: skip
            rows.append([figure.name, *("" if value is None else value for value in values)])
        write_rows(path, header, rows)
        wrote.append(path)
    return wrote
