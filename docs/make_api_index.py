"""Write the public names of each room into its page in docs/api, with arguments and the first line of each docstring.

With --check nothing is written: the exit code is 1 if a page is not up to date.
"""

import importlib
import inspect
import re
import sys
import textwrap
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOM = re.compile(
    r"(?:```text\n(?:(?!```).*\n)*```\n\n)?(```{eval-rst}\n.. automodule:: (\S+)\n +:members: (.+)\n)"
)
"""The list of a room, which may lack, and below it what the site makes of its docstrings."""


def first_line(item):
    """Return what a docstring says first; nothing of a type."""
    if not (inspect.isroutine(item) or inspect.isclass(item)):
        return "a type of arguments"
    return (inspect.getdoc(item) or "").partition("\n")[0].replace("``", "`")


def arguments(item):
    """Return the arguments of a function or class as they are typed; nothing of errors and protocols."""
    is_class = inspect.isclass(item)
    if is_class and (issubclass(item, BaseException) or getattr(item, "_is_protocol", False)):
        return ""
    if not (is_class or inspect.isroutine(item)):
        return ""
    texts = []
    kinds = set()
    for name, parameter in inspect.signature(item).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and not kinds & {"keyword", "several"}:
            texts.append("*")
            kinds.add("keyword")
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            kinds.add("several")
            name = ("*" if parameter.kind is parameter.VAR_POSITIONAL else "**") + name
        if parameter.default is not parameter.empty:
            default = repr(parameter.default)
            name += f"={default}" if re.fullmatch(r"[\w().,'+-]{1,16}", default) else "=..."
        texts.append(name)
    return f"({', '.join(texts)})"


def entry(name, item):
    """Return the lines of a name."""
    head = textwrap.wrap(name + arguments(item), 96, subsequent_indent=" " * 4)
    return [*head, f"    {first_line(item)}"]


def with_list(match):
    """Return what the page has of a room, below the list of its names."""
    directive, room, members = match.groups()
    module = importlib.import_module(room)
    lines = []
    for name in sorted(members.split(", "), key=str.casefold):
        lines += entry(name, getattr(module, name))
    return "```text\n" + "\n".join(lines) + "\n```\n\n" + directive


def main():
    stale = False
    for page in sorted((DOCS / "api").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        current = ROOM.sub(with_list, text)
        stale |= current != text
        if "--check" not in sys.argv:
            page.write_text(current, encoding="utf-8")
    return int(stale and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
