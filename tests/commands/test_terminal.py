"""What a terminal shows: lines that fit, colour only there, one warning of a kind, next commands that run."""

import os
import pty
import select
import struct
import subprocess
import sys
import termios
from fcntl import ioctl

import pytest
from conftest import typed

TINY = typed("--encoder tiny --weights random --view 1.0:64 --augmentations 1 --crops 2")


def on_terminal(*words, columns=80, cwd, **environment):
    """Run a command with both streams on a terminal of so many columns; return its exit code and what it shows."""
    main, side = pty.openpty()
    ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    changed = {"TERM": "xterm-256color", "NO_COLOR": "", "COLUMNS": str(columns), **environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "bchisto", *map(str, words)],
        stdin=side,
        stdout=side,
        stderr=side,
        cwd=cwd,
        env={**os.environ, **changed},
    )
    os.close(side)
    shown = b""
    while process.poll() is None or select.select([main], [], [], 0.1)[0]:
        try:
            shown += os.read(main, 65536) if select.select([main], [], [], 0.1)[0] else b""
        except OSError:  # the other side is closed
            break
    os.close(main)
    return process.wait(), shown.decode().replace("\r\n", "\n")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Gewebe ü").mkdir()
    return tmp_path / "Gewebe ü"


def test_errors_are_coloured(folder):
    code, shown = on_terminal("boost", "--out", "nosuch", cwd=folder)
    assert code == 2
    assert shown.startswith("\x1b[31m\x1b[1merror:")


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_is_respected(environment, folder):
    code, shown = on_terminal("boost", "--out", "nosuch", cwd=folder, **environment)
    assert code == 2
    assert "\x1b" not in shown
    assert shown.startswith("error: ")


def test_warnings_of_one_kind_are_counted(folder, cli, tissue_files):
    images = folder / "images"
    for path in tissue_files:
        (images / path.parent.name).mkdir(parents=True, exist_ok=True)
        (images / path.parent.name / path.name).write_bytes(path.read_bytes())
    for number in range(4):
        (images / "benign" / f"broken{number}.png").write_bytes(b"no image")
    words = typed(
        "featurize --images {} --out {} --skip-errors", images, folder / "run", *TINY, "--jobs", 1
    )
    code, _, err = cli(*words)
    assert code == 1
    left_out = [line for line in err.splitlines() if "left out: " in line]
    assert len(left_out) == 2, err
    assert left_out[1].endswith("(3 more such warnings; -v prints them)")
    _, _, err = cli(*words, "--overwrite", "-v")
    assert len([line for line in err.splitlines() if "left out: " in line]) == 4


def test_config_takes_the_last_run_that_was_not_refused(tissue, folder, refused, completed):
    run = folder / "run"
    words = typed("featurize --images {} --out {} --jobs 1", tissue, run)
    completed(*words, *TINY)
    # other settings for a folder that holds results
    refused(*words, *TINY, "--crops", 3)
    completed(*words, "--config", run / "run.json")
