"""Which folds a classifier is trained and tested on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...arguments import Many, TextInput, as_path, as_texts, as_whole, convert_fields, named
from ...errors import InputError
from ...options import option
from ..particulars import Particulars
from .folds import fold_plans
from .plans import FoldPlan, repeat_folds


@dataclass(frozen=True)
class FoldChoice:
    """Protocols by name, and how split folds are made.

    Attributes
    ----------
    folds : tuple of str
        A number, shares (``70/30``, ``80/10/10``), ``folder``, ``site:COLUMN``, a published list, a fold list, or
        ``none``; see
        `bchisto.data.fold_plan`. One or many; empty takes what the command does by default.
    group_by : {"group", "none"}, optional
        Whether split folds keep groups whole; by default where groups are known.
    test_list : str or Path, optional
        With the protocol ``none``: a CSV with a column ``image_id``; these images test, all others train.
    repeats : int
        Splits that folds which are drawn are made on, the first of the seed and each other of the next; every image is
        tested as often.
    """

    folds: tuple[str, ...] = ()
    group_by: str | None = None
    test_list: Path | None = option(None, sparse=True)
    repeats: int = option(1, sparse=True)

    def __post_init__(self) -> None:
        convert_fields(self, folds=as_texts, repeats=as_whole, test_list=as_path)
        if self.repeats < 1:
            raise InputError(f"`repeats` {self.repeats}: give at least 1 split")

    @classmethod
    def of(cls, value: FoldChoice | Many[TextInput] | None) -> FoldChoice:
        """Return a choice from what a caller passes: one, or the names of protocols alone."""
        if value is None:
            return cls()
        return value if isinstance(value, FoldChoice) else cls(as_texts(value, "folds"))

    def plans(
        self,
        image_ids: Sequence[str],
        *,
        labels: Sequence[str],
        groups: Sequence[str | None],
        seed: int,
        default: str,
        failed: Mapping[str, str] | Iterable[str] = (),
        known: Particulars | None = None,
    ) -> list[FoldPlan]:
        """Make the folds of each protocol.

        Parameters
        ----------
        image_ids, labels, groups : sequence
            Of the images that can be used.
        seed : int
            Moves split folds.
        default : str
            The protocol where none is named.
        failed : iterable of str
            Images that could not be used, which a list may name.
        known : Particulars, optional
            Further columns and copies of these images.

        Raises
        ------
        InputError
            See `bchisto.data.fold_plans`; or `repeats` with folds that are fixed.
        """
        known = replace(Particulars.of(known), failed=tuple(failed))
        with named(spec="folds", specs="folds"):
            splits = [
                fold_plans(
                    list(dict.fromkeys(self.folds)) or [default],
                    image_ids=image_ids,
                    labels=labels,
                    groups=groups,
                    group_by=self.group_by,
                    seed=seed + place,
                    test_list=self.test_list,
                    known=known,
                )
                for place in range(self.repeats)
            ]
        return [repeat_folds(plans) for plans in zip(*splits, strict=True)]
