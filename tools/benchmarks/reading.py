"""How code reads, by counts that no formatting changes.

**Tokens** are names, operators, numbers and strings outside of docstrings and comments. **Branches** of a function are
its ifs, loops, excepts, cases, conditional expressions, the loops and conditions of comprehensions, and each further
operand of `and` and `or`; those of a nested function count for both, as its **statements** do. A **pair** is
`a, b = x, y`.

Three forms do what a conditional expression does, and are harder to read:

- *by index*: `(a, b)[c]`, `{True: a, False: b}[c]`, and whatever else is indexed by a condition, but for the rows of
  an array (`values[values > 0]`);
- *by repetition*: `[x] * c` and `"s" * c`, where `c` is a condition;
- *by and, or*: `x and y`, `x or y` as a value, also `x or default`. They are no choice where they are only asked
  whether they are true (the test of an if, an operand of `not`, what a function `-> bool` returns), nor where every
  operand is a condition.

A condition is what can only be true or false, as far as the text tells: a comparison, `not x`, `isinstance(...)`,
`name.startswith(...)`, `name.is_file()`, and a parameter, field or function that is declared as `bool`.
"""

import ast
import io
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

CODE = (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING)
DECISIONS = (
    *(ast.If, ast.For, ast.While, ast.ExceptHandler, ast.match_case),
    *(ast.IfExp, ast.comprehension),
)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DISPLAYS = (ast.List, ast.Tuple, ast.JoinedStr)

ASKING = {"bool", "isinstance", "issubclass", "callable", "hasattr", "any", "all"}
"""Functions that return true or false."""
ASKING_METHODS = {"startswith", "endswith", "exists", "isdigit", "isidentifier", "issubset"}
"""Methods that return true or false, besides those that begin with `is_` or `has_`."""


@dataclass(frozen=True)
class Function:
    """A function or method, and how heavy it is."""

    name: str
    line: int
    branches: int
    statements: int


@dataclass(frozen=True)
class Reading:
    """What is counted in the text of a module."""

    tokens: int
    lines: int
    """Lines with a token of code."""
    conditionals: int
    pairs: int
    walruses: int
    by_index: int
    by_repetition: int
    by_and_or: int
    functions: tuple[Function, ...]


def read(
    source: str, flags: set[str] | None = None, nodes: Sequence[ast.AST] | None = None
) -> Reading:
    """Count in the text of a module, of which `nodes` are those of its tree.

    `flags` are the names of the package that are true or false (`flags_of`).
    """
    if nodes is None:
        nodes = list(ast.walk(ast.parse(source)))
    if flags is None:
        flags = flags_of(nodes)
    tokens, lines = code_of(source, nodes)
    asked = asked_in(nodes)
    return Reading(
        tokens=tokens,
        lines=lines,
        conditionals=sum(isinstance(node, ast.IfExp) for node in nodes),
        pairs=sum(is_pair(node) for node in nodes),
        walruses=sum(isinstance(node, ast.NamedExpr) for node in nodes),
        by_index=sum(chooses_by_index(node, flags) for node in nodes),
        by_repetition=sum(chooses_by_repetition(node, flags) for node in nodes),
        by_and_or=sum(chooses_by_and_or(node, flags, asked) for node in nodes),
        functions=tuple(functions_of(nodes)),
    )


def code_of(source: str, nodes: Iterable[ast.AST]) -> tuple[int, int]:
    """Return the number of tokens of code, and of the lines that they stand in."""
    texts = lines_of_texts(nodes)
    tokens = 0
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in CODE and token.start[0] not in texts:
            tokens += 1
            lines.update(range(token.start[0], token.end[0] + 1))
    return tokens, len(lines)


def lines_of_texts(nodes: Iterable[ast.AST]) -> set[int]:
    """Return the lines of docstrings, also of those below attributes and constants."""
    lines: set[int] = set()
    for node in nodes:
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                lines.update(range(node.lineno, node.end_lineno + 1))
    return lines


def functions_of(nodes: Iterable[ast.AST]) -> Iterator[Function]:
    """Yield every function, also those inside of others."""
    for node in nodes:
        if isinstance(node, FUNCTIONS):
            within = list(ast.walk(node))
            yield Function(node.name, node.lineno, branches(within), statements(within))


def branches(nodes: Iterable[ast.AST]) -> int:
    """Return the number of branches of a function."""
    total = 0
    for node in nodes:
        if isinstance(node, DECISIONS):
            total += 1
        if isinstance(node, ast.comprehension):
            total += len(node.ifs)
        if isinstance(node, ast.BoolOp):
            total += len(node.values) - 1
    return total


def statements(nodes: Iterable[ast.AST]) -> int:
    """Return the number of statements in a function, without its own."""
    return sum(isinstance(node, ast.stmt) for node in nodes) - 1


def is_pair(node: ast.AST) -> bool:
    """Tell whether a statement is `a, b = x, y`."""
    if not isinstance(node, ast.Assign):
        return False
    return isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple)


def flags_of(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the parameters, fields and functions that are declared as `bool` wherever they are declared."""
    kinds: dict[str, set[str]] = {}
    for node in nodes:
        match node:
            case ast.arg(arg=name, annotation=ast.expr() as kind):
                kinds.setdefault(name, set()).add(ast.unparse(kind))
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind):
                kinds.setdefault(name, set()).add(ast.unparse(kind))
            case ast.FunctionDef(name=name, returns=ast.expr() as kind):
                kinds.setdefault(name, set()).add(ast.unparse(kind))
    return {name for name, declared in kinds.items() if declared == {"bool"}}


def is_condition(node: ast.AST, flags: set[str]) -> bool:
    """Tell whether an expression can only be true or false, as far as its text tells."""
    match node:
        case ast.Compare() | ast.UnaryOp(op=ast.Not()) | ast.Constant(value=bool()):
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in flags
        case ast.BoolOp(values=values):
            return all(is_condition(value, flags) for value in values)
        case ast.Call(func=ast.Name(id=name)):
            return name in ASKING or name in flags
        case ast.Call(func=ast.Attribute(attr=name)):
            return name in ASKING_METHODS or name in flags or name.startswith(("is_", "has_"))
    return False


def chooses_by_index(node: ast.AST, flags: set[str]) -> bool:
    """Tell whether an expression is `(a, b)[c]`, `{True: a}[c]`, or indexed by a condition."""
    match node:
        case ast.Subscript(value=ast.List(elts=[_, _]) | ast.Tuple(elts=[_, _]), slice=index):
            return not isinstance(index, (ast.Constant, ast.Slice))
        case ast.Subscript(value=ast.Dict(keys=keys)):
            constants = [key.value for key in keys if isinstance(key, ast.Constant)]
            return any(isinstance(constant, bool) for constant in constants)
        case ast.Subscript(slice=ast.Compare() | ast.Name()):
            return False  # rows of an array: values[values > 0], values[inside]
        case ast.Subscript(slice=index):
            return is_condition(index, flags)
    return False


def chooses_by_repetition(node: ast.AST, flags: set[str]) -> bool:
    """Tell whether an expression is `[x] * c`, `"s" * c` or the other way round."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
        return False
    for repeated, times in ((node.left, node.right), (node.right, node.left)):
        is_text = isinstance(repeated, ast.Constant) and isinstance(repeated.value, str)
        if (is_text or isinstance(repeated, DISPLAYS)) and is_condition(times, flags):
            return True
    return False


def chooses_by_and_or(node: ast.AST, flags: set[str], asked: set[ast.AST]) -> bool:
    """Tell whether an expression is an `and` or `or` that is used for more than its truth."""
    return isinstance(node, ast.BoolOp) and node not in asked and not is_condition(node, flags)


def asked_in(nodes: Iterable[ast.AST]) -> set[ast.AST]:
    """Return the expressions that are only asked whether they are true, and the operands of these."""
    waiting = [expression for node in nodes for expression in asked_by(node)]
    asked: set[ast.AST] = set()
    while waiting:
        expression = waiting.pop()
        asked.add(expression)
        if isinstance(expression, ast.BoolOp):
            waiting += expression.values
        elif isinstance(expression, ast.IfExp):
            waiting += [expression.body, expression.orelse]
    return asked


def asked_by(node: ast.AST) -> list[ast.expr]:
    """Return the expressions that a node only asks whether they are true."""
    match node:
        case ast.If() | ast.While() | ast.IfExp() | ast.Assert():
            return [node.test]
        case ast.comprehension():
            return node.ifs
        case ast.match_case(guard=ast.expr()):
            return [node.guard]
        case ast.UnaryOp(op=ast.Not()):
            return [node.operand]
        case ast.Call(func=ast.Name(id="bool" | "any" | "all"), args=[argument]):
            if isinstance(argument, (ast.GeneratorExp, ast.ListComp)):
                return [argument.elt]
            return [argument]
        case ast.FunctionDef(returns=ast.Name(id="bool")):
            returns = (step for step in ast.walk(node) if isinstance(step, ast.Return))
            return [step.value for step in returns if step.value is not None]
    return []
