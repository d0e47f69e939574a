"""How prediction tables are read and compared, where that is not as they are."""

from __future__ import annotations

from dataclasses import dataclass

from ..arguments import as_texts
from ..data import column_key
from ..errors import InputError

PREDICTED_FROM = ("column", "probabilities")
"""What the predicted class of a row is taken from, where a table says it twice and differently."""


@dataclass(frozen=True)
class TableChoice:
    """How tables are read and compared.

    Attributes
    ----------
    classes : tuple of str
        Class order; by default that of the run, of a known dataset, or of the table.
    predicted_from : {"column", "probabilities"}, optional
        Which of them holds where the column ``predicted`` is not a class of the largest probability; without it such a
        table is refused.
    primary : str, optional
        The comparison that was named beforehand, ``FIRST:SECOND`` by the names of the tables; by default the first.
    by : tuple of str
        Columns of a table, or of the manifest of its run, whose values make subgroups.
    """

    classes: tuple[str, ...] = ()
    predicted_from: str | None = None
    primary: str | None = None
    by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("classes", "by"):
            object.__setattr__(self, name, as_texts(getattr(self, name), name))
        once: dict[str, str] = {}
        for name in self.by:
            once.setdefault(column_key(name), name.strip())
        object.__setattr__(self, "by", tuple(once.values()))

    @classmethod
    def of(cls, value: TableChoice | None) -> TableChoice:
        """Return what was passed, or the default."""
        return cls() if value is None else value

    def check(self) -> None:
        """Refuse a choice that there is not.

        Raises
        ------
        InputError
        """
        if self.predicted_from not in (None, *PREDICTED_FROM):
            raise InputError(f"`predicted_from` {self.predicted_from}: choose one of {', '.join(PREDICTED_FROM)}")
