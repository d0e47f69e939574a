"""The package of .github/extending.md, installed as any other, adds one of each; lines of the page are run with it."""

import json
import os
import re
import shlex
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import typed, write_tissue
from made_once import made_once
from own_process import run_process
from packs import packs_in
from written_tables import read_json
from written_tables import rows_of as rows

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
PACKAGE = HERE / "package"
PAGE = (HERE.parents[1] / ".github" / "extending.md").read_text()


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that the package is installed in, built from its pyproject.toml."""

    def install(root):
        # a build leaves folders beside what it builds
        source = shutil.copytree(PACKAGE, root / "package")
        command = typed(
            "{} -m pip install --quiet --disable-pip-version-check --no-index --no-deps "
            "--no-build-isolation --no-compile --target {} {}",
            sys.executable,
            root / "site",
            source,
        )
        done = run_process(*command)
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "installed", install) / "site"


@pytest.fixture
def lab(installed, monkeypatch):
    """The package is installed in this process's environment."""
    monkeypatch.syspath_prepend(installed)


@pytest.fixture(scope="module")
def here(tmp_path_factory, installed):
    """The folder that the page's lines were run in, with `lab-images`: twelve of each class, of six patients."""

    def run(folder):
        write_images(folder)
        (folder / "said.json").write_text(json.dumps(run_page(folder, installed)))

    return made_once(tmp_path_factory, "lab", run)


def write_images(folder):
    tissue = write_tissue(
        folder / "made", per_class=12, size=(48, 48), classes=("normal", "tumour")
    )
    (folder / "lab-images").mkdir()
    for path in sorted(tissue.rglob("*.png")):
        number = int(path.stem[-2:])
        name = f"P{number // 4 + 3 * (path.parent.name == 'tumour'):02d}-{number % 4}-{path.parent.name}.png"
        path.rename(folder / "lab-images" / name)


def run_page(folder, installed):
    """Run the lines of the page as they stand, in processes of their own; return what each command printed."""
    (block,) = re.findall(r"^```sh\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(installed), os.environ["PYTHONPATH"]]),
    }
    install, *lines = block.replace("\\\n", " ").splitlines()
    assert install == "pip install ./package"
    said = {}
    for line in lines:
        program, verb, *options = shlex.split(line)
        assert program == "bchisto"
        options += (
            ["--jobs", "1"] if verb in ("featurize", "boost", "finetune", "reproduce") else []
        )
        done = run_process(
            sys.executable, "-m", "bchisto", verb, *options, cwd=folder, env=environment
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        said[verb] = done.stdout + done.stderr
    return said


@pytest.fixture(scope="module")
def said(here):
    """What each command of the page printed."""
    return read_json(here / "said.json")


def test_the_page_shows_the_package_whole():
    shown = re.findall(r"\]\(\.\./tests/extending/package/(\S+)\)", PAGE)
    files = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.*")
        if "__pycache__" not in path.parts
    }
    assert sorted(shown) == sorted(files - {"bchisto_lab/__init__.py"})
    groups = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["entry-points"]
    kinds = (
        *("encoders", "datasets", "heads", "networks", "metrics", "stains", "recipes"),
        "vector_encoders",
    )
    assert set(groups) == {f"bchisto.{kind}" for kind in kinds}
    assert all(f"`{group}`" in PAGE for group in groups)


def test_its_dataset_is_recognised_and_read(said, here):
    assert "lab-images: detected as dataset lab" in said["data"]
    assert "lab: 24 images" in said["data"]
    predictions = rows(here / "run" / "boost" / "3-grouped-centroid" / "predictions.csv")
    assert {row["group"] for row in predictions} == {f"P{number:02d}" for number in range(6)}


def test_what_is_no_image_of_its_dataset_is_a_finding(lab, tmp_path):
    from bchisto.data import read_dataset

    for name in ("P01-1-normal.png", "P02-1-tumour.png", "P02-1-other.png"):
        (tmp_path / name).touch()
    dataset = read_dataset(tmp_path)
    assert [record.label for record in dataset.records] == ["normal", "tumour"]
    assert [(found.level, found.file) for found in dataset.findings] == [
        ("warning", "P02-1-other.png")
    ]


def test_its_encoder_describes_and_its_head_is_trained(said, here, lab):
    from bchisto.featurize import open_store

    with open_store(here / "run" / "features" / "edges-1.0-32.h5") as store:
        assert store.features().shape == (24, 2, 8 + 16)
        assert store.header["classes"] == ["normal", "tumour"]
    assert list(packs_in(here / "run" / "boost" / "3-grouped-centroid")) == [
        "seed0-fold1",
        "seed0-fold2",
        "seed0-fold3",
    ]


def test_its_stain_method_is_used_and_described(said, here, lab):
    from bchisto.featurize import open_store

    with open_store(here / "run" / "features" / "edges-1.0-32.h5") as store:
        assert store.header["stain"] == "lab-reinhard"
    report = (here / "run" / "boost" / "3-grouped-centroid" / "report.html").read_text()
    assert "Colours were normalised to the lab" in report
    assert "stain lab-reinhard" in report


def test_without_its_package_what_needs_its_stain_method_names_it(said, here, tmp_path, cli):
    shutil.copytree(here / "run", tmp_path / "run")
    features = tmp_path / "run" / "features" / "edges-1.0-32.h5"
    needed = "needs the stain method 'lab-reinhard', which this version does not know"
    code, _, err = cli("boost --out T/run --folds 3")
    assert f"{features}: {needed}" in err
    assert "install the package that adds it" in err
    assert code == 2


def test_its_network_is_trained(said, here):
    folder = here / "run" / "finetune" / "3-grouped-plain"
    assert len(list(folder.rglob("models/*.npz"))) == 3
    assert len(rows(folder / "predictions.csv")) == 24


def test_its_metric_is_in_what_evaluate_writes(said, here):
    from sklearn.metrics import recall_score

    tables = read_json(here / "evaluation" / "metrics.json")["tables"]
    assert len(tables) == 2
    for metrics in tables.values():
        confusion = metrics["confusion"]
        pairs = [
            (t, p)
            for t, line in enumerate(confusion)
            for p, count in enumerate(line)
            for _ in range(count)
        ]
        recalls = recall_score(*zip(*pairs, strict=True), average=None)
        assert metrics["g_mean"]["value"] == pytest.approx((recalls[0] * recalls[1]) ** 0.5)
    assert "G-mean" in (here / "evaluation" / "report.html").read_text()


def test_its_published_system_is_run_and_compared(said, here):
    folder = here / "study" / "reproduce" / "lab-study"
    found = {row["figure"]: row for row in rows(folder / "accuracy.csv")}
    assert {name: float(row["published"]) for name, row in found.items()} == {
        "network": 81.5,
        "means": 77.0,
    }
    assert all(row["obtained"] for row in found.values())
    assert "Accuracy of images, percent" in said["reproduce"]
    assert (here / "study" / "boost" / "3-grouped-centroid" / "model.bchisto").is_file()
    assert (here / "study" / "finetune" / "3-grouped-plain-network" / "model.bchisto").is_file()
    assert "made up" in (folder / "report.html").read_text()
