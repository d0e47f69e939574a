"""Every `bchisto` line in README and docs holds: all are parsed, and all that can be small are run, in their order.

Data that is not here is stood in for by small images under the name that the document gives. What a line leaves to
defaults that take days comes from a file of settings (``--config``), which no option of the line gives way to.
"""

import contextlib
import re
import shlex
import shutil
from pathlib import Path

import click
import numpy as np
import pytest
import yaml
from bchisto.errors import MissingInputError
from conftest import write_tissue

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "docs").glob("*.md"))
ELSEWHERE = ("docs/extending.md",)
"""Pages whose lines need a package of their own: tests/extending installs it and runs them."""

DOCUMENTS = [*(page for page in PAGES if page not in ELSEWHERE), "README.md"]

SMALL = {
    "featurize": {"encoder": ["tiny"], "weights": ["random"], "view": ["1.0:48"], "augmentations": 1, "crops": 2},
    "boost": {"seeds": 1, "param": ["num_iterations=3", "min_data_in_leaf=2"]},
    "finetune": {"epochs": 1, "size": 48},
    "evaluate": {"bootstrap": 20},
}
"""Defaults in place of the published ones; one process, so that the tests' own encoder is known to all."""

SUBSTITUTES = {
    "--encoder inceptionv3:mixed5+mixed7+mixed8 --encoder mobilenetv2": "--encoder tiny",
    "--encoder resnet50": "--encoder tiny",
    "--encoder mobilenetv2": "--encoder tiny",
    "--engine openvino --precision bfloat16": "",
    "--augmentations 12": "--augmentations 2",
    "--images-per-class 12": "--images-per-class 5 --size 256x200",
    "--view 0.5:224": "--view 0.5:48",
    "--view 0.5:400": "--view 0.5:48",
    "--folds 5 --stain": "--folds 2 --stain",
    "/5-grouped-": "/2-grouped-",
}
"""Weights and OpenVINO may not be here, and their tests stand elsewhere; fewer and smaller images, fewer folds."""

FINDINGS = ("data check --images ICIAR2018", "runs diff")
"""Lines that exit with 1 to say that they found something: images smaller than those of BACH; differences."""

NOT_RUN = {
    "README.md": ("--out run", "run/boost/rakhlin10"),  # needs the 400 images of BACH: tests/matrix
    "docs/cluster.md": ("--dask",),  # tests/jobs start a scheduler
    "docs/finetune.md": ("CBIS-DDSM",),  # a converted GoogLeNet is the user's: tests/finetune/test_pretrained.py
    "docs/reproduce.md": ("reproduce",),  # tests/recipes
    "docs/results.md": ("ICIAR2018", "--folds rakhlin10"),  # the lines of the tutorial, which runs them
    "docs/weights.md": ("--weights",),  # files of the user's: tests/encoders/test_encoder.py
}
"""Parts of lines that are only parsed, each with where the same is run."""


def lines_of(document):
    """Return the commands of the shell blocks of a document, without what stands behind ``#``."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("bchisto ")]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_lines_name_options_that_exist(document):
    from bchisto.cli import cli

    for line in lines_of(document):
        arguments = shlex.split(line)[1:]
        command = cli
        with click.Context(cli) as context:
            while isinstance(command, click.Group):
                name, command, arguments = command.resolve_command(context, arguments)
            # an option that answers at once ends, and files that a line names are not here
            with contextlib.suppress(click.exceptions.Exit, MissingInputError):
                try:
                    command.make_context(name, list(arguments), parent=context)
                except click.BadParameter as error:
                    if "does not exist" not in error.message:
                        raise


def bach_predictions(path):
    """A table with the classes of BACH, patients and sites, which the lines on evaluation name."""
    rng = np.random.default_rng(1)
    classes = ["Normal", "Benign", "InSitu", "Invasive"]
    rows = ["image_id,label,group,fold,patch," + ",".join(f"p_{name}" for name in classes) + ",site"]
    for number in range(40):
        shares = rng.dirichlet(np.ones(4))
        place = number // 2 % 5  # five images of two patches in each class, of three patients
        at = f"i{number // 2}.tif,{classes[number // 10]},P{number // 10}-{place // 2},{place + 1},{number % 2}"
        rows.append(at + "," + ",".join(map(repr, shares.tolist())) + f",{'abc'[place // 2]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")


def without_patches(path, target):
    rows = [line.split(",") for line in path.read_text().splitlines()]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(",".join(row[:4] + row[5:]) for row in rows[:1] + rows[1::2]) + "\n")


def evaluation(here, boosted):
    bach_predictions(here / "patches.csv")
    without_patches(here / "patches.csv", here / "predictions.csv")
    without_patches(here / "patches.csv", here / "run" / "boost" / "10-lightgbm" / "predictions.csv")
    shutil.copytree(boosted / "features", here / "trial" / "features")
    for name in ("new", "elsewhere"):
        write_tissue(here / name, per_class=1, size=(120, 120))


def two_runs(here, boosted):
    shutil.copytree(boosted, here / "run")
    shutil.copytree(boosted, here / "trial")


def breakhis(here, boosted):
    from PIL import Image

    rng = np.random.default_rng(2)
    slides = here / "BreaKHis_v1" / "histology_slides" / "breast"
    for side, kind, word in (("benign", "B_A", "adenosis"), ("malignant", "M_DC", "ductal_carcinoma")):
        for patient in range(6):
            for number in range(2):
                name = f"SOB_{kind}-14-{1000 + patient}-200-{number + 1:03d}.png"
                path = slides / side / "SOB" / word / f"SOB_{kind}_14-{1000 + patient}" / "200X" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(80, 230, (140, 150, 3), dtype=np.uint8)).save(path)
    write_tissue(here / "new", per_class=1, size=(140, 140))


def own_images(here, boosted):
    breakhis(here, boosted)
    files = sorted((here / "new").rglob("*.png"))
    rows = [f"{path.relative_to(here)},{path.parent.name},P{place}" for place, path in enumerate(files)]
    (here / "manifest.csv").write_text("path,label,group\n" + "\n".join(rows) + "\n")
    shutil.copy(files[0], here / "slide.png")


def bach(here, boosted):
    """All 400 images by their official names, small; some more of other names."""
    from PIL import Image

    rng = np.random.default_rng(5)
    photos = here / "ICIAR2018_BACH_Challenge" / "Photos"
    rows = []
    for name, prefix in (("Benign", "b"), ("InSitu", "is"), ("Invasive", "iv"), ("Normal", "n")):
        (photos / name).mkdir(parents=True)
        for number in range(1, 101):
            pixels = rng.integers(60, 240, (50, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(photos / name / f"{prefix}{number:03d}.tif")
            rows.append(f"{prefix}{number:03d}.tif,{name}\n")
    (photos / "microscopy_ground_truth.csv").write_text("".join(rows))
    write_tissue(here / "new-images", per_class=1, size=(120, 120), classes=("Normal", "Benign"))
    breakhis(here, boosted)


def images_of_patients(here, boosted):
    images = write_tissue(here / "images", per_class=10, size=(120, 120))
    files = sorted(images.rglob("*.png"))
    rows = [f"{path.relative_to(here)},{path.parent.name},P{place}" for place, path in enumerate(files)]
    (here / "manifest.csv").write_text("path,label,patient\n" + "\n".join(rows) + "\n")


def a_folder_of_images(here, boosted):
    write_tissue(here / "images", per_class=6, size=(120, 120))
    write_tissue(here / "new", per_class=1, size=(120, 120))


MADE_BEFORE = {
    "README.md": a_folder_of_images,
    "docs/cluster.md": lambda here, boosted: write_tissue(here / "images", per_class=12, size=(64, 64)),
    "docs/evaluation.md": evaluation,
    "docs/files.md": two_runs,
    "docs/finetune.md": breakhis,
    "docs/own-images.md": own_images,
    "docs/settings.md": images_of_patients,
    "docs/tutorial.md": bach,
    "docs/weights.md": lambda here, boosted: None,
}


def test_every_document_with_commands_is_run_or_named():
    assert {document for document in DOCUMENTS if lines_of(document)} == set(MADE_BEFORE) | {
        "docs/reproduce.md",
        "docs/results.md",
    }


@pytest.mark.parametrize("document", MADE_BEFORE)
def test_lines_run_as_they_stand(document, tmp_path, boosted, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    MADE_BEFORE[document](tmp_path, boosted)
    for name, values in SMALL.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
    ran = 0
    for line in lines_of(document):
        if any(part in line for part in NOT_RUN.get(document, ())):
            continue
        for given, instead in SUBSTITUTES.items():
            line = line.replace(given, instead)
        arguments = shlex.split(line)[1:]
        verb = arguments[0]
        if verb in SMALL and "--config" not in arguments and "--list-encoders" not in arguments:
            arguments += ["--config", f"{verb}.yaml"]
        if verb in ("featurize", "boost", "finetune", "predict") and "--list-encoders" not in arguments:
            arguments += ["--jobs", "1"]
        code, _, err = cli(*arguments)
        found = code == 1 and any(part in line for part in FINDINGS)
        assert code == 0 or found, f"{line}\n{err}"
        ran += 1
    assert ran
