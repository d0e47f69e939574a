"""Recipes: one YAML file per published system, every setting with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError

__all__ = ["Recipe", "Setting", "list_recipes", "load_recipe"]

_SECTIONS = ("featurize", "boost")
_REQUIRED = frozenset({"name", "title", "citation", "road", "dataset", "images", "variants", "quick", "published"})
_OPTIONAL = frozenset({*_SECTIONS, "full_scale"})


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
    road : {"boosted"}
        Which part of the house runs it.
    dataset : str
        Layout of its images.
    images : int
        Images of the published dataset.
    sections : dict of str to dict of str to Setting
        Command to its settings.
    full_scale : dict
        What ``--full-scale`` adds, with its source.
    variants : dict of str to dict
        Name to what the variant changes, with its source; the first is the published one.
    quick : dict
        What ``--quick`` changes, with its source.
    published : list of dict
        Tables of published figures.
    """

    name: str
    title: str
    citation: str
    road: str
    dataset: str
    images: int
    sections: dict[str, dict[str, Setting]]
    full_scale: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    quick: dict[str, Any]
    published: list[dict[str, Any]]

    def values(self, section: str) -> dict[str, Any]:
        """Return the settings of a command without their sources."""
        return {name: setting.value for name, setting in self.sections[section].items()}

    def describe(self) -> list[str]:
        """Return one line per setting: command, name, value, source."""
        return [
            f"{section:10}{name:16}{_text(setting.value):52}{setting.source}"
            for section, settings in self.sections.items()
            for name, setting in settings.items()
        ]


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def list_recipes() -> tuple[str, ...]:
    """Return the names of all recipes."""
    folder = resources.files(__package__)
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def load_recipe(name: str) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    name : str
        Of `list_recipes`, or the path of a YAML file of the same form.

    Raises
    ------
    InputError
        No recipe of this name, or a file that is none.
    """
    if name in list_recipes():
        text = (resources.files(__package__) / f"{name}.yaml").read_text(encoding="utf-8")
    elif name.endswith((".yaml", ".yml")) and Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8", errors="replace")
    else:
        raise InputError(f"{name}: no such recipe or YAML file; choose one of {', '.join(list_recipes())}")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{name}: not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{name}: a recipe is a mapping with a name, settings and published figures")
    return parse_recipe(content)


def parse_recipe(content: Mapping[str, Any]) -> Recipe:
    """Check the parts of a recipe.

    Raises
    ------
    InputError
        A part is missing or unknown, or a setting names no source.
    """
    missing, unknown = _REQUIRED - content.keys(), content.keys() - _REQUIRED - _OPTIONAL
    if missing or unknown:
        names = [f"no {name}" for name in sorted(missing)] + [f"unknown {name}" for name in sorted(unknown)]
        raise InputError(f"recipe {content.get('name')}: {', '.join(names)}")
    sections: dict[str, dict[str, Setting]] = {}
    for section in _SECTIONS:
        for name, entry in content.get(section, {}).items():
            if not isinstance(entry, Mapping) or entry.keys() != {"value", "source"}:
                raise InputError(f"recipe {content['name']}: {section}.{name} needs a value and a source")
            sections.setdefault(section, {})[name] = Setting(entry["value"], str(entry["source"]))
    for part in (content["quick"], content.get("full_scale", {"source": ""}), *content["variants"].values()):
        if "source" not in part:
            raise InputError(f"recipe {content['name']}: variants, quick and full_scale name their source")
    plain = {name: content[name] for name in ("name", "title", "citation", "road", "dataset", "images")}
    return Recipe(
        **plain,
        sections=sections,
        full_scale=dict(content.get("full_scale", {})),
        variants=dict(content["variants"]),
        quick=dict(content["quick"]),
        published=list(content["published"]),
    )
