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

from ...core import DAMAGE, InputError, converted, extension_names, load_extension, misnamed, one_of
from ...core.formats import limits, number_of, parse_yaml
from ...core.jobs import check_file_name
from ...core.models import fits
from .pictures import pictures_of
from .recipe import STEPS, Recipe, Setting
from .tables import KINDS, claims_of

ENTRY_POINT_GROUP = "bchisto.recipes"

_NEEDED = {
    "featurize": ("encoders", "views"),
    "boost": ("heads", "folds"),
    "finetune": ("network", "folds"),
}
"""Settings that a step requires."""

_QUICK_IMAGES = ("images_per_class_and_fold", "images_per_class")
"""Number of images of a quick run: for each class and fold of the published lists, or for each class."""

_REQUIRED = frozenset(
    {"name", "title", "citation", "steps", "dataset", "images", "variants", "quick", "published"}
)

_FORM: dict[str, Any] = {
    **dict.fromkeys(("title", "citation"), str),
    **dict.fromkeys((*STEPS, "explain", "full_scale", "variants", "quick"), dict),
    **{key: [str] for key in ("steps", "notes")},
    "split_by": {"magnification": [lambda at: type(at) is int and 0 < at < 10_000]},
    "dataset": lambda value: fits(value, str) or fits(value, [str]),
    "images": lambda value: type(value) is int,
    "published": [dict],
}
"""Parts of a recipe, to their form, see `bchisto.core.models.fits`."""

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
        "metric",
        "level",
        "of",
        "classes",
        "stores",
        "says",
        "why",
        "row",
        "better",
        "than",
        "alike",
    }
)
"""Keys of a published table whose values are names and sentences, even if they look like numbers."""


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and value != []


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


_BETTER = {"better": _are_rows, "than": _are_rows}
_FORMS: tuple[dict[str, Any], ...] = (
    _BETTER,
    {**_BETTER, "by": _is_number},
    {**_BETTER, "less_than": _is_number},
    {"alike": _are_rows, "margin": _is_number},
    {"better": _are_rows, "least": _is_number},
    {"row": str, "better_at": _are_rows, "than_at": _are_rows},
    {"why": str},
)
"""The forms of a conclusion, see `fits`, by the keys that it has in addition to ``says``, ``at`` and ``metric``: rows
are better than others; better by at least a value; better by less than a value; alike within a margin; above a value; a
row is better at some magnifications than at others; or the reason why nothing can be judged."""


def list_recipes() -> tuple[str, ...]:
    """Return the names of all recipes, of bchisto and of other packages, sorted."""
    return tuple(sorted({*_own(), *extension_names(ENTRY_POINT_GROUP)}))


def _own() -> dict[str, Traversable]:
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
    own = _own()
    if name in own:
        return parse_recipe(_content(name, own[name]))
    if name in extension_names(ENTRY_POINT_GROUP):
        source = load_extension(ENTRY_POINT_GROUP, name, (Traversable,), what="recipe")
        recipe = parse_recipe(_content(f"recipe {name}", source))
        if recipe.name.casefold() != name.casefold():
            raise misnamed(recipe.name, name, what="recipe")
        return recipe
    if name.endswith((".yaml", ".yml")) and Path(name).is_file():
        return parse_recipe(_content(name, Path(name)))
    raise InputError(f"{name}: no such recipe or YAML file; {one_of(name, list_recipes())}")


def _content(name: str, file: Traversable) -> Mapping[str, Any]:
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
        raise InputError(f"{name}: {file} cannot be read ({error.strerror or error})") from error
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
    if not isinstance(content, Mapping):
        raise InputError(
            f"{name}: a recipe is a mapping with a name, settings and published results"
        )
    return content


def parse_recipe(content: Mapping[str, Any]) -> Recipe:
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


def _typed(value: Any, name: str = "") -> Any:
    """Convert texts of a recipe's part to numbers; names and sentences stay texts."""
    if isinstance(value, Mapping):
        return {key: _typed(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item, name) for item in value]
    return value if name in _WORDS else number_of(value)


def _parsed(content: Mapping[str, Any]) -> Recipe:
    content = {
        **content,
        **{part: _typed(content[part], part) for part in _WITH_NUMBERS & content.keys()},
    }
    missing, unknown = _REQUIRED - content.keys(), content.keys() - {"name", *_FORM}
    if missing or unknown:
        names = [f"no {name}" for name in sorted(missing)] + [
            f"unknown {name}" for name in sorted(unknown)
        ]
        raise InputError(f"recipe {content.get('name')}: {', '.join(names)}")
    name = check_file_name(content["name"], "recipe")
    for key, form in _FORM.items():
        if key in content and not fits(content[key], form):
            raise InputError(
                f"recipe {name}: {key} is not of the form of a recipe; see docs/reproduce.md"
            )
    for variant in content["variants"]:
        check_file_name(variant, f"recipe {name}: variant")
    sections: dict[str, dict[str, Setting]] = {}
    for section in (*STEPS, "explain"):
        for key, entry in content.get(section, {}).items():
            if (
                not isinstance(key, str)
                or not isinstance(entry, Mapping)
                or entry.keys() != {"value", "source"}
            ):
                raise InputError(f"recipe {name}: {section}.{key} needs a value and a source")
            sections.setdefault(section, {})[key] = Setting(entry["value"], str(entry["source"]))
    split = content.get("split_by", {"source": ""})
    for part in (
        content["quick"],
        content.get("full_scale", {"source": ""}),
        split,
        *content["variants"].values(),
    ):
        if "source" not in part:
            raise InputError(
                f"recipe {name}: variants, quick, split_by and full_scale name their source"
            )
    quick = content["quick"]
    counts = {
        key: converted(number_of(quick[key]), key, int) for key in _QUICK_IMAGES if key in quick
    }
    if not counts:
        raise InputError(f"recipe {name}: quick has no {' or '.join(_QUICK_IMAGES)}")
    for table in content["published"]:
        _check_table(name, table)
    layouts = content["dataset"]
    recipe = Recipe(
        **{
            key: content[key]
            for key in ("name", "title", "citation", "images", "variants", "published")
        },
        quick={**content["quick"], **counts},
        steps=tuple(content["steps"]),
        datasets=tuple(layouts) if isinstance(layouts, list) else (layouts,),
        sections=sections,
        magnifications=tuple(split.get("magnification", ())),
        full_scale=dict(content.get("full_scale", {})),
        notes=tuple(content.get("notes", ())),
    )
    _check_steps(recipe)
    for quick in (False, True):
        pictures_of(recipe, quick=quick)
    return recipe


def _check_steps(recipe: Recipe) -> None:
    """Refuse unknown steps, changes of steps that a variant does not have, and steps without a required setting."""
    if not recipe.variants:
        raise InputError(f"recipe {recipe.name}: no variant")
    for variant, change in recipe.variants.items():
        where = f"recipe {recipe.name}: variant {variant}"
        steps = tuple(change.get("steps", recipe.steps))
        if strange := [step for step in steps if step not in STEPS] or ([] if steps else ["none"]):
            raise InputError(f"{where}: step {strange[0]}: choose among {', '.join(STEPS)}")
        if strange := sorted(change.keys() - {"source", "steps", *steps}):
            raise InputError(f"{where}: {strange[0]}: no step of it, which are {', '.join(steps)}")
        for step, values in recipe.steps_of(variant):
            if lacking := [key for key in _NEEDED[step] if key not in values]:
                raise InputError(f"{where}: {step} has no {lacking[0]}")
            if not fits(values.get("folds", []), [str]):
                raise InputError(f"{where}: {step}.folds is a list of texts")
    changes = {"source", *STEPS, "explain", *_QUICK_IMAGES, "overlap"}
    for part, known in (("quick", changes), ("full_scale", {"source", "views"})):
        if strange := sorted(getattr(recipe, part).keys() - known):
            raise InputError(f"recipe {recipe.name}: {part}.{strange[0]}: no such setting")


def _check_table(recipe: str, table: Mapping[str, Any]) -> None:
    """Refuse a published table of an unknown kind, or without the keys that its kind requires."""
    kind = table.get("kind")
    if kind not in KINDS:
        raise InputError(
            f"recipe {recipe}: a table of kind {kind}; choose one of {', '.join(KINDS)}"
        )
    lacking = [key for key in ("key", "title", "source", *KINDS[kind].needs) if key not in table]
    if lacking:
        raise InputError(f"recipe {recipe}: the table {table.get('key', kind)} has no {lacking[0]}")
    check_file_name(table["key"], f"recipe {recipe}: the table")
    for claim in claims_of(table):
        check_claim(f"recipe {recipe}: the table {table['key']}", claim, table)


def check_claim(where: str, claim: Mapping[str, Any], table: Mapping[str, Any]) -> None:
    """Refuse a conclusion that has none of the forms, or names rows that are not in its table.

    Raises
    ------
    InputError
    """
    own = {key: value for key, value in claim.items() if key not in ("says", "at", "metric")}
    known = any(own.keys() == form.keys() and fits(own, form) for form in _FORMS)
    if "says" not in claim or not known or not _are_rows(claim.get("at", [None])):
        forms = "; ".join(", ".join(form) for form in _FORMS)
        raise InputError(
            f"{where}: the claim {dict(claim)} is of no form; give says and one of {forms}"
        )
    if table["kind"] == "scores" and "why" not in claim and not {"metric"} & {*claim, *table}:
        raise InputError(f"{where} has no claim.metric: its rows have several figures")
    named = [row for key in ("better", "than", "alike") for row in claim.get(key, ())]
    named += [claim["row"]] if "row" in claim else []
    rows = table.get("rows", named)
    if strange := [row for row in named if row not in rows]:
        raise InputError(
            f"{where}: claim: {strange[0]} is not a row of it; {one_of(str(strange[0]), map(str, rows))}"
        )
