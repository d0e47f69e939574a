"""Recipes: one YAML file per published system, every setting with its source.

A recipe of ours is a file of this folder. Another package adds one through the entry-point group ``bchisto.recipes``:
the entry point is the path of its YAML file, a resource of its package, or what such a file holds; or a function
without arguments that returns one of these. It has the name of the recipe, and cannot take that of one of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from ..extensions import extension_names, load_extension

__all__ = ["ENTRY_POINT_GROUP", "Recipe", "Setting", "list_recipes", "load_recipe"]

ENTRY_POINT_GROUP = "bchisto.recipes"

_SECTIONS = ("featurize", "boost", "finetune")
_ROADS = {"boosted": ("featurize", "boost"), "cnn": ("finetune",)}
"""Sections that a recipe of each road must have."""

_NEEDED = {
    "finetune": ("network", "patches", "folds", "seed"),
    "boost": ("head", "seeds", "preset", "seed"),
    "featurize": ("encoder", "view", "augmentations", "crops"),
}
"""Settings that a section cannot do without."""

_QUICK = {
    "boosted": ("images_per_class_and_fold", "augmentations", "crops", "seeds"),
    "cnn": ("images_per_class", "finetune"),
}

_TABLES = {
    "stores": ("rows",),
    "fusion_folds": ("values",),
    "two_class": ("accuracy", "auc", "set_points"),
    "confusion": ("classes", "matrix"),
    "variants": ("metric", "rows"),
    "scores": ("digits", "rows"),
    "rules": ("variant", "level", "rows"),
    "levels": ("variant",),
    "folds": ("variant",),
    "validation": ("digits", "rows"),
}
"""Kinds of published tables, the first four of boosted recipes, and what each must have."""

_REQUIRED = frozenset({"name", "title", "citation", "road", "dataset", "images", "variants", "quick", "published"})
_OPTIONAL = frozenset({*_SECTIONS, "full_scale", "split_by", "notes"})


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
    road : {"boosted", "cnn"}
        Which part of the house runs it.
    datasets : tuple of str
        Layouts that its images may have.
    images : int
        Images of the published dataset.
    sections : dict of str to dict of str to Setting
        Command to its settings.
    magnifications : tuple of int
        The system is run for each of them apart; empty runs it once.
    full_scale : dict
        What ``--full-scale`` adds, with its source.
    variants : dict of str to dict
        Name to what the variant changes, with its source; the first is the published one.
    quick : dict
        What ``--quick`` changes, with its source.
    published : list of dict
        Tables of published figures.
    notes : tuple of str
        What a reader of the figures must know.
    """

    name: str
    title: str
    citation: str
    road: str
    datasets: tuple[str, ...]
    images: int
    sections: dict[str, dict[str, Setting]]
    magnifications: tuple[int, ...]
    full_scale: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    quick: dict[str, Any]
    published: list[dict[str, Any]]
    notes: tuple[str, ...] = ()

    def chosen(self, variants: Sequence[str]) -> list[str]:
        """Return the variants to run; the published one by default.

        Raises
        ------
        InputError
            A variant that the recipe does not have.
        """
        unknown = [name for name in variants if name not in self.variants]
        if unknown:
            raise InputError(f"--variant {unknown[0]}: {self.name} has the variants {', '.join(self.variants)}")
        return list(variants) or list(self.variants)[:1]

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
    """Return the names of all recipes, ours and those of other packages, sorted."""
    return tuple(sorted({*_own(), *extension_names(ENTRY_POINT_GROUP)}))


def _own() -> dict[str, Traversable]:
    """Return the files of ours by name."""
    files = resources.files(__package__).iterdir()
    return {file.name.removesuffix(".yaml"): file for file in files if file.name.endswith(".yaml")}


def load_recipe(name: str) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    name : str
        Of `list_recipes`, or the path of a YAML file of the same form.

    Raises
    ------
    InputError
        No recipe of this name, or a file that is none; or another package's that cannot be loaded.
    """
    own = _own()
    if name in own:
        return parse_recipe(_content(name, own[name]))
    if name in extension_names(ENTRY_POINT_GROUP):
        source = load_extension(ENTRY_POINT_GROUP, name, (Traversable, Mapping), what="recipe")
        recipe = parse_recipe(source if isinstance(source, Mapping) else _content(f"recipe {name}", source))
        if recipe.name != name:
            raise InputError(
                f"recipe {name}: its entry point gives one called {recipe.name}; report this to its package"
            )
        return recipe
    if name.endswith((".yaml", ".yml")) and Path(name).is_file():
        return parse_recipe(_content(name, Path(name)))
    raise InputError(f"{name}: no such recipe or YAML file; choose one of {', '.join(list_recipes())}")


def _content(name: str, file: Traversable) -> Mapping[str, Any]:
    """Read a YAML file.

    Raises
    ------
    InputError
        It cannot be read, or holds no mapping.
    """
    try:
        content = yaml.safe_load(file.read_bytes().decode("utf-8", errors="replace"))
    except OSError as error:
        raise InputError(f"{name}: {file} cannot be read ({error.strerror or error})") from error
    except yaml.YAMLError as error:
        raise InputError(f"{name}: not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{name}: a recipe is a mapping with a name, settings and published figures")
    return content


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
    name, road = content["name"], content["road"]
    if road not in _ROADS:
        raise InputError(f"recipe {name}: road {road}: choose one of {', '.join(_ROADS)}")
    if lacking := [section for section in _ROADS[road] if section not in content]:
        raise InputError(f"recipe {name}: no {lacking[0]}, which road {road} needs")
    sections: dict[str, dict[str, Setting]] = {}
    for section in _SECTIONS:
        for key, entry in content.get(section, {}).items():
            if not isinstance(entry, Mapping) or entry.keys() != {"value", "source"}:
                raise InputError(f"recipe {name}: {section}.{key} needs a value and a source")
            sections.setdefault(section, {})[key] = Setting(entry["value"], str(entry["source"]))
        if lacking := [key for key in _NEEDED[section] if section in sections and key not in sections[section]]:
            raise InputError(f"recipe {name}: {section} has no {lacking[0]}")
    split = content.get("split_by", {"source": ""})
    for part in (content["quick"], content.get("full_scale", {"source": ""}), split, *content["variants"].values()):
        if "source" not in part:
            raise InputError(f"recipe {name}: variants, quick, split_by and full_scale name their source")
    if lacking := [key for key in _QUICK[road] if key not in content["quick"]]:
        raise InputError(f"recipe {name}: quick has no {lacking[0]}")
    for table in content["published"]:
        _check_table(name, table)
    plain = {key: content[key] for key in ("name", "title", "citation", "road", "images")}
    layouts = content["dataset"]
    return Recipe(
        **plain,
        datasets=tuple(layouts) if isinstance(layouts, list) else (layouts,),
        sections=sections,
        magnifications=tuple(split.get("magnification", ())),
        full_scale=dict(content.get("full_scale", {})),
        variants=dict(content["variants"]),
        quick=dict(content["quick"]),
        published=list(content["published"]),
        notes=tuple(content.get("notes", ())),
    )


def _check_table(recipe: str, table: Mapping[str, Any]) -> None:
    """Refuse a published table without what its kind needs."""
    kind = table.get("kind")
    if kind not in _TABLES:
        raise InputError(f"recipe {recipe}: a table of kind {kind}; choose one of {', '.join(_TABLES)}")
    lacking = [key for key in ("key", "title", "source", *_TABLES[kind]) if key not in table]
    lacking += [f"claim.{key}" for key in ("says", "better", "than") if "claim" in table and key not in table["claim"]]
    if lacking:
        raise InputError(f"recipe {recipe}: the table {table.get('key', kind)} has no {lacking[0]}")
