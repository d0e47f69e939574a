"""The words that README and the tutorial show under a command are those it prints, in their order.

Commands that read tables of predictions of the repository are run as they stand, and print the same figures:
`docs/make_printed.py` writes those. The others run on small images with a small network, so what rests on images or on
weights is masked, as `DIFFERS` lists, and all else has to be the same. Images of the repository with the real weights,
if they are here, leave nothing to mask.
"""

import os
import re
import shlex
import shutil
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from conftest import write_tissue
from documented import REPOSITORY, bach, breakhis, idc, smaller, text_of, write_small
from own_process import run_process
from written_tables import rows_of

SHARED = Path(os.environ.get("BCHISTO_SHARED", REPOSITORY.parent / "shared"))
WEIGHTS = SHARED / "data" / "weights" / "mobilenetv2_imagenet.weights.h5"
SAMPLES = "trial --images docs/samples"
TABLES = "docs/results/"
SCRIPT = "docs/make_printed.py"

STORE = r"(?<=/features/)[^/]+(?=\.h5$)"
DIFFERS = {
    SAMPLES: r"(?<=^logistic ).*",
    "demo": r"^(highest )?\w+ \d+ of 472 .*|^\w+(?= is highest)",
    "trial": r"\d+ images, view .*",
    "data check": None,
    "data make": None,
    "predict": r"^\d+(?= images)|\d+ of \d+|(?<=[a-z] )\d+(?=,|$)",
    "explain": r"^\d+(?= images)",
    "featurize": rf"{STORE}|\d+ files?",
    "boost": r"(?<=predict run/boost/)[^/]+",
    "evaluate": r"(?<=^predictions: )\d+ of \d+|[\d.]+ % \(95 % CI [\d.]+ to [\d.]+\)",
}
"""Of each command, by its first words, what other images, another network or processor change: counts, figures, names
of files."""

NEAR = 5
"""By how much a figure of the demo, in percent, or a count of its images may differ between processors: last digits of
features do."""


def steps_of(document):
    """Return each command with the lines that the page shows below its block; none if it shows nothing."""
    text = text_of(document)
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


def with_real_weights(command):
    return SAMPLES in command and WEIGHTS.is_file()


def differing(command):
    """Return the pattern of what may differ in the lines of a command."""
    if with_real_weights(command):
        return None
    return next(
        pattern for part, pattern in DIFFERS.items() if command.startswith(f"bchisto {part}")
    )


def lacking(shown, printed, pattern=None):
    """Return the shown lines that are not printed, or not after those above them."""

    def masked(line):
        line = " ".join(line.split())  # cells are as wide as what stands in them
        return line if pattern is None else re.sub(pattern, "#", line)

    rest = map(masked, printed)
    return [line for line in shown if masked(line) not in rest]


def figures_of_demo(lines):
    """Return the figures of each head, and of chance."""
    rows = [re.fullmatch(r" *(?:highest )? *(\w+) +(\d+ of 472 .*)", line) for line in lines]
    return {
        row[1]: [float(part) for part in re.findall(r"[\d.]+", row[2])]
        for row in filter(None, rows)
    }


def far(shown, printed):
    """Return the rows of the demo whose figures are not nearly those that are printed."""
    others = figures_of_demo(printed)
    rows = figures_of_demo(shown).items()
    return [name for name, row in rows if row != pytest.approx(others[name], abs=NEAR)]


def test_a_figure_of_the_demo_may_differ_a_little():
    row = "highest  svm       {} of 472  {} (66.0 to 90.3)"
    assert far([row.format(382, 80.9)], [row.format(380, 80.5)[7:]]) == []
    assert far([row.format(382, 80.9)], [row.format(382, 90.9)]) == ["svm"]


def test_a_wrong_figure_or_order_is_seen():
    printed = ["a  7 of 12", "b  6 of 12", "wrote a"]
    assert lacking(["a 7 of 12", "wrote a"], printed) == []
    assert lacking(["a 8 of 12", "wrote a"], printed)[0] == "a 8 of 12"
    assert lacking(["b 6 of 12", "a 7 of 12"], printed) == ["a 7 of 12"]
    assert lacking(["a 8 of 12"], printed, r"\d+ of") == []
    assert lacking(["a 7 of 13"], printed, r"\d+ of") == ["a 7 of 13"]
    shown = ["20 images predicted: Normal 4, Invasive 8", "predicted positive: 1 of 20, a at 0.5"]
    others = ["2 images predicted: Normal 0, Invasive 2", "predicted positive: 2 of 2, a at 0.5"]
    assert lacking(shown, others, DIFFERS["predict"]) == []
    assert lacking(shown[1:], [others[1].replace("0.5", "0.6")], DIFFERS["predict"]) == shown[1:]


def check_left_by_tutorial(here):
    """The published divisions, whole patients, and each model of the tutorial."""
    assert (here / "run" / "boost" / "eva-svm" / "model.bchisto").is_file()
    assert (here / "evaluation" / "report.html").is_file()
    folder = here / "breakhis" / "boost" / "5-grouped-lightgbm"
    assert "keep patients or slides whole" in (folder / "report.html").read_text()
    folds = {}
    for row in rows_of(folder / "folds.csv"):
        folds.setdefault(row["group"], set()).add(row["fold"])
    assert {len(numbers) for numbers in folds.values()} == {1}
    report = here / "idc" / "boost" / "idc-published-lightgbm" / "report.html"
    assert "84/29/49 published slides" in report.read_text()


def on_own_images(here):
    for folder in ("samples", "results"):
        shutil.copytree(REPOSITORY / "docs" / folder, here / "docs" / folder)
    write_tissue(here / "images", per_class=12, size=(120, 120))
    write_tissue(here / "new", per_class=2, size=(120, 120), seed=3)


def on_public_images(here):
    """Those of the tutorial, of which those of BACH are so different that a model is better than chance."""
    from PIL import Image

    bach(here)
    breakhis(here)
    idc(here)
    shutil.rmtree(here / "new-images")
    rng = np.random.default_rng(0)
    for label, number, folder in product(range(2), range(24), ("images", "new")):
        path = here / folder / "ab"[label] / f"Pat {number // 2} - {label}{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(150 * label, 150 * label + 60, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    for place, folder in enumerate(sorted((here / "ICIAR2018_BACH_Challenge").glob("Photos/*/"))):
        new = here / "new-images" / folder.name
        new.mkdir(parents=True)
        files = [*sorted(folder.glob("*.tif")), *(new / f"{number}.png" for number in range(5))]
        for path in files:
            pixels = rng.integers(50 * place, 50 * place + 60, (50, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)


SCENES = {"README.md": on_own_images, "docs/tutorial.md": on_public_images}

ELSEWHERE = ("--out study", TABLES)
"""Parts of commands that are not run here: README shows nothing of the first, and the script runs the second."""


@pytest.mark.slow
@pytest.mark.parametrize("document", SCENES)
def test_pages_show_what_commands_print(document, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stderr", sys.stdout)  # in the order of a terminal
    SCENES[document](tmp_path)
    write_small(tmp_path)
    unlike = {}
    compared = 0
    for command, shown in steps_of(document):
        if any(part in command for part in ELSEWHERE):
            continue
        arguments = smaller(command)
        if with_real_weights(command):
            arguments = [*shlex.split(command)[1:], "--weights", f"mobilenetv2={WEIGHTS}"]
        code, output, _ = cli(*arguments)
        assert code in (0, 1), f"{command}\n{output}"  # a check exits with 1 for small images
        assert shown, command
        compared += len(shown)
        lines = lacking(shown, output.splitlines(), differing(command))
        if command == "bchisto demo":
            lines += far(shown, output.splitlines())
        if lines:
            unlike[command] = (lines, output)
    assert unlike == {}
    assert compared > 15
    if document == "docs/tutorial.md":
        check_left_by_tutorial(tmp_path)


@pytest.mark.slow
def test_figures_of_the_repository_are_written_by_a_script(tmp_path):
    def run(folder, *options):
        command = [sys.executable, folder / SCRIPT, *options]
        return run_process(*command)

    done = run(REPOSITORY, "--check")
    assert done.returncode == 0, f"run: python {SCRIPT} {done.stderr}"
    shutil.copytree(REPOSITORY / "docs" / "results", tmp_path / "docs" / "results")
    for name in ("README.md", "docs/tutorial.md", SCRIPT):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    page = tmp_path / "README.md"
    right = page.read_text()
    wrong = right.replace("+0.2 (-3.5 to +4.0) points", "+0.3 (-3.4 to +4.0) points")
    assert wrong != right
    page.write_text(wrong)
    assert run(tmp_path, "--check").returncode == 1
    assert page.read_text() == wrong
    assert run(tmp_path).returncode == 0
    assert page.read_text() == right
    lines = right.splitlines(keepends=True)
    last = lines.index("wrote against-published/report.html\n")
    lines.insert(last - 3, lines.pop(last))
    page.write_text("".join(lines))
    turned = run(tmp_path)
    assert turned.returncode == 1
    assert "prints nothing like this, after the lines above it: rakhlin10-svm is" in turned.stderr
