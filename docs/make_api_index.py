"""Write the list of the public names in docs/api.md, with their arguments and the first line of each docstring.

With --check nothing is written: the exit code is 1 if the list is not up to date.
"""

import importlib
import inspect
import re
import sys
import textwrap
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "api.md"
LIST = re.compile(r"```text\n.*?```\n", re.DOTALL)


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
    head = textwrap.wrap(name + arguments(item), 96, initial_indent="  ", subsequent_indent=" " * 6)
    return [*head, f"      {first_line(item)}"]


def listed():
    """Return the list: each room, and below it its names."""
    lines = []
    for page in sorted((DOCS / "api").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for room, members in re.findall(r"automodule:: (\S+)\n +:members: (.+)", text):
            module = importlib.import_module(room)
            lines += ["", room]
            names = sorted(members.split(", "), key=str.casefold)
            for name in names:
                lines += entry(name, getattr(module, name))
    return "```text\n" + "\n".join(lines[1:]) + "\n```\n"


def main():
    text = PAGE.read_text(encoding="utf-8")
    current = LIST.sub(lambda _: listed(), text)
    if "--check" in sys.argv:
        return int(current != text)
    PAGE.write_text(current, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
