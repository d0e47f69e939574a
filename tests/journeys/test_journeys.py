"""Journeys of a user: the documented commands as they stand, on small synthetic images in place of the real.

Each script is one journey. Its lines can be typed as they are; the driver makes them small (`documented.smaller`), runs
lines that begin with ``bchisto`` in this process, which has loaded the networks' library, and gives all others to bash,
where ``bchisto`` is a process of its own. Three comments are more than comments:

- ``# made: NAME``: the function of `documented` that draws the images;
- ``# page: FILE, without: A, B``: all commands of a page in their order but those that contain A or B; ``with:`` for
  those alone;
- ``# 2: WORDS`` behind a line: its exit code, and what it must say; a command that fails says so in one line.
"""

import os
import re
import sys
from pathlib import Path

import documented
import pytest
from conftest import needs_repository
from documented import lines_of, smaller, write_small
from own_process import run_process

SCRIPTS = sorted(Path(__file__).parent.glob("*.sh"))
EXPECTED = re.compile(r"\s+# (\d): (.+)$")
PAGE = re.compile(r"# page: (\S+?)(?:, (with|without): (.+))?$")

pytestmark = [
    pytest.mark.slow,
    needs_repository,
]


def commands_of(script):
    """Yield each command of a script with its exit code and the words that it must say."""
    for line in script.read_text().splitlines():
        if page := PAGE.match(line):
            name, way, parts = page.groups()
            for command in lines_of(name):
                named = any(part in command for part in (parts or "").split(", ")) if way else False
                if way is None or named == (way == "with"):
                    yield command, None, ""
        elif line and not line.startswith("#"):
            expected = EXPECTED.search(line)
            yield (
                EXPECTED.sub("", line),
                int(expected[1]) if expected else 0,
                expected[2] if expected else "",
            )


@pytest.fixture
def shell(tmp_path):
    """Return a function that gives a line to bash, where `bchisto` is the command line of this package, made small."""
    programs = tmp_path.parent / f"{tmp_path.name}-bin"
    programs.mkdir()
    (programs / "bchisto").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m documented "$@"\n')
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])

    def run(line):
        done = run_process(
            "bash", "-e", "-c", line, cwd=tmp_path, env={**os.environ, "PATH": path}, timeout=120
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_journey(script, tmp_path, cli, shell, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_small(tmp_path)
    for name in re.findall(r"^# made: (\w+)$", script.read_text(), flags=re.MULTILINE):
        getattr(documented, name)(tmp_path)
    ran = 0
    for line, wanted, words in commands_of(script):
        code, out, err = cli(*smaller(line)) if line.startswith("bchisto ") else shell(line)
        found = wanted is None and code == 1 and any(part in line for part in documented.FINDINGS)
        assert found or code == (wanted or 0), f"{line}\n{err}"
        assert words in out + err, f"{line}\n{out}{err}"
        assert "Traceback" not in err, f"{line}\n{err}"
        if code == 2:
            assert len(re.findall(r"^[Ee]rror: .", err, flags=re.MULTILINE)) == 1, f"{line}\n{err}"
        ran += 1
    assert ran > 0
