"""Every layout, label level, head and protocol once, by the command line, to report, bundle and predictions.

Each case is a stranger's data set through the whole road: what fails here would be met first by a user. A case trains a
network if its options or its images may matter to one; tests/finetune builds every network.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from bchisto.evaluate import read_predictions
from command_line import with_file
from conftest import typed, write_tissue
from miniatures import CALC, MASS, overlay, write_bach, write_cbis, write_ddsm, write_inbreast
from numpy.testing import assert_allclose
from written_tables import lines, read_json, rows_of

OUTLINE = "10 12 " + "2 " * 34 + "4 " * 38 + "6 " * 34 + "0 " * 38 + "#"
"""A mass of 35 x 39 pixels as a chain code."""

SMALL = typed("--weights random --encoder tiny --augmentations 2 --crops 2 --jobs 1")
BOOST = typed("--param min_data_in_leaf=2 --param num_iterations=3 --seeds 2 --jobs 1")
CNN = typed("--epochs 1 --jobs 1")


@dataclass(frozen=True)
class Case:
    """A data set, how it is read, and what is trained on it.

    Attributes
    ----------
    make : callable
        From a folder to write to and the folder of shared data to what ``--images`` takes.
    classes : tuple of str
        Those that must come out, in order.
    networks : dict
        Network to further options of finetune.
    folds : dict
        Name of a protocol's folder to what ``--folds`` takes; ``{here}`` is the folder of the case.
    reading : tuple
        Options of every command that reads images.
    view : str
    stain : str
    heads : tuple of str
    group_by : tuple
    sampling : tuple
        Options of featurize in place of those of `SMALL`.
    """

    make: Callable
    classes: tuple[str, ...]
    networks: dict[str, tuple] = field(default_factory=dict)
    folds: dict[str, str] = field(default_factory=lambda: {"2": "2"})
    reading: tuple = ()
    view: str = "1.0:48"
    stain: str = "macenko"
    heads: tuple[str, ...] = ("lightgbm",)
    group_by: tuple = ()
    sampling: tuple = ()


def folders(*classes, per_class=6):
    return lambda here, shared: write_tissue(
        here / "images", per_class=per_class, size=(64, 64), classes=classes
    )


def manifest_with_some_patients(here, shared):
    """Three patients of four images, the rest without; two hospitals; a header as people type it."""
    root = write_tissue(
        here / "pictures of mine", per_class=9, size=(64, 64), classes=("neg", "pos")
    )
    rows = [
        [path.relative_to(here), path.parent.name, f"P{n // 2}" if n < 6 else "", hospital]
        for path, n, hospital in zip(
            sorted(root.rglob("*.png")),
            [*range(9)] * 2,
            ["Nord", "Süd 2", "Süd 2"] * 6,
            strict=True,
        )
    ]
    return lines(here / "table.csv", ["Path", "label ", "patient", "Hospital "], rows)


def listed_folds(here, shared):
    """Own lists beside the images: a partition, and one with parts."""
    root = folders("a", "b", "c")(here, shared)
    ids = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*.png"))]
    lines(
        here / "mine.csv", ["image_id", "fold"], [(image, 1 + i % 2) for i, image in enumerate(ids)]
    )
    part = ["train", "train", "train", "val", "test", "test"]
    lines(
        here / "parts.csv",
        ["image_id", "fold", "part"],
        [(im, 1, part[i % 6]) for i, im in enumerate(ids)],
    )
    return root


def copied(paths, root, folder):
    """Copy images below a folder to the same places below another."""
    for path in paths:
        target = folder / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder


def breakhis(here, shared):
    """Every second of the real images."""
    root = shared / "data" / "breakhis" / "BreaKHis_v1"
    return copied(sorted(root.rglob("*.png"))[::2], root, here / root.name)


def breakhis_types(here, shared):
    """The real images without lobular carcinoma, which has one."""
    root = shared / "data" / "breakhis" / "BreaKHis_v1"
    paths = [path for path in sorted(root.rglob("*.png")) if "_LC" not in path.name]
    return copied(paths, root, here / "types")


def idc(here, shared):
    """A few real patches of slides of each published part."""
    root = shared / "data" / "idc" / "IDC_regular_ps50_idx5"
    folders = sorted(root.glob("*/[01]"))
    paths = [path for folder in folders for path in sorted(folder.glob("*.png"))[5:50:11]]
    return copied(paths, root, here / "idc")


def inbreast(here, shared):
    write_inbreast(
        here / "INbreast", ["1", "2", "4a", "5", "2", "1", "6", "4c", "3", "2", "5", "5"] * 2
    )
    return here / "INbreast"


def cbis(here, shared):
    cases = [
        (f"P_{n:05d}", "train" if n < 9 else "test", ("BENIGN", "MALIGNANT")[n % 2])
        for n in range(1, 17)
    ]
    write_cbis(here / "CBIS-DDSM", cases)
    return here / "CBIS-DDSM"


def ddsm(here, shared):
    for number in range(1, 9):
        text = overlay((MASS, ("BENIGN", "MALIGNANT")[number % 2], [OUTLINE]))
        write_ddsm(
            here / "DDSM", f"B-{3000 + number}-1", {"LEFT_CC": text, "RIGHT_CC": None}, seed=number
        )
    write_ddsm(here / "DDSM", "B-3009-1", {"LEFT_CC": overlay((CALC, "BENIGN", [OUTLINE]))}, seed=9)
    return here / "DDSM"


EIGHT = [
    "1 Normal",
    "2 Bénin",
    "Adénose",
    "Carcinome in situ",
    "carcinome-infiltrant",
    "x_y",
    "Ü",
    "100 %",
]

OWN = {
    "two grades": Case(
        folders("grade1", "grade2"), ("grade1", "grade2"), {"patch-resnet": ("--size", 32)}
    ),
    "three with accents": Case(
        folders("Bénin", "Tissu sain", "stade 3"),
        ("Bénin", "Tissu sain", "stade 3"),
        folds={"60-20-20": "60/20/20"},
    ),
    "eight": Case(
        folders(*EIGHT), tuple(sorted(EIGHT)), {"speck": ()}, heads=("lightgbm", "logistic", "svm")
    ),
    "numbers": Case(
        folders("-1", "1", "10", "1-0"),
        ("-1", "1", "1-0", "10"),
        heads=("lightgbm", "svm"),
    ),
    "normal and benign": Case(
        folders("Normal", "Benign"),
        ("Benign", "Normal"),
        heads=("lightgbm", "logistic"),
    ),
    "own lists": Case(
        listed_folds,
        ("a", "b", "c"),
        {"speck": ("--patches", "random:48:2")},
        folds={"mine": "{here}/mine.csv", "parts": "{here}/parts.csv"},
        heads=("lightgbm", "svm"),
    ),
    "some patients": Case(
        manifest_with_some_patients,
        ("neg", "pos"),
        {"speck": ("--class-weights",)},
        folds={"2": "2", "site-hospital": "site:hospital"},
    ),
}
"""Folders and tables of one's own."""

PUBLIC = {
    "bach": Case(
        lambda here, shared: write_bach(here, height=36, width=48),
        ("Normal", "Benign", "InSitu", "Invasive"),
        folds={"rakhlin10": "rakhlin10", "eva": "eva"},
        view="1.0:32",
        stain="none",
        sampling=("--augmentations", 1, "--crops", 1),
    ),
    "breakhis": Case(
        breakhis,
        ("benign", "malignant"),
        {"breakhis-resnet-stride2": ("--size", 48, "--sampling", "over")},
        folds={"2-grouped": "2"},
        view="0.25:96",
        heads=("lightgbm", "logistic"),
    ),
    "breakhis types": Case(
        breakhis_types,
        (),  # seven of the eight types, see `travel`
        # some types have one patient: none to set aside
        {"speck": ("--no-validation",)},
        reading=("--label-level", "type"),
        group_by=("--group-by", "none"),
        view="0.25:96",
    ),
    "idc": Case(
        idc,
        ("negative", "positive"),
        folds={"idc-published": "idc-published"},
        view="1.0:32",
        heads=("lightgbm", "svm"),
    ),
    "inbreast": Case(
        inbreast,
        ("negative", "positive"),
        {"speck": ("--tensorboard",)},
        folds={"2-grouped": "2"},
        stain="none",
        heads=("lightgbm", "logistic"),
    ),
    "cbis-ddsm": Case(
        cbis,
        ("benign", "malignant"),
        folds={"official": "official"},
        view="1.0:32",
        stain="none",
    ),
    "ddsm": Case(
        ddsm,
        ("benign", "malignant"),
        {"convs": ("--weights", "random", "--size", 48, "--top", "conv")},
        folds={"2-grouped": "2"},
        reading=("--lesion", "mass"),
        view="1.0:32",
        stain="none",
        heads=("lightgbm", "logistic"),
    ),
}
"""Published data sets, real or by their names and formats."""


def check_outputs(folder, classes):
    """A finished folder: the model, a sound table, metrics without NaN, a report that names every class."""
    assert (folder / "model.bchisto").is_file()
    (table,) = read_predictions(folder / "predictions.csv")
    assert table.classes == classes
    assert_allclose(table.probabilities.sum(axis=1), 1.0, rtol=1e-6)
    metrics = read_json(folder / "metrics.json")
    assert "NaN" not in json.dumps(metrics)
    report = (folder / "report.html").read_text()
    for name in classes:
        assert name in report
    return table


def travel(case, tmp_path, request, completed, monkeypatch):
    """Take a case from its images to reports, bundles and predictions of new images."""
    here = tmp_path / "a folder of mine"
    here.mkdir()
    monkeypatch.chdir(here)
    needs_shared = case.make in (breakhis, breakhis_types, idc)
    images = case.make(here, request.getfixturevalue("shared") if needs_shared else None)
    read = ("--images", images, *case.reading)
    colours = ("--color-range", 1, 1) if case.stain == "none" else ()
    view = ("--view", case.view, "--stain", case.stain, *colours)
    words = (*read, "--out", "run", *SMALL, *case.sampling, *view)
    completed(*with_file(here / "options.json", "featurize", *words))

    folds = [part for spec in case.folds.values() for part in ("--folds", spec.format(here=here))]
    heads = [part for head in case.heads for part in ("--head", head)]
    out, _ = completed("boost --out run", *folds, *heads, *BOOST, *case.group_by)
    assert " right" in out  # a sentence, or a table of several results
    made = sorted(path.name for path in Path("run/boost").iterdir())
    classes = case.classes
    if not classes:
        classes = read_predictions(Path("run/boost/2-lightgbm/predictions.csv"))[0].classes
        assert len(classes) == 7
    assert len(made) == len(case.folds) * len(case.heads)
    for folder in made:
        check_outputs(Path("run/boost") / folder, classes)
    assert Path("run/report.html").is_file()

    for network, options in case.networks.items():
        words = (*read, "--out", "run", "--network", network, *CNN, *options, *folds)
        completed(*with_file(here / "options.json", "finetune", *words, *case.group_by))
    for folder in Path("run/finetune").glob("*/"):
        check_outputs(folder, classes)
    completed("evaluate run --out evaluated --bootstrap 20")
    evaluated = read_json(Path("evaluated/metrics.json"))["tables"]
    assert len(evaluated) == len(case.folds) * (len(case.heads) + len(case.networks))

    bundles = sorted(Path("run").glob("*/*/model.bchisto"))
    assert len(bundles) == len(evaluated)
    for place, bundle in enumerate(bundles):
        table = Path(f"new {place}.csv")
        completed("predict {} --images {} --out {} --jobs 1", bundle, images, table)
        rows = rows_of(table)
        shares = np.array([[float(row[f"p_{name}"]) for name in classes] for row in rows])
        assert len(rows) >= 8
        assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-6)
        assert {row["predicted"] for row in rows} <= set(classes)
