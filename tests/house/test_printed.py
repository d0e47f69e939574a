"""The words that README and the tutorial show under a command are those it prints, on small images."""

import re
import shutil

import pytest
from conftest import write_tissue
from documented import REPOSITORY, bach, smaller, write_small


def steps_of(document):
    """Return each command with the lines that the page shows below its block; none if it shows nothing."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    blocks = re.findall(
        r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", text, re.DOTALL | re.MULTILINE
    )
    steps = []
    for commands, shown in blocks:
        lines = [line.partition(" #")[0].strip() for line in commands.splitlines()]
        lines = [line for line in lines if line.startswith("bchisto ")]
        steps += [(line, []) for line in lines[:-1]]
        steps += [(line, shown.splitlines()) for line in lines[-1:]]
    return steps


def masked(line):
    """Return a line with each number, and the spaces around cells, alike."""
    line = (
        re.sub(r"\d[\d.,]*\d|\d", "#", line).replace("# file", "# files").replace("filess", "files")
    )
    return re.sub(r"[ –]+", " ", line).strip()


def on_own_images(here):
    for folder in ("samples", "results"):
        shutil.copytree(REPOSITORY / "docs" / folder, here / "docs" / folder)
    write_tissue(here / "images", per_class=12, size=(120, 120))
    write_tissue(here / "new", per_class=2, size=(120, 120), seed=3)


SCENES = {"README.md": on_own_images, "docs/tutorial.md": bach}


ELSEWHERE = {
    "README.md": ("study",),
    "docs/tutorial.md": ("BreaKHis_v1", "breakhis", "IDC_regular", "idc", "data make"),
}
"""Parts of commands that other tests run, with images of their own."""


def not_printed(document, cli, here):
    """Run the commands of a page; return the lines that it shows and that they do not print."""
    write_small(here)
    lacking = []
    shown_lines = 0
    for command, shown in steps_of(document):
        if any(part in command for part in ELSEWHERE[document]):
            continue
        code, out, err = cli(*smaller(command))
        assert code in (0, 1), f"{command}\n{err}"  # a check exits with 1 for small images
        printed = {masked(line) for line in (out + err).splitlines()}
        shown_lines += len(shown)
        lacking += [line for line in shown if masked(line) not in printed]
    assert shown_lines >= 9
    return lacking


@pytest.mark.slow
@pytest.mark.parametrize("document", SCENES)
def test_pages_show_what_commands_print(document, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SCENES[document](tmp_path)
    assert not_printed(document, cli, tmp_path) == []
