"""Each row of "How to add" is done in a copy of the repository: the house stands, and its command has what is new.

`changes/NAME.diff` is what a row says, to the letter: the row names every file that the change touches. If the code
around it changed, make it again: apply it in a clone, mend it, and write `git diff --staged -U1`.
"""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import write_tissue

REPOSITORY = Path(__file__).resolve().parents[2]
CHANGES = Path(__file__).parent / "changes"
PAGE = REPOSITORY / "docs" / "architecture.md"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="copies what git tracks"),
]

OUTSIDE = ("tests/", "docs/", "tools/")
"""Folders of files that are no code of the package."""

HOUSE = ("test_files.py", "test_house.py", "test_law.py", "test_names.py", "test_options.py")
"""Tests of the house that an addition can touch; the others are of installations, licences and measured figures."""

MAKERS = ("docs/make_cli_reference.py", "docs/make_elements.py")
"""What CONTRIBUTING asks to be run after a change of commands and of recipes."""


class Copy(NamedTuple):
    """A copy of the repository with a change, and a folder beside it in which commands run."""

    root: Path
    work: Path

    def python(self, *words, folder, plugins=()):
        """Run Python, for which `bchisto` is this copy, whatever is installed; return what it prints."""
        path = os.pathsep.join(map(str, (self.root.parent / "site", *plugins)))
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def bchisto(self, line):
        """Run a command of bchisto beside the copy, with the encoders of the tests; return what it prints."""
        plugins = [self.root / "tests" / "plugins"]
        return self.python("-m", "bchisto", *shlex.split(line), folder=self.work, plugins=plugins)


def rows_of_page():
    """Return the rows of "How to add": what is new, to the text of its row."""
    section = PAGE.read_text(encoding="utf-8").partition("## How to add\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", section, flags=re.MULTILINE)[2:]
    return dict(rows)


def files_of(change):
    """Return the files that a change touches."""
    return re.findall(r"^diff --git a/(\S+) ", change.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture
def copy_with(tmp_path):
    """Return a function that copies what git tracks, changes the copy as a contributor does, and tests its house."""

    def make(name):
        listed = subprocess.run(
            ["git", "-C", REPOSITORY, "ls-files", "-z"], capture_output=True, check=True
        )
        root = tmp_path / "clone"
        for path in listed.stdout.decode().split("\0"):
            source = REPOSITORY / path
            if path and source.is_file():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, root / path)
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "bchisto").symlink_to(root)
        copy = Copy(root, tmp_path / "work")
        copy.work.mkdir()
        for words in (
            ["init", "--quiet"],
            ["apply", "-C1", CHANGES / f"{name}.diff"],
            ["add", "."],
        ):
            done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        for maker in MAKERS:
            copy.python(maker, folder=root)
        tests = [f"tests/house/{file}" for file in HOUSE]
        options = ("-q", "-p", "no:cacheprovider", "-m", "not slow")
        copy.python("-m", "pytest", *options, *tests, folder=root)
        return copy

    return make


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Images in a folder for each class: twelve of each, of three patients, whose names say both."""
    folder = tmp_path_factory.mktemp("laboratory") / "images"
    write_tissue(folder, per_class=12, size=(48, 48), classes=("normal", "tumour"))
    for path in sorted(folder.rglob("*.png")):
        number = int(path.stem[-2:])
        first = 3 if path.parent.name == "tumour" else 0
        patient = f"P{first + number // 4:02d}"
        path.rename(path.with_name(f"{patient}-{number % 4}-{path.parent.name}.png"))
    return folder


def described(copy, images, *options):
    """Describe the images by the encoder that needs only NumPy; return the feature file."""
    copy.bchisto(
        f"featurize --images {images} --out run --encoder tiny --weights random --view 1.0:32 "
        f"--augmentations 2 --crops 2 --jobs 1 {' '.join(options)}"
    )
    (store,) = (copy.work / "run" / "features").glob("*.h5")
    return store


def columns_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file))


def test_a_dataset(copy_with, images):
    copy = copy_with("dataset")
    shown = copy.bchisto(f"data check --images {images}")
    assert "detected as dataset lab" in shown
    assert "lab: 24 images" in shown


def test_a_network(copy_with, images):
    copy = copy_with("network")
    copy.bchisto(
        f"finetune --images {images} --out run --network plain --folds 2 --size 32 --epochs 1 --jobs 1"
    )
    assert (copy.work / "run" / "finetune" / "2-plain" / "model.bchisto").is_file()


def test_a_metric(copy_with):
    copy = copy_with("metric")
    rows = ["image_id,label,predicted", "a,x,x", "b,x,x", "c,x,y", "d,x,y", "e,y,y"]
    (copy.work / "table.csv").write_text("\n".join(rows) + "\n")
    copy.bchisto("evaluate table.csv --out evaluation")
    metrics = json.loads((copy.work / "evaluation" / "metrics.json").read_text())
    assert metrics["tables"]["table"]["g_mean"]["value"] == pytest.approx(0.5**0.5)


def test_a_classifier(copy_with, images):
    copy = copy_with("classifier")
    described(copy, images)
    copy.bchisto("boost --out run --folds 3 --head centroid --jobs 1")
    assert (copy.work / "run" / "boost" / "3-centroid" / "model.bchisto").is_file()


def test_a_column_of_predictions(copy_with, images):
    """Boosted models, networks and predictions of new images have one writer."""
    copy = copy_with("prediction-column")
    described(copy, images)
    copy.bchisto("boost --out run --folds 3 --head logistic --jobs 1")
    folder = copy.work / "run" / "boost" / "3-logistic"
    copy.bchisto(f"predict {folder / 'model.bchisto'} --images {images} --out new.csv --jobs 1")
    for path in (folder / "predictions.csv", copy.work / "new.csv"):
        assert columns_of(path)[4:7] == ["p_normal", "p_tumour", "confidence"]


@pytest.mark.parametrize("change", sorted(CHANGES.glob("*.diff")), ids=lambda path: path.stem)
def test_a_row_names_every_file_that_is_changed(change):
    """New files are named by their folder."""
    (row,) = (
        f"{new} {text}" for new, text in rows_of_page().items() if f"changes/{change.name})" in new
    )
    named = set(re.findall(r"`([\w./-]+)`", row))
    files = files_of(change)
    assert files
    for file in files:
        assert file in named or f"{Path(file).parent}/" in named, file
