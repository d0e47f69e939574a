"""Write the list of the public names in docs/api.md, with the first line of each docstring.

With --check nothing is written: the exit code is 1 if the list is not up to date.
"""

import importlib
import inspect
import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "api.md"
LIST = re.compile(r"```text\n.*?```\n", re.DOTALL)


def first_line(item):
    """Return what a docstring says first; nothing of a type."""
    if not (inspect.isroutine(item) or inspect.isclass(item)):
        return "a type of arguments"
    return (inspect.getdoc(item) or "").partition("\n")[0].replace("``", "`")


def listed():
    """Return the list: each room, and below it its names."""
    lines = []
    for page in sorted((DOCS / "api").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for room, members in re.findall(r"automodule:: (\S+)\n +:members: (.+)", text):
            module = importlib.import_module(room)
            lines += ["", room]
            names = sorted(members.split(", "), key=str.casefold)
            lines += [f"  {name:<22} {first_line(getattr(module, name))}" for name in names]
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
