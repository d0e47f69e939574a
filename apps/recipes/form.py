"""Reads and checks recipe files: one YAML file per published system, every setting with its source.

The recipes of bchisto are files in this folder. Another package adds one through the entry-point group
``bchisto.recipes``. The entry point is the path of its YAML file or a resource of its package; or a function without
arguments that returns it. It has the name of the recipe. If bchisto has a recipe of the same name, bchisto's is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from ...core import (
    DAMAGE,
    Content,
    InputError,
    converted,
    extension_names,
    items_of,
    load_extension,
    misnamed,
    one_of,
    system_reason,
)
from ...core.formats import fits, limits, number_of, parse_yaml
from ...core.jobs import check_file_name
from .pictures import pictures_of
from .recipe import STEPS, Recipe, Setting, check_names
from .tables import KINDS, Published, Runs, rows_of

ENTRY_POINT_GROUP = "bchisto.recipes"

_NEEDED = {
    "featurize": ("encoders", "views"),
    "boost": ("heads", "folds"),
    "finetune": ("network", "folds"),
}
"""Settings that a step requires."""

_QUICK_IMAGES = ("images_per_class_and_fold", "images_per_class")
"""Number of images of a quick run: for each class and fold of the published lists, or for each class."""

_SOURCED = {"source": str}

_FORM: Content = {
    "title": str,
    "citation": str,
    **dict.fromkeys((*STEPS, "explain"), dict),
    "full_scale": _SOURCED,
    "variants": lambda value: fits(value, dict) and fits([*value.values()], [_SOURCED]),
    "quick": _SOURCED,
    "steps": [str],
    "notes": [str],
    "split_by": {
        **_SOURCED,
        "magnification": [lambda at: type(at) is int and 0 < at < 10_000],
    },
    "dataset": lambda value: fits(value, str) or fits(value, [str]),
    "images": lambda value: type(value) is int and value > 0,
    "published": [dict],
}
"""Parts of a recipe, to their form, see `bchisto.core.formats.fits`."""

_AS_WRITTEN = ("title", "citation", "images", "variants", "published")
"""Parts of a recipe that it keeps as they are written."""

_REQUIRED = frozenset({"name", "steps", "dataset", "quick", *_AS_WRITTEN})

_WITH_NUMBERS = frozenset({"images", "published", "split_by"})
"""Parts with numbers that are not options of a command, and so have no declared type."""

_WORDS = frozenset(
    {
        "key",
        "title",
        "source",
        "kind",
        "note",
        "variant",
        "path",
        "level",
    }
)
"""Keys of a published table whose values are names and sentences, even if they look like numbers."""


def list_recipes() -> tuple[str, ...]:
    """Return the names of all recipes, of bchisto and of other packages, sorted."""
    return tuple(sorted({*_recipe_files(), *extension_names(ENTRY_POINT_GROUP)}))


def _recipe_files() -> dict[str, Traversable]:
    """Return the recipe files of bchisto by name."""
    files = resources.files(__package__).iterdir()
    return {file.name.removesuffix(".yaml"): file for file in files if file.name.endswith(".yaml")}


def load_recipe(name: str) -> Recipe:
    """Load a recipe by its name or from a YAML file.

    Parameters
    ----------
    name : str
        One of `list_recipes`, or the path of a YAML file of the same form.

    Raises
    ------
    InputError
        There is no recipe of this name, the file is not a recipe, or another package's recipe cannot be loaded.
    """
    files = _recipe_files()
    if name in files:
        return parse_recipe(_content(name, files[name]))
    if name in extension_names(ENTRY_POINT_GROUP):
        source: Any = load_extension(ENTRY_POINT_GROUP, name, Traversable, what="recipe")
        recipe = parse_recipe(_content(f"recipe {name}", source))
        if recipe.name.casefold() != name.casefold():
            raise misnamed(recipe.name, name, what="recipe")
        return recipe
    if name.endswith((".yaml", ".yml")) and Path(name).is_file():
        return parse_recipe(_content(name, Path(name)))
    raise InputError(f"{name}: no such recipe or YAML file; {one_of(name, list_recipes())}")


def _content(name: str, file: Traversable) -> Content:
    """Read a YAML file.

    Raises
    ------
    InputError
        The file cannot be read, or is not a mapping.
    """
    try:
        with file.open("rb") as handle:
            text = handle.read(limits.RECIPE_BYTES + 1)
    except OSError as error:
        raise InputError(f"{name}: {file} cannot be read ({system_reason(error)})") from error
    if len(text) > limits.RECIPE_BYTES:
        raise InputError(
            f"{name}: more than {limits.RECIPE_BYTES // 1024} KiB, too large for a recipe"
        )
    try:
        content = parse_yaml(text.decode("utf-8", errors="replace"))
    except InputError as error:
        raise InputError(
            f"{name}: {str(error).replace('neither YAML nor JSON', 'not YAML')}"
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            f"{name}: a recipe is a mapping with a name, settings and published results"
        )
    return content


def parse_recipe(content: Content) -> Recipe:
    """Check the content of a recipe file, and return the recipe.

    Raises
    ------
    InputError
        A part is missing, unknown or of a wrong form, a setting has no source, or a name cannot be a part of a path.
    """
    try:
        return _parsed(content)
    except InputError:
        raise
    except DAMAGE as error:  # such as a list instead of a mapping, or a number instead of a text
        name = str(content.get("name"))[:100]
        raise InputError(
            "recipe {}: not of the form of a recipe ({}); see docs/reproduce.md", name, error
        ) from error


def _typed(value: Any, name: str) -> Any:
    """Convert texts of a recipe's part to numbers; names and sentences stay texts."""
    if isinstance(value, Mapping):
        return {key: _typed(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item, name) for item in value]
    return value if name in _WORDS else number_of(value)


def _parsed(content: Content) -> Recipe:
    content = {
        key: _typed(item, key) if key in _WITH_NUMBERS else item for key, item in content.items()
    }
    name = _check_parts(content)
    quick = dict(content["quick"])
    counts = quick.keys() & {*_QUICK_IMAGES}
    if not counts:
        raise InputError(f"recipe {name}: quick has no {' or '.join(_QUICK_IMAGES)}")
    for key in counts:
        count = converted(number_of(quick[key]), key, int)
        if count < 1:
            raise InputError(f"recipe {name}: quick.{key} {count}: give at least 1")
        quick[key] = count
    for table in content["published"]:
        _check_table(name, table)
    recipe = Recipe(
        name=name,
        **{part: content[part] for part in _AS_WRITTEN},
        quick=quick,
        steps=tuple(content["steps"]),
        datasets=items_of(content["dataset"]),
        sections=_read_sections(name, content),
        magnifications=tuple(content.get("split_by", {}).get("magnification") or [None]),
        full_scale=content.get("full_scale", {}),
        notes=tuple(content.get("notes", ())),
    )
    _check_steps(recipe)
    for is_quick in (False, True):
        pictures_of(recipe, quick=is_quick)  # refuses wrong settings before hours of training
    return recipe


def _check_parts(content: Content) -> str:
    """Refuse missing or unknown parts, and those of a wrong form; return the name of the recipe."""
    faults = [f"no {part}" for part in sorted(_REQUIRED - content.keys())]
    faults += [f"unknown {part}" for part in sorted(content.keys() - {"name", *_FORM})]
    if faults:
        raise InputError(f"recipe {content.get('name')}: {', '.join(faults)}")
    name = check_file_name(content["name"], "recipe")
    for part, form in _FORM.items():
        if part in content and not fits(content[part], form):
            raise InputError(
                f"recipe {name}: {part} is not of the form of a recipe; see docs/reproduce.md"
            )
    for variant in content["variants"]:
        check_file_name(variant, f"recipe {name}: variant")
    return name


def _read_sections(name: str, content: Content) -> dict[str, dict[str, Setting]]:
    """Return the settings of each step, and of the pictures, with their sources."""
    sections: dict[str, dict[str, Setting]] = {}
    for section in (*STEPS, "explain"):
        for key, entry in content.get(section, {}).items():
            is_sourced = isinstance(entry, Mapping) and entry.keys() == {"value", "source"}
            if not isinstance(key, str) or not is_sourced:
                raise InputError(f"recipe {name}: {section}.{key} needs a value and a source")
            sections.setdefault(section, {})[key] = Setting(entry["value"], str(entry["source"]))
    return sections


def _check_steps(recipe: Recipe) -> None:
    """Refuse unknown steps, changes of steps that a variant does not have, and steps without a required setting."""
    if not recipe.variants:
        raise InputError(f"recipe {recipe.name}: no variant")
    for variant, change in recipe.variants.items():
        where = f"recipe {recipe.name}: variant {variant}"
        steps = change.get("steps", recipe.steps)
        for step in steps or ("none",):
            if step not in STEPS:
                raise InputError(f"{where}: step {step}: {one_of(step, STEPS)}")
        check_names(change, ("source", "steps", *steps), where)
        for step, values in recipe.steps_of(variant):
            for setting in _NEEDED[step]:
                if setting not in values:
                    raise InputError(f"{where}: {step} has no {setting}")
            if not fits(values.get("folds", []), [str]):
                raise InputError(f"{where}: {step}.folds is a list of texts")
    changes = ("source", *STEPS, "explain", *_QUICK_IMAGES, "overlap")
    check_names(recipe.quick, changes, f"recipe {recipe.name}: quick")
    check_names(recipe.full_scale, ("source", "views"), f"recipe {recipe.name}: full_scale")


def _check_table(recipe: str, table: Published) -> None:
    """Refuse a published table of an unknown kind, or without the keys that its kind requires."""
    kind = table.get("kind", "figures")
    if kind not in KINDS:
        raise InputError(
            f"recipe {recipe}: a table of kind {kind}; choose one of {', '.join(KINDS)}"
        )
    where = f"recipe {recipe}: the table"
    for key in ("key", "title", "source", *KINDS[kind].needs):
        if key not in table:
            raise InputError(f"{where} {table.get('key', kind)} has no {key}")
    check_file_name(table["key"], where)
    if kind == "figures":
        for name, row in rows_of(table):
            if "path" not in row:
                raise InputError(f"{where} {table['key']} has no path for {name}")
    # what cannot be shown is refused before hours of training
    for figure in KINDS[kind].figures(Runs("", {}, (), {}, {}), None, table):
        figure.cells()
