"""Write docs/elements.md from the recipes: their settings, variants and tables with sources, and two kinds of comments.

A comment `# test_...` behind a setting, variant or table names the test that shows it to be as the source states.
Comments `# - ...` at the end of a recipe say what is not as in the source.
"""

import re
from pathlib import Path

from bchisto.apps.recipes import load_recipe

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "elements.md"
SYSTEMS = ("rakhlin2018", "breakhis-resnet", "idc-patches", "inbreast-inception", "ddsm-masses")
INTRODUCTION = """\
% Made by `python docs/make_elements.py` from apps/recipes.

# Published systems, element by element

What each source states, and how its [recipe](reproduce.md) follows it. Ours is what a source leaves open.
`bchisto reproduce NAME --settings --all-variants` prints every setting and variant with its source. A `test_...` shows
that a part is as the source states.
"""


def comments_of(text):
    """Return the tests that comments name, by section and name, and the lines on what is not as in the source."""
    tests, section = {}, ""
    for line in text.splitlines():
        section = match[1] if (match := re.match(r"([\w-]+):", line)) else section
        match = re.match(r"(?:  (?:- key: )?)?([\w-]+)(?::.*)?  # (test_.+)", line)
        if match:
            tests[section, match[1]] = match[2].split()
    return tests, re.findall(r"^# - (.+)", text, flags=re.MULTILINE)


def named(name, tests):
    """Return a name in code type, with the tests of it behind."""
    return f"`{name}`" + (f" ({', '.join(f'`{test}`' for test in tests)})" if tests else "")


def listed(pairs):
    """Return the names of pairs (name, text) by their text, in the order in which texts first appear."""
    gathered = {}
    for name, text in pairs:
        gathered.setdefault(text, []).append(name)
    return [(", ".join(names), text) for text, names in gathered.items()]


def table_of(pairs, *, name, text):
    return "\n".join(
        [
            f"| {name} | {text} |",
            "| --- | --- |",
            *(f"| {left} | {right} |" for left, right in pairs),
        ]
    )


def section_of(name):
    """Yield the blocks of the section of a recipe."""
    recipe = load_recipe(name)
    tests, differences = comments_of(
        (DOCS.parent / "apps" / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    )

    def marked(section, key, value=None):
        return named(key if value is None else f"{key}={value}", tests.get((section, key), []))

    def ours_last(pairs):
        stated = [(name, text) for name, text in pairs if not re.match(r"ours\b", text)]
        ours = [(name, "ours") for name, text in dict(pairs).items() if (name, text) not in stated]
        return [*listed(stated), *listed(ours)]

    yield f"## {name}"
    images = [*tests.get(("dataset", "dataset"), []), *tests.get(("split_by", "magnification"), [])]
    yield f"{recipe.citation.strip()}. {recipe.images:,} images: {named(' or '.join(recipe.datasets), images)}."
    yield table_of(
        ours_last(
            [
                (
                    marked(
                        step, key, ", ".join(map(str, value)) if isinstance(value, list) else value
                    ),
                    source,
                )
                for step, settings in recipe.sections.items()
                for key, (value, source) in settings.items()
            ]
        ),
        name="settings",
        text="source",
    )
    variants = [
        (marked("variants", key), bool(re.search(r"\bours\b", change["source"])))
        for key, change in recipe.variants.items()
    ]
    stated, ours = ([text for text, mark in variants if mark == own] for own in (False, True))
    yield f"Variants: {', '.join(stated)}" + (f"; ours: {', '.join(ours)}." if ours else ".")
    yield table_of(
        [(marked("published", table["key"]), table["title"]) for table in recipe.published],
        name="tables",
        text="figures",
    )
    yield "\n".join(f"- {line}" for line in [*recipe.notes, *differences])


def page():
    """Return the text of the page."""
    return (
        "\n\n".join(
            [INTRODUCTION.rstrip(), *(block for name in SYSTEMS for block in section_of(name))]
        )
        + "\n"
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
