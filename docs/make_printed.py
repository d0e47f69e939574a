"""Write what commands print now below them in README and the tutorial, if they read only files of the repository.

Which lines are shown stays: each is replaced by the next printed one that differs from it in figures only.
With --check nothing is written: the exit code is 1 if a page is not up to date.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/tutorial.md")
SHOWN = re.compile(
    r"((?:```sh\n|<!-- )(bchisto evaluate docs/results/.*?)(?:\n```| -->)\n\n```text\n)(.*?)(?=^```)",
    re.DOTALL | re.MULTILINE,
)
"""A command, which a comment hides if the page tells how else its lines come about, and the lines below it."""


def without_figures(line):
    """Return a line without its numbers, and without the spaces that fill cells."""
    return re.sub(r"[\d.,]*\d", "#", " ".join(line.split()))


def printed(command):
    """Return the lines that a command prints in the repository, whose folders stay as they are."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "docs").symlink_to(REPOSITORY / "docs")
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(command)],
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
    return done.stdout.splitlines()


def replaced(match):
    """Return a command and below it the lines that it prints now."""
    head, command, shown = match.groups()
    lines = iter(printed(command))
    current = []
    for line in shown.splitlines():
        alike = (new for new in lines if without_figures(new) == without_figures(line))
        current.append(next(alike, None))
        if current[-1] is None:
            sys.exit(f"{command}\nprints nothing like this, after the lines above it: {line}")
    return head + "\n".join(current) + "\n"


def main():
    stale = False
    for page in PAGES:
        path = REPOSITORY / page
        text = path.read_text(encoding="utf-8")
        current = SHOWN.sub(replaced, text)
        stale |= current != text
        if "--check" not in sys.argv:
            path.write_text(current, encoding="utf-8")
    return int(stale and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
