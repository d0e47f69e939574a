"""Templates say what was concluded and conclude nothing: none of them compares numbers."""

from pathlib import Path

import bchisto
import pytest
from bchisto.evaluate.report.page import page_templates
from jinja2 import nodes

ROOT = Path(bchisto.__file__).parent
ROOMS = [path.parent for path in ROOT.glob("*/__init__.py")]
"""Only these: beside them stands an environment, whose packages have templates, too."""
TEMPLATES = sorted(
    path
    for room in ROOMS
    for path in room.glob("**/templates/*")
    if path.suffix in (".html", ".txt", ".md", ".json")
)
ORDERS = {"lt", "lteq", "gt", "gteq", "lessthan", "greaterthan", "le", "ge", "divisibleby"}
"""Operators of comparisons, and tests of Jinja with the same meaning."""


def is_number(node):
    return (
        isinstance(node, nodes.Const)
        and isinstance(node.value, (int, float))
        and (not isinstance(node.value, bool))
    )


def counts(node):
    """Whether an expression is a number: one, a count, or a sum of such."""
    if isinstance(node, (nodes.Neg, nodes.Pos)):
        return counts(node.node)
    if isinstance(node, nodes.Filter):
        return node.name in ("length", "count", "sum", "int", "float", "round", "abs")
    if isinstance(node, nodes.Getattr):
        return node.attr in ("value", "n", "right", "count")
    return is_number(node) or isinstance(
        node, (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Pow)
    )


def comparisons(text):
    """Return the lines of a template on which numbers are compared."""
    environment = page_templates("bchisto.evaluate.report")
    tree = environment.parse(text)
    lines = []
    for compared in tree.find_all(nodes.Compare):
        sides = [compared.expr, *(operand.expr for operand in compared.ops)]
        orders = {operand.op for operand in compared.ops} & ORDERS
        equals = {operand.op for operand in compared.ops} & {"eq", "ne"}
        if orders or (equals and any(map(counts, sides))):
            lines.append(compared.lineno)
    for test in tree.find_all(nodes.Test):
        equals = test.name in ("eq", "ne", "equalto", "==", "!=")
        if test.name in ORDERS or (equals and any(map(counts, test.args))):
            lines.append(test.lineno)
    for chosen in tree.find_all(nodes.Filter):
        named = [arg.value for arg in chosen.args or () if isinstance(arg, nodes.Const)]
        if chosen.name.startswith(("select", "reject")) and ORDERS & {*map(str, named)}:
            lines.append(chosen.lineno)
    return sorted(lines)


def test_comparisons_are_found():
    for text in (
        "{% if a < b %}x{% endif %}",
        "{{ 'x' if a | length > 1 }}",
        "{{ 'x' if p.least >= 0.05 }}",
        "{{ 'x' if a | length == b | length }}",
        "{{ 'x' if a != 1 }}",
        "{{ 'x' if a is gt 3 }}",
        "{{ 'x' if a is eq 3 }}",
        "{{ a | map('length') | select('gt', 1) | list }}",
        "{% for x in y if x.n <= z <= 3 %}{% endfor %}",
    ):
        assert comparisons(text), text
    for text in ("{{ 'x' if a == 'b' }}", "{{ 'x' if a[1:] }}", "{{ 'x' if a in (1, 2) }}"):
        assert not comparisons(text), text


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_template_compares_numbers(path):
    text = path.read_text()
    lines = text.splitlines()
    found = [f"{number}: {lines[number - 1]}" for number in comparisons(text)]
    assert found == []


def test_all_templates_are_seen():
    assert len(TEMPLATES) > 35
    assert {path.parent.parent.name for path in TEMPLATES} >= {"report", "predict", "serve"}
