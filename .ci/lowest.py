"""Print the oldest versions that pyproject.toml allows, as constraints of pip: each ``>=X`` becomes ``==X``."""

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"

RECENT = ("test", "docs", "lint")
"""Extras of developers, which may stay recent."""

NOT_HERE = ("staintools", "torch")
"""Extras that environments of their own test (.ci/run): their packages replace others, or differ by machine."""


def lowest() -> list[str]:
    """Return a line for each package that users need."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    extras = project["optional-dependencies"]
    needs = [
        *project["dependencies"],
        *(one for name in extras if name not in RECENT + NOT_HERE for one in extras[name]),
    ]
    pairs = (re.split(r"(?:\[\w+\])?[>=]=", one.partition(";")[0]) for one in needs)
    return sorted(f"{name}=={version}" for name, version in pairs)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in lowest()))
