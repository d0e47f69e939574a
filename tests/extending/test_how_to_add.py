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

import h5py
import pytest
from conftest import REPOSITORY, write_tissue
from made_once import made_once
from own_process import run_process
from written_tables import read_json, write_lines

CHANGES = Path(__file__).parent / "changes"
EVERY = sorted(CHANGES.glob("*.diff"))
ARCHITECTURE = REPOSITORY / ".github" / "architecture.md"
EXTENDING = REPOSITORY / ".github" / "extending.md"

UNTRIED = ["interval", "banner", "column of the fields of slides", "printed line"]
"""Rows without a change of their own: a sentence of statistics, and places that `tests` hold by their own cases."""

pytestmark = pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="copies what git tracks")

OUTSIDE = ("tests/", "docs/", "tools/")
"""Folders of files that are no code of the package."""

HOUSE = ("test_files.py", "test_house.py", "test_law.py", "test_names.py", "test_options.py")
"""Tests of the house that an addition can touch; the others are of installations, licences and measured figures."""

MAKERS = ("docs/make_cli_reference.py",)
"""What CONTRIBUTING asks to be run after a change of commands."""


class Copy(NamedTuple):
    """A copy of the repository with a change, and a folder beside it in which commands run."""

    root: Path
    work: Path

    def python(self, *words, folder, plugins=()):
        """Run Python, for which `bchisto` is this copy, whatever is installed; return what it prints."""
        path = os.pathsep.join(map(str, (self.root.parent / "site", *plugins)))
        environment = {**os.environ, "PYTHONPATH": path}
        # tests that passed in the repository have not passed in the copy
        environment.pop("BCHISTO_PASSED", None)
        done = run_process(sys.executable, *words, cwd=folder, env=environment)
        assert done.returncode == 0, f"{words}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def bchisto(self, line):
        """Run a command of bchisto beside the copy, with the encoders of the tests; return what it prints."""
        plugins = [self.root / "tests" / "plugins"]
        return self.python("-m", "bchisto", *shlex.split(line), folder=self.work, plugins=plugins)


def section_of(page, title):
    """Return the text of a section, by the title as links have it."""
    for part in re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        if heading.lower().replace(" ", "-") == title:
            return text
    raise AssertionError(f"{page}: no section {title}")


def rows_of_page():
    """Return the rows of "How to add", without its head."""
    lines = section_of(ARCHITECTURE, "how-to-add").splitlines()
    return [line.strip("| ") for line in lines if line.startswith("| ")][2:]


def files_of(change):
    """Return the files that a change touches."""
    return re.findall(r"^diff --git a/(\S+) ", change.read_text(), re.MULTILINE)


def added_text(change):
    """Return the lines that a change adds."""
    lines = change.read_text().splitlines()
    return "\n".join(line[1:] for line in lines if re.match(r"\+(?!\+\+)", line))


def change_copy(folder):
    """Copy what git tracks to `clone`, change the copy as contributors do, by all changes, and test its house."""
    root = folder / "clone"
    listed = subprocess.run(
        ["git", "-C", REPOSITORY, "ls-files", "-z"], capture_output=True, check=True
    )
    for path in listed.stdout.decode().split("\0"):
        source = REPOSITORY / path
        if path and source.is_file():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, root / path)
    (folder / "site").mkdir()
    (folder / "site" / "bchisto").symlink_to(root)
    for words in (["init", "--quiet"], *(["apply", "-C1", path] for path in EVERY), ["add", "."]):
        done = run_process("git", *words, cwd=root)
        assert done.returncode == 0, done.stderr
    copy = Copy(root, root)
    for maker in MAKERS:
        copy.python(maker, folder=root)
    tests = [f"tests/house/{file}" for file in HOUSE]
    options = ("-q", "-p", "no:cacheprovider", "-m", "not slow")
    copy.python("-m", "pytest", *options, *tests, folder=root)


@pytest.fixture
def changed(tmp_path_factory, tmp_path):
    """The copy with all changes, and a folder of its own for the commands of a test."""
    work = tmp_path / "work"
    work.mkdir()
    return Copy(made_once(tmp_path_factory, "how-to-add", change_copy) / "clone", work)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Images in a folder for each class: twelve of each, of three patients, whose names say both.

    The copy with the dataset recognises them, so that folds keep patients whole.
    """
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


@pytest.mark.slow
def test_a_dataset(changed, images):
    shown = changed.bchisto(f"data check --images {images}")
    assert "detected as dataset lab" in shown
    assert "lab: 24 images" in shown


@pytest.mark.slow
def test_a_network(changed, images):
    changed.bchisto(
        f"finetune --images {images} --out run --network plain --folds 2 --size 32 --epochs 1 --jobs 1"
    )
    assert (changed.work / "run" / "finetune" / "2-grouped-plain" / "model.bchisto").is_file()


@pytest.mark.slow
def test_a_metric(changed):
    rows = ["image_id,label,predicted", "a,x,x", "b,x,x", "c,x,y", "d,x,y", "e,y,y"]
    write_lines(changed.work / "table.csv", *rows)
    changed.bchisto("evaluate table.csv --out evaluation")
    metrics = read_json(changed.work / "evaluation" / "metrics.json")
    assert metrics["tables"]["table"]["geometric_recall"]["value"] == pytest.approx(0.5**0.5)


@pytest.mark.slow
def test_a_classifier(changed, images):
    described(changed, images)
    changed.bchisto("boost --out run --folds 3 --head centroid --jobs 1")
    assert (changed.work / "run" / "boost" / "3-grouped-centroid" / "model.bchisto").is_file()


@pytest.mark.slow
def test_a_stain_method(changed, images):
    store = described(changed, images, "--stain reinhard")
    with h5py.File(store) as file:
        assert json.loads(file.attrs["settings"])["stain"] == "reinhard"
        assert not file["images/normalisation_skipped"][:].any()


@pytest.mark.slow
def test_a_pooling(changed, images):
    store = described(changed, images, "--pooling median")
    with h5py.File(store) as file:
        assert json.loads(file.attrs["settings"])["pooling"] == "median"
    changed.bchisto("boost --out run --folds 3 --head logistic --jobs 1")
    report = (changed.work / "run" / "boost" / "3-grouped-logistic" / "report.html").read_text()
    assert "pooled by their median" in report


@pytest.mark.slow
def test_a_column_of_the_store(changed, images):
    with h5py.File(described(changed, images)) as file:
        brightness = file["images/brightness"][:]
    assert len(brightness) == 24
    assert (brightness > 0).all()
    assert (brightness < 255).all()


@pytest.mark.slow
def test_an_option(changed, images):
    with h5py.File(described(changed, images, "--sharpen 2")) as file:
        assert json.loads(file.attrs["settings"])["sharpen"] == 2.0
    record = read_json(changed.work / "run" / "run.json")
    assert record["records"][-1]["config"]["sharpen"] == 2.0


@pytest.mark.slow
def test_a_published_system(changed):
    """`test_extending.py` runs one, of another package."""
    shown = changed.bchisto("reproduce idc-means --settings --all-variants")
    assert "idc-means: Class means of features against boosted trees" in shown
    assert re.search(r"boost +heads +prototype +sec\. 3", shown)


@pytest.mark.slow
def test_a_column_of_predictions(changed, images):
    """Boosted models, networks and predictions of new images have one writer."""
    described(changed, images)
    changed.bchisto("boost --out run --folds 3 --head logistic --jobs 1")
    folder = changed.work / "run" / "boost" / "3-grouped-logistic"
    changed.bchisto(f"predict {folder / 'model.bchisto'} --images {images} --out new.csv --jobs 1")
    for path in (folder / "predictions.csv", changed.work / "new.csv"):
        assert columns_of(path)[4:8] == ["p_normal", "p_tumour", "margin", "predicted"]


@pytest.mark.parametrize("change", EVERY, ids=lambda path: path.stem)
def test_a_row_names_every_file_that_is_changed(change):
    """Or the section of `extending.md` that the row links to does. New files are named by their folder."""
    (row,) = (text for text in rows_of_page() if f"changes/{change.name})" in text)
    texts = [
        row,
        *(section_of(EXTENDING, title) for title in re.findall(r"extending\.md#([\w-]+)", row)),
    ]
    named = set(re.findall(r"`([\w./-]+)`", " ".join(texts)))
    files = files_of(change)
    assert files
    for file in files:
        assert file in named or f"{Path(file).parent}/" in named, file


def test_every_row_is_tried():
    rows = rows_of_page()
    linked = [row for row in rows if "changes/" in row]
    assert len(linked) == len(EVERY)
    untried = [row.split(" | ")[0].partition(" (")[0] for row in rows if row not in linked]
    assert untried == UNTRIED


def test_the_option_is_that_of_the_page():
    """The field, as the page declares it."""
    section = section_of(EXTENDING, "an-option-of-a-command")
    (field,) = re.findall(r"^```python\n(.*?)^```", section, flags=re.DOTALL | re.MULTILINE)
    assert " ".join(field.split()) in " ".join(added_text(CHANGES / "option.diff").split())


@pytest.mark.parametrize(("name", "most"), [("stain", 2), ("pooling", 3), ("prediction-column", 2)])
def test_few_files_of_code_change(name, most):
    code = [path for path in files_of(CHANGES / f"{name}.diff") if not path.startswith(OUTSIDE)]
    assert len(code) <= most
