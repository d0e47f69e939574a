"""The commands of README and docs as they stand, and what makes them small enough to be run in a test."""

import importlib
import re
import shlex
import shutil
import sys
import tomllib
import unicodedata
from pathlib import Path

import numpy as np
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]

SMALL = {
    "trial": {"encoders": ["tiny"], "weights": ["random"]},
    "featurize": {
        "encoders": ["convs"],
        "weights": ["random"],
        "views": ["1.0:48"],
        "augmentations": 1,
        "crops": 2,
    },
    "boost": {"seeds": 1, "params": ["num_iterations=3", "min_data_in_leaf=2"]},
    "head": {"seeds": 1},
    "finetune": {"epochs": 1, "size": 48},
    "evaluate": {"bootstrap": 20},
}
"""Defaults in place of the published ones; one process, so that the tests' own encoder is known to all."""

SUBSTITUTES = {
    "--encoder inceptionv3:mixed5+mixed7+mixed8 --encoder mobilenetv2": "--encoder convs",
    "--encoder resnet50": "--encoder convs",
    "--encoder mobilenetv2": "--encoder convs",
    "--engine openvino --precision bfloat16": "",
    "--preset standard --precision bfloat16": "--preset standard --engine keras",
    "images --out study --preset standard": "images --out study --preset standard --engine keras",
    "--augmentations 12": "--augmentations 1",
    "--images-per-class 12": "--images-per-class 5 --size 256x200",
    "--view 0.5:224": "--view 0.5:48",
    "--view 0.5:400": "--view 0.5:48",
    "--folds 5 --stain": "--folds 2 --stain",
    "patch-resnet --folds 5": "patch-resnet --folds 2",
    "/5-grouped-": "/2-grouped-",
}
"""Weights and OpenVINO may not be here, and their tests stand elsewhere; fewer and smaller images, fewer folds."""


FINDINGS = ("data check --images ICIAR2018", "status run trial")
"""Lines that exit with 1 to say that they found something: images smaller than those of BACH; differences."""


def text_of(path):
    """Return the text of a file of the repository."""
    return (REPOSITORY / path).read_text()


def pyproject():
    """Return what pyproject.toml holds."""
    return tomllib.loads(text_of("pyproject.toml"))


def lines_of(document):
    """Return the commands of the shell blocks of a document, without what stands behind ``#``."""
    text = text_of(document)
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    lines = [
        line.partition(" #")[0].strip()
        for block in blocks
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return [line for line in lines if line.startswith("bchisto ")]


def public():
    """Yield (name, item) of every name on the pages of the reference of Python."""
    for page in sorted((REPOSITORY / "docs" / "api").glob("*.md")):
        for room, members in re.findall(r"automodule:: (\S+)\n +:members: (.+)", page.read_text()):
            module = importlib.import_module(room)
            for name in members.split(", "):
                yield f"{room}.{name}", getattr(module, name)


def write_small(folder):
    """Write the files of settings (``--config``) to which `smaller` refers."""
    for name, values in SMALL.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))


def smaller(line):
    """Return the arguments of a command, made small: substitutes, a file of settings, one process."""
    for given, instead in SUBSTITUTES.items():
        line = line.replace(given, instead)
    arguments = shlex.split(line)[1:]
    if "--help" in arguments:
        return arguments
    settings = arguments[0]
    if settings == "boost" and "--head" in arguments and "lightgbm" not in arguments:
        settings = "head"  # which has no parameters of LightGBM
    if settings in SMALL and "--config" not in arguments:
        arguments += ["--config", f"{settings}.yaml"]
    works = arguments[0] in ("trial", "featurize", "boost", "finetune", "predict") or arguments[
        :2
    ] == ["data", "make"]
    if works and "--jobs" not in arguments:
        arguments += ["--jobs", "1"]
    return arguments


def breakhis(here):
    """BreakHis of twelve patients, and new images."""
    from conftest import write_tissue
    from PIL import Image

    rng = np.random.default_rng(2)
    slides = here / "BreaKHis_v1" / "histology_slides" / "breast"
    for side, kind, word in (
        ("benign", "B_A", "adenosis"),
        ("malignant", "M_DC", "ductal_carcinoma"),
    ):
        for patient in range(6):
            for number in range(2):
                name = f"SOB_{kind}-14-{1000 + patient}-200-{number + 1:03d}.png"
                path = (
                    slides / side / "SOB" / word / f"SOB_{kind}_14-{1000 + patient}" / "200X" / name
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(80, 230, (140, 150, 3), dtype=np.uint8)).save(path)
    write_tissue(here / "new", per_class=1, size=(140, 140))


def bach(here):
    """All 400 images of BACH by their official names, small, and new ones."""
    from conftest import write_tissue
    from miniatures import write_bach

    write_bach(here, height=50, width=64)
    write_tissue(here / "new-images", per_class=1, size=(120, 120), classes=("Normal", "Benign"))


def idc(here):
    """Patches of published slides, two training to one test, in both class folders."""
    from PIL import Image

    listed = REPOSITORY / "data" / "folds" / "published" / "idc_published.csv"
    slides = {"train": [], "val": [], "test": []}
    for row in listed.read_text().splitlines()[1:]:
        slide, _, part = row.split(",")
        slides[part].append(slide)
    rng = np.random.default_rng(3)
    for slide in [*slides["train"][:4], *slides["val"][:1], *slides["test"][:3]]:
        for label in "01":
            folder = here / "IDC_regular_ps50_idx5" / slide / label
            folder.mkdir(parents=True)
            for number in range(4):
                name = f"{slide}_idx5_x{50 * number + 1}_y{int(label) * 50 + 1}_class{label}.png"
                height = 50 - 15 * (number == 3)  # as at the edge of a slide
                pixels = rng.integers(80, 230, (height, 50, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / name)


def accents(here):
    """A pathologist's folders: accents in both Unicode forms, spaces, a dash, an emphasis in brackets."""
    from conftest import write_tissue

    for folder in ("samples", "results"):
        shutil.copytree(REPOSITORY / "docs" / folder, here / "docs" / folder)
    classes = ("gutartig (Ödem)", unicodedata.normalize("NFD", "bösartig – in situ"))
    root = write_tissue(here / "images", per_class=10, size=(120, 120), classes=classes)
    for place, path in enumerate(sorted(root.rglob("*.png"))):
        path.rename(path.with_name(f"Präparat {place} (Müller's) №.png"))
    write_tissue(here / "new", per_class=1, size=(120, 120), classes=("unbekannt",))


def patients(here):
    """A folder of images, and a manifest that names the patient of each."""
    from conftest import write_tissue

    images = write_tissue(here / "images", per_class=10, size=(120, 120))
    files = sorted(images.rglob("*.png"))
    rows = [
        f"{path.relative_to(here)},{path.parent.name},P{place // 2}"
        for place, path in enumerate(files)
    ]
    (here / "manifest.csv").write_text("path,label,patient\n" + "\n".join(rows) + "\n")


def plain(here):
    """A folder of images, a folder per class."""
    from conftest import write_tissue

    write_tissue(here / "images", per_class=12, size=(64, 64))


def neighbours(here):
    """Images beside folders that are called like parts of bchisto, and hold code that must not be run."""
    plain(here)
    for name in ("data", "boost", "stains", "evaluate", "bchisto_data"):
        (here / name).mkdir()
        (here / name / "__init__.py").write_text("raise SystemExit('the wrong package')\n")
    (here / "errors.py").write_text("raise SystemExit('the wrong module')\n")


if __name__ == "__main__":
    from bchisto.cli import main

    main(smaller(shlex.join(["bchisto", *sys.argv[1:]])))
