"""What stage 2 is asked to do, and with which descriptors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..arguments import Many, PathInput, TextInput, as_path, as_paths, as_texts, as_whole, convert_fields
from ..errors import InputError, one_of
from ..options import joined, option
from .heads import members_of
from .parameters import parse_params
from .presets import PRESETS, Preset


def _written(params: Mapping[str, Any]) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in params.items()]


def _as_heads(value: Many[TextInput], name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(as_texts(value, name)))


@dataclass(frozen=True)
class FeatureChoice:
    """Which descriptors are trained on, and what their images are.

    Attributes
    ----------
    features : tuple of Path
        Stores or folders of them, one or many; empty takes ``features`` of the run folder. Embeddings of other
        programs, see `bchisto.featurize.read_embeddings`, become stores there.
    labels : Path, optional
        A table of the labels of such embeddings, see `bchisto.data.read_labels`; else their files hold them.
    classes : tuple of str
        Class order; by default that of the stores.

    Raises
    ------
    InputError
        No paths, or classes that are no texts.
    """

    features: tuple[Path, ...] = ()
    labels: Path | None = option(None, sparse=True)
    classes: tuple[str, ...] = option((), plain=joined)

    def __post_init__(self) -> None:
        convert_fields(self, features=as_paths, labels=as_path, classes=as_texts)

    @classmethod
    def of(cls, value: FeatureChoice | Many[PathInput] | None) -> FeatureChoice:
        """Return a choice from what a caller passes: one, or paths alone."""
        if value is None:
            return cls()
        return value if isinstance(value, FeatureChoice) else cls(as_paths(value, "features"))


@dataclass(frozen=True)
class BoostSettings:
    """Settings that decide what is trained on the descriptors, and what is said of it.

    Attributes
    ----------
    heads : tuple of str
        Of `list_heads`, one or many: ``lightgbm``; ``logistic`` and ``svm`` (scikit-learn's, on standardised
        descriptors); ``stack``, which blends one model of each of these over all stores by weights fitted inside the
        training part; and heads that other packages add.
    seeds : int
        Ensemble members per fold, of LightGBM; ``logistic`` and ``svm`` have no seed.
    preset : str
        Of `PRESETS`.
    params : mapping
        LightGBM parameters on top of the preset.
    seed : int
        Moves split folds, not the seeds of LightGBM.
    each : bool
        Compare the stores with each other, and the fusion of all with that of all but one. Trains nothing more.
    name : str
        Added to the folder's name, so that ensembles of other stores or settings stand side by side in a run.

    Raises
    ------
    InputError
        An unknown head, preset or parameter, no seed, or a name that is none of a folder.
    """

    heads: tuple[str, ...] = option(("lightgbm",), name="head")
    seeds: int = 5
    preset: str = "rakhlin2018"
    params: Mapping[str, Any] = option(factory=dict, name="param", plain=_written, value=parse_params)
    seed: int = 0
    each: bool = False
    name: str = option("", sparse=True)

    def __post_init__(self) -> None:
        convert_fields(self, heads=_as_heads, seeds=as_whole, seed=as_whole)
        object.__setattr__(self, "params", dict(self.params or {}))
        if self.seeds < 1:
            raise InputError(f"`seeds` {self.seeds}: give at least 1")
        if self.preset not in PRESETS:
            raise InputError(f"`preset` {self.preset}: no such preset; {one_of(self.preset, PRESETS)}")
        if not re.fullmatch(r"[\w.+-]*", self.name):
            raise InputError(
                f"`name` {self.name}: give letters, digits, dots, hyphens or underscores: it names a folder"
            )
        for head in self.heads:
            members_of(head)  # refuses what is no head

    @classmethod
    def of(cls, value: BoostSettings | None) -> BoostSettings:
        """Return what was passed, or the defaults."""
        return cls() if value is None else value

    @property
    def chosen(self) -> Preset:
        """The preset with the parameters on top."""
        return PRESETS[self.preset].with_params(self.params)
