"""The user's choice of cross-validation schemes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...core import Many, Settings, TextInput, as_texts, option
from ..facts import DatasetFacts
from .folds import GROUPINGS, fold_plans
from .plans import FoldPlan, repeat_folds
from .protocols import PUBLISHED_FOLDS, SLIDE_FOLDS


@dataclass(frozen=True)
class FoldChoice(Settings):
    """A choice of cross-validation schemes (protocols), with options for folds that are drawn."""

    folds: tuple[str, ...] = option(
        (),
        group="Evaluation",
        help="A number, shares (70/30, 80/10/10), folder (the split the images came in), site:COLUMN of the manifest, "
        f"a published list ({', '.join((*PUBLISHED_FOLDS, *SLIDE_FOLDS))}), a file, or none: train on all; default: "
        "10, or in boost rakhlin10 for BACH.",
    )
    test_list: Path | None = option(
        None,
        file="input",
        help="With folds none: CSV with a column image_id; these images test, all others train.",
    )
    repeats: int = option(1, least=1, help="Number of splits: cross-validation is repeated with newly drawn folds.")
    group_by: str | None = option(
        None,
        group="Evaluation",
        choices=GROUPINGS,
        help="Keep patients (groups) in one part; default: if they are known.",
    )

    @classmethod
    def of(cls, value: FoldChoice | Many[TextInput] | None) -> FoldChoice:
        """Return a choice from a choice, from only the names of protocols, or from None for the default."""
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
        known: DatasetFacts | None = None,
    ) -> list[FoldPlan]:
        """Create the folds of each protocol.

        Parameters
        ----------
        image_ids, labels, groups : sequence
            One entry per usable image.
        seed : int
            Seed of folds that are drawn.
        default : str
            The protocol if none is named.
        failed : iterable of str
            Images that could not be used. A fold list may still contain them.
        known : DatasetFacts, optional
            Further columns and near-duplicates of these images.

        Raises
        ------
        InputError
            See `bchisto.data.fold_plans`; or `repeats` is above 1 with fixed folds.
        """
        known = replace(DatasetFacts.of(known), failed=tuple(failed))
        splits = [
            fold_plans(
                list(dict.fromkeys(self.folds)) or [default],
                image_ids=image_ids,
                labels=labels,
                groups=groups,
                group_by=self.group_by,
                seed=seed + split,
                test_list=self.test_list,
                known=known,
            )
            for split in range(self.repeats)
        ]
        return [repeat_folds(plans) for plans in zip(*splits, strict=True)]
