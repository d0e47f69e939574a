"""A published system as a recipe (steps, settings with their sources, published figures), and a request to run it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ...core import InputError, OptionalPath, Settings, Texts, one_of, option
from ...core.formats import number_of
from ...core.jobs import Work
from ...encoders import ENGINES

STEPS = ("featurize", "boost", "finetune")
"""The possible steps of a variant, which are the names of commands."""


Values = dict[str, Any]
"""Settings of a step, or further parts of a recipe, by name."""


class Setting(NamedTuple):
    """A value and its source: a section of the paper, the authors' code, or ``ours`` for bchisto's choice."""

    value: Any
    source: str


def check_names(part: Values, names: Sequence[str], where: str) -> None:
    """Refuse a part of a recipe with a setting that is not one of `names`.

    Raises
    ------
    InputError
    """
    unknown = sorted(part.keys() - {*names})
    if unknown:
        raise InputError(f"{where}.{unknown[0]}: no such setting; {one_of(unknown[0], names)}")


@dataclass(frozen=True)
class Recipe:
    """A published system.

    Attributes
    ----------
    name, title, citation : str
    steps : tuple of str
        Some of `STEPS`, in this order, for every variant that has no steps of its own.
    datasets : tuple of str
        Layouts that its images may have.
    images : int
        Number of images in the published dataset.
    sections : dict of str to dict of str to Setting
        Step to its settings; ``explain`` to the settings of the pictures.
    magnifications : tuple of (int or None)
        The system is run separately for each of them; None stands for all images.
    full_scale : dict
        The views that ``--full-scale`` adds, with their source.
    variants : dict of str to dict
        Name of a variant to its changes of each step, with their source; the first variant is the published one.
    quick : dict
        The changes of each step with ``--quick``, with their source, and how images are chosen.
    published : list of dict
        Tables of published figures.
    notes : tuple of str
        Caveats for readers of the figures.
    raised : int
        Number that is added to all seeds.
    """

    name: str
    title: str
    citation: str
    steps: tuple[str, ...]
    datasets: tuple[str, ...]
    images: int
    sections: dict[str, dict[str, Setting]]
    magnifications: tuple[int | None, ...]
    full_scale: Values
    variants: dict[str, Values]
    quick: Values
    published: list[Values]
    notes: tuple[str, ...]
    raised: int = 0

    @property
    def first(self) -> str:
        """The published variant."""
        return next(iter(self.variants))

    @property
    def measures_encoder(self) -> bool:
        """Whether its encoder is chosen by the caller."""
        return "featurize" in self.sections and not self.values("featurize").get("encoders")

    def chosen(self, variants: Sequence[str]) -> list[str]:
        """Return the variants to run; by default the published one, or all if the recipe measures an encoder.

        Raises
        ------
        InputError
            The recipe does not have a variant.
        """
        for name in variants:
            if name not in self.variants:
                text = "{variants} {}: {} has no such variant; {}"
                raise InputError(text, name, self.name, one_of(name, self.variants))
        if variants:
            return list(variants)
        if self.measures_encoder:
            return list(self.variants)
        return [self.first]

    def values(self, section: str) -> Values:
        """Return the settings of a step without their sources."""
        return {name: setting.value for name, setting in self.sections.get(section, {}).items()}

    def steps_of(
        self, variant: str, *, quick: bool = False, full_scale: bool = False
    ) -> list[tuple[str, Values]]:
        """Return the steps of a variant with their settings: those of the recipe, changed by the variant.

        Parameters
        ----------
        variant : str
        quick : bool
            Apply the changes of a quick run; named folds that a variant sets stay.
        full_scale : bool
            Add the views at full scale.
        """
        change = self.variants[variant]
        of_steps = map(self.values, self.steps)
        first_seed = next((values["seed"] for values in of_steps if "seed" in values), 0)
        steps = []
        for step in change.get("steps", self.steps):
            step_changes = change.get(step, {})
            # a step without a seed has that of the first step with one
            values = {"seed": first_seed, **self.values(step), **step_changes}
            if self.raised:
                values["seed"] = number_of(values["seed"]) + self.raised
            if step == "featurize" and full_scale:
                values["views"] = [*values["views"], *self.full_scale["views"]]
            if quick:
                values |= self._smaller(step, step_changes, values)
            steps.append((step, values))
        return steps

    def _smaller(self, step: str, changed: Values, values: Values) -> Values:
        """Return the settings that a quick run changes in a step."""
        changes = dict(self.quick.get(step, {}))
        if not all(map(str.isdecimal, changed.get("folds", ()))):  # named folds of the variant stay
            changes.pop("folds", None)
        kind, *rest = str(values.get("patches", "")).split(":")
        if kind == "sliding" and "overlap" in self.quick:
            changes["patches"] = ":".join((kind, rest[0], str(self.quick["overlap"])))
        return changes


@dataclass(frozen=True)
class Scope(Settings):
    """Options for which parts of a published system are run, and how often."""

    quick: bool = option(
        False, group="Speed", help="A small version, in minutes; every output names it so."
    )
    variants: Texts = option(
        (), group="Evaluation", flag="variant", help="A variant; default: as published."
    )
    full_scale: bool = option(False, help="Add the views at full scale, if the recipe has some.")
    fresh_draws: bool = option(
        False, help="New colours and crops for each feature file, as in the published code."
    )
    encoders: Texts = option(
        (),
        group="Features",
        flag="encoder",
        help="The encoder that a recipe measures: bach-encoder.",
    )
    test_images: OptionalPath = option(
        None,
        group="Input",
        help="Test images of the challenge, to be predicted as its source did: rakhlin2018.",
    )
    seeds: int = option(
        1, least=1, help="How often all is run, with other seeds; the first is compared."
    )
    engine: str = option(
        "keras",
        group="Speed",
        choices=("auto", *ENGINES),
        help="What runs encoders, which their sources ran on Keras.",
    )


@dataclass(frozen=True, kw_only=True)
class ReproduceRequest(Scope):
    """A request to run a recipe: its scope, images and weights, as passed to `reproduce`.

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

    @property
    def scope(self) -> Scope:
        """The request as a `Scope`: mypy gives fields of a subclass the types that they accept, not those they hold."""
        return self

    def at_seed(self, number: int) -> ReproduceRequest:
        """Return the request of one seed; further seeds have their own folder in the run folder of the first."""
        if number == 0:
            return replace(self, seeds=1)
        return replace(self, seeds=1, run=self.run / f"seed-{number}")
