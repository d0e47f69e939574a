"""A published system: its steps with their settings, each with its source, its figures, and what is asked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core import InputError, Settings, option
from ..formats import number_of
from ..jobs import Work

STEPS = ("featurize", "boost", "finetune")
"""What a variant is made of: the commands whose settings it gives."""


@dataclass(frozen=True)
class Setting:
    """A value and where it stands: a section of the paper, the authors' code, or ``ours``."""

    value: Any
    source: str


@dataclass(frozen=True)
class Recipe:
    """A published system.

    Attributes
    ----------
    name, title, citation : str
    steps : tuple of str
        Of `STEPS`, in their order: those of every variant that names none of its own.
    datasets : tuple of str
        Layouts that its images may have.
    images : int
        Images of the published dataset.
    sections : dict of str to dict of str to Setting
        Step to its settings; ``explain`` to those of the pictures.
    magnifications : tuple of int
        The system is run for each of them apart; empty runs it once.
    full_scale : dict
        What ``--full-scale`` adds, with its source.
    variants : dict of str to dict
        Name to what the variant changes of each step, with its source; the first is the published one.
    quick : dict
        What ``--quick`` changes of each step, with its source, and how it chooses images.
    published : list of dict
        Tables of published figures.
    notes : tuple of str
        What a reader of the figures must know.
    raised : int
        By how much its seeds are raised.
    """

    name: str
    title: str
    citation: str
    steps: tuple[str, ...]
    datasets: tuple[str, ...]
    images: int
    sections: dict[str, dict[str, Setting]]
    magnifications: tuple[int, ...]
    full_scale: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    quick: dict[str, Any]
    published: list[dict[str, Any]]
    notes: tuple[str, ...] = ()
    raised: int = 0

    @property
    def first(self) -> str:
        """The published variant."""
        return next(iter(self.variants))

    @property
    def measures_encoder(self) -> bool:
        """Whether it describes images by an encoder that the caller names."""
        return "featurize" in self.sections and not self.values("featurize").get("encoders")

    def chosen(self, variants: Sequence[str]) -> list[str]:
        """Return the variants to run; by default the published one, or all that measure an encoder.

        Raises
        ------
        InputError
            A variant that the recipe does not have.
        """
        if unknown := [name for name in variants if name not in self.variants]:
            raise InputError("{variants} {}: {} has the variants {}", unknown[0], self.name, ", ".join(self.variants))
        return list(variants) or (list(self.variants) if self.measures_encoder else [self.first])

    def values(self, section: str) -> dict[str, Any]:
        """Return the settings of a step without their sources."""
        return {name: setting.value for name, setting in self.sections.get(section, {}).items()}

    def reseeded(self, by: int) -> Recipe:
        """Return the recipe with every seed raised."""
        return replace(self, raised=by)

    def steps_of(
        self, variant: str, *, quick: bool = False, full_scale: bool = False
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return the steps of a variant, each with its settings: the recipe's, and what the variant changes.

        Parameters
        ----------
        variant : str
        quick : bool
            With what a quick run makes smaller; folds that are a variant's point stay.
        full_scale : bool
            With the views at full scale.
        """
        change = self.variants[variant]
        seed = next((values["seed"] for step in self.steps if "seed" in (values := self.values(step))), 0)
        steps = []
        for step in change.get("steps", self.steps):
            own = change.get(step, {})
            values = {"seed": seed, **self.values(step), **own}
            if self.raised:
                values["seed"] = number_of(values["seed"]) + self.raised
            if step == "featurize" and full_scale:
                values["views"] = [*values["views"], *self.full_scale["views"]]
            if quick:
                values |= self._smaller(step, own, values)
            steps.append((step, values))
        return steps

    def _smaller(self, step: str, own: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a quick run changes of a step."""
        fixed = {"folds"} if not all(map(str.isdecimal, own.get("folds", ()))) else set()
        smaller = {name: value for name, value in self.quick.get(step, {}).items() if name not in fixed}
        kind, *rest = str(values.get("patches", "")).split(":")
        if kind == "sliding" and "overlap" in self.quick:
            smaller["patches"] = ":".join((kind, rest[0], str(self.quick["overlap"])))
        return smaller

    def describe(self) -> list[str]:
        """Return one line per setting: step, name, value, source."""
        return [
            f"{section:10}{name:18}{_text(setting.value):52}{setting.source}"
            for section, settings in self.sections.items()
            for name, setting in settings.items()
        ]


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class Scope(Settings):
    """Which parts of a published system are run, and how often."""

    quick: bool = option(False, group="Speed", help="A small version, in minutes; every output names it so.")
    variants: tuple[str, ...] = option(
        (), group="Evaluation", flag="variant", help="A variant of the recipe; default: as published."
    )
    full_scale: bool = option(False, help="Add the views at full scale, where the recipe has some.")
    fresh_draws: bool = option(
        False,
        help="Draw new colours and crops for each feature file, as the published code did; default: shared by all.",
    )
    encoders: tuple[str, ...] = option(
        (), group="Features", flag="encoder", help="The encoder that a recipe measures, as in featurize: bach-encoder."
    )
    seeds: int = option(
        1,
        least=1,
        help="How often all of it is run, with seeds that follow each other; further ones in seed-1, ... of the run "
        "folder. Conclusions are judged from three on.",
    )


@dataclass(frozen=True, kw_only=True)
class ReproduceRequest(Scope):
    """What is run, on which images and with which weights: the arguments of `reproduce`.

    Attributes
    ----------
    images, run : Path
    weights : tuple of str
    work : Work
    """

    images: Path
    run: Path = option(recorded=False)
    weights: tuple[str, ...] = ()
    work: Work = option(factory=Work, recorded=False)

    def at_seed(self, number: int) -> ReproduceRequest:
        """Return the request of one seed, which has a run folder of its own beside the first."""
        return replace(self, seeds=1, run=self.run if number == 0 else self.run / f"seed-{number}")
