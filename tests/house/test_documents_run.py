"""Every `bchisto` line in README and docs holds: all are parsed, and all that can be small are run, in their order.

Data that is not here is stood in for by small images under the name that the document gives. What makes a line small is
in `documented`. Pages that a journey follows are run in tests/journeys.
"""

import contextlib
import re
import shlex
import shutil

import click
import numpy as np
import pytest
from bchisto.core import MissingInputError
from conftest import write_tissue
from documented import REPOSITORY, breakhis, lines_of, patients, smaller, write_small
from training_sources import finetune_here
from written_tables import write_lines


@pytest.fixture(scope="module")
def boosted(boosted_maps, tmp_path_factory):
    """A run without the figures of its model, which is taken, since nothing is known of it."""
    ignore, run = shutil.ignore_patterns("metrics.json"), tmp_path_factory.mktemp("boosted") / "run"
    return shutil.copytree(boosted_maps, run, ignore=ignore)


PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "docs").glob("*.md")
)
DOCUMENTS = [*PAGES, "README.md"]

NOT_RUN = {
    # files of the user: tests/encoders/test_encoder.py, test_fetch.py, tests/journeys/test_brought_encoders.py
    "docs/encoders.md": (
        "mobilenetv2_imagenet",
        "=inception.h5",
        "kaiko",
        "hub:",
        "onnx:",
        "timm:",
    ),
}
"""Parts of lines that are only parsed, each with where the same is run; `reproduce` is in tests/apps/recipes."""


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
    columns = ["image_id", "label", "group", "fold", "patch", *(f"p_{name}" for name in classes)]
    rows = [",".join([*columns, "site"])]
    for number in range(40):
        # five images of two patches in each class, of three patients
        image = number // 2
        in_class = image % 5
        patient = in_class // 2
        label = number // 10
        row = [f"i{image}.tif", classes[label], f"P{label}-{patient}", in_class + 1, number % 2]
        row += map(repr, rng.dirichlet(np.ones(4)).tolist())
        row.append("abc"[patient])
        rows.append(",".join(map(str, row)))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_lines(path, *rows)


def without_patches(path, target):
    rows = [line.split(",") for line in path.read_text().splitlines()]
    target.parent.mkdir(parents=True, exist_ok=True)
    write_lines(target, *(",".join(row[:4] + row[5:]) for row in rows[:1] + rows[1::2]))


def evaluation(here, boosted):
    bach_predictions(here / "patches.csv")
    without_patches(here / "patches.csv", here / "predictions.csv")
    without_patches(
        here / "patches.csv", here / "run" / "boost" / "10-lightgbm" / "predictions.csv"
    )
    for name in ("lightgbm.csv", "svm.csv"):
        shutil.copy(here / "predictions.csv", here / name)
    for run in ("trial", "run", "other"):
        shutil.copytree(boosted / "features", here / run / "features")
    (store,) = (here / "other" / "features").glob("*.h5")
    store.rename(store.with_name("another.h5"))
    for name in ("new", "elsewhere"):
        write_tissue(here / name, per_class=1, size=(120, 120))


def new_images(here, boosted):
    shutil.copytree(boosted, here / "run")
    write_tissue(here / "new", per_class=1, size=(120, 120), seed=3)


def own_images(here, boosted):
    breakhis(here)
    write_tissue(here / "mine", per_class=3, size=(120, 120))
    files = sorted((here / "mine").rglob("*.png"))
    rows = [
        f"{path.relative_to(here)},{path.parent.name},P{place}" for place, path in enumerate(files)
    ]
    write_lines(here / "manifest.csv", "path,label,group", *rows)
    shutil.copy(files[0], here / "slide.png")


def explained(here, boosted):
    from bchisto.finetune import FinetuneSettings

    new_images(here, boosted)
    settings = FinetuneSettings("speck", epochs=1, batch_size=4)
    images = write_tissue(here / "images", per_class=6)
    (finetune_here(images, here / "cnn", settings, "2").folder / "metrics.json").unlink()


def embedded(here, boosted):
    """Embeddings of slides, a table of their labels, and a store under the name that the page gives."""
    import h5py

    rows = ["case_id,slide_id,label"]
    for number in range(24):
        kind = "benign" if number % 2 else "malignant"
        rows.append(f"P{number},S{number},{kind}")
        for folder in ("features_uni_v1", "new/features_uni_v1"):
            (here / folder).mkdir(parents=True, exist_ok=True)
            with h5py.File(here / folder / f"S{number}.h5", "w") as file:
                file["features"] = (
                    np.random.default_rng(number)
                    .normal(number % 2 * 9, 1, (4, 5))
                    .astype(np.float32)
                )
                file["coords"] = np.zeros((4, 2), np.int64)
    write_lines(here / "labels.csv", *rows)
    (here / "run" / "features").mkdir(parents=True)
    (store,) = (boosted / "features").glob("*.h5")
    shutil.copy(store, here / "run" / "features" / "resnet50-0.5-400.h5")


def without_a_difference(here, boosted):
    """A manifest with patients, and a run of its images."""
    from bchisto.cli import main

    patients(here)
    write_small(here)
    for line in (
        "bchisto featurize --images manifest.csv --out run",
        "bchisto boost --out run --folds 2",
    ):
        with pytest.raises(SystemExit) as ended:
            main(smaller(line))
        assert ended.value.code == 0, line


def few_labels(here, boosted):
    """A table of images of which six of each class have a label."""
    files = sorted(write_tissue(here / "mine", per_class=12, size=(120, 120)).rglob("*.png"))
    rows = [
        f"{path.relative_to(here)},{path.parent.name if place % 2 else ''}"
        for place, path in enumerate(files)
    ]
    write_lines(here / "all.csv", "path,label", *rows)
    write_tissue(here / "new", per_class=2, size=(120, 120), seed=3)


MADE_BEFORE = {
    "docs/chance.md": without_a_difference,
    "docs/encoders.md": embedded,
    "docs/explain.md": explained,
    "docs/evaluation.md": evaluation,
    "docs/next.md": few_labels,
    "docs/own-images.md": own_images,
    "docs/predict.md": new_images,
}


def test_every_document_with_commands_is_run_or_named():
    scripts = (REPOSITORY / "tests" / "journeys").glob("*.sh")
    journeys = {
        page
        for script in scripts
        for page in re.findall(r"^# page: ([^,\s]+)", script.read_text(), re.MULTILINE)
    }
    documents = {document for document in DOCUMENTS if lines_of(document)}
    # the lines of results.md take the whole of BACH: they are only parsed, and tests/journeys run the same presets
    # that of serve.md runs until it is stopped: tests/apps/serve does both;
    # tests/apps/slides writes slides and runs the commands
    # test_printed.py runs those of the tutorial, and compares what they print
    others = {
        "docs/tutorial.md",
        "docs/reproduce.md",
        "docs/results.md",
        "docs/serve.md",
        "docs/slides.md",
    }
    assert documents == {*MADE_BEFORE, *journeys, *others}
    assert not journeys & set(MADE_BEFORE)


@pytest.mark.slow
@pytest.mark.parametrize("document", MADE_BEFORE)
def test_lines_run_as_they_stand(document, tmp_path, boosted, completed, monkeypatch):
    monkeypatch.chdir(tmp_path)
    MADE_BEFORE[document](tmp_path, boosted)
    write_small(tmp_path)
    ran = 0
    for line in lines_of(document):
        if any(part in line for part in NOT_RUN.get(document, ())):
            continue
        completed(*smaller(line))
        ran += 1
    assert ran
