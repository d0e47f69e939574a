"""What docs/evaluation.md shows below a command is what the command prints, of the predictions that the page names."""

import itertools
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "evaluation.md"
SHARED = Path(os.environ.get("BCHISTO_SHARED", REPOSITORY.parent / "shared"))
BACH = SHARED / "reference" / "bach" / "predictions"

pytestmark = pytest.mark.skipif(
    not (PAGE.is_file() and BACH.is_dir()), reason="needs the documents and the shared predictions"
)

TABLES = {"predictions": "eva-svm", "svm": "eva-svm", "lightgbm": "eva-lightgbm"}


def shown():
    """Return (first command, text) of each block of commands that a block of text follows."""
    blocks = re.findall(r"^```(sh|text)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [
        (commands.splitlines()[0], text)
        for (kind, commands), (next_kind, text) in itertools.pairwise(blocks)
        if (kind, next_kind) == ("sh", "text")
    ]


def test_the_page_shows_outputs():
    assert len(shown()) == 3


@pytest.mark.parametrize("place", range(3))
def test_what_is_shown_is_printed(place, tmp_path, completed, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, table in TABLES.items():
        shutil.copy(BACH / f"{table}.csv", f"{name}.csv")
    command, text = shown()[place]
    printed, _ = completed(*shlex.split(command)[1:])
    assert text.rstrip() in printed
    whole = printed.startswith(text.splitlines()[0])
    assert whole is (place == 0)
